"""Meters that err as much as their class allows, by load and power factor, for proofs against the true energy.

Limits of the percentage error, of currents as a share of the nominal one: IEC 62053-22 for class 0.5 S, IEC 62053-21
for class 1 of direct connection. "Reactive" are the factors 0.5 inductive and 0.8 capacitive of their tables.
"""

import math
import random
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

Limits = tuple[tuple[float, float], ...]
"""(Share of the nominal current from which on it applies, percent)."""


@dataclass(frozen=True)
class MeterClass:
    name: str
    percent: float
    unity: Limits
    reactive: Limits

    def limit(self, share: float, power_factor: float) -> float:
        """The limit in percent; below the smallest current that of the smallest, as a starting meter has none."""
        rows = self.unity if power_factor > 0.99 else self.reactive
        return rows[max(0, bisect_right(rows, share, key=lambda row: row[0]) - 1)][1]


CLASS_05: Final = MeterClass("0.5 S", 0.5, ((0.01, 1.0), (0.05, 0.5)), ((0.02, 1.0), (0.1, 0.6)))
CLASS_1: Final = MeterClass("1", 1.0, ((0.05, 1.5), (0.1, 1.0)), ((0.1, 1.5), (0.2, 1.0)))


class ErringMeter:
    """Two registers whose error is that of a curve within the class: an offset, and a part that follows the load.

    `true_wms` is the energy that flowed, `bound_wms` the most that the registers may differ from it, both per
    direction in W·ms, independent of the registers.
    """

    def __init__(self, kind: MeterClass, nominal_w: float, seed: int, start_mwh: int = 0) -> None:
        chance = random.Random(seed)
        self.kind, self._nominal_w = kind, nominal_w
        self._offset, self._slope = chance.uniform(-0.8, 0.8), chance.uniform(-0.2, 0.2)
        self._registers = [start_mwh * 3600.0, start_mwh * 3600.0]
        self.true_wms, self.bound_wms = [0.0, 0.0], [0.0, 0.0]

    def flow(self, power_w: float, span_ms: float, power_factor: float = 1.0) -> None:
        """Let power flow, into the vehicle if positive."""
        if not power_w:
            return
        way = 0 if power_w > 0 else 1
        share = abs(power_w) / power_factor / self._nominal_w
        limit = self.kind.limit(share, power_factor) / 100
        error = limit * (self._offset + self._slope * math.cos(3 * share))
        energy = abs(power_w) * span_ms
        self._registers[way] += energy * (1 + error)
        self.true_wms[way] += energy
        self.bound_wms[way] += energy * limit

    def read(self) -> tuple[int, int]:
        """The registers, mWh, rounded down as a meter does. One W·ms is 1/3600 mWh."""
        return int(self._registers[0] / 3600), int(self._registers[1] / 3600)
