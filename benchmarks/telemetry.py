"""Telemetry: from CAN frames to the outgoing record, into the outbox, and into the back end."""

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from cantools.database.can import Database

from benchmarks.figures import Figure, median, microseconds, percentile
from csms.db.queries import telemetry as rows
from csms.db.store import open_sqlite
from csms.domain.diagnostics.telemetry import read_delivery
from evcc.gateway import BATTERY_SIGNALS
from evcc.hardware.ecu import BatteryEcu, BatterySnapshot, battery_dbc
from v2g.io.can import CanConfig
from v2g.io.storage.outbox import Outbox
from v2g.telemetry.batch import Batcher
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.mapping import CanMapping
from v2g.telemetry.signals import Record, encode_record

ABOUT = "CAN frames to signals to an encoded record, outbox, ingest"
REQUIREMENTS = ("R68", "R110")

BATCH = 100

SNAPSHOT = BatterySnapshot(
    voltage_v=365.5,
    current_a=-27.3,
    soc_percent=71.2,
    soh_percent=100.0,
    temperature_min=24.5,
    temperature_max=25.5,
    coolant_temperature=23.0,
    cell_voltage_min=3.803,
    cell_voltage_max=3.811,
    cell_voltage_mean=3.807,
    charged_wh=16_653,
    discharged_wh=3_802,
    contactor_closed=True,
    power_request_w=-9_994,
    charging_power_w=-9_994,
    motor_rpm=0,
    ambient_temperature=18.5,
    context="discharging",
)


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield decoding, delta and batch, and encoding."""
    calls = 20 if quick else 2000
    frames = BatteryEcu(CanConfig(), lambda: SNAPSHOT).frames(SNAPSHOT)
    mapping = CanMapping(battery_dbc(), BATTERY_SIGNALS)
    database = Database()
    database.add_dbc_string(battery_dbc())

    def decode() -> None:
        for frame_id, data in frames:
            mapping.decode(frame_id, data)

    def decode_only() -> None:
        for frame_id, data in frames:
            database.decode_message(frame_id, data)

    yield Figure(
        name="telemetry",
        figure=f"{len(frames)} CAN frames to signals",
        unit="µs",
        value=median(microseconds(decode, calls=calls)),
        peer="cantools",
        peer_value=median(microseconds(decode_only, calls=calls)),
        note="p50; ours is cantools, renaming, range checks and rounding to the signal's step",
    )
    batcher = Batcher("ev-7f3a", 1, keyframe_every=1)
    values: dict[str, float] = {}
    for frame_id, data in frames:
        mapped = mapping.decode(frame_id, data)
        assert mapped is not None
        values |= mapped.values
    now = 0.0

    def batch() -> None:
        nonlocal now
        now += 1.0
        batcher.offer(values | {"battery.soc": now % 100}, now, int(now * 1000), "discharging")
        record = batcher.flush(now)
        assert record is not None
        encode_record(record)

    batcher.offer(values, now, 0, "discharging")
    record = batcher.flush(now)
    assert record is not None
    plain = msgspec.to_builtins(record)
    size = len(encode_record(record))
    yield Figure(
        name="telemetry",
        figure=f"{len(values)} signals to a record by delta and batch",
        unit="µs",
        value=median(microseconds(batch, calls=calls)),
        note=f"p50; a keyframe of {size} octets, encoded",
    )
    yield Figure(
        name="telemetry",
        figure=f"encode a record of {size} octets",
        unit="µs",
        value=median(microseconds(lambda: encode_record(record), calls=calls)),
        peer="json of the standard library",
        peer_value=median(microseconds(lambda: json.dumps(plain, sort_keys=True).encode(), calls=calls)),
        note="p50",
    )
    yield from _at_rest(record, 20 if quick else 1000)


def _at_rest(record: Record, calls: int) -> Iterator[Figure]:
    """Yield the cost until a record is durable, at the gateway and at the back end."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # on disk, not in memory
        held, spans = asyncio.run(_outbox(Path(folder), encode_record(record), calls))
        note = f"p99; time until durable {median(spans):.0f} p50, {percentile(spans, 0.99):.0f} p99"
        figure = "a record into the outbox holds the event loop for"
        yield Figure(name="telemetry", figure=figure, unit="µs", value=percentile(held, 0.99), note=note)
        store = open_sqlite(Path(folder) / "csms.sqlite3")
        spans = []
        for number in range(max(3, calls // 100)):
            first = number * BATCH + 1
            records = (msgspec.structs.replace(record, seq=first + each) for each in range(BATCH))
            body = encode_delivery(map(encode_record, records))
            begin = time.perf_counter()
            store.do(rows.store, [rows.Arrival(read_delivery(body), 0)])
            spans.append((time.perf_counter() - begin) / BATCH * 1e6)
        store.close()
        note = f"p50, in deliveries of {BATCH}: {1e6 / median(spans):,.0f} records/s, durable in SQLite"
        yield Figure(name="telemetry", figure="a record through the ingest", unit="µs", value=median(spans), note=note)


async def _outbox(folder: Path, body: bytes, calls: int) -> tuple[list[float], list[float]]:
    """Return how long storing each record blocked the event loop, and how long it took (µs)."""
    box = await Outbox.open(folder / "outbox.db", "ev-7f3a", 1)
    held, spans = [], []
    for seq in range(1, calls + 1):
        begin = time.perf_counter()
        putting = asyncio.ensure_future(box.put(seq, body))
        await asyncio.sleep(0)
        held.append((time.perf_counter() - begin) * 1e6)
        await putting
        spans.append((time.perf_counter() - begin) * 1e6)
    await box.close()
    return held, spans
