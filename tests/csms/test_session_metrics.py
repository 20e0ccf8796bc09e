"""Figures of sessions, from a station's DataTransfer to the alert in the API, by the back end as a program."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from csms.accounts.rules import Role
from csms.alerts.config import AlertsConfig
from pki_tools.tree import PkiTree
from tests.cli.csms import Cli
from tests.csms.api_support import read
from tests.csms.conftest import Start
from tests.csms.program import Program, write_config
from tests.csms.support import STATION, Running, make_config, provide


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


BOOT = {"reason": "PowerUp", "chargingStation": {"model": "x", "vendorName": "x"}}


class Sessions:
    """Sessions of a station whose contactor takes about so long to open, each reported twice: its answer was lost."""

    def __init__(self) -> None:
        self._scatter, self._sent = random.Random(1), 0

    async def send(self, station: Any, number: int, opens_s: float) -> None:
        scatter = self._scatter
        for _ in range(number):
            self._sent += 1
            values = {"contactor_open_s": opens_s * scatter.uniform(0.9, 1.1), "efficiency": scatter.gauss(0.95, 0.003)}
            data = {"sessionId": f"S{self._sent}", "evseId": 1, "atMs": 1_000_000 + self._sent, "values": values}
            body = {"vendorId": "org.v2g-engine", "messageId": "SessionMetrics", "data": data}
            for _ in range(2):
                assert await call(station, "DataTransfer", body, str(self._sent)) == {"status": "Accepted"}


@pytest.mark.long
@pytest.mark.requirement("R38")
async def test_a_station_whose_contactor_becomes_slow_is_an_alert_until_it_is_repaired(
    tmp_path: Path, pki: PkiTree, empty_database: Path
) -> None:
    given = make_config(tmp_path, pki, alerts=AlertsConfig(poll_interval_s=0.1))
    provide(empty_database, given)
    config, sessions = write_config(tmp_path / "csms.yaml", given), Sessions()
    program = await Program.start(config, tmp_path / "events", pki)

    async with program.connect() as station:
        await call(station, "BootNotification", BOOT, "boot")
        await sessions.send(station, 60, 0.030)
        wrong = {"vendorId": "org.v2g-engine", "messageId": "SessionMetrics", "data": {"values": {"efficiency": "NaN"}}}
        assert (await call(station, "DataTransfer", wrong, "wrong"))["statusInfo"]["reasonCode"] == "InvalidMetrics"
        assert await alerts(program, 0) == []
        await sessions.send(station, 8, 0.060)
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
        await call(station, "BootNotification", BOOT, "boot")
        await sessions.send(station, 40, 0.030)
        await alerts(program, 0)
        newer = {"model": "x", "vendorName": "x", "firmwareVersion": "2"}
        await call(station, "BootNotification", {"reason": "PowerUp", "chargingStation": newer}, "again")
        await sessions.send(station, 40, 0.060)
        assert await alerts(program, 0) == [], "another firmware is another reference"
    await program.stop()


@pytest.mark.requirement("R38", "R179")
async def test_after_a_repair_a_station_begins_anew_by_command(start: Start, tmp_path: Path) -> None:
    async with start(alerts=AlertsConfig(poll_interval_s=0.1)) as csms, csms.watching():
        await wears_and_is_repaired(csms, Cli(csms, tmp_path))


async def wears_and_is_repaired(csms: Running, command: Cli) -> None:
    sessions = Sessions()

    async def active(number: int) -> None:
        while len(await read(csms, "/alerts?active=true")) != number:
            await asyncio.sleep(0.05)

    reset = ("session-metrics", "reset", STATION, "--reason", "contactor replaced")
    assert "session of that station" in (await command(*reset, role=Role.OPERATOR))[2]
    async with csms.connect() as station:
        await call(station, "BootNotification", BOOT, "boot")
        await sessions.send(station, 32, 0.030)
        await sessions.send(station, 8, 0.060)
        await active(1)
        (shown,) = await command.records("session-metrics", "list", role=Role.VIEWER)
        assert (shown["station_id"], shown["drift"] > 10) == (STATION, True)
        efficiency, opening = sorted(shown["figures"], key=lambda each: each["moved"])
        assert (opening["figure"], opening["evse_id"], opening["sessions"]) == ("contactor_open_s", 1, 40)
        assert (opening["first"], efficiency["first"]) == pytest.approx((0.030, 0.95), rel=0.05)
        assert opening["recent"] > 1.2 * opening["first"]
        code, table, _ = await command("session-metrics", "list", role=Role.OPERATOR)
        assert (code, "contactor_open_s" in table, "efficiency" in table) == (0, True, False)

        assert (await command(*reset, role=Role.VIEWER))[0] != 0
        (done,) = await command.records(*reset, role=Role.OPERATOR)
        assert done == {**shown, "changed_ms": done["changed_ms"], "drift": 0.0, "figures": []}
        await active(0)
        (entry,) = await read(csms, "/audit?operation=reset_session_metrics")
        assert entry["request"] == {"reason": "contactor replaced"}
        assert (await command("session-metrics", "list"))[0] == 0, "a station without a figure"
        await sessions.send(station, 34, 0.060)
        await active(0)  # that is how it is now
