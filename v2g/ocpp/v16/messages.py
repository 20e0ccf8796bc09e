"""The messages of OCPP 1.6 (JSON): 28 of edition 2, and 11 of the security whitepaper, edition 3.

Each is declared once; `Req` and `Conf` are the standard's `.req` and `.conf`. As in the messages of 2.x, texts and
numbers are bounded, unknown fields are refused, and constructors do not check: `v2g.ocpp.versions` does.
"""

from typing import Annotated, Literal

from msgspec import Meta

from v2g.ocpp.messages import base
from v2g.ocpp.messages.charging_profiles import ChargingRateUnit, RecurrencyKind
from v2g.ocpp.messages.diagnostics import LogStatus, UploadLogStatus
from v2g.ocpp.messages.firmware import FirmwareStatus, UpdateFirmwareStatus
from v2g.ocpp.messages.metering import Phase, ReadingContext

Tenths = Annotated[base.Decimal, Meta(extra={"1.6": {"tenths": True}})]
"""A decimal with one digit after the point."""

Location16 = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+\Z", max_length=2000)]
"""A URI, of where a file is or goes to."""

# -- core: the station's


IdTagStatus = Literal["Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"]


class IdTagInfo(base.Datatype, frozen=True, kw_only=True):
    """What a back end says of an idTag."""

    expiry_date: base.DateTime | None = None
    parent_id_tag: base.String20 | None = None
    status: IdTagStatus


class AuthorizeReq(base.Message, frozen=True, kw_only=True):
    """Station asks whether an idTag may charge."""

    id_tag: base.String20


class AuthorizeConf(base.Message, frozen=True, kw_only=True):
    """Answer to Authorize."""

    id_tag_info: IdTagInfo


class BootNotificationReq(base.Message, frozen=True, kw_only=True):
    """Station reports its start."""

    charge_point_vendor: base.String20
    charge_point_model: base.String20
    charge_point_serial_number: base.String25 | None = None
    charge_box_serial_number: base.String25 | None = None
    firmware_version: base.String50 | None = None
    iccid: base.String20 | None = None
    imsi: base.String20 | None = None
    meter_type: base.String25 | None = None
    meter_serial_number: base.String25 | None = None


class BootNotificationConf(base.Message, frozen=True, kw_only=True):
    """`interval` (s): of heartbeats once accepted, else the wait before the next try."""

    status: Literal["Accepted", "Pending", "Rejected"]
    current_time: base.DateTime
    interval: base.Integer


class HeartbeatReq(base.Message, frozen=True, kw_only=True):
    """Station's sign of life."""


class HeartbeatConf(base.Message, frozen=True, kw_only=True):
    """Answer to Heartbeat."""

    current_time: base.DateTime


ChargePointErrorCode = Literal[
    "ConnectorLockFailure", "EVCommunicationError", "GroundFailure", "HighTemperature", "InternalError",
    "LocalListConflict", "NoError", "OtherError", "OverCurrentFailure", "PowerMeterFailure", "PowerSwitchFailure",
    "ReaderFailure", "ResetFailure", "UnderVoltage", "OverVoltage", "WeakSignal",
]  # fmt: skip
ChargePointStatus = Literal[
    "Available", "Preparing", "Charging", "SuspendedEVSE", "SuspendedEV", "Finishing", "Reserved", "Unavailable",
    "Faulted",
]  # fmt: skip


class StatusNotificationReq(base.Message, frozen=True, kw_only=True):
    """Station reports the state of a connector; 0 is the station."""

    connector_id: base.Integer
    error_code: ChargePointErrorCode
    info: base.String50 | None = None
    status: ChargePointStatus
    timestamp: base.DateTime | None = None
    vendor_id: base.String255 | None = None
    vendor_error_code: base.String50 | None = None


class StatusNotificationConf(base.Message, frozen=True, kw_only=True):
    """Answer to StatusNotification."""


class StartTransactionReq(base.Message, frozen=True, kw_only=True):
    """Station reports that a transaction has begun; `meter_start` in Wh."""

    connector_id: base.Integer
    id_tag: base.String20
    meter_start: base.Integer
    reservation_id: base.Integer | None = None
    timestamp: base.DateTime


class StartTransactionConf(base.Message, frozen=True, kw_only=True):
    """The back end names the transaction."""

    id_tag_info: IdTagInfo
    transaction_id: base.Integer


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


class ValueAt(base.Datatype, frozen=True, kw_only=True):
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


class MeterValue16(base.Datatype, frozen=True, kw_only=True):
    """Values measured at one time."""

    timestamp: base.DateTime
    sampled_value: base.OneOrMore[SampledValue16]


class TransactionValue(ValueAt, frozen=True, kw_only=True):
    """Of StopTransaction, which has no Hertz."""

    unit: Unit16 | None = None


class TransactionData(base.Datatype, frozen=True, kw_only=True):
    """Values of a transaction, measured at one time."""

    timestamp: base.DateTime
    sampled_value: tuple[TransactionValue, ...]


class MeterValuesReq(base.Message, frozen=True, kw_only=True):
    """Station reports values of a connector; 0 is the main meter."""

    connector_id: base.Integer
    transaction_id: base.Integer | None = None
    meter_value: base.OneOrMore[MeterValue16]


class MeterValuesConf(base.Message, frozen=True, kw_only=True):
    """Answer to MeterValues."""


StopReason = Literal[
    "EmergencyStop", "EVDisconnected", "HardReset", "Local", "Other", "PowerLoss", "Reboot", "Remote", "SoftReset",
    "UnlockCommand", "DeAuthorized",
]  # fmt: skip


class StopTransactionReq(base.Message, frozen=True, kw_only=True):
    """Station reports the end of a transaction; `meter_stop` in Wh; without reason it is Local."""

    id_tag: base.String20 | None = None
    meter_stop: base.Integer
    timestamp: base.DateTime
    transaction_id: base.Integer
    reason: StopReason | None = None
    transaction_data: tuple[TransactionData, ...] = ()


class StopTransactionConf(base.Message, frozen=True, kw_only=True):
    """Answer to StopTransaction."""

    id_tag_info: IdTagInfo | None = None


class DataTransferReq(base.Message, frozen=True, kw_only=True):
    """A vendor's own message, of either side; `data` is a text."""

    vendor_id: base.String255
    message_id: base.String50 | None = None
    data: str | None = None


class DataTransferConf(base.Message, frozen=True, kw_only=True):
    """Answer to DataTransfer."""

    status: Literal["Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId"]
    data: str | None = None


class DiagnosticsStatusNotificationReq(base.Message, frozen=True, kw_only=True):
    """Station reports the upload of diagnostics."""

    status: Literal["Idle", "Uploaded", "UploadFailed", "Uploading"]


class DiagnosticsStatusNotificationConf(base.Message, frozen=True, kw_only=True):
    """Answer to DiagnosticsStatusNotification."""


class FirmwareStatusNotificationReq(base.Message, frozen=True, kw_only=True):
    """Station reports the progress of an update."""

    status: Literal[
        "Downloaded", "DownloadFailed", "Downloading", "Idle", "InstallationFailed", "Installing", "Installed"
    ]


class FirmwareStatusNotificationConf(base.Message, frozen=True, kw_only=True):
    """Answer to FirmwareStatusNotification."""


# -- core: the back end's


class ChangeAvailabilityReq(base.Message, frozen=True, kw_only=True):
    """Take a connector, or all (0), in or out of service."""

    connector_id: base.Integer
    type: Literal["Inoperative", "Operative"]


class ChangeAvailabilityConf(base.Message, frozen=True, kw_only=True):
    """Answer to ChangeAvailability."""

    status: Literal["Accepted", "Rejected", "Scheduled"]


class ChangeConfigurationReq(base.Message, frozen=True, kw_only=True):
    """Set a configuration key."""

    key: base.String50
    value: base.String500


ConfigurationStatus = Literal["Accepted", "Rejected", "RebootRequired", "NotSupported"]


class ChangeConfigurationConf(base.Message, frozen=True, kw_only=True):
    """Answer to ChangeConfiguration."""

    status: ConfigurationStatus


class ClearCacheReq(base.Message, frozen=True, kw_only=True):
    """Clear the authorization cache."""


class ClearCacheConf(base.Message, frozen=True, kw_only=True):
    """Answer to ClearCache."""

    status: base.GenericStatus


class GetConfigurationReq(base.Message, frozen=True, kw_only=True):
    """Ask for configuration keys; none: all."""

    key: tuple[base.String50, ...] = ()


class ConfigurationKey(base.Datatype, frozen=True, kw_only=True):
    """A configuration key with its value."""

    key: base.String50
    readonly: bool
    value: base.String500 | None = None


class GetConfigurationConf(base.Message, frozen=True, kw_only=True):
    """Answer to GetConfiguration."""

    configuration_key: tuple[ConfigurationKey, ...] = ()
    unknown_key: tuple[base.String50, ...] = ()


class RemoteStopTransactionReq(base.Message, frozen=True, kw_only=True):
    """Stop a transaction."""

    transaction_id: base.Integer


class RemoteStopTransactionConf(base.Message, frozen=True, kw_only=True):
    """Answer to RemoteStopTransaction."""

    status: base.GenericStatus


class ResetReq(base.Message, frozen=True, kw_only=True):
    """Restart the station."""

    type: Literal["Hard", "Soft"]


class ResetConf(base.Message, frozen=True, kw_only=True):
    """Answer to Reset."""

    status: base.GenericStatus


class UnlockConnectorReq(base.Message, frozen=True, kw_only=True):
    """Unlock a connector."""

    connector_id: base.Integer


class UnlockConnectorConf(base.Message, frozen=True, kw_only=True):
    """Answer to UnlockConnector."""

    status: Literal["Unlocked", "UnlockFailed", "NotSupported"]


# -- firmware, diagnostics, local list, reservation, triggers


class GetDiagnosticsReq(base.Message, frozen=True, kw_only=True):
    """Have diagnostics uploaded to a URL."""

    location: Location16
    retries: base.Integer | None = None
    retry_interval: base.Integer | None = None
    start_time: base.DateTime | None = None
    stop_time: base.DateTime | None = None


class GetDiagnosticsConf(base.Message, frozen=True, kw_only=True):
    """Answer to GetDiagnostics; without a name there is nothing to upload."""

    file_name: base.String255 | None = None


class UpdateFirmwareReq(base.Message, frozen=True, kw_only=True):
    """Have firmware installed from a URL."""

    location: Location16
    retries: base.Integer | None = None
    retrieve_date: base.DateTime
    retry_interval: base.Integer | None = None


class UpdateFirmwareConf(base.Message, frozen=True, kw_only=True):
    """Answer to UpdateFirmware."""


class GetLocalListVersionReq(base.Message, frozen=True, kw_only=True):
    """Ask for the version of the local list."""


class GetLocalListVersionConf(base.Message, frozen=True, kw_only=True):
    """`list_version`: 0 is an empty list, -1 none."""

    list_version: base.Integer


class LocalListEntry(base.Datatype, frozen=True, kw_only=True):
    """An entry; without `id_tag_info` a differential update removes it."""

    id_tag: base.String20
    id_tag_info: IdTagInfo | None = None


class SendLocalListReq(base.Message, frozen=True, kw_only=True):
    """Replace or change the local list."""

    list_version: base.Integer
    local_authorization_list: tuple[LocalListEntry, ...] = ()
    update_type: Literal["Differential", "Full"]


class SendLocalListConf(base.Message, frozen=True, kw_only=True):
    """Answer to SendLocalList."""

    status: Literal["Accepted", "Failed", "NotSupported", "VersionMismatch"]


class ReserveNowReq(base.Message, frozen=True, kw_only=True):
    """Reserve a connector, or any (0)."""

    connector_id: base.Integer
    expiry_date: base.DateTime
    id_tag: base.String20
    parent_id_tag: base.String20 | None = None
    reservation_id: base.Integer


class ReserveNowConf(base.Message, frozen=True, kw_only=True):
    """Answer to ReserveNow."""

    status: Literal["Accepted", "Faulted", "Occupied", "Rejected", "Unavailable"]


class CancelReservationReq(base.Message, frozen=True, kw_only=True):
    """Cancel a reservation."""

    reservation_id: base.Integer


class CancelReservationConf(base.Message, frozen=True, kw_only=True):
    """Answer to CancelReservation."""

    status: base.GenericStatus


Trigger16 = Literal[
    "BootNotification", "DiagnosticsStatusNotification", "FirmwareStatusNotification", "Heartbeat", "MeterValues",
    "StatusNotification",
]  # fmt: skip
ExtendedTrigger16 = Literal[
    "BootNotification", "LogStatusNotification", "FirmwareStatusNotification", "Heartbeat", "MeterValues",
    "SignChargePointCertificate", "StatusNotification",
]  # fmt: skip
TriggerStatus16 = Literal["Accepted", "Rejected", "NotImplemented"]


class TriggerMessageReq(base.Message, frozen=True, kw_only=True):
    """Trigger a message of the station."""

    requested_message: Trigger16
    connector_id: base.Integer | None = None


class TriggerMessageConf(base.Message, frozen=True, kw_only=True):
    """Answer to TriggerMessage."""

    status: TriggerStatus16


# -- smart charging


class SchedulePeriod16(base.Datatype, frozen=True, kw_only=True):
    """A limit from `start_period` on, s after the schedule's start."""

    start_period: base.Integer
    limit: Tenths
    number_phases: base.Integer | None = None


class ChargingSchedule16(base.Datatype, frozen=True, kw_only=True):
    """Limits in W of all phases, or in A of each."""

    duration: base.Integer | None = None
    start_schedule: base.DateTime | None = None
    charging_rate_unit: ChargingRateUnit
    charging_schedule_period: tuple[SchedulePeriod16, ...]
    min_charging_rate: Tenths | None = None


Purpose16 = Literal["ChargePointMaxProfile", "TxDefaultProfile", "TxProfile"]


class ChargingProfile16(base.Datatype, frozen=True, kw_only=True):
    """A schedule with purpose and stack level."""

    charging_profile_id: base.Integer
    transaction_id: base.Integer | None = None
    stack_level: base.Integer
    charging_profile_purpose: Purpose16
    charging_profile_kind: Literal["Absolute", "Recurring", "Relative"]
    recurrency_kind: RecurrencyKind | None = None
    valid_from: base.DateTime | None = None
    valid_to: base.DateTime | None = None
    charging_schedule: ChargingSchedule16


class RemoteStartTransactionReq(base.Message, frozen=True, kw_only=True):
    """Start a transaction."""

    connector_id: base.Integer | None = None
    id_tag: base.String20
    charging_profile: ChargingProfile16 | None = None


class RemoteStartTransactionConf(base.Message, frozen=True, kw_only=True):
    """Answer to RemoteStartTransaction."""

    status: base.GenericStatus


class SetChargingProfileReq(base.Message, frozen=True, kw_only=True):
    """Set a profile of a connector, or of the station (0)."""

    connector_id: base.Integer
    cs_charging_profiles: ChargingProfile16


class SetChargingProfileConf(base.Message, frozen=True, kw_only=True):
    """Answer to SetChargingProfile."""

    status: Literal["Accepted", "Rejected", "NotSupported"]


class ClearChargingProfileReq(base.Message, frozen=True, kw_only=True):
    """Clear profiles: one, or all that fit."""

    id: base.Integer | None = None
    connector_id: base.Integer | None = None
    charging_profile_purpose: Purpose16 | None = None
    stack_level: base.Integer | None = None


class ClearChargingProfileConf(base.Message, frozen=True, kw_only=True):
    """Answer to ClearChargingProfile."""

    status: Literal["Accepted", "Unknown"]


class GetCompositeScheduleReq(base.Message, frozen=True, kw_only=True):
    """Ask what results from all profiles."""

    connector_id: base.Integer
    duration: base.Integer
    charging_rate_unit: ChargingRateUnit | None = None


class GetCompositeScheduleConf(base.Message, frozen=True, kw_only=True):
    """Answer to GetCompositeSchedule."""

    status: base.GenericStatus
    connector_id: base.Integer | None = None
    schedule_start: base.DateTime | None = None
    charging_schedule: ChargingSchedule16 | None = None


# -- security whitepaper


class SecurityEventNotificationReq(base.Message, frozen=True, kw_only=True):
    """Station reports a security event."""

    type: base.String50
    timestamp: base.DateTime
    tech_info: base.String255 | None = None


class SecurityEventNotificationConf(base.Message, frozen=True, kw_only=True):
    """Answer to SecurityEventNotification."""


class SignCertificateReq(base.Message, frozen=True, kw_only=True):
    """Station asks for a certificate, by a PKCS#10 request in PEM."""

    csr: base.String5500


class SignCertificateConf(base.Message, frozen=True, kw_only=True):
    """Answer to SignCertificate."""

    status: base.GenericStatus


class CertificateSignedReq(base.Message, frozen=True, kw_only=True):
    """The signed chain, PEM, leaf first."""

    certificate_chain: base.String10000


class CertificateSignedConf(base.Message, frozen=True, kw_only=True):
    """Answer to CertificateSigned."""

    status: base.GenericStatus


CertificateUse16 = Literal["CentralSystemRootCertificate", "ManufacturerRootCertificate"]


class InstallCertificateReq(base.Message, frozen=True, kw_only=True):
    """Install a root certificate, PEM."""

    certificate_type: CertificateUse16
    certificate: base.String5500


class InstallCertificateConf(base.Message, frozen=True, kw_only=True):
    """Answer to InstallCertificate."""

    status: Literal["Accepted", "Failed", "Rejected"]


class GetInstalledCertificateIdsReq(base.Message, frozen=True, kw_only=True):
    """Ask for installed certificates."""

    certificate_type: CertificateUse16


class GetInstalledCertificateIdsConf(base.Message, frozen=True, kw_only=True):
    """Answer to GetInstalledCertificateIds."""

    certificate_hash_data: base.OneOrMore[base.CertificateHashData] = ()
    status: Literal["Accepted", "NotFound"]


class DeleteCertificateReq(base.Message, frozen=True, kw_only=True):
    """Delete a certificate."""

    certificate_hash_data: base.CertificateHashData


class DeleteCertificateConf(base.Message, frozen=True, kw_only=True):
    """Answer to DeleteCertificate."""

    status: Literal["Accepted", "Failed", "NotFound"]


class LogParameters16(base.Datatype, frozen=True, kw_only=True):
    """Where a log goes, and of what time."""

    remote_location: base.String512
    oldest_timestamp: base.DateTime | None = None
    latest_timestamp: base.DateTime | None = None


class GetLogReq(base.Message, frozen=True, kw_only=True):
    """Have a log uploaded."""

    log: LogParameters16
    log_type: Literal["DiagnosticsLog", "SecurityLog"]
    request_id: base.Integer
    retries: base.Integer | None = None
    retry_interval: base.Integer | None = None


class GetLogConf(base.Message, frozen=True, kw_only=True):
    """Answer to GetLog."""

    status: LogStatus
    filename: base.String255 | None = None


class LogStatusNotificationReq(base.Message, frozen=True, kw_only=True):
    """Station reports the upload of a log."""

    status: Annotated[UploadLogStatus, Meta(extra={"1.6": {"without": ("AcceptedCanceled",)}})]
    request_id: base.Integer | None = None


class LogStatusNotificationConf(base.Message, frozen=True, kw_only=True):
    """Answer to LogStatusNotification."""


class Firmware16(base.Datatype, frozen=True, kw_only=True):
    """A signed image: certificate in PEM, signature in base64."""

    location: base.String512
    retrieve_date_time: base.DateTime
    install_date_time: base.DateTime | None = None
    signing_certificate: base.String5500
    signature: base.String800


class SignedUpdateFirmwareReq(base.Message, frozen=True, kw_only=True):
    """Have signed firmware installed."""

    retries: base.Integer | None = None
    retry_interval: base.Integer | None = None
    request_id: base.Integer
    firmware: Firmware16


class SignedUpdateFirmwareConf(base.Message, frozen=True, kw_only=True):
    """Answer to SignedUpdateFirmware."""

    status: UpdateFirmwareStatus


class SignedFirmwareStatusNotificationReq(base.Message, frozen=True, kw_only=True):
    """Station reports the progress of a signed update."""

    status: FirmwareStatus
    request_id: base.Integer | None = None


class SignedFirmwareStatusNotificationConf(base.Message, frozen=True, kw_only=True):
    """Answer to SignedFirmwareStatusNotification."""


class ExtendedTriggerMessageReq(base.Message, frozen=True, kw_only=True):
    """Trigger a message of the station, of the whitepaper's too."""

    requested_message: ExtendedTrigger16
    connector_id: base.Integer | None = None


class ExtendedTriggerMessageConf(base.Message, frozen=True, kw_only=True):
    """Answer to ExtendedTriggerMessage."""

    status: TriggerStatus16
