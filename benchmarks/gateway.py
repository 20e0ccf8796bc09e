"""Telemetry at the back end: ingest, workers, latest states, a map, and fleets of simulated vehicles."""

import asyncio
import contextlib
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from redis import Redis

from benchmarks.figures import TICKS, Figure, cpu_s, median, microseconds, percentile
from benchmarks.load.gateway_vehicles import record
from csms.accounts.rules import Role
from csms.app import running
from csms.db.store import Store, open_sqlite
from csms.db.store_key import load_store_key
from csms.telemetry import store as rows
from csms.telemetry.config import IngestionWorker, MqttSource
from csms.telemetry.latest import LatestStates
from csms.telemetry.rules import read_delivery
from csms.telemetry.seal import open_seal
from csms.telemetry.workers import IngestWorkers, WorkerSettings
from csms.vehicles import store as values
from csms.vehicles.rules import VehicleState, encode_state, readings_of
from pki_tools.tree import PkiTree, make_pki
from tests.csms.cluster.buses import redis_server
from tests.csms.databases import Cluster, running_cluster
from tests.csms.support import TOKENS, make_config
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import Supervisor
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.signals import encode_record
from v2g_cli.demo.processes import free_port

ABOUT = "telemetry at the back end: ingest, workers, latest states, a map, fleets"
REQUIREMENTS = ("R78", "R110", "R172", "R174", "R175", "R176")

BATCH: Final = 100
UPDATES_PER_S: Final = 30_000
"""Target of one core."""


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield all figures."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # on disk, not in memory
        place = Path(folder)
        yield from _ingest_sqlite(place, 5 if quick else 300)
        try:
            with running_cluster(fsync=True) as cluster:
                yield from _ingest_postgresql(place, cluster, 5 if quick else 300)
                yield from asyncio.run(_workers(place, cluster, 20 if quick else 1000))
        except pytest.skip.Exception as error:
            print(error, file=sys.stderr)
        yield from _latest(place, 20 if quick else 2000)
        yield from asyncio.run(_readers(place, 100 if quick else 10_000, 20 if quick else 1000))
        for vehicles, rounds in ((20, 2),) if quick else ((1000, 10), (10_000, 1)):
            yield from asyncio.run(_fleet(place, vehicles, rounds))


def deliveries(ev: str, number: int) -> list[bytes]:
    """Return a vehicle's deliveries of `BATCH` records."""
    return [
        encode_delivery(encode_record(record(ev, each * BATCH + seq)) for seq in range(1, BATCH + 1))
        for each in range(number)
    ]


def _store_all(store: Store, bodies: list[bytes], *, sealed_by: Path | None = None) -> float:
    """Return CPU time of this process for each record, µs; ten deliveries share a commit. Records are sealed by the
    store key in a folder."""
    if sealed_by is not None:
        asyncio.run(open_seal(store, load_store_key(None, sealed_by), 0, 30, sealing=True))
    begin = time.process_time()
    for start in range(0, len(bodies), 10):
        arrivals = [rows.Arrival(read_delivery(each), 0) for each in bodies[start : start + 10]]
        store.do(rows.store, arrivals)
    return (time.process_time() - begin) / (len(bodies) * BATCH) * 1e6


def _rate(us: float) -> str:
    return f"{1e6 / us:,.0f} updates/s a core"


def _ingest_sqlite(place: Path, number: int) -> Iterator[Figure]:
    """Yield an update through the ingest into SQLite, beside a plain INSERT for each."""
    open_store = open_sqlite(place / "open.sqlite3")
    unsealed = _store_all(open_store, deliveries("EV-1", number))
    open_store.close()
    store = open_sqlite(place / "csms.sqlite3")
    spent = _store_all(store, deliveries("EV-1", number), sealed_by=place)
    store.close()
    plain = sqlite3.connect(place / "plain.sqlite3", isolation_level=None)
    plain.execute("PRAGMA journal_mode=WAL")
    plain.execute("PRAGMA synchronous=FULL")
    plain.execute("CREATE TABLE t (ev, boot, seq, at_ms, document, PRIMARY KEY (ev, boot, seq))")
    body = encode_record(record("EV-1", 1))
    begin, calls = time.process_time(), number * 10
    for seq in range(calls):
        plain.execute("INSERT INTO t VALUES ('EV-1', 1, ?, 0, ?)", (seq, body))
    peer = (time.process_time() - begin) / calls * 1e6
    plain.close()
    yield Figure(
        "CPU of an update, from JSON to durable in SQLite",
        spent,
        "µs",
        target=1e6 / UPDATES_PER_S,
        peer="an INSERT and commit for each, JSON as it came",
        peer_value=peer,
        note=f"{_rate(spent)}; checked, once, sealed (plain: {unsealed:.0f} µs); 1,000 in a commit",
    )


def _server_cpu(cluster: Cluster) -> float:
    """Return CPU time of the database server with all its processes so far, s."""
    folder = parse_qs(urlsplit(cluster.url("x")).query)["host"][0]
    parent = int((Path(folder) / "data" / "postmaster.pid").read_text().splitlines()[0])
    total = 0
    for each in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = each.read_text().rpartition(")")[2].split()
            if int(each.parent.name) == parent:
                total += sum(map(int, fields[11:15]))  # also of those that have ended
            elif int(fields[1]) == parent:
                total += sum(map(int, fields[11:13]))
    return total / TICKS


def _ingest_postgresql(place: Path, cluster: Cluster, number: int) -> Iterator[Figure]:
    """Yield the same into PostgreSQL, with the server's own CPU."""
    store = Store(cluster.url(cluster.create()))
    bodies, before = deliveries("EV-1", number), _server_cpu(cluster)
    ours = _store_all(store, bodies, sealed_by=place)
    theirs = (_server_cpu(cluster) - before) / (number * BATCH) * 1e6
    store.close()
    yield Figure(
        "CPU of an update, from JSON to durable in PostgreSQL",
        ours,
        "µs",
        target=1e6 / UPDATES_PER_S,
        note=f"{_rate(ours)}, and {theirs:.0f} µs of the server's, on a core of its own",
    )


async def _workers(place: Path, cluster: Cluster, number: int) -> list[Figure]:
    """Return the CPU of an update with one worker and with two, each with all cores."""
    found = {}
    for workers in (1, 2):
        store = Store(cluster.url(cluster.create()))
        supervisor = Supervisor(lambda _event: None)
        url = store.engine.url.render_as_string(hide_password=False)
        pool = IngestWorkers(WorkerSettings(url, "", str(place), sealed=True, key_days=30), workers, supervisor)
        pool.start()
        evs = [f"EV-{each}" for each in range(40)]
        await asyncio.gather(*(pool.receive(f"W-{each}", deliveries(f"W-{each}", 1)[0], 0, ()) for each in range(20)))
        bodies = {ev: deliveries(ev, number // len(evs) + 1) for ev in evs}
        before = sum(map(cpu_s, pool.running.values()))

        async def drive(ev: str, pool: IngestWorkers = pool, bodies: dict[str, list[bytes]] = bodies) -> None:
            for each in bodies[ev]:
                await pool.receive(ev, each, 0, ("aggregates",))

        await asyncio.gather(*map(drive, evs))
        records = sum(map(len, bodies.values())) * BATCH
        found[workers] = (sum(map(cpu_s, pool.running.values())) - before) / records * 1e6
        await pool.close()
        await supervisor.close()
        store.close()
    apart = 100 * abs(found[2] / found[1] - 1)
    note = f"one worker {found[1]:.1f} µs, two {found[2]:.1f} µs an update"
    return [Figure("CPU of an update with two workers differs from one by", apart, "%", target=10, note=note)]


def _latest(place: Path, calls: int) -> Iterator[Figure]:
    """Yield the cost of an update of the latest state, beside one that writes the database each time."""
    store = open_sqlite(place / "latest.sqlite3")
    latest = LatestStates(store, Clock())
    seq = 0

    def update() -> None:
        nonlocal seq
        seq += 1
        latest.update([record("EV-1", seq)])

    def write() -> None:
        nonlocal seq
        seq += 1
        store.do(values.save_states, [VehicleState("EV-1", readings_of(record("EV-1", seq)))], {"EV-1": seq})

    cached = median(microseconds(update, calls=calls))
    written = median(microseconds(write, calls=max(3, calls // 20)))
    store.close()
    yield Figure(
        "an update of the latest state",
        cached,
        "µs",
        peer="without the cache: a write of the database each",
        peer_value=written,
        note=f"{1e6 / cached:,.0f} writes/s beside {1e6 / written:,.0f}; the database gets one in 10 s a vehicle",
    )


READER: Final = """
import http.client, json, ssl, sys, time
port, root, token, calls, path = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
connection = http.client.HTTPSConnection("localhost", port, context=ssl.create_default_context(cafile=root))
spans = []
for number in range(calls + 10):
    begin = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": "Bearer " + token})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body
    if number >= 10:
        spans.append((time.perf_counter() - begin) * 1e3)
    time.sleep(0.001)
print(json.dumps({"spans": spans, "bytes": len(body), "vehicles": len(json.loads(body))}))
"""


@contextlib.asynccontextmanager
async def _back_end(place: Path, **changes: Any) -> AsyncIterator[tuple[Any, PkiTree]]:
    with tempfile.TemporaryDirectory(dir=place) as folder:
        pki = make_pki(Path(folder) / "pki", now=datetime.now(UTC))
        config = make_config(Path(folder), pki, api={"requests_per_s": 1e5, "requests_at_once": 10**6}, **changes)
        async with running(config) as csms:
            yield csms, pki


async def _readers(place: Path, vehicles: int, calls: int) -> list[Figure]:
    """Return how long readers wait for one state and for the states of all vehicles, over HTTPS."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        pki = make_pki(Path(folder) / "pki", now=datetime.now(UTC))
        config = make_config(Path(folder), pki, api={"requests_per_s": 1e5, "requests_at_once": 10**6})
        config.data_dir.mkdir(mode=0o700)
        store = open_sqlite(config.data_dir / "csms.sqlite3")
        evs = [f"EV-{number:05}" for number in range(vehicles)]
        store.do(
            values.save_states, [VehicleState(ev, readings_of(record(ev, 61))) for ev in evs], dict.fromkeys(evs, 1)
        )
        states = [encode_state(each) for each, _ in store.do(values.states)]
        store.close()
        async with running(config) as csms:
            signals = "location.latitude,location.longitude,battery.soc"

            async def read(path: str, times: int) -> dict[str, Any]:
                ca, port = pki.path("csms/root.pem"), str(csms.ports["api"])
                arguments = [port, str(ca), TOKENS[Role.ADMIN], str(times), path]
                reader = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", READER, *arguments, stdout=subprocess.PIPE
                )
                found: dict[str, Any] = json.loads((await reader.communicate())[0])
                return found

            one = await read(f"/vehicles/{evs[-1]}", calls)
            everything = await read(f"/vehicles?signals={signals}", max(3, calls // 50))
    peer = _redis_spans(place, states[0], calls)
    return [
        Figure(
            "a vehicle's latest state, over HTTPS",
            percentile(one["spans"], 0.99),
            "ms",
            target=20,
            peer="GET of the same state from Redis, without TLS and permissions" if peer else "",
            peer_value=percentile(peer, 0.99) if peer else None,
            note=f"p99; {median(one['spans']):.2f} p50",
        ),
        Figure(
            f"position and charge of {vehicles:,} vehicles for a map, over HTTPS",
            percentile(everything["spans"], 0.99),
            "ms",
            target=200,
            note=f"p99; {median(everything['spans']):.0f} p50, {everything['bytes'] / 1e6:.2f} MB",
        ),
    ]


def _redis_spans(place: Path, state: bytes, calls: int) -> list[float]:
    """Return how long Redis takes, ms; nothing where it is missing."""
    try:
        with redis_server(place) as server, Redis.from_url(server.url) as redis:
            redis.set("state", state)
            return [each / 1000 for each in microseconds(lambda: redis.get("state"), calls=calls)]
    except pytest.skip.Exception:
        return []


@contextlib.contextmanager
def plain_broker(place: Path, more: str = "") -> Iterator[int]:
    """Run a mosquitto without TLS and access control, as only a benchmark may; `more` lines of its settings."""
    port = free_port()
    config = place / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\n{more}")

    def allow_connections() -> None:
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    command = ["mosquitto", "-c", str(config)]
    environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, preexec_fn=allow_connections)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


async def _fleet(place: Path, vehicles: int, rounds: int) -> list[Figure]:
    """Return how a fleet's records arrive, over a broker, with connections of their own."""
    records = 10
    with tempfile.TemporaryDirectory(dir=place) as folder, plain_broker(Path(folder)) as port:
        mqtt = MqttSource(host="127.0.0.1", port=port, without_tls=True, stream=False)
        async with _back_end(place, mqtt=mqtt, ingestion_worker=IngestionWorker()) as (_csms, _pki):
            before = time.process_time()
            arguments = [str(each) for each in (port, vehicles, records, rounds)]
            fleet = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "benchmarks.load.gateway_vehicles", *arguments, stdout=subprocess.PIPE
            )
            found = json.loads((await fleet.communicate())[0])
            spent = (time.process_time() - before) / (vehicles * rounds * records) * 1e6
    sent = vehicles * rounds * records
    rate = sent / found["took_s"]
    return [
        Figure(
            f"records lost of {vehicles:,} vehicles at once, {sent:,} records over MQTT",
            sent - found["covered"],
            "records",
            target=1,
            note=f"{rate:,.0f} records/s, {spent:.0f} µs of CPU each at the back end; a delivery of {records} until "
            f"its mark {found['p99_s']:.1f} s p99; {found['repeated']} sent again",
        )
    ]
