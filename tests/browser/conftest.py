"""A back end in memory, its console over HTTPS, and Debian's Chromium."""

import contextlib
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from msgspec.structs import replace
from playwright.async_api import Browser, async_playwright

from csms.accounts import store as users
from csms.accounts.work import hash_password
from csms.backend import make_backend
from csms.http.server import Api
from csms.services import Services
from tests.browser.tab import Tab
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


class Served:
    """A console that can be stopped, and started again at the same address."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._api: Api | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen."""
        config = self._services.config
        origin = f"https://localhost:{self.port}" if self.port else ""  # known from the second start on
        listener = replace(config.api, port=self.port, origin=origin)
        services = replace(self._services, config=replace(config, api=listener))
        self._api = Api(make_backend(services), "csms.console.application")
        self.port = await self._api.start()

    async def stop(self) -> None:
        """Stop listening, and end all connections."""
        assert self._api is not None
        with contextlib.suppress(TimeoutError):
            await self._api.close()


@pytest_asyncio.fixture
async def served(csms: Backend) -> AsyncIterator[Served]:
    """The console of the back end."""
    made = Served(csms.services)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def url(served: Served) -> str:
    """The address of its console."""
    return f"https://127.0.0.1:{served.port}"


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


@pytest_asyncio.fixture
async def tab(browser: Browser, csms: Backend, url: str) -> AsyncIterator[Tab]:
    """A person at the login page; `ada` is an administrator."""
    await csms.services.store.run(users.add_first, "ada", hash_password("first password"), csms.clock.utc_ms())
    context = await browser.new_context(ignore_https_errors=True)
    found = Tab(await context.new_page(), url)
    await found.open("/")
    yield found
    assert [each for each in found.complaints if "401" not in each] == []
    await context.close()
