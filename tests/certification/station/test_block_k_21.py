"""Certification cases of functional block K that only OCPP 2.1 has: the station."""

from typing import Any

import msgspec
import pytest

from tests.certification.station.bench import FIXED, Bench, at
from tests.certification.station.test_block_e import charging as charging_any
from tests.certification.station.test_block_k import composite, limit, profile, put, transaction
from tests.certification.station.test_high_level import NEEDS, PLAN, offers
from v2g_station.blocks.evse import Indicate
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit, ExternalPeriod
from v2g_station.blocks.smart_charging.high_level import Needs, Plan, Renegotiate
from v2g_station.blocks.smart_charging.priority import PriorityChargingRequested
from v2g_station.blocks.smart_charging.profile_times import delay_s

SCHEDULED = msgspec.structs.replace(NEEDS, departure_ms=1_780_020_000_000, target_energy_wh=20_000)
DYNAMIC = msgspec.structs.replace(SCHEDULED, control_mode="dynamic")


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


def test_tc_k_112_cs_composite_with_randomized_delay() -> None:
    found = charging()
    periods = [{"startPeriod": n * 300, "limit": 1000.0 * (n + 1)} for n in range(3)]
    more = {"periods": periods, "schedule": {"startSchedule": at(found.utc_ms), "randomizedDelay": 60}}
    assert own(found, **more) == "Accepted"
    delays = [delay_s(transaction(found), 1, number, 60) for number in (1, 2)]
    expected = [(0, 1000), (300 + delays[0], 2000), (600 + delays[1], 3000)]
    assert composite(found, duration=1200) == expected
    assert all(0 <= delay <= 60 for delay in delays)
    found.wait(299 + delays[0])
    assert limit(found) == 1000
    found.wait(2)
    assert limit(found) == 2000, "what was told is what is done (K01.FR.93)"


def agree(found: Bench, needs: Any = SCHEDULED) -> None:
    """Needs, profile, plan: the vehicle charges."""
    found.fact(Needs(evse_id=1, needs=needs))
    told = found.expect("NotifyEVChargingNeeds", evseId=1)["chargingNeeds"]
    assert told["controlMode"] == ("DynamicControl" if needs.control_mode == "dynamic" else "ScheduledControl")
    assert "v2xChargingParameters" in told
    assert own(found) == "Accepted"
    assert offers(found) == ["profile"]
    found.fact(Plan(evse_id=1, schedule=PLAN, selected_id=1))
    found.expect("NotifyEVChargingSchedule", evseId=1, selectedChargingScheduleId=1)
    found.flow()
    found.expect("TransactionEvent", transactionInfo__chargingState="Charging")


def test_tc_k_113_cs_renegotiation_by_the_csms() -> None:
    found = vehicle()
    agree(found)
    assert own(found, limit=3000.0) == "Accepted"
    assert found.commands.count(Renegotiate(evse_id=1)) == 1
    found.expect("TransactionEvent", triggerReason="ChargingRateChanged")
    found.fact(Needs(evse_id=1, needs=SCHEDULED))
    found.nothing("NotifyEVChargingNeeds")
    assert offers(found) == ["profile", "profile"], "K16.FR.09: nothing new for the CSMS, and the vehicle has its offer"
    found.fact(Plan(evse_id=1, schedule=PLAN, selected_id=1))
    found.expect("NotifyEVChargingSchedule", selectedChargingScheduleId=1)
    found.fact(Needs(evse_id=1, needs=SCHEDULED))
    found.expect("NotifyEVChargingNeeds")


def test_tc_k_114_cs_renegotiation_by_the_vehicle() -> None:
    found = vehicle()
    agree(found)
    found.fact(Needs(evse_id=1, needs=SCHEDULED))
    found.expect("NotifyEVChargingNeeds", evseId=1)
    assert own(found, limit=4000.0) == "Accepted"
    assert offers(found) == ["profile", "profile"]
    assert Renegotiate(evse_id=1) not in found.commands
    found.fact(Plan(evse_id=1, schedule=PLAN, selected_id=1))
    found.expect("NotifyEVChargingSchedule", evseId=1)


def test_tc_k_115_cs_dynamic_control_mode() -> None:
    found = vehicle()
    agree(found, DYNAMIC)
    (told,) = found.all("NotifyEVChargingSchedule")
    assert told["chargingSchedule"]["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 6000.0}], "the CSMS's own"
    assert own(found, limit=3000.0) == "Accepted"
    assert Renegotiate(evse_id=1) not in found.commands, "dynamic vehicles hear of limits in the loop"
    assert limit(found) == 3000


@pytest.mark.parametrize("needs", [SCHEDULED, DYNAMIC], ids=lambda needs: needs.control_mode)
def test_tc_k_116_cs_other_needs(needs: Any) -> None:
    found = vehicle()
    agree(found, needs)
    later = msgspec.structs.replace(needs, departure_ms=needs.departure_ms + 3_600_000, target_energy_wh=30_000)
    found.fact(Needs(evse_id=1, needs=later))
    told = found.expect("NotifyEVChargingNeeds")["chargingNeeds"]
    assert told["departureTime"] == at(later.departure_ms)
    assert told["v2xChargingParameters"]["evTargetEnergyRequest"] == 30_000
    assert own(found, limit=9000.0) == "Accepted"
    assert limit(found) == 9000
    assert offers(found) == ["profile", "profile"]


def test_other_needs_that_answer_a_renegotiation_are_told() -> None:
    found = vehicle()
    agree(found)
    own(found, limit=3000.0)
    found.fact(Needs(evse_id=1, needs=msgspec.structs.replace(SCHEDULED, target_energy_wh=50_000)))
    found.expect("NotifyEVChargingNeeds")


def test_needs_of_an_offline_time_are_told_later_with_that_time() -> None:
    found = vehicle()
    found.drop()
    found.fact(Needs(evse_id=1, needs=SCHEDULED))
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


def test_tc_k_118_cs_priority_remote() -> None:
    found = charging()
    own(found)
    assert found.ask("UsePriorityCharging", transactionId="other", activate=True)["status"] == "Rejected"
    assert use(found, activate=True) == "NoProfile"
    assert fast(found) == "Accepted"
    assert limit(found) == 6000
    assert use(found, activate=True) == "Accepted"
    found.expect("NotifyPriorityCharging", transactionId=transaction(found), activated=True)
    assert limit(found) == 20_000
    put(found, 0, number=3, purpose="ChargingStationMaxProfile", limit=15_000.0)
    assert limit(found) == 15_000, "the station's limit stays"
    assert use(found, activate=False) == "Accepted"
    found.expect("NotifyPriorityCharging", activated=False)
    assert limit(found) == 6000
    found.clear()
    assert use(found, activate=False) == "Accepted"
    found.nothing("NotifyPriorityCharging")


def test_tc_k_119_cs_priority_local() -> None:
    found = charging()
    own(found)
    found.fact(PriorityChargingRequested(evse_id=1, active=True))
    assert "no_priority_charging" in found.shown()
    found.nothing("NotifyPriorityCharging")
    fast(found)
    found.fact(PriorityChargingRequested(evse_id=1, active=True))
    found.expect("NotifyPriorityCharging", transactionId=transaction(found), activated=True)
    assert limit(found) == 20_000
    found.drop()
    found.fact(PriorityChargingRequested(evse_id=1, active=False))
    assert limit(found) == 6000
    found.back()
    found.expect("NotifyPriorityCharging", activated=False)


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


def sun(found: Bench, *watts: float) -> None:
    """An energy manager has so much power to give, five minutes each; nothing ends it."""
    periods = tuple(ExternalPeriod(start_s=300 * n, limit_w=w) for n, w in enumerate(watts))
    found.fact(ExternalLimit(source="EMS", generation=True, schedule=periods))


def test_tc_k_120_cs_local_generation() -> None:
    found = charging(variables={"SmartChargingCtrlr.NotifyChargingLimitWithSchedules": "true"})
    put(found, limit=5000.0)
    found.clear()
    sun(found, 2000.0, 1000.0)
    told = found.expect("NotifyChargingLimit")
    assert told["chargingLimit"] == {"chargingLimitSource": "EMS", "isLocalGeneration": True}
    assert [p["limit"] for p in told["chargingSchedule"][0]["chargingSchedulePeriod"]] == [2000, 1000]
    assert composite(found) == [(0, 7000), (300, 6000)]
    assert limit(found) == 7000
    found.ask("GetChargingProfiles", requestId=1, chargingProfile={"chargingProfilePurpose": "LocalGeneration"})
    found.expect("ReportChargingProfiles", chargingLimitSource="EMS")
    found.wait(301)
    found.expect("NotifyChargingLimit")
    assert limit(found) == 6000
    criteria = {"chargingProfilePurpose": "LocalGeneration"}
    assert found.ask("ClearChargingProfile", chargingProfileCriteria=criteria)["status"] == "Unknown"
    sun(found)
    found.expect("ClearedChargingLimit", chargingLimitSource="EMS")
    assert limit(found) == 5000


def test_generation_that_changes_by_the_second_is_told_when_it_matters() -> None:
    found = charging()
    put(found, limit=5000.0)
    for watts, news in ((2000.0, True), (2010.0, False), (2500.0, True)):
        found.clear()
        found.fact(ExternalLimit(source="EMS", generation=True, limit_w=watts))
        assert limit(found) == 5000 + watts
        assert bool([each for each in found.unread if each[0] == "NotifyChargingLimit"]) == news


def outside(found: Bench, mode: str, **more: Any) -> str:
    """The CSMS leaves a dynamic profile's value to an external system."""
    wanted = profile(
        "TxProfile", transactionId=transaction(found), chargingProfileKind="Dynamic",
        periods=[{"startPeriod": 0, "operationMode": mode}], **more,
    )  # fmt: skip
    del wanted["chargingSchedule"][0]["startSchedule"]
    status: str = found.ask("SetChargingProfile", evseId=1, chargingProfile=wanted)["status"]
    return status


def test_tc_k_125_cs_dynamic_profile_for_an_external_system() -> None:
    found = charging(variables={"SmartChargingCtrlr.ExternalConstraintsProfileDisallowed": "true"})
    found.fact(ExternalLimit(source="EMS", limit_w=9000.0))
    assert limit(found) is None, "K11.FR.07: not without the CSMS's leave"
    found.nothing("NotifyChargingLimit")
    assert outside(found, "ExternalLimits") == "Accepted"
    for watts in (9000.0, 4000.0):
        found.wait(1)
        found.fact(ExternalLimit(source="EMS", limit_w=watts))
        found.expect("NotifyChargingLimit", chargingLimit__chargingLimitSource="EMS")
        assert limit(found) == watts
    found.ask("GetChargingProfiles", requestId=1, chargingProfile={})
    (told,) = found.expect("ReportChargingProfiles")["chargingProfile"]
    assert told["chargingProfilePurpose"] == "TxProfile"
    assert told["chargingSchedule"][0]["chargingSchedulePeriod"][0]["limit"] == 4000
    assert told["dynUpdateTime"] == at(found.utc_ms)


def test_dynamic_values_are_no_durable_writes() -> None:
    found = charging()
    assert outside(found, "ExternalLimits") == "Accepted"
    found.fact(ExternalLimit(source="EMS", limit_w=9000.0))
    before = found.writes
    for step in range(20):
        found.fact(ExternalLimit(source="EMS", limit_w=9000.0 + step / 10))
    assert found.writes == before
    assert limit(found) == 9001.9
