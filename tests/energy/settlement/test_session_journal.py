"""The charger's ledger: intervals close themselves, and a killed process is continued without a gap."""

import pytest
from msgspec import UNSET

from tests.journal_start import START
from tests.together import together
from v2g.asn1.discharge import PriceSlot
from v2g.energy.discharge_gate import JournalHead
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.intervals import Registers, interval, next_quarter
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.records import (
    CheckpointAnswered,
    CheckpointIssued,
    IntervalClosed,
    MeterReading,
    SessionEnded,
    TariffSet,
    VehicleDescribed,
)
from v2g.energy.settlement.session_journal import SessionJournal, readings_of
from v2g.energy.settlement.settle import settle
from v2g.errors import StoreError, VerificationError
from v2g.units import QUARTER_MS

T0 = 2_000_000 * QUARTER_MS + 1_000


def reading(import_mwh: int) -> MeterReading:
    return MeterReading(import_mwh=import_mwh, export_mwh=0)


def whole_run() -> list[bytes]:
    """Lines of a session over two quarter hours and a bit, ended properly."""
    ledger = SessionJournal()
    lines = ledger.record(START, T0)
    for n in range(1, 8):
        lines += ledger.record(reading(1_000 * n), T0 + n * 300_000)
    return lines + ledger.end("vehicle", T0 + 2_200_000, import_mwh=9_000, export_mwh=0)


def kinds(data: bytes) -> list[str]:
    return [type(entry.data).__name__ for entry in verify_lines(data)]


def test_intervals_close_themselves_and_the_settlement_agrees() -> None:
    """Three: the rest of the first quarter, the second, the beginning of the third."""
    data = b"".join(whole_run())
    settlement = settle(verify_lines(data))
    assert [i.end_ms - i.start_ms for i in settlement.intervals] == [QUARTER_MS - 1_000, QUARTER_MS, 401_000]
    assert settlement.state == "closed"
    assert kinds(data)[-2:] == ["IntervalClosed", "SessionEnded"]


def test_the_next_boundary_is_where_the_meter_should_be_read() -> None:
    """None before the session, then always the next quarter hour that is not closed."""
    ledger = SessionJournal()
    assert ledger.next_boundary_ms is None
    ledger.record(START, T0)
    assert ledger.next_boundary_ms == next_quarter(T0)
    ledger.record(reading(1), next_quarter(T0))
    ledger.record(reading(1), next_quarter(T0) + 1)
    assert ledger.next_boundary_ms == next_quarter(T0) + QUARTER_MS


@pytest.mark.requirement("R7")
def test_the_meter_should_be_read_where_the_price_changes() -> None:
    """Also after a restart; not between slots of the same price."""
    begin = T0 - 1_000
    minutes = (PriceSlot(begin + n * 60_000, 60_000, price, 0) for n, price in enumerate((5, 5, 6, 7)))
    ledger = SessionJournal()
    assert ledger.next_reading_ms is None
    lines = ledger.record(START, T0)
    assert ledger.next_reading_ms == next_quarter(T0)
    lines += ledger.record(TariffSet(tariff=Tariff(currency="EUR", slots=tuple(minutes))), T0)
    assert ledger.next_reading_ms == begin + 120_000
    lines += ledger.record(reading(1), begin + 120_001)
    assert ledger.next_reading_ms == begin + 180_000
    assert SessionJournal.resume(b"".join(lines)).next_reading_ms == begin + 180_000
    ledger.record(reading(2), begin + 180_000)
    assert ledger.next_reading_ms == ledger.next_boundary_ms == next_quarter(T0)


def test_the_meter_is_read_at_the_prices_of_the_last_tariff_after_a_restart() -> None:
    ledger, begin = SessionJournal(), T0 - 1_000
    data = b"".join(ledger.record(START, T0))
    for minute in (1, 2):
        slots = (PriceSlot(begin, minute * 60_000, 1, 0), PriceSlot(begin + minute * 60_000, 60_000, 2, 0))
        data += b"".join(ledger.record(TariffSet(tariff=Tariff(currency="EUR", slots=slots)), T0))
    assert SessionJournal.resume(data).next_reading_ms == ledger.next_reading_ms == begin + 120_000


def test_a_checkpoint_is_of_the_present_head_and_registers() -> None:
    ledger = SessionJournal()
    data = b"".join(ledger.record(START, T0) + ledger.record(MeterReading(import_mwh=7, export_mwh=8), T0 + 5))
    for number in (1, 2):
        data += b"".join(ledger.record(CheckpointIssued(number=number, payload=b"c"), T0 + 5))
    data += b"".join(ledger.record(CheckpointAnswered(number=1, status="countersigned", payload=b"r"), T0 + 6))
    last = verify_lines(data)[-1].hash
    head = JournalHead(entries=5, head=last, import_mwh=7, export_mwh=8, checkpoint=2, countersigned=1)
    assert ledger.head == SessionJournal.resume(data).head == head


@together("survived", range(1, len(whole_run())))
def test_a_session_killed_after_any_line_is_open_and_can_be_closed(survived: int) -> None:
    """With the last durable registers, whatever line the process was killed after."""
    left = b"".join(whole_run()[:survived])
    assert settle(verify_lines(left)).state == "open"
    ledger = SessionJournal.resume(left)
    last = ledger.state.import_mwh
    data = left + b"".join(ledger.end("aborted", T0 + 10 * QUARTER_MS))
    settlement = settle(verify_lines(data))
    assert (settlement.state, settlement.reason) == ("closed", "aborted")
    assert settlement.end.import_mwh == last
    assert sum(line.energy_mwh for line in settlement.lines) == last


@together("survived", range(1, len(whole_run()) - 2))
def test_a_killed_session_can_be_closed_with_what_the_meter_says_after_the_restart(survived: int) -> None:
    """Energy that flowed after the last durable line is not lost when the meter kept it."""
    left = b"".join(whole_run()[:survived])
    ledger = SessionJournal.resume(left)
    lines = ledger.end("aborted", T0 + 10 * QUARTER_MS, import_mwh=50_000, export_mwh=0)
    settlement = settle(verify_lines(left + b"".join(lines)))
    assert settlement.end.import_mwh == 50_000
    assert sum(line.energy_mwh for line in settlement.lines) == 50_000
    assert len(settlement.intervals) == 11


def test_a_session_killed_before_its_last_line_only_is_closed_as_it_was() -> None:
    """Its last interval is written; what the meter says later belongs to no session."""
    left = b"".join(whole_run()[:-1])
    lines = SessionJournal.resume(left).end("aborted", T0 + 10 * QUARTER_MS, import_mwh=50_000, export_mwh=0)
    settlement = settle(verify_lines(left + b"".join(lines)))
    assert (settlement.end.utc_ms, settlement.end.import_mwh) == (T0 + 2_200_000, 9_000)


@pytest.mark.parametrize("missing", [1, 2])
def test_a_session_killed_after_its_last_reading_is_closed_with_the_same_lines(missing: int) -> None:
    """Whatever the meter shows after the restart."""
    lines = whole_run()
    ledger = SessionJournal.resume(b"".join(lines[:-missing]))
    assert ledger.end("vehicle", T0 + 10 * QUARTER_MS, import_mwh=50_000, export_mwh=0) == lines[-missing:]


def test_a_session_has_ended_when_its_last_interval_is_written() -> None:
    """Even if its last reading has another reason than the end."""
    journal = Journal()
    data = journal.append(START, T0) + journal.append(reading(5), T0 + 10)
    data += journal.append(interval(Registers(T0, 0, 0), Registers(T0 + 10, 5, 0)), T0 + 10)
    data += b"".join(SessionJournal.resume(data).end("aborted", T0 + 99, import_mwh=50_000, export_mwh=0))
    assert kinds(data) == ["SessionStarted", "MeterReading", "IntervalClosed", "SessionEnded"]
    assert settle(verify_lines(data)).end.import_mwh == 5


@pytest.mark.parametrize(
    ("registers", "end"),
    [
        ({}, (T0 + 5, 100, 200)),
        ({"import_mwh": 150}, (T0 + 9, 150, 200)),
        ({"export_mwh": 250}, (T0 + 9, 100, 250)),
        ({"import_mwh": 150, "export_mwh": 250}, (T0 + 9, 150, 250)),
    ],
)
def test_a_session_ends_with_the_registers_that_are_known(registers: dict[str, int], end: tuple[int, int, int]) -> None:
    """Those that nobody read are the last durable ones; without any the session ends with its last entry."""
    ledger = SessionJournal()
    lines = ledger.record(START, T0)
    lines += ledger.record(MeterReading(import_mwh=100, export_mwh=200), T0 + 5)
    lines += ledger.end("vehicle", T0 + 9, **registers)
    entries = verify_lines(b"".join(lines))
    settled = settle(entries).end
    assert (settled.utc_ms, settled.import_mwh, settled.export_mwh) == end
    assert [e.data.reason for e in entries if isinstance(e.data, MeterReading)] == ["periodic", "end"]


def test_a_clock_that_goes_back_bends_no_interval() -> None:
    """The reading counts at the time that the journal gave it; entries of other kinds close nothing."""
    ledger = SessionJournal()
    lines = ledger.record(START, T0)
    lines += ledger.record(reading(1_000), T0 + QUARTER_MS)
    lines += ledger.record(VehicleDescribed(evcc_id="A"), T0 + QUARTER_MS)
    lines += ledger.record(reading(2_000), T0 + 5)
    lines += ledger.end("vehicle", T0 + 2 * QUARTER_MS, import_mwh=902_000, export_mwh=0)
    assert [i.import_end_mwh for i in settle(verify_lines(b"".join(lines))).intervals] == [998, 901_000, 902_000]


@pytest.mark.parametrize(("back_ms", "status"), [(1_000, UNSET), (1_001, ("time_jump",))])
def test_a_clock_has_jumped_that_goes_back_by_more_than_a_second(back_ms: int, status: object) -> None:
    ledger = SessionJournal()
    data = ledger.record(START, T0)[0] + ledger.record(reading(1), T0 + 60_000)[0]
    data += ledger.record(reading(2), T0 + 60_000 - back_ms)[0]
    last = verify_lines(data)[-1].data
    assert isinstance(last, MeterReading)
    assert last.status == status


@pytest.mark.parametrize(
    ("read_ms", "status"),
    [(3_600_000, UNSET), (3_599_999, UNSET), (60_000, ("time_jump",))],
)
def test_what_a_meter_can_have_counted_is_that_of_the_journals_time(read_ms: int, status: object) -> None:
    """1000 kWh in an hour are possible; in a minute they would be those of another meter."""
    ledger = SessionJournal()
    data = ledger.record(START, T0)[0]
    if read_ms < 3_600_000:
        data += ledger.record(VehicleDescribed(evcc_id="A"), T0 + 3_600_000)[0]
    data += ledger.record(reading(1_000_000_000), T0 + read_ms)[0]
    last = verify_lines(data)[-1].data
    assert isinstance(last, MeterReading)
    assert (last.import_mwh, last.status) == (1_000_000_000, status)


def test_a_restart_remembers_that_the_meter_was_silent() -> None:
    """The interval around the silence is marked as before it."""
    ledger = SessionJournal()
    lines = ledger.record(START, T0)
    lines += ledger.record(MeterReading(import_mwh=0, export_mwh=0, status=("missing",)), T0 + 60_000)
    lines += ledger.record(reading(7), T0 + QUARTER_MS)
    closed = verify_lines(b"".join(lines))[-1].data
    assert isinstance(closed, IntervalClosed)
    assert closed.status == ("missing",)
    resumed = SessionJournal.resume(b"".join(lines))
    later = T0 + 2 * QUARTER_MS
    assert resumed.record(reading(8), later) == ledger.record(reading(8), later)


def test_readings_of_a_journal_are_those_that_the_meter_answered_and_the_end() -> None:
    """A substitute is one where it is asked for, or at the end; an end of its own time counts, too."""
    missing = MeterReading(import_mwh=0, export_mwh=0, status=("missing",))
    journal = SessionJournal()
    lines = journal.record(START, T0)
    for after_ms, record in ((10, reading(5)), (20, missing), (30, reading(7)), (40, missing)):
        lines += journal.record(record, T0 + after_ms)
    open_entries = verify_lines(b"".join(lines))
    assert [each.utc_ms - T0 for each in readings_of(open_entries)] == [0, 10, 30, 40]
    assert [each.utc_ms - T0 for each in readings_of(open_entries, substitutes=True)] == [0, 10, 20, 30, 40]
    ended = SessionEnded(reason="x", import_mwh=9, export_mwh=0)
    lines.append(Journal.resume(b"".join(lines)).append(ended, T0 + 50))
    entries = verify_lines(b"".join(lines))
    assert readings_of(entries)[-2:] == [Registers(T0 + 30, 7, 0), Registers(T0 + 50, 9, 0)]
    assert readings_of(entries[-1:]) == [Registers(T0 + 50, 9, 0)]


def test_a_resumed_ledger_can_also_go_on() -> None:
    """A restart need not be the end."""
    lines = whole_run()
    ledger = SessionJournal.resume(b"".join(lines[:4]))
    more = ledger.record(reading(500_000), T0 + 3 * QUARTER_MS)
    more += ledger.end("vehicle", T0 + 3 * QUARTER_MS + 5, import_mwh=500_000, export_mwh=0)
    assert settle(verify_lines(b"".join(lines[:4] + more))).state == "closed"


def test_a_journal_whose_intervals_are_not_its_readings_is_not_continued() -> None:
    """Neither by the charger nor by a settlement."""
    journal = Journal()
    lines = [journal.append(START, T0)]
    false = IntervalClosed(
        start_ms=T0,
        end_ms=T0 + 1,
        import_begin_mwh=0,
        import_end_mwh=0,
        export_begin_mwh=0,
        export_end_mwh=0,
        begins="metered",
        ends="metered",
    )
    lines.append(journal.append(false, T0 + 10))
    data = b"".join(lines)
    with pytest.raises(VerificationError) as error:
        SessionJournal.resume(data)
    assert error.value.where == "journal.jsonl:1"
    with pytest.raises(VerificationError) as error:
        settle(verify_lines(data))
    assert error.value.where == "journal.jsonl:2"
    unclosed = lines[0] + Journal.resume(lines[0]).append(reading(5), T0 + 5)
    ended = unclosed + Journal.resume(unclosed).append(SessionEnded(reason="x", import_mwh=5, export_mwh=0), T0 + 5)
    with pytest.raises(VerificationError, match="is missing"):
        settle(verify_lines(ended))


def test_the_ledger_writes_ends_and_intervals_itself_only() -> None:
    """And once."""
    ledger = SessionJournal()
    with pytest.raises(StoreError, match="no session"):
        ledger.end("x", T0)
    ledger.record(START, T0)
    with pytest.raises(StoreError, match="end\\(\\)"):
        ledger.record(SessionEnded(reason="x", import_mwh=0, export_mwh=0), T0)
    ledger.end("x", T0)
    with pytest.raises(StoreError):
        ledger.end("x", T0)
