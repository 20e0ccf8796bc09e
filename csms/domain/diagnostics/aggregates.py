"""Aggregates of telemetry: minimum, maximum, sum, number and last value of a signal in intervals.

Parts can be merged in any order, and each record counts once, when it is aggregated: later deletion of records changes
nothing, and late records are added (R106). Positions have no aggregates: they stay no longer than raw records.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

WIDTHS_S: Final = (60, 900)
"""Widths of the intervals; they begin at multiples since 1970 in UTC."""

AGGREGATES: Final = "aggregates"
"""Name of the sink that aggregates; that of no other."""

UNAGGREGATED: Final = frozenset({"location.latitude", "location.longitude"})

Interval = tuple[str, str, int, int]
"""(ev, signal, width in s, begin in ms)."""


class Aggregate(msgspec.Struct):
    """Values of one interval. `last` is that with the highest (last_ms, last_boot, last_seq)."""

    minimum: float
    maximum: float
    total: float
    number: int
    last: float
    last_ms: int
    last_boot: int
    last_seq: int


class Sample(msgspec.Struct, frozen=True):
    """The numbers of one record, by signal."""

    ev: str
    boot: int
    seq: int
    at_ms: int
    values: Mapping[str, float]


def aggregate(samples: Iterable[Sample]) -> dict[Interval, Aggregate]:
    """Return the aggregates of some records."""
    found: dict[Interval, Aggregate] = {}
    for each in samples:
        at = each.at_ms, each.boot, each.seq
        begins = [(width_s, each.at_ms - each.at_ms % (width_s * 1000)) for width_s in WIDTHS_S]
        for signal, value in each.values.items():
            if signal in UNAGGREGATED:
                continue
            for width_s, begin in begins:
                key = each.ev, signal, width_s, begin
                known = found.get(key)
                if known is None:
                    found[key] = Aggregate(value, value, value, 1, value, *at)
                    continue
                known.minimum, known.maximum = min(known.minimum, value), max(known.maximum, value)
                known.total += value
                known.number += 1
                if at > (known.last_ms, known.last_boot, known.last_seq):
                    known.last, (known.last_ms, known.last_boot, known.last_seq) = value, at
    return found
