"""Events of the device model, log files and customer data (functional block N)."""

from typing import Annotated, Literal

from v2g.ocpp.messages import base
from v2g.ocpp.messages.authorization import IdToken

EventNotification = Literal["HardWiredNotification", "HardWiredMonitor", "PreconfiguredMonitor", "CustomMonitor"]
EventTrigger = Literal["Alerting", "Delta", "Periodic"]


class EventData(base.Datatype, frozen=True, kw_only=True):
    """One event of the device model."""

    event_id: base.NonNegative
    timestamp: base.DateTime
    trigger: EventTrigger
    cause: base.NonNegative | None = None
    actual_value: base.String2500
    tech_code: base.String50 | None = None
    tech_info: base.String500 | None = None
    cleared: bool | None = None
    transaction_id: base.String36 | None = None
    component: base.Component
    variable_monitoring_id: base.NonNegative | None = None
    event_notification_type: EventNotification
    variable: base.Variable
    severity: Annotated[base.NonNegative | None, base.V21] = None


class NotifyEventRequest(base.Message, frozen=True, kw_only=True):
    """Station reports events; `tbc` when more follows (N07)."""

    generated_at: base.DateTime
    tbc: bool = False
    seq_no: base.NonNegative
    event_data: base.OneOrMore[EventData]


class NotifyEventResponse(base.Message, frozen=True, kw_only=True):
    """Answer to NotifyEvent."""


LogType = Annotated[Literal["DiagnosticsLog", "SecurityLog", "DataCollectorLog"], base.since_21("DataCollectorLog")]


class LogParameters(base.Datatype, frozen=True, kw_only=True):
    """Destination and time range of a log."""

    remote_location: Annotated[str, base.text(2000, v201=512)]
    oldest_timestamp: base.DateTime | None = None
    latest_timestamp: base.DateTime | None = None


class GetLogRequest(base.Message, frozen=True, kw_only=True):
    """CSMS requests the upload of a log (N01)."""

    log: LogParameters
    log_type: LogType
    request_id: base.Identifier
    retries: base.NonNegative | None = None
    retry_interval: base.Integer | None = None


LogStatus = Literal["Accepted", "Rejected", "AcceptedCanceled"]


class GetLogResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetLog."""

    status: LogStatus
    status_info: base.StatusInfo | None = None
    filename: base.String255 | None = None


UploadLogStatus = Literal[
    "BadMessage",
    "Idle",
    "NotSupportedOperation",
    "PermissionDenied",
    "Uploaded",
    "UploadFailure",
    "Uploading",
    "AcceptedCanceled",
]


class LogStatusNotificationRequest(base.Message, frozen=True, kw_only=True):
    """Station reports progress of an upload (N01)."""

    status: UploadLogStatus
    request_id: base.Identifier | None = None
    status_info: Annotated[base.StatusInfo | None, base.V21] = None


class LogStatusNotificationResponse(base.Message, frozen=True, kw_only=True):
    """Answer to LogStatusNotification."""


class CustomerInformationRequest(base.Message, frozen=True, kw_only=True):
    """CSMS has a customer's data reported, cleared, or both (N09, N10)."""

    customer_certificate: base.CertificateHashData | None = None
    id_token: IdToken | None = None
    request_id: base.NonNegativeId
    report: bool
    clear: bool
    customer_identifier: base.String64 | None = None


CustomerInformationStatus = Literal["Accepted", "Rejected", "Invalid"]


class CustomerInformationResponse(base.Message, frozen=True, kw_only=True):
    """Answer to CustomerInformation."""

    status: CustomerInformationStatus
    status_info: base.StatusInfo | None = None


class NotifyCustomerInformationRequest(base.Message, frozen=True, kw_only=True):
    """Station sends a part of a customer's data, text; `tbc` when more follows (N09)."""

    data: base.String512
    tbc: bool = False
    seq_no: base.NonNegative
    generated_at: base.DateTime
    request_id: base.NonNegativeId


class NotifyCustomerInformationResponse(base.Message, frozen=True, kw_only=True):
    """Answer to NotifyCustomerInformation."""
