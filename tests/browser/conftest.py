"""A back end in memory, its console over HTTPS, and Debian's Chromium."""

import contextlib
import shutil
from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from csms.api import Api
from csms.api.backend import make_backend
from tests.csms.backend import Backend
from tests.csms.charging import TOKENS
from tests.csms.console.conftest import cheap_passwords
from tests.csms.fixtures import Start, backend
from tests.packages import need

__all__ = ["backend", "cheap_passwords"]


@pytest_asyncio.fixture
async def csms(backend: Start) -> AsyncIterator[Backend]:
    """A back end whose clock runs."""
    async with backend(tokens=TOKENS) as running:
        yield running


@pytest_asyncio.fixture
async def url(csms: Backend) -> AsyncIterator[str]:
    """The address of its console."""
    made = make_backend(csms.services)
    api = Api(made, "csms.console.application")
    port = await api.start()
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(TimeoutError):
            await api.close()


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser of Debian, not of Playwright, whose own needs a download."""
    need("chromium", program="chromium")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield launched
        await launched.close()


@pytest_asyncio.fixture
async def trusting() -> AsyncIterator[Browser]:
    """A browser that trusts every certificate: with an error of TLS it offers no passkeys."""
    need("chromium", program="chromium")
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", "--ignore-certificate-errors"]
        launched = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield launched
        await launched.close()
