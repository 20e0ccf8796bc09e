"""Our vehicle for `benchmarks.warm`: one session for each line of standard input, which says how many charge loops.

Run as `python -m benchmarks.load.repeated_vehicle PLAN`; after each session it prints how that ended.
"""

import asyncio
import sys
from pathlib import Path

import msgspec

from benchmarks.load.charging_vehicles import Fleet, Plan
from evcc.session.ports import StopRequested
from v2g.io.runtime.program import keep_responsive


class LoopCounter(Fleet):
    """Vehicles that come one after the other; each leaves after its charge loops."""

    left = 0
    enough = asyncio.Event()

    def note(self, name: str, milliseconds: float) -> None:
        """Count the responses of charge loops."""
        if name == "DC_ChargeLoopReq":
            self.left -= 1
            if self.left <= 0:
                self.enough.set()

    async def session(self, port: int, loops: int) -> str:
        """Run one session; return how it ended."""
        self.left, self.enough = loops, asyncio.Event()
        vehicle = await self.arrive(port, "20", lambda _: None)
        enough = asyncio.create_task(self.enough.wait())
        await asyncio.wait((enough, vehicle.running), return_when=asyncio.FIRST_COMPLETED)
        enough.cancel()
        vehicle.runner.fact(StopRequested("benchmark"))
        return await vehicle.running


async def main() -> None:
    """Serve the input."""
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    keep_responsive()
    fleet = LoopCounter(plan)
    while line := await asyncio.to_thread(sys.stdin.readline):
        ended = await fleet.session(plan.ports[0], int(line))
        sys.stdout.write(ended + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
