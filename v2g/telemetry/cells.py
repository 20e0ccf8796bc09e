"""Voltages of single cells, sampled at up to 1 kHz, to windows of 100 ms (R71), and cells out of balance (R74)."""

from collections.abc import Mapping
from typing import Final

import msgspec

from v2g.telemetry.signals import CELL_VOLTAGE

WINDOW_MS: Final = 100

IMBALANCE_V: Final = 0.05
"""Cells further apart than this are out of balance."""

_MOST_LATE: Final = 10
"""Windows by which a sample may be late; where it is more, the clock was set back."""


class _Cell(msgspec.Struct):
    lowest: float
    highest: float
    total: float
    samples: int


class CellWindows:
    """Collects samples of cells; windows begin at multiples of 100 ms.

    A window's minimum and maximum are those of all samples of all cells, its mean that of all samples. The imbalance is
    between the cells' own means, so that neither noise nor a changing load counts.
    """

    def __init__(self) -> None:
        self._window: int | None = None
        self._cells: dict[str, _Cell] = {}

    def add(self, cells: Mapping[str, float], at_ms: float) -> dict[str, float]:
        """Add voltages by cell, sampled at `at_ms`; return the signals of the window that ended before, if one did."""
        window = int(at_ms // WINDOW_MS)
        if self._window is None or window < self._window - _MOST_LATE:
            self._window = window  # samples so far stay in it
        ended = {} if window <= self._window else self.take()
        self._window = max(window, self._window)
        for name, voltage in cells.items():
            cell = self._cells.get(name)
            if cell is None:
                self._cells[name] = _Cell(voltage, voltage, voltage, 1)
                continue
            cell.lowest = min(cell.lowest, voltage)
            cell.highest = max(cell.highest, voltage)
            cell.total += voltage
            cell.samples += 1
        return ended

    def take(self) -> dict[str, float]:
        """End the window and return its signals; nothing if it has no samples."""
        cells, self._cells = self._cells.values(), {}
        if not cells:
            return {}
        means = [each.total / each.samples for each in cells]
        return {
            f"{CELL_VOLTAGE}.min": min(each.lowest for each in cells),
            f"{CELL_VOLTAGE}.max": max(each.highest for each in cells),
            f"{CELL_VOLTAGE}.mean": sum(each.total for each in cells) / sum(each.samples for each in cells),
            f"{CELL_VOLTAGE}.imbalance": max(means) - min(means),
        }


def with_imbalance(values: Mapping[str, float]) -> dict[str, float]:
    """Return values with the cells' imbalance, where they have minimum and maximum and no imbalance of their own."""
    found = dict(values)
    lowest, highest = found.get(f"{CELL_VOLTAGE}.min"), found.get(f"{CELL_VOLTAGE}.max")
    if lowest is not None and highest is not None:
        found.setdefault(f"{CELL_VOLTAGE}.imbalance", round(max(0.0, highest - lowest), 6))
    return found


class BalanceWatch:
    """Whether the cells are out of balance: beyond 50 mV."""

    def __init__(self) -> None:
        self.imbalanced = False

    def changed(self, values: Mapping[str, float]) -> float | None:
        """Return the imbalance (V) when the verdict changes with these values, otherwise None."""
        imbalance = values.get(f"{CELL_VOLTAGE}.imbalance")
        if imbalance is None or (imbalance > IMBALANCE_V) is self.imbalanced:
            return None
        self.imbalanced = not self.imbalanced
        return imbalance
