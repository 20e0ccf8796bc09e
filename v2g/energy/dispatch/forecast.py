"""What a fleet will draw, and by how much it can deviate, with quantiles: by similar quarter hours before (R186).

Days alike are those of the same weekday, less so other working days or days off, and of lately. How good that is, is
measured on days that it has not seen, beside a naive line: what flowed a week before at the same time.
"""

import bisect
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Literal

import msgspec

from v2g.units import DAY_MS, QUARTER_MS

Series = Literal["load", "up", "down"]
SERIES: Final[tuple[Series, ...]] = ("load", "up", "down")
LEVELS: Final = 0.1, 0.5, 0.9
"""The quantiles of a forecast."""
LEAST_DAYS: Final = 7
"""Fewer days have no line to compare with."""
MOST_DAYS: Final = 84
"""Older days are not used."""

_NEIGHBOURS: Final = 2
"""Quarter hours before and after that count as alike."""
_HALF_LIFE_DAYS: Final = 21.0
_SAME_KIND, _OTHER_KIND = 0.5, 0.02
_SATURDAY: Final = 5


class FleetQuarter(msgspec.Struct, frozen=True):
    """A quarter hour from `at_ms` (UTC) on: the power of all vehicles (W, negative out of them), and by how much they
    could go up and down from there, W as magnitudes."""

    at_ms: int
    load_w: int
    up_w: int
    down_w: int

    def value(self, series: Series) -> int:
        return self.load_w if series == "load" else self.up_w if series == "up" else self.down_w


class Quantiles(msgspec.Struct, frozen=True):
    """Values that are not exceeded with a probability of 10, 50 and 90 %, W."""

    low: int
    middle: int
    high: int


class QuarterForecast(msgspec.Struct, frozen=True, kw_only=True):
    """What is expected of a quarter hour from `at_ms` (UTC) on."""

    at_ms: int
    load_w: Quantiles
    up_w: Quantiles
    down_w: Quantiles


class Skill(msgspec.Struct, frozen=True, kw_only=True):
    """Mean pinball loss (W) over so many `days` that were forecast by what was before each, and that of the naive
    line."""

    days: int
    loss_w: float
    naive_w: float


def pinball(quantiles: Quantiles, value: float) -> float:
    """Return the mean pinball loss of quantiles for what came, W."""
    losses = (
        max(level * (value - each), (level - 1) * (value - each))
        for level, each in zip(LEVELS, (quantiles.low, quantiles.middle, quantiles.high), strict=True)
    )
    return sum(losses) / len(LEVELS)


class _Past:
    """Past quarter hours by local day and place in it."""

    def __init__(self, past: Sequence[FleetQuarter], zone: tzinfo) -> None:
        self._zone = zone
        self.days: dict[int, dict[int, FleetQuarter]] = {}
        for each in past:
            day, place = self.place(each.at_ms)
            self.days.setdefault(day, {})[place] = each

    def place(self, at_ms: int) -> tuple[int, int]:
        """Return the local day, by its ordinal number, and the quarter hour of it."""
        local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self._zone)
        return local.toordinal(), local.hour * 4 + local.minute // 15

    def alike(self, day: int) -> list[tuple[float, Mapping[int, FleetQuarter]]]:
        """Return the days before one with their weights."""
        found: list[tuple[float, Mapping[int, FleetQuarter]]] = []
        for other, quarters in self.days.items():
            age = day - other
            if 0 < age <= MOST_DAYS:
                kind = 1.0 if age % 7 == 0 else _SAME_KIND if _is_off(day) == _is_off(other) else _OTHER_KIND
                found.append((kind * 0.5 ** (age / _HALF_LIFE_DAYS), quarters))
        return found

    def quantiles(
        self, alike: Sequence[tuple[float, Mapping[int, FleetQuarter]]], place: int, series: Series
    ) -> Quantiles | None:
        """Return the weighted quantiles of a quarter hour; None without any like it."""
        near = range(max(0, place - _NEIGHBOURS), min(96, place + _NEIGHBOURS + 1))
        values = sorted(
            (quarters[each].value(series), weight / (1 + abs(each - place)))
            for weight, quarters in alike
            for each in near
            if each in quarters
        )
        if not values:
            return None
        sums = list(itertools.accumulate(weight for _, weight in values))
        low, middle, high = (
            values[min(len(values) - 1, bisect.bisect_left(sums, level * sums[-1]))][0] for level in LEVELS
        )
        return Quantiles(low, middle, high)


def _is_off(day: int) -> bool:
    return datetime.fromordinal(day).weekday() >= _SATURDAY


def forecast(
    past: Sequence[FleetQuarter], from_ms: int, to_ms: int, *, zone: tzinfo = UTC
) -> tuple[QuarterForecast, ...]:
    """Return a forecast for each quarter hour of `[from_ms, to_ms)` by what was before; those without any like them
    before are left out. `zone`: that of habits."""
    known = _Past([each for each in past if each.at_ms < from_ms], zone)
    alike: dict[int, list[tuple[float, Mapping[int, FleetQuarter]]]] = {}
    found = []
    for at_ms in range(from_ms - from_ms % QUARTER_MS, to_ms, QUARTER_MS):
        day, place = known.place(at_ms)
        if day not in alike:
            alike[day] = known.alike(day)
        load, up, down = (known.quantiles(alike[day], place, each) for each in SERIES)
        if load is not None and up is not None and down is not None:
            found.append(QuarterForecast(at_ms=at_ms, load_w=load, up_w=up, down_w=down))
    return tuple(found)


def skill(past: Sequence[FleetQuarter], *, days: int = 14, zone: tzinfo = UTC) -> dict[Series, Skill]:
    """Return how good forecasts of each of the last days would have been, by what was before that day alone."""
    known = _Past(past, zone)
    tried = [day for day in sorted(known.days) if day - 7 in known.days][-days:]
    found = {}
    for series in SERIES:
        losses, naive = [], []
        for day in tried:
            alike = known.alike(day)
            for place, each in known.days[day].items():
                quantiles, before = known.quantiles(alike, place, series), known.days[day - 7].get(place)
                if quantiles is not None and before is not None:
                    losses.append(pinball(quantiles, each.value(series)))
                    naive.append(pinball(Quantiles(*[before.value(series)] * 3), each.value(series)))
        count = max(1, len(losses))
        found[series] = Skill(days=len(tried), loss_w=sum(losses) / count, naive_w=sum(naive) / count)
    return found


def since_ms(now_ms: int) -> int:
    """Return from when on past quarter hours matter."""
    return now_ms - int(timedelta(days=MOST_DAYS) / timedelta(milliseconds=1)) - DAY_MS
