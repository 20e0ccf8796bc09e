"""Cycles of a battery by rainflow counting, reading by reading (R115): ASTM E1049-85, section 5.4.4.

The charge rises and falls in long and short swings, and each wears by its depth. Turning points are kept until they
close a cycle; what stays open counts half.
"""

from typing import Final

import msgspec

BINS: Final = 10
"""Depths are counted by tenths of the charge."""
_MOST: Final = 64
"""Turning points that stay open at most; nested swings between 0 and 1 that differ by `NOISE` are fewer in practice."""
NOISE: Final = 0.01
"""A swing of less is none."""


class State(msgspec.Struct, frozen=True):
    """Counted cycles, and what is open."""

    turns: tuple[float, ...] = ()
    """Turning points, and the newest value, which may go on."""
    counted: tuple[float, ...] = (0.0,) * BINS
    """Cycles by depth: half or whole ones."""
    full: float = 0.0
    """Equivalent full cycles: the sum of depths."""

    @property
    def total(self) -> float:
        """Equivalent full cycles, open swings as halves."""
        return self.full + sum(abs(b - a) for a, b in zip(self.turns, self.turns[1:], strict=False)) / 2


def update(state: State, soc: float) -> State:
    """Return the count after a state of charge (0 to 1)."""
    turns = state.turns
    if not turns:
        return State((soc,), state.counted, state.full)
    if abs(soc - turns[-1]) < NOISE:
        return state
    open_ = [*turns[:-1], soc] if len(turns) > 1 and (soc - turns[-1]) * (turns[-1] - turns[-2]) > 0 else [*turns, soc]
    counted, full = list(state.counted), state.full

    def count(depth: float, share: float) -> None:
        nonlocal full
        counted[min(BINS - 1, int(depth * BINS + 1e-9))] += share
        full += depth * share

    while len(open_) >= 3:
        newest, before = abs(open_[-1] - open_[-2]), abs(open_[-2] - open_[-3])
        if newest < before:
            break
        if len(open_) == 3:  # the swing has the first point of all
            count(before, 0.5)
            del open_[0]
        else:
            count(before, 1.0)
            del open_[-3:-1]
    if len(open_) > _MOST:
        count(abs(open_[1] - open_[0]), 0.5)
        del open_[0]
    return State(tuple(open_), tuple(counted), full)
