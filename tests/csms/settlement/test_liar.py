"""An admitted station with real keys delivers false journals by OCPP: none is booked, each has its reason."""

import contextlib
from dataclasses import replace

import pytest

from csms.books import store as books
from csms.db.store import open_store
from csms.prequalifications import store as prequalifications
from csms.prequalifications.rules import Prequalification
from pki_tools.tree import PkiTree
from tests.csms.conftest import Start
from tests.csms.settlement.liar import SESSION, Station, begin_after, decided, options, play
from tests.csms.settlement.lies import LIES, STATION, Lie, delivered, renamed, session_of, signal_at, unpriced

OTHER = "8877665544332211"


async def test_an_honest_session_is_booked_without_anybody(start: Start, pki: PkiTree) -> None:
    start_ms = begin_after(0)
    async with start(**options(start_ms)) as csms:
        await play(csms, delivered(session_of(pki, start_ms)), start_ms)
        review, books = decided(csms)
        assert review is not None
        assert (review.state, review.detail, review.transaction_id) == ("booked", "", "tx-1")
        assert books == (1, 1, 0)


@pytest.mark.some(1)
@pytest.mark.parametrize(("most_export_w", "state"), [(11_000, "booked"), (10_999, "quarantined")])
async def test_a_session_is_booked_within_the_prequalification_of_its_station(
    start: Start, pki: PkiTree, most_export_w: int, state: str
) -> None:
    start_ms = begin_after(0)
    record = Prequalification(
        station_id=STATION, certificate="VDE-1", evse_id=1, operator="DSO", valid_from_ms=0, valid_until_ms=2**53 - 1,
        most_export_w=most_export_w,
    )  # fmt: skip
    async with start(**options(start_ms)) as csms:
        with contextlib.closing(open_store(csms.config.store_url, csms.config.data_dir)) as store:
            store.do(prequalifications.put, record)
        await play(csms, delivered(session_of(pki, start_ms)), start_ms)
        review, _ = decided(csms)
        assert review is not None
        assert (review.state, review.reason) == (state, "" if state == "booked" else "limits")


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("taking", "used", "decision"),
    [
        ("Accepted", 7, ("quarantined", "superseded")),
        ("Accepted", 8, ("booked", "")),
        (None, 7, ("booked", "")),
        (None, 8, ("booked", "")),
        ("Rejected", 7, ("booked", "")),
        ("Rejected", 8, ("quarantined", "prices")),
    ],
)
async def test_a_session_is_booked_with_the_prices_that_its_station_holds(
    start: Start, pki: PkiTree, taking: str | None, used: int, decision: tuple[str, str]
) -> None:
    """Version 7, then 8, which the station accepts, does not answer (then it may hold either), or rejects."""
    start_ms = begin_after(0)
    session = session_of(pki, start_ms, tariff=signal_at(start_ms, version=used).tariff())
    async with start(**options(start_ms)) as csms:
        await play(csms, delivered(session, superseded=True), start_ms, taking)
        review, _ = decided(csms)
        assert review is not None
        assert (review.state, review.reason) == decision, review.detail


@pytest.mark.some(1)
@pytest.mark.parametrize("taking", ["Rejected", "UnknownVendorId"])
@pytest.mark.parametrize(("prices", "decision"), [(True, ("quarantined", "prices")), (False, ("booked", ""))])
async def test_a_station_that_never_took_prices_has_none(
    start: Start, pki: PkiTree, taking: str, prices: bool, decision: tuple[str, str]
) -> None:
    """With prices its journal is false, without them its energy is booked, and nobody owes anything for it."""
    start_ms = begin_after(0)
    story = delivered(session_of(pki, start_ms)) if prices else unpriced(pki, start_ms)
    async with start(**options(start_ms)) as csms:
        await csms.csms.grid.offer(signal_at(start_ms), "test")
        async with csms.connect() as websocket:
            station = Station(csms, websocket, taking)
            await station.boot()
            await station.take_prices()
            await csms.event("grid_signal_pushed")
            await station.transact(story)
            await station.deliver(story)
        await csms.csms.bookkeeper.consider_waiting()
        review, counts = decided(csms)
        assert review is not None
        assert (review.state, review.reason) == decision, review.detail
        assert counts == ((0, 0, 0) if prices else (1, 1, 0))
        with contextlib.closing(open_store(csms.config.store_url, csms.config.data_dir)) as store:
            posted = store.do(books.of_session, STATION, SESSION)
        amounts = {(each.account, each.unit): each.amount for _, _, one in posted for each in one.entries}
        assert amounts == ({} if prices else {("grid", "mWh"): -366_666, ("vehicle", "mWh"): 366_666})


def test_there_are_thirty_kinds_of_lies_and_more() -> None:
    assert len({lie.name for lie in LIES}) == len(LIES) >= 30


async def test_a_transaction_pays_for_one_session_at_a_time(start: Start, pki: PkiTree) -> None:
    """By another id: what the vehicle has signed is of the first entry, and the EVSE was not free."""
    start_ms = begin_after(0)
    honest = delivered(session_of(pki, start_ms, discharge="none", feeds_back=False))
    again = renamed(honest, OTHER)
    async with start(**options(start_ms)) as csms:
        await play(csms, honest, start_ms)
        async with csms.connect() as websocket:
            await Station(csms, websocket).deliver(again, OTHER)
        review, books = decided(csms, OTHER)
        assert review is not None
        assert (review.state, review.reason, books) == ("quarantined", "signatures", (1, 1, 0))


@pytest.mark.requirement("R39")
async def test_a_journal_before_the_end_of_its_transaction_is_booked_when_that_arrives(
    start: Start, pki: PkiTree
) -> None:
    """So does one that arrives before its certificates."""
    start_ms = begin_after(0)
    honest = delivered(session_of(pki, start_ms))
    async with start(tokens=options(start_ms)["tokens"], hand_ms=start_ms - 60_000) as csms:
        await csms.csms.grid.offer(signal_at(start_ms), "test")
        async with csms.connect() as websocket:
            station = Station(csms, websocket)
            await station.boot()
            await station.take_prices()
            await station.deliver(replace(honest, certified=False))
            review, books = decided(csms)
            assert review is not None
            assert (review.state, review.reason, books) == ("waiting", "transaction", (0, 0, 0))
            await station.transact(honest)
            assert (await csms.event("journal_waiting", 2))["reason"] == "certificates"
            await station.certify(honest)
        assert (await csms.event("settled"))["session"] == SESSION
        review, books = decided(csms)
        assert review is not None
        assert (review.state, books) == ("booked", (1, 1, 0))
        assert csms.events("journal_quarantined") == []


@pytest.mark.some(7)
@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name.replace(" ", "-"))
@pytest.mark.some(3)
async def test_a_false_journal_is_not_booked(start: Start, pki: PkiTree, lie: Lie) -> None:
    start_ms = begin_after(0)
    honest = delivered(session_of(pki, start_ms))
    story = lie.story(honest, pki, start_ms)
    async with start(**options(start_ms, **lie.options)) as csms:
        await play(csms, story, start_ms)
        review, books = decided(csms)
        assert review is not None
        assert (review.state, review.reason) == ("quarantined", lie.reason), review.detail
        assert books == (0, 0, 0)
        (event,) = csms.events("journal_quarantined")
        assert (event["session"], event["reason"], event["detail"]) == (SESSION, lie.reason, review.detail)
        assert csms.events("settled") == []
