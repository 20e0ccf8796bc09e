"""The gateway's uplink: bytes on the wire, and an outbox that drains beside new records."""

import asyncio
import contextlib
import os
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from benchmarks.figures import Figure, median, percentile
from csms.accounts.rules import Role
from csms.app import running
from pki_tools.tree import PkiTree, make_pki
from tests.csms.support import TOKENS, make_config
from tests.telemetry.brokers import access, source
from tests.telemetry.nothing_lost import Field
from v2g.io.http.client import HttpSession, request
from v2g.io.mqtt.config import MqttConfig
from v2g.io.runtime.supervision import cancel_tasks
from v2g.io.storage.outbox import Outbox, OutboxEntry
from v2g.observe import Observe
from v2g.telemetry.columns import encode_compact
from v2g.telemetry.delivery import TOPIC_PREFIX, Mark, encode_delivery
from v2g.telemetry.priority import Priority
from v2g.telemetry.signals import SCHEMA_5, Record, encode_record
from v2g_cli.demo.broker import Broker, find_mosquitto, start_broker
from v2g_gateway.delivery import UplinkDelivery
from v2g_gateway.uplink import MqttUplink

ABOUT = "bytes on the wire beside HTTP, records by HTTPS, and a full outbox that drains"
REQUIREMENTS = ("R84", "R102")

EV: Final = "EV-1"
DRAIN_MB: Final = int(os.environ.get("V2G_DRAIN_MB", "100"))
"""Size of the outbox that drains, MB; 2000 is what the requirement names."""

_LIVE_S: Final = 0.1
_GROUP: Final = 2000


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield bytes for each update, and the drain."""
    program = find_mosquitto()
    if program is None:
        return
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # on disk, not in memory
        place = Path(folder)
        pki = make_pki(place / "pki", now=datetime.now(UTC))
        broker = start_broker(program, place / "broker", pki)
        try:
            yield from uvloop.run(_wire(place, pki, broker, 20 if quick else 300))
        finally:
            broker.stop()
        broker = start_broker(program, place / "second", pki)
        yield from asyncio.run(_drain(place, pki, broker, 1 if quick else DRAIN_MB))


_BEGIN_MS: Final = time.time_ns() // 1_000_000 - 30 * 86_400_000


def update(boot: int, seq: int) -> bytes:
    """Return a record with four changed signals, as while charging."""
    signals: dict[str, float | int | str] = {
        "battery.current": round(-25.0 - seq % 7 / 10, 1),
        "battery.power": -10_000 - seq % 97,
        "battery.soc": round(50 + seq % 1000 / 100, 2),
        "charging.power": -9_900 - seq % 89,
    }
    utc_ms = _BEGIN_MS + 100 * seq
    tags = {"schema": SCHEMA_5, "trip": f"{boot}-1", "ambient_c": 18.5, "charging_w": -9_900.0}
    record = Record(EV, boot, seq, utc_ms, "charging", False, signals)  # noqa: FBT003
    return encode_record(msgspec.structs.replace(record, **tags))


class _Wire:
    """Passes octets on, and counts them in both directions."""

    def __init__(self, to: int) -> None:
        self._to = to
        self.octets = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        """Yield the port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # at the end of the loop
            behind, ahead = await asyncio.open_connection("127.0.0.1", self._to)
            await asyncio.gather(self._pass(reader, ahead), self._pass(behind, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.octets += len(data)
                writer.write(data)
        writer.close()


async def _wire(place: Path, pki: PkiTree, broker: Broker, updates: int) -> list[Figure]:
    config = make_config(place, pki, mqtt=source(broker, pki), api={"requests_per_s": 1e5, "requests_at_once": 10**6})
    async with running(config) as csms:
        single = await _by_mqtt(place, pki, broker, updates, together=1)
        batched = await _by_mqtt(place, pki, broker, updates, together=10)
        wire = _Wire(csms.ports["api"])
        async with wire.open() as port:
            url = f"https://localhost:{port}/telemetry"
            context = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKENS[Role.ADMIN]}"}
            session = HttpSession(url, most=10_000, timeout_s=10, context=context)
            for seq in range(1, updates + 1):
                assert (await session.request("POST", encode_delivery([update(1, seq)]), headers)).ok
            kept = wire.octets / updates
            spent = {size: await _ingest(session, headers, boot=10 + size, size=size) for size in (10, 500)}
            await session.close()
            before = wire.octets
            for seq in range(1, updates + 1):
                body = encode_delivery([update(2, seq)])
                answer = await request(
                    "POST", url, most=10_000, timeout_s=10, body=body, headers=headers, context=context
                )
                assert answer.ok
            fresh = (wire.octets - before) / updates

    def beside(value: float) -> str:
        less_than_fresh, less_than_kept = (100 - 100 * value / each for each in (fresh, kept))
        return f"{less_than_fresh:.0f} % less than with a connection an update, {less_than_kept:.0f} % with a kept one"

    size = len(update(1, 100))
    return [
        Figure(
            "an update by MQTT in batches of 10, on the wire",
            batched,
            "bytes",
            target=0.1 * kept,
            peer="HTTP, connection kept",
            peer_value=kept,
            note=f"{beside(batched)}; TLS and answers included; the record has {size}",
        ),
        Figure(
            "an update by MQTT in a message of its own, on the wire",
            single,
            "bytes",
            target=0.2 * fresh,
            peer="HTTP, a connection for each",
            peer_value=fresh,
            note=beside(single),
        ),
        Figure(
            "CPU of a record by HTTPS, 500 together",
            spent[500],
            "µs",
            note=f"client, server and SQLite in one process; {spent[10]:.0f} µs if 10 are together: HTTP and commit "
            f"of a request cost {(spent[10] - spent[500]) / (1 / 10 - 1 / 500) / 1000:.1f} ms",
        ),
    ]


async def _ingest(session: HttpSession, headers: Mapping[str, str], *, boot: int, size: int) -> float:
    """Return the CPU time of this process for a record, µs, `size` of them in a request."""
    bodies = [encode_delivery([update(boot, first + each) for each in range(size)]) for first in range(1, 2001, size)]
    begin = time.process_time()
    for body in bodies:
        assert (await session.request("POST", body, headers)).ok
    return (time.process_time() - begin) / 2000 * 1e6


async def _by_mqtt(place: Path, pki: PkiTree, broker: Broker, updates: int, *, together: int) -> float:
    """Return bytes for each update, sent by a gateway's delivery, some at a time."""
    box = await Outbox.open(place / f"by-{together}.db", EV, 10 * together)
    wire = _Wire(broker.port)
    async with wire.open() as port:
        delivery, uplink, task = _delivering(box, access(broker, pki, EV), port)
        for first in range(1, updates + 1, together):
            seqs = range(first, first + together)
            await box.put_all([OutboxEntry(seq, update(box.boot, seq)) for seq in seqs])
            delivery.wake()
            while await box.waiting():
                await asyncio.sleep(0.005)
        await cancel_tasks(task)
        octets = wire.octets
        await uplink.close()
    await box.close()
    return octets / updates


class _Timed(UplinkDelivery):
    """Notes when marks cover records."""

    covered: dict[int, float]
    awaited: dict[int, float]

    def on_marks(self, marks: Sequence[Mark]) -> None:
        now = time.monotonic()
        for mark in marks:
            for seq in [each for each in self.awaited if mark.covers(each)]:
                self.covered[seq] = now - self.awaited.pop(seq)
        super().on_marks(marks)


def _delivering(box: Outbox, mqtt: MqttConfig, port: int) -> "tuple[_Timed, MqttUplink, asyncio.Task[None]]":
    def observe(_event: Observe) -> None:
        pass

    delivery = _Timed(EV, box, observe, encode=encode_compact)
    delivery.covered, delivery.awaited = {}, {}
    settings = {name: getattr(mqtt, name) for name in mqtt.__struct_fields__} | {"port": port}
    uplink = MqttUplink(MqttConfig(**settings), TOPIC_PREFIX, EV, delivery.on_marks, boot=box.boot)
    uplink.start()
    return delivery, uplink, asyncio.create_task(delivery.run(uplink))


async def _drain(place: Path, pki: PkiTree, broker: Broker, megabytes: int) -> list[Figure]:
    """Fill an outbox, and drain it into a back end of its own process while new records come."""
    box = await Outbox.open(place / "drain.db", EV, 1, max_bytes=1 << 40)
    octets, seq = 0, 0
    while octets < megabytes * 1e6:
        entries = [
            OutboxEntry(each, update(box.boot, each), Priority.LIVE, each) for each in range(seq + 1, seq + 1 + _GROUP)
        ]
        octets += sum(len(each.body) for each in entries)
        seq += _GROUP
        await box.put_all(entries)
    size = (place / "drain.db").stat().st_size
    await box.close()
    box = await Outbox.open(place / "drain.db", EV, 1, max_bytes=1 << 40)  # what waits is of an earlier boot
    folder = place / "field"
    folder.mkdir()
    field = Field(folder, pki, broker, f"sqlite:///{folder / 'csms.sqlite3'}", nodes=1)
    try:
        delivery, uplink, task = _delivering(box, access(field.broker, pki, EV), field.broker.port)
        await delivery.working.wait()
        begin, used, live = time.monotonic(), time.process_time(), 0
        took = 0.0
        while live < 20 or not took:
            live += 1
            delivery.awaited[live] = time.monotonic()
            await box.put(live, update(box.boot, live), Priority.LIVE, live)
            delivery.wake()
            await asyncio.sleep(_LIVE_S)
            if not took and all(each.boot == box.boot for each in await box.waiting()):
                took, used = time.monotonic() - begin, time.process_time() - used
        while delivery.awaited:
            await asyncio.sleep(0.05)
        await cancel_tasks(task)
        await uplink.close()
        assert field.stored() == seq + live
    finally:
        field.close()
        await box.close()
    late = list(delivery.covered.values())
    rate = octets / 1e6 / took
    note = f"{rate:.1f} MB/s, {seq / took:,.0f} records/s; broker and back end (SQLite) are on this machine"
    return [
        Figure(
            "2 GB drain in",
            2000 / rate / 60,
            "min",
            target=20,
            note=f"{note}; from {octets / 1e6:.0f} MB in a file of {size / 1e6:.0f} MB; the gateway takes "
            f"{100 * used / took:.0f} % of a core",
        ),
        Figure(
            "a new record beside that until it is known to be stored",
            1000 * percentile(late, 0.99),
            "ms",
            target=2000,
            note=f"p99 of {len(late)}; {1000 * median(late):.0f} p50",
        ),
    ]
