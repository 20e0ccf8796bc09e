"""Every state of an ISO 15118-2 session against every message, and against whatever cuts it off."""

import pytest

from secc.session import ports
from tests.secc.session.d2.bench import AC_WAYS, DC_WAYS, REQUESTS
from tests.secc.session.d2.conftest import MakeSwept
from tests.together import together
from v2g.hardware.faults import FAULTS
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d2.charts import CHARTS, has_wrong_progress
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolReq
from v2g.iso15118.engine.sequence import State, accepts
from v2g.iso15118.engine.session import Close, Send

PAID = (
    *(State.PAYMENT_DETAILS, State.CONTRACT_INSTALLED, State.AUTHORIZATION, State.CHARGE_PARAMETER_DISCOVERY),
    *(State.DC_METERING_RECEIPT, State.AC_METERING_RECEIPT),
)
"""States that contracts add, or in which they are treated otherwise."""
pytestmark = pytest.mark.requirement("R15")

LIVE = [
    ("external", alternating, state)
    for alternating, ways in ((False, DC_WAYS), (True, AC_WAYS))
    for state in ways
    if state is not State.ENDED
] + [("contract", state is State.AC_METERING_RECEIPT, state) for state in PAID]
IDS = [f"{paid}-{'ac' if kind else 'dc'}-{state.value}" for paid, kind, state in LIVE]
CONTRACTS = {"PaymentDetailsReq", "CertificateInstallationReq", "CertificateUpdateReq", "MeteringReceiptReq"}
EVERYWHERE = pytest.mark.parametrize(("paid", "alternating", "state"), LIVE, ids=IDS)
STOPPING = sorted(word for word, kind in FAULTS.items() if kind.stops)


@together(
    ("paid", "alternating", "state", "name"),
    [(*each, name) for each in LIVE for name in sorted(REQUESTS)],
    by=lambda each: f"{each[0]}-{'ac' if each[1] else 'dc'}-{each[2].value}",
)
def test_every_message_in_every_state(
    make_swept: MakeSwept, paid: str, alternating: bool, state: State, name: str
) -> None:
    bench = make_swept(paid, alternating).reach(state)
    request = bench.ask(name)
    chart = CHARTS[bench.session.family]
    served = accepts(state, request, chart) and (paid == "contract" or name not in CONTRACTS)
    powered, before = bench.session.powered, len(bench.actions)
    response = bench.send(request)
    actions = bench.actions[before:]
    if state is State.SUPPORTED_APP_PROTOCOL and not served:
        assert (response, bench.reason) == (None, "undecodable")
        return
    assert type(response).__name__ == name[:-3] + "Res"
    if served:
        assert not bench.reason, bench.events("request_failed")
        assert response.response_code.name.startswith("OK")
        return
    if isinstance(request, SupportedAppProtocolReq):
        assert bench.reason == "FAILED_SequenceError"
    elif has_wrong_progress(state, request, bench.session.family):
        assert response.response_code.name == "FAILED"
        bench.pass_time(2.0)
    else:
        assert response.response_code.name == "FAILED_SequenceError"
        assert type(actions[-1]) is Close
    assert bench.reason
    if powered:
        off = next(n for n, each in enumerate(actions) if isinstance(each, ports.EmergencyOff))
        sent = next(n for n, each in enumerate(actions) if isinstance(each, Send))
        assert off < sent


@EVERYWHERE
def test_a_silent_vehicle_ends_every_state(make_swept: MakeSwept, paid: str, alternating: bool, state: State) -> None:
    """V2G2-443; until SessionSetupRes, the communication set-up [V2G2-714]."""
    bench = make_swept(paid, alternating).reach(state)
    powered, opened = bench.session.powered, bool(bench.headers)
    bench.pass_time(59.9 if opened else 17.9)
    assert not bench.reason
    bench.pass_time(0.2)
    assert bench.reason == ("sequence_timeout" if opened else "communication_setup_timeout")
    assert bool(bench.commands(ports.EmergencyOff)) == powered


@EVERYWHERE
@pytest.mark.parametrize("how", ["eof", "abort", "unplugged", "other_session"])
def test_whatever_ends_a_session_stops_power_and_closes_the_journal(
    make_swept: MakeSwept, paid: str, alternating: bool, state: State, how: str
) -> None:
    bench = make_swept(paid, alternating).reach(state)
    powered, booked = bench.session.powered, "SessionStarted" in bench.records()
    traded, opened = bool(bench.commands(ports.TransactionStarted)), bool(bench.headers)
    match how:
        case "eof":
            bench.session.receive_eof(bench.now, bench.utc_ms)
        case "abort":
            bench.session.abort("internal_error", bench.now, bench.utc_ms)
        case "unplugged":
            bench.session.fact(ports.PilotChanged(PilotState.A), bench.now, bench.utc_ms)
        case "other_session" if opened:
            response = bench.send(bench.ask("SessionStopReq"), session_id=b"somebody")
            assert response.response_code.name == "FAILED_UnknownSession"
    bench.pump()
    assert bool(bench.reason) == (opened or how != "other_session")
    if bench.reason:
        assert len(bench.commands(ports.EmergencyOff)) == powered
        assert len(bench.commands(ports.CloseJournal)) == booked
        assert len(bench.commands(ports.TransactionEnded)) == traded


@EVERYWHERE
@pytest.mark.parametrize("word", [*STOPPING[:2], "emergency_stop"])
def test_faults_stop_power_at_once(
    make_swept: MakeSwept, paid: str, alternating: bool, state: State, word: str
) -> None:
    bench = make_swept(paid, alternating).reach(state)
    powered, before = bench.session.powered, len(bench.actions)
    bench.fact(ports.HardwareFault(word))
    actions = bench.actions[before:]
    assert [each for each in actions if isinstance(each, ports.EmergencyOff)] == [ports.EmergencyOff(word)] * powered
    assert not any(isinstance(each, Send) for each in actions)
    if bench.headers:
        assert bench.go("SessionStopReq").response_code.name == "FAILED"
    else:
        bench.pass_time(5.0)
    assert bench.reason == word


@EVERYWHERE
@pytest.mark.parametrize("pilot", [PilotState.E, PilotState.F])
def test_a_pilot_error_stops_power(
    make_swept: MakeSwept, paid: str, alternating: bool, state: State, pilot: PilotState
) -> None:
    bench = make_swept(paid, alternating).reach(state)
    powered = bench.session.powered
    bench.fact(ports.PilotChanged(pilot))
    assert bench.reason == ("pilot_lost" if powered else "")
    assert len(bench.commands(ports.EmergencyOff)) == powered
