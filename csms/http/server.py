"""Listens for the API: TLS 1.3, for roaming partners 1.2, too. HTTP and the application load when all is ready."""

import asyncio
import contextlib
import importlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from csms.backend import Backend
from csms.config import ApiListener
from csms.http.authenticator import Authenticator
from v2g.errors import ConfigError
from v2g.io.runtime.supervision import Supervisor, child
from v2g.io.tls.files import RenewedContext
from v2g.io.tls.gate import Gate, Strangers
from v2g.pki.keys import load_key

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

    from csms.http.connection import Connections


class Api:
    """Serves from `start` to `close`. The constructor raises ConfigError for unreadable roots.

    `module`: has the `application` that answers, and is loaded when the back end is ready.
    """

    def __init__(self, backend: Backend, module: str = "csms.http.application") -> None:
        self._backend = backend
        self._module = module
        self._config = backend.services.config.api
        self._authenticator = Authenticator(self._config, backend.services)
        self._connections: Connections | None = None
        self._strangers = Strangers()
        self._server: asyncio.Server | None = None
        self._application: asyncio.Task[ASGIApp] | None = None
        self._work = Supervisor(backend.services.observe)
        self.renewed: RenewedContext | None = None
        self.crls = self._authenticator.crls

    async def start(self) -> int:
        """Listen; return the port. Raises ConfigError, KeyAccessError, or OSError when the port is in use."""
        context = server_context(self._config, older=self._backend.services.config.roaming is not None)
        self.renewed = RenewedContext(
            context, Path(self._config.certificate), Path(self._config.key), self._backend.services.observe
        )
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Gate(self._connection, context, self._strangers),
            self._config.host,
            self._config.port,
            reuse_port=self._backend.services.config.shared_ports or None,
        )
        self._work.keep("event history", self._backend.history.run)
        self._work.keep("webhooks", self._backend.webhooks.run)
        return int(self._server.sockets[0].getsockname()[1])

    def prepare(self) -> asyncio.Task["ASGIApp"]:
        """Load the application in the background, so that it does not delay the back end's start; the first request
        loads it if it comes earlier."""
        if self._application is None:
            self._application = child(self._load())
        return self._application

    async def close(self) -> None:
        """Finish current requests (2 s at most) and stop listening."""
        if self._server is None:
            return
        self._server.close()
        self._backend.history.close()
        self._backend.streams.close()
        if self._connections is not None:
            await self._connections.close()
        await self._work.close()
        if self._application is not None:
            self._application.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._application

    def _connection(self) -> asyncio.BaseProtocol:
        if self._connections is None:
            from csms.http.connection import Connections

            self._connections = Connections(self._answer, self._strangers.leave)
        return self._connections.new()

    async def _load(self) -> "ASGIApp":
        for name in ("csms.http.connection", self._module):
            module = await asyncio.to_thread(importlib.import_module, name)
        answer: ASGIApp = module.application(self._backend, self._authenticator)
        return answer

    async def _answer(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        answer = await asyncio.shield(self.prepare())
        await answer(scope, receive, send)


def server_context(config: ApiListener, *, older: bool = False) -> ssl.SSLContext:
    """Return TLS 1.3 with the API's certificate, requesting client certificates where roots are configured.

    `older`: TLS 1.2, too, with forward secrecy and authenticated encryption only, as roaming partners have it.
    """
    load_key(Path(config.key))  # for its checks: readable by its owner only, and of a known kind
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if older else ssl.TLSVersion.TLSv1_3
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    try:
        context.load_cert_chain(config.certificate, config.key)
        for root in config.client_roots:
            context.load_verify_locations(root)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"[api]: {error}", hint="certificate, key and client_roots are PEM files") from None
    context.verify_mode = ssl.CERT_OPTIONAL if config.client_roots else ssl.CERT_NONE
    return context
