"""A charger serves vehicles for a week of simulated time: memory, files, descriptors and threads stay what they are.

Everything of the program works but sockets, TLS and the back end: sessions, hardware shell, journal, evidence and its
retention, events, traces. Disk work is done where it is asked for, so that the time waits for it.
"""

import asyncio
import gc
import logging
import os
import random
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytest

from benchmarks.load.charging_vehicles import BATTERY, StillVehicle
from evcc.session.contracts import Contract
from evcc.session.d20.session import VehicleSession
from evcc.session.edition import Connection
from evcc.session.ports import StopRequested
from evcc.session.settings import SessionConfig, TimingConfig
from pki_tools.tree import PkiTree
from secc.charger import Charger
from tests.secc.bench_program import BENCH, SIGNAL, made
from tests.virtual_time import in_simulated_time
from v2g.io.runtime.clock import Clock, ClockConfig, wall_ns
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.runner import Runner
from v2g_testkit.memory_stream import MemoryStream

HOUR_S = 3600.0
SAMPLES = 24
LOOP_S = 0.9
"""Between two charge loops: rarely, but not so rarely that the charger gives the vehicle up."""

CONFIG = f"""{BENCH}
[hardware.simulated]
report_s = 1.0
[hardware.watch]
hung_s = 60
[site]
contracts = ["DEV2GC00000001"]
signal_file = "grid.json"
[retention]
all_days = 1
[log]
events = "events.jsonl"
trace = "trace.jsonl"
max_mib = 1
trace_max_mib = 1
keep = 1
"""

LOGS_KIB = 4 * 1024 + 64
"""Two files of events, two of traces, and the little rest."""

SESSION_BYTES = 1024
"""What a session may add to the memory."""

CACHES_BYTES = 512 * 1024
"""What bounded caches of messages, certificates and signatures may add: when they fill depends on the vehicles."""


class Sample(NamedTuple):
    """What the process and its folder hold between two sessions: bytes allocated by Python, what is open and running,
    files without evidence, KiB of them, bundles of evidence."""

    allocated: float
    descriptors: float
    threads: float
    tasks: float
    files: float
    kib: float
    bundles: float


class Visitors:
    """Vehicles that come one after the other. `ended_at` is when (s), `ends` how the session of each ended."""

    def __init__(self, charger: Charger, pki: PkiTree, folder: Path, clock: Clock) -> None:
        (self._controller,) = charger.controllers
        self._charger, self._pki, self._folder, self._clock = charger, pki, folder, clock
        self._chance = random.Random(7)
        self._made_at: dict[Path, float] = {}
        self.samples: list[Sample] = []
        self.ends: list[str] = []
        self.ended_at: list[float] = []

    async def come(self, hours: int) -> None:
        """Let so many hours pass, and take SAMPLES in them."""
        retention = asyncio.create_task(self._charger.retention().run())
        loop = asyncio.get_running_loop()
        end, due = loop.time() + hours * HOUR_S, loop.time()
        while loop.time() < end:
            await self._visit()
            await asyncio.sleep(self._chance.uniform(120, 900))
            if loop.time() >= due:
                due += hours * HOUR_S / SAMPLES
                self.samples.append(self._sample())
        retention.cancel()

    async def _visit(self) -> None:
        """Serve a vehicle that stops, vanishes, or sends garbage."""
        ours, theirs = MemoryStream.pair(self._pki.chain("vehicle")[0])
        ours.own, ours.peer_name = self._controller.owner.chargers[0], "vehicle"
        hardware = StillVehicle(self._clock)
        session = VehicleSession(
            SessionConfig(timing=TimingConfig(loop_pause_s=LOOP_S)),
            Connection(
                battery=BATTERY,
                secc_certificate=self._pki.chain("secc")[0],
                entropy=os.urandom,
                contracts=(Contract(self._pki.chain("contract"), self._pki.key("contract")),),
            ),
        )
        vehicle = Runner(session, theirs, execute=hardware.execute, clock=self._clock, observe=lambda _: None)
        hardware.tell = vehicle.fact
        serving = asyncio.create_task(self._controller.vehicle(ours, lambda stream: stream))  # type: ignore[arg-type]
        reporting = asyncio.create_task(hardware.report(self._clock))
        running = asyncio.create_task(vehicle.run())
        await asyncio.wait([running], timeout=self._chance.uniform(5, 30))
        match self._chance.choice(("stops", "stops", "vanishes", "garbage")):
            case "stops":
                vehicle.fact(StopRequested("driver"))
            case "vanishes":
                await theirs.close()
            case "garbage":
                await theirs.write(self._chance.randbytes(200))
        self.ends.append(await running)
        self.ended_at.append(asyncio.get_running_loop().time())
        reporting.cancel()
        await serving
        await self._controller.settled()
        now, wall_s = asyncio.get_running_loop().time(), wall_ns() / 1e9
        for bundle in self._bundles():  # their file system goes by its own time
            age_s = now - self._made_at.setdefault(bundle, now)
            os.utime(bundle, (wall_s - age_s,) * 2)

    def _bundles(self) -> list[Path]:
        return list(self._controller.archive.settlements.iterdir())

    def _sample(self) -> Sample:
        gc.collect()
        bundles = self._controller.archive.settlements
        files = [each for each in self._folder.rglob("*") if each.is_file() and bundles not in each.parents]
        return Sample(
            tracemalloc.get_traced_memory()[0],
            len(list(Path("/proc/self/fd").iterdir())),
            # asyncio's pool, which is bounded, begins a thread whenever all of its others are busy
            sum(not each.name.startswith("asyncio_") for each in threading.enumerate()),
            len(asyncio.all_tasks()),
            len(files),
            sum(each.stat().st_size for each in files) // 1024,
            len(self._bundles()),
        )


class PromptDisk:
    """Does at once what DiskThread does in a thread: simulated time does not wait for threads."""

    def do(self, work: Callable[[], object], then: Callable[[], Any]) -> "asyncio.Future[Any]":
        """See DiskThread."""
        future = asyncio.get_running_loop().create_future()
        try:
            work()
            future.set_result(then())
        except Exception as error:  # noqa: BLE001 - the future's
            future.set_exception(error)
        return future


def visited(pki: PkiTree, folder: Path, monkeypatch: pytest.MonkeyPatch, hours: int) -> Visitors:
    """Return the vehicles of so many hours, and what was left of them."""
    monkeypatch.setattr(DiskThread, "do", PromptDisk.do)
    (folder / "grid.json").write_text(SIGNAL)

    async def run() -> Visitors:
        clock = Clock(
            ClockConfig(origin_monotonic=asyncio.get_running_loop().time(), origin_utc_ms=wall_ns() // 1_000_000)
        )
        async with made(folder, pki, CONFIG, clock=clock) as charger:
            visitors = Visitors(charger, pki, folder, clock)
            await visitors.come(hours)
            return visitors

    before = logging.root.manager.disable
    logging.disable(logging.INFO)  # pytest keeps what is logged
    tracemalloc.start()
    try:
        return in_simulated_time(run())
    finally:
        tracemalloc.stop()
        logging.disable(before)


@pytest.mark.requirement("R168")
@pytest.mark.parametrize(
    "hours",
    [pytest.param(2, marks=pytest.mark.long), pytest.param(7 * 24, marks=[pytest.mark.long, pytest.mark.hours])],
)
def test_nothing_grows(pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """Evidence of a day stays (`retention.all_days`), logs as much as they may, all else what it is."""
    visitors = visited(pki, tmp_path, monkeypatch, hours)
    assert {"finished", "secc_vanished"} <= set(visitors.ends)
    warm = visitors.samples[len(visitors.samples) // 4 :]
    early, late = warm[: len(warm) // 2], warm[len(warm) // 2 :]
    before, after = (Sample(*(median(each) for each in zip(*part, strict=True))) for part in (early, late))
    assert after.allocated - before.allocated <= CACHES_BYTES + SESSION_BYTES * len(visitors.ends)
    assert (after.descriptors, after.threads, after.tasks) == (before.descriptors, before.threads, before.tasks)
    assert max(each.kib for each in warm) <= LOGS_KIB
    assert after.files - before.files <= 2  # the full files of events and traces
    day_s = 25 * HOUR_S  # retention looks once an hour
    assert after.bundles <= max(sum(at - day_s < each <= at for each in visitors.ended_at) for at in visitors.ended_at)
