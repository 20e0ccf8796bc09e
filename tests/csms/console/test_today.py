"""The first page: is today good, the course of power and use, and what needs a person."""

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from csms.accounts.rules import Role
from csms.admission.store import ConnectionAttempt, note_attempt
from csms.alerts.rules import Evidence, Report
from csms.booking.store import Review, put
from csms.overview import course
from csms.overview import work as power_course
from csms.overview.course import STEP_MS
from tests.csms.api.support import ApiClient
from tests.csms.charging import Charging
from tests.csms.console.support import charts, employ, text_of

STATION = "CS-V2G-0001"


async def power(ask: ApiClient, charging: Charging, watts: int) -> None:
    name = "Power.Active.Import" if watts >= 0 else "Power.Active.Export"
    sampled = [{"value": abs(watts), "measurand": name, "context": "Sample.Periodic"}]
    reading = {"timestamp": charging.now(), "sampledValue": sampled}
    await charging.event("Updated", "MeterValuePeriodic", extra={"meterValue": [reading]})
    await power_course.note(ask.backend.services)


async def site(ask: ApiClient) -> None:
    place = {"station_id": STATION, "evse_id": 1, "node": "main", "most_ma": 32_000}
    north = {"id": "north", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": [place]}
    assert (await ask("PUT", "/sites/north", north)).status == 200


async def test_power_of_today_stands_beside_yesterdays_and_says_whether_it_is_more(ask: ApiClient) -> None:
    clock = ask.backend.clock
    noon_ms = clock.now_ms // 86_400_000 * 86_400_000 + 43_200_000
    clock.now_ms = noon_ms - 120_000
    await site(ask)
    station = await ask.backend.booted()
    charging = Charging(ask.backend, station)
    await charging.event("Started", "CablePluggedIn", state="Charging", context="Transaction.Begin")
    about = {"timestamp": charging.now(), "connectorStatus": "Occupied", "evseId": 1, "connectorId": 1}
    await station.call("StatusNotification", about)
    for nth, watts in enumerate((10_000, 10_000, 11_000, -2_000)):
        clock.now_ms = noon_ms + nth // 2 * 86_400_000 + nth % 2 * STEP_MS
        await power(ask, charging, watts)
        await power_course.note(ask.backend.services)
    ada = await employ(ask, "ada", Role.OPERATOR)
    page = await ada.get("/console")
    text = text_of(page).replace("\u00a0", " ")
    assert "Good so far: 100 % of EVSEs work, every limit is kept." in text
    assert "45 % less energy than yesterday by this time." in text
    assert "From : Vehicles 2.0 kW" in text or "From: Vehicles 2.0 kW" in text
    (chart,) = charts(page)
    lines = {each["label"]: [value for value in each["values"] if value is not None] for each in chart["lines"]}
    assert lines == {"Today": [11, -2], "Yesterday": [10, 10]}
    day = f"{datetime.fromtimestamp(noon_ms / 1000, UTC):%a}"
    assert f"Busiest: {day} 12:00, 100 %" in text
    assert f"Least: {day} 12:00, 100 %" in text
    assert f'title="{day} 12:00, 100 %"' in page.body.decode()
    bea = await employ(ask, "bea", Role.VIEWER, "six tame ducks swim", "north")
    (chart,) = charts(await bea.get("/console"))
    assert [each["label"] for each in chart["lines"]] == [
        "Today",
        "Yesterday",
        "Limit into vehicles",
        "Limit out of vehicles",
    ]
    assert {each for each in chart["lines"][2]["values"] if each} == {3 * 63 * 230 / 1000}
    place = await ada.get("/console/sites/north")
    (of_site,) = charts(place)
    assert [each["label"] for each in of_site["lines"]] == [
        *(each["label"] for each in chart["lines"]), "Fuse",
    ]  # fmt: skip
    (ahead,) = (each for each in of_site["lines"] if each["label"] == "Fuse")
    assert of_site["times"][-1] * 1000 == noon_ms + 86_400_000 + 43_200_000 - STEP_MS, "until the end of the day"
    assert ahead["values"][-1] == 43.47
    assert "Within its limits: 65.9 A (L3) left at feeder north/main." in text_of(place).replace("\u00a0", " ")
    assert (await ask("GET", f"/overview/course?from_ms={clock.now_ms}&to_ms={clock.now_ms}")).status == 400


async def test_yesterday_is_shown_by_the_clock_where_the_day_has_23_hours(ask: ApiClient) -> None:
    clock = ask.backend.clock
    noons_ms = [datetime(2031, 3, day, 12, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1000 for day in (29, 30)]
    clock.now_ms = round(noons_ms[0]) - 120_000
    charging = Charging(ask.backend, await ask.backend.booted())
    await charging.event("Started", "CablePluggedIn", state="Charging", context="Transaction.Begin")
    for noon_ms, watts in zip(noons_ms, (10_000, 11_000), strict=True):
        clock.now_ms = round(noon_ms)
        await power(ask, charging, watts)
    ada = await employ(ask, "ada", Role.OPERATOR)
    await ada.send("/console/zone", {"zone": "Europe/Berlin", "path": "/console"})
    page = await ada.get("/console")
    (chart,) = charts(page)
    lines = {each["label"]: each["values"] for each in chart["lines"]}
    assert (lines["Yesterday"], lines["Today"]) == ([10], [11])
    assert "10 % more energy than yesterday by this time." in text_of(page)


async def test_a_point_is_noted_once_by_however_many_nodes(ask: ApiClient) -> None:
    services, now_ms = ask.backend.services, ask.backend.clock.utc_ms()
    await asyncio.gather(*(power_course.note(services) for _ in range(5)))
    answer = await ask("GET", f"/overview/course?from_ms={now_ms - STEP_MS}&to_ms={now_ms + 1}")
    assert len(answer.json) == 1
    assert answer.json[0]["import_limit_w"] is None


async def test_what_needs_a_person_stands_first(ask: ApiClient) -> None:
    await ask.backend.booted()
    ada = await employ(ask, "ada", Role.OPERATOR)
    assert "Needs a person" not in text_of(await ada.get("/console"))
    visit = ConnectionAttempt(station_id="CS-NEW", address="192.0.2.9", offered="ocpp2.1", security_profile=2)
    await ask.backend.services.store.run(note_attempt, visit, ask.backend.clock.utc_ms())
    report = Report("station", STATION, "station_faulted", "error", 0, raised=True, evidence=Evidence(60.0, 60.0))
    await ask.alerts.take([report])
    text = text_of(await ada.get("/console"))
    assert "Not good, with open critical alerts: 1." in text
    assert text.index(f"A connector of {STATION} has been faulted") < text.index("CS-NEW waits for admission")
    for at, station in enumerate((STATION, STATION, "CS-9")):
        held = Review(
            station_id=station, session_id=f"{at}", state="quarantined", transaction_id="", begin_ms=0, end_ms=1,
            reason="rise", detail="it rises; much", since_ms=1, due_ms=1,
        )  # fmt: skip
        await ask.backend.services.store.run(put, held)
    held_ones = text_of(await (await employ(ask, "ben", Role.BILLING)).get("/console"))
    several = f"Money of several sessions of {STATION} is on hold"
    assert f"Money of a session of CS-9 is on hold it rises {several}" in held_ones
    german = text_of(await ada.get("/console", accept_language="de"))
    assert "Nicht gut, mit offenen kritischen Meldungen: 1." in german
    await ada.get("/console/alerts")
    await ada.send("/console/alerts/change", {"only": "1", "note": "seen", "sure": "1"})
    assert "Good so far" in text_of(await ada.get("/console"))


async def test_hostile_texts_on_the_first_page_are_shown_and_never_obeyed(ask: ApiClient) -> None:
    hostile = "<img src=x onerror=1>{subject}\u202e"
    now_ms = ask.backend.clock.utc_ms()
    visit = ConnectionAttempt(station_id=hostile[:48], address=hostile[:40], offered=hostile, security_profile=2)
    await ask.backend.services.store.run(note_attempt, visit, now_ms)
    await ask.alerts.take([Report("site", hostile, "fuse_overloaded", "error", now_ms, raised=True)])
    ada = await employ(ask, "ada", Role.ADMIN)
    page = await ada.get("/console")
    assert page.status == 200
    assert "<img src=x" not in page.body.decode()
    assert "\u202e" not in page.body.decode()
    assert "onerror" in text_of(page)


async def test_trends_show_a_week_or_a_month_by_day_or_by_site(ask: ApiClient) -> None:
    await site(ask)
    now_ms = ask.backend.clock.now_ms = ask.backend.clock.now_ms // 86_400_000 * 86_400_000 + 43_200_000
    rows = [
        {
            "site_id": name, "at_ms": now_ms - back * STEP_MS, "import_w": 6_000 if back < 7 * 288 else 3_000,
            "export_w": 1_000, "unknown": 0, "sessions": 1, "evses": 4, "ready": 3, "import_limit_w": None,
            "export_limit_w": None, "base_w": None,
        }
        for back in range(40 * 288) for name in ("", "north")
    ]  # fmt: skip
    await ask.backend.services.store.run(course.add, rows)
    ada = await employ(ask, "ada", Role.OPERATOR)
    page = await ada.get("/console/trends")
    text = text_of(page).replace("\u00a0", " ").replace("\u2009", "")
    assert "100 % more energy into vehicles than in the 7 days before." in text
    assert text.count(" 144.0 kWh 24.0 kWh 6.0 kW 25 % 75 % 0") == 6, "six whole days, and half of today"
    assert "72.0 kWh" in text
    assert [len(each["times"]) for each in charts(page)] == [8]
    month = text_of(await ada.get("/console/trends?span=month")).replace("\u00a0", " ")
    assert month.count("72.0 kWh 24.0 kWh 3.0 kW 25 % 75 % 0") == 22, "and one of both powers"
    by_site = text_of(await ada.get("/console/trends?span=week-sites")).replace("\u00a0", " ")
    assert "north 936.0 kWh 156.0 kWh" in by_site
    assert "Into vehicles,import" not in (csv := (await ada.get("/console/trends?csv=1")).body.decode("utf-8-sig"))
    assert (
        csv.splitlines()[0] == "of,import [Wh],export [Wh],most [W],used [%],ready [%],sessions,money,money [currency]"
    )
    bea = await employ(ask, "bea", Role.VIEWER, "six tame ducks swim", "north")
    assert "72.0 kWh" in text_of(await bea.get("/console/trends?span=nonsense")).replace("\u00a0", " ")
