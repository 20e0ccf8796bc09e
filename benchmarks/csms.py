"""The back end: requests per second with and without its store, latency, memory, and a simultaneous start of stations.

Servers run in separate processes on one core, the load on another, databases on any. Without a disk, the server's CPU
time per request is compared: it gives the rate of a server with a core to itself, and hardly depends on other load of
the machine. If the disk is the limit, elapsed time is compared. Nodes of a cluster have the cores by turns, beside the
load.
"""

import asyncio
import contextlib
import itertools
import os
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Final, cast

import msgspec
import pytest
import uvloop

from benchmarks.figures import Figure, cpu_s, percentile
from benchmarks.load import csms_load
from benchmarks.load.csms_load import BOOT, BOOT_16, HEARTBEAT, START_16, STATUS, Load, Station
from csms.cluster.bus import Bus
from csms.cluster.connections import ConnectionRegistry
from csms.cluster.redis_bus import RedisBus
from csms.db.store_key import load_store_key
from pki_tools.tree import PkiTree, make_pki
from tests.csms.cluster.buses import redis_server
from tests.csms.databases import Cluster, running_cluster
from v2g.errors import TransportError
from v2g.ocpp.messages.provisioning import GetBaseReportRequest
from v2g.pki.keys import save_secret
from v2g_cli.demo.processes import free_port

ABOUT = "the back end: rates, latency, memory and starts, compared with the `ocpp` library's server"

PEER: Final = "ocpp 2.1, websockets, uvloop"
CORES: Final = sorted(os.sched_getaffinity(0))
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
FRAMES = Callable[[str], Iterator[bytes]]


class Server:
    """A server of `benchmarks.load.csms_server` on one core."""

    def __init__(self, kind: str, folder: Path, root: Path, *urls: str, core: int = CORES[0]) -> None:
        command = [sys.executable, "-m", "benchmarks.load.csms_server", kind, str(folder), str(core), str(root), *urls]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(cast(IO[bytes], self._process.stdout).readline())

    @property
    def cpu_s(self) -> float:
        """CPU time so far, user and system."""
        return time.clock_gettime(~self._process.pid << 3 | 2)  # clock_getcpuclockid(3) of a process, in Linux

    @property
    def rss(self) -> int:
        """Resident memory, octets."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * PAGE

    def close(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.communicate()


class Run(msgspec.Struct, frozen=True):
    """A load, and the server's resources meanwhile."""

    load: Load
    cpu_s: float

    @property
    def cpu_us(self) -> float:
        """CPU time per request, µs."""
        return self.cpu_s / self.load.answers * 1e6

    @property
    def us(self) -> float:
        """Elapsed time per request, µs."""
        return self.load.seconds / self.load.answers * 1e6


@contextlib.contextmanager
def serving(kind: str, root: Path, *urls: str, core: int = CORES[0]) -> Iterator[Server]:
    """Run a server in an empty folder; `urls` of a store and a bus."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(kind, Path(folder), root, *urls, core=core)
        try:
            yield server
        finally:
            server.close()


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield all figures."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        pki = make_pki(Path(folder) / "pki", now=datetime.now(UTC))
        root = pki.path("mo/root.pem")
        cluster, bus_url = None, ""
        try:  # before this process keeps to a core, which they would inherit
            cluster = stack.enter_context(running_cluster(fsync=True))
            bus_url = stack.enter_context(redis_server(Path(folder))).url
        except pytest.skip.Exception as reason:
            sys.stderr.write(f"without PostgreSQL or Redis: {reason}\n")
        os.sched_setaffinity(0, {CORES[-1]})
        yield from _without_store(root, quick=quick)
        yield from _of_16(root, quick=quick)
        yield from _durable("SQLite", root, quick=quick)
        if cluster is not None:
            yield from _durable("PostgreSQL", root, cluster.url(cluster.create()), quick=quick)
        if cluster is not None and bus_url:
            yield from _nodes(root, cluster, bus_url, quick=quick)
        yield from _connections(root, quick=quick)
        yield _start_up(Path(folder), pki)


def _without_store(root: Path, *, quick: bool) -> Iterator[Figure]:
    for name, frames, goal, ours, theirs in (
        ("Heartbeat", lambda _name: iter([HEARTBEAT]), 50_000, 100_000, 10_000),
        ("TransactionEvent", lambda name: iter([csms_load.event(name, 1)]), 40_000, 60_000, 2_000),
    ):
        runs = []
        for kind, requests in (("rpc", ours), ("ocpp", theirs)):
            with serving(kind, root) as server:
                runs.append(_run([server], 50, _repeated(frames, requests // (5000 if quick else 50))))
        yield Figure(
            f"{name}, validated and answered, without store: CPU of the server (goal {goal:,}/s of one core)",
            runs[0].cpu_us,
            "µs",
            target=1e6 / goal,
            peer=PEER,
            peer_value=runs[1].cpu_us,
            note=f"{1e6 / runs[0].cpu_us:.0f}/s of one core ({1e6 / runs[0].us:.0f}/s elapsed), "
            f"peer {1e6 / runs[1].cpu_us:.0f}/s",
        )


def _of_16(root: Path, *, quick: bool) -> Iterator[Figure]:
    """Yield what stations of 1.6 cost: without store beside the `ocpp` library, and with it beside an event of 2.1."""
    prefix = csms_load.OF_16.rstrip("-")
    runs = []
    for kind, requests in (("rpc", 60_000), ("ocpp", 2_000)):
        with serving(kind, root) as server:
            count = max(2, requests // (5000 if quick else 50))
            each = partial(_different, count)  # one that is repeated would be dropped
            runs.append(_run([server], 50, each, prefix=prefix))
    yield Figure(
        "MeterValues of OCPP 1.6, bridged, answered, without store: CPU of the server (goal 25 times the peer)",
        runs[0].cpu_us,
        "µs",
        target=runs[1].cpu_us / 25,
        peer="ocpp 2.1 (v16), websockets, uvloop",
        peer_value=runs[1].cpu_us,
        note=f"{1e6 / runs[0].cpu_us:.0f}/s of one core, {runs[1].cpu_us / runs[0].cpu_us:.1f} times the peer",
    )
    with serving("csms", root) as server:
        turns = uvloop.run(_in_turns(server, 3 if quick else 40, 2 if quick else 20))
    of_16, of_21 = (statistics.median(each) for each in zip(*turns, strict=True))
    yield Figure(
        "MeterValues of OCPP 1.6, durable in SQLite: CPU of the server (goal 1.15 times a TransactionEvent)",
        of_16,
        "µs",
        target=1.15 * of_21,
        note=f"{statistics.median(each / other for each, other in turns):.2f} times a TransactionEvent of {of_21:.0f} "
        f"µs, the median of {len(turns)} pairs",
    )


async def _in_turns(server: Server, rounds: int, count: int) -> list[tuple[float, float]]:
    """Return the CPU time of values of 1.6 and of an event of 2.1, µs, in each of some rounds: stations of both send
    `count` of them in turns to one server, so that other load of the machine touches both."""
    latencies: list[float] = []
    groups = []
    for prefix, first, frame in (
        (csms_load.OF_16, (BOOT_16, START_16), csms_load.values_16), ("CS-", (BOOT,), csms_load.event)
    ):  # fmt: skip
        begin = partial(_repeat, first)
        stations = await csms_load.connect(server.port, [f"{prefix}{n}" for n in range(60)], begin, latencies)
        await csms_load.run(stations, latencies)
        groups.append((stations, frame))
    await asyncio.sleep(0.5)  # by then the follow-up work of the boot is done
    found = []
    for turn in range(rounds):
        spans = []
        for stations, frame in groups:
            for each in stations:
                each.again(iter([frame(each.name, turn * count + number) for number in range(count)]), 0.0)
            before = server.cpu_s
            await csms_load.run(stations, latencies)
            await asyncio.sleep(0.1)
            spans.append((server.cpu_s - before) / len(stations) / count * 1e6)
        found.append((spans[0], spans[1]))
    for stations, _ in groups:
        await _leave(stations)
    return found[1:]


def _repeat(frames: Sequence[bytes], _name: str) -> Iterator[bytes]:
    return iter(frames)


def _different(count: int, name: str) -> Iterator[bytes]:
    return (csms_load.values_16(name, number) for number in range(count))


def _repeated(frames: FRAMES, times: int) -> FRAMES:
    def repeat(name: str) -> Iterator[bytes]:
        (frame,) = frames(name)
        for _ in range(max(2, times)):
            yield frame

    return repeat


def _events(*, quick: bool) -> FRAMES:
    return lambda name: (csms_load.event(name, number) for number in range(3 if quick else 200))


def _durable(store: str, root: Path, *store_url: str, quick: bool) -> Iterator[Figure]:
    with serving("csms", root, *store_url) as server:
        run = _run([server], 80, _events(quick=quick), boot=True)
    yield Figure(
        f"TransactionEvent, durable in {store}, 80 stations as fast as they are answered (goal 5,000/s)",
        run.us,
        "µs",
        target=200.0,
        note=f"{1e6 / run.us:.0f}/s; CPU of the server {run.cpu_us:.0f} µs, {1e6 / run.cpu_us:.0f}/s of one core; "
        f"p99 {percentile(run.load.latencies, 0.99) * 1000:.1f} ms; {_disk()}",
    )
    yield from _paced(store, root, *store_url, quick=quick)


def _nodes(root: Path, cluster: Cluster, bus_url: str, *, quick: bool) -> Iterator[Figure]:
    """Yield what an event costs at one, two and four nodes of a cluster, each with as many stations, what a command
    takes through another node beside events, and what many new stations cost that come at once."""
    save_secret(root.with_name("store.key"), secrets.token_hex(32).encode())
    urls = cluster.url(cluster.create()), bus_url
    alone_us = 0.0
    with contextlib.ExitStack() as stack:
        servers: list[Server] = []
        for count in (1, 2, 4):
            while len(servers) < count:
                core = CORES[len(servers) % len(CORES)]
                servers.append(stack.enter_context(serving("csms", root, *urls, core=core)))
            run = _run(servers, 80 * count, _events(quick=quick), boot=True, prefix=f"CS{count}")
            alone_us = alone_us or run.cpu_us
            yield Figure(
                f"TransactionEvent, durable in PostgreSQL, 80 stations at each of {count} nodes of one cluster: CPU",
                run.cpu_us,
                "µs",
                target=1.15 * alone_us if count > 1 else None,
                note=f"of all nodes; {1e6 / run.us:.0f}/s; load and PostgreSQL beside them on {len(CORES)} cores",
            )
        key = load_store_key(root.with_name("store.key"), root.parent).derive("bus between nodes").encode()
        yield uvloop.run(_commands(servers[:2], RedisBus(bus_url, "asks", key), quick=quick))
        yield uvloop.run(_storm(servers[:2], cluster, quick=quick))


async def _commands(servers: Sequence[Server], bus: Bus, *, quick: bool) -> Figure:
    """Have a node ask stations of others, while these send as many events as a back end must bear."""
    count, rate, seconds = (20, 100, 1.0) if quick else (250, 5000, 6.0)
    latencies: list[float] = []
    spans: list[float] = []
    names = [f"asked-{number}" for number in range(count)]
    stations: list[Station] = []
    for place, server in enumerate(servers):
        own = names[place :: len(servers)]
        stations += await csms_load.connect(server.port, own, lambda _name: iter([BOOT]), latencies)
    await csms_load.run(stations, latencies)
    frames = int(rate * seconds / count)
    for each in stations:
        each.again((csms_load.event(each.name, number) for number in range(frames)), count / rate)
    registry = ConnectionRegistry(bus)
    await bus.start()
    load = asyncio.create_task(csms_load.run(stations, latencies, count / rate))
    for number in itertools.count():
        if load.done():
            break
        begun = time.perf_counter()
        request = GetBaseReportRequest(request_id=number, report_base="FullInventory")
        await registry.call(names[number % count], request)
        spans.append(time.perf_counter() - begun)
        await asyncio.sleep(0.005)
    found = await load
    await bus.close()
    await _leave(stations)
    return Figure(
        f"a command to a station of another node, while {rate}/s are offered, p99",
        percentile(spans, 0.99) * 1000,
        "ms",
        target=50.0,
        note=f"p50 {percentile(spans, 0.5) * 1000:.1f} ms of {len(spans)}; {found.answers / found.seconds:.0f}/s "
        f"answered, load and all programs on {len(CORES)} cores",
    )


async def _storm(servers: Sequence[Server], cluster: Cluster, *, quick: bool) -> Figure:
    """Connect many stations that were never seen, at once; one that is dropped comes again after a second."""
    count = 100 if quick else 10_000
    postgres = int((cluster.folder / "data" / "postmaster.pid").read_text().split()[0])
    answered: list[float] = []
    drops = 0

    async def come(number: int) -> Station:
        nonlocal drops
        while True:
            station = Station(f"new-{number}", iter([BOOT, STATUS]), answered.append)
            try:
                port = servers[number % len(servers)].port
                await asyncio.get_running_loop().create_connection(
                    partial(lambda each: each, station), "127.0.0.1", port
                )
                await station.opened
                station.start()
                await station.done
                return station
            except (OSError, TransportError):
                drops += 1
                await asyncio.sleep(1.0)

    def used() -> tuple[float, float]:
        return sum(each.cpu_s for each in servers), sum(cpu_s(pid) for pid in _children(postgres))

    begun, before = time.perf_counter(), used()
    stations = await asyncio.gather(*map(come, range(count)))
    seconds = time.perf_counter() - begun
    ours, theirs = (after - each for after, each in zip(used(), before, strict=True))
    await _leave(stations)
    refused = sum(each.refused for each in stations)
    return Figure(
        f"{count:,} new stations connect and boot at {len(servers)} nodes at once: until all are answered",
        seconds,
        "s",
        note=f"{drops} dropped, {refused} refused; CPU of a station {1e3 * ours / count:.2f} ms at its node, "
        f"{1e3 * theirs / count:.2f} ms in PostgreSQL: 100,000 need {1e5 * theirs / count:.0f} s of a core of it",
    )


def _children(parent: int) -> list[int]:
    """Return the processes of one."""
    return [int(each) for each in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _paced(store: str, root: Path, *store_url: str, quick: bool) -> Iterator[Figure]:
    """Offer the required load, and measure the latency."""
    stations, rate, seconds = (20, 100, 0.5) if quick else (250, 5000, 4.0)
    frames = int(rate * seconds / stations) or 1
    with serving("csms", root, *store_url) as server:
        run = _run(
            [server],
            stations,
            lambda name: (csms_load.event(f"{name}-2", n) for n in range(frames)),
            boot=True,
            interval=stations / rate,
        )
    yield Figure(
        f"its latency in {store} while {rate}/s are offered, p99",
        percentile(run.load.latencies, 0.99) * 1000,
        "ms",
        target=20.0,
        note=f"p50 {percentile(run.load.latencies, 0.5) * 1000:.1f} ms; {stations} stations, "
        f"{run.load.answers / run.load.seconds:.0f}/s answered, CPU of the server {run.cpu_us:.0f} µs",
    )


def _disk() -> str:
    """Return the time of a durable write of 4 KiB on this disk."""
    spans = []
    with tempfile.TemporaryFile() as file:
        for _ in range(100):
            file.write(bytes(4096))
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            spans.append(time.perf_counter() - begun)
    return f"fdatasync p50 {percentile(spans, 0.5) * 1000:.1f}, p99 {percentile(spans, 0.99) * 1000:.1f} ms"


def _run(
    servers: Sequence[Server],
    count: int,
    frames: FRAMES,
    *,
    boot: bool = False,
    interval: float = 0.0,
    prefix: str = "CS",
) -> Run:
    async def work() -> Run:
        latencies: list[float] = []
        started = [BOOT_16, START_16] if prefix == csms_load.OF_16.rstrip("-") else [BOOT]
        first: FRAMES = (lambda _name: iter(started)) if boot else frames
        names = [f"{prefix}-{number}" for number in range(count)]
        stations: list[Station] = []
        for place, server in enumerate(servers):
            stations += await csms_load.connect(server.port, names[place :: len(servers)], first, latencies)
        if boot:
            await csms_load.run(stations, latencies)
            for station in stations:
                station.again(frames(station.name), interval)
            await asyncio.sleep(0.5)  # by then the follow-up work of the boot is done
        before = sum(server.cpu_s for server in servers)
        load = await csms_load.run(stations, latencies, interval)
        used = sum(server.cpu_s for server in servers) - before
        await _leave(stations)
        return Run(load, used)

    return uvloop.run(work())


async def _leave(stations: list[Station]) -> None:
    for station in stations:
        station.transport.abort()
    await asyncio.gather(*(station.gone for station in stations))


def _connections(root: Path, *, quick: bool) -> Iterator[Figure]:
    count = 50 if quick else 500

    async def start(server: Server, first: int) -> tuple[list[Station], float]:
        answered: list[float] = []
        begun = time.perf_counter()
        names = [f"CS-{n}" for n in range(first, first + count)]
        stations = await csms_load.connect(
            server.port, names, lambda _name: iter([BOOT, STATUS]), answered, together=count
        )
        await csms_load.run(stations, answered)
        return stations, time.perf_counter() - begun

    async def work(server: Server) -> tuple[float, float, float]:
        used = server.cpu_s
        stations, seconds = await start(server, 0)
        used = server.cpu_s - used
        await asyncio.sleep(0.5)
        before = server.rss
        for group in range(1, 4):
            stations += (await start(server, group * count))[0]
        await asyncio.sleep(0.5)
        grown = server.rss - before
        await _leave(stations)
        return seconds, used, grown / 3 / count / 1024

    with serving("csms", root) as server:
        seconds, cpu_s, kib = uvloop.run(work(server))
    yield Figure(
        f"{count} stations connect and boot together: until all are answered",
        seconds,
        "s",
        target=1.0,
        note=f"BootNotification and StatusNotification each, stored in SQLite; no TLS; {cpu_s:.2f} s of CPU",
    )
    yield Figure(
        "memory of one more connected station", kib, "KiB", target=16.0, note="unencrypted WebSocket, booted and idle"
    )


def _start_up(folder: Path, pki: PkiTree) -> Figure:
    spans = []
    server = f'certificate = "{pki.path("csms/server/chain.pem")}"\nkey = "{pki.path("csms/server/leaf.key")}"\n'
    roots = f'client_roots = ["{pki.path("csms/root.pem")}"]\n'
    config, events = folder / "csms.toml", folder / "events.jsonl"
    config.write_text(
        f'data_dir = "{folder}/data"\n[ocpp]\nport = {free_port()}\n{server}{roots}[api]\nport = {free_port()}\n'
        f'{server}[trust]\nroots = ["{pki.path("mo/root.pem")}"]\n'
    )
    config.chmod(0o600)
    # byte code is compiled, as after an installation
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for _ in range(4):  # the first one creates the database
        events.unlink(missing_ok=True)
        begun = time.perf_counter()
        command = [sys.executable, "-m", "csms", "--config", str(config), "--events", str(events)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
        while not events.exists() or b'"ready"' not in events.read_bytes():
            if process.poll() is not None:
                raise AssertionError("the back end has ended")
            time.sleep(0.002)
        spans.append(time.perf_counter() - begun)
        process.terminate()
        process.wait()
    return Figure(
        "start of the back end, until it is ready",
        min(spans[1:]),
        "s",
        target=1.0,
        note=f"SQLite, TLS; the first time, with byte code compiled and tables created, {spans[0]:.1f} s",
    )
