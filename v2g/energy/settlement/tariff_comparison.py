"""What a session costs under another tariff, line by line beside what was charged.

Energy, prices and amounts are exact decimal text, as in `rows`: what the vehicle owes is positive.
"""

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.intervals import Timeline
from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.pricing import Line, reprice, standing_lines
from v2g.energy.settlement.rows import iso_time, millionths
from v2g.energy.settlement.session_journal import readings_of
from v2g.energy.settlement.settle import Settlement


class ComparedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line as charged (`price_per_kwh` is None for energy without a price), and as the tariff has it.

    `tariff_prices_per_kwh` are those that apply in the line's time, in order.
    """

    line: str
    kind: str
    direction: str
    start: str
    end: str
    energy_kwh: str
    price_per_kwh: str | None
    amount: str
    tariff_prices_per_kwh: tuple[str, ...]
    tariff_amount: str
    difference: str


class TariffComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A session as charged and under a tariff; `difference` is what it would cost more, below 0 less."""

    station_id: str
    session_id: str
    tariff: int
    currency: str
    lines: tuple[ComparedLine, ...]
    amount: str
    tariff_amount: str
    difference: str


def compare_tariff(entries: Sequence[Entry], settlement: Settlement, tariff: Tariff) -> TariffComparison:
    """Return the comparison for a verified session; lines for wear stay as they are.

    Raises RefusedError for a tariff in another currency, or without a price at some time, VerificationError for times
    beyond the calendar.
    """
    replacements: dict[str | None, list[Line]] = defaultdict(list)
    for line in reprice(settlement.lines, Timeline(readings_of(entries)), tariff, len(entries)):
        if line.kind == "replacement":
            replacements[line.corrects].append(line)
    charged = list(standing_lines(settlement.lines).values())
    pairs = [(line, replacements.get(line.id, [line])) for line in charged]
    before = sum(map(_owed, charged))
    after = sum(_owed(piece) for _, pieces in pairs for piece in pieces)
    return TariffComparison(
        station_id=settlement.station_id,
        session_id=settlement.session_id,
        tariff=tariff.version,
        currency=tariff.currency,
        lines=tuple(_compared(line, pieces) for line, pieces in pairs),
        amount=millionths(before),
        tariff_amount=millionths(after),
        difference=millionths(after - before),
    )


def _compared(line: Line, pieces: Sequence[Line]) -> ComparedLine:
    before, after = _owed(line), sum(map(_owed, pieces))
    return ComparedLine(
        line=line.id,
        kind=line.kind,
        direction=line.direction,
        start=iso_time(line.start_ms),
        end=iso_time(line.end_ms),
        energy_kwh=millionths(line.energy_mwh),
        price_per_kwh=None if line.price is None else millionths(line.price),
        amount=millionths(before),
        tariff_prices_per_kwh=tuple(millionths(piece.price or 0) for piece in pieces),
        tariff_amount=millionths(after),
        difference=millionths(after - before),
    )


def _owed(line: Line) -> int:
    return line.amount if line.direction == "import" else -line.amount
