"""Conversion between RationalNumber in messages and integers of W, Wh, mV and mA.

Values beyond 16 bits lose digits towards zero, so that no limit is overstated; received values are
clamped, so that an absurd exponent gives a usable number.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from v2g.iso15118.d20.messages.common_types import RationalNumber

_MAX_VALUE: Final = 32767

PHASES: Final = ("", "_l2", "_l3")
"""Suffixes of the values of each phase: the value without one is that of the first, or of all if it is the only one."""


@lru_cache(maxsize=1024)  # a loop repeats the same limits; what is measured seldom comes again
def rational(value: int, exponent: int) -> RationalNumber:
    """Return value x 10^exponent."""
    sign, value = (-1, -value) if value < 0 else (1, value)
    while value > _MAX_VALUE:
        value //= 10
        exponent += 1
    return RationalNumber(exponent=exponent if value else 0, value=sign * value)


def whole(number: int) -> RationalNumber:
    """Return a whole number, as of W or Wh."""
    return rational(number, 0)


def milli(value: int) -> RationalNumber:
    """Return V or A from mV or mA."""
    return rational(value, -3)


def each_phase(name: str, total_w: int, lines: int) -> dict[str, RationalNumber]:
    """Return a power (W) as fields: of the only phase, or in equal parts of two or three, rounded towards zero."""
    sign, used = -1 if total_w < 0 else 1, PHASES[: max(1, lines)]
    return {name + phase: whole(sign * (abs(total_w) // len(used))) for phase in used}


def stated(powers: Sequence[int | None]) -> list[int]:
    """Return the powers (W) of the phases up to the last that has one; one left out before it has none."""
    last = max((n for n, power in enumerate(powers, start=1) if power is not None), default=0)
    return [power or 0 for power in powers[:last]]


def on_lines(powers: Sequence[int], lines: int) -> int:
    """Return the power (W, signed) of a balanced load on so many phases within the powers of each: several are those of
    single phases, of which the smallest counts for each that is used; one alone is that of all."""
    if len(powers) <= 1:
        return sum(powers)
    used = powers[: max(1, lines)]
    if min(used) < 0 < max(used):
        return 0
    return min(used, key=abs) * len(used)


def integer(number: RationalNumber, shift: int, bound: int) -> int:
    """Return number x 10^shift, truncated towards zero and clamped to -bound..bound."""
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
