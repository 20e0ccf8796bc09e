"""A payment terminal: its facts and commands. It communicates with its provider by itself.

`psp_ref` is the provider's reference of a payment. Each command is repeated until it is answered, also across a restart
of the station: a terminal executes the same command for the same payment once, and answers it again.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.payment import Address
from v2g_station.kernel.kernel import StationCommand

# -- facts


class CardPresented(Fact, frozen=True, kw_only=True):
    """A payment card is presented to the terminal, at an EVSE or at a common one.

    `card` identifies the card while it is present: a hash made by the terminal, never a number.
    """

    evse_id: int | None = None
    card: str = ""


class CardAuthorized(Fact, frozen=True, kw_only=True):
    """The provider has reserved the amount (C18). `details` are types and values of appendix 6.2, such as CardBin."""

    evse_id: int | None
    psp_ref: str
    card: str = ""
    details: tuple[tuple[str, str], ...] = ()


class CardRefused(Fact, frozen=True, kw_only=True):
    """The provider has declined, or could not be reached."""

    evse_id: int | None
    reason: str = ""


class AuthorizationIncreased(Fact, frozen=True, kw_only=True):
    """Whether the provider has increased the reservation as requested (C23)."""

    psp_ref: str
    approved: bool


class PaymentSettled(Fact, frozen=True, kw_only=True):
    """The outcome of a settlement (C21, C22). `info` is the reason of a failure; receipts are the terminal's.

    `amount` is what was, or would have been, taken: no more than was reserved, in units that can be paid; None: as
    commanded.
    """

    psp_ref: str
    status: Literal["Settled", "Rejected", "Failed"]
    amount: Decimal | None = None
    info: str = ""
    receipt_id: str = ""
    receipt_url: str = ""


class PaymentReleased(Fact, frozen=True, kw_only=True):
    """Whether the amount could be released and the payment canceled (C19, C20)."""

    psp_ref: str
    done: bool = True


class VatEntered(Fact, frozen=True, kw_only=True):
    """A driver enters the VAT number for the receipt (C18.FR.08)."""

    evse_id: int
    number: str


class TerminalState(Fact, frozen=True, kw_only=True):
    """Whether the terminal reaches its provider, and whether it is faulty."""

    connected: bool = True
    problem: bool = False


# -- commands


class AuthorizeCard(StationCommand, frozen=True, kw_only=True):
    """Have the provider reserve this amount on the presented card (C18.FR.01, .02).

    `CardAuthorized` or `CardRefused` follows.
    """

    evse_id: int | None
    card: str
    amount: Decimal


class IncreaseAuthorization(StationCommand, frozen=True, kw_only=True):
    """Increase the reservation to a total of `amount` (C23.FR.01); `AuthorizationIncreased` follows."""

    psp_ref: str
    amount: Decimal


class SettlePayment(StationCommand, frozen=True, kw_only=True):
    """Take this amount and release the rest (C21.FR.01); `PaymentSettled` follows.

    `merchant` (Id, TaxId, Name, Address, City) and the VAT number's holder are for the terminal's receipt.
    """

    psp_ref: str
    amount: Decimal
    merchant: Mapping[str, str] = msgspec.field(default_factory=dict)
    vat_number: str = ""
    vat_company: Address | None = None


class CancelPayment(StationCommand, frozen=True, kw_only=True):
    """Release the amount and cancel the payment (C19.FR.01, C20.FR.04); `PaymentReleased` follows."""

    psp_ref: str


class ShowReceipt(StationCommand, frozen=True, kw_only=True):
    """Display the receipt's address (C21)."""

    evse_id: int | None
    url: str
    receipt_id: str = ""
