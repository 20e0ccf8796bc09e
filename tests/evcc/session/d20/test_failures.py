"""Whatever comes instead of the right answer, the vehicle stops safely and says why.

Every stage that awaits something is tried against every message, every failure code, silence, and bytes that are
none. Safe means: no current wanted, pilot in B, contactor open, connection closed, nothing sent any more.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evcc.session.ports import BatteryState, ContactorState, HardwareFault, PlugState
from evcc.session.steps import Ended
from tests.evcc.session.bench import SHORT, Bench, Identities
from tests.evcc.session.d20.failures import STAGES, reach
from v2g import exi
from v2g.iso15118.d20.messages.common_messages import ChargingSession
from v2g.iso15118.d20.messages.common_types import EvseNotification, ResponseCode
from v2g.iso15118.d20.timing import MESSAGES
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.v2gtp import PayloadType, frame


@pytest.fixture(scope="module")
def exchanges(identities: Identities) -> dict[str, tuple[Any, Any]]:
    """One request and response of each kind."""
    bench = reach(identities, "MeteringConfirmationReq")
    bench.run()
    pairs = {}
    charger = Bench(identities, SHORT).charger
    for request in bench.requests:
        pairs.setdefault(type(request).__name__, (request, charger.answer(request)))
    assert set(pairs) == set(STAGES)
    return pairs


@pytest.mark.parametrize("stage", STAGES)
def test_every_response_but_the_awaited_one_ends_the_session(
    identities: Identities, exchanges: dict[str, tuple[Any, Any]], stage: str
) -> None:
    for name, (_, response) in exchanges.items():
        bench = reach(identities, stage)
        before = len(bench.requests)
        bench.reply(response)
        if name == stage:
            assert not bench.closed or stage == "SessionStopReq"
        else:
            bench.assert_safe("unexpected_message")
            assert len(bench.requests) == before


@pytest.mark.parametrize("stage", STAGES)
def test_a_request_from_the_charger_ends_the_session(
    identities: Identities, exchanges: dict[str, tuple[Any, Any]], stage: str
) -> None:
    for request, _ in exchanges.values():
        bench = reach(identities, stage)
        bench.reply(request)
        bench.assert_safe("unexpected_message")


@pytest.mark.parametrize("stage", STAGES)
def test_an_answer_that_nobody_asked_for_ends_the_session(
    identities: Identities, exchanges: dict[str, tuple[Any, Any]], stage: str
) -> None:
    bench = reach(identities, stage)
    response = exchanges[stage][1]
    twice = exi.encode(response)
    name = type(response).__name__
    kind = PayloadType.SAP if name == "SupportedAppProtocolRes" else PayloadType.COMMON
    kind = PayloadType.DC if name.startswith("DC_") else kind
    bench.receive(frame(kind, twice) * 3)
    assert bench.closed in ("unexpected_message", "wrong_service", "finished")


@pytest.mark.some(2)
@pytest.mark.parametrize("stage", STAGES)
def test_every_failure_code_ends_the_session_without_a_further_request(
    identities: Identities, exchanges: dict[str, tuple[Any, Any]], stage: str
) -> None:
    codes: list[Any] = [code for code in ResponseCode if code.name.startswith("FAILED")]
    if stage == "SupportedAppProtocolReq":
        codes = [app.ResponseCode.Failed_NoNegotiation]
    for code in codes:
        bench = reach(identities, stage)
        before = len(bench.requests)
        bench.reply(msgspec.structs.replace(exchanges[stage][1], response_code=code))
        bench.assert_safe(code.name)
        assert len(bench.requests) == before


@pytest.mark.parametrize("stage", STAGES)
def test_a_silent_charger_is_left_exactly_when_the_messages_time_is_up(identities: Identities, stage: str) -> None:
    bench = reach(identities, stage)
    timeout = MESSAGES[stage].timeout
    bench.pass_time(timeout - 0.001)
    assert not bench.closed
    bench.pass_time(0.002)
    bench.assert_safe("message_timeout")
    assert bench.seen("session", "failed")[0]["request"] == stage


@pytest.mark.parametrize("stage", STAGES)
def test_a_charger_that_vanishes_leaves_the_vehicle_safe(identities: Identities, stage: str) -> None:
    bench = reach(identities, stage)
    bench.session.receive_eof(bench.now, bench.utc_ms)
    bench.pump()
    bench.assert_safe("secc_vanished")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("fact", "reason"),
    [(PlugState(connected=False), "unplugged"), (HardwareFault("isolation_lost"), "isolation_lost")],
)
def test_an_unplugged_or_faulty_vehicle_stops_at_once(
    identities: Identities, stage: str, fact: Any, reason: str
) -> None:
    bench = reach(identities, stage)
    bench.fact(fact)
    bench.assert_safe(reason)


@pytest.mark.parametrize("stage", STAGES)
def test_a_shell_that_breaks_down_leaves_the_vehicle_safe(identities: Identities, stage: str) -> None:
    bench = reach(identities, stage)
    bench.session.abort("internal_error", bench.now, bench.utc_ms)
    bench.pump()
    bench.assert_safe("internal_error")


@pytest.mark.parametrize("stage", [s for s in STAGES if s not in ("SupportedAppProtocolReq", "SessionSetupReq")])
def test_an_answer_of_another_session_ends_this_one(
    identities: Identities, exchanges: dict[str, tuple[Any, Any]], stage: str
) -> None:
    bench = reach(identities, stage)
    response = exchanges[stage][1]
    header = msgspec.structs.replace(response.header, session_id=b"12345678")
    bench.reply(msgspec.structs.replace(response, header=header))
    bench.assert_safe("wrong_session_id")


@pytest.mark.some(2)
@pytest.mark.parametrize("stage", STAGES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=64), kind=st.sampled_from([0x8001, 0x8002, 0x8004, 0x8102, 0x8101, 0x9000, 0x0001]))
def test_frames_of_garbage_end_the_session_by_name(identities: Identities, stage: str, data: bytes, kind: int) -> None:
    bench = reach(identities, stage)
    bench.receive(frame(kind, data) * 3)  # the first two may be ignored
    assert bench.closed in ("undecodable_message", "unexpected_message") or bench.closed.upper().startswith("FAILED")


@pytest.mark.some(2)
@pytest.mark.parametrize("stage", STAGES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(min_size=1, max_size=64))
def test_bytes_that_are_no_frame_end_the_session_or_wait_for_more(
    identities: Identities, stage: str, data: bytes
) -> None:
    bench = reach(identities, stage)
    bench.receive(data)
    assert bench.closed in ("", "undecodable_message")
    if not bench.closed:
        bench.pass_time(10)
        bench.assert_safe("message_timeout")


@pytest.mark.some(2)
@pytest.mark.parametrize("stage", STAGES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_tampered_answer_never_breaks_the_vehicle(
    identities: Identities, exchanges: dict[str, tuple[Any, Any]], stage: str, data: st.DataObject
) -> None:
    """One flipped bit gives another valid answer, or ends the session by a name; never an exception."""
    bench = reach(identities, stage)
    response = exchanges[stage][1]
    octets = bytearray(exi.encode(response))
    bit = data.draw(st.integers(8, len(octets) * 8 - 1))
    octets[bit // 8] ^= 128 >> bit % 8
    name = type(response).__name__
    kind = PayloadType.SAP if name == "SupportedAppProtocolRes" else PayloadType.COMMON
    bench.receive(frame(PayloadType.DC if name.startswith("DC_") else kind, bytes(octets)))
    if bench.closed and bench.closed != "finished":
        assert bench.session.stage == Ended()
        assert not bench.contactor_closed


def test_bytes_may_come_one_at_a_time(identities: Identities) -> None:
    bench = Bench(identities, SHORT, scale=20)
    whole = bench.receive
    bench.receive = lambda data: [whole(data[n : n + 1]) for n in range(len(data)) if not bench.closed] and None  # type: ignore[method-assign, assignment, return-value]
    bench.run()
    assert bench.closed == "finished"


def test_a_makers_unknown_frame_is_passed_over(bench: Bench) -> None:
    bench.run_to("DC_ChargeLoopReq")
    bench.receive(frame(0xB123, b"who knows"))
    assert not bench.closed
    bench.run()
    assert bench.closed == "finished"


# -- timers that span several messages -------------------------------------------------------------------------------


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("request_name", "reason", "seconds"),
    [
        ("AuthorizationReq", "authorization_timeout", 60),
        ("ScheduleExchangeReq", "schedule_timeout", 60),
        ("DC_CableCheckReq", "cable_check_timeout", 40),
        ("DC_PreChargeReq", "pre_charge_timeout", 10),
    ],
)
def test_a_charger_that_never_finishes_is_left_after_the_standards_time(
    bench: Bench, request_name: str, reason: str, seconds: float
) -> None:
    bench.run_to(request_name)
    bench.charger.ongoing[request_name] = 1_000_000
    began = bench.now
    bench.run()
    bench.assert_safe(reason)
    assert bench.now - began == pytest.approx(seconds, abs=0.11)


def test_communication_setup_has_20_seconds_from_the_matched_link(identities: Identities) -> None:
    bench = Bench(identities, SHORT, connected_for=19.5)
    bench.start()
    bench.pass_time(0.49)
    assert not bench.closed
    bench.pass_time(0.02)
    bench.assert_safe("communication_setup_timeout")


def test_communication_setup_ends_with_the_session_id(identities: Identities) -> None:
    bench = Bench(identities, SHORT, connected_for=19.5)
    bench.charger.ongoing["AuthorizationReq"] = 100
    bench.run_to("ServiceDiscoveryReq")
    assert not bench.closed


def test_a_contactor_that_does_not_close_is_noticed(bench: Bench) -> None:
    bench.obey = False
    bench.run()
    bench.obey = True
    assert bench.closed == "contactor_timeout"
    assert "PowerDeliveryReq" not in bench.names()


def test_a_contactor_that_does_not_open_is_noticed(bench: Bench) -> None:
    bench.run_to("DC_ChargeLoopReq")
    bench.obey = False
    bench.charger.notify = [EvseNotification.Terminate]
    bench.run()
    assert bench.closed == "contactor_timeout"


def test_a_contactor_that_opens_by_itself_ends_the_session(bench: Bench) -> None:
    bench.run_to("DC_ChargeLoopReq")
    bench.contactor_closed = False
    bench.fact(ContactorState(closed=False))
    bench.assert_safe("contactor_dropped")


def test_a_contactor_that_is_closed_when_the_session_begins_ends_it(bench: Bench) -> None:
    bench.start()
    bench.fact(ContactorState(closed=True))
    bench.assert_safe("contactor_welded")


def test_a_contactor_that_closes_by_itself_ends_the_session(bench: Bench) -> None:
    bench.run_to("DC_CableCheckReq")
    bench.fact(ContactorState(closed=True))
    bench.assert_safe("contactor_welded")


# -- answers that are well-formed but wrong --------------------------------------------------------------------------


def altered(bench: Bench, **changes: Any) -> None:
    """Answer the request that waits with changed fields."""
    response = bench.charger.answer(bench.unanswered.pop())
    bench.reply(msgspec.structs.replace(response, **changes))


def test_a_schema_id_that_was_not_offered(bench: Bench) -> None:
    bench.run_to("SupportedAppProtocolReq")
    altered(bench, schema_id=9)
    bench.assert_safe("unknown_schema_id")


def test_a_session_without_an_id(bench: Bench) -> None:
    bench.charger.session_id = bytes(8)
    bench.run()
    bench.assert_safe("no_session_id")


def test_a_session_that_was_never_paused_cannot_be_joined(bench: Bench) -> None:
    bench.run_to("SessionSetupReq")
    altered(bench, response_code=ResponseCode.OK_OldSessionJoined)
    bench.assert_safe("joined_unknown_session")


def test_a_session_that_is_neither_new_nor_old(bench: Bench) -> None:
    bench.run_to("SessionSetupReq")
    altered(bench, response_code=ResponseCode.OK)
    bench.assert_safe("unexpected_response_code")


def test_details_of_another_service(bench: Bench) -> None:
    bench.run_to("ServiceDetailReq")
    altered(bench, service_id=2)
    bench.assert_safe("wrong_service")


def test_charge_parameters_for_one_direction_where_two_were_selected(
    bench: Bench, exchanges: dict[str, tuple[Any, Any]], identities: Identities
) -> None:
    bench.run_to("DC_ChargeParameterDiscoveryReq")
    mode = exchanges["DC_ChargeParameterDiscoveryReq"][1].dc_cpd_res_energy_transfer_mode
    fields = {f: getattr(mode, f) for f in type(mode).__struct_fields__ if "discharge" not in f}
    altered(bench, dc_cpd_res_energy_transfer_mode=type(mode).__mro__[1](**fields))
    bench.assert_safe("wrong_charge_parameters")


def test_a_schedule_in_the_other_control_mode(identities: Identities) -> None:
    bench = Bench(identities, SHORT)
    bench.run_to("ScheduleExchangeReq")
    request = bench.unanswered.pop()
    bench.reply(bench.charger.ScheduleExchangeReq(msgspec.structs.replace(request, dynamic_se_req_control_mode=None)))
    bench.assert_safe("wrong_control_mode")


def test_a_loop_answer_in_the_other_control_mode(bench: Bench) -> None:
    from v2g.iso15118.d20.messages.dc import Scheduled_DC_CLResControlMode

    bench.run_to("DC_ChargeLoopReq")
    altered(bench, cl_res_control_mode=Scheduled_DC_CLResControlMode())
    bench.assert_safe("wrong_control_mode")


def test_power_that_the_charger_does_not_start_is_given_up(bench: Bench) -> None:
    bench.run_to("PowerDeliveryReq")
    altered(bench, response_code=ResponseCode.WARNING_StandbyNotAllowed)
    bench.run()
    assert bench.closed == "WARNING_StandbyNotAllowed"
    assert not bench.contactor_closed


def test_a_battery_that_reports_a_fault_ends_the_session_in_order(bench: Bench) -> None:
    bench.run_to("DC_ChargeLoopReq")
    bench.run(lambda: bench.now > 1000.5)
    state: BatteryState = msgspec.structs.replace(bench.model.state, fault="cell_overvoltage")
    bench.battery = lambda: bench.fact(state)  # type: ignore[method-assign]
    bench.run()
    assert bench.closed == "cell_overvoltage"
    assert bench.names()[-3:] == ["PowerDeliveryReq", "DC_WeldingDetectionReq", "SessionStopReq"]
    assert bench.requests[-1].charging_session is ChargingSession.Terminate


@pytest.mark.parametrize("request_", ["PowerDeliveryReq", "DC_WeldingDetectionReq", "SessionStopReq"])
def test_a_charger_that_refuses_the_stop_does_not_hide_why_the_vehicle_stops(bench: Bench, request_: str) -> None:
    bench.run_to("DC_ChargeLoopReq")
    state: BatteryState = msgspec.structs.replace(bench.model.state, fault="cell_overvoltage")
    bench.battery = lambda: bench.fact(state)  # type: ignore[method-assign]
    bench.run_to(request_)
    altered(bench, response_code=ResponseCode.FAILED)
    bench.assert_safe("cell_overvoltage")


def test_nothing_has_an_effect_after_the_end(bench: Bench) -> None:
    bench.run()
    sent = len(bench.requests)
    bench.receive(b"\x01\xfe")
    bench.fact(PlugState(connected=False))
    bench.session.tick(bench.now + 100, bench.utc_ms)
    assert bench.session.actions() == []
    assert len(bench.requests) == sent
