"""The first page in a real browser: the answer, what flows, the day beside yesterday's, use by hour."""

import re

import pytest
from playwright.async_api import expect

from csms.alerts.rules import RULES, Evidence, Report
from csms.backend import make_backend
from csms.grid.source import GridSource
from csms.overview import course
from tests.browser.tab import Tab, employed
from tests.csms.backend import Backend
from tests.csms.charging import Charging
from tests.csms.support import grid_signal


@pytest.mark.e2e
@pytest.mark.requirement("R219")
async def test_the_first_page_answers_whether_today_is_good(tab: Tab, csms: Backend) -> None:
    now_ms, rows = csms.clock.utc_ms(), []
    for back in range(7 * 288):
        at_ms = now_ms // course.STEP_MS * course.STEP_MS - back * course.STEP_MS
        wave = (at_ms // course.STEP_MS) % 288
        rows.append(
            {
                "site_id": "", "at_ms": at_ms, "import_w": 1000 * abs(144 - wave), "export_w": 400 * max(0, wave - 200),
                "unknown": 0, "sessions": wave // 15, "evses": 20, "ready": 20 - wave // 40,
                "import_limit_w": 140_000, "export_limit_w": None,
            }
        )  # fmt: skip
    await csms.services.store.run(course.add, rows)
    station = await csms.booted()
    charging = Charging(csms, station)
    await charging.started()
    sampled = [{"value": 11_000, "measurand": "Power.Active.Import", "context": "Sample.Periodic"}]
    await charging.event(
        "Updated",
        "MeterValuePeriodic",
        extra={"meterValue": [{"timestamp": charging.now(), "sampledValue": sampled}]},
    )
    await csms.services[GridSource].offer(grid_signal(now_ms=csms.clock.utc_ms()), "dso")
    names = ("station_faulted", "money_quarantined", "queue_ages")
    await make_backend(csms.services).alerts.take(
        [
            Report(
                RULES[each].subject_kind,
                "CS-7",
                each,
                RULES[each].severity,
                now_ms,
                raised=True,
                evidence=Evidence(9, 1),
            )
            for each in names
        ]
    )
    await employed(tab)
    await tab.open("/console")
    await expect(tab.page.locator("#say")).to_contain_text("Not good, with open critical alerts: 1.")
    await expect(tab.page.locator(".flow")).to_contain_text("11.0 kW")
    await expect(tab.page.locator("figure.chart canvas")).to_be_visible()
    await expect(tab.page.locator("table.heat tbody tr")).to_have_count(14)
    await tab.check("today")
    await tab.open("/console/trends")
    await expect(tab.page.locator("figure.chart canvas")).to_be_visible()
    await expect(tab.page.locator("#list tbody tr")).to_have_count(7)
    await tab.check("trends")
    await tab.page.keyboard.press("/")
    await tab.page.keyboard.type("v2g")
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_role("heading", name="Search")).to_be_visible()
    await expect(tab.page.locator("main").get_by_role("link", name=station.id).first).to_be_visible()
    await tab.check("search")


@pytest.mark.e2e
async def test_the_first_point_of_a_day_has_minutes_beside_it_not_years(tab: Tab, csms: Backend) -> None:
    await tab.page.add_init_script(
        "window.drawn = []; const fill = CanvasRenderingContext2D.prototype.fillText;"
        "CanvasRenderingContext2D.prototype.fillText = function (text, ...at) {"
        " drawn.push(text); fill.call(this, text, ...at); };"
    )
    at_ms = csms.clock.utc_ms() // course.STEP_MS * course.STEP_MS
    row = {
        "site_id": "", "at_ms": at_ms, "import_w": 0, "export_w": 0, "unknown": 0, "sessions": 0, "evses": 0,
        "ready": 0, "import_limit_w": None, "export_limit_w": None,
    }  # fmt: skip
    await csms.services.store.run(course.add, [row])
    await employed(tab)
    await tab.open("/console")
    await expect(tab.page.locator("figure.chart canvas")).to_be_visible()
    stamps = [each for each in await tab.page.evaluate("drawn") if ":" in each or " " in each]
    assert stamps
    assert all(re.fullmatch(r"\d\d:\d\d(:\d\d)?", each) for each in stamps), stamps
