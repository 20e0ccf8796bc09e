"""Recurring templates keep to their site's clock through its changes, also at stations that know no time zone."""

import asyncio
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace
from sqlalchemy import event

from csms.device_model import store as device_model
from csms.sites import store as site_store
from csms.sites.rules import Place, Site
from csms.smart_charging import store as charging
from csms.smart_charging.charging_plans import ProfileTemplate, TemplatePeriod, from_template
from csms.smart_charging.work import LocalSchedules, SmartCharging
from tests.csms.backend import Backend
from tests.csms.scripted_station import Payload, ScriptedStation
from tests.csms.services.charging.support import running
from v2g.energy.balancing import Node
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.routes import Version
from v2g.ocpp.times import parse_time

NIGHT = ProfileTemplate(
    name="night", purpose="TxDefaultProfile", kind="Recurring", recurrency="Daily", stack_level=3, duration_s=86_400,
    periods=(TemplatePeriod(start_s=0, limit=11_000), TemplatePeriod(start_s=21_600, limit=4_000)),
)  # fmt: skip
SUMMER, WINTER = parse_time("2026-10-24T12:00:00Z"), parse_time("2026-10-25T01:00:00Z")
MIDNIGHT = parse_time("2026-10-23T22:00:00Z")


@pytest_asyncio.fixture(autouse=True)
async def _berlin(csms: Backend) -> None:
    """A site with a station in Berlin, before its clocks change."""
    csms.clock.now_ms = SUMMER
    place = Place(station_id="CS-V2G-0001", evse_id=1, node="n", most_ma=32_000)
    site = Site(id="s", nodes=(Node(id="n", limits=(63_000,) * 3),), places=(place,), zone="Europe/Berlin")
    await csms.services.store.run(site_store.save_site, site, 0)
    await csms.services.store.run(charging.save_template, NIGHT, 0)


async def applied(csms: Backend, version: Version = "2.0.1", status: str = "Accepted") -> ScriptedStation:
    """A station that has got the template."""
    station = await csms.booted("CS-V2G-0001", version=version)
    station.answers["SetChargingProfile"] = {"status": "Accepted"}
    await SmartCharging(csms.services).apply_template("night", station.id, 1, 7, start_ms=MIDNIGHT)
    station.answers["SetChargingProfile"] = {"status": status}
    return station


def received(station: ScriptedStation) -> list[Payload]:
    found = [each["chargingProfile"] for each in station.payloads("SetChargingProfile")]
    return [each["chargingSchedule"][0] for each in found if each["id"] == 7]


def begins(station: ScriptedStation) -> list[tuple[int, bool]]:
    return [(parse_time(each["startSchedule"]), each.get("useLocalTime", False)) for each in received(station)]


async def test_a_recurring_template_is_sent_again_when_clocks_change(csms: Backend) -> None:
    station, keeper = await applied(csms), LocalSchedules(csms.services)
    await keeper.set_all()
    assert begins(station) == [(MIDNIGHT, False)]
    for now_ms in (WINTER, WINTER, SUMMER, WINTER):
        csms.clock.now_ms = now_ms
        await keeper.set_all()
    assert [at_ms - MIDNIGHT for at_ms, _ in begins(station)] == [0, 3_600_000, 0, 3_600_000]
    assert not any(local for _, local in begins(station))


async def test_a_station_that_comes_back_to_a_node_gets_again_what_it_accepted_there(csms: Backend) -> None:
    station, here, elsewhere = await applied(csms), LocalSchedules(csms.services), LocalSchedules(csms.services)
    for keeper, now_ms in ((here, WINTER), (elsewhere, SUMMER), (here, WINTER)):
        csms.clock.now_ms = now_ms
        await keeper.set_all()
    assert [at_ms - MIDNIGHT for at_ms, _ in begins(station)] == [0, 3_600_000, 0, 3_600_000]


async def test_a_profile_made_before_the_change_is_sent_by_the_present_clock(csms: Backend) -> None:
    station = await csms.booted("CS-V2G-0001", version="2.1")
    station.answers["SetChargingProfile"] = {"status": "Accepted"}
    made = from_template(NIGHT, 7, SUMMER, start_ms=MIDNIGHT, zone="Europe/Berlin")
    csms.clock.now_ms = WINTER
    await SmartCharging(csms.services).set_profile(station.id, 1, made)
    assert begins(station) == [(MIDNIGHT + 3_600_000, False)]


async def test_clocks_are_looked_at_every_minute(csms: Backend) -> None:
    station = await applied(csms)
    async with running(LocalSchedules(csms.services)):
        csms.clock.now_ms = WINTER
        await asyncio.sleep(61)
        assert len(begins(station)) == 2


@pytest.mark.parametrize("zone", ["", "US/Pacific-New"])
async def test_a_station_whose_site_has_no_known_zone_gets_local_times_as_they_are(csms: Backend, zone: str) -> None:
    """None, or one that was stored before time zone data dropped it."""
    site = await csms.services.store.read(site_store.site, "s")
    await csms.services.store.run(site_store.save_site, replace(site, zone=zone), 0)
    station = await csms.booted("CS-V2G-0001", version="2.1")
    station.answers["SetChargingProfile"] = {"status": "Accepted"}
    made = from_template(NIGHT, 7, SUMMER, start_ms=MIDNIGHT, zone="Europe/Berlin")
    await SmartCharging(csms.services).set_profile(station.id, 1, made)
    assert begins(station) == [(MIDNIGHT, True)]


async def test_a_station_that_reports_it_in_utc_gets_it_again_too(csms: Backend) -> None:
    station, keeper = await applied(csms), LocalSchedules(csms.services)
    schedule = {**received(station)[0], "startSchedule": "2026-10-23T22:00:00Z"}
    reported = {
        "requestId": 1, "chargingLimitSource": "CSO", "evseId": 1,
        "chargingProfile": [{
            "id": 7, "stackLevel": 3, "chargingProfilePurpose": "TxDefaultProfile", "chargingProfileKind": "Recurring",
            "recurrencyKind": "Daily", "chargingSchedule": [schedule],
        }],
    }  # fmt: skip
    await station.call("ReportChargingProfiles", reported)
    csms.clock.now_ms = WINTER
    await keeper.set_all()
    assert begins(station)[1:] == [(MIDNIGHT + 3_600_000, False)]
    schedule["startSchedule"] = "2026-10-23T20:00:00Z"
    await station.call("ReportChargingProfiles", reported)
    csms.clock.now_ms = SUMMER
    await keeper.set_all()
    assert len(begins(station)) == 2, "another one, of someone else"


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_a_station_that_knows_its_zone_follows_by_itself(csms: Backend, version: Version) -> None:
    """From 2.1 on, which has useLocalTime."""
    key = {"component": "ClockCtrlr", "component_instance": "", "evse_id": 0, "connector_id": 0}
    zone = {"variable": "TimeZone", "variable_instance": "", "attribute": "Actual", "value": "Europe/Berlin"}
    await csms.services.store.run(device_model.save, "CS-V2G-0001", [key | zone])
    station, keeper = await applied(csms, version), LocalSchedules(csms.services)
    csms.clock.now_ms = WINTER
    await keeper.set_all()
    by_itself = [(MIDNIGHT, True)]
    assert begins(station) == (by_itself if version == "2.1" else [(MIDNIGHT, False), (MIDNIGHT + 3_600_000, False)])
    assert received(station)[0]["startSchedule"][:19] == "2026-10-24T00:00:00"


async def test_a_station_of_2_1_without_zones_gets_it_in_utc(csms: Backend) -> None:
    station, keeper = await applied(csms, "2.1"), LocalSchedules(csms.services)
    csms.clock.now_ms = WINTER
    await keeper.set_all()
    assert begins(station) == [(MIDNIGHT, False), (MIDNIGHT + 3_600_000, False)]


async def test_a_station_that_refuses_is_asked_once_for_each_change(csms: Backend) -> None:
    station, keeper = await applied(csms, status="Rejected"), LocalSchedules(csms.services)
    csms.clock.now_ms = WINTER
    await keeper.set_all()
    await keeper.set_all()
    assert len(begins(station)) == 2
    (held,) = [each for _, _, each in await csms.services.store.read(charging.profiles, station.id) if each.id == 7]
    assert begin_of(held) == MIDNIGHT


async def test_only_profiles_of_local_time_are_read_and_their_site_once(csms: Backend) -> None:
    """Each minute: with 50,000 others each look took 250 ms."""
    engine, asked = csms.services.store.engine, list[tuple[str, Any]]()
    station, keeper = await applied(csms), LocalSchedules(csms.services)
    csms.clock.now_ms = WINTER
    event.listen(engine, "before_cursor_execute", lambda *args: asked.append((args[2], args[3])))
    await keeper.set_all()
    assert len(begins(station)) == 2
    (look,) = [each for each in asked if "FROM charging_profiles" in each[0] and "LIKE" in each[0]]
    with engine.connect() as connection:
        plan = [each[3] for each in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {look[0]}", look[1])]
    assert any("ix_charging_profiles_local" in each for each in plan), plan
    assert sum("FROM sites" in query for query, _ in asked) == 1


def begin_of(profile: ChargingProfile) -> int:
    return parse_time(profile.charging_schedule[0].start_schedule or "")
