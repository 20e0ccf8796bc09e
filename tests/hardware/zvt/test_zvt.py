"""ZVT: octets as the interface's documents have them, and till and terminal joined in memory, over every break."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.payment import zvt_seeds, zvt_stream
from tests.hardware.zvt.zvt import Pair
from tests.together import together
from v2g.errors import FrameError
from v2g.hardware.zvt import commands as zvt
from v2g.hardware.zvt.commands import ZvtCommand
from v2g.hardware.zvt.terminal_sim import Card, SimulatedPayment
from v2g.hardware.zvt.till import (
    ACK_S,
    BUSY_S,
    COMPLETION_S,
    ReadCard,
    RegisterJob,
    ReleaseJob,
    ReserveJob,
    Settle,
    Till,
    TillConfig,
    TillJob,
)

# -- octets


@together("size", [0, 1, 254, 255, 256, 5000])
def test_lengths_of_commands_have_one_octet_or_three(size: int) -> None:
    command = ZvtCommand(zvt.PRINT_TEXT, bytes(size))
    octets = command.encode()
    assert len(octets) == size + (3 if size < 255 else 5)
    assert octets[2] == min(size, 255)
    for cut in (1, 7, len(octets)):
        buffer, found = bytearray(), []
        for part in (octets * 2)[::1], b"":
            for at in range(0, len(part), cut):
                buffer += part[at : at + cut]
                found += list(zvt.cut(buffer))
        assert found == [command, command]


def test_fields_are_found_by_their_lengths() -> None:
    data = bytes.fromhex(
        "27 00 04 000000002040 22 F0F8 EEEEEEEEEEEE4771 3C F0F0F3 414243 87 0470 8B F0F5 5649534100 "
        "06 09 1F1201026003430101".replace(" ", "")
    )
    found = zvt.fields(data)
    assert zvt.number(found[zvt.AMOUNT]) == 2040
    assert found[zvt.PAN].hex() == "eeeeeeeeeeee4771"
    assert found[zvt.TEXT] == b"ABC"
    assert found[zvt.RECEIPT].hex() == "0470"
    assert found[zvt.CARD_NAME] == b"VISA\0"
    assert zvt.objects(found[zvt.TLV]) == {0x1F12: b"\2", 0x60: b"\x43\1\1", 0x43: b"\1"}
    assert zvt.fields(bytes([zvt.RESULT, 0, 0x99, 1, 2])) == {zvt.RESULT: b"\0"}, "what stands before one unknown"


@together("data", ["04 00", "22 F0", "22 FA F1 00", "3C F0 F1", "06", "06 81", "06 83 00 00 00", "06 05 00"])
def test_fields_that_are_cut_off_are_refused(data: str) -> None:
    with pytest.raises(FrameError):
        zvt.fields(bytes.fromhex(data))


@pytest.mark.parametrize("data", ["1F", "1F12", "1F1202 00", "60 05 43 00", "43 80"])
def test_objects_that_are_cut_off_are_refused(data: str) -> None:
    with pytest.raises(FrameError):
        zvt.objects(bytes.fromhex(data))


def test_numbers_are_decimal_digits() -> None:
    assert zvt.bcd(978, 2) == b"\x09\x78"
    assert zvt.number(b"\x09\x78") == 978
    for value in (-1, 10_000):
        with pytest.raises(FrameError):
            zvt.bcd(value, 2)
    with pytest.raises(FrameError):
        zvt.number(b"\xee")
    with pytest.raises(FrameError):
        zvt.field(zvt.AMOUNT, b"\0")


@given(st.binary(max_size=300))
def test_any_octets_are_taken_or_end_the_connection(data: bytes) -> None:
    zvt_stream(data)


@pytest.mark.parametrize("seed", zvt_seeds())
def test_what_the_fuzzer_begins_with_is_taken(seed: bytes) -> None:
    zvt_stream(seed)
    assert list(zvt.cut(bytearray(seed[1:])))


# -- till and terminal


def test_a_till_registers_before_anything_else() -> None:
    pair = Pair()
    assert (pair.till.registered, pair.terminal.registered) == (True, True)
    assert pair.sent[0] == ZvtCommand(zvt.REGISTRATION, bytes.fromhex("000000380978030006 00".replace(" ", "")))
    stranger = Pair(TillConfig(password="123456"))
    assert (stranger.till.registered, stranger.till.refused) == (False, True)
    assert [(event.job, event.done, event.code) for event in stranger.events] == [(RegisterJob(), False, 0x83)]


@pytest.mark.parametrize("booked", [False, True])
def test_money_is_reserved_taken_in_part_and_the_rest_given_back(booked: bool) -> None:
    pair = Pair(TillConfig(reverses_booked=booked), reverses_booked=booked)
    reserved = pair.do(ReserveJob(5_000), Card())
    assert reserved is not None
    assert reserved.done
    assert reserved.fields[zvt.RECEIPT].hex() == "0001"
    settled = pair.do(Settle("0001", 5_000, 1_234))
    assert settled is not None
    assert settled.done
    assert pair.terminal.payments["0001"].taken == 1_234
    reported = next(command for command in pair.sent if command.code == zvt.PARTIAL_REVERSAL)
    assert zvt.number(zvt.fields(reported.data)[zvt.AMOUNT]) == (1_234 if booked else 5_000 - 1_234)


def test_what_a_terminal_refuses_is_reported_with_its_code() -> None:
    pair = Pair()
    declined = pair.do(ReserveJob(5_000), Card(good=False))
    assert declined is not None
    assert (declined.done, declined.code) == (False, 0x05)
    unknown = pair.do(ReleaseJob("0007"))
    assert unknown is not None
    assert (unknown.done, unknown.code) == (False, 0xB8)


def test_a_card_that_is_waited_for_gives_way_to_what_is_to_be_done() -> None:
    pair = Pair()
    pair.do(ReserveJob(5_000), Card())
    pair.do(ReadCard())
    assert pair.terminal.waits_for_card
    assert pair.do(ReleaseJob("0001")) is not None
    assert pair.terminal.payments["0001"].state == "released"
    assert ZvtCommand(zvt.ABORT) in pair.sent
    assert [event.done for event in pair.events if event.job == ReadCard()] == [False]


@pytest.mark.parametrize("ending", [Settle("0001", 5_000, 1_234), ReleaseJob("0001")])
def test_wherever_the_wire_breaks_money_is_taken_or_released_once(ending: TillJob) -> None:
    """And the till learns so in the end, however often it is cut off."""
    for after in range(1, 14):
        pair = Pair()
        pair.do(ReserveJob(5_000), Card())
        pair.left = iter(range(after))
        pair.do(ending)
        for again in (after % 3, 30):
            pair.left = iter(range(again)) if again < 30 else itertools.count()
            if not pair.till.registered:
                pair.connect()
        payment = pair.terminal.payments["0001"]
        assert payment.state == ("taken" if isinstance(ending, Settle) else "released"), after
        assert [event.done for event in pair.events if event.job == ending] == [True], after
        assert pair.till.idle


@pytest.mark.parametrize("taken", [False, True])
def test_what_failed_without_a_provider_may_have_been_done(taken: bool) -> None:
    pair, ending = Pair(), Settle("0001", 5_000, 1_234)
    pair.do(ReserveJob(5_000), Card())
    pair.terminal.offline = True
    failed = pair.do(ending)
    assert failed is not None
    assert (failed.done, failed.code in zvt.UNREACHED) == (False, True)
    pair.terminal.offline = False
    if taken:  # only the provider's answer was lost
        pair.terminal.payments["0001"] = SimulatedPayment(reserved=5_000, state="taken", taken=1_234)
    again = pair.do(ending)
    assert again is not None
    assert again.done
    assert pair.terminal.payments["0001"].taken == 1_234


def busy_once(pair: Pair) -> None:
    """Register at a terminal at which somebody does something himself, and ask again later."""
    pair.terminal.asked = ZvtCommand(zvt.READ_CARD)
    pair.connect()
    assert pair.till.due == pair.now + BUSY_S
    assert not pair.till.idle
    pair.terminal.asked = None
    pair.now += BUSY_S
    pair.till.tick(pair.now)
    pair.pump()


@pytest.mark.parametrize("ending", [Settle("0001", 5_000, 1_234), ReleaseJob("0001")])
def test_what_was_done_before_the_wire_broke_is_not_sent_again_to_a_terminal_that_was_busy(ending: TillJob) -> None:
    pair = Pair()
    pair.do(ReserveJob(5_000), Card())
    pair.left = iter(range(4))  # sent and done, but not received
    pair.do(ending)
    assert not pair.till.registered
    assert pair.terminal.payments["0001"].state != "reserved"
    busy_once(pair)
    assert [
        (event.job, event.done) for event in pair.events if event.job not in (RegisterJob(), ReserveJob(5_000))
    ] == [(ending, True)]
    assert pair.till.idle


@pytest.mark.parametrize("done", [(), ("0001",), ("0002",), ("0001", "0002")])
def test_what_was_done_before_the_program_was_killed_is_not_sent_again(done: tuple[str, ...]) -> None:
    """A station commands again what has no result when it starts: the terminal may have taken the money."""
    pair, endings = Pair(), [Settle("0001", 5_000, 1_234), ReleaseJob("0002")]
    for _ in endings:
        pair.do(ReserveJob(5_000), Card())
    for ending in endings:
        if ending.receipt in done:
            pair.do(ending)
    pair.cut()
    pair.till, pair.events, pair.sent = Till(TillConfig()), [], []
    for ending in endings:
        pair.till.do(ending, pair.now)
    pair.connect()
    assert {event.job: event.done for event in pair.events if event.job in endings} == dict.fromkeys(endings, True)
    assert [each.state for each in pair.terminal.payments.values()] == ["taken", "released"]
    sent = [zvt.fields(each.data).get(zvt.RECEIPT) for each in pair.sent if each.code >> 8 == 6]
    assert [each for each in done if bytes.fromhex(each) in sent] == [], "twice"


def test_money_that_is_reserved_under_no_receipt_is_released() -> None:
    """Nobody could settle it."""
    pair = Pair()
    pair.do(ReserveJob(5_000))
    pair.terminal.payments["0001"] = SimulatedPayment(reserved=5_000)
    pair.till.receive(ZvtCommand(zvt.STATUS, zvt.field(zvt.RESULT, b"\0")).encode(), pair.now)
    pair.terminal.asked = None
    pair.till.receive(ZvtCommand(zvt.COMPLETION).encode(), pair.now)
    pair.pump()
    assert pair.terminal.payments["0001"].state == "released"


@pytest.mark.parametrize(("approved", "accepted"), [(4_999, False), (5_000, True)])
def test_a_card_of_which_less_was_reserved_than_asked_for_is_refused_and_released(
    approved: int, accepted: bool
) -> None:
    """Energy for the whole amount would be given otherwise, and could not be settled."""
    pair = Pair()
    pair.do(ReserveJob(5_000))
    pair.terminal.payments["0001"], pair.terminal.asked = SimulatedPayment(reserved=approved), None
    fields = zvt.field(zvt.RESULT, b"\0") + zvt.field(zvt.AMOUNT, zvt.bcd(approved, 6))
    pair.till.receive(ZvtCommand(zvt.STATUS, fields + zvt.field(zvt.RECEIPT, b"\0\1")).encode(), pair.now)
    pair.till.receive(ZvtCommand(zvt.COMPLETION).encode(), pair.now)
    pair.pump()
    assert [each.done for each in pair.events if each.job == ReserveJob(5_000)] == [accepted]
    assert pair.terminal.payments["0001"].state == ("reserved" if accepted else "released")
    assert pair.till.idle


@together("after", range(1, 12))
def test_a_reservation_whose_answer_was_lost_is_released(after: int) -> None:
    pair = Pair()
    pair.do(ReserveJob(1_000), Card())
    pair.do(Settle("0001", 1_000, 1_000))
    pair.left = iter(range(after))
    received = pair.do(ReserveJob(5_000), Card())
    if not pair.till.registered:
        pair.connect()
    assert received is not None
    payment = pair.terminal.payments.get("0002")
    assert received.done is (payment is not None and payment.state == "reserved")


def test_a_terminal_that_says_nothing_is_given_up() -> None:
    till = Till(TillConfig())
    till.opened(0.0)
    assert till.due == ACK_S
    till.tick(ACK_S - 0.1)
    with pytest.raises(FrameError):
        till.tick(ACK_S)
    till.closed()
    till.opened(10.0)
    till.receive(ZvtCommand(zvt.ACK).encode(), 11.0)
    assert till.due == 11.0 + COMPLETION_S
    till.receive(ZvtCommand(0x06E0).encode(), 11.0)
    assert till.output().endswith(ZvtCommand(0x8483).encode()), "a command that a till does not know"


def test_a_busy_terminal_is_asked_again() -> None:
    pair = Pair()
    pair.do(ReserveJob(5_000), Card())
    pair.terminal.asked = ZvtCommand(zvt.READ_CARD)  # somebody does something at the terminal itself
    assert pair.do(ReleaseJob("0001")) is None
    pair.terminal.asked = None
    pair.now = BUSY_S
    pair.till.tick(pair.now)
    pair.pump()
    assert pair.terminal.payments["0001"].state == "released"


def test_the_same_job_twice_is_once() -> None:
    pair = Pair()
    pair.till.do(ReserveJob(5_000), 0.0)
    pair.till.do(ReserveJob(5_000), 0.0)
    pair.pump()
    pair.terminal.present(Card())
    pair.pump()
    assert len(pair.terminal.payments) == 1
    assert pair.till.idle


# -- a till alone: what it answers, octet by octet

NONE_OPEN = ZvtCommand(zvt.ABORTED, b"\xb8" + zvt.field(zvt.RECEIPT, b"\xff\xff"))
DONE = ZvtCommand(zvt.COMPLETION)
ENQUIRY = "0623 87ffff"


def say(till: Till, *commands: ZvtCommand, now: float = 0.0) -> list[str]:
    """Let a terminal say this; return the commands that the till sends then, without acknowledgements."""
    for command in commands:
        till.receive(command.encode(), now)
    return sends(till)


def sends(till: Till) -> list[str]:
    return [
        f"{each.code:04x} {each.data.hex()}"
        for each in zvt.cut(bytearray(till.output()))
        if each.code not in (zvt.ACK, zvt.REGISTRATION)
    ]


def do(till: Till, *jobs: TillJob) -> list[str]:
    for job in jobs:
        till.do(job, 0.0)
    return sends(till)


def ended(till: Till) -> list[tuple[TillJob, bool, int | None]]:
    return [(each.job, each.done, each.code) for each in till.events() if each.job != RegisterJob()]


def refusal(code: int) -> ZvtCommand:
    return ZvtCommand(zvt.NACK << 8 | code)


def result(code: int, **fields: bytes) -> ZvtCommand:
    data = b"".join(zvt.field(getattr(zvt, name.upper()), value) for name, value in fields.items())
    return ZvtCommand(zvt.COMPLETION, zvt.field(zvt.RESULT, bytes([code])) + data)


@pytest.fixture
def till() -> Till:
    """A till that is registered."""
    till = Till(TillConfig())
    till.opened(0.0)
    say(till, DONE)
    list(till.events())
    return till


def test_nothing_is_commanded_before_the_terminal_is_registered() -> None:
    till = Till(TillConfig())
    till.tick(1_000.0)
    assert (do(till, ReadCard()), till.idle) == ([], False)
    till.opened(0.0)
    assert (do(till, ReserveJob(5_000)), till.idle) == ([], False)
    assert (say(till, DONE), till.idle) == (["06c0 1e"], False), "30 s for a card"
    assert say(till, result(0x6C)) == ["0622 04000000005000490978"]
    assert say(till, result(0, amount=zvt.bcd(5_000, 6), receipt=b"\0\1")) == []
    assert ended(till) == [(ReadCard(), False, 0x6C), (ReserveJob(5_000), True, 0)], "without status information"
    assert till.idle
    till.tick(1_000.0)
    assert till.idle


def test_nothing_of_a_lost_connection_is_taken_into_the_next(till: Till) -> None:
    till.do(ReadCard(), 0.0)
    till.receive(ZvtCommand(zvt.STATUS, bytes(20)).encode()[:9], 0.0)
    till.closed()
    assert ended(till) == [(ReadCard(), False, None)], "who reads cards has to be told"
    till.opened(1.0)
    assert till.output() == ZvtCommand(zvt.REGISTRATION, bytes.fromhex("00000038097803000600")).encode()
    say(till, DONE)
    assert till.idle


@pytest.mark.parametrize("word", [ZvtCommand(0x8001), ZvtCommand(zvt.INTERMEDIATE, b"\x0a"), ZvtCommand(zvt.STATUS)])
def test_a_terminal_has_three_minutes_from_each_word_and_five_seconds_for_the_first(
    till: Till, word: ZvtCommand
) -> None:
    till.do(ReserveJob(5_000), 0.0)
    assert till.due == 5.0
    for now in (4.0, 100.0):
        say(till, word, now=now)
        till.tick(now + 179.9)
        assert till.due == now + 180.0
    with pytest.raises(FrameError):
        till.tick(280.0)
    assert do(till, ReleaseJob("0001")) == [], "before the shell has closed the connection"
    till.closed()
    assert ended(till) == [(ReserveJob(5_000), False, None)]


def test_a_card_is_waited_for_until_it_is_aborted_once(till: Till) -> None:
    assert do(till, ReadCard()) == ["06c0 1e"]
    first, second = ReserveJob(5_000), ReleaseJob("0001")
    assert do(till, first) == ["06b0 "]
    assert do(till, second, first, second) == []
    assert say(till, refusal(0x9C)) == [], "the abort came too late: the card is read"
    assert ended(till) == []
    assert say(till, result(0)) == ["0622 04000000005000490978"]
    assert ended(till) == [(ReadCard(), True, 0)]
    assert do(till, ReadCard()) == [], "a reservation is not aborted"
    assert say(till, result(0, amount=zvt.bcd(5_000, 6), receipt=b"\0\2")) == ["0625 870001490978"]
    assert say(till, DONE) == ["06c0 1e"], "each once"
    assert till.due == 5.0


@pytest.mark.parametrize(
    ("job", "code", "again"),
    [
        (ReadCard(), 0x9C, False),
        (ReadCard(), 0x83, False),
        (ReserveJob(5_000), 0x9C, True),
        (ReserveJob(5_000), 0x83, False),
        (ReleaseJob("0001"), 0x9C, True),
        (ReleaseJob("0001"), 0x83, False),
    ],
)
def test_a_busy_terminal_gets_a_payment_again_after_two_seconds(
    till: Till, job: TillJob, code: int, again: bool
) -> None:
    command = do(till, job)
    assert say(till, refusal(code), now=1.0) == []
    assert ended(till) == ([] if again else [(job, False, code)])
    assert (till.idle, till.due) == (not again, 3.0 if again else None)
    till.tick(3.0)
    assert sends(till) == (command if again else [])
    assert say(till, refusal(code), refusal(code)) == []
    assert till.idle is not again, "the second refuses nothing"


def test_a_till_that_is_refused_for_now_does_not_take_for_done_what_it_has_not_sent(till: Till) -> None:
    """No money would be taken."""
    till.closed()
    till.opened(0.0)
    say(till, refusal(0x9C))
    assert till.refused
    do(till, Settle("0001", 5_000, 1_234))
    till.opened(0.0)
    assert say(till, DONE) == ["0623 87000104000000003766490978"]
    say(till, NONE_OPEN)
    assert ended(till) == [(Settle("0001", 5_000, 1_234), False, 0xB8)]


@pytest.mark.parametrize("job", [ReserveJob(5_000), Settle("0001", 5_000, 1_234), ReleaseJob("0001")])
@pytest.mark.parametrize("code", [0x05, 0x9B])
def test_what_failed_is_sent_again_and_only_an_ending_that_may_have_been_done_is_enquired_about(
    till: Till, job: TillJob, code: int
) -> None:
    command = do(till, job)
    assert say(till, result(code)) == [], "what is declined has reserved nothing"
    unsure = code == 0x9B and not isinstance(job, ReserveJob)
    assert do(till, job) == ([ENQUIRY] if unsure else command)
    say(till, NONE_OPEN)
    assert ended(till) == [(job, False, code), (job, True, None) if unsure else (job, False, 0xB8)]


@pytest.mark.parametrize(
    ("answer", "released"),
    [
        (ZvtCommand(zvt.ABORTED, b"\xb8" + zvt.field(zvt.RECEIPT, b"\0\7")), "0625 870007490978"),
        (ZvtCommand(zvt.ABORTED, b"\xb8" + zvt.field(zvt.RECEIPT, b"\0\1")), ""),
        (NONE_OPEN, ""),
        (refusal(0x83), ""),
    ],
    ids=["another", "known", "none", "cannot-tell"],
)
@pytest.mark.parametrize("known", ["reserved", "unsettled", "settled"])
def test_of_a_reservation_whose_answer_was_lost_only_an_unknown_one_is_released(
    till: Till, known: str, answer: ZvtCommand, released: str
) -> None:
    """Not one that a vehicle is still charged for: its money would be lost. Terminals use a number again."""
    if known != "unsettled":  # which a program that was killed has reserved
        do(till, ReserveJob(5_000))
        say(till, result(0, receipt=b"\0\1"))
    if known != "reserved":
        do(till, Settle("0001", 5_000, 1_234))
        say(till, result(0 if known == "settled" else 0x05))
    do(till, ReserveJob(2_000))
    till.closed()
    till.opened(0.0)
    assert say(till, DONE) == [ENQUIRY]
    if known == "settled" and answer.data.endswith(b"\1"):
        released = "0625 870001490978"
    assert say(till, answer) == ([released] if released else [])
    assert till.idle is not bool(released)
