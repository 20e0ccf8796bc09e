"""A thousand simulated stations with a bidirectional vehicle each, run by `benchmarks.grid`.

Run as `python -m benchmarks.load.grid_stations PLAN`. It prints a line once every vehicle is in its transaction; at the
end of standard input it prints one JSON record: when each station had which set-point in force.
"""

import asyncio
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from v2g.io.runtime.program import keep_responsive
from v2g.io.runtime.supervision import cancel_tasks
from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.kernel.kernel import StationCommand
from v2g_station.simulator.behaviour import Behaviour, SimulatedSite
from v2g_station.simulator.fleet import Simulator, StationFleet

POWER_W = 11_000
TOKENS = 10
ARRIVE_PER_HOUR = 3600.0
"""All vehicles arrive within two seconds, and stay."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters: where `count` stations connect, with which password, and the root of the back end's certificate."""

    url: str
    count: int
    password: str
    ca: str


def identities(count: int) -> tuple[str, ...]:
    """Return the identities of so many stations."""
    return StationFleet(url="", count=count).identities


class Arrival(msgspec.Struct, frozen=True, array_like=True):
    """A station (by its number) has a set-point in force, W, at a time (CLOCK_MONOTONIC, s)."""

    station: int
    setpoint_w: int
    at: float


class Watched:
    """A station's hardware that notes when a command arrives at it."""

    def __init__(self, number: int, site: SimulatedSite, arrivals: list[Arrival]) -> None:
        self._number, self._command, self._arrivals = number, site.command, arrivals

    def __call__(self, command: StationCommand, now_ms: int) -> Iterator[Fact]:
        """Carry out a command, as the site does."""
        if isinstance(command, ProfileLimits) and command.setpoint_w is not None:
            self._arrivals.append(Arrival(self._number, round(command.setpoint_w), time.monotonic()))
        return self._command(command, now_ms)


async def main() -> None:
    """Run the plan of the command line."""
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    behaviour = Behaviour(
        arrivals_per_hour=ARRIVE_PER_HOUR,
        vehicle_kw=(POWER_W / 1000, POWER_W / 1000),
        bidirectional=1.0,
        stay_hours=(10.0, 10.0),
        authorize_first=0.0,
        plug_and_charge=0.0,
        tokens=TOKENS,
        offline_per_day=0,
        faults_per_day=0,
    )
    fleet = StationFleet(
        url=plan.url,
        count=plan.count,
        evses=1,
        power_kw=POWER_W / 1000,
        versions=("2.1",),
        password=plan.password,
        ramp_per_s=100,
        behaviour=behaviour,
    )
    context = ssl.create_default_context(cafile=plan.ca) if plan.url.startswith("wss:") else None
    simulator = Simulator(fleet, lambda _: context)
    arrivals: list[Arrival] = []
    for number, station in enumerate(simulator.stations):
        station.site.command = Watched(number, station.site, arrivals)  # type: ignore[method-assign]
    running = asyncio.create_task(simulator.run(None))
    while sum(bay.phase == "charging" for each in simulator.stations for bay in each.site.bays.values()) < plan.count:
        if running.done():
            await running
        await asyncio.sleep(0.2)
    while any(len(each.runner.core.outbox) for each in simulator.stations):  # they still report their device model
        await asyncio.sleep(0.2)
    keep_responsive()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await cancel_tasks(running)
    sys.stdout.buffer.write(msgspec.json.encode(arrivals))


if __name__ == "__main__":
    asyncio.run(main())
