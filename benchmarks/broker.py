"""What the telemetry broker needs for a fleet: memory for each vehicle's connection, processor time for each message.

mosquitto as docs/how-to/set-up-a-telemetry-broker.md sets it up (TLS 1.3, client certificates), with vehicles that
publish batches, and a reader. The figures of a whole fleet are extrapolated from these.
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.figures import Figure
from benchmarks.uplink import update
from pki_tools.tree import PkiTree, make_pki
from tests.telemetry.brokers import access
from v2g.io.mqtt.client import MqttClient
from v2g.telemetry.delivery import TOPIC_PREFIX, encode_delivery
from v2g.telemetry.registry import shipped
from v2g_cli.demo.broker import Broker, find_mosquitto, start_broker

ABOUT = "what a broker needs for a fleet, and the schemas on its disk"
REQUIREMENTS = ("R164",)

FLEET: Final = 10_000
EVERY_S: Final = 10
"""A vehicle's interval of batches, s, each of 10 records."""
BATCH: Final = 10
BROKER_MIB: Final = 8 * 1024
BROKER_CORES: Final = 4
SCHEMAS_KIB: Final = 100_000


class Used(NamedTuple):
    """What a process has used: peak memory, KiB, and processor time, s."""

    kib: int
    cpu_s: float


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield memory and processor time of the broker, and the size of the schemas."""
    octets = sum(each.stat().st_size for each in shipped().iterdir() if each.is_file())
    yield Figure("schemas on the disk", octets / 1024, "KiB", target=SCHEMAS_KIB)
    program = find_mosquitto()
    if program is None:
        return
    count, batches = (5, 4) if quick else (100, 100)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        pki = make_pki(place / "pki", now=datetime.now(UTC))
        broker = start_broker(program, place / "broker", pki)
        try:
            kib, cpu_s = asyncio.run(_fleet(broker, pki, count, batches))
        finally:
            broker.stop()
    note = f"{kib:.0f} KiB each, of {count} connections"
    yield Figure(
        f"memory for {FLEET:,} vehicles, extrapolated", FLEET * kib / 1024, "MiB", target=BROKER_MIB, note=note
    )
    yield Figure(
        f"processor for {FLEET:,} vehicles with {BATCH} records each {EVERY_S} s, extrapolated",
        FLEET / EVERY_S * cpu_s,
        "cores",
        target=BROKER_CORES,
        note=f"{cpu_s * 1e6:.0f} µs for a message, received, acknowledged and passed to a reader",
    )


async def _fleet(broker: Broker, pki: PkiTree, count: int, batches: int) -> tuple[float, float]:
    """Return KiB of the broker for each connection, and its processor time (s) for each message."""
    received = 0

    def hear(_topic: str, _payload: bytes) -> None:
        nonlocal received
        received += 1

    reader = MqttClient(access(broker, pki, "csms-ingest"), on_message=hear)
    reader.subscribe(f"{TOPIC_PREFIX}/vehicle/+/records")
    reader.start()
    await reader.connected.wait()
    before = _used(broker)
    names = [f"EV-{number}" for number in range(1, count + 1)]
    vehicles = [MqttClient(access(broker, pki, name)) for name in names]
    for each in vehicles:
        each.start()
        await each.connected.wait()
    connected = _used(broker)
    body = encode_delivery([update(1, seq) for seq in range(1, BATCH + 1)])
    for _ in range(batches):
        topics = [f"{TOPIC_PREFIX}/vehicle/{name}/records" for name in names]
        await asyncio.gather(*(each.publish(topic, body) for each, topic in zip(vehicles, topics, strict=True)))
    while received < count * batches:
        await asyncio.sleep(0.01)
    after = _used(broker)
    for each in (*vehicles, reader):
        await each.close()
    return max(1, after.kib - before.kib) / count, (after.cpu_s - connected.cpu_s) / (count * batches)


def _used(broker: Broker) -> Used:
    process = Path("/proc") / str(broker.process.pid)
    peak = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM"))
    user, system = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
    return Used(int(peak.split()[1]), (int(user) + int(system)) / os.sysconf("SC_CLK_TCK"))
