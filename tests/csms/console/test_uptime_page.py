"""The page of uptime."""

import re

import pytest

from csms.accounts.rules import Role
from csms.stations import store as stations
from csms.stations.store import StationContact
from csms.uptime import pages
from tests.csms.api.support import ApiClient
from tests.csms.console.support import employ, text_of
from v2g.units import HOUR_MS

pytestmark = pytest.mark.requirement("R185")


async def test_the_page_says_whether_the_target_is_reached_and_who_misses_it(ask: ApiClient) -> None:
    now, run = ask.backend.clock.utc_ms(), ask.backend.services.store.run
    ada = await employ(ask, "ada", Role.OPERATOR)
    assert "Nothing is known of this period." in text_of(await ada.get("/console/uptime"))
    for name, status in (("CS-1", "Available"), ("CS-2", "Faulted")):
        await run(stations.touch_all, [StationContact(name, "ocpp2.0.1", now - 100 * HOUR_MS)])
        await run(stations.save_connector, name, 1, 1, status, now - 100 * HOUR_MS)
        await run(stations.save_connector, name, 1, 1, "Available", now - 90 * HOUR_MS)
        await run(stations.save_seen, {name: now})
    page = await ada.get("/console/uptime")
    text = text_of(page)
    for said in ("1 of 2 EVSEs miss 97 %.", "23 CFR 680.116(b)", "90.000 %", "Missed", "100.000 %", "10 h", "Faulted"):
        assert said in text, said
    german = text_of(await ada.get("/console/uptime", accept_language="de"))
    assert ("90,000 %" in german, "90.000" in german) == (True, False), "not ninety thousand"
    shapes = re.findall(r'#(g-(?:warn|done|fault))"', page.body.decode())
    assert shapes == ["g-done", "g-warn", "g-fault"], "one reaches the target, one misses it, as it was faulted"
    assert re.findall(r'<tr data-row="([^"]+)"', page.body.decode()) == ["CS-1/1", "CS-2/1"]
    britain = text_of(await ada.get("/console/uptime?rules=uk-2023"))
    assert "On average 95.000 %: the target of 99 % is missed." in britain
    assert "CS-2" not in text_of(await ada.get("/console/uptime?station_id=CS-1&rules=nothing"))
    table = (await ada.get("/console/uptime?csv=1")).body.decode("utf-8-sig")
    assert table.splitlines()[2].startswith("CS-2,1,90.000 %,Missed,1")


async def test_many_stations_are_summed_up_when_somebody_asks(ask: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "AT_ONCE", 1)
    now, run = ask.backend.clock.utc_ms(), ask.backend.services.store.run
    ada = await employ(ask, "ada", Role.OPERATOR)
    for name in ("CS-1", "CS-2"):
        await run(stations.touch_all, [StationContact(name, "ocpp2.0.1", now - HOUR_MS)])
        await run(stations.save_connector, name, 1, 1, "Available", now - HOUR_MS)
        await run(stations.save_seen, {name: now})
    page = await ada.get("/console/uptime?rules=strict")
    assert "Sum up all 2 stations" in text_of(page)
    assert 'href="?rules=strict&amp;all=1"' in page.body.decode()
    assert "All 2 EVSEs reach 99.9 %." in text_of(await ada.get("/console/uptime?rules=strict&all=1"))
