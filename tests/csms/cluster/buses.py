"""Both kinds of bus, for tests that hold on each: nodes that can be started, closed and killed."""

import contextlib
import secrets
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from redis import Redis
from redis.exceptions import RedisError

from csms.cluster.bus import Bus, LocalBus, LocalHub
from csms.cluster.redis_bus import RedisBus

KEY = b"key of all nodes"


class Buses(msgspec.Struct, frozen=True):
    """`node(name)` returns a bus that has not started; `kill(bus)` ends one as kill -9 would; `prefix` is of keys in
    Redis."""

    node: Callable[[str], Bus]
    kill: Callable[[Bus], Awaitable[None]]
    prefix: str = ""


def local_buses() -> Buses:
    """Nodes of one process."""
    hub = LocalHub()

    async def kill(bus: Bus) -> None:
        await bus.close()

    return Buses(lambda name: LocalBus(name, hub), kill)


def redis_buses(url: str) -> Buses:
    """Nodes at a Redis server, under a prefix of their own."""
    prefix = f"test-{secrets.token_hex(4)}"

    async def kill(bus: Bus) -> None:
        assert isinstance(bus, RedisBus)
        await bus.kill()
        with Redis.from_url(url) as redis:  # as if it had been silent for long, without waiting for that
            redis.zadd(f"{prefix}:nodes", {bus.node: 0})

    # Redis counts real time, in which a busy machine may let a living node be silent for a while.
    def node(name: str) -> Bus:
        return RedisBus(url, name, KEY, prefix=prefix, expiry_s=60, beat_s=0.1)

    return Buses(node, kill, prefix)


class RedisServer:
    """A redis-server that keeps nothing, on a socket in `folder`."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed (Debian package redis-server)")
        self._program = program
        self._folder = folder
        self.url = f"unix://{folder}/redis.sock"
        self._process = self._start()

    def restart(self) -> None:
        """Kill it and start it again, empty."""
        self.stop()
        self._process = self._start()

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        options = ["--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no"]
        process = subprocess.Popen([self._program, *options], cwd=self._folder, stdout=subprocess.DEVNULL)
        with Redis.from_url(self.url) as redis:
            for _ in range(1000):
                with contextlib.suppress(RedisError, OSError):
                    if redis.ping():
                        return process
                time.sleep(0.005)
        raise AssertionError("redis-server does not start")


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Run a server of one's own."""
    server = RedisServer(folder)
    try:
        yield server
    finally:
        server.stop()
