"""Amounts of money in the API: decimal text beside the currency, exact, with at least the currency's decimals."""

from decimal import Decimal
from typing import Annotated, Final

import msgspec

from v2g.units import MICRO, currency_digits

Decimals = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,13}(\.[0-9]{1,6})?\Z", examples=["0.25"])]
"""A number as decimal text, with at most six decimals."""

Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z", examples=["EUR"])]
"""ISO 4217."""

_MICRO: Final = Decimal(MICRO)


class Money(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount in units of a currency."""

    amount: Decimals
    currency: Currency


def money_of(micro: int, currency: str) -> Money:
    """Return micro-units as an amount."""
    return Money(amount=decimals_of(micro, currency), currency=currency)


def decimals_of(micro: int, currency: str) -> str:
    """Return micro-units as decimal text; JPY 12, EUR 12.50, BHD 12.500, or more decimals where they are not zero."""
    exact = (micro / _MICRO).normalize()
    exponent = exact.as_tuple().exponent
    assert isinstance(exponent, int), "of an integer"
    return f"{exact:.{max(currency_digits(currency), -exponent)}f}"


def micro_of(text: str) -> int:
    """Return decimal text of `Decimals` in micro-units."""
    return int(Decimal(text) * _MICRO)
