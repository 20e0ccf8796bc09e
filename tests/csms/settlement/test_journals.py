"""Journal copies: what a station delivers is proved, kept once, survives, and is settled when the session ends."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import UNSET
from sqlalchemy import select, update

from csms.booking.rules import Rules
from csms.booking.work import Bookkeeper
from csms.db.store import Store, open_store
from csms.settlements import store as records
from csms.settlements.journals import JournalStore
from csms.settlements.rules import Copy
from csms.settlements.store import JournalRow
from csms.settlements.tables import journal_lines, journals
from csms.settlements.work import settle_journal
from csms.trust.rules import Anchors
from tests.csms.conftest import Start
from tests.csms.settlement.journals import SESSION, T0, booted, delivery, journal, seen, transfer
from tests.csms.settlement.witness import witness
from tests.csms.support import STATION, Running
from v2g import typed_json
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.operator import JournalReceipt, check_seal, is_of, prices_in
from v2g.energy.settlement.records import LineCorrected
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.errors import CodecError, RefusedError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe
from v2g.pki.keys import SoftwareKey, load_key

KEY = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))


@pytest.mark.requirement("R32", "R33")
@pytest.mark.parametrize("bundle", [2, 3])
async def test_the_receipt_signs_the_prices_that_were_sent(csms: Running, bundle: Literal[2, 3]) -> None:
    """A charger of 0.2.0 would refuse a receipt that has them."""
    lines = journal(bundle=bundle)
    seen(csms, lines)
    async with csms.connect() as websocket:
        await booted(websocket)
        answer = (await transfer(websocket, delivery(lines)))["data"]["receipt"]
    receipt = typed_json.convert(answer, JournalReceipt).received
    assert receipt.prices == (prices_in(verify_lines(b"".join(lines))) if bundle == 3 else UNSET)


@pytest.mark.requirement("R32", "R33")
async def test_the_operator_signs_a_receipt_of_a_complete_journal_and_returns_it_again(csms: Running) -> None:
    lines = journal()
    async with csms.connect() as websocket:
        await booted(websocket)
        assert "receipt" not in (await transfer(websocket, delivery(lines[:-1])))["data"]
        given = (await transfer(websocket, delivery(lines)))["data"]["receipt"]
        assert (await transfer(websocket, delivery(lines[-1:])))["data"]["receipt"] == given
    receipt = typed_json.convert(given, JournalReceipt)
    entries = verify_lines(b"".join(lines))
    found = receipt.received
    assert (found.station_id, found.session_id) == (STATION, SESSION)
    assert (found.entries, found.head) == (len(entries), entries[-1].hash)
    assert found.prices is UNSET  # this back end has not sent them
    check_seal(found, receipt.seal, where="answer")
    assert is_of(receipt.seal, [load_key(csms.config.data_dir / "books.key").public_key])


def copy_of(csms: Running, session: str = SESSION) -> bytes:
    """Return the copy of a journal."""
    store = open_store(csms.config.store_url, csms.config.data_dir)
    try:
        return b"".join(store.do(records.journal_lines, STATION, session))
    finally:
        store.close()


@pytest.mark.requirement("R39")
async def test_a_session_arrives_in_pieces_and_twice_and_is_settled_once(csms: Running) -> None:
    lines = journal()
    seen(csms, lines)
    async with csms.connect() as websocket:
        await booted(websocket)
        assert (await transfer(websocket, delivery(lines[:3])))["data"]["lines"] == 3
        assert (await transfer(websocket, delivery(lines[1:5])))["data"]["lines"] == 5
        assert (await transfer(websocket, delivery(lines)))["data"]["lines"] == len(lines)
        assert (await transfer(websocket, delivery(lines)))["status"] == "Accepted"
    assert copy_of(csms) == b"".join(lines)
    settled = csms.events("settled")
    assert len(settled) == 1
    assert (settled[0]["import_mwh"], settled[0]["export_mwh"]) == (2_000_000, 1_000_000)
    assert settled[0]["balance"] == 2 * 300_000 - 200_000


def test_energy_that_nobody_priced_does_not_hide_what_the_rest_came_to() -> None:
    reported = settle_journal(b"".join(journal(priced_ms=900_000)), SESSION).summary
    assert (reported["import_mwh"], reported["export_mwh"]) == (2_000_000, 1_000_000)
    assert (reported["currency"], reported["balance"]) == ("EUR", 2 * 300_000)


async def test_a_station_cannot_correct_what_it_has_delivered(csms: Running) -> None:
    lines = journal()
    seen(csms, lines)
    async with csms.connect() as websocket:
        await booted(websocket)
        await transfer(websocket, delivery(lines))
        ledger = SessionJournal.resume(b"".join(lines))
        correction = LineCorrected(line=f"{T0}/import", price=100_000, reason="wrong tariff")
        corrected = ledger.record(correction, T0 + 2_000_000)
        for each in (corrected, lines + corrected):
            assert (await transfer(websocket, delivery(each)))["status"] == "Rejected"
        assert (await transfer(websocket, delivery(lines)))["status"] == "Accepted"
    assert [each["balance"] for each in csms.events("settled")] == [400_000]
    assert {each["reason"] for each in csms.events("journal_refused")} == {"correction"}
    assert copy_of(csms) == b"".join(lines)


async def test_a_fork_is_refused_and_leaves_the_copy_alone(csms: Running) -> None:
    lines, other = journal(), journal(price=999_999)
    async with csms.connect() as websocket:
        await booted(websocket)
        await transfer(websocket, delivery(lines[:4]))
        for fork in (other[:4], other[4:], other):
            answer = await transfer(websocket, delivery(fork))
            assert (answer["status"], answer["statusInfo"]["reasonCode"]) == ("Rejected", "JournalRefused")
        assert (await transfer(websocket, delivery(lines[4:])))["status"] == "Accepted"
    assert copy_of(csms) == b"".join(lines)
    assert {each["reason"] for each in csms.events("journal_refused")} == {"fork"}


@pytest.mark.some(4)
@pytest.mark.parametrize(
    "data",
    [
        None,
        "text",
        {},
        {"stationId": STATION, "sessionId": SESSION, "lines": []},
        {"stationId": STATION, "sessionId": SESSION, "lines": ["{}"] * 2001},
        {"stationId": STATION, "sessionId": "../../etc/passwd", "lines": ["x"]},
        {"stationId": STATION, "sessionId": "..", "lines": ["x"]},
        {"stationId": "CS-OTHER", "sessionId": SESSION, "lines": ["x"]},
        {"stationId": STATION, "sessionId": SESSION, "lines": ["not a line"]},
    ],
)
async def test_a_delivery_that_is_none_is_rejected_and_touches_nothing(csms: Running, data: Any) -> None:
    async with csms.connect() as websocket:
        await booted(websocket)
        assert (await transfer(websocket, data))["status"] == "Rejected"
    assert not list(csms.config.data_dir.rglob("*.jsonl"))
    assert copy_of(csms) == b""


async def test_a_copy_that_was_not_settled_is_settled_at_the_next_start(start: Start) -> None:
    lines = journal()
    async with start() as csms:
        store = open_store(csms.config.store_url, csms.config.data_dir)
    store.do(witness, lines, STATION, SESSION)
    copy = Copy(STATION, SESSION)
    copy.take(stripped(lines))
    row = JournalRow(station_id=STATION, session_id=SESSION, lines=copy.lines, head=copy.head, ended=copy.ended)
    assert store.do(records.append_journal, row, 0, lines, T0)
    store.close()
    async with start() as csms:
        assert len(csms.events("settled")) == 1


async def test_a_copy_that_was_tampered_with_is_reported_and_takes_nothing_more(start: Start) -> None:
    lines = journal()
    async with start() as csms, csms.connect() as websocket:
        await booted(websocket)
        await transfer(websocket, delivery(lines[:5]))
    store = open_store(csms.config.store_url, csms.config.data_dir)
    there = journal_lines.c
    changed = lines[4].replace(b'"import_mwh":2001000', b'"import_mwh":2001001')
    assert changed != lines[4]
    store.do(
        lambda connection: connection.execute(update(journal_lines).where(there.sequence == 4).values(line=changed))
    )
    store.close()
    async with start() as csms, csms.connect() as websocket:
        await booted(websocket)
        assert (await transfer(websocket, delivery(lines[5:])))["status"] == "Rejected"
        assert (await csms.event("journal_damaged"))["session"] == SESSION


async def test_sessions_of_one_station_do_not_disturb_each_other(csms: Running) -> None:
    one, two = journal("aa01"), journal("aa02", nth=1)
    seen(csms, one, "aa01")
    seen(csms, two, "aa02")
    async with csms.connect() as websocket:
        await booted(websocket)
        for a, b in zip(one, two, strict=True):
            await transfer(websocket, delivery([a], "aa01"))
            await transfer(websocket, delivery([b], "aa02"))
    assert copy_of(csms, "aa01") == b"".join(one)
    assert {each["session"] for each in csms.events("settled")} == {"aa01", "aa02"}


def stripped(lines: list[bytes]) -> list[bytes]:
    """Return lines without line feeds."""
    return [line.removesuffix(b"\n") for line in lines]


async def test_deliveries_at_the_same_time_are_put_in_a_row(csms: Running) -> None:
    lines = journal()
    seen(csms, lines)
    archive = csms.csms.journals
    await asyncio.gather(*(archive.deliver(STATION, delivery(lines)) for _ in range(5)))
    assert copy_of(csms) == b"".join(lines)
    assert len(csms.events("settled")) == 1
    with pytest.raises(CodecError):
        await archive.deliver(STATION, {})


class Nodes:
    """Archives of several nodes, each with a store of its own on one database."""

    def __init__(self, store_url: str, folder: Path, count: int) -> None:
        self.stores = [Store(store_url) for _ in range(count)]
        self._events = folder / "events.jsonl"
        clock = Clock()
        self._log = EventLog("csms", clock, self._events)
        self.archives = [
            JournalStore(store, clock, self._log, self._bookkeeper(store, clock), KEY) for store in self.stores
        ]

    def _bookkeeper(self, store: Store, clock: Clock) -> Bookkeeper:
        def report(stage: str, name: str, station_id: str, data: dict[str, Any]) -> None:
            self._log(Observe(stage, name, {"station": station_id, **data}))

        rules = Rules(unsigned_feed_in=True, unsigned_contracts=True)
        return Bookkeeper(store, clock, report, lambda: Anchors(roots=()), rules, wait_ms=60_000)

    def seen(self, lines: list[bytes]) -> None:
        """Let the back end have seen what a journal states."""
        self.stores[0].do(witness, lines, STATION, SESSION)

    def copy(self) -> bytes:
        """Return what the database has."""
        return b"".join(self.stores[0].do(records.journal_lines, STATION, SESSION))

    def settled(self) -> int:
        """Return how often the session was settled."""
        return sum(json.loads(line)["name"] == "settled" for line in self._events.read_text().splitlines())

    def close(self) -> None:
        """Close all."""
        self._log.close()
        for store in self.stores:
            store.close()


@pytest.fixture
def nodes(store_url: str, tmp_path: Path) -> Iterator[Nodes]:
    """Two nodes on one database."""
    found = Nodes(store_url, tmp_path, 2)
    yield found
    found.close()


async def test_a_station_that_changes_nodes_goes_on_where_it_was(nodes: Nodes) -> None:
    lines = journal()
    nodes.seen(lines)
    for place, line in enumerate(lines):
        delivered = await nodes.archives[place % 2].deliver(STATION, delivery([line]))
        assert delivered.lines == place + 1
    assert nodes.copy() == b"".join(lines)
    assert nodes.settled() == 1
    with pytest.raises(RefusedError, match="differs"):
        await nodes.archives[0].deliver(STATION, delivery(journal(price=999_999)))


async def test_of_nodes_that_take_the_same_lines_at_once_each_is_stored_once(nodes: Nodes) -> None:
    lines = journal()
    nodes.seen(lines)
    cuts = [lines[:3], lines[:5], lines, lines]
    works = [archive.deliver(STATION, delivery(cut)) for archive in nodes.archives for cut in cuts]
    await asyncio.gather(*works)
    assert nodes.copy() == b"".join(lines)
    assert nodes.settled() == 1


async def test_refused_deliveries_leave_nothing_behind(nodes: Nodes) -> None:
    for number in range(20):
        session = f"{number:016x}"
        with pytest.raises(RefusedError, match="next"):
            await nodes.archives[0].deliver(STATION, delivery(journal(session)[3:], session))
    assert nodes.stores[0].do(lambda connection: connection.execute(select(journals)).all()) == []
