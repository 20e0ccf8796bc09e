"""Certification cases of functional block N, diagnostics: the station."""

from typing import Any

import pytest

from tests.certification.station.bench import Bench, at
from tests.certification.station.test_block_e import charging
from v2g_station.blocks.diagnostics.diagnostics import CancelUpload, LogProgress, UploadLog
from v2g_station.blocks.evse import Fault, LockFailure

POWER: dict[str, Any] = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Power"}}
STATE: dict[str, Any] = {
    "component": {"name": "Connector", "evse": {"id": 1, "connectorId": 1}},
    "variable": {"name": "AvailabilityState"},
}
THRESHOLD: dict[str, Any] = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "OfflineThreshold"}}


def monitors(found: Bench, *wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Set monitors; return the results."""
    filled = [{"type": "UpperThreshold", "value": 100, "severity": 5} | each for each in wanted]
    results: list[dict[str, Any]] = found.ask("SetVariableMonitoring", setMonitoringData=filled)["setMonitoringResult"]
    return results


def status(found: Bench, **wanted: Any) -> str:
    """Set one monitor; return the status."""
    word: str = monitors(found, wanted)[0]["status"]
    return word


def report(found: Bench, number: int = 1, **wanted: Any) -> list[dict[str, Any]] | str:
    """What a report has, or why there is none."""
    answer = found.ask("GetMonitoringReport", requestId=number, **wanted)
    if answer["status"] != "Accepted":
        word: str = answer["status"]
        return word
    parts = [part for part in found.all("NotifyMonitoringReport") if part["requestId"] == number]
    return [each for part in parts for data in part["monitor"] for each in data["variableMonitoring"]]


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


def test_tc_n_01_cs_report_by_criteria() -> None:
    test_monitors_are_reported_by_criterion("ThresholdMonitoring", {"UpperThreshold"})


def test_tc_n_02_cs_report_by_variable() -> None:
    assert len(report(custom(), componentVariable=[STATE])) == 1


def test_tc_n_03_cs_report_by_criteria_and_variable() -> None:
    found = custom()
    assert len(report(found, componentVariable=[STATE], monitoringCriteria=["DeltaMonitoring"])) == 1
    assert report(found, 2, componentVariable=[STATE], monitoringCriteria=["PeriodicMonitoring"]) == "EmptyResultSet"


def test_tc_n_47_cs_report_of_all() -> None:
    found = custom()
    types = [each["type"] for each in report(found)]  # type: ignore[index]
    assert {"UpperThreshold", "Delta", "Periodic"} <= set(types)
    assert len(types) > 3, "the preconfigured ones too"


@pytest.mark.parametrize("base", ["All", "FactoryDefault", "HardWiredOnly"])
def test_tc_n_05_cs_set_base(base: str) -> None:
    found = Bench()
    assert found.ask("SetMonitoringBase", monitoringBase=base)["status"] == "Accepted"
    assert found.get("MonitoringCtrlr", "ActiveMonitoringBase")["attributeValue"] == base


def test_tc_n_06_cs_set_base_removes_custom_monitors() -> None:
    found = custom()
    found.ask("SetMonitoringBase", monitoringBase="HardWiredOnly")
    assert report(found) == "EmptyResultSet"


def test_tc_n_41_cs_set_base_returns_to_the_factorys() -> None:
    found = custom()
    found.ask("SetMonitoringBase", monitoringBase="FactoryDefault")
    kinds = report(found)
    assert isinstance(kinds, list)
    assert {each["type"] for each in kinds} == {"Delta"}
    assert report(found, 2, componentVariable=[STATE]) == "EmptyResultSet"


def test_tc_n_08_cs_set_one() -> None:
    (result,) = monitors(Bench(), THRESHOLD)
    assert result["status"] == "Accepted"
    assert result["id"] > 0


def test_tc_n_09_cs_set_several() -> None:
    assert len(report(custom(), componentVariable=[STATE, THRESHOLD, POWER])) == 3


def test_tc_n_10_cs_set_several_on_one_variable() -> None:
    results = monitors(
        Bench(), THRESHOLD, THRESHOLD | {"type": "LowerThreshold", "value": 5}, THRESHOLD | {"severity": 8}
    )
    assert [result["status"] for result in results] == ["Accepted"] * 3
    assert len({result["id"] for result in results}) == 3


def test_tc_n_11_cs_unknown_component() -> None:
    assert status(Bench(), component={"name": "Nothing"}, variable={"name": "Power"}) == "UnknownComponent"


def test_tc_n_37_cs_unknown_variable() -> None:
    assert status(Bench(), component={"name": "OCPPCommCtrlr"}, variable={"name": "Nothing"}) == "UnknownVariable"


def test_tc_n_12_cs_delta_out_of_range() -> None:
    assert status(Bench(), **THRESHOLD, type="Delta", value=-1) == "Rejected"


def test_tc_n_13_cs_threshold_out_of_range() -> None:
    assert status(Bench(), **POWER, value=99_999_999) == "Rejected"


def test_tc_n_15_cs_duplicate() -> None:
    results = monitors(Bench(), THRESHOLD, THRESHOLD | {"value": 200})
    assert [result["status"] for result in results] == ["Accepted", "Duplicate"]


def test_tc_n_38_cs_unsupported_type() -> None:
    assert status(Bench(), **STATE, type="UpperThreshold") == "UnsupportedMonitorType"


def test_tc_n_39_cs_replace_elsewhere() -> None:
    found = Bench()
    (result,) = monitors(found, THRESHOLD)
    assert status(found, **POWER, id=result["id"]) == "Rejected"


def test_tc_n_40_cs_replace() -> None:
    found = Bench()
    (result,) = monitors(found, THRESHOLD)
    assert status(found, **THRESHOLD, id=result["id"], value=200) == "Accepted"
    assert [each["value"] for each in report(found, componentVariable=[THRESHOLD])] == [200]  # type: ignore[index]
    assert status(found, **THRESHOLD, id=9999) == "Rejected"


def test_tc_n_43_cs_one_of_three_is_out_of_range() -> None:
    results = monitors(
        Bench(),
        THRESHOLD,
        THRESHOLD | {"type": "Delta", "value": -1},
        THRESHOLD | {"type": "LowerThreshold", "value": 1},
    )
    assert [result["status"] for result in results] == ["Accepted", "Rejected", "Accepted"]


def test_tc_n_16_cs_set_level() -> None:
    found = Bench()
    monitors(found, THRESHOLD | {"severity": 5})
    assert found.ask("SetMonitoringLevel", severity=4)["status"] == "Accepted"
    found.clear()
    found.set("OCPPCommCtrlr", "OfflineThreshold", "500")
    found.nothing("NotifyEvent")


def test_tc_n_17_cs_set_level_out_of_range() -> None:
    assert Bench().ask("SetMonitoringLevel", severity=10)["status"] == "Rejected"


def test_tc_n_18_cs_clear() -> None:
    found = Bench()
    (result,) = monitors(found, THRESHOLD)
    answer = found.ask("ClearVariableMonitoring", id=[result["id"]])["clearMonitoringResult"]
    assert answer == [{"id": result["id"], "status": "Accepted"}]


def test_tc_n_19_cs_clear_unknown() -> None:
    answer = Bench().ask("ClearVariableMonitoring", id=[9999])["clearMonitoringResult"]
    assert answer == [{"id": 9999, "status": "NotFound"}]


def test_tc_n_20_cs_threshold_exceeded() -> None:
    found = Bench()
    (result,) = monitors(found, THRESHOLD)
    found.clear()
    found.set("OCPPCommCtrlr", "OfflineThreshold", "100")
    found.nothing("NotifyEvent")
    found.set("OCPPCommCtrlr", "OfflineThreshold", "101")
    data = event(found, trigger="Alerting", actualValue="101", variableMonitoringId=result["id"])
    assert data["eventNotificationType"] == "CustomMonitor"
    found.set("OCPPCommCtrlr", "OfflineThreshold", "50")
    event(found, trigger="Alerting", cleared=True, actualValue="50")


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


def test_tc_n_22_cs_severe_events_wait_while_offline() -> None:
    found = Bench(variables={"MonitoringCtrlr.OfflineQueuingSeverity": "5"})
    monitors(found, STATE | {"type": "Delta", "value": 1, "severity": 5})
    found.drop()
    found.clear()
    found.plug()
    found.back()
    event(found, actualValue="Occupied", trigger="Delta")


def test_tc_n_23_cs_other_events_do_not() -> None:
    found = Bench(variables={"MonitoringCtrlr.OfflineQueuingSeverity": "4"})
    monitors(found, STATE | {"type": "Delta", "value": 1, "severity": 5})
    found.drop()
    found.clear()
    found.plug()
    found.back()
    found.nothing("NotifyEvent")


def test_tc_n_24_cs_periodic() -> None:
    found = Bench()
    monitors(found, POWER | {"type": "Periodic", "value": 60}, STATE | {"type": "PeriodicClockAligned", "value": 900})
    found.clear()
    found.wait(125)
    event(found, trigger="Periodic")
    event(found, trigger="Periodic")
    found.wait(900)
    aligned = [e for e in found.all("NotifyEvent") if e["eventData"][0]["variable"]["name"] == "AvailabilityState"]
    assert aligned[0]["eventData"][0]["timestamp"].endswith("00Z")


def test_tc_n_45_cs_delta_exceeded() -> None:
    found = Bench()
    monitors(found, THRESHOLD | {"type": "Delta", "value": 10})
    found.clear()
    found.set("OCPPCommCtrlr", "OfflineThreshold", "70")
    found.nothing("NotifyEvent")
    found.set("OCPPCommCtrlr", "OfflineThreshold", "71")
    event(found, trigger="Delta", actualValue="71")


def test_tc_n_56_cs_delta_not_numeric() -> None:
    found = Bench()
    monitors(found, STATE | {"type": "Delta", "value": 1})
    found.clear()
    found.plug()
    event(found, trigger="Delta", actualValue="Occupied")


def test_tc_n_48_cs_write_only() -> None:
    found = Bench()
    place = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
    monitors(found, place | {"type": "Delta", "value": 1})
    found.set("SecurityCtrlr", "BasicAuthPassword", "a-much-better-password")
    event(found, actualValue="")


def test_tc_n_51_cs_replaced_threshold_is_judged_anew() -> None:
    found = Bench()
    (result,) = monitors(found, THRESHOLD)
    found.set("OCPPCommCtrlr", "OfflineThreshold", "150")
    event(found, trigger="Alerting")
    monitors(found, THRESHOLD | {"id": result["id"], "value": 200})
    event(found, trigger="Alerting", cleared=True)


def test_tc_n_52_cs_removed_threshold_is_not_cleared() -> None:
    found = Bench()
    (result,) = monitors(found, THRESHOLD)
    found.set("OCPPCommCtrlr", "OfflineThreshold", "150")
    found.clear()
    found.ask("ClearVariableMonitoring", id=[result["id"]])
    found.nothing("NotifyEvent")


def test_tc_n_53_cs_survives_a_reboot() -> None:
    found = Bench()
    monitors(found, THRESHOLD)
    found.power_loss()
    found.clear()
    found.set("OCPPCommCtrlr", "OfflineThreshold", "150")
    event(found, trigger="Alerting")


def log(found: Bench, kind: str = "DiagnosticsLog", number: int = 1, url: str = "https://csms.example/logs") -> str:
    """Ask for a log."""
    word: str = found.ask("GetLog", log={"remoteLocation": url}, logType=kind, requestId=number)["status"]
    return word


def test_tc_n_25_cs_diagnostics_log() -> None:
    found = Bench()
    assert log(found) == "Accepted"
    (upload,) = [each for each in found.commands if isinstance(each, UploadLog)]
    assert upload.filename.endswith(".tar.gz")
    assert upload.variables
    found.fact(LogProgress(request_id=1, status="Uploading"))
    found.fact(LogProgress(request_id=1, status="Uploaded"))
    found.expect("LogStatusNotification", status="Uploading", requestId=1)
    found.expect("LogStatusNotification", status="Uploaded", requestId=1)


def test_tc_n_26_cs_diagnostics_log_fails() -> None:
    found = Bench()
    log(found)
    found.fact(LogProgress(request_id=1, status="UploadFailure"))
    found.expect("LogStatusNotification", status="UploadFailure")


def test_tc_n_34_cs_log_rejected() -> None:
    assert log(Bench(), url="gopher://csms.example") == "Rejected"


def test_tc_n_35_cs_security_log() -> None:
    found = Bench()
    assert log(found, "SecurityLog") == "Accepted"
    (upload,) = [each for each in found.commands if isinstance(each, UploadLog)]
    assert upload.variables == ()
    assert "StartupOfTheDevice" in upload.lines[0]


def test_tc_n_36_cs_second_request() -> None:
    found = Bench()
    log(found)
    assert log(found, number=2) == "AcceptedCanceled"
    assert CancelUpload(request_id=1) in found.commands
    found.expect("LogStatusNotification", status="AcceptedCanceled", requestId=1)
    found.fact(LogProgress(request_id=2, status="Uploaded"))
    found.expect("LogStatusNotification", status="Uploaded", requestId=2)


def test_tc_f_15_cs_trigger_log_status_idle() -> None:
    found = Bench()
    assert found.ask("TriggerMessage", requestedMessage="LogStatusNotification")["status"] == "Accepted"
    found.expect("LogStatusNotification", status="Idle")


def test_tc_f_16_cs_trigger_log_status_uploading() -> None:
    found = Bench()
    log(found)
    found.ask("TriggerMessage", requestedMessage="LogStatusNotification")
    found.expect("LogStatusNotification", status="Uploading", requestId=1)


TAG = {"idToken": "TAG-1", "type": "ISO14443"}


def customer(found: Bench, **wanted: Any) -> dict[str, Any]:
    """Ask for what is kept of a customer."""
    return found.ask("CustomerInformation", {"requestId": 3, "report": False, "clear": False} | wanted)


def told(found: Bench) -> str:
    """What was told of a customer."""
    parts = found.all("NotifyCustomerInformation")
    assert [part["seqNo"] for part in parts] == list(range(len(parts)))
    return "".join(part["data"] for part in parts)


def test_tc_n_27_cs_customer_report() -> None:
    found = charging()
    assert customer(found, report=True, idToken=TAG)["status"] == "Accepted"
    assert "authorization cache: Accepted" in told(found)


def test_tc_n_28_cs_customer_report_without_data() -> None:
    found = Bench()
    assert customer(found, report=True, idToken=TAG)["status"] == "Accepted"
    assert found.expect("NotifyCustomerInformation")["data"] == ""


def test_tc_n_29_cs_customer_not_accepted() -> None:
    assert customer(Bench(), idToken=TAG)["status"] == "Invalid"


def test_tc_n_30_cs_customer_cleared_and_reported() -> None:
    found = charging()
    assert customer(found, report=True, clear=True, idToken=TAG)["status"] == "Accepted"
    assert "authorization cache" in told(found)
    customer(found, report=True, idToken=TAG)
    assert "authorization cache" not in found.all("NotifyCustomerInformation")[-1]["data"]


def test_tc_n_31_cs_customer_cleared_and_reported_without_data() -> None:
    found = Bench()
    assert customer(found, report=True, clear=True, idToken=TAG)["status"] == "Accepted"
    assert told(found) == ""


def test_tc_n_32_cs_customer_cleared() -> None:
    found = charging()
    assert customer(found, clear=True, idToken=TAG)["status"] == "Accepted"
    assert told(found) == ""
    assert found.station.cache.find is not None


def test_tc_n_33_cs_customer_invalid() -> None:
    assert customer(Bench(), clear=True)["status"] == "Invalid"


def test_tc_n_62_cs_customer_identifier() -> None:
    found = Bench()
    assert customer(found, report=True, clear=True, customerIdentifier="C-1")["status"] == "Accepted"
    found.expect("NotifyCustomerInformation")


def test_a_start_is_a_security_event() -> None:
    found = Bench()
    found.expect("SecurityEventNotification", type="StartupOfTheDevice", timestamp=at(found.utc_ms))
