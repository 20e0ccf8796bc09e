"""What all control pilots of a charger have in common: checked commands, and callbacks with what has changed."""

from abc import ABC, abstractmethod
from typing import Final

from v2g.iec61851.pilot import PilotFault, PilotState, read_duty
from v2g.iec61851.proximity import Proximity
from v2g.observe import Callbacks


class ReportingPilot(ABC):
    """A base of ChargerPilot: its subclass moves the signal, and reports what it reads from the wire."""

    def __init__(self, state: PilotState) -> None:
        self.state = state
        self.fault: PilotFault = ""
        self.proximity = Proximity("open")
        self._oscillates = False
        self.on_state: Final = Callbacks[PilotState]()
        self.on_proximity: Final = Callbacks[Proximity]()
        """See ChargerPilot; called before `on_state` when both change."""
        self.on_oscillator: Final = Callbacks[bool]()

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
            self.on_oscillator.tell(on)

    def _report_wire(self, state: PilotState, fault: PilotFault, proximity: Proximity) -> None:
        """Say what the wire shows."""
        old_state, old_proximity = self.state, self.proximity
        self.state, self.fault, self.proximity = state, fault, proximity
        if proximity != old_proximity:
            self.on_proximity.tell(proximity)
        if state is not old_state:
            self.on_state.tell(state)
