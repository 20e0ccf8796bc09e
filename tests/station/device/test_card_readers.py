"""A driver holds a card to the reader of a charger, whose back end we did not write is asked about it (C01)."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.io.conftest import PtyPair
from tests.secc.backend import backend
from tests.secc.station.test_station import Fixture, sample
from v2g.hardware.pn532_sim import SimulatedPn532
from v2g.io.hardware.card_reader import CardReaderConfig
from v2g_station.blocks.transactions.managed import RemoteStartRequested, RemoteStopRequested


class Reader:
    """A reader at the far end of a cable; `link` is the name of its port while it is plugged in."""

    def __init__(self, link: Path) -> None:
        self.link, self.core = link, SimulatedPn532()
        self._cable: PtyPair | None = None
        self.plug()

    def plug(self) -> None:
        self._cable = PtyPair()
        self._port = os.open(self._cable.devices[1], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._port, self._answer)
        self.link.symlink_to(self._cable.devices[0])

    def unplug(self) -> None:
        assert self._cable is not None
        self.link.unlink()
        asyncio.get_running_loop().remove_reader(self._port)
        os.close(self._port)
        self._cable.close()
        self.core = SimulatedPn532()

    def _answer(self) -> None:
        os.write(self._port, self.core.receive(os.read(self._port, 512)))


async def test_a_card_starts_and_ends_a_session_also_after_the_reader_was_unplugged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("v2g.io.hardware.card_reader.REOPEN_S", 0.02)
    monkeypatch.setattr("v2g.hardware.pn532.POLL_S", 0.02)
    reader = Reader(tmp_path / "reader")
    config = CardReaderConfig(device=str(reader.link), evse=1, away_s=0.2)
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
            async with asyncio.timeout(10):
                while not fixture.charger.all(RemoteStartRequested):
                    await asyncio.sleep(0.001)
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
            async with asyncio.timeout(10):
                while not fixture.charger.all(RemoteStopRequested):
                    await asyncio.sleep(0.001)
            station.ended("s", trigger="StopAuthorized", reason="Local", sample=sample(2))
    reader.unplug()
    assert len(fixture.charger.all(RemoteStartRequested)) == 1
