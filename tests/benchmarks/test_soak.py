"""The soak itself: its programs start, its vehicles come, and its table shows what grows."""

from pathlib import Path

import pytest

from benchmarks.soak import run


@pytest.mark.long
@pytest.mark.requirement("R168")
def test_nothing_grows_in_two_minutes_of_churn(tmp_path: Path) -> None:
    """So soon the allocator still warms up, and memory may grow by a tenth; `make soak` takes an hour, and 2 %."""
    rows = run(tmp_path, 120, most=0.1)
    assert {row[0] for row in rows} == {"csms", "online", "alone", "csms-postgresql", "stations", "gateway"}
    assert {row[1] for row in rows if row[-1] == "whole"} >= {"lost bundles", "lost records", "lost given up"}
    assert [row for row in rows if row[-1] in ("grows", "lost")] == []
