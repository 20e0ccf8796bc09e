"""Our charging station and our CSMS, over real TLS: a whole session, and the CSMS going away in the middle of it."""

import contextlib
from pathlib import Path

import msgspec
import pytest

from csms.config import OcppListener
from tests.csms.conftest import Start
from tests.csms.own_station import charger, sample, whole_session
from tests.csms.settlement.journals import SESSION, journal, seen
from tests.csms.support import EMAID, Running
from v2g.ocpp.routes import Version


@pytest.mark.parametrize("versions", [("2.1",), ("2.0.1",), ("1.6",)])
async def test_a_whole_session_of_our_own_station(csms: Running, tmp_path: Path, versions: tuple[Version, ...]) -> None:
    await whole_session(csms, tmp_path, versions)


async def test_what_happened_while_the_csms_was_away_arrives_once(start: Start, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with start() as csms:
            running = await stack.enter_async_context(charger(csms, tmp_path))
            running.station.started("ref", EMAID, sample=sample(1, 1))
            await running.station.drain(10)
            listener: OcppListener = msgspec.structs.replace(csms.config.ocpp, port=csms.csms.ports["ocpp"])
        for n in range(5):
            running.station.updated("ref", trigger="MeterValuePeriodic", sample=sample(2 + n, 1))
        seen(csms, journal())
        for line in journal():
            running.station.journal(SESSION, line.decode())
        running.station.ended("ref", trigger="EVDeparted", reason="EVDisconnected", sample=sample(9, 9))
        async with start(ocpp={"port": listener.port}) as csms:
            assert await running.station.drain(20)
            await csms.event("settled")
            assert len(csms.events("transaction_started")) == 1  # both runs write to one file
            assert len(csms.events("transaction_updated")) == 5
            assert len(csms.events("transaction_ended")) == 1
            assert csms.events("transaction_event_conflict") == []
