"""Two attachments to one simulated copper, and a wait that needs no sleeping."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from v2g.net.medium import Medium


@pytest.fixture
def until() -> Callable[[Callable[[], object]], "asyncio.Future[None]"]:
    """Return `until(condition)`: waits, at most 5 s, until `condition()` is true, letting the loop run."""

    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)

    return wait  # type: ignore[return-value]


@pytest_asyncio.fixture
async def charger_medium(tmp_path: Path) -> AsyncIterator[Medium]:
    medium = await Medium.attach(tmp_path / "copper", "secc")
    yield medium
    medium.close()


@pytest_asyncio.fixture
async def vehicle_medium(tmp_path: Path, charger_medium: Medium) -> AsyncIterator[Medium]:
    medium = await Medium.attach(tmp_path / "copper", "evcc")
    yield medium
    medium.close()
