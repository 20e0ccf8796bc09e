"""Between RationalNumber on the wire and integers of W, Wh, mV and mA inside.

What does not fit 16 bits loses digits towards zero, so that no limit is ever overstated; what comes in is held within a
bound, so that an absurd exponent stays a number that the rest can work with.
"""

from functools import lru_cache
from typing import Final

from v2g.iso15118.d20.messages.common_types import RationalNumber

_MAX_VALUE: Final = 32767


@lru_cache(maxsize=4096)  # a loop says the same limits again and again
def rational(value: int, exponent: int) -> RationalNumber:
    """Return value x 10^exponent."""
    sign, value = (-1, -value) if value < 0 else (1, value)
    while value > _MAX_VALUE:
        value //= 10
        exponent += 1
    return RationalNumber(exponent=exponent if value else 0, value=sign * value)


def integer(number: RationalNumber, shift: int, bound: int) -> int:
    """Return number x 10^shift, cut towards zero and to -bound..bound."""
    value, power = number.value, number.exponent + shift
    if power:
        factor: int = 10 ** min(abs(power), 12)
        if power > 0:
            value *= factor
        else:
            value = value // factor if value >= 0 else -(-value // factor)
    if -bound <= value <= bound:
        return value
    return bound if value > 0 else -bound
