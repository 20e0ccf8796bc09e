"""Two ends of a TLS connection on the loopback interface."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from v2g.errors import TlsError
from v2g.net.tls import TlsServer, TlsStream, connect, serve

Make = Callable[..., PkiTree]
"""Makes a tree with the options of PkiOptions."""


async def echo(stream: TlsStream) -> None:
    while data := await stream.read(4096):
        await stream.write(data)


class Serving:
    def __init__(self) -> None:
        self.failures: asyncio.Queue[TlsError] = asyncio.Queue()
        self.server: TlsServer

    @property
    def port(self) -> int:
        return self.server.port

    async def failure(self) -> str:
        return (await asyncio.wait_for(self.failures.get(), 5)).reason


@asynccontextmanager
async def serving(
    tree: PkiTree, handler: Callable[[TlsStream], Coroutine[Any, Any, None]] = echo, **options: Any
) -> AsyncIterator[Serving]:
    result = Serving()
    options = {
        "credentials": tree.credentials("secc"),
        "anchors": tree.anchors("v2g", "oem"),
        "staple": tree.staple(),
    } | options
    result.server = await serve("::1", 0, handler, on_failure=result.failures.put_nowait, **options)
    try:
        yield result
    finally:
        await result.server.close()


async def join(server: Serving, tree: PkiTree, **options: Any) -> TlsStream:
    options = {"credentials": tree.credentials("vehicle"), "anchors": tree.anchors("v2g")} | options
    return await connect("::1", server.port, **options)


async def refused(server: Serving, tree: PkiTree, **options: Any) -> str:
    """Return the reason why the client will not have the connection."""
    with pytest.raises(TlsError) as error:
        await join(server, tree, **options)
    return error.value.reason
