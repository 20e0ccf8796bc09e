"""Functional block K that only OCPP 2.1 has, of our station, beyond the cases of the test lab."""

from typing import Any

import msgspec
import pytest

from tests.station.bench import FIXED, Bench, at
from tests.station.charging import charging as charging_any
from tests.station.high_level import NEEDS, PLAN, offers
from tests.station.profiles import limit, profile, put, transaction
from v2g.hardware.energy_manager.commands import CommandStep
from v2g_station.blocks.evse import Indicate
from v2g_station.blocks.smart_charging.external_limits import REPORT_S, ExternalLimit
from v2g_station.blocks.smart_charging.high_level import NeedsReported, PlanReported
from v2g_station.blocks.smart_charging.profiles import ProfileLimits

SCHEDULED = msgspec.structs.replace(NEEDS, departure_ms=1_780_020_000_000, target_energy_wh=20_000)


def charging(**more: Any) -> Bench:
    """A station of 2.1 that charges."""
    return charging_any(version="2.1", **more)


def vehicle(**more: Any) -> Bench:
    """A station whose vehicle is authorised and plugged in."""
    found = Bench("2.1", variables={"TxCtrlr.TxStartPoint": "EVConnected"}, evses=(FIXED,), **more)
    found.plug()
    found.present()
    return found


def own(found: Bench, **more: Any) -> str:
    """Set a profile of the transaction that runs."""
    return put(found, purpose="TxProfile", transactionId=transaction(found), **more)


def agree(found: Bench, needs: Any = SCHEDULED) -> None:
    """Needs, profile, plan: the vehicle charges."""
    found.fact(NeedsReported(evse_id=1, needs=needs))
    reported = found.expect("NotifyEVChargingNeeds", evseId=1)["chargingNeeds"]
    assert reported["controlMode"] == ("DynamicControl" if needs.control_mode == "dynamic" else "ScheduledControl")
    assert "v2xChargingParameters" in reported
    assert own(found) == "Accepted"
    assert offers(found) == ["profile"]
    found.fact(PlanReported(evse_id=1, schedule=PLAN, selected_id=1))
    found.expect("NotifyEVChargingSchedule", evseId=1, selectedChargingScheduleId=1)
    found.flow()
    found.expect("TransactionEvent", transactionInfo__chargingState="Charging")


def test_other_needs_that_answer_a_renegotiation_are_sent() -> None:
    found = vehicle()
    agree(found)
    own(found, limit=3000.0)
    found.fact(NeedsReported(evse_id=1, needs=msgspec.structs.replace(SCHEDULED, target_energy_wh=50_000)))
    found.expect("NotifyEVChargingNeeds")


def test_a_dynamic_profile_of_a_csms_whose_clock_is_ahead_holds_at_once() -> None:
    """K28.FR.13 counts its duration from the update, which is not later than now."""
    found = charging(evses=(FIXED,))
    dynamic = profile(chargingProfileKind="Dynamic", dynUpdateTime=at(found.utc_ms + 90_000), limit=3000.0)
    (schedule,) = dynamic["chargingSchedule"]
    del schedule["startSchedule"]
    schedule["duration"] = 60
    assert found.ask("SetChargingProfile", evseId=1, chargingProfile=dynamic)["status"] == "Accepted"
    assert limit(found) == 3000
    found.wait(61)
    assert limit(found) is None


@pytest.mark.requirement("R193")
def test_the_csms_does_not_update_the_limit_of_an_energy_manager() -> None:
    """K01.FR.05: its profile is reported, so its id is known, but it is not the CSMS's to change."""
    found = charging(evses=(FIXED,))
    found.fact(ExternalLimit(source="EMS", limit_w=3000))
    found.ask("GetChargingProfiles", requestId=1, chargingProfile={})
    (held,) = found.expect("ReportChargingProfiles", chargingLimitSource="EMS")["chargingProfile"]
    answer = found.ask("UpdateDynamicSchedule", chargingProfileId=held["id"], scheduleUpdate={"limit": 90_000.0})
    assert (answer["status"], limit(found)) == ("Rejected", 3000)


def test_a_profile_that_an_outage_has_ended_is_not_updated() -> None:
    """K01.FR.102: Accepted would have the CSMS believe in a limit that does not hold."""
    found = charging(evses=(FIXED,))
    ends = {"maxOfflineDuration": 60, "invalidAfterOfflineDuration": True}
    dynamic = profile(chargingProfileKind="Dynamic", limit=3000.0, dynUpdateInterval=600, **ends)
    del dynamic["chargingSchedule"][0]["startSchedule"]
    found.ask("SetChargingProfile", evseId=1, chargingProfile=dynamic)
    found.drop()
    found.wait(61)
    found.back()
    answer = found.ask("UpdateDynamicSchedule", chargingProfileId=1, scheduleUpdate={"limit": 2000.0})
    assert (answer["status"], limit(found)) == ("Rejected", None)
    found.clear()
    found.wait(1200)
    found.nothing("PullDynamicScheduleUpdate")


def test_a_vehicle_of_iso_15118_2_charges_by_the_default_if_there_is_no_schedule_for_it() -> None:
    found = vehicle()
    found.answers["NotifyEVChargingNeeds"] = {"status": "Rejected"}
    found.fact(NeedsReported(evse_id=1, needs=msgspec.structs.replace(SCHEDULED, older=True)))
    assert "dcChargingParameters" in found.expect("NotifyEVChargingNeeds")["chargingNeeds"]
    assert offers(found) == ["default"]
    found.nothing("TransactionEvent", eventType="Ended")


def test_needs_of_an_offline_time_are_sent_later_with_that_time() -> None:
    found = vehicle()
    found.drop()
    found.fact(NeedsReported(evse_id=1, needs=SCHEDULED))
    then = at(found.utc_ms)
    assert offers(found) == ["default"]
    found.wait(30)
    found.back()
    assert found.expect("NotifyEVChargingNeeds")["timestamp"] == then


# -- priority


def fast(found: Bench, **more: Any) -> str:
    """Set a PriorityCharging profile of the station."""
    return put(found, 0, number=9, purpose="PriorityCharging", limit=20_000.0, **more)


def use(found: Bench, *, activate: bool) -> str:
    """The CSMS wants priority, or no longer."""
    answer = found.ask("UsePriorityCharging", transactionId=transaction(found), activate=activate)
    status: str = answer["status"]
    return status


def test_priority_ends_with_its_transaction() -> None:
    found = charging()
    fast(found)
    use(found, activate=True)
    assert limit(found) == 20_000
    assert found.saved["priority"]
    found.present()
    found.unplug()
    assert not found.saved["priority"]
    assert Indicate(evse_id=1, word="no_priority_charging") not in found.commands


# -- energy managers


def test_generation_that_changes_by_the_second_is_passed_on_when_it_matters() -> None:
    found = charging()
    put(found, limit=5000.0)
    for watts, news in ((2000.0, True), (2010.0, False), (2500.0, True)):
        found.clear()
        found.fact(ExternalLimit(source="EMS", generation=True, limit_w=watts))
        assert limit(found) == 5000 + watts
        assert bool([each for each in found.unread if each[0] == "NotifyChargingLimit"]) == news
        found.wait(REPORT_S)


def reports(found: Bench) -> list[str]:
    """Take what the station has reported of limits, and of transactions for their sake."""
    actions = [action for action, _ in found.unread]
    found.clear()
    return actions


def test_limits_that_alternate_are_in_force_at_once_and_reported_every_few_seconds() -> None:
    found = charging()
    put(found, limit=20_000.0)
    found.clear()
    for watts in (9_000, 4_000) * 20:
        found.fact(ExternalLimit(source="EMS", limit_w=watts))
        assert limit(found) == watts
        found.wait(0.1)
    assert reports(found) == ["NotifyChargingLimit", "TransactionEvent"]
    found.wait(REPORT_S)
    assert reports(found) == ["NotifyChargingLimit", "TransactionEvent"]
    found.wait(10 * REPORT_S)
    assert reports(found) == []


def test_limits_that_end_and_begin_are_reported_as_often() -> None:
    found = charging()
    found.clear()
    for limits in ({"limit_w": 4_000}, {}) * 20:
        found.fact(ExternalLimit(source="EMS", **limits))
        found.wait(0.1)
    assert reports(found) == ["NotifyChargingLimit", "TransactionEvent", "ClearedChargingLimit", "TransactionEvent"]
    found.wait(REPORT_S)
    assert reports(found) == []
    found.fact(ExternalLimit(source="EMS", limit_w=4_000))
    assert reports(found) == ["NotifyChargingLimit", "TransactionEvent"]


def outside(found: Bench, mode: str, **more: Any) -> str:
    """The CSMS leaves a dynamic profile's value to an external system."""
    wanted = profile(
        "TxProfile", transactionId=transaction(found), chargingProfileKind="Dynamic",
        periods=[{"startPeriod": 0, "operationMode": mode}], **more,
    )  # fmt: skip
    del wanted["chargingSchedule"][0]["startSchedule"]
    status: str = found.ask("SetChargingProfile", evseId=1, chargingProfile=wanted)["status"]
    return status


def test_dynamic_values_are_no_durable_writes() -> None:
    found = charging()
    assert outside(found, "ExternalLimits") == "Accepted"
    found.fact(ExternalLimit(source="EMS", limit_w=9000.0))
    before = found.writes
    for step in range(20):
        found.fact(ExternalLimit(source="EMS", limit_w=9000.0 + step / 10))
    assert found.writes == before
    assert limit(found) == 9001.9


def left_open(
    found: Bench,
    purpose: str = "TxDefaultProfile",
    evse_id: int = 0,
    mode: str = "ExternalLimits",
    **more: Any,
) -> None:
    """The CSMS leaves the values of a dynamic profile to an external system."""
    periods = [{"startPeriod": 0, "operationMode": mode}]
    wanted = profile(purpose, chargingProfileKind="Dynamic", periods=periods, **more)
    del wanted["chargingSchedule"][0]["startSchedule"]
    answer = found.ask("SetChargingProfile", evseId=evse_id, chargingProfile=wanted)
    assert answer["status"] == "Accepted"


def test_a_profile_in_force_with_an_external_limit_needs_no_other_one() -> None:
    """K29.FR.03, .04."""
    found = charging(evses=(FIXED,))
    found.fact(ExternalLimit(source="EMS", limit_w=5000.0))
    left_open(found)
    found.clear()
    found.fact(ExternalLimit(source="EMS", limit_w=6000.0))
    assert limit(found) == 6000
    assert found.ask("GetChargingProfiles", requestId=1, chargingProfile={})["status"] == "Accepted"
    (reported,) = found.all("ReportChargingProfiles")
    assert [each["chargingProfilePurpose"] for each in reported["chargingProfile"]] == ["TxDefaultProfile"]


def test_an_external_limit_holds_where_the_profile_for_it_is_not_in_force() -> None:
    """Q05.FR.02: such a profile has it while it is active; K29.FR.04 otherwise."""
    later = charging()
    left_open(later, validFrom=at(later.utc_ms + 3_600_000))
    outranked = charging()
    left_open(outranked)
    assert own(outranked, number=2, limit=11_000.0) == "Accepted"
    for found in (later, outranked):
        found.fact(ExternalLimit(source="EMS", limit_w=3000.0))
        assert limit(found) == 3000


def test_an_external_limit_outlives_the_profile_that_had_it() -> None:
    ended = charging(evses=(FIXED,))
    left_open(ended, "TxProfile", 1, transactionId=transaction(ended))
    cleared = charging(evses=(FIXED,))
    left_open(cleared)
    for found in (ended, cleared):
        found.fact(ExternalLimit(source="SO", limit_w=3000.0))
        assert limit(found) == 3000
    ended.present()
    ended.unplug()
    assert cleared.ask("ClearChargingProfile", chargingProfileId=1)["status"] == "Accepted"
    assert (limit(ended), limit(cleared)) == (3000, 3000)


def test_the_lowest_of_two_external_limits_holds_in_a_profile_for_them() -> None:
    found = charging(evses=(FIXED,))
    left_open(found)
    for source, watts, then in (
        ("SO", 4200.0, 4200),
        ("EMS", 9000.0, 4200),
        ("EMS", 2000.0, 2000),
        ("EMS", None, 4200),
    ):
        found.fact(ExternalLimit(source=source, limit_w=watts))
        assert limit(found) == then, (source, watts)


def test_an_external_limit_of_the_station_is_shared_by_its_evses() -> None:
    found = charging()
    found.plug(2)
    found.present("TAG-2", 2)
    found.flow("Charging", 2, wh=1)
    left_open(found)
    found.fact(ExternalLimit(source="EMS", limit_w=8000.0))
    assert (limit(found, 1), limit(found, 2)) == (4000, 4000)


def test_a_schedule_of_an_external_system_goes_on_beside_a_profile_for_its_limit() -> None:
    found = charging(evses=(FIXED,))
    left_open(found)
    found.fact(ExternalLimit(source="EMS", limit_w=1000.0))
    steps = (CommandStep(start_s=0, limit_w=8000.0), CommandStep(start_s=60, limit_w=2000.0))
    found.fact(ExternalLimit(source="EMS", schedule=steps))
    assert limit(found) == 8000
    found.wait(61)
    assert limit(found) == 2000


def most(found: Bench) -> float:
    """The most that the commands of a station allow its first EVSE."""
    commands = [each for each in found.commands if isinstance(each, ProfileLimits) and each.evse_id == 1]
    return max(
        (min(22_000.0 if watts is None else watts for watts in (each.charge_w, each.setpoint_w)) for each in commands),
        default=0.0,
    )


@pytest.mark.parametrize("mode", ["ExternalLimits", "ExternalSetpoint"])
def test_power_never_rises_between_two_commands_of_an_external_system(mode: str) -> None:
    """An AC vehicle that is shown more for a moment may draw it for seconds."""
    found = charging(evses=(FIXED,))
    left_open(found, mode=mode)
    found.fact(ExternalLimit(source="EMS", limit_w=2000.0))
    for more in (
        {"limit_w": 0.0, "setpoint_w": 5000.0},
        {"limit_w": 2000.0, "setpoint_w": 5000.0},
        {"setpoint_w": 1000.0},
        {"limit_w": 2000.0},
        {"limit_w": 2000.0, "setpoint_w": -5000.0},
        {"schedule": (CommandStep(start_s=0, limit_w=2000.0),)},
        {"setpoint_w": 2000.0},
    ):
        found.commands.clear()
        found.fact(ExternalLimit(source="EMS", **more))
        assert most(found) <= 2000, more
    found.commands.clear()
    left_open(found, mode=mode)
    left_open(found, mode="ExternalLimits" if mode == "ExternalSetpoint" else "ExternalSetpoint")
    assert put(found, 0, limit=9000.0) == "Accepted"
    assert most(found) <= 2000, "also when the CSMS replaces the profile that had the values"
    assert found.ask("ClearChargingProfile", chargingProfileId=1)["status"] == "Accepted"
    assert most(found) <= 2000


def test_power_never_rises_when_a_profile_with_an_external_limit_ends() -> None:
    found = charging(evses=(FIXED,))
    left_open(found, validTo=at(found.utc_ms + 60_000))
    found.fact(ExternalLimit(source="EMS", limit_w=2000.0))
    found.commands.clear()
    found.wait(61)
    assert most(found) <= 2000
    assert limit(found) == 2000
