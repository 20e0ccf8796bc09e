"""Days of a pack that has lost lithium, by the curves of its aged electrodes."""

from collections.abc import Iterator

from v2g.battery.cell import CELLS, Electrodes, PackModel

PACK = PackModel("nmc", 150.0, 96)
NMC = CELLS["nmc"]


def electrodes(lost: float) -> Electrodes:
    """Return a new cell's electrodes that have lost so much lithium."""
    fresh = NMC.fresh
    return Electrodes(fresh.positive, fresh.negative, fresh.lithium - lost)


def worn(lost: float, first: int, days: int, *, hourly: int = 6) -> Iterator[tuple[float, float, float]]:
    """Yield time (s), current of the pack (A) and voltage of a cell, `hourly` times an hour: each day it is charged
    and discharged."""
    aged = electrodes(lost)
    empty, full = NMC.range(aged)
    size_ah = aged.negative * (full - empty) * PACK.capacity_ah
    course = (  # begin and length in hours, rate, state of charge at the begin
        (0, 2, 0.0, 0.2), (2, 3, 0.2, 0.2), (5, 2, 0.0, 0.8), (7, 3, -0.2, 0.8), (10, 2, 0.0, 0.2),
    )  # fmt: skip
    for day in range(first, first + days):
        for begin, hours, rate, soc in course:
            for each in range(hours * hourly):
                hour = each / hourly
                cell_v = NMC.voltage(aged, empty + (soc + rate * hour) * (full - empty)) + rate * NMC.r0
                yield day * 86_400 + (begin + hour) * 3600, rate * size_ah, cell_v
