"""From the pre-charge to power and back, in ISO 15118-2 and DIN 70121."""

import time

import pytest

from pki_tools.tree import PkiTree
from secc.session import ports
from tests.secc.session.d2.bench import Iso2Bench
from tests.secc.session.din.bench import DinBench
from tests.secc.session.message_bench import MessageBench
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.engine.sequence import State
from v2g.observe import Observe

pytestmark = pytest.mark.requirement("R15")


@pytest.fixture(params=[DinBench, Iso2Bench])
def bench(request: pytest.FixtureRequest, pki: PkiTree) -> MessageBench:
    made: MessageBench = request.param(pki, time.time_ns() // 1_000_000)
    return made


def test_a_pre_charge_goes_no_higher_than_the_rating(bench: MessageBench) -> None:
    most_v = bench.config.rating.max_voltage_v
    bench.reach(State.DC_PRE_CHARGE)
    bench.send(bench.ask("PreChargeReq", ev_target_voltage=bench.volts(most_v)))
    assert not bench.quirks()
    bench.send(bench.ask("PreChargeReq", ev_target_voltage=bench.volts(most_v + 50)))
    assert bench.quirks() == ["pre_charge_target_out_of_range"]
    assert {each["target_mv"] for each in bench.events("pre_charge")} == {most_v * 1000}


@pytest.mark.parametrize("below_v", [0, 1])
def test_power_does_not_start_below_the_chargers_least_voltage(bench: MessageBench, below_v: int) -> None:
    """It has sent the vehicle its EVSEMinimumVoltageLimit; pre-charge itself follows any target, as in the field."""
    target_v = bench.config.rating.min_voltage_v - below_v
    bench.reach(State.DC_PRE_CHARGE)
    bench.send(bench.ask("PreChargeReq", ev_target_voltage=bench.volts(target_v)))
    bench.fact(ports.Measured(target_v * 1000, 0))
    bench.post(bench.ask("PowerDeliveryReq"))
    bench.pass_time(2)
    started = bench.responses[-1].response_code.name == "OK"
    assert started is bool(bench.commands(ports.CloseContactors))
    assert started is not bool(below_v)
    if below_v:
        assert "power starts at 150000 mV or more" in bench.events("request_failed")[-1]["reason"]


def test_a_start_waits_for_the_contactors_whatever_else_happens(bench: MessageBench) -> None:
    del bench.auto[ports.CloseContactors]
    bench.reach(State.DC_PRE_CHARGE_ONGOING)
    count = len(bench.responses)
    bench.post(bench.ask("PowerDeliveryReq"))
    bench.fact(ports.Measured(400_000, 0))
    assert len(bench.responses) == count
    bench.fact(ports.ContactorState(closed=True))
    assert bench.responses[-1].response_code.name == "OK"
    assert bench.commands(ports.Reported) == [ports.Reported(400_000, 60_000, 0)]


@pytest.mark.parametrize("error", ["NO_ERROR", "FAILED_RESSTemperatureInhibit"])
def test_an_error_of_the_vehicle_changes_nothing_of_a_stop(bench: MessageBench, error: str) -> None:
    bench.reach(State.DC_CHARGE_LOOP)
    bench.error = error
    assert bench.stop().response_code.name == "OK"
    assert not bench.session.powered
    reported = [each for each in bench.actions if isinstance(each, Observe) and each.name == "vehicle_error"]
    assert reported == ([] if error == "NO_ERROR" else [Observe("stop", "vehicle_error", {"code": error})])


def test_what_is_left_of_the_voltage_and_the_end_are_reported(bench: MessageBench) -> None:
    bench.reach(State.DC_WELDING_DETECTION)
    bench.fact(ports.Measured(400_000, 0))
    assert bench.go("WeldingDetectionReq") is None  # the output discharges
    bench.fact(ports.Measured(12_300, 0))
    bench.go("SessionStopReq")
    assert Observe("stop", "welding_detection", {"voltage_mv": 12_300}) in bench.actions
    assert Observe("stop", "session_stop", {"session": "Terminate"}) in bench.actions


def test_a_vehicle_that_gives_up_before_power_flowed_need_not_leave_state_c(bench: MessageBench) -> None:
    bench.reach(State.DC_CABLE_CHECK)
    bench.fact(ports.PilotChanged(PilotState.C))
    assert bench.go("SessionStopReq").response_code.name == "OK"


def test_after_alternating_current_the_pilot_may_still_be_in_c(pki: PkiTree) -> None:
    bench = Iso2Bench(pki, time.time_ns() // 1_000_000, alternating=True).reach(State.SESSION_STOP)
    bench.fact(ports.PilotChanged(PilotState.C))
    assert bench.go("SessionStopReq").response_code.name == "OK"
