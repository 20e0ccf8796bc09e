"""An admitted station with real keys delivers false journals by OCPP: none is booked, each has its reason."""

import base64
import contextlib
import json
import time
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from csms.config import SettlementRules, TokenEntry
from csms.db.queries import books, prequalifications, reviews
from csms.db.queries.reviews import Review
from csms.db.store import open_store
from csms.db.tables import debits, postings, settlements
from csms.domain.charging.prequalification import Prequalification
from pki_tools.tree import PkiTree
from tests.csms.conftest import Start
from tests.csms.settlement.lies import (
    EMAID,
    LIES,
    SESSION_ID,
    STATION,
    Lie,
    Story,
    renamed,
    session_of,
    signal_at,
    told,
    unpriced,
)
from tests.csms.settlement.test_journals import booted
from tests.csms.support import Running
from v2g.ocpp.times import format_time

SESSION = SESSION_ID.hex()
OTHER = "8877665544332211"


class Station:
    """A station's connection: its requests, in order. `taking` is what it answers to prices, None nothing."""

    def __init__(self, websocket: Any, taking: str | None = "Accepted") -> None:
        self._websocket = websocket
        self._number = 0
        self._taking = taking

    async def take_prices(self) -> None:
        """Answer what the back end requests, until prices have come."""
        while True:
            kind, identifier, action, *_ = json.loads(await self._websocket.recv())
            if kind != 2:
                continue
            status = {"GetChargingProfiles": "NoProfiles", "DataTransfer": self._taking}.get(action, "Accepted")
            if status is not None:
                await self._websocket.send(json.dumps([3, identifier, {"status": status}]))
            if action == "DataTransfer":
                return

    async def request(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Send a request; return the answer, which must not be an error."""
        self._number += 1
        await self._websocket.send(json.dumps([2, f"r{self._number}", action, payload]))
        while True:
            frame = json.loads(await self._websocket.recv())
            if frame[0] != 2 and frame[1] == f"r{self._number}":
                assert frame[0] == 3, frame
                answer: dict[str, Any] = frame[2]
                return answer

    async def transfer(self, message: str, data: dict[str, Any]) -> None:
        """Deliver something of a session."""
        data = {"stationId": STATION, **data}
        payload = {"vendorId": "org.v2g-engine", "messageId": message, "data": data}
        assert (await self.request("DataTransfer", payload))["status"] == "Accepted"

    async def name_evse(self, name: str) -> None:
        """Report the name of EVSE 1."""
        attribute = {"value": name, "type": "Actual"}
        variable = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "EvseId"}}
        report = {"requestId": 0, "generatedAt": format_time(0), "seqNo": 0}
        await self.request("NotifyReport", report | {"reportData": [{**variable, "variableAttribute": [attribute]}]})

    async def transact(self, story: Story) -> None:
        """Report the transaction of a story, with a few of its meter values."""
        last = len(story.readings) - 1
        chosen = [each for place, each in enumerate(story.readings) if place % 3 == 0 or place == last]
        for number, reading in enumerate(chosen):
            registers = [("Energy.Active.Import.Register", reading.import_mwh)]
            registers += [("Energy.Active.Export.Register", reading.export_mwh)] if story.exports else []
            kind = "Started" if number == 0 else "Ended" if number == len(chosen) - 1 and story.ended else "Updated"
            at = format_time(reading.utc_ms)
            payload: dict[str, Any] = {
                "eventType": kind,
                "timestamp": at,
                "triggerReason": "MeterValuePeriodic",
                "seqNo": number,
                "transactionInfo": {"transactionId": "tx-1"},
                "evse": {"id": 1, "connectorId": 1},
                "meterValue": [
                    {
                        "timestamp": at,
                        "sampledValue": [{"value": mwh / 1000, "measurand": name} for name, mwh in registers],
                    }
                ],
            }
            if story.token is not None and kind == "Started":
                payload["idToken"] = dict(zip(("idToken", "type"), story.token, strict=True))
            await self.request("TransactionEvent", payload)

    async def certify(self, story: Story, session: str = SESSION) -> None:
        """Deliver the certificates of a story."""
        chains = {"charger": story.charger, "contract": story.contract}
        coded = {name: [base64.b64encode(each).decode() for each in chain] for name, chain in chains.items()}
        await self.transfer("JournalCertificates", {"sessionId": session, **coded})

    async def deliver(self, story: Story, session: str = SESSION) -> None:
        """Deliver certificates and journal."""
        if story.certified:
            await self.certify(story, session)
        lines = [line.decode().removesuffix("\n") for line in story.lines]
        await self.transfer("JournalEntries", {"sessionId": session, "lines": lines})


def begin_after(ms: int) -> int:
    """Return a time from now, in the middle of a quarter of an hour: no interval ends within a session."""
    now_ms = int(time.time() * 1000) + ms
    return now_ms // 900_000 * 900_000 + 900_000 + 120_000


def booked(connection: Connection) -> tuple[int, int, int]:
    """Return how many postings, settlements and debits there are."""
    counts = [connection.execute(select(func.count()).select_from(each)).scalar_one()
              for each in (postings, settlements, debits)]  # fmt: skip
    return counts[0], counts[1], counts[2]


def decided(csms: Running, session: str = SESSION) -> tuple[Review | None, tuple[int, int, int]]:
    """Return what was decided about a session, and what is in the books."""
    store = open_store(csms.config.store_url, csms.config.data_dir)
    try:
        return store.do(reviews.get, STATION, session), store.do(booked)
    finally:
        store.close()


def options(**changes: Any) -> dict[str, Any]:
    """Return a configuration that waits for nothing."""
    names = (EMAID, "DEV2GC00000002", "DEV2GC00000003")
    tokens = tuple(TokenEntry(id_token=each, **(changes if each == EMAID else {})) for each in names)
    return {"settlement": SettlementRules(wait_s=0.001), "tokens": tokens}


async def play(csms: Running, story: Story, start_ms: int, taking: str | None = "Accepted") -> None:
    """Let a station connect, take prices, report its transaction, and deliver its journal.

    `taking` is what it answers to other prices before the session, where these supersede the first ones.
    """
    await csms.csms.grid.offer(signal_at(start_ms), "test")
    async with csms.connect() as websocket:
        await booted(websocket)
        await Station(websocket).take_prices()
        await csms.event("grid_signal_pushed")
        station = Station(websocket, taking)
        if story.superseded:
            await csms.csms.grid.offer(signal_at(start_ms, version=8), "test")
            await station.take_prices()
        if story.evse_name:
            await station.name_evse(story.evse_name)
        if story.reported:
            await station.transact(story)
        await station.deliver(story)
    await csms.csms.bookkeeper.consider_waiting()


async def test_an_honest_session_is_booked_without_anybody(start: Start, pki: PkiTree) -> None:
    start_ms = begin_after(0)
    async with start(**options()) as csms:
        await play(csms, told(session_of(pki, start_ms)), start_ms)
        review, books = decided(csms)
        assert review is not None
        assert (review.state, review.detail, review.transaction_id) == ("booked", "", "tx-1")
        assert books == (1, 1, 0)


@pytest.mark.parametrize(("most_export_w", "state"), [(11_000, "booked"), (10_999, "quarantined")])
async def test_a_session_is_booked_within_the_prequalification_of_its_station(
    start: Start, pki: PkiTree, most_export_w: int, state: str
) -> None:
    start_ms = begin_after(0)
    record = Prequalification(
        station_id=STATION, certificate="VDE-1", evse_id=1, operator="DSO", valid_from_ms=0, valid_until_ms=2**53 - 1,
        most_export_w=most_export_w,
    )  # fmt: skip
    async with start(**options()) as csms:
        with contextlib.closing(open_store(csms.config.store_url, csms.config.data_dir)) as store:
            store.do(prequalifications.put, record)
        await play(csms, told(session_of(pki, start_ms)), start_ms)
        review, _ = decided(csms)
        assert review is not None
        assert (review.state, review.reason) == (state, "" if state == "booked" else "limits")


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
    async with start(**options()) as csms:
        await play(csms, told(session, superseded=True), start_ms, taking)
        review, _ = decided(csms)
        assert review is not None
        assert (review.state, review.reason) == decision, review.detail


@pytest.mark.parametrize("taking", ["Rejected", "UnknownVendorId"])
@pytest.mark.parametrize(("prices", "decision"), [(True, ("quarantined", "prices")), (False, ("booked", ""))])
async def test_a_station_that_never_took_prices_has_none(
    start: Start, pki: PkiTree, taking: str, prices: bool, decision: tuple[str, str]
) -> None:
    """With prices its journal is false, without them its energy is booked, and nobody owes anything for it."""
    start_ms = begin_after(0)
    story = told(session_of(pki, start_ms)) if prices else unpriced(pki, start_ms)
    async with start(**options()) as csms:
        await csms.csms.grid.offer(signal_at(start_ms), "test")
        async with csms.connect() as websocket:
            await booted(websocket)
            station = Station(websocket, taking)
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
    start_ms = begin_after(0)
    honest = told(session_of(pki, start_ms))
    again = renamed(honest, OTHER)
    async with start(**options()) as csms:
        await play(csms, honest, start_ms)
        async with csms.connect() as websocket:
            await Station(websocket).deliver(again, OTHER)
        review, books = decided(csms, OTHER)
        assert review is not None
        assert (review.state, review.reason, books) == ("quarantined", "repeated", (1, 1, 0))


@pytest.mark.requirement("R39")
async def test_a_journal_before_the_end_of_its_transaction_is_booked_when_that_arrives(
    start: Start, pki: PkiTree
) -> None:
    """So does one that arrives before its certificates."""
    start_ms = begin_after(0)
    honest = told(session_of(pki, start_ms))
    async with start(tokens=options()["tokens"]) as csms:
        await csms.csms.grid.offer(signal_at(start_ms), "test")
        async with csms.connect() as websocket:
            await booted(websocket)
            station = Station(websocket)
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


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name.replace(" ", "-"))
async def test_a_false_journal_is_not_booked(start: Start, pki: PkiTree, lie: Lie) -> None:
    start_ms = begin_after(0)
    honest = told(session_of(pki, start_ms))
    story = lie.story(honest, pki, start_ms)
    if story.late_signal_ms:
        start_ms = begin_after(-1_800_000)
        story = told(session_of(pki, start_ms))
    async with start(**options(**lie.options)) as csms:
        await play(csms, story, start_ms)
        review, books = decided(csms)
        assert review is not None
        assert (review.state, review.reason) == ("quarantined", lie.reason), review.detail
        assert books == (0, 0, 0)
        (event,) = csms.events("journal_quarantined")
        assert (event["session"], event["reason"], event["detail"]) == (SESSION, lie.reason, review.detail)
        assert csms.events("settled") == []
