"""Scores of a vehicle (R214): its driver, its brakes, its battery's heat, and downtime 72 hours ahead (R123).

They are only kept with the consent of the vehicle's person (group `scores`). Each is shown with its precision and
recall on labelled fleets of another generator than the one that tuned it: `python -m benchmarks scores`, which says how
wrong the labels are. `DailyMeans` tell when a fleet leaves the world of its first weeks, so that figures may not hold.
"""

import math
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.battery import downtime as _downtime
from v2g.battery import driving as _driving
from v2g.battery.sample import Sample
from v2g.units import DAY_MS

_LONGEST_MS: Final = 6 * 3_600_000
"""Between two temperatures of a battery, which change slowly."""
_GAS: Final = 8.314
_ROOM_K: Final = 298.15
_REFERENCE: Final = 28
"""Days that tell what is normal for a vehicle."""
_RECENT: Final = 7.0
"""Days of which later means are."""
_SHIFT, _ERRORS, _FEWEST = 0.10, 3.0, 5
"""A drift is a change of the vehicles' median by that share, and so many standard errors, of so many vehicles."""
_NORMAL: Final = 1.86
"""Standard error of a median, of the median absolute deviation by the root of the number, where all is normal."""


class ScoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What counts, and for how much."""

    driving: _driving.DrivingSettings = _driving.DrivingSettings()
    downtime: _downtime.DowntimeSettings = _downtime.DowntimeSettings()
    heat_j_per_mol: Annotated[
        float, Meta(gt=0, le=200_000, description="activation energy of a battery's ageing at rest, J/mol")
    ] = 45_000.0
    strong_per_100_km: Annotated[float, Meta(gt=0, le=1000, description="strong accelerations that are many")] = 15.0
    brakes_mj_per_100_km: Annotated[float, Meta(gt=0, le=1000, description="energy of brakes that is much")] = 4.0
    heat: Annotated[float, Meta(gt=1, le=100, description="ageing that is fast, of that at 25 degC")] = 1.5


class DailyMeans(msgspec.Struct, frozen=True):
    """Daily means of a quantity: that of the present day, of the first days, and of the last ones."""

    total: float = 0.0
    samples: int = 0
    days: int = 0
    reference: float = 0.0
    recent: float = 0.0


class ScoreState(msgspec.Struct, frozen=True):
    """What scores are made of, since consent was given. `heat_s`: seconds, weighted by ageing."""

    since_ms: int = 0
    at_ms: int = 0
    driving: _driving.DrivingState = _driving.DrivingState()
    downtime: _downtime.DowntimeState = _downtime.DowntimeState()
    heat: float | None = None
    """How fast the battery ages by the last sample, of 25 degC and half full."""
    heat_s: float = 0.0
    known_s: float = 0.0
    shifts: dict[str, DailyMeans] = {}


class ScoreFigures(msgspec.Struct, frozen=True):
    """How good a score is on fleets of another generator."""

    precision: float
    recall: float


FIGURES: Final[Mapping[str, ScoreFigures]] = {
    "strong_accelerations": ScoreFigures(0.87, 0.94),
    "phantom_brakings": ScoreFigures(0.76, 0.78),
    "cold_idlings": ScoreFigures(0.97, 0.91),
    "brake_wear": ScoreFigures(0.91, 0.86),
    "heat_stress": ScoreFigures(0.89, 1.00),
    "downtime": ScoreFigures(0.87, 0.82),
}
"""The lower ones of two held-out fleets, which a test holds: of events; of brakes and heat, of vehicles above their
fleet's median; of downtime, of alarms 6 to 72 hours before a fault."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """A score, and its precision and recall in tests. `limit`: beyond it the score is `bad`; None: it has none."""

    name: str
    value: float
    unit: str
    limit: float | None
    bad: bool
    precision: float
    recall: float


class Drift(msgspec.Struct, frozen=True):
    """A quantity of a fleet that has changed by this share since the first weeks, in the median of so many vehicles."""

    name: str
    share: float
    vehicles: int


def step(settings: ScoreSettings, state: ScoreState, sample: Sample, context: str) -> ScoreState:
    """Take a sample; one that is not after the last one changes nothing."""
    if sample.at_ms <= state.at_ms:
        return state
    driven = _driving.step(settings.driving, state.driving, sample, context)
    heat, seconds = ageing(settings, sample.values), (sample.at_ms - state.at_ms) / 1000
    mean = None if heat is None or state.heat is None else (heat + state.heat) / 2
    known_s = 0.0 if mean is None or seconds * 1000 > _LONGEST_MS else seconds
    return ScoreState(
        since_ms=state.since_ms or sample.at_ms,
        at_ms=sample.at_ms,
        driving=driven,
        downtime=_downtime.step(settings.downtime, state.downtime, sample),
        heat=heat,
        heat_s=state.heat_s + known_s * (mean or 0.0),
        known_s=state.known_s + known_s,
        shifts=_shifted(state, sample, {**_driven(state.driving, driven), **_kept(settings, sample, heat)}),
    )


def ageing(settings: ScoreSettings, values: Mapping[str, float]) -> float | None:
    """Return how fast a battery ages at rest, of 25 degC and half full (Arrhenius); None without temperature."""
    celsius = values.get("battery.temperature.mean", values.get("battery.temperature.max"))
    if celsius is None or celsius < -100:
        return None
    charge = values.get("battery.soc", 50.0) / 100
    return (0.6 + 0.8 * charge) * math.exp(settings.heat_j_per_mol / _GAS * (1 / _ROOM_K - 1 / (celsius + 273.15)))


def _driven(before: _driving.DrivingState, now: _driving.DrivingState) -> dict[str, float]:
    """Return quantities of a vehicle that moves."""
    if len(now.recent) < 2 or now.driven_s == before.driven_s:
        return {}
    (then_ms, then), (at_ms, speed) = now.recent[-2:]
    return {"speed": speed, "acceleration": abs(speed - then) / (at_ms - then_ms) * 1000, "power": abs(now.power_w)}


def _kept(settings: ScoreSettings, sample: Sample, heat: float | None) -> dict[str, float]:
    found = _downtime.signs(settings.downtime, sample.values)
    return found if heat is None else {**found, "heat": heat}


def _shifted(state: ScoreState, sample: Sample, values: Mapping[str, float]) -> dict[str, DailyMeans]:
    shifts = state.shifts
    if sample.at_ms // DAY_MS != state.at_ms // DAY_MS:
        shifts = {name: _next_day(each) for name, each in shifts.items()}
    if not values:
        return shifts
    shifts = dict(shifts)
    for name, value in values.items():
        old = shifts.get(name) or DailyMeans()
        shifts[name] = DailyMeans(old.total + value, old.samples + 1, old.days, old.reference, old.recent)
    return shifts


def _next_day(shift: DailyMeans) -> DailyMeans:
    if not shift.samples:
        return shift
    mean, days = shift.total / shift.samples, shift.days + 1
    if days <= _REFERENCE:
        return DailyMeans(days=days, reference=shift.reference + (mean - shift.reference) / days)
    weight = 1 / min(_RECENT, days - _REFERENCE)
    return DailyMeans(days=days, reference=shift.reference, recent=shift.recent + weight * (mean - shift.recent))


def drifts(states: Iterable[ScoreState]) -> tuple[Drift, ...]:
    """Return what has shifted in a fleet: scores may be worse than their figures (R214)."""
    changes: dict[str, list[float]] = {}
    for state in states:
        for name, each in state.shifts.items():
            if each.days >= _REFERENCE + _RECENT and each.reference > 0 and each.recent > 0:
                changes.setdefault(name, []).append(math.log(each.recent / each.reference))
    found = []
    for name, logs in sorted(changes.items()):
        if len(logs) < _FEWEST:
            continue
        middle = median(logs)  # a few that wear out are no drift
        spread = median(abs(each - middle) for each in logs)
        if abs(math.expm1(middle)) >= _SHIFT and abs(middle) >= _ERRORS * _NORMAL * spread / math.sqrt(len(logs)):
            found.append(Drift(name, math.expm1(middle), len(logs)))
    return tuple(found)


def scores(settings: ScoreSettings, state: ScoreState) -> tuple[Score, ...]:
    """Return the scores that are known so far."""
    driven, found = state.driving, list[Score]()

    def add(name: str, value: float, unit: str, limit: float | None, figures: str | None = None) -> None:
        figure = FIGURES[figures or name]
        bad = limit is not None and value >= limit
        found.append(Score(name=name, value=value, unit=unit, limit=limit, bad=bad, **msgspec.structs.asdict(figure)))

    if driven.km >= 1:
        hundreds = driven.km / 100
        add("strong_accelerations", driven.strong / hundreds, "/100 km", settings.strong_per_100_km)
        add("phantom_brakings", driven.phantoms / hundreds, "/100 km", None)
        add("cold_idlings", driven.idle_s / 3600, "h", None)
        add("brake_wear", driven.brakes_j / 1e6 / hundreds, "MJ/100 km", settings.brakes_mj_per_100_km)
    if state.known_s >= 3600:
        add("heat_stress", state.heat_s / state.known_s, "of 25 degC", settings.heat)
    if any(each.normal is not None for each in state.downtime.trends.values()):
        add("downtime", float(bool(state.downtime.expected)), "in 72 h", 1.0)
    return tuple(found)
