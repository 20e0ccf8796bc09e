"""Two ends of a TLS connection on the loopback interface."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from pki_tools.tree import PkiOptions, PkiTree, make_pki
from v2g.errors import ConfigError, TlsError
from v2g.io.tls.client import connect
from v2g.io.tls.endpoint import Backend, Channel, Endpoint, Staple, TlsIdentity
from v2g.io.tls.server import TlsServer, serve
from v2g.io.tls.stream import TlsStream
from v2g.pki.credentials import Credentials
from v2g.pki.profiles import KeyKind, Role

Make = Callable[..., PkiTree]
"""Makes a tree with the options of PkiOptions."""

BACKENDS: Final = ("bundled", "native")


class _Default:
    """The backend of ends that do not name one."""

    backend: Backend = "bundled"


def unavailable(backend: Backend) -> str:
    """Return why this machine cannot run a backend, or ""."""
    if backend == "bundled":
        return ""
    from v2g.io.tls.native import factory

    try:
        factory()
    except ConfigError as error:
        return str(error)
    return ""


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """Run the test with each backend at both ends."""
    chosen: Backend = request.param
    if why := unavailable(chosen):
        pytest.skip(why)
    monkeypatch.setattr(_Default, "backend", chosen)
    return chosen


@pytest.fixture(scope="session")
def ed448_pki(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    """Return a tree whose keys are all on Ed448."""
    options = PkiOptions(key_kind=KeyKind.ED448, operator="Ed448 Operator")
    return make_pki(tmp_path_factory.mktemp("ed448"), now=datetime.now(UTC), options=options)


@pytest.fixture(scope="session")
def other_pki(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    """Return a tree with roots of other names."""
    return make_pki(tmp_path_factory.mktemp("other"), now=datetime.now(UTC), options=PkiOptions(operator="Other"))


def shake(client: Channel, server: Channel, *, size: int = 1 << 20) -> None:
    """Run a handshake in memory, at most `size` bytes at a time. Raises TlsError."""
    done = [False, False]
    for _ in range(8):
        for place, (one, other) in enumerate(((client, server), (server, client))):
            try:
                done[place] = done[place] or one.handshake()
            finally:
                data = one.take()
            for at in range(0, len(data), size):
                other.feed(data[at : at + size])
                if at + size < len(data):
                    done[1 - place] = done[1 - place] or other.handshake()
        if all(done):
            return
    raise AssertionError("the handshake does not end")


async def echo(stream: TlsStream) -> None:
    while data := await stream.read(4096):
        await stream.write(data)


def secc(
    tree: PkiTree, *, credentials: Credentials | None = None, staple: Staple = b"the tree's", **options: Any
) -> Endpoint:
    """Return a charger's end; `options` are fields of Endpoint."""
    shown = credentials or tree.credentials("secc")
    fields = {
        "identities": (TlsIdentity(shown, tree.staple() if staple == b"the tree's" else staple),),
        "anchors": tree.anchors("v2g", "oem"),
        "peer_role": Role.VEHICLE,
        "backend": _Default.backend,
    }
    return Endpoint(server=True, **(fields | options))


def evcc(tree: PkiTree, *, credentials: Credentials | None = None, **options: Any) -> Endpoint:
    """Return a vehicle's end; `options` are fields of Endpoint."""
    fields = {
        "identities": (TlsIdentity(credentials or tree.credentials("vehicle")),),
        "anchors": tree.anchors("v2g"),
        "peer_role": Role.SECC,
        "backend": _Default.backend,
    }
    return Endpoint(server=False, **(fields | options))


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
    tree: PkiTree,
    handler: Callable[[TlsStream], Coroutine[Any, Any, None]] = echo,
    *,
    timeout: float | None = None,
    **options: Any,
) -> AsyncIterator[Serving]:
    """Run a charger's end; `options` are those of `secc`."""
    result = Serving()
    limit = {} if timeout is None else {"timeout": timeout}
    result.server = await serve(
        "::1", 0, handler, secc(tree, **options), on_failure=result.failures.put_nowait, **limit
    )
    try:
        yield result
    finally:
        await result.server.close()


async def join(server: Serving, tree: PkiTree, **options: Any) -> TlsStream:
    """Connect as a vehicle; `options` are those of `evcc`."""
    return await connect("::1", server.port, evcc(tree, **options))


async def refused(server: Serving, tree: PkiTree, **options: Any) -> str:
    """Return the reason why the client will not have the connection."""
    with pytest.raises(TlsError) as error:
        await join(server, tree, **options)
    return error.value.reason
