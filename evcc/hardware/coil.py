"""The simulated secondary device below the vehicle: power out of the air into the battery, and the ids of devices."""

import asyncio
from collections.abc import Callable

from evcc.hardware.drive import Driving, PlaceConfig
from evcc.session.ports import DeviceObserved, PresentVoltage
from v2g.io.simulation.coil_line import ChargerCoil, VehicleCoil, VehicleCoilLine


class SecondaryDevice:
    """Takes what the primary device sends, less what is lost on the way, and never more than it was let.

    What it does not model: detuning, temperature, and a field that comes from another bay.
    """

    def __init__(self, line: VehicleCoilLine, place: PlaceConfig, driving: Driving) -> None:
        self._line, self._place, self._driving = line, place, driving
        self._most_w = 0
        self._device_id: int | None = None
        self._received_w = 0
        self._battery_mv = 1
        self._callbacks: list[Callable[[], None]] = []
        self._seen = asyncio.Event()
        driving.on_move(self._act)
        driving.hears = lambda method: line.seen is not None and line.seen.method == method
        line.on_change(self._charger_changed)
        self._act()

    @property
    def present(self) -> PresentVoltage:
        """What comes out of the device, at the battery's voltage."""
        if not self._received_w:
            return PresentVoltage(0)
        return PresentVoltage(self._battery_mv, self._received_w * 1_000_000 // self._battery_mv)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` when what comes out has changed."""
        self._callbacks.append(callback)

    def limit(self, charge_w: int) -> None:
        """Let at most this power into the battery from now on."""
        self._most_w = charge_w
        self._act()

    def drive(self, power_w: int) -> None:
        """There is no mains to draw from."""

    def cut(self) -> None:
        """See Converter: what is drawn is told by what is shown."""
        self._most_w = 0
        self._show(0)

    def battery_ma(self, battery_mv: int) -> int:
        """Return the current into the battery at its voltage."""
        self._battery_mv = max(1, battery_mv)
        return self._received_w * 1_000_000 // self._battery_mv

    def transmit(self, device_id: int) -> None:
        """Tell this id to a device that listens."""
        self._device_id = device_id
        self._act()

    async def observe(self, method: str) -> DeviceObserved:
        """Return the id that a device tells by this method, as soon as one does."""
        while True:
            self._seen.clear()
            charger = self._line.seen
            if charger is not None and charger.method == method and charger.device_id:
                return DeviceObserved(charger.device_id)
            await self._seen.wait()

    def _charger_changed(self, _: ChargerCoil | None) -> None:
        self._seen.set()
        self._act()

    def _act(self) -> None:
        """Take what is sent, show what that draws and where the vehicle stands, and tell what came of it."""
        charger = self._line.seen
        share = charger.efficiency if charger is not None else 0.0
        sent_w = charger.power_w if charger is not None else 0
        received_w = min(int(sent_w * share), self._most_w)
        drawn_w = min(sent_w, round(received_w / share)) if received_w else 0
        self._show(drawn_w)
        if received_w != self._received_w:
            self._received_w = received_w
            for callback in self._callbacks:
                callback()

    def _show(self, drawn_w: int) -> None:
        """Show where the vehicle stands, and what it draws."""
        ahead_mm, aside_mm = self._driving.ahead_cm * 10, self._driving.aside_cm * 10
        self._line.hold(VehicleCoil(ahead_mm, aside_mm, self._place.clearance_mm, drawn_w, self._device_id))
