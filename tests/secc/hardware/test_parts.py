"""A charger of parts that are not simulated by us alone: board on a serial port, modules on CAN, meter on Modbus."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from secc.hardware.assembly import Assembled, Assembly
from secc.hardware.config import HardwareConfig
from secc.session import ports
from secc.session.config import SeccConfig
from tests.io.hardware.can_modules import BATTERY, Modules
from tests.io.hardware.linux_machine import Machine
from tests.io.hardware.modbus_meter import Bench
from tests.secc.asking import ask_for_everything
from tests.waiting import until
from v2g.config import Table
from v2g.errors import ConfigError, TransportError
from v2g.hardware.board.firmware import BoardFirmware
from v2g.hardware.board.protocol import Hello
from v2g.hardware.power_modules.bank import ModulesConfig
from v2g.hardware.power_modules.infypower import InfypowerConfig
from v2g.iec61851.pilot import PilotState
from v2g.io.hardware import linux_board
from v2g.io.hardware.board import BoardConfig, SerialBoard
from v2g.io.hardware.modbus import ModbusConfig
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.watchdog import Watchdog
from v2g.io.simulation.board import BoardSimulator
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.iso15118.engine.session import Fact

AUTHORISED = ports.TransactionStarted("0011223344556677", "DEV2GC00000001")


def assembly(
    config: HardwareConfig,
    stack: contextlib.AsyncExitStack,
    folder: Path,
    medium: Path | None,
    watchdog: Watchdog | None = None,
) -> Assembly:
    return Assembly(
        config,
        SeccConfig(),
        Clock(),
        stack,
        lambda _: None,
        folder=folder,
        meter_serial="M",
        medium_folder=medium,
        name="evse",
        watchdog=watchdog,
    )


class Rig:
    """The assembled charger and what stands behind its cables."""

    def __init__(
        self,
        made: Assembled,
        modules: Modules,
        board: BoardSimulator,
        vehicle: SimulatedVehiclePilot,
        watchdog: Watchdog,
        amperes: int,
    ) -> None:
        self.made, self.modules, self.board, self.vehicle = made, modules, board, vehicle
        self.watchdog, self.amperes = watchdog, amperes
        self.facts: list[Fact] = []
        made.evse.subscribe(self.facts.append)

    async def charge(self) -> None:
        assert self.made.pilot is not None
        self.modules.bank.load = None
        self.vehicle.plug()
        await until(lambda: self.made.pilot.state is PilotState.B)
        self.made.pilot.set_duty(5.0)
        self.vehicle.set_state(PilotState.C)
        await until(lambda: self.made.pilot.state is PilotState.C)
        self.made.evse.execute(AUTHORISED)
        ask_for_everything(self.made.safety)
        await until(lambda: self.board.firmware.wanted.latch)
        await asyncio.sleep(0.05)
        check = self.made.evse.execute(ports.StartCableCheck(400_000))
        assert check is not None
        assert await check == ports.CableCheckFinished(passed=True)
        self.modules.bank.load = BATTERY
        self.made.evse.execute(ports.SetOutput(420_000, self.amperes * 1000, 60_000, 0))
        await until(lambda: self.made.evse.present.current_ma == self.amperes * 1000)


async def measure(meter: Bench, modules: Modules) -> None:
    """Let the meter measure what flows; its registers stand still."""
    while True:
        load = modules.bank.load
        meter.set(watts=0.0 if load is None else load.voltage_mv * modules.bank.current_ma / 1_000_000)
        await asyncio.sleep(0.02)


@pytest.fixture(params=["can"])
async def rig(request: Any, tmp_path: Path) -> AsyncIterator[Rig]:
    charger, vehicle = await FolderMedium.attach(tmp_path, "board"), await FolderMedium.attach(tmp_path, "evcc")
    board = BoardSimulator(Clock(), charger, firmware=BoardFirmware(lost_s=1.0))  # four in one busy loop
    meter = Bench()
    serving = asyncio.create_task(meter.server.serve_forever())
    stage: str = request.param
    kind = InfypowerConfig if stage == "infypower" else ModulesConfig
    can = kind(
        interface="virtual",
        channel=uuid.uuid4().hex,
        modules=(1, 2),
        send_s=0.05,
        lost_s=0.5,
        isolation_s=0.05,
        isolation_command="IsolationCommand",
    )
    modules = Modules(can)
    modules.bank.load = None
    metering = asyncio.create_task(measure(meter, modules))
    watchdog = Watchdog()
    config = HardwareConfig(
        pilot="board",
        stage=stage,
        meter="modbus",
        board=BoardConfig(device=board.device, lost_s=1.0),
        can=can if isinstance(can, ModulesConfig) else None,
        drivers={} if stage == "can" else {stage: Table(msgspec.to_builtins(can))},
        modbus=ModbusConfig(device=meter.cable.devices[0], baud_rate=19_200, poll_s=0.05, timeout_s=0.1, lost_s=0.5),
    )
    async with contextlib.AsyncExitStack() as stack:
        made = await assembly(config, stack, tmp_path, None, watchdog).make()
        stack.push_async_callback(made.evse.close)
        yield Rig(made, modules, board, SimulatedVehiclePilot(vehicle), watchdog, 40 if stage == "infypower" else 60)
    metering.cancel()
    await modules.close()
    await meter.server.shutdown()
    await asyncio.gather(serving, return_exceptions=True)
    meter.cable.close()
    board.close()
    charger.close()
    vehicle.close()


async def test_a_charger_of_board_modules_and_meter_charges(rig: Rig) -> None:
    await rig.charge()
    assert rig.board.firmware.contactor_closed
    assert rig.board.firmware.wanted.latch
    assert rig.made.meter.read(0).import_mwh == 1_234_500_000
    commanded = rig.made.evse.execute(ports.OpenContactors())
    assert commanded is not None
    opening = asyncio.ensure_future(commanded)
    await until(lambda: not rig.board.firmware.contactor_closed)
    assert rig.modules.bank.current_ma == 0  # no contactor opens under current
    rig.modules.bank.load = None
    assert await opening == ports.ContactorState(closed=False)
    assert rig.made.evse.faults == ()


async def test_the_lock_of_the_board_opens_when_an_operator_wants_it(rig: Rig) -> None:
    """F05: not while somebody is served; what the board's auxiliary contact says is what counts."""
    rig.modules.bank.load = None
    rig.vehicle.plug()
    rig.made.evse.execute(AUTHORISED)
    await until(lambda: rig.made.evse.interlock.locked)
    assert not await rig.made.evse.unlock()
    rig.board.set(jammed=True)
    rig.made.evse.execute(ports.TransactionEnded("0011223344556677", "finished", "Local", None))
    await until(lambda: not rig.board.firmware.wanted.latch)  # once the output has lost its voltage
    unlocking = asyncio.ensure_future(rig.made.evse.unlock())
    await asyncio.sleep(0)
    assert not unlocking.done()
    rig.board.set(jammed=False)
    assert await unlocking


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (lambda rig: setattr(rig.board.firmware, "silent", True), "board_lost"),
        (lambda rig: rig.board.set(estop=True), "emergency_stop"),
        (lambda rig: rig.board.set(temperatures=(("plug", 99.0),)), "over_temperature"),
        (lambda rig: [setattr(each, "dead", True) for each in rig.modules.bank.units.values()], "stage_lost"),
        (lambda rig: setattr(rig.modules.bank.monitor, "dead", True), "isolation_lost"),
        (lambda rig: rig.vehicle.plug(proximity_ohm=None), "plug_not_seated"),
    ],
    ids=["board", "estop", "hot", "modules", "monitor", "plug"],
)
async def test_whatever_breaks_no_current_flows_and_the_contactor_opens(
    rig: Rig, harm: Callable[[Rig], Any], word: str
) -> None:
    await rig.charge()
    harm(rig)
    await until(lambda: not rig.board.firmware.contactor_closed)
    await until(lambda: word in rig.made.evse.faults)
    await until(lambda: rig.modules.bank.current_ma == 0)
    assert ports.HardwareFault(word) in rig.facts


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (HardwareConfig(pilot="board"), "hardware.board: is missing"),
        (HardwareConfig(stage="can"), "hardware.can: is missing"),
        (HardwareConfig(meter="modbus"), "hardware.modbus: is missing"),
        (HardwareConfig(kind="ac", stage="can"), "has no power stage"),
        (HardwareConfig(stage="can", can=ModulesConfig(isolation="")), "isolation is missing"),
        (HardwareConfig(stage="cam"), "hardware.stage: no driver 'cam' is installed"),
    ],
)
async def test_what_is_not_there_is_named(config: HardwareConfig, said: str, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        with pytest.raises(ConfigError, match=said):
            await assembly(config, stack, tmp_path, tmp_path / "copper").make()


async def test_simulated_parts_need_their_medium(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        with pytest.raises(ConfigError, match=r"link\.medium is missing: the control pilot"):
            await assembly(HardwareConfig(), stack, tmp_path, None).make()


async def test_a_board_without_a_contactor_is_refused(tmp_path: Path) -> None:
    board = BoardSimulator(Clock(), firmware=BoardFirmware(Hello(version=1), lost_s=1.0))
    config = HardwareConfig(pilot="board", board=BoardConfig(device=board.device, lost_s=1.0))
    async with contextlib.AsyncExitStack() as stack:
        with pytest.raises(ConfigError, match="has no contactor"):
            await assembly(config, stack, tmp_path, None).make()
    board.close()


async def test_a_board_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v2g.io.hardware.board.READY_S", 0.2)
    board = BoardSimulator(Clock())
    board.firmware.silent = True
    config = HardwareConfig(pilot="board", board=BoardConfig(device=board.device))
    async with contextlib.AsyncExitStack() as stack:
        with pytest.raises(TransportError, match="does not answer"):
            await assembly(msgspec.structs.replace(config), stack, tmp_path, None).make()
    board.close()


@pytest.mark.some(1)
@pytest.mark.parametrize("rig", ["can", "infypower"], indirect=True)
@pytest.mark.parametrize("harm", ["hang", "driver"])
async def test_what_was_cut_with_nobody_plugged_in_serves_the_next_customer(
    rig: Rig, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The EVSE stayed Faulted in state A, and the cut of board and modules latched: the next customer got 0 W."""
    if harm == "hang":
        for _ in range(20):
            rig.watchdog.check()
    else:
        with monkeypatch.context() as broken:
            broken.setattr(SerialBoard, "fan_rpm", property(lambda _: 1 / 0))
            await until(lambda: "charger_failed" in rig.made.evse.faults)
    await until(lambda: "charger_failed" in rig.made.evse.faults)
    await until(lambda: rig.made.evse.faults == ())
    await rig.charge()
    assert rig.modules.bank.current_ma == rig.amperes * 1000


@pytest.mark.some(1)
@pytest.mark.parametrize("rig", ["can", "infypower"], indirect=True)
async def test_an_isolation_monitor_that_fails_its_own_test_lets_nothing_flow(rig: Rig) -> None:
    """It still reports a sound insulation."""
    rig.modules.bank.monitor.untestable = True
    with pytest.raises(AssertionError, match="CableCheckFinished"):
        await rig.charge()
    assert "isolation_test_failed" in rig.made.evse.faults
    assert not rig.board.firmware.contactor_closed


@pytest.mark.long
@pytest.mark.real_time
@pytest.mark.parametrize("harm", ["hang", "driver"])
async def test_what_was_cut_at_a_board_of_the_computers_own_parts_serves_the_next_customer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    machine, watchdog = Machine(tmp_path / "machine"), Watchdog()
    monkeypatch.setattr(linux_board, "GpiodLines", machine.lines)
    table = Table(machine.config(lost_s=2.0, lock=None, lock_feedback=None))
    config = HardwareConfig(kind="ac", pilot="linux", drivers={"linux": table})
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(machine.stop)
        made = await assembly(config, stack, tmp_path, tmp_path / "copper", watchdog).make()
        stack.push_async_callback(made.evse.close)
        assert made.evse.faults == ()

        if harm == "hang":
            for _ in range(20):
                watchdog.check()
        else:
            with monkeypatch.context() as broken:
                broken.setattr(linux_board.LinuxBoard, "fan_rpm", property(lambda _: 1 / 0))
                await until(lambda: "charger_failed" in made.evse.faults)
        await until(lambda: "charger_failed" in made.evse.faults)
        await until(lambda: made.evse.faults == ())
        await machine.show(PilotState.C)
        assert made.pilot is not None
        made.pilot.set_duty(5.0)
        await until(lambda: made.pilot is not None and made.pilot.state is PilotState.C)
        made.evse.execute(AUTHORISED)
        ask_for_everything(made.safety)
        closing = made.evse.execute(ports.CloseContactors())
        assert closing is not None
        assert await closing == ports.ContactorState(closed=True)
        assert machine.outputs["contactor"]
