"""Payment mandates: a driver lets the operator debit what each session costs, up to an amount, as with UPI AutoPay.

Debits follow from postings: a settlement's is debited, and its reversal reverses that debit. Each request to the
payment provider has a key that names the settlement, so that a repeated one has no second effect.
"""

from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from v2g.energy.settlement.bookkeeping import Posting
from v2g.errors import RefusedError
from v2g.units import payable_micro

Reference = Annotated[str, Meta(min_length=1, max_length=255)]
"""A payment provider's name of a mandate or a debit."""


class Mandate(msgspec.Struct, frozen=True, kw_only=True):
    """A mandate for the vehicle of a contract (EMAID): at most `most_micro` (micro-units) a debit, until `expires_ms`.

    `requested` until the provider has taken it, `pending` until the payer has approved it, at `approval_url` if that is
    set. `payer` is the payer's address at the provider, for UPI a VPA; `reference` is the provider's.
    """

    id: int
    vehicle: str
    payer: str
    currency: str
    most_micro: int
    created_ms: int
    expires_ms: int
    state: Literal["requested", "pending", "active", "ended"]
    reference: str
    approval_url: str
    reason: str

    @property
    def key(self) -> str:
        """The key of the request that creates it."""
        return f"mandate/{self.created_ms}/{self.id}"


class Debit(msgspec.Struct, frozen=True, kw_only=True):
    """A debit for a posting, or, with a negative amount, the reversal of one; micro-units.

    `due` until the provider has decided; `nothing`: there is nothing to debit or to reverse. `notice` is the provider's
    reference of the payer's notice, given at `noticed_ms` (UTC); None: none yet, or none is needed.
    """

    posting: int
    mandate: int
    station_id: str
    session_id: str
    key: str
    amount_micro: int
    currency: str
    state: Literal["due", "done", "failed", "nothing"]
    reference: str
    reason: str
    at_ms: int
    notice: str
    noticed_ms: int | None


class MandateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's answer about a mandate."""

    reference: Reference
    state: Literal["pending", "active", "ended"]
    approval_url: Annotated[str, Meta(max_length=2000)] = ""
    reason: Annotated[str, Meta(max_length=2000)] = ""


class DebitAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's answer about a debit or a reversal. `pending`: the same request later returns the result."""

    reference: Reference
    state: Literal["pending", "done", "failed"]
    reason: Annotated[str, Meta(max_length=2000)] = ""


class PaymentProvider(Protocol):
    """Carries out mandates. A repeated `key` has no second effect and returns the present state of the first one.

    Every method raises RefusedError where repeating is useless, and TransportError or CodecError where the outcome is
    unknown and the request must be repeated with its key.
    """

    async def create(self, mandate: Mandate) -> MandateAnswer:
        """Create a mandate by its `key`."""

    async def find(self, reference: str) -> MandateAnswer:
        """Return the state of a mandate."""

    async def notify(self, key: str, mandate: str, amount_micro: int, currency: str, notice_s: int) -> DebitAnswer:
        """Tell the payer of a debit that follows at least `notice_s` after the answer `done`."""

    async def debit(self, key: str, mandate: str, amount_micro: int, currency: str, notice: str) -> DebitAnswer:
        """Debit an amount by the mandate with a reference, after the notice with one, "" for none."""

    async def reverse(self, key: str, debit: str) -> DebitAnswer:
        """Give back the debit with a reference, all of it."""


def debt_of(posting: Posting, mandate: Mandate) -> int:
    """Return what a posting lets debit, micro-units, rounded to the currency's smallest unit; 0 if nothing is owed.

    Raises RefusedError (`above_limit`) for more than the mandate allows.
    """
    owed = sum(each.amount for each in posting.entries if (each.account, each.unit) == ("driver", mandate.currency))
    amount = max(0, payable_micro(owed, mandate.currency))
    if amount > mandate.most_micro:
        raise RefusedError("more than the mandate allows", reason="above_limit")
    return amount
