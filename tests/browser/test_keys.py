"""Keys of the console in a real browser: they lead to pages and rows, act on a row, and can be switched off."""

import re

import pytest
from playwright.async_api import expect

from csms.alerts.rules import Report
from csms.backend import make_backend
from tests.browser.tab import WAIT_MS, Tab, employed
from tests.csms.backend import Backend


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.requirement("R219")
async def test_keys_lead_to_pages_and_rows_and_act_there(tab: Tab, csms: Backend) -> None:
    now_ms = csms.clock.utc_ms()
    shown = [Report("vehicle", f"EV-{each}", f"kind_{each}", "warning", now_ms, raised=True) for each in range(3)]
    await make_backend(csms.services).alerts.take(shown)
    await employed(tab)
    press, main = tab.page.keyboard.press, tab.page.locator("main")
    await press("g")
    await press("a")
    await expect(tab.page).to_have_url(re.compile(r"/alerts$"), timeout=WAIT_MS)
    rows, focused = main.locator(".alert"), tab.page.locator(".alert:has(:focus)")
    for key, row in (("j", 0), ("j", 1), ("j", 2), ("j", 2), ("k", 1)):
        await press(key)
        await expect(focused).to_have_attribute("data-row", str(await rows.nth(row).get_attribute("data-row")))
    await press("x")
    await expect(rows.nth(1).get_by_role("checkbox")).to_be_checked()
    await press("?")
    dialog = tab.page.get_by_role("dialog", name="Keys")
    await expect(dialog).to_contain_text("Acknowledge, mute, assign")
    await tab.check("keys")
    await press("a")  # nothing behind the dialog acts
    await press("Escape")
    await expect(dialog).to_be_hidden()
    await press("a")
    await expect(tab.page.get_by_role("heading", name="Acknowledge 1 alert")).to_be_visible(timeout=WAIT_MS)
    await tab.page.get_by_role("button", name="Keys").click()
    await dialog.get_by_role("checkbox").uncheck()
    await dialog.get_by_role("button", name="Close").click()
    await press("g")
    await press("s")
    await press("?")
    await expect(dialog).to_be_hidden()
    await tab.open("/console/alerts")
    await press("j")
    await expect(focused).to_have_count(0)
