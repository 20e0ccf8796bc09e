"""What all control pilots of a charger have in common: checked commands, and callbacks with what has changed."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from v2g.iec61851.pilot import PilotFault, PilotState, read_duty
from v2g.iec61851.proximity import Proximity


class ReportingPilot(ABC):
    """A base of ChargerPilot: its subclass moves the signal, and reports what it reads from the wire."""

    def __init__(self, state: PilotState) -> None:
        self._state = state
        self._fault: PilotFault = ""
        self._proximity = Proximity("open")
        self._oscillates = False
        self._on_state: list[Callable[[PilotState], None]] = []
        self._on_proximity: list[Callable[[Proximity], None]] = []
        self._on_oscillator: list[Callable[[bool], None]] = []

    @property
    def state(self) -> PilotState:
        return self._state

    @property
    def fault(self) -> PilotFault:
        return self._fault

    @property
    def proximity(self) -> Proximity:
        return self._proximity

    def on_state(self, callback: Callable[[PilotState], None]) -> None:
        self._on_state.append(callback)

    def on_proximity(self, callback: Callable[[Proximity], None]) -> None:
        """See ChargerPilot; called before `on_state` when both change."""
        self._on_proximity.append(callback)

    def on_oscillator(self, callback: Callable[[bool], None]) -> None:
        self._on_oscillator.append(callback)

    def set_duty(self, percent: float | None) -> None:
        """See ChargerPilot. Raises ValueError outside 0..100, and what the hardware raises."""
        if percent is not None:
            read_duty(percent)
        self._drive(percent, None)

    def set_error(self, state: PilotState) -> None:
        """See ChargerPilot. Raises ValueError for another state than E and F, and what the hardware raises."""
        if state not in (PilotState.E, PilotState.F):
            raise ValueError(f"{state} is not a fault that a charger shows")
        self._drive(None, state)

    @abstractmethod
    def _drive(self, percent: float | None, error: PilotState | None) -> None:
        """Run the oscillator at `percent`, switch it off (None), or force an error; report the oscillator."""

    def _report_oscillator(self, *, on: bool) -> None:
        """Say whether the oscillator runs."""
        before, self._oscillates = self._oscillates, on
        if on is not before:
            for callback in self._on_oscillator:
                callback(on)

    def _report_wire(self, state: PilotState, fault: PilotFault, proximity: Proximity) -> None:
        """Say what the wire shows."""
        old_state, old_proximity = self._state, self._proximity
        self._state, self._fault, self._proximity = state, fault, proximity
        if proximity != old_proximity:
            for on_proximity in self._on_proximity:
                on_proximity(proximity)
        if state is not old_state:
            for on_state in self._on_state:
                on_state(state)
