"""Monitors of variables (functional block N)."""

from typing import Annotated, Literal

from msgspec import Meta

from v2g.ocpp.messages import base
from v2g.ocpp.messages.diagnostics import EventNotification
from v2g.ocpp.messages.provisioning import ComponentVariable, GenericDeviceModelStatus


class PeriodicEventStreamParams(base.Datatype, frozen=True, kw_only=True):
    """When a stream sends: every `interval` s, or after `values` readings."""

    interval: base.NonNegative | None = None
    values: base.NonNegative | None = None


class ConstantStreamData(base.Datatype, frozen=True, kw_only=True):
    """A stream, and the monitor that feeds it."""

    id: base.NonNegative
    params: PeriodicEventStreamParams
    variable_monitoring_id: base.NonNegative


class OpenPeriodicEventStreamRequest(base.Message, frozen=True, kw_only=True):
    """Station opens a stream (N11)."""

    constant_stream_data: ConstantStreamData


class OpenPeriodicEventStreamResponse(base.Message, frozen=True, kw_only=True):
    """Answer to OpenPeriodicEventStream."""

    status: base.GenericStatus
    status_info: base.StatusInfo | None = None


class StreamDataElement(base.Datatype, frozen=True, kw_only=True):
    """A reading `v`, `t` seconds after the message's `basetime`."""

    t: base.Decimal
    v: base.String2500


class NotifyPeriodicEventStream(base.Message, frozen=True, kw_only=True):
    """Readings of a stream; `pending` are queued at the station. It is a SEND, without an answer (N15)."""

    data: base.OneOrMore[StreamDataElement]
    id: base.NonNegative
    pending: base.NonNegative
    basetime: base.DateTime


class ClosePeriodicEventStreamRequest(base.Message, frozen=True, kw_only=True):
    """Station closes a stream (N13)."""

    id: base.NonNegative


class ClosePeriodicEventStreamResponse(base.Message, frozen=True, kw_only=True):
    """Answer to ClosePeriodicEventStream."""


class GetPeriodicEventStreamRequest(base.Message, frozen=True, kw_only=True):
    """CSMS requests the open streams (N12)."""


class GetPeriodicEventStreamResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetPeriodicEventStream."""

    constant_stream_data: base.OneOrMore[ConstantStreamData] = ()


class AdjustPeriodicEventStreamRequest(base.Message, frozen=True, kw_only=True):
    """CSMS changes the rate of a stream (N14)."""

    id: base.NonNegative
    params: PeriodicEventStreamParams


class AdjustPeriodicEventStreamResponse(base.Message, frozen=True, kw_only=True):
    """Answer to AdjustPeriodicEventStream."""

    status: base.GenericStatus
    status_info: base.StatusInfo | None = None


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
    base.since_21("TargetDelta", "TargetDeltaRelative"),
]


class SetMonitoringData(base.Datatype, frozen=True, kw_only=True):
    """A monitor; with `id` it replaces one. `value` is a threshold, a delta or an interval (s); `severity` 0 to 9."""

    id: base.NonNegative | None = None
    periodic_event_stream: Annotated[PeriodicEventStreamParams | None, base.V21] = None
    transaction: bool = False
    value: base.Decimal
    type: Monitor
    severity: base.NonNegative
    component: base.Component
    variable: base.Variable


class SetVariableMonitoringRequest(base.Message, frozen=True, kw_only=True):
    """CSMS sets monitors (N04)."""

    set_monitoring_data: base.OneOrMore[SetMonitoringData]


SetMonitoringStatus = Literal[
    "Accepted", "UnknownComponent", "UnknownVariable", "UnsupportedMonitorType", "Rejected", "Duplicate"
]


class SetMonitoringResult(base.Datatype, frozen=True, kw_only=True):
    """Result of setting one monitor; `id` when it was accepted."""

    id: base.NonNegative | None = None
    status_info: base.StatusInfo | None = None
    status: SetMonitoringStatus
    type: Monitor
    component: base.Component
    variable: base.Variable
    severity: base.NonNegative


class SetVariableMonitoringResponse(base.Message, frozen=True, kw_only=True):
    """Answer to SetVariableMonitoring."""

    set_monitoring_result: base.OneOrMore[SetMonitoringResult]


class ClearVariableMonitoringRequest(base.Message, frozen=True, kw_only=True):
    """CSMS removes monitors (N06)."""

    id: base.OneOrMore[base.NonNegative]


ClearMonitoringStatus = Literal["Accepted", "Rejected", "NotFound"]


class ClearMonitoringResult(base.Datatype, frozen=True, kw_only=True):
    """Result of removing one monitor."""

    status: ClearMonitoringStatus
    id: base.NonNegative
    status_info: base.StatusInfo | None = None


class ClearVariableMonitoringResponse(base.Message, frozen=True, kw_only=True):
    """Answer to ClearVariableMonitoring."""

    clear_monitoring_result: base.OneOrMore[ClearMonitoringResult]


MonitoringBase = Literal["All", "FactoryDefault", "HardWiredOnly"]


class SetMonitoringBaseRequest(base.Message, frozen=True, kw_only=True):
    """CSMS chooses which preconfigured monitors are active (N03)."""

    monitoring_base: MonitoringBase


class SetMonitoringBaseResponse(base.Message, frozen=True, kw_only=True):
    """Answer to SetMonitoringBase."""

    status: GenericDeviceModelStatus
    status_info: base.StatusInfo | None = None


class SetMonitoringLevelRequest(base.Message, frozen=True, kw_only=True):
    """CSMS sets the least severity (0 to 9) of reported events; more severe is a lower number (N05)."""

    severity: base.NonNegative21


class SetMonitoringLevelResponse(base.Message, frozen=True, kw_only=True):
    """Answer to SetMonitoringLevel."""

    status: base.GenericStatus
    status_info: base.StatusInfo | None = None


MonitoringCriterion = Literal["ThresholdMonitoring", "DeltaMonitoring", "PeriodicMonitoring"]


class GetMonitoringReportRequest(base.Message, frozen=True, kw_only=True):
    """CSMS requests monitors, sent as NotifyMonitoringReport (N02)."""

    component_variable: base.OneOrMore[ComponentVariable] = ()
    request_id: base.Identifier
    monitoring_criteria: Annotated[base.OneOrMore[MonitoringCriterion], Meta(max_length=3)] = ()


class GetMonitoringReportResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetMonitoringReport."""

    status: GenericDeviceModelStatus
    status_info: base.StatusInfo | None = None


class VariableMonitoring(base.Datatype, frozen=True, kw_only=True):
    """A monitor of the station."""

    id: base.NonNegative
    transaction: bool
    value: base.Decimal
    type: Monitor
    severity: base.NonNegative
    event_notification_type: Annotated[EventNotification | None, base.NEW_REQUIRED_21] = None


class MonitoringData(base.Datatype, frozen=True, kw_only=True):
    """The monitors of one variable."""

    component: base.Component
    variable: base.Variable
    variable_monitoring: base.OneOrMore[VariableMonitoring]


class NotifyMonitoringReportRequest(base.Message, frozen=True, kw_only=True):
    """Station sends a part of a report; `tbc` when more follows (N02)."""

    monitor: base.OneOrMore[MonitoringData] = ()
    request_id: base.Identifier
    tbc: bool = False
    seq_no: base.NonNegative
    generated_at: base.DateTime


class NotifyMonitoringReportResponse(base.Message, frozen=True, kw_only=True):
    """Answer to NotifyMonitoringReport."""
