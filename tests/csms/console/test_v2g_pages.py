"""A session's steps, limits and prices, and the page of V2G: set-points, offers, settlements."""

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from html import unescape
from typing import Any

import msgspec
import pytest

from csms.accounts.rules import Role
from csms.console.present import DASH
from csms.dispatch import der_controls as der
from csms.dispatch import store as dispatch_store
from csms.dispatch.store import CoursePoint
from csms.fleets import store as fleets
from csms.fleets.store import FleetPoint
from csms.grid.source import GridSource
from csms.settlements.journals import JournalStore
from csms.smart_charging import store as charging
from csms.smart_charging.rules import Needs
from csms.transactions import store as transactions
from tests.csms.api.support import ApiClient
from tests.csms.charging import Charging
from tests.csms.console.support import employ, text_of
from tests.csms.services.charging.support import offer
from tests.csms.settlement.course import running
from tests.csms.settlement.journals import delivery, journal
from tests.csms.settlement.witness import delivered_whole
from tests.csms.support import grid_signal
from v2g.ocpp.messages.der_control import FixedVar, SetDERControlRequest

STATION = "CS-V2G-0001"


def drawn_on(body: bytes) -> dict[str, dict[str, Any]]:
    """Return a page's charts by title."""
    found = map(msgspec.json.decode, map(unescape, re.findall(r'data-chart="([^"]+)"', body.decode())))
    return {each["title"]: each for each in found}


def charts(body: bytes) -> dict[str, dict[str, list[float | None]]]:
    """Return the lines of a page's charts, by title and label."""
    return {title: {line["label"]: line["values"] for line in each["lines"]} for title, each in drawn_on(body).items()}


def hhmm(at_s: int) -> str:
    """Return the UTC time of a point."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%H:%M")


async def assign(ask: ApiClient, *energy: dict[str, object], **more: object) -> None:
    """Store a price plan with these rates of energy, and let it apply everywhere."""
    plan = {"id": "plan", "currency": "EUR", "energy": {"rates": list(energy)}, **more}
    assert (await ask("POST", "/tariffs", plan)).status == 201
    assert (await ask("PUT", "/tariff-assignments", {"plan_id": "plan"})).status == 200


def set_clock(ask: ApiClient, time: str) -> None:
    """Let it be a minute before a UTC time of a day in summer: each event of `Charging` takes one."""
    moment = datetime.fromisoformat(f"2026-06-01T{time}Z") - timedelta(minutes=1)
    ask.backend.clock.now_ms = round(moment.timestamp() * 1000)


NIGHT = {"price": "0.25", "when": {"from_minute": 20 * 60, "to_minute": 8 * 60}}
DAY = {"price": "0.40"}


@pytest.mark.requirement("R34")
async def test_the_price_now_is_that_of_the_slot_in_force(ask: ApiClient) -> None:
    clock = ask.backend.clock
    await ask.backend.services[GridSource].offer(grid_signal(now_ms=clock.utc_ms()), "dso")
    ada = await employ(ask, "ada", Role.VIEWER)
    for at in (0, 1):
        found = drawn_on((await ada.get("/console/v2g")).body)["Prices of the grid signal"]
        assert (found["now"], len(found["times"])) == (at, 3)
        clock.advance(900)


async def test_a_session_without_a_journal_has_the_prices_of_its_plan(ask: ApiClient) -> None:
    """From 7:00 to 21:00, with a price by day and one by night."""
    set_clock(ask, "07:00")
    charge = Charging(ask.backend, await ask.backend.booted())
    await charge.event("Started", "ChargingStateChanged", state="Charging", context="Transaction.Begin")
    ada = await employ(ask, "ada", Role.BILLING)
    where = f"/console/sessions/{STATION}/{charge.id}"
    ask.backend.clock.advance(60)
    assert "Prices, without tax" not in text_of(await ada.get(where)), "no plan applies"
    assert (await ask("GET", f"/transactions/{charge.id}/prices")).json == []
    assert (await ask("GET", "/transactions/none/prices")).status == 404
    await assign(ask, NIGHT, DAY)
    set_clock(ask, "21:00")
    charge.wh += 14_000
    await charge.event("Ended", "EVCommunicationLost", state="Idle", context="Transaction.End")
    ask.backend.clock.advance(24 * 3600)
    page = await (await employ(ask, "bob", Role.VIEWER)).get(where)
    found = drawn_on(page.body)["Prices, without tax"]
    assert [*map(hhmm, found["times"])] == ["07:00", "08:00", "20:00", "21:00"]
    assert found["lines"] == [
        {
            "label": "Price of charging",
            "of": "",
            "look": "in",
            "unit": "EUR/kWh",
            "steps": True,
            "values": [0.25, 0.4, 0.25, 0.25],
        }
    ]
    rows = re.findall(r"([\d.]+) EUR/kWh ([\d.]+) EUR/kWh", text_of(page))
    assert rows == [("0.25", "0.00"), ("0.40", "0.00"), ("0.25", "0.00")], "the same in a table, the newest first"
    steps = (await ask("GET", f"/transactions/{charge.id}/prices?station={STATION}")).json
    assert [hhmm(each["at_ms"] // 1000) for each in steps] == ["07:00", "08:00", "20:00"]
    assert steps[0] | {"at_ms": 0} == {"at_ms": 0, "currency": "EUR", "import_price": 250_000, "export_price": 0}


@pytest.mark.requirement("R34")
async def test_the_price_of_a_running_session_changes_by_the_clock_of_its_plan(ask: ApiClient) -> None:
    """In Sweden it is 20:00 at 18:00 UTC in summer; energy that is fed back has a price, too."""
    set_clock(ask, "17:50")
    await assign(ask, NIGHT, DAY, zone="Europe/Stockholm", currency="SEK", export={"rates": [{"price": "0.08"}]})
    charge = Charging(ask.backend, await ask.backend.booted())
    await charge.event("Started", "ChargingStateChanged", state="Charging", context="Transaction.Begin")
    ada = await employ(ask, "ada", Role.VIEWER)
    set_clock(ask, "18:11")
    page = await ada.get(f"/console/sessions/{STATION}/{charge.id}", accept_language="de")
    found = drawn_on(page.body)["Preise, ohne Steuer"]
    assert [*map(hhmm, found["times"])] == ["17:50", "18:00", "18:10"]
    assert {(line["label"], line["unit"], *line["values"]) for line in found["lines"]} == {
        ("Preis des Ladens", "SEK/kWh", 0.4, 0.25, 0.25),
        ("Preis der Einspeisung", "SEK/kWh", 0.08, 0.08, 0.08),
    }
    assert "Seit Preis des Ladens Preis der Einspeisung" in text_of(page)


@pytest.mark.requirement("R34")
async def test_the_price_by_power_is_that_of_each_reading(ask: ApiClient) -> None:
    """A minute each at 6, 12 and 6 kW."""
    set_clock(ask, "12:00")
    await assign(ask, {"price": "0.60", "when": {"min_power_w": 11_000}}, {"price": "0.30"})
    charge = Charging(ask.backend, await ask.backend.booted())
    await charge.event("Started", "ChargingStateChanged", state="Charging", context="Transaction.Begin")
    for kind, wh in (("Updated", 100), ("Updated", 200), ("Ended", 100)):
        charge.wh += wh
        await charge.event(kind, "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
    ada = await employ(ask, "ada", Role.VIEWER)
    page = (await ada.get(f"/console/sessions/{STATION}/{charge.id}")).body
    assert b"data-past" in page, "its last reading is not that of now"
    found = drawn_on(page)["Prices, without tax"]
    assert [*map(hhmm, found["times"])] == ["12:00", "12:01", "12:02", "12:03"]
    assert found["lines"][0]["values"] == [0.3, 0.6, 0.3, 0.3]


async def test_a_running_session_shows_steps_limits_and_prices(ask: ApiClient) -> None:
    await assign(ask, {"price": "9.99"})
    station = await ask.backend.booted()
    charging_ = Charging(ask.backend, station)
    await charging_.event("Started", "ChargingStateChanged", state="Charging")
    begin_ms = ask.backend.clock.utc_ms()
    for watts in (4_000, 5_000):
        sampled = [{"value": watts, "measurand": "Power.Active.Export", "context": "Sample.Periodic"}]
        reading = {"timestamp": charging_.now(), "sampledValue": sampled}
        await charging_.event("Updated", "MeterValuePeriodic", extra={"meterValue": [reading]})
    await ask.backend.services[JournalStore].deliver(STATION, delivery(running(begin_ms)))
    ask.backend.clock.advance(2 * 3600)
    ada = await employ(ask, "ada", Role.VIEWER)
    page = await ada.get(f"/console/sessions/{STATION}/{charging_.id}")
    text = text_of(page)
    for said in (
        "Session set up ISO 15118 evse id DE*V2G*E1, discharge signed",
        "Offer answered ISO 15118 accepted no, reason state of charge too low",
        "Discharge command refused ISO 15118 reason expired, detail too <late>",
        "Session begun OCPP trigger State changed",
        "9.0\u00a0kW operator 10.0\u00a0kW 11.0\u00a0kW 20.0\u00a0kW 9.0\u00a0kW".replace("\u00a0", " "),
    ):
        assert said in text, said
    assert "Reading OCPP" not in text
    drawn = charts(page.body)
    power, terms = drawn["Power, limits and state of charge"], drawn["Limits of discharging, and prices"]
    assert [each for each in power["Power"] if each is not None] == [-4.0, -5.0]
    assert [each for each in power["Limit of discharging"] if each is not None][:2] == [-6.0, -9.0]
    assert terms["At most by the site"][-1] == -20.0
    assert terms["Price of charging"][-1] == 0.35
    assert terms["Price of charging"][0] is not None
    german = await ada.get(f"/console/sessions/{STATION}/{charging_.id}", accept_language="de")
    for said in ("Ladevorgang aufgebaut ISO 15118", "Angebot beantwortet", "unter 0 aus dem Fahrzeug"):
        assert said in text_of(german), said
    translated = charts(german.body)
    assert not {*translated} & {*drawn}
    assert not {label for each in translated.values() for label in each} & {*power, *terms}
    functions = "less discharge at over-frequency, reactive power by voltage"
    assert f"Grid code at the vehicle's inverter {functions}" in text
    assert "weniger Einspeisung bei Überfrequenz, Blindleistung nach Spannung" in text_of(german)
    other = await ada.get(f"/console/sessions/{STATION}/none")
    assert other.status == 404


async def test_a_session_shows_what_bound_its_power_since_when(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    charge = Charging(ask.backend, station)
    await charge.event("Started", "ChargingStateChanged", state="Charging")
    run, at_ms = ask.backend.services.store.run, ask.backend.clock.utc_ms()
    for minute, watts in enumerate((9_000, 5_000)):
        schedule = {"id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": watts}]}
        request = {"chargingLimit": {"chargingLimitSource": "EMS"}, "chargingSchedule": [schedule], "evseId": 1}
        await station.call("NotifyChargingLimit", request)
        needs = Needs(evse_id=1, requested="DC", most_w=7_000)
        await run(transactions.save_needs, STATION, charge.id, needs)
        await run(charging.note_limits, [STATION], {}, at_ms + minute * 60_000)
    found = await ask("GET", f"/transactions/{charge.id}/limits?station={STATION}")
    vehicle = {"name": "vehicle", "power_w": 7_000, "source": ""}
    assert [each["bounds"] for each in found.json] == [
        [vehicle, {"name": "external", "power_w": 9_000, "source": "EMS"}],
        [{"name": "external", "power_w": 5_000, "source": "EMS"}, vehicle],
    ]
    assert (await ask("GET", "/transactions/none/limits")).status == 404
    ask.backend.clock.advance(3600)
    ada = await employ(ask, "ada", Role.BILLING)
    where = f"/console/sessions/{STATION}/{charge.id}"
    page = await ada.get(where)
    text = text_of(page).replace("\u00a0", " ")
    assert "5.0 kW Limit from outside EMS The vehicle takes at most 7.0 kW" in text
    assert "7.0 kW The vehicle takes at most Limit from outside EMS 9.0 kW" in text
    assert charts(page.body)["Limits of power, by source"] == {
        "The vehicle takes at most": [7.0] * 3,
        "Limit from outside EMS": [9.0, 5.0, 5.0],
    }
    german = charts((await ada.get(where, accept_language="de")).body)
    assert [*german["Grenzen der Leistung, nach Herkunft"]][1] == "Grenze von außen EMS"


async def test_the_overview_has_energy_of_today_in_both_directions(ask: ApiClient) -> None:
    charge = Charging(ask.backend, await ask.backend.booted())
    for kind, trigger, taken in (("Started", "ChargingStateChanged", 0), ("Ended", "EVCommunicationLost", 12_500)):
        context = "Transaction.Begin" if kind == "Started" else "Transaction.End"
        sampled = [
            {"value": value, "measurand": f"Energy.Active.{way}.Register", "context": context}
            for way, value in (("Import", taken), ("Export", taken / 5))
        ]
        ask.backend.clock.advance(3600)
        await charge.event(kind, trigger, extra={"meterValue": [{"timestamp": charge.now(), "sampledValue": sampled}]})
    text = text_of(await (await employ(ask, "ada", Role.VIEWER)).get("/console"))
    assert "Taken today 12.5\u00a0kWh".replace("\u00a0", " ") in text
    assert "Fed back today 2.5\u00a0kWh".replace("\u00a0", " ") in text


async def test_a_fleet_shows_its_past_plans_and_what_happened(ask: ApiClient) -> None:
    await Charging(ask.backend, await ask.backend.booted()).event("Started", "ChargingStateChanged", state="Charging")
    ada = await employ(ask, "ada", Role.VIEWER)
    for stations in (None, [STATION]):
        assert (await ask("PUT", "/fleets/depot", {"id": "depot", "stations": stations})).status == 200
        page = await ada.get("/console/v2g/fleets/depot")
        assert (page.status, "there is no grid signal" in text_of(page)) == (200, True)
        assert f"{STATION} 1" in text_of(page)
    await offer(ask.backend, (100_000, 50_000))
    for minute in (2, 1):
        at_ms = ask.backend.clock.utc_ms() - minute * 60_000
        point = FleetPoint(at_ms=at_ms, planned_w=9_000, asked_w=8_000, accepted_w=7_000, delivered_w=6_500, vehicles=1)
        await ask.backend.services.store.run(fleets.note_course, "depot", point)
    found = (await ask("GET", f"/fleets/depot/course?from_ms={at_ms}")).json
    assert found == [msgspec.to_builtins(point)]
    assert (await ask("GET", "/fleets/none/course?from_ms=0")).status == 404
    page = await ada.get("/console/v2g/fleets/depot")
    assert "What it can do beside the plan" in text_of(page)
    assert "9.0\u00a0kW 8.0\u00a0kW 7.0\u00a0kW 6.5\u00a0kW 1".replace("\u00a0", " ") in text_of(page)
    assert charts(page.body)["The plan of the last day, and what happened"] == {
        "Planned": [9.0] * 2,
        "Asked for": [8.0] * 2,
        "Accepted by vehicles": [7.0] * 2,
        "Delivered": [6.5] * 2,
    }


async def test_a_journal_of_another_evse_or_time_is_not_the_sessions(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    charge = Charging(ask.backend, station)
    await charge.event("Started", "ChargingStateChanged", state="Charging")
    await ask.backend.services[JournalStore].deliver(STATION, delivery(running(ask.backend.clock.utc_ms() - 7_200_000)))
    found = await ask("GET", f"/stations/{STATION}/transactions/{charge.id}/course")
    assert (found.status, found.json) == (200, {"moments": [], "prices": []})
    assert (await ask("GET", f"/stations/{STATION}/transactions/none/course")).json["moments"] == []


async def test_a_neighbours_running_journal_is_not_shown_where_a_station_has_not_named_its_evses(
    ask: ApiClient,
) -> None:
    station = await ask.backend.booted()
    charge = Charging(ask.backend, station)
    await charge.event("Started", "ChargingStateChanged", state="Charging")
    await ask.backend.services[JournalStore].deliver(STATION, delivery(running(ask.backend.clock.utc_ms())))
    course = f"/stations/{STATION}/transactions/{charge.id}/course"
    for number, shown in ((1, True), (2, False)):
        status = {"timestamp": charge.now(), "connectorStatus": "Occupied", "evseId": number, "connectorId": 1}
        await station.call("StatusNotification", status)
        assert bool((await ask("GET", course)).json["moments"]) is shown, f"{number} EVSEs"
    named = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "EvseId"}}
    report = {"requestId": 1, "generatedAt": charge.now(), "seqNo": 0}
    value = {"variableAttribute": [{"value": "DE*V2G*E1"}]}
    await station.call("NotifyReport", {**report, "reportData": [{**named, **value}]})
    assert (await ask("GET", course)).json["moments"] != []


@pytest.mark.requirement("R177")
async def test_set_points_offers_and_settlements_are_on_the_page_of_v2g(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.VIEWER)
    text = text_of(await ada.get("/console/v2g"))
    assert "No session is settled yet." in text
    assert "Offers and commands" in text
    await delivered_whole(ask, journal())
    clock = ask.backend.clock
    await ask.backend.services[JournalStore].deliver(STATION, delivery(running(clock.utc_ms(), "0a"), "0a"))
    for minute in (2, 1):
        at_ms = clock.utc_ms() - minute * 60_000
        point = CoursePoint(at_ms=at_ms, asked_w=-12_000, accepted_w=-8_000, delivered_w=-7_500, vehicles=1)
        await ask.backend.services.store.run(dispatch_store.note_course, "node", point)
    page = await ada.get("/console/v2g")
    text = text_of(page)
    assert "offer Refused state of charge too low 1" in text
    assert f"offer Accepted {DASH} 1" in text
    assert "discharge command Refused expired 1" in text
    assert "expired too <late>" in text
    assert "<late>" not in page.body.decode()
    assert charts(page.body)["Set-points asked for and delivered"] == {
        "Asked for": [-12.0] * 2,
        "Accepted by vehicles": [-8.0] * 2,
        "Delivered": [-7.5] * 2,
    }
    (period,) = re.findall(r'href="\?period=([^"#]+)', page.body.decode())
    for path in ("/console/v2g", f"/console/v2g?period={period}"):
        assert "DEV2GC00000001 1 2.0 1.0 0.40 EUR" in text_of(await ada.get(path)), path
    assert "DEV2GC00000001" not in text_of(await ada.get("/console/v2g?period=1999-01"))
    decisions = (await ask("GET", "/offer-decisions?limit=2")).json
    assert [each["kind"] for each in decisions] == ["command", "terms"]
    assert [each["reason"] for each in (await ask("GET", "/offer-decisions?accepted=true")).json] == ["accepted"]
    assert [each["session_id"] for each in decisions] == ["0a", "0a"]


@pytest.mark.requirement("R46", "R221")
async def test_a_station_shows_the_grid_support_that_it_holds(ask: ApiClient) -> None:
    await ask.backend.booted(version="2.1")
    run, now_ms = ask.backend.services.store.run, ask.backend.clock.utc_ms()
    var = FixedVar(priority=1, setpoint=-25.0, unit="PctMaxVar")
    for name, default, superseded in (("here", True, False), ("older", True, True), ("later", False, False)):
        control = SetDERControlRequest(is_default=default, control_id=name, control_type="FixedVar", fixed_var=var)
        await run(partial(der.save_control, superseded=superseded), STATION, control, now_ms)
    page = await (await employ(ask, "ada", Role.VIEWER)).get(f"/console/stations/{STATION}")
    text = text_of(page)
    assert "Grid support set by the back end FixedVar in force here" in text
    assert "FixedVar scheduled later" in text
    assert "FixedVar replaced by another older" in text
