"""A session paid for from the page of an EVSE, in a real browser: the driver is shown each step without reloading."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from csms.drivers.work import evse_address
from tests.browser.tab import Tab
from tests.csms.backend import Backend
from tests.csms.charging import TOKENS
from tests.csms.direct_payments.paying import NAME, World, charged, paying
from tests.csms.fixtures import Start


@pytest_asyncio.fixture
async def world(backend: Start, tmp_path: Path) -> AsyncIterator[World]:
    async with paying(backend, tmp_path, tokens=TOKENS) as made:
        yield made


@pytest.fixture
def csms(world: World) -> Backend:
    """The back end of the console."""
    return world.csms


@pytest.mark.e2e
@pytest.mark.requirement("R218")
@pytest.mark.long
async def test_a_driver_pays_charges_and_has_a_receipt(tab: Tab, world: World) -> None:
    station = await world.station()
    about = {"timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Available", "evseId": 1, "connectorId": 1}
    await station.call("StatusNotification", about)
    await tab.open(f"/console{evse_address(world.csms.services, NAME, 1)}")
    await tab.check_views("payment-before")
    await tab.page.get_by_role("button", name="Pay here: 30.00 EUR in advance").click()
    said = tab.page.get_by_role("status")
    await expect(said).to_have_text("Waiting for your payment")
    await expect(tab.page.get_by_role("link", name="Pay now")).to_have_attribute("href", "https://pay.example/A1")
    await tab.check_views("payment-waiting")
    world.provider.approve()
    await world.steps()
    await expect(said).to_contain_text("Plug in the vehicle now")
    await tab.check_views("payment-approved")
    charging = await charged(world, station)
    await world.steps()
    await expect(said).to_have_text("Charging is paid for.")
    await charging.unplugged()
    await world.steps()
    await expect(said).to_have_text("Paid. The rest is released.")
    await expect(tab.page.get_by_text("6.00").first).to_be_visible()
    await tab.check_views("payment-paid")
    await tab.page.get_by_role("link", name="Receipt").click()
    await expect(tab.page.get_by_role("heading", name="Receipt")).to_be_visible()
