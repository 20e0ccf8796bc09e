"""Following a plan, and what people read of it."""

from datetime import UTC, datetime
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.energy.dispatch.fleets import START, at, hours, vehicle
from v2g.asn1.discharge import PriceSlot
from v2g.energy.dispatch.earnings import earnings
from v2g.energy.dispatch.plan import PlanFollower
from v2g.energy.dispatch.planner import charge_at_once, make_plan
from v2g.energy.dispatch.problem import Climate, DispatchProblem, PeakWindow, Period, make_periods, shave_peak
from v2g.energy.dispatch.report import chart, explain
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import Limit
from v2g.errors import RefusedError
from v2g.units import HOUR_MS, QUARTER_MS

LIMIT = Limit(source="vehicle", charge_w=11_000, discharge_w=10_000)


@given(st.one_of(st.none(), st.integers(-20_000, 20_000)), st.integers(0, 60_000))
def test_a_set_point_is_within_limits_and_never_turns_round(planned: int | None, energy: int) -> None:
    power = PlanFollower(reserve_wh=6_000, margin_wh=1_000).setpoint_w(planned, energy, LIMIT, START)
    assert abs(power) <= abs(planned or 0)
    assert power * (planned or 0) >= 0
    assert -10_000 <= power <= 11_000
    if energy <= 6_000:
        assert power >= 0


def test_at_the_reserve_discharging_ends_once_and_does_not_chatter() -> None:
    follower = PlanFollower(reserve_wh=6_000, margin_wh=1_000)
    readings = [6_100, 6_010, 6_000, 6_010, 5_990, 6_400, 6_999, 7_000, 6_500, 6_000]
    powers = [follower.setpoint_w(-5_000, energy, LIMIT, START) for energy in readings]
    assert powers == [-5_000, -5_000, 0, 0, 0, 0, 0, -5_000, -5_000, 0]
    assert follower.setpoint_w(3_000, 6_000, LIMIT, START) == 3_000, "charging is not held back"


def test_a_limit_that_ended_permits_no_discharging() -> None:
    ended = msgspec.structs.replace(LIMIT, valid_until_ms=START)
    assert PlanFollower(reserve_wh=0, margin_wh=1).setpoint_w(-5_000, 30_000, ended, START) == 0


def test_a_plan_says_nothing_of_vehicles_and_times_that_are_not_its_own() -> None:
    plan = make_plan(DispatchProblem(periods=hours([0.2, 0.1]), vehicles=(vehicle(target_wh=40_000),)))
    assert plan.power_w("a", at(0)) == 0
    assert plan.power_w("a", at(1)) == 10_000
    assert plan.power_w("a", at(2)) is None
    assert plan.power_w("a", at(0) - 1) is None
    assert plan.power_w("b", at(0)) is None


@pytest.fixture
def day() -> DispatchProblem:
    """A vehicle each: that trades, that leaves too soon, and two that share what is left."""
    periods = tuple(
        msgspec.structs.replace(period, temperature_c=0.0, pv_w=12_000 if n == 3 else 0)
        for n, period in enumerate(
            hours([0.1, 0.1, 0.4, 0.4], [0.05, 0.05, 0.35, -0.1], import_limit_w=11_000, export_limit_w=6_000)
        )
    )
    vehicles = (
        vehicle("trades <&>", discharge_w=10_000, departure_ms=at(4)),
        vehicle("leaves", target_wh=60_000, departure_ms=at(1)),
        vehicle("has all"),
    )
    climate = Climate(charge=((0.0, 1.0),), discharge=((0.0, 1.0),))
    return DispatchProblem(periods=periods, vehicles=vehicles, climate=climate)


def test_a_plan_is_explained_in_words(day: DispatchProblem) -> None:
    plan = make_plan(day)
    said = explain(day, plan, earnings(day, plan))
    text = "\n".join(said)
    assert said[0].startswith("The plan is the cheapest one")
    assert "from 08:00 to 09:00, 11:00 to 12:00, while importing costs 0.1000 to 0.4000 per kWh" in text
    assert "10.0 kWh of what vehicles take are the site's own generation." in text
    assert "Vehicles discharge from 08:00 to 09:00, 10:00 to 11:00, while feeding in earns 0.0500 to 0.3500" in text
    assert "leaves: departs before its target can be reached at full power (20.0 kWh short in total)." in text
    assert "has all: has its target, and no trade pays." in text
    assert "curtailed" in text
    net = earnings(day, plan).net_micro / 1e6
    assert said[-1].endswith(f"Net gain: {net:.2f}, {net * 6:.2f} a day.")


def test_a_fall_back_says_that_it_is_one(day: DispatchProblem) -> None:
    plan = charge_at_once(day)
    assert explain(day, plan, earnings(day, plan))[0].startswith("Vehicles charge as soon as the site allows")


def test_a_plan_is_drawn_with_every_series(day: DispatchProblem) -> None:
    root = ElementTree.fromstring(chart(day, make_plan(day)))
    svg = "{http://www.w3.org/2000/svg}"
    lines = {each.findtext(f"{svg}title"): each.get("points", "") for each in root.iter(f"{svg}polyline")}
    assert set(lines) == {"import", "feed-in", "vehicles", "grid", "import limit", "energy"}
    assert len(lines.pop("energy").split()) == 5, "at the edges of periods"
    assert all(len(points.split()) == 8 for points in lines.values())


def test_a_window_begins_and_ends_to_the_minute() -> None:
    slots = (PriceSlot(START, 2 * HOUR_MS, 1, 0),)
    periods = make_periods(Tariff(currency="EUR", slots=slots), START, START + HOUR_MS, import_limit_w=9)
    begin = datetime.fromtimestamp(START / 1000, UTC)
    window = PeakWindow(begin.hour * 60 + begin.minute + 5, begin.hour * 60 + begin.minute + 40)
    cut = shave_peak(periods, window, UTC, import_limit_w=4)
    assert [(each.start_ms - START) // 60_000 for each in cut] == [0, 5, 15, 30, 40, 45]
    assert [each.import_limit_w for each in cut] == [9, 4, 4, 4, 9, 9]
    assert (cut[0].start_ms, cut[-1].end_ms) == (periods[0].start_ms, periods[-1].end_ms)
    DispatchProblem(periods=cut, vehicles=())


def test_periods_start_now_and_are_cut_at_quarter_hours_and_prices() -> None:
    now = START + 7 * 60_000
    slots = (PriceSlot(START, HOUR_MS + 5 * 60_000, 1, 0), PriceSlot(START + HOUR_MS + 5 * 60_000, HOUR_MS, 2, 0))
    periods = make_periods(Tariff(currency="EUR", slots=slots), now, START + 2 * HOUR_MS, import_limit_w=7)
    assert [period.start_ms for period in periods[:2]] == [now, START + QUARTER_MS]
    assert [(period.ms // 60_000, period.import_price) for period in periods] == [
        *((minutes, 1) for minutes in (8, 15, 15, 15, 5)),
        *((minutes, 2) for minutes in (10, 15, 15, 15)),
    ]
    assert {period.import_limit_w for period in periods} == {7}
    with pytest.raises(RefusedError, match="no price"):
        make_periods(Tariff(currency="EUR", slots=slots), now, START + 3 * HOUR_MS)


def test_impossible_problems_are_refused_by_name() -> None:
    first, second = hours([0.1, 0.2])
    with pytest.raises(ValueError, match="gap"):
        DispatchProblem(periods=(second, first), vehicles=())
    with pytest.raises(ValueError, match="no length"):
        DispatchProblem(periods=(Period(start_ms=1, end_ms=1, import_price=0, export_compensation=0),), vehicles=())
    with pytest.raises(ValueError, match="same id"):
        DispatchProblem(periods=(first,), vehicles=(vehicle(), vehicle()))
    with pytest.raises(ValueError, match="must not exceed its capacity"):
        vehicle(target_wh=60_001)
    with pytest.raises(ValueError, match="after arrival"):
        vehicle(arrival_ms=5, departure_ms=5)
