"""Provisioning: boot, variables, reports, reset (functional block B)."""

from typing import Annotated, Literal

from msgspec import Meta

from v2g.ocpp.messages.base import (
    V21,
    Component,
    Datatype,
    DateTime,
    Decimal,
    Identifier,
    Integer,
    Message,
    NonNegative,
    OneOrMore,
    Positive,
    StatusInfo,
    String16,
    String20,
    String25,
    String50,
    String1000,
    String2500,
    Variable,
    since_21,
    text,
)

BootReason = Literal[
    "ApplicationReset",
    "FirmwareUpdate",
    "LocalReset",
    "PowerUp",
    "RemoteReset",
    "ScheduledReset",
    "Triggered",
    "Unknown",
    "Watchdog",
]


class Modem(Datatype, frozen=True, kw_only=True):
    """The station's SIM and modem."""

    iccid: String20 | None = None
    imsi: String20 | None = None


class ChargingStation(Datatype, frozen=True, kw_only=True):
    """Identification of the station."""

    serial_number: String25 | None = None
    model: String20
    modem: Modem | None = None
    vendor_name: String50
    firmware_version: String50 | None = None


class BootNotificationRequest(Message, frozen=True, kw_only=True):
    """Station reports its start (B01). It is first on the first connection after a boot."""

    charging_station: ChargingStation
    reason: BootReason


RegistrationStatus = Literal["Accepted", "Pending", "Rejected"]


class BootNotificationResponse(Message, frozen=True, kw_only=True):
    """`interval` (s) is the heartbeat interval when accepted, else the wait before the next try (B02, B03)."""

    current_time: DateTime
    interval: Integer
    status: RegistrationStatus
    status_info: StatusInfo | None = None


AttributeType = Literal["Actual", "Target", "MinSet", "MaxSet"]


class SetVariableData(Datatype, frozen=True, kw_only=True):
    """One variable to write."""

    attribute_type: AttributeType | None = None
    attribute_value: Annotated[str, text(2500, v201=1000)]
    component: Component
    variable: Variable


class SetVariablesRequest(Message, frozen=True, kw_only=True):
    """CSMS writes variables (B05)."""

    set_variable_data: OneOrMore[SetVariableData]


SetVariableStatus = Literal[
    "Accepted", "Rejected", "UnknownComponent", "UnknownVariable", "NotSupportedAttributeType", "RebootRequired"
]


class SetVariableResult(Datatype, frozen=True, kw_only=True):
    """Result of writing one variable."""

    attribute_type: AttributeType | None = None
    attribute_status: SetVariableStatus
    attribute_status_info: StatusInfo | None = None
    component: Component
    variable: Variable


class SetVariablesResponse(Message, frozen=True, kw_only=True):
    """Answer to SetVariables."""

    set_variable_result: OneOrMore[SetVariableResult]


class GetVariableData(Datatype, frozen=True, kw_only=True):
    """One variable to read."""

    attribute_type: AttributeType | None = None
    component: Component
    variable: Variable


class GetVariablesRequest(Message, frozen=True, kw_only=True):
    """CSMS reads variables (B06)."""

    get_variable_data: OneOrMore[GetVariableData]


GetVariableStatus = Literal["Accepted", "Rejected", "UnknownComponent", "UnknownVariable", "NotSupportedAttributeType"]


class GetVariableResult(Datatype, frozen=True, kw_only=True):
    """One variable read."""

    attribute_status: GetVariableStatus
    attribute_status_info: StatusInfo | None = None
    attribute_type: AttributeType | None = None
    attribute_value: String2500 | None = None
    component: Component
    variable: Variable


class GetVariablesResponse(Message, frozen=True, kw_only=True):
    """Answer to GetVariables."""

    get_variable_result: OneOrMore[GetVariableResult]


ReportBase = Literal["ConfigurationInventory", "FullInventory", "SummaryInventory"]


class GetBaseReportRequest(Message, frozen=True, kw_only=True):
    """CSMS requests a report of the device model, sent as NotifyReport (B07)."""

    request_id: Identifier
    report_base: ReportBase


GenericDeviceModelStatus = Literal["Accepted", "Rejected", "NotSupported", "EmptyResultSet"]


class GetBaseReportResponse(Message, frozen=True, kw_only=True):
    """Answer to GetBaseReport."""

    status: GenericDeviceModelStatus
    status_info: StatusInfo | None = None


ComponentCriterion = Literal["Active", "Available", "Enabled", "Problem"]


class ComponentVariable(Datatype, frozen=True, kw_only=True):
    """A component, or one variable of it."""

    component: Component
    variable: Variable | None = None


class GetReportRequest(Message, frozen=True, kw_only=True):
    """CSMS requests a report of chosen components, sent as NotifyReport (B08)."""

    component_variable: OneOrMore[ComponentVariable] = ()
    request_id: Identifier
    component_criteria: Annotated[OneOrMore[ComponentCriterion], Meta(max_length=4)] = ()


class GetReportResponse(Message, frozen=True, kw_only=True):
    """Answer to GetReport."""

    status: GenericDeviceModelStatus
    status_info: StatusInfo | None = None


Mutability = Literal["ReadOnly", "WriteOnly", "ReadWrite"]


class VariableAttribute(Datatype, frozen=True, kw_only=True):
    """One attribute of a variable: value and mutability."""

    type: AttributeType | None = None
    value: String2500 | None = None
    mutability: Mutability | None = None
    persistent: bool = False
    constant: bool = False


DataType = Literal["string", "decimal", "integer", "dateTime", "boolean", "OptionList", "SequenceList", "MemberList"]


class VariableCharacteristics(Datatype, frozen=True, kw_only=True):
    """Type, unit and range of a variable."""

    unit: String16 | None = None
    data_type: DataType
    min_limit: Decimal | None = None
    max_limit: Decimal | None = None
    max_elements: Annotated[Positive | None, V21] = None
    values_list: String1000 | None = None
    supports_monitoring: bool


class ReportData(Datatype, frozen=True, kw_only=True):
    """One variable in a report."""

    component: Component
    variable: Variable
    variable_attribute: Annotated[OneOrMore[VariableAttribute], Meta(max_length=4)]
    variable_characteristics: VariableCharacteristics | None = None


class NotifyReportRequest(Message, frozen=True, kw_only=True):
    """Station sends a part of a report; `tbc` when more follows (B07, B08)."""

    request_id: Identifier
    generated_at: DateTime
    report_data: OneOrMore[ReportData] = ()
    tbc: bool = False
    seq_no: NonNegative


class NotifyReportResponse(Message, frozen=True, kw_only=True):
    """Answer to NotifyReport."""


ResetType = Annotated[Literal["Immediate", "OnIdle", "ImmediateAndResume"], since_21("ImmediateAndResume")]


class ResetRequest(Message, frozen=True, kw_only=True):
    """CSMS restarts the station, or one EVSE (B11, B12)."""

    type: ResetType
    evse_id: NonNegative | None = None


ResetStatus = Literal["Accepted", "Rejected", "Scheduled"]


class ResetResponse(Message, frozen=True, kw_only=True):
    """Answer to Reset."""

    status: ResetStatus
    status_info: StatusInfo | None = None
