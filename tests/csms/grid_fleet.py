"""Simulated stations in a process of their own, with a bidirectional vehicle at each: what they really draw is written.

Some have hardware that ignores limits although the station accepts them, or refuse low ones.
`python -m tests.csms.grid_fleet FLEET.json`
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.smart_charging import SetChargingProfileResponse
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


def refuse_below(station: SimulatedStation, least_w: float) -> None:
    """Let a station refuse limits below so much."""
    table = station.runner.core.table
    take = table["SetChargingProfile"]

    def answer(request: Any) -> Any:
        (period,) = request.charging_profile.charging_schedule[0].charging_schedule_period[:1]
        if period.limit is not None and period.limit < least_w:
            return SetChargingProfileResponse(status="Rejected")
        return take(request)

    table["SetChargingProfile"] = answer


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
        if each.identity in given["refuses_below"]:
            refuse_below(each, given["refuses_below"][each.identity])
    async with asyncio.TaskGroup() as group:
        group.create_task(simulator.run(None))
        group.create_task(write(simulator, Path(given["powers"])))
        for each in simulator.stations:
            group.create_task(charge(each))


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
