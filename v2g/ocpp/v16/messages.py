"""The messages of OCPP 1.6 (JSON): 28 of edition 2, and 11 of the security whitepaper, edition 3.

Each is declared once; `Req` and `Conf` are the standard's `.req` and `.conf`. As in the messages of 2.x, texts and
numbers are bounded, unknown fields are refused, and constructors do not check: `v2g.ocpp.versions` does.
"""

from typing import Annotated, Literal

from msgspec import Meta

from v2g.ocpp.messages.base import (
    CertificateHashData,
    Datatype,
    DateTime,
    Decimal,
    GenericStatus,
    Integer,
    Message,
    OneOrMore,
    String20,
    String25,
    String50,
    String255,
    String500,
    String512,
    String800,
    String5500,
    String10000,
)
from v2g.ocpp.messages.charging_profiles import ChargingRateUnit, RecurrencyKind
from v2g.ocpp.messages.diagnostics import LogStatus, UploadLogStatus
from v2g.ocpp.messages.firmware import FirmwareStatus, UpdateFirmwareStatus
from v2g.ocpp.messages.metering import Phase, ReadingContext

Tenths = Annotated[Decimal, Meta(extra={"1.6": {"tenths": True}})]
"""A decimal with one digit after the point."""

Location16 = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+\Z", max_length=2000)]
"""A URI, of where a file is or goes to."""

# -- core: the station's


IdTagStatus = Literal["Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"]


class IdTagInfo(Datatype, frozen=True, kw_only=True):
    """What a back end says of an idTag."""

    expiry_date: DateTime | None = None
    parent_id_tag: String20 | None = None
    status: IdTagStatus


class AuthorizeReq(Message, frozen=True, kw_only=True):
    """Station asks whether an idTag may charge."""

    id_tag: String20


class AuthorizeConf(Message, frozen=True, kw_only=True):
    """Answer to Authorize."""

    id_tag_info: IdTagInfo


class BootNotificationReq(Message, frozen=True, kw_only=True):
    """Station reports its start."""

    charge_point_vendor: String20
    charge_point_model: String20
    charge_point_serial_number: String25 | None = None
    charge_box_serial_number: String25 | None = None
    firmware_version: String50 | None = None
    iccid: String20 | None = None
    imsi: String20 | None = None
    meter_type: String25 | None = None
    meter_serial_number: String25 | None = None


class BootNotificationConf(Message, frozen=True, kw_only=True):
    """`interval` (s): of heartbeats once accepted, else the wait before the next try."""

    status: Literal["Accepted", "Pending", "Rejected"]
    current_time: DateTime
    interval: Integer


class HeartbeatReq(Message, frozen=True, kw_only=True):
    """Station's sign of life."""


class HeartbeatConf(Message, frozen=True, kw_only=True):
    """Answer to Heartbeat."""

    current_time: DateTime


ChargePointErrorCode = Literal[
    "ConnectorLockFailure", "EVCommunicationError", "GroundFailure", "HighTemperature", "InternalError",
    "LocalListConflict", "NoError", "OtherError", "OverCurrentFailure", "PowerMeterFailure", "PowerSwitchFailure",
    "ReaderFailure", "ResetFailure", "UnderVoltage", "OverVoltage", "WeakSignal",
]  # fmt: skip
ChargePointStatus = Literal[
    "Available", "Preparing", "Charging", "SuspendedEVSE", "SuspendedEV", "Finishing", "Reserved", "Unavailable",
    "Faulted",
]  # fmt: skip


class StatusNotificationReq(Message, frozen=True, kw_only=True):
    """Station reports the state of a connector; 0 is the station."""

    connector_id: Integer
    error_code: ChargePointErrorCode
    info: String50 | None = None
    status: ChargePointStatus
    timestamp: DateTime | None = None
    vendor_id: String255 | None = None
    vendor_error_code: String50 | None = None


class StatusNotificationConf(Message, frozen=True, kw_only=True):
    """Answer to StatusNotification."""


class StartTransactionReq(Message, frozen=True, kw_only=True):
    """Station reports that a transaction has begun; `meter_start` in Wh."""

    connector_id: Integer
    id_tag: String20
    meter_start: Integer
    reservation_id: Integer | None = None
    timestamp: DateTime


class StartTransactionConf(Message, frozen=True, kw_only=True):
    """The back end names the transaction."""

    id_tag_info: IdTagInfo
    transaction_id: Integer


Measurand16 = Literal[
    "Energy.Active.Export.Register", "Energy.Active.Import.Register", "Energy.Reactive.Export.Register",
    "Energy.Reactive.Import.Register", "Energy.Active.Export.Interval", "Energy.Active.Import.Interval",
    "Energy.Reactive.Export.Interval", "Energy.Reactive.Import.Interval", "Power.Active.Export",
    "Power.Active.Import", "Power.Offered", "Power.Reactive.Export", "Power.Reactive.Import", "Power.Factor",
    "Current.Import", "Current.Export", "Current.Offered", "Voltage", "Frequency", "Temperature", "SoC", "RPM",
]  # fmt: skip
Unit16 = Literal[
    "Wh", "kWh", "varh", "kvarh", "W", "kW", "VA", "kVA", "var", "kvar", "A", "V", "K", "Celcius", "Celsius",
    "Fahrenheit", "Percent",
]  # fmt: skip


class ValueAt(Datatype, frozen=True, kw_only=True):
    """One value, a text; without measurand, context, location and unit the import register in Wh of a periodic
    sample at the outlet. `unit` is declared below: the two messages with values differ in it."""

    value: str
    context: ReadingContext | None = None
    format: Literal["Raw", "SignedData"] | None = None
    measurand: Measurand16 | None = None
    phase: Phase | None = None
    location: Literal["Cable", "EV", "Inlet", "Outlet", "Body"] | None = None


class SampledValue16(ValueAt, frozen=True, kw_only=True):
    """Of MeterValues."""

    unit: Unit16 | Literal["Hertz"] | None = None


class MeterValue16(Datatype, frozen=True, kw_only=True):
    """Values measured at one time."""

    timestamp: DateTime
    sampled_value: OneOrMore[SampledValue16]


class TransactionValue(ValueAt, frozen=True, kw_only=True):
    """Of StopTransaction, which has no Hertz."""

    unit: Unit16 | None = None


class TransactionData(Datatype, frozen=True, kw_only=True):
    """Values of a transaction, measured at one time."""

    timestamp: DateTime
    sampled_value: tuple[TransactionValue, ...]


class MeterValuesReq(Message, frozen=True, kw_only=True):
    """Station reports values of a connector; 0 is the main meter."""

    connector_id: Integer
    transaction_id: Integer | None = None
    meter_value: OneOrMore[MeterValue16]


class MeterValuesConf(Message, frozen=True, kw_only=True):
    """Answer to MeterValues."""


StopReason = Literal[
    "EmergencyStop", "EVDisconnected", "HardReset", "Local", "Other", "PowerLoss", "Reboot", "Remote", "SoftReset",
    "UnlockCommand", "DeAuthorized",
]  # fmt: skip


class StopTransactionReq(Message, frozen=True, kw_only=True):
    """Station reports the end of a transaction; `meter_stop` in Wh; without reason it is Local."""

    id_tag: String20 | None = None
    meter_stop: Integer
    timestamp: DateTime
    transaction_id: Integer
    reason: StopReason | None = None
    transaction_data: tuple[TransactionData, ...] = ()


class StopTransactionConf(Message, frozen=True, kw_only=True):
    """Answer to StopTransaction."""

    id_tag_info: IdTagInfo | None = None


class DataTransferReq(Message, frozen=True, kw_only=True):
    """A vendor's own message, of either side; `data` is a text."""

    vendor_id: String255
    message_id: String50 | None = None
    data: str | None = None


class DataTransferConf(Message, frozen=True, kw_only=True):
    """Answer to DataTransfer."""

    status: Literal["Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId"]
    data: str | None = None


class DiagnosticsStatusNotificationReq(Message, frozen=True, kw_only=True):
    """Station reports the upload of diagnostics."""

    status: Literal["Idle", "Uploaded", "UploadFailed", "Uploading"]


class DiagnosticsStatusNotificationConf(Message, frozen=True, kw_only=True):
    """Answer to DiagnosticsStatusNotification."""


class FirmwareStatusNotificationReq(Message, frozen=True, kw_only=True):
    """Station reports the progress of an update."""

    status: Literal[
        "Downloaded", "DownloadFailed", "Downloading", "Idle", "InstallationFailed", "Installing", "Installed"
    ]


class FirmwareStatusNotificationConf(Message, frozen=True, kw_only=True):
    """Answer to FirmwareStatusNotification."""


# -- core: the back end's


class ChangeAvailabilityReq(Message, frozen=True, kw_only=True):
    """Take a connector, or all (0), in or out of service."""

    connector_id: Integer
    type: Literal["Inoperative", "Operative"]


class ChangeAvailabilityConf(Message, frozen=True, kw_only=True):
    """Answer to ChangeAvailability."""

    status: Literal["Accepted", "Rejected", "Scheduled"]


class ChangeConfigurationReq(Message, frozen=True, kw_only=True):
    """Set a configuration key."""

    key: String50
    value: String500


ConfigurationStatus = Literal["Accepted", "Rejected", "RebootRequired", "NotSupported"]


class ChangeConfigurationConf(Message, frozen=True, kw_only=True):
    """Answer to ChangeConfiguration."""

    status: ConfigurationStatus


class ClearCacheReq(Message, frozen=True, kw_only=True):
    """Clear the authorization cache."""


class ClearCacheConf(Message, frozen=True, kw_only=True):
    """Answer to ClearCache."""

    status: GenericStatus


class GetConfigurationReq(Message, frozen=True, kw_only=True):
    """Ask for configuration keys; none: all."""

    key: tuple[String50, ...] = ()


class ConfigurationKey(Datatype, frozen=True, kw_only=True):
    """A configuration key with its value."""

    key: String50
    readonly: bool
    value: String500 | None = None


class GetConfigurationConf(Message, frozen=True, kw_only=True):
    """Answer to GetConfiguration."""

    configuration_key: tuple[ConfigurationKey, ...] = ()
    unknown_key: tuple[String50, ...] = ()


class RemoteStopTransactionReq(Message, frozen=True, kw_only=True):
    """Stop a transaction."""

    transaction_id: Integer


class RemoteStopTransactionConf(Message, frozen=True, kw_only=True):
    """Answer to RemoteStopTransaction."""

    status: GenericStatus


class ResetReq(Message, frozen=True, kw_only=True):
    """Restart the station."""

    type: Literal["Hard", "Soft"]


class ResetConf(Message, frozen=True, kw_only=True):
    """Answer to Reset."""

    status: GenericStatus


class UnlockConnectorReq(Message, frozen=True, kw_only=True):
    """Unlock a connector."""

    connector_id: Integer


class UnlockConnectorConf(Message, frozen=True, kw_only=True):
    """Answer to UnlockConnector."""

    status: Literal["Unlocked", "UnlockFailed", "NotSupported"]


# -- firmware, diagnostics, local list, reservation, triggers


class GetDiagnosticsReq(Message, frozen=True, kw_only=True):
    """Have diagnostics uploaded to a URL."""

    location: Location16
    retries: Integer | None = None
    retry_interval: Integer | None = None
    start_time: DateTime | None = None
    stop_time: DateTime | None = None


class GetDiagnosticsConf(Message, frozen=True, kw_only=True):
    """Answer to GetDiagnostics; without a name there is nothing to upload."""

    file_name: String255 | None = None


class UpdateFirmwareReq(Message, frozen=True, kw_only=True):
    """Have firmware installed from a URL."""

    location: Location16
    retries: Integer | None = None
    retrieve_date: DateTime
    retry_interval: Integer | None = None


class UpdateFirmwareConf(Message, frozen=True, kw_only=True):
    """Answer to UpdateFirmware."""


class GetLocalListVersionReq(Message, frozen=True, kw_only=True):
    """Ask for the version of the local list."""


class GetLocalListVersionConf(Message, frozen=True, kw_only=True):
    """`list_version`: 0 is an empty list, -1 none."""

    list_version: Integer


class LocalListEntry(Datatype, frozen=True, kw_only=True):
    """An entry; without `id_tag_info` a differential update removes it."""

    id_tag: String20
    id_tag_info: IdTagInfo | None = None


class SendLocalListReq(Message, frozen=True, kw_only=True):
    """Replace or change the local list."""

    list_version: Integer
    local_authorization_list: tuple[LocalListEntry, ...] = ()
    update_type: Literal["Differential", "Full"]


class SendLocalListConf(Message, frozen=True, kw_only=True):
    """Answer to SendLocalList."""

    status: Literal["Accepted", "Failed", "NotSupported", "VersionMismatch"]


class ReserveNowReq(Message, frozen=True, kw_only=True):
    """Reserve a connector, or any (0)."""

    connector_id: Integer
    expiry_date: DateTime
    id_tag: String20
    parent_id_tag: String20 | None = None
    reservation_id: Integer


class ReserveNowConf(Message, frozen=True, kw_only=True):
    """Answer to ReserveNow."""

    status: Literal["Accepted", "Faulted", "Occupied", "Rejected", "Unavailable"]


class CancelReservationReq(Message, frozen=True, kw_only=True):
    """Cancel a reservation."""

    reservation_id: Integer


class CancelReservationConf(Message, frozen=True, kw_only=True):
    """Answer to CancelReservation."""

    status: GenericStatus


Trigger16 = Literal[
    "BootNotification", "DiagnosticsStatusNotification", "FirmwareStatusNotification", "Heartbeat", "MeterValues",
    "StatusNotification",
]  # fmt: skip
ExtendedTrigger16 = Literal[
    "BootNotification", "LogStatusNotification", "FirmwareStatusNotification", "Heartbeat", "MeterValues",
    "SignChargePointCertificate", "StatusNotification",
]  # fmt: skip
TriggerStatus16 = Literal["Accepted", "Rejected", "NotImplemented"]


class TriggerMessageReq(Message, frozen=True, kw_only=True):
    """Trigger a message of the station."""

    requested_message: Trigger16
    connector_id: Integer | None = None


class TriggerMessageConf(Message, frozen=True, kw_only=True):
    """Answer to TriggerMessage."""

    status: TriggerStatus16


# -- smart charging


class SchedulePeriod16(Datatype, frozen=True, kw_only=True):
    """A limit from `start_period` on, s after the schedule's start."""

    start_period: Integer
    limit: Tenths
    number_phases: Integer | None = None


class ChargingSchedule16(Datatype, frozen=True, kw_only=True):
    """Limits in W of all phases, or in A of each."""

    duration: Integer | None = None
    start_schedule: DateTime | None = None
    charging_rate_unit: ChargingRateUnit
    charging_schedule_period: tuple[SchedulePeriod16, ...]
    min_charging_rate: Tenths | None = None


Purpose16 = Literal["ChargePointMaxProfile", "TxDefaultProfile", "TxProfile"]


class ChargingProfile16(Datatype, frozen=True, kw_only=True):
    """A schedule with purpose and stack level."""

    charging_profile_id: Integer
    transaction_id: Integer | None = None
    stack_level: Integer
    charging_profile_purpose: Purpose16
    charging_profile_kind: Literal["Absolute", "Recurring", "Relative"]
    recurrency_kind: RecurrencyKind | None = None
    valid_from: DateTime | None = None
    valid_to: DateTime | None = None
    charging_schedule: ChargingSchedule16


class RemoteStartTransactionReq(Message, frozen=True, kw_only=True):
    """Start a transaction."""

    connector_id: Integer | None = None
    id_tag: String20
    charging_profile: ChargingProfile16 | None = None


class RemoteStartTransactionConf(Message, frozen=True, kw_only=True):
    """Answer to RemoteStartTransaction."""

    status: GenericStatus


class SetChargingProfileReq(Message, frozen=True, kw_only=True):
    """Set a profile of a connector, or of the station (0)."""

    connector_id: Integer
    cs_charging_profiles: ChargingProfile16


class SetChargingProfileConf(Message, frozen=True, kw_only=True):
    """Answer to SetChargingProfile."""

    status: Literal["Accepted", "Rejected", "NotSupported"]


class ClearChargingProfileReq(Message, frozen=True, kw_only=True):
    """Clear profiles: one, or all that fit."""

    id: Integer | None = None
    connector_id: Integer | None = None
    charging_profile_purpose: Purpose16 | None = None
    stack_level: Integer | None = None


class ClearChargingProfileConf(Message, frozen=True, kw_only=True):
    """Answer to ClearChargingProfile."""

    status: Literal["Accepted", "Unknown"]


class GetCompositeScheduleReq(Message, frozen=True, kw_only=True):
    """Ask what results from all profiles."""

    connector_id: Integer
    duration: Integer
    charging_rate_unit: ChargingRateUnit | None = None


class GetCompositeScheduleConf(Message, frozen=True, kw_only=True):
    """Answer to GetCompositeSchedule."""

    status: GenericStatus
    connector_id: Integer | None = None
    schedule_start: DateTime | None = None
    charging_schedule: ChargingSchedule16 | None = None


# -- security whitepaper


class SecurityEventNotificationReq(Message, frozen=True, kw_only=True):
    """Station reports a security event."""

    type: String50
    timestamp: DateTime
    tech_info: String255 | None = None


class SecurityEventNotificationConf(Message, frozen=True, kw_only=True):
    """Answer to SecurityEventNotification."""


class SignCertificateReq(Message, frozen=True, kw_only=True):
    """Station asks for a certificate, by a PKCS#10 request in PEM."""

    csr: String5500


class SignCertificateConf(Message, frozen=True, kw_only=True):
    """Answer to SignCertificate."""

    status: GenericStatus


class CertificateSignedReq(Message, frozen=True, kw_only=True):
    """The signed chain, PEM, leaf first."""

    certificate_chain: String10000


class CertificateSignedConf(Message, frozen=True, kw_only=True):
    """Answer to CertificateSigned."""

    status: GenericStatus


CertificateUse16 = Literal["CentralSystemRootCertificate", "ManufacturerRootCertificate"]


class InstallCertificateReq(Message, frozen=True, kw_only=True):
    """Install a root certificate, PEM."""

    certificate_type: CertificateUse16
    certificate: String5500


class InstallCertificateConf(Message, frozen=True, kw_only=True):
    """Answer to InstallCertificate."""

    status: Literal["Accepted", "Failed", "Rejected"]


class GetInstalledCertificateIdsReq(Message, frozen=True, kw_only=True):
    """Ask for installed certificates."""

    certificate_type: CertificateUse16


class GetInstalledCertificateIdsConf(Message, frozen=True, kw_only=True):
    """Answer to GetInstalledCertificateIds."""

    certificate_hash_data: OneOrMore[CertificateHashData] = ()
    status: Literal["Accepted", "NotFound"]


class DeleteCertificateReq(Message, frozen=True, kw_only=True):
    """Delete a certificate."""

    certificate_hash_data: CertificateHashData


class DeleteCertificateConf(Message, frozen=True, kw_only=True):
    """Answer to DeleteCertificate."""

    status: Literal["Accepted", "Failed", "NotFound"]


class LogParameters16(Datatype, frozen=True, kw_only=True):
    """Where a log goes, and of what time."""

    remote_location: String512
    oldest_timestamp: DateTime | None = None
    latest_timestamp: DateTime | None = None


class GetLogReq(Message, frozen=True, kw_only=True):
    """Have a log uploaded."""

    log: LogParameters16
    log_type: Literal["DiagnosticsLog", "SecurityLog"]
    request_id: Integer
    retries: Integer | None = None
    retry_interval: Integer | None = None


class GetLogConf(Message, frozen=True, kw_only=True):
    """Answer to GetLog."""

    status: LogStatus
    filename: String255 | None = None


class LogStatusNotificationReq(Message, frozen=True, kw_only=True):
    """Station reports the upload of a log."""

    status: Annotated[UploadLogStatus, Meta(extra={"1.6": {"without": ("AcceptedCanceled",)}})]
    request_id: Integer | None = None


class LogStatusNotificationConf(Message, frozen=True, kw_only=True):
    """Answer to LogStatusNotification."""


class Firmware16(Datatype, frozen=True, kw_only=True):
    """A signed image: certificate in PEM, signature in base64."""

    location: String512
    retrieve_date_time: DateTime
    install_date_time: DateTime | None = None
    signing_certificate: String5500
    signature: String800


class SignedUpdateFirmwareReq(Message, frozen=True, kw_only=True):
    """Have signed firmware installed."""

    retries: Integer | None = None
    retry_interval: Integer | None = None
    request_id: Integer
    firmware: Firmware16


class SignedUpdateFirmwareConf(Message, frozen=True, kw_only=True):
    """Answer to SignedUpdateFirmware."""

    status: UpdateFirmwareStatus


class SignedFirmwareStatusNotificationReq(Message, frozen=True, kw_only=True):
    """Station reports the progress of a signed update."""

    status: FirmwareStatus
    request_id: Integer | None = None


class SignedFirmwareStatusNotificationConf(Message, frozen=True, kw_only=True):
    """Answer to SignedFirmwareStatusNotification."""


class ExtendedTriggerMessageReq(Message, frozen=True, kw_only=True):
    """Trigger a message of the station, of the whitepaper's too."""

    requested_message: ExtendedTrigger16
    connector_id: Integer | None = None


class ExtendedTriggerMessageConf(Message, frozen=True, kw_only=True):
    """Answer to ExtendedTriggerMessage."""

    status: TriggerStatus16
