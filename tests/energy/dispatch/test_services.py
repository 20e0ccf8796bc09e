"""What a site wants of a fleet, a day each: shaved peaks, solar energy kept for the night, arbitrage, cool nights."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from tests.energy.dispatch.fleets import at, hours, least_cost, vehicle
from tests.energy.dispatch.fleets import cost as cost_of
from v2g.asn1.discharge import PriceSlot
from v2g.energy.dispatch.earnings import earnings, wear_micro_per_kwh
from v2g.energy.dispatch.plan import DispatchPlan, Method, Reason
from v2g.energy.dispatch.planner import charge_at_once, make_plan
from v2g.energy.dispatch.problem import (
    Climate,
    DispatchProblem,
    FleetVehicle,
    PeakWindow,
    Period,
    make_periods,
    shave_peak,
    with_forecast,
)
from v2g.energy.dispatch.transformer import Transformer
from v2g.energy.grid_signal import Tariff
from v2g.units import HOUR_MS, QUARTER_MS

VECTORS = Path(__file__).parents[2] / "vectors"
BERLIN = ZoneInfo("Europe/Berlin")
NOON = round(datetime(2026, 3, 16, 12, tzinfo=BERLIN).timestamp()) * 1000
"""A Monday."""


def flat(start_ms: int, hours: int, buy: float = 0.30, sell: float = 0.08) -> tuple[Period, ...]:
    """Quarter hours of one price."""
    slot = PriceSlot(start_ms, hours * HOUR_MS, round(buy * 1e6), round(sell * 1e6))
    return make_periods(Tariff(currency="EUR", slots=(slot,)), start_ms, start_ms + hours * HOUR_MS)


def drawn_w(plan: DispatchPlan, index: int) -> int:
    """Power of all vehicles."""
    return sum(each.power_w[index] for each in plan.vehicles)


@pytest.mark.requirement("R48")
def test_from_17_to_21_a_site_stays_below_its_cap_discharges_only_then_and_departures_are_met() -> None:
    window, cap_w = PeakWindow(17 * 60, 21 * 60), 60_000

    def load_w(utc_ms: int) -> int:  # made up: an evening peak of 95 kW
        hour = datetime.fromtimestamp(utc_ms / 1000, BERLIN).hour
        return 95_000 if 18 <= hour < 20 else 70_000 if 17 <= hour < 21 else 35_000

    periods = with_forecast(flat(NOON, 20), load_w=load_w)
    periods = tuple(msgspec.structs.replace(each, import_limit_w=110_000, export_limit_w=0) for each in periods)
    periods = shave_peak(periods, window, BERLIN, import_limit_w=cap_w)
    cars = tuple(
        vehicle(
            str(n),
            energy_wh=20_000 + 2_000 * n,
            target_wh=48_000,
            reserve_wh=8_000,
            charge_w=11_000,
            discharge_w=10_000,
            charge_efficiency=0.94,
            discharge_efficiency=0.94,
            wear_micro_per_kwh=20_000,
            arrival_ms=NOON + n * 20 * 60_000,  # the last one at 15:00, before the peak
            departure_ms=NOON + 18 * HOUR_MS + n * 10 * 60_000,
        )
        for n in range(10)
    )
    problem = DispatchProblem(periods=periods, vehicles=cars)
    alone, unmanaged = [period.load_w for period in periods], charge_at_once(problem)
    plan = make_plan(problem)
    inside = [n for n, period in enumerate(periods) if window.contains(period.start_ms, BERLIN)]
    assert len(inside) == 16
    assert max(alone[n] for n in inside) > cap_w, "the site alone is above its cap"
    assert max(unmanaged.grid_w[n] for n in inside) > cap_w
    assert max(plan.grid_w[n] for n in inside) <= cap_w
    assert not any(plan.excess_w)
    for n in range(len(periods)):
        assert plan.grid_w[n] <= periods[n].import_limit_w
        if n not in inside:
            assert all(each.power_w[n] >= 0 for each in plan.vehicles)
    assert sum(min(0, drawn_w(plan, n)) for n in inside) < 0
    assert [each.shortfall_wh for each in plan.vehicles] == [0] * 10
    assert all(each.energy_wh[-1] >= 47_990 for each in plan.vehicles)


def test_a_window_may_span_midnight_and_follows_the_local_clock() -> None:
    night = PeakWindow(22 * 60, 6 * 60)
    summer = round(datetime(2026, 7, 1, 20, 30, tzinfo=UTC).timestamp()) * 1000  # 22:30 in Berlin
    assert night.contains(summer, BERLIN)
    assert not night.contains(summer, UTC)
    assert not night.contains(summer + 12 * HOUR_MS, BERLIN)


def recorded() -> list[tuple[float, float]]:
    """Irradiance (W/m2) and temperature (degrees C) of each quarter hour of the recorded day."""
    lines = (VECTORS / "solar" / "nrel-2018-10-14.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines if line[0] != "#"][1:]
    return [(float(irradiance), float(celsius)) for _, irradiance, celsius in rows]


def of_day(series: list[int], start_ms: int) -> Callable[[int], int]:
    return lambda utc_ms: series[(utc_ms - start_ms) // QUARTER_MS % 96]


@pytest.mark.requirement("R55")
def test_a_depot_of_1000_is_ready_in_the_morning_within_its_transformer() -> None:
    """All plug in at 18:00 and leave between 5:00 and 8:00; at once they would draw 11 MW."""
    rated = Transformer(rated_va=3_000_000, power_factor=0.98)
    limit_w = 200_000 + rated.limit_w(base_w=200_000)
    periods = hours([0.3] * 4 + [0.2] * 10, load_w=200_000, import_limit_w=limit_w)
    vans = tuple(
        vehicle(
            str(n),
            energy_wh=12_000 + n % 20 * 1_000,
            target_wh=50_000,
            charge_w=11_000,
            charge_efficiency=0.94,
            departure_ms=at(11 + n % 12 / 4),
        )
        for n in range(1000)
    )
    plan = make_plan(DispatchProblem(periods=periods, vehicles=vans))
    assert sum(each.charge_w for each in vans) > 3 * rated.rated_va
    for n, period in enumerate(periods):
        assert plan.grid_w[n] <= period.import_limit_w
        assert drawn_w(plan, n) <= rated.limit_w(base_w=200_000)
    assert not any(each.shortfall_wh for each in plan.vehicles)


@pytest.mark.requirement("R49")
def test_solar_energy_of_a_recorded_midday_is_kept_for_the_night_and_the_balance_closes() -> None:
    start, rated_w = at(0), 120_000  # of generation; 0.85 for losses
    sun = [round(rated_w * 0.85 * irradiance / 1000) for irradiance, _ in recorded()]
    load = [24_000 if 68 <= n < 96 or n < 24 else 12_000 for n in range(96)]  # made up: more by night
    periods = with_forecast(flat(start, 24), pv_w=of_day(sun, start), load_w=of_day(load, start))
    cars = tuple(
        vehicle(
            str(n),
            energy_wh=15_000,
            target_wh=15_000,
            reserve_wh=6_000,
            charge_w=11_000,
            discharge_w=10_000,
            charge_efficiency=0.94,
            discharge_efficiency=0.94,
            wear_micro_per_kwh=20_000,
        )
        for n in range(8)
    )
    problem = DispatchProblem(periods=periods, vehicles=cars)
    before, plan = charge_at_once(problem), make_plan(problem)

    def wh(flows: list[int]) -> float:
        return sum(flows) / 4

    midday, night = range(32, 64), [*range(24), *range(68, 96)]
    fed_in = [wh([max(0, -each.grid_w[n]) for n in midday]) for each in (before, plan)]
    bought = [wh([max(0, each.grid_w[n]) for n in night]) for each in (before, plan)]
    assert fed_in[0] > 60_000
    assert fed_in[1] < 0.1 * fed_in[0]
    assert bought[1] < 0.85 * bought[0]
    for n, period in enumerate(periods):  # at each moment: what comes goes somewhere
        assert plan.grid_w[n] + period.pv_w - plan.curtailed_w[n] == period.load_w + drawn_w(plan, n)
    stored, out = (
        wh([max(0, sign * each.power_w[n]) for each in plan.vehicles for n in range(96)]) for sign in (1, -1)
    )
    changed = sum(each.energy_wh[-1] - 15_000 for each in plan.vehicles)
    assert stored * 0.94 - out / 0.94 == pytest.approx(changed, abs=10)
    assert changed == pytest.approx(0, abs=8 * 10)
    assert out > 50_000
    assert earnings(problem, plan).net_micro > 0


@pytest.mark.requirement("R50")
def test_on_a_recorded_market_day_no_solver_earns_more() -> None:
    """Market prices of Germany on 4 May 2024, sold at; bought at 0.05 more."""
    recorded_day = msgspec.json.decode((VECTORS / "prices" / "energy-charts-de-lu-2024-05-04.json").read_bytes())
    market = [price / 1000 for price in recorded_day["price"]]
    cars = tuple(
        vehicle(
            str(n),
            energy_wh=10_000 + 5_000 * n,
            target_wh=40_000,
            reserve_wh=6_000,
            charge_w=11_000,
            discharge_w=11_000,
            charge_efficiency=0.94,
            discharge_efficiency=0.94,
            wear_micro_per_kwh=wear_micro_per_kwh(100_000_000),
        )
        for n in range(4)
    )
    periods = hours([price + 0.05 for price in market], market, import_limit_w=30_000, export_limit_w=30_000)
    problem = DispatchProblem(periods=periods, vehicles=cars)
    plan = make_plan(problem)
    assert plan.method is Method.OPTIMAL
    assert cost_of(problem, plan) == pytest.approx(least_cost(problem), abs=0.01)
    earned = earnings(problem, plan)
    assert earned.net_micro == pytest.approx((earned.at_once_micro / 1e6 - cost_of(problem, plan)) * 1e6, abs=20_000)
    assert earned.net_micro > 0
    assert earned.wear_micro == pytest.approx(earned.discharged_wh * 20, rel=1e-6)


def cold_car(**changed: object) -> FleetVehicle:
    return vehicle(**{"target_wh": 50_000, "departure_ms": at(23)} | changed)


@pytest.mark.requirement("R59")
def test_charging_moves_to_the_cool_hours_of_a_hot_day() -> None:
    heat = [38.0 if 8 <= n < 20 else 22.0 for n in range(24)]  # made up
    climate = Climate(heat_micro_per_kwh_k=2_000)
    warm = tuple(
        msgspec.structs.replace(period, temperature_c=celsius)
        for period, celsius in zip(hours([0.20] * 8 + [0.19] * 12 + [0.20] * 4), heat, strict=True)
    )
    car = vehicle(target_wh=60_000, arrival_ms=at(8))
    problem = DispatchProblem(periods=warm, vehicles=(car,))
    assert max(n for n, power in enumerate(make_plan(problem).vehicles[0].power_w) if power) < 20, "cheaper by day"
    cool = make_plan(msgspec.structs.replace(problem, climate=climate))
    assert [n for n, power in enumerate(cool.vehicles[0].power_w) if power] == [20, 21, 22]
    assert not cool.vehicles[0].shortfall_wh


@pytest.mark.requirement("R59")
def test_in_the_cold_of_a_recorded_night_power_is_derated() -> None:
    cold = [celsius for _, celsius in recorded()]
    periods = tuple(
        msgspec.structs.replace(period, temperature_c=celsius, import_limit_w=12_000)
        for period, celsius in zip(flat(at(0), 24), cold, strict=True)
    )
    problem = DispatchProblem(periods=periods, vehicles=(cold_car(),), climate=Climate())
    plan = make_plan(problem)
    (part,) = plan.vehicles
    assert not part.shortfall_wh
    for power, celsius in zip(part.power_w, cold, strict=True):
        # by the curve: 0 % at -20 degrees, 30 % at 0
        assert power <= 10_000 * 0.3 * (celsius + 20) / 20 + 1
    assert max(plan.grid_w) <= 12_000


@pytest.mark.requirement("R59")
def test_too_cold_all_along_is_the_reason_of_a_shortfall() -> None:
    frost = tuple(msgspec.structs.replace(period, temperature_c=-19.0) for period in hours([0.1] * 4))
    problem = DispatchProblem(periods=frost, vehicles=(cold_car(departure_ms=None),), climate=Climate())
    assert make_plan(problem).vehicles[0].reason is Reason.TEMPERATURE


@pytest.mark.parametrize("curve", [((0.0, 0.5), (0.0, 1.0)), ((10.0, 0.5), (0.0, 1.0))])
def test_curves_whose_temperatures_do_not_rise_are_refused(curve: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        Climate(charge=curve)
