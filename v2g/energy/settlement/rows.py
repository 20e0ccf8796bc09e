"""The priced lines of a settlement as rows of text, for spreadsheets and accounting programs.

Energy, prices and amounts are exact decimal text, times ISO 8601 in UTC. Amounts have the driver's sign: what the
vehicle owes is positive, what it is owed negative, so that the column adds up to the balance.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from typing import Final

import msgspec

from v2g.energy.settlement.settle import Settlement
from v2g.errors import VerificationError


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `price_per_kwh` is None for energy without a price, `corrects` names the line that a reversal undoes.

    `kind` and `basis` are those of the line. A line for `wear` repeats the energy of the export line beside it.
    """

    station_id: str
    evse_id: str
    session_id: str
    emaid: str | None
    line: str
    kind: str
    direction: str
    start: str
    end: str
    energy_kwh: str
    price_per_kwh: str | None
    currency: str
    amount: str
    basis: str
    corrects: str | None


def rows(settlement: Settlement) -> Iterator[Row]:
    """Yield a row for each line. Raises VerificationError for times beyond the calendar."""
    for line in settlement.lines:
        yield Row(
            station_id=settlement.station_id,
            evse_id=settlement.evse_id,
            session_id=settlement.session_id,
            emaid=settlement.emaid,
            line=line.id,
            kind=line.kind,
            direction=line.direction,
            start=iso_time(line.start_ms),
            end=iso_time(line.end_ms),
            energy_kwh=millionths(line.energy_mwh),
            price_per_kwh=None if line.price is None else millionths(line.price),
            currency=line.currency,
            amount=millionths(line.amount if line.direction == "import" else -line.amount),
            basis=line.basis,
            corrects=line.corrects,
        )


def to_csv(settlement: Settlement) -> str:
    """Return the rows as CSV (RFC 4180) with a header; no cell starts a formula in a spreadsheet."""
    names = Row.__struct_fields__
    return csv_text(names, *([getattr(row, name) for name in names] for row in rows(settlement)))


def to_json(settlement: Settlement) -> bytes:
    """Return the rows as a JSON array."""
    return msgspec.json.encode(list(rows(settlement))) + b"\n"


def iso_time(utc_ms: int) -> str:
    """Return a time as ISO 8601 with milliseconds and `Z`. Raises VerificationError beyond the calendar."""
    try:
        moment = datetime.fromtimestamp(utc_ms // 1000, UTC)
    except (ValueError, OverflowError):
        raise VerificationError(f"{utc_ms} ms is beyond the calendar", where="journal.jsonl") from None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{utc_ms % 1000:03}Z"


def millionths(number: int) -> str:
    """Return millionths, such as mWh of a kWh or micro-units of a currency, as exact decimal text."""
    return f"{Decimal(number).scaleb(-6):f}"


def csv_text(*rows: Iterable[object]) -> str:
    """Return rows, such as that of the columns and those below it, as CSV (RFC 4180); None is empty.

    Text that starts a formula in a spreadsheet is marked, also behind a `;`, which starts a cell where the decimal
    separator is a comma, and in further lines; `unmarked` undoes it.
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerows(list(map(_cell, row)) for row in rows)
    return text.getvalue()


def csv_records(lines: Iterable[str]) -> "csv.DictReader[str]":
    """Return a reader of the records below a header, also of a spreadsheet whose decimal separator is a comma.

    Such a spreadsheet separates cells by semicolons. The reader raises csv.Error for what is not CSV.
    """
    rest = iter(lines)
    header = next(rest, "")
    return csv.DictReader(chain((header,), rest), delimiter=";" if ";" in header else ",", strict=True)


_SIGNS: Final = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_FORMULA: Final = re.compile(rf"\A(?=[{_SIGNS}\t\r\n])|(?<=[;\r\n])(?=[{_SIGNS}])")
_MARK: Final = re.compile(rf"\A'(?=[{_SIGNS}\t\r\n])|(?<=[;\r\n])'(?=[{_SIGNS}])")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def _cell(value: object) -> object:
    return _FORMULA.sub("'", value) if isinstance(value, str) and not _NUMBER.fullmatch(value) else value


def unmarked(text: str) -> str:
    """Return a cell as it was before it was marked as text."""
    return _MARK.sub("", text)
