"""Certification cases of functional block B, provisioning: the station."""

from typing import Any

import pytest

from tests.certification.station.bench import SOCKET, Bench, Refused, at
from tests.certification.station.test_block_e import charging
from v2g_station.blocks.evse import Restart

PROFILE: dict[str, Any] = {
    "ocppVersion": "OCPP20",
    "ocppTransport": "JSON",
    "ocppCsmsUrl": "ws://other.example/ocpp",
    "messageTimeout": 30,
    "securityProfile": 1,
    "ocppInterface": "Wired0",
}


def variable(component: str, name: str, value: str | None = None, **more: Any) -> dict[str, Any]:
    """A variable to read, or to write."""
    found: dict[str, Any] = {"component": {"name": component}, "variable": {"name": name}} | more
    return found if value is None else found | {"attributeValue": value}


def reports(found: Bench, request_id: int = 1) -> list[dict[str, Any]]:
    """All that was reported, in parts numbered from 0, the last of which says so."""
    parts = [part for part in found.all("NotifyReport") if part["requestId"] == request_id]
    assert [part["seqNo"] for part in parts] == list(range(len(parts)))
    assert [part.get("tbc", False) for part in parts] == [True] * (len(parts) - 1) + [False]
    return [item for part in parts for item in part["reportData"]]


def names(found: Bench, request_id: int = 1) -> set[str]:
    """What was reported, as `Component.Variable`."""
    return {f"{item['component']['name']}.{item['variable']['name']}" for item in reports(found, request_id)}


def test_tc_b_01_cs_boot_accepted() -> None:
    found = Bench()
    boot = found.expect("BootNotification", reason="PowerUp")
    assert boot["chargingStation"]["serialNumber"] == "CS-1"
    assert found.expect("StatusNotification", evseId=1, connectorId=1)["connectorStatus"] == "Available"
    found.expect("StatusNotification", evseId=2, connectorId=1)


def test_tc_b_02_cs_boot_pending() -> None:
    found = Bench(power=False)
    found.registration.extend([("Pending", 60), ("Accepted", 600)])
    found.power_up()
    found.expect("BootNotification")
    assert found.unread == found.unread.__class__(), "nothing else is said while Pending (B02.FR.02)"
    assert found.ask("RequestStopTransaction", transactionId="x")["status"] == "Rejected"
    assert found.set("OCPPCommCtrlr", "OfflineThreshold", "100") == "Accepted"
    assert found.ask("GetBaseReport", requestId=1, reportBase="FullInventory")["status"] == "Accepted"
    assert reports(found)
    found.clear()
    assert found.ask("TriggerMessage", requestedMessage="BootNotification")["status"] == "Accepted"
    found.expect("BootNotification")
    found.expect("StatusNotification")
    assert found.get("OCPPCommCtrlr", "HeartbeatInterval")["attributeValue"] == "600"


def test_tc_b_03_cs_boot_rejected() -> None:
    found = Bench(power=False)
    found.registration.extend([("Rejected", 20), ("Accepted", 600)])
    found.power_up()
    found.wait(19)
    assert [name for name, _ in found.log] == ["BootNotification"]
    found.wait(2)
    found.expect("BootNotification")
    found.expect("BootNotification")
    found.expect("StatusNotification")


def test_a_boot_interval_of_zero_leaves_the_wait_to_the_station() -> None:
    found = Bench(power=False)
    found.registration.extend([("Pending", 0), ("Accepted", 600)])
    found.power_up()
    found.wait(29)
    assert len(found.log) == 1
    found.wait(2)
    assert len(found.all("BootNotification")) == 2


def test_tc_b_06_cs_get_one_variable() -> None:
    result = Bench().get("OCPPCommCtrlr", "OfflineThreshold")
    assert (result["attributeStatus"], result["attributeType"], result["attributeValue"]) == (
        "Accepted",
        "Actual",
        "60",
    )


def test_tc_b_07_cs_get_variables() -> None:
    wanted = [variable("OCPPCommCtrlr", "OfflineThreshold"), variable("AuthCtrlr", "AuthorizeRemoteStart")]
    results = Bench().ask("GetVariables", getVariableData=wanted)["getVariableResult"]
    assert [result["attributeStatus"] for result in results] == ["Accepted", "Accepted"]
    assert [result["variable"]["name"] for result in results] == ["OfflineThreshold", "AuthorizeRemoteStart"]


def test_tc_b_09_cs_set_one_variable() -> None:
    found = Bench()
    assert found.set("OCPPCommCtrlr", "OfflineThreshold", "123") == "Accepted"
    assert found.get("OCPPCommCtrlr", "OfflineThreshold")["attributeValue"] == "123"
    found.power_loss()
    assert found.get("OCPPCommCtrlr", "OfflineThreshold")["attributeValue"] == "123"


def test_tc_b_10_cs_set_variables() -> None:
    found = Bench()
    wanted = [variable("OCPPCommCtrlr", "OfflineThreshold", "123"), variable("AuthCtrlr", "LocalPreAuthorize", "true")]
    results = found.ask("SetVariables", setVariableData=wanted)["setVariableResult"]
    assert [result["attributeStatus"] for result in results] == ["Accepted", "Accepted"]


@pytest.mark.parametrize(
    ("component", "name", "value"),
    [
        ("OCPPCommCtrlr", "OfflineThreshold", "soon"),
        ("OCPPCommCtrlr", "OfflineThreshold", "1.5"),
        ("OCPPCommCtrlr", "HeartbeatInterval", "0"),
        ("AuthCtrlr", "LocalPreAuthorize", "yes"),
        ("TxCtrlr", "TxStartPoint", "Whenever"),
        ("TxCtrlr", "TxStartPoint", "Authorized,Authorized"),
        ("ClockCtrlr", "NextTimeOffsetTransitionDateTime", "tomorrow"),
        ("SecurityCtrlr", "BasicAuthPassword", "short"),
    ],
)
def test_tc_b_11_cs_set_what_is_no_value(component: str, name: str, value: str) -> None:
    assert Bench().set(component, name, value) == "Rejected"


def test_tc_b_12_cs_configuration_inventory() -> None:
    found = Bench()
    assert found.ask("GetBaseReport", requestId=1, reportBase="ConfigurationInventory")["status"] == "Accepted"
    for item in reports(found):
        assert item["variableAttribute"][0]["mutability"] != "ReadOnly"
        assert "variableCharacteristics" in item
    assert {"OCPPCommCtrlr.OfflineThreshold", "TxCtrlr.TxStartPoint"} <= names(found)


def test_tc_b_13_cs_full_inventory() -> None:
    found = Bench()
    found.ask("GetBaseReport", requestId=1, reportBase="FullInventory")
    assert len(reports(found)) > 150
    assert {"ChargingStation.AvailabilityState", "Connector.ConnectorType", "EVSE.Power"} <= names(found)
    secrets = [i for i in reports(found) if i["variable"]["name"] == "BasicAuthPassword"]
    assert "value" not in secrets[0]["variableAttribute"][0]


def test_tc_b_14_cs_summary_inventory() -> None:
    found = Bench()
    found.ask("GetBaseReport", requestId=1, reportBase="SummaryInventory")
    assert {"ChargingStation.AvailabilityState", "EVSE.AvailabilityState", "Connector.AvailabilityState"} <= names(
        found
    )
    assert {name.split(".")[1] for name in names(found)} == {"AvailabilityState", "Problem"}


def test_tc_b_16_cs_report_by_criteria() -> None:
    found = Bench()
    assert found.ask("GetReport", requestId=1, componentCriteria=["Available"])["status"] == "Accepted"
    assert "AuthCacheCtrlr.Enabled" in names(found)
    assert found.ask("GetReport", requestId=2, componentCriteria=["Problem"])["status"] == "EmptyResultSet"
    assert found.set("LocalAuthListCtrlr", "Enabled", "false") == "Accepted"
    found.ask("GetReport", requestId=3, componentCriteria=["Enabled"])
    assert "LocalAuthListCtrlr.Entries" not in names(found, 3)


def test_tc_b_17_cs_report_by_variable() -> None:
    found = Bench()
    wanted = [{"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "AvailabilityState"}}]
    assert found.ask("GetReport", requestId=1, componentVariable=wanted)["status"] == "Accepted"
    assert [item["component"]["evse"] for item in reports(found)] == [{"id": 1}]


def test_tc_b_18_cs_report_by_criteria_and_variable() -> None:
    found = Bench()
    wanted = [variable("AuthCacheCtrlr", "Enabled")]
    assert (
        found.ask("GetReport", requestId=1, componentCriteria=["Enabled"], componentVariable=wanted)["status"]
        == "Accepted"
    )
    assert names(found) == {"AuthCacheCtrlr.Enabled"}


def test_tc_b_19_cs_report_of_unknown_criteria() -> None:
    wanted = [variable("NoSuchThing", "Enabled")]
    assert Bench().ask("GetReport", requestId=1, componentVariable=wanted)["status"] == "EmptyResultSet"


def test_tc_b_54_cs_report_without_instance() -> None:
    found = Bench()
    found.ask("GetReport", requestId=1, componentVariable=[variable("DeviceDataCtrlr", "ItemsPerMessage")])
    instances = {item["variable"]["instance"] for item in reports(found)}
    assert instances == {"GetReport", "GetVariables", "SetVariables"}


def test_tc_b_55_cs_report_with_instance() -> None:
    found = Bench()
    name = {"name": "ItemsPerMessage", "instance": "GetReport"}
    wanted = [{"component": {"name": "DeviceDataCtrlr"}, "variable": name}]
    found.ask("GetReport", requestId=1, componentVariable=wanted)
    assert [item["variable"]["instance"] for item in reports(found)] == ["GetReport"]


def test_tc_b_56_cs_report_without_evse() -> None:
    found = Bench()
    found.ask("GetReport", requestId=1, componentVariable=[variable("EVSE", "AvailabilityState")])
    assert [item["component"]["evse"]["id"] for item in reports(found)] == [1, 2]


def test_tc_b_20_cs_reset_on_idle() -> None:
    found = Bench()
    assert found.ask("Reset", type="OnIdle")["status"] == "Accepted"
    assert found.restarts == 1
    found.expect("BootNotification", reason="PowerUp")
    found.expect("BootNotification", reason="RemoteReset")
    found.expect("StatusNotification", connectorStatus="Available")


def test_tc_b_21_cs_reset_on_idle_waits_for_the_transaction() -> None:
    found = charging(stop="Authorized")
    assert found.ask("Reset", type="OnIdle")["status"] == "Scheduled"
    assert found.restarts == 0
    found.present()
    found.expect("TransactionEvent", eventType="Ended", triggerReason="StopAuthorized")
    found.expect("BootNotification", reason="RemoteReset")


def test_tc_b_22_cs_reset_immediate_ends_the_transaction() -> None:
    found = charging()
    assert found.ask("Reset", type="Immediate")["status"] == "Accepted"
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="ResetCommand")
    assert event["transactionInfo"]["stoppedReason"] == "ImmediateReset"
    found.expect("BootNotification", reason="RemoteReset")


def test_a_reset_does_not_wait_for_a_csms_that_takes_no_event() -> None:
    found = charging()
    found.answers["TransactionEvent"] = None
    found.ask("Reset", type="Immediate")
    found.wait(29)
    assert found.restarts == 0
    found.wait(2)
    assert found.restarts == 1
    del found.answers["TransactionEvent"]
    found.wait(1)
    found.expect("BootNotification", reason="RemoteReset")
    found.expect("TransactionEvent", eventType="Ended", triggerReason="ResetCommand", offline=True)


def test_tc_b_23_cs_unavailable_persists_a_reset() -> None:
    found = Bench()
    found.ask("ChangeAvailability", operationalStatus="Inoperative")
    found.ask("Reset", type="OnIdle")
    found.expect("BootNotification", reason="RemoteReset")
    found.expect("StatusNotification", connectorStatus="Unavailable", evseId=1)
    found.expect("StatusNotification", connectorStatus="Unavailable", evseId=2)


def test_tc_b_24_cs_reserved_persists_a_reset() -> None:
    found = Bench()
    until = at(found.utc_ms + 3_600_000)
    token = {"idToken": "TAG-1", "type": "ISO14443"}
    assert found.ask("ReserveNow", id=1, expiryDateTime=until, idToken=token, evseId=1)["status"] == "Accepted"
    found.ask("Reset", type="OnIdle")
    found.expect("BootNotification", reason="RemoteReset")
    found.expect("StatusNotification", connectorStatus="Reserved", evseId=1)


def test_tc_b_25_cs_reset_evse() -> None:
    found = Bench()
    assert found.ask("Reset", type="OnIdle", evseId=1)["status"] == "Accepted"
    assert Restart(evse_id=1) in found.commands
    assert found.restarts == 0


def test_tc_b_26_cs_reset_evse_on_idle() -> None:
    found = charging(stop="Authorized")
    assert found.ask("Reset", type="OnIdle", evseId=1)["status"] == "Scheduled"
    assert Restart(evse_id=1) not in found.commands
    found.present()
    assert Restart(evse_id=1) in found.commands


def test_tc_b_27_cs_reset_evse_immediate() -> None:
    found = charging()
    assert found.ask("Reset", type="Immediate", evseId=1)["status"] == "Accepted"
    found.expect("TransactionEvent", eventType="Ended", triggerReason="ResetCommand")
    assert Restart(evse_id=1) in found.commands


def test_tc_b_28_cs_reset_evse_not_supported() -> None:
    found = Bench(variables={"EVSE#1.AllowReset": "false"})
    assert found.ask("Reset", type="OnIdle", evseId=1)["status"] == "Rejected"


def test_tc_b_29_cs_reset_evse_with_transaction_not_supported() -> None:
    found = charging(variables={"EVSE#1.AllowReset": "false"})
    assert found.ask("Reset", type="OnIdle", evseId=1)["status"] == "Rejected"


def test_tc_b_41_cs_reset_on_idle_waits_for_all_transactions() -> None:
    found = charging(stop="Authorized")
    found.plug(2)
    found.present("TAG-2", 2)
    assert found.ask("Reset", type="OnIdle")["status"] == "Scheduled"
    found.present()
    assert found.restarts == 0
    found.present("TAG-2", 2)
    assert found.restarts == 1


def test_tc_b_30_cs_security_error_while_rejected() -> None:
    found = Bench(power=False)
    found.registration.extend([("Rejected", 60)])
    found.power_up()
    with pytest.raises(Refused) as refused:
        found.get("OCPPCommCtrlr", "OfflineThreshold")
    assert refused.value.code == "SecurityError"


def test_tc_b_32_cs_get_unknown_component() -> None:
    result = Bench().get("NoSuchThing", "OfflineThreshold")
    assert result["attributeStatus"] == "UnknownComponent"
    assert "attributeValue" not in result


def test_tc_b_33_cs_get_unknown_variable() -> None:
    assert Bench().get("OCPPCommCtrlr", "NoSuchThing")["attributeStatus"] == "UnknownVariable"


def test_tc_b_34_cs_get_unknown_attribute() -> None:
    result = Bench().get("OCPPCommCtrlr", "OfflineThreshold", attributeType="Target")
    assert result["attributeStatus"] == "NotSupportedAttributeType"


def test_tc_b_35_cs_set_unknown_component() -> None:
    assert Bench().set("NoSuchThing", "OfflineThreshold", "1") == "UnknownComponent"


def test_tc_b_36_cs_set_unknown_variable() -> None:
    assert Bench().set("OCPPCommCtrlr", "NoSuchThing", "1") == "UnknownVariable"


def test_tc_b_37_cs_set_unknown_attribute() -> None:
    wanted = variable("OCPPCommCtrlr", "OfflineThreshold", "1", attributeType="Target")
    result = Bench().ask("SetVariables", setVariableData=[wanted])["setVariableResult"][0]
    assert result["attributeStatus"] == "NotSupportedAttributeType"


def test_tc_b_39_cs_set_read_only() -> None:
    assert Bench().set("ChargingStation", "Model", "Better") == "Rejected"


def test_tc_b_43_cs_network_profile_rejected() -> None:
    found = Bench()
    bad = PROFILE | {"ocppTransport": "SOAP"}
    assert found.ask("SetNetworkProfile", configurationSlot=2, connectionData=bad)["status"] == "Rejected"
    assert found.ask("SetNetworkProfile", configurationSlot=99, connectionData=PROFILE)["status"] == "Rejected"


def migrate(found: Bench, priority: str = "2,1") -> None:
    """Give the station another CSMS and restart it."""
    assert found.ask("SetNetworkProfile", configurationSlot=2, connectionData=PROFILE)["status"] == "Accepted"
    assert found.set("OCPPCommCtrlr", "NetworkConfigurationPriority", priority) in ("Accepted", "RebootRequired")
    found.connects.clear()
    found.ask("Reset", type="OnIdle")


def test_tc_b_45_cs_migrate() -> None:
    found = Bench()
    assert found.set("OCPPCommCtrlr", "NetworkConfigurationPriority", "2,1") == "Rejected", "slot 2 is empty"
    migrate(found)
    assert [connect.url for connect in found.connects] == ["ws://other.example/ocpp"]
    found.expect("BootNotification", reason="RemoteReset")
    assert found.get("OCPPCommCtrlr", "ActiveNetworkProfile")["attributeValue"] == "2"


def test_tc_b_46_cs_migrate_falls_back() -> None:
    found = Bench(variables={"OCPPCommCtrlr.NetworkProfileConnectionAttempts": "3"})
    found.accepting = lambda connect: connect.slot == 1
    migrate(found)
    found.wait(60)
    assert [connect.slot for connect in found.connects] == [2, 2, 2, 1]
    found.expect("BootNotification", reason="RemoteReset")


def test_tc_b_49_cs_falls_back_to_what_worked() -> None:
    found = Bench(variables={"OCPPCommCtrlr.NetworkProfileConnectionAttempts": "2"})
    found.accepting = lambda connect: False
    migrate(found, "2")
    found.wait(120)
    slots = [connect.slot for connect in found.connects]
    assert slots[:3] == [2, 2, 1]
    assert set(slots[2:]) == {1}, "the last that worked (B10.FR.07)"
    found.accepting = lambda connect: True
    found.wait(120)
    found.expect("BootNotification", reason="RemoteReset")


def test_tc_b_51_cs_long_offline_tells_all_states() -> None:
    found = Bench(variables={"OCPPCommCtrlr.OfflineThreshold": "30"})
    found.drop()
    found.clear()
    found.plug(1)
    found.wait(40)
    found.back()
    found.expect("StatusNotification", evseId=1, connectorStatus="Occupied")
    found.expect("StatusNotification", evseId=2, connectorStatus="Available")


def test_tc_b_52_cs_short_offline_tells_what_changed() -> None:
    found = Bench(variables={"OCPPCommCtrlr.OfflineThreshold": "3000"})
    found.drop()
    found.clear()
    found.plug(1)
    found.plug(2)
    found.unplug(2)
    found.back()
    found.expect("StatusNotification", evseId=1, connectorStatus="Occupied")
    found.nothing("StatusNotification", evseId=2)
    found.nothing("BootNotification")


def test_tc_b_53_cs_mandatory_variables() -> None:
    found = Bench()
    found.ask("GetBaseReport", requestId=1, reportBase="FullInventory")
    mandatory = {
        "OCPPCommCtrlr.FileTransferProtocols", "OCPPCommCtrlr.MessageTimeout", "OCPPCommCtrlr.MessageAttempts",
        "OCPPCommCtrlr.MessageAttemptInterval", "OCPPCommCtrlr.NetworkConfigurationPriority",
        "OCPPCommCtrlr.NetworkProfileConnectionAttempts", "OCPPCommCtrlr.OfflineThreshold",
        "OCPPCommCtrlr.ResetRetries", "OCPPCommCtrlr.UnlockOnEVSideDisconnect", "SecurityCtrlr.CertificateEntries",
        "SecurityCtrlr.OrganizationName", "SecurityCtrlr.SecurityProfile", "AuthCtrlr.AuthorizeRemoteStart",
        "AuthCtrlr.LocalAuthorizeOffline", "AuthCtrlr.LocalPreAuthorize", "TxCtrlr.EVConnectionTimeOut",
        "TxCtrlr.StopTxOnEVSideDisconnect", "TxCtrlr.StopTxOnInvalidId", "TxCtrlr.TxStartPoint", "TxCtrlr.TxStopPoint",
        "SampledDataCtrlr.TxEndedInterval", "SampledDataCtrlr.TxEndedMeasurands", "SampledDataCtrlr.TxUpdatedInterval",
        "SampledDataCtrlr.TxStartedMeasurands", "SampledDataCtrlr.TxUpdatedMeasurands", "AlignedDataCtrlr.Interval",
        "AlignedDataCtrlr.Measurands", "AlignedDataCtrlr.TxEndedInterval", "AlignedDataCtrlr.TxEndedMeasurands",
        "ClockCtrlr.DateTime", "ClockCtrlr.TimeSource", "DeviceDataCtrlr.ItemsPerMessage",
        "DeviceDataCtrlr.BytesPerMessage", "ChargingStation.AvailabilityState", "ChargingStation.Available",
        "ChargingStation.SupplyPhases", "EVSE.AvailabilityState", "EVSE.Available", "EVSE.Power", "EVSE.SupplyPhases",
        "Connector.Available", "Connector.ConnectorType", "Connector.SupplyPhases",
    }  # fmt: skip
    assert mandatory <= names(found)


def test_tc_b_57_cs_reconnection_backs_off() -> None:
    variables = {
        "OCPPCommCtrlr.RetryBackOffWaitMinimum": "5",
        "OCPPCommCtrlr.RetryBackOffRandomRange": "0",
        "OCPPCommCtrlr.RetryBackOffRepeatTimes": "2",
    }
    found = Bench(variables=variables)
    moments: list[float] = []

    def refuse(_: Any) -> bool:
        moments.append(found.now)
        return False

    found.drop()
    found.accepting = refuse
    begin = found.now
    found.wait(70)
    assert [round(moment - begin) for moment in moments] == [5, 15, 35, 55]
    found.back()
    found.nothing("BootNotification", reason="RemoteReset")


def test_heartbeats_come_when_nothing_else_was_said() -> None:
    found = Bench(power=False)
    found.registration.append(("Accepted", 60))
    found.power_up()
    found.clear()
    found.wait(59)
    found.nothing("Heartbeat")
    found.plug()
    found.wait(30)
    found.nothing("Heartbeat")
    found.wait(31)
    found.expect("Heartbeat")


def test_too_many_variables_at_once_are_an_occurrence_violation() -> None:
    with pytest.raises(Refused) as refused:
        Bench().ask("GetVariables", getVariableData=[variable("OCPPCommCtrlr", "OfflineThreshold")] * 51)
    assert refused.value.code == "OccurrenceConstraintViolation"


@pytest.mark.parametrize("base", ["FullInventory", "ConfigurationInventory", "SummaryInventory"])
def test_every_report_is_valid_in_21(base: str) -> None:
    found = Bench("2.1", evses=(SOCKET, SOCKET, SOCKET))
    assert found.ask("GetBaseReport", requestId=1, reportBase=base)["status"] == "Accepted"
    assert reports(found)
