"""One suite for every backend of the charger's control pilot: simulated wires, and a board on a serial port."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from v2g.errors import TransportError
from v2g.hardware.board.firmware import BoardFirmware
from v2g.hardware.board.protocol import LOST_S
from v2g.hardware.interfaces import ChargerPilot
from v2g.iec61851.pilot import PilotState
from v2g.iec61851.proximity import Proximity
from v2g.io.hardware.board import BoardConfig, SerialBoard
from v2g.io.plc.pilot import SimulatedChargerPilot, SimulatedVehiclePilot
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.board import BoardSimulator
from v2g.io.simulation.medium import Medium
from v2g.observe import Observe

A, B, C, D, E, F = PilotState


class Rig:
    """A charger's pilot, whatever it is, and the vehicle at the other end."""

    def __init__(self, pilot: ChargerPilot, vehicle: SimulatedVehiclePilot) -> None:
        self.pilot, self.vehicle = pilot, vehicle
        self.states: list[PilotState] = []
        self.plugs: list[Proximity] = []
        self.oscillator: list[bool] = []
        pilot.on_state(self.states.append)
        pilot.on_proximity(self.plugs.append)
        pilot.on_oscillator(self.oscillator.append)


@pytest_asyncio.fixture(params=["simulated", "board"])
async def rig(request: Any, charger_medium: Medium, vehicle_medium: Medium) -> AsyncIterator[Rig]:
    closing: list[Any] = []
    if request.param == "simulated":
        pilot: ChargerPilot = SimulatedChargerPilot(charger_medium)
    else:
        simulator = BoardSimulator(Clock(), charger_medium)
        board = SerialBoard(BoardConfig(device=simulator.device), Clock(), lambda _: None)
        assert await board.ready(2.0)
        while board.state is not A:  # the level settles
            await asyncio.sleep(0.001)
        pilot, closing = board, [board, simulator]
    rig = Rig(pilot, SimulatedVehiclePilot(vehicle_medium))
    yield rig
    for each in closing:
        each.close()


async def test_states_duty_and_plug_cross_the_wire(rig: Rig, until: Callable[..., Any]) -> None:
    assert rig.pilot.state is A
    rig.vehicle.plug(proximity_ohm=220)
    await until(lambda: rig.pilot.state is B)
    assert rig.pilot.proximity == Proximity("seated", 32)
    rig.pilot.set_duty(5.0)
    await until(lambda: rig.vehicle.duty.meaning == "digital")
    for state in (C, D, B):
        rig.vehicle.set_state(state)
        await until(lambda state=state: rig.pilot.state is state)
    rig.pilot.set_duty(16 / 0.6)
    await until(lambda: rig.vehicle.duty.meaning == "current")
    assert 15.9 <= rig.vehicle.duty.max_current_a <= 16.0
    rig.pilot.set_duty(None)
    await until(lambda: rig.vehicle.duty.meaning == "off")
    rig.vehicle.unplug()
    await until(lambda: rig.pilot.state is A)
    assert rig.states == [B, C, D, B, A]
    assert rig.plugs == [Proximity("seated", 32), Proximity("open")]
    assert rig.oscillator == [True, False]


async def test_f_is_seen_by_the_vehicle_and_ends_with_the_next_duty(rig: Rig, until: Callable[..., Any]) -> None:
    rig.vehicle.plug()
    rig.pilot.set_duty(5.0)
    await until(lambda: rig.vehicle.duty.meaning == "digital")
    rig.pilot.set_error(F)
    await until(lambda: rig.vehicle.duty.meaning == "no_charging" and rig.pilot.state is F)
    rig.pilot.set_duty(5.0)
    await until(lambda: rig.vehicle.duty.meaning == "digital" and rig.pilot.state is B)
    assert rig.oscillator == [True, False, True], "F is a constant level"
    for bad in (A, C):
        with pytest.raises(ValueError, match="not a fault"):
            rig.pilot.set_error(bad)
    with pytest.raises(ValueError, match="outside"):
        rig.pilot.set_duty(100.5)


async def test_a_missing_diode_shows_with_the_oscillator(rig: Rig, until: Callable[..., Any]) -> None:
    rig.vehicle.plug(diode=False)
    await until(lambda: rig.pilot.state is B)
    rig.pilot.set_duty(5.0)
    await until(lambda: rig.pilot.state is E)
    assert rig.pilot.fault == "diode_shorted"


async def test_a_plug_that_comes_loose_is_reported(rig: Rig, until: Callable[..., Any]) -> None:
    rig.vehicle.plug()
    await until(lambda: rig.pilot.proximity.state == "seated")
    rig.vehicle.plug(proximity_ohm=None)
    await until(lambda: rig.pilot.proximity.state == "open")
    rig.vehicle.plug(proximity_ohm=10)
    await until(lambda: rig.pilot.proximity.state == "fault")


class Noise(BoardFirmware):
    """A board that sends what is `waiting`, too."""

    waiting = b""

    def output(self) -> bytes:
        data, self.waiting = super().output() + self.waiting, b""
        return data


class TestBoard:
    @pytest_asyncio.fixture
    async def simulator(self) -> AsyncIterator[BoardSimulator]:
        self.noise, self.pulled_out = Noise(), False
        simulator = BoardSimulator(Clock(), firmware=self.noise)
        yield simulator
        if not self.pulled_out:
            simulator.close()

    @pytest_asyncio.fixture
    async def board(self, simulator: BoardSimulator) -> AsyncIterator[SerialBoard]:
        self.notes: list[Observe] = []
        board = SerialBoard(BoardConfig(device=simulator.device), Clock(), self.notes.append)
        assert await board.ready(2.0)
        yield board
        board.close()

    async def test_contactor_lock_lamp_fan_and_temperatures(
        self, board: SerialBoard, simulator: BoardSimulator, until: Callable[..., Any]
    ) -> None:
        moved: list[bool] = []
        locked: list[bool] = []
        board.contactor.on_change(moved.append)
        board.on_latch(locked.append)
        simulator.set(resistance_ohm=882)
        await until(lambda: board.state is C)
        board.set_latch(locked=True)
        board.set_fan(50)
        board.set_light("charging")
        board.contactor.set(closed=True)
        await until(lambda: board.contactor.closed and locked == [True] and board.fan_rpm == 1_500)
        assert simulator.firmware.wanted.light == "charging"
        assert board.has_latch
        await until(lambda: board.temperatures == {"board": 35.0, "plug": 30.0})
        board.contactor.set(closed=False)
        await until(lambda: moved == [True, False])

    async def test_the_emergency_stop_is_a_fault_until_it_is_released(
        self, board: SerialBoard, simulator: BoardSimulator, until: Callable[..., Any]
    ) -> None:
        faults: list[tuple[str, bool]] = []
        board.on_fault(lambda word, active: faults.append((word, active)))
        simulator.set(estop=True)
        await until(lambda: faults == [("emergency_stop", True)])
        simulator.set(estop=False)
        await until(lambda: faults[-1] == ("emergency_stop", False))

    @pytest.mark.parametrize("how", ["silent", "pulled out"])
    async def test_a_lost_board_is_a_fault_within_100_ms_of_real_time(
        self, board: SerialBoard, simulator: BoardSimulator, until: Callable[..., Any], how: str
    ) -> None:
        """The bound is that of the pure core; here stands that a port and an event loop keep it, too."""
        loop, seen = asyncio.get_running_loop(), []
        board.on_fault(lambda word, active: seen.append((word, active, loop.time())))
        simulator.set(resistance_ohm=882)
        await until(lambda: board.state is C)
        died = loop.time()
        if how == "silent":
            simulator.firmware.silent = True
        else:
            self.pulled_out = True
            simulator.close()
        await until(lambda: seen)
        word, active, at = seen[0]
        assert (word, active) == ("board_lost", True)
        assert at - died <= LOST_S + 0.05  # a busy machine may call a timer late
        assert board.state is F
        assert not board.contactor.closed
        assert board.duty_percent is None

    async def test_a_board_that_comes_back_is_taken_again(
        self, board: SerialBoard, simulator: BoardSimulator, until: Callable[..., Any]
    ) -> None:
        faults: list[tuple[str, bool]] = []
        board.on_fault(lambda word, active: faults.append((word, active)))
        simulator.firmware.silent = True
        await until(lambda: faults == [("board_lost", True)])
        simulator.firmware.silent = False
        await until(lambda: ("board_lost", False) in faults and board.state is A)
        assert [note.name for note in self.notes][:3] == ["board_found", "board_lost", "board_found"]

    async def test_a_flood_of_garbage_is_no_loss(
        self, board: SerialBoard, simulator: BoardSimulator, until: Callable[..., Any]
    ) -> None:
        faults: list[tuple[str, bool]] = []
        board.on_fault(lambda word, active: faults.append((word, active)))
        for _ in range(60):
            self.noise.waiting = os.urandom(500) + b"\n"
            simulator.set()
            await asyncio.sleep(0.005)
        simulator.set(resistance_ohm=2_740)
        await until(lambda: board.state is B)
        assert faults == []
        simulator.firmware.silent = True
        await until(lambda: self.notes[-1].name == "board_lost")
        assert int(str(self.notes[-1].data["broken"])) > 0, "it has come"


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda _: None, ""),
        (lambda simulator: simulator.set(welded=True), "the board shows "),
        (lambda simulator: simulator.set(resistance_ohm=50), "1238 and None mV"),
        (lambda simulator: simulator.set(resistance_ohm=2_740, diode=False), "for run with duty cycle 10000"),
        (lambda simulator: setattr(simulator.firmware, "_lost_s", 10.0), "dead-man does not act"),
        (lambda simulator: setattr(simulator.firmware, "silent", True), "nothing"),
    ],
    ids=["sound", "welded", "shorted", "diode", "no dead-man", "silent"],
)
async def test_a_board_tests_itself(harm: Callable[[BoardSimulator], None], said: str) -> None:
    """Levels, duty cycle read back, auxiliary contact, dead-man; what was set before is set again."""
    simulator, faults = BoardSimulator(Clock(), firmware=BoardFirmware(lost_s=0.3)), list[tuple[str, bool]]()
    board = SerialBoard(BoardConfig(device=simulator.device, lost_s=0.3), Clock(), lambda _: None)
    assert await board.ready(2.0)
    board.set_fan(20)
    board.on_fault(lambda word, active: faults.append((word, active)))
    harm(simulator)
    failed = await board.self_test()
    assert said in failed
    assert bool(failed) is bool(said)
    if not said:
        assert ("board_lost", True) not in faults
        async with asyncio.timeout(2):
            while simulator.firmware.wanted.fan != 20 or board.state is not A:
                await asyncio.sleep(0.001)
    board.close()
    simulator.close()


async def test_a_port_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="nowhere"):
        SerialBoard(BoardConfig(device=str(tmp_path / "nowhere")), Clock(), lambda _: None)
