"""Rollover, reset, missing readings and a jumping clock: each is marked, and only energy between readings counts."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from tests.journal_start import START
from tests.together import together
from v2g.energy.settlement.journal import Entry, Journal, verify_lines
from v2g.energy.settlement.records import IntervalClosed, MeterReading, SessionStarted
from v2g.energy.settlement.registers import MeterState
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.settlement.settle import Settlement, settle
from v2g.errors import StoreError, VerificationError
from v2g.units import QUARTER_MS

T0 = 2_000_000 * QUARTER_MS
MAXIMUM = 10**12
"""Of a meter with six digits of kWh, mWh."""

MISSING = MeterReading(import_mwh=0, export_mwh=0, reason="interval", status=("missing",))


def started(import_mwh: int, *, rolls: bool = True) -> SessionStarted:
    return replace(START, import_mwh=import_mwh, rollover_mwh=MAXIMUM if rolls else UNSET)


def shown(import_mwh: int, export_mwh: int = 0) -> MeterReading:
    return MeterReading(import_mwh=import_mwh, export_mwh=export_mwh)


class Run:
    """A journal from shown registers, minute by minute."""

    def __init__(self, import_mwh: int, *, rolls: bool = True) -> None:
        self.journal = SessionJournal()
        self.lines = self.journal.record(started(import_mwh, rolls=rolls), T0)

    def read(self, minute: float, record: MeterReading) -> None:
        self.lines += self.journal.record(record, T0 + round(minute * 60_000))

    def end(self, minute: int, **registers: int) -> Settlement:
        self.lines += self.journal.end("vehicle", T0 + minute * 60_000, **registers)
        return settle(self.entries)

    @property
    def data(self) -> bytes:
        return b"".join(self.lines)

    @property
    def entries(self) -> tuple[Entry, ...]:
        return verify_lines(self.data)

    @property
    def readings(self) -> list[MeterReading]:
        return [entry.data for entry in self.entries if isinstance(entry.data, MeterReading)]


def energy(settlement: Settlement) -> int:
    return settlement.end.import_mwh - settlement.begin.import_mwh


def test_energy_counts_over_a_rollover_and_the_reading_says_what_the_meter_showed() -> None:
    run = Run(MAXIMUM - 3_000_000)
    run.read(5, shown(MAXIMUM - 1_000_000))
    run.read(10, shown(2_000_000, 7))
    settlement = run.end(20, import_mwh=4_000_000, export_mwh=9)
    _, rolled, last = run.readings
    assert (rolled.import_mwh, rolled.shown_import_mwh, rolled.status) == (
        MAXIMUM + 2_000_000,
        2_000_000,
        ("rollover",),
    )
    assert (last.import_mwh, last.shown_import_mwh, last.status) == (MAXIMUM + 4_000_000, 4_000_000, UNSET)
    assert (last.export_mwh, last.shown_export_mwh) == (9, 9)
    assert (energy(settlement), sum(line.energy_mwh for line in settlement.lines)) == (7_000_000, 7_000_009)
    assert [each.status for each in settlement.intervals] == [("rollover",), UNSET]


def test_nothing_counts_across_a_reset_and_what_follows_does() -> None:
    """Also of the register that did not fall: another meter has other registers."""
    run = Run(500_000_000, rolls=False)
    run.read(5, shown(501_000_000, 100))
    run.read(10, shown(3_000_000, 5_000))
    run.read(12, shown(3_500_000, 6_000))
    settlement = run.end(20, import_mwh=4_000_000, export_mwh=6_000)
    assert (energy(settlement), settlement.end.export_mwh) == (2_000_000, 1_100)
    assert [each.status for each in run.readings] == [UNSET, ("reset",), UNSET, UNSET]
    assert settlement.intervals[0].status == ("reset",)
    assert sum(line.energy_mwh for line in settlement.lines) == 2_001_100


@pytest.mark.parametrize(("more", "status"), [(0, None), (1, "reset")])
def test_more_than_any_vehicle_takes_is_another_meter(more: int, status: str | None) -> None:
    """The bound is that of the span between the readings; without a maximum a register does not start again."""
    most, margin = 166_666_666, 100_000_000
    state = MeterState(T0, 10, 20, 10, 20)
    after, found = state.follow(10 + most + more, 20, T0 + 60_000)
    assert (found, after.import_mwh) == (status, 10 if status else 10 + most)
    assert state.follow(9, 20, T0)[1] == "reset"
    rolls = MeterState(T0, MAXIMUM, 5, MAXIMUM - 1, 5, MAXIMUM)
    assert rolls.follow(margin - 1 + more, 5, T0)[1] == (status or "rollover")
    assert rolls.follow(MAXIMUM, 5, T0)[1] is None
    assert state.follow(11, 20, T0 - 3_600_000)[1] is None  # a clock that went back
    assert MeterState(T0, 2_000, 0, 2_000, 0, 1_000).follow(1_000, 0, T0)[1] == "reset"  # no register of this maximum


def test_what_the_meter_shows_follows_from_the_entry_in_each_direction() -> None:
    """An entry that leaves it out says that it is the register; a wrong status is refused."""
    state = MeterState(T0, 10, 20, 10, 20)
    assert state.problem(shown(11, 20), T0) == ""
    assert state.problem(replace(shown(11, 20), shown_export_mwh=19), T0)
    assert state.problem(replace(shown(11, 20), shown_import_mwh=10), T0)
    for offset in (MeterState(T0, 10, 20, 5, 20), MeterState(T0, 10, 20, 10, 5)):
        assert offset.problem(shown(11, 20), T0)
    after = state.after(replace(shown(10, 20), shown_export_mwh=3), T0)
    assert (after.shown_import_mwh, after.shown_export_mwh) == (10, 3)
    rolls = MeterState(T0, MAXIMUM, 5, MAXIMUM - 1, 5, MAXIMUM)
    entry = replace(shown(MAXIMUM + 2, 5), shown_import_mwh=1, shown_export_mwh=5)
    assert rolls.problem(replace(entry, status=("rollover",)), T0) == ""
    assert rolls.problem(replace(entry, status=("reset",)), T0)


def test_a_missing_reading_is_interpolated_between_its_neighbours_and_marked() -> None:
    run = Run(0)
    run.read(5, shown(5_000_000))
    run.read(15.01, MISSING)
    assert run.journal.next_boundary_ms == T0 + 2 * QUARTER_MS  # not at once again
    run.read(25, shown(25_000_000))
    run.read(30.01, shown(26_000_000))
    settlement = run.end(31, import_mwh=26_000_000, export_mwh=0)
    cut = settlement.intervals[0]
    assert (cut.import_end_mwh, cut.ends, cut.status) == (15_000_000, "interpolated", ("missing",))
    assert [each.status for each in settlement.intervals] == [("missing",), ("missing",), UNSET]
    assert (run.readings[1].import_mwh, energy(settlement)) == (5_000_000, 26_000_000)
    assert SessionJournal.resume(b"".join(run.lines[:4])).next_boundary_ms == T0 + 2 * QUARTER_MS


def test_a_session_whose_meter_is_silent_ends_with_the_last_registers() -> None:
    """Over several quarter hours; killed after any line it ends with the same lines."""
    run = Run(0)
    run.read(5, shown(5_000_000))
    run.read(40, MISSING)
    settlement = run.end(50)
    assert (settlement.end.basis, settlement.end.status, energy(settlement)) == ("substitute", ("missing",), 5_000_000)
    assert [each.ends for each in settlement.intervals] == ["interpolated", "interpolated", "substitute"]
    assert [each.status for each in settlement.intervals] == [("missing",)] * 3
    ended = next(n for n, line in enumerate(run.lines) if b'"reason":"end"' in line)
    for kept in range(ended + 2, len(run.lines)):
        journal = SessionJournal.resume(b"".join(run.lines[:kept]))
        rest = journal.end("vehicle", T0 + 50 * 60_000)
        assert b"".join(run.lines[:kept] + rest) == run.data


def test_a_clock_that_jumps_back_is_marked_and_energy_stays_exact() -> None:
    run = Run(0)
    run.read(10, shown(1_000_000))
    run.read(2, shown(2_000_000))
    run.read(9.99, shown(2_500_000))
    settlement = run.end(12, import_mwh=3_000_000, export_mwh=0)
    assert [each.status for each in run.readings] == [UNSET, ("time_jump",), UNSET, UNSET]
    assert (settlement.intervals[0].status, energy(settlement)) == (("time_jump",), 3_000_000)


def test_several_things_may_be_wrong_with_one_reading() -> None:
    run = Run(MAXIMUM - 1)
    run.read(10, shown(MAXIMUM - 1))
    run.read(2, shown(1))
    run.read(3, replace(shown(2), status=("time_jump",)))
    assert [each.status for each in run.readings] == [UNSET, ("rollover", "time_jump"), ("time_jump",)]


@together(
    "forged",
    [
        replace(MISSING, import_mwh=5_000_001),
        replace(shown(5_000_000), shown_import_mwh=4_999_999),
        replace(shown(6_000_000), shown_import_mwh=1_000_000, status=("rollover",)),
        replace(shown(5_000_001), shown_import_mwh=1_000_000, shown_export_mwh=0, status=("reset",)),
        replace(shown(6_000_000), status=("reset",)),
        replace(shown(MAXIMUM + 1), shown_import_mwh=1, shown_export_mwh=0, status=("reset",)),
    ],
)
def test_registers_that_do_not_follow_from_what_the_meter_showed_are_no_entry(forged: MeterReading) -> None:
    """Neither written nor read."""
    run = Run(0)
    run.read(5, shown(5_000_000))
    journal = Journal.resume(run.data)
    with pytest.raises(StoreError, match=r"missing reading has|do not follow"):
        journal.append(forged, T0 + 400_000)
    run.read(6, shown(5_000_000))
    with pytest.raises(VerificationError):
        verify_lines(run.data.replace(b'"status"', b'"statuz"') + run.lines[-1])


EVENTS = st.lists(
    st.tuples(st.sampled_from(("flow", "reset", "silent", "back")), st.integers(0, 2_000_000)), max_size=30
)


@pytest.mark.requirement("R31")
@given(EVENTS, st.sampled_from((MAXIMUM // 2, MAXIMUM - 3_000_000)))
def test_whatever_a_meter_does_energy_is_the_sum_of_what_readings_of_one_register_support(
    events: list[tuple[str, int]], register: int
) -> None:
    """By a model of the meter: energy since its last reading is lost where it is exchanged, and nowhere else."""
    run, counted, unread, minute, seen = Run(register), 0, 0, 0, register
    for kind, amount in events:
        minute += 0 if kind == "back" else 7
        if kind == "reset" and not 0 < seen < MAXIMUM - 4_000_000:
            continue  # cannot be distinguished from a rollover, or from nothing
        if kind == "reset":
            register = unread = amount = 0
        register = (register + amount) % MAXIMUM
        unread += amount
        if kind == "silent":
            run.read(minute, MISSING)
            continue
        counted, unread, seen = counted + unread, 0, register
        run.read(minute - 3 if kind == "back" else minute, shown(register))
    settlement = run.end(minute + 1, import_mwh=register, export_mwh=0)
    assert energy(settlement) == counted + unread == sum(line.energy_mwh for line in settlement.lines)
    for before, after in pairwise(settlement.intervals):
        assert (before.import_end_mwh, before.end_ms) == (after.import_begin_mwh, after.start_ms)
    closed = [entry.data for entry in run.entries if isinstance(entry.data, IntervalClosed)]
    assert tuple(closed) == settlement.intervals
