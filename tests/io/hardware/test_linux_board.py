"""A control board of PWM, ADC and GPIO lines: sysfs in a folder, and a fake port in place of libgpiod."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from secc.hardware.drivers import opened
from tests.io.hardware.linux_machine import Machine
from tests.waiting import until
from v2g.config import Table
from v2g.errors import TransportError
from v2g.hardware.interfaces import BoardParts
from v2g.iec61851.pilot import PilotState, offer
from v2g.iec61851.proximity import Proximity
from v2g.io.hardware import linux_board
from v2g.io.hardware.driver import DriverContext
from v2g.io.hardware.linux_board import LinuxBoardConfig
from v2g.io.runtime.clock import Clock

A, B, C, D, E, F = PilotState


@contextlib.asynccontextmanager
async def board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, detectors: bool = True, **changes: Any
) -> AsyncIterator[tuple[Machine, BoardParts]]:
    """Open the board; it counts as lost only after long: the machine may be busy."""
    machine = Machine(tmp_path, detectors=detectors)
    monkeypatch.setattr(linux_board, "GpiodLines", machine.lines)
    changes = {"lost_s": 2.0, **changes}
    config, flaws = Table(machine.config(**changes)).read(LinuxBoardConfig)
    assert config is not None, flaws
    try:
        async with opened("pilot", "linux", config, DriverContext(clock=Clock())) as parts:
            yield machine, parts
    finally:
        machine.stop()


async def test_the_wire_is_driven_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with board(tmp_path, monkeypatch) as (machine, parts):
        pilot, states = parts.pilot, list[PilotState]()
        assert pilot is not None
        await until(lambda: pilot.state is A)
        pilot.on_state(states.append)
        assert (machine.percent, pilot.duty_percent) == (100, None)  # X1
        await machine.show(B)
        await until(lambda: pilot.state is B)
        for percent in (5.0, offer(16.0), 96.5):
            pilot.set_duty(percent)
            await until(lambda percent=percent: machine.percent == pytest.approx(percent))  # type: ignore[misc]
        await machine.show(C)
        await until(lambda: pilot.state is C)
        machine.diode = False
        await until(lambda: pilot.state is E)
        assert pilot.fault == "diode_shorted"
        machine.diode = True
        await machine.show(D)
        await until(lambda: pilot.state is D)
        machine.resistance_ohm = 1
        await until(lambda: pilot.fault == "pilot_shorted")
        machine.resistance_ohm = None
        await until(lambda: pilot.state is A)
        pilot.set_error(E)
        await until(lambda: pilot.state is F)
        assert machine.percent == 0
        pilot.set_duty(None)
        await until(lambda: pilot.state is A)
    assert machine.percent == 0
    assert states == [B, C, E, D, E, A, F, A]


async def test_the_wire_itself_is_sampled_without_detectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oscillator does not know when it is sampled."""
    changes = {"pilot_low": None, "plug": None}
    async with board(tmp_path, monkeypatch, detectors=False, **changes) as (machine, parts):
        pilot = parts.pilot
        assert pilot is not None
        pilot.set_duty(50.0)
        for state in (B, C, D):
            await machine.show(state)
            await until(lambda state=state: pilot.state is state)  # type: ignore[misc]
        assert pilot.proximity == Proximity("seated")
        machine.diode = False
        await until(lambda: pilot.fault == "diode_shorted")


async def closed(machine: Machine, parts: BoardParts) -> None:
    assert parts.pilot is not None
    parts.pilot.set_duty(5.0)
    await machine.show(C)
    await until(lambda: parts.pilot is not None and parts.pilot.state is C)
    parts.contactor.set(closed=True)
    await until(lambda: parts.contactor.closed)


@pytest.mark.parametrize("why", ["not ready", "emergency stop"])
async def test_the_contactor_opens_without_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    async with board(tmp_path, monkeypatch) as (machine, parts):
        faults: list[tuple[str, bool]] = []
        parts.cabinet.on_fault(lambda word, active: faults.append((word, active)))
        await closed(machine, parts)
        if why == "not ready":
            await machine.show(B)
        else:
            machine.estop = True
        blocking_wait(lambda: not machine.outputs["contactor"])
        await until(lambda: not parts.contactor.closed)
        assert faults == ([] if why == "not ready" else [("emergency_stop", True)])
        machine.estop = False
        await machine.show(C)
        await asyncio.sleep(0.1)
        assert not machine.outputs["contactor"], "closes on command only"
        await until(lambda: parts.pilot is not None and parts.pilot.state is C and len(faults) != 1)
        parts.contactor.set(closed=True)
        await until(lambda: parts.contactor.closed)


def blocking_wait(holds: Callable[[], bool]) -> None:
    """Wait while the event loop stands."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


async def test_a_loop_that_stops_opens_the_contactor_and_ends_the_toggling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with board(tmp_path, monkeypatch, lost_s=0.5) as (machine, parts):
        await closed(machine, parts)
        toggles = machine.toggles
        await until(lambda: machine.toggles > toggles + 2)
        blocking_wait(lambda: not machine.outputs["contactor"])
        toggles = machine.toggles
        time.sleep(0.1)
        assert machine.toggles == toggles
        await until(lambda: machine.toggles > toggles)


async def test_cut_opens_until_the_contactor_is_commanded_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with board(tmp_path, monkeypatch) as (machine, parts):
        await closed(machine, parts)
        parts.contactor.cut()
        assert not machine.outputs["contactor"]
        parts.contactor.set(closed=True)
        assert not machine.outputs["contactor"]
        parts.contactor.set(closed=False)
        parts.contactor.set(closed=True)
        assert machine.outputs["contactor"]


@pytest.mark.parametrize("how", ["blocks", "fails"])
async def test_what_blocks_or_fails_is_a_lost_board_and_never_the_loops_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async with board(tmp_path, monkeypatch, lost_s=0.5) as (machine, parts):
        await closed(machine, parts)
        faults: list[tuple[str, bool]] = []
        parts.cabinet.on_fault(lambda word, active: faults.append((word, active)))
        if how == "blocks":
            machine.blocked.clear()
        machine.broken = how == "fails"
        await until(lambda: faults == [("board_lost", True)])
        assert parts.pilot is not None
        assert parts.pilot.state is F
        await until(lambda: not machine.outputs["contactor"])
        machine.broken = False
        machine.blocked.set()
        await until(lambda: faults[1:] == [("board_lost", False)])
        await until(lambda: parts.pilot is not None and parts.pilot.state is C)


async def test_a_thread_that_hangs_while_it_opens_the_contactor_does_not_hold_up_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with board(tmp_path, monkeypatch, lost_s=2) as (machine, parts):
        await closed(machine, parts)
        faults: list[tuple[str, bool]] = []
        parts.cabinet.on_fault(lambda word, active: faults.append((word, active)))
        machine.switchable.clear()
        await machine.show(B)
        await until(lambda: machine.hanging)
        with pytest.raises(TransportError, match="hangs while it switches the contactor"):
            parts.contactor.set(closed=False)
        await until(lambda: faults == [("board_lost", True)])
        parts.contactor.set(closed=False)
        assert not machine.switchable.is_set()
        assert machine.outputs["contactor"], "the loop has not waited for it"
        machine.switchable.set()
        await until(lambda: not machine.outputs["contactor"] and faults[1:] == [("board_lost", False)])


async def test_a_cut_is_kept_while_another_thread_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with board(tmp_path, monkeypatch, lost_s=2) as (machine, parts):
        await closed(machine, parts)
        machine.switchable.clear()
        closing = asyncio.create_task(asyncio.to_thread(parts.contactor.set, closed=True))
        await until(lambda: machine.hanging)
        with pytest.raises(TransportError, match="hangs while it switches the contactor"):
            parts.contactor.cut()
        assert machine.outputs["contactor"]
        machine.switchable.set()
        await closing
        await until(lambda: not machine.outputs["contactor"])
        await until(lambda: parts.pilot is not None and parts.pilot.state is C)
        parts.contactor.set(closed=True)
        assert not machine.outputs["contactor"]


async def test_an_emergency_stop_outlasts_a_lost_board_and_ends_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with board(tmp_path, monkeypatch, lost_s=0.5) as (machine, parts):
        faults: list[tuple[str, bool]] = []
        parts.cabinet.on_fault(lambda word, active: faults.append((word, active)))
        machine.estop = True
        await until(lambda: len(faults) == 1)
        machine.broken = True
        await until(lambda: len(faults) == 2)
        machine.estop = machine.broken = False
        await until(lambda: len(faults) == 4)
        stop, lost = "emergency_stop", "board_lost"
        assert faults == [(stop, True), (lost, True), (lost, False), (stop, False)]


async def test_lock_and_plug_are_sensed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with board(tmp_path, monkeypatch) as (machine, parts):
        locked: list[bool] = []
        parts.cabinet.on_latch(locked.append)
        assert parts.cabinet.has_latch
        parts.cabinet.set_latch(locked=True)
        await until(lambda: locked == [True])
        parts.cabinet.set_fan(50)
        assert machine.outputs["fan"]
        await until(lambda: parts.pilot is not None and parts.pilot.proximity == Proximity("seated", 32))


async def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for change, said in (
        ({"pwm": {"chip": str(tmp_path / "none")}}, "none/export: No such file or directory"),
        ({"adc": str(tmp_path / "none")}, "none/in_voltage1_raw: No such file or directory"),
    ):
        with pytest.raises(TransportError, match=said):
            async with board(tmp_path / str(len(said)), monkeypatch, **change):
                pass


REFERENCE = {"channel": "voltage3", "mv": 0, "active_mv": 2_500, "line": {"line": 8}}


@pytest.mark.some(1)
@pytest.mark.parametrize("notices", ["reference", "oscillator off", "error"])
async def test_an_adc_that_stands_still_is_a_fault_that_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notices: str
) -> None:
    """The plug was pulled, the pilot still showed C, and the contactor could close."""
    changes = {"reference": REFERENCE} if notices == "reference" else {}
    async with board(tmp_path, monkeypatch, **changes) as (machine, parts):
        pilot, faults = parts.pilot, list[tuple[str, bool]]()
        assert pilot is not None
        parts.cabinet.on_fault(lambda word, active: faults.append((word, active)))
        await closed(machine, parts)
        machine.frozen = True
        machine.resistance_ohm = None  # the plug is pulled
        if notices == "oscillator off":
            pilot.set_duty(None)
        elif notices == "error":
            pilot.set_error(F)
        await until(lambda: ("pilot_frozen", True) in faults)
        assert pilot.state is F
        await until(lambda: not machine.outputs["contactor"] and not parts.contactor.closed)
        pilot.set_duty(5.0)
        await asyncio.sleep(0.3)
        parts.contactor.set(closed=True)
        assert pilot.state is F
        assert not machine.outputs["contactor"]
        machine.frozen = False
        await until(lambda: pilot.state is A and ("pilot_frozen", False) in faults)


@pytest.mark.long
async def test_sound_levels_and_a_sound_reference_are_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with board(tmp_path, monkeypatch, reference=REFERENCE) as (machine, parts):
        pilot, faults = parts.pilot, list[tuple[str, bool]]()
        assert pilot is not None
        parts.cabinet.on_fault(lambda word, active: faults.append((word, active)))
        for state in (A, B, C):
            await machine.show(state)
            for percent in (None, 5.0, 96.0):
                pilot.set_duty(percent)
                await until(lambda state=state: pilot.state is state)  # type: ignore[misc]
                await asyncio.sleep(0.6)
            pilot.set_error(F)
            await asyncio.sleep(0.6)
        assert faults == []


async def test_a_plug_has_a_contact_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with board(tmp_path, monkeypatch, plug_contact={"line": 9}) as (machine, parts):
        pilot = parts.pilot
        assert pilot is not None
        await closed(machine, parts)
        assert pilot.proximity.state == "seated"
        machine.frozen = True
        machine.inserted = False
        await until(lambda: not machine.outputs["contactor"])
        await until(lambda: pilot.proximity == Proximity("open"))


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda _: None, ""),
        (lambda machine: setattr(machine, "frozen", True), "mV at 0 %"),
        (lambda machine: setattr(machine, "guards", False), "watchdog line does not act"),
        (lambda machine: setattr(machine, "resistance_ohm", 1), "mV at 100 %"),
        (lambda machine: setattr(machine, "welded", True), "the contactor is closed"),
    ],
    ids=["sound", "frozen", "no watchdog", "shorted", "welded"],
)
async def test_a_board_tests_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Machine], None], said: str
) -> None:
    async with board(tmp_path, monkeypatch, watchdog_feedback={"line": 10}) as (machine, parts):
        assert parts.self_test is not None
        await until(lambda: parts.pilot is not None and parts.pilot.state is A)
        harm(machine)
        await until(lambda: parts.contactor.closed is machine.welded)
        failed = await parts.self_test()
        assert said in failed
        assert bool(failed) is bool(said)
        assert machine.percent == 100


@pytest.mark.parametrize(("welded", "said"), [(False, ""), (True, "the contactor is closed")])
async def test_a_vehicle_notices_no_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, welded: bool, said: str
) -> None:
    async with board(tmp_path, monkeypatch, watchdog_feedback={"line": 10}) as (machine, parts):
        pilot, states = parts.pilot, list[PilotState]()
        assert pilot is not None
        assert parts.self_test is not None
        pilot.set_duty(5.0)
        await machine.show(B)
        machine.welded = welded
        await until(lambda: pilot.state is B and parts.contactor.closed is welded)
        pilot.on_state(states.append)
        assert await parts.self_test() == said
        assert (states, machine.percent) == ([], 5.0)
