"""Whatever comes instead of the right answer, the vehicle stops safely and says why: ISO 15118-2 and DIN 70121.

Every stage is tried against every message, every failure code, silence, and bytes that are no message. Safe means: no
current requested, pilot in B, contactor open, connection closed, nothing sent any more.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from evcc.session.ports import BatteryState, ContactorState, HardwareFault, PlugState
from evcc.session.settings import SessionConfig
from evcc.session.steps import Ended
from tests.evcc.session.d2.charger import AC, DC, Bench2
from tests.evcc.session.d2.contract import CONTRACT, OWN
from tests.evcc.session.din.charger import DinBench
from tests.evcc.session.message_bench import SHORT, MessageBench
from tests.together import together
from v2g import exi
from v2g.iso15118.d2 import timing as d2_timing
from v2g.iso15118.din import timing as din_timing
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.message_timing import SLOW_IN_THE_FIELD, MessageTiming
from v2g.iso15118.engine.v2gtp import PayloadType, frame

pytestmark = pytest.mark.requirement("R15")


def _bench2(own: SessionConfig, config: SessionConfig, **options: Any) -> MessageBench:
    return Bench2(replace(config, authorization=own.authorization, services=own.services), **options)


def _by_contract(config: SessionConfig, **options: Any) -> MessageBench:
    """Return a bench that pays by contract, and sends a receipt."""
    bench = Bench2(config, **{"contracts": (OWN,), **options})
    bench.charger.payment, bench.charger.receipts = (CONTRACT,), 1
    return bench


BENCHES: Final[Mapping[str, tuple[Callable[..., MessageBench], Mapping[str, MessageTiming]]]] = {
    "din": (DinBench, din_timing.MESSAGES),
    "d2-dc": (partial(_bench2, DC), d2_timing.MESSAGES),
    "d2-ac": (partial(_bench2, AC), d2_timing.MESSAGES),
    "d2-contract": (_by_contract, d2_timing.MESSAGES),
}
DIRECT: Final = ("din", "d2-dc", "d2-contract")
STRICT: Final = replace(
    SHORT,
    timers_2=d2_timing.Timing(tolerate_slow_chargers=False),
    timers_din=din_timing.Timing(tolerate_slow_chargers=False),
)
OVER = ("WeldingDetectionReq", "SessionStopReq")
"""Requests after which a failure changes nothing."""


def edition_of(case: tuple[str, ...]) -> str:
    return case[0]


def stages(edition: str) -> list[str]:
    """Return the request that each stage has sent."""
    bench = made(edition)
    bench.run()
    return list(dict.fromkeys(type(request).__name__ for request in bench.requests))


def made(edition: str, config: SessionConfig = SHORT) -> MessageBench:
    return BENCHES[edition][0](config, scale=20)


def reach(edition: str, name: str, config: SessionConfig = SHORT) -> MessageBench:
    """Return a bench whose session has sent that request and awaits the answer."""
    bench = made(edition, config)
    bench.run_to(name)
    return bench


EVERY = [(edition, name) for edition in BENCHES for name in stages(edition)]
ESTABLISHED = [each for each in EVERY if each[1] not in ("SupportedAppProtocolReq", "SessionSetupReq")]


@pytest.fixture(scope="module")
def exchanges() -> dict[str, dict[str, tuple[Any, Any]]]:
    """One request and response of each kind, by edition."""
    found: dict[str, dict[str, tuple[Any, Any]]] = {}
    for edition, name in EVERY:
        bench = reach(edition, name)
        request = bench.unanswered[0]
        found.setdefault(edition, {})[name] = (request, bench.answered())
    return found


Exchanges = dict[str, dict[str, tuple[Any, Any]]]


def assert_over(bench: MessageBench, stage: str, reason: str) -> None:
    bench.assert_safe("finished" if stage in OVER else reason)


@pytest.mark.some(12)
@pytest.mark.parametrize(("edition", "stage"), EVERY)
def test_every_response_but_the_awaited_one_ends_the_session(exchanges: Exchanges, edition: str, stage: str) -> None:
    for name, (_, response) in exchanges[edition].items():
        bench = reach(edition, stage)
        before = len(bench.requests)
        bench.reply(response)
        if name == stage:
            assert not bench.closed or stage == "SessionStopReq"
        elif stage == "SupportedAppProtocolReq":  # only the handshake is decoded there
            bench.assert_safe("undecodable_message")
        else:
            bench.assert_safe("unexpected_message")
            assert len(bench.requests) == before


@pytest.mark.some(10)
@pytest.mark.parametrize(("edition", "stage"), ESTABLISHED)
def test_a_request_from_the_charger_ends_the_session(exchanges: Exchanges, edition: str, stage: str) -> None:
    for request, _ in exchanges[edition].values():
        bench = reach(edition, stage)
        bench.reply(request)
        bench.assert_safe("unexpected_message")


@together(("edition", "stage"), EVERY, by=edition_of)
def test_a_response_without_a_request_ends_the_session(exchanges: Exchanges, edition: str, stage: str) -> None:
    bench = reach(edition, stage)
    response = exchanges[edition][stage][1]
    for _ in range(3):
        bench.reply(response)
    assert bench.closed in ("unexpected_message", "finished", "undecodable_message")


@pytest.mark.some(12)
@pytest.mark.parametrize(("edition", "stage"), EVERY)
def test_every_failure_code_ends_the_session_without_a_further_request(
    exchanges: Exchanges, edition: str, stage: str
) -> None:
    response = exchanges[edition][stage][1]
    codes: list[Any] = [code for code in type(response.response_code) if code.name.startswith("FAILED")]
    if stage == "SupportedAppProtocolReq":
        codes = [app.ResponseCode.Failed_NoNegotiation]
    for code in codes:
        bench = reach(edition, stage)
        before = len(bench.requests)
        bench.reply(replace(response, response_code=code))
        assert_over(bench, stage, code.name)
        assert len(bench.requests) == before


@together(
    ("edition", "stage", "strict"), [(*each, strict) for each in EVERY for strict in (True, False)], by=edition_of
)
def test_a_silent_charger_is_left_when_the_messages_time_is_up(edition: str, stage: str, strict: bool) -> None:
    bench = reach(edition, stage, STRICT if strict else SHORT)
    timeout = BENCHES[edition][1][stage].timeout
    if not strict:
        timeout = max(timeout, SLOW_IN_THE_FIELD.get(stage, 0.0))
    bench.pass_time(timeout - 0.001)
    assert not bench.closed
    bench.pass_time(0.002)
    assert_over(bench, stage, "message_timeout")


@together(("edition", "stage"), EVERY, by=edition_of)
def test_a_charger_that_vanishes_leaves_the_vehicle_safe(edition: str, stage: str) -> None:
    bench = reach(edition, stage)
    bench.session.receive_eof(bench.now, bench.utc_ms)
    bench.pump()
    assert_over(bench, stage, "secc_vanished")


@pytest.mark.parametrize(
    ("fact", "reason"),
    [(PlugState(connected=False), "unplugged"), (HardwareFault("isolation_lost"), "isolation_lost")],
)
@together(("edition", "stage"), EVERY, by=edition_of)
def test_an_unplugged_or_faulty_vehicle_stops_at_once(edition: str, stage: str, fact: Any, reason: str) -> None:
    bench = reach(edition, stage)
    bench.fact(fact)
    bench.assert_safe(reason)


@together(("edition", "stage"), EVERY, by=edition_of)
def test_a_shell_that_breaks_down_leaves_the_vehicle_safe(edition: str, stage: str) -> None:
    bench = reach(edition, stage)
    bench.session.abort("internal_error", bench.now, bench.utc_ms)
    bench.pump()
    bench.assert_safe("internal_error")


@together(
    ("edition", "stage", "session_id"),
    [(*each, session_id) for each in ESTABLISHED for session_id in (b"12345678", bytes(8), b"", b"\0\x11")],
    by=edition_of,
)
def test_an_answer_of_another_session_ends_this_one(edition: str, stage: str, session_id: bytes) -> None:
    bench = reach(edition, stage)
    bench.charger.session_id = session_id
    bench.reply(bench.answered())
    bench.assert_safe("wrong_session_id")


@pytest.mark.some(10)
@pytest.mark.parametrize(("edition", "stage"), EVERY)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=64), kind=st.sampled_from([0x8001, 0x8002, 0x9000, 0x0001, 0xA001]))
def test_frames_of_garbage_end_the_session_by_name(edition: str, stage: str, data: bytes, kind: int) -> None:
    bench = reach(edition, stage)
    for _ in range(3):
        if not bench.closed:
            bench.receive(frame(kind, data))
    if kind >= 0xA000:
        assert not bench.closed
    else:
        known = ("undecodable_message", "unexpected_message", "finished", "wrong_session_id", "unknown_schema_id")
        assert bench.closed in known or bench.closed.upper().startswith("FAILED")


@pytest.mark.some(2)
@pytest.mark.parametrize(("edition", "stage"), EVERY)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_tampered_answer_never_breaks_the_vehicle(
    exchanges: Exchanges, edition: str, stage: str, data: st.DataObject
) -> None:
    """One flipped bit gives another valid answer, or ends the session by a name; never an exception."""
    bench = reach(edition, stage)
    response = exchanges[edition][stage][1]
    octets = bytearray(exi.encode(response if stage == "SupportedAppProtocolReq" else bench.charger.message(response)))
    bit = data.draw(st.integers(8, len(octets) * 8 - 1))
    octets[bit // 8] ^= 128 >> bit % 8
    bench.receive(frame(PayloadType.SAP, bytes(octets)))
    if bench.closed and bench.closed != "finished":
        assert bench.session.stage == Ended()
        assert not bench.contactor_closed


@pytest.mark.parametrize("edition", BENCHES)
def test_bytes_may_come_one_at_a_time(edition: str) -> None:
    bench = made(edition)
    whole = bench.receive
    bench.receive = lambda data: [whole(data[n : n + 1]) for n in range(len(data)) if not bench.closed] and None  # type: ignore[method-assign, assignment, return-value]
    bench.run()
    assert bench.closed == "finished"


@pytest.mark.parametrize("edition", BENCHES)
def test_two_frames_without_a_message_are_ignored(edition: str) -> None:
    bench = reach(edition, stages(edition)[5])
    bench.receive(frame(0x8001, b"") + frame(0x9000, b"x"))
    bench.run()
    assert bench.closed == "finished"


# -- timers that span several messages -------------------------------------------------------------------------------


PHASES = [
    (edition, name, reason, seconds)
    for edition, name in EVERY
    for part, reason, seconds in (
        ("Authentication", "authorization_timeout", 60),
        ("AuthorizationReq", "authorization_timeout", 60),
        ("ParameterDiscovery", "parameters_timeout", 60),
        ("CableCheck", "cable_check_timeout", 40),
        ("PreCharge", "pre_charge_timeout", 7),
    )
    if part in name
]


@pytest.mark.some(2)
@pytest.mark.parametrize(("edition", "name", "reason", "seconds"), PHASES)
def test_a_charger_that_never_finishes_is_left_after_the_editions_time(
    edition: str, name: str, reason: str, seconds: float
) -> None:
    bench = reach(edition, name)
    bench.charger.ongoing[name] = 1_000_000
    began = bench.now
    bench.run()
    bench.assert_safe(reason)
    assert bench.now - began == pytest.approx(seconds, abs=0.11)


@pytest.mark.parametrize("edition", BENCHES)
def test_communication_setup_has_20_seconds_from_the_matched_link(edition: str) -> None:
    bench = BENCHES[edition][0](SHORT, connected_for=19.5)
    bench.start()
    bench.pass_time(0.49)
    assert not bench.closed
    bench.pass_time(0.02)
    bench.assert_safe("communication_setup_timeout")


@pytest.mark.parametrize("edition", BENCHES)
def test_communication_setup_ends_with_the_session_id(edition: str) -> None:
    bench = BENCHES[edition][0](SHORT, connected_for=19.5)
    bench.run_to("ServiceDiscoveryReq")
    bench.pass_time(1.0)
    assert not bench.closed


# -- hardware --------------------------------------------------------------------------------------------------------


def test_a_contactor_that_does_not_close_is_noticed(dc: MessageBench) -> None:
    dc.run_to("PreChargeReq")
    dc.obey = False
    dc.run()
    dc.obey = True
    assert dc.closed == "contactor_timeout"
    assert "PowerDeliveryReq" not in dc.names()


def test_a_contactor_that_does_not_open_is_noticed(dc: MessageBench) -> None:
    dc.run_to("CurrentDemandReq")
    dc.obey = False
    dc.run()
    assert dc.closed == "contactor_timeout"


def test_a_contactor_that_opens_by_itself_ends_the_session(dc: MessageBench) -> None:
    dc.run_to("CurrentDemandReq")
    dc.contactor_closed = False
    dc.fact(ContactorState(closed=False))
    dc.assert_safe("contactor_dropped")


def test_a_contactor_that_closes_by_itself_ends_the_session(dc: MessageBench) -> None:
    dc.run_to("CableCheckReq")
    dc.fact(ContactorState(closed=True))
    dc.assert_safe("contactor_welded")


def test_a_battery_with_a_fault_ends_the_session_normally(dc: MessageBench) -> None:
    dc.run_to("CurrentDemandReq")
    state: BatteryState = replace(dc.model.state, fault="cell_overvoltage")
    dc.battery = lambda: dc.fact(state)  # type: ignore[method-assign]
    dc.run()
    assert dc.closed == "cell_overvoltage"
    assert dc.names()[-3:] == ["PowerDeliveryReq", "WeldingDetectionReq", "SessionStopReq"]


@pytest.mark.parametrize("answer", ["refuses", "leaves", "is silent"])
def test_a_charger_that_fails_the_stop_does_not_hide_why_the_vehicle_stops(dc: MessageBench, answer: str) -> None:
    dc.run_to("CurrentDemandReq")
    sound = dc.battery
    fault = "cell_overvoltage"
    dc.battery = lambda: (sound(), dc.fact(replace(dc.model.state, fault=fault)))  # type: ignore[method-assign]
    dc.run_to("PowerDeliveryReq")
    if answer == "refuses":
        dc.altered(response_code=dc.charger.types.ResponseCode.FAILED)
    elif answer == "leaves":
        dc.session.receive_eof(dc.now, dc.utc_ms)
        dc.pump()
    else:
        dc.charger.current = 0.0
        dc.pass_time(10)
    dc.assert_safe("cell_overvoltage")


def test_a_battery_with_a_fault_is_not_connected(dc: MessageBench) -> None:
    dc.run_to("PreChargeReq")
    dc.fact(replace(dc.model.state, fault="cell_overvoltage"))
    dc.assert_safe("cell_overvoltage")


@pytest.fixture(params=DIRECT)
def dc(request: pytest.FixtureRequest) -> MessageBench:
    return made(request.param)


def test_values_of_another_unit_end_the_session(dc: MessageBench) -> None:
    dc.run_to("CurrentDemandReq")
    response = dc.answered()
    dc.reply(replace(response, evse_present_voltage=response.evse_present_current))
    dc.run()
    assert dc.closed == "invalid_value"
    assert dc.names()[-4:] == ["CurrentDemandReq", "PowerDeliveryReq", "WeldingDetectionReq", "SessionStopReq"]


@together(("edition", "stage"), EVERY, by=edition_of)
def test_nothing_has_an_effect_after_the_end(edition: str, stage: str) -> None:
    bench = reach(edition, stage)
    bench.session.abort("internal_error", bench.now, bench.utc_ms)
    bench.pump()
    sent = len(bench.requests)
    bench.receive(b"\x01\xfe")
    bench.fact(PlugState(connected=False))
    bench.session.tick(bench.now + 100, bench.utc_ms)
    assert bench.session.actions() == []
    assert len(bench.requests) == sent
