"""The levels of a control pilot, from samples that do not know when its oscillator is high. Pure.

Voltages are mV at the charger's end of the wire, times s.
"""

from collections.abc import Sequence
from statistics import median_low
from typing import Final

HITS: Final = 3
"""Samples that a level needs: its median is no single disturbed one."""

SPLIT_MV: Final = 2_000
"""Samples closer together than this are of one level. Least distance of two: 4.8 V, with a shorted diode in state D."""

ONE_LEVEL_S: Final = 0.1
"""Time after which an oscillating wire that shows one level has only that one: of the 5 % that are high for 50 us in
each ms, samples may miss many."""

Levels = tuple[int, int | None]
"""The high level, and the low one; None while the oscillator is off."""


class PeakWindow:
    """Collects samples until both levels are found."""

    def __init__(self) -> None:
        self._oscillates = False
        self._samples: list[int] = []
        self._began: float | None = None

    def restart(self, *, oscillates: bool) -> None:
        """Forget all samples: the oscillator was switched, on or off."""
        self._oscillates = oscillates
        self._samples, self._began = [], None

    def add(self, samples: Sequence[int], now: float) -> Levels | None:
        """Add samples taken until `now`; return the levels, None if more samples are needed."""
        self._began = now if self._began is None else self._began
        self._samples += samples
        levels = self._levels(now - self._began)
        if levels is not None:
            self.restart(oscillates=self._oscillates)
        return levels

    def _levels(self, lasted: float) -> Levels | None:
        found = self._samples
        if len(found) < HITS:
            return None
        if not self._oscillates:
            return median_low(found), None
        middle = (min(found) + max(found)) // 2
        high, low = [each for each in found if each > middle], [each for each in found if each <= middle]
        if max(found) - min(found) >= SPLIT_MV:
            if min(len(high), len(low)) >= HITS:
                return median_low(high), median_low(low)
            high = low = found  # disturbed samples
        level = median_low(found)
        return (level, level) if lasted >= ONE_LEVEL_S else None
