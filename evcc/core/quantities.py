"""RationalNumber of the wire to and from the integers (W, Wh, mV, mA) that the core calculates with.

What does not fit 16 bits loses digits towards zero, so that no limit of the vehicle is ever overstated; what comes in
is held within a bound, so that an absurd exponent stays a number that the rest can work with.
"""

from typing import Final

from v2g.iso15118.messages.common_types import RationalNumber

BOUND: Final = 10**9
"""Largest magnitude that is taken from outside, in the small unit."""


def whole(number: int) -> RationalNumber:
    """Return W or Wh as the wire carries them."""
    return _rational(number, 0)


def milli(number: int) -> RationalNumber:
    """Return V or A from mV or mA."""
    return _rational(number, -3)


def to_whole(number: RationalNumber) -> int:
    """Return W or Wh, cut to whole ones."""
    return _integer(number, 0)


def to_milli(number: RationalNumber) -> int:
    """Return mV or mA of a number of V or A."""
    return _integer(number, 3)


def _rational(value: int, exponent: int) -> RationalNumber:
    sign, value = (-1, -value) if value < 0 else (1, value)
    while value > 32767:
        value, exponent = value // 10, exponent + 1
    return RationalNumber(exponent=exponent if value else 0, value=sign * value)


def _integer(number: RationalNumber, shift: int) -> int:
    power = number.exponent + shift
    factor = int(10 ** min(abs(power), 9))
    magnitude = abs(number.value) * factor if power >= 0 else abs(number.value) // factor
    return max(-BOUND, min(BOUND, -magnitude if number.value < 0 else magnitude))
