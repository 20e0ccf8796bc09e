"""Plans of least cost: against closed forms, another solver, and what must hold for every plan."""

import itertools
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.energy.dispatch.fleets import START, at, cost, hours, least_cost, vehicle
from tests.together import together
from v2g.energy.dispatch.earnings import earnings, wear_micro_per_kwh
from v2g.energy.dispatch.plan import Method, Reason
from v2g.energy.dispatch.planner import charge_at_once, make_plan
from v2g.energy.dispatch.problem import Climate, DispatchProblem, FleetVehicle, Period

CENT = 0.003
"""What rounding to whole watts may cost."""


@pytest.mark.requirement("R50")
@pytest.mark.parametrize("loss", [1.0, 0.95, 0.9])
@pytest.mark.parametrize("wear", [0, 10_000, 30_000])
def test_of_two_prices_the_optimum_is_that_of_the_closed_form(loss: float, wear: int) -> None:
    night, peak = 0.03, 0.10
    car = vehicle(
        energy_wh=20_000,
        target_wh=20_000,
        discharge_w=10_000,
        charge_efficiency=loss,
        discharge_efficiency=loss,
        wear_micro_per_kwh=wear,
    )
    problem = DispatchProblem(periods=hours([night] * 3 + [peak] * 2, [night] * 3 + [peak] * 2), vehicles=(car,))
    plan = make_plan(problem)
    # a kWh taken out of the battery earns peak * loss, and costs its replacement and wear
    gain = peak * loss - night / loss - wear / 1e6
    cycled = min(3 * 10 * loss, 2 * 10 / loss, 40 + 20) if gain > 0 else 0.0
    assert cost(problem, plan) == pytest.approx(-max(0.0, gain) * cycled, abs=1e-3)
    assert plan.method is Method.OPTIMAL
    assert plan.vehicles[0].energy_wh[-1] == pytest.approx(20_000, abs=2)


@pytest.mark.requirement("R50")
def test_without_a_gain_after_losses_and_wear_nothing_moves_and_the_reason_is_named() -> None:
    car = vehicle(discharge_w=10_000, charge_efficiency=0.9, discharge_efficiency=0.9, wear_micro_per_kwh=70_000)
    plan = make_plan(DispatchProblem(periods=hours([0.03, 0.10], [0.03, 0.10]), vehicles=(car,)))
    assert plan.vehicles[0].power_w == (0, 0)
    assert plan.vehicles[0].reason is Reason.AT_TARGET


@st.composite
def problems(draw: st.DrawFn, *, feed_in_above: bool = False, least_price: int = 10) -> DispatchProblem:
    """Fleets that can reach their targets beside a load within the site's limits."""
    count = draw(st.integers(2, 6))
    buy = draw(st.lists(st.integers(least_price, 500), min_size=count, max_size=count))
    sell = draw(st.lists(st.integers(least_price, 500), min_size=count, max_size=count))
    load = draw(st.lists(st.integers(0, 8), min_size=count, max_size=count))
    periods = tuple(
        msgspec.structs.replace(each, load_w=kw * 1000)
        for each, kw in zip(
            hours(
                [each / 1000 for each in buy],
                [(a if feed_in_above else min(a, b)) / 1000 for a, b in zip(sell, buy, strict=True)],
                import_limit_w=draw(st.integers(20, 60)) * 1000,
                export_limit_w=draw(st.integers(0, 30)) * 1000,
            ),
            load,
            strict=True,
        )
    )
    vehicles = tuple(
        vehicle(
            str(n),
            energy_wh=draw(st.integers(10, 40)) * 1000,
            target_wh=draw(st.integers(0, 10)) * 1000,
            reserve_wh=draw(st.integers(0, 10)) * 1000,
            discharge_w=draw(st.sampled_from([0, 5_000, 10_000])),
            charge_efficiency=draw(st.sampled_from([1.0, 0.9, 0.7])),
            discharge_efficiency=draw(st.sampled_from([1.0, 0.9, 0.7])),
            wear_micro_per_kwh=draw(st.sampled_from([0, 20_000, 100_000])),
            arrival_ms=at(draw(st.integers(0, 1))),
            departure_ms=at(draw(st.integers(2, count))),
        )
        for n in range(draw(st.integers(1, 3)))
    )
    return DispatchProblem(periods=periods, vehicles=vehicles)


@pytest.mark.long
@pytest.mark.requirement("R50")
@given(problems())
def test_another_solver_finds_no_cheaper_plan(problem: DispatchProblem) -> None:
    plan = make_plan(problem)
    assert plan.method is Method.OPTIMAL
    assert cost(problem, plan) == pytest.approx(least_cost(problem), abs=CENT)


@settings(max_examples=15, deadline=None)
@given(problems(feed_in_above=True, least_price=-500))
def test_with_negative_prices_no_energy_is_wasted_by_both_directions_at_once(problem: DispatchProblem) -> None:
    periods = tuple(msgspec.structs.replace(period, load_w=0) for period in problem.periods[:4])
    car = problem.vehicles[0]
    car = msgspec.structs.replace(car, departure_ms=min(car.departure_ms or 0, periods[-1].end_ms))
    problem = DispatchProblem(periods=periods, vehicles=(car,))
    ways = itertools.product((False, True), repeat=len(problem.periods))
    best = min(least_cost(problem, way) for way in ways)
    plan = make_plan(problem)
    assert cost(problem, plan) == pytest.approx(best, abs=CENT)


@dataclass(frozen=True)
class Promises:
    """What every plan keeps, whatever is asked."""

    problem: DispatchProblem

    def kept(self) -> None:
        plan = make_plan(self.problem)
        assert plan.method is not Method.AT_ONCE or not self.problem.vehicles
        for n, period in enumerate(self.problem.periods):
            drawn = sum(each.power_w[n] for each in plan.vehicles)
            assert drawn <= max(0, period.import_limit_w - period.base_w)
            assert plan.grid_w[n] >= -period.export_limit_w
            assert plan.excess_w[n] <= max(0, period.base_w - period.import_limit_w)
            assert plan.grid_w[n] == period.base_w + drawn + plan.curtailed_w[n]
            assert 0 <= plan.curtailed_w[n] <= period.pv_w
        for each, part in zip(self.problem.vehicles, plan.vehicles, strict=True):
            for period, power, energy in zip(self.problem.periods, part.power_w, part.energy_wh, strict=True):
                assert -each.discharge_w <= power <= each.charge_w
                assert power == 0 or period.presence(each) > 0
                assert power >= 0 or (period.discharge and period.presence(each) == 1)
                assert min(each.energy_wh, each.reserve_wh) - 2 <= energy <= each.capacity_wh + 2
            assert part.reason or any(part.power_w), "all 0 W, and no reason"
            assert part.reason or not part.shortfall_wh, "less than wanted, and no reason"


@st.composite
def any_problems(draw: st.DrawFn) -> DispatchProblem:
    """Problems of any kind, also with targets out of reach, cramped sites and people who come and go at any minute."""
    watts = st.integers(0, 40_000)
    price = st.integers(-300_000, 500_000)
    edges = [START]
    for length in draw(st.lists(st.sampled_from([1, 15, 15, 60]), min_size=1, max_size=8)):
        edges.append(edges[-1] + length * 60_000)
    periods = tuple(
        Period(
            start_ms=begin,
            end_ms=end,
            import_price=draw(price),
            export_compensation=draw(price),
            import_limit_w=draw(watts),
            export_limit_w=draw(watts),
            load_w=draw(watts),
            pv_w=draw(watts),
            discharge=draw(st.booleans()),
        )
        for begin, end in itertools.pairwise(edges)
    )
    found = []
    for n in range(draw(st.integers(0, 4))):
        capacity = draw(st.integers(1, 80_000))
        energies = st.integers(0, capacity)
        arrival = draw(st.integers(-60, 600))
        found.append(
            FleetVehicle(
                id=str(n),
                capacity_wh=capacity,
                energy_wh=draw(energies),
                target_wh=draw(energies),
                reserve_wh=draw(energies),
                charge_w=draw(watts),
                discharge_w=draw(watts),
                charge_efficiency=draw(st.floats(0.5, 1.0)),
                discharge_efficiency=draw(st.floats(0.5, 1.0)),
                wear_micro_per_kwh=draw(st.integers(0, 200_000)),
                arrival_ms=START + arrival * 60_000,
                departure_ms=START + (arrival + draw(st.integers(1, 600))) * 60_000,
            )
        )
    return DispatchProblem(periods=periods, vehicles=tuple(found))


@pytest.mark.long
@pytest.mark.requirement("R48")
@given(any_problems())
def test_whatever_is_asked_limits_hold_and_what_stays_short_has_a_reason(problem: DispatchProblem) -> None:
    Promises(problem).kept()


def test_targets_come_before_money_and_among_targets_the_higher_priority() -> None:
    first, second = vehicle("first", target_wh=40_000), vehicle("second", target_wh=40_000, priority=3)
    problem = DispatchProblem(periods=hours([9.0], import_limit_w=10_000), vehicles=(first, second))
    plan = make_plan(problem)
    assert [each.power_w for each in plan.vehicles] == [(0,), (10_000,)]
    assert [each.reason for each in plan.vehicles] == [Reason.SITE_LIMIT, Reason.NONE]
    assert plan.vehicles[0].shortfall_wh == 10_000


def test_vehicles_of_one_priority_share_a_shortage_by_quarters_of_what_they_want() -> None:
    cars = tuple(vehicle(str(n), target_wh=38_000 + 4_000 * n) for n in range(3))  # want 8, 12 and 16 kWh
    plan = make_plan(DispatchProblem(periods=hours([0.2, 0.3], import_limit_w=9_000), vehicles=cars))
    got = [each.energy_wh[-1] - 30_000 for each in plan.vehicles]
    assert sum(got) == pytest.approx(18_000, abs=3), "half of it"
    for energy, want in zip(got, (8_000, 12_000, 16_000), strict=True):
        assert want / 4 - 3 <= energy <= want * 3 / 4 + 3


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"target_wh": 60_000}, Reason.DEPARTS_TOO_SOON),
        ({"charge_w": 0, "target_wh": 40_000}, Reason.NO_POWER),
        ({"arrival_ms": at(9), "target_wh": 60_000}, Reason.ABSENT),
        ({"energy_wh": 60_000, "target_wh": 60_000}, Reason.AT_TARGET),
        ({}, Reason.AT_TARGET),
    ],
)
def test_what_a_vehicle_does_not_get_has_a_name(changed: dict[str, object], reason: Reason) -> None:
    problem = DispatchProblem(periods=hours([0.1, 0.2]), vehicles=(vehicle(**changed),))
    assert make_plan(problem).vehicles[0].reason is reason


def test_a_vehicle_below_its_reserve_sells_once_it_has_reached_it() -> None:
    """30 kWh bought for 0.10 and 20 sold for 0.50, although it begins 1 Wh below its reserve."""
    problem = DispatchProblem(
        periods=hours([0.1, 0.1, 0.1, 0.5, 0.5], [0.05, 0.05, 0.05, 0.5, 0.5]),
        vehicles=(vehicle(energy_wh=9_999, reserve_wh=10_000, target_wh=20_000, discharge_w=10_000),),
    )
    plan = make_plan(problem)
    assert plan.method is Method.OPTIMAL
    assert plan.vehicles[0].power_w == (10_000, 10_000, 10_000, -9_999, -10_000)
    assert cost(problem, plan) == pytest.approx(3 - 10, abs=0.001)


def test_a_vehicle_below_its_reserve_waits_for_a_cheap_hour_and_never_sells_below_it() -> None:
    low = vehicle(energy_wh=5_000, reserve_wh=10_000, target_wh=0, discharge_w=10_000)
    dear_now = DispatchProblem(periods=hours([0.9, 0.1, 0.9], [0.9, 0.1, 0.9]), vehicles=(low,))
    assert make_plan(dear_now).vehicles[0].power_w == (0, 10_000, -5_000)
    out_of_reach = DispatchProblem(periods=hours([0.1, 0.9], [0.0, 0.9], import_limit_w=4_000), vehicles=(low,))
    assert make_plan(out_of_reach).vehicles[0].power_w == (0, 0)


@pytest.mark.long
@pytest.mark.requirement("R50")
@settings(max_examples=40, deadline=None)
@given(problems(), st.data())
def test_a_vehicle_below_its_reserve_is_planned_as_another_solver_does_within_the_stated_gap(
    problem: DispatchProblem, data: st.DataObject
) -> None:
    energy_wh = data.draw(st.integers(0, 12_000))
    target_wh = data.draw(st.integers(0, energy_wh))
    low = msgspec.structs.replace(problem.vehicles[0], energy_wh=energy_wh, reserve_wh=12_000, target_wh=target_wh)
    problem = msgspec.structs.replace(problem, vehicles=(low, *problem.vehicles[1:]))
    count, others = len(problem.periods), (0,) * (len(problem.vehicles) - 1)
    ways = range(count + 1) if energy_wh < 12_000 else range(1)
    best = min(least_cost(problem, ready=(way, *others)) for way in ways)
    plan = make_plan(problem)
    Promises(problem).kept()
    assert best - CENT <= cost(problem, plan) <= best + plan.gap_micro / 1e6 + CENT
    for power, energy in zip(plan.vehicles[0].power_w, plan.vehicles[0].energy_wh, strict=True):
        assert power >= 0 or energy >= 12_000 - 2, "discharged below its reserve"


def test_of_equal_prices_the_first_hours_are_used_without_gaps() -> None:
    problem = DispatchProblem(periods=hours([0.2] * 8), vehicles=(vehicle(target_wh=55_000, discharge_w=10_000),))
    assert make_plan(problem).vehicles[0].power_w == (10_000, 10_000, 5_000, 0, 0, 0, 0, 0)


def test_beyond_its_end_a_plan_expects_full_power() -> None:
    car = vehicle(target_wh=60_000, departure_ms=at(4))
    plan = make_plan(DispatchProblem(periods=hours([0.5, 0.1]), vehicles=(car,)))
    assert plan.vehicles[0].power_w == (0, 10_000)
    assert not plan.vehicles[0].shortfall_wh


def test_charging_at_once_shares_the_site_and_ends_at_the_target() -> None:
    cars = (vehicle("a", target_wh=36_000), vehicle("b", target_wh=60_000))
    plan = charge_at_once(DispatchProblem(periods=hours([0.1] * 3, import_limit_w=12_000), vehicles=cars))
    assert [each.power_w for each in plan.vehicles] == [(6_000, 0, 0), (6_000, 10_000, 10_000)]


def test_whole_watts_add_up_to_what_is_planned_and_no_vehicle_loses_by_rounding() -> None:
    """A third of 10 kW for each of nine, all the time: 30 kW, and 16.667 kWh each."""
    quarters = tuple(
        Period(start_ms=at(n / 4), end_ms=at((n + 1) / 4), import_price=1, export_compensation=0, temperature_c=1.0)
        for n in range(20)
    )
    cars = tuple(vehicle(str(n), target_wh=60_000) for n in range(9))
    climate = Climate(charge=((0.0, 1 / 3),))
    plan = make_plan(DispatchProblem(periods=quarters, vehicles=cars, climate=climate))
    assert set(plan.grid_w) == {30_000}
    for each in plan.vehicles:
        assert set(each.power_w) == {3_333, 3_334}
        assert each.energy_wh[-1] == pytest.approx(46_666.7, abs=1)
        assert each.reason is Reason.TEMPERATURE


@together(
    ("changed", "grid_w", "curtailed_w", "excess_w"),
    [
        ({"pv_w": 9_000, "export_limit_w": 5_000}, -5_000, 4_000, 0),
        ({"pv_w": 9_000, "load_w": 1_000}, -8_000, 0, 0),
        ({"pv_w": 9_000, "load_w": 1_000, "export_compensation": -1}, 0, 8_000, 0),
        ({"pv_w": 9_000, "load_w": 12_000, "export_compensation": -1}, 3_000, 0, 0),
        ({"load_w": 12_000, "import_limit_w": 10_000}, 12_000, 0, 2_000),
        ({"load_w": 8_000, "import_limit_w": 10_000}, 8_000, 0, 0),
    ],
)
def test_a_site_curtails_what_it_may_not_or_should_not_feed_in_and_reports_its_own_excess(
    changed: dict[str, int], grid_w: int, curtailed_w: int, excess_w: int
) -> None:
    (period,) = hours([0.2])
    full = vehicle(energy_wh=60_000, target_wh=60_000)
    plan = make_plan(DispatchProblem(periods=(msgspec.structs.replace(period, **changed),), vehicles=(full,)))
    assert (plan.grid_w, plan.curtailed_w, plan.excess_w) == ((grid_w,), (curtailed_w,), (excess_w,))


def test_against_its_own_excess_a_site_discharges_before_targets_are_met() -> None:
    car = vehicle(discharge_w=5_000, reserve_wh=6_000)
    periods = hours([0.2, 0.2], load_w=14_000, import_limit_w=10_000)
    plan = make_plan(DispatchProblem(periods=periods, vehicles=(car,)))
    assert plan.vehicles[0].power_w == (-4_000, -4_000)
    assert (plan.excess_w, plan.vehicles[0].reason) == ((0, 0), Reason.SITE_LIMIT)


def test_without_a_solution_in_time_vehicles_charge_at_once() -> None:
    problem = DispatchProblem(periods=hours([0.5, 0.1]), vehicles=(vehicle(target_wh=40_000),))
    plan = make_plan(problem, limit_s=0.0)
    assert plan.method is Method.AT_ONCE
    assert plan == charge_at_once(problem)


def test_the_site_with_no_vehicle_has_a_plan() -> None:
    plan = make_plan(DispatchProblem(periods=hours([0.1], load_w=500), vehicles=()))
    assert (plan.grid_w, plan.method) == ((500,), Method.AT_ONCE)


@pytest.mark.requirement("R50")
def test_the_net_gain_a_day_counts_losses_and_wear_and_is_no_500_dollars_for_70_kw() -> None:
    """Seven cars of 10 kW and 54 kWh above the reserve, connected round the clock; 0.03 for 8 h, else 0.10."""
    day = [0.03] * 8 + [0.10] * 16
    cars = tuple(
        vehicle(
            str(n),
            energy_wh=6_000,
            target_wh=6_000,
            reserve_wh=6_000,
            discharge_w=10_000,
            charge_efficiency=0.95,
            discharge_efficiency=0.95,
            wear_micro_per_kwh=wear_micro_per_kwh(100_000_000),
        )
        for n in range(7)
    )
    problem = DispatchProblem(periods=hours(day, day), vehicles=cars)
    plan = make_plan(problem)
    earned = earnings(problem, plan)
    closed = 7 * 54 * (0.10 * 0.95 - 0.03 / 0.95 - 0.02)
    assert earned.net_micro_per_day / 1e6 == pytest.approx(closed, abs=CENT)
    assert round(closed, 2) == 16.41, "the figure of docs/explanation/claims-that-do-not-hold.md"
    assert earned.wear_micro == pytest.approx(7 * 54 * 20_000, rel=1e-3)
