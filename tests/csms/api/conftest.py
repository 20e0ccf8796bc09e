"""A back end in memory with its API."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import Backend
from tests.csms.fixtures import backend, csms

__all__ = ["backend", "csms"]


@pytest_asyncio.fixture
async def ask(csms: Backend) -> AsyncIterator[ApiClient]:
    """The API of a back end with the ordinary configuration."""
    async with serving(csms) as client:
        yield client
