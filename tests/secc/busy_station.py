"""A station in a process of its own that reports events as fast as it can, to be killed.

Run as `python -m tests.secc.busy_station STORE PORT`. Prints `open ID` and then each sequence number once the event
is on disk.
"""

import asyncio
import os
import sys
from pathlib import Path

from secc.station import Hooks, MeterSample, Station, StationConfig
from v2g.net.clock import Clock


def tell(line: str) -> None:
    """Tell the test at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(store: str, port: str) -> None:
    """Report until killed."""
    config = StationConfig(
        url=f"ws://127.0.0.1:{port}/ocpp", identity="CS-V2G-0001", store=Path(store), retry_minimum=0.01
    )
    station = Station(
        config, clock=Clock(), entropy=os.urandom, observe=lambda _: None, hooks=Hooks(), boot_id="boot-1"
    )
    station.recover()
    run = asyncio.create_task(station.run())
    reference = os.urandom(8).hex()
    tell(f"open {station.started(reference, 'EMAID1')}")
    for number in range(1, 1_000_000):
        sample = MeterSample(utc_ms=number, import_mwh=number, export_mwh=0)
        station.updated(reference, trigger="MeterValuePeriodic", sample=sample)
        station.journal(reference, f"{reference} {number}")
        tell(str(number))
        await asyncio.sleep(0)
    await run


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
