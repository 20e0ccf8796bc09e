"""Cells that differ from the others by a robust z-score (R117).

Each cell's voltage is compared with the median of all; the differences are smoothed, as noise is no imbalance, and
divided by their median absolute deviation, which a few bad cells do not move: Iglewicz and Hoaglin, "How to Detect and
Handle Outliers" (1993), where 3.5 is the limit for one look. A pack is looked at for years, so it is higher here.

Precision and recall on labelled packs: `tests/battery/test_imbalance.py`.
"""

import math
from statistics import median
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.battery.sample import Finding, Sample, judge
from v2g.telemetry.signals import CELL_VOLTAGE

_OF_A_CELL: Final = f"{CELL_VOLTAGE}."
_LEAST_CELLS: Final = 6
_MOST_CELLS: Final = 2000
_NORMAL: Final = 0.6745
"""Median absolute deviation of a normal distribution."""


class ImbalanceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a cell is an outlier."""

    z: Annotated[float, Meta(gt=0, le=100, description="robust z-score that is a finding")] = 6.0
    z_clear: Annotated[float, Meta(gt=0, le=100, description="and at which it ends")] = 4.5
    floor_v: Annotated[float, Meta(gt=0, le=0.1, description="smallest spread of sound cells that is believed, V")] = (
        0.0015
    )
    smooth_s: Annotated[float, Meta(gt=0, le=86_400, description="time constant of a cell's difference, s")] = 300.0

    def __post_init__(self) -> None:
        """Reject limits without hysteresis."""
        if self.z_clear >= self.z:
            raise ValueError("z_clear must be below z")


class ImbalanceState(msgspec.Struct, frozen=True):
    """Smoothed differences (V) from the median, by cell."""

    at_ms: int = 0
    since_ms: int | None = None
    differences: dict[str, float] = {}
    out: bool = False


def step(
    settings: ImbalanceSettings, state: ImbalanceState, sample: Sample
) -> tuple[ImbalanceState, tuple[Finding, ...]]:
    """Compare all cells of a sample (`battery.cell_voltage.N`); the finding's evidence names the worst one."""
    cells = {
        number: value
        for name, value in sample.values.items()
        if name.startswith(_OF_A_CELL) and (number := name[len(_OF_A_CELL) :]).isdigit()
    }
    if not _LEAST_CELLS <= len(cells) <= _MOST_CELLS or sample.at_ms < state.at_ms:
        return state, ()
    middle = median(cells.values())
    passed_s = (sample.at_ms - state.at_ms) / 1000
    keep = math.exp(-passed_s / settings.smooth_s)
    differences = {
        cell: keep * state.differences.get(cell, value - middle) + (1 - keep) * (value - middle)
        for cell, value in cells.items()
    }
    since_ms = sample.at_ms if state.since_ms is None else state.since_ms
    state = ImbalanceState(sample.at_ms, since_ms, differences, state.out)
    if sample.at_ms - since_ms < settings.smooth_s * 1000:
        return state, ()
    worst, score, spread_v = outlier(differences, settings.floor_v)
    evidence = {
        f"{CELL_VOLTAGE}.{worst}": cells[worst], "median_v": middle, "difference_v": differences[worst],
        "spread_v": spread_v,
    }  # fmt: skip
    out, found = judge("cell_imbalance", "warning", state.out, score, settings.z, settings.z_clear, sample, evidence)
    return msgspec.structs.replace(state, out=out), found


def outlier(differences: dict[str, float], floor: float) -> tuple[str, float, float]:
    """Return the worst cell, its robust z-score, and the spread of all."""
    middle = median(differences.values())
    spread = max(floor, median(abs(each - middle) for each in differences.values()) / _NORMAL)
    worst = max(differences, key=lambda cell: abs(differences[cell] - middle))
    return worst, abs(differences[worst] - middle) / spread, spread
