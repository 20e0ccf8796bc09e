"""Functional block B, provisioning, of our station, beyond the cases of the test lab."""

from typing import Any

import pytest

from tests.station.bench import SOCKET, Bench, Refused
from tests.station.charging import charging
from tests.station.reports import reports
from tests.together import together
from v2g.ocpp.routes import Version
from v2g_station.blocks.evse import Restart


def variable(component: str, name: str, value: str | None = None, **more: Any) -> dict[str, Any]:
    """A variable to read, or to write."""
    found: dict[str, Any] = {"component": {"name": component}, "variable": {"name": name}} | more
    return found if value is None else found | {"attributeValue": value}


def names(found: Bench, request_id: int = 1) -> set[str]:
    """What was reported, as `Component.Variable`."""
    return {f"{item['component']['name']}.{item['variable']['name']}" for item in reports(found, request_id)}


def test_a_boot_interval_of_zero_leaves_the_wait_to_the_station() -> None:
    found = Bench(power=False)
    found.registration.extend([("Pending", 0), ("Accepted", 600)])
    found.power_up()
    found.wait(29)
    assert len(found.log) == 1
    found.wait(2)
    assert len(found.all("BootNotification")) == 2


def test_set_one_variable() -> None:
    found = Bench()
    assert found.set("OCPPCommCtrlr", "OfflineThreshold", "123") == "Accepted"
    assert found.get("OCPPCommCtrlr", "OfflineThreshold")["attributeValue"] == "123"
    found.power_loss()
    assert found.get("OCPPCommCtrlr", "OfflineThreshold")["attributeValue"] == "123"


@together(
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
def test_set_what_is_no_value(component: str, name: str, value: str) -> None:
    assert Bench().set(component, name, value) == "Rejected"


def test_summary_inventory() -> None:
    found = Bench()
    found.ask("GetBaseReport", requestId=1, reportBase="SummaryInventory")
    assert {"ChargingStation.AvailabilityState", "EVSE.AvailabilityState", "Connector.AvailabilityState"} <= names(
        found
    )
    assert {name.split(".")[1] for name in names(found)} == {"AvailabilityState", "Problem"}


def test_report_by_criteria() -> None:
    found = Bench()
    assert found.ask("GetReport", requestId=1, componentCriteria=["Available"])["status"] == "Accepted"
    assert "AuthCacheCtrlr.Enabled" in names(found)
    assert found.ask("GetReport", requestId=2, componentCriteria=["Problem"])["status"] == "EmptyResultSet"
    assert found.set("LocalAuthListCtrlr", "Enabled", "false") == "Accepted"
    found.ask("GetReport", requestId=3, componentCriteria=["Enabled"])
    assert "LocalAuthListCtrlr.Entries" not in names(found, 3)


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


def test_reset_evse() -> None:
    found = Bench()
    assert found.ask("Reset", type="OnIdle", evseId=1)["status"] == "Accepted"
    assert Restart(evse_id=1) in found.commands
    assert found.restarts == 0


def test_reset_evse_on_idle() -> None:
    found = charging(stop="Authorized")
    assert found.ask("Reset", type="OnIdle", evseId=1)["status"] == "Scheduled"
    assert Restart(evse_id=1) not in found.commands
    found.present()
    assert Restart(evse_id=1) in found.commands


def test_each_evse_whose_reset_is_scheduled_restarts() -> None:
    found = charging(evses=(SOCKET, SOCKET), stop="Authorized")
    found.plug(2)
    found.present(evse_id=2)
    for evse_id in (1, 2):
        assert found.ask("Reset", type="OnIdle", evseId=evse_id)["status"] == "Scheduled"
    found.present(evse_id=2)
    assert [each for each in found.commands if isinstance(each, Restart)] == [Restart(evse_id=2)]
    found.present()
    assert [each for each in found.commands if isinstance(each, Restart)] == [Restart(evse_id=2), Restart(evse_id=1)]


def test_a_station_that_is_to_restart_when_it_is_idle_takes_no_new_driver() -> None:
    """B12.FR.07: EVSEs without a transaction become Unavailable."""
    found = charging(evses=(SOCKET, SOCKET), stop="Authorized")
    assert found.ask("Reset", type="OnIdle")["status"] == "Scheduled"
    found.wait(1)
    found.expect("StatusNotification", evseId=2, connectorStatus="Unavailable")
    found.present()
    assert found.restarts == 1


def test_reset_evse_immediate() -> None:
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


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_a_long_value_that_is_refused_leaves_its_request_an_answer(version: Version) -> None:
    found = Bench(version)
    assert found.set("ClockCtrlr", "TimeOffset", "x" * 1000) == "Rejected"
    assert found.set("ClockCtrlr", "TimeZone", "x" * 1000) == "Rejected"


@pytest.mark.parametrize("sleeps", [True, False])
def test_features_of_smart_charging_are_reported_by_both_names_of_the_standard(*, sleeps: bool) -> None:
    """Part 2 has instances of SupportsFeature, its appendices have a variable for each."""
    found = Bench("2.1", able=frozenset({"reset", *(["sleep"] if sleeps else [])}))
    names = ("DynamicProfiles", "MaxOfflineDuration", "UseLocalTime", "RandomizedDelay", "LimitAtSoC", "EvseSleep")
    for name in names:
        known = str(sleeps or name != "EvseSleep").lower()
        for variable in ({"name": f"Supports{name}"}, {"name": "SupportsFeature", "instance": name}):
            read = {"component": {"name": "SmartChargingCtrlr"}, "variable": variable}
            (result,) = found.ask("GetVariables", getVariableData=[read])["getVariableResult"]
            assert result["attributeValue"] == known


def test_the_active_network_profile_is_the_number_of_a_slot() -> None:
    """B10, as corrected by the errata: an integer."""
    found = Bench()
    found.ask("GetReport", requestId=1, componentVariable=[
        {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "ActiveNetworkProfile"}},
    ])  # fmt: skip
    found.wait(1)
    (data,) = found.expect("NotifyReport")["reportData"]
    assert data["variableCharacteristics"]["dataType"] == "integer"
    assert data["variableAttribute"][0]["value"] == "1"
