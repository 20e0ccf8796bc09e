"""Configuration templates in a real browser: stored, what differs, and the question before it is set."""

import pytest
from playwright.async_api import expect

from tests.browser.tab import Tab, employed
from tests.csms.backend import Backend


@pytest.mark.e2e
@pytest.mark.long
async def test_a_template_is_stored_and_shows_what_differs(tab: Tab, csms: Backend) -> None:
    station = await csms.booted()
    entry = {
        "component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"},
        "variableAttribute": [{"value": "60"}],
    }  # fmt: skip
    about = {"requestId": 1, "generatedAt": "2026-01-01T00:00:00Z", "seqNo": 0, "reportData": [entry]}
    await station.call("NotifyReport", about)
    await employed(tab)
    await tab.open("/console/templates")
    await tab.page.get_by_role("textbox", name="Name such as depots").fill("depots")
    await tab.page.get_by_role("textbox", name="Values").fill("HeartbeatInterval: 300")
    await tab.page.get_by_role("button", name="Store and compare").click()
    await expect(tab.page.get_by_text("such as OCPPCommCtrlr.HeartbeatInterval = 300")).to_be_visible()
    await expect(tab.page.get_by_role("textbox", name="Name such as depots")).to_have_value("depots")
    await expect(tab.page.get_by_role("textbox", name="Values")).to_have_value("HeartbeatInterval: 300")
    await tab.page.get_by_role("textbox", name="Values").fill("OCPPCommCtrlr.HeartbeatInterval = 300")
    await tab.page.get_by_role("button", name="Store and compare").click()
    await expect(tab.page.get_by_text("Stations that differ from version 1: 1.")).to_be_visible()
    await tab.check_views("template")
    await tab.page.locator("#list .pick input").check()
    await tab.page.get_by_role("button", name="Set what is wanted …").click()
    await expect(tab.page.get_by_role("heading", name="Set what depots wants at stations: 1?")).to_be_visible()
    assert await tab.faults("template-question") == []
    await tab.open("/console/templates")
    await expect(tab.page.locator("#list")).to_contain_text("depots")
    await tab.check_views("templates")
