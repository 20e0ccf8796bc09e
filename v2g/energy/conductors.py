"""Currents by conductor: L1, L2, L3, and the neutral that follows from them. Pure.

A fuse, a cable, a contact and a duty cycle bound the current of each conductor. What flows through all of them
together follows from the number of conductors that a vehicle uses; it says nothing about one of them.
"""

from collections.abc import Iterable, Sequence
from math import isqrt
from typing import Final, NamedTuple

LINES: Final = (0, 1, 2)
"""Indices of L1, L2 and L3."""

LINE_NAMES: Final = ("L1", "L2", "L3")

VOLTAGE: Final = 230
"""Nominal voltage of a conductor, V."""


_CARRIES_MA: Final = 2_000
"""A conductor that carries more is in use: stand-by and capacitors take less."""


class Currents(NamedTuple):
    """Active currents of the line conductors, mA, positive towards the vehicle."""

    l1: int = 0
    l2: int = 0
    l3: int = 0

    @property
    def neutral_ma(self) -> int:
        """The magnitude of the neutral's current, mA: that of three phasors 120 degrees apart, without reactive power
        and harmonics."""
        return isqrt(self.l1**2 + self.l2**2 + self.l3**2 - self.l1 * self.l2 - self.l2 * self.l3 - self.l3 * self.l1)

    @property
    def carrying(self) -> tuple[int, ...]:
        """The conductors (0 to 2) that are in use."""
        return tuple(line for line, current_ma in zip(LINES, self, strict=True) if abs(current_ma) > _CARRIES_MA)

    @property
    def total_ma(self) -> int:
        """The sum, mA: at the voltage between a line and the neutral it makes the power."""
        return sum(self)


def spread(total_ma: int, lines: Iterable[int]) -> Currents:
    """Return a sum of currents (mA, signed) in equal parts on these lines (0 to 2), the first ones with what is left
    over: as a balanced load draws it, and as it is taken where a meter measures the sum only."""
    used, found = tuple(lines), [0] * len(LINES)
    part, left = divmod(abs(total_ma), max(1, len(used)))
    for index, line in enumerate(used):
        found[line] = (part + (index < left)) * (1 if total_ma >= 0 else -1)
    return Currents(*found)


def fill(total: int, most: Sequence[int]) -> tuple[int, ...]:
    """Return the parts of a sum, 0 or more, that are equal but for those that are bounded by their maximum; less than
    the sum where all are."""
    found, left = [0] * len(most), total
    for place, line in enumerate(sorted(range(len(most)), key=lambda each: most[each])):
        found[line] = min(most[line], left // (len(most) - place))
        left -= found[line]
    return tuple(found)


LOWEST_VOLTAGE: Final = 0.85
"""Of the nominal one, down to which units operate continuously: they may keep their power there, or only their current
(EN 50549-1, 4.4.4)."""


def line_power_w(current_ma: int, volts: int, lines: int) -> int:
    """Return the power, W, of so many lines that carry this current (mA) each, at V between line and neutral: rounded
    up, so that of a power's currents it is that power."""
    return -(-current_ma * volts * lines // 1000)


def line_current_ma(watts: int, volts: int, lines: int) -> int:
    """Return the current of each line, mA, where so many carry a power (W) in equal parts: the meaning of a limit in
    watts whose source names no conductor."""
    return watts * 1000 // (volts * lines)


def line_rating_ma(current_a: float | None, power_w: int, volts: int, lines: int) -> int:
    """Return a rating for each line, mA: what is stated (A), or that of a power, in whole amperes where these differ by
    1 % at most (22,000 W: 32 A)."""
    if current_a is not None:
        return round(current_a * 1000)
    exact_ma = line_current_ma(power_w, volts, lines)
    whole_ma = round(exact_ma, -3)
    return whole_ma if abs(whole_ma - exact_ma) * 100 <= exact_ma else exact_ma
