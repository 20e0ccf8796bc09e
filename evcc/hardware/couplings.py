"""The simulated vehicle without a plug: its secondary device for wireless power, and the rails on its roof."""

import asyncio
from collections.abc import Callable
from typing import Final

from evcc.hardware.drive import Driving, PlaceConfig
from evcc.session.ports import DeviceObserved, PresentVoltage
from v2g.iec61851.pilot import DutyReading, PilotState
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.simulation import lines
from v2g.observe import Callbacks


class SecondaryDevice:
    """Receives the primary device's power, less losses, and never more than its limit.

    Not modelled: detuning, temperature, and a field from another bay.
    """

    def __init__(self, line: lines.VehicleCoilLine, place: PlaceConfig, driving: Driving) -> None:
        self._line, self._place, self._driving = line, place, driving
        self._most_w = 0
        self._device_id: int | None = None
        self._received_w = 0
        self._battery_mv = 1
        self.on_change: Final = Callbacks[[]]()
        """Called when the output has changed."""
        self._seen = asyncio.Event()
        driving.on_move(self._act)
        driving.receives = lambda method: line.seen is not None and line.seen.method == method
        line.on_change(self._charger_changed)
        self._act()

    @property
    def present(self) -> PresentVoltage:
        """The device's output, at the battery's voltage."""
        if not self._received_w:
            return PresentVoltage(0)
        return PresentVoltage(self._battery_mv, self._received_w * 1_000_000 // self._battery_mv)

    def limit(self, charge_w: int) -> None:
        """Limit the power into the battery from now on."""
        self._most_w = charge_w
        self._act()

    def drive(self, power_w: int) -> None:
        """There is no mains connection to draw from."""

    def cut(self) -> None:
        """See Converter: the charger reads the power drawn from the line."""
        self._most_w = 0
        self._show(0)

    def battery_ma(self, battery_mv: int) -> int:
        """Return the current into the battery at its voltage."""
        self._battery_mv = max(1, battery_mv)
        return self._received_w * 1_000_000 // self._battery_mv

    def transmit(self, device_id: int) -> None:
        """Send this id to a device that observes it."""
        self._device_id = device_id
        self._act()

    async def observe(self, method: str) -> DeviceObserved:
        """Return the id that a device sends by this method, as soon as one does."""
        while True:
            self._seen.clear()
            charger = self._line.seen
            if charger is not None and charger.method == method and charger.device_id:
                return DeviceObserved(charger.device_id)
            await self._seen.wait()

    def _charger_changed(self, _: lines.ChargerCoil | None) -> None:
        self._seen.set()
        self._act()

    def _act(self) -> None:
        """Receive power, publish the power drawn and the position, and call the callbacks on changes."""
        charger = self._line.seen or lines.ChargerCoil()
        received_w = min(int(charger.power_w * charger.efficiency), self._most_w)
        self._show(round(received_w / charger.efficiency) if received_w else 0)
        if received_w != self._received_w:
            self._received_w = received_w
            self.on_change.tell()

    def _show(self, drawn_w: int) -> None:
        """Publish the vehicle's position, and the power drawn."""
        ahead_mm, aside_mm = self._driving.ahead_cm * 10, self._driving.aside_cm * 10
        self._line.hold(lines.VehicleCoil(ahead_mm, aside_mm, self._place.clearance_mm, drawn_w, self._device_id))


class RailPilot:
    """The vehicle's end of a control pilot that exists only while the contacts are closed. See VehiclePilot."""

    def __init__(
        self, pilot: SimulatedVehiclePilot, line: lines.VehicleContactLine, place: PlaceConfig, driving: Driving
    ) -> None:
        self._pilot, self._line, self._place, self._driving = pilot, line, place, driving
        self._state = PilotState.B
        self._there = False
        self.on_lost: Final = Callbacks[[]]()
        """Called when the contacts have opened."""
        driving.on_move(self._show)
        line.on_change(self._charger_changed)

    @property
    def duty(self) -> DutyReading:
        return self._pilot.duty

    def on_duty(self, callback: Callable[[DutyReading], None]) -> None:
        self._pilot.on_duty(callback)

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
            self._line.hold(
                lines.VehicleContact(driving.ahead_cm, driving.aside_cm, driving.moving, self._place.roof_mm)
            )

    def _charger_changed(self, charger: lines.ChargerContact | None) -> None:
        connected = charger is not None and charger.connected
        if connected and not self._pilot.plugged:
            self._pilot.plug()
            self._pilot.set_state(self._state)
        elif not connected and self._pilot.plugged:
            self._pilot.unplug()
            self._state = PilotState.B
            self.on_lost.tell()
