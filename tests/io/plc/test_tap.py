"""A network interface made of a port: what is no management message goes through the kernel, and it comes back."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from v2g.errors import ConfigError
from v2g.io.network.interfaces import wait_usable
from v2g.io.plc.link import PlcConfig, PlcLink
from v2g.io.plc.opening import open_link
from v2g.io.plc.tap import TapLink
from v2g.io.simulation.medium import Room
from v2g.observe import Observe
from v2g.slac import mme
from v2g.slac.mme import MmeFrame

NAME = f"v2gt{os.getpid()}"[:15]
pytestmark = pytest.mark.one_worker("tap")
needs_tap = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/net/tun").exists(), reason="a TAP interface needs root and /dev/net/tun"
)


class Far:
    """A PlcLink that keeps what it is given."""

    mac = bytes.fromhex("020000000a01")

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.receive: Callable[[bytes], None] = lambda _: None

    def on_frame(self, callback: Callable[[bytes], None]) -> None:
        self.receive = callback

    def on_port(self, callback: Callable[[bool], None]) -> None:
        """It does not vanish."""

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    def close(self) -> None:
        """Nothing to close."""


def _addresses(name: str) -> str:
    return subprocess.run(["ip", "-o", "link", "show", name], capture_output=True, text=True).stdout


@needs_tap
async def test_frames_are_parted_between_program_and_kernel(until: Callable) -> None:
    far = Far()
    link: PlcLink = TapLink(far, NAME, observe=lambda _: None)
    assert far.mac.hex(":") in _addresses(NAME), "the interface has the port's address"
    mine: list[bytes] = []
    link.on_frame(mine.append)
    message = mme.encode(MmeFrame(mme.BROADCAST, b"\x02" * 6, mme.CmSlacParmReq(run_id=bytes(8))))
    link.send(message)
    far.receive(message)
    assert (mine, far.sent[-1:]) == ([message], [message])
    found = await wait_usable(NAME, timeout=5)
    # The kernel introduces itself on the new interface; a datagram of ours goes the same way, and one comes back.
    assert any(frame[12:14] == b"\x86\xdd" for frame in far.sent)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)  # noqa: FBT003
        sock.bind((str(found.address), 0, 0, found.index))
        sock.sendto(b"to all", ("ff02::1", 15118, 0, found.index))
        await until(lambda: any(b"to all" in frame for frame in far.sent))
        frame = next(frame for frame in far.sent if b"to all" in frame)
        # Turned round: the kernel takes its own bytes for a neighbour's, ports and addresses exchanged.
        port = sock.getsockname()[1]
        ours, all_ = frame[22:38], bytes.fromhex("fe80" + "00" * 13 + "77")
        answer = _datagram(all_, ours, 15118, port, b"answer", to=far.mac)
        far.receive(answer)
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 100), 60) == b"answer"
    link.close()
    assert NAME not in _addresses(NAME)


def _datagram(source: bytes, destination: bytes, sport: int, dport: int, payload: bytes, *, to: bytes) -> bytes:
    length = (8 + len(payload)).to_bytes(2, "big")
    head = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + length
    data = source + destination + bytes(2) + length + bytes(3) + b"\x11" + head + bytes(2) + payload
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    packet = b"\x60\0\0\0" + length + b"\x11\xff" + source + destination
    return to + b"\x02" * 6 + b"\x86\xdd" + packet + head + (~total & 0xFFFF).to_bytes(2, "big") + payload


@needs_tap
async def test_an_interface_that_is_deleted_is_made_again(until: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v2g.io.plc.tap._PAUSE_S", 0.05)
    events: list[Observe] = []
    link = TapLink(Far(), NAME, observe=events.append)
    subprocess.run(["ip", "link", "del", NAME], check=True)
    await until(lambda: [event.name for event in events] == ["tap_lost", "tap_back"])
    assert NAME in _addresses(NAME)
    link.close()


async def test_what_is_no_interface_is_refused() -> None:
    for name in ("x" * 16, "a/b", "."):
        with pytest.raises(ConfigError, match="not a valid interface name"):
            open_link(PlcConfig(tap=name), role="ev", medium=Room().attach("ev"))
    with pytest.raises(ConfigError, match="needs no tap"):
        open_link(PlcConfig(backend="raw", interface="eth9", tap="plc0"), role="ev")


@needs_tap
def test_without_the_right_to_it_the_user_learns_what_to_do() -> None:
    child = f"""
import asyncio
from v2g.errors import TransportError
from v2g.io.simulation.medium import Room
from v2g.io.plc.link import PlcConfig
from v2g.io.plc.opening import open_link

async def main():
    try:
        open_link(PlcConfig(tap={NAME!r}), role="ev", medium=Room().attach("ev"))
    except TransportError as error:
        print(error, error.hint)

asyncio.run(main())
"""
    sets = [f"--{each}=-all" for each in ("inh-caps", "bounding-set")]
    done = subprocess.run(["setpriv", *sets, sys.executable, "-c", child], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "CAP_NET_ADMIN" in done.stdout
