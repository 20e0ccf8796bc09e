"""What a fleet offers the grid, how a call is split, and how much of it is delivered on a day of departures."""

import itertools
import random
from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.energy.dispatch.fleets import START, at, hours, planned, vehicle
from tests.together import together
from v2g.energy.dispatch.flexibility import VehicleRange, activate, bids, capabilities
from v2g.energy.dispatch.planner import make_plan
from v2g.energy.dispatch.problem import NO_CLIMATE, Climate, DispatchProblem, FleetVehicle, Period
from v2g.units import QUARTER_MS

MINUTE_MS = 60_000


def test_a_vehicle_goes_up_to_its_discharging_power_and_down_to_its_charging_power() -> None:
    car = vehicle(discharge_w=7_000, reserve_wh=6_000, target_wh=0)
    problem = DispatchProblem(periods=hours([0.2] * 4), vehicles=(car,))
    (now, *_) = capabilities(problem, make_plan(problem), headroom=0.0)
    assert (now.planned_w, now.up_w, now.down_w) == (0, 7_000, 10_000)
    (reserved, *_) = capabilities(problem, make_plan(problem), headroom=0.2)
    assert (reserved.up_w, reserved.down_w) == (5_600, 8_000)


@together(
    ("changed", "up_w", "down_w"),
    [
        ({"energy_wh": 8_000}, 2_000, 10_000),  # 2 kWh above the reserve last an hour
        ({"energy_wh": 57_000}, 7_000, 3_000),  # 3 kWh below full
        ({"energy_wh": 5_000}, 0, 10_000),  # below the reserve
        ({"departure_ms": at(1), "target_wh": 30_000}, 0, 10_000),  # no time to replace it
        ({"departure_ms": at(0.5)}, 0, 0),  # does not stay
        ({"discharge_w": 0}, 0, 10_000),
    ],
)
def test_a_range_can_be_sustained_and_leaves_the_target_within_reach(
    changed: dict[str, object], up_w: int, down_w: int
) -> None:
    car = vehicle(**{"discharge_w": 7_000, "reserve_wh": 6_000, "target_wh": 0} | changed)
    problem = DispatchProblem(periods=hours([0.2] * 4), vehicles=(car,))
    (now, *_) = capabilities(problem, make_plan(problem), headroom=0.0)
    assert (now.up_w, now.down_w) == (up_w, down_w)


BEFORE = (5_000, -2_000, 0), (34_000, 30_000, 30_000)
"""Power, and energy after each hour, of a vehicle whose second hour is asked about. Losses: 20 % in, half out."""


@together(
    ("changed", "plan", "up_w", "down_w"),
    [
        # 22 kWh would do, as the last hour brings 8: 12 kWh are free, 6 at the connection
        ({}, BEFORE, 4_000, 12_000),
        ({"discharge_w": 5_000}, BEFORE, 3_000, 12_000),
        # 38 kWh are needed: 4 more, 5 at the connection
        ({"target_wh": 46_000}, ((5_000, 10_000, 10_000), (34_000, 42_000, 50_000)), 5_000, 0),
        # the plan itself brings only 44: 36 are needed, 2 more
        ({"target_wh": 60_000}, ((5_000, 6_250, 6_250), (34_000, 39_000, 44_000)), 3_750, 3_750),
        # below and at the reserve
        ({"reserve_wh": 34_001}, ((5_000, 0, 0), (34_000, 34_000, 34_000)), 0, 10_000),
        ({"reserve_wh": 34_000}, ((5_000, 1_000, 0), (34_000, 34_800, 34_800)), 1_000, 9_000),
        ({"reserve_wh": 33_000}, ((5_000, 0, 0), (34_000, 34_000, 34_000)), 500, 10_000),
        # nothing comes after its departure; if that is later than the plan, 16 kWh more can
        ({"departure_ms": at(2)}, BEFORE, 0, 12_000),
        ({"departure_ms": at(5)}, BEFORE, 5_000, 12_000),
        # 4 kWh below full
        ({}, ((5_000, 0, 0), (56_000, 56_000, 56_000)), 7_000, 5_000),
    ],
)
def test_a_range_is_what_energy_reserve_and_departure_leave(
    changed: dict[str, object], plan: tuple[tuple[int, ...], tuple[int, ...]], up_w: int, down_w: int
) -> None:
    lossy = {"reserve_wh": 6_000, "discharge_w": 7_000, "charge_efficiency": 0.8, "discharge_efficiency": 0.5}
    problem = DispatchProblem(periods=hours([0.2] * 3), vehicles=(vehicle(**lossy | changed),))
    (found,) = capabilities(problem, planned(problem, [plan]))[1].vehicles
    assert (found.planned_w, found.up_w, found.down_w) == (plan[0][1], up_w, down_w)


def test_a_range_follows_the_length_of_the_period_its_temperature_and_its_permission() -> None:
    lossy = vehicle(reserve_wh=6_000, discharge_w=7_000, charge_efficiency=0.8, discharge_efficiency=0.5)
    quarter = tuple(
        Period(start_ms=at(n / 4), end_ms=at((n + 1) / 4), import_price=0, export_compensation=0) for n in range(3)
    )

    def found(periods: tuple[Period, ...], energy_wh: int, climate: Climate = NO_CLIMATE) -> tuple[int, int]:
        car = msgspec.structs.replace(lossy, energy_wh=energy_wh, target_wh=0)
        problem = DispatchProblem(periods=periods, vehicles=(car,), climate=climate)
        (its,) = capabilities(problem, planned(problem, [((0,) * 3, (energy_wh,) * 3)]))[0].vehicles
        return its.up_w, its.down_w

    assert found(quarter, 8_000) == (4_000, 10_000), "2 kWh, 1 at the connection, in a quarter of an hour"
    assert found(quarter, 59_000) == (7_000, 5_000), "1 kWh, 1.25 at the connection"
    rest = (msgspec.structs.replace(quarter[0], start_ms=at(1 / 4) - 10_000), *quarter[1:])
    assert found(rest, 8_000) == (4_000, 10_000), "of the 10 s that are left of a quarter of an hour, too"
    cold = tuple(msgspec.structs.replace(period, temperature_c=0.0) for period in quarter)
    assert found(cold, 30_000, Climate(charge=((0.0, 0.5),), discharge=((0.0, 0.25),))) == (1_750, 5_000)
    kept = tuple(msgspec.structs.replace(period, discharge=False) for period in quarter)
    assert found(kept, 30_000) == (0, 10_000)


def test_a_site_bounds_what_its_fleet_offers() -> None:
    cars = tuple(vehicle(str(n), discharge_w=7_000, target_wh=0) for n in range(3))
    periods = hours([0.2] * 4, import_limit_w=12_000, export_limit_w=5_000, load_w=2_000)
    problem = DispatchProblem(periods=periods, vehicles=cars)
    (now, *_) = capabilities(problem, make_plan(problem), headroom=0.0)
    assert (now.planned_w, now.up_w, now.down_w) == (-2_000, 5_000, 12_000), "the plan feeds the load"


@pytest.mark.parametrize(
    ("load_w", "pv_w", "up_w", "down_w"), [(4_000, 0, 7_000, 8_000), (14_000, 0, 7_000, 0), (0, 9_000, 0, 10_000)]
)
def test_beside_its_load_or_generation_a_site_has_what_its_limits_leave(
    load_w: int, pv_w: int, up_w: int, down_w: int
) -> None:
    periods = hours([0.2], import_limit_w=12_000, export_limit_w=5_000, load_w=load_w, pv_w=pv_w)
    problem = DispatchProblem(periods=periods, vehicles=(vehicle(discharge_w=7_000, target_wh=0),))
    (now,) = capabilities(problem, planned(problem, [((0,), (30_000,))]), headroom=0.0)
    assert (now.up_w, now.down_w) == (up_w, down_w)


def test_of_a_mixed_fleet_the_worst_losses_and_wear_make_the_price() -> None:
    cars = (
        vehicle("a", discharge_w=7_000, charge_efficiency=0.9, wear_micro_per_kwh=10_000, target_wh=0),
        vehicle("b", discharge_w=7_000, charge_efficiency=0.8, wear_micro_per_kwh=30_000, target_wh=0),
    )
    problem = DispatchProblem(periods=hours([0.2]), vehicles=cars)
    ranges = capabilities(problem, planned(problem, [((0,), (30_000,))] * 2), headroom=0.0)
    up, down = bids(problem, ranges, least_w=14_000)
    assert (up.power_w, up.break_even_micro_per_kwh) == (14_000, 200_000 / 0.8 + 30_000)
    assert (down.power_w, down.break_even_micro_per_kwh) == (20_000, 200_000)
    assert bids(problem, ranges, block_w=50_000) == (), "no whole block"


@pytest.mark.requirement("R181")
def test_bids_are_whole_blocks_at_a_price_that_covers_replacement_and_wear() -> None:
    car = vehicle(
        discharge_w=7_500, target_wh=0, charge_efficiency=0.9, discharge_efficiency=0.9, wear_micro_per_kwh=20_000
    )
    problem = DispatchProblem(periods=hours([0.20, 0.30, 0.10]), vehicles=(car,))
    made = bids(problem, capabilities(problem, make_plan(problem), headroom=0.0), least_w=5_000)
    up, down, *_ = made
    assert (up.direction, up.power_w, down.direction, down.power_w) == ("up", 7_000, "down", 10_000)
    assert up.break_even_micro_per_kwh == round(300_000 / 0.81 + 20_000 / 0.9)
    assert down.break_even_micro_per_kwh == 100_000
    assert not bids(problem, capabilities(problem, make_plan(problem)), least_w=50_000)


ranges = st.lists(st.tuples(*(st.integers(0, 100) for _ in range(3)), st.sampled_from("abc")), max_size=8)


@pytest.mark.requirement("R51")
@given(ranges, st.integers(-300, 300))
def test_a_call_is_met_exactly_as_far_as_ranges_reach_whoever_refuses_or_leaves(
    found: list[tuple[int, int, int, str]], call: int
) -> None:
    fleet = [
        VehicleRange(id=f"{kind}{n}", planned_w=planned - 50, up_w=up, down_w=down)
        for n, (planned, up, down, kind) in enumerate(found)
    ]
    refused = {each.id for each in fleet if each.id[0] == "b"}
    gone = {each.id for each in fleet if each.id[0] == "c"}
    setpoints = activate(call, fleet, refused=refused, gone=gone)
    assert set(setpoints) == {each.id for each in fleet} - refused - gone
    shift = 0
    for each in fleet:
        if each.id in setpoints:
            assert each.planned_w - each.up_w <= setpoints[each.id] <= each.planned_w + each.down_w
            shift += setpoints[each.id] - each.planned_w
    wanted = sum(each.planned_w for each in fleet if each.id in gone) - call
    able = [each for each in fleet if each.id in setpoints]
    least, most = -sum(each.up_w for each in able), sum(each.down_w for each in able)
    assert shift == max(least, min(most, wanted))


def delivered_share(samples: Iterable[tuple[int, int]]) -> float:
    """Return how much of what was asked was delivered, 0 to 1, from samples of equal length (asked W, delivered W).

    Samples count up to what was asked: more in one does not make up for less in another. Nothing asked is 1.
    """
    asked = delivered = 0
    for want, had in samples:
        asked += abs(want)
        delivered += max(0, min(abs(want), had if want > 0 else -had))
    return delivered / asked if asked else 1.0


class Day:
    """A day of a fleet: who leaves early, who refuses, and the energy of every battery. All of it made up."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.cars: dict[str, FleetVehicle] = {}
        self.leaves: dict[str, int] = {}
        for n in range(40):
            arrival = self.random.uniform(-4, 18)
            departure = arrival + self.random.uniform(6, 14)
            energy = self.random.randrange(15_000, 45_000)
            name = f"car {n}"
            self.cars[name] = vehicle(
                name,
                energy_wh=energy,
                target_wh=self.random.randrange(30_000, 56_000),
                reserve_wh=9_000,
                charge_w=11_000,
                discharge_w=10_000,
                charge_efficiency=0.93,
                discharge_efficiency=0.93,
                wear_micro_per_kwh=20_000,
                arrival_ms=at(arrival),
                departure_ms=at(departure),
            )
            early = self.random.uniform(0.5, 3.0) if self.random.random() < 0.15 else 0.0
            self.leaves[name] = at(departure - early)
        self.energy = {name: float(each.energy_wh) for name, each in self.cars.items()}

    def present(self, now_ms: int) -> tuple[FleetVehicle, ...]:
        """Who is there, as the back end knows it."""
        return tuple(
            msgspec.structs.replace(each, energy_wh=min(each.capacity_wh, max(0, int(self.energy[name]))))
            for name, each in self.cars.items()
            if (each.arrival_ms or 0) <= now_ms < self.leaves[name] and (each.departure_ms or 0) > now_ms
        )

    def flow(self, name: str, power_w: int) -> None:
        """A minute of power."""
        flow = power_w / 60
        self.energy[name] += flow * 0.93 if flow > 0 else flow / 0.93


@pytest.mark.long
@pytest.mark.requirement("R51")
def test_of_what_is_asked_on_a_day_of_departures_and_refusals_95_percent_are_delivered() -> None:
    day, samples, refusals, departures = Day(7), list[tuple[int, int]](), Counter[str](), 0
    for quarter in range(96):
        now = START + quarter * QUARTER_MS
        edges = itertools.pairwise(now + n * QUARTER_MS for n in range(25))
        periods = tuple(
            Period(
                start_ms=begin,
                end_ms=end,
                import_price=300_000 if (begin - START) // QUARTER_MS % 96 > 60 else 200_000,
                export_compensation=150_000,
                import_limit_w=250_000,
                export_limit_w=250_000,
            )
            for begin, end in edges
        )
        problem = DispatchProblem(periods=periods, vehicles=day.present(now))
        (offer, *_) = capabilities(problem, make_plan(problem), headroom=0.2)
        call = round(day.random.uniform(-offer.down_w, offer.up_w))
        refused: set[str] = set()
        unwilling = {each.id for each in offer.vehicles if day.random.random() < 0.05}
        noticed: set[str] = set()
        for minute in range(15):
            at_ms = now + minute * MINUTE_MS
            setpoints = activate(call, offer.vehicles, refused=refused, gone=noticed)
            gone = {each.id for each in offer.vehicles if day.leaves[each.id] <= at_ms}
            drawn = 0
            for each in offer.vehicles:
                power = each.planned_w if each.id in unwilling | refused else setpoints.get(each.id, 0)
                if each.id not in gone:
                    day.flow(each.id, power)
                    drawn += power
            samples.append((call, offer.planned_w - drawn))
            departures += len(gone - noticed)
            refusals.update(unwilling - refused)
            refused |= unwilling  # the back end learns of both within a minute
            noticed |= gone
    assert delivered_share(samples) >= 0.95
    assert departures >= 3
    assert refusals.total() >= 50
    assert sum(abs(call) for call, _ in samples) / 60 > 500_000, "Wh asked"
    for name, each in day.cars.items():
        assert 9_000 * 0.97 <= day.energy[name] <= each.capacity_wh * 1.01
