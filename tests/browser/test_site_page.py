"""A site's page in a real browser: what is left, phases, limits, the plan, and whose power is lowered."""

import pytest
from playwright.async_api import expect

from csms.fleets import store as fleets
from csms.fleets.rules import Fleet
from csms.grid.source import GridSource
from csms.overview import course
from csms.sites import store as site_store
from csms.sites.rules import Place, Site
from tests.browser.tab import Tab, employed
from tests.csms.backend import Backend
from tests.csms.charging import Charging
from tests.csms.support import grid_signal
from v2g.energy.balancing import Node
from v2g.energy.grid_signal import ConnectionPoint, GridLimit

HOSTILE = "<b>dso</b>'\"\u202e{x}" + "W" * 30
DAY_MS = 86_400_000


@pytest.mark.e2e
@pytest.mark.long
async def test_a_site_says_what_is_left_and_who_is_lowered(tab: Tab, csms: Backend) -> None:
    now_ms, run, rows = csms.clock.utc_ms(), csms.services.store.run, []
    newest_ms = now_ms // course.STEP_MS * course.STEP_MS
    for back in range(7 * 288):
        at_ms = newest_ms - back * course.STEP_MS
        wave = (at_ms // course.STEP_MS) % 288
        rows.append(
            {
                "site_id": "depot", "at_ms": at_ms, "import_w": 1000 * abs(144 - wave) // 4,
                "export_w": 100 * max(0, wave - 200), "unknown": 0, "sessions": wave // 50, "evses": 5, "ready": 5,
                "import_limit_w": 55_000, "export_limit_w": 20_000, "base_w": 8_000 + 20 * wave,
            }
        )  # fmt: skip
    await run(course.add, rows)
    names = ("CS-V2G-0001", "CS-V2G-0002")
    nodes = (Node(id="main", limits=(80_000, 80_000, 80_000)), Node(id="row", parent="main", limits=(63_000,) * 3))
    places = tuple(
        Place(station_id=each, evse_id=evse, node="row", most_ma=32_000) for each in names for evse in (1, 2, 3)
    )
    await run(site_store.save_site, Site(id="depot", nodes=nodes, places=places), now_ms)
    await run(fleets.save, Fleet(id="vans", stations=names, load_w=9_000), now_ms)
    plan = [(newest_ms + hour * 3_600_000, 4_000 * (hour % 7) - 9_000) for hour in range(24)]
    await run(fleets.put_planned, "vans", plan)
    station = await csms.booted(names[0])
    for evse_id, watts in enumerate((11_000, -8_600, 3_000), 1):
        vehicle = Charging(csms, station, evse_id=evse_id)
        way = "Import" if watts > 0 else "Export"
        sample = {"value": abs(watts), "measurand": f"Power.Active.{way}", "context": "Sample.Periodic"}
        extra = {"meterValue": [{"timestamp": vehicle.now(), "sampledValue": [sample]}]}
        await vehicle.event("Started", "CablePluggedIn", state="Charging", extra=extra)
    schedule = {
        "id": 1, "startSchedule": vehicle.now(), "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 9000.0}],
    }  # fmt: skip
    limit = {"chargingLimitSource": "EMS"}
    about = {"chargingLimit": limit, "chargingSchedule": [schedule], "evseId": 3}
    await station.call("NotifyChargingLimit", about)
    at = ConnectionPoint(site="depot")
    later = GridLimit(
        connection_point=at, direction="import", limit_w=18_000, source=HOSTILE, from_ms=now_ms + DAY_MS // 12,
        until_ms=now_ms + DAY_MS // 6,
    )  # fmt: skip
    signal = grid_signal(now_ms=now_ms, site_import_limit_w=42_000, connection_point=at, limits=(later,))
    await csms.services[GridSource].offer(signal, "dso")
    await employed(tab)
    await tab.open("/console/sites/depot")
    await expect(tab.page.locator("#say")).to_contain_text("Within its limits")
    await expect(tab.page.locator("#say")).to_contain_text("site depot may have 18.0")
    await expect(tab.page.locator("figure.chart canvas")).to_be_visible()
    await expect(tab.page.locator("#places tbody tr").first).to_contain_text("Limit from outside: EMS")
    await expect(tab.page.locator("#limits")).to_contain_text("<b>dso</b>")
    assert await tab.page.locator("#limits b").count() == 0
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    await tab.page.set_viewport_size({"width": 400, "height": 900})
    assert await tab.page.evaluate(wide) == 0
    await tab.page.set_viewport_size({"width": 1440, "height": 900})
    await tab.check("site")
    await tab.open(f"/console/stations/{station.id}/codes")
    await expect(tab.page.locator("svg.qr")).to_have_count(2)
    assert await tab.page.evaluate(wide) == 0
    await tab.check("codes")
    for path in ("/console/sites/depot", f"/console/stations/{station.id}/codes", "/console/trends", "/console"):
        await tab.page.set_extra_http_headers({"Accept-Language": "de"})
        await tab.open(path)
        for width in (320, 400, 1440):
            await tab.page.set_viewport_size({"width": width, "height": 900})
            assert await tab.page.evaluate(wide) == 0, (path, width)
        await tab.check(f"german{path.replace('/', '-')}")


@pytest.mark.e2e
@pytest.mark.long
async def test_a_chart_of_a_site_is_read_by_keyboard_alone(tab: Tab, csms: Backend) -> None:
    now_ms = csms.clock.utc_ms() // course.STEP_MS * course.STEP_MS
    point = {
        "site_id": "depot", "import_w": 5_000, "export_w": 0, "unknown": 0, "sessions": 1, "evses": 5, "ready": 5,
        "import_limit_w": 55_000, "export_limit_w": None, "base_w": None,
    }  # fmt: skip
    rows = [{**point, "at_ms": now_ms - back * course.STEP_MS, "import_w": 1_000 * back} for back in range(20)]
    await csms.services.store.run(course.add, rows)
    site = Site(id="depot", nodes=(Node(id="main", limits=(80_000,) * 3),))
    await csms.services.store.run(site_store.save_site, site, now_ms)
    await employed(tab)
    await tab.open("/console/sites/depot")
    plot, page = tab.page.locator(".plot"), tab.page
    await plot.focus()
    await page.keyboard.press("ArrowLeft")
    before = await page.locator("figure.chart .at").inner_text()
    await page.keyboard.press("PageUp")
    assert await page.locator("figure.chart .at").inner_text() != before
    await page.keyboard.press("+")
    await page.keyboard.press("0")
    await page.keyboard.press("Escape")
    await expect(page.locator("figure.chart .at")).to_contain_text("now")
