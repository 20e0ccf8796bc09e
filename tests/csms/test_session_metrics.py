"""Figures of sessions, from a station's DataTransfer to the alert in the API, by the back end as a program."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from csms.config import AlertsConfig
from pki_tools.tree import PkiTree
from tests.csms.program import Program, write_config
from tests.csms.support import STATION, make_config, provide


async def call(station: Any, action: str, body: dict[str, Any], key: str) -> dict[str, Any]:
    await station.send(json.dumps([2, key, action, body]))
    while (answer := json.loads(await station.recv()))[1] != key:
        pass
    assert answer[0] == 3, answer
    found: dict[str, Any] = answer[2]
    return found


async def alerts(program: Program, number: int) -> list[dict[str, Any]]:
    """Wait for so many alerts that have not ended."""
    while len(found := (await program.request("GET", "/alerts?active=true"))[1]) != number:
        await asyncio.sleep(0.02)
    listed: list[dict[str, Any]] = found
    return listed


@pytest.mark.requirement("R38")
async def test_a_station_whose_contactor_becomes_slow_is_an_alert_until_it_is_repaired(
    tmp_path: Path, pki: PkiTree, empty_database: Path
) -> None:
    given = make_config(tmp_path, pki, alerts=AlertsConfig(poll_interval_s=0.1))
    provide(empty_database, given)
    config, scatter, sent = write_config(tmp_path / "csms.yaml", given), random.Random(1), 0
    program = await Program.start(config, tmp_path / "events", pki)

    async def sessions(station: Any, number: int, opens_s: float) -> None:
        nonlocal sent
        for _ in range(number):
            sent += 1
            values = {"contactor_open_s": opens_s * scatter.uniform(0.9, 1.1), "efficiency": scatter.gauss(0.95, 0.003)}
            data = {"sessionId": f"S{sent}", "evseId": 1, "atMs": 1_000_000 + sent, "values": values}
            body = {"vendorId": "org.v2g-engine", "messageId": "SessionMetrics", "data": data}
            for _ in range(2):  # its answer was lost
                assert await call(station, "DataTransfer", body, str(sent)) == {"status": "Accepted"}

    async with program.connect() as station:
        boot = {"reason": "PowerUp", "chargingStation": {"model": "x", "vendorName": "x"}}
        await call(station, "BootNotification", boot, "boot")
        await sessions(station, 60, 0.030)
        wrong = {"vendorId": "org.v2g-engine", "messageId": "SessionMetrics", "data": {"values": {"efficiency": "NaN"}}}
        assert (await call(station, "DataTransfer", wrong, "wrong"))["statusInfo"]["reasonCode"] == "InvalidMetrics"
        assert await alerts(program, 0) == []
        await sessions(station, 8, 0.060)
        (alert,) = await alerts(program, 1)
        assert (alert["kind"], alert["subject"], alert["limit"]) == ("station_drifts", STATION, 10)
        facts = alert["facts"]
        assert facts["evse"] == 1
        assert facts["contactor_open_s_before"] == pytest.approx(0.030, rel=0.05)
        assert facts["contactor_open_s"] > 0.033, "three slow sessions, or more, have a tenth of the weight each"
    await program.kill()
    program = await Program.start(config, tmp_path / "events", pki)
    (same,) = await alerts(program, 1)
    assert same["alert_id"] == alert["alert_id"]
    async with program.connect() as station:
        await call(station, "BootNotification", boot, "boot")
        await sessions(station, 40, 0.030)
        await alerts(program, 0)
        boot["chargingStation"]["firmwareVersion"] = "2"  # type: ignore[index]
        await call(station, "BootNotification", boot, "again")
        await sessions(station, 40, 0.060)
        assert await alerts(program, 0) == [], "another firmware is another reference"
    await program.stop()
