"""Functional block N, diagnostics, of our station, beyond the cases of the test lab."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.station.bench import Bench, at
from tests.station.monitors import monitors, report
from v2g_station.blocks.evse import Fault, LockFailure

POWER: dict[str, Any] = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Power"}}
STATE: dict[str, Any] = {
    "component": {"name": "Connector", "evse": {"id": 1, "connectorId": 1}},
    "variable": {"name": "AvailabilityState"},
}
THRESHOLD: dict[str, Any] = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "OfflineThreshold"}}


def custom() -> Bench:
    """A station with a threshold, a delta and a periodic monitor."""
    found = Bench()
    results = monitors(
        found,
        THRESHOLD | {"value": 100},
        STATE | {"type": "Delta", "value": 1},
        POWER | {"type": "Periodic", "value": 3600},
    )
    assert [result["status"] for result in results] == ["Accepted"] * 3
    return found


@pytest.mark.parametrize(
    ("criterion", "types"),
    [
        ("ThresholdMonitoring", {"UpperThreshold"}),
        ("DeltaMonitoring", {"Delta"}),
        ("PeriodicMonitoring", {"Periodic"}),
    ],
)
def test_monitors_are_reported_by_criterion(criterion: str, types: set[str]) -> None:
    found = report(custom(), monitoringCriteria=[criterion])
    assert isinstance(found, list)
    assert {each["type"] for each in found} == types


def log(found: Bench, kind: str = "DiagnosticsLog", number: int = 1, url: str = "https://csms.example/logs") -> str:
    """Ask for a log."""
    word: str = found.ask("GetLog", log={"remoteLocation": url}, logType=kind, requestId=number)["status"]
    return word


def test_tc_n_34_cs_log_rejected() -> None:
    assert log(Bench(), url="gopher://csms.example") == "Rejected"


def test_a_start_is_a_security_event() -> None:
    found = Bench()
    found.expect("SecurityEventNotification", type="StartupOfTheDevice", timestamp=at(found.utc_ms))


def test_a_clock_that_is_set_is_a_security_event() -> None:
    """If it is set by more than TimeAdjustmentReportingThreshold, in either direction."""
    found = Bench()
    for seconds, said in ((-20, ""), (21, "by +21 s"), (-3600, "by -3600 s")):
        found.clear()
        found.utc_ms += 1000 * seconds
        found.wait(1)
        if said:
            found.expect("SecurityEventNotification", type="SettingSystemTime", techInfo=said)
        else:
            found.nothing("SecurityEventNotification")


def test_a_fault_is_reported_until_it_is_over() -> None:
    found = Bench()
    broken = Fault(evse_id=1, connector_id=1, word="lock_broken", active=True, component="ConnectorPlugRetentionLock")
    for active, value in ((True, "true"), (False, "false")):
        found.fact(replace(broken, active=active))
        (data,) = found.expect("NotifyEvent")["eventData"]
        assert (data["trigger"], data["actualValue"]) == ("Alerting", value)
        assert data["eventNotificationType"] == "HardWiredNotification"


def test_a_base_that_brings_monitors_back_reports_what_they_see_now() -> None:
    found = Bench()
    found.ask("SetMonitoringBase", monitoringBase="HardWiredOnly")
    found.fact(LockFailure(evse_id=1, connector_id=1))
    before = len(found.all("NotifyEvent"))
    found.ask("SetMonitoringBase", monitoringBase="All")
    (event,) = found.all("NotifyEvent")[before:]
    assert event["eventData"][0]["component"]["name"] == "ConnectorPlugRetentionLock"


def test_a_monitor_that_the_csms_has_cleared_stays_so_over_a_restart() -> None:
    """Settings of monitors are persistent; a base brings them back (N03)."""
    found = Bench()

    def active(request: int) -> list[int]:
        reported = report(found, request)
        assert isinstance(reported, list)
        return [each["id"] for each in reported]

    first, *others = active(1)
    assert found.ask("ClearVariableMonitoring", id=[first])["clearMonitoringResult"][0]["status"] == "Accepted"
    for number in (2, 3):
        found.power_loss()
        assert active(number) == others
    found.ask("SetMonitoringBase", monitoringBase="All")
    found.power_loss()
    assert set(active(4)) == {first, *others}


def test_monitors_of_the_csms_take_no_number_of_the_station_s_own() -> None:
    found = Bench()
    own = report(found, 1)
    found.ask("SetMonitoringBase", monitoringBase="HardWiredOnly")
    (set_,) = monitors(found, THRESHOLD)
    found.ask("SetMonitoringBase", monitoringBase="All")
    both = report(found, 2)
    assert isinstance(own, list)
    assert isinstance(both, list)
    assert {each["id"] for each in both} == {set_["id"], *(each["id"] for each in own)}
    assert len(both) == len(own) + 1


@pytest.mark.parametrize(("named", "status"), [({"customerIdentifier": "A"}, "Rejected"), ({}, "Invalid")])
def test_a_request_for_neither_report_nor_removal_is_rejected(named: dict[str, str], status: str) -> None:
    """N09.FR.07, N09.FR.09."""
    answer = Bench().ask("CustomerInformation", requestId=1, report=False, clear=False, **named)
    assert answer["status"] == status


@pytest.mark.parametrize("kind", ["UpperThreshold", "Periodic"])
def test_a_monitor_for_transactions_is_active_while_there_is_one(kind: str) -> None:
    """SetMonitoringData.transaction."""
    found = Bench()
    found.ask("SetMonitoringLevel", severity=9)
    monitors(found, THRESHOLD | {"type": kind, "value": 10, "severity": 9, "transaction": True})
    counts = []
    for _ in range(2):
        before = len(found.all("NotifyEvent"))
        found.wait(15)
        counts.append(len(found.all("NotifyEvent")) - before)
        found.present()
        found.plug()
        found.wait(15)
        counts.append(len(found.all("NotifyEvent")) - before)
        found.unplug()
    assert [each > 0 for each in counts] == [False, True] * 2


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        ({"evse_id": 1, "connector_id": 1}, {"Connector"}),
        ({"evse_id": 1, "component": "EVSE"}, {"Connector"}),
        ({"evse_id": 1, "connector_id": 1, "component": "ConnectorPlugRetentionLock"},
         {"Connector", "ConnectorPlugRetentionLock"}),
        ({"evse_id": 1, "connector_id": 1, "stops": False}, {"Connector"}),
        ({"component": "ChargingStation"}, {"ChargingStation"}),
        ({"evse_id": 9}, set()),
    ],
)  # fmt: skip
def test_a_fault_that_is_reported_is_a_problem_of_what_has_it(fault: dict[str, Any], shown: set[str]) -> None:
    """B07.FR.09, B08.FR.10; it is reported once (N07), beside the monitors that the CSMS has set."""
    found = Bench("2.1")
    for _ in range(2):
        for words, active in ((("a", "b"), True), (("a",), False)):
            for word in words:
                found.clear()
                found.fact(Fault(word=word, active=active, **fault))
                assert len([name for name, _ in found.unread if name == "NotifyEvent"]) == 1
        status = found.ask("GetReport", requestId=1, componentCriteria=["Problem"])["status"]
        assert status == ("Accepted" if shown else "EmptyResultSet")
        found.wait(1)
        data = [each for report in found.all("NotifyReport") for each in report["reportData"]]
        assert {each["component"]["name"] for each in data} == shown
        assert all(each["component"].get("evse", {}).get("id", 1) == 1 for each in data)
        found.fact(Fault(word="b", active=False, **fault))
        assert found.ask("GetReport", requestId=2, componentCriteria=["Problem"])["status"] == "EmptyResultSet"


def test_monitors_of_the_csms_notice_a_fault_too() -> None:
    found = Bench("2.1")
    variable = {"component": {"name": "ChargingStation"}, "variable": {"name": "Problem"}}
    wanted = variable | {"type": "Delta", "value": 1, "severity": 5}
    (result,) = found.ask("SetVariableMonitoring", setMonitoringData=[wanted])["setMonitoringResult"]
    found.clear()
    found.fact(Fault(word="a", active=True, component="ChargingStation"))
    events = [payload["eventData"][0] for name, payload in found.unread if name == "NotifyEvent"]
    assert [each.get("variableMonitoringId") for each in events] == [None, result["id"]]
    found.power_loss()
    found.expect("NotifyEvent")  # it is over, for all that is known
    assert found.get("ChargingStation", "Problem")["attributeValue"] == "false"
