"""One field that finds stations, sites, sessions and alerts."""

from csms.accounts.rules import Role
from csms.alerts.rules import Report
from tests.csms.api.support import ApiClient
from tests.csms.charging import Charging
from tests.csms.console.support import employ, text_of

STATION, SEARCH = "CS-V2G-0001", "/console/search"


async def test_one_field_finds_what_has_a_text_as_far_as_it_may_be_seen(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    charging = Charging(ask.backend, station)
    await charging.event("Started", "CablePluggedIn", state="Charging", context="Transaction.Begin")
    place = {"station_id": STATION, "evse_id": 1, "node": "main", "most_ma": 32_000}
    north = {"id": "v2g-north", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": [place]}
    assert (await ask("PUT", "/sites/v2g-north", north)).status == 200
    now_ms = ask.backend.clock.utc_ms()
    await ask.alerts.take([Report("station", STATION, "station_faulted", "error", now_ms, raised=True)])
    ada, bob = await employ(ask, "ada", Role.OPERATOR), await employ(ask, "bob", Role.BILLING)
    page = await ada.get(f"{SEARCH}?q=v2g")
    for link in (
        f'href="/console/stations/{STATION}"',
        'href="/console/sites/v2g-north"',
        f'href="/console/sessions/{STATION}/{charging.id}"',
        'href="/console/alerts?q=v2g"',
    ):
        assert link in page.body.decode(), link
    exact = await ada.get(f"{SEARCH}?q={STATION.lower()}")
    assert (exact.status, exact.headers["location"]) == (303, f"/console/stations/{STATION}")
    found = (await bob.get(f"{SEARCH}?q=v2g")).body.decode()
    assert f"/console/sessions/{STATION}/{charging.id}" in found
    assert f'href="/console/stations/{STATION}"' not in found, "billing sees no stations"
    assert "Nothing has this in its name" in text_of(await ada.get(f"{SEARCH}?q=%25"))
    for hostile in ("%3Cscript%3Ealert(1)%3C/script%3E", "%22%3E%3Cimg%20src=x%3E", "%E2%80%AE"):
        body = (await ada.get(f"{SEARCH}?q={hostile}")).body.decode()
        assert not any(each in body for each in ("<script>alert", "<img src=x", "\u202e"))
