"""A tariff as a week in a real browser: typed by keyboard, hours without a price are filled, and it is assigned."""

import pytest
from playwright.async_api import expect

from tests.browser.tab import Tab, employed


@pytest.mark.e2e
@pytest.mark.long
async def test_a_tariff_is_typed_as_a_week_filled_stored_and_assigned(tab: Tab) -> None:
    await employed(tab)
    await tab.open("/console/tariffs/new")
    page = tab.page
    await page.get_by_label("Name such as").fill("harbour")
    await page.get_by_label("Time zone", exact=True).fill("Europe/Berlin")
    await page.get_by_label("Holidays such as").fill("2027-12-25 2027-12-26")
    for kind, prices in (("energy", ("0.29", "0.58")), ("export", ("0.12", "0.31"))):
        for number, price in enumerate(prices):
            await page.locator(f"button[value=add-{kind}]").focus()
            await page.keyboard.press("Enter")
            await page.locator(f"[name={kind}{number}_price]").fill(price)
            await page.locator(f"[name={kind}{number}_start]").fill(("22:00", "17:00")[number])
            await page.locator(f"[name={kind}{number}_end]").fill(("06:00", "21:00")[number])
    await page.locator("[name=energy1_days]").select_option("Monday to Friday")
    await page.get_by_label("Begins").fill("2027-01-07 17:30")
    await page.get_by_label("Energy fed back").fill("6")
    await page.get_by_role("button", name="Show what it costs").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".note.w")).to_contain_text("charging has no price, and is free.")
    await tab.check("tariff-gaps")
    await page.get_by_role("button", name="Charge 0.58 the rest of the time").click()
    await expect(page.locator(".note.w")).not_to_contain_text("charging")
    await page.get_by_role("button", name="Pay 0.12 the rest of the time").click()
    await expect(page.locator(".note.w")).to_have_count(0)
    await tab.check("tariff-week")
    await page.get_by_role("button", name="Store this tariff").click()
    await expect(page.get_by_text("Tariff harbour is stored.")).to_be_visible()
    await page.locator("[name=to]").select_option("Group of tokens")
    await page.get_by_label("Name", exact=True).fill("residents")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("harbour applies at residents.")).to_be_visible()
    await tab.check("tariff-stored")
