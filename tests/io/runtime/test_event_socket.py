"""The event socket: what readers get, and that none of them can hold up the program."""

import asyncio
import contextlib
import json
import socket
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.waiting import until
from v2g.errors import TransportError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.event_socket import (
    MAX_LINE,
    MAX_READERS,
    MAX_WAITING,
    EventSocket,
    EventSocketConfig,
    socket_address,
)
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe

Connect = Callable[[Path], Awaitable[asyncio.StreamReader]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    writers = []

    async def reader(path: Path) -> asyncio.StreamReader:
        with socket_address(path) as address:
            reader, writer = await asyncio.open_unix_connection(address)
        writers.append(writer)
        return reader

    yield reader
    for each in writers:
        each.close()
        with contextlib.suppress(ConnectionError):
            await each.wait_closed()


async def until_read(events: EventSocket) -> None:
    await until(lambda: events.is_read)


async def test_a_reader_gets_kept_lines_then_events_as_they_happen(connect: Connect, tmp_path: Path) -> None:
    events = EventSocket(EventSocketConfig(socket=tmp_path / "e.sock"), lambda: (b"kept %d\n" % n for n in range(3)))
    await events.open()
    log = EventLog("evcc", Clock(), tmp_path / "e.jsonl", local=events)
    log(Observe("session", "before"))
    reader = await connect(tmp_path / "e.sock")
    assert [await reader.readline() for _ in range(3)] == [b"kept 0\n", b"kept 1\n", b"kept 2\n"]
    log(Observe("session", "ended", {"reason": "finished"}))
    line = await reader.readline()
    assert json.loads(line)["data"] == {"reason": "finished"}
    assert line == (tmp_path / "e.jsonl").read_bytes().splitlines(keepends=True)[-1]
    threading.Thread(target=log, args=(Observe("safety", "opened"),)).start()  # as the watchdog does
    assert json.loads(await reader.readline())["name"] == "opened"
    await events.close()
    assert await reader.read() == b""
    assert not (tmp_path / "e.sock").exists()
    log.close()


@pytest.mark.requirement("R29", "R167")
async def test_a_reader_that_does_not_read_is_disconnected_and_delays_nobody(connect: Connect, tmp_path: Path) -> None:
    """As a gateway that is stopped: the program's memory stays bounded, and other readers get everything."""
    events = EventSocket(EventSocketConfig(socket=tmp_path / "e.sock"), lambda: (b"kept\n",))
    await events.open()
    with socket.socket(socket.AF_UNIX) as hung:
        hung.connect(str(tmp_path / "e.sock"))
        await until_read(events)
        reader = await connect(tmp_path / "e.sock")
        line, count = b"x" * 1000 + b"\n", MAX_WAITING * 2
        assert await reader.readline() == b"kept\n"  # it is there
        async with asyncio.timeout(60):
            for _ in range(count):
                events.publish(line)
                assert await reader.readexactly(len(line)) == line
        received = 0
        hung.settimeout(5)
        while data := hung.recv(65536):
            received += len(data)
        assert received < count * len(line)
    await events.close()


async def test_the_number_of_readers_and_the_length_of_lines_are_bounded(connect: Connect, tmp_path: Path) -> None:
    events = EventSocket(EventSocketConfig(socket=tmp_path / "e.sock"), lambda: (b"kept\n",))
    await events.open()
    readers = [await connect(tmp_path / "e.sock") for _ in range(MAX_READERS)]
    assert [await each.readline() for each in readers] == [b"kept\n"] * MAX_READERS
    one_more = await connect(tmp_path / "e.sock")
    assert await one_more.read() == b""
    events.publish(b"x" * MAX_LINE + b"\n")
    events.publish(b"short\n")
    assert [await each.readline() for each in readers] == [b"short\n"] * MAX_READERS
    await events.close()


@pytest.mark.parametrize(("group", "mode"), [(False, 0o600), (True, 0o660)])
async def test_only_the_owner_may_connect_or_the_group_if_configured(tmp_path: Path, group: bool, mode: int) -> None:
    events = EventSocket(EventSocketConfig(socket=tmp_path / "e.sock", group=group))
    await events.open()
    assert stat.S_IMODE((tmp_path / "e.sock").stat().st_mode) == mode
    await events.close()
    await events.close()


async def test_a_killed_programs_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "e.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    events, other = EventSocket(EventSocketConfig(socket=path)), EventSocket(EventSocketConfig(socket=path))
    await events.open()
    with pytest.raises(TransportError, match="another process"):
        await other.open()
    await events.close()
    path.write_text("a file")
    with pytest.raises(TransportError, match="not a socket"):
        await other.open()
    assert path.read_text() == "a file"
    with pytest.raises(TransportError, match="No such file"):
        await EventSocket(EventSocketConfig(socket=tmp_path / "missing" / "e.sock")).open()


async def test_a_path_may_be_longer_than_a_socket_address(connect: Connect, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    events = EventSocket(EventSocketConfig(socket=folder / "e.sock"), lambda: (b"kept\n",))
    await events.open()
    assert await (await connect(folder / "e.sock")).readline() == b"kept\n"
    await events.close()
    assert list(folder.iterdir()) == []
