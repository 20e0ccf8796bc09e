"""Books over sessions in the database, the same on either kind: corrections are postings, and closed periods stay."""

import contextlib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Connection, update

from csms.booking import store as reviews
from csms.books import store as books
from csms.books.tables import posting_entries, postings
from csms.db.store import Store
from csms.settlements import store as records
from tests.csms.db.books import DAY, KEY, LATER, NOV, book, posting
from v2g.energy.settlement.bookkeeping import Entry, Posting, is_balanced, period_of
from v2g.energy.settlement.canonical import canonical
from v2g.errors import RefusedError, StoreError

assert period_of(NOV) == "2026-11"
BERLIN = ZoneInfo("Europe/Berlin")
DECEMBER = int(datetime(2026, 12, 1, tzinfo=BERLIN).timestamp() * 1000)


def amounts(found: books.Sums) -> dict[tuple[str, str], int]:
    return {(each.account, each.unit): each.amount for each in found.entries}


@pytest.mark.requirement("R32", "R36", "R37")
def test_a_settlement_is_posted_once_and_a_different_one_reverses_it(store: Store) -> None:
    def work(connection: Connection) -> None:
        assert len(book(connection, posting())) == 1
        assert book(connection, posting()) == []
        assert len(book(connection, posting(mwh=700, money=420))) == 2
        found = books.of_session(connection, "CS", "01")
        assert [(each.kind, each.journal_head) for _, _, each in found] == [
            ("settlement", "500/300"), ("reversal", "500/300"), ("settlement", "700/420"),
        ]  # fmt: skip
        sums = books.sums(connection)
        assert sums.sessions == 1
        assert amounts(sums) == {
            ("driver", "EUR"): 420, ("sales", "EUR"): -420, ("vehicle", "mWh"): 700, ("grid", "mWh"): -700,
        }  # fmt: skip
        assert (sums.use.import_mwh, sums.use.v2g_cycles, sums.use.charging_ms) == (700, 1, 60)

    store.do(work)


@pytest.mark.requirement("R32")
def test_what_a_journal_has_posted_stays_when_it_is_settled_otherwise(store: Store) -> None:
    """Rates of VAT may have changed since, or an earlier version had 0 for unknown cycles."""
    net = posting(money=357).entries
    vat = replace(net[1], amount=-300), Entry(account="vat", unit="EUR", amount=-57)
    taxed = replace(posting(), entries=(net[0], *vat, *net[2:]))
    unknown = replace(posting(), use=replace(posting().use, full_cycles=None, v2g_cycles=None))

    def work(connection: Connection) -> None:
        book(connection, posting())
        assert book(connection, taxed, unknown) == []
        assert len(books.of_session(connection, "CS", "01")) == 1
        assert len(book(connection, replace(taxed, journal_head="corrected"))) == 2

    store.do(work)


@pytest.mark.requirement("R36")
def test_cycles_of_an_unknown_battery_stay_unknown(store: Store) -> None:
    """Sums have those that are known."""
    unknown = replace(posting("02").use, full_cycles=None, v2g_cycles=None)

    def work(connection: Connection) -> None:
        book(connection, replace(posting("02"), use=unknown))
        assert books.sums(connection).use == unknown
        book(connection, posting("01"))
        found = books.sums(connection).use
        assert (found.import_mwh, found.full_cycles, found.v2g_cycles) == (1_000, 2, 1)

    store.do(work)


def test_sums_are_of_a_period_and_of_a_vehicle(store: Store) -> None:
    def work(connection: Connection) -> None:
        book(
            connection, posting("01"), posting("02", vehicle="DEV2GC2"), posting("03", end_ms=NOV + 31 * DAY),
            posting("04", mwh=0, money=0),
        )  # fmt: skip
        assert [books.sums(connection, "2026-11", vehicle).sessions for vehicle in (None, "DEV2GC1", "DEV2GC2")] == [
            3, 2, 1,
        ]  # fmt: skip
        assert amounts(books.sums(connection, vehicle="DEV2GC1"))["driver", "EUR"] == 600
        nobody = books.sums(connection, vehicle="DEV2GC3")
        assert (nobody.sessions, nobody.entries, nobody.use.idle_ms) == (0, (), 0)
        assert books.open_periods(connection) == ["2026-11", "2026-12"]

    store.do(work)


@pytest.mark.requirement("R32")
def test_a_closed_period_stays_and_what_comes_late_is_in_the_next_one(store: Store) -> None:
    def work(connection: Connection) -> None:
        book(connection, posting("01"), posting("02"))
        closed = books.close(connection, "2026-11", LATER, UTC, KEY)
        assert (closed.postings, len(closed.digest), bool(closed.seal)) == (2, 128, True)
        assert books.close(connection, "2026-11", LATER + 5, UTC, KEY) == closed
        assert books.is_intact(connection, closed)
        before = amounts(books.sums(connection, "2026-11"))
        book(connection, posting("03"), posting("01", mwh=100, money=60), posting("04", end_ms=NOV + 62 * DAY))
        assert amounts(books.sums(connection, "2026-11")) == before
        assert books.is_intact(connection, closed)
        assert [period for _, period, _ in books.of_session(connection, "CS", "01")] == [
            "2026-11", "2026-12", "2026-12",
        ]  # fmt: skip
        assert [period for _, period, _ in books.of_session(connection, None, "04")] == ["2027-01"]
        assert amounts(books.sums(connection, "2026-12"))["driver", "EUR"] == 300 - 300 + 60
        later = books.close(connection, "2026-12", LATER, UTC, KEY)
        assert books.closed_periods(connection) == [closed, later]
        assert later.digest != closed.digest

    store.do(work)


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("what", ["document", "entry", "balanced entry", "document, with its entries"])
def test_a_closed_period_that_was_edited_is_seen(store: Store, what: str) -> None:
    def work(connection: Connection) -> None:
        (number, *_) = book(connection, posting("01"), posting("02"))
        closed = books.close(connection, "2026-11", LATER, UTC, KEY)
        if what.startswith("document"):
            other = posting("01", money=299)
            assert is_balanced(other.entries)
            connection.execute(
                update(postings).where(postings.c.id == number).values(document=canonical(other).decode())
            )
        if what != "document":
            here = (posting_entries.c.posting_id == number) & (posting_entries.c.unit == "EUR")
            if what == "entry":
                here &= posting_entries.c.account == "driver"
            more = posting_entries.c.amount * (299 if what.startswith("document") else 600) / 300
            connection.execute(update(posting_entries).where(here).values(amount=more))
        assert not books.is_intact(connection, closed)

    store.do(work)


def test_a_period_is_closed_when_it_is_over_and_those_before_it_are(store: Store) -> None:
    def work(connection: Connection) -> None:
        book(connection, posting("01"), posting("02", end_ms=NOV + 31 * DAY))
        with pytest.raises(RefusedError) as early:
            books.close(connection, "2026-11", NOV, UTC, KEY)
        assert early.value.reason == "not_over"
        with pytest.raises(RefusedError, match="2026-11") as gap:
            books.close(connection, "2026-12", LATER, UTC, KEY)
        assert gap.value.reason == "earlier_is_open"
        assert books.close(connection, "2026-10", LATER, UTC, KEY).postings == 0
        with pytest.raises(RefusedError) as gone:
            books.close(connection, "2026-09", LATER, UTC, KEY)
        assert gone.value.reason == "later_is_closed"

    store.do(work)


@pytest.mark.requirement("R32", "R33")
def test_costs_are_grouped_and_a_correction_counts_where_it_was_posted(store: Store) -> None:
    def work(connection: Connection) -> None:
        first = posting("01", money=3_004_999)
        book(connection, first, posting("02", vehicle="DEV2GC2", money=1_000_000), posting("03", vehicle="", money=0))
        books.close(connection, "2026-11", LATER, UTC, KEY)
        book(connection, posting("01", money=2_004_999))
        found = books.costs(connection, "session", None, 10)
        assert [(each.session_id, each.vehicle, each.sessions, each.owed) for each in found] == [
            ("01", "DEV2GC1", 1, {"EUR": 2_000_000}),
            ("02", "DEV2GC2", 1, {"EUR": 1_000_000}),
            ("03", "", 1, {"EUR": 0}),
        ]  # fmt: skip
        assert (found[0].end_ms, found[0].import_mwh) == (NOV, 500)
        assert [each.session_id for each in books.costs(connection, "session", ("CS", "01"), 1)] == ["02"]
        assert [(each.period, each.sessions, each.owed) for each in books.costs(connection, "period", None, 9)] == [
            ("2026-11", 3, {"EUR": 4_000_000}), ("2026-12", 0, {"EUR": -1_000_000}),
        ]  # fmt: skip
        by = books.costs(connection, "vehicle", ("",), 9, period="2026-12")
        assert [(each.vehicle, each.owed) for each in by] == [("DEV2GC1", {"EUR": -1_000_000})]
        assert [each.session_id for each in books.costs(connection, "session", None, 9, vehicle="DEV2GC2")] == ["02"]
        assert books.costs(connection, "period", ("2026-12",), 9) == []

    store.do(work)


def test_a_period_is_not_closed_while_a_complete_session_is_not_posted(store: Store) -> None:
    def work(connection: Connection) -> None:
        book(connection, posting("01"))
        row = records.JournalRow(station_id="CS", session_id="02", lines=1, head="ab", ended=True)
        assert records.append_journal(connection, row, 0, [b"x"], NOV)
        with pytest.raises(RefusedError, match="1, such as 02 of CS") as waiting:
            books.close(connection, "2026-11", LATER, UTC, KEY)
        assert waiting.value.reason == "unposted"
        assert books.close(connection, "2026-11", LATER, UTC, KEY, leave_unposted=True).postings == 1

    store.do(work)


@pytest.mark.parametrize(("end_ms", "waits"), [(DECEMBER - 1, True), (DECEMBER, False)])
def test_what_ended_after_a_period_does_not_keep_it_open(store: Store, end_ms: int, *, waits: bool) -> None:
    def work(connection: Connection) -> None:
        row = records.JournalRow(station_id="CS", session_id="02", lines=1, head="ab", ended=True)
        assert records.append_journal(connection, row, 0, [b"x"], NOV)
        review = reviews.Review(
            station_id="CS", session_id="02", state="waiting", transaction_id="", begin_ms=NOV, end_ms=end_ms,
            reason="transaction", detail="", since_ms=NOV, due_ms=LATER,
        )  # fmt: skip
        assert reviews.put(connection, review)
        refused = pytest.raises(RefusedError, match="02 of CS") if waits else contextlib.nullcontext()
        with refused:
            books.close(connection, "2026-11", LATER, BERLIN, KEY)
        assert records.unsettled(connection) == [("CS", "02")]

    store.do(work)


def test_what_earlier_versions_settled_and_did_not_post_keeps_a_period_open(store: Store) -> None:
    """Beside what is posted of the same station, and of the same id at another one."""

    def work(connection: Connection) -> None:
        book(connection, posting("01"))
        for station, session in (("CS", "01"), ("CS", "02"), ("CS-2", "01")):
            assert records.save_settlement(connection, station, session, "ab", b"{}", NOV)
        assert sorted(books.unposted(connection)) == [("CS", "02"), ("CS-2", "01")]
        with pytest.raises(RefusedError, match="not in the books: 2"):
            books.close(connection, "2026-11", LATER, UTC, KEY)

    store.do(work)


def journaled(connection: Connection, session: str, lines: int) -> records.JournalRow:
    row = records.JournalRow(station_id="CS", session_id=session, lines=lines, head="ab", ended=True)
    assert records.append_journal(connection, row, 0, [b"x"] * lines, NOV)
    return row


def test_a_month_has_the_lines_of_its_sessions_each_as_often_as_it_was_posted(store: Store) -> None:
    def work(connection: Connection) -> None:
        journaled(connection, "01", 3)
        journaled(connection, "02", 2)
        book(connection, posting("01"), posting("01", mwh=600), posting("02", end_ms=NOV + 31 * DAY))
        records.save_settlement(connection, "CS", "03", "ab", b"{}", NOV)
        assert books.sessions_of(connection, "2026-11", 9) == [("CS", "01"), ("CS", "03")]
        assert books.sessions_of(connection, "2026-11", 8) is None
        assert books.sessions_of(connection, "2026-12", 2) == [("CS", "02"), ("CS", "03")]
        assert books.sessions_of(connection, "2026-12", 1) is None

    store.do(work)


def test_what_is_booked_is_listed_by_session_each_with_its_own_rows(store: Store) -> None:
    """Stations may use the same ids."""

    def work(connection: Connection) -> None:
        names = [(station, session) for station in ("CS", "CS-2") for session in ("01", "02")]
        for number, (station, session) in enumerate(names[:3]):
            book(connection, replace(posting(session, money=100 * number), station_id=station))
        for station, session in names[1:]:
            records.save_settlement(connection, station, session, "ab", f"{station}/{session}".encode(), NOV)
        listed = [(None, 9, names), (names[1], 1, names[2:3])]
        for after, limit, found in listed:
            page = books.booked_sessions(connection, after, limit)
            assert [(each["station_id"], each["session_id"]) for each in page] == found
        for number, name in enumerate(names):
            rows = books.session_rows(connection, *name)
            assert rows.settlement == ("/".join(name) if number else None)
            owed = [amount for each in rows.postings for account, _, amount in each.entries if account == "driver"]
            assert owed == ([100 * number] if number < 3 else [])

    store.do(work)


def test_of_two_corrections_of_one_settlement_the_second_is_refused(store: Store) -> None:
    """It was made of the journal as it was before the first one."""

    def work(connection: Connection) -> None:
        row = replace(journaled(connection, "01", 1), lines=2, head="cd")
        book(connection, posting())
        for money, refused in ((400, False), (500, True)):
            expected = pytest.raises(RefusedError, match="was first") if refused else contextlib.nullcontext()
            with expected as caught:
                books.save_corrected(connection, row, 1, [b"y"], posting(money=money), b"{}", NOV, UTC)
            assert (caught.value.reason if caught else "changed") == "changed"
        assert records.journal_lines(connection, "CS", "01") == [b"x", b"y"]
        assert amounts(books.sums(connection))["driver", "EUR"] == 400

    store.do(work)


@pytest.mark.parametrize("change", ["book", "move", "close"])
def test_nodes_change_the_books_one_after_the_other(store: Store, change: str) -> None:
    """PostgreSQL locks them until the end of the transaction; SQLite has one writer."""
    changes: dict[str, Callable[[Connection], object]] = {
        "book": lambda connection: book(connection, posting()),
        "move": lambda connection: books.move(connection, "CS", "01", set()),
        "close": lambda connection: books.close(connection, "2026-11", LATER, UTC, KEY),
    }

    def work(connection: Connection) -> None:
        changes[change](connection)
        if connection.dialect.name == "postgresql":
            locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            assert connection.exec_driver_sql(locks).scalar() == 1

    store.do(book, posting())
    store.do(work)


def test_what_does_not_sum_to_zero_is_not_posted(store: Store) -> None:
    wrong = replace(posting(), entries=(Entry(account="driver", unit="EUR", amount=1),))
    with pytest.raises(StoreError, match="zero"):
        store.do(book, wrong)
    assert store.do(books.sums).sessions == 0


@pytest.mark.some(1)
@pytest.mark.requirement("R32", "R39")
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("book"), st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 2)),
            st.tuples(st.just("close"), st.sampled_from(["2026-11", "2026-12", "2027-01"]), st.just(0), st.just(0)),
        ),
        max_size=25,
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_any_order_the_books_are_the_latest_settlements(
    store: Store, steps: list[tuple[str, str, int, int]]
) -> None:
    def work(connection: Connection) -> None:
        for table in (posting_entries, postings, books.periods):
            connection.execute(table.delete())
        latest: dict[str, Posting] = {}
        for step, name, money, month in steps:
            if step == "book":
                latest[name] = posting(name, mwh=money * 10, money=money, end_ms=NOV + month * 31 * DAY)
                book(connection, latest[name])
            else:
                with contextlib.suppress(RefusedError):
                    books.close(connection, name, LATER, UTC, KEY)
        sums = books.sums(connection)
        wanted: Counter[tuple[str, str]] = Counter()
        for each in latest.values():
            for entry in each.entries:
                wanted[entry.account, entry.unit] += entry.amount
        assert amounts(sums) == {key: amount for key, amount in wanted.items() if amount}
        assert sums.sessions == len(latest)
        assert all(books.is_intact(connection, each) for each in books.closed_periods(connection))
        assert is_balanced(sums.entries)

    store.do(work)
