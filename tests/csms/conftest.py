"""A whole CSMS inside the test's process."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from csms.app import running
from csms.db.store import Store
from pki_tools.tree import PkiTree
from tests.csms.backend import TestClock
from tests.csms.cluster.buses import Buses, local_buses, redis_buses, redis_server
from tests.csms.compiled import sharing_engine
from tests.csms.databases import Cluster, Databases, running_cluster
from tests.csms.support import Running, make_config, provide

Start = Callable[..., contextlib.AbstractAsyncContextManager[Running]]


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """Spare each database the compilation of statements."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("csms.db.store", "csms.db.sqlite"):
            patch.setattr(f"{module}.create_engine", sharing_engine)
        yield


@pytest.fixture
def start(tmp_path: Path, pki: PkiTree, empty_database: Path) -> Start:
    """Start a CSMS, with a database that is migrated already; keyword arguments go to `make_config`.

    `hand_ms`: its clock shows this time until the test sets another one.
    """

    @contextlib.asynccontextmanager
    async def begin(hand_ms: int | None = None, **changes: Any) -> AsyncIterator[Running]:
        config = make_config(tmp_path, pki, **changes)
        provide(empty_database, config)
        events = tmp_path / "events.jsonl"
        hand = None if hand_ms is None else TestClock(hand_ms)
        async with running(config, events, hand) as csms:
            yield Running(csms, config, events, pki, hand)

    return begin


@pytest_asyncio.fixture
async def csms(start: Start) -> AsyncIterator[Running]:
    """A CSMS with the ordinary configuration."""
    async with start() as found:
        yield found


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server of the tests' own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(params=["local", "redis"])
def buses(request: pytest.FixtureRequest) -> Buses:
    """Either kind of bus: what a test finds holds on both."""
    return local_buses() if request.param == "local" else redis_buses(request.getfixturevalue("redis_url"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server of the tests' own, without waiting for the disk."""
    with running_cluster() as found:
        yield found


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Databases:
    """Files of SQLite."""
    return Databases(tmp_path_factory.mktemp("sqlite"), None, empty_database)


@pytest.fixture(scope="session")
def postgresql_databases(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Databases:
    """Databases of PostgreSQL."""
    return Databases(tmp_path_factory.mktemp("unused"), cluster)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """An empty database of either kind: what a test finds holds on both."""
    databases: Databases = request.getfixturevalue(f"{request.param}_databases")
    return databases.create()


@pytest.fixture(params=["sqlite", "postgresql"])
def owner_url(request: pytest.FixtureRequest) -> str:
    """The same, as somebody who may change its tables."""
    databases: Databases = request.getfixturevalue(f"{request.param}_databases")
    return databases.create(owner=True)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store on an empty database of either kind."""
    found = Store(store_url)
    yield found
    found.close()
