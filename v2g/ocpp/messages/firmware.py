"""Firmware: updates of stations, and publication by local controllers (functional block L)."""

from typing import Annotated, Literal

from v2g.ocpp.messages.base import (
    V21,
    Datatype,
    DateTime,
    GenericStatus,
    Identifier,
    Integer,
    Message,
    NonNegative,
    NonNegativeId,
    OneOrMore,
    StatusInfo,
    String32,
    String800,
    String5500,
    text,
)


class Firmware(Datatype, frozen=True, kw_only=True):
    """An image: its URL, times of download and installation, and its signature (PEM, signature in base64)."""

    location: Annotated[str, text(2000, v201=512)]
    retrieve_date_time: DateTime
    install_date_time: DateTime | None = None
    signing_certificate: String5500 | None = None
    signature: String800 | None = None


class UpdateFirmwareRequest(Message, frozen=True, kw_only=True):
    """CSMS has firmware installed; `retry_interval` in s (L01, L02)."""

    retries: NonNegative | None = None
    retry_interval: Integer | None = None
    request_id: Identifier
    firmware: Firmware


UpdateFirmwareStatus = Literal["Accepted", "Rejected", "AcceptedCanceled", "InvalidCertificate", "RevokedCertificate"]


class UpdateFirmwareResponse(Message, frozen=True, kw_only=True):
    """Answer to UpdateFirmware."""

    status: UpdateFirmwareStatus
    status_info: StatusInfo | None = None


FirmwareStatus = Literal[
    "Downloaded",
    "DownloadFailed",
    "Downloading",
    "DownloadScheduled",
    "DownloadPaused",
    "Idle",
    "InstallationFailed",
    "Installing",
    "Installed",
    "InstallRebooting",
    "InstallScheduled",
    "InstallVerificationFailed",
    "InvalidSignature",
    "SignatureVerified",
]


class FirmwareStatusNotificationRequest(Message, frozen=True, kw_only=True):
    """Station reports progress; `request_id` may be omitted only when `status` is Idle (L01)."""

    status: FirmwareStatus
    request_id: Identifier | None = None
    status_info: Annotated[StatusInfo | None, V21] = None


class FirmwareStatusNotificationResponse(Message, frozen=True, kw_only=True):
    """Answer to FirmwareStatusNotification."""


class PublishFirmwareRequest(Message, frozen=True, kw_only=True):
    """CSMS has a local controller publish firmware to its stations; `checksum` is MD5 in hex (L03)."""

    location: Annotated[str, text(2000, v201=512)]
    retries: NonNegative | None = None
    checksum: String32
    request_id: NonNegativeId
    retry_interval: NonNegative | None = None


class PublishFirmwareResponse(Message, frozen=True, kw_only=True):
    """Answer to PublishFirmware."""

    status: GenericStatus
    status_info: StatusInfo | None = None


PublishFirmwareStatus = Literal[
    "Idle",
    "DownloadScheduled",
    "Downloading",
    "Downloaded",
    "Published",
    "DownloadFailed",
    "DownloadPaused",
    "InvalidChecksum",
    "ChecksumVerified",
    "PublishFailed",
]


class PublishFirmwareStatusNotificationRequest(Message, frozen=True, kw_only=True):
    """Local controller reports progress; `location` has the URIs once Published (L03)."""

    status: PublishFirmwareStatus
    location: OneOrMore[Annotated[str, text(2000, v201=512)]] = ()
    request_id: NonNegativeId | None = None
    status_info: Annotated[StatusInfo | None, V21] = None


class PublishFirmwareStatusNotificationResponse(Message, frozen=True, kw_only=True):
    """Answer to PublishFirmwareStatusNotification."""


class UnpublishFirmwareRequest(Message, frozen=True, kw_only=True):
    """CSMS has firmware unpublished; `checksum` is MD5 in hex (L04)."""

    checksum: String32


UnpublishFirmwareStatus = Literal["DownloadOngoing", "NoFirmware", "Unpublished"]


class UnpublishFirmwareResponse(Message, frozen=True, kw_only=True):
    """Answer to UnpublishFirmware."""

    status: UnpublishFirmwareStatus
