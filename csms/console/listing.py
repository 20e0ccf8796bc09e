"""Lists: one declaration of columns gives the table, search, filters, order, the two lines of a phone, and a file.

What a list shows is in its address, so a link is a view; people keep views under a name, for themselves or for all.
"""

import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal
from urllib.parse import urlencode

import msgspec
from litestar import Response
from msgspec.structs import replace

from csms.accounts import store as access
from csms.accounts.store import SavedView
from csms.console.visit import ROOT, Visit, action, local
from csms.http.operations import Operation
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from v2g.energy.settlement.rows import csv_text
from v2g.typed_json import Fields
from v2g.units import payable

INSTALLED: Final = {"/inventory": "What is installed where"}
"""Link beside lists of vehicles and of updates."""

PAGE: Final = 50
"""Rows of a page."""

MOST_CSV: Final = 20_000
"""Rows of a file, where lists are read in pages."""

Look = Literal[
    "text", "id", "time", "number", "power", "energy", "money", "price", "state", "percent", "duration", "long"
]
_SEARCHED: Final = frozenset({"text", "id", "long"})


class Column(msgspec.Struct, frozen=True):
    """A column: its name in addresses, its label, what it has of a row, and its look. `href`: where its link leads;
    `phone`: whether narrow lists show it, `named`: with its label. Powers are W, energies Wh, times and durations ms,
    money is a list of amounts, and `long` are sentences."""

    name: str
    label: str
    of: Callable[[Any], Any]
    look: Look = "text"
    href: Callable[[Any], str] | None = None
    phone: bool = True
    named: bool = False


class Act(msgspec.Struct, frozen=True):
    """A button of a row: the form that it sends to `path` below the console. `confirm`: a question about `{about}`."""

    path: str
    text: str
    fields: Mapping[str, str] = {}
    confirm: str = ""
    tone: str = ""
    about: str = ""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list.

    `asked`: what its address says; `total`: rows that fit, None where they are not counted; `following`: the query of
    the next page; `tabs` (label, number) by value of the parameter `tab`; `filters` (label, choices, None for any text)
    by parameter; `search`, `days`: whether it is searched by text and by days; `key`: by which a tab knows a row again,
    and which rows are chosen by for `bulk`: the action and its buttons; `acts`: buttons of a row; `saved`: views that
    have a name; `empty`: what a list without rows says; `links`: buttons of
    the page, which lead to other pages.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Any] = ()
    asked: Mapping[str, Any] = {}
    total: int | None = None
    following: Mapping[str, str] | None = None
    tab: str = ""
    tabs: Mapping[str, tuple[str, int | None]] = {}
    filters: Mapping[str, tuple[str, Sequence[str] | None]] = {}
    days: bool = False
    search: bool = True
    key: Callable[[Any], str] | None = None
    bulk: tuple[str, Mapping[str, str]] | None = None
    acts: Callable[[Any], Sequence[Act]] | None = None
    saved: Sequence[SavedView] = ()
    empty: str = "There is nothing yet."
    links: Mapping[str, str] = {}

    def key_of(self, row: object) -> str:
        """Return the key of a row: by default its first column."""
        return self.key(row) if self.key else str(self.columns[0].of(row))

    @property
    def sort(self) -> str:
        """The column by which rows are in order, with `-` falling."""
        return str(self.asked.get("sort", ""))

    @property
    def query(self) -> str:
        """The address's query: what a view keeps."""
        return urlencode(self.asked, doseq=True)

    @property
    def shown(self) -> Sequence[Column]:
        """The columns that are shown: the first, and those that the address names, or all."""
        chosen = self.asked.get("col")
        return [each for at, each in enumerate(self.columns) if not at or not chosen or each.name in chosen]


async def show_list(
    visit: Visit, listing: Listing, *, by: Sequence[str] = (), template: str = "list.html", **context: object
) -> Answer:
    """Show the page of a list's complete rows that the address asks for, or send all that fit as a file.

    The address names a text (`q`), values of the columns `by`, and of `tab`, whose values are tabs with their numbers
    unless the list has its own; an order (`sort`), columns (`col`) and a page.
    """
    columns, rows, tab = listing.columns, listing.rows, listing.tab
    said = {**_asked(visit, *by, tab), **listing.asked}
    of = {each.name: each for each in columns if each.name in (*by, tab)}
    text = said.get("q", "").lower()
    searched = [each for each in columns if each.look in _SEARCHED]
    inside = [
        row
        for row in rows
        if (not text or any(text in str(each.of(row) or "").lower() for each in searched))
        and all(name not in said or str(of[name].of(row)) == said[name] for name in by)
    ]
    found: Sequence[object] = inside
    tabs = listing.tabs
    if tab and not tabs:
        counts = Counter(str(of[tab].of(row)) for row in inside)
        tabs = {"": ("All", len(inside)), **{name: (name, count) for name, count in counts.items()}}
        found = [row for row in inside if said.get(tab) in (None, str(of[tab].of(row)))]
    found = in_order(columns, found, said.get("sort", ""))
    if visit.asked("csv"):
        return csv(visit, listing.title, columns, found)
    page = visit.asked("page").get("page", "1")
    number = max(1, int(page)) if page.isdecimal() and len(page) < 8 else 1
    choices = {name: sorted({str(value) for row in rows if (value := of[name].of(row))}) for name in by}
    shown = replace(
        listing,
        rows=found[(number - 1) * PAGE : number * PAGE],
        asked=said,
        total=len(found),
        following={"page": str(number + 1)} if len(found) > number * PAGE else None,
        tabs=tabs,
        filters={name: (of[name].label, found) for name, found in choices.items()},
        saved=await _saved(visit),
    )
    return visit.show(template, 200, list=_opening(visit, shown), **context)


async def show_pages(
    visit: Visit,
    listing: Listing,
    operation: Operation,
    about: Mapping[str, object],
    *,
    template: str = "list.html",
    **context: object,
) -> Answer:
    """Show a page of a list that is too long to be read whole, in the order of its `operation`, which is asked `about`
    what the address says (`asked`); or send it as a file. Raises ApiError for a file of too many rows."""
    if visit.asked("csv"):
        return csv(visit, listing.title, listing.columns, await _whole(visit.every(operation, **about)))
    found, following = await visit.page(operation, limit=PAGE, **about, **visit.asked("cursor"))
    shown = replace(
        listing,
        rows=found,
        asked={**_asked(visit), **listing.asked},
        following={"cursor": following} if following else None,
        saved=await _saved(visit),
    )
    return visit.show(template, 200, list=_opening(visit, shown), **context)


def _opening(visit: Visit, listing: Listing) -> Listing:
    """Return a list without links to pages that the viewer may not see."""

    def opens(column: Column) -> bool:
        paths = [path for row in listing.rows if column.href is not None and (path := column.href(row))]
        return not paths or visit.opens(paths[0])

    columns = [each if opens(each) else replace(each, href=None) for each in listing.columns]
    return replace(listing, columns=columns)


async def _whole(every: AsyncIterator[object]) -> list[object]:
    found: list[object] = []
    async for each in every:
        if len(found) == MOST_CSV:  # sums of a part would pass for sums of the whole
            raise ApiError(400, f"more than {MOST_CSV} rows", "filter the list, or use the HTTP interface")
        found.append(each)
    return found


def _asked(visit: Visit, *names: str) -> Fields:
    """Return what an address says of a list."""
    columns = [each for each in visit.request.query_params.getall("col", []) if each][:50]
    return visit.asked("q", "sort", *filter(None, names)) | ({"col": columns} if columns else {})


def _natural(value: object) -> Any:
    """Return by what a value is sorted: a text's numbers by their size, amounts by theirs."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [Decimal(each["amount"]) for each in value]
    if not isinstance(value, str):
        return value
    parts = re.split(r"([0-9]+)", value)
    return [(len(each.lstrip("0")), each.lstrip("0")) if place % 2 else each for place, each in enumerate(parts)]


def in_order(columns: Sequence[Column], rows: Sequence[object], sort: str) -> Sequence[object]:
    """Return rows by a column, EV-2 before EV-10, those without a value last; as they are, where no column is meant."""
    column = next((each for each in columns if each.name == sort.removeprefix("-")), None)
    if column is None:
        return rows
    known = [(value, row) for row in rows if (value := column.of(row)) not in (None, "")]
    ordered = sorted(known, key=lambda pair: _natural(pair[0]), reverse=sort.startswith("-"))
    return [row for _, row in ordered] + [row for row in rows if column.of(row) in (None, "")]


def csv(visit: Visit, title: str, columns: Sequence[Column], rows: Iterable[object]) -> Answer:
    """Return rows as a file: units in its head, plain numbers, times of the viewer's zone with offset, and beside each
    amount its currency."""
    units = {
        "power": (" [W]",), "energy": (" [Wh]",), "duration": (" [ms]",), "percent": (" [%]",),
        "money": ("", " [currency]"),
    }  # fmt: skip

    def plain(column: Column, row: object) -> Iterator[object]:
        value = column.of(row)
        if value is not None and column.look == "time":
            with contextlib.suppress(OverflowError, ValueError, OSError):  # a station's clock
                value = datetime.fromtimestamp(value / 1000, UTC).astimezone(visit.zone).isoformat(timespec="seconds")
        if column.look == "money":
            yield ", ".join(str(payable(Decimal(each["amount"]), each["currency"])) for each in value or ())
            value = ", ".join(each["currency"] for each in value or ())
        yield value

    head = [each.name + unit for each in columns for unit in units.get(each.look, ("",))]
    text = csv_text(head, *([cell for each in columns for cell in plain(each, row)] for row in rows))
    return csv_file(title.lower().replace(" ", "-"), text)


def csv_file(name: str, text: str) -> Answer:
    """Return CSV as a file, with the mark by which spreadsheets know UTF-8."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(text.encode("utf-8-sig"), media_type="text/csv", headers=headers)


async def _saved(visit: Visit) -> list[SavedView]:
    path = visit.request.url.path
    return [] if visit.session is None else await visit.services.store.read(access.saved_views, path, visit.person.name)


@action("/views")
async def save_view(visit: Visit) -> Answer:
    """Keep what a list shows under a name, for oneself or for all; or give a view up."""
    form, owner = visit.form, visit.person.name
    path, name = local(form.get("path", ROOT)), " ".join(form.get("name", "").split())
    visit.back = back = local(f"{path}?{form['query']}" if form.get("query") else path)
    store = visit.services.store
    if form.get("do") == "forget":
        await store.run(access.forget_view, path, owner, name)
        await visit.note("forget_view")
        return visit.see(back, "The view {name} is gone.", name=name)
    if not name or len(name) > 40 or not name.isprintable() or ROOT in (path, back):
        raise ApiError(400, "a view has a name of at most 40 characters")
    view = SavedView(name=name, query=form.get("query", ""), owner=owner, shared=bool(form.get("shared")))
    if not await store.run(access.save_view, path, view):
        raise ApiError(409, "there are too many views", "give up one that nobody needs")
    await visit.note("save_view")
    return visit.see(back, "The view {name} is kept.", name=name)
