"""An energy manager at the whole charger: what it writes bounds what flows, and its silence too."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from pymodbus.client import AsyncModbusTcpClient

import secc.charger
from pki_tools.tree import PkiTree
from secc.energy_manager import managers
from secc.energy_manager.config import EnergyManagerConfig
from secc.evse.controller import EvseController
from secc.station_config import StationConfig
from tests.secc.bench_program import BENCH, made
from tests.virtual_time import VirtualLoop
from tests.waiting import until
from v2g.hardware.energy_manager.commands import EnergyCommand, ManagedEvse, ManagedStation
from v2g.io.hardware.energy_config import EnergyModbusConfig, EnergyMqttConfig
from v2g.io.hardware.energy_modbus import ModbusEnergyManager
from v2g.io.mqtt.config import MqttConfig
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.virtual_time import LoopClock
from v2g.io.storage.kept_file import KeptFile
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit

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
    async with made(tmp_path, pki, BENCH + site + STATION) as charger, asyncio.timeout(60):
        (controller,) = charger.controllers
        assert allowed(controller) == (4_200, 0), "before its first word"
        client = AsyncModbusTcpClient("127.0.0.1", port=links[0].port)
        await client.connect()
        await client.write_registers(2, [0, 8_000, 0, 5_000])
        assert allowed(controller) == (8_000, 5_000)
        await until(lambda: allowed(controller) == (4_200, 0))
        await client.write_registers(1, [60, 0, 7_000])
        assert allowed(controller) == (7_000, 5_000)
        shown = [0] * 20
        while shown[12:16] != [0, 7_000, 0, 5_000]:
            shown = (await client.read_input_registers(100, count=20)).registers
        assert charger.station is not None
        assert "LocalLoadBalancing" in charger.station._core.smart_charging.modes
        client.close()


class Mouth:
    """A link, by which the test speaks as an energy manager."""

    def __init__(self, context: managers.LinkContext) -> None:
        self.take, self.renew = context.take, context.renew
        self.states: list[ManagedStation] = []

    async def open(self) -> None:
        """There is nothing to open."""

    def notify(self, state: ManagedStation) -> None:
        self.states.append(state)

    async def close(self) -> None:
        """There is nothing to close."""


def given_a_voice(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Mouth], EnergyManagerConfig]:
    """Put a mouth in the place of a link; return the list that it will be in, and the configuration of its manager."""
    mouths = list[Mouth]()

    def link(_config: EnergyManagerConfig, context: managers.LinkContext) -> Mouth:
        mouths.append(Mouth(context))
        return mouths[0]

    monkeypatch.setitem(managers.BACKENDS, "mqtt", link)
    broker = EnergyMqttConfig(prefix="ems", broker=MqttConfig(host="localhost", without_tls=True))
    return mouths, EnergyManagerConfig(backend="mqtt", mqtt=broker, fallback_charge_w=4_200, timeout_s=30)


@pytest.mark.requirement("R206")
def test_a_manager_that_is_back_for_one_evse_alone_stays_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mouths, config = given_a_voice(monkeypatch)
    events = list[str]()

    async def course(loop: VirtualLoop) -> None:
        manager = managers.EnergyManager(
            config, 2, clock=LoopClock(loop), notify=lambda _fact: None, states=lambda: (), directory=tmp_path,
            disk=DiskThread(), observe=lambda event: events.append(event.name.removeprefix("energy_manager_")),
        )  # fmt: skip
        await manager.open()
        for evse in (1, 2):
            mouths[0].take(evse, EnergyCommand(limit_w=2_000))
        for _ in range(5):  # of the second one nothing more is heard
            await asyncio.sleep(10)
            mouths[0].take(1, EnergyCommand(limit_w=2_000))
        assert events == ["connected", "lost"]
        mouths[0].take(2, EnergyCommand(limit_w=2_000))
        assert events == ["connected", "lost", "connected"]
        await manager.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        runner.run(course(loop))


def test_each_has_a_section_and_a_source_of_its_own() -> None:
    with pytest.raises(ValueError, match="needs the section `mqtt`"):
        EnergyManagerConfig(backend="mqtt", fallback_charge_w=0)
    two = [{"backend": "modbus", "modbus": {}, "fallback_charge_w": 0}] * 2
    station = {"url": "ws://x", "identity": "CS", "store": "s.db", "energy_managers": two}
    with pytest.raises(msgspec.ValidationError, match="unique `source`"):
        msgspec.json.decode(msgspec.json.encode(station), type=StationConfig, dec_hook=lambda kind, value: kind(value))


async def test_a_link_that_asks_gets_the_state_of_that_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mouths, config = given_a_voice(monkeypatch)
    present = ManagedEvse(evse=1, status="Occupied")
    managers.EnergyManager(
        config, 1, clock=Clock(), notify=lambda _fact: None, states=lambda: (present,), observe=lambda _: None,
        directory=tmp_path, disk=DiskThread(),
    )  # fmt: skip
    mouths[0].renew()
    present = ManagedEvse(evse=1, status="Faulted")
    mouths[0].renew()
    assert mouths[0].states == [
        ManagedStation(heard=False, timeout_s=30, evses=(ManagedEvse(evse=1, status=status),))
        for status in ("Occupied", "Faulted")
    ]


@pytest.mark.requirement("R206")
async def test_what_a_full_disk_did_not_store_is_stored_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mouths, events = list[Mouth](), list[Observe]()

    def link(_config: EnergyManagerConfig, context: managers.LinkContext) -> Mouth:
        mouths.append(Mouth(context))
        return mouths[0]

    monkeypatch.setitem(managers.BACKENDS, "mqtt", link)
    monkeypatch.setattr(managers, "KEEP_S", 0.05)
    broker = EnergyMqttConfig(prefix="ems", broker=MqttConfig(host="localhost", without_tls=True))
    config = EnergyManagerConfig(backend="mqtt", mqtt=broker, fallback_charge_w=4_200, state_s=0.1)
    folder = tmp_path / "data"
    folder.touch()  # where no file can be written
    manager = managers.EnergyManager(
        config, 1, clock=Clock(), notify=lambda _fact: None, states=lambda: (), observe=events.append,
        directory=folder, disk=DiskThread(),
    )  # fmt: skip
    async with asyncio.timeout(60):
        await manager.open()
        mouths[0].take(0, EnergyCommand(limit_w=3_000))
        while sum(each.name == "energy_manager_not_stored" for each in events) < 3:  # of loading, and two of storing
            await asyncio.sleep(0.01)
        folder.unlink()
        folder.mkdir()
        await until(lambda: [*folder.glob("energy-manager-EMS.json")])
        await manager.close()
    assert b"3000" in (folder / "energy-manager-EMS.json").read_bytes()


@pytest.mark.requirement("R206")
def test_a_lower_limit_is_stored_at_once_and_a_higher_one_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manager that follows the sun must not wear out the disk."""
    mouths, stored = list[Mouth](), list[tuple[float, object]]()

    def link(_config: EnergyManagerConfig, context: managers.LinkContext) -> Mouth:
        mouths.append(Mouth(context))
        return mouths[0]

    monkeypatch.setitem(managers.BACKENDS, "mqtt", link)
    broker = EnergyMqttConfig(prefix="ems", broker=MqttConfig(host="localhost", without_tls=True))
    config = EnergyManagerConfig(backend="mqtt", mqtt=broker, fallback_charge_w=4_200)

    async def course(loop: VirtualLoop) -> None:
        def keep(_file: KeptFile, data: bytes) -> None:
            stored.append((round(loop.time() - began), msgspec.json.decode(data)["0"]["limit_w"] if data else None))

        monkeypatch.setattr(KeptFile, "keep", keep)
        manager = managers.EnergyManager(
            config, 1, clock=LoopClock(loop), notify=lambda _fact: None, states=lambda: (),
            observe=lambda _event: None, directory=tmp_path, disk=DiskThread(),
        )  # fmt: skip
        began = loop.time()
        await manager.open()
        for limit_w in (3_000, 5_000, 3_000, 4_000, 2_000, 2_500):
            mouths[0].take(0, EnergyCommand(limit_w=limit_w))
            await asyncio.sleep(10)
        assert stored == [(0, 3_000), (40, 2_000)]
        await asyncio.sleep(50)
        assert stored[2:] == [(100, 2_500)]
        mouths[0].take(0, EnergyCommand(discharge_w=1))
        mouths[0].take(0, EnergyCommand())
        await asyncio.sleep(70)
        assert [at for at, _ in stored[3:]] == [110, 170]
        assert stored[-1][1] is None
        await manager.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        runner.run(course(loop))


@pytest.mark.requirement("R206")
async def test_a_manager_goes_on_with_one_register_after_a_restart(tmp_path: Path) -> None:
    """With its heartbeat alone, or one limit: what it had written before, set points too, holds with it."""
    config = EnergyManagerConfig(backend="modbus", modbus=EnergyModbusConfig(port=0), fallback_charge_w=4_200)
    disk, facts, events = DiskThread(), list[Fact](), list[str]()

    async def write(*writes: tuple[int, list[int]]) -> None:
        manager = managers.EnergyManager(
            config, 1, clock=Clock(), notify=facts.append, states=lambda: (),
            observe=lambda event: events.append(event.name), directory=tmp_path, disk=disk,
        )  # fmt: skip
        await manager.open()
        assert isinstance(manager.link, ModbusEnergyManager)
        client = AsyncModbusTcpClient("127.0.0.1", port=manager.link.port)
        assert await client.connect()
        for address, values in writes:
            assert not (await client.write_registers(address, values)).isError()
        client.close()
        await manager.close()
        await disk.do(lambda: None, lambda: None)  # after what was to be stored

    def last(evse_id: int) -> ExternalLimit:
        return [each for each in facts if isinstance(each, ExternalLimit) and each.evse_id == evse_id][-1]

    async with asyncio.timeout(60):
        await write((6, [0xFFFF, 0xF448]), (104, [0, 2_000]))
        facts.clear()
        await write((0, [1]))
        assert last(0) == ExternalLimit(source="EMS", setpoint_w=-3_000)
        assert last(1) == ExternalLimit(source="EMS", evse_id=1, discharge_w=2_000)
        facts.clear()
        await write((2, [0, 1_500]))
        assert last(0) == ExternalLimit(source="EMS", limit_w=1_500, setpoint_w=-3_000)
        assert "energy_manager_not_stored" not in events
        (tmp_path / "energy-manager-EMS.registers.json").write_bytes(b"\xff")
        await write()
    assert events[-1] == "energy_manager_lost"
    assert events.count("energy_manager_not_stored") == 1
