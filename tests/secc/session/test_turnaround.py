"""The dead time between charge and discharge (R28), alone and in a session with power electronics that need time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secc.session import ports
from secc.session.config import ControlMode, EnergyService, SeccConfig
from secc.session.power import TIMER, Turnaround
from tests.secc.session.bench import Bench, number
from tests.secc.session.conftest import MakeBench as Make
from tests.secc.session.d20.ac import UNSIGNED
from v2g.energy.limits import Setpoint
from v2g.iso15118.engine.message_timing import SessionTime
from v2g.iso15118.engine.sequence import State

RATING_W = 10_000


def at(time: SessionTime, now: float) -> None:
    time.now = now


@pytest.fixture
def time() -> SessionTime:
    return SessionTime()


@pytest.mark.requirement("R28")
@pytest.mark.parametrize("way", [1, -1])
def test_power_waits_after_the_other_direction_was_commanded(time: SessionTime, way: int) -> None:
    turn = Turnaround(time, 0.5, RATING_W)
    assert turn.turning == 0
    at(time, 10.0)
    turn.drive(way)
    at(time, 100.0)
    assert turn.turning == -way, "it flows still"
    turn.drive(0)
    at(time, 100.49)
    assert turn.turning == -way
    at(time, 100.5)
    assert turn.turning == 0


def test_power_that_still_flows_counts_from_a_two_hundredth_of_the_rating(time: SessionTime) -> None:
    turn = Turnaround(time, 0.5, RATING_W)
    at(time, 10.0)
    turn.measure(-50)
    assert turn.turning == 0
    turn.measure(-51)
    assert turn.turning == 1
    at(time, 10.4)
    turn.measure(-3_000)
    at(time, 10.6)
    assert turn.turning == 1
    turn.arm()
    assert time.timers[TIMER] == pytest.approx(10.9)
    at(time, 11.0)
    turn.arm()
    assert time.timers[TIMER] == 11.0, "at once, once it is over"
    turn.measure(51)
    assert turn.turning == -1


def test_without_a_dead_time_nothing_waits(time: SessionTime) -> None:
    turn = Turnaround(time, 0.0, RATING_W)
    turn.drive(1)
    assert turn.turning == 0


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([-1, 0, 1])), max_size=30))
def test_who_obeys_never_turns_within_the_dead_time(commands: list[tuple[float, int]]) -> None:
    time = SessionTime()
    turn, last, ended = Turnaround(time, 0.5, RATING_W), 0, -1.0
    driven = 0
    for passed, wanted in commands:
        time.now += passed
        if driven:
            last, ended = driven, time.now
        driven = 0 if wanted and wanted == turn.turning else wanted
        turn.drive(driven)
        assert not driven or driven == last or not last or time.now - ended >= 0.5 - 1e-9


def charging(make_bench: Make, mode: ControlMode) -> Bench:
    config = SeccConfig(services=(EnergyService.DC_BPT,), control_modes=(mode,), signed_discharge=UNSIGNED)
    bench = make_bench(config, direction_change_s=0.5)
    bench.scheduled = mode is ControlMode.SCHEDULED
    bench.selection = (int(EnergyService.DC_BPT), 0, False)
    bench.reach(State.DC_CHARGE_LOOP).go("DC_ChargeLoopReq")
    return bench


@pytest.mark.requirement("R28")
def test_a_set_point_of_the_other_sign_waits_until_nothing_flows(make_bench: Make) -> None:
    bench = charging(make_bench, ControlMode.DYNAMIC)
    bench.fact(ports.SetpointChanged(Setpoint(power_w=8_000, source="csms")))
    bench.fact(ports.SetpointChanged(Setpoint(power_w=-5_000, source="csms", version=1)))
    turned = bench.commands(ports.SetOutput)[-1]
    assert (turned.current_ma, turned.charge_w, turned.discharge_w) == (0, 0, 5_000), "lowered at once, the rest waits"
    assert bench.events("limited")[-1]["discharge_limited_by"] == "direction_change"
    bench.fact(ports.Measured(400_000, 20_000))  # what still flows
    bench.pass_time(0.2)
    bench.fact(ports.Measured(400_000, 5_000))
    bench.fact(ports.Measured(400_000, 0))
    bench.pass_time(0.45)
    assert bench.commands(ports.SetOutput)[-1].current_ma == 0, "2 kW flowed 0.45 s ago"
    bench.pass_time(0.1)
    assert bench.commands(ports.SetOutput)[-1].current_ma < 0
    assert bench.events("limited")[-1]["discharge_limited_by"] == "csms"


@pytest.mark.requirement("R28")
def test_a_vehicle_with_a_schedule_does_not_turn_at_once_either(make_bench: Make) -> None:
    bench = charging(make_bench, ControlMode.SCHEDULED)

    def ask(current: int) -> int:
        mode = bench.loop_mode(ev_target_current=number(current), ev_target_voltage=number(400))
        bench.send(bench.ask("DC_ChargeLoopReq", cl_req_control_mode=mode))
        output: ports.SetOutput = bench.commands(ports.SetOutput)[-1]
        return output.current_ma

    assert ask(20) == 20_000
    assert ask(-20) == 0
    bench.pass_time(0.6)
    assert ask(-20) == -20_000
