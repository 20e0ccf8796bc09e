"""Sums over transactions in the database, the same on either kind, against a naive computation."""

from collections.abc import Sequence
from datetime import UTC, timedelta, timezone
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select, update

from csms.booking import store as reviews
from csms.books import reports
from csms.books.tables import posting_entries, postings
from csms.db.store import Store, migrate
from csms.settlements import store as records
from csms.settlements.tables import journal_reviews
from csms.sites import store as site_store
from csms.sites.rules import Place, Site
from csms.stations import store as stations
from csms.tariffs import store as tariffs
from csms.transactions import store as transactions
from csms.transactions.events import EventArrival, add_events
from csms.transactions.rules import EXPORT_REGISTER, IMPORT_REGISTER, Event, Sample
from csms.transactions.tables import booked_transactions, held_transactions
from tests.csms.db.books import DAY, NOV, book, posting
from v2g.energy.balancing import Node
from v2g.energy.price_plan import Charge, PricePlan, Rate
from v2g.energy.settlement.bookkeeping import Entry
from v2g.energy.settlement.costing import Bill
from v2g.energy.settlement.pricing import NO_CURRENCY
from v2g.units import payable_micro

HOUR = 3_600_000
MIDNIGHT = 1_795_046_400_000
"""2026-11-19 00:00 in UTC."""


class Done(NamedTuple):
    """A transaction that a test stores."""

    station: str = "CS"
    token: str | None = "04a1"
    start_ms: int = NOV
    lasts_ms: int = HOUR
    taken_wh: int = 1000
    given_wh: int = 0
    currency: str = ""
    net: int = 0
    vat: int = 0
    final: bool = True
    ended: bool = True
    evse: int = 1

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.lasts_ms


def put(connection: Connection, *done: Done, tariff: str | None = None) -> None:
    for number, each in enumerate(done):
        name = f"t{number}"
        stations.touch(connection, each.station, "ocpp2.1", 0)
        for last in (False, True) if each.ended else (False,):
            at_ms = each.end_ms if last else each.start_ms
            registers = ((IMPORT_REGISTER, 7000, each.taken_wh), (EXPORT_REGISTER, 5000, each.given_wh))
            event = Event(
                station_id=each.station, transaction_id=name, seq_no=int(last), kind="Ended" if last else "Started",
                at_ms=at_ms, trigger="", digest=f"{name}{last}", evse_id=each.evse, id_token=each.token,
                tariff_id=tariff,
                token_type=None if each.token is None else "ISO14443",
                samples=tuple(
                    Sample(at_ms=at_ms, measurand=measurand, value=str(begin + last * wh), unit="Wh")
                    for measurand, begin, wh in registers
                ),
            )  # fmt: skip
            add_events(connection, [EventArrival(event, b'{"transactionInfo":{}}', at_ms)])
        if each.currency:
            bill = Bill(currency=each.currency, excl_tax=each.net, incl_tax=each.net + each.vat)
            key = each.station, name
            tariffs.save_cost(connection, *key, bill, "{}", at_ms, final=each.final, source="csms")


def clear(connection: Connection) -> None:
    for table in ("transaction_costs", "transaction_events", "transaction_totals", "held_transactions", "transactions"):
        connection.exec_driver_sql(f"DELETE FROM {table}")


def naive(done: Sequence[Done], by: reports.Grouping, begin_ms: int, end_ms: int) -> list[reports.Sum]:
    """Compute the sums from what was stored, one group after the other."""

    def group(each: Done) -> str:
        if by == "station":
            return each.station
        if by == "token":
            return "" if each.token is None else f"ISO14443/{each.token.upper()}"
        return f"2026-11-{19 + (each.end_ms - MIDNIGHT) // DAY}"

    counted = [each for each in done if each.ended and begin_ms <= each.end_ms < end_ms]
    return [
        reports.Sum(
            group=name, currency=currency, transactions=len(found),
            preliminary=sum(1 for each in found if each.currency and not each.final),
            import_mwh=sum(each.taken_wh for each in found) * 1000,
            export_mwh=sum(each.given_wh for each in found) * 1000,
            duration_ms=sum(each.lasts_ms for each in found),
            net=sum(payable_micro(each.net, currency) for each in found if currency),
            gross=sum(payable_micro(each.net + each.vat, currency) for each in found if currency),
        )
        for name, currency in sorted({(group(each), each.currency) for each in counted})
        for found in [[each for each in counted if (group(each), each.currency) == (name, currency)]]
    ]  # fmt: skip


DONE = st.builds(
    Done, station=st.sampled_from(["CS", "CS-2"]), token=st.sampled_from([None, "04a1", "04A1", "04b2"]),
    start_ms=st.integers(MIDNIGHT, MIDNIGHT + 3 * DAY), lasts_ms=st.integers(0, DAY), taken_wh=st.integers(0, 500),
    given_wh=st.integers(0, 500), currency=st.sampled_from(["", "EUR", "JPY", "BHD"]),
    net=st.integers(-(10**12), 10**12), vat=st.integers(0, 10**9), final=st.booleans(), ended=st.booleans(),
)  # fmt: skip


@pytest.mark.some(1)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(DONE, max_size=8), st.sampled_from(["station", "token", "day"]), st.integers(0, 4), st.integers(0, 5))
def test_sums_are_those_of_a_naive_computation(
    store: Store, done: list[Done], by: reports.Grouping, first: int, last: int
) -> None:
    begin_ms, end_ms = MIDNIGHT + first * DAY, MIDNIGHT + last * DAY

    def work(connection: Connection) -> None:
        clear(connection)
        put(connection, *(each._replace(evse=number) for number, each in enumerate(done, 1)))
        assert reports.sums(connection, by, UTC, begin_ms, end_ms) == naive(done, by, begin_ms, end_ms)

    store.do(work)


def test_days_and_months_are_those_of_the_zone_in_which_a_transaction_ended(store: Store) -> None:
    december = MIDNIGHT + 12 * DAY

    def work(connection: Connection) -> None:
        put(connection, Done(start_ms=december - 2 * HOUR, lasts_ms=2 * HOUR - 1))
        for zone, month, day in ((UTC, "2026-11", "30"), (timezone(timedelta(hours=1)), "2026-12", "01")):
            assert [each.group for each in reports.sums(connection, "month", zone)] == [month]
            assert [each.group for each in reports.sums(connection, "day", zone)] == [f"{month}-{day}"]

    store.do(work)


def test_one_that_was_closed_counts_when_it_was_closed(store: Store) -> None:
    def work(connection: Connection) -> None:
        put(connection, Done(ended=False))
        assert reports.sums(connection, "station", UTC) == []
        transactions.close_lost(connection, "CS", "t0", NOV + DAY, "operator")
        transactions.note_message(connection, "CS", "t0", NOV + 9 * DAY)
        (found,) = reports.sums(connection, "station", UTC, NOV + DAY, NOV + DAY + 1)
        assert (found.transactions, found.duration_ms, found.import_mwh) == (1, DAY, 0)
        assert reports.sums(connection, "station", UTC, NOV + DAY + 1) == []
        assert reports.sums(connection, "station", UTC, None, NOV + DAY) == []

    store.do(work)


def test_one_that_continues_after_it_was_closed_is_left_out_until_it_ends(store: Store) -> None:
    def work(connection: Connection) -> None:
        put(connection, Done(ended=False))
        transactions.close_lost(connection, "CS", "t0", NOV + DAY, "operator")
        assert len(reports.sums(connection, "station", UTC)) == 1
        for number, kind in ((1, "Updated"), (2, "Ended"), (3, "Updated")):
            at_ms = NOV + number * HOUR
            sample = Sample(at_ms=at_ms, measurand=IMPORT_REGISTER, value=str(7000 + number), unit="Wh")
            event = Event(
                station_id="CS", transaction_id="t0", seq_no=number, kind=kind, at_ms=at_ms, trigger="",  # type: ignore[arg-type]
                digest=f"{number}", samples=(sample,),
            )  # fmt: skip
            add_events(connection, [EventArrival(event, b'{"transactionInfo":{}}', at_ms)])
            found = [
                (each.held, each.duration_ms, each.import_mwh) for each in reports.sums(connection, "station", UTC)
            ]
            expected: dict[int, list[tuple[int, int, int]]] = {1: [], 2: [(0, 2 * HOUR, 2000)], 3: [(1, 0, 0)]}
            assert found == expected[number], "readings after the end are for a person to judge"

    store.do(work)


def test_an_older_database_has_the_same_reports(owner_url: str) -> None:
    store = Store(owner_url)
    migrate(store.engine)
    store.do(
        put, Done(), Done(token=None, given_wh=500), Done(ended=False), Done(currency="EUR", net=5, station="CS-2")
    )
    groupings: tuple[reports.Grouping, ...] = ("day", "station", "token", "site", "tariff")
    expected = [store.do(reports.sums, by, UTC) for by in groupings]
    with store.engine.begin() as connection:
        for name in ("transaction_totals", "facts", "booked_transactions", "connector_history"):
            connection.exec_driver_sql(f"DROP TABLE {name}")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0055'")
    migrate(store.engine)
    assert [store.do(reports.sums, by, UTC) for by in groupings] == expected
    assert len(expected[1]) == 2
    store.close()


def test_a_clock_beyond_the_calendar_and_a_falling_register_do_no_harm(store: Store) -> None:
    def work(connection: Connection) -> None:
        put(connection, Done(lasts_ms=253_402_300_799_999 - NOV, taken_wh=-5), Done(start_ms=0))
        found = reports.sums(connection, "day", timezone(timedelta(hours=14)))
        assert [(each.group, each.import_mwh) for each in found] == [("1970-01-01", 1_000_000), ("9999-12-31", 0)]

    store.do(work)


def test_sites_are_by_evse_and_tariffs_by_plan_or_what_the_station_reported(store: Store) -> None:
    places = tuple(Place(station_id=each, evse_id=n, node="n", most_ma=1) for each, n in (("CS", 1), ("CS-2", 2)))
    plan = PricePlan(id="p", currency="EUR", energy=Charge(rates=(Rate(price="0.5"),)))
    later = PricePlan(id="a", currency="EUR", energy=Charge(rates=(Rate(price="1"),)))

    def work(connection: Connection) -> None:
        put(connection, Done(), Done(station="CS-2"), tariff="own")
        site_store.save_site(connection, Site(id="depot", nodes=(Node(id="n", limits=(1, 2, 3)),), places=places), NOV)
        assert [each.group for each in reports.sums(connection, "site", UTC)] == ["", "depot"]
        for each in (plan, later):
            tariffs.add_plan(connection, each, 1)
        known = transactions.get(connection, "CS", "t0")
        assert known is not None
        tariffs.keep_plan(connection, known, "p")
        tariffs.change_plan(connection, known, later, NOV + 1)
        assert [each.group for each in reports.sums(connection, "tariff", UTC)] == ["own", "p"]

    store.do(work)


@pytest.mark.requirement("R32", "R33")
def test_a_booked_session_counts_once_with_what_the_books_have(store: Store) -> None:
    """Also after a correction, with several sessions in a transaction, and with a cost of its own."""

    def review(session: str) -> reviews.Review:
        return reviews.Review(
            station_id="CS", session_id=session, state="released", transaction_id="t0", begin_ms=NOV, end_ms=NOV,
            reason="", detail="", since_ms=NOV, due_ms=NOV,
        )  # fmt: skip

    def work(connection: Connection) -> None:
        other = Done(currency="EUR", net=1_000_000, vat=190_000, evse=2)
        put(connection, Done(currency="USD", net=90_000, vat=10_000, final=False), other)
        reviews.put(connection, review("01"))
        reviews.put(connection, review("02"))
        book(connection, posting("01"), posting("01", mwh=700, money=4_200_000), posting("02", mwh=5, money=-200_000))
        (found,) = reports.sums(connection, "station", UTC)
        assert (found.currency, found.transactions, found.preliminary) == ("EUR", 2, 0)
        assert (found.import_mwh, found.net, found.gross) == (
            705 + 1_000_000,
            4_000_000 + 1_000_000,
            4_000_000 + 1_190_000,
        )

    store.do(work)


def test_held_transactions_do_not_count_in_a_limit_of_entries(store: Store) -> None:
    """A file that was cut there seemed to be whole."""

    def work(connection: Connection) -> None:
        put(connection, *(Done(start_ms=NOV + each * HOUR, currency="EUR", net=1, evse=each + 1) for each in range(4)))
        for reason, name in (("clock", "t0"), ("unpriced", "t1")):
            held = {"state": "quarantined", "reason": reason, "detail": "", "begin_ms": NOV, "end_ms": NOV}
            held |= {"import_mwh": 0, "export_mwh": 0, "since_ms": NOV, "decided_by": "", "note": ""}
            held |= {"station_id": "CS", "transaction_id": name}
            connection.execute(insert(held_transactions).values(held))
        found = reports.entries(connection, None, None, None, 2)
        assert [each.transaction_id for each in found] == ["t2", "t3"]

    store.do(work)


def test_sessions_of_a_transaction_are_billed_each_alone(store: Store) -> None:
    """Sums are what the driver paid: 0.334999 and 0.334999 are 0.33 twice, not 0.67."""

    def work(connection: Connection) -> None:
        put(connection, Done())
        for session in ("01", "02"):
            act(connection, Booked(session, "t0"))
            book(connection, posting(session, money=334_999))
        (found,) = reports.sums(connection, "station", UTC)
        assert (found.currency, found.transactions, found.gross) == ("EUR", 1, 660_000)

    store.do(work)


class Booked(NamedTuple):
    """A session that a test posts, or its review, of a transaction, that it stores anew."""

    session: str
    transaction: str
    currencies: tuple[str, ...] = ()
    mwh: int = 0
    money: int = 0
    post: bool = False


BOOKED = st.builds(
    Booked, session=st.sampled_from(["01", "02", "03"]), transaction=st.sampled_from(["t0", "t1", ""]),
    post=st.booleans(), currencies=st.sampled_from([(), ("EUR",), ("JPY",), ("EUR", "JPY")]),
    mwh=st.integers(0, 10**6), money=st.integers(-(10**12), 10**12),
)  # fmt: skip


def act(connection: Connection, each: Booked) -> None:
    if each.post:
        amounts = {"driver": each.money, "vat": -each.money // 5, "sales": -each.money - -each.money // 5}
        entries = tuple(
            Entry(account=account, unit=unit, amount=amount)  # type: ignore[arg-type]
            for account, amount in amounts.items()
            for unit in each.currencies
        )
        book(connection, msgspec.structs.replace(posting(each.session, each.mwh, each.money), entries=entries))
    else:
        row = reviews.get(connection, "CS", each.session)
        review = reviews.Review(
            station_id="CS", session_id=each.session, state="waiting", transaction_id=each.transaction, begin_ms=NOV,
            end_ms=NOV, reason="" if row is None else f"{row.reason}x"[-16:], detail="", since_ms=NOV, due_ms=NOV,
        )  # fmt: skip
        if row is not None and len(row.reason) == 16:
            review = msgspec.structs.replace(review, reason="")
        assert reviews.put(connection, review)


def anew(connection: Connection) -> set[tuple[str, str, int | None, int | None, int | None, int | None]]:
    """Sum up what stands in the books, one transaction after the other."""
    of = {row.session_id: row.transaction_id for row in connection.execute(select(journal_reviews))}
    found: dict[str, list[int]] = {}
    energy: dict[str, tuple[int, int]] = {}
    for row in connection.execute(select(postings)):
        name = of.get(row.session_id, "")
        if name and not row.reversed and row.reverses is None:
            found.setdefault(name, []).append(row.id)
            taken, given = energy.get(name, (0, 0))
            energy[name] = taken + row.import_mwh, given + row.export_mwh
    rows = connection.execute(select(posting_entries)).all()
    result: set[tuple[str, str, int | None, int | None, int | None, int | None]] = set()
    for name, ids in found.items():
        money = [row for row in rows if row.posting_id in ids and row.unit != "mWh"]
        for place, currency in enumerate(sorted({row.unit for row in money}) or [""]):
            gross = net = 0
            for number in ids:
                by = {row.account: row.amount for row in money if (row.posting_id, row.unit) == (number, currency)}
                gross += payable_micro(by.get("driver", 0), currency)
                net += payable_micro(by.get("driver", 0) + by.get("vat", 0), currency)
            amounts = (net, gross) if money else (None, None)
            result.add((name, currency, *(energy[name] if place == 0 else (None, None)), *amounts))
    return result


@pytest.mark.some(1)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(BOOKED, max_size=12))
@pytest.mark.long
def test_booked_amounts_are_those_of_the_books_after_each_step_and_in_an_older_database(
    owner_url: str, steps: list[Booked]
) -> None:
    """Sessions are posted, corrected, and found to be of another transaction, in any order."""
    store = Store(owner_url)

    def stored(connection: Connection) -> list[tuple[object, ...]]:
        columns = booked_transactions.c
        return [tuple(row)[1:] for row in connection.execute(select(*columns).order_by(*columns))]

    def work(connection: Connection) -> list[tuple[object, ...]]:
        for table in (booked_transactions, posting_entries, postings, journal_reviews):
            if table is postings:
                connection.execute(update(postings).values(reverses=None))
            connection.execute(table.delete())
        for each in steps:
            act(connection, each)
            found = stored(connection)
            assert (len(found), set(found)) == (len(anew(connection)), anew(connection))
        return stored(connection)

    expected = store.do(work)
    with store.engine.begin() as connection:
        for table in ("booked_transactions", "past_plans"):  # of this revision, and of a later one
            connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0087'")
    migrate(store.engine)
    assert store.do(stored) == expected
    store.close()


def test_free_energy_is_booked_in_the_currency_of_its_settlement(store: Store) -> None:
    """Whatever others of its station have, or of its id elsewhere; once."""

    def work(connection: Connection) -> None:
        for station, session, currencies in (("CS", "01", ("CHF", NO_CURRENCY)), ("CS", "02", ("USD",)),
                                             ("CS-2", "01", ("JPY",))):  # fmt: skip
            document = msgspec.json.encode({"totals": [{"currency": each} for each in currencies]})
            assert records.save_settlement(connection, station, session, "ab", document, NOV)
        act(connection, Booked("01", "t0"))
        act(connection, Booked("01", "t0", (), 7, post=True))
        columns = booked_transactions.c
        assert connection.execute(select(*columns)).all() == [("CS", "t0", "CHF", 7, 0, 0, 0)]

    store.do(work)


def test_a_transaction_in_two_currencies_counts_in_the_first_and_one_without_money_with_its_energy(
    store: Store,
) -> None:
    def work(connection: Connection) -> None:
        put(connection, Done(), Done(evse=2))
        steps = [Booked("01", "t0"), Booked("02", "t1"), Booked("02", "t1", (), 7, post=True)]
        for each in [*steps, Booked("01", "t0", ("EUR", "JPY"), 5, 120_000_000, post=True)]:
            act(connection, each)
        found = [
            (each.currency, each.transactions, each.import_mwh, each.net, each.gross)
            for each in reports.sums(connection, "station", UTC)
        ]
        assert found == [
            ("", 1, 7, 0, 0),
            ("EUR", 1, 5, 96_000_000, 120_000_000),
            ("JPY", 0, 0, 96_000_000, 120_000_000),
        ]

    store.do(work)
