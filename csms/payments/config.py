"""The keys of `[payments]`."""

from pathlib import Path
from typing import Annotated

import msgspec


class Mandates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A payment provider that debits by mandates, such as those of UPI AutoPay."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s]+\Z", max_length=1900)]
    """Base URL of the provider or of the adapter to it; `http:` only on this machine."""
    secret_file: Path
    """File (mode 0600) with the bearer token."""
    root: Path | None = None
    """CA of the server's certificate (PEM); without it those of the system."""
    poll_interval_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 30.0
    """Time between looks for new postings and open requests."""
    notice_s: Annotated[int, msgspec.Meta(ge=0, le=2_592_000)] = 86_400
    """How long before a debit its payer gets a notice of it, for UPI AutoPay a day; 0: the provider sends it by itself,
    or none."""


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
