"""Telemetry: from CAN frames to the outgoing record, into the outbox, and into the back end."""

import asyncio
import itertools
import json
import math
import random
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import can
import msgspec
from cantools.database.can import Database

from benchmarks.figures import Figure, median, microseconds, percentile
from csms.accounts.rules import Role
from csms.app import running
from csms.db.store import open_sqlite
from csms.telemetry import store as rows
from csms.telemetry.rules import read_delivery
from evcc.hardware.ecu import BatteryEcu, BatterySnapshot
from pki_tools.tree import make_pki
from tests.csms.support import TOKENS, make_config
from v2g.io.can import CanConfig, CanPort
from v2g.io.mqtt.config import MqttConfig
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import cancel_tasks
from v2g.io.storage.outbox import Outbox
from v2g.observe import Observe
from v2g.telemetry.batch import BURST, Batcher
from v2g.telemetry.columns import encode_compact
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.mapping import CanMapping, normalised
from v2g.telemetry.signals import Record, encode_record
from v2g.telemetry.simulated_battery import BATTERY_SIGNALS, battery_dbc
from v2g_gateway.config import UPLINK_S, CanSource, GatewayConfig
from v2g_gateway.delivery import Cadence
from v2g_gateway.gateway import Gateway
from v2g_gateway.uplink import HttpConfig

ABOUT = "CAN frames to signals to an encoded record, outbox, ingest"
REQUIREMENTS = ("R68", "R73", "R95", "R110", "R210")

BATCH = 100

FRAMES_PER_SECOND = 4000
"""A full bus: frames of 8 octets at 500 kbit/s take 111 bits and more."""

BUS = CanSource(interface="udp_multicast", channel="239.74.163.3", fd=True)
"""Between processes, also where the kernel has no AF_CAN; costs more for each frame than socketcan."""

SENDER = """
import sys, time, can
bus = can.Bus(interface="udp_multicast", channel=sys.argv[1], fd=True)
frames = [can.Message(arbitration_id=int(i, 16), data=bytes.fromhex(d), is_extended_id=False)
          for i, d in (each.split("#") for each in sys.argv[3:])]
sys.stdin.readline()
begin = time.monotonic()
for number in range(int(sys.argv[2])):
    bus.send(frames[number % len(frames)])
    if number % 20 == 19:
        time.sleep(max(0.0, begin + (number + 1) / 4000 - time.monotonic()))
bus.shutdown()
"""

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
        f"{len(frames)} CAN frames to signals",
        median(microseconds(decode, calls=calls)),
        "µs",
        peer="cantools",
        peer_value=median(microseconds(decode_only, calls=calls)),
        note="p50; ours is cantools, renaming, range checks and rounding to the signal's step",
    )
    batcher = Batcher("ev-7f3a", 1, keyframe_s=0)
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
        f"{len(values)} signals to a record by delta and batch",
        median(microseconds(batch, calls=calls)),
        "µs",
        note=f"p50; a keyframe of {size} octets, encoded",
    )
    yield Figure(
        f"encode a record of {size} octets",
        median(microseconds(lambda: encode_record(record), calls=calls)),
        "µs",
        peer="json of the standard library",
        peer_value=median(microseconds(lambda: json.dumps(plain, sort_keys=True).encode(), calls=calls)),
        note="p50",
    )
    yield from _month(30 if quick else 1800)
    yield asyncio.run(_to_stream(10 if quick else 1000))
    yield from _full_bus(frames, 1 if quick else 10)
    yield asyncio.run(_jitter(0.3 if quick else 10))
    yield from _at_rest(record, 20 if quick else 1000)


MONTH_H: Final = {"highway": 60.0, "charging": 90.0, "fast_charging": 4.0, "parked": 60.0}
"""Hours of a month in which the bus of a much used vehicle is awake: 2 h of driving a day, 3 h of charging at home."""

PACKET: Final = 150
"""Octets around a delivery: MQTT topic and header, TLS record, TCP and IP, acknowledgement, mark."""


def _samples(mode: str, seconds: int) -> Iterator[tuple[float, dict[str, float], str]]:
    """Yield (s, values, context) at 10 Hz: what a vehicle's bus says, with the noise of its sensors."""
    noise = random.Random(mode)
    context = "charging" if mode == "fast_charging" else mode
    power_w = {"highway": -18_000.0, "charging": 11_000.0, "fast_charging": 120_000.0, "parked": 0.0}[mode]
    soc, wh = 50.0, 0.0
    for tick in range(seconds * 10):
        power = power_w * (1 + (0.5 if mode == "highway" else 0.01) * math.sin(tick / 70) + noise.gauss(0, 0.003))
        voltage = 380 + power / 4000 + noise.gauss(0, 0.05)
        wh += power / 36_000
        soc += power / 36_000 / 600
        cell = voltage / 100
        yield tick / 10, normalised({
            "battery.voltage": voltage, "battery.current": power / voltage, "battery.power": power, "battery.soc": soc,
            "battery.soh": 97.5, "battery.temperature.min": 24 + tick / 6000,
            "battery.temperature.max": 26 + tick / 5000,
            "battery.temperature.coolant": 22 + noise.gauss(0, 0.05), "battery.cell_voltage.min": cell - 0.006,
            "battery.cell_voltage.max": cell + 0.007, "battery.cell_voltage.mean": cell,
            "battery.energy.charged": max(wh, 0), "battery.energy.discharged": max(-wh, 0), "ambient.temperature": 18.5,
            "charging.power": 0.0 if mode == "highway" else power, "vehicle.contactor": float(mode != "parked"),
            "motor.speed": 8000 + 500 * math.sin(tick / 90) if mode == "highway" else 0.0,
            "location.latitude": 52.5 + (tick * 3e-5 if mode == "highway" else 0),
            "grid.frequency": 50 + noise.gauss(0, 0.005),
        }), context  # fmt: skip


def _month(seconds: int) -> Iterator[Figure]:
    """Yield octets of records, and of a vehicle's month, in both forms: a stretch of each mode stands for its hours."""
    records = 0.0
    octets = {encode_delivery: 0.0, encode_compact: 0.0}
    sent = dict.fromkeys(octets, 0.0)
    for mode, mode_hours in MONTH_H.items():
        batcher, second, share = Batcher("ev-7f3a", 1_900_000_000), list[bytes](), mode_hours * 3600 / seconds
        cadence = Cadence(UPLINK_S)
        for now, values, context in _samples(mode, seconds):
            batcher.offer(values, now, 1_900_000_000_000 + int(now * 1000), context)
            if (record := batcher.flush(now)) is not None:
                second.append(encode_record(record))
                records += share
                cadence.prompt |= batcher.prompt
            if second and now >= cadence.due(now):
                cadence.prompt = False
                cadence.sent(now)
                for encode in octets:
                    size = len(encode(second))
                    octets[encode] += size * share
                    sent[encode] += (size + PACKET) * share
                second.clear()
    hours = ", ".join(f"{mode} {each:g}" for mode, each in MONTH_H.items())
    for encode, form, peer in ((encode_compact, "compact", encode_delivery), (encode_delivery, "JSON", None)):
        yield Figure(
            f"a record in a delivery, {form}",
            octets[encode] / records,
            "octets",
            peer="" if peer is None else "JSON",
            peer_value=None if peer is None else octets[peer] / records,
            note=f"{records / 1e6:.2f} million records in a month",
        )
        yield Figure(
            f"a vehicle's month, {form}",
            sent[encode] / 1e6,
            "MB",
            target=300 if form == "compact" else None,
            note=f"simulated: hours {hours}; a delivery in {UPLINK_S:g} s, for changes beyond dead bands up to "
            f"{BURST:g} more after each rest of half an hour; {PACKET} octets around each",
        )


MOVES_DBC: Final = """
BO_ 2566844926 Position: 8 X
 SG_ Latitude : 0|32@1- (0.000001,0) [-90|90] "deg" X
 SG_ Longitude : 32|32@1- (0.000001,0) [-180|180] "deg" X
BO_ 16 Grid: 2 X
 SG_ Frequency : 0|16@1+ (0.001,0) [40|70] "Hz" X
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN";
BA_ "VFrameFormat" BO_ 2566844926 1;
"""


async def _to_stream(moves: int) -> Figure:
    """Return how long a move of 10 m takes from its CAN frame to the API's stream, with default rates, by HTTPS, beside
    a grid frequency whose noise is below its dead band."""
    sent, came = list[float](), dict[int, float]()
    dice, clock = random.Random(1), asyncio.get_running_loop().time
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        place = Path(folder)
        pki = make_pki(place / "pki", now=datetime.now(UTC))
        (place / "moves.dbc").write_text(MOVES_DBC)
        async with running(make_config(place, pki, api={"requests_per_s": 1e5, "requests_at_once": 10**6})) as csms:
            port = csms.ports["api"]
            ca, chain = pki.path("csms/root.pem"), pki.path("csms/gateway/chain.pem")
            http = HttpConfig(f"https://localhost:{port}/telemetry", ca, chain, pki.path("csms/gateway/leaf.key"))
            config = GatewayConfig(
                ev="EV-1", outbox=place / "o.db", http=http, can=CanSource(channel=folder), dbc=place / "moves.dbc",
                signals={"Position.Latitude": "location.latitude", "Position.Longitude": "location.longitude",
                         "Grid.Frequency": "grid.frequency"},
                consent=("battery", "charging", "location"), position_noise_m=0.0,
            )  # fmt: skip
            gateway = await Gateway.open(config, Clock(), lambda _event: None)
            bus = CanPort(config.can)
            context = ssl.create_default_context(cafile=str(ca))
            reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
            token = TOKENS[Role.ADMIN]
            headers = f"Host: localhost\r\nAuthorization: Bearer {token}"
            writer.write(f"GET /vehicle-positions HTTP/1.1\r\n{headers}\r\n\r\n".encode())

            async def listen() -> None:
                while line := await reader.readline():
                    if line.startswith(b"data: "):
                        for _ev, latitude, *_ in json.loads(line[6:]):
                            came.setdefault(round((latitude - 48) * 1e4), clock())

            async def hum() -> None:
                while True:
                    await asyncio.sleep(0.1)
                    bus.send(16, round(50_000 + dice.uniform(-4, 4)).to_bytes(2, "little"))

            tasks = [asyncio.create_task(each()) for each in (listen, hum)]
            for each in range(moves):
                await asyncio.sleep(dice.uniform(0.1, 0.3))
                sent.append(clock())
                bus.send(0x18FEF1FE, struct.pack("<ii", 48_000_000 + each * 100, 11_000_000))
            await asyncio.sleep(2)
            await cancel_tasks(*tasks)
            await bus.close()
            await gateway.close(drain=1)
            writer.close()
    reached = sorted(came)
    waits = [  # a move that a later one has overtaken is there with that
        (came[next(that for that in reached if that >= each)] - at) * 1e3
        for each, at in enumerate(sent)
        if reached and each <= reached[-1]
    ]
    note = f"p95; {median(waits):.0f} p50, {max(waits):.0f} at most; {len(waits)} of {moves} moves, 0.1 to 0.3 s apart"
    return Figure("a move from CAN to the API's stream", percentile(waits, 0.95), "ms", target=200, note=note)


def _full_bus(frames: list[tuple[int, bytes]], seconds: int) -> Iterator[Figure]:
    """Yield the share of a core that a full bus takes, by a whole gateway and by cantools alone."""
    sent = FRAMES_PER_SECOND * seconds
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        ours, received = asyncio.run(_by_gateway(Path(folder), frames, sent))
    theirs, also = _by_cantools(frames, sent)
    yield Figure(
        f"a bus with {FRAMES_PER_SECOND} frames/s takes, of a core",
        100 * ours / seconds,
        "%",
        target=25,
        peer="python-can and cantools in a loop",
        peer_value=100 * theirs / seconds,
        note=f"over UDP; {sent - received} of {sent} frames lost (peer: {sent - also}); the gateway also filters, "
        "batches and stores",
    )


def _sender(frames: list[tuple[int, bytes]], sent: int) -> "subprocess.Popen[bytes]":
    words = [f"{frame_id:x}#{data.hex()}" for frame_id, data in frames]
    return subprocess.Popen([sys.executable, "-c", SENDER, BUS.channel, str(sent), *words], stdin=subprocess.PIPE)


async def _by_gateway(folder: Path, frames: list[tuple[int, bytes]], sent: int) -> tuple[float, int]:
    """Return seconds of CPU, and the number of frames that arrived."""
    events: list[Observe] = []
    nowhere = MqttConfig(host="127.0.0.1", port=1, without_tls=True)
    config = GatewayConfig(ev="ev-7f3a", outbox=folder / "bus.db", mqtt=nowhere, can=BUS)
    gateway = await Gateway.open(config, Clock(), events.append)
    sender = _sender(frames, sent)
    await asyncio.sleep(1)
    begin = time.process_time()
    await asyncio.to_thread(sender.communicate, b"\n")
    used = time.process_time() - begin
    await asyncio.sleep(0.2)
    await gateway.close(drain=0)
    return used, next(int(str(each.data["frames"])) for each in events if each.name == "stopped")


def _by_cantools(frames: list[tuple[int, bytes]], sent: int) -> tuple[float, int]:
    database = Database()
    database.add_dbc_string(battery_dbc())
    received = 0
    with can.Bus(interface=BUS.interface, channel=BUS.channel, fd=True) as bus:
        sender = _sender(frames, sent)
        time.sleep(1)
        assert sender.stdin is not None
        begin = time.process_time()
        sender.stdin.write(b"\n")
        sender.stdin.close()
        while (message := bus.recv(0.5)) is not None:
            database.decode_message(message.arbitration_id, bytes(message.data))
            received += 1
        used = time.process_time() - begin
        sender.wait()
    return used, received


async def _jitter(seconds: float) -> Figure:
    """Return how irregular the frames of a control unit at 100 Hz arrive."""
    times: list[float] = []
    config = CanConfig(channel="jitter")
    port = await CanPort.opened(config, lambda frame_id, _data, at_s: times.append(at_s) if frame_id == 0x100 else None)
    sending = asyncio.create_task(BatteryEcu(config, lambda: SNAPSHOT, rate=100.0).run())
    await asyncio.sleep(seconds)
    await cancel_tasks(sending)
    await port.close()
    late = [abs(b - a - 0.01) * 1e6 for a, b in itertools.pairwise(times)]
    note = f"p99; {median(late):.0f} p50, {len(times)} frames"
    value = percentile(late, 0.99)
    return Figure("a control unit at 100 Hz: jitter", value, "µs", target=10_000, note=note)


def _at_rest(record: Record, calls: int) -> Iterator[Figure]:
    """Yield the cost until a record is durable, at the gateway and at the back end."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # on disk, not in memory
        held, spans = asyncio.run(_outbox(Path(folder), encode_record(record), calls))
        note = f"p99; time until durable {median(spans):.0f} p50, {percentile(spans, 0.99):.0f} p99"
        figure = "a record into the outbox holds the event loop for"
        yield Figure(figure, percentile(held, 0.99), "µs", note=note)
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
        yield Figure("a record through the ingest", median(spans), "µs", note=note)


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
