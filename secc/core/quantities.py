"""Between RationalNumber on the wire and integers of mV, mA and W inside.

Figures of the vehicle are cut to what any charger could mean, so that an absurd exponent stays a number that the rest
can work with; figures that do not fit 16 bits lose digits towards zero, so that no limit is ever overstated.
"""

from typing import Final

from v2g.iso15118.messages.common_types import RationalNumber

MOST: Final = 10_000_000
"""Largest magnitude that is taken from outside: 10 MW, 10 kV, 10 kA (mV, mA, W)."""


def rational(value: int, exponent: int) -> RationalNumber:
    """Return value x 10^exponent."""
    sign, value = (-1, -value) if value < 0 else (1, value)
    while value > 32767:
        value //= 10
        exponent += 1
    return RationalNumber(exponent=exponent if value else 0, value=sign * value)


def watts(power_w: int) -> RationalNumber:
    """Return W (or Wh) from whole W (or Wh)."""
    return rational(power_w, 0)


def milli(value: int) -> RationalNumber:
    """Return V or A from mV or mA."""
    return rational(value, -3)


def scaled(number: RationalNumber, shift: int = 0) -> int:
    """Return number x 10^shift as an integer, cut to -MOST..MOST."""
    power = number.exponent + shift
    if power >= 0:
        value: int = number.value * 10 ** min(power, 12)
    else:
        sign = -1 if number.value < 0 else 1
        value = sign * (abs(number.value) // 10 ** min(-power, 12))
    return max(-MOST, min(MOST, value))


def to_w(number: RationalNumber) -> int:
    """Return W (or Wh)."""
    return scaled(number)


def to_milli(number: RationalNumber) -> int:
    """Return mV or mA."""
    return scaled(number, 3)
