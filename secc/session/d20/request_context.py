"""What is around a session when a request is answered, and what its handler answers.

A handler gets a request, the stage of the session (`secc.session.d20.stages`) and the context as it is now, and returns
a `Step`, or a `Wait` when the answer depends on a fact that has not come yet.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from secc.session.config import SeccConfig
from secc.session.facts import SessionFacts
from secc.session.identity import Connection
from secc.session.notices import Notice
from secc.session.paused import Paused
from v2g.energy.limits import EffectiveLimits, Limit
from v2g.errors import Iso15118Error
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import Authorization, EvCheckInStatus, EvCheckOutStatus
from v2g.iso15118.d20.messages.common_types import MessageHeader, ResponseCode
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe


class Parking(msgspec.Struct, frozen=True):
    """How far the vehicle has come in and out of its space; None where it has not said."""

    check_in: EvCheckInStatus | None = None
    check_out: EvCheckOutStatus | None = None


class RequestContext(msgspec.Struct, frozen=True):
    """Everything outside the session, as it is at this moment."""

    config: SeccConfig
    connection: Connection
    facts: SessionFacts
    """The latest facts of hardware, CSMS, grid and operator."""
    family: Family
    """The set of messages that is spoken."""
    now: float
    utc_ms: int
    header: MessageHeader
    station: EffectiveLimits
    """What charger, site and operator allow together; the vehicle is in the stage."""
    limits: tuple[Limit, ...]
    """Of what that was made, and what is known of later times."""
    setpoint_w: int | None
    signed_w: int
    """W of discharge that the vehicle has signed for at this moment."""
    notice: Notice | None
    paused: Paused | None
    """What is kept of a paused session, if there is one."""
    parking: Parking
    powered: bool
    """Whether voltage may be at the output."""
    books_open: bool
    """Whether the journal of this session has begun."""
    stopping: bool
    """Whether somebody wants the session to end: no power any more, and nothing but the end is taken."""
    ready: bool
    """Whether the vehicle is ready for energy, as one at a connection device says beside the main stream."""
    waited: bool
    """Whether the request must be answered now; a handler may `Wait` only while this is False."""
    exi: bytes
    """The request as it was received."""

    @property
    def authorization(self) -> tuple[Authorization, ...]:
        """The ways to identify that are offered on this connection."""
        return tuple(each for each in self.config.authorization if self.connection.tls or each is Authorization.EIM)


class Step(msgspec.Struct, frozen=True):
    """A handled request: commands are carried out before the response leaves.

    `heard` is the wire name of a notification that the vehicle has followed by this request. `exi` is the response
    as somebody else has encoded it, and leaves like that.
    """

    response: Any
    stage: Any
    commands: tuple[Command | Observe, ...] = ()
    heard: str = ""
    exi: bytes = b""
    parking: Parking | None = None
    ready: bool | None = None


class Wait(msgspec.Struct, frozen=True):
    """The answer has to wait for a fact, at most so many seconds; the handler is asked again then."""

    stage: Any
    seconds: float
    commands: tuple[Command | Observe, ...] = ()


Handler = Callable[[Any, Any, RequestContext], Step | Wait]


def refuse(code: ResponseCode, why: str, *, reason: str = "") -> Iso15118Error:
    """Return the error that answers the request with `code` and ends the session, by `reason` or else by the code."""
    return Iso15118Error(why, answer=code.name, reason=reason)
