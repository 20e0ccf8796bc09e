"""Functional block K, smart charging, beyond the cases of the test lab."""

import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from csms.config import StationEntry
from csms.device_model import store as device_model
from csms.grid.config import Grid, OfflineLimit
from csms.grid.source import GridSource
from csms.sites import store as site_store
from csms.sites.rules import Place, Site
from csms.sites.work import Balancer
from csms.smart_charging import store as charging
from csms.smart_charging.charging_plans import ProfileTemplate, TemplatePeriod, from_template
from csms.smart_charging.rules import FIRST_ID, OFFLINE_PROFILE, SHARE_PROFILE
from csms.smart_charging.work import SmartCharging
from csms.transactions import store as transactions
from tests.csms.backend import BOOT, Backend
from tests.csms.charging import TOKENS, Charging
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Payload, Refused, ScriptedStation
from tests.csms.support import grid_signal
from tests.csms.vehicle_needs import ACCEPTED, NEEDS, NEEDS_20, next_profile, tx_profiles
from tests.waiting import until
from v2g.energy.balancing import Node
from v2g.energy.limits import MOST_W
from v2g.errors import RefusedError
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.messages.smart_charging import ChargingProfileCriterion

DEFAULT = ProfileTemplate(
    name="default",
    purpose="TxDefaultProfile",
    unit="A",
    stack_level=1,
    duration_s=3600,
    valid_s=3600,
    periods=(TemplatePeriod(start_s=0, limit=6.0, phases=1),),
)


@pytest_asyncio.fixture
async def csms(backend: Start) -> AsyncIterator[Backend]:
    """A back end that knows a driver."""
    async with backend(tokens=TOKENS) as running:
        yield running


@pytest_asyncio.fixture
async def station(csms: Backend) -> ScriptedStation:
    """A station of 2.0.1 that takes profiles."""
    found = await csms.booted()
    found.answers["SetChargingProfile"] = ACCEPTED
    return found


def profile(csms: Backend, number: int = 10, transaction_id: str | None = None, **changes: Any) -> ChargingProfile:
    template = msgspec.structs.replace(DEFAULT, **changes)
    return from_template(template, number, csms.clock.utc_ms(), transaction_id=transaction_id)


async def set_one(csms: Backend, station: ScriptedStation, evse_id: int, wanted: ChargingProfile) -> Payload:
    """Set a profile; return what the station received of it."""
    await SmartCharging(csms.services).set_profile(station.id, evse_id, wanted)
    reported = station.payloads("SetChargingProfile")
    received = [each for each in reported if each["chargingProfile"]["id"] == wanted.id][-1]  # others may be under way
    assert received["evseId"] == evse_id
    found: Payload = received["chargingProfile"]
    return found


async def held(csms: Backend, station: ScriptedStation) -> list[int]:
    return [each.id for _, _, each in await csms.services.store.run(charging.profiles, station.id)]


async def test_profiles_are_cleared_by_number_or_by_what_they_are(csms: Backend, station: ScriptedStation) -> None:
    for number, level in ((10, 1), (11, 2)):
        await set_one(csms, station, 1, profile(csms, number, stack_level=level))
    station.answers["ClearChargingProfile"] = ACCEPTED
    service = SmartCharging(csms.services)
    await service.clear(station.id, profile_id=10)
    assert await held(csms, station) == [11]
    await service.clear(station.id, evse_id=1, purpose="TxDefaultProfile", stack_level=2)
    assert await held(csms, station) == []
    criteria = {"evseId": 1, "chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 2}
    assert station.payloads("ClearChargingProfile") == [
        {"chargingProfileId": 10},
        {"chargingProfileCriteria": criteria},
    ]


async def test_profiles_and_schedules_of_an_evse_are_asked_for(csms: Backend, station: ScriptedStation) -> None:
    service = SmartCharging(csms.services)
    station.answers["GetChargingProfiles"] = ACCEPTED
    criterion = ChargingProfileCriterion(charging_profile_purpose="TxProfile", stack_level=1)
    asked = await service.get_profiles(station.id, criterion, 1)
    wanted = {"chargingProfilePurpose": "TxProfile", "stackLevel": 1}
    (received,) = station.payloads("GetChargingProfiles")
    assert received == {"requestId": asked.request_id, "evseId": 1, "chargingProfile": wanted}
    station.answers["GetCompositeSchedule"] = {"status": "Rejected"}
    assert (await service.composite(station.id, 1, 300, "A")).status == "Rejected"
    assert station.payloads("GetCompositeSchedule") == [{"evseId": 1, "duration": 300, "chargingRateUnit": "A"}]


EMS = {"chargingLimit": {"chargingLimitSource": "EMS", "isGridCritical": False}}


def external(limit_w: float) -> Payload:
    period = {"startPeriod": 0, "limit": limit_w}
    return {**EMS, "evseId": 1, "chargingSchedule": [
        {"id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [period]}
    ]}  # fmt: skip


async def limits(csms: Backend, station: ScriptedStation) -> list[tuple[int, str]]:
    found = await csms.services.store.run(charging.limits, station.id)
    return [(evse_id, each.charging_limit.charging_limit_source) for evse_id, _, each in found]


async def test_profiles_of_other_systems_are_not_cleared(csms: Backend, station: ScriptedStation) -> None:
    await station.call("NotifyChargingLimit", EMS)
    station.answers["GetChargingProfiles"] = ACCEPTED
    criterion = ChargingProfileCriterion(charging_profile_purpose="ChargingStationExternalConstraints")
    asked = await SmartCharging(csms.services).get_profiles(station.id, criterion)
    made = {
        **msgspec.json.decode(msgspec.json.encode(profile(csms))),
        "chargingProfilePurpose": "ChargingStationExternalConstraints",
    }
    part = {"requestId": asked.request_id, "chargingLimitSource": "EMS", "chargingProfile": [made], "evseId": 0}
    assert await station.call("ReportChargingProfiles", part) == {}
    ((evse_id, source, kept),) = await csms.services.store.run(charging.profiles, station.id)
    assert (evse_id, source, kept.id) == (0, "EMS", 10)
    station.answers["ClearChargingProfile"] = ACCEPTED
    await SmartCharging(csms.services).clear(station.id, stack_level=1)
    assert await held(csms, station) == [10]  # K10.FR.06


# -- what vehicles want (ISO 15118)


async def negotiated(csms: Backend, version: Any = "2.0.1") -> tuple[Charging, Payload]:
    """A vehicle sent its needs and its transaction has a profile (ISO15118SmartCharging); return that profile."""
    station = await csms.booted(version=version)
    station.answers["SetChargingProfile"] = ACCEPTED
    station.answers["DataTransfer"] = ACCEPTED
    now_ms = csms.clock.utc_ms()
    await csms.services[GridSource].offer(grid_signal(now_ms=now_ms), "test")
    charge = Charging(csms, station)
    await charge.authorized()
    await charge.plugged()
    return charge, await needs_told(charge)


async def needs_told(charge: Charging) -> Payload:
    before = len(tx_profiles(charge))
    answer = await charge.station.call("NotifyEVChargingNeeds", NEEDS)
    assert answer["status"] == "Accepted"
    return await next_profile(charge, before)


async def plans(charge: Charging, limit: float) -> str:
    """The vehicle says how it will charge; return what it is answered."""
    schedule = {
        "id": 1,
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
        "duration": 600,
    }
    request = {"evseId": 1, "timeBase": charge.now(), "chargingSchedule": schedule}
    answer = await charge.station.call("NotifyEVChargingSchedule", request)
    return str(answer["status"])


def limit_of(found: Payload) -> float:
    return float(found["chargingSchedule"][0]["chargingSchedulePeriod"][0]["limit"])


async def test_a_limit_of_somebody_else_makes_no_plan_by_our_profile_wrong(csms: Backend) -> None:
    """K15.FR.11: the plan is held against our schedule; the station keeps the limits of an EMS by itself."""
    charge, found = await negotiated(csms)
    charge.station.answers["GetChargingProfiles"] = ACCEPTED
    criterion = ChargingProfileCriterion(charging_profile_purpose="ChargingStationExternalConstraints")
    asked = await SmartCharging(csms.services).get_profiles(charge.station.id, criterion)
    made = {
        **msgspec.json.decode(msgspec.json.encode(profile(csms, periods=(TemplatePeriod(start_s=0, limit=1.0),)))),
        "chargingProfilePurpose": "ChargingStationExternalConstraints",
    }
    part = {"requestId": asked.request_id, "chargingLimitSource": "EMS", "chargingProfile": [made], "evseId": 0}
    assert await charge.station.call("ReportChargingProfiles", part) == {}
    assert await plans(charge, limit_of(found)) == "Accepted"


# -- 2.1


def of_whole_stations(station: ScriptedStation) -> list[tuple[int, int, float, int | None]]:
    """Id, level, limit and time offline of each limit of a whole station that it was sent."""
    sent = [each["chargingProfile"] for each in station.payloads("SetChargingProfile")]
    return [
        (each["id"] - FIRST_ID, each["stackLevel"], limit_of(each), each.get("maxOfflineDuration"))
        for each in sent
        if each["chargingProfilePurpose"] == "ChargingStationMaxProfile"
    ]


async def test_a_station_gets_a_limit_for_when_it_is_offline(backend: Start) -> None:
    """Also without a grid signal (K01.FR.101); one that refuses one of both profiles gets the signal's limit alone."""
    entries = tuple(StationEntry(id=f"CS-V2G-000{number}") for number in (1, 2, 3, 4))

    def without_offline(request: Payload) -> Payload:
        return {"status": "Rejected" if "maxOfflineDuration" in request["chargingProfile"] else "Accepted"}

    def with_one_limit(request: Payload) -> Payload:
        return {"status": "Rejected" if request["chargingProfile"]["id"] == OFFLINE_PROFILE else "Accepted"}

    async with backend(grid=Grid(offline=OfflineLimit(evse_w=4_200, after_s=120)), stations=entries) as csms:
        stations = [
            await csms.join(entry.id, version)
            for entry, version in zip(entries, ("2.1", "2.1", "2.1", "2.0.1"), strict=True)
        ]
        takes, *refuse, older = stations
        for station, answer in zip(stations, (ACCEPTED, without_offline, with_one_limit, ACCEPTED), strict=True):
            station.answers |= dict.fromkeys(("ClearChargingProfile", "DataTransfer"), ACCEPTED)
            station.answers |= {"SetChargingProfile": answer, "GetVariables": Refused("NotImplemented")}
            await station.call("BootNotification", BOOT)
        await until(lambda: len(of_whole_stations(takes)) == 2)
        await until(lambda: len(csms.events.named("offline_limit_refused")) == len(refuse))
        assert of_whole_stations(takes) == [(1, 1, MOST_W, 120), (6, 0, 4_200, None)]
        assert of_whole_stations(older) == []
        csms.services[GridSource].on_change = lambda _: csms.server.signal_changed()
        await csms.services[GridSource].offer(grid_signal(now_ms=csms.clock.utc_ms()), "test")
        others = (*refuse, older)
        await until(lambda: len(of_whole_stations(takes)) == 4)
        await until(lambda: all([level for _, level, *_ in of_whole_stations(each)][-1:] == [0] for each in others))
        site, below = of_whole_stations(takes)[2:]
        assert (site, below) == ((1, 1, site[2], 120), (6, 0, min(4_200, site[2]), None))
        last = [of_whole_stations(each)[-1] for each in others]
        assert [(number, level, after) for number, level, _, after in last] == [(1, 0, None)] * 3


async def new_station(csms: Backend) -> ScriptedStation:
    station = await csms.booted(version="2.1")
    for action in ("SetChargingProfile", "UpdateDynamicSchedule", "UsePriorityCharging"):
        station.answers[action] = ACCEPTED
    return station


async def test_priority_is_stored(csms: Backend) -> None:
    station = await new_station(csms)
    charge = Charging(csms, station)
    await charge.started()
    response = await SmartCharging(csms.services).use_priority(station.id, charge.id, activate=True)
    assert response.status == "Accepted"
    assert station.payloads("UsePriorityCharging") == [{"transactionId": charge.id, "activate": True}]
    assert await station.call("NotifyPriorityCharging", {"transactionId": charge.id, "activated": True}) == {}
    ((_, needs),) = await csms.services.store.run(transactions.with_needs, station.id)
    assert needs.priority == 1


async def test_a_template_lets_vehicles_feed_back(csms: Backend) -> None:
    station = await new_station(csms)
    periods = (TemplatePeriod(start_s=0, limit=6.0), TemplatePeriod(start_s=60, limit=6.0, discharge_limit=-4.0))
    template = msgspec.structs.replace(DEFAULT, periods=periods)
    await csms.services.store.run(charging.save_template, template, 0)
    assert (await SmartCharging(csms.services).apply_template("default", station.id, 1, 77)).status == "Accepted"
    (sent,) = station.payloads("SetChargingProfile")
    assert sent["chargingProfile"]["chargingSchedule"][0]["chargingSchedulePeriod"] == [
        {"startPeriod": 0, "limit": 6},
        {"startPeriod": 60, "limit": 6, "dischargeLimit": -4, "operationMode": "ExternalSetpoint"},
    ]


def dynamic(csms: Backend, **more: Any) -> ChargingProfile:
    made = profile(csms, 40, kind="Relative", valid_s=None)
    return msgspec.structs.replace(made, charging_profile_kind="Dynamic", **more)


async def test_profiles_that_no_station_could_follow_are_not_sent(csms: Backend) -> None:
    station = await new_station(csms)
    made = dynamic(csms)
    schedule = made.charging_schedule[0]
    period = schedule.charging_schedule_period[0]
    two = msgspec.structs.replace(
        schedule, charging_schedule_period=(period, msgspec.structs.replace(period, start_period=60))
    )
    for wrong in (
        msgspec.structs.replace(made, charging_schedule=(two,)),
        msgspec.structs.replace(profile(csms), dyn_update_interval=60),
    ):
        with pytest.raises(RefusedError) as caught:
            await SmartCharging(csms.services).set_profile(station.id, 1, wrong)
        assert caught.value.reason == "bad_profile"
    assert not station.payloads("SetChargingProfile")


# -- sites

SITE = Site(
    id="yard",
    nodes=(Node(id="main", limits=(40_000, 40_000, 40_000)),),
    places=tuple(
        Place(station_id=f"CS-V2G-000{n}", evse_id=1, node="main", most_ma=32_000, phases=("L1", "L2", "L3"))
        for n in (1, 2)
    ),
)


async def yard(csms: Backend) -> list[Charging]:
    """Two stations on one fuse, each with a vehicle that charges."""
    await csms.services.store.run(site_store.save_site, SITE, 0)
    found = []
    for place in SITE.places:
        station = await csms.booted(place.station_id)
        station.answers["SetChargingProfile"] = ACCEPTED
        await Balancer(csms.services).prepare(station.id)
        charge = Charging(csms, station)
        await charge.started()
        found.append(charge)
    return found


def shares(charge: Charging) -> list[float]:
    return [limit_of(found) for found in tx_profiles(charge)]


async def test_a_fuse_is_shared_and_whoever_leaves_leaves_it_to_the_others(csms: Backend) -> None:
    first, second = await yard(csms)
    balancer = Balancer(csms.services)
    await balancer.balance_all()
    assert (shares(first), shares(second)) == ([20.0], [20.0])
    await balancer.balance_all()
    assert (shares(first), shares(second)) == ([20.0], [20.0])  # nothing changed: nothing is sent
    await second.unplugged()
    await balancer.balance_all()
    assert shares(first) == [20.0, 32.0]


@pytest.mark.parametrize("names", [("SupportsDynamicProfiles", ""), ("SupportsFeature", "DynamicProfiles")])
async def test_a_station_with_dynamic_profiles_receives_later_shares_by_their_limit(
    csms: Backend, names: tuple[str, str]
) -> None:
    """K28: one dynamic profile for a transaction, then only what it says from now on."""
    await csms.services.store.run(site_store.save_site, SITE, 0)
    first, second = [await csms.booted(place.station_id, version="2.1") for place in SITE.places]
    for station in (first, second):
        station.answers |= {"SetChargingProfile": ACCEPTED, "UpdateDynamicSchedule": ACCEPTED}
    key = {"component": "SmartChargingCtrlr", "component_instance": "", "evse_id": 0, "connector_id": 0}
    variable = {"variable": names[0], "variable_instance": names[1], "attribute": "Actual", "value": "true"}
    await csms.services.store.run(device_model.save, first.id, [key | variable])
    charges = [Charging(csms, station) for station in (first, second)]
    for charge in charges:
        await charge.started()
    balancer = Balancer(csms.services)
    await balancer.balance_all()
    assert [(limit_of(found), found["chargingProfileKind"]) for found in tx_profiles(charges[0])] == [(20.0, "Dynamic")]
    assert "startSchedule" not in tx_profiles(charges[0])[0]["chargingSchedule"][0]
    assert [found["chargingProfileKind"] for found in tx_profiles(charges[1])] == ["Absolute"]
    await charges[1].unplugged()
    await balancer.balance_all()
    await balancer.balance_all()  # nothing changed: nothing is sent
    updates = [{"chargingProfileId": SHARE_PROFILE + 1, "scheduleUpdate": {"limit": 32.0}}]
    assert first.payloads("UpdateDynamicSchedule") == updates
    newcomer = Charging(csms, second)
    await newcomer.started()
    first.answers["UpdateDynamicSchedule"] = {"status": "Rejected"}  # it has lost the profile
    await balancer.balance_all()
    assert [limit_of(found) for found in tx_profiles(charges[0])] == [20.0, 20.0]
    assert limit_of(tx_profiles(newcomer)[-1]) == 20.0


async def test_who_comes_gets_something_only_after_the_others_have_given_way(csms: Backend) -> None:
    first, second = await yard(csms)
    balancer = Balancer(csms.services)
    await second.unplugged()
    await balancer.balance_all()
    assert shares(first) == [32.0]
    newcomer = Charging(csms, second.station)
    await newcomer.started()
    first.station.answers["SetChargingProfile"] = {"status": "Rejected"}
    await balancer.balance_all()
    assert shares(first)[-1] == 20.0  # it was asked, and refused
    assert shares(newcomer) == [8.0]  # what the fuse has left
    first.station.answers["SetChargingProfile"] = ACCEPTED
    await balancer.balance_all()
    assert (shares(first)[-1], shares(newcomer)[-1]) == (20.0, 20.0)


async def test_a_station_that_is_away_keeps_what_it_was_allowed(csms: Backend) -> None:
    first, second = await yard(csms)
    balancer = Balancer(csms.services)
    await balancer.balance_all()
    await second.station.disconnect()
    await until(lambda: second.station.id not in csms.services.connections.connected())
    await balancer.balance_all()
    assert shares(first) == [20.0]


async def test_others_limits_and_priorities_count(csms: Backend) -> None:
    first, second = await yard(csms)
    balancer = Balancer(csms.services)
    await first.station.call("NotifyChargingLimit", external(230.0 * 3 * 10))
    await balancer.balance_all()
    assert (shares(first), shares(second)) == ([10.0], [30.0])
    await first.station.call("ClearedChargingLimit", {"chargingLimitSource": "EMS", "evseId": 1})
    await csms.services.store.run(transactions.save_priority, second.station.id, second.id, 1)
    await balancer.balance_all()
    assert (shares(first)[-1], shares(second)[-1]) == (8.0, 32.0)


async def test_transactions_wait_until_they_have_a_share(csms: Backend) -> None:
    await csms.services.store.run(site_store.save_site, SITE, 0)
    station = await csms.booted()
    station.answers["SetChargingProfile"] = ACCEPTED
    balancer = Balancer(csms.services)
    await balancer.prepare(station.id)
    (received,) = station.payloads("SetChargingProfile")
    assert (received["evseId"], limit_of(received["chargingProfile"])) == (0, 0.0)
    await balancer.prepare(station.id, again=False)
    assert len(station.payloads("SetChargingProfile")) == 1


async def test_templates_are_applied_by_name_and_sites_composed(csms: Backend) -> None:
    first, second = await yard(csms)
    service = SmartCharging(csms.services)
    await csms.services.store.run(charging.save_template, DEFAULT, 0)
    with pytest.raises(RefusedError) as caught:
        await service.apply_template("default", first.station.id, 1, 77)
    assert caught.value.reason == "reserved_level"  # of the site's default
    higher = msgspec.structs.replace(DEFAULT, stack_level=3)
    await csms.services.store.run(charging.save_template, higher, 0)
    assert (await service.apply_template("default", first.station.id, 1, 77)).status == "Accepted"
    with pytest.raises(RefusedError) as caught:
        await service.apply_template("nobody's", first.station.id, 1, 77)
    assert caught.value.reason == "unknown_template"
    with pytest.raises(RefusedError) as caught:
        await service.apply_template("default", first.station.id, 1, SHARE_PROFILE + 1)
    assert caught.value.reason == "reserved_id"
    for charge, limit in ((first, 4000.0), (second, 5000.0)):
        schedule = {
            "evseId": 1,
            "duration": 300,
            "scheduleStart": "2026-01-01T00:00:00Z",
            "chargingRateUnit": "W",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}, {"startPeriod": 60, "limit": 1000.0}],
        }
        charge.station.answers["GetCompositeSchedule"] = {**ACCEPTED, "schedule": schedule}
    assert [step.limit_w for step in await service.site_composite("yard", 300)] == [9000.0, 2000.0]


# -- 2.1: ISO 15118-20, and what else its profiles say


def with_schedule(wanted: ChargingProfile, **changes: Any) -> ChargingProfile:
    schedule = msgspec.structs.replace(wanted.charging_schedule[0], **changes)
    return msgspec.structs.replace(wanted, charging_schedule=(schedule,))


async def test_what_201_does_not_know_is_left_out_for_it(csms: Backend, station: ScriptedStation) -> None:
    received = await set_one(csms, station, 1, with_schedule(profile(csms), randomized_delay=30))
    assert "randomizedDelay" not in received["chargingSchedule"][0]


async def test_profiles_do_not_have_the_numbers_of_other_systems(csms: Backend) -> None:
    station = await new_station(csms)
    report_of = {
        "component": {"name": "SmartChargingCtrlr"},
        "variable": {"name": "MaxExternalConstraintsId"},
        "variableAttribute": [{"value": "20"}],
    }
    await station.call(
        "NotifyReport", {"requestId": 1, "generatedAt": "2026-01-01T00:00:00Z", "seqNo": 0, "reportData": [report_of]}
    )
    with pytest.raises(RefusedError) as caught:
        await SmartCharging(csms.services).set_profile(station.id, 1, profile(csms, 20))
    assert caught.value.reason == "reserved_id"
    assert (await set_one(csms, station, 1, profile(csms, 21)))["id"] == 21


async def negotiated_20(csms: Backend, mode: str) -> tuple[Charging, Payload]:
    charge, _ = await negotiated(csms, "2.1")
    before = len(tx_profiles(charge))
    wanted = {**NEEDS_20, "chargingNeeds": {**NEEDS_20["chargingNeeds"], "controlMode": mode}}  # type: ignore[dict-item]
    answer = await charge.station.call("NotifyEVChargingNeeds", wanted)
    assert answer["status"] == "Accepted"
    found = await next_profile(charge, before)
    assert len(found["chargingSchedule"]) == 1  # K19.FR.07
    return charge, found


@pytest.mark.requirement("R55")
async def test_a_vehicle_that_says_its_needs_at_a_full_site_waits(csms: Backend) -> None:
    """The limit of the grid signal for its transaction is not its share of the site."""
    station = await csms.booted()
    station.answers["SetChargingProfile"] = ACCEPTED
    place = Place(station_id=station.id, evse_id=1, node="main", most_ma=32_000)
    site = Site(id="yard", nodes=(Node(id="main", limits=(5_000,) * 3),), places=(place,))
    await csms.services.store.run(site_store.save_site, site, 0)
    balancer = Balancer(csms.services)
    await balancer.prepare(station.id)
    await csms.services[GridSource].offer(grid_signal(now_ms=csms.clock.utc_ms()), "test")
    charge = Charging(csms, station)
    await charge.authorized()
    await charge.plugged()
    await needs_told(charge)
    await until(lambda: len(tx_profiles(charge)) == 2)
    await balancer.balance_all()
    found = [(each["stackLevel"], limit_of(each)) for each in tx_profiles(charge)]
    assert [level for level, _ in found] == [1, 0]
    assert found[0][1] == 0.0


async def test_the_needs_of_a_vehicle_are_stored(csms: Backend) -> None:
    charge, found = await negotiated_20(csms, "DynamicControl")
    assert await plans(charge, limit_of(found)) == "Accepted"
    ((_, kept),) = await csms.services.store.run(transactions.with_needs, charge.station.id)
    assert (kept.dynamic, kept.most_w, kept.energy_wh) == (True, 11_000, 20_000)


async def test_needs_that_come_before_their_transaction_are_for_none_that_has_ended(csms: Backend) -> None:
    """Its station still has events of both in its queue."""
    station = await csms.booted()
    station.answers |= {"SetChargingProfile": ACCEPTED, "DataTransfer": ACCEPTED}
    await csms.services[GridSource].offer(grid_signal(now_ms=csms.clock.utc_ms()), "test")
    earlier, charge = Charging(csms, station), Charging(csms, station)
    assert (await station.call("NotifyEVChargingNeeds", NEEDS))["status"] == "Processing"
    await earlier.event("Ended", "EVDeparted", seq_no=1, offline=True)
    await charge.authorized()
    ((found, _),) = await csms.services.store.run(transactions.with_needs, station.id)
    assert found == charge.id


@pytest.mark.requirement("R55")
async def test_a_fuse_is_never_overloaded_whatever_vehicles_and_stations_do(backend: Start) -> None:
    """After every word of a station: what they were allowed and may follow is within the fuse, also in between."""
    names = [f"CS-V2G-000{n}" for n in range(1, 5)]
    site = Site(
        id="yard",
        nodes=(Node(id="main", limits=(40_000,) * 3), Node(id="row", parent="main", limits=(24_000,) * 3)),
        places=tuple(
            Place(station_id=name, evse_id=1, node="main" if n < 2 else "row", most_ma=32_000)
            for n, name in enumerate(names)
        ),
        waiting_ma=1_000,
    )
    chance = random.Random(9)
    allowed = dict.fromkeys(names, 1_000)  # what each station's vehicle may draw
    refuses: set[str] = set()

    def taken(name: str) -> Any:
        def answer(request: Payload) -> Payload:
            if name in refuses:
                return {"status": "Rejected"}
            if request["chargingProfile"]["chargingProfilePurpose"] == "TxProfile":
                allowed[name] = round(limit_of(request["chargingProfile"]) * 1000)
                assert sum(allowed.values()) <= 40_000
                assert sum(allowed[each] for each in names[2:]) <= 24_000
            return ACCEPTED

        return answer

    async with backend(tokens=TOKENS, stations=tuple(StationEntry(id=name) for name in names)) as csms:
        await csms.services.store.run(site_store.save_site, site, 0)
        balancer, running = Balancer(csms.services), dict[str, Charging]()
        stations_ = {name: await csms.booted(name) for name in names}
        for name, each in stations_.items():
            each.answers["SetChargingProfile"] = taken(name)
            await balancer.prepare(name)
        for _ in range(25):
            name = chance.choice(names)
            match chance.choice(["plug", "plug", "refuse", "limit", "release"]):
                case "plug" if name in running:
                    await running.pop(name).event("Ended", "EVDeparted")
                    allowed[name] = 1_000
                case "plug":
                    running[name] = Charging(csms, stations_[name])
                    await running[name].started()
                case "refuse":
                    refuses ^= {name}
                case "limit":
                    await stations_[name].call("NotifyChargingLimit", external(chance.choice([2_000.0, 9_000.0])))
                case "release":
                    await stations_[name].call("ClearedChargingLimit", {"chargingLimitSource": "EMS", "evseId": 1})
            await balancer.balance_all()
        refuses.clear()
        await balancer.balance_all()
        before = {name: len(each.payloads("SetChargingProfile")) for name, each in stations_.items()}
        await balancer.balance_all()
        assert before == {name: len(each.payloads("SetChargingProfile")) for name, each in stations_.items()}


async def test_a_limit_that_nobody_can_read_is_refused_and_harms_no_site(csms: Backend) -> None:
    first, _ = await yard(csms)
    wrong = external(5000.0)
    wrong["chargingSchedule"][0]["startSchedule"] = "2030-01-01T99:00:00Z"
    first.station.push([2, "raw", "NotifyChargingLimit", wrong])
    await until(lambda: first.station.stray)
    assert first.station.stray[0][:3] == [4, "raw", "PropertyConstraintViolation"]
    assert await limits(csms, first.station) == []
    with pytest.raises(Refused, match="PropertyConstraintViolation"):
        await first.station.call("NotifyChargingLimit", external(1e300))
    await first.station.call("NotifyChargingLimit", external(1e15))
    await Balancer(csms.services).balance_all()
    assert shares(first) == [20.0]
