"""Listens for the API: uvicorn's HTTP protocol in the back end's own event loop, under TLS 1.3."""

import asyncio
import contextlib
import importlib
import ssl
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from csms.api.call import Backend
from csms.api.identity import Doorkeeper
from csms.config import ApiListener
from v2g.errors import ConfigError
from v2g.net.tls_renewal import RenewedContext
from v2g.pki.keys import load_key

_GRACE_S: Final = 2.0
_HANDSHAKE_S: Final = 10.0
_IDLE_S: Final = 75
_REQUEST_S: Final = 30.0


class _Connection(H11Protocol):
    """One client. Handlers find its transport, which knows the client's certificate, in the scope's state.

    A request has to be there as a whole within `_REQUEST_S`, however slowly its octets come.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.app_state = {"transport": transport}
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        self.server_state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._expect_request()
        else:
            self._forget_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(_REQUEST_S, self.transport.abort)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Api:
    """Serves from `start` to `close`. Raises ConfigError when made with roots that cannot be read."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._config = backend.services.config.api
        self._doorkeeper = Doorkeeper(self._config, backend.services)
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._application: asyncio.Task[Any] | None = None
        self._work: list[asyncio.Task[None]] = []
        self.renewed: RenewedContext | None = None

    async def start(self) -> int:
        """Listen; return the port. Raises ConfigError, KeyAccessError, or OSError when the port is taken."""
        context = server_context(self._config)
        self.renewed = RenewedContext(
            context, Path(self._config.certificate), Path(self._config.key), self._backend.services.observe
        )
        config = uvicorn.Config(
            self._answer,
            http=_Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=_IDLE_S,
        )
        config.load()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(config, self._state, {}),
            self._config.host,
            self._config.port,
            ssl=context,
            ssl_handshake_timeout=_HANDSHAKE_S,
        )
        self._application = loop.create_task(self._load())
        self._work = [loop.create_task(self._backend.history.run()), loop.create_task(self._backend.webhooks.run())]
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Finish requests under way (2 s at most) and stop listening."""
        if self._server is None or self._application is None:
            return
        self._server.close()
        self._backend.history.close()
        for connection in tuple(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            _done, late = await asyncio.wait(tuple(self._state.tasks), timeout=_GRACE_S)
            for task in late:
                task.cancel()
        for connection in tuple(self._state.connections):
            connection.transport.close()
        for work in (self._application, *self._work):
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def _load(self) -> Any:
        """Import the framework and all resources, which those who wait for the back end to be ready need not await."""
        module = await asyncio.to_thread(importlib.import_module, "csms.api.application")
        return module.application(self._backend, self._doorkeeper)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        assert self._application is not None
        answer = await asyncio.shield(self._application)
        await answer(scope, receive, send)


def server_context(config: ApiListener) -> ssl.SSLContext:
    """Return TLS 1.3 with the API's certificate, asking for client certificates where roots are configured."""
    load_key(Path(config.key))  # for its checks: readable by its owner only, and of a known kind
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(config.certificate, config.key)
        for root in config.client_roots:
            context.load_verify_locations(root)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"[api]: {error}", hint="certificate, key and client_roots are PEM files") from None
    context.verify_mode = ssl.CERT_OPTIONAL if config.client_roots else ssl.CERT_NONE
    return context
