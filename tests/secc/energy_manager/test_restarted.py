"""A charger that is killed and started again still keeps to what its energy managers have commanded below the fall-back
(R206)."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from pymodbus.client import AsyncModbusTcpClient

from pki_tools.tree import PkiTree
from tests.eebus import guard
from tests.io.eebus.box import joined, ski
from tests.secc.bench_program import BENCH, written
from tests.waiting import until
from v2g.hardware.energy_manager.registers import READ
from v2g_cli.demo.processes import free_port

pytestmark = pytest.mark.requirement("R206")

STATION: Final = """[sdp]
port = 0
[site]
charge_w = 20000
discharge_w = 20000
[station]
url = "ws://127.0.0.1:9/ocpp"
identity = "CS-V2G-0001"
store = "station.db"
[[station.energy_managers]]
backend = "modbus"
fallback_charge_w = {fallback_w}
fallback_discharge_w = 20000
state_s = 0.1
modbus = {{ port = {port} }}
"""
BOX: Final = """[[station.energy_managers]]
backend = "eebus"
source = "SO"
fallback_charge_w = 6000
fallback_discharge_w = 1000
[station.energy_managers.eebus]
folder = "eebus"
port = {port}
mdns = false
serial = "7"
trusted = ["{ski}"]
nominal_charge_w = 20000
nominal_discharge_w = 20000
"""
LIMITS: Final = READ["charge_limit_w"].at


class ChargerProcess:
    """The program, whose Modbus registers say what may flow."""

    def __init__(self, folder: Path, pki: PkiTree, extra: str = "", fallback_w: int = 20_000) -> None:
        self._folder, self._port = folder, free_port()
        text = BENCH + STATION.format(port=self._port, fallback_w=fallback_w) + extra
        (folder / "secc.toml").touch(mode=0o600)
        (folder / "secc.toml").write_text(written(pki, text))

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[AsyncModbusTcpClient]:
        """Run it, and kill it with -9."""
        events = self._folder / "events.jsonl"
        events.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "secc", "--config", str(self._folder / "secc.toml"), "--events", str(events),
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        client = AsyncModbusTcpClient("127.0.0.1", port=self._port, timeout=60)
        try:
            while not await client.connect():
                assert process.returncode is None
                await asyncio.sleep(0.05)
            yield client
        finally:
            client.close()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the data of events of the last run."""
        lines = (self._folder / "events.jsonl").read_text().split("\n")[:-1]
        return [each["data"] for each in map(json.loads, lines) if each["name"] == name]


async def shown(client: AsyncModbusTcpClient) -> tuple[int, int]:
    """Return what may flow in and out, once the charger has said it."""
    while True:
        found = (await client.read_input_registers(LIMITS, count=4)).registers
        limits = found[0] << 16 | found[1], found[2] << 16 | found[3]
        if limits != (0xFFFF_FFFF, 0xFFFF_FFFF) and any(limits):
            return limits
        await asyncio.sleep(0.02)


async def settled(client: AsyncModbusTcpClient, limits: tuple[int, int]) -> None:
    """Wait for limits."""
    while await shown(client) != limits:
        await asyncio.sleep(0.02)


async def test_a_lower_command_of_a_manager_outlives_kill_9(tmp_path: Path, pki: PkiTree) -> None:
    charger = ChargerProcess(tmp_path, pki, fallback_w=6_000)
    async with asyncio.timeout(240):
        async with charger.started() as client:
            await client.write_registers(2, [0, 3_000, 0, 15_000])
            await settled(client, (3_000, 15_000))
            await until((tmp_path / "data" / "energy-manager-EMS.json").exists)
        for _ in range(2):  # nor does a second restart forget it
            async with charger.started() as client:
                assert await shown(client) == (3_000, 15_000)
                (lost,) = charger.named("energy_manager_lost")
                assert lost["instead"] == "fall-back, and the last command below it: 3000 W in, 15000 W out"
                if _:
                    await client.write_registers(2, [0, 9_000, 0, 20_000])
                    await settled(client, (9_000, 20_000))
                    await settled(client, (9_000, 20_000))
        (tmp_path / "data" / "energy-manager-EMS.json").write_text("{")
        async with charger.started() as client:
            assert await shown(client) == (6_000, 20_000)
            assert charger.named("energy_manager_not_stored")


@pytest.mark.long
async def test_a_lower_limit_of_a_box_outlives_kill_9_until_its_end(
    tmp_path: Path, pki: PkiTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "CHARGER", charger_id := "d:_n:v2g-engine_charger-7")
    port, box_folder = free_port(), tmp_path / "box"
    charger = ChargerProcess(tmp_path, pki, BOX.format(port=port, ski=ski(box_folder)))
    kept = tmp_path / "eebus" / "failsafe.json"
    async with asyncio.timeout(240):
        async with charger.started() as client, contextlib.AsyncExitStack() as stack:
            await until(lambda: charger.named("eebus_node"))
            box = await stack.enter_async_context(joined(box_folder, port, charger_id))
            await box.bind()
            item: dict[str, Any] = {"limitId": 0, "isLimitActive": True, "value": {"number": 3_000}}
            assert await box.say(box.limit(item | {"timePeriod": {"endTime": "PT1H"}})) == 0
            item = {"limitId": 1, "isLimitActive": True, "value": {"number": -500}}
            assert await box.say(box.limit(item, ended=True)) == 0
            await settled(client, (3_000, 500))
            await until(lambda: kept.exists() and "500" in kept.read_text())
        async with charger.started() as client:
            assert await shown(client) == (3_000, 500)
            states = {each["use_case"]: each["limit_w"] for each in charger.named("eebus_state")}
            assert states == {"LPC": 3000, "LPP": 500}
        found = json.loads(kept.read_text())
        found["held_charge"]["until_ms"] -= 3_600_000
        kept.write_text(json.dumps(found))
        async with charger.started() as client:
            await settled(client, (6_000, 500))
