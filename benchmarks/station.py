"""The charging station: idle cost, flash writes, time to register, and rate of emptying its queue.

Memory and CPU time are measured in separate processes; the CSMS is a small server that answers every request with the
minimum of its schema.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Figure
from v2g.io.runtime.supervision import cancel_tasks

ABOUT = "idle cost, flash writes, boot, queue, simulated stations"
REQUIREMENTS = ("R168",)

ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "BootNotification": {"currentTime": "2026-01-01T00:00:00Z", "interval": 3600, "status": "Accepted"},
    "Heartbeat": {"currentTime": "2026-01-01T00:00:00Z"},
    "Authorize": {"idTokenInfo": {"status": "Accepted"}, "allowedEnergyTransfer": ["DC", "DC_BPT"]},
    "DataTransfer": {"status": "Accepted"},
}


async def _serve(connection: Any) -> None:
    from websockets.exceptions import ConnectionClosed

    try:
        async for text in connection:
            frame = json.loads(text)
            if frame[0] == 2:
                await connection.send(json.dumps([3, frame[1], ANSWERS.get(frame[2], {})]))
    except ConnectionClosed:
        return


async def _csms() -> tuple[Any, int]:
    from websockets.asyncio.server import serve
    from websockets.typing import Subprotocol

    server = await serve(_serve, "127.0.0.1", 0, subprotocols=[Subprotocol("ocpp2.1")], compression=None)
    return server, next(iter(server.sockets)).getsockname()[1]


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield all figures."""
    yield from asyncio.run(_over_sockets(quick=quick))
    idle, charging = _writes(charging=False), _writes(charging=True)
    yield Figure(
        "forced flash writes a day, two EVSEs charging all day, one reading a minute",
        charging,
        "writes",
        note=f"{idle} when idle",
    )


async def _over_sockets(*, quick: bool) -> list[Figure]:
    server, port = await _csms()
    seconds = 3.0 if quick else 20.0
    count = 20 if quick else 1000
    try:
        one = await _child(port, 1, seconds)
        none = await _child(port, 0, 1.0)
        many = await _child(port, count, seconds)
        boot, rate = await _queue(port, 200 if quick else 5000)
    finally:
        server.close()
    return [
        Figure("processor, idle, 2 EVSEs", one["cpu_s"] / one["wall_s"] * 100, "% of a core", target=1.0),
        Figure("memory, idle, 2 EVSEs", one["rss"] / 2**20, "MiB", target=60.0),
        Figure("boot to Accepted, loopback", boot * 1000, "ms"),
        Figure(
            "a queued transaction event delivered",
            1e6 / rate,
            "µs",
            note=f"{rate:.0f} a second, stored and acknowledged one by one",
        ),
        Figure(f"memory of each of {count} simulated stations", (many["rss"] - none["rss"]) / count / 1024, "KiB"),
        Figure(f"processor of {count} simulated stations, idle", many["cpu_s"] / many["wall_s"] * 100, "% of a core"),
    ]


async def _child(port: int, count: int, seconds: float) -> dict[str, float]:
    """Run a fleet in a separate process; return its resources once all stations are online."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.station", str(port), str(count), str(seconds),
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    out, _ = await process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "benchmarks.station")
    found: dict[str, float] = json.loads(out)
    return found


async def _fleet(port: int, count: int, seconds: float) -> dict[str, float]:
    from v2g_station.simulator.behaviour import Behaviour
    from v2g_station.simulator.fleet import Simulator, StationFleet

    quiet = Behaviour(arrivals_per_hour=0, offline_per_day=0)
    simulator = Simulator(
        StationFleet(url=f"ws://127.0.0.1:{port}/ocpp", count=max(1, count), behaviour=quiet, ramp_per_s=200)
    )
    if count == 0:
        return {"rss": _rss(), "cpu_s": 0.0, "wall_s": 1.0}
    running = asyncio.create_task(simulator.run(None))
    while not all(station.runner.online.is_set() for station in simulator.stations):
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    found = {"rss": _rss(), "cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    await cancel_tasks(running)
    return found


def _rss() -> float:
    text = Path("/proc/self/status").read_text()
    return float(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


async def _queue(port: int, events: int) -> tuple[float, float]:
    """Return the time of registering (s), and the rate of delivering queued events (1/s)."""
    import os
    import tempfile

    from secc.station.station import ChargerStation, MeterSample, StationConfig
    from tests.station.no_charger import NoCharger
    from v2g.io.runtime.clock import Clock

    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        config = StationConfig(url=f"ws://127.0.0.1:{port}/ocpp", identity="BENCH", store=Path(folder) / "s.sqlite3")
        station = ChargerStation(config, clock=Clock(), entropy=os.urandom, observe=lambda _: None, charger=NoCharger())
        station.started("a", "EMAID1")
        for number in range(events):
            sample = MeterSample(utc_ms=number, import_mwh=number, export_mwh=0, power_w=11_000)
            station.updated("a", trigger="MeterValuePeriodic", sample=sample)
        begin = time.perf_counter()
        running = asyncio.create_task(station.run())
        await station.online.wait()
        boot = time.perf_counter() - begin
        begin = time.perf_counter()
        await station.drain(600)
        rate = events / (time.perf_counter() - begin)
        await cancel_tasks(running)
        await station.close()
    return boot, rate


def _writes(*, charging: bool) -> int:
    """Return how often a station forces its memory to the disk in a day, by the core and an accelerated clock."""
    from tests.station.bench import Bench

    bench = Bench("2.1")
    if charging:
        for evse_id in (1, 2):
            bench.plug(evse_id)
            bench.present(f"TAG-{evse_id}", evse_id)
            bench.flow(evse_id=evse_id)
    before = bench.writes
    bench.wait(86_400)
    return bench.writes - before


if __name__ == "__main__":
    _port, _count, _seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    sys.stdout.write(json.dumps(asyncio.run(_fleet(_port, _count, _seconds))))
