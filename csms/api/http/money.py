"""Amounts of money in the API: decimal text beside the currency, exact, with at least the currency's decimals."""

from typing import Annotated

import msgspec

from v2g.units import Decimals, decimals_of

Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z", examples=["EUR"])]
"""ISO 4217."""


class Money(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount in units of a currency."""

    amount: Decimals
    currency: Currency


def money_of(micro: int, currency: str) -> Money:
    """Return micro-units as an amount."""
    return Money(amount=decimals_of(micro, currency), currency=currency)
