"""What can break while a vehicle is connected: power stops before words, and one word says why everywhere.

The words are those of `v2g.hardware.faults`; event, journal, OCPP and the end of the session carry the same one.
"""

from typing import Any, get_args

import pytest
from msgspec.structs import replace

from secc.session import ports
from secc.session.guard import LOWERED
from secc.session.journal import STOPPED_REASONS
from tests.secc.session.bench import AC, AC_BPT, AC_WAYS, DC, DC_BPT, WAYS, Bench
from tests.secc.session.conftest import MakeBench
from v2g.hardware.faults import FAULTS
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.messages.common_messages import ChargeProgress
from v2g.iso15118.d20.messages.common_types import RationalNumber, ResponseCode
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Send
from v2g.ocpp.messages.transactions import Reason

LIVE = [state for state in WAYS if state is not State.ENDED]
STOPPING = sorted(word for word, kind in FAULTS.items() if kind.stops)
REASONS = frozenset(get_args(get_args(Reason)[0]))


def reported(bench: Bench) -> str:
    """The reason that every listener received, which has to be one."""
    reasons = {bench.events("session_ended")[-1]["reason"]}
    reasons |= {each.reason for each in bench.commands(ports.CloseJournal)}
    reasons |= {each.reason for each in bench.commands(ports.TransactionEnded)}
    reasons |= {each.reason for each in bench.commands(ports.EmergencyOff)}
    reasons |= {bench.reason}
    (reason,) = reasons
    return str(reason)


@pytest.mark.parametrize("word", STOPPING)
def test_every_fault_stops_power_at_once_and_everybody_gets_the_same_word(bench: Bench, word: str) -> None:
    bench.reach(State.DC_CHARGE_LOOP)
    before, at = len(bench.actions), bench.now
    bench.fact(ports.HardwareFault(word))
    off = [each for each in bench.actions[before:] if isinstance(each, ports.EmergencyOff)]
    assert off == [ports.EmergencyOff(word)]
    assert bench.now == at
    assert not any(isinstance(each, Send) for each in bench.actions[before:])
    assert bench.events("hardware_fault") == [{"reason": word}]
    (ended,) = bench.commands(ports.TransactionEnded)
    assert ended.stopped_reason == STOPPED_REASONS.get(word, "Other")
    bench.go("DC_ChargeLoopReq")
    assert reported(bench) == word


def test_what_ocpp_has_a_word_for_is_reported_by_it() -> None:
    assert set(STOPPED_REASONS.values()) <= REASONS
    words = ("emergency_stop", "isolation_low", "over_current", "plug_not_seated")
    assert {word: STOPPED_REASONS[word] for word in words} == {
        "plug_not_seated": "EVDisconnected",
        "emergency_stop": "EmergencyStop",
        "isolation_low": "GroundFault",
        "over_current": "OvercurrentFault",
    }


@pytest.mark.parametrize("state", LIVE, ids=lambda state: state.value)
def test_the_vehicle_learns_of_a_fault_in_the_answer_to_its_next_request(bench: Bench, state: State) -> None:
    bench.reach(state)
    powered, booked = bench.session.powered, "SessionStarted" in bench.records()
    bench.fact(ports.HardwareFault("over_temperature"))
    assert len(bench.commands(ports.EmergencyOff)) == powered
    assert len(bench.commands(ports.CloseJournal)) == booked
    assert not bench.reason
    name = "SupportedAppProtocolReq" if state is State.SUPPORTED_APP_PROTOCOL else "SessionStopReq"
    response = bench.send(bench.ask(name))
    assert response.response_code.name.upper() in ("FAILED", "FAILED_NONEGOTIATION")
    assert bench.reason == "over_temperature"
    if booked:
        assert reported(bench) == "over_temperature"


@pytest.mark.parametrize("state", LIVE, ids=lambda state: state.value)
def test_a_silent_vehicle_is_left_soon_after_a_fault(bench: Bench, state: State) -> None:
    bench.reach(state)
    bench.fact(ports.HardwareFault("stage_lost"))
    bench.pass_time(4.9)
    assert not bench.reason
    bench.pass_time(0.2)
    assert bench.reason == "stage_lost"


@pytest.mark.parametrize(
    ("state", "request_name", "waiting", "word", "code"),
    [
        (State.DC_CABLE_CHECK, "DC_CableCheckReq", ports.StartCableCheck, "isolation_low", "FAILED"),
        (State.DC_PRE_CHARGE, "DC_PreChargeReq", ports.StartPreCharge, "stage_tripped", "FAILED"),
        (
            State.POWER_DELIVERY,
            "PowerDeliveryReq",
            ports.CloseContactors,
            "stage_lost",
            "FAILED_PowerDeliveryNotApplied",
        ),
        (
            State.POWER_DELIVERY,
            "PowerDeliveryReq",
            ports.CloseContactors,
            "contactor_stuck_open",
            "FAILED_ContactorError",
        ),
    ],
)
def test_a_fault_while_the_vehicle_waits_is_its_answer(
    bench: Bench, state: State, request_name: str, waiting: type, word: str, code: str
) -> None:
    bench.reach(state)
    del bench.auto[waiting]
    changes: dict[str, Any] = {}
    if request_name == "DC_PreChargeReq":
        from v2g.iso15118.d20.messages.common_types import Processing

        changes["ev_processing"] = Processing.Ongoing
    assert bench.send(bench.ask(request_name, **changes)) is None
    bench.fact(ports.HardwareFault(word))
    assert bench.responses[-1].response_code.name == code
    assert reported(bench) == word
    off = next(n for n, each in enumerate(bench.actions) if isinstance(each, ports.EmergencyOff))
    assert off < max(n for n, each in enumerate(bench.actions) if isinstance(each, Send))


def test_a_fault_before_power_is_delivered_refuses_the_next_start(bench: Bench) -> None:
    bench.reach(State.POWER_DELIVERY)
    bench.fact(ports.HardwareFault("fan_failed"))
    assert bench.go("PowerDeliveryReq").response_code.name == "FAILED_PowerDeliveryNotApplied"
    assert not bench.commands(ports.CloseContactors)


def test_a_failed_cable_check_ends_the_session_with_its_own_word(bench: Bench) -> None:
    """No ground fault: that is a fault of its own. Without voltage at the output nobody has measured the insulation."""
    bench.reach(State.DC_CABLE_CHECK)
    bench.auto[ports.StartCableCheck] = lambda c: ports.CableCheckFinished(passed=False, why="the output has 0 V")
    assert bench.go("DC_CableCheckReq").response_code.name == "FAILED"
    assert reported(bench) == "cable_check_failed"
    assert bench.commands(ports.TransactionEnded)[0].stopped_reason == "Other"
    assert bench.events("request_failed")[-1]["reason"] == "the cable check failed: the output has 0 V"


def test_a_contactor_that_stays_closed_is_called_welded(bench: Bench) -> None:
    bench.reach(State.DC_CHARGE_LOOP)
    del bench.auto[ports.OpenContactors]
    bench.post(bench.ask("PowerDeliveryReq", charge_progress=ChargeProgress.Stop))
    bench.pass_time(1.4)
    assert bench.responses[-1].response_code is ResponseCode.FAILED_ContactorError
    assert reported(bench) == "contactor_welded"


def test_a_contactor_that_stays_open_is_called_stuck(bench: Bench) -> None:
    bench.reach(State.POWER_DELIVERY)
    del bench.auto[ports.CloseContactors]
    bench.post(bench.ask("PowerDeliveryReq"))
    bench.pass_time(1.4)
    assert bench.responses[-1].response_code is ResponseCode.FAILED_ContactorError
    assert reported(bench) == "contactor_stuck_open"


@pytest.mark.requirement("R132")
@pytest.mark.parametrize("service", [DC, DC_BPT])
@pytest.mark.parametrize("percent", [100, 110, 111])
def test_more_voltage_than_the_vehicle_bears_is_cut_off(make_bench: MakeBench, service: int, percent: int) -> None:
    bench = make_bench()
    bench.selection = (service, 0, service == DC_BPT)
    bench.reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.Measured(450_000 * percent // 100, 0))
    assert bool(bench.commands(ports.EmergencyOff)) == (percent > 110)
    if percent > 110:
        bench.go("DC_ChargeLoopReq")
        assert reported(bench) == "over_voltage"


@pytest.mark.requirement("R132")
@pytest.mark.parametrize(
    ("millivolts", "seconds", "cut"), [(454_500, 1.0, False), (456_000, 0.39, False), (456_000, 0.41, True)]
)
def test_a_little_more_voltage_is_borne_for_0_4_s(bench: Bench, millivolts: int, seconds: float, cut: bool) -> None:
    """IEC 61851-23 CC.6.2."""
    bench.reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.Measured(millivolts, 0))
    bench.pass_time(seconds / 2)
    bench.fact(ports.Measured(millivolts, 0))
    bench.pass_time(seconds / 2)
    assert bool(bench.commands(ports.EmergencyOff)) is cut
    bench.fact(ports.Measured(450_000, 0))
    bench.pass_time(0.2)
    bench.fact(ports.Measured(millivolts, 0))
    bench.pass_time(0.2)
    assert bool(bench.commands(ports.EmergencyOff)) is cut


@pytest.mark.parametrize("service", [DC, DC_BPT])
@pytest.mark.parametrize(("volts", "at_once"), [(380, False), (300, True)])
def test_a_maximum_lowered_below_the_present_voltage_is_a_mistake_of_the_vehicle(
    make_bench: MakeBench, service: int, volts: int, at_once: bool
) -> None:
    bench = make_bench()
    bench.selection = (service, 0, service == DC_BPT)
    bench.reach(State.DC_CHARGE_LOOP)
    del bench.auto[ports.SetOutput]  # the battery keeps its voltage
    request = bench.ask("DC_ChargeLoopReq")
    mode = replace(request.cl_req_control_mode, ev_maximum_voltage=RationalNumber(exponent=0, value=volts))
    response = bench.send(replace(request, cl_req_control_mode=mode))
    if not at_once:
        assert response.response_code is ResponseCode.OK
        bench.fact(ports.Measured(400_000, 0))
        bench.pass_time(0.41)
        response = bench.go("DC_ChargeLoopReq")
    assert response.response_code is ResponseCode.FAILED
    assert reported(bench) == LOWERED
    assert not bench.events("hardware_fault")


@pytest.mark.parametrize("service", [AC, AC_BPT])
@pytest.mark.parametrize("state", [State.POWER_DELIVERY, State.AC_CHARGE_LOOP])
def test_a_fault_on_alternating_current(make_bench: MakeBench, service: int, state: State) -> None:
    from secc.session.config import EnergyService, SeccConfig

    bench = make_bench(SeccConfig(services=(EnergyService.AC_BPT, EnergyService.AC)))
    bench.selection = (service, 0, False)
    bench.reach(state)
    assert state in AC_WAYS
    bench.fact(ports.HardwareFault("contactor_welded"))
    assert len(bench.commands(ports.EmergencyOff)) == (state is State.AC_CHARGE_LOOP)
    bench.go("PowerDeliveryReq" if state is State.POWER_DELIVERY else "AC_ChargeLoopReq")
    assert reported(bench) == "contactor_welded"


@pytest.mark.parametrize(
    ("how", "word", "stopped"),
    [
        (lambda b: b.session.receive_eof(b.now, b.utc_ms), "connection_lost", "EVDisconnected"),
        (lambda b: b.session.abort("link_lost", b.now, b.utc_ms), "link_lost", "EVDisconnected"),
        (lambda b: b.session.fact(ports.PilotChanged(PilotState.A), b.now, b.utc_ms), "unplugged", "EVDisconnected"),
        (lambda b: b.session.fact(ports.PilotChanged(PilotState.E), b.now, b.utc_ms), "pilot_lost", "EVDisconnected"),
        (lambda b: b.pass_time(6.0), "sequence_timeout", "Timeout"),
    ],
    ids=["tls_closed_without_notice", "powerline_lost", "unplugged", "pilot_error", "silent"],
)
def test_a_vehicle_that_is_gone_leaves_a_dead_output(bench: Bench, how: Any, word: str, stopped: str) -> None:
    bench.reach(State.DC_CHARGE_LOOP)
    how(bench)
    bench.pump()
    assert reported(bench) == word
    assert bench.commands(ports.TransactionEnded)[0].stopped_reason == stopped


@pytest.mark.parametrize(
    ("how", "word", "stopped"),
    [
        (lambda b: b.pass_time(1.0), "vehicle_not_ready", "StoppedByEV"),
        (lambda b: b.session.receive_eof(b.now, b.utc_ms), "vehicle_not_ready", "StoppedByEV"),
        (lambda b: b.go("DC_ChargeLoopReq"), "vehicle_not_ready", "StoppedByEV"),
        (lambda b: b.fact(ports.PilotChanged(PilotState.C)) or b.pass_time(1.0), "vehicle_not_ready", "StoppedByEV"),
        (lambda b: b.fact(ports.PilotChanged(PilotState.A)), "unplugged", "EVDisconnected"),
        (lambda b: b.pass_time(0.9) or b.fact(ports.PilotChanged(PilotState.A)), "unplugged", "EVDisconnected"),
    ],
    ids=["stays", "closes", "goes_on", "back_in_c", "pulled", "pulled_slowly"],
)
def test_state_b_ends_power_at_once_and_the_transaction_once_the_cable_is_known(
    bench: Bench, how: Any, word: str, stopped: str
) -> None:
    """A cable that is pulled passes B for some 100 ms; a vehicle that has stopped stays there."""
    bench.reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.PilotChanged(PilotState.B))
    assert bench.commands(ports.EmergencyOff) == [ports.EmergencyOff("vehicle_not_ready")]
    assert not bench.commands(ports.TransactionEnded)
    how(bench)
    bench.pump()
    assert bench.reason == word
    assert [each.stopped_reason for each in bench.commands(ports.TransactionEnded)] == [stopped]
    assert len(bench.commands(ports.CloseJournal)) == 1
    assert len(bench.commands(ports.EmergencyOff)) == 1


def test_after_a_fault_nothing_starts_power_again(bench: Bench) -> None:
    bench.reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.HardwareFault("emergency_stop"))
    before = len(bench.actions)
    for fact in (ports.ContactorState(closed=True), ports.SetpointChanged(None), ports.GridChanged((), bench.tariff)):
        bench.fact(fact)
    bench.raw(b"\x01\xfe\x80\x02\x00\x00\x00\x01\x80")
    assert bench.reason == "emergency_stop"
    assert not [each for each in bench.actions[before:] if isinstance(each, ports.SetOutput | ports.CloseContactors)]


@pytest.mark.requirement("R22")
def test_a_session_at_a_plug_that_is_not_seated_is_refused_with_its_first_request(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.fact(ports.HardwareFault("plug_not_seated"))
    assert bench.go("SupportedAppProtocolReq").response_code.name == "Failed_NoNegotiation"
    assert reported(bench) == "plug_not_seated"
    assert not bench.commands(ports.StartCableCheck)
