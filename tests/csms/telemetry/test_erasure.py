"""After an erasure no file of the back end has what the vehicle delivered, and its log of events never named it."""

import asyncio
import struct
from pathlib import Path

import pytest

from csms.accounts.rules import Role
from csms.telemetry.config import TelemetryConfig
from tests.csms.api_support import T0, ask, batch, record
from tests.csms.conftest import Start
from tests.csms.support import TOKENS, Running

EV, LATITUDE = "EV-1", 48.137154
VALUE = (str(LATITUDE).encode(), struct.pack(">d", LATITUDE), struct.pack("<d", LATITUDE))


def files_with(folder: Path, *wanted: bytes) -> set[str]:
    """Return the names of files in which one of some octets is."""
    files = (each for each in folder.rglob("*") if each.is_file())
    return {each.name for each in files if any(one in each.read_bytes() for one in wanted)}


async def deliver(csms: Running, *seqs: int, **signals: float) -> None:
    body = batch(*(record(seq, signals={"battery.soc": float(seq % 100), **signals}) for seq in seqs))
    async with ask(csms, "POST", "/telemetry", token=TOKENS[Role.GATEWAY], body=body) as response:
        assert response.status == 200


@pytest.mark.some(1)
@pytest.mark.requirement("R107", "R145")
@pytest.mark.parametrize("sealed", [True, False])
async def test_no_file_has_what_was_erased_or_names_the_vehicle_in_the_log(
    sealed: bool, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csms.telemetry.ingest.AGGREGATE_S", 0.1)
    async with start(telemetry=TelemetryConfig(sealed=sealed)) as csms:
        await deliver(csms, *range(1, 500), **{"location.latitude": LATITUDE})
        with csms.csms.services.feed.subscribe({"telemetry_conflict"}) as told:
            await deliver(csms, 3, **{"location.latitude": 10.5})
            received = await asyncio.wait_for(anext(told), 60)
        assert received.data["ev"] == csms.log_name(EV), "no erasure reaches receivers of events"
        assert await csms.event("telemetry_conflict") == {"ev": csms.log_name(EV), "boot": 1, "records": 1}
        assert bool(files_with(csms.config.data_dir, *VALUE)) is not sealed
        async with asyncio.timeout(60):
            while True:  # aggregates, which are plain, go with the rest
                path = f"/vehicles/{EV}/aggregates?signal=battery.soc&width_s=60"
                async with ask(csms, "GET", path, token=TOKENS[Role.ADMIN]) as response:
                    if await response.json():
                        break
                await asyncio.sleep(0.05)
        async with ask(csms, "DELETE", f"/vehicles/{EV}/telemetry", token=TOKENS[Role.ADMIN]) as response:
            assert response.status == 204
        assert files_with(csms.config.data_dir, *VALUE) == set()
        async with ask(csms, "GET", "/telemetry", token=TOKENS[Role.ADMIN]) as response:
            (vehicle,) = await response.json()
        assert (vehicle["ev"], vehicle["log_name"]) == (EV, csms.log_name(EV))
    assert files_with(csms.config.data_dir, *VALUE) == set()
    assert EV.encode() not in (tmp_path / "events.jsonl").read_bytes()


@pytest.mark.requirement("R107")
@pytest.mark.parametrize("signal", ["battery.soc", "of a later version"])
async def test_what_came_before_the_clock_was_set_back_is_erased_too(start: Start, signal: str) -> None:
    """Also what another node received, whose clock is ahead."""
    async with start(hand_ms=T0) as csms:
        await deliver(csms, 1, 2, **{signal: 1.0})
        csms.hand.advance(-60)
        async with ask(csms, "DELETE", f"/vehicles/{EV}/telemetry", token=TOKENS[Role.ADMIN]) as response:
            assert response.status == 204
        for path in ("/telemetry-quarantine", f"/vehicles/{EV}/values"):
            async with ask(csms, "GET", path, token=TOKENS[Role.ADMIN]) as response:
                assert await response.json() == []
