"""Shifts of a battery's temperature profile, found by a Gaussian mixture (R118).

A profile is what temperatures do beside the current, in intervals of a day: how far modules are apart, how far the
hottest is above the coolant. A mixture (scikit-learn) learns it in a reference time in which the battery was sound. A
day's score is how badly the mixture explains it on average; a day of the reference is scored by a mixture that has not
seen it. The profile has shifted where each of the last days scores worse than every reference day.

If sound days are exchangeable, one day scores worse than `n` others with a probability of 1 / (n + 1): so high is the
rate of false alarms at most, however much the days depend on each other, and far less where they do not. Both rates on
labelled days: `tests/battery/test_heat_profiles.py`.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from v2g.errors import ConfigError
from v2g.telemetry.signals import MODULE_TEMPERATURE, MODULES
from v2g.units import DAY_MS

if TYPE_CHECKING:  # loading it takes more than a second
    from sklearn.mixture import GaussianMixture
    from sklearn.preprocessing import StandardScaler

WIDTH_S: Final = 900
"""Width of the intervals."""

_FOLDS: Final = 5
_LEAST_INTERVALS: Final = 24
_HOTTEST, _COLDEST = "battery.temperature.max", "battery.temperature.min"
_COOLANT, _CURRENT = "battery.temperature.coolant", "battery.current"

SIGNALS: Final = (
    _HOTTEST, _COLDEST, _COOLANT, _CURRENT, *(f"{MODULE_TEMPERATURE}.{each}" for each in range(1, MODULES + 1)),
)  # fmt: skip
"""Signals whose means make a profile; modules only where a battery has them."""

Row = tuple[float, ...]


class HeatProfileSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a shift is found."""

    days: Annotated[int, Meta(ge=1, le=30, description="days in a row that make a shift")] = 3
    least_days: Annotated[int, Meta(ge=10, le=366, description="fewest reference days")] = 20
    components: Annotated[int, Meta(ge=1, le=20, description="most components of the mixture")] = 5


class Shift(msgspec.Struct, frozen=True):
    """What the last days show."""

    shifted: bool
    false_alarm_rate: float
    """Upper bound, for sound days."""
    components: int
    scores: tuple[float, ...]
    """Of the last days, less that of the worst reference day: all are positive if the profile has shifted."""
    feature: str
    """What moved most, and by how many of its standard deviations in the reference time."""
    deviations: float


def features(means: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float] | None:
    """Return the features of an interval by the means of its signals and of those before it; None if one is missing."""
    try:
        above_k = means[_HOTTEST] - means[_COOLANT]
        found = {
            "spread": means[_HOTTEST] - means[_COLDEST],
            "above coolant": above_k,
            "rise": above_k - (before[_HOTTEST] - before[_COOLANT]),
            "heat": means[_CURRENT] ** 2,
        }
    except KeyError:
        return None
    modules = {each: means[name] for each in range(1, MODULES + 1) if (name := f"{MODULE_TEMPERATURE}.{each}") in means}
    middle = fmean(modules.values()) if modules else 0.0
    return found | {f"module {each}": value - middle for each, value in modules.items()}


def find(intervals: Mapping[int, Mapping[str, float]], settings: HeatProfileSettings = HeatProfileSettings()) -> Shift:  # noqa: B008 - it is immutable
    """Compare the last days with those before; `intervals` are mean values by signal at their begin (UTC, ms).

    Raises ConfigError where there are too few days.
    """
    by_day: dict[int, list[dict[str, float]]] = {}
    for at_ms in sorted(intervals):
        found = features(intervals[at_ms], intervals.get(at_ms - WIDTH_S * 1000, {}))
        if found is not None and all(map(math.isfinite, found.values())):
            by_day.setdefault(at_ms // DAY_MS, []).append(found)
    names = sorted({name for rows in by_day.values() for row in rows for name in row})
    complete = (
        [tuple(row[name] for name in names) for row in rows if len(row) == len(names)]
        for _, rows in sorted(by_day.items())
    )
    days = [rows for rows in complete if len(rows) >= _LEAST_INTERVALS]
    reference, last = days[: -settings.days], days[-settings.days :]
    if len(reference) < settings.least_days:
        wanted = settings.least_days + settings.days
        raise ConfigError(f"{len(days)} days with temperatures, {wanted} are needed", hint="choose a longer time")
    from sklearn.preprocessing import StandardScaler  # first: only libraries that are loaded are limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # matrices are small: threads would wait for each other most of the time
        return _compared(reference, last, names, settings, StandardScaler())


def _compared(
    reference: Sequence[Sequence[Row]],
    last: Sequence[Sequence[Row]],
    names: Sequence[str],
    settings: HeatProfileSettings,
    scale: "StandardScaler",
) -> Shift:
    scale.fit([row for day in reference for row in day])
    everything = scale.transform([row for day in reference for row in day])
    sound, recent = ([scale.transform(day) for day in each] for each in (reference, last))
    mixtures = [_mixture(everything, number) for number in range(1, settings.components + 1)]
    best = min(mixtures, key=lambda each: each.bic(everything))
    scores = []
    for fold in range(_FOLDS):
        others = [row for number, day in enumerate(sound) if number % _FOLDS != fold for row in day]
        mixture = _mixture(others, best.n_components)
        scores += [_score(mixture, day) for number, day in enumerate(sound) if number % _FOLDS == fold]
    beyond = tuple(_score(best, day) - max(scores) for day in recent)
    rows = [row for day in recent for row in day]
    moved = [fmean(float(row[place]) for row in rows) for place in range(len(names))]
    most = max(range(len(names)), key=lambda place: abs(moved[place]))
    return Shift(min(beyond) > 0, 1 / (len(sound) + 1), best.n_components, beyond, names[most], moved[most])


def _score(mixture: "GaussianMixture", day: Sequence[Row]) -> float:
    """Return the mean surprise (negative log-likelihood) of a day's most surprising tenth."""
    surprises = sorted((-float(each) for each in mixture.score_samples(day)), reverse=True)
    return fmean(surprises[: max(1, len(surprises) // 10)])


def _mixture(rows: Sequence[Row], components: int) -> "GaussianMixture":
    """Return a mixture with full covariances; the same rows give the same one."""
    from sklearn.mixture import GaussianMixture

    return GaussianMixture(components, reg_covar=1e-3, random_state=0).fit(rows)
