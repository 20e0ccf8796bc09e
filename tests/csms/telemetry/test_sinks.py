"""Sinks: one contract for all of them, and what only some have."""

import asyncio
import json
import socket
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

import csms.telemetry.series
import csms.telemetry.sinks.influx
from csms.db.bulk import append_rows
from csms.db.store import Store, open_engine
from csms.metrics import Metrics
from csms.retention import store as retention
from csms.telemetry import store as pending
from csms.telemetry.config import TelemetryConfig, TelemetrySink
from csms.telemetry.rules import StoredRecord, class_of, line_of
from csms.telemetry.series import series, view
from csms.telemetry.sinks import Sink, influx, open_sink
from csms.telemetry.sinks.feeder import SinkFeeder
from csms.telemetry.tables import VALUES, telemetry_pending
from csms.vehicles import store as values
from tests.csms.databases import Cluster
from tests.csms.db.telemetry_values import made, put
from tests.csms.telemetry.sinks import Arrived, InfluxServer, Place, parse_point, silent_server, silent_url
from tests.hostile import ATTACKS, DRIPPING, attacking
from tests.waiting import until
from v2g.errors import StoreError, TransportError, UnstorableError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import cancel_tasks
from v2g.observe import Observe
from v2g.telemetry.signals import EV_PATTERN, MAX_UTC_MS, SCHEMA, SCHEMAS, SIGNALS

SINKS = ("aggregates", "lake")
CLASSES = {"truck": ("T-*",), "bus": ("B-*", "T-9")}


WIDE = {name: each.minimum + (each.maximum - each.minimum) / 7 for name, each in SCHEMAS[SCHEMA].signals.items()} | {
    "battery.soc": 99.0
}
"""Values of a record that no sink takes: a constraint, the type of a field or the size of a message is against it."""


def database(url: str) -> Place:
    engine = open_engine(url)

    def constrain() -> None:
        if engine.dialect.name == "sqlite":
            statement = "CREATE TRIGGER full BEFORE INSERT ON telemetry WHEN NEW.battery_soc > 90 "
            statement += "BEGIN SELECT RAISE(ABORT, 'over 90 %'); END"
        else:
            statement = "ALTER TABLE telemetry ADD CONSTRAINT full_battery CHECK (battery_soc <= 90)"
        with engine.begin() as connection:
            connection.execute(text(statement))

    def arrived() -> Arrived:
        with engine.connect() as connection:
            return {
                (row.ev, row.boot, row.seq): {
                    name: row._mapping[column] for name, column in VALUES.items() if row._mapping[column] is not None
                }
                for row in connection.execute(series.select())
            }

    return Place(url, arrived, engine.dispose, constrain)


class Topics:
    """Brokers of librdkafka's mock cluster: they are not Kafka, but speak its protocol with our producer."""

    def __init__(self, rtt_ms: int = 0) -> None:
        kafka = pytest.importorskip("confluent_kafka", reason="needs confluent-kafka")
        self._kafka = kafka
        settings = {"test.mock.num.brokers": "3", "test.mock.broker.rtt": str(rtt_ms), "bootstrap.servers": "mock"}
        self._host = kafka.Producer(settings)
        self.servers = ",".join(
            f"{each.host}:{each.port}" for each in self._host.list_topics(timeout=60).brokers.values()
        )

    def read(self) -> list[Any]:
        """Return all messages of all topics."""
        settings = {"bootstrap.servers": self.servers, "group.id": "reader", "enable.partition.eof": True}
        consumer = self._kafka.Consumer(settings)
        topics = [name for name in consumer.list_topics(timeout=60).topics if name.startswith("v2g.")]
        places = [
            self._kafka.TopicPartition(name, number, 0)
            for name in topics
            for number in consumer.list_topics(name, timeout=60).topics[name].partitions
        ]
        consumer.assign(places)
        found, ended = [], 0
        while ended < len(places):
            message = consumer.poll(10)
            assert message is not None
            if message.error() is None:
                found.append(message)
            else:
                ended += 1
        consumer.close()
        return found

    def arrived(self) -> Arrived:
        found: Arrived = {}
        for message in self.read():
            if message.value() is None:
                found = {key: each for key, each in found.items() if key[0] != message.key().decode()}
                continue
            record = json.loads(message.value())
            assert message.key().decode() == record["ev"]
            found[record["ev"], record["boot"], record["seq"]] = record["signals"]
        return found


@pytest.fixture
def topics() -> Topics:
    return Topics()


@pytest.fixture(params=["sqlite", "postgresql", "kafka", "influx"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "influx":
        server = InfluxServer()
        found = Place(server.url, server.arrived, server.close, server.limit)
    elif request.param == "kafka":
        brokers: Topics = request.getfixturevalue("topics")
        found = Place(f"kafka://{brokers.servers}", brokers.arrived, properties={"message.max.bytes": "1000"})
    elif request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("cluster")
        found = database(cluster.url(cluster.create()))
    else:
        found = database(f"sqlite:///{tmp_path}/lake.sqlite3")
    yield found
    found.close()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "influx.token"
    path.touch(mode=0o600)
    path.write_text(InfluxServer.TOKEN)
    return path


def opened(url: str, secret: Path, properties: dict[str, str] | None = None) -> Sink:
    config = TelemetrySink(name="lake", url=url, secret_file=secret, properties=properties or {})
    return open_sink(config, TelemetryConfig(sinks=(config,), vehicle_classes=CLASSES))


async def leads(_work: str, _every_s: float) -> bool:
    return True


def feeder(sink: Sink, store: Store, events: list[Observe] | None = None) -> SinkFeeder:
    noted = ([] if events is None else events).append
    return SinkFeeder("lake", sink, store, Clock(), noted, leads, Metrics(), "vehicle of {}".format)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Store]:
    found = Store(f"sqlite:///{tmp_path}/csms.sqlite3")
    yield found
    found.close()


@pytest.mark.some(1)
@pytest.mark.requirement("R104", "R111")
async def test_every_sink_has_each_record_with_its_values_and_no_more(
    lake: Store, place: Place, secret: Path, tmp_path: Path
) -> None:
    """Also what it gets twice, as after a lost acknowledgement; and nothing of a vehicle that is erased, also after an
    outage of the sink that was longer than records are kept."""
    records = [
        made(seq, 10_000 * seq + len(ev), {"battery.soc": 50 + seq / 7, "location.latitude": -48.25}, ev=ev)
        for ev in ("EV-1", "T-2", "B:3._x")
        for seq in range(1, 20)
    ]
    records.append(made(20, MAX_UTC_MS, {"battery.soc": 1.0}))
    put(lake, records, sinks=SINKS)
    sink = opened(place.url, secret)
    batch = lake.do(pending.next_batch, "lake", 10)
    assert batch is not None
    await sink.write(batch.records[:10])
    while await feeder(sink, lake).feed():
        pass
    await sink.write(batch.records[5:15])
    expected = {
        (each.ev, each.boot, each.seq): {name: float(v) for name, v in each.signals.items()} for each in records
    }
    assert place.arrived() == expected
    while lake.do(values.erase, "T-2", 10**15, ("lake",)):
        pass
    while lake.do(retention.delete_old, "telemetry", 10**15 + 1):
        pass
    assert await feeder(sink, lake).feed()
    assert place.arrived() == {key: each for key, each in expected.items() if key[0] != "T-2"}
    assert lake.do(pending.next_batch, "lake", 10**15) is None
    left = [each for each in tmp_path.iterdir() if b"T-2" in each.read_bytes()]  # SQLite has a log beside its file
    assert [each.name for each in left if each.name.startswith("lake")] == []
    await sink.close()


@pytest.mark.some(1)
@pytest.mark.requirement("R104")
async def test_a_record_that_a_sink_rejects_is_reported_and_the_others_arrive(
    lake: Store, place: Place, secret: Path
) -> None:
    """It stays in the back end's database. A sink that takes nothing at all gets everything later."""
    events: list[Observe] = []
    sink = opened(place.url, secret, place.properties)
    await sink.write([])
    place.limit()
    put(lake, [made(1, 1, WIDE), made(2, 2, WIDE)], sinks=SINKS)
    with pytest.raises(UnstorableError):
        await feeder(sink, lake, events).feed()
    assert events == []
    numbers = range(1, 40)
    put(
        lake,
        [made(seq, seq, WIDE if seq in (1, 2, 20) else {"battery.soc": 1.0 * seq}) for seq in numbers],
        sinks=SINKS,
    )
    while await feeder(sink, lake, events).feed():
        pass
    assert sorted(seq for _, _, seq in place.arrived()) == [seq for seq in numbers if seq not in (1, 2, 20)]
    assert [(each.name, each.data["ev"], each.data["seq"], each.data["records"]) for each in events] == [
        ("sink_rejected", "vehicle of EV-1", 1, 3)  # the log of events names no vehicle
    ]
    assert len(lake.do(values.values, "EV-1", ("battery.soc",), (20, 21), 9, None)) == 1
    await sink.close()


class Slow:
    """Notes the numbers of each batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.came = asyncio.Event()

    async def write(self, records: Sequence[StoredRecord]) -> None:
        self.batches.append([each.seq for each in records])
        self.came.set()

    async def erase(self, ev: str) -> None:
        raise AssertionError(ev)

    async def close(self) -> None:
        """See Sink."""


async def test_deliveries_that_come_soon_after_each_other_share_a_batch_and_a_backlog_does_not_wait(
    lake: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "MAX_RUNS", 3)
    monkeypatch.setattr("csms.telemetry.sinks.feeder.TOGETHER_S", 0.05)
    sink, clock = Slow(), asyncio.get_running_loop().time

    def deliver(seq: int) -> None:
        put(lake, [made(seq, seq, {"battery.soc": 1.0})], sinks=SINKS)

    for seq in range(1, 7):
        deliver(seq)
    fed = feeder(sink, lake)
    begun = clock()
    task = asyncio.create_task(fed.run())
    for seq in range(7, 20):
        while sum(map(len, sink.batches)) < 6:
            sink.came.clear()
            await sink.came.wait()
        deliver(seq)
        fed.wake()
        await asyncio.sleep(0)
    while sum(map(len, sink.batches)) < 19:
        sink.came.clear()
        await sink.came.wait()
    task.cancel()
    assert [seq for batch in sink.batches for seq in batch] == list(range(1, 20))
    assert sink.batches[:2] == [[1, 2, 3], [4, 5, 6]]
    small = [each for each in sink.batches if len(each) < 3]
    assert len(small) <= 2 + (clock() - begun) / 0.05


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a sink of Kafka has begun to send."""
    kafka = pytest.importorskip("csms.telemetry.sinks.kafka", reason="needs confluent-kafka")
    found = threading.Event()

    class Producer(kafka.Producer):  # type: ignore[misc, name-defined]
        def produce(self, *arguments: Any, **options: Any) -> None:
            super().produce(*arguments, **options)
            found.set()

    monkeypatch.setattr(kafka, "Producer", Producer)
    return found


async def test_closing_kafka_waits_for_a_batch_under_way_though_its_caller_is_gone(begun: threading.Event) -> None:
    """Nothing then begins anew: records wait in the database."""
    from csms.telemetry.sinks.kafka import KafkaSink

    topics = Topics(rtt_ms=50)
    sink = KafkaSink(TelemetrySink(name="lake", url=f"kafka://{topics.servers}"), {}, close_s=20.0)
    task = asyncio.create_task(sink.write([StoredRecord("EV-1", 1, 1, 1, "city", {}, b'{"n": 1}')]))
    assert await asyncio.to_thread(begun.wait, 10)
    await cancel_tasks(task)
    await sink.close()
    assert [each.value() for each in topics.read()] == [b'{"n": 1}']
    with pytest.raises(TransportError, match="closed"):
        await sink.write([StoredRecord("EV-1", 1, 2, 1, "city", {}, b"{}")])


async def test_closing_kafka_breaks_off_what_brokers_do_not_acknowledge(begun: threading.Event) -> None:
    from csms.telemetry.sinks.kafka import KafkaSink

    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        url = f"kafka://127.0.0.1:{silent.getsockname()[1]}"
        sink = KafkaSink(TelemetrySink(name="lake", url=url), {}, close_s=0.05)
        async with asyncio.timeout(20):  # less than brokers have for an acknowledgement
            task = asyncio.create_task(sink.write([StoredRecord("EV-1", 1, 1, 1, "city", {}, b"{}")]))
            assert await asyncio.to_thread(begun.wait, 10)
            await sink.close()
            with pytest.raises(TransportError, match="no acknowledgement of 1"):
                await task


@pytest.mark.long
@pytest.mark.requirement("R105")
async def test_kafka_has_a_topic_for_each_class_and_keeps_each_vehicles_order(
    lake: Store, topics: Topics, secret: Path
) -> None:
    numbers = [*range(1, 60), *range(101, 160), *range(60, 101)]  # the middle arrives last
    for start in range(0, len(numbers), 20):
        for ev in ("T-1", "EV-1", "T-9", "B-1"):
            put(lake, [made(seq, seq, {"battery.soc": 1.0}, ev=ev) for seq in numbers[start : start + 20]], sinks=SINKS)
    sink = opened(f"kafka://{topics.servers}", secret)
    while await feeder(sink, lake).feed():
        pass
    await sink.close()
    found = topics.read()
    assert {(each.topic(), each.key().decode()) for each in found} == {
        ("v2g.telemetry.truck", "T-1"), ("v2g.telemetry.truck", "T-9"),
        ("v2g.telemetry.bus", "B-1"), ("v2g.telemetry.vehicle", "EV-1"),
    }  # fmt: skip
    for ev in ("T-1", "EV-1", "T-9", "B-1"):
        of_ev = [each for each in found if each.key().decode() == ev]
        assert len({each.partition() for each in of_ev}) == 1
        assert [int(dict(each.headers())["seq"]) for each in sorted(of_ev, key=lambda each: each.offset())] == [
            *range(1, 160)
        ]
    assert class_of("X", {}) == "vehicle"


@pytest.mark.requirement("R105")
async def test_kafka_marks_what_comes_behind_later_records_of_its_vehicle(
    lake: Store, topics: Topics, secret: Path
) -> None:
    """Also over restarts, and of an earlier boot; messages have the records' times, and consumers how long one waits.

    Without the marked ones the order of (boot, seq) is strict.
    """
    long_ago = 1_700_000_000_000
    parts = (
        [(2, seq) for seq in (*range(1, 11), *range(21, 31))],  # what is behind the gap has waited long enough
        [(2, seq) for seq in range(11, 21)],
        [(1, seq) for seq in range(1, 6)],  # of the boot before
        [(2, seq) for seq in range(31, 41)],
    )
    for part in parts:
        records = [made(seq, long_ago + 1000 * seq, {"battery.soc": 1.0}, boot=boot) for boot, seq in part]
        put(lake, records, sinks=SINKS, at_ms=1)
        sink = opened(f"kafka://{topics.servers}", secret)
        while await feeder(sink, lake).feed():
            pass
        await sink.close()
    found = sorted(topics.read(), key=lambda each: each.offset())
    headers = [{name: value.decode() for name, value in each.headers()} for each in found]
    late = {(int(each["boot"]), int(each["seq"])) for each in headers if each["late"] == "1"}
    assert late == {*((2, seq) for seq in range(11, 21)), *((1, seq) for seq in range(1, 6))}
    in_order = [key for each in headers if (key := (int(each["boot"]), int(each["seq"]))) not in late]
    assert in_order == sorted(in_order)
    assert len(in_order) == 30
    for each, header in zip(found, headers, strict=True):
        assert each.timestamp()[1] == int(header["event_ms"]) == long_ago + 1000 * int(header["seq"])
        assert header["lateness_bound_ms"] == str(pending.GAP_MS)


@pytest.mark.long
@pytest.mark.requirement("R104")
async def test_a_server_that_attacks_is_a_failed_sink_with_a_reason_and_the_others_get_everything(
    lake: Store, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has not got waits, and comes once it behaves."""
    monkeypatch.setattr(influx, "TIMEOUT_S", 1.0)
    put(lake, [made(seq, seq, {"battery.soc": 1.0 * seq}) for seq in range(1, 6)], sinks=SINKS)
    harmless: list[str] = []  # its answer was 200, whatever came behind
    reasons: list[str] = []
    for attack in (*ATTACKS, DRIPPING):
        async with attacking(attack) as url, asyncio.timeout(60):
            sink = opened(f"{url}/?org=fleet&bucket=cars", secret)
            try:
                await sink.write([StoredRecord("EV-1", 1, 1, 1, "city", {"battery.soc": 1.0}, b"{}")])
                harmless.append(attack)
            except TransportError as error:
                reasons.append(str(error))
    assert DRIPPING not in harmless
    assert all(each.startswith("InfluxDB") and len(each) < 500 for each in reasons)
    assert not [each for each in harmless if "end" in each or "redirect" in each]
    async with attacking(DRIPPING) as url:
        events: list[Observe] = []
        slow = asyncio.create_task(feeder(opened(f"{url}/?org=fleet&bucket=cars", secret), lake, events).run())
        try:
            file = opened(f"sqlite:///{tmp_path}/lake.sqlite3", secret)
            while await SinkFeeder("aggregates", file, lake, Clock(), events.append, leads, Metrics(), str).feed():
                pass
            await file.close()
            await until(lambda: events)
        finally:
            await cancel_tasks(slow)
    assert [(each.name, each.data["sink"]) for each in events] == [("sink_failed", "lake")]
    with sqlite3.connect(tmp_path / "lake.sqlite3") as found:
        assert found.execute("SELECT count(*) FROM telemetry").fetchone() == (5,)
    assert lake.do(pending.next_batch, "lake", 10**15) is not None


@pytest.mark.requirement("R104")
async def test_a_postgresql_server_that_falls_silent_is_a_failed_sink(
    lake: Store, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has admitted the back end; the connection is closed, and another one is tried."""
    monkeypatch.setattr(csms.telemetry.series, "WRITE_S", 0.2)
    put(lake, [made(1, 1, {"battery.soc": 1.0})], sinks=SINKS)
    events: list[Observe] = []
    async with silent_server(postgresql=True) as (port, connections), asyncio.timeout(60):
        url = silent_url(port)
        sink = opened(url, secret)
        task = asyncio.create_task(feeder(sink, lake, events).run())
        await until(lambda: events and not connections)
        await until(lambda: connections)
        await cancel_tasks(task)
        await sink.close()
    assert [(each.name, each.data["sink"]) for each in events] == [("sink_failed", "lake")]
    assert "does not answer in time" in str(events[0].data["reason"])


@pytest.mark.some(1)
@pytest.mark.requirement("R104")
@pytest.mark.parametrize("kind", ["postgresql", "kafka"])
async def test_silent_servers_hold_no_other_sink_and_not_the_end_of_the_program(
    kind: str, lake: Store, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are more of them than threads that all share."""
    monkeypatch.setattr(csms.telemetry.sinks.influx, "CLOSE_S", 0.1)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    put(lake, [made(seq, seq, {"battery.soc": 1.0}) for seq in range(1, 6)], sinks=SINKS)
    if kind == "kafka":
        pytest.importorskip("confluent_kafka", reason="needs confluent-kafka")
    silent = silent_server(postgresql=kind == "postgresql")
    async with silent as (port, connections), asyncio.timeout(25):  # less than they have for a batch
        url = silent_url(port) if kind == "postgresql" else f"kafka://127.0.0.1:{port}"
        sinks = [opened(url, secret) for _ in range(4)]
        writing = [
            asyncio.create_task(each.write([StoredRecord("EV-1", 1, 1, 1, "city", {}, b"{}")])) for each in sinks
        ]
        await until(lambda: len(connections) >= len(sinks))
        file = opened(f"sqlite:///{tmp_path}/lake.sqlite3", secret)
        while await feeder(file, lake).feed():
            pass
        await asyncio.gather(*(each.close() for each in (file, *sinks)))
        ends = await asyncio.gather(*writing, return_exceptions=True)
    assert all(isinstance(each, StoreError | TransportError) for each in ends)
    with sqlite3.connect(tmp_path / "lake.sqlite3") as found:
        assert found.execute("SELECT count(*) FROM telemetry").fetchone() == (5,)


@pytest.mark.requirement("R104")
async def test_a_batch_that_postgresql_cannot_store_in_time_waits_for_nothing_there(
    cluster: Cluster, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as for a lock that somebody holds: further attempts must not queue up behind each other."""
    url = cluster.url(cluster.create())
    sink, engine = opened(url, secret), open_engine(url)
    record = StoredRecord("EV-1", 1, 1, 1, "city", {}, b"{}")
    await sink.write([])
    with engine.begin() as holder:
        holder.execute(text("LOCK TABLE telemetry"))
        monkeypatch.setattr(csms.telemetry.series, "WRITE_S", 0.2)
        with pytest.raises(StoreError):
            await sink.write([record])
        waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        await until(lambda: not holder.execute(waiting).scalar())
    monkeypatch.undo()
    await sink.write([record])
    await sink.close()
    with engine.connect() as connection:
        assert list(connection.execute(select(series.c.seq)).scalars()) == [1]
    engine.dispose()


@pytest.mark.requirement("R104")
async def test_a_first_batch_that_a_database_rejects_leaves_no_trace(cluster: Cluster, secret: Path) -> None:
    """PostgreSQL takes tables back with the transaction that made them."""
    url = cluster.url(cluster.create())
    sink = opened(url, secret)
    with pytest.raises(UnstorableError):
        await sink.write([StoredRecord("E" * 65, 1, 1, 1, "city", {}, b"{}")])
    await sink.write([StoredRecord("EV-1", 1, 1, 1, "city", {}, b"{}")])
    await sink.close()


async def test_brokers_that_do_not_answer_are_a_transport_error() -> None:
    pytest.importorskip("confluent_kafka", reason="needs confluent-kafka")
    from csms.telemetry.sinks.kafka import KafkaSink

    sink = KafkaSink(TelemetrySink(name="lake", url="kafka://127.0.0.1:1"), {}, timeout_s=0.5)
    with pytest.raises(TransportError, match="Kafka"):
        await sink.write([StoredRecord("EV-1", 1, 1, 1, "city", {}, b"{}")])
    await sink.close()


async def test_files_and_brokers_are_waited_for_in_threads(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow disk or broker must not hold the event loop, which also serves charging stations."""
    kafka = pytest.importorskip("csms.telemetry.sinks.kafka", reason="needs confluent-kafka")
    threads: dict[str, str] = {}
    really = influx.read_secret

    def read_secret(path: Path) -> bytes:
        threads["secret"] = threading.current_thread().name
        return really(path)

    class SlowProducer(kafka.Producer):  # type: ignore[misc, name-defined]
        def flush(self, timeout: float) -> int:
            threads["flush"] = threading.current_thread().name
            found: int = super().flush(timeout)
            return found

    monkeypatch.setattr(influx, "read_secret", read_secret)
    monkeypatch.setattr(kafka, "Producer", SlowProducer)
    record = StoredRecord("EV-1", 1, 1, 1, "city", {"battery.soc": 1.0}, b"{}")
    server, brokers = InfluxServer(), Topics()
    for url in (server.url, f"kafka://{brokers.servers}"):
        sink = opened(url, secret)
        await sink.write([record])
        threads.pop("flush", None)
        await sink.close()
    server.close()
    assert len(threads) == 2
    assert threading.current_thread().name not in threads.values()


@pytest.mark.requirement("R104")
async def test_a_sink_that_fails_goes_on_where_it_was_and_stops_no_ingest(lake: Store, secret: Path) -> None:
    server = InfluxServer()
    events: list[Observe] = []
    sink = opened(server.url, secret)
    server.failing = True
    put(lake, [made(seq, seq, {"battery.soc": seq}) for seq in range(1, 51)], sinks=SINKS)
    task = asyncio.create_task(feeder(sink, lake, events).run())
    await until(lambda: events)
    put(lake, [made(seq, seq, {"battery.soc": seq}) for seq in range(51, 91)], sinks=SINKS)
    server.failing = False
    await until(lambda: len(events) >= 2 and lake.do(pending.next_batch, "lake", 0) is None)
    await cancel_tasks(task)
    server.close()
    assert [seq for _, _, seq in sorted(server.arrived())] == [*range(1, 91)]
    assert [each.name for each in events] == ["sink_failed", "sink_recovered"]
    assert "503" in str(events[0].data["reason"])


@pytest.mark.requirement("R104")
def test_a_gap_delays_what_is_behind_it_for_a_limited_time(store: Store) -> None:
    put(store, [made(seq, seq, {"battery.soc": 1.0}) for seq in (1, 2, 4, 5)], sinks=SINKS, at_ms=1000)

    def ready(now_ms: int) -> list[int]:
        batch = store.do(pending.next_batch, "lake", now_ms)
        return [] if batch is None else [each.seq for each in batch.records]

    assert ready(1000) == [1, 2]
    assert ready(1000 + pending.GAP_MS) == [1, 2, 4, 5]
    put(store, [made(3, 3, {"battery.soc": 1.0})], sinks=SINKS, at_ms=2000)
    assert ready(2000) == [1, 2, 3, 4, 5]
    batch = store.do(pending.next_batch, "lake", 2000)
    assert batch is not None
    store.do(pending.delivered, "lake", batch)
    assert store.do(pending.next_batch, "lake", 2000) is None


@pytest.mark.requirement("R104")
def test_a_gap_delays_later_boots_for_a_limited_time(store: Store) -> None:
    """Not those of other vehicles, nor those before it; and nothing for ever."""
    gap = [made(seq, seq, {"battery.soc": 1.0}, boot=2) for seq in (1, 2, 4)]
    others = [made(1, 1, {"battery.soc": 1.0}, boot=1), made(1, 1, {"battery.soc": 1.0}, ev="EV-2", boot=9)]
    put(store, [made(seq, seq, {"battery.soc": 1.0}, boot=3) for seq in (1, 2)], sinks=SINKS, at_ms=900)
    put(store, [*gap, *others], sinks=SINKS, at_ms=1000)

    def ready(now_ms: int) -> list[tuple[str, int, int]]:
        batch = store.do(pending.next_batch, "lake", now_ms)
        return [] if batch is None else [each.key for each in batch.records]

    before = [("EV-1", 1, 1), ("EV-1", 2, 1), ("EV-1", 2, 2)]
    assert ready(1000) == [*before, ("EV-2", 9, 1)]
    behind = [("EV-1", 3, 1), ("EV-1", 3, 2)]
    assert ready(1000 + pending.GAP_MS) == [*before, ("EV-1", 2, 4), *behind, ("EV-2", 9, 1)]
    put(store, [made(3, 3, {"battery.soc": 1.0}, boot=2)], sinks=SINKS, at_ms=2000)
    assert ready(2000) == [*before, ("EV-1", 2, 3), ("EV-1", 2, 4), *behind, ("EV-2", 9, 1)]


@pytest.mark.requirement("R104")
def test_a_batch_is_bounded_and_in_order_however_much_comes_late(store: Store) -> None:
    late = [(boot, 10_000 * late + 1, 10_000 * late + 1000) for boot in (1, 2) for late in range(10)]
    runs = [(3, 1, 1), *reversed(late)]
    with store.engine.begin() as connection:
        append_rows(
            connection,
            telemetry_pending,
            ("sink", "ev", "boot", "first_seq", "last_seq", "received_ms"),
            [("lake", ev, *run, 0) for run in runs for ev in ("EV-1", "EV-2")],
        )
    given: dict[str, list[tuple[int, int]]] = {"EV-1": [], "EV-2": []}
    while (batch := store.do(pending.next_batch, "lake", pending.GAP_MS)) is not None:
        assert batch.lost < pending.MAX_RECORDS + 1000
        query = select(telemetry_pending).where(telemetry_pending.c.id.in_(batch.runs))
        rows = store.do(lambda connection, query=query: connection.execute(query).all())
        for each in sorted(rows, key=lambda row: (row.boot, row.first_seq)):
            given[each.ev].append((each.boot, each.first_seq))
        store.do(pending.delivered, "lake", batch)
    assert given == dict.fromkeys(given, sorted((boot, first) for boot, first, _ in runs))


@pytest.mark.requirement("R104")
def test_a_batch_has_the_records_of_many_vehicles(store: Store) -> None:
    """More vehicles than one statement can name, and a number for which no statement is prepared."""
    evs = [f"EV-{number:03}" for number in range(170)]
    put(store, [made(1, 1, {"battery.soc": 1.0}, ev=ev) for ev in evs], sinks=SINKS, at_ms=1000)
    batch = store.do(pending.next_batch, "lake", 1000)
    assert batch is not None
    assert [each.key for each in batch.records] == [(ev, 1, 1) for ev in evs]
    store.do(pending.delivered, "lake", batch)
    put(store, [made(1, 1, {"battery.soc": 1.0}, ev=ev, boot=2) for ev in evs[::-1]], sinks=SINKS, at_ms=1000)
    put(store, [made(2, 2, {"battery.soc": 1.0}, ev=ev) for ev in evs], sinks=SINKS, at_ms=1000)
    batch = store.do(pending.next_batch, "lake", 1000)
    assert batch is not None
    assert [each.key for each in batch.records] == [(ev, *each) for ev in evs for each in ((1, 2), (2, 1))]


def test_records_that_were_too_old_for_a_sink_are_counted(store: Store) -> None:
    put(store, [made(seq, seq, {"battery.soc": 1.0}) for seq in range(1, 8)], sinks=SINKS)
    store.do(lambda connection: connection.execute(text("DELETE FROM telemetry WHERE seq < 4")))
    batch = store.do(pending.next_batch, "lake", 0)
    assert batch is not None
    assert (batch.lost, [each.seq for each in batch.records]) == (3, [4, 5, 6, 7])


@pytest.mark.requirement("R106")
async def test_the_views_of_a_database_have_intervals(tmp_path: Path, cluster: Cluster, secret: Path) -> None:
    found = []
    for url in (f"sqlite:///{tmp_path}/views.sqlite3", cluster.url(cluster.create())):
        sink = opened(url, secret)
        records = [
            StoredRecord("EV-1", 1, seq, seq * 10_000, "city", {"motor.speed": speed}, b"")
            for seq, speed in enumerate([5.0, 9.0, 1.0, 4.0, 3.0, 8.0, 2.0])
        ]
        await sink.write(records)
        await sink.close()
        engine = open_engine(url)
        with engine.connect() as connection:
            names = ", ".join(f"motor_speed_{each}" for each in ("number", "min", "max", "last"))
            query = text(f"SELECT {names}, battery_soc_last FROM telemetry_1m ORDER BY bucket")
            found.append([tuple(row) for row in connection.execute(query)])
        engine.dispose()
    assert found[0] == found[1] == [(6, 1.0, 9.0, 8.0, None), (1, 2.0, 2.0, 2.0, None)]


def test_with_timescaledb_the_same_views_are_continuous_aggregates() -> None:
    """The statements only: no TimescaleDB is at hand to run them."""
    create, policy = view("telemetry_1m", 60, "postgresql", timescale=True, replace=True)
    assert create.startswith(
        "CREATE MATERIALIZED VIEW telemetry_1m WITH (timescaledb.continuous) AS SELECT time_bucket("
    )
    assert "add_continuous_aggregate_policy('telemetry_1m'" in policy
    assert view("telemetry_1m", 60, "postgresql", timescale=True, replace=False) == []


@pytest.mark.requirement("R107")
async def test_with_timescaledb_erasure_empties_the_continuous_aggregates(cluster: Cluster, secret: Path) -> None:
    """Also rows whose records a retention policy has dropped; none of other vehicles, and no other aggregate.

    TimescaleDB is not at hand: its information view has the documented columns, and plain tables are its hypertables.
    """
    url = cluster.url(cluster.create())
    tables = {"telemetry_1m": "_Materialized 1", "telemetry_15m": "_Materialized 2", "fleet_1h": "_Materialized 3"}
    engine = open_engine(url)
    with engine.begin() as connection:
        for schema in ("timescaledb_information", '"Internal"'):
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        rows = []
        for name, table in tables.items():
            connection.exec_driver_sql(f'CREATE TABLE "Internal"."{table}" (bucket timestamptz, ev varchar)')
            connection.exec_driver_sql(f"INSERT INTO \"Internal\".\"{table}\" VALUES (now(), 'EV-1'), (now(), 'EV-2')")
            rows.append(f"('public', '{name}', 'Internal', '{table}')")
        columns = "view_schema, view_name, materialization_hypertable_schema, materialization_hypertable_name"
        connection.exec_driver_sql(
            f"CREATE VIEW timescaledb_information.continuous_aggregates ({columns}) AS VALUES {', '.join(rows)}"
        )
    sink = opened(url, secret)
    await sink.write([StoredRecord(ev, 1, 1, 1, "city", {"battery.soc": 1.0}, b"") for ev in ("EV-1", "EV-2")])
    await sink.erase("EV-1")
    await sink.close()
    with engine.connect() as connection:
        left = {
            name: list(connection.exec_driver_sql(f'SELECT ev FROM "Internal"."{table}" ORDER BY ev').scalars())
            for name, table in tables.items()
        }
        assert list(connection.execute(select(series.c.ev)).scalars()) == ["EV-2"]
    engine.dispose()
    assert left == {"telemetry_1m": ["EV-2"], "telemetry_15m": ["EV-2"], "fleet_1h": ["EV-1", "EV-2"]}


@given(
    st.from_regex(EV_PATTERN),
    st.dictionaries(st.sampled_from(list(SIGNALS)), st.floats(-1e12, 1e12), min_size=1),
    st.integers(1, 2**53 - 1),
)
def test_a_line_is_what_the_grammar_reads(ev: str, found: dict[str, float], number: int) -> None:
    line = line_of(StoredRecord(ev, number, number, number, "city", found, b""))
    assert line is not None
    measurement, tags, fields, at_ns = parse_point(line)
    assert (measurement, tags, at_ns // 10**6) == ("telemetry", {"ev": ev}, number)
    assert fields == found | {"context": "city", "boot": number, "seq": number}
    with pytest.raises(ValueError):
        parse_point(line.replace(" ", "  ", 1))


@pytest.mark.requirement("R111")
def test_records_of_one_millisecond_are_points_of_their_own() -> None:
    """Also of two boots, and in the last millisecond that there is (ns in 64 bits)."""
    keys = [(boot, seq) for boot in (1900000000, 1900000001) for seq in range(1, 501)]
    lines = [line_of(StoredRecord("EV-1", *key, MAX_UTC_MS, "city", {"battery.soc": 50.0}, b"")) for key in keys]
    times = {parse_point(str(each))[3] for each in lines}
    assert len(times) == len(keys)
    assert max(times) < 2**63


def test_the_file_of_a_sink_is_its_owners(tmp_path: Path, secret: Path) -> None:
    sink = opened(f"sqlite:///{tmp_path}/lake.sqlite3", secret)
    asyncio.run(sink.write([]))
    asyncio.run(sink.close())
    assert (tmp_path / "lake.sqlite3").stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(tmp_path / "lake.sqlite3") as connection:
        assert connection.execute("SELECT count(*) FROM telemetry").fetchone() == (0,)
    connection.close()
