"""Power over time as ISO 15118-2 and DIN 70121 offer and plan it: PMaxSchedule and ChargingProfile, without messages.

Starts are in s from the start of the list, which is when ChargeParameterDiscoveryRes was sent. An entry lasts until the
next one, the last one for its duration.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from v2g.units import DAY_S

T = TypeVar("T")

USUAL_ENTRIES: Final = 24
"""Entries sent to a vehicle that names no limit; the schema has room for 1024."""

MOST_ENTRIES: Final = 1024


class Step(msgspec.Struct, frozen=True):
    """Power in W from a start in s."""

    start_s: int
    power_w: int


class PowerSchedule(msgspec.Struct, frozen=True):
    """Steps with rising starts, the first at 0, and the end in s; None: open."""

    steps: tuple[Step, ...]
    end_s: int | None = None

    def power_at(self, at_s: int) -> int | None:
        """Return W at a time; None after the end, where a vehicle has to ask again [V2G2-305]."""
        if not self.steps or (self.end_s is not None and at_s >= self.end_s):
            return None
        return next((step.power_w for step in reversed(self.steps) if step.start_s <= at_s), self.steps[0].power_w)

    def entries(self) -> Iterator[tuple[int, int | None, int]]:
        """Yield each entry as messages have it: start s, duration s or None, power W. Only the last has a duration."""
        for at, step in enumerate(self.steps, 1):
            last = at == len(self.steps)
            yield step.start_s, self.end_s - step.start_s if last and self.end_s is not None else None, step.power_w


def read(entries: Iterable[tuple[int, int | None, int]], *, of_both: Callable[[int, int], int] = min) -> PowerSchedule:
    """Return the schedule of received entries: start s, duration s or None, power W.

    A first start after 0 holds from 0 on. Of an entry that does not start later than the one before, and that one, the
    lower power holds: what is offered. Of what a vehicle plans (`of_both` is max) it is the higher one.
    """
    steps: list[Step] = []
    end: int | None = None
    for start, duration, power in entries:
        step = Step(start if steps else 0, max(0, power))
        if not steps or step.start_s > steps[-1].start_s:
            steps.append(step)
            end = None if duration is None else start + duration
        else:
            steps[-1] = Step(steps[-1].start_s, of_both(step.power_w, steps[-1].power_w))
    return PowerSchedule(tuple(steps), end)


def offered(tuples: Iterable[Any], watts: Callable[[Any], int], *, interval: type[Any]) -> Mapping[int, PowerSchedule]:
    """Return the schedules of an edition's SAScheduleTuples by their ids; `watts` returns the W of a PMax.

    Of several with the same id the first one counts: a charger that looks for it finds that. `interval` is the
    edition's RelativeTimeInterval: entries with another one have no times, and are left out.
    """
    return {
        each.sa_schedule_tuple_id: read(
            (entry.time_interval.start, entry.time_interval.duration, watts(entry.p_max))
            for entry in each.p_max_schedule.p_max_schedule_entry
            if isinstance(entry.time_interval, interval)
        )
        for each in first_of_each(tuples, lambda each: each.sa_schedule_tuple_id)
    }


def first_of_each(tuples: Iterable[T], id_of: Callable[[T], int]) -> tuple[T, ...]:
    """Return offered tuples without those whose id an earlier one has."""
    found: dict[int, T] = {}
    for each in tuples:
        found.setdefault(id_of(each), each)
    return tuple(found.values())


def exceeds(profile: PowerSchedule, allowed: PowerSchedule) -> int | None:
    """Return the first time (s) at which a vehicle's profile is above what is allowed, None if it never is.

    [V2G2-224], [V2G2-225], [V2G2-761].
    """
    for at in sorted({step.start_s for step in (*profile.steps, *allowed.steps)}):
        planned, limit = profile.power_at(at), allowed.power_at(at)
        if planned is not None and limit is not None and planned > limit:
            return at
    return None


def entries_for(max_entries: int | None) -> int:
    """Return how many entries a vehicle takes by its MaxEntriesSAScheduleTuple."""
    return USUAL_ENTRIES if max_entries is None else max(1, min(max_entries, MOST_ENTRIES))


def covering(steps: Sequence[Step], total_s: int, most: int) -> PowerSchedule:
    """Return a schedule for the next `total_s` (at least 1 s) in at most `most` entries, none above `steps`.

    It is shorter where the last entry would have to last longer than a day [V2G2-304] and no entry is left for the
    rest.
    """
    cut = merged([step for step in steps if step.start_s < total_s], most)
    while cut and total_s - cut[-1].start_s > DAY_S and len(cut) < most:
        cut = [*cut, Step(cut[-1].start_s + DAY_S, cut[-1].power_w)]
    return PowerSchedule(tuple(cut), min(total_s, cut[-1].start_s + DAY_S) if cut else 0)


def merged(steps: Sequence[Step], most: int) -> list[Step]:
    """Return at most `most` steps that are nowhere above the given ones.

    Neighbours are merged at the lower power, those first that lose the least energy. Quadratic in the number of steps,
    which are the few changes of limits that a charger foresees.
    """
    found: list[Step] = []
    for step in steps:
        if not found or step.power_w != found[-1].power_w:
            found.append(step)
    while len(found) > most:
        ends = [*(step.start_s for step in found[1:]), found[-1].start_s + DAY_S]
        costs = []
        for at in range(len(found) - 1):
            first, second = found[at], found[at + 1]
            higher = at if first.power_w > second.power_w else at + 1
            costs.append((abs(first.power_w - second.power_w) * (ends[higher] - found[higher].start_s), at))
        at = min(costs)[1]
        found[at : at + 2] = [Step(found[at].start_s, min(found[at].power_w, found[at + 1].power_w))]
    return found
