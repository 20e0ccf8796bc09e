"""Usage of a transaction from its events: the input of its cost (block I)."""

from decimal import Decimal
from typing import Final

import msgspec

from csms.domain.transactions.transactions import Transaction
from v2g.energy.settlement.costing import Usage
from v2g.energy.settlement.intervals import Registers, Timeline

_LONGEST_MS: Final = 366 * 86_400_000
_EARLIEST_MS, _LATEST_MS = 0, 32_503_680_000_000  # to the year 3000
"""Plausible times of stations' clocks; a transaction lasts at most a year. Times beyond are not priced."""


class Moment(msgspec.Struct, frozen=True):
    """Cost-relevant content of one transaction event; `None` where absent. Registers in Wh, as decimal text."""

    at_ms: int
    charging: bool | None = None
    import_wh: str | None = None
    export_wh: str | None = None


def usage_of(transaction: Transaction, moments: list[Moment], end_ms: int, *, reserved_ms: int | None = None) -> Usage:
    """Return a transaction's usage, from its events in order of seqNo, up to its end or, before that, `end_ms`.

    Falling registers and clocks keep their highest value: the billed amount never falls.
    """
    start_ms = transaction.started_ms if transaction.started_ms is not None else min(each.at_ms for each in moments)
    start_ms = max(_EARLIEST_MS, min(start_ms, _LATEST_MS))
    end_ms = max(start_ms, end_ms if transaction.ended_ms is None else transaction.ended_ms)
    end_ms = min(end_ms, start_ms + _LONGEST_MS)
    charging: list[tuple[int, bool]] = []
    starts = transaction.import_start_wh, transaction.export_start_wh
    import_mwh, export_mwh = (_mwh(None if start is None else start.value) for start in starts)
    readings: list[Registers] = []
    at = start_ms
    for moment in moments:
        at = min(max(at, moment.at_ms), end_ms)
        if moment.import_wh is not None or moment.export_wh is not None:
            import_mwh = max(import_mwh, _mwh(moment.import_wh))
            export_mwh = max(export_mwh, _mwh(moment.export_wh))
            readings.append(Registers(at, import_mwh, export_mwh))
        if moment.charging is not None and (not charging or charging[-1][1] != moment.charging):
            charging.append((at, moment.charging))
    return Usage(
        start_ms=start_ms, end_ms=end_ms, readings=tuple(readings), charging=tuple(charging), reserved_ms=reserved_ms
    )


def energy_between(usage: Usage, start_ms: int, end_ms: int) -> int:
    """Return the energy taken less what was fed back in `[start_ms, end_ms)`, mWh: even between two readings, none
    before the first and after the last.
    """
    if not usage.readings:
        return 0
    first, last = usage.readings[0].utc_ms, usage.readings[-1].utc_ms
    timeline = Timeline(usage.readings)
    begin, end = (timeline.at(min(max(first, each), last)) for each in (start_ms, end_ms))
    return (end.import_mwh - begin.import_mwh) - (end.export_mwh - begin.export_mwh)


def _mwh(watt_hours: str | None) -> int:
    return int(Decimal(watt_hours).scaleb(3)) if watt_hours is not None else 0
