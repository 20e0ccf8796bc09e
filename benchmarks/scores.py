"""Scores of vehicles on labelled fleets: precision and recall by fleet, and whether a shifted world is noticed (R214).

Fleets of `trips` tuned the estimators, those of `traffic` are held out: another generator, which shares no code with
the first or the estimators. Labels of events are an observer's, with the errors that `benchmarks.fleets` states. An
alarm of downtime is right if the vehicle fails within 72 hours, and a failure foreseen by one at least 6 hours before.
"""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final, NamedTuple

import msgspec

from benchmarks.figures import Figure
from benchmarks.fleets import IMAGINED, JITTER_MS, MISSED, Driven, Event, Fleets, History
from benchmarks.fleets.traffic import TRAFFIC
from benchmarks.fleets.trips import TRIPS
from v2g.battery import downtime, driving, scores
from v2g.battery.sample import Sample
from v2g.units import HOUR_MS

ABOUT = "scores of vehicles on labelled simulated fleets: precision and recall by fleet, error, drift"
REQUIREMENTS = ("R214", "R123", "R60")

SETTINGS: Final = scores.ScoreSettings()
TOLERANCE_MS: Final = 5000
LEAST_H: Final = 6
"""So long before a failure an alarm is of use."""
KINDS: Final = {"strong": "strong_accelerations", "phantom": "phantom_brakings", "idle": "cold_idlings"}


class Tally(NamedTuple):
    """Right, wrong and missing."""

    hits: int = 0
    false: int = 0
    missed: int = 0

    def __add__(self, other: "Tally") -> "Tally":  # type: ignore[override]
        return Tally(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def precision(self) -> float:
        """The share of what was found that is true."""
        return self.hits / max(1, self.hits + self.false)

    @property
    def recall(self) -> float:
        """The share of what is true that was found."""
        return self.hits / max(1, self.hits + self.missed)


class Held(NamedTuple):
    """How a fleet's scores were, by name; the median error of brakes' energy and of ageing, in proportion."""

    tallies: dict[str, Tally]
    brakes_error: float
    ageing_error: float


def held(fleets: Fleets, seeds: Sequence[int], hours: float, days: int) -> Held:
    """Hold the estimators against a fleet: one of so many drives and histories."""
    tallies = {name: Tally() for name in (*KINDS.values(), "downtime")}
    brakes, ageings = list[tuple[float, float]](), list[tuple[float, float]]()
    for seed in seeds:
        driven = fleets.drives(seed, hours)
        state, events = drive(driven, fleets.mass_kg)
        for kind, name in KINDS.items():
            tallies[name] += matched([each for each in driven.events if each.kind == kind], events[kind])
        brakes.append((state.brakes_j / 1e6 / (state.km / 100), driven.brakes))
        history = fleets.history(seed, days, 0.0)
        kept, alarms = foresee(history)
        tallies["downtime"] += alarms
        ageings.append((kept.heat_s / kept.known_s, history.ageing))
    tallies |= {"brake_wear": beyond(brakes), "heat_stress": beyond(ageings)}
    return Held(tallies, _error(brakes), _error(ageings))


def _error(pairs: Sequence[tuple[float, float]]) -> float:
    return median(abs(found / true - 1) for found, true in pairs)


def drive(driven: Driven, mass_kg: float) -> tuple[driving.DrivingState, dict[str, list[int]]]:
    """Return a vehicle's state, and the times (ms) of events by kind."""
    settings = msgspec.structs.replace(SETTINGS.driving, mass_kg=mass_kg)
    state, events = driving.DrivingState(), {kind: list[int]() for kind in KINDS}
    for at_ms, context, values in driven.readings:
        after = driving.step(settings, state, Sample(at_ms, values), context)
        if after.strong > state.strong:
            events["strong"].append(at_ms)
        if after.phantoms > state.phantoms and state.doubtful is not None:
            events["phantom"].append(state.doubtful[0])
        if after.idlings > state.idlings:
            events["idle"].append(at_ms)
        state = after
    return state, events


def matched(labels: Sequence[Event], times: Sequence[int]) -> Tally:
    """Return how many times are in a label, each of which counts once."""
    open_, hits = list(labels), 0
    for at_ms in times:
        fits = (each for each in open_ if each.begin_ms - TOLERANCE_MS <= at_ms <= each.end_ms + TOLERANCE_MS)
        if (label := next(fits, None)) is not None:
            open_.remove(label)
            hits += 1
    return Tally(hits, len(times) - hits, len(open_))


def beyond(pairs: Sequence[tuple[float, float]]) -> Tally:
    """Return how well values show which vehicles are beyond the median of the true ones."""
    limit = median(true for _, true in pairs)
    signs = [(found > limit, true > limit) for found, true in pairs]
    return Tally(signs.count((True, True)), signs.count((True, False)), signs.count((False, True)))


def foresee(history: History) -> tuple[scores.ScoreState, Tally]:
    """Return a vehicle's state after its history, and how good its alarms were."""
    state, alarms, failed_ms = scores.ScoreState(), list[int](), history.failed_ms
    for at_ms, context, values in history.readings:
        before, state = state, scores.step(SETTINGS, state, Sample(at_ms, values), context)
        if state.downtime.expected and not before.downtime.expected:
            alarms.append(at_ms)
    right = [at_ms for at_ms in alarms if failed_ms is not None and failed_ms - at_ms <= downtime.AHEAD_H * HOUR_MS]
    foreseen = any(failed_ms is not None and failed_ms - at_ms >= LEAST_H * HOUR_MS for at_ms in right)
    missed = failed_ms is not None and not foreseen
    return state, Tally(int(foreseen), len(alarms) - len(right), int(missed))


def shifted(fleets: Fleets, vehicles: int, days: int, shift: float) -> tuple[scores.Drift, ...]:
    """Return what is reported of a fleet whose world shifts after half of its history."""
    return scores.drifts(foresee(fleets.history(seed, days, shift))[0] for seed in range(vehicles))


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield precision and recall of each score by fleet, errors, and what is reported of a shifted world."""
    vehicles, hours, days = (4, 0.3, 40) if quick else (150, 0.7, 90)
    note = f"labels of events: {MISSED:.0%} missing, {IMAGINED:.0%} wrong, all up to {JITTER_MS / 1000:.0f} s off"
    for fleets, role in ((TRIPS, "tuned on"), (TRAFFIC, "held out")):
        for fleet in range(1 if quick else 2):
            seeds = range(1000 + fleet * vehicles, 1000 + (fleet + 1) * vehicles)
            found = held(fleets, seeds, hours, days)
            where = f"{fleets.name} {fleet + 1} ({role})"
            for name, tally in found.tallies.items():
                yield Figure(f"{name}: precision, {where}", 100 * tally.precision, "%", note=f"{tally}; {note}")
                yield Figure(f"{name}: recall, {where}", 100 * tally.recall, "%")
            yield Figure(f"energy of brakes: median error, {where}", 100 * found.brakes_error, "%")
            yield Figure(f"ageing by heat: median error, {where}", 100 * found.ageing_error, "%")
    for shift in (0.0, 0.2, -0.2):
        drifts = shifted(TRAFFIC, max(8, vehicles // 2), 90, shift)
        words = ", ".join(f"{each.name} {each.share:+.0%}" for each in drifts)
        yield Figure(f"drifts reported of a world shifted by {shift:+.0%}", len(drifts), "quantities", note=words)
