"""Energy is cut at the quarter hours of the clock and never lost or counted twice."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from v2g.energy.settlement.intervals import IntervalCloser, Registers, Timeline, intervals_of, next_quarter
from v2g.units import QUARTER_MS

START = 1_800_000_123_456


@st.composite
def sessions(draw: st.DrawFn) -> list[Registers]:
    """Readings of a session: times and registers that never fall, now and then at a quarter hour exactly."""
    now, taken, fed_back = START + draw(st.integers(0, QUARTER_MS)), 0, 0
    readings = [Registers(now, taken, fed_back)]
    for _ in range(draw(st.integers(1, 25))):
        now = draw(st.sampled_from((now, next_quarter(now), now + draw(st.integers(1, 3 * QUARTER_MS)))))
        taken += draw(st.integers(0, 10**9))
        fed_back += draw(st.integers(0, 10**9))
        readings.append(Registers(now, taken, fed_back))
    return readings


@given(readings=sessions())
def test_intervals_add_up_to_the_registers_and_meet_without_gaps(readings: list[Registers]) -> None:
    """Each direction for itself, to the mWh."""
    intervals = intervals_of(readings, finished=True)
    if readings[-1].utc_ms == readings[0].utc_ms:
        assert intervals == []
        return
    first, last = intervals[0], intervals[-1]
    assert (first.start_ms, first.import_begin_mwh, first.export_begin_mwh) == (readings[0].utc_ms, 0, 0)
    assert (last.end_ms, last.import_end_mwh, last.export_end_mwh) == (
        readings[-1].utc_ms,
        readings[-1].import_mwh,
        readings[-1].export_mwh,
    )
    for before, after in itertools.pairwise(intervals):
        assert before.end_ms == after.start_ms
        assert (before.import_end_mwh, before.export_end_mwh) == (after.import_begin_mwh, after.export_begin_mwh)
        assert before.ends == after.begins
        assert before.end_ms % QUARTER_MS == 0
    for each in intervals:
        assert each.start_ms // QUARTER_MS == (each.end_ms - 1) // QUARTER_MS
        assert each.import_begin_mwh <= each.import_end_mwh
        assert each.export_begin_mwh <= each.export_end_mwh


@given(readings=sessions())
def test_a_boundary_is_metered_exactly_when_a_reading_was_taken_there(readings: list[Registers]) -> None:
    """Otherwise it says that it was interpolated."""
    metered = {reading.utc_ms for reading in readings}
    for each in intervals_of(readings, finished=True):
        assert (each.ends == "metered") == (each.end_ms in metered)
        assert (each.begins == "metered") == (each.start_ms in metered)


@given(readings=sessions())
def test_a_running_closer_and_a_later_look_agree(readings: list[Registers]) -> None:
    """What the charger closed while the session ran is what anybody recomputes, and what a timeline says."""
    closer = IntervalCloser(readings[0])
    closed = [each for reading in readings[1:] for each in closer.add(reading)] + closer.finish()
    assert closed == intervals_of(readings, finished=True)
    timeline = Timeline(readings)
    for each in closed:
        cut = timeline.at(each.end_ms)
        assert (cut.import_mwh, cut.export_mwh) == (each.import_end_mwh, each.export_end_mwh)


def test_energy_at_a_boundary_without_a_reading_is_split_in_proportion() -> None:
    """Two thirds of the time before the quarter hour, two thirds of the energy."""
    boundary = next_quarter(START)
    closer = IntervalCloser(Registers(boundary - 600_000, 1_000, 50))
    (closed,) = closer.add(Registers(boundary + 300_000, 4_000, 350))
    assert (closed.import_end_mwh, closed.export_end_mwh, closed.ends) == (3_000, 250, "interpolated")
    assert closer.next_boundary_ms == boundary + QUARTER_MS


def test_a_reading_at_the_boundary_counts_as_it_is() -> None:
    """No interpolation where the meter was asked; of two readings at that ms the later one."""
    boundary = next_quarter(START)
    closer = IntervalCloser(Registers(boundary - 1_000, 0, 0))
    assert closer.add(Registers(boundary, 7, 1)) == []
    assert closer.add(Registers(boundary, 9, 2)) == []
    (closed,) = closer.add(Registers(boundary + 1, 9, 2))
    assert (closed.import_end_mwh, closed.export_end_mwh, closed.ends) == (9, 2, "metered")


def test_a_long_silence_closes_every_quarter_it_covers() -> None:
    """After an outage too, each quarter hour has its interval."""
    boundary = next_quarter(START)
    closer = IntervalCloser(Registers(boundary, 0, 0))
    closed = closer.add(Registers(boundary + 3 * QUARTER_MS + 1, 3_000_000, 0))
    assert [each.end_ms - each.start_ms for each in closed] == [QUARTER_MS] * 3
    assert closer.finish()[0].end_ms == boundary + 3 * QUARTER_MS + 1
    assert closer.finish() == []


def test_a_quarter_hour_is_not_read_again_after_the_meter_was_silent_there() -> None:
    """A silence before its end asks for no other boundary; the last reading is that which the meter answered."""
    boundary = next_quarter(START)
    closer = IntervalCloser(Registers(boundary - 600_000, 0, 0))
    closer.add(Registers(boundary - 500_000, 1, 0))
    asked = []
    for after_ms in (-1, 0, 1, QUARTER_MS, QUARTER_MS + 1):
        assert closer.add(Registers(boundary + after_ms, 1, 0, "substitute", ("missing",))) == []
        asked.append((closer.next_boundary_ms - boundary) // QUARTER_MS)
    assert asked == [0, 0, 1, 1, 2]
    assert closer.last_ms == boundary - 500_000
    closed = closer.add(Registers(boundary + QUARTER_MS + 2, 1, 0))
    assert [each.status for each in closed] == [("missing",)] * 2
    assert (closer.last_ms, closer.next_boundary_ms) == (boundary + QUARTER_MS + 2, boundary + 2 * QUARTER_MS)


def test_an_interval_has_the_status_of_the_readings_of_its_energy() -> None:
    """Of one that spans a boundary both intervals have it, and what follows has none."""
    boundary = next_quarter(START)
    closer = IntervalCloser(Registers(boundary - 600_000, 0, 0))
    assert closer.add(Registers(boundary - 300_000, 300, 0, status=("reset",))) == []
    assert closer.add(Registers(boundary + 1, 300, 0, "substitute", ("missing",))) == []
    closed = closer.add(Registers(boundary + 300_000, 900, 0, status=("time_jump",)))
    assert closer.add(Registers(boundary + QUARTER_MS, 900, 0)) == []
    closed += closer.add(Registers(boundary + QUARTER_MS + 1, 901, 0)) + closer.finish()
    assert [(each.import_end_mwh, each.ends, each.status) for each in closed] == [
        (600, "interpolated", ("missing", "reset", "time_jump")),
        (900, "metered", ("missing", "time_jump")),
        (901, "metered", UNSET),
    ]


def test_a_session_that_ends_in_silence_ends_with_a_substitute() -> None:
    boundary = next_quarter(START)
    closer = IntervalCloser(Registers(boundary - 1, 5, 0))
    assert closer.add(Registers(boundary + 1, 5, 0, "substitute", ("missing",))) == []
    assert [(each.ends, each.status) for each in closer.finish()] == [
        ("interpolated", ("missing",)),
        ("substitute", ("missing",)),
    ]
