"""The engine that both roles share: framing, timers, order of actions, and silence after the end."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.iso15118.engine.open_session import OpenSession
from v2g import exi
from v2g.errors import CodecError
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import SessionStopRes
from v2g.iso15118.d20.messages.common_types import ResponseCode
from v2g.iso15118.d20.messages.dc import DC_CableCheckReq
from v2g.iso15118.d20.schemas import DC
from v2g.iso15118.d20.session import decode_payload
from v2g.iso15118.engine.session import Close, Command, Fact, Send
from v2g.iso15118.engine.v2gtp import Frame, PayloadType, frame, parse
from v2g.observe import Observe


class Noted(Fact, frozen=True):
    word: str


class Wish(Command, frozen=True):
    word: str


class Role(OpenSession):
    """Writes down what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[Any] = []

    def _on_start(self) -> None:
        self.received.append("start")

    def _on_message(self, message: Any, payload_type: int) -> None:
        self.received.append((type(message).__name__, payload_type))

    def _on_discharge(self, payload: bytes) -> None:
        self.received.append(payload)

    def _on_broken(self, error: CodecError) -> None:
        self.received.append("broken")
        self._close("broken")

    def _on_eof(self) -> None:
        self.received.append("eof")

    def _on_fact(self, fact: Fact) -> None:
        self.received.append(fact)

    def _on_timer(self, name: str) -> None:
        self.received.append(name)
        if name == "moves_others":
            self._arm("moved", 10)
            self._disarm("dropped")
        if name == "closes":
            self._close("timer")

    def _on_abort(self, reason: str) -> None:
        self._close(reason)


def stop_response() -> Any:
    return SessionStopRes(header=Role().header(), response_code=ResponseCode.OK)


FIRST = frame(PayloadType.COMMON, exi.encode(stop_response()))
STREAM = (
    FIRST
    + frame(PayloadType.SIGNED_DISCHARGE, b"der")
    + frame(0xA001, b"of another maker")
    + frame(PayloadType.METERING_CONFIRMATION, exi.encode(stop_response()))
)
RECEIVED = [("SessionStopRes", 0x8002), b"der", ("SessionStopRes", 0x8102)]


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=8))
def test_however_the_stream_is_split_the_same_messages_come_out(cuts: list[int]) -> None:
    role = Role()
    borders = [0, *sorted(cuts), len(STREAM)]
    for begin, end in itertools.pairwise(borders):
        role.receive(STREAM[begin:end], 0.0, 0)
    assert role.received == RECEIVED
    assert next(each for each in role.actions() if isinstance(each, Observe)).name == "frame_ignored"


def test_zero_octets_after_a_stream_are_overlooked_and_reported_once() -> None:
    """A Tesla Model Y sends one after ContractAuthenticationReq."""
    role = Role()
    for padding in range(1, 5):
        role.receive(frame(PayloadType.COMMON, exi.encode(stop_response()) + bytes(padding)), 0.0, 0)
        assert role.newest.exi == exi.encode(stop_response())
    assert role.received == [("SessionStopRes", 0x8002)] * 4
    reported = [each for each in role.actions() if isinstance(each, Observe)]
    assert [(each.name, each.data) for each in reported] == [
        ("padding_ignored", {"message": "SessionStopRes", "octets": 1})
    ]


@pytest.mark.parametrize("rest", [bytes(5), b"\x00\x01", b"\x01", b"\x01\x00"])
def test_anything_else_after_a_stream_breaks_the_session(rest: bytes) -> None:
    role = Role()
    role.receive(frame(PayloadType.COMMON, exi.encode(stop_response()) + rest), 0.0, 0)
    assert role.received == ["broken"]


def test_zero_octets_after_a_stream_beside_are_overlooked() -> None:
    """The side stream of renegotiation says not by which schema it is coded."""
    request = exi.encode(DC_CableCheckReq(header=Role().header()))
    decoded = decode_payload(PayloadType.SCHEDULE_RENEGOTIATION, request + bytes(2), Family.DC)
    assert decoded == (exi.decode(request, DC), 2)


@given(st.binary(max_size=200))
def test_garbage_is_either_received_or_broken(data: bytes) -> None:
    role = Role()
    role.receive(data, 0.0, 0)
    assert not role.closed or role.received[-1] == "broken"


@pytest.mark.parametrize(
    "data",
    [b"\x02\xfd\x90\x00\x00\x00\x00\x00", frame(PayloadType.COMMON, b"\x80"), frame(PayloadType.AC, b"\x80\x00"),
     frame(0x8101, b"\x80\x00")],
)  # fmt: skip
def test_what_cannot_be_read_breaks_the_session_once(data: bytes) -> None:
    role = Role()
    role.receive(data + STREAM, 0.0, 0)
    assert role.received == ["broken"]
    assert role.actions() == [Close("broken")]


@pytest.mark.parametrize(
    "bad",
    [b"\xff\xfe" + FIRST[2:], b"\x01\xff" + FIRST[2:], frame(PayloadType.COMMON, b""), frame(0x7001, FIRST[8:]),
     frame(PayloadType.SDP_REQ, b"\x00\x00")],
    ids=["version", "inverse", "empty", "unknown", "SDP"],
)  # fmt: skip
def test_two_frames_without_a_message_are_ignored_and_the_third_breaks_the_session(bad: bytes) -> None:
    """V2G20-445: no answer, and the charger stays usable."""
    role = Role()
    role.receive(bad * 2 + STREAM, 0.0, 0)
    assert role.received == RECEIVED
    assert [each.name for each in role.actions() if isinstance(each, Observe)][:2] == ["frame_ignored"] * 2
    role.receive(bad + STREAM, 0.0, 0)
    assert role.received == [*RECEIVED, "broken"]


def test_a_message_goes_out_on_the_stream_of_its_schema_or_a_given_one() -> None:
    role = Role()
    role.send(stop_response())
    role.send(stop_response(), PayloadType.METERING_CONFIRMATION)
    role.send_discharge(b"der")
    frames = [parse(each.data) for each in role.actions() if isinstance(each, Send)]
    assert [each.payload_type for each in frames] == [0x8002, 0x8102, 0xA000]
    assert frames[2] == Frame(0xA000, b"der")


def test_actions_come_out_once_and_in_order() -> None:
    role = Role()
    role.command(Wish("a"))
    role.note("session", "b", n=1)
    role.send_discharge(b"c")
    assert [type(each) for each in role.actions()] == [Wish, Observe, Send]
    assert role.actions() == []


def test_timers_fire_in_turn_and_may_move_each_other() -> None:
    role = Role()
    role.start(0.0, 0)
    for name, seconds in (("moves_others", 1.0), ("moved", 1.0), ("dropped", 1.0), ("later", 2.0)):
        role.arm(name, seconds)
    assert role.deadline() == 1.0
    role.tick(0.9, 0)
    assert role.received == ["start"]
    role.tick(1.0, 0)
    assert role.received == ["start", "moves_others"]
    assert role.deadline() == 2.0
    role.tick(11.0, 0)
    assert role.received[2:] == ["later", "moved"] or role.received[2:] == ["moved", "later"]
    assert role.deadline() is None


def test_after_the_end_nothing_has_an_effect() -> None:
    role = Role()
    role.arm("closes", 1.0)
    role.arm("other", 1.0)
    role.tick(1.0, 0)
    assert (role.closed, role.reason, role.deadline()) == (True, "timer", None)
    assert role.actions() == [Close("timer")]
    role.receive(STREAM, 2.0, 0)
    role.fact(Noted("late"), 2.0, 0)
    role.receive_eof(2.0, 0)
    role.start(2.0, 0)
    role.tick(99.0, 0)
    role.abort("again", 2.0, 0)
    assert role.received == ["closes"]
    assert role.actions() == []


def test_facts_the_end_of_the_stream_and_an_abort_reach_the_role() -> None:
    role = Role()
    role.fact(Noted("x"), 0.0, 0)
    role.receive_eof(0.0, 0)
    role.abort("pulled", 0.0, 0)
    assert role.received == [Noted("x"), "eof"]
    assert role.reason == "pulled"


def test_headers_carry_whole_seconds() -> None:
    role = Role()
    role.fact(Noted("x"), 0.0, 1_999)
    assert role.header().time_stamp == 1
