"""Vehicles of a fleet as a plan sees them, the limits of the plan, and calls (`csms.fleets.rules`)."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.fleets.rules import Fleet, FleetCall, Forecast, Peak, called, delivered_wh, fleet_problem, fleet_vehicle
from csms.smart_charging.rules import Needs
from csms.transactions.rules import Dated, Transaction
from tests.csms.support import grid_signal
from v2g.energy.dispatch.flexibility import FleetRange, VehicleRange
from v2g.energy.dispatch.transformer import Transformer
from v2g.errors import RefusedError

FLEET = Fleet(id="depot", charge_efficiency=0.8, discharge_efficiency=0.5)
NEEDS = Needs(
    evse_id=1, requested="DC_BPT", energy_wh=5_000, most_wh=30_000, least_wh=-20_000, most_w=11_000,
    most_discharge_w=8_000,
)  # fmt: skip
QUARTER = 900_000


def transaction(into_wh: int = 0, out_wh: int = 0) -> Transaction:
    registers = {
        "import_start_wh": Dated(0, "1000"), "import_wh": Dated(1, str(1000 + into_wh)),
        "export_start_wh": Dated(0, "50"), "export_wh": Dated(1, str(50 + out_wh)),
    }  # fmt: skip
    return Transaction(station_id="CS", transaction_id="t", first_seq=0, last_seq=0, **registers)


def vehicle(needs: Needs = NEEDS, into_wh: int = 0, out_wh: int = 0, **changes: Any) -> Any:
    return fleet_vehicle(FLEET, transaction(into_wh, out_wh), msgspec.structs.replace(needs, **changes))


def test_energies_count_from_what_the_vehicle_can_spare() -> None:
    found = vehicle()
    assert (found.id, found.energy_wh, found.capacity_wh, found.target_wh) == ("CS/t", 20_000, 50_000, 25_000)
    assert (found.charge_w, found.discharge_w, found.reserve_wh) == (11_000, 8_000, 0)


@pytest.mark.parametrize(
    ("into_wh", "out_wh", "since", "energy_wh"),
    [
        (10_000, 0, 0, 28_000),
        (0, 5_000, 0, 10_000),
        (10_000, 0, 10_000, 20_000),
        (0, 90_000, 0, 0),
        (90_000, 0, 0, 50_000),
    ],
)
def test_what_the_meter_has_counted_since_moves_the_energy(
    into_wh: int, out_wh: int, since: int, energy_wh: int
) -> None:
    assert vehicle(into_wh=into_wh, out_wh=out_wh, net_wh=since).energy_wh == energy_wh


def test_an_evse_gives_and_takes_no_more_than_its_rating() -> None:
    found = fleet_vehicle(Fleet(id="f", evse_w=7_000), transaction(), NEEDS)
    assert found is not None
    assert (found.charge_w, found.discharge_w) == (7_000, 7_000)


def test_a_vehicle_below_its_least_energy_is_only_charged() -> None:
    found = vehicle(least_wh=3_000, energy_wh=1_000)
    assert (found.discharge_w, found.energy_wh, found.target_wh) == (0, 0, 3_000)


def test_a_vehicle_without_a_way_back_gives_nothing_and_one_without_power_has_no_plan() -> None:
    assert vehicle(requested="DC").discharge_w == 0
    assert vehicle(most_w=0) is None


@given(
    st.builds(
        Needs, evse_id=st.just(1), requested=st.sampled_from(["DC", "DC_BPT"]), energy_wh=st.integers(0, 10**9),
        most_wh=st.integers(0, 10**9), least_wh=st.integers(-(10**9), 10**9), net_wh=st.integers(-(10**9), 10**9),
        most_w=st.integers(1, 10**7), most_discharge_w=st.integers(0, 10**7),
    ),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
)  # fmt: skip
def test_whatever_a_vehicle_sends_it_can_be_planned(needs: Needs, into_wh: int, out_wh: int) -> None:
    found = vehicle(needs, into_wh, out_wh)
    assert 0 <= found.energy_wh <= found.capacity_wh
    assert found.target_wh <= found.capacity_wh


def problem(fleet: Fleet = FLEET, now: int = 60_000, **changes: Any) -> Any:
    signal = grid_signal(**changes)
    return signal, fleet_problem(fleet, [(transaction(), NEEDS)], signal, signal.slots[0].start_ms + now)


def test_limits_are_the_smaller_ones_of_fleet_and_grid_signal() -> None:
    _, found = problem(Fleet(id="f", import_limit_w=9_000, export_limit_w=90_000, load_w=500))
    first = found.periods[0]
    assert (first.import_limit_w, first.export_limit_w, first.load_w) == (9_000, 5_000, 500)
    assert found.start_ms % QUARTER == 60_000
    assert all(each.start_ms % QUARTER == 0 for each in found.periods[1:])


@pytest.mark.requirement("R45")
def test_nothing_is_planned_to_flow_back_after_the_signal_has_expired() -> None:
    signal, found = problem(valid_until_ms=grid_signal().slots[0].start_ms + 3 * QUARTER)
    for each in found.periods:
        valid = each.end_ms <= signal.valid_until_ms
        assert (each.discharge, bool(each.export_limit_w)) == (valid, valid)


def test_a_plan_ends_where_prices_end_or_at_the_horizon() -> None:
    signal, found = problem()
    assert found.end_ms == signal.slots[-1].start_ms + signal.slots[-1].duration_s * 1000
    assert problem(Fleet(id="f", horizon_h=1))[1].end_ms == found.start_ms + 3_600_000
    gap = tuple(
        msgspec.structs.replace(each, start_ms=each.start_ms + n * QUARTER)
        for n, each in enumerate(grid_signal().slots)
    )
    assert problem(slots=gap)[1].end_ms == gap[0].start_ms + QUARTER


def test_without_a_price_for_now_there_is_no_plan() -> None:
    with pytest.raises(RefusedError) as none:
        fleet_problem(FLEET, [], None, 0)
    assert none.value.reason == "no_price"
    with pytest.raises(RefusedError) as late:
        problem(now=999 * 3_600_000)
    assert late.value.reason == "no_price"


@pytest.mark.requirement("R49", "R55", "R59")
def test_forecasts_and_the_transformer_bound_each_period() -> None:
    start = grid_signal().slots[0].start_ms
    forecast = (
        Forecast(start_ms=start + QUARTER, load_w=3_000, pv_w=7_000, temperature_c=-5.0),
        Forecast(start_ms=start + 2 * QUARTER, temperature_c=20.0),
    )
    fleet = Fleet(id="f", load_w=1_000, forecast=forecast, transformer=Transformer(rated_va=8_000))
    first, second, third, *_ = problem(fleet)[1].periods
    assert (first.load_w, first.pv_w, first.temperature_c, first.import_limit_w) == (1_000, 0, None, 8_000)
    assert (second.load_w, second.pv_w, second.temperature_c, second.import_limit_w) == (3_000, 7_000, -5.0, 8_000)
    assert (third.load_w, third.pv_w, third.temperature_c) == (1_000, 0, 20.0)
    with pytest.raises(ValueError, match="rise"):
        Fleet(id="f", forecast=(forecast[1], forecast[0]))


@pytest.mark.requirement("R48")
def test_a_peak_lowers_what_may_be_drawn_and_is_when_power_flows_back() -> None:
    _, all_day = problem(Fleet(id="f", peak=Peak(from_minute=0, until_minute=1440, import_limit_w=2_000)))
    assert {(each.import_limit_w, each.discharge) for each in all_day.periods[:3]} == {(2_000, True)}
    _, never = problem(Fleet(id="f", peak=Peak(from_minute=0, until_minute=0, import_limit_w=2_000)))
    assert {(each.import_limit_w, each.discharge) for each in never.periods[:3]} == {(11_000, False)}


def test_an_unknown_time_zone_is_refused_where_it_is_used() -> None:
    """So that a stored fleet can still be read whose zone newer time zone data has dropped."""
    with pytest.raises(RefusedError, match="time zone"):
        problem(Fleet(id="f", zone="Europe/Nowhere", peak=Peak(from_minute=0, until_minute=0, import_limit_w=1)))
    assert str(Fleet(id="f", zone="Europe/Berlin").tzinfo) == "Europe/Berlin"


# -- calls ------------------------------------------------------------------------------------------------------------


def span(*vehicles: VehicleRange) -> FleetRange:
    return FleetRange(start_ms=0, end_ms=QUARTER, planned_w=0, up_w=0, down_w=0, vehicles=vehicles)


def call(power_w: int, planned_w: dict[str, int]) -> FleetCall:
    return FleetCall(power_w=power_w, from_ms=0, until_ms=QUARTER, planned_w=planned_w)


@pytest.mark.requirement("R51")
def test_a_call_is_answered_from_the_plan_of_its_beginning() -> None:
    """A later plan would win back what is given, and the answer would melt away."""
    now = span(
        VehicleRange(id="a", planned_w=11_000, up_w=19_000), VehicleRange(id="b", planned_w=0, up_w=0, down_w=9_000)
    )
    assert called(call(4_000, {"a": 1_000, "b": 0}), now) == {"a": -3_000, "b": 0}
    assert called(call(-4_000, {"a": 1_000, "b": 0}), now) == {"a": 3_000, "b": 2_000}


def test_others_take_over_for_who_left_and_who_came_is_not_called() -> None:
    now = span(
        VehicleRange(id="new", planned_w=0, up_w=5_000), VehicleRange(id="a", planned_w=0, up_w=9_000, down_w=9_000)
    )
    assert called(call(1_000, {"gone": 0}), now) == {}
    assert called(call(1_000, {"gone": 6_000, "a": 0}), now) == {"a": 5_000}, "the sum is that of the plan, less 1 kW"
    assert called(call(1_000, {"gone": -6_000, "a": 0}), now) == {"a": -7_000}


def test_a_call_is_measured_against_its_plan() -> None:
    its = call(4_000, {"a": 8_000, "b": 4_000})
    end_ms = its.until_ms
    assert delivered_wh(its, {"a": (1_000_000, end_ms), "b": (1_000_400, end_ms)}) == 1_000
    assert delivered_wh(its, {"a": (1_000_000, end_ms)}) == 1_000, "b is not known"
    assert delivered_wh(its, {"a": (2_000_000, end_ms), "b": (1_000_000, end_ms)}) == 0
    half_ms = (its.from_ms + end_ms) // 2
    assert delivered_wh(its, {"a": (250_000, half_ms)}) == 750, "nothing is known of the other half"
    assert delivered_wh(its, {"a": (0, its.from_ms)}) == 0


def test_a_plan_ends_when_the_last_vehicle_has_left() -> None:
    signal = grid_signal(1)
    now = signal.slots[0].start_ms
    leaves = [msgspec.structs.replace(NEEDS, departure_ms=now + n * QUARTER + 60_000) for n in (1, 3)]
    assert fleet_problem(FLEET, [(transaction(), leaves[0])], signal, now).end_ms == now + 2 * QUARTER
    gone = msgspec.structs.replace(NEEDS, departure_ms=now - 1)
    assert fleet_problem(FLEET, [(transaction(), gone)], signal, now).end_ms == now + QUARTER
    longest = fleet_problem(FLEET, [(transaction(), NEEDS)], signal, now).end_ms
    assert longest >= now + 2 * QUARTER, "a vehicle that does not say when it leaves may stay"
