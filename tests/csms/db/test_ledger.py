"""The ledger of facts on either kind of database: what fits lands, what does not names what it contradicts."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from sqlalchemy import Connection, select

from csms.booking import held, ledger
from csms.booking import store as reviews
from csms.booking.facts import Fact, State, of_session
from csms.booking.plausibility import CLOCK_MS
from csms.books import reports
from csms.books import store as books
from csms.books.tables import facts
from csms.db.store import Store, migrate
from csms.settlements import store as records
from csms.settlements.store import JournalRow
from csms.settlements.work import settle_journal
from csms.tokens import store as tokens
from csms.tokens.rules import Terms, Token
from csms.transactions import store as transactions
from tests.csms.settlement.journals import T0, journal
from tests.csms.settlement.witness import report, witness
from tests.csms.support import STATION
from v2g.energy.settlement.intervals import Registers

pytestmark = pytest.mark.requirement("R195")

HOUR = 3_600_000
NOON = 1_795_000_000_000
EMAID = "DEV2GC00000001"


def at(nth: int, station: str = "CS-1", *, contract: str = "", **changes: Any) -> tuple[Fact, ...]:
    """Return the facts of the `nth` session of an EVSE: an hour every two hours, 5 kWh each."""
    evse = Fact(
        kind="evse",
        key=f"{station}/1",
        station_id=station,
        evse_id=1,
        source="transaction",
        source_id=f"tx-{nth}",
        transaction_id=f"tx-{nth}",
        from_ms=NOON + 2 * nth * HOUR,
        to_ms=NOON + (2 * nth + 1) * HOUR,
        imports=(nth * 5_000_000, (nth + 1) * 5_000_000),
    )
    return of_session(msgspec.structs.replace(evse, **changes), contract)


def land(connection: Connection, *sessions: tuple[Fact, ...], state: State = "booked") -> None:
    for each in sessions:
        ledger.put(connection, each, state, each[0].to_ms)


def why(connection: Connection, session: tuple[Fact, ...]) -> tuple[str, str] | None:
    """Return the reason, and which session a session contradicts."""
    found = ledger.find_contradiction(connection, session)
    return None if found is None else (found.reason, found.other.source_id)


def test_a_session_is_compared_with_its_neighbours(store: Store) -> None:
    def work(connection: Connection) -> None:
        land(connection, *(at(nth) for nth in range(1, 21) if nth != 10))
        assert why(connection, at(10)) is None
        assert why(connection, at(10, from_ms=NOON + 19 * HOUR - 60_001)) == ("repeated", "tx-9")
        assert why(connection, at(10, to_ms=NOON + 22 * HOUR + 60_001)) == ("repeated", "tx-11")
        assert why(connection, at(10, imports=(49_998_999, 55_000_000))) == ("repeated", "tx-9")
        assert why(connection, at(10, imports=(50_000_000, 55_001_001))) == ("repeated", "tx-11")
        assert why(connection, at(10, imports=(0, 1_000))) == ("fall", "tx-9")
        assert why(connection, at(10, key="CS-1/2", evse_id=2, imports=(0, 1_000))) is None
        assert why(connection, at(10, "CS-2", imports=(0, 1_000))) is None

    store.do(work)


@pytest.mark.parametrize(("state", "found"), [("booked", "repeated"), ("released", "repeated"), ("held", None),
                                              ("withdrawn", None)])  # fmt: skip
def test_only_what_stands_is_contradicted(store: Store, state: State, found: str | None) -> None:
    def work(connection: Connection) -> None:
        land(connection, at(1), state=state)
        again = at(1, source_id="again", transaction_id="again")
        assert why(connection, again) == (found and (found, "tx-1"))
        ledger.decide(connection, "CS-1", "transaction", "tx-1", "withdrawn")
        assert why(connection, again) is None
        ledger.decide(connection, "CS-1", "transaction", "tx-1", "released")
        assert why(connection, again) == ("repeated", "tx-1")
        ledger.withdraw(connection, "CS-1", "transaction", "tx-1")
        assert why(connection, again) is None

    store.do(work)


def test_a_session_that_lands_again_replaces_what_it_said(store: Store) -> None:
    def work(connection: Connection) -> None:
        land(connection, at(1, contract=EMAID), at(1, contract=EMAID, to_ms=NOON + 3 * HOUR + 5), at(1, "CS-2"))
        rows = connection.execute(select(facts.c.kind, facts.c.to_ms).where(facts.c.station_id == "CS-1")).all()
        assert sorted(map(tuple, rows)) == [("contract", NOON + 3 * HOUR + 5), ("evse", NOON + 3 * HOUR + 5)]

    store.do(work)


def test_what_contradicts_a_held_session_is_kept_with_it(store: Store) -> None:
    def work(connection: Connection) -> None:
        again = at(1, source_id="again", transaction_id="again", contract=EMAID)
        land(connection, at(1, exports=(1, 2), contract=EMAID))
        against = ledger.find_contradiction(connection, again)
        ledger.put(connection, again, "held", NOON, against)
        land(connection, at(3))
        keys = [("CS-1", "transaction", name) for name in ("again", "tx-1", "tx-3")]
        assert ledger.contradicted(connection, keys) == {keys[0]: at(1, exports=(1, 2))[0]}
        assert ledger.contradicted(connection, [("CS-2", "transaction", "again")]) == {}
        assert ledger.contradicted(connection, []) == {}
        assert ledger.booked_contradictions(connection, None, 9) == []
        ledger.decide(connection, *keys[0], "released")
        assert [each.source_id for each in ledger.booked_contradictions(connection, None, 9)] == ["again"]

    store.do(work)


@pytest.mark.parametrize("several", [False, True])
def test_a_contract_is_at_one_place_unless_its_terms_allow_more(store: Store, several: bool) -> None:
    def work(connection: Connection) -> None:
        land(connection, at(1, contract=EMAID))
        elsewhere = at(1, "CS-2", contract=EMAID)
        assert why(connection, elsewhere) == ("elsewhere", "tx-1")
        terms = Terms(several_at_once=several)
        tokens.put(connection, Token("eMAID", EMAID, "Accepted", terms=terms))
        assert why(connection, elsewhere) == (None if several else ("elsewhere", "tx-1"))
        also_wrong = at(1, source_id="again", transaction_id="again", contract=EMAID)
        assert why(connection, also_wrong) == ("repeated", "tx-1")

    store.do(work)


def test_the_last_one_at_an_evse(store: Store) -> None:
    """By what was known when the next one was first heard of."""

    def work(connection: Connection) -> None:
        def last(
            first_ms: int, evse_id: int = 1, mine: str = "mine", begin_ms: int = NOON + 9 * HOUR
        ) -> tuple[str | None, list[str]]:
            found, since = ledger.last_at(connection, "CS-1", evse_id, mine, first_ms, begin_ms)
            return (None if found is None else found.source_id), [each.source_id for each in since]

        assert last(NOON) == (None, [])
        land(connection, at(1), at(2), at(3, "CS-2"))
        land(connection, at(2, source="journal", source_id="aa"))
        assert last(NOON + 9 * HOUR) == ("tx-2", [])
        assert last(NOON + 9 * HOUR, 2) == (None, [])
        assert last(NOON + 9 * HOUR, mine="tx-2") == ("tx-1", []), "it is not before itself"
        assert last(NOON + 5 * HOUR) == ("tx-2", [])
        assert last(NOON + 5 * HOUR - 1) == ("tx-1", ["tx-2"]), "the other one was there, and had not landed"
        assert last(NOON + 4 * HOUR - 1) == ("tx-1", []), "it was not there yet"
        land(connection, at(3), state="held")
        assert last(NOON + 9 * HOUR) == ("tx-2", ["tx-3"])
        set_back = NOON + 6 * HOUR - CLOCK_MS
        assert last(NOON + 9 * HOUR, begin_ms=set_back) == ("tx-2", ["tx-3"]), "the clock was set meanwhile"
        assert last(NOON + 9 * HOUR, begin_ms=set_back - 1) == ("tx-2", []), "that was not before it"
        assert last(NOON + 7 * HOUR - 1, begin_ms=set_back) == ("tx-2", []), "nor had it landed"
        ledger.decide(connection, "CS-1", "transaction", "tx-3", "released")
        assert last(NOON + 9 * HOUR) == ("tx-3", [])
        exchange = at(4, source="exchange", source_id="tx-4", to_ms=NOON + 8 * HOUR)
        land(connection, exchange)
        assert last(NOON + 9 * HOUR, mine="tx-4") == ("tx-4", [])
        assert last(NOON + 9 * HOUR, begin_ms=NOON + 8 * HOUR) == ("tx-4", [])
        assert last(NOON + 9 * HOUR, begin_ms=NOON + 8 * HOUR - 1) == ("tx-3", []), "it came late, with the old meter"

    store.do(work)


def test_an_exchange_lands_unless_something_contradicts_it(store: Store) -> None:
    """With its station locked against other nodes; registers count on from the new meter's."""

    def work(connection: Connection) -> None:
        land(connection, at(1))
        (exchange,) = at(2, source="exchange", source_id="1-2", transaction_id="", imports=(10_000_000, 0))
        wrong = msgspec.structs.replace(exchange, imports=(9_000_000, 0))
        found = ledger.exchange(connection, wrong, NOON)
        assert found is not None
        assert found.other == at(1)[0]
        if connection.dialect.name == "postgresql":
            locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            assert connection.exec_driver_sql(locks).scalar() == 1
        assert ledger.exchange(connection, exchange, NOON) is None
        assert connection.execute(select(facts.c.state).where(facts.c.source == "exchange")).scalars().all() == [
            "booked"
        ]
        assert why(connection, at(3, imports=(0, 5_000_000))) is None

    store.do(work)


@pytest.fixture
def nodes(store_url: str) -> Iterator[list[Store]]:
    """Two nodes on one database."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(Store(store_url))) for _ in range(2)]


async def test_of_two_sessions_at_once_on_two_nodes_both_are_held(nodes: list[Store]) -> None:
    """One contract at two stations, whichever node is first: no vehicle has signed."""
    for nth in range(8):
        readings = [
            Registers(NOON + nth * HOUR + minute * 60_000, nth * 3_000_000 + minute * 100_000, 0) for minute in (0, 30)
        ]
        name = f"tx-{nth}"
        works = (node.run(report, readings, f"CS-{number}", name, emaid=EMAID) for number, node in enumerate(nodes))
        await asyncio.gather(*works)
        found = [await nodes[0].read(held.find, f"CS-{number}", name) for number in range(2)]
        assert [each["reason"] for each in found if each is not None] == ["elsewhere"] * 2, nth
        assert await nodes[0].read(transactions.count_active) == 0


def test_a_migration_lands_what_is_booked_and_lists_what_contradicts(owner_url: str) -> None:
    """As if it had landed when it was booked; those that contradict each other stay booked."""
    with contextlib.closing(Store(owner_url)) as store:
        migrate(store.engine)
        store.do(_books)
        names = (*Fact.__struct_fields__[:9], "imports_from", "imports_to", "exports_from", "exports_to", "state")
        query = select(*(facts.c[name] for name in names)).order_by(*facts.primary_key)
        landed = store.do(lambda connection: list(map(tuple, connection.execute(query))))
        assert len(landed) == 13
        with store.engine.begin() as connection:
            for name in ("facts", "booked_transactions", "connector_history"):
                connection.exec_driver_sql(f"DROP TABLE {name}")
            connection.exec_driver_sql("DELETE FROM held_transactions WHERE transaction_id = 'again'")
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0063'")
        migrate(store.engine)
        found = store.do(lambda connection: list(map(tuple, connection.execute(query))))
        twice = [tuple("booked" if each == "held" and "again" in row else each for each in row) for row in landed]
        assert found == twice
        (listed,) = store.do(ledger.booked_contradictions, None, 10)
        assert (listed.source_id, listed.state) == ("tx-1", "booked")
        key = ("CS-V2G-0001", "transaction", listed.source_id)
        assert store.do(ledger.contradicted, [key])[key].source_id == "again"
        assert store.do(ledger.booked_contradictions, key, 10) == []


def _books(connection: Connection) -> None:
    """Two journals with their transactions, one that is held, one released, and one that is booked twice."""
    for nth, session in enumerate(("aa", "bb")):
        assert _book(connection, journal(session, nth=nth), session) == "fresh"
    courses = {"tx-1": (9, 0, 5), "again": (9, 0, 5), "tx-2": (11, 5, 6), "tx-3": (13, 4, 5), "tx-4": (15, 7, 8)}
    for name, (hour, begin, end) in courses.items():
        registers = [
            Registers(NOON + hour * HOUR + minute * 60_000, 7_000_000 + kwh * 1_000_000, 0)
            for minute, kwh in ((0, begin), (30, end))
        ]
        report(connection, registers, STATION, name, evse_id=2)
    for name, state in (("tx-3", "released"), ("tx-4", "rejected")):
        if held.find(connection, STATION, name) is not None:
            held.decide(connection, STATION, name, state, "somebody", "seen", 1)


def _book(
    connection: Connection,
    lines: list[bytes],
    session: str,
    evse_id: int = 1,
    *,
    station: str = STATION,
    proven: bool = False,
) -> str:
    """Store a journal with its transaction, and book it; return what became of it."""
    witness(connection, lines, station, session, evse_id=evse_id)
    return _book_again(connection, lines, session, station=station, proven=proven)


def _book_again(
    connection: Connection, lines: list[bytes], session: str, *, station: str = STATION, proven: bool = False
) -> str:
    made = settle_journal(b"".join(lines), session)
    review = _review(session, "booked", made.posting.begin_ms, made.posting.end_ms, station)
    posting = msgspec.structs.replace(made.posting, station_id=station, session_id=session)
    row = JournalRow(
        station_id=station, session_id=session, lines=len(lines), head=made.posting.journal_head, ended=True
    )
    records.append_journal(connection, row, 0, lines, 1)
    found = reviews.book(connection, review, posting, made.document, made.facts, 1, UTC, proven=proven)
    return found if isinstance(found, str) else found.reason


def test_a_journal_lands_with_its_transaction_as_one_session(store: Store) -> None:
    """A second one of the same time and registers, or of the same contract at another EVSE, is not booked."""

    def work(connection: Connection) -> None:
        assert _book(connection, journal("aa"), "aa") == "fresh"
        assert _book(connection, journal("ab"), "ab") == "repeated"
        assert _book(connection, journal("ac"), "ac", evse_id=2) == "elsewhere"
        assert _book(connection, journal("ad", emaid="DEV2GC00000002"), "ad", evse_id=3) == "fresh"
        assert _book(connection, journal("ae", nth=1), "ae") == "fresh"
        keys = [(STATION, "journal", session) for session in ("aa", "ab", "ac", "ad", "ae")]
        found = ledger.contradicted(connection, keys)
        others = {key[2]: other.transaction_id for key, other in found.items()}
        assert others == {"ab": "tx-aa", "ac": "tx-aa", "aa": "tx-ac"}

    store.do(work)


@pytest.mark.parametrize("first", ["lie", "truth"])
def test_a_session_is_booked_where_the_vehicle_has_signed(store: Store, first: str) -> None:
    """Whoever lands first; then its transaction is in sums, and what contradicts it is not."""
    there = Registers(T0 - HOUR, 1_000_000, 0), Registers(T0 + HOUR, 9_000_000, 0)

    def work(connection: Connection) -> None:
        if first == "lie":
            report(connection, there, "CS-9", "lie", emaid=EMAID)
            witness(connection, journal("aa"), STATION, "aa")
            for place in (("CS-9", "lie"), (STATION, "tx-aa")):
                assert (held.find(connection, *place) or {})["reason"] == "elsewhere"
            assert [each.transactions for each in reports.sums(connection, "station", UTC)] == [0, 0]
            assert _book_again(connection, journal("aa"), "aa", proven=True) == "fresh"
        else:
            assert _book(connection, journal("aa"), "aa", proven=True) == "fresh"
            report(connection, there, "CS-9", "lie", emaid=EMAID)
        assert held.find(connection, STATION, "tx-aa") is None
        assert (held.find(connection, "CS-9", "lie") or {})["state"] == "quarantined"
        found = {each.group: (each.transactions, each.import_mwh) for each in reports.sums(connection, "station", UTC)}
        assert found == {STATION: (1, 2_000_000), "CS-9": (0, 0)}
        key = "CS-9", "transaction", "lie"
        assert ledger.contradicted(connection, [key])[key].station_id == STATION
        states = connection.execute(select(facts.c.source, facts.c.state).distinct()).all()
        assert sorted(map(tuple, states)) == [("journal", "proven"), ("transaction", "booked"), ("transaction", "held")]
        assert ledger.booked_contradictions(connection, None, 10) == []

    store.do(work)


def test_a_contract_that_signs_at_two_places_at_once_is_left_to_a_person(store: Store) -> None:
    """What is booked stays, marked; so does a journal for which no vehicle has signed."""

    def work(connection: Connection) -> None:
        assert _book(connection, journal("aa"), "aa", proven=True) == "fresh"
        assert _book(connection, journal("bb", "CS-9"), "bb", station="CS-9", proven=True) == "elsewhere"
        (marked,) = ledger.booked_contradictions(connection, None, 10)
        assert (marked.station_id, marked.source_id, marked.state) == (STATION, "aa", "proven")
        other = "DEV2GC00000002"
        assert _book(connection, journal("cc", nth=1, emaid=other), "cc") == "fresh"
        signed = journal("dd", "CS-9", nth=1, emaid=other)
        assert _book(connection, signed, "dd", station="CS-9", proven=True) == "fresh"
        marks = [each.source_id for each in ledger.booked_contradictions(connection, None, 10)]
        assert marks == ["aa", "cc"]
        assert reviews.put(connection, _review("bb", "quarantined", NOON, NOON, "CS-9"))
        reviews.reject(connection, "CS-9", "bb", "somebody", "not seen", 1)
        assert [each.source_id for each in ledger.booked_contradictions(connection, None, 10)] == ["cc"]
        assert (held.find(connection, STATION, "tx-cc") or {})["reason"] == "elsewhere"

    store.do(work)


def _review(session: str, state: reviews.State, begin_ms: int, end_ms: int, station: str = STATION) -> reviews.Review:
    return reviews.Review(
        station_id=station, session_id=session, state=state, transaction_id=f"tx-{session}",
        begin_ms=begin_ms, end_ms=end_ms, reason="", detail="", since_ms=1, due_ms=1,
    )  # fmt: skip


def test_a_rejected_journal_withdraws(store: Store) -> None:
    def work(connection: Connection) -> None:
        query = select(facts.c.state).where((facts.c.source == "journal") & (facts.c.source_id == "ab")).distinct()
        assert _book(connection, journal("aa"), "aa") == "fresh"
        assert _book(connection, journal("ab"), "ab") == "repeated"
        assert connection.execute(query).scalars().all() == ["held"]
        assert reviews.put(connection, _review("ab", "quarantined", NOON, NOON))
        reviews.reject(connection, STATION, "ab", "somebody", "not seen", 1)
        assert _book_again(connection, journal("ab"), "ab") == "decided"
        assert connection.execute(query).scalars().all() == ["withdrawn"]

    store.do(work)


@pytest.mark.parametrize(("change", "day"), [("2026-10-25T01:00Z", "2026-10-25"), ("2027-03-28T01:00Z", "2027-03-28")])
def test_when_clocks_change_sessions_follow_one_another_and_days_are_local(store: Store, change: str, day: str) -> None:
    """Five in a row, one over the change: four end on that day, which has 25 hours or 23, and one with it."""
    berlin, change_ms = ZoneInfo("Europe/Berlin"), _ms(datetime.fromisoformat(change))
    begin = datetime.fromisoformat(day).replace(tzinfo=berlin)
    midnights = [_ms(begin), _ms(begin + timedelta(days=1))]
    assert (midnights[1] - midnights[0]) // HOUR in (23, 25)
    minute = 60_000
    spans = [
        (midnights[0] - 30 * minute, midnights[0]),
        (change_ms - 30 * minute, change_ms + 30 * minute),
        (change_ms + 30 * minute, change_ms + 60 * minute),
        (midnights[1] - 30 * minute, midnights[1] - 1_000),
        (midnights[1] - 1_000, midnights[1]),
    ]

    def work(connection: Connection) -> None:
        for nth, (from_ms, to_ms) in enumerate(spans):
            registers = [
                Registers(at_ms, 5_000_000 + 1_000 * (nth + last), 0) for last, at_ms in enumerate((from_ms, to_ms))
            ]
            report(connection, registers, "CS-1", f"tx-{nth}", emaid=EMAID)
        assert [held.find(connection, "CS-1", f"tx-{nth}") for nth in range(5)] == [None] * 5
        assert why(connection, at(0, key="CS-1/1", from_ms=spans[2][0], to_ms=spans[2][1])) == ("repeated", "tx-2")
        found = reports.sums(connection, "day", berlin)
        assert [(each.transactions, each.import_mwh) for each in found] == [(4, 4_000), (1, 1_000)]
        assert found[0].group == day
        of_day = reports.sums(connection, "station", berlin, midnights[0], midnights[1])
        assert [(each.transactions, each.import_mwh) for each in of_day] == [(4, 4_000)]

    store.do(work)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def test_a_tariff_in_another_currency_is_booked_apart(store: Store) -> None:
    """At the same meter and of the same contract: 0.40 of each, in no sum together."""

    def work(connection: Connection) -> None:
        for nth, (session, currency) in enumerate((("aa", "EUR"), ("ab", "CHF"), ("ac", "EUR"))):
            assert _book(connection, journal(session, nth=nth, currency=currency), session) == "fresh"
        owed = {each.unit: each.amount for each in books.sums(connection).entries if each.account == "driver"}
        assert owed == {"EUR": 800_000, "CHF": 400_000}
        (cost,) = books.costs(connection, "vehicle", None, 9)
        assert cost.owed == owed
        found = reports.sums(connection, "station", UTC)
        assert {each.currency: (each.transactions, each.gross, each.import_mwh) for each in found} == {
            "EUR": (2, 800_000, 4_000_000), "CHF": (1, 400_000, 2_000_000),
        }  # fmt: skip

    store.do(work)
