"""The simulated inverter: each function of grid support against its figures (R221)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.energy.grid_support import (
    FactorSetpoint,
    FrequencySupport,
    GridSupport,
    ReactiveSetpoint,
    RideThrough,
    SupportCurve,
    VoltageSupport,
    ZeroCurrentLimits,
)
from v2g.energy.inverter import InverterFlow, SupportingInverter

pytestmark = pytest.mark.requirement("R221")

MOST_W = 11_000
OVER = FrequencySupport(start_hz=50.2, stop_hz=51.5)  # VDE-AR-N 4105: 40 %/Hz of the momentary power
UNDER = FrequencySupport(start_hz=49.8, stop_hz=47.5)
CURVE = SupportCurve(points=((213.9, 4800), (223.1, 0), (236.9, 0), (246.1, -4800)), response_s=0)


def inverter(**functions: object) -> SupportingInverter:
    made = SupportingInverter(nominal_v=230, most_out_w=MOST_W, most_var=4800)
    made.follow(GridSupport(**functions))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(("limit", "direct_ma"), [(None, 400), (0.25, 250), (2.0, 400), (0.0, 0)])
def test_direct_current_is_that_of_the_inverter_within_its_limit(limit: float | None, direct_ma: int) -> None:
    made = SupportingInverter(nominal_v=230, most_out_w=MOST_W, most_var=4800, direct_a=0.4)
    made.follow(GridSupport(dc_injection=limit))
    assert made.at(-5_000, 230, 50, 0).direct_ma == direct_ma
    assert made.at(0, 230, 50, 1).direct_ma == 0


@pytest.mark.parametrize("reference", ["momentary", "maximum"])
@pytest.mark.parametrize("watts", [-11_000, -5_500])
@pytest.mark.parametrize(("hertz", "share"), [(50.2, 0), (50.3, 0.04), (50.7, 0.2), (51.2, 0.4), (52.0, 0.52)])
def test_discharge_falls_above_a_frequency(reference: str, watts: int, hertz: float, share: float) -> None:
    droop = FrequencySupport(start_hz=50.2, stop_hz=51.5, reference=reference)  # type: ignore[arg-type]
    made = inverter(over_frequency_watt=droop)
    assert made.at(watts, 230, 50.0, 0).power_w == watts
    of = MOST_W if reference == "maximum" else -watts
    flow = made.at(watts, 230, hertz, 1)
    assert flow.power_w == pytest.approx(min(0, watts + share * of), abs=1)
    assert flow.acts is (share > 0)
    assert made.at(watts, 230, 50.0, 2) == InverterFlow(watts)


@pytest.mark.parametrize(("hertz", "share"), [(49.8, 0), (49.7, 0.04), (49.3, 0.2), (47.0, 0.92)])
def test_charge_falls_below_a_frequency_and_discharge_stays(hertz: float, share: float) -> None:
    made = inverter(under_frequency_watt=UNDER, over_frequency_watt=OVER)
    made.at(7_000, 230, 50.0, 0)
    assert made.at(7_000, 230, hertz, 1).power_w == pytest.approx(7_000 * (1 - share), abs=1)
    assert inverter(under_frequency_watt=UNDER).at(-7_000, 230, hertz, 1).power_w == -7_000


def test_with_hysteresis_power_returns_after_a_time_and_by_a_ramp() -> None:
    droop = FrequencySupport(start_hz=50.2, stop_hz=51.5, hysteresis=True, deactivation_s=30, ramp=10)
    made = inverter(over_frequency_watt=droop)
    assert made.at(-10_000, 230, 50.7, 0).power_w == -8_000
    assert made.at(-10_000, 230, 50.4, 1).power_w == -8_000
    assert made.at(-10_000, 230, 50.1, 2).power_w == -8_000
    assert made.at(-10_000, 230, 50.1, 32).power_w == -8_000
    assert made.at(-10_000, 230, 50.1, 92).power_w == -9_000
    assert made.at(-10_000, 230, 50.1, 152).power_w == -10_000


def test_an_intentional_delay_passes_first_and_a_response_takes_its_time() -> None:
    droop = FrequencySupport(start_hz=50.2, stop_hz=51.5, delay_s=2)
    made = inverter(over_frequency_watt=droop)
    assert [made.at(-10_000, 230, 50.7, now).power_w for now in (0, 1.9, 2)] == [-10_000, -10_000, -8_000]
    slow = inverter(over_frequency_watt=FrequencySupport(start_hz=50.2, stop_hz=51.5, response_s=5))
    slow.at(-10_000, 230, 50.0, 0)
    slow.at(-10_000, 230, 50.7, 10)
    assert slow.at(-10_000, 230, 50.7, 15).power_w == pytest.approx(-10_000 + 2_000 * 0.632, abs=5)


@pytest.mark.parametrize(("volts", "left"), [(248, 1), (250.5, 0.5), (253, 0), (260, 0)])
def test_discharge_falls_above_a_voltage(volts: float, left: float) -> None:
    made = inverter(volt_watt=VoltageSupport(start_v=248, stop_v=253, response_s=0))
    assert made.at(-MOST_W, volts, 50, 0).power_w == pytest.approx(-MOST_W * left, abs=1)
    assert made.at(3_000, volts, 50, 0).power_w == 3_000


@together(
    ("volts", "var"),
    [(200, 4800), (213.9, 4800), (218.5, 2400), (230, 0), (241.5, -2400), (246.1, -4800), (260, -4800)],
)
def test_reactive_power_follows_the_voltage(volts: float, var: float) -> None:
    assert inverter(volt_var=CURVE).at(-5_000, volts, 50, 0).reactive_var == pytest.approx(var, abs=1)


def test_a_curve_locks_in_and_out() -> None:
    curve = SupportCurve(points=CURVE.points, lock_in=2_000, lock_out=500, response_s=0)
    made = inverter(volt_var=curve)
    flows = [made.at(-watts, 246.1, 50, 0).reactive_var for watts in (1_000, 2_000, 1_000, 500, 499, 1_000)]
    assert flows == [0, -4800, -4800, -4800, 0, 0]


def test_reactive_power_follows_the_discharge() -> None:
    made = inverter(watt_var=SupportCurve(points=((0, 0), (10_000, -4000)), response_s=0))
    assert [made.at(watts, 230, 50, 0).reactive_var for watts in (3_000, 0, -5_000, -11_000)] == [0, 0, -2000, -4000]


def test_a_power_factor_follows_the_discharge_through_1() -> None:
    """Half load 1, full load 0.9 under-excited, as cos phi(P) of VDE-AR-N 4105."""
    made = inverter(watt_cos_phi=SupportCurve(points=((0, 1), (5_500, 1), (11_000, -0.9)), response_s=0))
    assert made.at(-5_500, 230, 50, 0).reactive_var == 0
    assert made.at(-8_250, 230, 50, 0).reactive_var == pytest.approx(-8_250 * 0.3287, abs=2)
    made = inverter(watt_cos_phi=SupportCurve(points=((0, 0.9), (10_000, -0.9)), response_s=0))
    assert made.at(-5_000, 230, 50, 0).reactive_var == 0
    assert made.at(-10_000, 230, 50, 0).reactive_var == pytest.approx(-4_800, abs=50)
    assert made.at(-2_500, 230, 50, 0).reactive_var == pytest.approx(2_500 * 0.3287, abs=2)


def test_setpoints_precede_curves_and_reactive_power_the_factor() -> None:
    factor = FactorSetpoint(cos_phi=-0.95, response_s=0)
    assert inverter(volt_var=CURVE, cos_phi_setpoint=factor).at(-10_000, 246, 50, 0).reactive_var == -3287
    setpoint = ReactiveSetpoint(var=1200, response_s=0)
    assert inverter(cos_phi_setpoint=factor, q_setpoint=setpoint).at(-10_000, 246, 50, 0).reactive_var == 1200


def test_no_current_flows_beyond_a_voltage_until_it_has_recovered() -> None:
    made = inverter(zero_current=ZeroCurrentLimits(over_v=276, over_recovery_v=253, under_v=115, under_recovery_v=195))
    flows = [made.at(-9_000, volts, 50, 0).power_w for volts in (230, 276, 277, 260, 253, 115, 114, 180, 195)]
    assert flows == [-9_000, -9_000, 0, 0, -9_000, -9_000, 0, 0, -9_000]


def test_it_rides_through_with_reactive_current_and_stops_beyond() -> None:
    through = RideThrough(start_v=195.5, stop_v=34.5, recovery_v=195.5, k_negative=2)
    made = inverter(under_ride_through=through)
    flow = made.at(-9_000, 184, 50, 0)
    assert flow.power_w == -9_000
    assert flow.reactive_var == pytest.approx(2 * 11.5 / 230 * MOST_W, abs=1)
    assert made.at(-9_000, 30, 50, 1) == InverterFlow(0, 0, acts=True)
    assert made.at(-9_000, 190, 50, 2).power_w == 0
    assert made.at(-9_000, 200, 50, 3).power_w == -9_000


@given(
    st.lists(
        st.tuples(st.integers(-MOST_W, MOST_W), st.floats(0, 400), st.floats(45, 55), st.floats(0, 100)), max_size=20
    )
)
def test_no_function_raises_the_power_or_turns_it(steps: list[tuple[int, float, float, float]]) -> None:
    """What was agreed binds, whatever the grid does."""
    made = inverter(
        over_frequency_watt=FrequencySupport(start_hz=50.2, stop_hz=51.5, hysteresis=True, ramp=10, response_s=1),
        under_frequency_watt=UNDER,
        volt_watt=VoltageSupport(start_v=248, stop_v=253),
        volt_var=CURVE,
        zero_current=ZeroCurrentLimits(over_v=276, under_v=115),
    )
    now = 0.0
    for watts, volts, hertz, seconds in steps:
        now += seconds
        flow = made.at(watts, volts, hertz, now)
        assert abs(flow.power_w) <= abs(watts)
        assert flow.power_w * watts >= 0
        assert abs(flow.reactive_var) <= 4800
