"""The contract test with real drivers: a board, a meter and a card reader on pseudo-terminals, modules on a CAN bus."""

import asyncio
import threading
import uuid
from pathlib import Path

import msgspec
import pytest

from tests.io.hardware.can_modules import Modules
from tests.io.hardware.line_display import wired
from tests.io.hardware.linux_machine import Machine
from tests.io.hardware.modbus_meter import Bench as MeterBench
from tests.station.device.card_readers import Cable
from v2g.config import Table
from v2g.hardware.board.firmware import BoardFirmware
from v2g.hardware.power_modules.bank import ModulesConfig
from v2g.hardware.power_modules.infypower import InfypowerConfig
from v2g.hardware.simulation import StageLoad
from v2g.iec61851.pilot import VEHICLE_OHM, PilotState
from v2g.iec61851.proximity import SEATED_OHM
from v2g.io.hardware import linux_board
from v2g.io.hardware.board import BoardConfig
from v2g.io.hardware.driver import DriverContext, Kind
from v2g.io.hardware.line_display import LineDisplayConfig
from v2g.io.hardware.linux_board import LinuxBoardConfig
from v2g.io.hardware.modbus import ModbusConfig
from v2g.io.hardware.pn532 import Pn532Config
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.board import BoardSimulator
from v2g_testkit import driver_cases
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.driver_cases import Bench, DriverTester, cases


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch parts for less time: these are not under test."""
    monkeypatch.setattr(driver_cases, "WATCH_S", 0.9)
    monkeypatch.setattr(driver_cases, "STEADY_S", 0.1)


async def failures(kind: Kind, name: str, config: msgspec.Struct, bench: Bench) -> tuple[list[Result], set[str]]:
    """Return the results of all cases that do not pass, and the names of those that do."""
    tester = DriverTester(kind, name, config, bench, DriverContext(clock=Clock()))
    results = [await tester.run(each) for each in cases(kind)]
    wrong = [each for each in results if each.verdict is Verdict.FAIL]
    return wrong, {each.case.split("-", 2)[2] for each in results if each.verdict is Verdict.PASS}


class BoardThread(threading.Thread):
    """A board that runs when the charger's event loop does not, as a real one."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._made = threading.Event()
        self.start()
        self._made.wait()

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        self._board = BoardSimulator(Clock(), firmware=BoardFirmware(lost_s=0.5))
        self.device = self._board.device
        self._made.set()
        await self._ending.wait()
        self._board.close()

    async def show(self, state: PilotState) -> None:
        """Be a vehicle in this state."""
        inputs = {"resistance_ohm": VEHICLE_OHM[state], "proximity_ohm": SEATED_OHM}
        self._loop.call_soon_threadsafe(lambda: self._board.set(**inputs))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self.join()


async def test_the_control_board_passes() -> None:
    board = BoardThread()
    config = BoardConfig(device=board.device, lost_s=0.5)
    wrong, passed = await failures("pilot", "board", config, Bench(energised=True, vehicle=board.show))
    board.close()
    assert wrong == []
    assert len(passed) == 18


@pytest.mark.long
async def test_the_board_of_a_computers_own_parts_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path)
    monkeypatch.setattr(linux_board, "GpiodLines", machine.lines)
    config, _ = Table(machine.config(lost_s=2.0)).read(LinuxBoardConfig)
    assert config is not None
    wrong, passed = await failures("pilot", "linux", config, Bench(energised=True, vehicle=machine.show))
    machine.stop()
    assert wrong == []
    assert len(passed) == 17  # its fan shows no speed


@pytest.mark.parametrize(
    ("load_mv", "passes"), [(400_000, 11), pytest.param(None, 11, marks=pytest.mark.long)], ids=["loaded", "open"]
)
async def test_power_modules_pass(load_mv: int | None, passes: int) -> None:
    config = ModulesConfig(interface="virtual", channel=uuid.uuid4().hex, modules=(1, 2), send_s=0.05, isolation_s=0.05)
    modules = Modules(config)
    modules.bank.load = None if load_mv is None else StageLoad(load_mv, *(True,), 200_000, 200_000)
    bench = Bench(energised=True, discharge=True, voltage_mv=420_000, load_mv=load_mv)
    wrong, passed = await failures("stage", "can", config, bench)
    await modules.close()
    assert wrong == []
    assert len(passed) == passes


@pytest.mark.parametrize(
    ("load_mv", "passes"), [(400_000, 10), pytest.param(None, 11, marks=pytest.mark.long)], ids=["loaded", "open"]
)
async def test_infypower_modules_pass(load_mv: int | None, passes: int) -> None:
    config = InfypowerConfig(
        interface="virtual", channel=uuid.uuid4().hex, bitrate=500_000, modules=(0, 1), send_s=0.05, isolation_s=0.05
    )
    modules = Modules(config)
    modules.bank.load = None if load_mv is None else StageLoad(load_mv, *(True,), 200_000, 200_000)
    bench = Bench(energised=True, discharge=False, voltage_mv=420_000, load_mv=load_mv)
    wrong, passed = await failures("stage", "infypower", config, bench)
    await modules.close()
    assert wrong == []
    assert len(passed) == passes


async def test_the_modbus_meter_passes() -> None:
    meter = MeterBench()
    serving = asyncio.create_task(meter.server.serve_forever())
    config = ModbusConfig(device=meter.cable.devices[0], baud_rate=19_200, poll_s=0.05, timeout_s=0.2)
    wrong, passed = await failures("meter", "modbus", config, Bench())
    await meter.server.shutdown()
    await asyncio.gather(serving, return_exceptions=True)
    meter.cable.close()
    assert wrong == []
    assert len(passed) == 7


async def test_the_card_reader_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v2g.hardware.readers.pn532.POLL_S", 0.02)
    reader = Cable(tmp_path / "reader")

    async def card(there: bool) -> None:
        reader.core.card = bytes.fromhex("04A1B2C3D4E5F6") if there else None

    config = Pn532Config(device=str(reader.link), away_s=0.1)
    wrong, passed = await failures("card_reader", "pn532", config, Bench(card=card, away_s=0.5))
    reader.unplug()
    assert wrong == []
    assert passed == {"opens", "releases", "rest", "card", "again"}
    wrong, passed = await failures("card_reader", "pn532", config, Bench())
    assert {each.case for each in wrong} == {"HW-READER-opens"}
    assert "reader: " in wrong[0].found


async def test_the_line_display_passes() -> None:
    async with wired() as (cable, screen):
        config = LineDisplayConfig(device=cable.devices[0], baud_rate=115_200)
        wrong, passed = await failures("display", "escpos", config, Bench())
        async with asyncio.timeout(5):  # the driver clears it, and its last octets are still in the cable
            while screen.text != ["", ""]:
                await asyncio.sleep(0.001)
    assert wrong == []
    assert passed == {"opens", "releases", "message", "clears", "beside", "any-text"}
