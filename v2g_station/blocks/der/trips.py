"""When EVSEs cease to energize because of the grid, and return: trips, momentary cessation, entering service (R04).

A must-trip curve trips. A may-trip curve gives how long to ride through: it trips only if no must-trip curve of its
kind is in force (R04, scenario 3). Momentary cessation ends as soon as the grid has recovered; after a trip or a start,
EnterService applies. Times are s of grid time, which a simulation may speed up.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from v2g.energy.ride_through import CurveWatch, GridService, Point, ReturnToService, TenMinutes
from v2g.ocpp.messages.der_control import DERCurve, EnterService, GridEventFault, SetDERControlRequest
from v2g.ocpp.messages.ev_charging import DERControl


class TripCurve(msgspec.Struct, frozen=True, kw_only=True):
    """The quantity that a kind of curve monitors, the side, and whether EnterService applies afterwards (`trips`)."""

    of: str
    high: bool
    trips: bool
    fault: GridEventFault
    yields_to: DERControl | None = None


CURVES: Final[Mapping[DERControl, TripCurve]] = {
    "HFMustTrip": TripCurve(of="hz", high=True, trips=True, fault="OverFrequency"),
    "HFMayTrip": TripCurve(of="hz", high=True, trips=True, fault="OverFrequency", yields_to="HFMustTrip"),
    "LFMustTrip": TripCurve(of="hz", high=False, trips=True, fault="UnderFrequency"),
    "HVMustTrip": TripCurve(of="v", high=True, trips=True, fault="OverVoltage"),
    "HVMayTrip": TripCurve(of="v", high=True, trips=True, fault="OverVoltage", yields_to="HVMustTrip"),
    "HVMomCess": TripCurve(of="v", high=True, trips=False, fault="OverVoltage"),
    "LVMustTrip": TripCurve(of="v", high=False, trips=True, fault="UnderVoltage"),
    "LVMayTrip": TripCurve(of="v", high=False, trips=True, fault="UnderVoltage", yields_to="LVMustTrip"),
    "LVMomCess": TripCurve(of="v", high=False, trips=False, fault="UnderVoltage"),
}


def points_of(curve: DERCurve) -> tuple[Point, ...]:
    """Return a curve's thresholds and times. They are x and y (R04, ride-through), but y and x if y is a voltage
    (PctEffectiveV), as in IEEE 2030.5: see docs/reference/open-points.md."""
    swapped = curve.y_unit == "PctEffectiveV"
    return tuple((point.y, point.x) if swapped else (point.x, point.y) for point in curve.curve_data)


class Acting(msgspec.Struct, frozen=True):
    """A control that affects the power because of the grid."""

    control_type: DERControl
    fault: GridEventFault | None


class _Armed:
    """A curve in force."""

    def __init__(self, request: SetDERControlRequest, kind: TripCurve, nominal_v: float) -> None:
        assert request.curve is not None
        self.request, self.kind = request, kind
        self.watch = CurveWatch(points_of(request.curve), high=kind.high)
        self.mean = TenMinutes(nominal_v)
        self.above_since: float | None = None

    @property
    def acting(self) -> Acting:
        return Acting(self.request.control_type, self.kind.fault)

    def feed(self, value: float, now: float) -> None:
        """Set the measured value: Hz, or percent of the nominal voltage."""
        self.watch.feed(value, now)
        limit = self._mean_limit()
        if limit is not None:
            above = self.mean.feed(value, now) > limit[0]
            self.above_since = None if not above else now if self.above_since is None else self.above_since

    def due(self) -> float | None:
        """Return when it acts if the grid does not change."""
        limit = self._mean_limit()
        times = [self.watch.due()]
        if limit is not None and self.above_since is not None:
            times.append(self.above_since + limit[1])
        return min((at for at in times if at is not None), default=None)

    def _mean_limit(self) -> tuple[float, float] | None:
        """Return the limit of the ten-minute mean, percent, and its time, s (EN 50549-1, 4.9.3.4)."""
        params = self.request.curve.voltage_params if self.request.curve is not None else None
        if params is None or params.hv10_min_mean_value is None or self.request.control_type != "HVMustTrip":
            return None
        return params.hv10_min_mean_value, params.hv10_min_mean_trip_delay or 0.0


class Trips:
    """The curves in force at a station, and which EVSEs are in service. `random()` is from 0 to 1."""

    def __init__(self, evses: Iterable[int], random: Callable[[], float]) -> None:
        self.services = {number: GridService() for number in evses}
        self._random = random
        self._armed: dict[DERControl, _Armed] = {}
        self._enter: EnterService | None = None
        self._soft_s = 0.0
        self._values: dict[str, float] = {}
        self._cause: _Armed | None = None

    # -- what is in force

    def apply(self, controls: Iterable[SetDERControlRequest], now: float, *, starting: bool) -> None:
        """Apply exactly these controls. `starting`: with EnterService no EVSE is in service yet."""
        found = {control.control_type: control for control in controls}
        armed: dict[DERControl, _Armed] = {}
        for control_type, kind in CURVES.items():
            request = found.get(control_type)
            if request is None or request.curve is None or kind.yields_to in found or _continues(request):
                continue
            old = self._armed.get(control_type)
            armed[control_type] = old if old is not None and old.request == request else _Armed(request, kind, 100.0)
        self._armed = armed
        self._enter = found["EnterService"].enter_service if "EnterService" in found else None
        gradients = found["Gradients"].gradient if "Gradients" in found else None
        self._soft_s = 100 / gradients.soft_gradient if gradients is not None and gradients.soft_gradient > 0 else 0.0
        if starting and self._enter is not None:
            for service in self.services.values():
                service.leave()
        for of, value in self._values.items():
            self._feed(of, value, now)
        self.tick(now)

    def measured(self, values: Mapping[str, float], now: float) -> None:
        """Set the measured grid frequency (`hz`) and voltage (`v`, percent); omitted values are unknown."""
        self._values = dict(values)
        for of, value in self._values.items():
            self._feed(of, value, now)
        self.tick(now)

    def _feed(self, of: str, value: float, now: float) -> None:
        for armed in self._armed.values():
            if armed.kind.of == of:
                armed.feed(value, now)

    # -- consequences

    def tick(self, now: float) -> None:
        """Trip, cease or return where due."""
        for armed in self._armed.values():
            due = armed.due()
            if due is not None and due <= now:
                self._cease(armed)
        rule, good = self._rule(), self._is_good()
        for service in self.services.values():
            service.tick(rule, good=good, now=now, random=self._random)
        if not any(service.out for service in self.services.values()):
            self._cause = None

    def _cease(self, armed: _Armed) -> None:
        worse = self._cause is None or (armed.kind.trips and not self._cause.kind.trips)
        if worse:
            self._cause = armed
        for service in self.services.values():
            if worse or not service.out:
                service.leave()

    def _is_good(self) -> bool:
        """Return whether nothing prevents EVSEs from returning to service."""
        cause = self._cause
        tripping = [armed for armed in self._armed.values() if armed.watch.beyond or armed.above_since is not None]
        if any(armed.kind.trips or armed is cause for armed in tripping):
            return False
        return self._rule().allows(self._values.get("hz"), self._values.get("v"))

    def _rule(self) -> ReturnToService:
        """Return when operation resumes: by EnterService, else (as after a momentary cessation) by the curve."""
        cause = self._cause
        if self._enter is not None and (cause is None or cause.kind.trips):
            enter = self._enter
            return ReturnToService(
                low_hz=enter.low_freq,
                high_hz=enter.high_freq,
                low_v=enter.low_voltage,
                high_v=enter.high_voltage,
                delay_s=enter.delay or 0.0,
                random_s=enter.random_delay or 0.0,
                ramp_s=self._soft_s if enter.ramp_rate is None else enter.ramp_rate,
            )
        curve = cause.request.curve if cause is not None else None
        hysteresis = curve.hysteresis if curve is not None else None
        if cause is None or hysteresis is None:
            return ReturnToService(ramp_s=self._soft_s if cause is not None and cause.kind.trips else 0.0)
        low, high = hysteresis.hysteresis_low, hysteresis.hysteresis_high
        gradient = hysteresis.hysteresis_gradient or 0.0
        by_hz = cause.kind.of == "hz"
        return ReturnToService(
            low_hz=low if by_hz else None,
            high_hz=high if by_hz else None,
            low_v=None if by_hz else low,
            high_v=None if by_hz else high,
            delay_s=hysteresis.hysteresis_delay or 0.0,
            ramp_s=100 / gradient if gradient > 0 else 0.0,
        )

    @property
    def acting(self) -> Acting | None:
        """The curve that keeps EVSEs from energizing, None if none does."""
        return self._cause.acting if self._cause is not None else None

    @property
    def tripped(self) -> bool:
        """Whether EVSEs are out of service because of a trip, whose time has passed, not of a cessation."""
        return self._cause is not None and self._cause.kind.trips

    def due(self, now: float) -> float | None:
        """Return when `tick` is due without a measurement."""
        acts = [armed.due() for armed in self._armed.values() if armed is not self._cause]
        times = [at for at in acts if at is not None and at > now]
        times += [at for service in self.services.values() if (at := service.due(now)) is not None]
        return min(times, default=None)


def _continues(request: SetDERControlRequest) -> bool:
    """Return whether active power continues during a momentary cessation."""
    params = request.curve.voltage_params if request.curve is not None else None
    return params is not None and params.power_during_cessation == "Active"
