"""Monitors of variables (functional block N)."""

from typing import Annotated, Literal

from msgspec import Meta

from v2g.ocpp.messages.base import (
    NEW_REQUIRED_21,
    V21,
    Component,
    Datatype,
    DateTime,
    Decimal,
    GenericStatus,
    Identifier,
    Message,
    NonNegative,
    NonNegative21,
    OneOrMore,
    StatusInfo,
    Variable,
    since_21,
)
from v2g.ocpp.messages.diagnostics import EventNotification
from v2g.ocpp.messages.event_streams import PeriodicEventStreamParams
from v2g.ocpp.messages.provisioning import ComponentVariable, GenericDeviceModelStatus

Monitor = Annotated[
    Literal[
        "UpperThreshold",
        "LowerThreshold",
        "Delta",
        "Periodic",
        "PeriodicClockAligned",
        "TargetDelta",
        "TargetDeltaRelative",
    ],
    since_21("TargetDelta", "TargetDeltaRelative"),
]


class SetMonitoringData(Datatype, frozen=True, kw_only=True):
    """A monitor; with `id` it replaces one. `value` is a threshold, a delta or an interval (s); `severity` 0 to 9."""

    id: NonNegative | None = None
    periodic_event_stream: Annotated[PeriodicEventStreamParams | None, V21] = None
    transaction: bool = False
    value: Decimal
    type: Monitor
    severity: NonNegative
    component: Component
    variable: Variable


class SetVariableMonitoringRequest(Message, frozen=True, kw_only=True):
    """CSMS sets monitors (N04)."""

    set_monitoring_data: OneOrMore[SetMonitoringData]


SetMonitoringStatus = Literal[
    "Accepted", "UnknownComponent", "UnknownVariable", "UnsupportedMonitorType", "Rejected", "Duplicate"
]


class SetMonitoringResult(Datatype, frozen=True, kw_only=True):
    """Result of setting one monitor; `id` when it was accepted."""

    id: NonNegative | None = None
    status_info: StatusInfo | None = None
    status: SetMonitoringStatus
    type: Monitor
    component: Component
    variable: Variable
    severity: NonNegative


class SetVariableMonitoringResponse(Message, frozen=True, kw_only=True):
    """Answer to SetVariableMonitoring."""

    set_monitoring_result: OneOrMore[SetMonitoringResult]


class ClearVariableMonitoringRequest(Message, frozen=True, kw_only=True):
    """CSMS removes monitors (N06)."""

    id: OneOrMore[NonNegative]


ClearMonitoringStatus = Literal["Accepted", "Rejected", "NotFound"]


class ClearMonitoringResult(Datatype, frozen=True, kw_only=True):
    """Result of removing one monitor."""

    status: ClearMonitoringStatus
    id: NonNegative
    status_info: StatusInfo | None = None


class ClearVariableMonitoringResponse(Message, frozen=True, kw_only=True):
    """Answer to ClearVariableMonitoring."""

    clear_monitoring_result: OneOrMore[ClearMonitoringResult]


MonitoringBase = Literal["All", "FactoryDefault", "HardWiredOnly"]


class SetMonitoringBaseRequest(Message, frozen=True, kw_only=True):
    """CSMS chooses which preconfigured monitors are active (N03)."""

    monitoring_base: MonitoringBase


class SetMonitoringBaseResponse(Message, frozen=True, kw_only=True):
    """Answer to SetMonitoringBase."""

    status: GenericDeviceModelStatus
    status_info: StatusInfo | None = None


class SetMonitoringLevelRequest(Message, frozen=True, kw_only=True):
    """CSMS sets the least severity (0 to 9) of reported events; more severe is a lower number (N05)."""

    severity: NonNegative21


class SetMonitoringLevelResponse(Message, frozen=True, kw_only=True):
    """Answer to SetMonitoringLevel."""

    status: GenericStatus
    status_info: StatusInfo | None = None


MonitoringCriterion = Literal["ThresholdMonitoring", "DeltaMonitoring", "PeriodicMonitoring"]


class GetMonitoringReportRequest(Message, frozen=True, kw_only=True):
    """CSMS requests monitors, sent as NotifyMonitoringReport (N02)."""

    component_variable: OneOrMore[ComponentVariable] = ()
    request_id: Identifier
    monitoring_criteria: Annotated[OneOrMore[MonitoringCriterion], Meta(max_length=3)] = ()


class GetMonitoringReportResponse(Message, frozen=True, kw_only=True):
    """Answer to GetMonitoringReport."""

    status: GenericDeviceModelStatus
    status_info: StatusInfo | None = None


class VariableMonitoring(Datatype, frozen=True, kw_only=True):
    """A monitor of the station."""

    id: NonNegative
    transaction: bool
    value: Decimal
    type: Monitor
    severity: NonNegative
    event_notification_type: Annotated[EventNotification | None, NEW_REQUIRED_21] = None


class MonitoringData(Datatype, frozen=True, kw_only=True):
    """The monitors of one variable."""

    component: Component
    variable: Variable
    variable_monitoring: OneOrMore[VariableMonitoring]


class NotifyMonitoringReportRequest(Message, frozen=True, kw_only=True):
    """Station sends a part of a report; `tbc` when more follows (N02)."""

    monitor: OneOrMore[MonitoringData] = ()
    request_id: Identifier
    tbc: bool = False
    seq_no: NonNegative
    generated_at: DateTime


class NotifyMonitoringReportResponse(Message, frozen=True, kw_only=True):
    """Answer to NotifyMonitoringReport."""
