"""What ISO 15118-20 adds to the context of a request and to the result of its handler."""

import msgspec

from secc.session import request_context
from v2g.errors import Iso15118Error
from v2g.iso15118.d20.messages.common_messages import Authorization, EvCheckInStatus, EvCheckOutStatus
from v2g.iso15118.d20.messages.common_types import MessageHeader, ResponseCode


class Parking(msgspec.Struct, frozen=True):
    """Progress of the vehicle in and out of its space; None if not reported."""

    check_in: EvCheckInStatus | None = None
    check_out: EvCheckOutStatus | None = None


class RequestContext(request_context.RequestContext, frozen=True, kw_only=True):
    """The present state of everything outside the session; `header` is that of the response."""

    header: MessageHeader
    parking: Parking

    @property
    def authorization(self) -> tuple[Authorization, ...]:
        """The identification methods offered on this connection."""
        return tuple(each for each in self.config.authorization if self.connection.tls or each is Authorization.EIM)


class Step(request_context.Step, frozen=True):
    """See `request_context.Step`; `ready` is whether the vehicle is ready for energy, None if it does not report it."""

    parking: Parking | None = None
    ready: bool | None = None


def refuse(code: ResponseCode, why: str, *, reason: str = "") -> Iso15118Error:
    """Return the error that answers the request with `code` and ends the session, with `reason` or else the code."""
    return request_context.refuse(code.name, why, reason=reason)
