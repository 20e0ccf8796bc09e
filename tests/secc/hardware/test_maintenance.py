"""Parts moved by hand: never with a vehicle, a voltage or a fault, and only while no charger uses them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from secc.hardware.assembly import Assembly
from secc.hardware.config import HardwareConfig
from secc.hardware.maintenance import Maintenance, PartName
from secc.hardware.simulated import SimulatedEvseConfig
from secc.session.config import SeccConfig
from tests.virtual_time import in_simulated_time, simulated
from v2g.errors import ConfigError, RefusedError, TransportError
from v2g.hardware.interfaces import StageReport
from v2g.iec61851.pilot import PilotState
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.simulation.medium import Medium, Room
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.io.simulation.power import Faults, SimulatedStage


@dataclass
class Bench:
    """Parts under maintenance, the vehicle beside them, and what breaks."""

    parts: Maintenance
    vehicle: SimulatedVehiclePilot
    faults: Faults
    moved: list[bool]

    async def exercise(self, part: PartName) -> list[str]:
        return [line async for line in self.parts.exercise(part)]


def assembly(folder: Path, stack: contextlib.AsyncExitStack, **config: Any) -> Assembly:
    clock = Clock(ClockConfig(origin_monotonic=asyncio.get_running_loop().time(), origin_utc_ms=0))
    simulated = SimulatedEvseConfig(latch=True, contactor_s=0.05)
    return Assembly(
        HardwareConfig(simulated=simulated, **config),
        SeccConfig(),
        clock,
        stack,
        lambda _: None,
        folder=folder,
        meter_serial="M",
        medium_folder=folder,
        name="evse",
    )


@contextlib.asynccontextmanager
async def bench(folder: Path, *latched: str) -> AsyncIterator[Bench]:
    room = Room()

    async def attach(_folder: Path, name: str) -> Medium:
        return room.attach(name)

    async with contextlib.AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FolderMedium, "attach", attach)
            made = assembly(folder, stack)
            bare = await made.make_bare()
        moved: list[bool] = []
        bare.board.contactor.on_change(moved.append)
        yield Bench(Maintenance(bare, latched), SimulatedVehiclePilot(room.attach("evcc")), made.faults, moved)


@simulated
async def test_each_part_is_moved_and_left_as_it_was(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        assert await found.exercise("contactor") == ["contactor closed after 60 ms", "contactor open after 60 ms"]
        assert found.moved == [True, False]
        assert [line.split(" after")[0] for line in await found.exercise("lock")] == [
            "lock locked",
            "lock released",
        ]
        assert (await found.exercise("fan"))[0].endswith("3000 rpm")
        assert len(await found.exercise("lamp")) == 5
        report = await found.parts.report()
        assert (report.contactor, report.pilot, report.plug, report.fan_rpm) == ("open", "A", "open", 0)
        assert (report.voltage_v, report.current_a, report.insulation_ohm) == (0.0, 0.0, 1_000_000)
        assert (report.import_wh, report.faults) == (0.0, ())


def volts(patch: pytest.MonkeyPatch, _: Bench) -> None:
    patch.setattr(SimulatedStage, "present", StageReport(61_000, 0))


def watts(patch: pytest.MonkeyPatch, _: Bench) -> None:
    """More than nothing, at a voltage that is safe to touch: the safety monitor alone notices."""
    patch.setattr(SimulatedStage, "present", StageReport(50_000, 100_000))


def fails(patch: pytest.MonkeyPatch, _: Bench) -> None:
    patch.setattr(SimulatedStage, "present", None)


OBSTACLES: dict[str, tuple[Callable[[pytest.MonkeyPatch, Bench], None], str]] = {
    "vehicle": (lambda _, found: found.vehicle.plug(), "a vehicle is connected"),
    "voltage": (volts, "61 V are at the output"),
    "emergency stop": (lambda _, found: found.faults.set("estop"), "emergency stop is pressed"),
    "stage": (lambda _, found: found.faults.set("stage_trip"), "the power stage has tripped"),
    "driver": (fails, "monitoring of the power hardware has failed"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_nothing_moves_while_something_is_in_the_way(tmp_path: Path, obstacle: str) -> None:
    happens, why = OBSTACLES[obstacle]

    async def scenario() -> None:
        async with bench(tmp_path) as found:
            with pytest.MonkeyPatch.context() as patch:
                happens(patch, found)
                for part in ("contactor", "lock", "fan", "lamp"):
                    with pytest.raises(RefusedError, match=why):
                        await found.exercise(part)  # type: ignore[arg-type]
            assert found.moved == []

    in_simulated_time(scenario())


@pytest.mark.parametrize("obstacle", [*OBSTACLES, "power"])
def test_what_comes_in_the_way_opens_the_contactor(tmp_path: Path, obstacle: str) -> None:
    happens, why = {**OBSTACLES, "power": (watts, "more power flows|unpermitted energy|different powers")}[obstacle]

    async def scenario() -> None:
        async with bench(tmp_path) as found:
            moving = found.parts.exercise("contactor")
            assert "closed" in await anext(moving)
            with pytest.MonkeyPatch.context() as patch:
                happens(patch, found)
                with pytest.raises(RefusedError, match=why):
                    await anext(moving)
                await asyncio.sleep(0.1)
            assert found.moved == [True, False]

    in_simulated_time(scenario())


@simulated
async def test_a_latched_fault_forbids_to_move_anything(tmp_path: Path) -> None:
    async with bench(tmp_path, "contactor_welded") as found:
        with pytest.raises(RefusedError, match="the contactor does not open"):
            await found.exercise("contactor")


@simulated
async def test_a_part_that_does_not_follow_is_named_and_left_off(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        for fault, part, why in (
            ("no_close", "contactor", "the contactor is not closed within 3 s|the contactor does not close"),
            ("latch_jammed", "lock", "the lock is not locked within 3 s"),
            ("fan_dead", "fan", "the fan does not turn within 3 s"),
        ):
            found.faults.set(fault)  # type: ignore[arg-type]
            with pytest.raises(RefusedError, match=why):
                await found.exercise(part)  # type: ignore[arg-type]
            found.faults.set(fault, active=False)  # type: ignore[arg-type]
            for word in found.parts.faults:
                found.parts.fault(word, active=False)
        assert found.moved == []


@simulated
async def test_a_vehicle_that_waits_stays_unserved(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        found.vehicle.plug()
        found.vehicle.set_state(PilotState.C)
        assert (await found.parts.report()).pilot == "C"
        assert found.moved == []


async def test_one_program_has_the_hardware(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as first, contextlib.AsyncExitStack() as second:
        await assembly(tmp_path, first).make()
        with pytest.raises(TransportError, match="another program uses this hardware"):
            await assembly(tmp_path, second).make_bare()
        await first.aclose()
        await assembly(tmp_path, second).make_bare()


async def test_a_bench_has_nothing_to_move(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        with pytest.raises(ConfigError, match="a bench has no parts"):
            await assembly(tmp_path, stack, backend="bench").make_bare()
