"""Detectors and estimators of batteries: updates a second and core, and the state of a vehicle."""

import asyncio
import itertools
import math
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.figures import Figure, median, microseconds
from csms.batteries.work import BatterySink
from csms.db.store import open_sqlite
from csms.db.store_key import load_store_key
from csms.telemetry import store as rows
from csms.telemetry.rules import StoredRecord, read_delivery
from csms.telemetry.seal import open_seal
from v2g.battery import detectors, health
from v2g.battery.cell import CELLS, CURVES, PackModel
from v2g.battery.sample import Sample
from v2g.io.runtime.clock import Clock
from v2g.telemetry.delivery import MAX_BATCH, encode_delivery
from v2g.telemetry.signals import SCHEMA_4, Record, encode_record

ABOUT = "detectors and estimators of a battery: a sample, a year of a fleet, memory, beside the ingest"
PACK = PackModel("nmc", 150.0, 96)
SETTINGS = detectors.DetectorSettings(health=health.HealthSettings(pack=PACK))


VEHICLES: Final = 1000
YEAR: Final = 35_040
"""Quarter hours."""


def samples(step_s: int = 1) -> Iterator[Sample]:
    """Yield a pack that is charged and discharged in turn, every so many seconds."""
    soc, cell, curve = 0.5, CELLS[PACK.chemistry], CURVES[PACK.chemistry]
    for second in itertools.count(0, step_s):
        rate = 0.3 * math.sin(second / 600) + 0.2 * (second // 30 % 2)
        soc = min(0.95, max(0.05, soc + rate * min(step_s, 60) / 3600))
        cell_v = curve.open_v(soc) + rate * (cell.r0 + cell.r1 + cell.r2)
        values = {
            "battery.current": rate * PACK.capacity_ah,
            "battery.voltage": PACK.cells * cell_v,
            "battery.soh": 98.0,
            "battery.temperature.min": 24.0,
            "battery.temperature.max": 26.0,
            "battery.temperature.coolant": 23.0,
            "battery.cell_voltage.min": cell_v - 0.004,
            "battery.cell_voltage.max": cell_v + 0.004,
            "battery.cell_voltage.mean": cell_v,
            "battery.cell_voltage.imbalance": 0.008,
        }
        yield Sample(second * 1000, values)


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield the time of a sample for each place, and the size of a state."""
    calls = 500 if quick else 20_000
    for place, which in (("back end", detectors.BACK_END), ("edge", detectors.EDGE)):
        state, feed = detectors.DetectorState(), samples()

        def take(which: frozenset[str] = which, feed: Iterator[Sample] = feed) -> None:
            nonlocal state
            state, _ = detectors.step(SETTINGS, state, next(feed), which)

        spans = median(microseconds(take, calls=calls))
        document = msgspec.json.encode(state)
        yield Figure(
            f"a sample, all detectors of the {place}",
            spans,
            "us",
            note=f"{1_000_000 / spans:,.0f} samples a second and core; {', '.join(sorted(which))}",
        )
        yield Figure(
            f"state of a vehicle, {place}",
            len(document) / 1000,
            "kB",
            note=f"as JSON, which is also how it is stored; {_memory_kb(document):.1f} kB in memory",
        )
    yield _year(500 if quick else YEAR)
    yield asyncio.run(_beside_ingest(1 if quick else 10))


def _memory_kb(document: bytes, count: int = 200) -> float:
    """Return what a state takes in memory, kB."""
    tracemalloc.start()
    states = [msgspec.json.decode(document, type=detectors.DetectorState) for _ in range(count)]
    used = tracemalloc.get_traced_memory()[0] / len(states) / 1000
    tracemalloc.stop()
    return used


def _year(count: int) -> Figure:
    """Return the time of a fleet's simulated year, from `count` quarter hours of one vehicle."""
    state, begin = detectors.DetectorState(), time.process_time()
    for sample in itertools.islice(samples(900), count):
        state, _ = detectors.step(SETTINGS, state, sample)
    spent_s = (time.process_time() - begin) * YEAR / count
    return Figure(
        f"a year of {VEHICLES:,} vehicles, a sample each quarter of an hour",
        spent_s * VEHICLES / 60,
        "min",
        note=f"on one core, from {count:,} samples of one vehicle: {spent_s:.1f} s of CPU a vehicle and year",
    )


async def _beside_ingest(number: int) -> Figure:
    """Return the CPU of a record through the detectors behind the feeder, beside that of its ingest."""
    taken = list(itertools.islice(samples(), number * MAX_BATCH // 4))
    records = [
        Record(
            "EV-1", 1, seq, each.at_ms, "charging", keyframe=False, signals=dict(sorted(each.values.items())),
            schema=SCHEMA_4, trip="1-0", ambient_c=None, charging_w=None,
        )
        for seq, each in enumerate(taken, 1)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # on disk, not in memory
        store = open_sqlite(Path(folder) / "csms.sqlite3")
        await open_seal(store, load_store_key(None, Path(folder)), 0, 30, sealing=True)
        bodies = [encode_record(each) for each in records]
        begin = time.process_time()
        for first in range(0, len(bodies), MAX_BATCH // 4):
            body = encode_delivery(bodies[first : first + MAX_BATCH // 4])
            await store.run(rows.store, [rows.Arrival(read_delivery(body), 0)])
        ingest = (time.process_time() - begin) / len(bodies) * 1e6
        sink = BatterySink(store, Clock(), SETTINGS, lambda: None)
        stored = [
            StoredRecord("EV-1", 1, each.seq, each.utc_ms, "charging", sample.values, body)
            for each, sample, body in zip(records, taken, bodies, strict=True)
        ]
        begin = time.process_time()
        for first in range(0, len(stored), MAX_BATCH // 4):
            await sink.write(stored[first : first + MAX_BATCH // 4])
        spent = (time.process_time() - begin) / len(stored) * 1e6
        store.close()
    return Figure(
        "CPU of a record through the detectors behind the feeder, state and findings durable",
        spent,
        "us",
        target=0.2 * ingest,
        peer="its ingest, with all of its signals",
        peer_value=ingest,
        note=f"together {1e6 / (spent + ingest):,.0f} records a second and core; alone {1e6 / ingest:,.0f}",
    )
