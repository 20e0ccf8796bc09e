"""Amounts of money in the API: decimal text beside the currency, exact, with at least the currency's decimals."""

import msgspec

from v2g.units import Currency, Decimals, decimals_of


class Money(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount in units of a currency."""

    amount: Decimals
    currency: Currency


def money_of(micro: int, currency: str) -> Money:
    """Return micro-units as an amount."""
    return Money(amount=decimals_of(micro, currency), currency=currency)
