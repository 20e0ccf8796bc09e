"""A driver holds a card to the reader of a charger, whose back end we did not write is asked about it (C01)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from secc.hardware.driver_guard import guarded
from secc.station_config import CardReaderConfig
from tests.secc.backend import backend
from tests.secc.station.station import Fixture, sample
from tests.station.device.card_readers import Cable
from tests.virtual_time import simulated
from tests.waiting import until
from v2g.config import Table
from v2g.errors import TransportError
from v2g.hardware.interfaces import CardReader, CardType
from v2g.io.hardware.driver import OnFailure
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe, Scalar
from v2g_station.blocks.evse import TokenPresented
from v2g_station.blocks.transactions.managed import RemoteStartRequested, RemoteStopRequested
from v2g_station.device.card_readers import CardReaders, OpenedReader


async def test_a_card_starts_and_ends_a_session_also_after_the_reader_was_unplugged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("v2g.io.hardware.driver.REOPEN_S", 0.02)
    monkeypatch.setattr("v2g.hardware.readers.pn532.POLL_S", 0.02)
    monkeypatch.setattr("v2g_station.device.card_readers.REPEAT_S", 0)  # cards come back faster than by hand
    reader = Cable(tmp_path / "reader")
    config = CardReaderConfig(settings=Table({"device": str(reader.link), "away_s": 0.2}), evse=1)
    async with backend() as csms:
        csms.answers["Authorize"] = {"id_token_info": {"status": "Accepted"}}
        fixture = Fixture(tmp_path, csms.port, card_readers=(config,))

        def noted() -> list[str]:
            return [event.name for event in fixture.events if event.stage == "hardware"]

        async with fixture.running() as station:
            await fixture.until(station.online.is_set)
            await fixture.until(lambda: noted() == ["card_reader_ready"])
            reader.core.card = bytes.fromhex("04A1B2C3D4E5F6")
            asked = await csms.wait("Authorize")
            assert asked["id_token"] == {"id_token": "04A1B2C3D4E5F6", "type": "ISO14443"}
            await until(lambda: fixture.charger.all(RemoteStartRequested))
            fixture.charger.sample = sample(1)
            station.started("s", "", sample=sample(1))
            event = await csms.wait("TransactionEvent", where=lambda each: each["event_type"] == "Started")
            assert event["id_token"]["id_token"] == "04A1B2C3D4E5F6"
            assert fixture.charger.all(RemoteStopRequested) == []  # the card still lies there
            reader.unplug()
            await fixture.until(lambda: noted()[-1] == "card_reader_lost")
            reader.plug()
            await fixture.until(lambda: noted()[-1] == "card_reader_ready")
            reader.core.card = bytes.fromhex("04A1B2C3D4E5F6")
            await until(lambda: fixture.charger.all(RemoteStopRequested))
            (stop,) = fixture.charger.all(RemoteStopRequested)
            assert stop.cause == "local"
            station.ended("s", trigger="StopAuthorized", reason="Local", sample=sample(2))
    reader.unplug()
    assert len(fixture.charger.all(RemoteStartRequested)) == 1


class Hand:
    """A reader in the hand of its driver's maker: reports what a test wants."""

    def __init__(self) -> None:
        self.report: list[Callable[[str, CardType], None]] = []
        self.lose: list[OnFailure] = []
        self.opened = 0
        self.missing = False

    def on_card(self, callback: Callable[[str, CardType], None]) -> None:
        self.report.append(callback)

    def on_lost(self, callback: OnFailure) -> None:
        self.lose.append(callback)

    @asynccontextmanager
    async def open(self, failed: OnFailure) -> AsyncIterator[CardReader]:
        self.opened += 1
        if self.missing:
            raise TransportError("no such port", hint="plug it in")
        self.report.clear()
        yield guarded(self, CardReader, failed)


class Hands:
    """A station's readers, on a clock of the test."""

    def __init__(self) -> None:
        self.hand, self.tokens, self.events = Hand(), list[TokenPresented](), list[tuple[str, Scalar]]()
        clock = Clock(ClockConfig(origin_monotonic=asyncio.get_running_loop().time(), origin_utc_ms=0))
        reader = OpenedReader("acme", 2, self.hand.open)
        self._readers = CardReaders([reader], clock, notify=self._take, observe=self._note)

    def _take(self, fact: Fact) -> None:
        assert isinstance(fact, TokenPresented)
        self.tokens.append(fact)

    def _note(self, event: Observe) -> None:
        self.events.append((event.name, event.data.get("why", "")))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Hand]:
        self._readers.start()
        await asyncio.sleep(0)
        yield self.hand
        await self._readers.close()


@simulated
async def test_a_reader_that_repeats_itself_neither_ends_what_its_card_began_nor_hides_another_card() -> None:
    hands = Hands()
    async with hands.running() as hand:
        for pause_s in (0.1, 0.4, 0.4, 0.6):
            hand.report[0]("04A1B2C3", "ISO15693")
            await asyncio.sleep(pause_s)
        hand.report[0]("04A1B2C3", "ISO15693")
        hand.report[0]("04A1B2C4", "ISO14443")
        await asyncio.sleep(0.1)
    assert [(each.id_token.id_token, each.id_token.type) for each in hands.tokens] == [
        ("04A1B2C3", "ISO15693"),
        ("04A1B2C3", "ISO15693"),
        ("04A1B2C4", "ISO14443"),
    ]
    assert hands.tokens[0].evse_id == 2


@simulated
async def test_a_driver_that_reports_nonsense_or_is_lost_is_opened_again() -> None:
    hands = Hands()
    async with hands.running() as hand:
        hand.report[0]("04 A1 \x1b[31m", "ISO14443")
        await asyncio.sleep(1.1)
        hand.lose[-1]("unplugged \x1b[31m")
        hand.missing = True
        await asyncio.sleep(60)
        hand.missing = False
        await asyncio.sleep(11)
        hand.report[0]("04A1B2C3", "ISO14443")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    names = [name for name, _ in hands.events]
    ready, lost = "card_reader_ready", "card_reader_lost"
    assert names == [ready, lost, ready, lost, lost, ready]  # the missing port is reported once
    assert hands.events[1][1].startswith("CardReader.on_card: ValidationError: Expected `str` matching regex")
    assert [why for _, why in hands.events[3:5]] == ["unplugged \\u001b[31m", "no such port (plug it in)"]
    assert 6 < hand.opened < 20
    assert len(hands.tokens) == 1
