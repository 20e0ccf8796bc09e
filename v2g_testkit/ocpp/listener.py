"""Where the station under test connects: one address, whose TLS a case may change, and others beside it."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from v2g.io.tls.gate import Strangers
from v2g.io.websocket.client import OcppSocket
from v2g.io.websocket.server import OcppServer, Welcome, serve
from v2g.ocpp.routes import Version

Serve = Callable[[OcppSocket], Awaitable[None]]


class Attempts(Strangers):
    """Attempts to connect; `ended` counts those whose handshake has ended, well or not."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = 0

    def leave(self, transport: asyncio.BaseTransport | None) -> None:
        before = len(self)
        super().leave(transport)
        self.ended += before - len(self)


class Listener:
    """Listens at `host` and `port` (0 chooses one) below `path`. `context`: TLS; None: without."""

    def __init__(
        self,
        host: str,
        port: int,
        handler: Serve,
        welcome: Welcome,
        *,
        path: str,
        versions: Sequence[Version],
        context: ssl.SSLContext | None,
    ) -> None:
        self.host, self.port, self.path = host, port, path
        self.context = context
        self.attempts = Attempts()
        """At the address, but for those with other TLS."""
        self._handler, self._welcome, self._versions = handler, welcome, versions
        self._main: OcppServer | None = None
        self._others: list[OcppServer] = []

    async def open(self) -> None:
        """Listen. Raises OSError."""
        self._main = await self._serve(self.port, self.context, self.attempts)
        self.port = self._main.port

    async def close(self) -> None:
        """Stop listening everywhere."""
        for each in (self._main, *self._others):
            if each is not None:
                await each.close()
        self._main = None
        self._others.clear()

    @contextlib.asynccontextmanager
    async def instead(self, context: ssl.SSLContext) -> AsyncIterator["Attempts"]:
        """Listen with other TLS during the body, which gets the attempts to connect.

        Every connection is closed before and after.
        """
        attempts = Attempts()
        await self._replace(context, attempts)
        try:
            yield attempts
        finally:
            await self._replace(self.context, self.attempts)

    async def change(self, context: ssl.SSLContext) -> None:
        """Listen with other TLS from now on. Every connection is closed."""
        self.context = context
        await self._replace(context, self.attempts)

    async def _replace(self, context: ssl.SSLContext | None, attempts: Attempts) -> None:
        if self._main is not None:
            await self._main.close()
        self._main = await self._serve(self.port, context, attempts)

    async def also(self, context: ssl.SSLContext | None) -> OcppServer:
        """Listen at another port, too: until that is closed, or `close`."""
        server = await self._serve(0, context)
        self._others.append(server)
        return server

    async def _serve(self, port: int, context: ssl.SSLContext | None, attempts: "Attempts | None" = None) -> OcppServer:
        return await serve(
            self.host,
            port,
            self._handler,
            context=context,
            path=self.path,
            versions=self._versions,
            welcome=self._welcome,
            strangers=attempts,
        )
