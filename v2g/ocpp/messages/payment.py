"""Payment without a token of the operator: terminals, QR codes, receipts (functional block C, OCPP 2.1 only)."""

from typing import Final, Literal

from v2g.ocpp.messages.base import (
    Datatype,
    DateTime,
    Decimal,
    GenericStatus,
    Integer,
    Message,
    NonNegative,
    StatusInfo,
    String20,
    String36,
    String50,
    String100,
    String255,
    String500,
    String2000,
)

DIRECT_PAYMENT: Final = "DirectPayment"
"""Type of identifier whose value is a payment provider's reference, valid for one transaction (C18.FR.04)."""


class Address(Datatype, frozen=True, kw_only=True):
    """A postal address."""

    name: String50
    address1: String100
    address2: String100 | None = None
    city: String100
    postal_code: String20 | None = None
    country: String50


PaymentStatus = Literal["Settled", "Canceled", "Rejected", "Failed"]


class NotifySettlementRequest(Message, frozen=True, kw_only=True):
    """Station reports a settlement of the payment terminal; `psp_ref` identifies the payment (C20 to C22)."""

    transaction_id: String36 | None = None
    psp_ref: String255
    status: PaymentStatus
    status_info: String500 | None = None
    settlement_amount: Decimal
    settlement_time: DateTime
    receipt_id: String50 | None = None
    receipt_url: String2000 | None = None
    vat_company: Address | None = None
    vat_number: String20 | None = None


class NotifySettlementResponse(Message, frozen=True, kw_only=True):
    """The receipt, when the CSMS makes it."""

    receipt_url: String2000 | None = None
    receipt_id: String50 | None = None


class NotifyWebPaymentStartedRequest(Message, frozen=True, kw_only=True):
    """CSMS announces a web payment for an EVSE; the station waits `timeout` s (C25)."""

    evse_id: NonNegative
    timeout: Integer


class NotifyWebPaymentStartedResponse(Message, frozen=True, kw_only=True):
    """Answer to NotifyWebPaymentStarted."""


class VatNumberValidationRequest(Message, frozen=True, kw_only=True):
    """Station requests the check of a VAT number for a receipt (C18.FR.08)."""

    vat_number: String20
    evse_id: NonNegative | None = None


class VatNumberValidationResponse(Message, frozen=True, kw_only=True):
    """Answer to VatNumberValidation; `evse_id` is that of the request (C18.FR.10)."""

    company: Address | None = None
    status_info: StatusInfo | None = None
    vat_number: String20
    evse_id: NonNegative | None = None
    status: GenericStatus
