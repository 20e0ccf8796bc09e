"""Excess over time: how far and for how long something is beyond its bound. Pure; sessions and monitors share it.

A fuse, a cable and a cell are heated by what flows beyond their rating, and cool slowly: a moment within the bound
does not undo the heat. So time beyond a bound adds up, weighted by the size of the excess, and leaks away slowly. The
leak is there for sound devices: what noise and control add in a minute is forgotten in the next, and does not sum up
to a fault after hours.

- An excess within its margin weighs nothing, one of the size of the margin `UNIT`, a larger one as much more, up to
  `MOST`: beyond that a fault is certain, and a single wrong sample must not be enough.
- A budget is the time for which an excess of weight `UNIT` may last; a continuous one of weight w lasts
  `budget x UNIT / w`, a quarter of the budget at least.
- Dips: an excess of weight w for a fraction d of the time lasts `budget / (d x w / UNIT - (1 - d) / UNIT)`,
  which is finite for each d above 1/65 at the margin, and above 1/257 at four times the margin and more. The mean
  excess of what is rarer is below a 60th of the margin, or below a 250th of an excess beyond four margins.
- A device that follows a bound may lag behind it, and no lag is an excess: `Highest` keeps a lowered bound in force for
  the time to follow it. A bound that goes up and down again and again would never be in force, so that `Lag` has a
  budget: what flows beyond the present bound adds up, what stays below it counts against that.

All arithmetic is of integers, so that another implementation can repeat it exactly: times in µs, levels in µs x weight
(at most `FULL`), weights 0 to `MOST`; quotients of non-negative numbers, rounded down. `microseconds` rounds half to
even.
"""

from typing import Final

import msgspec

UNIT: Final = 64
MOST: Final = 4 * UNIT
"""Weight of an excess as large as its margin, and the greatest weight. Without excess 1 per µs leaks: a budget used up
is available again after 64 times its length."""

HOLD_US: Final = 100_000
"""How long a sample counts if the next one is within the bound: one period of the monitors."""

RENEWS: Final = 8
"""Of the budget of a lag comes back what an eighth of the highest bound would make in the same time: a device that
rises at once, and falls late, may do so again after 8 times its delay, as with duty cycles that change each 10 s."""

LONGEST_LAG_US: Final = 1 << 28
"""The longest time that counts at once, and to follow a bound in a budget: an area of it stays below 2^60."""

SLOTS: Final = 64
"""Resolution of the time to follow: `Highest` stores at most so many values and one."""

FULL: Final = 1 << 50
LONGEST_US: Final = 1 << 53
"""The highest level, and a time later than any; a sum of two times, or of a level and a time of the greatest weight,
is below 2^62."""


def microseconds(seconds: float) -> int:
    """Return a time or duration (s, may be infinite) in µs."""
    return round(max(-LONGEST_US, min(LONGEST_US, seconds * 1_000_000)))


def weigh(excess: int, margin: int) -> int:
    """Return the weight of an excess: 0 within the margin, which is at least 1."""
    return min(MOST, excess * UNIT // margin) if excess > margin else 0


class Excess(msgspec.Struct, frozen=True):
    """The level of one excess at the time `at_us`; `weight` is its present weight."""

    level: int = 0
    weight: int = 0
    at_us: int = 0

    def then(self, weight: int, now_us: int) -> "Excess":
        """Return it with a new sample."""
        if not (weight or self.weight or self.level):
            return self  # nothing to add, nothing to leak: from which time on does not matter
        passed = max(0, now_us - self.at_us)
        beyond = 0 if not self.weight else passed if weight else min(passed, HOLD_US)
        level = self.level + beyond * self.weight - (passed - beyond)
        return Excess(max(0, min(FULL, level)), weight, now_us)

    def lasts(self, budget_us: int) -> bool:
        """Return whether a budget is used up, and the excess goes on; one of 0 is used up by the first sample."""
        return bool(self.weight) and self.level >= budget_us * UNIT


class Lag(msgspec.Struct, frozen=True):
    """How much has flowed beyond a bound that fell, while it was followed: `area`, unit of the flow x µs.

    A device that does what its bound was up to a time to follow ago never uses up a budget of the highest bound for
    that time, whatever the bound does: what flows too much after a fall is missing after a rise. One that keeps the
    highest value of a bound that goes up and down soon does. `peak` is the highest bound since the area was 0, `rate`
    what flows beyond the present bound and its margin, or below the bound (negative).
    """

    area: int = 0
    peak: int = 0
    rate: int = 0
    at_us: int = 0

    def then(self, flow: int, bound: int, most: int, *, margin: int, follow_us: int, now_us: int) -> "Lag":
        """Return it with a sample: what flows in the bound's direction, the bound, the highest that may be followed."""
        if not self.area and self.rate <= 0 and flow <= bound + margin:
            return self  # as nearly always: nothing has flowed beyond
        rate = max(0, flow - bound - margin) or min(0, max(0, flow) - bound)
        passed = max(0, min(LONGEST_LAG_US, now_us - self.at_us))
        beyond = 0 if self.rate <= 0 else passed if rate > 0 else min(passed, HOLD_US)
        lost = self.peak // RENEWS - min(0, self.rate)
        peak = max(self.peak, most)
        area = self.area + beyond * self.rate - (passed - beyond) * lost
        most_area = 2 * peak * min(LONGEST_LAG_US, follow_us)  # so that a moment within the bound leaves it used up
        area = max(0, min(most_area, area))
        return Lag(area, peak, rate, now_us) if area or rate > 0 else Lag()

    def used_up(self, follow_us: int) -> bool:
        """Return whether the budget is used up."""
        return bool(self.area) and self.area >= self.peak * min(LONGEST_LAG_US, follow_us)


class Excesses:
    """Excesses by name that have a size of right or wrong, and times in s."""

    def __init__(self) -> None:
        self._excesses: dict[str, Excess] = {}

    def __call__(self, what: str, wrong: bool, seconds: float, now: float) -> bool:
        """Return whether something is wrong, and has been for so long, dips included."""
        known = self._excesses.get(what)
        if known is None and not wrong:
            return False
        excess = (known or Excess()).then(UNIT if wrong else 0, microseconds(now))
        if wrong or excess.level:
            self._excesses[what] = excess
        else:
            del self._excesses[what]  # nothing is left to leak
        return excess.lasts(microseconds(seconds))

    def forget(self, *what: str) -> None:
        """Forget these: they have been corrected."""
        for each in what:
            self._excesses.pop(each, None)


class Highest(msgspec.Struct, frozen=True):
    """The present value of a bound, and the earlier higher ones that may still be followed.

    `past` are pairs of the end of a value's time (µs, rounded up to a slot) and the value: the end rises, the value
    falls.
    """

    value: int = 0
    past: tuple[tuple[int, int], ...] = ()

    def then(self, value: int, now_us: int, follow_us: int) -> "Highest":
        """Return it with a new value; each lowered one is kept for `follow_us`, and up to a 64th more."""
        past = self.past
        if value == self.value and not past:
            return self
        first, last = 0, len(past)
        while first < last and now_us >= past[first][0] + follow_us:
            first += 1
        while first < last and value >= past[last - 1][1]:
            last -= 1
        past = past[first:last]
        if self.value > value:
            slot = max(1, -(-follow_us // SLOTS))  # rounded up: there are no more than SLOTS and one of them
            end = -(-now_us // slot) * slot
            if not past or past[-1][0] != end:
                past += ((end, self.value),)
        return Highest(value, past)

    @property
    def most(self) -> int:
        """The highest value that may still be followed."""
        return self.past[0][1] if self.past else self.value
