"""The simulated primary device: the physics of `v2g.hardware.coils`, driven by both ends of the air gap."""

import asyncio
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.hardware import coils
from v2g.hardware.coils import CoilPair, CoilPlace
from v2g.hardware.interfaces import Contactor, PrimaryReport
from v2g.hardware.simulation import SimulatedFault
from v2g.io.simulation.lines import ChargerCoil, ChargerCoilLine, VehicleCoil
from v2g.io.simulation.power import Faults
from v2g.iso15118.d20.wpt_methods import OBSERVED_BY_DEVICE
from v2g.observe import Callbacks

_OBJECTS: Final[tuple[SimulatedFault, ...]] = ("foreign_object", "living_object")
_BY_PERSON: Final = "External confirmation"


class CoilConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Behaviour of the simulated primary device."""

    pair: CoilPair = CoilPair()
    tolerance_mm: Annotated[int, Meta(ge=0, le=10_000)] = 100
    """A vehicle whose coil is this near is in position."""
    range_mm: Annotated[int, Meta(ge=0, le=100_000)] = 500
    """Within this distance, device and vehicle observe each other's ids."""
    least_coupling: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    """A vehicle with worse coupling is not aligned."""
    confirm_after_s: Annotated[float, Meta(ge=0, le=3_600)] | None = 0.0
    """Time (real s) after which a person confirms the pairing (External confirmation); none never does."""


class SimulatedPrimary:
    """See PrimaryDevice. `max_coil_ma` bounds the field; without a closed contactor there is none.

    Not modelled: warm-up, phases of the grid, and settling of the control of both ends.
    """

    def __init__(
        self, line: ChargerCoilLine, contactor: Contactor, faults: Faults, config: CoilConfig, *, max_coil_ma: int
    ) -> None:
        self._line, self._contactor, self._faults, self._config = line, contactor, faults, config
        self._max_coil_ma = max_coil_ma
        self._loop = asyncio.get_running_loop()
        self._method, self._device_id = "", 0
        self._excited_ma: int | None = None
        self._power_w = 0
        self._confirmed = False
        self._timer: asyncio.TimerHandle | None = None
        self.report = PrimaryReport()
        self.on_report: Final = Callbacks[PrimaryReport]()
        self.on_fault: Final = Callbacks[str, bool]()
        self._reported: set[str] = set()
        line.on_change(self._vehicle_changed)
        contactor.on_change(lambda _: self._act())
        faults.on_change(self._faults_changed)
        self._act()

    def find(self, method: str) -> None:
        self._method, self._device_id = method, 0
        self._act()

    def pair(self, method: str, device_id: int) -> None:
        self._method, self._device_id = method, device_id
        after_s = self._config.confirm_after_s
        if method == _BY_PERSON and after_s is not None:
            self._quiet()
            self._timer = self._loop.call_later(after_s, self._confirm)
        self._act()

    def excite(self, coil_ma: int, power_w: int) -> None:
        self._excited_ma, self._power_w = min(coil_ma, self._max_coil_ma), power_w
        self._act()

    def send(self, power_w: int) -> None:
        self._excited_ma, self._power_w = None, power_w
        self._act()

    def cut(self) -> None:
        """See Cut."""
        self._excited_ma, self._power_w = None, 0
        self._line.hold(ChargerCoil())

    def rest(self) -> None:
        self._quiet()
        self._method, self._device_id, self._confirmed = "", 0, False
        self.send(0)

    def close(self) -> None:
        """Switch the field off for good."""
        self.rest()

    def _quiet(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _confirm(self) -> None:
        self._timer, self._confirmed = None, True
        self._act()

    def _vehicle_changed(self, vehicle: VehicleCoil | None) -> None:
        if vehicle is not None:
            self._faults.note("connected")
        self._act()

    def _faults_changed(self) -> None:
        for fault in _OBJECTS:
            active = fault in self._faults
            if active is not (fault in self._reported):
                self._reported.symmetric_difference_update((fault,))
                self.on_fault.tell(fault, active)

    def _act(self) -> None:
        """Publish the field, and report the result."""
        vehicle, config = self._line.seen, self._config
        place = CoilPlace(vehicle.x_mm, vehicle.y_mm, vehicle.clearance_mm) if vehicle is not None else None
        coil_ma, power_w = self._field(place)
        share = coils.efficiency(config.pair, place) if place is not None else 0.0
        self._line.hold(ChargerCoil(self._device_id, self._method, coil_ma, power_w, round(share, 4)))
        offset_mm = place.offset_mm if place is not None else float("inf")
        observed = vehicle is not None and self._method == OBSERVED_BY_DEVICE and offset_mm <= config.range_mm
        excited = self._excited_ma is not None and coil_ma > 0
        coupled = place is not None and coils.coupling(config.pair, place) >= config.least_coupling
        report = PrimaryReport(
            in_place=offset_mm <= config.tolerance_mm,
            observed_id=vehicle.device_id if vehicle is not None and observed else None,
            confirmed=self._confirmed,
            aligned=coupled if excited else None,
            coil_ma=coil_ma,
            sent_w=min(power_w, vehicle.drawn_w) if vehicle is not None else 0,
        )
        if report.sent_w:
            self._faults.note("current")
        if report != self.report:
            self.report = report
            self.on_report.tell(report)

    def _field(self, place: CoilPlace | None) -> tuple[int, int]:
        """Return the coil current and its maximum power for a vehicle at this place."""
        if not self._contactor.closed:
            return 0, 0
        pair = self._config.pair
        if self._excited_ma is not None and place is not None:
            coil_ma = min(self._excited_ma, coils.current_ma(pair, place, self._power_w))
            return coil_ma, min(self._power_w, coils.power_w(pair, place, coil_ma))
        if self._excited_ma is not None:
            return self._excited_ma, 0
        if place is None or not self._power_w:
            return 0, 0
        power_w = min(self._power_w, coils.power_w(pair, place, self._max_coil_ma))
        return coils.current_ma(pair, place, power_w), power_w
