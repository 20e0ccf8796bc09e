"""Price constants and rounding without messages: back ends use prices without loading EXI."""

from fractions import Fraction
from typing import Final

PRICE_ALGORITHM: Final = "urn:iso:std:iso:15118:-20:PriceAlgorithm:"
"""Common prefix of the names of all price algorithms."""


def rounded(value: Fraction) -> tuple[int, int]:
    """Return an amount of money as (value, exponent), in at most six decimals and 16 bits, rounded down.

    The payer never pays too much; amounts that the vehicle receives are negative, so they are rounded
    in its favour as well.
    """
    number, exponent = value.numerator * 1_000_000 // value.denominator, -6
    while not -32768 <= number <= 32767:
        number, exponent = number // 10, exponent + 1
    return number, exponent if number else 0
