"""A payment for one session: which steps it takes, each of which may be repeated without a second effect."""

from typing import Final, Literal

import msgspec

PaymentState = Literal[
    "requested", "pending", "authorized", "starting", "running", "held", "capturing", "releasing", "settled",
    "released", "failed",
]  # fmt: skip
"""`requested`: the provider is asked; `pending`: the driver approves; `starting`: the station is asked; `held`: the
session has a cost in another currency, and an operator decides; `settled`: captured, the rest is free; `released`:
nothing was captured; `failed`: the provider has declined."""

BEGINNING: Final = ("requested", "pending", "authorized", "starting")
"""States in which nobody else may pay at the EVSE, by an index; afterwards its transaction says whether it is free."""
OVER: Final = frozenset({"settled", "released", "failed"})
ACCEPTED: Final = frozenset({"starting", "running"})
"""States in which the payment's token may charge."""


class DirectPayment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment at an EVSE: `amount_micro` is held, `captured_micro` of it taken; `token` is its session's id token;
    `return_url`: where the provider sends the driver afterwards, "" for nowhere."""

    id: int
    station_id: str
    evse_id: int
    token: str
    amount_micro: int
    captured_micro: int
    currency: str
    state: PaymentState
    reference: str
    approval_url: str
    return_url: str
    transaction_id: str
    reason: str
    created_ms: int
    changed_ms: int

    def key(self, act: str) -> str:
        """Return the key of a request to the provider, by which a repeated one has no second effect."""
        return f"direct/{self.created_ms}/{self.id}/{act}"
