"""A web server that we did not write, for programs that ask one."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from pki_tools.tree import PkiTree

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def server_tls(pki: PkiTree) -> ssl.SSLContext:
    """Return a context with the certificate of the back end's server."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pki.path("csms/server/chain.pem"), pki.path("csms/server/leaf.key"))
    return tls


@contextlib.asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Answer every request, whatever its path, at a port of 127.0.0.1; yield the port."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
