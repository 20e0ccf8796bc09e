"""A whole CSMS inside the test's process."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from csms.app import running
from pki_tools.tree import PkiTree
from tests.csms.support import Running, make_config

Start = Callable[..., contextlib.AbstractAsyncContextManager[Running]]


@pytest.fixture
def start(tmp_path: Path, pki: PkiTree) -> Start:
    """Start a CSMS; keyword arguments go to `make_config`."""

    @contextlib.asynccontextmanager
    async def begin(**changes: Any) -> AsyncIterator[Running]:
        config = make_config(tmp_path, pki, **changes)
        events = tmp_path / "events.jsonl"
        async with running(config, events) as csms:
            yield Running(csms, config, events, pki)

    return begin


@pytest_asyncio.fixture
async def csms(start: Start) -> AsyncIterator[Running]:
    """A CSMS with the ordinary configuration."""
    async with start() as found:
        yield found
