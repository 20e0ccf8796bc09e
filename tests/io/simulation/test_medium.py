"""The simulated copper joins processes, keeps folders apart and notices who dies."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from v2g.errors import TransportError
from v2g.io.simulation.medium import MAX_PAYLOAD, MediumChannel
from v2g.io.simulation.medium_folder import FolderMedium

_CHILD = """
import asyncio, sys
from pathlib import Path
from v2g.io.simulation.medium import MediumChannel
from v2g.io.simulation.medium_folder import FolderMedium

async def main():
    medium = await FolderMedium.attach(Path(sys.argv[1]), "child")
    medium.subscribe(MediumChannel.PLC, lambda peer, data: medium.send(MediumChannel.PLC, b"echo " + data))
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def _child(folder: Path) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CHILD, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def test_another_process_receives_and_its_death_is_noticed(tmp_path: Path, until) -> None:
    medium = await FolderMedium.attach(tmp_path, "parent")
    received: list[tuple[str, bytes]] = []
    seen: list[tuple[str, bool]] = []
    medium.subscribe(MediumChannel.PLC, lambda *datagram: received.append(datagram))
    medium.on_peer(lambda *change: seen.append(change))
    process = await _child(tmp_path)
    await until(lambda: seen == [("child", True)])
    medium.send(MediumChannel.PLC, b"frame")
    await until(lambda: received == [("child", b"echo frame")])
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await until(lambda: seen == [("child", True), ("child", False)])
    assert (tmp_path / "child.sock").exists(), "the killed process could not clean up"

    process = await _child(tmp_path)  # takes over the name of the dead
    await until(lambda: seen[-1] == ("child", True))
    process.send_signal(signal.SIGKILL)
    await process.wait()
    medium.close()


async def test_all_others_hear_in_order_and_only_on_the_channel(tmp_path: Path, until) -> None:
    a, b, c = [await FolderMedium.attach(tmp_path, name) for name in "abc"]
    received: dict[str, list[bytes]] = {"a": [], "b": [], "c": []}
    for medium in (a, b, c):
        medium.subscribe(MediumChannel.CP, lambda _, data, name=medium.name: received[name].append(data))
    await until(lambda: a.peers == {"b", "c"})
    for number in range(500):  # more than any kernel queue holds
        a.send(MediumChannel.CP, bytes((number & 0xFF,)))
    a.send(MediumChannel.DC, b"not for cp")
    b.send(MediumChannel.CP, b"to a only", to="a")
    b.send(MediumChannel.CP, b"to nobody", to="z")
    expected = [bytes((n & 0xFF,)) for n in range(500)]
    await until(lambda: received == {"a": [b"to a only"], "b": expected, "c": expected})
    for medium in (a, b, c):
        medium.close()


async def test_leaving_is_reported_at_once_and_the_socket_removed(tmp_path: Path, until) -> None:
    a, b = await FolderMedium.attach(tmp_path, "a"), await FolderMedium.attach(tmp_path, "b")
    assert b.peers == {"a"}
    await until(lambda: a.peers == {"b"})
    b.close()
    b.close()
    await until(lambda: not a.peers)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.sock"]
    with pytest.raises(TransportError, match="detached"):
        b.send(MediumChannel.CP, b"")
    a.close()


async def test_two_folders_do_not_hear_each_other(tmp_path: Path) -> None:
    a, b = await FolderMedium.attach(tmp_path / "1", "same"), await FolderMedium.attach(tmp_path / "2", "same")
    assert not a.peers
    assert not b.peers
    a.close()
    b.close()


async def test_a_living_name_is_not_taken_over(tmp_path: Path) -> None:
    a = await FolderMedium.attach(tmp_path, "a")
    with pytest.raises(TransportError, match="another process is attached"):
        await FolderMedium.attach(tmp_path, "a")
    a.close()


async def test_a_folder_deeper_than_a_socket_path_may_be_works(tmp_path: Path, until) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    a, b = await FolderMedium.attach(deep, "a"), await FolderMedium.attach(deep, "b")
    received: list[tuple[str, bytes]] = []
    a.subscribe(MediumChannel.DC, lambda *datagram: received.append(datagram))
    b.send(MediumChannel.DC, b"hello")
    await until(lambda: received == [("b", b"hello")])
    b.close()
    a.close()
    assert not list(deep.iterdir())


async def test_a_peer_restarted_under_its_name_is_reported_as_leaving_and_coming(tmp_path: Path, until) -> None:
    a, b = await FolderMedium.attach(tmp_path, "a"), await FolderMedium.attach(tmp_path, "b")
    await until(lambda: a.peers == {"b"})
    seen: list[tuple[str, bool]] = []
    a.on_peer(lambda *change: seen.append(change))
    (tmp_path / "b.sock").unlink()  # as if killed: no farewell
    c = await FolderMedium.attach(tmp_path, "b")
    await until(lambda: seen[-2:] == [("b", False), ("b", True)])
    for medium in (a, b, c):
        medium.close()


async def test_garbage_and_strangers_are_ignored(tmp_path: Path, until) -> None:
    a, b = await FolderMedium.attach(tmp_path, "a"), await FolderMedium.attach(tmp_path, "b")
    received: list[bytes] = []
    a.subscribe(MediumChannel.PLC, lambda _, data: received.append(data))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
        nameless.sendto(b"\x01nameless", str(tmp_path / "a.sock"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.bind(str(tmp_path / "stranger.sock"))
        for datagram in (b"\x01never greeted", b"\x00", b"\xff" * 20, b"\xf2bye", b""):
            stranger.sendto(datagram, str(tmp_path / "a.sock"))
    b.send(MediumChannel.PLC, b"known")
    await until(lambda: received)
    assert received == [b"known"]
    a.close()
    b.close()


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a.sock", "x" * 33])
async def test_names_that_are_no_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TransportError, match="not a valid attachment name"):
        await FolderMedium.attach(tmp_path, name)


async def test_a_folder_that_cannot_be_used_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TransportError, match="file"):
        await FolderMedium.attach(tmp_path / "file", "a")
    (tmp_path / "a.sock").write_text("not a socket")
    with pytest.raises(TransportError, match="not a socket"):
        await FolderMedium.attach(tmp_path, "a")
    assert not [fd for fd in Path("/proc/self/fd").iterdir() if str(tmp_path) in os.path.realpath(fd)]


async def test_a_datagram_too_long_is_refused(tmp_path: Path) -> None:
    a = await FolderMedium.attach(tmp_path, "a")
    with pytest.raises(TransportError, match="do not fit"):
        a.send(MediumChannel.DC, bytes(MAX_PAYLOAD + 1))
    a.close()


async def test_the_folder_is_private(tmp_path: Path) -> None:
    a = await FolderMedium.attach(tmp_path / "new", "a")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    a.close()


async def test_a_peer_that_does_not_read_loses_what_is_too_much_and_hinders_nobody(
    tmp_path: Path, until, caplog: pytest.LogCaptureFixture
) -> None:
    process = await _child(tmp_path)
    medium = await FolderMedium.attach(tmp_path, "parent")
    other = await FolderMedium.attach(tmp_path, "other")
    received: list[bytes] = []
    echoed: list[bytes] = []
    other.subscribe(MediumChannel.PLC, lambda peer, data: received.append(data) if peer == "parent" else None)
    medium.subscribe(MediumChannel.PLC, lambda peer, data: echoed.append(data))
    kernel = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 1
    count = 1024 + kernel + 100
    await until(lambda: medium.peers == {"child", "other"})
    process.send_signal(signal.SIGSTOP)
    try:
        for number in range(count):
            medium.send(MediumChannel.PLC, number.to_bytes(2, "big"))
            if number % 8 == 0:
                await until(lambda number=number: len(received) == number + 1)
        await until(lambda: len(received) == count)
        dropped = caplog.text.count("child does not read, datagram dropped")
        assert 1024 <= count - dropped <= 1024 + kernel
        assert "child" in medium.peers, "slow is not dead"
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await until(lambda: medium.peers == {"other"})
    process = await _child(tmp_path)
    await until(lambda: "child" in medium.peers)
    medium.send(MediumChannel.PLC, b"new")
    await until(lambda: echoed)
    assert echoed == [b"echo new"], "what waited for the dead is not for its successor"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    medium.close()
    other.close()


async def test_a_farewell_that_overtakes_the_successor_is_ignored(tmp_path: Path, until) -> None:
    a, b = await FolderMedium.attach(tmp_path, "a"), await FolderMedium.attach(tmp_path, "b")
    await until(lambda: a.peers == {"b"})
    received: list[bytes] = []
    a.subscribe(MediumChannel.PLC, lambda _, data: received.append(data))
    (tmp_path / "b.sock").unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as raw:
        raw.bind(str(tmp_path / "b.sock"))
        for datagram in (b"\xf2another incarnation", b"\x77no channel", b"\x01known"):
            raw.sendto(datagram, str(tmp_path / "a.sock"))
        await until(lambda: received)
        assert received == [b"known"]
        assert a.peers == {"b"}
    for medium in (a, b):
        medium.close()
