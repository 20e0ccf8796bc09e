"""A station's connection by which it delivers what it claims of a session, and what a back end decides about that."""

import base64
import json
import time
from typing import Any

from sqlalchemy import Connection, func, select

from csms.booking import store as reviews
from csms.booking.store import Review
from csms.books.tables import postings
from csms.db.store import open_store
from csms.mandates.store import debits
from csms.settlements.rules import SettlementRules
from csms.settlements.tables import settlements
from csms.tokens.rules import TokenEntry
from tests.csms.settlement.lies import EMAID, MINUTE_MS, SESSION_ID, STATION, Story, signal_at
from tests.csms.support import Running
from v2g.ocpp.times import format_time

SESSION = SESSION_ID.hex()


class Station:
    """A station's connection: its requests, in order. `taking` is what it answers to prices, None nothing.

    The back end's clock is set by `csms` to what the station's shows, whenever that reports something.
    """

    def __init__(self, csms: Running, websocket: Any, taking: str | None = "Accepted", name: str = STATION) -> None:
        self._csms, self._websocket = csms, websocket
        self._name = name
        self._number = 0
        self._taking = taking

    async def boot(self) -> None:
        """Boot."""
        about = {"model": "M", "vendorName": "V"}
        await self.request("BootNotification", {"reason": "PowerUp", "chargingStation": about})

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
        data = {"stationId": self._name, **data}
        payload = {"vendorId": "org.v2g-engine", "messageId": message, "data": data}
        assert (await self.request("DataTransfer", payload))["status"] == "Accepted"

    async def name_evse(self, name: str) -> None:
        """Report the name of EVSE 1."""
        attribute = {"value": name, "type": "Actual"}
        variable = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "EvseId"}}
        report = {"requestId": 0, "generatedAt": format_time(0), "seqNo": 0}
        await self.request("NotifyReport", report | {"reportData": [{**variable, "variableAttribute": [attribute]}]})

    async def transact(self, story: Story, transaction: str = "tx-1", evse: int = 1) -> None:
        """Report the transaction of a story, with a few of its meter values."""
        last = len(story.readings) - 1
        chosen = [each for place, each in enumerate(story.readings) if place % 3 == 0 or place == last]
        for number, reading in enumerate(chosen):
            registers = [("Energy.Active.Import.Register", reading.import_mwh)]
            registers += [("Energy.Active.Export.Register", reading.export_mwh)] if story.exports else []
            assert self._csms.hand is not None
            self._csms.hand.now_ms = reading.utc_ms
            kind = "Started" if number == 0 else "Ended" if number == len(chosen) - 1 and story.ended else "Updated"
            at = format_time(reading.utc_ms)
            payload: dict[str, Any] = {
                "eventType": kind,
                "timestamp": at,
                "triggerReason": "MeterValuePeriodic",
                "seqNo": number,
                "transactionInfo": {"transactionId": transaction},
                "evse": {"id": evse, "connectorId": 1},
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


def decided(
    csms: Running, session: str = SESSION, station: str = STATION
) -> tuple[Review | None, tuple[int, int, int]]:
    """Return what was decided about a session, and what is in the books."""
    store = open_store(csms.config.store_url, csms.config.data_dir)
    try:
        return store.do(reviews.get, station, session), store.do(booked)
    finally:
        store.close()


def options(start_ms: int, **changes: Any) -> dict[str, Any]:
    """Return a configuration that waits for nothing, a minute before a session."""
    names = (EMAID, "DEV2GC00000002", "DEV2GC00000003")
    tokens = tuple(TokenEntry(id_token=each, **(changes if each == EMAID else {})) for each in names)
    return {"settlement": SettlementRules(wait_s=0.001), "tokens": tokens, "hand_ms": start_ms - MINUTE_MS}


async def play(csms: Running, story: Story, start_ms: int, taking: str | None = "Accepted") -> None:
    """Let a station connect, take prices, report its transaction, and deliver its journal.

    `taking` is what it answers to other prices before the session, where these supersede the first ones.
    """
    if not story.late_signal_ms:
        await csms.csms.grid.offer(signal_at(start_ms), "test")
    async with csms.connect() as websocket:
        station = Station(csms, websocket, taking)
        await station.boot()
        if story.late_signal_ms:
            await station.transact(story)
            await csms.csms.grid.offer(signal_at(start_ms), "test")
        await Station(csms, websocket).take_prices()
        await csms.event("grid_signal_pushed")
        if story.superseded:
            await csms.csms.grid.offer(signal_at(start_ms, version=8), "test")
            await station.take_prices()
        if story.evse_name:
            await station.name_evse(story.evse_name)
        if story.reported and not story.late_signal_ms:
            await station.transact(story)
        assert csms.hand is not None
        csms.hand.now_ms = max(csms.hand.now_ms, start_ms)  # certificates of this hour are not valid hours before
        await station.deliver(story)
    csms.hand.advance(1)
    await csms.csms.bookkeeper.consider_waiting()
