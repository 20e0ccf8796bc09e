"""The charger's ledger: intervals close themselves, and a killed process is continued without a gap."""

import pytest

from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import QUARTER_MS, Tariff
from v2g.energy.settlement.intervals import next_quarter
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.records import (
    IntervalClosed,
    MeterReading,
    SessionEnded,
    SessionStarted,
    TariffSet,
    VehicleDescribed,
)
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.settlement.settle import settle
from v2g.errors import StoreError, VerificationError

T0 = 2_000_000 * QUARTER_MS + 1_000
START = SessionStarted(
    station_id="CS",
    evse_id="DE*V2G*E1",
    session_id="00" * 8,
    meter_serial="M",
    meter_certificate="ab" * 32,
    charger_certificate="cd" * 32,
    import_mwh=0,
    export_mwh=0,
)


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
    ledger.record(reading(2), begin + 180_001)
    assert ledger.next_reading_ms == ledger.next_boundary_ms == next_quarter(T0)


@pytest.mark.parametrize("survived", range(1, len(whole_run())))
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


@pytest.mark.parametrize("survived", range(1, len(whole_run()) - 2))
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


def test_a_resumed_ledger_can_also_go_on() -> None:
    """A restart need not be the end."""
    lines = whole_run()
    ledger = SessionJournal.resume(b"".join(lines[:4]))
    more = ledger.record(reading(500_000), T0 + 3 * QUARTER_MS)
    more += ledger.end("vehicle", T0 + 3 * QUARTER_MS + 5, import_mwh=500_000, export_mwh=0)
    assert settle(verify_lines(b"".join(lines[:4] + more))).state == "closed"


def test_a_journal_whose_intervals_are_not_its_readings_is_not_continued() -> None:
    """Neither by the charger nor by a settlement."""
    from v2g.energy.settlement.journal import Journal

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
