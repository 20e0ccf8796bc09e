"""What a station holds is read, set again, cleared and repriced; what is in the way of an own profile is reported."""

import asyncio
from typing import Any

import msgspec
import pytest

from csms.device_model import store as device_model
from csms.prequalifications import store as prequalifications
from csms.prequalifications.rules import Prequalification
from csms.prequalifications.work import ExportPermits
from csms.requests import store as requests
from csms.sites import store as site_store
from csms.sites.rules import Place, Site
from csms.smart_charging import store as charging
from csms.smart_charging.charging_plans import Step
from csms.smart_charging.rules import SHARE_PROFILE, WAITING_PROFILE, StationAbilities
from csms.smart_charging.work import SmartCharging
from csms.stations.work import GONE
from tests.csms.backend import Backend
from tests.csms.scripted_station import Payload, Refused, ScriptedStation
from tests.csms.services.charging.support import ACCEPTED, NAMES, REJECTED, at_rest, booted, running, vehicle
from v2g.energy.balancing import Node
from v2g.errors import RefusedError, TimeoutExpired, V2GError
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.charging_profiles import (
    ChargingProfile,
    ChargingProfilePurpose,
    ChargingRateUnit,
    ChargingSchedule,
    ChargingSchedulePeriod,
)
from v2g.ocpp.messages.price_schedules import PriceLevelSchedule, PriceLevelScheduleEntry
from v2g.ocpp.messages.remote_control import RequestStartTransactionRequest
from v2g.ocpp.messages.smart_charging import (
    ChargingProfileCriterion,
    ChargingScheduleUpdate,
    SetChargingProfileRequest,
    UpdateDynamicScheduleRequest,
)

NAME, OTHER = NAMES[:2]
SMART_CHARGING = {
    "component": "SmartChargingCtrlr", "component_instance": "", "evse_id": 0, "connector_id": 0, "attribute": "Actual"
}  # fmt: skip


def profile(
    number: int = 10, level: int = 5, *, unit: ChargingRateUnit = "W", limit: float = 5000.0, **changes: Any
) -> Any:
    period = ChargingSchedulePeriod(start_period=0, limit=limit)
    schedule = ChargingSchedule(
        id=9, start_schedule="2026-01-01T00:00:00Z", charging_rate_unit=unit, charging_schedule_period=(period,)
    )
    return ChargingProfile(**{
        "id": number, "stack_level": level, "charging_profile_purpose": "TxDefaultProfile",
        "charging_profile_kind": "Absolute", "charging_schedule": (schedule,), **changes,
    })  # fmt: skip


def own() -> Any:
    return profile(WAITING_PROFILE, 1)


async def store(csms: Backend, *profiles: ChargingProfile, source: str = charging.CSO, name: str = NAME) -> None:
    for each in profiles:
        await csms.services.store.run(charging.save_profile, name, 1, each, source, csms.clock.utc_ms())


async def held(csms: Backend, name: str = NAME) -> list[int]:
    return sorted(each.id for _, _, each in await csms.services.store.read(charging.profiles, name))


def sent(station: ScriptedStation) -> list[int]:
    return [each["chargingProfile"]["id"] for each in station.payloads("SetChargingProfile")]


def observed(csms: Backend, name: str) -> list[Any]:
    assert {each.stage for each in csms.events.named(name)} <= {"ocpp"}
    return [{key: value for key, value in each.data.items() if key != "station"} for each in csms.events.named(name)]


def wire(each: ChargingProfile) -> Payload:
    found: Payload = msgspec.json.decode(msgspec.json.encode(each))
    return found


def reports(csms: Backend, station: ScriptedStation, *parts: tuple[list[ChargingProfile], bool]) -> list[Any]:
    """Have a station report its profiles in parts after it has answered; return the tasks."""
    tasks: list[Any] = []

    async def send(request_id: int) -> None:
        for profiles, tbc in parts:
            await station.call(
                "ReportChargingProfiles",
                {"requestId": request_id, "chargingLimitSource": "CSO", "evseId": 1, "tbc": tbc,
                 "chargingProfile": [wire(each) for each in profiles]},
            )  # fmt: skip

    def answer(request: Payload) -> Payload:
        tasks.append(asyncio.create_task(send(request["requestId"])))
        return ACCEPTED

    station.answers["GetChargingProfiles"] = answer
    return tasks


# -- before something is put at a station


async def test_a_station_is_read_once_and_the_profiles_of_others_are_named(csms: Backend) -> None:
    station, service = await booted(csms), SmartCharging(csms.services)
    csms.clock.advance(1)
    theirs = [profile(number, number) for number in range(10, 17)]
    reports(csms, station, (theirs[:3], True), (theirs[3:], False))
    for _ in range(2):
        assert (await service.set_profile(NAME, 0, own())).status == "Accepted"
    (asked,) = station.payloads("GetChargingProfiles")
    assert asked["chargingProfile"] == {"chargingLimitSource": ["CSO"]}
    assert observed(csms, "charging_profiles_of_others") == [
        {"profiles": 7, "which": ", ".join(f"{n} (TxDefaultProfile, level {n})" for n in range(10, 15))}
    ]
    assert not observed(csms, "charging_profiles_unread")
    assert await held(csms) == [*range(10, 17), WAITING_PROFILE]
    await service.set_profile(NAME, 1, profile(20, 20))
    assert len(station.payloads("GetChargingProfiles")) == 1, "not for an operator's"


async def test_an_own_profile_does_not_take_the_place_of_another(csms: Backend) -> None:
    station, service = await booted(csms), SmartCharging(csms.services)
    reports(csms, station, ([profile(10, 1)], False))
    with pytest.raises(RefusedError, match="holds profile 10 in the place of profile") as refused:
        await service.set_profile(NAME, 0, own())
    assert (refused.value.reason, sent(station)) == ("place_taken", [])
    assert observed(csms, "charging_profile_blocked") == [
        {"profile": WAITING_PROFILE, "by": 10, "purpose": "TxDefaultProfile", "stack_level": 1}
    ]
    await csms.services.store.run(charging.clear_profiles, NAME, 0, profile_id=10)
    await store(csms, profile(11, 1), source="EMS")
    assert (await service.set_profile(NAME, 0, own())).status == "Accepted", "an energy manager's has a place apart"
    assert len(observed(csms, "charging_profiles_of_others")) == 1


async def test_what_version_0_1_put_there_is_cleared(csms: Backend) -> None:
    station, service = await booted(csms), SmartCharging(csms.services)
    former = profile(1, 0, limit=10_000_000.0, charging_profile_purpose="ChargingStationMaxProfile")
    reports(csms, station, ([former, profile(10)], False))
    await service.set_profile(NAME, 0, own())
    assert station.payloads("ClearChargingProfile") == [{"chargingProfileId": 1}]
    assert observed(csms, "charging_profiles_of_others") == [{"profiles": 1, "which": "10 (TxDefaultProfile, level 5)"}]
    assert await held(csms) == [10, WAITING_PROFILE]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Refused("NotImplemented", "no profiles"), "no profiles"),
        (None, "GetChargingProfiles"),
        (ACCEPTED, "no complete report"),
    ],
)
async def test_a_station_that_does_not_report_is_named_and_not_asked_again(
    csms: Backend, answer: Any, reason: str
) -> None:
    station, service = await booted(csms), SmartCharging(csms.services)
    station.answers["GetChargingProfiles"] = answer or (lambda _: None)
    for _ in range(2):
        assert (await service.set_profile(NAME, 0, own())).status == "Accepted"
    (unread,) = observed(csms, "charging_profiles_unread")
    assert reason in unread["reason"]
    assert len(unread["reason"]) <= 200
    assert len(station.payloads("GetChargingProfiles")) == 1
    assert not csms.services[StationAbilities].is_whole(NAME)


async def test_only_the_last_part_of_the_own_report_completes_it(csms: Backend) -> None:
    station, service = await booted(csms), SmartCharging(csms.services)
    await booted(csms, OTHER)
    station.answers["GetChargingProfiles"] = ACCEPTED
    going = asyncio.create_task(service.read_held(NAME))
    await at_rest()
    request = station.payloads("GetChargingProfiles")[0]["requestId"]
    for name, number, tbc in ((NAME, request, True), (NAME, request + 1, False), (OTHER, request, False)):
        csms.services.feed.publish("profile_report", name, {"request": number, "tbc": tbc})
    await going
    assert observed(csms, "charging_profiles_unread") == [{"reason": "no complete report"}]


async def test_a_station_without_profiles_is_read_at_once(csms: Backend) -> None:
    station, service = await booted(csms), SmartCharging(csms.services)
    await store(csms, profile(10))
    csms.clock.advance(1)
    await service.set_profile(NAME, 0, own())
    assert await held(csms) == [WAITING_PROFILE], "it has none, by its answer"
    assert observed(csms, "charging_profiles_gone") == [{"profiles": 1}]
    assert not observed(csms, "charging_profiles_unread")
    assert sent(station) == [WAITING_PROFILE]


async def test_only_profiles_of_other_back_ends_are_named(csms: Backend) -> None:
    """Those of an energy manager have a place apart."""
    station, service = await booted(csms), SmartCharging(csms.services)
    station.answers["GetChargingProfiles"] = {"status": "Accepted"}
    await store(csms, profile(10), own())
    await store(csms, profile(11, 6), source="EMS")
    csms.clock.advance(1)
    await service.read_held(NAME)
    assert [each["profiles"] for each in observed(csms, "charging_profiles_of_others")] == [1]


async def test_why_a_station_reports_nothing_is_named_in_short(csms: Backend) -> None:
    station, service = await booted(csms), SmartCharging(csms.services)
    station.answers["GetChargingProfiles"] = Refused("InternalError", "x" * 255)
    await service.read_held(NAME)
    (reason,) = [each["reason"] for each in observed(csms, "charging_profiles_unread")]
    assert len(reason) == 200


# -- reports


@pytest.mark.parametrize(
    ("criterion", "evse_id", "left"),
    [
        (ChargingProfileCriterion(), None, [11]),
        (ChargingProfileCriterion(charging_limit_source=("CSO",)), None, [11]),
        (ChargingProfileCriterion(), 1, [11]),
        (ChargingProfileCriterion(), 2, [10, 11]),
        (ChargingProfileCriterion(stack_level=5), None, [10, 11]),
    ],
)
async def test_what_a_complete_report_lacks_is_gone(
    csms: Backend, criterion: ChargingProfileCriterion, evse_id: int | None, left: list[int]
) -> None:
    station, service = await booted(csms), SmartCharging(csms.services)
    await store(csms, profile(10), profile(11, 6))
    csms.clock.advance(1)
    tasks = reports(csms, station, ([profile(11, 6)], False))
    await service.get_profiles(NAME, criterion, evse_id)
    await asyncio.gather(*tasks)
    assert await held(csms) == left
    assert observed(csms, GONE) == ([{"profiles": 1}] if 10 not in left else [])


async def test_a_report_that_nobody_asked_this_station_for_deletes_nothing(csms: Backend) -> None:
    station, other, service = await booted(csms), await booted(csms, OTHER), SmartCharging(csms.services)
    await store(csms, profile(10), name=OTHER)
    station.answers["GetChargingProfiles"] = ACCEPTED
    csms.clock.advance(1)
    asked = await service.get_profiles(NAME, ChargingProfileCriterion())
    part = {"chargingLimitSource": "CSO", "evseId": 1, "chargingProfile": [wire(profile(11, 6))]}
    for number in (asked.request_id, 9999):
        assert await other.call("ReportChargingProfiles", {"requestId": number, **part}) == {}
    assert 10 in await held(csms, OTHER)
    kept = await csms.services.store.run(requests.find, asked.request_id)
    assert kept is not None
    assert kept["done_ms"] is None


# -- resumed transactions (E17.FR.15)


async def persistence(csms: Backend, value: str, instance: str = "TxProfile") -> None:
    about = {"variable": "ChargingProfilePersistence", "variable_instance": instance, "value": value}
    await csms.services.store.run(device_model.save, NAME, [SMART_CHARGING | about])


def of_transaction(number: int, transaction: str = "tx") -> ChargingProfile:
    found: ChargingProfile = profile(number, number, charging_profile_purpose="TxProfile", transaction_id=transaction)
    return found


async def test_a_resumed_transaction_gets_its_profiles_again(csms: Backend) -> None:
    station = await booted(csms)
    await store(csms, of_transaction(10), of_transaction(11, "another"), profile(12))
    await store(csms, of_transaction(13), source="EMS")
    async with running(SmartCharging(csms.services)):
        csms.services.feed.publish("transaction_resumed", OTHER, {"transaction": "tx"})
        csms.services.feed.publish("transaction_resumed", NAME, {"transaction": "tx"})
        await at_rest()
        assert sent(station) == [10]
        station.answers["SetChargingProfile"] = Refused("InternalError", "busy")
        csms.services.feed.publish("transaction_resumed", NAME, {"transaction": "another"})
        await at_rest()
        assert sent(station) == [10, 11]
        station.answers["SetChargingProfile"] = ACCEPTED
        csms.services.feed.publish("transaction_resumed", NAME, {"transaction": "tx"})
        await at_rest()
        assert sent(station) == [10, 11, 10]


@pytest.mark.parametrize(
    ("value", "instance", "again"),
    [("true", "TxProfile", []), ("false", "TxProfile", [10]), ("true", "ChargingStationMaxProfile", [10])],
)
async def test_a_station_that_keeps_profiles_does_not_get_them_again(
    csms: Backend, value: str, instance: str, again: list[int]
) -> None:
    station = await booted(csms)
    await store(csms, of_transaction(10))
    await persistence(csms, value, instance)
    await SmartCharging(csms.services).restore(NAME, "tx")
    assert sent(station) == again


async def test_a_transaction_is_repriced_by_the_profiles_with_prices_that_this_back_end_set(csms: Backend) -> None:
    def with_levels(found: ChargingProfile) -> ChargingProfile:
        entry = PriceLevelScheduleEntry(duration=60, price_level=1)
        levels = PriceLevelSchedule(
            price_level_schedule_entries=(entry,), time_anchor="2026-01-01T00:00:00Z", price_schedule_id=1,
            number_of_price_levels=2,
        )  # fmt: skip
        (schedule,) = found.charging_schedule
        schedules = (msgspec.structs.replace(schedule, price_level_schedule=levels),)
        return msgspec.structs.replace(found, charging_schedule=schedules)

    station = await booted(csms)
    await store(csms, with_levels(of_transaction(10)), of_transaction(11), with_levels(of_transaction(12, "another")))
    await store(csms, with_levels(of_transaction(13)), source="EMS")
    await SmartCharging(csms.services).reprice(NAME, "tx")
    assert sent(station) == [10]


# -- clearing (K10)


async def test_profiles_are_cleared_by_id_or_by_criteria(csms: Backend) -> None:
    station, service = await booted(csms), SmartCharging(csms.services)
    await store(csms, profile(10), profile(11, 6), profile(12, 7))
    station.answers["ClearChargingProfile"] = {"status": "Unknown"}
    answer = await service.clear(NAME, stack_level=6)
    assert (answer.status, await held(csms)) == ("Unknown", [10, 11, 12])
    await service.clear(NAME, profile_id=10, evse_id=2, purpose="TxProfile", stack_level=9)
    assert await held(csms) == [11, 12], "unknown there, it is deleted here"
    station.answers["ClearChargingProfile"] = ACCEPTED
    for wanted in ({"evse_id": 2}, {"purpose": "TxProfile"}, {"stack_level": 8}):
        await service.clear(NAME, **wanted)  # type: ignore[arg-type]
    assert (await held(csms), observed(csms, GONE)) == ([11, 12], [{"profiles": 1}])
    await service.clear(NAME, evse_id=1, purpose="TxDefaultProfile", stack_level=6)
    assert await held(csms) == [12]
    await service.clear(NAME)
    assert (await held(csms), observed(csms, GONE)) == ([], [{"profiles": 1}] * 3)
    assert station.payloads("ClearChargingProfile") == [
        {"chargingProfileCriteria": {"stackLevel": 6}},
        {"chargingProfileId": 10},
        {"chargingProfileCriteria": {"evseId": 2}},
        {"chargingProfileCriteria": {"chargingProfilePurpose": "TxProfile"}},
        {"chargingProfileCriteria": {"stackLevel": 8}},
        {"chargingProfileCriteria": {"evseId": 1, "chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 6}},
        {},
    ]


# -- prequalification, and what else is refused


async def test_values_that_feed_back_more_than_permitted_are_not_sent(csms: Backend) -> None:
    station, service = await booted(csms), SmartCharging(csms.services)
    await store(csms, profile(10), profile(11, 6, unit="A", limit=6.0))
    record = Prequalification(
        station_id=NAME, certificate="A", evse_id=1, operator="DSO", valid_from_ms=0,
        valid_until_ms=csms.clock.utc_ms() + 1000, most_export_w=6900,
    )  # fmt: skip
    back = {10: ChargingScheduleUpdate(discharge_limit=-6901.0), 11: ChargingScheduleUpdate(discharge_limit=-10.1)}
    for number, values in back.items():
        assert (await service.update_dynamic(NAME, number, values)).status == "Accepted", "no record binds"
    await csms.services.store.run(prequalifications.put, record)
    await csms.services[ExportPermits].load()
    for number, values in {**back, 12: ChargingScheduleUpdate(discharge_limit=-6901.0)}.items():
        with pytest.raises(RefusedError) as refused:
            await service.update_dynamic(NAME, number, values)
        assert refused.value.reason == "not_prequalified"
    for number, values in (
        (10, ChargingScheduleUpdate(discharge_limit=-6900.0)),
        (11, ChargingScheduleUpdate(discharge_limit=-10.0)),
        (12, ChargingScheduleUpdate(limit=9000.0)),
    ):
        assert (await service.update_dynamic(NAME, number, values)).status == "Accepted"
    assert len(station.payloads("UpdateDynamicSchedule")) == 5
    assert await csms.services.store.read(charging.dynamic, NAME, 10) == ChargingScheduleUpdate(discharge_limit=-6900.0)


def back(watts: float, number: int = 20) -> ChargingProfile:
    """A profile that feeds back."""
    period = ChargingSchedulePeriod(start_period=0, operation_mode="CentralSetpoint", setpoint=-watts)
    (schedule,) = profile().charging_schedule
    schedules = (msgspec.structs.replace(schedule, charging_schedule_period=(period,)),)
    found: ChargingProfile = profile(number, charging_schedule=schedules)
    return found


async def permitted(csms: Backend, *watts: int) -> None:
    """Let the first, second... EVSE of a station feed back so much."""
    station = await booted(csms)
    for evse_id, most_w in enumerate(watts, 1):
        status = {"timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Available", "evseId": evse_id}
        await station.call("StatusNotification", status | {"connectorId": 1})
        record = Prequalification(
            station_id=NAME, certificate=f"A{evse_id}", evse_id=evse_id, operator="DSO", valid_from_ms=0,
            valid_until_ms=csms.clock.utc_ms() + 3_600_000, most_export_w=most_w,
        )  # fmt: skip
        await csms.services.store.run(prequalifications.put, record)
    await csms.services[ExportPermits].load()


async def test_a_profile_that_feeds_back_more_than_permitted_is_not_set(csms: Backend) -> None:
    await permitted(csms, 6900, 1000)
    service = SmartCharging(csms.services)
    assert (await service.set_profile(NAME, 1, back(6900))).status == "Accepted"
    assert (await service.set_profile(NAME, 0, back(1000))).status == "Accepted"
    for evse_id, watts in ((1, 6901), (2, 1001), (0, 1001)):
        with pytest.raises(RefusedError) as refused:
            await service.set_profile(NAME, evse_id, back(watts))
        assert refused.value.reason == "not_prequalified"


async def test_a_command_is_checked_as_what_it_does(csms: Backend) -> None:
    """It replaces no own profile, and feeds back what its EVSE may: without one what any of them may."""
    await permitted(csms, 6900, 1000)
    service = SmartCharging(csms.services)
    await store(csms, msgspec.structs.replace(back(500, 30), stack_level=4), profile(11, 7))

    def starts(
        evse_id: int | None, found: ChargingProfile, purpose: ChargingProfilePurpose = "TxProfile"
    ) -> RequestStartTransactionRequest:
        token = IdToken(id_token="A", type="Central")
        return RequestStartTransactionRequest(
            evse_id=evse_id, id_token=token, remote_start_id=1,
            charging_profile=msgspec.structs.replace(found, charging_profile_purpose=purpose),
        )  # fmt: skip

    def updates(number: int, **values: float) -> UpdateDynamicScheduleRequest:
        return UpdateDynamicScheduleRequest(
            charging_profile_id=number, schedule_update=ChargingScheduleUpdate(**values)
        )

    refusals = (
        (SetChargingProfileRequest(evse_id=1, charging_profile=own()), "reserved_id"),
        (SetChargingProfileRequest(evse_id=1, charging_profile=back(6901)), "not_prequalified"),
        (SetChargingProfileRequest(evse_id=1, charging_profile=profile(12, 7)), "place_taken"),
        (starts(1, own()), "reserved_id"),
        (starts(1, profile(), "TxDefaultProfile"), "profile_purpose"),
        (starts(1, profile(transaction_id="tx")), "profile_transaction"),
        (starts(1, back(6901)), "not_prequalified"),
        (starts(None, back(1001)), "not_prequalified"),
        (updates(WAITING_PROFILE, limit=1.0), "reserved_id"),
        (updates(30, discharge_limit=-6901.0), "not_prequalified"),
        (updates(99, discharge_limit=-1001.0), "not_prequalified"),
        (updates(30, limit=-1.0), "bad_profile"),
        (starts(1, profile(limit=-1.0)), "bad_profile"),
        (SetChargingProfileRequest(evse_id=1, charging_profile=profile(limit=-1.0)), "bad_profile"),
    )
    for request, reason in refusals:
        with pytest.raises(RefusedError) as refused:
            await service.check_command(NAME, request)
        assert refused.value.reason == reason, request
    for request in (
        SetChargingProfileRequest(evse_id=1, charging_profile=back(6900)),
        starts(1, back(6900)),
        starts(None, back(1000)),
        starts(1, profile(charging_schedule=profile().charging_schedule * 2)),
        updates(30, discharge_limit=-6900.0),
    ):
        await service.check_command(NAME, request)


async def test_a_choice_of_schedules_is_for_a_vehicle_that_has_sent_its_needs(csms: Backend) -> None:
    charge = await vehicle(csms, await booted(csms))
    (one,) = profile().charging_schedule
    tx = {"charging_profile_purpose": "TxProfile", "charging_schedule": (one, msgspec.structs.replace(one, id=10))}
    service = SmartCharging(csms.services)
    asked = SetChargingProfileRequest(evse_id=1, charging_profile=profile(transaction_id=charge.id, **tx))
    await service.check_command(NAME, asked)
    for transaction_id in ("another", None):
        other = profile(transaction_id=transaction_id, **tx)
        with pytest.raises(RefusedError) as refused:
            await service.check_command(NAME, msgspec.structs.replace(asked, charging_profile=other))
        assert refused.value.reason == "bad_profile"


async def test_not_a_watt_is_fed_back_where_none_is_permitted(csms: Backend) -> None:
    await permitted(csms, 0)
    await store(csms, profile(10))
    with pytest.raises(RefusedError, match="prequalified"):
        await SmartCharging(csms.services).update_dynamic(NAME, 10, ChargingScheduleUpdate(discharge_limit=-1.0))


async def test_the_schedule_of_a_site_is_the_sum_of_those_that_answer(csms: Backend) -> None:
    service = SmartCharging(csms.services)
    with pytest.raises(RefusedError, match="no site yard") as refused:
        await service.site_composite("yard", 60)
    assert refused.value.reason == "unknown_site"
    places = tuple(Place(station_id=name, evse_id=1, node="main", most_ma=1) for name in (NAME, OTHER, "CS-GONE"))
    node = Node(id="main", limits=(1, 1, 1))
    await csms.services.store.run(site_store.save_site, Site(id="yard", nodes=(node,), places=places), 0)
    assert await service.site_composite("yard", 60) == [Step(csms.clock.utc_ms(), 0)]
    first, second = await booted(csms), await booted(csms, OTHER)
    first.answers["GetCompositeSchedule"] = ACCEPTED | {
        "schedule": {"evseId": 1, "duration": 60, "scheduleStart": "2026-01-01T00:00:10Z", "chargingRateUnit": "W",
                     "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 700.0}]},
    }  # fmt: skip
    second.answers["GetCompositeSchedule"] = {"status": "Rejected"}
    (step,) = await service.site_composite("yard", 60)
    assert (step.at_ms, step.limit_w) == (1_767_225_610_000, 700.0)
    assert first.payloads("GetCompositeSchedule") == [{"evseId": 1, "duration": 60, "chargingRateUnit": "W"}]


async def test_the_schedule_of_a_site_begins_with_the_first_of_its_evses(csms: Backend) -> None:
    service, begins = SmartCharging(csms.services), {NAME: "10", OTHER: "40"}
    places = tuple(Place(station_id=name, evse_id=1, node="main", most_ma=1) for name in begins)
    site = Site(id="yard", nodes=(Node(id="main", limits=(1, 1, 1)),), places=places)
    await csms.services.store.run(site_store.save_site, site, 0)
    for name, second in begins.items():
        station = await booted(csms, name)
        station.answers["GetCompositeSchedule"] = ACCEPTED | {
            "schedule": {"evseId": 1, "duration": 60, "scheduleStart": f"2026-01-01T00:00:{second}Z",
                         "chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 700.0}]},
        }  # fmt: skip
    found = await service.site_composite("yard", 60)
    assert found[0].at_ms == 1_767_225_610_000


async def test_priority_charging_is_turned_on_and_off(csms: Backend) -> None:
    station, service = await booted(csms), SmartCharging(csms.services)
    for activate in (True, False):
        assert (await service.use_priority(NAME, "tx", activate=activate)).status == "Accepted"
    assert [each["activate"] for each in station.payloads("UsePriorityCharging")] == [True, False]


async def test_an_unanswered_share_may_be_in_force(csms: Backend) -> None:
    """So it is what the station may pull; what it refused it may not."""
    station, service = await booted(csms), SmartCharging(csms.services)
    about = {"variable": "SupportsFeature", "variable_instance": "DynamicProfiles", "value": "true"}
    await csms.services.store.run(device_model.save, NAME, [SMART_CHARGING | about])
    share = of_transaction(30)
    assert await service.share(NAME, 1, share) == "Accepted"
    assert station.payloads("SetChargingProfile")[-1]["chargingProfile"]["chargingProfileKind"] == "Dynamic"
    pulled = [5000.0]
    for limit, answer, in_force in ((6.0, Refused("InternalError"), 5000.0), (7.0, None, 7.0)):
        station.answers |= {"UpdateDynamicSchedule": lambda _, answer=answer: answer}
        if isinstance(answer, Refused):
            station.answers |= {"UpdateDynamicSchedule": answer, "SetChargingProfile": answer}
        with pytest.raises(V2GError) as failed:
            await service.share(
                NAME, 1, profile(30, 30, limit=limit, charging_profile_purpose="TxProfile", transaction_id="tx")
            )
        assert isinstance(failed.value, TimeoutExpired) is (answer is None)
        values = await csms.services.store.read(charging.dynamic, NAME, 30)
        assert values is not None
        pulled.append(float(values.limit or 0))
        assert pulled[-1] == in_force


async def dynamic(csms: Backend, *about: tuple[str, str, str]) -> None:
    """Have a station report variables: name, instance, value."""
    for name, instance, value in about:
        row = {"variable": name, "variable_instance": instance, "value": value}
        await csms.services.store.run(device_model.save, NAME, [SMART_CHARGING | row])


@pytest.mark.parametrize(
    ("about", "kind"),
    [
        ((), "Absolute"),
        ((("SupportsDynamicProfiles", "", "false"),), "Absolute"),
        ((("SupportsDynamicProfiles", "Other", "true"),), "Absolute"),
        ((("SupportsFeature", "Other", "true"), ("SupportsFeature", "DynamicProfiles", "false")), "Absolute"),
        ((("SupportsFeature", "Other", "false"), ("SupportsFeature", "DynamicProfiles", "true")), "Dynamic"),
        ((("SupportsDynamicProfiles", "", "true"),), "Dynamic"),
    ],
)
async def test_a_share_is_dynamic_where_the_station_says_so(
    csms: Backend, about: tuple[tuple[str, str, str], ...], kind: str
) -> None:
    station = await booted(csms)
    await dynamic(csms, *about)
    assert await SmartCharging(csms.services).share(NAME, 1, of_transaction(30)) == "Accepted"
    (payload,) = station.payloads("SetChargingProfile")
    assert payload["chargingProfile"]["chargingProfileKind"] == kind


@pytest.mark.parametrize(
    ("changes", "updated"),
    [
        ({}, True),
        ({"transaction_id": "another"}, False),
        ({"charging_profile_kind": "Absolute"}, False),
    ],
)
async def test_a_share_is_updated_where_the_station_holds_it(
    csms: Backend, changes: dict[str, Any], updated: bool
) -> None:
    """Of another transaction, or with a fixed begin, it is set again."""
    station, service = await booted(csms), SmartCharging(csms.services)
    await dynamic(csms, ("SupportsDynamicProfiles", "", "true"))
    held_ = msgspec.structs.replace(of_transaction(30), **({"charging_profile_kind": "Dynamic"} | changes))
    await store(csms, held_)
    assert await service.share(NAME, 1, of_transaction(30)) == "Accepted"
    assert (len(station.payloads("UpdateDynamicSchedule")), len(sent(station))) == ((1, 0) if updated else (0, 1))
    kept = await csms.services.store.read(charging.profile, NAME, 30)
    assert kept is not None
    assert (kept.charging_profile_kind, kept.transaction_id) == ("Dynamic", "tx")


async def test_a_share_that_is_given_up_stays_as_it_was_asked_for(csms: Backend) -> None:
    """Nobody knows whether the station has it."""
    station, service = await booted(csms), SmartCharging(csms.services)
    await dynamic(csms, ("SupportsDynamicProfiles", "", "true"))
    station.answers["SetChargingProfile"] = lambda _: None
    work = asyncio.create_task(service.share(NAME, 1, of_transaction(30)))
    await at_rest()
    assert sent(station) == [30]
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    values = await csms.services.store.read(charging.dynamic, NAME, 30)
    assert values is not None
    assert values.limit == 5000.0


def takes(unit: str) -> Any:
    """The answer of a station that takes limits in a unit only."""
    return lambda request: ACCEPTED if unit_of(request) == unit else REJECTED


def unit_of(request: Payload) -> str:
    return str(request["chargingProfile"]["chargingSchedule"][0]["chargingRateUnit"])


def says_units(units: str) -> Any:
    """The answer of a station to a question for its units."""

    def answer(request: Payload) -> Payload:
        (asked,) = request["getVariableData"]
        assert (asked["component"]["name"], asked["variable"]["name"]) == ("SmartChargingCtrlr", "RateUnit")
        return {"getVariableResult": [{**asked, "attributeStatus": "Accepted", "attributeValue": units}]}

    return answer


def limits_in(station: ScriptedStation) -> list[tuple[str, float]]:
    """The limits that a station was sent, and their units."""
    found = [each["chargingProfile"]["chargingSchedule"][0] for each in station.payloads("SetChargingProfile")]
    return [(each["chargingRateUnit"], each["chargingSchedulePeriod"][0]["limit"]) for each in found]


@pytest.mark.parametrize(
    ("wanted", "said", "phases", "tried", "taken"),
    [
        (("W", 6900.0), "A", 1, [("W", 6900.0)], ("A", 10.0)),
        (("A", 16.0), "W", 1, [("A", 16.0)], ("W", 3680.0)),
        (("A", 16.0), "W ", 3, [("A", 16.0)], ("W", 11_040.0)),
        (("A", 16.0), "W, A", 1, [], ("A", 16.0)),
    ],
)
async def test_a_limit_is_in_the_unit_that_a_station_takes(
    csms: Backend, wanted: tuple[Any, float], said: str, phases: int, tried: list[Any], taken: tuple[str, float]
) -> None:
    """K01.FR.26. It is asked once it rejects one; what it holds counts as what it was to hold."""
    station, service = await booted(csms), SmartCharging(csms.services)
    station.answers |= {"SetChargingProfile": takes(taken[0]), "GetVariables": says_units(said)}
    limit = profile(WAITING_PROFILE, 1, unit=wanted[0], limit=wanted[1])
    for _ in range(2):
        assert (await service.set_profile(NAME, 0, limit, phases=phases)).status == "Accepted"
    assert limits_in(station) == [*tried, taken, taken]
    assert len(station.payloads("GetVariables")) == len(tried)
    assert await csms.services.store.read(charging.profile, NAME, WAITING_PROFILE) == limit


@pytest.mark.parametrize("of_operator", [False, True])
async def test_a_station_that_rejects_is_asked_for_its_units_once_and_not_for_an_operator(
    csms: Backend, of_operator: bool
) -> None:
    station, service = await booted(csms), SmartCharging(csms.services)
    station.answers |= {"SetChargingProfile": REJECTED, "GetVariables": Refused("NotSupported")}
    for _ in range(2):
        assert (await service.set_profile(NAME, 0, profile() if of_operator else own())).status == "Rejected"
    assert (len(limits_in(station)), len(station.payloads("GetVariables"))) == (2, not of_operator)


async def says_unit(csms: Backend, unit: str) -> None:
    variable = {"variable": "RateUnit", "variable_instance": "", "value": unit}
    await csms.services.store.run(device_model.save, NAME, [SMART_CHARGING | variable])


@pytest.mark.parametrize(
    ("number", "kind"),
    [(10, "Absolute"), (WAITING_PROFILE, "Dynamic")],
    ids=["of an operator", "with values to follow"],
)
async def test_other_profiles_stay_in_their_unit(csms: Backend, number: int, kind: str) -> None:
    station = await booted(csms)
    await says_unit(csms, "A")
    limit = profile(number, charging_profile_kind=kind)
    assert (await SmartCharging(csms.services).set_profile(NAME, 0, limit)).status == "Accepted"
    assert limits_in(station) == [("W", 5000.0)]


async def test_a_share_in_watts_is_not_dynamic(csms: Backend) -> None:
    """Its later values would be in W, too."""
    station = await booted(csms)
    await dynamic(csms, ("SupportsDynamicProfiles", "", "true"))
    await says_unit(csms, "W")
    about = {"charging_profile_purpose": "TxProfile", "transaction_id": "tx"}
    share = profile(SHARE_PROFILE + 1, 1, unit="A", limit=16.0, **about)
    assert await SmartCharging(csms.services).share(NAME, 1, share, phases=3) == "Accepted"
    assert limits_in(station) == [("W", 11_040.0)]


@pytest.mark.parametrize("send", [SmartCharging.set_profile, SmartCharging.set_priced, SmartCharging.share])
async def test_a_current_in_watts_is_of_one_phase_unless_more_are_sure(csms: Backend, send: Any) -> None:
    station = await booted(csms)
    await says_unit(csms, "W")
    share = profile(
        SHARE_PROFILE + 1, 1, unit="A", limit=16.0, charging_profile_purpose="TxProfile", transaction_id="tx"
    )
    await send(SmartCharging(csms.services), NAME, 1, share)
    assert limits_in(station) == [("W", 3680.0)]


async def test_a_station_of_201_gets_no_dynamic_share(csms: Backend) -> None:
    station = await booted(csms, version="2.0.1")
    await dynamic(csms, ("SupportsDynamicProfiles", "", "true"))
    assert await SmartCharging(csms.services).share(NAME, 1, of_transaction(30)) == "Accepted"
    (payload,) = station.payloads("SetChargingProfile")
    assert payload["chargingProfile"]["chargingProfileKind"] == "Absolute"


async def test_a_rejected_limit_waits_three_seconds_for_the_units_of_its_station(csms: Backend) -> None:
    """Others make room for it."""
    csms.clock.start()
    station, now = await booted(csms), asyncio.get_running_loop().time
    station.answers |= {"SetChargingProfile": REJECTED, "GetVariables": lambda _: None}
    begun = now()
    assert (await SmartCharging(csms.services).set_profile(NAME, 0, own())).status == "Rejected"
    assert 3.0 <= now() - begun < 3.5
