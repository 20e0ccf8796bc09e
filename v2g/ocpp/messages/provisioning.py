"""Provisioning: boot, variables, reports, reset (functional block B)."""

from typing import Annotated, Literal

from msgspec import Meta

from v2g.ocpp.messages import base

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


class Modem(base.Datatype, frozen=True, kw_only=True):
    """The station's SIM and modem."""

    iccid: base.String20 | None = None
    imsi: base.String20 | None = None


class ChargingStation(base.Datatype, frozen=True, kw_only=True):
    """Identification of the station."""

    serial_number: base.String25 | None = None
    model: base.String20
    modem: Modem | None = None
    vendor_name: base.String50
    firmware_version: base.String50 | None = None


class BootNotificationRequest(base.Message, frozen=True, kw_only=True):
    """Station reports its start (B01). It is first on the first connection after a boot."""

    charging_station: ChargingStation
    reason: BootReason


RegistrationStatus = Literal["Accepted", "Pending", "Rejected"]


class BootNotificationResponse(base.Message, frozen=True, kw_only=True):
    """`interval` (s) is the heartbeat interval when accepted, else the wait before the next try (B02, B03)."""

    current_time: base.DateTime
    interval: base.Integer
    status: RegistrationStatus
    status_info: base.StatusInfo | None = None


AttributeType = Literal["Actual", "Target", "MinSet", "MaxSet"]


class SetVariableData(base.Datatype, frozen=True, kw_only=True):
    """One variable to write."""

    attribute_type: AttributeType | None = None
    attribute_value: Annotated[str, base.text(2500, v201=1000)]
    component: base.Component
    variable: base.Variable


class SetVariablesRequest(base.Message, frozen=True, kw_only=True):
    """CSMS writes variables (B05)."""

    set_variable_data: base.OneOrMore[SetVariableData]


SetVariableStatus = Literal[
    "Accepted", "Rejected", "UnknownComponent", "UnknownVariable", "NotSupportedAttributeType", "RebootRequired"
]


class SetVariableResult(base.Datatype, frozen=True, kw_only=True):
    """Result of writing one variable."""

    attribute_type: AttributeType | None = None
    attribute_status: SetVariableStatus
    attribute_status_info: base.StatusInfo | None = None
    component: base.Component
    variable: base.Variable


class SetVariablesResponse(base.Message, frozen=True, kw_only=True):
    """Answer to SetVariables."""

    set_variable_result: base.OneOrMore[SetVariableResult]


class GetVariableData(base.Datatype, frozen=True, kw_only=True):
    """One variable to read."""

    attribute_type: AttributeType | None = None
    component: base.Component
    variable: base.Variable


class GetVariablesRequest(base.Message, frozen=True, kw_only=True):
    """CSMS reads variables (B06)."""

    get_variable_data: base.OneOrMore[GetVariableData]


GetVariableStatus = Literal["Accepted", "Rejected", "UnknownComponent", "UnknownVariable", "NotSupportedAttributeType"]


class GetVariableResult(base.Datatype, frozen=True, kw_only=True):
    """One variable read."""

    attribute_status: GetVariableStatus
    attribute_status_info: base.StatusInfo | None = None
    attribute_type: AttributeType | None = None
    attribute_value: base.String2500 | None = None
    component: base.Component
    variable: base.Variable


class GetVariablesResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetVariables."""

    get_variable_result: base.OneOrMore[GetVariableResult]


ReportBase = Literal["ConfigurationInventory", "FullInventory", "SummaryInventory"]


class GetBaseReportRequest(base.Message, frozen=True, kw_only=True):
    """CSMS requests a report of the device model, sent as NotifyReport (B07)."""

    request_id: base.Identifier
    report_base: ReportBase


GenericDeviceModelStatus = Literal["Accepted", "Rejected", "NotSupported", "EmptyResultSet"]


class GetBaseReportResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetBaseReport."""

    status: GenericDeviceModelStatus
    status_info: base.StatusInfo | None = None


ComponentCriterion = Literal["Active", "Available", "Enabled", "Problem"]


class ComponentVariable(base.Datatype, frozen=True, kw_only=True):
    """A component, or one variable of it."""

    component: base.Component
    variable: base.Variable | None = None


class GetReportRequest(base.Message, frozen=True, kw_only=True):
    """CSMS requests a report of chosen components, sent as NotifyReport (B08)."""

    component_variable: base.OneOrMore[ComponentVariable] = ()
    request_id: base.Identifier
    component_criteria: Annotated[base.OneOrMore[ComponentCriterion], Meta(max_length=4)] = ()


class GetReportResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetReport."""

    status: GenericDeviceModelStatus
    status_info: base.StatusInfo | None = None


Mutability = Literal["ReadOnly", "WriteOnly", "ReadWrite"]


class VariableAttribute(base.Datatype, frozen=True, kw_only=True):
    """One attribute of a variable: value and mutability."""

    type: AttributeType | None = None
    value: base.String2500 | None = None
    mutability: Mutability | None = None
    persistent: bool = False
    constant: bool = False


DataType = Literal["string", "decimal", "integer", "dateTime", "boolean", "OptionList", "SequenceList", "MemberList"]


class VariableCharacteristics(base.Datatype, frozen=True, kw_only=True):
    """Type, unit and range of a variable."""

    unit: base.String16 | None = None
    data_type: DataType
    min_limit: base.Decimal | None = None
    max_limit: base.Decimal | None = None
    max_elements: Annotated[base.Positive | None, base.V21] = None
    values_list: base.String1000 | None = None
    supports_monitoring: bool


class ReportData(base.Datatype, frozen=True, kw_only=True):
    """One variable in a report."""

    component: base.Component
    variable: base.Variable
    variable_attribute: Annotated[base.OneOrMore[VariableAttribute], Meta(max_length=4)]
    variable_characteristics: VariableCharacteristics | None = None


class NotifyReportRequest(base.Message, frozen=True, kw_only=True):
    """Station sends a part of a report; `tbc` when more follows (B07, B08)."""

    request_id: base.Identifier
    generated_at: base.DateTime
    report_data: base.OneOrMore[ReportData] = ()
    tbc: bool = False
    seq_no: base.NonNegative


class NotifyReportResponse(base.Message, frozen=True, kw_only=True):
    """Answer to NotifyReport."""


ResetType = Annotated[Literal["Immediate", "OnIdle", "ImmediateAndResume"], base.since_21("ImmediateAndResume")]


class ResetRequest(base.Message, frozen=True, kw_only=True):
    """CSMS restarts the station, or one EVSE (B11, B12)."""

    type: ResetType
    evse_id: base.NonNegative | None = None


ResetStatus = Literal["Accepted", "Rejected", "Scheduled"]


class ResetResponse(base.Message, frozen=True, kw_only=True):
    """Answer to Reset."""

    status: ResetStatus
    status_info: base.StatusInfo | None = None


APNAuthentication = Literal["PAP", "CHAP", "NONE", "AUTO"]


class APN(base.Datatype, frozen=True, kw_only=True):
    """A mobile data connection; `preferred_network` is MCC and MNC combined."""

    apn: Annotated[str, base.text(2000, v201=512)]
    apn_user_name: Annotated[str, base.text(50, v201=20)] | None = None
    apn_password: Annotated[str, base.text(64, v201=20)] | None = None
    sim_pin: base.Integer | None = None
    preferred_network: base.String6 | None = None
    use_only_preferred_network: bool = False
    apn_authentication: APNAuthentication


VPNType = Literal["IKEv2", "IPSec", "L2TP", "PPTP"]


class VPN(base.Datatype, frozen=True, kw_only=True):
    """A virtual private network; `key` is the shared secret."""

    server: Annotated[str, base.text(2000, v201=512)]
    user: Annotated[str, base.text(50, v201=20)]
    group: Annotated[str, base.text(50, v201=20)] | None = None
    password: Annotated[str, base.text(64, v201=20)]
    key: base.String255
    type: VPNType


OCPPVersion = Annotated[
    Literal["OCPP12", "OCPP15", "OCPP16", "OCPP20", "OCPP201", "OCPP21"], base.since_21("OCPP201", "OCPP21")
]
OCPPInterface = Annotated[
    Literal["Wired0", "Wired1", "Wired2", "Wired3", "Wireless0", "Wireless1", "Wireless2", "Wireless3", "Any"],
    base.since_21("Any"),
]
OCPPTransport = Literal["SOAP", "JSON"]


class NetworkConnectionProfile(base.Datatype, frozen=True, kw_only=True):
    """A connection to a CSMS. The URL is without the station's identity; `message_timeout` in s; profile 1 to 3."""

    apn: APN | None = None
    ocpp_version: Annotated[OCPPVersion | None, base.REQUIRED_201] = None
    ocpp_interface: OCPPInterface
    ocpp_transport: OCPPTransport
    message_timeout: base.Integer
    ocpp_csms_url: Annotated[str, base.text(2000, v201=512)]
    security_profile: base.NonNegative
    identity: Annotated[base.String48 | None, base.V21] = None
    basic_auth_password: Annotated[base.String64 | None, base.V21] = None
    vpn: VPN | None = None


class SetNetworkProfileRequest(base.Message, frozen=True, kw_only=True):
    """CSMS stores a profile in a slot (B09)."""

    configuration_slot: base.Integer
    connection_data: NetworkConnectionProfile


SetNetworkProfileStatus = Literal["Accepted", "Rejected", "Failed"]


class SetNetworkProfileResponse(base.Message, frozen=True, kw_only=True):
    """Answer to SetNetworkProfile."""

    status: SetNetworkProfileStatus
    status_info: base.StatusInfo | None = None
