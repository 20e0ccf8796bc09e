"""Schedule tuples as stored by the charger: power over time in both directions, and their prices."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

import msgspec

from v2g.energy.limits import Limit, limits_over
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule, PriceLevelSchedule


class PowerSpan(msgspec.Struct, frozen=True):
    """Power in W, never negative, during `[start_ms, end_ms)` of UTC."""

    start_ms: int
    end_ms: int
    power_w: int


Spans = tuple[PowerSpan, ...]
"""Consecutive spans without gaps."""


class OfferedTuple(msgspec.Struct, frozen=True):
    """One schedule tuple. `discharge` is empty if no energy may flow back."""

    tuple_id: int
    charge: Spans
    discharge: Spans = ()
    charge_prices: AbsolutePriceSchedule | PriceLevelSchedule | None = None
    discharge_prices: AbsolutePriceSchedule | PriceLevelSchedule | None = None
    available_wh: int | None = None
    """Energy available for charging, if limited."""

    def charge_w(self, utc_ms: int) -> int:
        """Return the maximum W into the vehicle at a time."""
        return power_at(self.charge, utc_ms)

    def discharge_w(self, utc_ms: int) -> int:
        """Return the maximum W out of the vehicle at a time."""
        return power_at(self.discharge, utc_ms) if self.discharge and utc_ms < self.discharge[-1].end_ms else 0


def power_at(spans: Spans, utc_ms: int) -> int:
    """Return the power at a time. The first span also applies before it, and the last one after it.

    Sources do not specify the power after the end of a schedule: present limits apply in any case.
    """
    index = bisect_right(spans, utc_ms, key=lambda span: span.start_ms) - 1
    return spans[max(0, index)].power_w


def allowed_over(
    limits: Iterable[Limit],
    utc_ms: int,
    horizon_s: int,
    *,
    charge_w: int,
    discharge_w: int = 0,
    lines: int = 0,
    volts: int = 0,
) -> tuple[list[PowerSpan], list[PowerSpan]]:
    """Return power of charge and of discharge over so many s: by the limits, as far as known, and these maxima; with
    alternating current, of so many `lines` at V between one and the neutral."""
    now = utc_ms // 1000 * 1000
    charge, discharge = [], []
    for start, end, allowed in limits_over(limits, now, now + horizon_s * 1000):
        # entries have whole seconds: an edge within one is moved to its beginning
        begin, until = start // 1000 * 1000, end // 1000 * 1000
        if until > begin:
            allowed = allowed.over(lines, volts) if lines else allowed
            charge.append(PowerSpan(begin, until, max(0, min(charge_w, allowed.charge_w))))
            discharge.append(PowerSpan(begin, until, max(0, min(discharge_w, allowed.discharge_w))))
    return charge, discharge


def merged(spans: Iterable[PowerSpan], *, at_most: int) -> Spans:
    """Return spans with equal neighbours joined, at most so many: beyond that, pairs take the lower power."""
    found = list(_joined(spans))
    while len(found) > at_most:
        pairs = [found[index : index + 2] for index in range(0, len(found), 2)]
        found = list(
            _joined(PowerSpan(pair[0].start_ms, pair[-1].end_ms, min(each.power_w for each in pair)) for pair in pairs)
        )
    return tuple(found)


def _joined(spans: Iterable[PowerSpan]) -> Iterator[PowerSpan]:
    last: PowerSpan | None = None
    for span in spans:
        if last is not None and last.power_w == span.power_w and last.end_ms == span.start_ms:
            last = PowerSpan(last.start_ms, span.end_ms, span.power_w)
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last
