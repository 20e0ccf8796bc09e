"""What a plan earns, calculated by hand."""

import pytest

from tests.energy.dispatch.fleets import at, planned, vehicle
from v2g.energy.dispatch.earnings import earnings, wear_micro_per_kwh
from v2g.energy.dispatch.problem import DispatchProblem, Period


@pytest.mark.requirement("R50")
def test_energy_wear_and_the_difference_to_charging_at_once_are_counted() -> None:
    half = Period(start_ms=at(0), end_ms=at(0.5), import_price=200_000, export_compensation=100_000, load_w=1_000)
    hour = Period(start_ms=at(0.5), end_ms=at(1.5), import_price=400_000, export_compensation=300_000, pv_w=3_000)
    first = vehicle(
        "first",
        energy_wh=10_000,
        target_wh=12_000,
        charge_w=8_000,
        discharge_w=8_000,
        charge_efficiency=0.8,
        discharge_efficiency=0.5,
        wear_micro_per_kwh=30_000,
    )
    second = vehicle(
        "second", energy_wh=20_000, target_wh=20_000, wear_micro_per_kwh=10_000, arrival_ms=at(1), discharge_w=8_000
    )
    problem = DispatchProblem(periods=(half, hour), vehicles=(first, second))
    # 3 kWh into the first, of which 2.4 arrive; 2 kWh out of it, which take 4; half an hour of 1 kW out of the second
    plan = planned(problem, [((6_000, -2_000), (12_400, 8_400)), ((0, -1_000), (20_000, 19_500))])
    found = earnings(problem, plan)
    assert (found.bought_wh, found.bought_micro) == (3_500, 700_000)
    assert (found.sold_wh, found.sold_micro) == (6_000, 1_800_000)
    assert (found.discharged_wh, found.wear_micro) == (4_500, 4 * 30_000 + 5_000)
    assert found.at_once_micro == 3 * 200_000 - 3 * 300_000, "2.5 kWh into the first at once, beside the load"
    # 8,400 of 12,000 and 19,500 of 20,000 Wh are left, at a mean price of (0.5 * 0.2 + 0.4) / 1.5
    assert found.stored_micro == pytest.approx(-(3.6 / 0.8 + 0.5) * 333_333, abs=1)
    assert found.net_micro == -300_000 - (700_000 - 1_800_000) - 125_000 + found.stored_micro
    assert found.net_micro_per_day == found.net_micro * 16


def test_wear_is_that_of_the_battery_s_price() -> None:
    assert wear_micro_per_kwh(100_000_000) == 20_000
    assert wear_micro_per_kwh(100_000_000, loss_percent=0.3, worthless_at_percent=0) == 3_000
    # 100 cycles of 60 kWh, 6,000 kWh, take 0.3 kWh of capacity: 30 of 6,000 EUR, and a fifth is all that can be lost
    assert wear_micro_per_kwh(100_000_000, loss_percent=0.5) * 6000 == 5 * 30_000_000
    for share in (100, -1):
        with pytest.raises(ValueError, match="below 100"):
            wear_micro_per_kwh(1, worthless_at_percent=share)
