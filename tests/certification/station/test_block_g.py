"""Certification cases of functional block G, availability: the station."""

from typing import Any

from tests.certification.station.bench import Bench
from tests.certification.station.test_block_e import charging
from v2g_station.blocks.evse import Fault

EVSE: dict[str, Any] = {"evse": {"id": 1}}
CONNECTOR: dict[str, Any] = {"evse": {"id": 1, "connectorId": 1}}
ALL: dict[str, Any] = {}


def change(found: Bench, place: dict[str, Any], *, operative: bool) -> str:
    """Take a place in or out of service."""
    wish = {"operationalStatus": "Operative" if operative else "Inoperative"}
    status: str = found.ask("ChangeAvailability", wish | place)["status"]
    return status


def told(found: Bench, status: str, *, both: bool) -> None:
    """The CSMS has heard of the first EVSE, or of both."""
    found.expect("StatusNotification", evseId=1, connectorId=1, connectorStatus=status)
    if both:
        found.expect("StatusNotification", evseId=2, connectorId=1, connectorStatus=status)
    found.nothing("StatusNotification")


def test_tc_g_01_cs_available_to_occupied() -> None:
    found = Bench()
    found.clear()
    found.plug()
    told(found, "Occupied", both=False)


def test_tc_g_02_cs_occupied_to_available() -> None:
    found = Bench()
    found.plug()
    found.clear()
    found.unplug()
    told(found, "Available", both=False)


def out(place: dict[str, Any]) -> None:
    """A place goes out of service."""
    found = Bench()
    found.clear()
    assert change(found, place, operative=False) == "Accepted"
    told(found, "Unavailable", both=not place)
    found.present()
    found.plug()
    assert not found.allowed()


def back(place: dict[str, Any]) -> None:
    """A place comes back into service."""
    found = Bench()
    change(found, place, operative=False)
    found.clear()
    assert change(found, place, operative=True) == "Accepted"
    told(found, "Available", both=not place)


def again(place: dict[str, Any], *, operative: bool) -> None:
    """A place is wanted as it is."""
    found = Bench()
    change(found, place, operative=operative)
    found.clear()
    assert change(found, place, operative=operative) == "Accepted"
    found.nothing("StatusNotification")


def busy(place: dict[str, Any]) -> None:
    """What has a transaction goes out of service when it has ended."""
    found = charging()
    found.clear()
    assert change(found, place, operative=False) == "Scheduled"
    found.nothing("StatusNotification", evseId=1)
    assert found.allowed()
    found.present()
    assert found.all("TransactionEvent")[-1]["eventType"] == "Ended"
    found.expect("StatusNotification", evseId=1, connectorStatus="Unavailable")


def kept(place: dict[str, Any]) -> None:
    """Out of service is out of service after a power loss too."""
    found = Bench()
    change(found, place, operative=False)
    found.clear()
    found.power_loss()
    found.expect("StatusNotification", evseId=1, connectorId=1, connectorStatus="Unavailable")


def test_tc_g_03_cs_evse_inoperative() -> None:
    out(EVSE)


def test_tc_g_04_cs_evse_operative() -> None:
    back(EVSE)


def test_tc_g_05_cs_station_inoperative() -> None:
    out(ALL)


def test_tc_g_06_cs_station_operative() -> None:
    back(ALL)


def test_tc_g_07_cs_connector_inoperative() -> None:
    out(CONNECTOR)


def test_tc_g_08_cs_connector_operative() -> None:
    back(CONNECTOR)


def test_tc_g_09_cs_evse_operative_again() -> None:
    again(EVSE, operative=True)


def test_tc_g_10_cs_evse_inoperative_again() -> None:
    again(EVSE, operative=False)


def test_tc_g_11_cs_evse_with_transaction() -> None:
    busy(EVSE)


def test_tc_g_12_cs_station_operative_again() -> None:
    again(ALL, operative=True)


def test_tc_g_13_cs_station_inoperative_again() -> None:
    again(ALL, operative=False)


def test_tc_g_14_cs_station_with_transaction() -> None:
    busy(ALL)


def test_tc_g_15_cs_connector_operative_again() -> None:
    again(CONNECTOR, operative=True)


def test_tc_g_16_cs_connector_inoperative_again() -> None:
    again(CONNECTOR, operative=False)


def test_tc_g_17_cs_connector_with_transaction() -> None:
    busy(CONNECTOR)


def test_tc_g_18_cs_evse_stays_out_of_service() -> None:
    kept(EVSE)


def test_tc_g_19_cs_connector_stays_out_of_service() -> None:
    kept(CONNECTOR)


def test_tc_g_21_cs_station_stays_out_of_service() -> None:
    kept(ALL)


def test_places_that_are_none_are_rejected() -> None:
    assert change(Bench(), {"evse": {"id": 9}}, operative=False) == "Rejected"
    assert change(Bench(), {"evse": {"id": 1, "connectorId": 9}}, operative=False) == "Rejected"


def test_a_fault_is_told_and_ends_the_transaction() -> None:
    found = charging()
    found.fact(Fault(evse_id=1, word="ground_fault", active=True))
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="AbnormalCondition")
    assert event["transactionInfo"]["stoppedReason"] == "Other"
    assert not found.allowed()
    found.clear()
    found.fact(Fault(evse_id=1, word="ground_fault", active=False))
    found.expect("StatusNotification", connectorStatus="Occupied")
