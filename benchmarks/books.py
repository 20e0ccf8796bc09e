"""The books over many sessions: closing and checking a month, and a vehicle's month, on either kind of database."""

import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection, insert

from benchmarks.figures import Figure, median
from csms.books import store as books
from csms.books.tables import posting_entries, postings
from csms.db.store import Store
from tests.csms.databases import Databases, running_cluster
from v2g.energy.settlement.bookkeeping import Entry, Posting, Use, period_of
from v2g.energy.settlement.canonical import canonical
from v2g.pki.keys import SoftwareKey

ABOUT = "a month of a million sessions in the books: close it, check it, and read one vehicle's month"

REQUIREMENTS = ("R32", "R36", "R37")

_MONTH_MS = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp() * 1000)
_LATER_MS = _MONTH_MS + 60 * 86_400_000
_PERIOD = period_of(_MONTH_MS)
_BATCH = 10_000

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
    vehicles = max(1, sessions // 50)
    _timed(lambda: _fill(store, sessions, vehicles))
    with store.engine.connect() as connection:  # what the database does by itself in the time of a month
        connection.exec_driver_sql("ANALYZE")
        connection.commit()

    def figure(what: str, unit: str, value: float, target: float | None = None, note: str = "") -> Figure:
        return Figure(f"{kind}, {sessions:,} sessions: {what}", value, unit, target=target, note=note)

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
    spans = []
    for at in range(0, vehicles, max(1, vehicles // 500)):
        reads = [_timed(lambda at=at: store.do(books.sums, _PERIOD, _emaid(at)))[0] for _ in range(3)]  # type: ignore[misc]
        spans.append(1000 * median(reads))
    yield figure("one vehicle's month, slowest of 500", "ms", max(spans), 100, "each the middle of three reads")
    store.close()


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _emaid(number: int) -> str:
    return f"DEV2GC{number:08}"


def _posting(number: int, vehicle: str) -> Posting:
    """Return the posting of a session like any other: energy in and out, money both ways."""
    taken, given = 10_000_000 + number, 3_000_000 + number % 1000
    amounts = (
        ("driver", "EUR", 300), ("grid", "mWh", given - taken), ("purchases", "EUR", 600), ("sales", "EUR", -900),
        ("vehicle", "mWh", taken - given),
    )  # fmt: skip
    end_ms = _MONTH_MS + number * 2_000
    use = Use(
        import_mwh=taken, export_mwh=given, full_cycles=1, v2g_cycles=1, charging_ms=9, discharging_ms=3, idle_ms=1
    )
    return Posting(
        kind="settlement", station_id=f"CS-{number % 5000}", session_id=f"{number:016x}", journal_head="0" * 64,
        vehicle=vehicle, begin_ms=end_ms - 3_600_000, end_ms=end_ms, use=use,
        entries=tuple(Entry(account=account, unit=unit, amount=amount) for account, unit, amount in amounts),  # type: ignore[arg-type]
    )  # fmt: skip


def _fill(store: Store, sessions: int, vehicles: int) -> None:
    """Post the first sessions as the back end does, and the others as the same rows, many at once."""
    few = min(sessions, 200)

    def post(connection: Connection) -> None:
        for number in range(few):
            books.book(connection, _posting(number, _emaid(number % vehicles)), _LATER_MS, UTC)

    store.do(post)
    for begin in range(few, sessions, _BATCH):
        store.do(
            _add, [_posting(n, _emaid(n % vehicles)) for n in range(begin, min(begin + _BATCH, sessions))], begin + 1
        )


def _add(connection: Connection, found: list[Posting], first: int) -> None:
    rows = [
        {
            "id": number, "period": _PERIOD, "booked_ms": _LATER_MS, "station_id": each.station_id,
            "session_id": each.session_id, "vehicle": each.vehicle, "reversed": 0, "document": canonical(each).decode(),
            **{name: getattr(each.use, name) for name in Use.__struct_fields__},
        }
        for number, each in enumerate(found, first)
    ]  # fmt: skip
    connection.execute(insert(postings), rows)
    entries = [
        {"posting_id": number, "account": each.account, "unit": each.unit, "amount": each.amount}
        for number, posting in enumerate(found, first)
        for each in posting.entries
    ]
    connection.execute(insert(posting_entries), entries)
