"""The simulated rails on a vehicle's roof: a connection device contacts them, and closes the control pilot."""

from collections.abc import Callable

from evcc.hardware.drive import Driving, PlaceConfig
from v2g.iec61851.duty import DutyReading
from v2g.iec61851.pilot import PilotState
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.simulation.lines import ChargerContact, VehicleContact, VehicleContactLine


class RailPilot:
    """The vehicle's end of a control pilot that exists only while the contacts are closed. See VehiclePilot."""

    def __init__(
        self, pilot: SimulatedVehiclePilot, line: VehicleContactLine, place: PlaceConfig, driving: Driving
    ) -> None:
        self._pilot, self._line, self._place, self._driving = pilot, line, place, driving
        self._state = PilotState.B
        self._there = False
        self._on_lost: list[Callable[[], None]] = []
        driving.on_move(self._show)
        line.on_change(self._charger_changed)

    @property
    def duty(self) -> DutyReading:
        """See VehiclePilot."""
        return self._pilot.duty

    def on_duty(self, callback: Callable[[DutyReading], None]) -> None:
        """See VehiclePilot."""
        self._pilot.on_duty(callback)

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the contacts have opened."""
        self._on_lost.append(callback)

    def plug(self) -> None:
        """Approach; the charger detects the vehicle from now on."""
        self._there = True
        self._show()

    def set_state(self, state: PilotState) -> None:
        """Show this state while the contacts are closed."""
        self._state = state
        if self._pilot.plugged:
            self._pilot.set_state(state)

    def unplug(self) -> None:
        """Leave."""
        if self._pilot.plugged:
            self._pilot.unplug()

    def _show(self) -> None:
        if self._there:
            driving = self._driving
            self._line.hold(VehicleContact(driving.ahead_cm, driving.aside_cm, driving.moving, self._place.roof_mm))

    def _charger_changed(self, charger: ChargerContact | None) -> None:
        connected = charger is not None and charger.connected
        if connected and not self._pilot.plugged:
            self._pilot.plug()
            self._pilot.set_state(self._state)
        elif not connected and self._pilot.plugged:
            self._pilot.unplug()
            self._state = PilotState.B
            for callback in self._on_lost:
                callback()
