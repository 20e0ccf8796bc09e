"""The control board: lines that survive anything, and a host that knows within 100 ms when its board is dead."""

import binascii
import random
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.memory import held
from tests.together import together
from v2g.errors import FrameError
from v2g.hardware.board.firmware import BoardFirmware, BoardInputs
from v2g.hardware.board.host import BoardDown, BoardHost, BoardUp, Event
from v2g.hardware.board.protocol import (
    LOST_S,
    MAX_LINE,
    OFF,
    BoardLine,
    BoardStatus,
    Hello,
    LineReader,
    Message,
    Set,
    Temperatures,
    checksum,
    decode,
    encode,
)
from v2g.iec61851.pilot import VEHICLE_OHM, PilotState

B, C = VEHICLE_OHM[PilotState.B], VEHICLE_OHM[PilotState.C]

words = st.text("ABCabc019_.:+-", max_size=32)
levels = st.integers(-20_000, 20_000)
messages = st.one_of(
    st.builds(Hello, version=st.integers(0, 999), board=words, boot=st.integers(0, 2**32), latch=st.booleans()),
    st.builds(
        Set,
        duty=st.integers(0, OFF),
        pilot=st.sampled_from(("run", "E", "F")),
        contactor=st.booleans(),
        fan=st.integers(0, 100),
        light=st.sampled_from(("available", "red_flash")),
    ),
    st.builds(
        BoardStatus,
        set=st.integers(0, 65_535),
        cp=st.sampled_from("ABCDEF"),
        high=levels,
        low=st.none() | levels,
        pp=st.none() | st.integers(0, 10_000_000),
        estop=st.booleans(),
    ),
    st.builds(
        Temperatures,
        st.dictionaries(
            st.from_regex("[a-z_]{1,16}", fullmatch=True), st.none() | st.integers(-2_731, 20_000), max_size=16
        ),
    ),
)


def test_the_checksum_is_the_published_one() -> None:
    """CRC-16/CCITT-FALSE of "123456789" is 29B1 in every catalogue of checksums."""
    assert checksum(b"123456789") == 0x29B1


@given(st.integers(0, 65_535), messages)
def test_what_is_written_is_read(seq: int, message: Message) -> None:
    line = encode(BoardLine(seq, message))
    assert len(line) <= MAX_LINE or isinstance(message, Temperatures)
    assert line.isascii()
    assert decode(line[:-1]) == BoardLine(seq, message)


@given(messages, st.data())
def test_a_line_with_a_flipped_bit_is_none(message: Message, data: st.DataObject) -> None:
    line = bytearray(encode(BoardLine(7, message))[:-1])
    bit = data.draw(st.integers(0, 8 * len(line) - 1))
    line[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FrameError):
        decode(bytes(line))


def test_the_lines_of_the_documentation_are_lines() -> None:
    page = Path("docs/reference/board-protocol.md").read_text()
    lines = [line for line in page.splitlines() if re.match(r"[A-Z]+ \d+ .*\*", line)]
    assert len(lines) == 4
    assert all(decode(line.encode()) is not None for line in lines)


def sealed(body: bytes) -> bytes:
    return body + b"*%04X" % binascii.crc_hqx(body, 0xFFFF)


@together(
    "body",
    [
        b"SET 1 duty=10001",
        b"SET 1 duty=-1",
        b"SET 1 contactor=2",
        b"SET 1 pilot=G",
        b"SET 65536 duty=1",
        b"STATUS 1 set=0 cp=X high=0",
        b"STATUS 1 cp=A high=0",
        b"TEMP 1 plug=hot",
        b"HELLO 1 version=",
    ],
)
def test_a_field_outside_its_range_is_refused(body: bytes) -> None:
    with pytest.raises(FrameError):
        decode(sealed(body))


def test_fields_and_kinds_of_a_later_version_are_passed_over() -> None:
    assert decode(sealed(b"SET 1 duty=500 sparkle=7")) == BoardLine(1, Set(duty=500))
    assert decode(sealed(b"DANCE 1 tempo=120")) is None


MOST = held(LineReader()) + MAX_LINE * 9 // 8 + 16
"""Octets of a reader with a line: a bytearray keeps an eighth in reserve."""


@pytest.mark.long
@given(
    st.lists(st.one_of(st.binary(max_size=400), messages.map(lambda m: encode(BoardLine(1, m)))), max_size=12),
    st.data(),
)
def test_whatever_a_reader_is_fed_whole_lines_come_out_and_nothing_grows(
    parts: list[bytes], data: st.DataObject
) -> None:
    stream = b"\n".join(parts)
    whole, bytewise = LineReader(), LineReader()
    expected = list(whole.feed(stream))
    cut = data.draw(st.integers(1, 7))
    assert [line for at in range(0, len(stream), cut) for line in bytewise.feed(stream[at : at + cut])] == expected
    assert held(bytewise) < MOST


def test_a_flood_without_a_newline_is_held_in_bounds_and_the_next_line_is_read() -> None:
    reader, good = LineReader(), encode(BoardLine(3, Set(duty=500)))
    for _ in range(5_000):
        assert list(reader.feed(b"\xff" * 997)) == []
        assert held(reader) < MOST
    assert list(reader.feed(b"\n" + good)) == [BoardLine(3, Set(duty=500))]
    assert reader.broken == 1


class Desk:
    """A host and a board, joined by two wires that may lose, break and delay what they carry."""

    def __init__(self, harm: Callable[[bytes], bytes] = lambda data: data, board: BoardFirmware | None = None) -> None:
        self.host, self.board, self.now, self.harm = BoardHost(), board or BoardFirmware(), 0.0, harm
        self.events: list[tuple[float, Event]] = []
        self.dead = False
        self.contactor_seen: list[tuple[float, bool]] = []

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, max(self.now + 0.0005, min(self.host.deadline(), self.board.deadline())))
            self.host.tick(self.now)
            if not self.dead:
                self.board.tick(self.now)
            self.exchange()

    def exchange(self) -> None:
        for _ in range(3):
            down, up = self.host.output(), self.board.output()
            if down and not self.dead:
                self.board.receive(self.harm(down), self.now)
            if up and not self.dead:
                self.host.receive(self.harm(up), self.now)
        self.events += [(self.now, event) for event in self.host.events()]
        self.contactor_seen.append((self.now, self.board.contactor_closed))

    def want(self, **changes: object) -> None:
        self.host.want(msgspec.structs.replace(self.host.wanted, **changes), self.now)
        self.exchange()

    def wire(self, **changes: object) -> None:
        self.board.wire(msgspec.structs.replace(self.board.inputs, **changes), self.now)
        self.exchange()

    @property
    def status(self) -> BoardStatus:
        return next(event for _, event in reversed(self.events) if isinstance(event, BoardStatus))

    def of(self, kind: type) -> list[tuple[float, Event]]:
        return [(at, event) for at, event in self.events if isinstance(event, kind)]


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.run(0.2)
    assert desk.host.up
    return desk


def test_a_board_is_greeted_and_begins_in_the_safe_state(desk: Desk) -> None:
    ((_, up),) = desk.of(BoardUp)
    assert isinstance(up, BoardUp)
    assert up.hello.board == "reference"
    assert (desk.status.cp, desk.status.high, desk.status.contactor, desk.status.duty) == ("A", 12_000, False, OFF)
    (_, temperatures), *_ = desk.of(Temperatures)
    assert temperatures == Temperatures({"board": 350, "plug": 300})


def test_plug_in_five_percent_and_contactor(desk: Desk) -> None:
    desk.wire(resistance_ohm=B, proximity_ohm=220)
    desk.run(0.05)
    assert (desk.status.cp, desk.status.pp) == ("B", 220)
    desk.want(duty=500)
    desk.want(contactor=True)
    desk.run(0.1)
    assert not desk.status.contactor  # the board does not close it in B
    desk.wire(resistance_ohm=C)
    desk.run(0.05)
    assert (desk.status.cp, desk.status.contactor) == ("C", True)
    assert desk.status.low is not None
    assert desk.status.low < -11_000
    began = desk.now
    desk.wire(resistance_ohm=B)
    desk.run(0.2)
    opened = next(at for at, closed in desk.contactor_seen if at > began and not closed)
    assert opened - began <= 0.1


@together("phase_ms", range(0, 40, 3))
def test_a_dead_board_is_known_within_100_ms(phase_ms: int) -> None:
    desk = Desk()
    desk.run(0.3 + phase_ms / 1000)
    desk.dead, died = True, desk.now
    desk.run(0.3)
    ((at, down),) = desk.of(BoardDown)
    assert isinstance(down, BoardDown)
    assert down.fault == "board_lost"
    assert at - died <= LOST_S + 1e-6
    assert not desk.host.up


def test_a_board_that_goes_on_talking_and_does_not_obey_is_as_good_as_dead() -> None:
    desk = Desk(board=BoardFirmware(lost_s=60.0))  # its watchdog is broken, too
    desk.run(0.2)
    assert desk.host.up
    desk.harm = lambda data: b"" if data.startswith(b"SET") else data
    began = desk.now
    desk.run(0.35)
    at, down = desk.of(BoardDown)[0]
    assert isinstance(down, BoardDown)
    assert "does not execute" in down.why
    assert at - began <= 2 * LOST_S


def test_without_its_controller_a_board_makes_itself_safe_within_100_ms(desk: Desk) -> None:
    desk.wire(resistance_ohm=C)
    desk.want(duty=500, contactor=True)
    desk.run(0.1)
    assert desk.board.contactor_closed
    began = desk.now
    while desk.board.contactor_closed:
        desk.now += 0.001
        desk.board.tick(desk.now)
        assert desk.now - began <= LOST_S + 0.03
    assert desk.board.signal == (None, "F")


def test_a_board_that_was_restarted_is_lost_and_found_again(desk: Desk) -> None:
    desk.want(duty=500)
    desk.board = BoardFirmware(msgspec.structs.replace(desk.board.hello, boot=9))
    desk.run(0.5)
    assert [type(event) for _, event in desk.events if isinstance(event, BoardUp | BoardDown)] == [
        BoardUp,
        BoardDown,
        BoardUp,
    ]
    assert desk.status.duty == OFF  # what was wanted of the old one is forgotten


def test_a_board_of_another_version_is_named(desk: Desk) -> None:
    other = Desk()
    other.board.hello = Hello(version=2)
    other.run(1.0)
    ((_, down),) = other.of(BoardDown)
    assert isinstance(down, BoardDown)
    assert down.fault == "board_incompatible"
    assert not other.host.up


def test_the_emergency_stop_opens_the_contactor_by_itself(desk: Desk) -> None:
    desk.wire(resistance_ohm=C)
    desk.want(duty=500, contactor=True)
    desk.run(0.1)
    desk.wire(estop=True)
    desk.run(0.02)
    assert not desk.board.contactor_closed
    assert desk.status.estop


@pytest.mark.parametrize("loss", [0.05, 0.2])
def test_lost_and_broken_lines_are_made_good_by_the_next(loss: float) -> None:
    """One in twenty is nothing; of one in five a board may be taken for dead, and comes back."""
    chance = random.Random(7)

    def harm(data: bytes) -> bytes:
        if chance.random() >= loss:
            return data
        at = chance.randrange(len(data))
        return data[:at] + bytes((data[at] ^ 0x10,)) + data[at + 1 :]

    desk = Desk(harm)
    desk.run(0.5)
    desk.wire(resistance_ohm=C)
    desk.run(0.1)
    for duty in (500, 2_000, 9_000):
        desk.want(duty=duty, contactor=True)
        desk.run(0.3)
        if desk.host.up:
            assert desk.status.duty == desk.host.wanted.duty
    assert loss > 0.1 or desk.of(BoardDown) == []
    desk.harm = lambda data: data
    desk.run(0.5)
    assert desk.host.up
    desk.want(duty=1_000)
    desk.run(0.1)
    assert desk.status.duty == 1_000
    assert desk.host.broken > 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=30), st.randoms(use_true_random=False))
def test_garbage_between_lines_never_kills_a_board_that_lives(garbage: list[bytes], chance: random.Random) -> None:
    desk = Desk(lambda data: data)
    desk.run(0.2)
    for noise in garbage:
        desk.host.receive(noise + b"\n", desk.now)
        desk.board.receive(noise + b"\n", desk.now)
        desk.run(chance.choice((0.001, 0.03)))
    assert desk.host.up
    assert desk.of(BoardDown) == []


def test_a_flood_of_old_status_lines_moves_nothing(desk: Desk) -> None:
    old = encode(BoardLine(1, BoardStatus(set=0, cp="C", high=6_000)))
    before = desk.status
    count = len(desk.events)
    desk.run(1.0)
    count = len(desk.events)
    for _ in range(200):
        desk.host.receive(old * 20, desk.now)
    assert desk.host.events() == []
    assert len(desk.events) == count
    assert before.cp == "A"


def test_the_model_of_a_board_knows_its_own_faults() -> None:
    board = BoardFirmware()
    board.wire(BoardInputs(welded=True), 0.0)
    board.tick(0.01)
    assert board.contactor_closed
    board.silent = True
    board.tick(1.0)
    assert board.output() == b""


@given(
    st.lists(
        st.tuples(
            st.sampled_from((None, B, C, 246, 10)),
            st.booleans(),
            st.booleans(),
            st.booleans(),
            st.sampled_from((True, True, True, False)),
            st.floats(0.005, 0.3),
        ),
        max_size=12,
    )
)
def test_no_sequence_of_events_leaves_a_boards_contactor_closed_where_it_must_not_be(
    steps: list[tuple[int | None, bool, bool, bool, bool, float]],
) -> None:
    """Whatever vehicle, controller and emergency stop do: soon after C or D, or the controller, is gone, it is open."""
    board, now, seq, wanted = BoardFirmware(), 0.0, 0, False
    board.receive(encode(BoardLine(0, Hello(version=1))), now)
    forbidden_at = closed_at = now
    for resistance, diode, estop, close, controlled, seconds in steps:
        board.wire(msgspec.structs.replace(board.inputs, resistance_ohm=resistance, diode=diode, estop=estop), now)
        end, next_set = now + seconds, now
        while now < end:
            if controlled and now >= next_set:
                seq, next_set = seq % 60_000 + 1, now + 0.025
                if not board.controlled:
                    board.receive(encode(BoardLine(0, Hello(version=1))), now)
                board.receive(encode(BoardLine(seq, Set(duty=500, contactor=close))), now)
                heard_at, wanted = now, close
            now = min(end, max(now + 0.001, min(board.deadline(), next_set if controlled else end)))
            board.tick(now)
            ready = resistance in (C, 246) and diode and not estop and wanted
            if ready and seq and now - heard_at < LOST_S:
                forbidden_at = now
            if not board.contactor_closed:
                closed_at = now
            assert now - max(forbidden_at, closed_at) <= 0.1 + 0.03
