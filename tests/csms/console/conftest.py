"""A back end in memory with its console."""

from collections.abc import AsyncIterator

import argon2
import pytest
import pytest_asyncio

from csms.accounts import work as users
from tests.csms.api.support import ApiClient
from tests.csms.backend import Backend
from tests.csms.console.support import console
from tests.csms.fixtures import backend, csms

__all__ = ["ask", "backend", "cheap_passwords", "csms"]


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords of people cheaply: tests log in often."""
    monkeypatch.setattr(users, "_hasher", argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest_asyncio.fixture
async def ask(csms: Backend) -> AsyncIterator[ApiClient]:
    """API and console of a back end with the ordinary configuration."""
    async with console(csms) as client:
        yield client
