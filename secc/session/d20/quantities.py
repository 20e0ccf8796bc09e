"""RationalNumber on the wire and integers of mV, mA and W inside; values are clamped to plausible magnitudes."""

from collections.abc import Iterable
from typing import Final

from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.quantities import PHASES, integer, whole

MOST: Final = 10_000_000
"""Maximum magnitude accepted from outside: 10 MW, 10 kV, 10 kA (mV, mA, W)."""


def by_phase(name: str, powers: Iterable[int]) -> dict[str, RationalNumber]:
    """Return powers (W) as the fields of a value, one of each phase."""
    return {name + phase: whole(power_w) for phase, power_w in zip(PHASES, powers, strict=False)}


def scaled(number: RationalNumber, shift: int = 0) -> int:
    """Return number x 10^shift as an integer, clamped to -MOST..MOST."""
    return integer(number, shift, MOST)


def to_w(number: RationalNumber) -> int:
    """Return W (or Wh)."""
    return integer(number, 0, MOST)


def to_milli(number: RationalNumber) -> int:
    """Return mV or mA."""
    return integer(number, 3, MOST)
