"""The controller's side of a control board, line by line: what it sends when, and how soon it gives a board up."""

from collections.abc import Sequence

import msgspec
import pytest

from tests.together import together
from v2g.hardware.board.host import GREET_S, BoardDown, BoardHost, BoardUp
from v2g.hardware.board.inputs import Fault, Stop
from v2g.hardware.board.protocol import (
    LOST_S,
    SET_S,
    BoardLine,
    BoardStatus,
    Hello,
    Message,
    RefusedLine,
    Set,
    StatusQuery,
    Temperatures,
    decode,
    encode,
)

PLAIN = Hello(version=1, board="b", boot=1)
WATCHED = Hello(version=1, board="b", boot=1, monitor=True)
STOP, FAULT = Stop(), Fault(word="x", active=True)
NOT_TAKEN = "does not take inputs of its monitor"


def say(host: BoardHost, message: Message, now: float, seq: int = 0) -> None:
    host.receive(encode(BoardLine(seq, message)), now)


def sent(host: BoardHost) -> list[BoardLine | None]:
    return [decode(line) for line in host.output().splitlines()]


def greeted(hello: Hello = PLAIN, now: float = 0.0) -> BoardHost:
    """Return the host of a board that has just been found; what it has sent and reported is read."""
    host = BoardHost()
    host.tick(now)
    say(host, hello, now)
    assert host.events() == [BoardUp(hello)]
    assert sent(host) == [BoardLine(0, Hello(version=1)), BoardLine(1, Set())]
    return host


def status(taken: int, **more: int) -> BoardStatus:
    return BoardStatus(set=taken, cp="B", high=9_000, **more)


def why(host: BoardHost) -> Sequence[object]:
    return [(each.fault, each.why) for each in host.events() if isinstance(each, BoardDown)]


def test_a_board_is_greeted_ten_times_a_second_until_it_answers() -> None:
    host = BoardHost()
    assert (host.up, host.hello, host.deadline(), host.missed, host.broken) == (False, None, 0.0, 0, 0)
    for now, lines in ((0.0, 1), (0.099, 0), (0.1, 1), (0.15, 0)):
        host.tick(now)
        assert sent(host) == [BoardLine(0, Hello(version=1))] * lines
    assert (GREET_S, host.deadline()) == (0.1, 0.2)
    say(host, status(1), 0.15, seq=1)
    say(host, Temperatures({"plug": 1}), 0.15)
    say(host, RefusedLine(reason="x"), 0.15)
    host.want(Set(duty=500), 0.15)
    assert (host.events(), host.wanted, host.output()) == ([], Set(), b"")


def test_commands_are_repeated_and_a_new_one_is_sent_at_once() -> None:
    host = greeted()
    assert (host.up, host.hello, host.deadline()) == (True, PLAIN, SET_S)
    host.tick(0.024)
    assert sent(host) == []
    host.tick(0.025)
    assert sent(host) == [BoardLine(2, Set())]
    host.want(Set(), 0.03)
    assert sent(host) == []
    host.want(Set(duty=500), 0.03)
    assert (host.wanted, sent(host)) == (Set(duty=500), [BoardLine(3, Set(duty=500))])
    host.tick(0.0549)
    assert sent(host) == []
    host.tick(0.055)
    assert sent(host) == [BoardLine(4, Set(duty=500))]


def test_a_state_counts_once_it_is_that_of_a_command() -> None:
    host = greeted()
    say(host, status(0), 0.01, seq=5)
    say(host, status(9), 0.01, seq=6)
    assert host.events() == []
    say(host, status(1), 0.01, seq=7)
    say(host, status(0), 0.01, seq=8)
    say(host, Temperatures({"plug": 1}), 0.01)
    assert host.events() == [status(1), status(0), Temperatures({"plug": 1})]


@together(
    ("first", "then", "missed", "counts"),
    [
        (5, 6, 0, True), (5, 8, 2, True), (5, 5, 0, False), (5, 4, 0, False), (65_535, 0, 0, True),
        (65_535, 1, 1, True), (0, 32_768, 32_767, True), (0, 32_769, 0, False),
    ],
)  # fmt: skip
def test_a_repeated_or_late_state_is_none(first: int, then: int, missed: int, counts: bool) -> None:
    host = greeted()
    say(host, status(1), 0.0, seq=first)
    assert host.events() == [status(1)]
    say(host, status(1), 0.05, seq=then)
    assert (host.missed, bool(host.events())) == (missed, counts)
    host.want(Set(duty=1), 0.09)
    host.tick(LOST_S)
    assert host.up is counts


def test_a_board_is_given_up_after_100_ms_without_a_line() -> None:
    host = greeted()
    say(host, status(1), 0.01, seq=1)
    host.events()
    host.want(Set(duty=1), 0.05)
    host.tick(0.1099)
    assert host.up
    assert host.deadline() == 0.11
    host.tick(0.11)
    assert why(host) == [("board_lost", "no response for 100 ms")]
    assert (host.up, host.hello, host.wanted) == (False, None, Set())
    assert sent(host)[-1] == BoardLine(0, Hello(version=1))  # at once
    host.lost("cable", 0.2)
    assert host.events() == []
    cut = greeted()
    cut.lost("cable", 0.2)
    assert (why(cut), cut.up) == ([("board_lost", "cable")], False)
    patient = BoardHost(lost_s=0.5)
    say(patient, PLAIN, 0.0)
    patient.tick(0.499)
    assert patient.up
    patient.tick(0.5)
    assert why(patient) == [("board_lost", "no response for 500 ms")]


def test_a_board_that_executes_nothing_is_given_up_though_it_speaks() -> None:
    host = greeted()
    for n in range(1, 5):
        now = n * SET_S
        say(host, status(1 if n == 1 else 0), now, seq=n)
        host.tick(now)
    host.want(Set(duty=1), 0.11)
    assert host.deadline() == SET_S + LOST_S  # of the first command after the last that was executed
    host.tick(0.1249)
    assert host.up
    say(host, status(0), 0.1249, seq=6)
    host.tick(0.125)
    assert why(host) == [("board_lost", "does not execute commands")]


def test_a_state_says_that_earlier_commands_were_executed_too() -> None:
    host = greeted()
    for n in range(1, 4):
        host.tick(n * SET_S)
    say(host, status(3), 0.08, seq=1)  # sent at 0.05; that of 0.075 is left
    host.tick(0.16)
    say(host, status(3), 0.16, seq=2)
    host.tick(0.1749)
    assert host.up
    host.tick(0.1751)
    assert why(host) == [("board_lost", "does not execute commands")]


@together(("hello", "word"), [(Hello(version=2), "version 2, not 1"), (Hello(version=0), "version 0, not 1")])
def test_a_board_of_another_version_is_named_once(hello: Hello, word: str) -> None:
    host = BoardHost()
    for _ in range(2):
        say(host, hello, 0.0)
    assert why(host) == [("board_incompatible", word)]
    say(host, PLAIN, 0.0)
    assert host.events() == [BoardUp(PLAIN)]
    say(host, hello, 0.0)
    assert why(host) == [("board_incompatible", word)]


def test_a_board_that_restarts_begins_anew() -> None:
    host = greeted()
    say(host, status(1), 0.0, seq=9)
    host.want(Set(duty=500), 0.0)
    host.events()
    say(host, PLAIN, 0.01)
    assert (host.events(), host.wanted) == ([], Set(duty=500))
    again = msgspec.structs.replace(PLAIN, boot=2)
    say(host, again, 0.02)
    assert host.events() == [BoardDown("board_lost", "restarted"), BoardUp(again)]
    assert (host.wanted, host.hello) == (Set(), again)
    assert sent(host) == [BoardLine(2, Set(duty=500)), BoardLine(3, Set())]
    say(host, status(2), 0.03, seq=9)  # its numbers begin anew, and the old command is not obeyed
    assert host.events() == []
    say(host, status(3), 0.03, seq=10)
    assert host.events() == [status(3)]


def test_a_refusal_of_the_board_ends_it() -> None:
    host = greeted()
    say(host, RefusedLine(reason="greet"), 0.05)
    assert why(host) == [("board_lost", "rejected: greet")]
    assert host.deadline() == 0.05
    host.receive(b"nonsense\n", 0.05)
    assert host.broken == 1


def test_in_silence_nothing_is_commanded_and_nothing_is_missed() -> None:
    """For the test of the board's dead-man."""
    host = greeted(WATCHED)
    host.tick(SET_S)
    host.tell(FAULT, SET_S)
    host.be_silent(1.0)
    sent(host)
    for n in range(1, 12):
        say(host, status(0), n * 0.05, seq=n)
        host.tick(n * 0.05)
        host.tell(STOP, n * 0.05)
    assert (host.up, sent(host), host.deadline()) == (True, [], 11 * 0.05 + SET_S)
    say(host, status(0), 1.0, seq=20)
    host.tick(1.0)
    assert sent(host) == [BoardLine(4, Set(told=1))]


def test_inputs_of_a_monitor_are_told_in_order_until_it_has_taken_them() -> None:
    host = greeted(WATCHED)
    host.tell(STOP, 0.0)
    host.tell(FAULT, 0.01)
    assert sent(host) == [BoardLine(2, StatusQuery(1, STOP)), BoardLine(3, StatusQuery(2, FAULT))]
    host.tick(0.025)
    assert sent(host) == [BoardLine(4, StatusQuery(1, STOP)), BoardLine(5, Set(told=2))]
    say(host, status(5, told=1), 0.03, seq=1)
    host.tick(0.05)
    assert sent(host) == [BoardLine(6, StatusQuery(2, FAULT)), BoardLine(7, Set(told=2))]
    assert host.deadline() == 0.05 + SET_S
    say(host, status(7, told=1), 0.07, seq=2)
    host.tell(STOP, 0.1)
    host.tick(0.1099)
    assert host.up
    assert host.deadline() == 0.01 + LOST_S
    say(host, status(7, told=1), 0.1099, seq=3)
    host.tick(0.01 + LOST_S + 1e-9)
    assert why(host) == [("board_lost", NOT_TAKEN)]
    say(host, WATCHED, 0.2)
    host.output()
    host.tick(0.3 - 1e-9)
    assert {type(each.message) for each in sent(host) if each is not None} == {Set}  # what was told is forgotten


def test_an_input_that_is_not_taken_for_100_ms_ends_the_board() -> None:
    host = greeted(WATCHED)
    host.tell(STOP, 0.0)
    say(host, status(1), 0.05, seq=1)
    host.tick(0.0999)
    assert host.up
    host.tick(LOST_S)
    assert why(host) == [("board_lost", NOT_TAKEN)]


def test_the_last_input_that_was_taken_stands_for_those_before_it() -> None:
    host = greeted(WATCHED)
    for now in (0.0, 0.01, 0.02):
        host.tell(STOP, now)
    say(host, status(1, told=2), 0.02, seq=1)
    sent(host)
    host.tick(0.05)
    assert sent(host) == [BoardLine(5, StatusQuery(3, STOP)), BoardLine(6, Set(told=3))]
    say(host, status(6, told=3), 0.06, seq=2)
    host.tick(0.08)
    assert sent(host) == [BoardLine(7, Set(told=3))]


def test_a_board_without_a_monitor_or_none_at_all_is_told_nothing() -> None:
    for host in (greeted(), BoardHost()):
        host.tell(STOP, 0.0)
        assert host.output() == b""


def test_a_monitor_that_leaves_too_much_is_given_up() -> None:
    host = greeted(WATCHED)
    for _ in range(64):
        host.tell(STOP, 0.0)
    assert host.up
    host.tell(STOP, 0.0)
    assert why(host) == [("board_lost", NOT_TAKEN)]
    say(host, WATCHED, 0.0)
    sent(host)
    host.tell(STOP, 0.0)
    assert isinstance((line := sent(host)[0]), BoardLine)
    assert line.message == StatusQuery(1, STOP)  # the numbers of inputs begin anew


@pytest.mark.long
def test_numbers_go_round_without_0() -> None:
    host = greeted(WATCHED)
    for n in range(65_536):
        host.tell(STOP, 0.0)
        say(host, status(1, told=n % 65_535 + 1), 0.0, seq=n % 65_536)
    lines = host.output().splitlines()
    numbers = [(line.seq, line.message.n) for each in lines[-3:]
               if (line := decode(each)) is not None and isinstance(line.message, StatusQuery)]  # fmt: skip
    assert numbers == [(65_535, 65_534), (1, 65_535), (2, 1)]
