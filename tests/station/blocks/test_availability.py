"""Functional block G, availability, of our station, beyond the cases of the test lab."""

from typing import Any

import pytest

from tests.station.bench import Bench, at
from tests.station.charging import charging
from v2g_station.blocks.evse import Fault


def change(found: Bench, place: dict[str, Any], *, operative: bool) -> str:
    """Take a place in or out of service."""
    wish = {"operationalStatus": "Operative" if operative else "Inoperative"}
    status: str = found.ask("ChangeAvailability", wish | place)["status"]
    return status


@pytest.mark.parametrize("place", [{}, {"evse": {"id": 1}}, {"evse": {"id": 1, "connectorId": 1}}])
def test_nobody_charges_out_of_service(place: dict[str, Any]) -> None:
    found = Bench()
    assert change(found, place, operative=False) == "Accepted"
    found.present()
    found.plug()
    assert not found.allowed()


def test_places_that_are_none_are_rejected() -> None:
    assert change(Bench(), {"evse": {"id": 9}}, operative=False) == "Rejected"
    assert change(Bench(), {"evse": {"id": 1, "connectorId": 9}}, operative=False) == "Rejected"


def test_a_fault_is_reported_and_ends_the_transaction() -> None:
    found = charging()
    found.fact(Fault(evse_id=1, word="ground_fault", active=True))
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="AbnormalCondition")
    assert event["transactionInfo"]["stoppedReason"] == "Other"
    assert not found.allowed()
    found.clear()
    found.fact(Fault(evse_id=1, word="ground_fault", active=False))
    found.expect("StatusNotification", connectorStatus="Occupied")


def test_a_state_without_an_answer_is_reported_again_when_the_station_is_back() -> None:
    found = Bench()
    found.answers["StatusNotification"] = None
    found.plug()
    found.drop()
    del found.answers["StatusNotification"]
    found.clear()
    found.back()
    assert found.expect("StatusNotification", evseId=1)["connectorStatus"] == "Occupied"
    found.nothing("StatusNotification")


def test_states_within_a_second_have_the_times_of_their_changes() -> None:
    found = Bench()
    found.advance_clock(0.725)
    found.plug()
    assert found.expect("StatusNotification", connectorStatus="Occupied")["timestamp"] == at(found.utc_ms)
