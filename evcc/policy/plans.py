"""Data of planning: permitted power and prices over time, the battery, and the resulting plan.

Energies are W times ms, times UTC ms; negative power discharges.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

import msgspec

from v2g.iso15118.d20.prices import Prices

W_MS_PER_WH: Final = 3_600_000


class Slot(msgspec.Struct, frozen=True):
    """Permitted power during `[start_ms, end_ms)`, W and never negative."""

    start_ms: int
    end_ms: int
    charge_w: int
    discharge_w: int = 0

    @property
    def ms(self) -> int:
        """Its duration."""
        return self.end_ms - self.start_ms


class Market(msgspec.Struct, frozen=True):
    """One schedule tuple: permitted power and prices over time. Slots follow each other without a gap.

    `levels` are relative prices of charging, one for each slot, if there are no absolute ones.
    """

    tuple_id: int
    slots: tuple[Slot, ...]
    charge: Prices | None = None
    discharge: Prices | None = None
    levels: tuple[int, ...] = ()
    available_wh: int | None = None
    """Energy available for charging, if limited."""


class Storage(msgspec.Struct, frozen=True):
    """The battery, Wh: its energy, its capacity, its target at departure, and the minimum required at any time.

    It is discharged only down to `reserve_wh`. `wear` is the cost of a discharged kWh beside its price.
    """

    energy_wh: int
    capacity_wh: int
    target_wh: int
    minimum_wh: int = 0
    reserve_wh: int = 0
    wear: float = 0.0


class PlanBlock(msgspec.Struct, frozen=True):
    """A constant power during `[start_ms, end_ms)`, signed."""

    start_ms: int
    end_ms: int
    power_w: int


class ChargePlan(msgspec.Struct, frozen=True):
    """The selected tuple and the power over time. `cost` is exact, None if no absolute price is known."""

    tuple_id: int
    blocks: tuple[PlanBlock, ...]
    energy_wh: int
    """Energy in the battery at the end."""
    cost: Fraction | None

    def power_at(self, utc_ms: int) -> int:
        """Return the planned power at a time."""
        return next((block.power_w for block in self.blocks if block.start_ms <= utc_ms < block.end_ms), 0)

    @property
    def until_ms(self) -> int:
        """Time after which no energy is planned."""
        return max((block.end_ms for block in self.blocks if block.power_w), default=0)


def goal_wh(market: Market, storage: Storage) -> int:
    """Return the target energy in the battery at the end, Wh, limited by the available energy."""
    goal = min(storage.capacity_wh, max(storage.target_wh, storage.minimum_wh))
    return goal if market.available_wh is None else min(goal, storage.energy_wh + market.available_wh)


def full_power(slot: Slot, energy: int) -> list[PlanBlock]:
    """Return full power until this energy has flowed, to the next whole second, and none after that."""
    if not energy or not slot.charge_w:
        return [PlanBlock(slot.start_ms, slot.end_ms, 0)]
    ms = -(-energy // slot.charge_w)
    end_ms = min(slot.end_ms, slot.start_ms + -(-ms // 1000) * 1000)
    first = PlanBlock(slot.start_ms, end_ms, slot.charge_w)
    return [first, PlanBlock(end_ms, slot.end_ms, 0)] if end_ms < slot.end_ms else [first]


def merged(blocks: Iterable[PlanBlock]) -> tuple[PlanBlock, ...]:
    found: list[PlanBlock] = []
    for block in blocks:
        if found and found[-1].power_w == block.power_w:
            found[-1] = PlanBlock(found[-1].start_ms, block.end_ms, block.power_w)
        else:
            found.append(block)
    return tuple(found)
