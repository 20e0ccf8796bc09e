"""Every state of a DIN 70121 session against every message, and against whatever cuts it off."""

import pytest

from secc.session import ports
from tests.secc.session.din.bench import REQUESTS, WAYS, DinBench
from tests.secc.session.din.conftest import MakeDin
from tests.together import together
from v2g.hardware.faults import FAULTS
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.din.charts import CHART
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolReq
from v2g.iso15118.engine.sequence import State, accepts
from v2g.iso15118.engine.session import Close, Send
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

pytestmark = pytest.mark.requirement("R15")

LIVE = [state for state in WAYS if state is not State.ENDED]
POWERED = [State.DC_PRE_CHARGE, State.DC_PRE_CHARGE_ONGOING, State.DC_CHARGE_LOOP]
STOPPING = sorted(word for word, kind in FAULTS.items() if kind.stops)


@together(
    ("state", "name"), [(state, name) for state in LIVE for name in sorted(REQUESTS)], by=lambda each: each[0].value
)
def test_every_message_in_every_state(make_din: MakeDin, state: State, name: str) -> None:
    din = make_din().reach(state)
    request = din.ask(name)
    served = accepts(state, request, CHART)
    powered = din.session.powered
    before = len(din.actions)
    response = din.send(request)
    if state is State.SUPPORTED_APP_PROTOCOL and not served:  # nothing but the handshake's schema is known
        assert (response, din.reason) == (None, "undecodable")
        return
    assert response is not None
    assert type(response).__name__ == name[:-3] + "Res"
    actions = din.actions[before:]
    if served:
        assert not din.reason, din.events("request_failed")
        assert response.response_code.name.startswith("OK")
        return
    if not isinstance(request, SupportedAppProtocolReq):
        assert response.response_code.name == "FAILED_SequenceError"
        assert din.headers[-1].session_id in (din.session.session_id, bytes(8))
    assert din.reason == "FAILED_SequenceError"
    assert type(actions[-1]) is Close
    if powered:
        off = next(n for n, each in enumerate(actions) if isinstance(each, ports.EmergencyOff))
        sent = next(n for n, each in enumerate(actions) if isinstance(each, Send))
        assert off < sent


@pytest.mark.parametrize("state", LIVE[2:], ids=lambda state: state.value)
@pytest.mark.parametrize("other", [bytes(8), b"", b"somebody"])
def test_a_request_of_another_session_ends_every_state(din: DinBench, state: State, other: bytes) -> None:
    din.reach(state)
    assert din.send(din.ask("SessionStopReq"), session_id=other).response_code.name == "FAILED_UnknownSession"
    assert din.headers[-1].session_id == din.session.session_id, "the valid one"
    assert din.reason == "FAILED_UnknownSession"


@pytest.mark.parametrize("state", LIVE, ids=lambda state: state.value)
@pytest.mark.parametrize("garbage", [b"\x00" * 8, frame(PayloadType.SAP, b"\x80\x9a\xff")], ids=["frame", "exi"])
def test_what_cannot_be_read_ends_every_state_without_an_answer(din: DinBench, state: State, garbage: bytes) -> None:
    din.reach(state)
    powered, count = din.session.powered, len(din.responses)
    din.raw(garbage)
    assert din.reason == "undecodable"
    assert len(din.responses) == count
    assert bool(din.commands(ports.EmergencyOff)) == powered


@pytest.mark.parametrize("state", LIVE, ids=lambda state: state.value)
def test_a_silent_vehicle_ends_every_state(din: DinBench, state: State) -> None:
    """V2G-DC-432; until SessionSetupRes the communication set-up, in the pre-charge V2G-DC-969."""
    din.reach(state)
    powered, opened = din.session.powered, bool(din.headers)
    seconds, reason = (60.0, "sequence_timeout") if opened else (18.0, "communication_setup_timeout")
    if state is State.DC_PRE_CHARGE_ONGOING:
        seconds, reason = 20.0, "pre_charge_timeout"
    din.pass_time(seconds - 0.1)
    assert not din.reason
    din.pass_time(0.2)
    assert din.reason == reason
    assert bool(din.commands(ports.EmergencyOff)) == powered


@pytest.mark.parametrize("state", LIVE, ids=lambda state: state.value)
@pytest.mark.parametrize("how", ["eof", "abort", "unplugged"])
def test_whatever_cuts_a_session_off_stops_power_and_closes_the_journal(din: DinBench, state: State, how: str) -> None:
    din.reach(state)
    powered, booked = din.session.powered, "SessionStarted" in din.records()
    traded = bool(din.commands(ports.TransactionStarted))
    match how:
        case "eof":
            din.session.receive_eof(din.now, din.utc_ms)
        case "abort":
            din.session.abort("internal_error", din.now, din.utc_ms)
        case "unplugged":
            din.session.fact(ports.PilotChanged(PilotState.A), din.now, din.utc_ms)
    din.pump()
    assert din.reason in ("connection_lost", "internal_error", "unplugged")
    assert len(din.commands(ports.EmergencyOff)) == powered
    assert len(din.commands(ports.CloseJournal)) == booked
    assert len(din.commands(ports.TransactionEnded)) == traded


@pytest.mark.parametrize("pilot", [PilotState.B, PilotState.E, PilotState.F])
@pytest.mark.parametrize("state", POWERED, ids=lambda state: state.value)
def test_power_goes_off_when_the_vehicle_leaves_state_c(din: DinBench, state: State, pilot: PilotState) -> None:
    din.reach(state)
    din.fact(ports.PilotChanged(pilot))
    word = "vehicle_not_ready" if pilot is PilotState.B else "pilot_lost"
    assert din.commands(ports.EmergencyOff) == [ports.EmergencyOff(word)]
    din.pass_time(1.0)
    assert din.reason == word


@pytest.mark.parametrize("state", POWERED, ids=lambda state: state.value)
@pytest.mark.parametrize("word", STOPPING)
def test_every_fault_stops_power_at_once(din: DinBench, state: State, word: str) -> None:
    din.reach(state)
    before = len(din.actions)
    din.fact(ports.HardwareFault(word))
    actions = din.actions[before:]
    assert [each for each in actions if isinstance(each, ports.EmergencyOff)] == [ports.EmergencyOff(word)]
    assert not any(isinstance(each, Send) for each in actions)
    response = din.go("SessionStopReq" if state is not State.DC_CHARGE_LOOP else "CurrentDemandReq")
    assert response.response_code.name == "FAILED"
    if state is State.DC_CHARGE_LOOP:
        emergency = word == "emergency_stop"
        wanted = "EVSE_EmergencyShutdown" if emergency else "EVSE_Malfunction"
        assert response.dc_evse_status.evse_status_code.value == wanted
    assert din.reason == word


@pytest.mark.parametrize("state", LIVE, ids=lambda state: state.value)
def test_a_silent_vehicle_is_left_soon_after_a_fault(din: DinBench, state: State) -> None:
    din.reach(state)
    din.fact(ports.HardwareFault("stage_lost"))
    din.pass_time(4.9)
    assert not din.reason
    din.pass_time(0.2)
    assert din.reason == "stage_lost"


@pytest.mark.parametrize("percent", [100, 110, 111])
def test_more_voltage_than_the_vehicle_bears_is_cut_off(din: DinBench, percent: int) -> None:
    din.reach(State.DC_CHARGE_LOOP)
    din.fact(ports.Measured(450_000 * percent // 100, 0))
    assert bool(din.commands(ports.EmergencyOff)) == (percent > 110)
    din.pass_time(0.41)
    assert bool(din.commands(ports.EmergencyOff)) == (percent > 100)


def test_the_transaction_names_the_edition(din: DinBench) -> None:
    din.reach(State.CHARGE_PARAMETER_DISCOVERY)
    assert [each.protocol for each in din.commands(ports.TransactionStarted)] == ["DIN 70121"]


def test_a_contactor_that_opens_by_itself_ends_the_session(din: DinBench) -> None:
    din.reach(State.DC_CHARGE_LOOP)
    din.fact(ports.ContactorState(closed=False))
    assert din.commands(ports.EmergencyOff) == [ports.EmergencyOff("contactor_dropped")]


@pytest.mark.parametrize("state", LIVE, ids=lambda state: state.value)
def test_facts_that_come_at_any_time_do_no_harm(din: DinBench, state: State) -> None:
    din.reach(state)
    facts = (
        ports.Measured(400_000, 0),
        ports.AuthorizationDecided(1, AuthorizationStatus.REFUSED),
        ports.CableCheckFinished(passed=True),
        ports.PilotChanged(PilotState.C),
        ports.SetpointChanged(None),
        ports.MeteringConfirmationRequested(),
        ports.RenegotiationRequested(),
        ports.EnergyTransferAllowed(frozenset({2})),
        ports.PauseRequested(),
        ports.StopRequested("remote"),
    )
    for fact in facts:
        din.fact(fact)
    assert not din.reason
    assert din.session.state is state
