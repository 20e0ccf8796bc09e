"""Runs a scripted back end: listens, and applies the script to each station (`station.py` decides)."""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Final, Literal

from msgspec.structs import replace

from csms.script.declared import StationScript
from csms.script.station import CloseNow, Line, ScriptCheck, ScriptedLine, ScriptReport, SendText, report, settled
from v2g.errors import TransportError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import child
from v2g.io.tls.files import server_context
from v2g.io.websocket.client import OcppSocket
from v2g.io.websocket.server import Handshake, Refusal, serve, welcome

_log = logging.getLogger(__name__)

Tell = Callable[[float, str, Line], None]
"""Called with each line of the log: seconds since the start, station, line."""

OnFrame = Callable[[OcppSocket, Literal["in", "out"], str], None]
"""Called with each frame that the back end receives or sends, and its connection."""


class ScriptedBackEnd:
    """A scripted back end, from `run` to its return. `ready(port)` is called once it listens."""

    def __init__(
        self,
        script: StationScript,
        tell: Tell,
        ready: Callable[[int], None] = lambda _port: None,
        on_frame: OnFrame = lambda _socket, _way, _text: None,
    ) -> None:
        self._script = script
        self._on_frame = on_frame
        self._report = tell
        self._ready = ready
        self._clock: Final = Clock()
        self._begin = self._clock.monotonic()
        self._lines: dict[str, ScriptedLine] = {}
        self._over = asyncio.Event()
        self._failures: list[ScriptCheck] = []

    async def run(self) -> ScriptReport:
        """Serve until the script is over; return its report. Raises TransportError, KeyAccessError."""
        script = self._script
        context = None
        if script.certificate is not None and script.key is not None:
            context = server_context(script.certificate, script.key, script.client_roots)
        try:
            server = await serve(
                script.host,
                script.port,
                self._serve,
                context=context,
                path=script.path,
                versions=script.versions,
                welcome=self._welcome,
                ping_interval=None,
            )
        except OSError as error:
            raise TransportError(f"cannot listen: {error}", hint="is the port in use? 0 picks a free one") from None
        self._begin = self._clock.monotonic()
        self._ready(server.port)
        try:
            async with asyncio.timeout(script.duration_s):
                await self._over.wait()
        except TimeoutError:
            pass
        finally:
            outcome = self.report()
            await server.close()
        return outcome

    def stop(self) -> None:
        """End it now."""
        self._over.set()

    def report(self) -> ScriptReport:
        """Return the present report."""
        found = report(self._script, self._lines.values(), self._clock.monotonic())
        return replace(found, checks=(*found.checks, *self._failures))

    async def _welcome(self, handshake: Handshake) -> Refusal | None:
        """Admit any station with an identity; without `client_roots` no certificate is requested."""
        if self._script.client_roots:
            return await welcome(handshake)
        return Refusal(404, "no such charging station") if handshake.identity is None else None

    async def _serve(self, socket: OcppSocket) -> None:
        """Apply the script to one connection of a station."""
        line = self._lines.get(socket.identity)
        if line is None:
            line = self._lines[socket.identity] = ScriptedLine(self._script, socket.identity, os.urandom)
        connection = line.connected(socket.version, self._clock.monotonic(), self._clock.utc_ms())
        coming = child(socket.receive())
        try:
            while True:
                await self._act(line, socket)
                now = self._clock.monotonic()
                due = line.deadline(now)
                wait_s = None if due is None else max(0.0, due - now)
                await asyncio.wait({coming}, timeout=wait_s)
                if coming.done():
                    self._on_frame(socket, "in", coming.result())
                    line.receive(coming.result(), self._clock.monotonic(), self._clock.utc_ms())
                    coming = child(socket.receive())
                line.tick(self._clock.monotonic(), self._clock.utc_ms())
        except TransportError:
            pass  # closed by the station or the script
        except Exception as error:  # noqa: BLE001 - a run whose judge has failed must not pass
            _log.exception("%s", socket.identity)
            what = f"{type(error).__name__}: {error}"[:200]
            self._failures.append(ScriptCheck(socket.identity, "the test tool works", ok=False, detail=what))
        finally:
            coming.cancel()
            if line.disconnected(connection, self._clock.monotonic()):
                await self._act(line, None)

    async def _act(self, line: ScriptedLine, socket: OcppSocket | None) -> None:
        now = self._clock.monotonic()
        line.tick(now, self._clock.utc_ms())
        for action in line.actions():
            match action:
                case SendText(text) if socket is not None:
                    self._on_frame(socket, "out", text)
                    await socket.send(text)
                case CloseNow(code) if socket is not None:
                    await socket.close("by the script", code=code)
                case Line():
                    self._report(now - self._begin, line.station_id, action)
        if settled(self._script, self._lines.values(), now):
            self._over.set()
