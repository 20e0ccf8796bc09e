"""An HTTP server that strangers cannot hold: one request a connection, and bounds of time, size and number."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec
from aiohttp import http_exceptions, web

from v2g.errors import TransportError, V2GError
from v2g.io.runtime.supervision import defects_reported
from v2g.observe import Observe, defect
from v2g.text import printable

_log: Final = logging.getLogger(__name__)
Watch = Callable[[Observe], None]


class HttpBounds(msgspec.Struct, frozen=True):
    """Limits: `patience_s` of a request, and of an idle connection; beyond `most_connections` the longest idle one is
    closed."""

    most_bytes: int
    patience_s: float
    most_connections: int


class BoundedHttp:
    """Serves some routes from `start` to `close`. `failed` makes the answer where a handler fails."""

    def __init__(
        self, routes: Iterable[web.RouteDef], bounds: HttpBounds, *, observe: Watch, failed: Callable[[], web.Response]
    ) -> None:
        self._routes, self._bounds, self._observe, self._failed = tuple(routes), bounds, observe, failed
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._waiting: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; return the port. Raises TransportError."""
        application = web.Application(client_max_size=self._bounds.most_bytes, middlewares=[self._bounded])
        application.add_routes(self._routes)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0, logger=_log, lingering_time=1.0)
        await runner.setup()
        self._runner = runner
        assert runner.server is not None
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(self._accept(runner.server), host, port, ssl=tls)
        except OSError as error:
            await self.close()
            raise TransportError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
        self._listener = server
        return int(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, finish pending answers (2 s at most)."""
        if self._runner is None:
            return
        if self._listener is not None:
            self._listener.close()
        for timer in self._waiting.values():
            timer.cancel()
        await self._runner.cleanup()

    def _accept(self, server: web.Server) -> Callable[[], web.RequestHandler]:
        """Return a factory of connections, each of which is closed unless a complete request arrives in time."""
        loop = asyncio.get_running_loop()

        def connection() -> web.RequestHandler:
            handler = server()
            if len(self._waiting) >= self._bounds.most_connections:
                self._cut(next(iter(self._waiting)))
            self._waiting[handler] = loop.call_later(self._bounds.patience_s, self._cut, handler)
            return handler

        return connection

    def _cut(self, handler: web.RequestHandler) -> None:
        self._waiting.pop(handler).cancel()
        handler.force_close()
        if handler.transport is not None:
            handler.transport.abort()

    @web.middleware
    async def _bounded(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        waiting = self._waiting.pop(request.protocol, None)
        if waiting is not None:
            waiting.cancel()
        response = await self._answer(request, handler)
        response.force_close()  # one request per connection, so that none is kept open by a partial second one
        return response

    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            async with asyncio.timeout(self._bounds.patience_s):
                return await handler(request)
        except web.HTTPException as error:
            name = "WWW-Authenticate"
            headers = {name: error.headers[name]} if name in error.headers else {}
            return web.Response(status=error.status, text=f"{error.reason}\n", headers=headers)
        except (web.RequestPayloadError, http_exceptions.HttpProcessingError):
            return web.Response(status=400, text="not HTTP\n")
        except TimeoutError:
            return web.Response(status=408, text="the request took too long\n")
        except V2GError as error:
            # The tree cannot be read now, for example during a restore: answer with the protocol's error.
            _log.error("%s", error)
            self._observe(Observe("pki", "error", {"error": str(error)}))
        except Exception as error:  # noqa: BLE001 - the next request must still be answered
            _log.exception("%s %s", request.method, printable(request.path))
            self._observe(Observe("program", "defect", {"where": "request", **defect(error)}))
        return self._failed()


async def serve_until_cancelled(
    start: Awaitable[int], close: Callable[[], Awaitable[None]], host: str, *, observe: Watch
) -> int:
    """Start a service, which returns its port, and close it when cancelled; return 0."""
    with contextlib.suppress(asyncio.CancelledError), defects_reported(observe):
        try:
            observe(Observe("pki", "ready", {"host": host, "port": await start}))
            await asyncio.Event().wait()
        finally:
            await close()
    return 0
