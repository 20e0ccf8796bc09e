"""Certification cases of functional block N, diagnostics: the station."""

from typing import Any

import pytest

from tests.certification.station.bench import Bench, at
from tests.certification.station.block_n import monitors, report
from v2g_station.blocks.evse import Fault, LockFailure

POWER: dict[str, Any] = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Power"}}
STATE: dict[str, Any] = {
    "component": {"name": "Connector", "evse": {"id": 1, "connectorId": 1}},
    "variable": {"name": "AvailabilityState"},
}
THRESHOLD: dict[str, Any] = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "OfflineThreshold"}}


def event(found: Bench, **fields: Any) -> dict[str, Any]:
    """The next event of a monitor."""
    data: dict[str, Any] = found.expect("NotifyEvent")["eventData"][0]
    assert {key: data.get(key) for key in fields} == fields
    return data


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


def test_tc_n_06_cs_set_base_removes_custom_monitors() -> None:
    found = custom()
    found.ask("SetMonitoringBase", monitoringBase="HardWiredOnly")
    assert report(found) == "EmptyResultSet"


def test_tc_n_16_cs_set_level() -> None:
    found = Bench()
    monitors(found, THRESHOLD | {"severity": 5})
    assert found.ask("SetMonitoringLevel", severity=4)["status"] == "Accepted"
    found.clear()
    found.set("OCPPCommCtrlr", "OfflineThreshold", "500")
    found.nothing("NotifyEvent")


def test_tc_n_21_cs_hardwired() -> None:
    found = Bench()
    found.fact(
        Fault(evse_id=1, connector_id=1, word="lock_broken", active=True, component="ConnectorPlugRetentionLock")
    )
    event(found, trigger="Alerting", actualValue="true", eventNotificationType="HardWiredNotification")


def test_tc_g_20_cs_lock_failure() -> None:
    found = Bench()
    found.plug()
    found.present()
    found.fact(LockFailure(evse_id=1))
    data = event(found, actualValue="true")
    assert data["component"]["name"] == "ConnectorPlugRetentionLock"
    assert not found.allowed()


def log(found: Bench, kind: str = "DiagnosticsLog", number: int = 1, url: str = "https://csms.example/logs") -> str:
    """Ask for a log."""
    word: str = found.ask("GetLog", log={"remoteLocation": url}, logType=kind, requestId=number)["status"]
    return word


def test_tc_n_34_cs_log_rejected() -> None:
    assert log(Bench(), url="gopher://csms.example") == "Rejected"


TAG = {"idToken": "TAG-1", "type": "ISO14443"}


def customer(found: Bench, **wanted: Any) -> dict[str, Any]:
    """Ask for what is kept of a customer."""
    return found.ask("CustomerInformation", {"requestId": 3, "report": False, "clear": False} | wanted)


def told(found: Bench) -> str:
    """What was told of a customer."""
    parts = found.all("NotifyCustomerInformation")
    assert [part["seqNo"] for part in parts] == list(range(len(parts)))
    return "".join(part["data"] for part in parts)


def test_a_start_is_a_security_event() -> None:
    found = Bench()
    found.expect("SecurityEventNotification", type="StartupOfTheDevice", timestamp=at(found.utc_ms))
