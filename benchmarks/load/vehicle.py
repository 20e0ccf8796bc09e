"""A vehicle program for repeated sessions: one complete session for each line of standard input.

After `refuse` the vehicle demands more for its energy than any offer, so that it rejects them all; after `go` it does
not. Run as `python -m benchmarks.load.vehicle --config FILE --events FILE`; after each session it prints one line with
the reason of its end. It differs from the vehicle program in two points: one process runs many sessions, and they are
short (seconds of simulated time instead of an hour).
"""

import asyncio
import contextlib
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from evcc.app import Vehicle, Wires, safe_rating
from evcc.checkpoints import CheckpointStore
from evcc.config import EvccConfig, load_config
from evcc.driver import Driver
from evcc.hardware.safety import SafetyChannel
from evcc.hardware.vehicle import SimulatedVehicle
from evcc.session.settings import ProgramStep
from v2g.errors import V2GError
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.program import read_config, start_log
from v2g.io.simulation.lines import VehicleDcLine
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.io.storage.growing_file import LogFiles
from v2g.observe import Observe

PROGRAM = (ProgramStep(do="charge", for_s=6), ProgramStep(do="discharge", for_s=6))
"""Simulated seconds: long enough for a few charge loops in each direction."""

REFUSE = "refuse"
TOO_MUCH = Decimal(100)
"""EUR per kWh."""

HAND_S = 0.05
"""Time to unplug, and to plug in again."""

FAILED_S = 1.0
"""After a failed session the charger signals a restart on its pilot; the next vehicle waits until it is over."""


def main(config: Annotated[Path, typer.Option()], events: Annotated[Path, typer.Option()]) -> None:
    """Serve the input."""
    start_log(LogFiles(level="warning"))
    read = load_config(read_config(config), name=str(config))
    short = msgspec.structs.replace(
        read, program=PROGRAM, timing=msgspec.structs.replace(read.timing, loop_pause_s=0.02)
    )
    asyncio.run(_serve(short, events))


async def _serve(config: EvccConfig, events: Path) -> None:
    clock = Clock(config.clock)
    observe = EventLog("evcc", clock, events)
    wants_more = msgspec.structs.replace(config.discharge, minimum_compensation=TOO_MUCH)
    refusing = msgspec.structs.replace(config, discharge=wants_more)
    while word := await asyncio.to_thread(sys.stdin.readline):
        try:
            reason = await _session(refusing if word.strip() == REFUSE else config, clock, observe)
        except V2GError as error:
            reason = type(error).__name__
        await asyncio.sleep(HAND_S if reason == "finished" else FAILED_S)
        sys.stdout.write(f"{reason}\n")
        sys.stdout.flush()
    observe.close()


async def _session(config: EvccConfig, clock: Clock, observe: EventLog) -> str:
    """Arrive, run one session, and leave: sessions share no state."""
    assert config.link.medium is not None
    async with contextlib.AsyncExitStack() as stack:
        medium = await FolderMedium.attach(config.link.medium, config.link.name)
        stack.callback(medium.close)
        wires = Wires(VehicleDcLine(medium), SimulatedVehiclePilot(medium), medium)
        stack.callback(observe, Observe("link", "unplugged"))
        stack.callback(wires.pilot.unplug)
        simulated = SimulatedVehicle(config.battery, line=wires.line, pilot=wires.pilot, clock=clock)
        hardware = SafetyChannel(simulated, safe_rating(config), clock, observe)
        stack.push_async_callback(hardware.close)
        driver = Driver((), clock)
        stack.callback(driver.close)
        disk = DiskThread()
        stack.push_async_callback(disk.close)
        checkpoints = CheckpointStore(None, disk, observe, lambda _copy: None)
        vehicle = Vehicle(config, clock, observe, hardware, wires, driver, checkpoints)
        reason = await vehicle.drive(lambda stream, _key: stream)
        await asyncio.sleep(HAND_S)
        return reason


if __name__ == "__main__":
    typer.run(main)
