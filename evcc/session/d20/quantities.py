"""RationalNumber of the wire to and from the integers (W, Wh, mV, mA) of the core."""

from typing import Final

from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.quantities import PHASES, integer, stated

BOUND: Final = 10**9
"""Maximum magnitude accepted from outside, in the small unit."""


def to_whole(number: RationalNumber) -> int:
    """Return W or Wh, truncated to whole ones."""
    return integer(number, 0, BOUND)


def to_milli(number: RationalNumber) -> int:
    """Return mV or mA of a number of V or A."""
    return integer(number, 3, BOUND)


def phase_powers(mode: object, name: str) -> list[int]:
    """Return a field's power (W) of each phase up to the last that has one: of all where it is the only one; nothing
    without any."""
    values: list[RationalNumber | None] = [getattr(mode, name + phase, None) for phase in PHASES]
    return stated([None if value is None else to_whole(value) for value in values])
