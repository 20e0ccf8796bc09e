"""The driver's pages in a real browser, without a login: the running session changes by itself, the receipt prints."""

import pytest
from playwright.async_api import expect

from csms.drivers.work import evse_address
from csms.tariffs import store as tariffs
from csms.tariffs.store import Scope
from tests.browser.tab import WAIT_MS, Tab
from tests.csms.backend import Backend
from tests.csms.charging import Charging
from tests.csms.console.driving import PLAN, go_on
from tests.csms.support import STATION
from v2g import typed_json
from v2g.energy.price_plan import PricePlan


@pytest.mark.e2e
@pytest.mark.requirement("R218")
@pytest.mark.long
async def test_a_driver_follows_a_session_from_the_price_to_the_receipt(tab: Tab, csms: Backend) -> None:
    station, run = await csms.booted(STATION), csms.services.store.run
    about = {"timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Available", "evseId": 1, "connectorId": 1}
    await station.call("StatusNotification", about)
    plan = typed_json.convert(PLAN, PricePlan)
    await run(tariffs.add_plan, plan, csms.clock.utc_ms())
    await run(tariffs.assign, Scope(), plan.id, csms.clock.utc_ms())
    address = evse_address(csms.services, STATION, 1)
    await tab.open(address)
    await expect(tab.page.get_by_text("0.4998 EUR/kWh")).to_be_visible()
    await tab.check("driver-before")
    charging = Charging(csms, station)
    await go_on(charging, "Started", "Authorized", 1000)
    await tab.open(address)
    await tab.page.get_by_role("link", name="Energy and cost of the session here").click()
    await expect(tab.page.get_by_text("1.19 EUR").first).to_be_visible()
    await go_on(charging, "Updated", "MeterValuePeriodic", 3000, 12_000)
    await expect(tab.page.get_by_text("2.19 EUR").first).to_be_visible(timeout=WAIT_MS)
    await tab.check("driver-while")
    await go_on(charging, "Ended", "EVCommunicationLost", 5000)
    await expect(tab.page.get_by_role("button", name="Print, or save as PDF")).to_be_visible()
    await tab.check("driver-receipt")
    paper = await tab.page.pdf()
    assert paper.startswith(b"%PDF-")
    await tab.page.emulate_media(media="print")
    await expect(tab.page.get_by_role("button", name="Print, or save as PDF")).to_be_hidden()
    await expect(tab.page.get_by_text("3.19 EUR").first).to_be_visible()
