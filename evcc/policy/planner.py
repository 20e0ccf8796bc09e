"""When to charge and when to discharge: a plan by prices that fits the battery and the time until departure.

Within one schedule tuple the plan is that of a storage with linear prices (`evcc.session.store`). If prices depend
on power, plans are made for every power range. They are compared by their exact cost
(`v2g.iso15118.d20.prices`); charging at once at full power is always among them, so that no plan is worse.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Final

from evcc.policy.plans import W_MS_PER_WH, ChargePlan, Market, PlanBlock, Storage, full_power, goal_wh, merged
from evcc.session.store import EnergyStore
from v2g.iso15118.d20.prices import W_MS_PER_KWH, Algorithm, Flow, cost

MOST_WORK: Final = 200_000
"""Maximum number of slots examined for all plans together: limits the time for extreme schedules."""

MOST_CAPS: Final = 4
"""Maximum number of power ranges with a plan of their own, the highest first."""


def make_plan(markets: Sequence[Market], storage: Storage) -> ChargePlan:
    """Return the best plan: first by the driver's needs, as far as possible, then by cost, then by order."""
    best: tuple[tuple[object, ...], ChargePlan] | None = None
    work = MOST_WORK // (2 * sum(len(_caps(market)) for market in markets))
    for rank, market in enumerate(markets):
        for blocks in _candidates(market, storage, work):
            moved = sum(block.power_w * (block.end_ms - block.start_ms) for block in blocks)
            plan = ChargePlan(
                tuple_id=market.tuple_id,
                blocks=blocks,
                energy_wh=storage.energy_wh + moved // W_MS_PER_WH,
                cost=total_cost(market, blocks),
            )
            price = _relative(market, blocks) if plan.cost is None else plan.cost
            key = (max(0, storage.target_wh - plan.energy_wh), plan.cost is None, price, rank)
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
    """Return the cost of a profile in levels, or, without prices, a measure of its delay."""
    total = Fraction(0)
    for block in blocks:
        for slot, level in zip(market.slots, market.levels or (0,) * len(market.slots), strict=True):
            span = min(block.end_ms, slot.end_ms) - max(block.start_ms, slot.start_ms)
            if span > 0:
                total += Fraction(max(0, block.power_w) * span * (level + 1), W_MS_PER_KWH)
    return total
