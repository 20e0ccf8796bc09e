"""Payment without a token of the operator: terminals, QR codes, receipts (functional block C, OCPP 2.1 only)."""

from typing import Final, Literal

from v2g.ocpp.messages import base

DIRECT_PAYMENT: Final = "DirectPayment"
"""Type of identifier whose value is a payment provider's reference, valid for one transaction (C18.FR.04)."""


class Address(base.Datatype, frozen=True, kw_only=True):
    """A postal address."""

    name: base.String50
    address1: base.String100
    address2: base.String100 | None = None
    city: base.String100
    postal_code: base.String20 | None = None
    country: base.String50


PaymentStatus = Literal["Settled", "Canceled", "Rejected", "Failed"]


class NotifySettlementRequest(base.Message, frozen=True, kw_only=True):
    """Station reports a settlement of the payment terminal; `psp_ref` identifies the payment (C20 to C22)."""

    transaction_id: base.String36 | None = None
    psp_ref: base.String255
    status: PaymentStatus
    status_info: base.String500 | None = None
    settlement_amount: base.Decimal
    settlement_time: base.DateTime
    receipt_id: base.String50 | None = None
    receipt_url: base.String2000 | None = None
    vat_company: Address | None = None
    vat_number: base.String20 | None = None


class NotifySettlementResponse(base.Message, frozen=True, kw_only=True):
    """The receipt, when the CSMS makes it."""

    receipt_url: base.String2000 | None = None
    receipt_id: base.String50 | None = None


class NotifyWebPaymentStartedRequest(base.Message, frozen=True, kw_only=True):
    """CSMS announces a web payment for an EVSE; the station waits `timeout` s (C25)."""

    evse_id: base.NonNegative
    timeout: base.Integer


class NotifyWebPaymentStartedResponse(base.Message, frozen=True, kw_only=True):
    """Answer to NotifyWebPaymentStarted."""


class VatNumberValidationRequest(base.Message, frozen=True, kw_only=True):
    """Station requests the check of a VAT number for a receipt (C18.FR.08)."""

    vat_number: base.String20
    evse_id: base.NonNegative | None = None


class VatNumberValidationResponse(base.Message, frozen=True, kw_only=True):
    """Answer to VatNumberValidation; `evse_id` is that of the request (C18.FR.10)."""

    company: Address | None = None
    status_info: base.StatusInfo | None = None
    vat_number: base.String20
    evse_id: base.NonNegative | None = None
    status: base.GenericStatus
