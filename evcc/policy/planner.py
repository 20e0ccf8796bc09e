"""When to charge and when to discharge: a plan by prices that fits the battery and the time until departure.

Within one schedule tuple the plan is that of a storage with linear prices (`evcc.policy.planner`). If prices depend
on power, plans are made for every power range. They are compared by their exact cost
(`v2g.iso15118.d20.prices`); charging at once at full power is always among them, so that no plan is worse.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Final

import msgspec

from v2g.iso15118.d20.prices import W_MS_PER_KWH, Algorithm, Flow, Prices, cost, during, fee_rate

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


def within(blocks: Iterable[PlanBlock], available_wh: int | None) -> tuple[PlanBlock, ...]:
    """Return a profile up to the energy that is available for charging, to the last whole second, and none after it."""
    if available_wh is None:
        return tuple(blocks)
    left, found = max(0, available_wh) * W_MS_PER_WH, list[PlanBlock]()
    for block in blocks:
        energy = max(0, block.power_w) * (block.end_ms - block.start_ms)
        if energy <= left:
            left -= energy
            found.append(block)
            continue
        end_ms = block.start_ms + left // block.power_w // 1000 * 1000
        left = 0
        found += [PlanBlock(block.start_ms, end_ms, block.power_w), PlanBlock(end_ms, block.end_ms, 0)]
    return tuple(each for each in found if each.start_ms < each.end_ms)


def merged(blocks: Iterable[PlanBlock]) -> tuple[PlanBlock, ...]:
    found: list[PlanBlock] = []
    for block in blocks:
        if found and found[-1].power_w == block.power_w:
            found[-1] = PlanBlock(found[-1].start_ms, block.end_ms, block.power_w)
        else:
            found.append(block)
    return tuple(found)


MOST_SLOTS: Final = 192
"""Resolution of a plan for one day: quarter hours, and as many other edges."""

_WORTHWHILE: Final = 1e-9


class StoreStep(msgspec.Struct):
    """A price and the energy available at it: ascending for charging, descending for discharging."""

    price: float
    room: int
    used: int = 0


class EnergyStore:
    """A plan in progress: energy of each slot in steps of price, and the level of the battery after each slot."""

    def __init__(self, market: Market, storage: Storage, cap_w: int) -> None:
        self._market, self._storage = market, storage
        self._slots, levels = _coarse(market)
        self._stacked = market.charge is not None and market.charge.algorithm is Algorithm.STACKED_ENERGY
        self._high = max(storage.capacity_wh, storage.energy_wh) * W_MS_PER_WH
        if market.available_wh is not None:
            self._high = min(self._high, (storage.energy_wh + market.available_wh) * W_MS_PER_WH)
        self._charge = [self._charging(slot, cap_w, level) for slot, level in zip(self._slots, levels, strict=True)]
        self._give: list[list[StoreStep]] = [[] for _ in self._slots]
        self._level = [storage.energy_wh * W_MS_PER_WH] * len(self._slots)
        # the minimum level after each slot: the minimum charge as soon as possible, the target at the end
        minimum = min(self._storage.minimum_wh * W_MS_PER_WH, self._high)
        reach, low = self._storage.energy_wh * W_MS_PER_WH, []
        for steps in self._charge:
            reach = min(self._high, reach + sum(step.room for step in steps))
            low.append(min(minimum, reach))
        if low:
            low[-1] = min(goal_wh(self._market, self._storage) * W_MS_PER_WH, reach)
        self._low = low

    def solve(self, work: int, *, give: bool) -> tuple[PlanBlock, ...]:
        """Return the profile: needs first, then profitable energy; with `give` also by discharging."""
        if give and self._market.available_wh is None:
            self._give = [self._giving(slot) for slot in self._slots]
        for index in range(len(self._level)):
            # charge in the cheapest slots until the minimum level after a slot is reached
            while self._level[index] < self._low[index]:
                _, at = min((self._cost(i)[0], i) for i in range(index + 1) if self._cost(i)[1])
                self._change(at, min(self._cost(at)[1], self._low[index] - self._level[index]))
        while work > 0 and self._improve():
            work -= len(self._level)
        return self._blocks()

    # -- prices and bounds

    def _charging(self, slot: Slot, cap_w: int, level: int) -> list[StoreStep]:
        power = min(slot.charge_w, cap_w)
        prices = self._market.charge
        if prices is None:
            return [StoreStep(float(level), power * slot.ms)]
        tax = 1 + sum(float(each.rate) for each in prices.taxes if each.energy and not each.included)
        stack, *further = list(during(prices.stacks, Flow(slot.start_ms, slot.end_ms, power))) or prices.stacks[-1:]
        fees = [float(rule.fee) * tax for rule in stack.rules]
        if further or prices.algorithm is not Algorithm.STACKED_ENERGY or fees != sorted(fees):
            # if the price changes within the slot, or falls with power, only the mean price is linear
            return [StoreStep(_mean(prices, slot, power) * tax, power * slot.ms)]
        edges = [0, *(min(power, int(rule.start_w)) for rule in stack.rules[1:]), power]
        return [StoreStep(fee, (edges[i + 1] - edges[i]) * slot.ms) for i, fee in enumerate(fees)]

    def _giving(self, slot: Slot) -> list[StoreStep]:
        prices = self._market.discharge
        if prices is None or prices.at(slot.start_ms) is None or not slot.discharge_w:
            return []
        gain = _mean(prices, slot, -slot.discharge_w)
        return [StoreStep(gain - self._storage.wear, slot.discharge_w * slot.ms)]

    # -- moving energy

    def _cost(self, index: int) -> tuple[float, int]:
        """Return the cost of another W ms into the battery in a slot, and the amount available at that price."""
        given = next((step for step in reversed(self._give[index]) if step.used), None)
        if given is not None:
            return given.price, given.used
        free = next((step for step in self._charge[index] if step.room > step.used), None)
        return (free.price, free.room - free.used) if free is not None else (0.0, 0)

    def _gain(self, index: int) -> tuple[float, int, bool]:
        """Return the gain of one W ms less in a slot, the amount at that price, and whether it is discharged."""
        taken = next((step for step in reversed(self._charge[index]) if step.used), None)
        if taken is not None:
            return taken.price, taken.used, False
        free = next((step for step in self._give[index] if step.room > step.used), None)
        return (free.price, free.room - free.used, True) if free is not None else (0.0, 0, True)

    def _change(self, index: int, energy: int) -> None:
        """Move energy into (or, negative, out of) the battery in a slot."""
        if energy > 0:
            given = next((step for step in reversed(self._give[index]) if step.used), None)
            if given is not None:
                given.used -= energy
            else:
                next(step for step in self._charge[index] if step.room > step.used).used += energy
        else:
            taken = next((step for step in reversed(self._charge[index]) if step.used), None)
            if taken is not None:
                taken.used += energy
            else:
                next(step for step in self._give[index] if step.room > step.used).used -= energy
        for k in range(index, len(self._level)):
            self._level[k] += energy

    def _improve(self) -> bool:
        """Make the most profitable move of energy between two slots; return whether there was one."""
        # (profit, buy, sell) of the best move that charges first; sell n: the energy stays in the battery
        n, best = len(self._level), (0.0, 0, 0)
        cheapest: tuple[float, int] | None = None
        for k in range(n):
            gain, room, giving = self._gain(k)
            if giving and self._level[k] < self._storage.reserve_wh * W_MS_PER_WH:
                room = 0  # energy charged before would have to stay
            if cheapest is not None and room and gain - cheapest[0] > best[0]:
                best = gain - cheapest[0], cheapest[1], k
            price, left = self._cost(k)
            if left and (cheapest is None or price < cheapest[0]):
                cheapest = price, k
            if self._level[k] >= self._high:
                cheapest = None
        if cheapest is not None and -cheapest[0] > best[0]:
            best = -cheapest[0], cheapest[1], n
        profit, buy, sell = max(best, self._borrow())
        if profit <= _WORTHWHILE:
            return False
        n = len(self._level)
        energy = min(self._cost(buy)[1] if buy < n else self._high, self._gain(sell)[1] if sell < n else self._high)
        if buy < sell:
            energy = min([energy, *(self._high - self._level[k] for k in range(buy, sell))])
        else:
            energy = min([energy, self._spare(sell), *(self._room_below(k) for k in range(sell, min(buy, n)))])
        if buy < n:
            self._change(buy, energy)
        if sell < n:
            self._change(sell, -energy)
        return energy > 0

    def _borrow(self) -> tuple[float, int, int]:
        """Return (profit, buy, sell) of the best move that sells first; buy n: there is surplus energy."""
        n, best = len(self._level), (0.0, 0, 0)
        dearest: tuple[float, int] | None = None
        for k in range(n):
            price, left = self._cost(k)
            if dearest is not None and left and dearest[0] - price > best[0]:
                best = dearest[0] - price, k, dearest[1]
            gain, room, _ = self._gain(k)
            if room and self._spare(k) > 0 and (dearest is None or gain > dearest[0]):
                dearest = gain, k
            if self._room_below(k) <= 0:
                dearest = None
        if dearest is not None and dearest[0] > best[0]:
            best = dearest[0], n, dearest[1]
        return best

    def _room_below(self, k: int) -> int:
        """Return how far the level after a slot may be lowered; in slots of discharge the reserve stays."""
        giving = any(step.used for step in self._give[k])
        low = max(self._low[k], self._storage.reserve_wh * W_MS_PER_WH) if giving else self._low[k]
        return self._level[k] - low

    def _spare(self, k: int) -> int:
        """Return the energy that may be taken out in a slot."""
        if not self._gain(k)[2]:
            return self._room_below(k)
        return self._level[k] - max(self._low[k], self._storage.reserve_wh * W_MS_PER_WH)

    # -- the profile

    def _blocks(self) -> tuple[PlanBlock, ...]:
        blocks: list[PlanBlock] = []
        for slot, charge, give in zip(self._slots, self._charge, self._give, strict=True):
            taken, given = sum(step.used for step in charge), sum(step.used for step in give)
            if given:
                blocks.append(PlanBlock(slot.start_ms, slot.end_ms, -(given // slot.ms)))
            elif self._stacked:
                blocks.append(PlanBlock(slot.start_ms, slot.end_ms, -(-taken // slot.ms)))
            else:
                most = sum(step.room for step in charge) // slot.ms
                blocks += full_power(Slot(slot.start_ms, slot.end_ms, most), taken)
        return merged(blocks)


def _mean(prices: Prices, slot: Slot, power_w: int) -> float:
    """Return the mean cost of a kWh at constant power in a slot; negative power: its gain."""
    power, total, known = Fraction(power_w or 1), Fraction(0), 0
    for stack in during(prices.stacks, Flow(slot.start_ms, slot.end_ms, power_w)):
        ms = min(stack.end_ms, slot.end_ms) - max(stack.start_ms, slot.start_ms)
        total += fee_rate(prices.algorithm, stack, power, abs(power)) * ms
        known += ms
    if not known:
        return float(fee_rate(prices.algorithm, prices.stacks[-1], power, abs(power)) / power)
    return float(total / power / known)


def _coarse(market: Market) -> tuple[list[Slot], list[int]]:
    """Return slots and levels for the plan: beyond the maximum, neighbours are joined with the lower of both powers."""
    slots, levels = list(market.slots), list(market.levels or (0,) * len(market.slots))
    while len(slots) > MOST_SLOTS:
        pairs = [slots[k : k + 2] for k in range(0, len(slots), 2)]
        slots = [
            Slot(p[0].start_ms, p[-1].end_ms, min(s.charge_w for s in p), min(s.discharge_w for s in p)) for p in pairs
        ]
        levels = [max(levels[k : k + 2]) for k in range(0, len(levels), 2)]
    return slots, levels


MOST_WORK: Final = 200_000
"""Maximum number of slots examined for all plans together: limits the time for extreme schedules."""

MOST_CAPS: Final = 4
"""Maximum number of power ranges with a plan of their own, the highest first."""


def make_plan(markets: Sequence[Market], storage: Storage) -> ChargePlan:
    """Return the best plan: first by the driver's needs, as far as possible, then by cost, then the earliest."""
    best: tuple[tuple[object, ...], ChargePlan] | None = None
    work = MOST_WORK // (2 * sum(len(_caps(market)) for market in markets))
    for rank, market in enumerate(markets):
        for each in _candidates(market, storage, work):
            blocks = within(each, market.available_wh)  # slots of full power end with a whole second
            moved = sum(block.power_w * (block.end_ms - block.start_ms) for block in blocks)
            plan = ChargePlan(
                tuple_id=market.tuple_id,
                blocks=blocks,
                energy_wh=storage.energy_wh + moved // W_MS_PER_WH,
                cost=total_cost(market, blocks),
            )
            price = _relative(market, blocks) if plan.cost is None else plan.cost
            key = (max(0, storage.target_wh - plan.energy_wh), plan.cost is None, price, plan.until_ms, rank)
            if best is None or key < best[0]:
                best = key, plan
    assert best is not None, "at least one market"
    return best[1]


def at_once(market: Market, storage: Storage) -> tuple[PlanBlock, ...]:
    """Return charging at full power from the beginning until the target is reached."""
    left = max(0, goal_wh(market, storage) - storage.energy_wh) * W_MS_PER_WH
    blocks: list[PlanBlock] = []
    for slot in market.slots:
        taken = min(left, slot.charge_w * slot.ms)
        left -= taken
        blocks += full_power(slot, taken)
    return merged(blocks)


def total_cost(market: Market, blocks: Iterable[PlanBlock]) -> Fraction | None:
    """Return the cost of a profile, both directions together; None if a direction in use has no price."""
    blocks = list(blocks)
    if market.charge is None or (market.discharge is None and any(block.power_w < 0 for block in blocks)):
        return None
    total = cost(market.charge, (Flow(b.start_ms, b.end_ms, max(0, b.power_w)) for b in blocks)).total
    if market.discharge is not None:
        total += cost(market.discharge, (Flow(b.start_ms, b.end_ms, min(0, b.power_w)) for b in blocks)).total
    return total


# -- candidates ---------------------------------------------------------------------------------------------------


def _candidates(market: Market, storage: Storage, work: int) -> Iterable[tuple[PlanBlock, ...]]:
    """Yield candidate profiles: at once, and the plans for every power range."""
    yield at_once(market, storage)
    for cap in _caps(market):
        yield EnergyStore(market, storage, cap).solve(work, give=False)
        if any(slot.discharge_w for slot in market.slots):
            yield EnergyStore(market, storage, cap).solve(work, give=True)


def _caps(market: Market) -> list[int]:
    """Return the maximum powers of plans: all of it, and just below the start of each power range."""
    most = max((slot.charge_w for slot in market.slots), default=0)
    caps = {most}
    if market.charge is not None and market.charge.algorithm is not Algorithm.STACKED_ENERGY:
        for stack in market.charge.stacks:
            caps |= {int(rule.start_w) - 1 for rule in stack.rules[1:] if 1 < rule.start_w <= most}
    return sorted(caps, reverse=True)[:MOST_CAPS]


def _relative(market: Market, blocks: tuple[PlanBlock, ...]) -> Fraction:
    """Return the cost of a profile in levels, 0 without any."""
    total = Fraction(0)
    levels = tuple(zip(market.slots, market.levels, strict=True)) if market.levels else ()
    for block in blocks:
        for slot, level in levels:
            span = min(block.end_ms, slot.end_ms) - max(block.start_ms, slot.start_ms)
            if span > 0:
                total += Fraction(max(0, block.power_w) * span * (level + 1), W_MS_PER_KWH)
    return total
