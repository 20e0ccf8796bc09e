"""Downtime 72 hours ahead (R123): signs of wear that grow towards the limit at which a vehicle stops.

Signs are means over half a day, in proportion of the way from the vehicle's own first days (0) to the limit (1). A line
through the last days, and one through their logarithms, say where a sign is in 72 hours; wear grows faster than the
first and slower than the second. Faults without a sign, such as a fuse, are not foreseen.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.battery.sample import Sample

AHEAD_H: Final = 72
_SLOT_MS: Final = 12 * 3_600_000
_FIRST: Final = 10
"""Slots that tell what is normal for a vehicle."""
_FITTED: Final = 6
_LEAST: Final = 0.02
"""Below that a sign has no logarithm."""


class DowntimeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where vehicles stop, and what is a forecast. The latter is tuned on fleets of `benchmarks.fleets.trips`."""

    imbalance_v: Annotated[float, Meta(gt=0, le=5, description="difference of cells at which it stops, V")] = 0.15
    resistance: Annotated[float, Meta(gt=1, le=100, description="resistance at which it stops, of the first days'")] = (
        2.0
    )
    flow: Annotated[float, Meta(gt=0, lt=1, description="coolant flow at which it stops, of the first days'")] = 0.5
    per_kelvin: Annotated[float, Meta(ge=0, le=0.2, description="resistance that is lost per kelvin")] = 0.02
    aim_h: Annotated[
        float, Meta(gt=0, le=72, description="forecasts are for this time, so that errors stay within 72 h, h")
    ] = 36.0
    clears: Annotated[float, Meta(gt=0, le=1, description="sign by then at which a forecast is withdrawn")] = 0.7
    least: Annotated[float, Meta(ge=0, le=1, description="smallest sign, of its limit")] = 0.4
    sure: Annotated[float, Meta(ge=0, le=100, description="slope in its standard errors")] = 2.0


class Trend(msgspec.Struct, frozen=True):
    """A sign: the present slot, the first slots until `normal` is known, and the last ones."""

    slot: int
    total: float = 0.0
    samples: int = 0
    first: tuple[float, ...] = ()
    normal: float | None = None
    last: tuple[tuple[int, float], ...] = ()


class DowntimeState(msgspec.Struct, frozen=True):
    """Signs by name, and those of which downtime is expected."""

    trends: dict[str, Trend] = {}
    expected: tuple[str, ...] = ()


def signs(settings: DowntimeSettings, values: Mapping[str, float]) -> dict[str, float]:
    """Return the signs in a sample: V, ohm at 25 degC, l/min."""
    found = {}
    if (imbalance := values.get("battery.cell_voltage.imbalance")) is not None:
        found["imbalance"] = imbalance
    if (resistance := values.get("battery.resistance")) is not None:
        celsius = values.get("battery.temperature.mean", values.get("battery.temperature.max", 25.0))
        found["resistance"] = resistance * math.exp(settings.per_kelvin * (celsius - 25.0))
    if (flow := values.get("battery.coolant.flow", 0.0)) > 0.5:  # else the pump rests
        found["flow"] = flow
    return found


def step(settings: DowntimeSettings, state: DowntimeState, sample: Sample) -> DowntimeState:
    """Take a sample; a forecast is made when half a day is over."""
    slot, trends, ended = sample.at_ms // _SLOT_MS, dict(state.trends), False
    for name, value in signs(settings, sample.values).items():
        trend = trends.get(name) or Trend(slot)
        if slot < trend.slot:
            continue
        if slot > trend.slot:
            trend, ended = _ended(trend, slot), True
        trends[name] = msgspec.structs.replace(trend, total=trend.total + value, samples=trend.samples + 1)
    expected = state.expected
    if ended:
        expected = tuple(
            name for name, each in trends.items() if _expects(settings, name, each, before=name in state.expected)
        )
    return DowntimeState(trends, expected)


def _ended(trend: Trend, slot: int) -> Trend:
    mean = trend.total / trend.samples
    if trend.normal is None:
        first = (*trend.first, mean)
        done = len(first) >= _FIRST
        return Trend(slot, first=() if done else first, normal=median(first) if done else None)
    return Trend(slot, normal=trend.normal, last=(*trend.last, (trend.slot, mean))[-_FITTED:])


def _expects(settings: DowntimeSettings, name: str, trend: Trend, *, before: bool) -> bool:
    """Return whether a sign is expected to reach its limit; `before`: whether it was."""
    normal, last = trend.normal, trend.last
    if normal is None or len(last) < _FITTED // 2:
        return False
    limit = {
        "imbalance": settings.imbalance_v,
        "resistance": settings.resistance * normal,
        "flow": settings.flow * normal,
    }[name]
    if limit <= normal and name != "flow":  # it does not stop this vehicle
        return False
    points = [(slot - last[-1][0], (mean - normal) / (limit - normal)) for slot, mean in last]
    ahead = settings.aim_h * 3_600_000 / _SLOT_MS + 0.5  # from the middle of the last slot
    now, slope, error = _line(points)
    if before:
        return now + ahead * slope >= settings.clears
    if now < settings.least or slope < settings.sure * error:
        return False
    log_now, log_slope, _ = _line([(slot, math.log(max(_LEAST, sign))) for slot, sign in points])
    by_line = fmean((sign - now - slope * x) ** 2 for x, sign in points)
    by_curve = fmean((sign - math.exp(log_now + log_slope * x)) ** 2 for x, sign in points)
    curve = by_line / (by_line + by_curve) if by_line else 0.0
    grown = math.exp(min(3.0, log_now + ahead * log_slope))
    return curve * grown + (1 - curve) * (now + ahead * slope) >= 1.0


def _line(points: Sequence[tuple[int, float]]) -> tuple[float, float, float]:
    """Return value at 0 and slope of the least-squares line, and the slope's standard error."""
    middle, mean = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - middle) ** 2 for x, _ in points)
    slope = sum((x - middle) * (y - mean) for x, y in points) / spread
    rest = sum((y - mean - slope * (x - middle)) ** 2 for x, y in points)
    return mean - slope * middle, slope, math.sqrt(rest / (len(points) - 2) / spread)
