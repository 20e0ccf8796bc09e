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
from v2g.io.tls.endpoint import ISO15118_2, Backend, Endpoint, Staple, TlsChannel, TlsIdentity
from v2g.io.tls.server import TlsServer, serve
from v2g.io.tls.stream import TlsStream
from v2g.pki.credentials import Credentials
from v2g.pki.profile import Generation, KeyKind, Role

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


@pytest.fixture(scope="session")
def pki_2(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    """Return a tree of ISO 15118-2."""
    return tree_2(tmp_path_factory, operator="Operator of -2")


@pytest.fixture(scope="session")
def other_2(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    """Return another tree of ISO 15118-2."""
    return tree_2(tmp_path_factory, operator="Other Operator of -2")


def tree_2(folders: pytest.TempPathFactory, **options: Any) -> PkiTree:
    made = PkiOptions(generation=Generation.ISO15118_2, key_kind=KeyKind.SECP256R1, **options)
    return make_pki(folders.mktemp("pki_2"), now=datetime.now(UTC), options=made)


def identity(tree: PkiTree) -> TlsIdentity:
    return TlsIdentity(tree.credentials("secc"), tree.staple())


def both(pki: PkiTree, *of_2: PkiTree) -> dict[str, Any]:
    """Return the options of a charger that serves both editions."""
    identities = tuple(map(identity, (pki, *of_2)))
    anchors = (*pki.anchors("v2g", "oem"), *(root for each in of_2 for root in each.anchors("v2g", "oem")))
    return {"identities": identities, "anchors": anchors, "older": ISO15118_2}


def only_2(tree: PkiTree) -> dict[str, Any]:
    """Return the options of a vehicle of ISO 15118-2."""
    return {"identities": (), "profile": ISO15118_2, "anchors": tree.anchors("v2g")}


def shake(client: TlsChannel, server: TlsChannel, *, size: int = 1 << 20) -> None:
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
        return (await asyncio.wait_for(self.failures.get(), 60)).reason


@asynccontextmanager
async def serving(
    tree: PkiTree,
    handler: Callable[[TlsStream], Coroutine[Any, Any, None]] = echo,
    *,
    timeout: float | None = None,
    host: str = "::1",
    **options: Any,
) -> AsyncIterator[Serving]:
    """Run a charger's end; `options` are those of `secc`."""
    result = Serving()
    limit = {} if timeout is None else {"timeout": timeout}
    result.server = await serve(host, 0, handler, secc(tree, **options), on_failure=result.failures.put_nowait, **limit)
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
