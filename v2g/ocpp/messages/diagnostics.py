"""Events of the device model, log files and customer data (functional block N)."""

from typing import Annotated, Literal

from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import (
    V21,
    CertificateHashData,
    Component,
    Datatype,
    DateTime,
    Identifier,
    Integer,
    Message,
    NonNegative,
    NonNegativeId,
    OneOrMore,
    StatusInfo,
    String36,
    String50,
    String64,
    String255,
    String500,
    String512,
    String2500,
    Variable,
    since_21,
    text,
)

EventNotification = Literal["HardWiredNotification", "HardWiredMonitor", "PreconfiguredMonitor", "CustomMonitor"]
EventTrigger = Literal["Alerting", "Delta", "Periodic"]


class EventData(Datatype, frozen=True, kw_only=True):
    """One event of the device model."""

    event_id: NonNegative
    timestamp: DateTime
    trigger: EventTrigger
    cause: NonNegative | None = None
    actual_value: String2500
    tech_code: String50 | None = None
    tech_info: String500 | None = None
    cleared: bool | None = None
    transaction_id: String36 | None = None
    component: Component
    variable_monitoring_id: NonNegative | None = None
    event_notification_type: EventNotification
    variable: Variable
    severity: Annotated[NonNegative | None, V21] = None


class NotifyEventRequest(Message, frozen=True, kw_only=True):
    """Station reports events; `tbc` when more follows (N07)."""

    generated_at: DateTime
    tbc: bool = False
    seq_no: NonNegative
    event_data: OneOrMore[EventData]


class NotifyEventResponse(Message, frozen=True, kw_only=True):
    """Answer to NotifyEvent."""


LogType = Annotated[Literal["DiagnosticsLog", "SecurityLog", "DataCollectorLog"], since_21("DataCollectorLog")]


class LogParameters(Datatype, frozen=True, kw_only=True):
    """Destination and time range of a log."""

    remote_location: Annotated[str, text(2000, v201=512)]
    oldest_timestamp: DateTime | None = None
    latest_timestamp: DateTime | None = None


class GetLogRequest(Message, frozen=True, kw_only=True):
    """CSMS requests the upload of a log (N01)."""

    log: LogParameters
    log_type: LogType
    request_id: Identifier
    retries: NonNegative | None = None
    retry_interval: Integer | None = None


LogStatus = Literal["Accepted", "Rejected", "AcceptedCanceled"]


class GetLogResponse(Message, frozen=True, kw_only=True):
    """Answer to GetLog."""

    status: LogStatus
    status_info: StatusInfo | None = None
    filename: String255 | None = None


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


class LogStatusNotificationRequest(Message, frozen=True, kw_only=True):
    """Station reports progress of an upload (N01)."""

    status: UploadLogStatus
    request_id: Identifier | None = None
    status_info: Annotated[StatusInfo | None, V21] = None


class LogStatusNotificationResponse(Message, frozen=True, kw_only=True):
    """Answer to LogStatusNotification."""


class CustomerInformationRequest(Message, frozen=True, kw_only=True):
    """CSMS has a customer's data reported, cleared, or both (N09, N10)."""

    customer_certificate: CertificateHashData | None = None
    id_token: IdToken | None = None
    request_id: NonNegativeId
    report: bool
    clear: bool
    customer_identifier: String64 | None = None


CustomerInformationStatus = Literal["Accepted", "Rejected", "Invalid"]


class CustomerInformationResponse(Message, frozen=True, kw_only=True):
    """Answer to CustomerInformation."""

    status: CustomerInformationStatus
    status_info: StatusInfo | None = None


class NotifyCustomerInformationRequest(Message, frozen=True, kw_only=True):
    """Station sends a part of a customer's data, text; `tbc` when more follows (N09)."""

    data: String512
    tbc: bool = False
    seq_no: NonNegative
    generated_at: DateTime
    request_id: NonNegativeId


class NotifyCustomerInformationResponse(Message, frozen=True, kw_only=True):
    """Answer to NotifyCustomerInformation."""
