"""The page of alerts in a real browser: 13 fit a screen, several are acknowledged, an outage is one panel."""

import pytest
from playwright.async_api import expect

from csms.alerts.groups import OUTAGE_OVER
from csms.alerts.rules import RULES, Evidence, Report
from csms.backend import make_backend
from tests.browser.tab import WAIT_MS, Tab, employed
from tests.csms.backend import Backend


@pytest.mark.e2e
@pytest.mark.requirement("R219")
@pytest.mark.long
async def test_thirteen_alerts_fit_a_screen_and_several_are_acknowledged_at_once(tab: Tab, csms: Backend) -> None:
    alerts, now_ms = make_backend(csms.services).alerts, csms.clock.utc_ms()
    rules = [(name, rule) for name, rule in RULES.items() if rule.subject_kind in ("station", "queue", "grid", "site")]
    shown = [
        Report(
            rule.subject_kind, f"CS-{name[:9]}", name, rule.severity, now_ms, raised=True, evidence=Evidence(1500, 1)
        )
        for name, rule in rules
    ]
    others = range(13 - len(shown))
    shown += [Report("vehicle", f"EV-{each}", f"kind_{each}", "warning", now_ms, raised=True) for each in others]
    await alerts.take(shown)
    await employed(tab)
    await tab.page.set_viewport_size({"width": 1440, "height": 900})
    await tab.open("/console/alerts")
    rows = tab.page.locator(".alert")
    await expect(rows).to_have_count(13)
    await tab.check("alerts-13")
    await tab.page.set_viewport_size({"width": 1440, "height": 900})
    last = await rows.last.bounding_box()
    assert last is not None
    assert last["y"] + last["height"] <= 900
    top = await rows.nth(5).bounding_box()
    await rows.nth(0).get_by_role("checkbox").check()
    await rows.nth(2).get_by_role("checkbox").check()
    await expect(tab.page.locator(".bulk")).to_contain_text("2 chosen")
    assert await rows.nth(5).bounding_box() == top, "the bar of actions takes the place of the tools"
    await tab.page.get_by_role("button", name="Acknowledge …").click()
    await expect(tab.page.get_by_role("heading", name="Acknowledge 2 alerts?")).to_be_visible()
    await tab.page.get_by_label("Note for colleagues").fill("power cut")
    await tab.check("alerts-question")
    await tab.page.get_by_role("button", name="Acknowledge").click()
    await expect(tab.page.get_by_text("2 alerts are acknowledged.")).to_be_visible()
    await expect(rows).to_have_count(11)
    lost = [
        Report(
            "station", f"CS-{number}", "station_offline", "warning", now_ms, raised=True, evidence=Evidence(900.0, 900)
        )
        for number in range(OUTAGE_OVER * 2)
    ]
    await alerts.take(lost)
    await tab.page.reload()
    await expect(tab.page.locator(".outage")).to_contain_text("41 stations lost their connection", timeout=WAIT_MS)
    await expect(tab.page.locator(".outage canvas")).to_be_visible(timeout=WAIT_MS)
    await tab.check("alerts-outage")
