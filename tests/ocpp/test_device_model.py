"""The device model against the standard's own list of variables, and its reading and writing."""

import pytest

from tests.ocpp.official import VERSIONS
from v2g.ocpp.device_model import DeviceModel, station_variables
from v2g.ocpp.messages.base import EVSE
from v2g.ocpp.messages.device_model import Component, Variable
from v2g.ocpp.messages.provisioning import GetVariableData, SetVariableData
from v2g.ocpp.routes import Version
from v2g.ocpp.versions import write_payload

VARIABLES = station_variables(2, 150_000)

REQUIRED = [
    "OCPPCommCtrlr.FileTransferProtocols",
    "OCPPCommCtrlr.MessageAttempts[TransactionEvent]",
    "OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]",
    "OCPPCommCtrlr.MessageTimeout[Default]",
    "OCPPCommCtrlr.NetworkConfigurationPriority",
    "OCPPCommCtrlr.NetworkProfileConnectionAttempts",
    "OCPPCommCtrlr.OfflineThreshold",
    "OCPPCommCtrlr.ResetRetries",
    "OCPPCommCtrlr.UnlockOnEVSideDisconnect",
    "OCPPCommCtrlr.RetryBackOffRepeatTimes",
    "OCPPCommCtrlr.RetryBackOffRandomRange",
    "OCPPCommCtrlr.RetryBackOffWaitMinimum",
    "OCPPCommCtrlr.WebSocketPingInterval",
    "SecurityCtrlr.CertificateEntries",
    "SecurityCtrlr.OrganizationName",
    "SecurityCtrlr.SecurityProfile",
    "AuthCtrlr.AuthorizeRemoteStart",
    "AuthCtrlr.LocalAuthorizeOffline",
    "AuthCtrlr.LocalPreAuthorize",
    "TxCtrlr.EVConnectionTimeOut",
    "TxCtrlr.StopTxOnEVSideDisconnect",
    "TxCtrlr.StopTxOnInvalidId",
    "TxCtrlr.TxStartPoint",
    "TxCtrlr.TxStopPoint",
    "ChargingStation.AvailabilityState",
    "ChargingStation.Available",
    "ChargingStation.SupplyPhases",
    "EVSE#1.AvailabilityState",
    "EVSE#1.Available",
    "EVSE#1.Power",
    "EVSE#1.SupplyPhases",
    "Connector#1.1.Available",
    "Connector#1.1.ConnectorType",
    "Connector#1.1.SupplyPhases",
    "ClockCtrlr.DateTime",
    "ClockCtrlr.TimeSource",
    "DeviceDataCtrlr.BytesPerMessage[GetReport]",
    "DeviceDataCtrlr.BytesPerMessage[GetVariables]",
    "DeviceDataCtrlr.BytesPerMessage[SetVariables]",
    "DeviceDataCtrlr.ItemsPerMessage[GetReport]",
    "DeviceDataCtrlr.ItemsPerMessage[GetVariables]",
    "DeviceDataCtrlr.ItemsPerMessage[SetVariables]",
    "SampledDataCtrlr.TxEndedInterval",
    "SampledDataCtrlr.TxEndedMeasurands",
    "SampledDataCtrlr.TxStartedMeasurands",
    "SampledDataCtrlr.TxUpdatedInterval",
    "SampledDataCtrlr.TxUpdatedMeasurands",
    "AlignedDataCtrlr.Interval",
    "AlignedDataCtrlr.Measurands",
    "AlignedDataCtrlr.TxEndedInterval",
    "AlignedDataCtrlr.TxEndedMeasurands",
    "SmartChargingCtrlr.Entries[ChargingProfiles]",
    "SmartChargingCtrlr.LimitChangeSignificance",
    "SmartChargingCtrlr.PeriodsPerSchedule",
    "SmartChargingCtrlr.ProfileStackLevel",
    "SmartChargingCtrlr.RateUnit",
    "ISO15118Ctrlr.ContractValidationOffline",
]
"""Required variables of 2.0.1 for the functions that are here (part 2 appendices, components and variables)."""


def test_the_required_variables_are_there() -> None:
    assert set(REQUIRED) <= {variable.key for variable in VARIABLES}


def test_keys_are_unique() -> None:
    assert len({variable.key.lower() for variable in VARIABLES}) == len(VARIABLES)


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_reported_can_be_read_and_is_valid(version: Version) -> None:
    from v2g.ocpp.messages.provisioning import NotifyReportRequest

    model = DeviceModel(VARIABLES, version)
    report = model.report("FullInventory", {})
    request = NotifyReportRequest(request_id=1, generated_at="2026-01-01T00:00:00Z", seq_no=0, report_data=report)
    write_payload(request, version)
    for data in report:
        found = model.get(GetVariableData(component=data.component, variable=data.variable), {})
        assert found.attribute_status == "Accepted"
        assert (found.attribute_value or None) == data.variable_attribute[0].value
    v2x = [data for data in report if data.component.name == "V2XChargingCtrlr"]
    assert bool(v2x) == (version == "2.1")


def test_every_writable_default_can_be_written_and_no_read_only_one() -> None:
    model = DeviceModel(VARIABLES, "2.1")
    for variable in VARIABLES:
        wanted = SetVariableData(
            attribute_value=variable.default,
            component=Component(name=variable.component, evse=variable.evse),
            variable=Variable(name=variable.name, instance=variable.instance),
        )
        result, kept = model.set(wanted)
        if variable.mutability == "ReadOnly":
            assert (result.attribute_status, kept) == ("Rejected", None)
        else:
            assert (result.attribute_status, kept) == ("Accepted", (variable.key, variable.default))


@pytest.mark.parametrize(
    ("component", "name", "value", "status"),
    [
        ("OCPPCommCtrlr", "HeartbeatInterval", "0", "Rejected"),
        ("OCPPCommCtrlr", "HeartbeatInterval", "1.5", "Rejected"),
        ("OCPPCommCtrlr", "HeartbeatInterval", "", "Rejected"),
        ("OCPPCommCtrlr", "HeartbeatInterval", "99999999999", "Rejected"),
        ("OCPPCommCtrlr", "HeartbeatInterval", "٣", "Rejected"),
        ("ocppcommctrlr", "HEARTBEATINTERVAL", "30", "Accepted"),
        ("OCPPCommCtrlr", "RetryBackOffRepeatTimes", "17", "Rejected"),
        ("TxCtrlr", "StopTxOnInvalidId", "True", "Rejected"),
        ("TxCtrlr", "StopTxOnInvalidId", "false", "Accepted"),
        ("TxCtrlr", "Nothing", "1", "UnknownVariable"),
        ("NothingCtrlr", "Nothing", "1", "UnknownComponent"),
    ],
)
def test_a_write_is_judged(component: str, name: str, value: str, status: str) -> None:
    wanted = SetVariableData(attribute_value=value, component=Component(name=component), variable=Variable(name=name))
    assert DeviceModel(VARIABLES, "2.0.1").set(wanted)[0].attribute_status == status


def test_only_actual_values_exist() -> None:
    model = DeviceModel(VARIABLES, "2.0.1")
    wanted = GetVariableData(
        attribute_type="MaxSet", component=Component(name="EVSE", evse=EVSE(id=1)), variable=Variable(name="Power")
    )
    assert model.get(wanted, {}).attribute_status == "NotSupportedAttributeType"
    other = GetVariableData(component=Component(name="EVSE", evse=EVSE(id=9)), variable=Variable(name="Power"))
    assert model.get(other, {}).attribute_status == "UnknownComponent"
