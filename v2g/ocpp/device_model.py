"""The device model of a charging station: which variables it has, and how they are read, written and reported.

Pure: values live in a mapping from a variable's key (`OCPPCommCtrlr.HeartbeatInterval`, `EVSE#1.AvailabilityState`)
to its text, which the caller keeps and stores (B05 to B07).
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from v2g.ocpp.messages.base import EVSE
from v2g.ocpp.messages.device_model import Component
from v2g.ocpp.messages.device_model import Variable as VariableName
from v2g.ocpp.messages.provisioning import (
    DataType,
    GetVariableData,
    GetVariableResult,
    GetVariableStatus,
    Mutability,
    ReportBase,
    ReportData,
    SetVariableData,
    SetVariableResult,
    SetVariableStatus,
    VariableAttribute,
    VariableCharacteristics,
)
from v2g.ocpp.routes import Version

Values = Mapping[str, str]

ITEMS_PER_MESSAGE: Final = 50
BYTES_PER_MESSAGE: Final = 65_536
MEASURANDS: Final = (
    "Energy.Active.Import.Register,Energy.Active.Export.Register,Power.Active.Import,Power.Active.Export,SoC"
)


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """One variable. `default` is its text until written; `values` the choices of a list; `low` a number's minimum."""

    component: str
    name: str
    instance: str | None = None
    evse: EVSE | None = None
    data_type: DataType = "string"
    mutability: Mutability = "ReadOnly"
    default: str = ""
    unit: str | None = None
    values: str | None = None
    low: int | None = None
    high: int | None = None
    only_21: bool = False

    @property
    def key(self) -> str:
        """The name under which its value is kept."""
        place = ""
        if self.evse is not None:
            place = f"#{self.evse.id}" + (f".{self.evse.connector_id}" if self.evse.connector_id is not None else "")
        return f"{self.component}{place}.{self.name}" + (f"[{self.instance}]" if self.instance else "")


def _number(
    component: str,
    name: str,
    default: int,
    *,
    instance: str | None = None,
    unit: str | None = None,
    low: int = 0,
    high: int | None = None,
    writable: bool = True,
) -> Variable:
    return Variable(
        component=component, name=name, instance=instance, data_type="integer", default=str(default), unit=unit,
        low=low, high=high, mutability="ReadWrite" if writable else "ReadOnly",
    )  # fmt: skip


def _flag(component: str, name: str, default: Literal["true", "false"], *, writable: bool = False) -> Variable:
    mutability: Mutability = "ReadWrite" if writable else "ReadOnly"
    return Variable(component=component, name=name, data_type="boolean", default=default, mutability=mutability)


def _choice(
    component: str, name: str, default: str, values: str, *, writable: bool = False, data_type: DataType = "OptionList"
) -> Variable:
    return Variable(
        component=component, name=name, data_type=data_type, default=default, values=values,
        mutability="ReadWrite" if writable else "ReadOnly",
    )  # fmt: skip


_COMMUNICATION = (
    _number("OCPPCommCtrlr", "HeartbeatInterval", 300, unit="s", low=1),
    _number("OCPPCommCtrlr", "OfflineThreshold", 60, unit="s"),
    _number("OCPPCommCtrlr", "MessageTimeout", 30, instance="Default", unit="s", writable=False),
    _number("OCPPCommCtrlr", "MessageAttempts", 5, instance="TransactionEvent", low=1, high=100),
    _number("OCPPCommCtrlr", "MessageAttemptInterval", 10, instance="TransactionEvent", unit="s", high=86_400),
    _number("OCPPCommCtrlr", "RetryBackOffRepeatTimes", 5, high=16),
    _number("OCPPCommCtrlr", "RetryBackOffRandomRange", 2, unit="s", high=3600),
    _number("OCPPCommCtrlr", "RetryBackOffWaitMinimum", 1, unit="s", high=3600),
    _number("OCPPCommCtrlr", "WebSocketPingInterval", 20, unit="s", high=3600, writable=False),
    _number("OCPPCommCtrlr", "NetworkProfileConnectionAttempts", 3, low=1, writable=False),
    _number("OCPPCommCtrlr", "ResetRetries", 0, writable=False),
    _flag("OCPPCommCtrlr", "UnlockOnEVSideDisconnect", "true"),
    Variable(component="OCPPCommCtrlr", name="NetworkConfigurationPriority", data_type="SequenceList", default="1"),
    Variable(component="OCPPCommCtrlr", name="FileTransferProtocols", data_type="MemberList"),
    _number("SecurityCtrlr", "SecurityProfile", 3, low=1, high=3, writable=False),
    Variable(component="SecurityCtrlr", name="Identity"),
    Variable(component="SecurityCtrlr", name="OrganizationName"),
    _number("SecurityCtrlr", "CertificateEntries", 1, writable=False),
    *(
        _number("DeviceDataCtrlr", name, value, instance=instance, writable=False, low=1)
        for name, value in (("ItemsPerMessage", ITEMS_PER_MESSAGE), ("BytesPerMessage", BYTES_PER_MESSAGE))
        for instance in ("GetReport", "GetVariables", "SetVariables")
    ),
    Variable(component="ClockCtrlr", name="DateTime", data_type="dateTime"),
    _choice("ClockCtrlr", "TimeSource", "RealTimeClock", "RealTimeClock", data_type="SequenceList"),
)

_CHARGING = (
    _flag("AuthCtrlr", "AuthorizeRemoteStart", "true"),
    _flag("AuthCtrlr", "LocalAuthorizeOffline", "false"),
    _flag("AuthCtrlr", "LocalPreAuthorize", "false"),
    _flag("AuthCtrlr", "OfflineTxForUnknownIdEnabled", "false", writable=True),
    _choice("TxCtrlr", "TxStartPoint", "PowerPathClosed", "PowerPathClosed", data_type="MemberList"),
    _choice("TxCtrlr", "TxStopPoint", "PowerPathClosed", "PowerPathClosed", data_type="MemberList"),
    _flag("TxCtrlr", "StopTxOnInvalidId", "true", writable=True),
    _flag("TxCtrlr", "StopTxOnEVSideDisconnect", "true"),
    _number("TxCtrlr", "EVConnectionTimeOut", 120, unit="s", writable=False),
    *(
        _choice("SampledDataCtrlr", name, MEASURANDS, MEASURANDS, data_type="MemberList")
        for name in ("TxStartedMeasurands", "TxUpdatedMeasurands", "TxEndedMeasurands")
    ),
    _number("SampledDataCtrlr", "TxUpdatedInterval", 60, unit="s"),
    _number("SampledDataCtrlr", "TxEndedInterval", 0, unit="s", writable=False),
    _flag("SampledDataCtrlr", "SignReadings", "true"),
    _number("AlignedDataCtrlr", "Interval", 0, unit="s", writable=False),
    _number("AlignedDataCtrlr", "TxEndedInterval", 0, unit="s", writable=False),
    Variable(component="AlignedDataCtrlr", name="Measurands", data_type="MemberList"),
    Variable(component="AlignedDataCtrlr", name="TxEndedMeasurands", data_type="MemberList"),
    _flag("SmartChargingCtrlr", "Enabled", "true"),
    _number("SmartChargingCtrlr", "ProfileStackLevel", 99, writable=False),
    _number("SmartChargingCtrlr", "PeriodsPerSchedule", 1024, writable=False),
    _number("SmartChargingCtrlr", "Entries", 0, instance="ChargingProfiles", high=100, writable=False),
    _choice("SmartChargingCtrlr", "RateUnit", "W", "W", data_type="MemberList"),
    _number("SmartChargingCtrlr", "LimitChangeSignificance", 0, unit="Percent", writable=False),
    _flag("ISO15118Ctrlr", "Enabled", "true"),
    _flag("ISO15118Ctrlr", "PnCEnabled", "true"),
    _flag("ISO15118Ctrlr", "CentralContractValidationAllowed", "true"),
    _flag("ISO15118Ctrlr", "ContractValidationOffline", "false", writable=True),
    Variable(component="FiscalMetering", name="PublicKey"),
    Variable(component="V2XChargingCtrlr", name="Enabled", data_type="boolean", default="true", only_21=True),
    Variable(
        component="V2XChargingCtrlr",
        name="SupportedOperationModes",
        data_type="MemberList",
        default="Idle,ChargingOnly,CentralSetpoint,CentralFrequency,ExternalSetpoint,ExternalLimits",
        only_21=True,
    ),
    Variable(component="ChargingStation", name="Model"),
    Variable(component="ChargingStation", name="VendorName"),
    Variable(component="ChargingStation", name="AvailabilityState", data_type="OptionList"),
    _flag("ChargingStation", "Available", "true"),
    _number("ChargingStation", "SupplyPhases", 3, writable=False),
)


def station_variables(evses: int, max_power_w: int) -> tuple[Variable, ...]:
    """Return all variables of a DC station whose EVSEs 1..`evses` have one connector each."""
    places: list[Variable] = []
    for number in range(1, evses + 1):
        for component, evse in (("EVSE", EVSE(id=number)), ("Connector", EVSE(id=number, connector_id=1))):
            places += [
                Variable(component=component, evse=evse, name="AvailabilityState", data_type="OptionList"),
                Variable(component=component, evse=evse, name="Available", data_type="boolean", default="true"),
                Variable(component=component, evse=evse, name="SupplyPhases", data_type="integer", default="0"),
            ]
        power = Variable(component="EVSE", evse=EVSE(id=number), name="Power", data_type="decimal", unit="W",
                         high=max_power_w, default="0")  # fmt: skip
        kind = Variable(
            component="Connector", evse=EVSE(id=number, connector_id=1), name="ConnectorType", default="cCCS2"
        )
        places += [power, kind]
    return (*_COMMUNICATION, *_CHARGING, *places)


class DeviceModel:
    """The variables of a station. Holds no values."""

    def __init__(self, variables: Iterable[Variable], version: Version) -> None:
        self._variables = {v.key.lower(): v for v in variables if version == "2.1" or not v.only_21}

    def get(self, wanted: GetVariableData, values: Values) -> GetVariableResult:
        """Read one variable (B06)."""
        found = self._find(wanted.component, wanted.variable)
        attribute = wanted.attribute_type or "Actual"
        status: GetVariableStatus = "Accepted"
        value: str | None = None
        if isinstance(found, str):
            status = "UnknownComponent" if found == "component" else "UnknownVariable"
        elif attribute != "Actual":
            status = "NotSupportedAttributeType"
        elif found.mutability == "WriteOnly":
            status = "Rejected"
        else:
            value = values.get(found.key, found.default)[:2500]
        return GetVariableResult(
            attribute_status=status,
            attribute_type=wanted.attribute_type,
            attribute_value=value,
            component=wanted.component,
            variable=wanted.variable,
        )

    def set(self, wanted: SetVariableData) -> tuple[SetVariableResult, tuple[str, str] | None]:
        """Judge one write; return its result, and the key and value to keep when it is accepted (B05)."""
        found = self._find(wanted.component, wanted.variable)
        status: SetVariableStatus = "Accepted"
        if isinstance(found, str):
            status = "UnknownComponent" if found == "component" else "UnknownVariable"
        elif (wanted.attribute_type or "Actual") != "Actual":
            status = "NotSupportedAttributeType"
        elif found.mutability == "ReadOnly" or not _acceptable(found, wanted.attribute_value):
            status = "Rejected"
        result = SetVariableResult(
            attribute_status=status,
            attribute_type=wanted.attribute_type,
            component=wanted.component,
            variable=wanted.variable,
        )
        if status != "Accepted" or isinstance(found, str):
            return result, None
        return result, (found.key, wanted.attribute_value)

    def report(self, base: ReportBase, values: Values) -> tuple[ReportData, ...]:
        """Return the report of a base: everything, or what can be configured, or what tells of availability (B07)."""
        chosen: Iterable[Variable] = self._variables.values()
        if base == "ConfigurationInventory":
            chosen = [v for v in chosen if v.mutability != "ReadOnly"]
        elif base == "SummaryInventory":
            chosen = [v for v in chosen if v.name in ("AvailabilityState", "Problem")]
        return tuple(_report(variable, values.get(variable.key, variable.default)) for variable in chosen)

    def select(self, wanted: Iterable[tuple[Component, VariableName | None]], values: Values) -> tuple[ReportData, ...]:
        """Return the report of named components, each with one variable or all (B08)."""
        return tuple(
            _report(variable, values.get(variable.key, variable.default))
            for variable in self._variables.values()
            if any(_is_meant(variable, component, name) for component, name in wanted)
        )

    def _find(self, component: Component, name: VariableName) -> Variable | str:
        """Return a variable, or which part of its name is unknown. Names are case-insensitive."""
        probe = Variable(component=component.name, name=name.name, instance=name.instance, evse=component.evse)
        found = self._variables.get(probe.key.lower())
        if found is not None and component.instance is None:
            return found
        known = any(_is_meant(v, component, None) for v in self._variables.values())
        return "variable" if known else "component"


def _is_meant(variable: Variable, component: Component, name: VariableName | None) -> bool:
    if component.instance is not None or variable.component.lower() != component.name.lower():
        return False
    if component.evse is not None and component.evse != variable.evse:
        return False
    if name is None:
        return True
    return variable.name.lower() == name.name.lower() and name.instance in (None, variable.instance)


def _acceptable(variable: Variable, value: str) -> bool:
    match variable.data_type:
        case "integer":
            if not value.isascii() or not value.removeprefix("-").isdecimal() or len(value) > 10:
                return False
            number = int(value)
            return (variable.low is None or number >= variable.low) and (
                variable.high is None or number <= variable.high
            )
        case "boolean":
            return value in ("true", "false")
        case "OptionList":
            return value in (variable.values or "").split(",")
        case "MemberList" | "SequenceList":
            return set(value.split(",")) <= {"", *(variable.values or "").split(",")}
    return True


def _report(variable: Variable, value: str) -> ReportData:
    return ReportData(
        component=Component(name=variable.component, evse=variable.evse),
        variable=VariableName(name=variable.name, instance=variable.instance),
        variable_attribute=(
            VariableAttribute(
                type="Actual", value=value[:2500] or None, mutability=variable.mutability, persistent=True
            ),
        ),
        variable_characteristics=VariableCharacteristics(
            unit=variable.unit,
            data_type=variable.data_type,
            min_limit=variable.low,
            max_limit=variable.high,
            values_list=variable.values,
            supports_monitoring=False,
        ),
    )
