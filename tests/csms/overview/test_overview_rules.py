"""Whether today is good, and what flows."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from csms.console.present import flow_bar
from csms.overview.rules import DayFacts, PowerPoint, PowerTrend, beside, energy_wh, hours_wh, trend, verdict
from tests.together import together
from v2g.units import HOUR_MS


@together(
    ("facts", "said"),
    [
        ({"known": 0, "critical": 3}, "No station has connected yet."),
        ({"exceeded": ("site depot",), "critical": 3}, "Not good: site depot is above its limit."),
        ({"exceeded": ("all",)}, "Not good: the grid's limit over all stations is exceeded."),
        ({"critical": 2, "ready": 0.5}, "Not good, with open critical alerts: 2."),
        ({"ready": 0.89}, "Not good: only 89 % of EVSEs work."),
        ({"ready": 0.99, "warnings": 4}, "Good so far, with open warnings: 4."),
        ({"ready": 0.99}, "Good so far: 99 % of EVSEs work, every limit is kept."),
        ({"ready": 0.9}, "Good so far: 90 % of EVSEs work, every limit is kept."),
        ({"ready": 0.0}, "Not good: only 0 % of EVSEs work."),
        ({"ready": 0.99, "known": 1}, "Good so far: 99 % of EVSEs work, every limit is kept."),
        ({"ready": None, "warnings": 1}, "Good so far, with open warnings: 1."),
        ({"critical": None, "warnings": None}, "Good so far: nothing needs a person."),
        ({"critical": 1, "exceeded": ()}, "Not good, with open critical alerts: 1."),
        ({"exceeded": ("b", "a")}, "Not good: b is above its limit."),
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
    yesterday, week = "than yesterday by this time.", "into vehicles than in the 7 days before."
    for now_wh, days, said in (
        (212.0, 1, f"6 % more energy {yesterday}"), (188.0, 1, f"6 % less energy {yesterday}"),
        (202.0, 1, f"1 % more energy {yesterday}"), (200.4, 1, "As much energy as yesterday by this time."),
        (0.0, 1, f"100 % less energy {yesterday}"), (212.0, 7, f"6 % more energy {week}"),
        (188.0, 7, f"6 % less energy {week}"), (200.0, 7, f"0 % more energy {week}"),
        (212.0, 2, "6 % more energy into vehicles than in the 2 days before."),
    ):  # fmt: skip
        found = beside(now_wh, 200.0, days)
        assert found is not None
        assert found[0].format_map(found[1]) == said
    assert beside(212.0, 200.0) == beside(212.0, 200.0, 1)
    nothing = beside(200.0, 200.0, 1), beside(200.0, 200.0, 2)
    assert [each and each[1] for each in nothing] == [{}, {"percent": "0", "days": "2"}]


def hour(number: int, import_w: int = 0, export_w: int = 0, **more: Any) -> PowerPoint:
    values: dict[str, Any] = {"unknown": 0, "sessions": 0.0, "evses": 0.0, "ready": 0.0, "import_limit_w": None,
                              "export_limit_w": None, "base_w": None, **more}  # fmt: skip
    return PowerPoint(at_ms=number * HOUR_MS, import_w=import_w, export_w=export_w, **values)


def test_an_hour_that_is_not_over_counts_as_long_as_it_lasted() -> None:
    assert HOUR_MS == 3_600_000
    points = [hour(0, 1000, 400), hour(1, 2000, 600)]
    assert hours_wh(points, "import_w", 2 * HOUR_MS) == hours_wh(points, "import_w", 9 * HOUR_MS) == 3000
    assert hours_wh(points, "import_w", HOUR_MS + HOUR_MS // 4) == 1500
    assert hours_wh(points, "export_w", 2 * HOUR_MS) == 1000
    assert hours_wh([], "import_w", 0) == 0


def test_hours_become_a_day_with_what_was_used_and_worked() -> None:
    points = [
        hour(0, 1000, 400, sessions=1.0, evses=4.0, ready=3.0),
        hour(1, 3000, 0, sessions=2.0, evses=6.0, ready=6),
    ]
    money = ({"amount": "3.00", "currency": "EUR"}, {"amount": "1.00", "currency": "CHF"})
    found = trend("Monday", points, 2 * HOUR_MS, 5, money)
    assert found == PowerTrend(of="Monday", import_wh=4000, export_wh=400, most_w=3000, used=30.0, ready=90.0,
                               sessions=5, money=money)  # fmt: skip
    nothing = trend("Sunday", [], HOUR_MS)
    assert nothing == PowerTrend(of="Sunday", import_wh=0, export_wh=0, most_w=0, used=None, ready=None, sessions=0,
                                 money=())  # fmt: skip
