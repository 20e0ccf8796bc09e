"""The models behave as the real things would, as far as a controller can tell."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.hardware.interfaces import OFF, Demand
from v2g.hardware.simulation import FaultScript, FaultStep, StageConfig, StageLoad, StageModel, ThermalModel

BATTERY = StageLoad(400_000, contactor_closed=True, max_charge_ma=200_000, max_discharge_ma=100_000)
Demands = st.builds(Demand, st.integers(0, 920_000), st.integers(-300_000, 300_000), st.integers(0, 150_000))
Loads = st.none() | st.builds(
    StageLoad, st.integers(1, 920_000), st.booleans(), st.integers(0, 300_000), st.integers(0, 300_000)
)


@given(st.lists(st.tuples(Demands, Loads, st.booleans(), st.floats(0, 2)), max_size=25))
def test_never_more_than_demanded_nor_than_the_load_lets_pass(
    steps: list[tuple[Demand, StageLoad | None, bool, float]],
) -> None:
    model = StageModel(StageConfig())
    for demand, load, connected, seconds in steps:
        model.demand = demand
        model.advance(seconds, load, connected=connected)
        current = model.current_ma
        if load is None or not connected:
            assert current == 0
            continue
        assert current * demand.current_ma >= 0
        assert abs(current) <= abs(demand.current_ma)
        assert abs(current) <= (load.max_charge_ma if current > 0 else load.max_discharge_ma) or current == 0
        assert abs(current) * load.voltage_mv <= demand.power_w * 1_000_000


def test_a_current_rises_by_its_ramp_and_falls_at_once() -> None:
    model = StageModel(StageConfig(current_a_per_s=100))
    model.demand = Demand(450_000, 80_000, 100_000)
    model.advance(0.5, BATTERY, connected=True)
    assert model.current_ma == 50_000
    assert model.moving
    model.advance(0.5, BATTERY, connected=True)
    assert (model.current_ma, model.moving) == (80_000, False)
    model.demand = Demand(450_000, 20_000, 100_000)
    model.advance(0.0, BATTERY, connected=True)
    assert model.current_ma == 20_000
    model.demand = Demand(450_000, -20_000, 100_000)
    model.advance(0.1, BATTERY, connected=True)
    assert model.current_ma == -10_000  # through zero, and up the ramp again


@pytest.mark.parametrize("strays_ma", [60_000, 0, -60_000])
def test_a_stage_that_strays_makes_its_own_current(strays_ma: int) -> None:
    model = StageModel(StageConfig(current_a_per_s=0))
    model.demand, model.strays_ma = Demand(450_000, 20_000, 100_000), strays_ma
    model.advance(1.0, BATTERY, connected=True)
    assert model.current_ma == strays_ma
    model.strays_ma = None
    model.advance(1.0, BATTERY, connected=True)
    assert model.current_ma == 20_000


@pytest.mark.parametrize("volts", [200, 450, 920])
def test_an_output_that_is_switched_off_discharges_by_its_time_constant(volts: int) -> None:
    config = StageConfig(discharge_tau_s=0.25)
    model = StageModel(config)
    model.demand = Demand(volts * 1_000)
    model.advance(10.0, None, connected=False)
    assert model.voltage_mv == volts * 1_000
    model.demand = OFF
    seconds = 0.0
    while model.voltage_mv >= 60_000:
        model.advance(0.01, None, connected=False)
        seconds += 0.01
    assert seconds == pytest.approx(0.25 * math.log(volts / 60), abs=0.011)


def test_heat_settles_and_a_fan_helps() -> None:
    still, fanned = ThermalModel(), ThermalModel()
    for _ in range(3_600):
        still.advance(1.0, 300_000, 0)
        fanned.advance(1.0, 300_000, 100)
    assert 30 < fanned.celsius < 40 < still.celsius < 60
    for _ in range(7_200):
        still.advance(1.0, 0, 0)
    assert still.celsius == pytest.approx(25.0, abs=0.1)


def test_a_script_begins_and_ends_what_it_says() -> None:
    script = FaultScript(
        (FaultStep(fault="weld", when="closed", after_s=1.0), FaultStep(fault="estop", after_s=2.0, for_s=1.0)),
        now=10.0,
    )
    assert script.changes(10.0) == []
    assert script.deadline(10.0) == 12.0
    assert [(step.fault, on) for step, on in script.changes(12.0)] == [("estop", True)]
    script.note("closed", 12.5)
    script.note("closed", 20.0)  # the first time counts
    assert [(step.fault, on) for step, on in script.changes(13.5)] == [("weld", True), ("estop", False)]
    assert script.deadline(13.5) is None
