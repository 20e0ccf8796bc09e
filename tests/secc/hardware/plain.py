"""An EVSE of no kind of current, of parts that do what they are set to, in simulated time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from secc.hardware.evse import Evse, Parts
from secc.session import ports
from tests.secc.hardware.bare import Bare, Cabinet
from v2g.hardware.interfaces import OnFault
from v2g.iec61851.pilot import PilotFault, PilotState
from v2g.iec61851.proximity import Proximity


class Plain(Evse):
    """Notes what it is asked for."""

    present = ports.Measured(0, 0)
    failed = ""
    calm_s = 0.0
    exceeds = False
    """It looks again."""

    def __init__(self, parts: Parts, **how: Any) -> None:
        self.switched_off = self.looked = 0
        self.limits: list[ports.Output] = []
        self.breaks: Exception | None = None
        self.breaks_off: Exception | None = None
        super().__init__(parts, **how)

    def _off(self) -> None:
        self.switched_off += 1
        if self.breaks_off is not None:
            raise self.breaks_off

    def _lower(self, output: ports.Output) -> None:
        self.limits.append(output)

    def _watch_output(self) -> None:
        self.looked += 1
        if self.exceeds:
            self._look_again(self._watch_output)
        if self.breaks is not None:
            raise self.breaks

    async def _calm(self) -> None:
        await asyncio.sleep(self.calm_s)

    async def _output_failed(self) -> str:
        return self.failed or await super()._output_failed()


class Wire:
    """A control pilot that shows what it is set to and, as far as it obeys, what it is given."""

    def __init__(self) -> None:
        self.vehicle = self.state = PilotState.A
        self.fault: PilotFault = ""
        self.proximity = Proximity("seated")
        self.duty_percent: float | None = None
        self.age_s = 0.0
        self.commanded: list[PilotState | float | None] = []
        self.obeys: Callable[[PilotState | float | None], bool] = lambda _: True
        self.delay_s = 0.0
        self.on: list[Callable[[PilotState], None]] = []
        self.on_plug: list[Callable[[Proximity], None]] = []
        self.oscillates: list[Callable[[bool], None]] = []

    def on_state(self, callback: Callable[[PilotState], None]) -> None:
        self.on.append(callback)

    def on_proximity(self, callback: Callable[[Proximity], None]) -> None:
        self.on_plug.append(callback)

    def on_oscillator(self, callback: Callable[[bool], None]) -> None:
        self.oscillates.append(callback)

    def set_duty(self, percent: float | None) -> None:
        self.commanded.append(percent)
        if self.obeys(percent):
            self.duty_percent = percent
            self._later(lambda: self.vehicle)

    def set_error(self, state: PilotState) -> None:
        self.commanded.append(state)
        if self.obeys(state):
            self._later(lambda: state)

    def _later(self, state: Callable[[], PilotState]) -> None:
        if self.delay_s:
            asyncio.get_running_loop().call_later(self.delay_s, lambda: self.show(state()))
        else:
            self.show(state())

    def show(self, state: PilotState, fault: PilotFault = "") -> None:
        """The wire has this state."""
        self.state, self.fault = state, fault
        for each in self.on:
            each(state)

    def plug(self, vehicle: PilotState) -> None:
        """A vehicle comes, asks, or leaves with A."""
        self.vehicle = vehicle
        self.show(vehicle)

    def contact(self, proximity: Proximity) -> None:
        """The proximity contact has this state."""
        self.proximity = proximity
        for each in self.on_plug:
            each(proximity)

    def oscillate(self, *, on: bool) -> None:
        """The oscillator is switched."""
        for each in self.oscillates:
            each(on)


class Latched(Cabinet):
    """A cabinet with a lock, which obeys unless it is stuck."""

    stuck = False

    def __init__(self) -> None:
        super().__init__()
        self.has_latch = False
        self.locked = False
        self.commands: list[bool] = []
        self.callbacks: list[Callable[[bool], None]] = []
        self.faults: list[OnFault] = []

    def set_latch(self, *, locked: bool) -> None:
        self.commands.append(locked)
        if not self.stuck:
            self.latch(locked)

    def latch(self, locked: bool) -> None:
        """The lock has this state."""
        self.locked = locked
        for each in self.callbacks:
            each(locked)

    def on_latch(self, callback: Callable[[bool], None]) -> None:
        self.callbacks.append(callback)

    def on_fault(self, callback: OnFault) -> None:
        self.faults.append(callback)


class Service:
    """Keeps faults for a person."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.kept: list[str] = []

    def keep(self, word: str) -> None:
        self.kept.append(word)


class Place(Bare):
    """An EVSE, which is made by `make`, after its parts were set."""

    evse: Plain

    def __init__(self) -> None:
        super().__init__()
        self.cabinet = self.parts.cabinet = Latched()
        self.wire = Wire()
        self.received: list[tuple[str, bool]] = []
        self.lights: list[str] = []

    def make(self, *, pilot: bool = False, measures: bool = True, **settings: Any) -> None:
        self.parts = replace(self.parts, pilot=self.wire if pilot else None, **settings)
        self.evse = Plain(self.parts, measures=measures)
        self.evse.on_fault(lambda word, active: self.received.append((word, active)))
        self.evse.on_light(self.lights.append)

    async def authorise(self) -> None:
        await self.do(ports.TransactionStarted("0011223344556677", ""))


def made(**how: Any) -> Place:
    """Return a place whose EVSE is made of the parts as they are."""
    place = Place()
    place.make(**how)
    return place
