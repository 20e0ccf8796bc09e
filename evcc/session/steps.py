"""Stages of a vehicle's session and the steps between them: what they have in every edition.

A stage waits for a message or event, a frozen Struct with the data known so far. A handler takes the stage, the
response (or the wake-up) and a context, and returns a `Step`. No handler has state of its own, so that every stage can
be tested against every message.
"""

import functools
from collections import ChainMap
from collections.abc import Callable, Hashable, MutableMapping
from typing import Any, ClassVar, Final, Generic, Self, TypeAlias, TypeVar

import msgspec

from evcc.session.context import Context
from v2g.exi.declare import Element
from v2g.iso15118.engine.dc_status import NO_CURRENT_MA
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe, Scalar

KeyT = TypeVar("KeyT", bound=Hashable)
HandlerT = TypeVar("HandlerT")


def register(table: MutableMapping[KeyT, HandlerT], *keys: KeyT) -> Callable[[HandlerT], HandlerT]:
    """Return the decorator that enters a handler in a table, at each of these keys."""

    def enter(handler: HandlerT) -> HandlerT:
        table.update(dict.fromkeys(keys, handler))
        return handler

    return enter


L = TypeVar("L")


class Stage(msgspec.Struct, frozen=True):
    """Base of all stages. `chain` names the timer that runs through consecutive stages of that name."""

    chain: ClassVar[str] = ""


class Negotiating(Stage, frozen=True):
    """SupportedAppProtocolRes."""


class Ended(Stage, frozen=True):
    """No message any more."""


class LeavingLoop(Stage, Generic[L], frozen=True):
    """The charge loop's response to a request of 0, or the pause before the next; the vehicle goes on at `until` (s) in
    any case. `looping` is the edition's stage of the loop."""

    looping: L
    until: float


class StageKinds(msgspec.Struct, frozen=True):
    """Which stages of an edition end the session, and in which the contactor may be about to close.

    `is_powered` returns whether the vehicle has requested voltage or power in a stage.
    """

    ending: tuple[type[Stage], ...]
    closing: tuple[type[Stage], ...]
    is_powered: Callable[[Stage], bool]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a handler: the next stage, and exactly one of `request`, `wait` (s), a pending fact, `end`, `failure`.

    `end` closes normally, `failure` at once with everything made safe. Commands are executed before the
    request is sent, those of `then` after it.
    """

    stage: Stage
    request: Element | None = None
    wait: float | None = None
    end: str = ""
    failure: str = ""
    commands: tuple[Command, ...] = ()
    then: tuple[Command, ...] = ()
    observed: tuple[Observe, ...] = ()
    session_id: bytes | None = None

    @classmethod
    def failing(cls, stage: Stage, reason: str, **data: Scalar) -> Self:
        """Return the step that ends the session at once."""
        return cls(stage=stage, failure=reason, observed=(seen("session", reason, **data),) if data else ())


StageT = TypeVar("StageT", bound=Stage)
StepT = TypeVar("StepT", bound=Step)
ContextT = TypeVar("ContextT", bound=Context)
RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

OnResponse: TypeAlias = Callable[[StageT, RequestT, ResponseT, ContextT], StepT]
OnWake: TypeAlias = Callable[[StageT, RequestT, ContextT], StepT]
OnContactor: TypeAlias = Callable[[StageT, ContextT], StepT]


class Handlers(Generic[ContextT, StepT]):
    """A vehicle's whole behaviour: each handler registers itself, beside its code. An edition's own handlers precede
    the `common` ones."""

    def __init__(self, common: Self | None = None) -> None:
        self._responses: ChainMap[Hashable, OnResponse[Any, Any, Any, ContextT, StepT]] = ChainMap()
        self._wakes: ChainMap[Hashable, OnWake[Any, Any, ContextT, StepT]] = ChainMap()
        self._contactor: ChainMap[Hashable, OnContactor[Any, ContextT, StepT]] = ChainMap()
        if common is not None:
            self._responses.maps.append(common._responses)
            self._wakes.maps.append(common._wakes)
            self._contactor.maps.append(common._contactor)
        self._handler = functools.cache(self._find)  # all have registered themselves when the first session runs

    def on_response(
        self, stage: type[StageT], response: type[Element] | None = None
    ) -> Callable[
        [OnResponse[StageT, RequestT, ResponseT, ContextT, StepT]],
        OnResponse[StageT, RequestT, ResponseT, ContextT, StepT],
    ]:
        """Register what handles the response that a stage awaits; where there are several, that of this type."""
        return register(self._responses, (stage, response))

    def on_wake(
        self, *stages: type[StageT]
    ) -> Callable[[OnWake[StageT, RequestT, ContextT, StepT]], OnWake[StageT, RequestT, ContextT, StepT]]:
        """Register what repeats the request after the pause of a stage."""
        return register(self._wakes, *stages)

    def on_contactor(
        self, stage: type[StageT], *, closed: bool
    ) -> Callable[[OnContactor[StageT, ContextT, StepT]], OnContactor[StageT, ContextT, StepT]]:
        """Register what follows once the contactor that a stage awaits has closed, or opened."""
        return register(self._contactor, (stage, closed))

    def response(self, stage: Stage, request: Element, response: Element, context: ContextT) -> StepT:
        """Return the step that follows from a response to the stage's request."""
        return self._handler(type(stage), type(response))(stage, request, response, context)

    def _find(self, stage: type[Stage], response: type[Element]) -> OnResponse[Any, Any, Any, ContextT, StepT]:
        known = (self._responses.get((stage, each)) for each in response.__mro__)
        return next(filter(None, known), None) or self._responses[stage, None]

    def wake(self, stage: Stage, request: Element | None, context: ContextT) -> StepT:
        """Return the step after the pause of a stage; `request` is the last one."""
        return self._wakes[type(stage)](stage, request, context)

    def contactor(self, stage: Stage, context: ContextT, *, closed: bool) -> StepT | None:
        """Return the step once the contactor has moved, None at a stage that does not await it."""
        handle = self._contactor.get((type(stage), closed))
        return None if handle is None else handle(stage, context)


def seen(stage: str, name: str, **data: Scalar) -> Observe:
    """Return an event."""
    return Observe(stage, name, data)


# -- Leaving the charge loop without current: the vehicle asks for 0 first, and leaves once nothing flows. A contactor
# never opens, and a charger is never asked to switch off, at the current of the last request, unless the charger does
# not follow in time.

ORDERLY_S: Final = 2.0
FAULT_S: Final = 1.0
"""How long the vehicle waits for it: before an orderly end or a renegotiation, and after a fault (IEC 61851-23 gives a
charger 1 s to switch off). Then it leaves anyway."""


SOONEST_S: Final = 60
"""At least so long passes between renegotiations because a schedule has ended, or because a notification stays."""


def until(context: Context, *, failed: bool = False) -> float:
    """Return the time (s) at which the vehicle leaves in any case."""
    return context.now + (FAULT_S if failed else ORDERLY_S)


def flows(context: Context, reported_ma: int, deadline: float) -> bool:
    """Return whether to wait for the current to fall, by the inlet and by what the charger reports."""
    return max(abs(context.inlet.current_ma), abs(reported_ma)) > NO_CURRENT_MA and context.now < deadline
