"""The books over many sessions: closing and checking a month, a vehicle's month, and reports, on either kind of
database."""

import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.figures import Figure, median
from csms.books import reports
from csms.books import store as books
from csms.books.tables import posting_entries, postings
from csms.db.store import Store
from csms.settlements.tables import journal_reviews
from csms.stations.tables import stations
from csms.tariffs.tables import transaction_costs
from csms.transactions.tables import booked_transactions, transaction_totals, transactions
from tests.csms.databases import Databases, running_cluster
from v2g.energy.settlement.bookkeeping import Entry, Posting, Use, period_of
from v2g.pki.keys import SoftwareKey

ABOUT = "a month of a million sessions in the books: close it, check it, read one vehicle's month; reports of 50,000"

REQUIREMENTS = ("R32", "R36", "R37")

_MONTH_MS = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp() * 1000)
_LATER_MS = _MONTH_MS + 60 * 86_400_000
_PERIOD = period_of(_MONTH_MS)
_STATIONS: Final = 10_000
_SESSION: Final = 1_000_000_000

T = TypeVar("T")


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield the figures of SQLite, and of PostgreSQL where it is installed."""
    sessions = 2_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        yield from _figures("SQLite", f"sqlite:///{folder}/books.db", sessions)
    try:
        with running_cluster(fsync=True) as cluster, tempfile.TemporaryDirectory() as folder:
            yield from _figures("PostgreSQL", Databases(Path(folder), cluster).create(owner=True), sessions)
    except pytest.skip.Exception as missing:
        yield Figure("PostgreSQL", 0, "s", note=f"not measured: {missing}")


def _figures(kind: str, url: str, sessions: int) -> Iterator[Figure]:
    store = Store(url)
    vehicles, reported = max(1, sessions // 50), max(1, sessions // 20)
    store.do(_fill, sessions, reported, vehicles)
    with store.engine.connect() as connection:  # what the database does by itself in the time of a month
        connection.exec_driver_sql("ANALYZE")
        connection.commit()

    def figure(what: str, unit: str, value: float, target: float | None = None, note: str = "") -> Figure:
        return Figure(f"{kind}, {sessions:,} sessions: {what}", value, unit, target=target, note=note)

    spans = {}
    for by in get_args(reports.Grouping):
        found = store.do(reports.sums, by, UTC)
        assert sum(each.transactions for each in found) == reported
        spans[by] = median(_timed(lambda by=by: store.do(reports.sums, by, UTC))[0] for _ in range(3))  # type: ignore[misc]
    each = ", ".join(f"{by} {span:.2f}" for by, span in spans.items())
    what = f"report of {reported:,} of them, all posted, of {_STATIONS:,} stations, slowest grouping"
    yield figure(what, "s", max(spans.values()), 0.4, f"each the middle of three: {each}")
    key = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
    spent, closed = _timed(lambda: store.do(books.close, _PERIOD, _LATER_MS, UTC, key))
    assert closed.postings == sessions
    yield figure("close the month", "s", spent, note="reads every posting and its entries, and chains their digest")
    spent, intact = _timed(lambda: store.do(books.is_intact, closed))
    assert intact
    yield figure("reconcile the closed month", "s", spent, note="every posting and entry against the digest")
    spent, sums = _timed(lambda: store.do(books.sums, _PERIOD))
    assert sums.sessions == sessions
    yield figure("sums of the month", "s", spent)
    slowest = 0.0
    for at in range(0, vehicles, max(1, vehicles // 500)):
        reads = [_timed(lambda at=at: store.do(books.sums, _PERIOD, _emaid(at)))[0] for _ in range(3)]  # type: ignore[misc]
        slowest = max(slowest, 1000 * median(reads))
    yield figure("one vehicle's month, slowest of 500", "ms", slowest, 100, "each the middle of three reads")
    store.close()


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _emaid(number: int) -> str:
    return f"DEV2GC{10_000_000 + number}"


def _posting() -> Posting:
    """Return the posting of a session like any other: energy in and out, money both ways."""
    taken, given = 10_000_000, 3_000_000
    amounts = (
        ("driver", "EUR", 300), ("grid", "mWh", given - taken), ("purchases", "EUR", 600), ("sales", "EUR", -900),
        ("vehicle", "mWh", taken - given),
    )  # fmt: skip
    use = Use(
        import_mwh=taken, export_mwh=given, full_cycles=1, v2g_cycles=1, charging_ms=9, discharging_ms=3, idle_ms=1
    )
    return Posting(
        kind="settlement", station_id="CS-0", session_id=f"{_SESSION}", journal_head="0" * 64, vehicle=_emaid(0),
        begin_ms=_MONTH_MS - 3_600_000, end_ms=_MONTH_MS, use=use,
        entries=tuple(Entry(account=account, unit=unit, amount=amount) for account, unit, amount in amounts),  # type: ignore[arg-type]
    )  # fmt: skip


_OF_TRANSACTION: Final[dict[sa.Table, dict[str, Any]]] = {
    transactions: {"active": False, "document": "{}"},
    transaction_totals: {
        "end_ms": _MONTH_MS, "duration_ms": 3_600_000, "evse_id": 1, "token": "", "tariff": "T", "import_mwh": 10_000,
        "export_mwh": 3_000,
    },
    transaction_costs: {
        "currency": "EUR", "excl_tax": 250, "incl_tax": 300, "final": True, "source": "csms", "updated_ms": _MONTH_MS,
        "document": "{}",
    },
    journal_reviews: {
        "session_id": f"{_SESSION}", "state": "booked", "begin_ms": _MONTH_MS, "end_ms": _MONTH_MS, "reason": "",
        "detail": "", "since_ms": _MONTH_MS, "due_ms": _MONTH_MS,
    },
}  # fmt: skip


def _fill(connection: sa.Connection, sessions: int, reported: int, vehicles: int) -> None:
    """Post a session as the back end does, and let the database copy it; the first ones are of transactions, too."""
    many = sa.select(sa.literal(1, sa.BigInteger).label("n")).cte("many", recursive=True)
    many = many.union_all(sa.select(many.c.n + 1).where(many.c.n < sa.bindparam("last")))
    n = many.c.n

    def text(prefix: str, number: sa.ColumnElement[int]) -> sa.ColumnElement[str]:
        return sa.literal(prefix) + sa.cast(number, sa.String)

    def copy(table: sa.Table, rows: int, **own: sa.ColumnElement[Any]) -> None:
        """Copy the rows there are until there are so many, each copy with its own values."""
        values = [own.get(column.name, column) for column in table.c]
        query = sa.select(*values).select_from(table.join(many, sa.true()))
        connection.execute(sa.insert(table).from_select(list(table.c), query), {"last": rows - 1})

    places = {
        "station_id": text("CS-", n % _STATIONS),
        "session_id": text("", n + _SESSION),
        "vehicle": text("DEV2GC", n % vehicles + 10_000_000),
    }
    document: sa.ColumnElement[str] = postings.c.document
    for name, value in places.items():
        document = sa.func.replace(
            document, sa.literal(f'"{name}":"') + postings.c[name], sa.literal(f'"{name}":"') + value
        )
    connection.execute(sa.insert(stations).values(station_id="CS-0", first_seen_ms=0, last_seen_ms=0, protocol=""))
    for table, values in _OF_TRANSACTION.items():
        connection.execute(sa.insert(table).values(station_id="CS-0", transaction_id="T-0", **values))
    books.book(connection, _posting(), _LATER_MS, UTC)
    copy(postings, sessions, id=postings.c.id + n, document=document, **places)
    copy(posting_entries, sessions, posting_id=posting_entries.c.posting_id + n)
    copy(stations, _STATIONS, **places)
    for table in (*_OF_TRANSACTION, booked_transactions):
        own = {"transaction_id": text("T-", n), "token": places["vehicle"]} | places
        if "end_ms" in table.c:
            own["end_ms"] = table.c.end_ms + n * 50_000
        copy(table, reported, **own)
