"""Many stations at once: connected, cut off and back together; slow, stalled and hostile ones among them."""

import asyncio
import contextlib
import json
import os
import resource
import socket
from pathlib import Path

import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.typing import Subprotocol

from benchmarks.load import csms_load
from pki_tools.tree import PkiTree
from tests.csms.killable import BackendProcess, survivors_killed
from tests.waiting import until

__all__ = ["survivors_killed"]  # a fixture


@pytest.fixture
def backend(sqlite_databases: object, tmp_path: Path, pki: PkiTree) -> BackendProcess:
    """A back end in a process of its own."""
    return BackendProcess(tmp_path, sqlite_databases.create(), pki.path("mo/root.pem"))  # type: ignore[attr-defined]


async def start(port: int, names: list[str]) -> list[csms_load.Station]:
    """Connect stations, boot them, and have each send a heartbeat; everything has to be answered."""
    answered: list[float] = []
    frames = [csms_load.BOOT, csms_load.STATUS, csms_load.HEARTBEAT]
    stations = await csms_load.connect(port, names, lambda _name: iter(frames), answered)
    load = await csms_load.run(stations, answered)
    assert load.answers == len(frames) * len(names)
    return stations


@pytest.mark.requirement("R175")
@pytest.mark.parametrize("count", [60, pytest.param(5000, marks=pytest.mark.long)])
async def test_many_connections_and_the_storm_when_all_come_back(
    backend: BackendProcess, sqlite_databases: object, tmp_path: Path, pki: PkiTree, count: int
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 2 * count:
        pytest.skip(f"{count} connections need more files than the limit of {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    names = [f"CS-{number}" for number in range(count)]
    async with asyncio.timeout(60 + count / 10):
        first = await start(backend.port, names)
        cut_off = asyncio.gather(*(station.gone for station in first))
        backend.kill()
        await cut_off
        again = await asyncio.to_thread(
            BackendProcess, tmp_path, backend.store_url, pki.path("mo/root.pem"), "", backend.port
        )
        second = await start(again.port, names)
        third = await start(again.port, names[: count // 10])  # before their dead connections were noticed
        await asyncio.gather(*(station.gone for station in second[: count // 10]))  # which are closed for them
        assert not any(station.gone.done() for station in second[count // 10 :])
    await gone([*second[count // 10 :], *third])


async def test_stalled_and_slow_stations_keep_nobody_waiting(backend: BackendProcess) -> None:
    """One never finishes its handshake, one sends byte by byte, one asks and never reads; the others are answered."""
    stalled = socket.create_connection(("127.0.0.1", backend.port))
    stalled.sendall(b"GET /ocpp/CS-STALLED HTTP/1.1\r\nHost: x\r\n")
    answered: list[float] = []
    endless = csms_load.Station("CS-DEAF", iter([]), answered.append)
    await asyncio.get_running_loop().create_connection(lambda: endless, "127.0.0.1", backend.port)
    await endless.opened
    endless.transport.pause_reading()
    for _ in range(2000):
        endless.transport.write(csms_load.HEARTBEAT * 20)
    slow = csms_load.Station("CS-SLOW", iter([]), answered.append)
    await asyncio.get_running_loop().create_connection(lambda: slow, "127.0.0.1", backend.port)
    await slow.opened
    for byte in csms_load.BOOT:
        slow.transport.write(bytes([byte]))
        await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await until(lambda: answered)
        stations = await start(backend.port, [f"CS-{number}" for number in range(20)])
    stalled.close()
    await gone([*stations, slow, endless])


async def gone(stations: list[csms_load.Station]) -> None:
    """Cut connections off from this side."""
    for station in stations:
        station.transport.abort()
    await asyncio.gather(*(station.gone for station in stations))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
ACTIONS = st.sampled_from(
    [
        "BootNotification",
        "Heartbeat",
        "TransactionEvent",
        "Authorize",
        "NotifyEvent",
        "DataTransfer",
        "Reset",
        "Nothing",
    ]
)
TEXTS = st.one_of(
    st.text(max_size=60),
    JSON.map(json.dumps),
    st.tuples(st.sampled_from([2, 3, 4, 5, 6, 7, -1, 2.0]), st.text(max_size=40), ACTIONS, JSON).map(json.dumps),
    st.integers(1, 3000).map(lambda depth: "[" * depth),
)
FRAMES = st.one_of(
    TEXTS.map(lambda text: csms_load.frame(text[:60_000])),
    st.binary(max_size=40),
    st.tuples(st.integers(0, 255), st.binary(max_size=30)).map(
        lambda pair: bytes([pair[0]]) + b"\x9e\0\0\0\0" + pair[1]
    ),
)


def hostile(backend: BackendProcess, frames: list[bytes]) -> None:
    """Send anything on one connection, then be an ordinary station on another."""
    with socket.create_connection(("127.0.0.1", backend.port), timeout=20) as enemy:
        enemy.sendall(csms_load.upgrade_of("CS-HOSTILE"))
        while b"\r\n\r\n" not in enemy.recv(4096):
            pass
        with contextlib.suppress(OSError):  # it may be put out before it is done
            enemy.sendall(csms_load.BOOT + b"".join(frames))
    asyncio.run(_ordinary(backend.port))


async def _ordinary(port: int) -> None:
    protocols = [Subprotocol("ocpp2.1")]
    async with (
        asyncio.timeout(60),
        websockets.connect(f"ws://127.0.0.1:{port}/ocpp/CS-GOOD-{os.getpid()}", subprotocols=protocols) as good,
    ):
        await good.send(
            '[2,"1","BootNotification",{"reason":"PowerUp","chargingStation":{"model":"M","vendorName":"V"}}]'
        )
        assert json.loads(await good.recv())[2]["status"] == "Accepted"


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(FRAMES, max_size=8))
def test_nothing_that_one_station_sends_disturbs_another(backend: BackendProcess, frames: list[bytes]) -> None:
    hostile(backend, frames)


@pytest.mark.long
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(FRAMES, max_size=8))
def test_nothing_that_one_station_sends_disturbs_another_at_length(
    backend: BackendProcess, frames: list[bytes]
) -> None:
    hostile(backend, frames)
