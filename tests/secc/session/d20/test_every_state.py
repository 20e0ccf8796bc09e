"""Every state of a charge point against every message it could be sent: handled, or refused in its own words."""

import pytest

from secc.session import ports
from secc.session.d20.stages import HANDLERS
from tests.secc.session.bench import REQUESTS, WAYS, Bench
from tests.secc.session.conftest import MakeBench
from tests.together import together
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolReq
from v2g.iso15118.engine.sequence import State, accepts
from v2g.iso15118.engine.session import Close, Send
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

LIVE = [state for state in WAYS if state is not State.ENDED]
POWERED = [state for state in LIVE if "DC_CableCheckReq" in WAYS[state] or "cable_check_ongoing" in WAYS[state]]


@together(
    ("state", "name"), [(state, name) for state in LIVE for name in sorted(REQUESTS)], by=lambda each: each[0].value
)
def test_every_message_in_every_state(make_bench: MakeBench, state: State, name: str) -> None:
    bench = make_bench().reach(state)
    request = bench.ask(name)
    # nobody here has selected the service ParkingStatus, without which there is nothing to check in or out
    served = name in HANDLERS and accepts(state, request, bench.session.chart) and not name.startswith("VehicleCheck")
    served = served and name != "CertificateInstallationReq"  # in order only where it was offered
    powered = bench.session.powered
    before = len(bench.actions)
    response = bench.send(request)
    if response is None:  # it waits for the insulation test
        bench.pass_time(0.5)
        response = bench.responses[-1]
    actions = bench.actions[before:]
    if served:
        assert not bench.reason, bench.events("request_failed")
        assert type(response).__name__ == name[:-3] + "Res"
        assert response.response_code.name.startswith("OK")
        return
    # FAILED_SequenceError in that request's own response type, then the end (V2G20-459); power stops before words
    assert type(response).__name__ == name[:-3] + "Res"
    if not isinstance(request, SupportedAppProtocolReq):
        assert response.response_code.name == "FAILED_SequenceError"
        assert response.header.session_id == bench.session.session_id
    assert bench.reason == "FAILED_SequenceError"
    assert type(actions[-1]) is Close
    if powered:
        off = next(n for n, each in enumerate(actions) if isinstance(each, ports.EmergencyOff))
        said = next(n for n, each in enumerate(actions) if isinstance(each, Send))
        assert off < said


@pytest.mark.parametrize("state", LIVE[2:], ids=lambda state: state.value)
def test_a_request_of_another_session_ends_every_state(bench: Bench, state: State) -> None:
    bench.reach(state)
    request = bench.ask("SessionStopReq", header=bench.header(session_id=b"somebody"))
    assert bench.send(request).response_code.name == "FAILED_UnknownSession"
    assert bench.reason == "FAILED_UnknownSession"


@pytest.mark.parametrize("state", LIVE, ids=lambda state: state.value)
@pytest.mark.parametrize("garbage", [b"\x00" * 8, b"\x01\xfe\x80\x02\x00\x00\x00\x01\x80"], ids=["frame", "exi"])
def test_what_cannot_be_read_ends_every_state_without_an_answer(bench: Bench, state: State, garbage: bytes) -> None:
    bench.reach(state)
    powered, count = bench.session.powered, len(bench.responses)
    bench.raw(garbage)
    assert bench.reason == "undecodable"
    assert len(bench.responses) == count
    assert bool(bench.commands(ports.EmergencyOff)) == powered


@pytest.mark.parametrize("state", LIVE, ids=lambda state: state.value)
def test_a_silent_vehicle_ends_every_state(bench: Bench, state: State) -> None:
    bench.reach(state)
    powered = bench.session.powered
    loop = state is State.DC_CHARGE_LOOP
    bench.pass_time(4.9 if loop else 59.9)
    assert not bench.reason
    bench.pass_time(0.2)
    assert bench.reason in ("sequence_timeout", "ongoing_timeout")
    assert bool(bench.commands(ports.EmergencyOff)) == powered


@pytest.mark.parametrize("state", LIVE, ids=lambda state: state.value)
@pytest.mark.parametrize("how", ["eof", "abort", "unplugged"])
def test_whatever_cuts_a_session_off_stops_power_and_closes_the_journal(bench: Bench, state: State, how: str) -> None:
    bench.reach(state)
    powered, booked = bench.session.powered, "SessionStarted" in bench.records()
    traded = bool(bench.commands(ports.TransactionStarted))
    match how:
        case "eof":
            bench.session.receive_eof(bench.now, bench.utc_ms)
        case "abort":
            bench.session.abort("internal_error", bench.now, bench.utc_ms)
        case "unplugged":
            bench.session.fact(ports.PilotChanged(PilotState.A), bench.now, bench.utc_ms)
    bench.pump()
    assert bench.reason in ("connection_lost", "internal_error", "unplugged")
    assert len(bench.commands(ports.EmergencyOff)) == powered
    assert len(bench.commands(ports.CloseJournal)) == booked
    assert len(bench.commands(ports.TransactionEnded)) == traded


@pytest.mark.parametrize("pilot", [PilotState.B, PilotState.E, PilotState.F])
@pytest.mark.parametrize("state", POWERED, ids=lambda state: state.value)
def test_power_goes_off_when_the_vehicle_leaves_state_c(bench: Bench, state: State, pilot: PilotState) -> None:
    bench.reach(state)
    bench.fact(ports.PilotChanged(pilot))
    off = len(bench.commands(ports.EmergencyOff))
    bench.pass_time(1.0 if pilot is PilotState.B else 0.0)
    stopped = state in (State.DC_WELDING_DETECTION, State.SESSION_STOP)
    assert bench.reason == ("" if stopped else "vehicle_not_ready" if pilot is PilotState.B else "pilot_lost")
    assert bool(off) != stopped


@pytest.mark.parametrize("state", LIVE, ids=lambda state: state.value)
def test_facts_that_come_at_any_time_do_no_harm(bench: Bench, state: State) -> None:
    bench.reach(state)
    facts = (
        ports.Measured(400_000, 0),
        ports.AuthorizationDecided(1, AuthorizationStatus.REFUSED),
        ports.CableCheckFinished(passed=True),
        ports.ContactorState(closed=True),
        ports.PilotChanged(PilotState.C),
        ports.GridChanged((), bench.tariff),
        ports.SetpointChanged(None),
        ports.MeteringConfirmationRequested(),
        ports.RenegotiationRequested(),
        ports.StopRequested("remote"),
    )
    for fact in facts:
        bench.fact(fact)
    assert not bench.reason
    assert bench.session.state is state
