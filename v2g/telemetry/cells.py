"""Voltages of single cells, sampled at up to 1 kHz, to windows of 100 ms and statistics of a second (R71)."""

from array import array
from collections import deque
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.telemetry.signals import CELL_STEP_V, CELL_VOLTAGE, CellSamples

WINDOW_MS: Final = 100

MOST_SAMPLES: Final = 2000
MOST_VOLTAGES: Final = 200_000
"""Around one finding: 0.8 MB in memory, 1.2 MB on the wire."""

PART_BYTES: Final = 48_000
PART_MS: Final = 2000

_MISSING: Final = -1
_STEPS: Final = round(1 / CELL_STEP_V)

STATISTICS_MS: Final = 1000
HEAT_MS: Final = 10_000

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


class CellSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Samples of single cells that are sent around a finding, at most 2,000 of them: faster ones are thinned out."""

    before_s: Annotated[float, Meta(ge=0, le=60, description="from so long before it, s")] = 10.0
    after_s: Annotated[float, Meta(ge=0, le=60, description="to so long after it, s; both 0: none are sent")] = 10.0
    again_s: Annotated[
        float, Meta(ge=60, le=86_400, description="least time from one finding's samples to another's")
    ] = 600.0


class CellRecorder:
    """Keeps the last samples of all single cells, and gives those around a finding as parts of at most 48 kB.

    Memory and parts are bounded: samples stand apart by the span over their greatest number.
    """

    def __init__(self, around: CellSummary, cells: int) -> None:
        self._around, self._cells = around, cells
        span_ms = (around.before_s + around.after_s) * 1000
        self._apart_ms = span_ms / max(1, min(MOST_SAMPLES, MOST_VOLTAGES // max(1, cells)))
        self._most_rows = max(1, PART_BYTES // (6 * cells + 12))
        self._ring: deque[tuple[int, array[int]]] = deque()
        self._part: list[tuple[int, array[int]]] = []
        self._last_ms: int | None = None
        self._until_ms: int | None = None
        self._found_ms: int | None = None

    def add(self, cells: Mapping[int, float], utc_ms: int) -> tuple[CellSamples, ...]:
        """Take a sample: voltages by the cells' numbers from 1. Return parts that are due."""
        if not self._cells or not (self._around.before_s or self._around.after_s):
            return ()
        last_ms, self._last_ms = self._last_ms, utc_ms
        if last_ms is not None and utc_ms < last_ms:  # the clock was set back
            self._ring.clear()
            self._until_ms = self._found_ms = None
            return self._taken()
        if last_ms is not None and utc_ms - last_ms < self._apart_ms:
            self._last_ms = last_ms
            return ()
        row = array("i", (_MISSING,)) * self._cells
        for number, voltage in cells.items():
            row[number - 1] = round(voltage * _STEPS)
        if self._until_ms is not None and utc_ms > self._until_ms:
            self._until_ms = None
            due = self._taken()
            self._keep(row, utc_ms)
            return due
        if self._until_ms is None:
            self._keep(row, utc_ms)
            return ()
        self._part.append((utc_ms, row))
        full = len(self._part) >= self._most_rows or utc_ms - self._part[0][0] >= PART_MS
        return self._taken() if full else ()

    def found(self, utc_ms: int) -> tuple[CellSamples, ...]:
        """Return the samples before a finding at `utc_ms`; later ones follow."""
        if self._found_ms is not None and 0 <= utc_ms - self._found_ms < self._around.again_s * 1000:
            return ()
        self._found_ms, self._until_ms = utc_ms, utc_ms + round(self._around.after_s * 1000)
        self._part, self._ring = list(self._ring), deque()
        return self._taken()

    def _keep(self, row: "array[int]", utc_ms: int) -> None:
        self._ring.append((utc_ms, row))
        while utc_ms - self._ring[0][0] > self._around.before_s * 1000:
            self._ring.popleft()

    def _taken(self) -> tuple[CellSamples, ...]:
        rows, self._part = self._part, []
        parts = (rows[first : first + self._most_rows] for first in range(0, len(rows), self._most_rows))
        return tuple(
            CellSamples(
                part[0][0],
                tuple((at - part[0][0], tuple(None if each == _MISSING else each for each in row)) for at, row in part),
            )
            for part in parts
        )


class CellStatistics:
    """Over seconds that begin at multiples of one: the variance of all samples of all cells (V², R71), and the steepest
    change of one cell's mean from one second with samples to the next (V/s): a cell that fails, by its sign."""

    def __init__(self) -> None:
        self._second: int | None = None
        self._cells: dict[str, tuple[int, float, float]] = {}
        """By cell: number, sum and sum of squares of the samples in this second."""
        self._means: dict[str, tuple[int, float]] = {}
        """By cell: the last second with samples, and their mean."""

    def add(self, cells: Mapping[str, float], at_ms: float) -> dict[str, float]:
        """Add voltages by cell, sampled at `at_ms`; return the statistics of the second that ended before."""
        second = int(at_ms // STATISTICS_MS)
        if self._second is None or second < self._second - 1:
            self._second = second  # the clock was set back
            self._means.clear()
        ended = {} if second <= self._second else self._take()
        self._second = max(second, self._second)
        for name, voltage in cells.items():
            number, total, squares = self._cells.get(name, (0, 0.0, 0.0))
            self._cells[name] = number + 1, total + voltage, squares + voltage * voltage
        return ended

    def _take(self) -> dict[str, float]:
        cells, self._cells = self._cells, {}
        if not cells or self._second is None:
            return {}
        number = sum(each[0] for each in cells.values())
        mean = sum(each[1] for each in cells.values()) / number
        variance = max(0.0, sum(each[2] for each in cells.values()) / number - mean * mean)
        found = {f"{CELL_VOLTAGE}.variance": variance}
        steepest = 0.0
        for name, (count, total, _) in cells.items():
            now = total / count
            before = self._means.get(name)
            self._means[name] = self._second, now
            if before is not None:
                steepest = max(steepest, (now - before[1]) / (self._second - before[0]), key=abs)
                found[f"{CELL_VOLTAGE}.gradient"] = steepest
        return found


class HeatGradient:
    """The change of the highest temperature over about 10 s (K/s)."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def add(self, values: Mapping[str, float], at_ms: float) -> dict[str, float]:
        """Return the gradient at values of `at_ms`, once a second; nothing before 5 s are known."""
        hottest = values.get("battery.temperature.max")
        if hottest is None or (self._samples and 0 <= at_ms - self._samples[-1][0] < STATISTICS_MS):
            return {}
        if self._samples and at_ms < self._samples[-1][0]:
            self._samples.clear()  # the clock was set back
        self._samples.append((at_ms, hottest))
        while at_ms - self._samples[0][0] > HEAT_MS:
            self._samples.popleft()
        first_ms, first = self._samples[0]
        if at_ms - first_ms < HEAT_MS / 2:
            return {}
        return {"battery.temperature.gradient": (hottest - first) * 1000 / (at_ms - first_ms)}
