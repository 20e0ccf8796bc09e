"""What is planned with: what is allowed over time and at which prices, the battery, and the plan that is made.

Energies are W times ms, times UTC ms; a negative power gives back.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

import msgspec

from v2g.iso15118.d20.prices import Prices

W_MS_PER_WH: Final = 3_600_000


class Slot(msgspec.Struct, frozen=True):
    """What is allowed during `[start_ms, end_ms)`, W and never negative."""

    start_ms: int
    end_ms: int
    charge_w: int
    discharge_w: int = 0

    @property
    def ms(self) -> int:
        """How long it is."""
        return self.end_ms - self.start_ms


class Market(msgspec.Struct, frozen=True):
    """One schedule tuple: what is allowed over time, and at which prices. Slots follow each other without a gap.

    `levels` are relative prices of charging, one for each slot, where there are no absolute ones.
    """

    tuple_id: int
    slots: tuple[Slot, ...]
    charge: Prices | None = None
    discharge: Prices | None = None
    levels: tuple[int, ...] = ()
    available_wh: int | None = None
    """Energy that there is to charge, if it is bounded."""


class Storage(msgspec.Struct, frozen=True):
    """The battery, Wh: what is in it, what it holds, what it needs at departure, and what always has to be in it.

    Energy is given back only down to `reserve_wh`. `wear` is what a kWh given back costs beside its price.
    """

    energy_wh: int
    capacity_wh: int
    target_wh: int
    minimum_wh: int = 0
    reserve_wh: int = 0
    wear: float = 0.0


class Block(msgspec.Struct, frozen=True):
    """One power during `[start_ms, end_ms)`, signed."""

    start_ms: int
    end_ms: int
    power_w: int


class ChargePlan(msgspec.Struct, frozen=True):
    """Which tuple to take and what to do when. `cost` is exact, None where no absolute price is known."""

    tuple_id: int
    blocks: tuple[Block, ...]
    energy_wh: int
    """What is in the battery at the end."""
    cost: Fraction | None

    def power_at(self, utc_ms: int) -> int:
        """Return the power that is planned for a time."""
        return next((block.power_w for block in self.blocks if block.start_ms <= utc_ms < block.end_ms), 0)

    @property
    def until_ms(self) -> int:
        """When the last energy has flowed."""
        return max((block.end_ms for block in self.blocks if block.power_w), default=0)


def goal_wh(market: Market, storage: Storage) -> int:
    """Return what is to be in the battery at the end, Wh, as far as there is energy for it."""
    goal = min(storage.capacity_wh, max(storage.target_wh, storage.minimum_wh))
    return goal if market.available_wh is None else min(goal, storage.energy_wh + market.available_wh)


def full_power(slot: Slot, energy: int) -> list[Block]:
    """Return full power until so much energy has flowed, to the next whole second, and none after that."""
    if not energy or not slot.charge_w:
        return [Block(slot.start_ms, slot.end_ms, 0)]
    ms = -(-energy // slot.charge_w)
    end_ms = min(slot.end_ms, slot.start_ms + -(-ms // 1000) * 1000)
    first = Block(slot.start_ms, end_ms, slot.charge_w)
    return [first, Block(end_ms, slot.end_ms, 0)] if end_ms < slot.end_ms else [first]


def merged(blocks: Iterable[Block]) -> tuple[Block, ...]:
    found: list[Block] = []
    for block in blocks:
        if found and found[-1].power_w == block.power_w:
            found[-1] = Block(found[-1].start_ms, block.end_ms, block.power_w)
        else:
            found.append(block)
    return tuple(found)
