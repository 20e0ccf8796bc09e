"""Any edit, removal, repetition, reordering or truncation of a journal is found and placed."""

import hashlib
from typing import Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import journal_start
from tests.together import together
from v2g.energy.settlement.journal import GENESIS, Journal, JournalState, readable_lines, verify_lines
from v2g.energy.settlement.records import (
    AnyRecord,
    CheckpointAnswered,
    CheckpointIssued,
    IntervalClosed,
    LineCorrected,
    MeterReading,
    ServiceChanged,
    SessionEnded,
)
from v2g.errors import StoreError, VerificationError

pytestmark = pytest.mark.requirement("R32")

START = msgspec.structs.replace(journal_start.START, import_mwh=1_000, export_mwh=2_000)


def reading(import_mwh: int = 1_000, export_mwh: int = 2_000) -> MeterReading:
    return MeterReading(import_mwh=import_mwh, export_mwh=export_mwh)


def lines_of(count: int) -> list[bytes]:
    journal = Journal()
    return [
        journal.append(START, 1),
        *(journal.append(reading(1_000 + n, 2_000), n) for n in range(1, count - 1)),
        journal.append(SessionEnded(reason="vehicle", import_mwh=9_000, export_mwh=2_000), count),
    ]


JOURNAL = lines_of(8)
DATA = b"".join(JOURNAL)


def test_lines_link_from_the_genesis_to_the_head() -> None:
    """Each carries the hash of the one before."""
    entries = verify_lines(DATA)
    assert entries[0].previous == GENESIS
    assert [e.previous for e in entries[1:]] == [e.hash for e in entries[:-1]]
    assert [e.sequence for e in entries] == list(range(8))


@given(position=st.integers(0, len(DATA) - 1), value=st.integers(0, 255))
@settings(max_examples=150)
def test_no_byte_can_be_changed(position: int, value: int) -> None:
    """Wherever it stands, white space and line feeds included."""
    if DATA[position] == value:
        return
    edited = DATA[:position] + bytes([value]) + DATA[position + 1 :]
    with pytest.raises(VerificationError) as error:
        verify_lines(edited)
    assert error.value.where.startswith("journal.jsonl:")


@given(position=st.integers(0, len(DATA)), value=st.integers(0, 255))
@settings(max_examples=200)
def test_no_byte_can_be_added_or_taken_away(position: int, value: int) -> None:
    """Not even a blank."""
    added = DATA[:position] + bytes([value]) + DATA[position:]
    with pytest.raises(VerificationError):
        verify_lines(added)
    if position < len(DATA):
        with pytest.raises(VerificationError):
            verify_lines(DATA[:position] + DATA[position + 1 :])


@together("index", range(7))
def test_a_removed_repeated_or_moved_line_is_found_where_it_happened(index: int) -> None:
    """`where` is the line on which the chain breaks."""
    removed = b"".join(JOURNAL[:index] + JOURNAL[index + 1 :])
    repeated = b"".join(JOURNAL[: index + 1] + JOURNAL[index:])
    swapped = b"".join([*JOURNAL[:index], JOURNAL[index + 1], JOURNAL[index], *JOURNAL[index + 2 :]])
    for data, line in ((removed, index + 1), (repeated, index + 2), (swapped, index + 1)):
        with pytest.raises(VerificationError) as error:
            verify_lines(data)
        assert error.value.where == f"journal.jsonl:{line}"


def test_an_edited_line_with_its_hash_made_right_breaks_the_next_one() -> None:
    """Who edits one line has to rewrite all that follow, and the signed head then differs."""
    forged = Journal()
    first = forged.append(msgspec.structs.replace(START, import_mwh=0), 1)
    with pytest.raises(VerificationError) as error:
        verify_lines(first + b"".join(JOURNAL[1:]))
    assert error.value.where == "journal.jsonl:2"


def test_a_torn_last_line_and_an_empty_journal_are_found() -> None:
    """Whole lines only, and at least one."""
    for data, said, line in ((DATA[:-1], "last line is incomplete", 8), (b"", "empty", 1)):
        with pytest.raises(VerificationError, match=said) as error:
            verify_lines(data)
        assert error.value.where == f"journal.jsonl:{line}"
    with pytest.raises(VerificationError):
        verify_lines(b"\n")


@given(data=st.binary(max_size=300))
def test_garbage_is_no_journal(data: bytes) -> None:
    """The one documented error."""
    with pytest.raises(VerificationError):
        verify_lines(data)
    with pytest.raises(VerificationError):
        verify_lines(data + b"\n")


def test_a_journal_resumes_where_it_stopped() -> None:
    """What a restarted process appends continues the chain."""
    whole = Journal()
    head = [whole.append(START, 1_800_000_000_000), whole.append(reading(), 2)]
    with pytest.raises(VerificationError) as error:
        Journal.resume(head[1])
    assert error.value.where == "journal.jsonl:1"
    resumed = Journal.resume(b"".join(head))
    assert resumed.append(reading(1_500), 3) == whole.append(reading(1_500), 3)
    assert not resumed.state.ended


def test_time_is_held_when_the_clock_goes_back() -> None:
    """A journal's time never runs backwards, whatever the machine's does."""
    journal = Journal()
    journal.append(START, 1_000)
    line = journal.append(reading(), 400)
    assert b'"utc_ms":1000' in line


@together(
    ("records", "said"),
    [
        ([reading()], "must start with session_started"),
        ([START, START], "must start with session_started"),
        ([START, reading(999)], "import register falls"),
        ([START, reading(1_000, 1_999)], "export register falls"),
        ([START, SessionEnded(reason="x", import_mwh=0, export_mwh=9_999)], "import register falls"),
        ([START, SessionEnded(reason="x", import_mwh=1_000, export_mwh=2_000), reading()], "only corrections"),
        ([START, LineCorrected(line="a", price=1, reason="b")], "only after session_ended"),
    ],
)
def test_what_could_not_be_proved_is_not_written(records: list[object], said: str) -> None:
    """The writer is bound by the reader's rules."""
    journal = Journal()
    for record in records[:-1]:
        journal.append(record, 1)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match=said):
        journal.append(records[-1], 1)  # type: ignore[arg-type]


def test_a_reader_refuses_what_a_lawless_writer_chained_correctly() -> None:
    """A falling register is found even where every hash is right."""

    class Lawless(JournalState):
        def problem(self, record: object, utc_ms: int) -> str:
            return ""

    journal = Journal(Lawless())
    data = journal.append(START, 1) + journal.append(reading(5_000), 2) + journal.append(reading(4_000), 3)
    with pytest.raises(VerificationError, match="falls from 5000 to 4000") as error:
        verify_lines(data)
    assert (error.value.where, error.value.hint) == ("journal.jsonl:3", "")


ENDED = SessionEnded(reason="x", import_mwh=1_000, export_mwh=2_000)
CORRECTED = LineCorrected(line="a", price=1, reason="b")
YEAR = 366 * 86_400_000


def issued(number: int) -> CheckpointIssued:
    return CheckpointIssued(number=number, payload=b"c")


def answered(number: int, status: str = "countersigned") -> CheckpointAnswered:
    return CheckpointAnswered(number=number, status=status, payload=b"r")


def interval(start_ms: int, end_ms: int) -> IntervalClosed:
    registers = dict.fromkeys(("import_begin_mwh", "import_end_mwh", "export_begin_mwh", "export_end_mwh"), 0)
    return IntervalClosed(start_ms=start_ms, end_ms=end_ms, begins="metered", ends="metered", **registers)


def services(reason: Literal["selected", "renegotiated", "resumed"] = "selected") -> ServiceChanged:
    return ServiceChanged(service="DC", discharge="none", reason=reason)


QUARTER = MeterReading(import_mwh=1_000, export_mwh=2_000, reason="interval")
"""At the end of a quarter of an hour, while a driver is authorised: nothing has flowed."""
LATE = "services are first selected before the first meter reading"


@together(
    ("before", "record", "utc_ms", "said"),
    [
        ([], services(), 7, ""),
        ([QUARTER], services(), 7, ""),
        ([QUARTER, QUARTER], services(), 7, ""),
        ([reading()], services(), 7, LATE),
        ([reading(), QUARTER], services(), 7, LATE),
        ([QUARTER, reading()], services(), 7, LATE),
        ([msgspec.structs.replace(QUARTER, import_mwh=1_001)], services(), 7, LATE),
        ([msgspec.structs.replace(QUARTER, export_mwh=2_001)], services(), 7, LATE),
        ([msgspec.structs.replace(QUARTER, export_mwh=2_001)], services("renegotiated"), 7, ""),
        ([reading()], services("resumed"), 7, ""),
        ([], reading(), 7 + YEAR, ""),
        ([], reading(), 7 + YEAR + 1, "a session of 366 days"),
        ([], reading(), 7 + YEAR + 86_400_000, "a session of 367 days"),
        ([reading()], reading(), 7 + YEAR + 1, "a session of 366 days"),
        ([ENDED], CORRECTED, 7 + 2 * YEAR, ""),
        ([ENDED, CORRECTED], CORRECTED, 7, ""),
        ([ENDED, CORRECTED], ENDED, 7, "only corrections"),
        ([], interval(6, 7), 7, ""),
        ([], interval(7, 7), 7, "an interval must end after its start"),
        ([], interval(6, 8), 7, "not in the future"),
        ([reading(1_500, 2_500)], reading(1_500, 2_500), 7, ""),
        ([reading(1_500, 2_500)], reading(1_499, 2_500), 7, "falls from 1500 to 1499"),
        ([reading(1_500, 2_500)], reading(1_500, 2_499), 7, "falls from 2500 to 2499"),
        ([interval(6, 7)], reading(999), 7, "falls from 1000 to 999"),
        ([], issued(1), 7, ""),
        ([], issued(2), 7, "checkpoint 2 follows 0"),
        ([issued(1)], issued(1), 7, "checkpoint 1 follows 1"),
        ([issued(1)], issued(2), 7, ""),
        ([issued(1)], issued(3), 7, "checkpoint 3 follows 1"),
        ([], answered(1), 7, "an answer to checkpoint 1 of 0, after 0"),
        ([issued(1)], answered(1), 7, ""),
        ([issued(1)], answered(0), 7, "an answer to checkpoint 0 of 1, after 0"),
        ([issued(1)], answered(2), 7, "an answer to checkpoint 2 of 1, after 0"),
        ([issued(1), answered(1)], answered(1), 7, "an answer to checkpoint 1 of 1, after 1"),
        ([issued(1), answered(1, "out_of_order")], answered(1), 7, ""),
        ([issued(1), issued(2), answered(2)], answered(1), 7, "an answer to checkpoint 1 of 2, after 2"),
    ],
)
def test_an_entry_has_bounds_of_time_and_registers(
    before: list[AnyRecord], record: AnyRecord, utc_ms: int, said: str
) -> None:
    """A session of a year or more is a wrong clock: no reader has to walk through a million quarter hours."""
    journal = Journal()
    for each in (START, *before):
        journal.append(each, 7)
    if said:
        with pytest.raises(StoreError, match=said):
            journal.append(record, utc_ms)
    else:
        journal.append(record, utc_ms)


def test_a_journal_says_how_far_it_is() -> None:
    """Before anything is in it, and after each entry; a correction ends nothing anew."""
    journal = Journal()
    state = journal.state
    assert (state.head, state.count, state.ended, state.problem(START, 0)) == ("0" * 64, 0, False, "")
    assert (state.utc_ms, state.start_ms, state.import_mwh, state.export_mwh) == (0, 0, 0, 0)
    data = b""
    for count, (record, ended) in enumerate(((START, False), (ENDED, True), (CORRECTED, True)), 1):
        data += journal.append(record, 7)
        for state in (journal.state, Journal.resume(data).state):
            assert (state.count, state.ended, state.utc_ms) == (count, ended, 7)
            assert (state.import_mwh, state.export_mwh) == (1_000, 2_000)
            assert state.head == verify_lines(data)[-1].hash


def test_a_journal_says_what_was_wrong_with_its_last_reading_and_how_far_it_is_countersigned() -> None:
    """Only a receipt that countersigns counts."""
    journal = Journal()
    state = journal.state
    found = [(state.status, state.checkpoint, state.countersigned)]
    missing = msgspec.structs.replace(reading(), status=("missing",))
    for record in (START, missing, reading(), issued(1), issued(2), answered(1), answered(2, "out_of_order")):
        journal.append(record, 7)
        found.append((state.status, state.checkpoint, state.countersigned))
    assert found == [
        ((), 0, 0), ((), 0, 0), (("missing",), 0, 0), ((), 0, 0), ((), 1, 0), ((), 2, 0), ((), 2, 1), ((), 2, 1),
    ]  # fmt: skip


def test_lines_of_another_journal_in_the_right_place_are_found() -> None:
    """By number, by link and by hash, each alone."""
    other = Journal()
    other.append(msgspec.structs.replace(START, station_id="other"), 1)
    skipped = JournalState()
    skipped.count, skipped.head = 2, verify_lines(JOURNAL[0])[0].hash
    for second, said in (
        (other.append(reading(1_001), 1), "does not continue the previous one"),
        (Journal(skipped).append(reading(1_001), 1), "entry 2 found, 1 expected"),
        (JOURNAL[1].replace(b'"import_mwh":1001', b'"import_mwh":1002'), "hash does not match"),
    ):
        with pytest.raises(VerificationError, match=said) as error:
            verify_lines(JOURNAL[0] + second)
        assert error.value.where == "journal.jsonl:2"


def test_time_that_runs_back_is_found() -> None:
    """Even where every hash is right."""

    class Timeless(JournalState):
        def advance(self, record: AnyRecord, utc_ms: int, head: str) -> None:
            super().advance(record, utc_ms, head)
            self.utc_ms = 0

    journal = Journal(Timeless())
    data = journal.append(START, 5) + journal.append(reading(), 5)
    verify_lines(data)
    with pytest.raises(VerificationError, match="time goes back by 1 ms"):
        verify_lines(data + journal.append(reading(), 4))


def test_a_line_may_be_as_long_as_the_bound() -> None:
    """A million bytes, of which none is read where there is one more."""
    journal = Journal()
    room = 1_000_000 - (len(journal.append(START, 1)) - 1) + len(START.station_id)
    longest = Journal().append(msgspec.structs.replace(START, station_id="C" * room), 1)
    assert len(longest) == 1_000_001  # with its line feed
    verify_lines(longest)
    with pytest.raises(VerificationError, match="a line of 1000001 bytes"):
        verify_lines(Journal().append(msgspec.structs.replace(START, station_id="C" * (room + 1)), 1))


def test_another_form_of_the_same_content_is_refused_though_its_hash_is_right() -> None:
    """The hash is over the bytes of the line without it; these must be canonical, too."""
    line = Journal().append(START, 5).replace(b'"utc_ms":5', b'"utc_ms": 5')
    place = line.index(b',"hash":"')
    digest = hashlib.sha256(line[:place] + line[place + 74 : -1]).hexdigest().encode()
    with pytest.raises(VerificationError, match="not in canonical form") as caught:
        verify_lines(line[: place + 9] + digest + line[place + 73 :])
    assert (caught.value.where, caught.value.hint) == ("journal.jsonl:1", "it was edited after it was written")


@pytest.mark.requirement("R197")
@given(data=st.data())
@settings(max_examples=60)
def test_of_a_broken_journal_the_other_lines_can_be_read(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(JOURNAL) - 1))
    bad = data.draw(st.sampled_from([b"", b"{broken", b"\xff\xfe", b"\0" * 70, b"[" * 5000, JOURNAL[at][:-20]])) + b"\n"
    broken = b"".join([*JOURNAL[:at], bad, *JOURNAL[at + 1 :]])
    found = list(readable_lines(broken))
    whole = verify_lines(DATA)
    assert [entry for _, entry, _ in found] == [*whole[:at], *whole[at + 1 :]]
    assert [number for number, _, valid in found if valid] == list(range(1, at + 1))
    with pytest.raises(VerificationError) as error:
        verify_lines(broken)
    assert error.value.where == f"journal.jsonl:{at + 1}"


@pytest.mark.requirement("R197")
def test_lines_from_where_the_chain_is_broken_on_can_be_read_and_prove_nothing() -> None:
    """Each line is whole; one is not what the next one was chained to."""
    missing = b"".join([*JOURNAL[:2], *JOURNAL[3:]])
    assert [(number, entry.kind, valid) for number, entry, valid in readable_lines(missing)] == [
        (1, "session_started", True), (2, "meter_reading", True), *((n, "meter_reading", False) for n in range(3, 7)),
        (7, "session_ended", False),
    ]  # fmt: skip


@pytest.mark.requirement("R197")
@given(st.binary(max_size=300))
def test_arbitrary_octets_have_no_readable_line(data: bytes) -> None:
    assert list(readable_lines(data)) == []
