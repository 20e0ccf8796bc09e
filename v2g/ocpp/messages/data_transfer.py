"""Vendor-specific messages (functional block P)."""

from typing import Any, Final, Literal

from v2g.ocpp.messages.base import Message, StatusInfo, String50, String255

VENDOR: Final = "org.v2g-engine"
"""Of the messages of this project's own stations and back ends."""


class DataTransferRequest(Message, frozen=True, kw_only=True):
    """A vendor's own message; `vendor_id` is a reversed domain name (P01, P02)."""

    message_id: String50 | None = None
    data: Any = None
    vendor_id: String255


DataTransferStatus = Literal["Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId"]


class DataTransferResponse(Message, frozen=True, kw_only=True):
    """Answer to DataTransfer."""

    status: DataTransferStatus
    status_info: StatusInfo | None = None
    data: Any = None
