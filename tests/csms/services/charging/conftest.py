"""Back ends in simulated time: whoever waits goes on at once, and nothing depends on how fast the machine is."""

from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio

from csms.config import StationEntry
from csms.db.group_commit import GroupCommit
from tests.csms.backend import Backend
from tests.csms.fixtures import Start, backend
from tests.csms.services.charging.support import NAMES, TOKENS, next_hour
from tests.virtual_time import VirtualLoop, waited_for

__all__ = ["backend"]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], VirtualLoop]]:
    """Run the tests of this folder in simulated time, which passes only while no thread works."""
    return {"simulated": lambda: VirtualLoop(waits=True)}


@pytest.fixture(autouse=True)
def store_in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass while the store's own threads work."""
    for name in ("run", "gather"):
        monkeypatch.setattr(GroupCommit, name, waited_for(getattr(GroupCommit, name)))


@pytest_asyncio.fixture
async def csms(backend: Start) -> AsyncIterator[Backend]:
    """A back end that knows five stations and a driver who may discharge; it is a full hour."""
    async with backend(tokens=TOKENS, stations=tuple(StationEntry(id=name) for name in NAMES)) as running:
        next_hour(running.clock)
        yield running
