"""The context of a request, and the result of its handler.

A handler gets a request, the stage of the session (`secc.session.d20.stages`) and the present context, and returns
a `Step`, or a `Wait` if the answer depends on a pending fact.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from secc.session.config import SeccConfig
from secc.session.facts import SessionFacts
from secc.session.identity import Connection
from secc.session.notices import Notice
from secc.session.paused import Paused
from v2g.energy.limits import EffectiveLimits, Limit, Setpoint
from v2g.errors import Iso15118Error
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import Authorization, EvCheckInStatus, EvCheckOutStatus
from v2g.iso15118.d20.messages.common_types import MessageHeader, ResponseCode
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe


class Parking(msgspec.Struct, frozen=True):
    """Progress of the vehicle in and out of its space; None if not reported."""

    check_in: EvCheckInStatus | None = None
    check_out: EvCheckOutStatus | None = None


class RequestContext(msgspec.Struct, frozen=True):
    """The present state of everything outside the session."""

    config: SeccConfig
    connection: Connection
    facts: SessionFacts
    """The latest facts of hardware, CSMS, grid and operator."""
    family: Family
    """The set of messages in use."""
    now: float
    utc_ms: int
    header: MessageHeader
    station: EffectiveLimits
    """The limits of charger, site and operator together; those of the vehicle are in the stage."""
    limits: tuple[Limit, ...]
    """The single limits, and known limits of later times."""
    setpoint: Setpoint | None
    """The set point in force."""
    signed_w: int
    """Discharge (W) that the vehicle has signed at present."""
    turning: int
    """The direction (1 charge, -1 discharge) that has to wait because power has just flowed in the other one; or 0."""
    notice: Notice | None
    paused: Paused | None
    """The stored state of a paused session, if any."""
    parking: Parking
    powered: bool
    """Whether voltage may be at the output."""
    books_open: bool
    """Whether the journal of this session has begun."""
    stopping: bool
    """Whether the end of the session has been requested: no power any more, and only ending requests are accepted."""
    ready: bool
    """Whether the vehicle is ready for energy, as one at a connection device reports on its side stream."""
    waited: bool
    """Whether the request must be answered now; a handler may `Wait` only while this is False."""
    exi: bytes
    """The request as received."""

    @property
    def authorization(self) -> tuple[Authorization, ...]:
        """The identification methods offered on this connection."""
        return tuple(each for each in self.config.authorization if self.connection.tls or each is Authorization.EIM)


class Step(msgspec.Struct, frozen=True):
    """A handled request: commands are carried out before the response is sent.

    `followed` is the wire name of a notification that the vehicle has followed by this request. `exi` is a response
    that has been encoded elsewhere, and is sent unchanged.
    """

    response: Any
    stage: Any
    commands: tuple[Command | Observe, ...] = ()
    followed: str = ""
    exi: bytes = b""
    parking: Parking | None = None
    ready: bool | None = None


class Wait(msgspec.Struct, frozen=True):
    """The answer has to wait for a fact, at most for this time; then the handler is called again."""

    stage: Any
    seconds: float
    commands: tuple[Command | Observe, ...] = ()


Handler = Callable[[Any, Any, RequestContext], Step | Wait]


def refuse(code: ResponseCode, why: str, *, reason: str = "") -> Iso15118Error:
    """Return the error that answers the request with `code` and ends the session, with `reason` or else the code."""
    return Iso15118Error(why, answer=code.name, reason=reason)
