"""The simulated connection device: the model of `v2g.hardware.pantograph`, driven by the clock."""

import asyncio
from typing import Final

from v2g.hardware.interfaces import ContactReport
from v2g.hardware.pantograph import Pantograph, PantographConfig
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.lines import ChargerContact, ChargerContactLine, VehicleContact
from v2g.io.simulation.power import Faults
from v2g.observe import Callbacks

STEP_S = 0.02
"""Real seconds between two steps of a device that moves."""


class SimulatedConnection:
    """See ConnectionDevice. `window` is the vehicle's position tolerance, cm along and across."""

    def __init__(
        self,
        line: ChargerContactLine,
        faults: Faults,
        clock: Clock,
        config: PantographConfig,
        *,
        window: tuple[int, int],
    ) -> None:
        self._line, self._faults, self._clock, self._window = line, faults, clock, window
        self._loop = asyncio.get_running_loop()
        self._model = Pantograph(config)
        self._at = clock.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self.report = ContactReport()
        self.on_report: Final = Callbacks[ContactReport]()
        line.on_change(self._vehicle_changed)
        faults.on_change(self._act)
        self._act()

    def send(self, *, down: bool) -> None:
        self._act()  # it was still, or moved the other way
        self._model.send(down=down)
        self._act()

    def close(self) -> None:
        """Stop moving."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _vehicle_changed(self, vehicle: VehicleContact | None) -> None:
        if vehicle is not None:
            self._faults.note("connected")
        self._act()

    def _act(self) -> None:
        """Advance the model, publish the result, and continue while it moves."""
        now, model, vehicle = self._clock.monotonic(), self._model, self._line.seen
        seconds, self._at = now - self._at, now
        model.jammed, model.worn = "device_jammed" in self._faults, "contacts_worn" in self._faults
        below = vehicle is not None and abs(vehicle.x_cm) <= self._window[0] and abs(vehicle.y_cm) <= self._window[1]
        model.advance(seconds, vehicle.roof_mm if vehicle is not None and below else None)
        self.close()
        if model.moving:
            self._faults.note("moving")
            self._timer = self._loop.call_later(STEP_S, self._act)
        self._line.hold(ChargerContact(model.height_mm, model.connected))
        report = ContactReport(
            mechanical=model.mechanical,
            connected=model.connected,
            present=vehicle is not None,
            moving=vehicle is not None and vehicle.moving,
            x_cm=vehicle.x_cm if vehicle is not None else 0,
            y_cm=vehicle.y_cm if vehicle is not None else 0,
        )
        if report != self.report:
            self.report = report
            self.on_report.tell(report)
