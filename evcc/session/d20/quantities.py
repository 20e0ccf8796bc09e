"""RationalNumber of the wire to and from the integers (W, Wh, mV, mA) of the core."""

from typing import Final

from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.quantities import integer, rational

BOUND: Final = 10**9
"""Maximum magnitude accepted from outside, in the small unit."""


def whole(number: int) -> RationalNumber:
    """Return W or Wh as a wire number."""
    return rational(number, 0)


def milli(number: int) -> RationalNumber:
    """Return V or A from mV or mA."""
    return rational(number, -3)


def to_whole(number: RationalNumber) -> int:
    """Return W or Wh, truncated to whole ones."""
    return integer(number, 0, BOUND)


def to_milli(number: RationalNumber) -> int:
    """Return mV or mA of a number of V or A."""
    return integer(number, 3, BOUND)
