"""What a plan is made from: vehicles with their needs, and the site's prices, limits and forecasts over time."""

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.asn1.discharge import MicroPerKwh
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import MOST_W, SignedWatts, Watts
from v2g.units import HOUR_MS, MINUTE_MS, QUARTER_MS

WattHours = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Efficiency = Annotated[float, Meta(ge=0.5, le=1.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Celsius = Annotated[float, Meta(ge=-60.0, le=80.0)]
Curve = Annotated[tuple[tuple[Celsius, Share], ...], Meta(min_length=1, max_length=100)]


class FleetVehicle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vehicle that is connected from `arrival_ms` (None: already) to `departure_ms` (None: beyond the plan).

    `energy_wh`: now, or expected at arrival. `target_wh`: wanted at departure (soft). `reserve_wh`: discharging ends
    there (hard); a vehicle below it is only charged until it has reached it. Efficiencies: of each direction, between
    connection and battery.
    `wear_micro_per_kwh`: cost of a kWh taken out of the battery (`earnings.wear_micro_per_kwh`). Where not all targets
    can be met, higher `priority` goes first.
    """

    id: Annotated[str, Meta(min_length=1, max_length=100)]
    energy_wh: WattHours
    capacity_wh: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    target_wh: WattHours
    reserve_wh: WattHours = 0
    charge_w: Watts
    discharge_w: Watts = 0
    charge_efficiency: Efficiency = 1.0
    discharge_efficiency: Efficiency = 1.0
    wear_micro_per_kwh: Annotated[int, Meta(ge=0, le=10**12)] = 0
    arrival_ms: int | None = None
    departure_ms: int | None = None
    priority: Annotated[int, Meta(ge=-9, le=9)] = 0

    def __post_init__(self) -> None:
        """Reject energies above the capacity, and a departure before the arrival."""
        if max(self.energy_wh, self.target_wh, self.reserve_wh) > self.capacity_wh:
            raise ValueError(f"vehicle {self.id}: energy, target and reserve must not exceed its capacity")
        if self.departure_ms is not None and self.departure_ms <= (self.arrival_ms or 0):
            raise ValueError(f"vehicle {self.id}: departure must be after arrival")


class Period(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices, limits and forecasts of the site from `start_ms` to `end_ms`, excluded.

    `import_limit_w`, `export_limit_w`: at the grid connection (hard). `load_w`: everything that the plan does not
    control, without the sun. `pv_w`: generation, which may be curtailed. `discharge`: whether vehicles may discharge.
    """

    start_ms: int
    end_ms: int
    import_price: MicroPerKwh
    export_compensation: MicroPerKwh
    import_limit_w: Watts = MOST_W
    export_limit_w: Watts = MOST_W
    load_w: Watts = 0
    pv_w: Watts = 0
    temperature_c: Celsius | None = None
    discharge: bool = True

    @property
    def ms(self) -> int:
        """Its duration."""
        return self.end_ms - self.start_ms

    @property
    def hours(self) -> float:
        """Its duration."""
        return self.ms / HOUR_MS

    @property
    def base_w(self) -> SignedWatts:
        """Power at the grid connection without vehicles, negative if fed in."""
        return self.load_w - self.pv_w

    def presence(self, vehicle: FleetVehicle) -> float:
        """Return the share of the period in which a vehicle is connected, 0 to 1."""
        begin = self.start_ms if vehicle.arrival_ms is None else max(self.start_ms, vehicle.arrival_ms)
        end = self.end_ms if vehicle.departure_ms is None else min(self.end_ms, vehicle.departure_ms)
        return max(0, end - begin) / self.ms


class Climate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How temperature bounds and prices charging: curves of (degrees C, share of the power), linear between points.

    Above `cool_c` each kWh charged costs `heat_micro_per_kwh_k` more per kelvin (wear by heat, and cooling). The
    default curves are assumptions for lithium-ion batteries; a maker's figures replace them.
    """

    charge: Curve = ((-20.0, 0.0), (0.0, 0.3), (15.0, 1.0), (40.0, 1.0), (55.0, 0.0))
    discharge: Curve = ((-30.0, 0.0), (0.0, 0.8), (10.0, 1.0), (45.0, 1.0), (60.0, 0.0))
    cool_c: Celsius = 25.0
    heat_micro_per_kwh_k: Annotated[int, Meta(ge=0, le=10**9)] = 0

    def __post_init__(self) -> None:
        """Reject curves whose temperatures do not rise."""
        for curve in (self.charge, self.discharge):
            if any(before[0] >= after[0] for before, after in itertools.pairwise(curve)):
                raise ValueError("temperatures of a derating curve must rise")


NO_CLIMATE: Final = Climate(charge=((0.0, 1.0),), discharge=((0.0, 1.0),))
"""Temperature has no effect."""


class DispatchProblem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A site's vehicles, and its periods without gaps. Energy above the target at departure is sold if that pays."""

    periods: Annotated[tuple[Period, ...], Meta(min_length=1, max_length=3000)]
    vehicles: Annotated[tuple[FleetVehicle, ...], Meta(max_length=10_000)]
    climate: Climate = NO_CLIMATE

    def __post_init__(self) -> None:
        """Reject gaps, empty periods, and two vehicles of one name."""
        if any(period.ms < 1 for period in self.periods):
            raise ValueError("a period has no length")
        if any(after.start_ms != before.end_ms for before, after in itertools.pairwise(self.periods)):
            raise ValueError("periods must follow each other without a gap")
        if len({each.id for each in self.vehicles}) != len(self.vehicles):
            raise ValueError("two vehicles have the same id")

    @property
    def start_ms(self) -> int:
        """Start of the plan."""
        return self.periods[0].start_ms

    @property
    def end_ms(self) -> int:
        """End of the plan."""
        return self.periods[-1].end_ms

    def target_wh(self, vehicle: FleetVehicle) -> float:
        """Return the energy wanted at departure, or, if that is later, needed at the end of the plan to reach it."""
        later_ms = max(0, (vehicle.departure_ms or 0) - self.end_ms)
        return max(0.0, vehicle.target_wh - vehicle.charge_w * vehicle.charge_efficiency * later_ms / HOUR_MS)


class PeakWindow(msgspec.Struct, frozen=True):
    """A daily window of local clock time, minutes after midnight, that may span midnight. 17:00 to 21:00: 1020,
    1260."""

    from_minute: Annotated[int, Meta(ge=0, le=1439)]
    until_minute: Annotated[int, Meta(ge=0, le=1440)]

    def contains(self, utc_ms: int, zone: tzinfo) -> bool:
        """Return whether a time is in the window."""
        clock = datetime.fromtimestamp(utc_ms / 1000, tz=UTC).astimezone(zone)
        minute = clock.hour * 60 + clock.minute
        if self.from_minute <= self.until_minute:
            return self.from_minute <= minute < self.until_minute
        return minute >= self.from_minute or minute < self.until_minute


def make_periods(
    tariff: Tariff, start_ms: int, end_ms: int, *, import_limit_w: int = MOST_W, export_limit_w: int = MOST_W
) -> tuple[Period, ...]:
    """Return periods with a tariff's prices, cut at quarter hours and where prices change; the first starts now.

    Raises RefusedError (`no_price`) at a gap of the tariff.
    """
    return tuple(
        Period(
            start_ms=begin,
            end_ms=end,
            import_price=slot.import_price,
            export_compensation=slot.export_compensation,
            import_limit_w=import_limit_w,
            export_limit_w=export_limit_w,
        )
        for piece_start, piece_end, slot in tariff.split(start_ms, end_ms)
        for begin, end in _quarters(piece_start, piece_end)
    )


def _quarters(start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    first = (start_ms // QUARTER_MS + 1) * QUARTER_MS
    return list(itertools.pairwise([start_ms, *range(first, end_ms, QUARTER_MS), end_ms]))


def with_forecast(
    periods: Sequence[Period],
    *,
    load_w: Callable[[int], int] | None = None,
    pv_w: Callable[[int], int] | None = None,
    temperature_c: Callable[[int], float | None] | None = None,
) -> tuple[Period, ...]:
    """Return periods with forecasts: functions of the period's start (UTC ms), None to keep what they have."""
    return tuple(
        msgspec.structs.replace(
            period,
            load_w=period.load_w if load_w is None else load_w(period.start_ms),
            pv_w=period.pv_w if pv_w is None else pv_w(period.start_ms),
            temperature_c=period.temperature_c if temperature_c is None else temperature_c(period.start_ms),
        )
        for period in periods
    )


def shave_peak(
    periods: Sequence[Period],
    window: PeakWindow,
    zone: tzinfo,
    *,
    import_limit_w: int,
    discharge_elsewhere: bool = False,
) -> tuple[Period, ...]:
    """Return periods with a lower import limit in a daily window, and, by default, discharging only there.

    Periods are cut where the window begins and ends.
    """
    return tuple(
        msgspec.structs.replace(each, import_limit_w=min(each.import_limit_w, import_limit_w))
        if window.contains(each.start_ms, zone)
        else msgspec.structs.replace(each, discharge=each.discharge and discharge_elsewhere)
        for period in periods
        for each in _cut(period, window, zone)
    )


def _cut(period: Period, window: PeakWindow, zone: tzinfo) -> list[Period]:
    first = (period.start_ms // MINUTE_MS + 1) * MINUTE_MS
    marks = [period.start_ms, *range(first, period.end_ms, MINUTE_MS)]
    inside = [window.contains(mark, zone) for mark in marks]
    cuts = [mark for mark, (before, now) in zip(marks[1:], itertools.pairwise(inside), strict=True) if before != now]
    edges = [period.start_ms, *cuts, period.end_ms]
    return [msgspec.structs.replace(period, start_ms=a, end_ms=b) for a, b in itertools.pairwise(edges)]
