"""The keys of `[payments]`."""

from pathlib import Path
from typing import Annotated

import msgspec


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A payment provider."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s]+\Z", max_length=1900)]
    """Base URL of the provider or of the adapter to it; `http:` only on this machine."""
    secret_file: Path
    """File (mode 0600) with the bearer token."""
    root: Path | None = None
    """CA of the server's certificate (PEM); without it those of the system."""
    poll_interval_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 30.0
    """Time between looks for what is due."""


class Mandates(Provider, frozen=True, kw_only=True):
    """A payment provider that debits by mandates, such as those of UPI AutoPay."""

    notice_s: Annotated[int, msgspec.Meta(ge=0, le=2_592_000)] = 86_400
    """How long before a debit its payer gets a notice of it, for UPI AutoPay a day; 0: the provider sends it by itself,
    or none."""


class DirectPaymentConfig(Provider, frozen=True, kw_only=True):
    """A payment provider that holds an amount before a session and takes what it cost."""

    amount: Annotated[str, msgspec.Meta(pattern=r"^\d{1,7}(\.\d{1,3})?\Z", examples=["30.00"])]
    """What is held before each session; it ends when it has cost as much. 0: no payments begin, open ones are ended."""
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z", examples=["EUR"])]
    """Its currency; only sessions with prices in it can be paid so."""
    poll_interval_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 5.0
    """Time between looks for what is due."""
    start_s: Annotated[int, msgspec.Meta(ge=60, le=3600)] = 600
    """How long a driver may take to pay, and then to plug in."""


class Payments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Payments at terminals and on the web (OCPP C18 to C25)."""

    terminals: bool = False
    """Stations have payment terminals; a payment there authorizes charging. Web payments need no such setting."""
    receipt_url: Annotated[str, msgspec.Meta(pattern=r"^(|https://[^{}]*\{receipt_id\}[^{}]*)\Z", max_length=1900)] = ""
    """URL of receipts made by the back end, with `{receipt_id}` for the receipt's number; empty has stations make
    receipts themselves."""
    pay_url: Annotated[
        str, msgspec.Meta(pattern=r"^(|https://[^{}]*\{station_id\}[^{}]*\{evse_id\}[^{}]*)\Z", max_length=1900)
    ] = ""
    """Page of a payment provider for charging without a contract, with `{station_id}` and `{evse_id}`: that of a free
    EVSE leads to it; empty: none."""
    mandates: Mandates | None = None
    """A payment provider that debits what sessions cost; none by default."""
    direct: DirectPaymentConfig | None = None
    """A payment provider for charging without a contract from the page of an EVSE; none by default."""
