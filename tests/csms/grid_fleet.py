"""Simulated stations in a process of their own, with a bidirectional vehicle at each: what they really draw is written.

Some have hardware that ignores limits although the station accepts them. `python -m tests.csms.grid_fleet FLEET.json`
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.kernel.kernel import StationCommand
from v2g_station.simulator.behaviour import Behaviour, SimulatedSite
from v2g_station.simulator.fleet import SimulatedStation, Simulator, StationFleet

EVERY_S = 0.1


def ignore_limits(site: SimulatedSite) -> None:
    """Let the hardware of a station ignore what limits its power."""
    obeying = site.command

    def carry_out(command: StationCommand, now_ms: int) -> Iterator[Fact]:
        return iter(()) if isinstance(command, ProfileLimits) else obeying(command, now_ms)

    site.command = carry_out  # type: ignore[method-assign]


async def charge(station: SimulatedStation) -> None:
    """Plug in a vehicle once the station is known, and identify its driver."""
    await station.runner.online.wait()
    station.do("vehicle 1 dynamic")
    station.do("present 1 CA4D0001")


async def write(simulator: Simulator, path: Path) -> None:
    """Write the power of each station, for ever."""
    with path.open("w") as file:
        while True:
            powers = {each.identity: each.site.bays[1].power_w for each in simulator.stations}
            file.write(json.dumps({"at": time.monotonic(), "powers": powers}) + "\n")
            file.flush()
            await asyncio.sleep(EVERY_S)


async def main(given: dict[str, Any]) -> None:
    """Run the stations until the process is killed."""
    behaviour = Behaviour(
        arrivals_per_hour=0, faults_per_day=0, bidirectional=1.0, battery_kwh=(4000.0, 4000.0),
        vehicle_kw=(given["kw"], given["kw"]), phases=given["phases"], offline_per_day=given["offline_per_day"],
        offline_minutes=(1.0, 2.0),
    )  # fmt: skip
    simulator = Simulator(
        StationFleet(
            url=given["url"],
            count=given["count"],
            prefix=given["prefix"],
            evses=1,
            versions=("2.1",),
            password=given["password"],
            speed=given["speed"],
            behaviour=behaviour,
        )
    )
    for each in simulator.stations:
        if each.identity in given["ignores_limits"]:
            ignore_limits(each.site)
    async with asyncio.TaskGroup() as group:
        group.create_task(simulator.run(None))
        group.create_task(write(simulator, Path(given["powers"])))
        for each in simulator.stations:
            group.create_task(charge(each))


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
