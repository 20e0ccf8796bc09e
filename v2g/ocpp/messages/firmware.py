"""Firmware: updates of stations, and publication by local controllers (functional block L)."""

from typing import Annotated, Literal

from v2g.ocpp.messages import base


class Firmware(base.Datatype, frozen=True, kw_only=True):
    """An image: its URL, times of download and installation, and its signature (PEM, signature in base64)."""

    location: Annotated[str, base.text(2000, v201=512)]
    retrieve_date_time: base.DateTime
    install_date_time: base.DateTime | None = None
    signing_certificate: base.String5500 | None = None
    signature: base.String800 | None = None


class UpdateFirmwareRequest(base.Message, frozen=True, kw_only=True):
    """CSMS has firmware installed; `retry_interval` in s (L01, L02)."""

    retries: base.NonNegative | None = None
    retry_interval: base.Integer | None = None
    request_id: base.Identifier
    firmware: Firmware


UpdateFirmwareStatus = Literal["Accepted", "Rejected", "AcceptedCanceled", "InvalidCertificate", "RevokedCertificate"]


class UpdateFirmwareResponse(base.Message, frozen=True, kw_only=True):
    """Answer to UpdateFirmware."""

    status: UpdateFirmwareStatus
    status_info: base.StatusInfo | None = None


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


class FirmwareStatusNotificationRequest(base.Message, frozen=True, kw_only=True):
    """Station reports progress; `request_id` may be omitted only when `status` is Idle (L01)."""

    status: FirmwareStatus
    request_id: base.Identifier | None = None
    status_info: Annotated[base.StatusInfo | None, base.V21] = None


class FirmwareStatusNotificationResponse(base.Message, frozen=True, kw_only=True):
    """Answer to FirmwareStatusNotification."""


class PublishFirmwareRequest(base.Message, frozen=True, kw_only=True):
    """CSMS has a local controller publish firmware to its stations; `checksum` is MD5 in hex (L03)."""

    location: Annotated[str, base.text(2000, v201=512)]
    retries: base.NonNegative | None = None
    checksum: base.String32
    request_id: base.NonNegativeId
    retry_interval: base.NonNegative | None = None


class PublishFirmwareResponse(base.Message, frozen=True, kw_only=True):
    """Answer to PublishFirmware."""

    status: base.GenericStatus
    status_info: base.StatusInfo | None = None


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


class PublishFirmwareStatusNotificationRequest(base.Message, frozen=True, kw_only=True):
    """Local controller reports progress; `location` has the URIs once Published (L03)."""

    status: PublishFirmwareStatus
    location: base.OneOrMore[Annotated[str, base.text(2000, v201=512)]] = ()
    request_id: base.NonNegativeId | None = None
    status_info: Annotated[base.StatusInfo | None, base.V21] = None


class PublishFirmwareStatusNotificationResponse(base.Message, frozen=True, kw_only=True):
    """Answer to PublishFirmwareStatusNotification."""


class UnpublishFirmwareRequest(base.Message, frozen=True, kw_only=True):
    """CSMS has firmware unpublished; `checksum` is MD5 in hex (L04)."""

    checksum: base.String32


UnpublishFirmwareStatus = Literal["DownloadOngoing", "NoFirmware", "Unpublished"]


class UnpublishFirmwareResponse(base.Message, frozen=True, kw_only=True):
    """Answer to UnpublishFirmware."""

    status: UnpublishFirmwareStatus
