"""Timers of a session: for so long, and for a moment of UTC."""

import pytest

from v2g.iso15118.engine.message_timing import SessionTime


@pytest.mark.parametrize("ahead_ms", [0, 400, 3_600_000])
def test_utc_that_is_set_forward_moves_only_timers_for_a_moment_of_it(ahead_ms: int) -> None:
    time = SessionTime()
    time.at(10.0, 1_000_000)
    time.arm_utc("moment", 1_060_000)
    time.arm("duration", 60.0)
    time.arm_utc("again", 1_030_000)
    time.arm("again", 60.0)  # the moment means nothing any more
    time.at(11.0, 1_001_000 + ahead_ms)
    assert time.timers["duration"] == time.timers["again"] == 70.0
    expected = 11.0 if ahead_ms > 60_000 else 70.0
    assert time.timers["moment"] == pytest.approx(expected, abs=0.01)
