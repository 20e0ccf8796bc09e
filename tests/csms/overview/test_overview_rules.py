"""Whether today is good, and what flows."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from csms.console.present import flow_bar
from csms.overview.rules import DayFacts, beside, energy_wh, verdict


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"known": 0, "critical": 3}, "No station has connected yet."),
        ({"exceeded": ("site depot",), "critical": 3}, "Not good: site depot is above its limit."),
        ({"exceeded": ("all",)}, "Not good: the grid's limit over all stations is exceeded."),
        ({"critical": 2, "ready": 0.5}, "Not good: critical alerts are open, 2."),
        ({"ready": 0.89}, "Not good: only 89 % of EVSEs work."),
        ({"ready": 0.99, "warnings": 4}, "Good so far, with open warnings: 4."),
        ({"ready": 0.99}, "Good so far: 99 % of EVSEs work, every limit is kept."),
        ({}, "Good so far: nothing needs a person."),
    ],
)
def test_the_worst_of_what_may_be_seen_answers(facts: dict[str, Any], said: str) -> None:
    text, values = verdict(DayFacts(**{"critical": 0, "warnings": 0, **facts}))
    assert text.format_map(values) == said


@given(some.integers(0, 10**7), some.integers(0, 10**7), some.none() | some.integers(0, 10**7))
def test_what_comes_goes_and_no_part_lies_over_another(import_w: int, export_w: int, limit_w: int | None) -> None:
    bar = flow_bar(import_w, export_w, limit_w)
    assert sum(each.watts for each in bar.sources) == sum(each.watts for each in bar.sinks) == max(import_w, export_w)
    for lane in (bar.sources, bar.sinks):
        x = 0.0
        for each in lane:
            assert each.x == pytest.approx(x)
            x += each.width
        assert x <= 100.001
    if bar.limit_x is not None:
        assert 0 <= bar.limit_x <= 100.001
        grid = next((each for each in bar.sources if each.of == "Grid"), None)
        if grid is not None and limit_w is not None and grid.watts > 0:
            assert (grid.x + grid.width > bar.limit_x + 0.001) == (grid.watts > limit_w)


def test_energy_is_compared_with_yesterday_by_the_same_time() -> None:
    assert energy_wh([12_000, None, 6_000], 300_000) == 1500
    assert beside(10.0, None) is beside(10.0, 0.0) is None
    for now_wh, said in ((106.0, "6 % more energy"), (94.0, "6 % less energy"), (100.2, "As much energy as yesterday")):
        found = beside(now_wh, 100.0)
        assert found is not None
        assert found[0].format_map(found[1]).startswith(said)
