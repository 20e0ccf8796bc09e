"""The context of a request, and the result of its handler, in any edition.

A handler gets a request, the stage of the session (`secc.session.stages`) and the present context, and returns a
`Step`, or a `Wait` if the answer depends on a pending fact.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, TypeAlias, TypedDict, TypeVar

import msgspec

from secc.session.config import SeccConfig
from secc.session.facts import SessionFacts
from secc.session.identity import Connection
from secc.session.ports import Paused
from secc.session.stages import Stage
from v2g.energy.grid_support import GridSupport
from v2g.energy.limits import EffectiveLimits, Limit, Setpoint
from v2g.errors import Iso15118Error
from v2g.exi.declare import Element
from v2g.iso15118.d2 import timing as d2
from v2g.iso15118.d20 import timing as d20
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.din import timing as din
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe

NOTICES: Final = (
    "Terminate",
    "Pause",
    "ServiceRenegotiation",
    "ExitStandby",
    "ScheduleRenegotiation",
    "MeteringConfirmation",
)
"""Possible notifications, most urgent first."""

NOTICE_S: Final = 60.0
"""How long a vehicle may take to follow a notification; then the session ends (Terminate) or the request lapses."""

SIGNING_S: Final = 5.0
"""How long a pause waits for the vehicle's signature of the meter reading."""


class VehicleNotice(msgspec.Struct, frozen=True):
    """A notification in EVSEStatus, by its wire name; `until` is the vehicle's deadline."""

    notification: str
    until: float
    ahead_until: float = 0.0
    """Until then it precedes a request for a pause."""


class Notices:
    """Requests that the vehicle has not followed yet, by their wire name."""

    def __init__(self) -> None:
        self._open: dict[str, VehicleNotice] = {}

    def __contains__(self, notification: str) -> bool:
        return notification in self._open

    def ask(self, notification: str, now: float) -> None:
        """Request from now on, or continue a request."""
        before = self._open.get(notification)
        self._open[notification] = VehicleNotice(notification, now + NOTICE_S, before.ahead_until if before else 0.0)

    def sign_first(self, now: float) -> None:
        """Let the open request for a signature precede a pause: a paused vehicle signs nothing."""
        wanted = self._open["MeteringConfirmation"]
        self._open["MeteringConfirmation"] = msgspec.structs.replace(wanted, ahead_until=now + SIGNING_S)

    def is_open(self, notification: str, now: float) -> bool:
        """Return whether the vehicle still has time to follow this request."""
        notice = self._open.get(notification)
        return notice is not None and notice.until > now

    def has_lapsed(self, notification: str, now: float) -> bool:
        """Return whether the vehicle has not followed this request in time."""
        return notification in self._open and not self.is_open(notification, now)

    def followed(self, notification: str) -> None:
        """The vehicle has followed this request; an empty name has no effect."""
        self._open.pop(notification, None)

    def current(self, now: float) -> VehicleNotice | None:
        """Return the most urgent request."""
        for name in NOTICES if self._open else ():
            notice = self._open.get(name)
            ahead = self._open.get("MeteringConfirmation") if name == "Pause" and notice is not None else None
            if ahead is not None and ahead.ahead_until > now:
                return ahead
            if notice is not None and (notice.until > now or name == "Terminate"):
                return notice
        return None


ChargerTiming: TypeAlias = din.Timing | d2.Timing | d20.Timing


class CommonContext(TypedDict):
    """The fields of `RequestContext` that a session of any edition has."""

    config: SeccConfig
    connection: Connection
    timing: ChargerTiming
    facts: SessionFacts
    family: Family
    now: float
    utc_ms: int
    station: EffectiveLimits
    limits: tuple[Limit, ...]
    setpoint: Setpoint | None
    turning: int
    notice: VehicleNotice | None
    paused: Paused | None
    powered: bool
    journal_open: bool
    stopping: bool
    waited: bool
    exi: bytes


class RequestContext(msgspec.Struct, frozen=True, kw_only=True):
    """The present state of everything outside the session."""

    config: SeccConfig
    connection: Connection
    timing: ChargerTiming
    facts: SessionFacts
    """The latest facts of hardware, CSMS, grid and operator."""
    family: Family
    """The kind of energy transfer."""
    now: float
    utc_ms: int
    station: EffectiveLimits
    """The limits of charger, site and operator together; those of the vehicle are in the stage."""
    limits: tuple[Limit, ...]
    """The single limits, and known limits of later times."""
    setpoint: Setpoint | None
    """The set point in force."""
    signed_w: int = 0
    """Discharge (W) that the vehicle has signed at present."""
    turning: int
    """The direction (1 charge, -1 discharge) that has to wait because power has just flowed in the other one; or 0."""
    notice: VehicleNotice | None
    paused: Paused | None
    """The stored state of a paused session, if any."""
    powered: bool
    """Whether voltage may be at the output."""
    journal_open: bool
    """Whether the journal of this session has begun."""
    stopping: bool
    """Whether the end of the session has been requested: no power any more, and only ending requests are accepted."""
    ready: bool = True
    """Whether the vehicle is ready for energy, as one at a connection device reports on its side stream."""
    waited: bool
    """Whether the request must be answered now; a handler may `Wait` only while this is False."""
    exi: bytes
    """The request as received."""

    @property
    def grid_support(self) -> GridSupport:
        """The values of grid support in force."""
        return self.config.grid_support.overlaid(self.facts.grid_support)


class Step(msgspec.Struct, frozen=True):
    """A handled request: commands are carried out before the response is sent.

    `followed` is the wire name of a notification that the vehicle has followed by this request. `exi` is a response
    that has been encoded elsewhere, and is sent unchanged.
    """

    response: Element
    stage: Stage
    commands: tuple[Command | Observe, ...] = ()
    followed: str = ""
    exi: bytes = b""


class Wait(msgspec.Struct, frozen=True):
    """The answer has to wait for a fact, at most for this time; then the handler is called again."""

    stage: Stage
    seconds: float
    commands: tuple[Command | Observe, ...] = ()


RequestT = TypeVar("RequestT", bound=Element)
StageT = TypeVar("StageT", bound=Stage)
ContextT = TypeVar("ContextT", bound=RequestContext)
OutcomeT = TypeVar("OutcomeT", bound=Step | Wait)

Handler: TypeAlias = Callable[[RequestT, StageT, ContextT], OutcomeT]
"""(request, stage, the edition's RequestContext) -> result. The chart lets no request in at another stage."""


class Handlers(dict[str, Handler[Any, Any, ContextT, Step | Wait]], Generic[ContextT]):
    """Name of the request -> its handler, which registers itself, beside its code. A request of the chart without
    handler is out of order."""

    def on_request(
        self, *requests: type[RequestT]
    ) -> Callable[[Handler[RequestT, StageT, ContextT, OutcomeT]], Handler[RequestT, StageT, ContextT, OutcomeT]]:
        """Register the handler of requests."""

        def register(
            handler: Handler[RequestT, StageT, ContextT, OutcomeT],
        ) -> Handler[RequestT, StageT, ContextT, OutcomeT]:
            self.update(dict.fromkeys((request.__name__ for request in requests), handler))
            return handler

        return register


def refuse(code: str, why: str, *, reason: str = "") -> Iso15118Error:
    """Return the error that answers the request with the named code and ends the session, with `reason` or the code."""
    return Iso15118Error(why, answer=code, reason=reason)
