"""Vehicles behind a network that delays by up to 2 s, reorders, loses and parts, and a back end whose parts all fail.

Gateways run in a network namespace of their own, with a real mosquitto, PostgreSQL on a small disk, and Redis on the
other side. In the end the database has exactly what the outboxes had. `make chaos` runs ten minutes of it.
"""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from csms.vehicles import store as telemetry_values
from pki_tools.tree import PkiTree
from tests.csms.cluster.buses import RedisServer, redis_server
from tests.csms.databases import Cluster
from tests.interop.cable import EVCC_INTERFACE, SECC_INTERFACE, Cable, inside, ip, missing
from tests.interop.lossy import lossy_cable
from tests.telemetry.forward import forwarding
from tests.telemetry.nothing_lost import Field, field
from v2g.io.plc.link import ImpairmentConfig
from v2g_cli.demo.broker import Broker

SECONDS = float(os.environ.get("V2G_CHAOS_S", "30"))
VEHICLES = 4
PER_S = 25
"""Records of a vehicle: between the 10 and 50 a second of fast charging."""
BACK_END, VEHICLE = "10.87.0.1", "10.87.0.2"
BAD_NETWORK = ImpairmentConfig(loss=0.01, reorder=0.05, delay_ms=20, jitter_ms=2000, seed=time.time_ns() % 2**31)
DISK_MB = 400


@contextlib.contextmanager
def small_disk() -> Iterator[Path]:
    """Mount a file system of a limited size, not below pytest's folder, which only its owner may enter."""
    folder = Path(tempfile.mkdtemp(prefix="v2g-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def started(namespace: str, begin: str, end: str) -> "subprocess.Popen[bytes]":
    """Start a forwarder in a namespace."""
    command = inside(namespace, sys.executable, "-m", "tests.telemetry.forward", begin, end)
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@contextlib.contextmanager
def network(folder: Path, port: int) -> Iterator[Cable]:
    """Let `127.0.0.1:port` in the vehicles' namespace lead over the bad cable to a socket in `folder`."""
    with lossy_cable(f"t{os.getpid() % 10000}", BAD_NETWORK) as names:
        ip("-n", names.secc, "address", "add", f"{BACK_END}/24", "dev", SECC_INTERFACE)
        ip("-n", names.evcc, "address", "add", f"{VEHICLE}/24", "dev", EVCC_INTERFACE)
        forwarders = [
            started(names.secc, f"{BACK_END}:{port}", str(folder / "broker.sock")),
            started(names.evcc, f"127.0.0.1:{port}", f"{BACK_END}:{port}"),
        ]
        try:
            yield names
        finally:
            for each in forwarders:
                each.kill()
                each.communicate()


async def part(names: Cable, seconds: float) -> None:
    """Take the network away, without a word to those who use it."""
    ip("-n", names.secc, "link", "set", SECC_INTERFACE, "down")
    await asyncio.sleep(seconds)
    ip("-n", names.secc, "link", "set", SECC_INTERFACE, "up")


async def fill(disk: Path, cluster: Cluster, seconds: float) -> None:
    """Leave the database no room; a server that ends because of that is started again."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):  # else closing has something to write
        while True:
            file.write(bytes(2**20))
    await asyncio.sleep(seconds)
    ballast.unlink()
    await restart(cluster)


async def restart(cluster: Cluster) -> None:
    """Stop the database as a power cut does, and start it."""
    with contextlib.suppress(AssertionError):  # it has ended
        await asyncio.to_thread(cluster.stop)
    await asyncio.to_thread(cluster.start)


async def restart_redis(server: RedisServer) -> None:
    """Let Redis forget everything."""
    await asyncio.to_thread(server.restart)


async def has_everything(here: Field, redis: RedisServer) -> None:
    """Wait until the latest states, stored and in Redis, are those of each vehicle's last record."""
    newest: dict[str, tuple[int, int]] = {}
    marks = await here.store.read(lambda c: c.exec_driver_sql("SELECT ev, boot, highest FROM telemetry_marks").all())
    for ev, boot, highest in marks:
        newest[ev] = max(newest.get(ev, (0, 0)), (boot, highest))

    def stored() -> bool:
        return {each.ev: each.position for each, _ in here.store.do(telemetry_values.states)} == newest

    def shared() -> bool:
        with Redis.from_url(redis.url) as client:
            return {each.decode() for each in client.hkeys("v2g:latest")} == set(newest)

    await here.until(lambda: stored() and shared(), 60.0)


@pytest.mark.long
@pytest.mark.requirement("R83", "R100", "R171", "R173")
async def test_the_end_state_is_the_sources_whatever_network_and_servers_did(
    tmp_path: Path, pki: PkiTree, broker: Broker
) -> None:
    if reason := missing():
        pytest.skip(reason)
    chance = random.Random(seed := time.time_ns())
    async with contextlib.AsyncExitStack() as stack:
        disk = stack.enter_context(small_disk())
        database = disk / "postgresql"
        database.mkdir()
        cluster = Cluster(database, fsync=True)
        stack.callback(cluster.stop)
        redis = stack.enter_context(redis_server(tmp_path))
        names = stack.enter_context(network(tmp_path, broker.port))
        await stack.enter_async_context(forwarding(str(tmp_path / "broker.sock"), f"127.0.0.1:{broker.port}"))
        url = cluster.url(cluster.create())
        more = {"bus_url": redis.url, "bus_without_password": True}
        async with field(tmp_path, pki, broker, url, 2, config=more, sender=inside(names.evcc)) as here:
            supervisor = asyncio.create_task(here.supervise())
            for _ in range(VEHICLES):
                here.add_sender(round(SECONDS * PER_S), per_s=PER_S)
            misfortunes: list[Callable[[], Awaitable[None]]] = [
                here.restart_broker,
                here.kill_one_node,
                here.kill_a_sender,
                lambda: part(names, chance.uniform(1, 10)),
                lambda: fill(disk, cluster, chance.uniform(0.5, 3)),
                lambda: restart(cluster),
                lambda: restart_redis(redis),
            ]
            until, count = time.monotonic() + SECONDS, 0
            while time.monotonic() < until:
                if count % len(misfortunes) == 0:
                    chance.shuffle(misfortunes)  # each comes in every round
                await misfortunes[count % len(misfortunes)]()
                count += 1
                await asyncio.sleep(chance.uniform(0.5, 4))
            drain_from = time.monotonic()
            await here.finish()
            drained_s = time.monotonic() - drain_from
            supervisor.cancel()
            records = here.judge()
            await has_everything(here, redis)
            sys.stderr.write(f"{records} records, {count} misfortunes, {drained_s:.0f} s of draining, seed {seed}\n")
