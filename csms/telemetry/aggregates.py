"""Aggregates of telemetry: minimum, maximum, mean over time, number and last value of a signal in intervals.

A value holds until the next one of its signal, as long as no record between them is missing: the gateway sends changes,
and everything with each keyframe. So a mean weighs each value with the time that it held, and a gap has no weight.

Parts are merged in any order, and each record counts once, when it is aggregated: later deletion of records changes
nothing, and late records are added (R106). For that, each run of numbers without a gap has a `BootSegment`. Positions
have no aggregates: they stay no longer than raw records.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Final

import msgspec

WIDTHS_S: Final = (60, 900)
"""Widths of the intervals, each a multiple of the first; they begin at multiples since 1970 in UTC."""

_NARROW_MS: Final = WIDTHS_S[0] * 1000

LONGEST_HOLD_MS: Final = 3_660_000
"""Beyond the longest interval of keyframes a clock was set, or the gateway has slept: no value holds so long."""

AGGREGATES: Final = "aggregates"
"""Name of the sink that aggregates; that of no other."""

UNAGGREGATED: Final = frozenset({"location.latitude", "location.longitude"})

Interval = tuple[str, int, int]
"""(ev, width in s, begin in ms)."""

Boot = tuple[str, int]
"""(ev, boot)."""


class Aggregate(msgspec.Struct, array_like=True):
    """Values of a signal in one interval, also one that holds from before.

    `total` and `number` are of records; `integral` is the value (its unit times ms) over the `held_ms` in which one was
    known. `last` is that with the highest (last_ms, last_boot, last_seq).
    """

    minimum: float
    maximum: float
    total: float
    number: int
    last: float
    last_ms: int
    last_boot: int
    last_seq: int
    integral: float = 0.0
    held_ms: int = 0

    @property
    def mean(self) -> float:
        """The mean over time; over records, where no value is known to have held (one moment, or an older version)."""
        return self.integral / self.held_ms if self.held_ms else self.total / self.number

    def merge(self, other: "Aggregate") -> None:
        """Add other records of the same interval."""
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.total, self.number = self.total + other.total, self.number + other.number
        self.integral, self.held_ms = self.integral + other.integral, self.held_ms + other.held_ms
        self.hold_last(other.last, (other.last_ms, other.last_boot, other.last_seq))

    def hold_last(self, value: float, at: tuple[int, int, int]) -> None:
        """Take a value as the last one, if none is later."""
        if at > (self.last_ms, self.last_boot, self.last_seq):
            self.last, (self.last_ms, self.last_boot, self.last_seq) = value, at


class SignalNumbers(msgspec.Struct, frozen=True):
    """The numbers of one record, by signal."""

    ev: str
    boot: int
    seq: int
    at_ms: int
    values: Mapping[str, float]


class HeldSignal(msgspec.Struct, frozen=True, array_like=True):
    """A value, and when it was measured in which record."""

    value: float
    at_ms: int
    seq: int


class BootSegment(msgspec.Struct):
    """Records of a boot without a gap, all aggregated: when each signal has its first value (`begins`), and its last
    one (`ends`), which holds until the value that follows."""

    first_seq: int
    last_seq: int
    begins: dict[str, int]
    ends: dict[str, HeldSignal]

    @property
    def at_ms(self) -> int:
        """Time of its newest value."""
        return max((each.at_ms for each in self.ends.values()), default=0)


class Aggregation:
    """Aggregates records: `intervals` are what to add to those that are known, by signal; `segments` replace those
    given."""

    def __init__(self, segments: Mapping[Boot, Sequence[BootSegment]]) -> None:
        """`segments` of the boots of the records, as they are known."""
        self.intervals: dict[Interval, dict[str, Aggregate]] = {}
        self.segments = {boot: list(each) for boot, each in segments.items()}

    def add(self, sample: SignalNumbers) -> None:
        """Add a record that is not yet aggregated; cheapest in their order."""
        boot = sample.ev, sample.boot
        of = self.segments.setdefault(boot, [])
        if not of or of[-1].last_seq + 1 != sample.seq:
            of.append(BootSegment(sample.seq, sample.seq, {}, {}))
        segment = of[-1]
        segment.last_seq = sample.seq
        at_ms, at = sample.at_ms, (sample.at_ms, sample.boot, sample.seq)
        values = {name: value for name, value in sample.values.items() if name not in UNAGGREGATED}
        here = self._interval(sample.ev, WIDTHS_S[0], at_ms) if values else {}
        for name, value in values.items():
            if (before := segment.ends.get(name)) is None:
                segment.begins[name] = at_ms
            else:
                self._hold(boot, name, before, at_ms)
            segment.ends[name] = HeldSignal(value, at_ms, sample.seq)
            found = _value(here, name, value, at)
            found.total += value
            found.number += 1

    def finish(self) -> None:
        """Join segments that follow one another, and make the wider intervals of the narrow ones. To be called once."""
        for boot, segments in self.segments.items():
            segments.sort(key=lambda each: each.first_seq)
            joined: list[BootSegment] = []
            for each in segments:
                if joined and joined[-1].last_seq + 1 == each.first_seq:
                    # append a segment to the one before it: the last values there hold until the
                    # first ones here
                    first = joined[-1]
                    for name, at_ms in each.begins.items():
                        if (held := first.ends.get(name)) is not None:
                            self._hold(boot, name, held, at_ms)
                        else:
                            first.begins[name] = at_ms
                    first.ends |= each.ends
                    first.last_seq = each.last_seq
                else:
                    joined.append(each)
            segments[:] = joined
        for (ev, _, at_ms), narrow in tuple(self.intervals.items()):
            for width_s in WIDTHS_S[1:]:
                wide = self._interval(ev, width_s, at_ms)
                for name, part in narrow.items():
                    if name in wide:
                        wide[name].merge(part)
                    else:
                        wide[name] = copy(part)

    def _hold(self, boot: Boot, name: str, each: HeldSignal, until_ms: int) -> None:
        ev, number = boot
        if until_ms - each.at_ms > LONGEST_HOLD_MS:
            return
        at_ms = each.at_ms
        while at_ms < until_ms:
            end_ms = min(until_ms, at_ms - at_ms % _NARROW_MS + _NARROW_MS)
            found = _value(self._interval(ev, WIDTHS_S[0], at_ms), name, each.value, (at_ms, number, each.seq))
            found.integral += each.value * (end_ms - at_ms)
            found.held_ms += end_ms - at_ms
            at_ms = end_ms

    def _interval(self, ev: str, width_s: int, at_ms: int) -> dict[str, Aggregate]:
        place = ev, width_s, at_ms - at_ms % (width_s * 1000)
        if (found := self.intervals.get(place)) is None:
            found = self.intervals[place] = {}
        return found


def _value(interval: dict[str, Aggregate], name: str, value: float, at: tuple[int, int, int]) -> Aggregate:
    """Return a signal's aggregate of an interval in which it has a value, with its extremes and last value."""
    found = interval.get(name)
    if found is None:
        found = interval[name] = Aggregate(value, value, 0.0, 0, value, *at)
        return found
    if value < found.minimum:
        found.minimum = value
    elif value > found.maximum:
        found.maximum = value
    found.hold_last(value, at)
    return found
