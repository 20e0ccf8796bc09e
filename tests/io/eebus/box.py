"""A control box on a socket: Python's `ssl`, the client of `websockets`, and SHIP's messages by hand."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from tests.eebus.guard import Guard
from v2g.io.eebus.files import CERTIFICATE, KEY, node_key

HELLO = b'\x01{"connectionHello":[{"phase":"ready"},{"waiting":60000}]}'
ANNOUNCE = (
    b'\x01{"messageProtocolHandshake":[{"handshakeType":"announceMax"},{"version":[{"major":1},{"minor":0}]},'
    b'{"formats":[{"format":["JSON-UTF8"]}]}]}'
)


def ski(folder: Path) -> str:
    """Return the SKI of a box with its files here, which are made if there are none."""
    return node_key(folder, "box").ski


class Box(Guard):
    """A box's connection to the charger at an address of its own in SPINE."""

    def __init__(self, socket: ClientConnection, charger: str) -> None:
        super().__init__()
        self._socket, self.charger = socket, charger
        self.frames: list[bytes] = []

    async def shake(self) -> None:
        """Carry out SHIP's handshake."""
        for frame, answer in (
            (b"\0\0", b"\0\0"),
            (HELLO, b'"ready"'),
            (ANNOUNCE, b"select"),
            (ANNOUNCE.replace(b"announceMax", b"select"), b"connectionPinState"),
            (b'\x01{"connectionPinState":[{"pinState":"none"}]}', b"accessMethodsRequest"),
            (b'\x01{"accessMethods":[{"id":"d:_n:box_1"}]}', b""),
        ):
            await self._socket.send(frame)
            while answer and answer not in (got := await self._socket.recv(decode=False)):
                assert b"connectionHello" in got

    async def say(self, datagram: bytes) -> int:
        """Send a datagram; return the errorNumber of its result."""
        number = self.counter
        await self.send(datagram)
        while True:
            with contextlib.suppress(StopIteration):
                return self.result(number)
            await self.hear_one()

    async def send(self, datagram: bytes) -> None:
        """Send a datagram."""
        await self._socket.send(b'\x02{"data":[{"header":[{"protocolId":"ee1.0"}]},{"payload":' + datagram + b"}]}")

    async def hear_one(self) -> None:
        """Take one message, and answer."""
        frame = await self._socket.recv(decode=False)
        self.frames.append(frame)
        if frame[0] == 2:
            payload = frame.partition(b'{"payload":')[2].removesuffix(b"}]}")
            for answer in self.hear(payload):
                await self.send(answer)

    async def end(self, reason: str) -> None:
        """Announce the end, and take messages until it is confirmed."""
        said = json.dumps({"connectionClose": [{"phase": "announce"}, {"maxTime": 500}, {"reason": reason}]})
        await self._socket.send(b"\3" + said.encode())
        while not self.frames or self.frames[-1][0] != 3:
            self.frames.append(await self._socket.recv(decode=False))
        await self._socket.wait_closed()
        assert self._socket.close_code == 4001

    async def bind(self) -> None:
        """Bind limits and keys, subscribe to limits, and say that it is alive."""
        assert await self.say(self.relation("binding", 1, "LoadControl")) == 0
        assert await self.say(self.relation("binding", 2, "DeviceConfiguration")) == 0
        assert await self.say(self.relation("subscription", 1, "LoadControl")) == 0
        await self.send(self.beat())


@contextlib.asynccontextmanager
async def opened(folder: Path, port: int) -> AsyncIterator[ClientConnection]:
    """Connect a box with its files in `folder` to a charger on loopback, before any message of SHIP."""
    ski(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    async with (
        asyncio.timeout(240),
        connect(f"wss://127.0.0.1:{port}/ship/", ssl=context, subprotocols=["ship"], compression=None) as socket,  # type: ignore[list-item]
    ):
        yield socket


@contextlib.asynccontextmanager
async def joined(folder: Path, port: int, charger: str) -> AsyncIterator[Box]:
    """Connect a box, and carry out the handshake."""
    async with opened(folder, port) as socket:
        box = Box(socket, charger)
        await box.shake()
        yield box
