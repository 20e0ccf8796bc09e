"""An energy manager at the whole charger: what it writes bounds what flows, and its silence too."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from pymodbus.client import AsyncModbusTcpClient

import secc.charger
from pki_tools.tree import PkiTree
from secc.energy_manager.config import EnergyManagerConfig
from secc.evse.controller import EvseController
from secc.station_config import StationConfig
from tests.secc.bench_program import BENCH, made
from v2g.io.hardware.energy_modbus import ModbusEnergyManager

STATION = """[station]
url = "ws://127.0.0.1:9/ocpp"
identity = "CS-V2G-0001"
store = "station.db"

[[station.energy_managers]]
backend = "modbus"
fallback_charge_w = 4200
timeout_s = 0.3
state_s = 0.1
load = true
modbus = { port = 0 }
"""


def allowed(controller: EvseController) -> tuple[int, int]:
    return min(each.charge_w for each in controller.grid.limits), min(
        each.discharge_w for each in controller.grid.limits
    )


async def test_registers_bound_the_charger_and_silence_brings_the_fall_back(
    tmp_path: Path, pki: PkiTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    links: list[ModbusEnergyManager] = []
    opened = ModbusEnergyManager.open

    async def note(self: ModbusEnergyManager, *arguments: object) -> None:
        await opened(self, *arguments)  # type: ignore[arg-type]
        links.append(self)

    monkeypatch.setattr(ModbusEnergyManager, "open", note)
    monkeypatch.setattr(secc.charger, "DRAIN_S", 0.0)
    site = "[site]\ndischarge_w = 9000\n"
    async with made(tmp_path, pki, BENCH + site + STATION) as charger, asyncio.timeout(10):
        (controller,) = charger.controllers
        assert allowed(controller) == (4_200, 0), "before its first word"
        client = AsyncModbusTcpClient("127.0.0.1", port=links[0].port)
        await client.connect()
        await client.write_registers(2, [0, 8_000, 0, 5_000])
        assert allowed(controller) == (8_000, 5_000)
        while allowed(controller) != (4_200, 0):
            await asyncio.sleep(0.01)
        await client.write_registers(1, [60, 0, 7_000])
        assert allowed(controller) == (7_000, 5_000)
        shown = [0] * 20
        while shown[12:16] != [0, 7_000, 0, 5_000]:
            shown = (await client.read_input_registers(100, count=20)).registers
        assert charger.station is not None
        assert "LocalLoadBalancing" in charger.station._core.smart_charging.modes
        client.close()


def test_each_has_a_section_and_a_source_of_its_own() -> None:
    with pytest.raises(ValueError, match="needs the section `mqtt`"):
        EnergyManagerConfig(backend="mqtt", fallback_charge_w=0)
    two = [{"backend": "modbus", "modbus": {}, "fallback_charge_w": 0}] * 2
    station = {"url": "ws://x", "identity": "CS", "store": "s.db", "energy_managers": two}
    with pytest.raises(msgspec.ValidationError, match="unique `source`"):
        msgspec.json.decode(msgspec.json.encode(station), type=StationConfig, dec_hook=lambda kind, value: kind(value))
