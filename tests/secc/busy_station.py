"""A station in a process of its own that reports events as fast as it can, to be killed.

Run as `python -m tests.secc.busy_station STORE PORT`. Prints `open ID` and then each sequence number once the event
is on disk. `come_and_go` has many short transactions, and may be run in a fork.
"""

import asyncio
import itertools
import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from secc.station.station import ChargerStation, MeterSample, StationConfig
from tests.station.no_charger import NoCharger
from v2g.io.runtime.clock import Clock


def notify(line: str) -> None:
    """Tell the test at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def make(store: Path, port: int) -> ChargerStation:
    """Return a station that has ended what was open."""
    config = StationConfig(url=f"ws://127.0.0.1:{port}/ocpp", identity="CS-V2G-0001", store=store, retry_minimum=0.01)
    station = ChargerStation(
        config, clock=Clock(), entropy=os.urandom, observe=lambda _: None, charger=NoCharger(), boot_id="boot-1"
    )
    station.recover()
    return station


async def kept(station: ChargerStation) -> None:
    """Return when what was just reported is on the disk."""
    assert station.saving is not None
    await station.saving


def come_and_go(store: Path, port: int, reported: Connection) -> None:
    """Begin and end transactions until killed; tell the id and number of each event that is on disk."""
    asyncio.run(_come_and_go(store, port, reported))


async def _come_and_go(store: Path, port: int, reported: Connection) -> None:
    station = make(store, port)
    run = asyncio.create_task(station.run())
    for length in itertools.cycle((0, 3, 11)):
        reference = os.urandom(8).hex()
        identifier = station.started(reference, "EMAID1")
        await kept(station)
        reported.send((identifier, 0))
        for number in range(1, length + 1):
            station.updated(reference, trigger="MeterValuePeriodic")
            await kept(station)
            reported.send((identifier, number))
            await asyncio.sleep(0.001)
        station.ended(reference, trigger="StopAuthorized", reason="Local")
        await kept(station)
        reported.send((identifier, length + 1))
        await asyncio.sleep(0.001)
    await run


async def main(store: str, port: str) -> None:
    """Report until killed."""
    station = make(Path(store), int(port))
    run = asyncio.create_task(station.run())
    reference = os.urandom(8).hex()
    transaction = station.started(reference, "EMAID1")
    await kept(station)
    notify(f"open {transaction}")
    for number in range(1, 1_000_000):
        sample = MeterSample(utc_ms=number, import_mwh=number, export_mwh=0)
        station.updated(reference, trigger="MeterValuePeriodic", sample=sample)
        station.journal(reference, f"{reference} {number}")
        await kept(station)
        notify(str(number))
        await asyncio.sleep(0)
    await run


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
