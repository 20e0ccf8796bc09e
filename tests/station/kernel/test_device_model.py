"""The device model against the standard's own list of variables, and its reading and writing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ocpp.official import VERSIONS
from tests.together import together
from v2g.ocpp.messages.base import EVSE, Component
from v2g.ocpp.messages.base import Variable as Name
from v2g.ocpp.messages.provisioning import GetVariableData, GetVariablesResponse, NotifyReportRequest, SetVariableData
from v2g.ocpp.routes import Version
from v2g.ocpp.versions import write_payload
from v2g_station.kernel.device_model import DeviceModel, component_of
from v2g_station.kernel.layout import (
    PHYSICAL_COMPONENTS,
    ConnectorLayout,
    EvseLayout,
    StationLayout,
    Variable,
    catalog,
    generic,
    station_variables,
)

LAYOUT = StationLayout(
    evses=(EvseLayout(connectors=(ConnectorLayout(), ConnectorLayout(connector_type="cType2"))), EvseLayout())
)
VARIABLES = station_variables(LAYOUT)

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


def model(**more: object) -> DeviceModel:
    """A device model with nothing stored."""
    return DeviceModel(VARIABLES, **more)  # type: ignore[arg-type]


def read(found: DeviceModel, variable: Variable, version: Version = "2.1") -> str | None:
    """Read a variable as the CSMS does."""
    component = component_of(variable)
    name = Name(name=variable.name, instance=variable.instance)
    return found.get(GetVariableData(component=component, variable=name), version).attribute_value


def write(found: DeviceModel, variable: Variable, value: str) -> str:
    """Write a variable as the CSMS does."""
    component = component_of(variable)
    name = Name(name=variable.name, instance=variable.instance)
    wanted = SetVariableData(component=component, variable=name, attribute_value=value)
    return found.set(wanted, variable.only or "2.1").attribute_status


def test_the_required_variables_are_there() -> None:
    assert set(REQUIRED) <= {variable.key for variable in VARIABLES}


def test_the_catalog_knows_both_versions_whole() -> None:
    """As many as the standard's tables have, and some that its text adds."""
    old = [variable for variable in catalog() if variable.only in (None, "2.0.1")]
    assert len(old) >= 180
    assert len(catalog()) >= 350
    assert len(generic()) == 74
    assert len(PHYSICAL_COMPONENTS) >= 50
    assert {variable.component for variable in catalog()} >= {
        "AlignedDataCtrlr", "AuthCacheCtrlr", "AuthCtrlr", "CHAdeMOCtrlr", "ClockCtrlr", "CustomizationCtrlr",
        "DeviceDataCtrlr", "DisplayMessageCtrlr", "ISO15118Ctrlr", "LocalAuthListCtrlr", "MonitoringCtrlr",
        "OCPPCommCtrlr", "ReservationCtrlr", "SampledDataCtrlr", "SecurityCtrlr", "SmartChargingCtrlr",
        "TariffCostCtrlr", "TxCtrlr", "V2XChargingCtrlr", "DCDERCtrlr", "ACDERCtrlr", "BatterySwapCtrlr",
        "NetworkConfiguration", "PaymentCtrlr", "WebPaymentsCtrlr", "FrequencySimulator", "DataCollector",
    }  # fmt: skip


def test_a_layout_brings_its_own_hardware() -> None:
    layout = StationLayout(optional=("CustomizationCtrlr", "ElectricalFeed.ACVoltage", "TemperatureSensor.Temperature"))
    keys = {variable.key for variable in station_variables(layout)}
    assert {"ElectricalFeed.ACVoltage", "TemperatureSensor.Temperature"} <= keys
    assert any(key.startswith("CustomizationCtrlr") for key in keys)
    assert not any(key.startswith("PaymentCtrlr") for key in keys)


def test_keys_are_unique_and_every_place_has_its_own() -> None:
    keys = [variable.key for variable in VARIABLES]
    assert len(set(keys)) == len(keys)
    assert {"Connector#1.1.ConnectorType", "Connector#1.2.ConnectorType", "Connector#2.1.ConnectorType"} <= set(keys)
    assert model().text("Connector#1.2.ConnectorType") == "cType2"


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_reported_can_be_read_and_is_valid(version: Version) -> None:
    found = model()
    report = found.report("FullInventory", version)
    for data in report:
        request = NotifyReportRequest(request_id=1, generated_at="2026-01-01T00:00:00Z", report_data=(data,), seq_no=0)
        write_payload(request, version)
        result = found.get(GetVariableData(component=data.component, variable=data.variable), version)
        write_payload(GetVariablesResponse(get_variable_result=(result,)), version)
        readable = data.variable_attribute[0].mutability != "WriteOnly"
        assert result.attribute_status == ("Accepted" if readable else "Rejected")
        assert result.attribute_value == data.variable_attribute[0].value
    assert len(report) > 150


def test_what_only_the_other_version_knows_is_unknown() -> None:
    component, name = Component(name="V2XChargingCtrlr"), Name(name="Enabled")
    wanted = GetVariableData(component=component, variable=name)
    assert model().get(wanted, "2.0.1").attribute_status == "UnknownComponent"
    assert model().get(wanted, "2.1").attribute_status == "Accepted"


def test_every_writable_default_can_be_written_and_no_read_only_one() -> None:
    found = model()
    for variable in VARIABLES:
        if variable.mutability == "ReadOnly":
            assert write(found, variable, variable.default) == "Rejected", variable.key
        elif variable.default:
            assert write(found, variable, variable.default) == "Accepted", variable.key


def test_what_is_set_is_kept_and_reported() -> None:
    kept: dict[str, str] = {}
    received: list[tuple[str, str, str]] = []
    found = DeviceModel(
        VARIABLES,
        keep=lambda key, value: kept.update({key: value}),
        changed=lambda variable, old, new: received.append((variable.key, old, new)),
    )
    found.after["ocppcommctrlr.offlinethreshold"] = lambda value: received.append(("after", "", value))
    variable = next(v for v in VARIABLES if v.key == "OCPPCommCtrlr.OfflineThreshold")
    assert write(found, variable, "61") == "Accepted"
    assert kept == {"OCPPCommCtrlr.OfflineThreshold": "61"}
    assert received == [("OCPPCommCtrlr.OfflineThreshold", "60", "61"), ("after", "", "61")]
    again = DeviceModel(VARIABLES, kept)
    assert read(again, variable) == "61"


@together(
    ("component", "name", "value", "status"),
    [
        ("ocppcommctrlr", "OFFLINETHRESHOLD", "5", "Accepted"),
        ("OCPPCommCtrlr", "OfflineThreshold", "-1", "Rejected"),
        ("OCPPCommCtrlr", "OfflineThreshold", "1e3", "Rejected"),
        ("OCPPCommCtrlr", "OfflineThreshold", "\u0661", "Rejected"),
        ("OCPPCommCtrlr", "Nothing", "5", "UnknownVariable"),
        ("Nothing", "OfflineThreshold", "5", "UnknownComponent"),
        ("SmartChargingCtrlr", "LimitChangeSignificance", "2.5", "Accepted"),
        ("SmartChargingCtrlr", "LimitChangeSignificance", "2.", "Rejected"),
        ("SampledDataCtrlr", "TxUpdatedMeasurands", "SoC,Voltage", "Accepted"),
        ("SampledDataCtrlr", "TxUpdatedMeasurands", "SoC,Colour", "Rejected"),
        ("SampledDataCtrlr", "TxUpdatedMeasurands", "", "Accepted"),
        ("ClockCtrlr", "NextTimeOffsetTransitionDateTime", "2026-10-25T01:00:00Z", "Accepted"),
        ("SecurityCtrlr", "BasicAuthPassword", "x" * 65, "Rejected"),
        ("SecurityCtrlr", "BasicAuthPassword", "x" * 64, "Accepted"),
    ],
)
def test_a_write_is_judged(component: str, name: str, value: str, status: str) -> None:
    wanted = SetVariableData(component=Component(name=component), variable=Name(name=name), attribute_value=value)
    assert model().set(wanted, "2.1").attribute_status == status


@given(st.text(max_size=30))
def test_whatever_text_is_written_the_model_stays_readable(value: str) -> None:
    found = model()
    for variable in VARIABLES:
        if variable.data_type in ("integer", "decimal") and variable.mutability == "ReadWrite":
            if write(found, variable, value) == "Accepted":
                found.number(variable.key)
            break


def test_other_attributes_than_actual_are_told_apart() -> None:
    place = EVSE(id=1)
    layout = StationLayout(optional=("ConnectedEV",))
    found = DeviceModel(station_variables(layout))
    component, name = Component(name="ConnectedEV", evse=place), Name(name="EnergyImport")
    wanted = GetVariableData(component=component, variable=name, attribute_type="Target")
    assert found.get(wanted, "2.1").attribute_value == ""  # B06.FR.13
    wanted = GetVariableData(
        component=Component(name="ClockCtrlr"), variable=Name(name="DateTime"), attribute_type="Target"
    )
    assert found.get(wanted, "2.1").attribute_status == "NotSupportedAttributeType"
