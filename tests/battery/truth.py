"""Reads what PyBaMM's cells did: `tests/vectors/battery`."""

import csv
from pathlib import Path
from typing import Final

import msgspec

from v2g.battery.cell import CellReading

VECTORS: Final = Path(__file__).resolve().parent.parent / "vectors" / "battery"
STEP_S: Final = 10
START: Final = 0.85
"""State of charge at the start of each drive."""
CAPACITY_AH: Final = {"nmc": 5.15320, "lfp": 2.30345}


class Step(msgspec.Struct, frozen=True):
    """A reading, and what only the simulation knows: the state of charge."""

    reading: CellReading
    temperature_c: float
    soc: float


class AgedCell(msgspec.Struct, frozen=True):
    """Three years of a cell: its capacity (Ah) after each month, and samples of one day of it as s, mA and 0.1 mV."""

    chemistry: str
    nominal_ah: float
    fresh_ah: float
    climate_c: float
    capacity_ah: tuple[float, ...]
    days: tuple[tuple[tuple[int, int, int], ...], ...] = ()


def drive(chemistry: str) -> list[Step]:
    """Return a day of driving, V2G and charging."""
    steps, soc = [], START
    with (VECTORS / f"drive_{chemistry}.csv").open() as file:
        for number, row in enumerate(csv.DictReader(file)):
            current_a = int(row["current_ma"]) / 1000
            soc += current_a * STEP_S / 3600 / CAPACITY_AH[chemistry]
            reading = CellReading((number + 1) * STEP_S * 1000, current_a, int(row["voltage_01mv"]) / 10_000)
            steps.append(Step(reading, int(row["temperature_cc"]) / 100, soc))
    return steps


def aged() -> list[AgedCell]:
    """Return cells over their life, with samples."""
    return _lines("aged.jsonl")


def fleet() -> list[AgedCell]:
    """Return the vehicles of a fleet."""
    return _lines("fleet.jsonl")


def _lines(name: str) -> list[AgedCell]:
    lines = (VECTORS / name).read_bytes().splitlines()
    return [msgspec.json.decode(line, type=AgedCell) for line in lines]
