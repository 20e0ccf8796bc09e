"""Plans by prices: by hand, never worse than charging at once, and the best that a search over all plans finds."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcc.policy.planner import Market, PlanBlock, Slot, Storage, at_once, make_plan, total_cost
from v2g.iso15118.d20.prices import Algorithm, Overstay, Prices, Rule, Stack

pytestmark = pytest.mark.requirement("R50")

HOUR = 3_600_000


def prices(
    *fees: float, starts: Sequence[int] = (0,), algorithm: Algorithm = Algorithm.POWER, **options: Any
) -> Prices:
    """Return prices by the hour; each fee is that of all ranges, or of each."""
    stacks = tuple(
        Stack(
            hour * HOUR,
            (hour + 1) * HOUR,
            tuple(Rule(Fraction(start), Fraction(str(fee)) * (index + 1)) for index, start in enumerate(starts)),
        )
        for hour, fee in enumerate(fees)
    )
    return Prices(algorithm, "EUR", 0, stacks, **options)


def market(
    charge: Prices, charge_w: Sequence[int] | int, discharge: Prices | None = None, discharge_w: int = 0, **options: Any
) -> Market:
    count = len(charge.stacks)
    powers = [charge_w] * count if isinstance(charge_w, int) else list(charge_w)
    slots = tuple(Slot(h * HOUR, (h + 1) * HOUR, powers[h], discharge_w) for h in range(count))
    return Market(1, slots, charge, discharge, **options)


def hourly(blocks: Sequence[PlanBlock], hours: int) -> list[int]:
    """Return the Wh of each hour."""
    energy = [0] * hours
    for block in blocks:
        for hour in range(hours):
            span = min(block.end_ms, (hour + 1) * HOUR) - max(block.start_ms, hour * HOUR)
            energy[hour] += max(0, span) * block.power_w // HOUR
    return energy


def test_energy_is_taken_when_it_is_cheapest() -> None:
    plan = make_plan([market(prices(0.3, 0.1, 0.2, 0.4), 10_000)], Storage(20_000, 60_000, 35_000))
    assert hourly(plan.blocks, 4) == [0, 10_000, 5_000, 0]
    assert plan.cost == 10 * Fraction("0.1") + 5 * Fraction("0.2")
    assert plan.energy_wh == 35_000


def test_what_must_be_there_is_charged_at_once_the_rest_when_it_is_cheap() -> None:
    plan = make_plan([market(prices(0.5, 0.1, 0.1), 10_000)], Storage(10_000, 60_000, 30_000, minimum_wh=14_000))
    assert hourly(plan.blocks, 3)[0] == 4_000
    assert plan.energy_wh == 30_000


def test_a_target_that_is_out_of_reach_is_come_as_near_as_can_be() -> None:
    plan = make_plan([market(prices(0.5, 0.1), 10_000)], Storage(10_000, 60_000, 55_000))
    assert hourly(plan.blocks, 2) == [10_000, 10_000]


def test_of_two_tuples_the_cheaper_one_that_suffices_is_taken() -> None:
    slow = Market(2, tuple(Slot(h * HOUR, (h + 1) * HOUR, 4_000) for h in range(4)), prices(0.2, 0.2, 0.2, 0.2))
    fast = market(prices(0.3, 0.3, 0.3, 0.3), 10_000)
    assert make_plan([fast, slow], Storage(0, 60_000, 16_000)).tuple_id == 2
    assert make_plan([fast, slow], Storage(0, 60_000, 17_000)).tuple_id == 1


def test_energy_is_given_back_when_that_pays_and_bought_back_before_departure() -> None:
    back = prices(0.1, 0.5, 0.1, 0.1)
    plan = make_plan([market(prices(0.2, 0.4, 0.2, 0.3), 10_000, back, 5_000)], Storage(30_000, 60_000, 30_000))
    assert hourly(plan.blocks, 4)[1] == -5_000
    assert plan.energy_wh >= 30_000
    assert plan.cost == 5 * Fraction("0.2") - 5 * Fraction("0.5")


def test_wear_and_the_reserve_hold_energy_back() -> None:
    deal = market(prices(0.2, 0.2), 10_000, prices(0.3, 0.3), 5_000)
    assert hourly(make_plan([deal], Storage(30_000, 60_000, 30_000)).blocks, 2) != [0, 0]
    assert hourly(make_plan([deal], Storage(30_000, 60_000, 30_000, wear=0.2)).blocks, 2) == [0, 0]
    surplus = Storage(30_000, 60_000, 10_000, reserve_wh=28_000)
    assert sum(hourly(make_plan([deal], surplus).blocks, 2)) == -2_000


def test_who_is_paid_for_taking_energy_takes_it() -> None:
    plan = make_plan([market(prices(0.2, -0.1, 0.2), 10_000)], Storage(10_000, 60_000, 10_000))
    assert hourly(plan.blocks, 3) == [0, 10_000, 0]


def test_a_dear_power_range_is_avoided_when_there_is_time() -> None:
    # above 5 kW twice the price
    dear = market(prices(0.2, 0.2, 0.2, starts=(0, 5_000)), 10_000)
    plan = make_plan([dear], Storage(0, 60_000, 14_000))
    assert max(block.power_w for block in plan.blocks) < 5_000
    hurry = make_plan([dear], Storage(0, 60_000, 29_000))
    assert hurry.energy_wh >= 29_000
    stacked = market(prices(0.2, 0.3, starts=(0, 5_000), algorithm=Algorithm.STACKED_ENERGY), 10_000)
    plan = make_plan([stacked], Storage(0, 60_000, 10_000))
    assert hourly(plan.blocks, 2) == [5_000, 5_000]  # 0.3 is less than twice 0.2


def test_prices_by_the_minute_count_whole_though_they_are_planned_with_in_pieces() -> None:
    minute = 60_000
    fees = ["0.1", "0.9", "0.9", "0.9"] * 60 + ["0.4"] * 240  # 0.7 on average, then 0.4
    stacks = tuple(
        Stack(n * minute, (n + 1) * minute, (Rule(Fraction(0), Fraction(fee)),)) for n, fee in enumerate(fees)
    )
    slots = tuple(Slot(each.start_ms, each.end_ms, 10_000, 10_000) for each in stacks)
    each_minute = Prices(Algorithm.POWER, "EUR", 0, stacks)
    plan = make_plan([Market(1, slots, each_minute)], Storage(0, 60_000, 20_000))
    assert plan.cost == 20 * Fraction("0.4")
    back = make_plan([Market(1, slots, each_minute, each_minute)], Storage(60_000, 60_000, 40_000))
    assert back.cost is not None
    assert back.cost < -20 * Fraction("0.65"), "it gives where the mean is high, not where a dear minute begins"


def test_levels_are_enough_to_plan_with() -> None:
    slots = tuple(Slot(h * HOUR, (h + 1) * HOUR, 10_000) for h in range(3))
    plan = make_plan([Market(1, slots, levels=(2, 0, 1))], Storage(0, 60_000, 15_000))
    assert hourly(plan.blocks, 3) == [0, 10_000, 5_000]
    assert plan.cost is None


def test_without_any_price_energy_is_taken_at_once() -> None:
    slots = tuple(Slot(h * HOUR, (h + 1) * HOUR, 10_000) for h in range(3))
    plan = make_plan([Market(1, slots)], Storage(0, 60_000, 15_000))
    assert hourly(plan.blocks, 3) == [10_000, 5_000, 0]


def test_of_equal_tuples_the_one_that_is_done_first_is_taken() -> None:
    weak, strong = ((Slot(0, 8 * HOUR, power),) for power in (3_700, 11_000))
    plan = make_plan([Market(1, weak), Market(2, strong), Market(3, strong)], Storage(0, 60_000, 20_000))
    assert plan.tuple_id == 2
    priced = [market(prices(*[0.2] * 8), power) for power in (4_000, 8_000)]
    assert make_plan(priced, Storage(0, 60_000, 24_000)).power_at(0) == 8_000


def test_a_bounded_amount_of_energy_is_not_exceeded() -> None:
    bounded = market(prices(0.2, 0.1), 10_000, available_wh=6_000)
    assert sum(hourly(make_plan([bounded], Storage(0, 60_000, 20_000)).blocks, 2)) == 6_000


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 22)), min_size=1, max_size=5),
    st.integers(0, 30_000),
    st.sampled_from(Algorithm),
)
def test_no_plan_has_a_second_more_than_the_energy_that_is_available(
    hours: list[tuple[int, int]], available_wh: int, algorithm: Algorithm
) -> None:
    """A charger refuses the profile (FAILED_EVPowerProfileInvalid)."""
    offered = market(
        prices(*(fee / 100 for fee, _ in hours), starts=(0, 5_000), algorithm=algorithm),
        [kw * 1000 for _, kw in hours],
        available_wh=available_wh,
    )
    plan = make_plan([offered], Storage(10_000, 60_000, 50_000))
    energy = sum(block.power_w * (block.end_ms - block.start_ms) for block in plan.blocks)
    assert energy <= available_wh * HOUR
    wanted = min(available_wh, 40_000, sum(kw * 1000 for _, kw in hours))
    assert energy >= (wanted - 10) * HOUR
    assert all(block.start_ms < block.end_ms for block in plan.blocks)


# -- every plan ---------------------------------------------------------------------------------------------------

fees = st.integers(-5, 40).map(lambda cents: cents / 100)


@st.composite
def markets(draw: st.DrawFn) -> Market:
    count = draw(st.integers(1, 8))
    algorithm = draw(st.sampled_from(Algorithm))
    starts = (0, *sorted(draw(st.sets(st.integers(1, 20).map(lambda kw: kw * 1000), max_size=2))))
    overstay = Overstay(
        draw(st.integers(0, 3)) * 600_000, Fraction(draw(st.integers(0, 2)) * 500), ((0, Fraction(1, HOUR)),)
    )
    charge = prices(
        *(draw(fees) for _ in range(count)),
        starts=starts,
        algorithm=algorithm,
        minimum=draw(st.none() | st.just(Fraction(1))),
        maximum=draw(st.none() | st.just(Fraction(3))),
        overstay=draw(st.none() | st.just(overstay)),
    )
    back = prices(*(draw(fees) for _ in range(count)))
    powers = [draw(st.integers(0, 22)) * 1000 for _ in range(count)]
    return market(charge, powers, *(draw(st.just((None, 0)) | st.just((back, 5_000)))))


storages = st.builds(
    lambda energy, target, minimum, reserve: Storage(energy, 60_000, target, min(minimum, target), reserve),
    st.integers(0, 60_000), st.integers(0, 60_000), st.integers(0, 60_000), st.integers(0, 60_000),
)  # fmt: skip


@pytest.mark.long
@given(st.lists(markets(), min_size=1, max_size=3), storages)
def test_no_plan_is_worse_than_charging_at_once_and_needs_are_met_whenever_they_can_be(
    offered: list[Market], battery: Storage
) -> None:
    plan = make_plan(offered, battery)
    goal = max(battery.target_wh, battery.minimum_wh)
    reachable = max(battery.energy_wh + sum(slot.charge_w for slot in each.slots) for each in offered)
    assert plan.energy_wh >= min(goal, reachable) or plan.energy_wh >= battery.target_wh
    for each in offered:
        blocks = at_once(each, battery)
        whole = battery.energy_wh + sum(hourly(blocks, len(each.slots)))
        if whole >= min(goal, reachable):
            cost = total_cost(each, blocks)
            assert cost is not None
            assert plan.cost is not None
            assert plan.cost <= cost


@given(st.lists(markets(), min_size=1, max_size=2), storages)
def test_every_plan_stays_within_its_tuple_and_the_battery(offered: list[Market], battery: Storage) -> None:
    plan = make_plan(offered, battery)
    assert any(_fits(each, plan.blocks) for each in offered)
    level = battery.energy_wh * HOUR
    for block in plan.blocks:
        level += block.power_w * (block.end_ms - block.start_ms)
        # powers and times are rounded up to whole watts and seconds
        assert level <= (max(battery.capacity_wh, battery.energy_wh) + 100) * HOUR
        if block.power_w < 0:
            assert level >= battery.reserve_wh * HOUR


def _fits(taken: Market, blocks: Sequence[PlanBlock]) -> bool:
    return all(
        -slot.discharge_w <= block.power_w <= slot.charge_w
        for block in blocks
        for slot in taken.slots
        if slot.start_ms < block.end_ms and slot.end_ms > block.start_ms
    )


def best_of_all(offered: Market, battery: Storage, step_wh: int) -> float:
    """Return the least cost by dynamic programming over all levels of the battery in steps of energy."""
    assert offered.charge is not None
    low = max(0, battery.reserve_wh)
    costs = {battery.energy_wh: 0.0}
    for hour, slot in enumerate(offered.slots):
        fee = float(offered.charge.stacks[hour].rules[0].fee)
        back = float(offered.discharge.stacks[hour].rules[0].fee) if offered.discharge else 0.0
        following: dict[int, float] = {}
        for level, paid in costs.items():
            for move in range(-slot.discharge_w, slot.charge_w + 1, step_wh):
                new = level + move
                if not 0 <= new <= battery.capacity_wh or (move < 0 and new < low):
                    continue
                total = paid + (fee * move if move > 0 else back * move) / 1000
                if total < following.get(new, 1e9):
                    following[new] = total
        costs = following
    return min(paid for level, paid in costs.items() if level >= battery.target_wh)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 25)), min_size=1, max_size=6),
    st.integers(0, 6),
    st.integers(0, 6),
    st.integers(0, 4),
)
def test_where_prices_are_linear_no_plan_at_all_is_better(
    hours: list[tuple[int, int]], energy: int, target: int, reserve: int
) -> None:
    # compensation never above the price of the same hour, as otherwise energy could be in two directions at once
    charge = prices(*(fee / 100 for fee, _ in hours))
    back = prices(*(min(fee, paid) / 100 for fee, paid in hours))
    offered = market(charge, 4_000, back, 4_000)
    target_wh = min(target * 4_000, energy * 4_000 + len(hours) * 4_000)
    # from below the reserve "give only above it" is no linear rule any more
    battery = Storage(energy * 4_000, 24_000, target_wh, reserve_wh=min(reserve, energy) * 4_000)
    plan = make_plan([offered], battery)
    assert plan.cost is not None
    assert abs(float(plan.cost) - best_of_all(offered, battery, 4_000)) < 1e-6
