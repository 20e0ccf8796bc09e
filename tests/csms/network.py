"""Stations that come in by a socket, for what only an opening handshake shows: URL, password, certificate, version."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.typing import Subprotocol

from tests.csms.backend import Backend
from tests.csms.scripted_station import ScriptedStation, Wire
from v2g.io.runtime.supervision import cancel_tasks


class SocketWire(Wire):
    """As a Wire, with a socket between."""

    def __init__(self, connection: ClientConnection) -> None:
        super().__init__()
        self._connection = connection
        self._going: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._transmit())]

    def push(self, frame: str | bytes | None) -> None:
        """Send a frame; None closes."""
        self._going.put_nowait(frame)

    async def _receive(self) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                self.sent.put_nowait(str(await self._connection.recv()))
        self.closed = self._connection.close_code or 1006, self._connection.close_reason or ""
        self.sent.put_nowait(None)

    async def _transmit(self) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            while (frame := await self._going.get()) is not None:
                await self._connection.send(frame)
        await self._connection.close()

    async def stop(self) -> None:
        """Close, whatever is under way."""
        await self._connection.close()
        await cancel_tasks(*self._tasks)


def basic(username: str, password: str) -> dict[str, str]:
    """Return the header of basic authentication."""
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


@contextlib.asynccontextmanager
async def listening(backend: Backend) -> AsyncIterator[list[int]]:
    """Open the doors; gives their ports."""
    ports = await backend.server.start()
    try:
        yield ports
    finally:
        await backend.server.close()


@contextlib.asynccontextmanager
async def knocking(
    port: int,
    identity: str,
    *,
    password: str | None = None,
    username: str | None = None,
    versions: tuple[str, ...] = ("ocpp2.0.1",),
    context: ssl.SSLContext | None = None,
    path: str = "/ocpp",
) -> AsyncIterator[ScriptedStation]:
    """Connect as a station would; raises what the websockets library raises when it is not let in."""
    headers: dict[str, Any] = {} if password is None else basic(username or identity, password)
    url = f"{'ws' if context is None else 'wss'}://127.0.0.1:{port}{path}/{identity}"
    names = [Subprotocol(name) for name in versions] or None
    async with websockets.connect(
        url, subprotocols=names, ssl=context, additional_headers=headers, compression=None
    ) as connection:
        wire = SocketWire(connection)
        station = ScriptedStation(wire, identity, "2.1" if connection.subprotocol == "ocpp2.1" else "2.0.1")
        try:
            yield station
        finally:
            await station.stop()
            await wire.stop()
