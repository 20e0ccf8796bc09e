"""Lists in a real browser: columns and views are chosen by keyboard, on each list of the console."""

import json

import pytest
from playwright.async_api import expect

from csms.accounts.rules import Role
from csms.settlements.journals import JournalStore
from tests.browser.tab import Tab, View, employed
from tests.csms.backend import Backend
from tests.csms.charging import Charging
from tests.csms.settlement.journals import SESSION, delivery, journal
from tests.csms.settlement.witness import witness
from tests.csms.support import STATION, TOKENS


async def put(tab: Tab, path: str, body: object) -> None:
    headers = {"Authorization": f"Bearer {TOKENS[Role.ADMIN]}"}
    answer = await tab.page.request.fetch(f"{tab.url}{path}", method="PUT", headers=headers, data=json.dumps(body))
    assert answer.ok, await answer.text()


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.requirement("R219")
async def test_lists_have_columns_and_views_by_keyboard_and_no_finding_of_axe(tab: Tab, csms: Backend) -> None:
    await csms.services.store.run(witness, journal(), STATION, SESSION)
    await csms.services[JournalStore].deliver(STATION, delivery(journal(price=999_999)))
    await employed(tab)
    for number in range(1, 3):
        station = await csms.booted(f"CS-V2G-000{number}")
        await Charging(csms, station).event("Started", "ChargingStateChanged", state="Charging")
        await put(tab, f"/tokens/Central/CARD-{number}", {"terms": {"group_id": "fleet" if number % 2 else ""}})
    places = [{"station_id": STATION, "evse_id": 1, "node": "main", "most_ma": 32_000}]
    await put(tab, "/sites/north", {"id": "north", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": places})
    for name in (
        "stations", "sessions", "tokens", "contracts", "quarantine", "sites", "vehicles", "campaigns", "settlements",
        "tariffs", "users", "audit", "partners",
    ):  # fmt: skip
        await tab.open(f"/console/{name}")
        await tab.check(f"list-{name}")
    await tab.open("/console/quarantine")
    for button in ("Release …", "Reject …"):
        await expect(tab.page.locator(".do").get_by_role("button", name=button)).to_be_in_viewport(ratio=1)
    for width in (768, 1024):
        await tab.page.set_viewport_size({"width": width, "height": 1000})
        for name in ("quarantine", "stations", "sessions", "audit"):
            await tab.open(f"/console/{name}")
            over: int = await tab.page.locator(".scroll").first.evaluate("each => each.scrollWidth - each.clientWidth")
            assert over <= 0, f"{name} scrolls sideways by {over} px at {width} px"
    await tab.look(View("en", "light", 1280))
    await tab.open("/console/tokens?q=card")
    await tab.page.get_by_text("Columns and views").focus()
    await tab.page.keyboard.press("Enter")
    await tab.page.get_by_role("checkbox", name="Valid until").focus()
    await tab.page.keyboard.press("Space")
    await tab.page.get_by_role("button", name="Show these columns").focus()
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_role("columnheader", name="Valid until")).to_have_count(0)
    await tab.page.get_by_text("Columns and views").click()
    await tab.page.get_by_label("Name of this view").fill("cards")
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_role("link", name="cards")).to_have_attribute("aria-current", "true")
    await tab.page.get_by_text("Columns and views").click()
    await tab.check("list-view")
    await tab.open("/console/tokens/Central/CARD-1")
    await tab.check("driver-person")
    attribute = {"value": "300", "mutability": "ReadWrite"}
    about = {"component": {"name": "Clock"}, "variable": {"name": "Interval"}, "variableAttribute": [attribute]}
    about |= {"variableCharacteristics": {"dataType": "integer", "unit": "s", "supportsMonitoring": False}}
    head = {"requestId": 1, "generatedAt": "2026-01-01T00:00:00Z", "seqNo": 0}
    await station.call("NotifyReport", {**head, "reportData": [about]})
    await tab.open(f"/console/stations/{station.id}")
    await tab.page.get_by_role("link", name="Variables").click()
    await tab.check("station-variables")
    await tab.page.get_by_role("button", name="Set …").click()
    await tab.check("station-variable")
    await tab.open("/console/stations/import")
    await tab.page.get_by_label("Or its text").fill("station;site;evses\nCS-9;north;2\nCS-8;south;\nCS-7;;")
    await tab.page.get_by_role("button", name="Show what would change").focus()
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_text("2 of 3 lines can be added")).to_be_visible()
    await tab.check("stations-import")
    await tab.page.get_by_role("button", name="Add 2 stations").focus()
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_text("2 stations are added.")).to_be_visible()
    await tab.open("/console/sites/north")
    await expect(tab.page.get_by_text("CS-9")).to_have_count(2)
