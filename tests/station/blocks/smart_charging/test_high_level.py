"""Vehicles that speak ISO 15118 at our station, beyond the cases of the test lab."""

import base64
from typing import Any

import pytest
from msgspec.structs import replace

from tests.station.bench import FIXED, Bench
from tests.station.high_level import NEEDS, PLAN, offers
from tests.station.profiles import put, transaction
from v2g_station.blocks.security.certificates import ContractAnswer, ContractRequest
from v2g_station.blocks.smart_charging.high_level import (
    ContractWanted,
    GiveContract,
    NeedsReported,
    PlanReported,
    Renegotiate,
)


def vehicle(**more: Any) -> Bench:
    """A station whose vehicle is authorised and plugged in."""
    found = Bench(variables={"TxCtrlr.TxStartPoint": "EVConnected"}, evses=(FIXED,), **more)
    found.plug()
    found.present()
    return found


def agree(found: Bench) -> None:
    """Needs, profile, plan: the vehicle charges (reusable state ISO15118SmartCharging)."""
    found.fact(NeedsReported(evse_id=1, needs=NEEDS))
    found.expect("NotifyEVChargingNeeds", evseId=1)
    assert put(found, purpose="TxProfile", transactionId=transaction(found)) == "Accepted"
    assert offers(found) == ["profile"]
    found.fact(PlanReported(evse_id=1, schedule=PLAN))
    found.expect("NotifyEVChargingSchedule", evseId=1)
    found.flow()
    found.expect("TransactionEvent", transactionInfo__chargingState="Charging")


@pytest.mark.parametrize(("phases", "least_w", "least_a"), [(3, 4_140, 6), (1, 1_380, 6), (3, 4_141, 7), (3, 0, 0)])
def test_the_csms_gets_the_least_current_of_a_vehicle(phases: int, least_w: int, least_a: int) -> None:
    """K15.FR.01: of one phase, in whole amperes, not below what it said."""
    alternating = replace(
        NEEDS, service="AC", max_charge_w=230 * 16 * phases, min_charge_w=least_w, max_current_ma=16_000,
        max_voltage_mv=230_000,
    )  # fmt: skip
    found = vehicle(version="2.0.1")
    found.fact(NeedsReported(evse_id=1, needs=alternating))
    needs = found.expect("NotifyEVChargingNeeds")["chargingNeeds"]
    assert needs["acChargingParameters"]["evMinCurrent"] == least_a


def test_a_schedule_that_does_not_come_is_not_waited_for_for_ever() -> None:
    found = vehicle()
    found.answers["NotifyEVChargingNeeds"] = {"status": "Processing"}
    found.fact(NeedsReported(evse_id=1, needs=NEEDS))
    found.wait(59)
    assert offers(found) == []
    found.wait(2)
    assert offers(found) == ["default"]


def test_an_answer_about_a_vehicle_that_has_left_is_not_for_the_next() -> None:
    """K15.FR.04: the first one's request runs out of time while the next waits for its own profile."""
    found = vehicle()
    found.answers["NotifyEVChargingNeeds"] = None
    found.fact(NeedsReported(evse_id=1, needs=NEEDS))
    found.wait(5)
    found.unplug()
    found.plug()
    found.present()
    found.answers["NotifyEVChargingNeeds"] = {"status": "Accepted"}
    found.fact(NeedsReported(evse_id=1, needs=replace(NEEDS, max_charge_w=40_000)))
    found.wait(40)
    assert len(found.all("NotifyEVChargingNeeds")) == 2
    assert offers(found) == []
    latest = found.all("TransactionEvent")[-1]["transactionInfo"]["transactionId"]
    assert put(found, purpose="TxProfile", transactionId=latest) == "Accepted"
    assert offers(found) == ["profile"]


def test_offline() -> None:
    found = vehicle()
    put(found)
    found.drop()
    found.fact(NeedsReported(evse_id=1, needs=NEEDS))
    assert offers(found) == ["default"]
    found.flow()
    found.back()
    event = found.expect("TransactionEvent", transactionInfo__chargingState="Charging")
    assert event["offline"] is True


def test_renegotiation_by_the_csms() -> None:
    found = vehicle()
    agree(found)
    assert put(found, purpose="TxProfile", transactionId=transaction(found), limit=3000.0) == "Accepted"
    assert Renegotiate(evse_id=1) in found.commands
    found.expect("TransactionEvent", triggerReason="ChargingRateChanged")
    found.fact(PlanReported(evse_id=1, schedule=PLAN))
    found.expect("NotifyEVChargingSchedule")


def contract(answer: Any, *, update: bool) -> ContractAnswer:
    """A vehicle wants a contract; return what it gets."""
    found = vehicle()
    found.answers["Get15118EVCertificate"] = answer
    request = ContractRequest(schema="urn:iso:std:iso:15118:-20:CommonMessages", exi=b"wish", maximum=1, update=update)
    found.fact(ContractWanted(evse_id=1, request=request))
    asked = found.expect("Get15118EVCertificate")
    assert asked["action"] == ("Update" if update else "Install")
    assert base64.b64decode(asked["exiRequest"]) == b"wish"
    (given,) = [each.outcome for each in found.commands if isinstance(each, GiveContract)]
    return given


GIVEN = {"status": "Accepted", "exiResponse": base64.b64encode(b"contract").decode()}
REFUSED = {"status": "Failed", "exiResponse": ""}


def test_contract() -> None:
    assert contract(GIVEN, update=False) == ContractAnswer(status="answered", exi=b"contract")


def test_contract_failed() -> None:
    assert contract(REFUSED, update=False).status == "failed"
