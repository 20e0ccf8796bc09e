"""Lists: one declaration of columns gives the table, its sorting, the two lines of a phone, and the CSV file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from litestar import Response

from csms.console.visit import Visit
from csms.http.pipeline import Answer
from v2g.energy.settlement.rows import csv_text

PAGE: Final = 50
"""Rows of a page."""

Look = Literal["text", "id", "time", "number", "power", "energy", "money", "state", "percent", "duration"]


class Column(msgspec.Struct, frozen=True):
    """A column: its name in addresses, its label, what it has of a row, and its look. `href`: where its link leads;
    `phone`: whether phones show it. Powers are W, energies Wh, times and
    durations ms."""

    name: str
    label: str
    of: Callable[[Any], Any]
    look: Look = "text"
    href: Callable[[Any], str] | None = None
    phone: bool = True


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list. `total`: rows that fit, None where they are not counted; `following`: query of the next page;
    `key`: the key of a row, where rows can be chosen; `row_key`: by which a tab knows it again."""

    columns: Sequence[Column]
    rows: Sequence[Any]
    sort: str = ""
    total: int | None = None
    following: Mapping[str, str] | None = None
    key: Callable[[Any], str] | None = None
    row_key: Callable[[Any], str] = str


def listing(
    visit: Visit, columns: Sequence[Column], rows: Sequence[Any], key: Callable[[Any], str] | None = None
) -> Listing:
    """Return the page of complete rows that the address asks for: `sort` (a column, with `-` falling) and `page`."""
    asked = visit.asked("sort", "page")
    sort, page = asked.get("sort", ""), asked.get("page", "1")
    rows = in_order(columns, rows, sort)
    number = max(1, int(page)) if page.isdecimal() and len(page) < 8 else 1
    some = rows[(number - 1) * PAGE : number * PAGE]
    more = {"page": str(number + 1)} if len(rows) > number * PAGE else None
    return Listing(columns=columns, rows=some, sort=sort, total=len(rows), following=more, key=key)


def in_order(columns: Sequence[Column], rows: Sequence[Any], sort: str) -> Sequence[Any]:
    """Return rows by a column, those without a value last; as they are, where no column is meant."""
    column = next((each for each in columns if each.name == sort.removeprefix("-")), None)
    if column is None:
        return rows
    known = [(value, row) for row in rows if (value := column.of(row)) not in (None, "")]
    ordered = sorted(known, key=lambda pair: pair[0], reverse=sort.startswith("-"))
    return [row for _, row in ordered] + [row for row in rows if column.of(row) in (None, "")]


def csv(visit: Visit, name: str, columns: Sequence[Column], rows: Iterable[Any]) -> Answer:
    """Return rows as a file: units in its head, plain numbers, times of the viewer's zone with offset."""
    units = {"power": " [W]", "energy": " [Wh]", "duration": " [ms]", "percent": " [%]"}

    def plain(column: Column, row: Any) -> object:
        value = column.of(row)
        if value is not None and column.look == "time":
            try:
                return datetime.fromtimestamp(value / 1000, UTC).astimezone(visit.zone).isoformat(timespec="seconds")
            except (OverflowError, ValueError, OSError):  # a station's clock
                return value
        return f"{value['amount']} {value['currency']}" if value is not None and column.look == "money" else value

    head = [each.name + units.get(each.look, "") for each in columns]
    text = csv_text(head, *([plain(each, row) for each in columns] for row in rows))
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(text.encode(), media_type="text/csv", headers=headers)
