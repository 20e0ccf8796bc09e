"""What is known of a battery beforehand: its electrodes' voltages, its cells' resistances, and its size.

Voltages are of one cell, and charge and currents are in proportion to a new cell's capacity (rates, 1/h), so one
description serves cells and packs of all sizes. The two in `data/cells.json` are published cells as PyBaMM has them,
written by `tests/vectors/battery/generate.py`: NMC811 of Chen et al., J. Electrochem. Soc. 167 (2020) 080534, and LFP
of Prada et al., J. Electrochem. Soc. 160 (2013) A616; resistances are fitted to a day of driving.

A cell's open-circuit voltage is that of its positive electrode less that of its negative one. How they lie to each
other changes with age: both lose active material, and lithium is bound in films. `Electrodes` are these three
quantities, and give the capacity between the cell's limits and its voltage by charge: Dubarry, Truchot and Liaw,
"Synthesize battery degradation modes via a diagnostic and prognostic model", J. Power Sources 219 (2012) 204-216.
"""

import bisect
from importlib import resources
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.battery.sample import Sample
from v2g.energy.curves import Point, value_at

Chemistry = Literal["nmc", "lfp"]

SOC_GRID: Final = (0.0, 0.01, 0.02, 0.035, *(n / 40 for n in range(2, 39)), 0.965, 0.98, 0.99, 1.0)
"""States of charge for which an open-circuit voltage is kept."""


class Cell(msgspec.Struct, frozen=True):
    """A kind of cell: its electrodes as published, and an equivalent circuit of a resistance and two RC pairs."""

    positive: tuple[Point, ...]
    """Filling with lithium (0 to 1) and voltage (V), falling."""
    negative: tuple[Point, ...]
    x_0: float
    """Filling of the negative electrode of the empty cell when new, and so on."""
    x_100: float
    y_0: float
    y_100: float
    r0: float = msgspec.field(name="r0_ohm_ah")
    """Resistances are V for each 1/h, that is ohm of a cell times its capacity in Ah."""
    r1: float = msgspec.field(name="r1_ohm_ah")
    tau1_s: float
    r2: float = msgspec.field(name="r2_ohm_ah")
    tau2_s: float

    @property
    def fresh(self) -> "Electrodes":
        """The electrodes of the new cell."""
        positive, negative = 1 / (self.y_0 - self.y_100), 1 / (self.x_100 - self.x_0)
        return Electrodes(positive, negative, positive * self.y_0 + negative * self.x_0)

    def voltage(self, electrodes: "Electrodes", x: float) -> float:
        """Return the open-circuit voltage (V) by the filling of the negative electrode."""
        y = (electrodes.lithium - electrodes.negative * x) / electrodes.positive
        return value_at(self.positive, y) - value_at(self.negative, x)

    def filling(self, electrodes: "Electrodes", open_v: float) -> float:
        """Return the filling (0 to 1) of the negative electrode with which the cell has this voltage."""
        low, high = 0.0, 1.0
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if self.voltage(electrodes, middle) < open_v else (low, middle)
        return (low + high) / 2

    def range(self, electrodes: "Electrodes") -> tuple[float, float]:
        """Return the fillings of the negative electrode at the voltages at which a new cell is empty and full."""
        fresh = self.fresh
        empty_v, full_v = self.voltage(fresh, self.x_0), self.voltage(fresh, self.x_100)
        return self.filling(electrodes, empty_v), self.filling(electrodes, full_v)

    def capacity(self, electrodes: "Electrodes") -> float:
        """Return the capacity between these voltages, 1 for a new cell."""
        empty, full = self.range(electrodes)
        return electrodes.negative * (full - empty)

    def curve(self, electrodes: "Electrodes") -> "Curve":
        """Return the open-circuit voltage over the state of charge."""
        empty, full = self.range(electrodes)
        return Curve(tuple((soc, self.voltage(electrodes, empty + soc * (full - empty))) for soc in SOC_GRID))


class Electrodes(msgspec.Struct, frozen=True):
    """Capacities of the electrodes, and lithium in both, each in proportion to the new cell's capacity."""

    positive: float
    negative: float
    lithium: float


class Curve(msgspec.Struct, frozen=True):
    """Open-circuit voltage (V) over the state of charge (0 to 1), both rising."""

    points: tuple[Point, ...]

    def open_v(self, soc: float) -> float:
        """Return the open-circuit voltage (V)."""
        return value_at(self.points, soc)

    def slope_v(self, soc: float) -> float:
        """Return dV/dSoC (V for the whole charge), as the mean of 2 % to either side."""
        low, high = max(0.0, soc - 0.02), min(1.0, soc + 0.02)
        return (self.open_v(high) - self.open_v(low)) / (high - low) if high > low else 0.0

    def soc_at(self, open_v: float) -> float:
        """Return the state of charge (0 to 1) of a cell that has rested."""
        number = bisect.bisect_left(self.points, open_v, key=lambda point: point[1])
        if number in (0, len(self.points)):
            return self.points[max(0, number - 1)][0]
        (s1, v1), (s2, v2) = self.points[number - 1], self.points[number]
        return s1 + (s2 - s1) * (open_v - v1) / (v2 - v1)


CELLS: Final = typed_json.decode(
    (resources.files("v2g.battery") / "data" / "cells.json").read_bytes(), dict[Chemistry, Cell]
)
CURVES: Final = {name: cell.curve(cell.fresh) for name, cell in CELLS.items()}
"""Open-circuit voltage of new cells."""


class PackModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The battery of a vehicle as its maker describes it."""

    chemistry: Annotated[Chemistry, Meta(description="chemistry of the cells")] = "nmc"
    capacity_ah: Annotated[float, Meta(gt=0, le=10_000, description="capacity when new, Ah")] = 100.0
    cells: Annotated[int, Meta(ge=1, le=2000, description="cells in series")] = 96

    @property
    def cell(self) -> Cell:
        return CELLS[self.chemistry]


class CellReading(msgspec.Struct, frozen=True):
    """Current (A, positive while charging) and voltage (V) of a pack at the same time."""

    at_ms: int
    current_a: float
    cell_v: float
    """The mean cell's voltage."""


def reading(pack: PackModel, sample: Sample) -> CellReading | None:
    """Return what a sample says of the pack, or None where current or voltage are missing."""
    current_a, voltage_v = sample.values.get("battery.current"), sample.values.get("battery.voltage")
    if current_a is None or voltage_v is None:
        return None
    return CellReading(sample.at_ms, current_a, voltage_v / pack.cells)


HELD_MS: Final = 2_000
"""Readings further apart: gateways make a record each second while something changes."""


def mean_a(before: CellReading, now: CellReading) -> float:
    """Return the mean current (A) between two readings: of both, or the earlier one where they are further
    apart, as a vehicle that sends changes only would have sent another."""
    return (before.current_a + now.current_a) / 2 if now.at_ms - before.at_ms <= HELD_MS else before.current_a
