"""Uptime against looking at every minute by itself."""

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.uptime.rules import (
    PRESETS,
    Cause,
    EvseOutage,
    Exclusion,
    Status,
    TimeSpan,
    UptimeRules,
    mean,
    percent,
    uptime,
    within,
)
from tests.together import together
from v2g.units import DAY_MS, HOUR_MS

pytestmark = pytest.mark.requirement("R185")

MINUTE_MS = 60_000
SOME = ("Available", "Faulted", "Occupied", "Unavailable")
STRICT, NEVI, UK, CALIFORNIA = (PRESETS[name] for name in ("strict", "nevi", "uk-2023", "california"))


def by_minutes(
    rules: UptimeRules,
    minutes: tuple[int, int],
    history: list[tuple[int, int, str]],
    offline: list[tuple[int, int]],
    exclusions: list[tuple[int, int, str]],
    blind: list[tuple[int, int]],
    charged: list[tuple[int, int]],
) -> tuple[int, int, int]:
    """Known, counted and excluded minutes, each minute looked at by itself."""
    known = 0
    left = {cause: hours * 60 for cause, hours in rules.most_hours.items()}
    down: list[int] = []
    for minute in range(*minutes):
        states: dict[int, tuple[int, str]] = {}
        for connector, at, status in sorted(history, key=lambda each: (each[1], each[0])):
            if at <= minute:
                states[connector] = at, status
        if not states:
            continue
        known += 1
        works = any(status not in rules.not_working for _, status in states.values())
        away = [begin for begin, end in merged(offline) if begin <= minute < end]
        seen = any(begin <= minute < end for begin, end in blind)
        if away and not seen:
            works = rules.offline == "does not count" or any(
                status == "Occupied" and at >= away[0] for at, status in states.values()
            )
        if not works and not any(begin <= minute < end for begin, end in charged):
            down.append(minute)
    out: set[int] = set()
    for cause in rules.excluded:
        for minute in down:
            if minute in out or not any(a <= minute < b for a, b, why in exclusions if why == cause):
                continue
            if cause in left:
                if not left[cause]:
                    continue
                left[cause] -= 1
            out.add(minute)
    counted = len(down) - len(out)
    return known, counted, len(out)


def merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if begin >= end:
            continue
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return found


at = st.integers(0, 300)
pairs = st.lists(st.tuples(at, at), max_size=6)
statuses = st.sampled_from(["Available", "Occupied", "Reserved", "Faulted", "Unavailable"])
causes = st.sampled_from(["grid", "vehicle", "maintenance", "vandalism", "disaster", "closed", "provider"])


@given(
    rules=st.sampled_from([*PRESETS.values(), msgspec.structs.replace(CALIFORNIA, most_hours={"vandalism": 1})]),
    history=st.lists(st.tuples(st.integers(1, 2), at, statuses), max_size=12, unique_by=lambda each: each[:2]),
    offline=pairs,
    exclusions=st.lists(st.tuples(at, at, causes), max_size=5),
    blind=pairs,
    charged=pairs,
    period=st.tuples(at, at).map(sorted),
)
def test_uptime_is_what_every_minute_says(
    rules: UptimeRules,
    history: list[tuple[int, int, str]],
    offline: list[tuple[int, int]],
    exclusions: list[tuple[int, int, Cause]],
    blind: list[tuple[int, int]],
    charged: list[tuple[int, int]],
    period: list[int],
) -> None:
    ms = MINUTE_MS
    found = uptime(
        rules,
        TimeSpan(period[0] * ms, period[1] * ms),
        [Status(connector, minute * ms, status) for connector, minute, status in history],
        [TimeSpan(a * ms, b * ms) for a, b in offline],
        [Exclusion(TimeSpan(a * ms, b * ms), cause) for a, b, cause in exclusions],
        [TimeSpan(a * ms, b * ms) for a, b in blind],
        [TimeSpan(a * ms, b * ms) for a, b in charged],
    )
    expected = by_minutes(rules, (period[0], period[1]), history, offline, exclusions, blind, charged)
    assert (found.known_ms // ms, found.outage_ms // ms, found.excluded_ms // ms) == expected
    assert found.outage_ms == sum(each.counts_ms for each in found.outages)
    assert all(a.to_ms <= b.from_ms for a, b in zip(found.outages, found.outages[1:], strict=False))
    assert found.share is None or 0 <= found.share <= 1


def days(*each: tuple[float, str]) -> list[Status]:
    return [Status(1, round(day * 24 * HOUR_MS), status) for day, status in each]


YEAR = TimeSpan(0, 365 * 24 * HOUR_MS)


def test_the_figures_of_a_year_by_hand() -> None:
    history = days((0, "Available"), (100, "Faulted"), (110, "Available"))
    assert percent(uptime(NEVI, YEAR, history, []).share) == "97.260"
    ten_days = Exclusion(TimeSpan(100 * 24 * HOUR_MS, 105 * 24 * HOUR_MS), "vandalism")
    found = uptime(NEVI, YEAR, history, [], [ten_days])
    assert percent(found.share) == "98.630"
    assert found.outages == (
        EvseOutage(from_ms=100 * 24 * HOUR_MS, to_ms=110 * 24 * HOUR_MS, why="faulted", excluded_ms=5 * 24 * HOUR_MS),
    )
    longer = Exclusion(TimeSpan(0, 365 * 24 * HOUR_MS), "maintenance")
    assert uptime(CALIFORNIA, YEAR, history, [], [longer]).excluded_ms == 72 * HOUR_MS


def test_an_offline_station_counts_in_america_and_not_in_britain_and_not_while_it_charged_or_nobody_looked() -> None:
    day, gap = 24 * HOUR_MS, TimeSpan(10 * 24 * HOUR_MS, 20 * 24 * HOUR_MS)
    history = days((0, "Available"))
    assert uptime(NEVI, YEAR, history, [gap]).outage_ms == 10 * day
    assert uptime(UK, YEAR, history, [gap]).outage_ms == 0
    assert uptime(UK, YEAR, days((0, "Available"), (9, "Faulted")), [gap]).outage_ms == 346 * day, "it is UNKNOWN then"
    told_later = [*history, *days((12, "Occupied"), (13, "Available"))]
    assert uptime(NEVI, YEAR, told_later, [gap]).outage_ms == 9 * day
    assert uptime(NEVI, YEAR, history, [gap], blind=[TimeSpan(15 * day, 30 * day)]).outage_ms == 5 * day


@pytest.mark.parametrize("before", ["Available", "Faulted", "Unavailable"])
def test_an_evse_works_while_it_charges_whatever_it_was_before_its_station_left(before: str) -> None:
    day, gap = DAY_MS, TimeSpan(10 * DAY_MS, 20 * DAY_MS)
    history = [*days((0, "Available"), (10, before), (20, "Available"))]
    charged = [TimeSpan(first * day, last * day) for first, last in ((12, 14), (13, 15), (16, 17))]
    assert uptime(NEVI, YEAR, history, [gap], charged=charged).outage_ms == 6 * day
    assert uptime(UK, YEAR, history, [gap], charged=charged).outage_ms == 0


def test_percents_never_round_up_and_averages_leave_out_the_unknown() -> None:
    assert percent(Fraction(99_999_999, 100_000_000)) == "99.999"
    assert percent(Fraction(1)) == "100.000"
    assert percent(None) is None
    assert mean([Fraction(1), None, Fraction(1, 2)]) == Fraction(3, 4)
    assert mean([None]) is None
    many = mean(Fraction(each - 1, each) for each in range(10_000, 20_000))
    assert many is not None
    assert many.denominator <= 10**16, "sums of exact shares would have thousands of digits"
    assert float(many) == pytest.approx(1 - 6.931e-5)
    assert uptime(STRICT, YEAR, [], []) == (0, 0, 0, ())
    assert uptime(STRICT, YEAR, [], []).share is None


def test_definitions_are_those_of_their_sources() -> None:
    """What 23 CFR 680.116, the California Energy Commission and SI 2023/1168 say, as far as it is known."""
    assert (HOUR_MS, DAY_MS) == (3_600_000, 86_400_000)
    found = {
        name: (each.target_percent, each.of, each.days, each.offline, set(each.excluded), dict(each.most_hours))
        for name, each in PRESETS.items()
    }
    of_america = {"grid", "maintenance", "vandalism", "disaster"}
    assert found == {
        "nevi": (97, "each", 365, "counts", {*of_america, "vehicle", "closed"}, {}),
        "california": (97, "each", 365, "counts", of_america, {"maintenance": 72, "vandalism": 240}),
        "uk-2023": (99, "average", 365, "does not count", {"closed"}, {}),
        "strict": (99.9, "each", 365, "counts", set(), {}),
    }
    assert {each.read for each in PRESETS.values()} == {"2026-11-26"}
    assert {each.not_working for each in PRESETS.values()} == {("Faulted", "Unavailable")}
    assert PRESETS["california"].title == "California"


Outages = list[tuple[int, int, str]]


@together(
    ("history", "offline", "outages"),
    [
        ([(1, 0, "Faulted"), (1, 5, "Unavailable")], [], [(0, 5, "faulted"), (5, 100, "unavailable")]),
        ([(1, 0, "Faulted"), (1, 5, "Faulted")], [], [(0, 100, "faulted")]),
        ([(1, 0, "Faulted"), (1, 5, "Available"), (1, 6, "Faulted")], [], [(0, 5, "faulted"), (6, 100, "faulted")]),
        (
            [(1, 0, "Faulted"), (1, 5, "Reserved"), (1, 10, "Faulted"), (1, 15, "Faulted")],
            [],
            [
                (0, 5, "faulted"),
                (10, 100, "faulted"),
            ],
        ),
        ([(1, 0, "Faulted"), (2, 0, "Unavailable")], [], [(0, 100, "faulted")]),
        ([(1, 0, "Unavailable"), (2, 0, "Faulted")], [], [(0, 100, "faulted")]),
        ([(1, 0, "Unavailable"), (2, 0, "Available")], [], []),
        ([(1, 0, "Available")], [(10, 20)], [(10, 20, "offline")]),
        ([(1, 0, "Available")], [(10, 20), (15, 30), (40, 40), (30, 35)], [(10, 35, "offline")]),
        ([(1, 0, "Available")], [(10, 30), (15, 20)], [(10, 30, "offline")]),
        ([(1, 0, "Available")], [(10, 20), (21, 30)], [(10, 20, "offline"), (21, 30, "offline")]),
        ([(1, 0, "Faulted")], [(10, 20)], [(0, 10, "faulted"), (10, 20, "offline"), (20, 100, "faulted")]),
        ([(1, 0, "Occupied")], [(10, 20)], [(10, 20, "offline")]),
        ([(1, 0, "Available"), (1, 10, "Occupied")], [(10, 20)], []),
        ([(1, 0, "Available"), (1, 11, "Occupied")], [(10, 20)], [(10, 11, "offline")]),
        ([(1, 0, "Available"), (1, 15, "Occupied")], [(10, 20), (20, 30)], [(10, 15, "offline")]),
        ([(1, 0, "Available")], [(10, 20), (40, 50), (45, 60), (55, 58)], [(10, 20, "offline"), (40, 60, "offline")]),
        (
            [(1, 0, "Reserved"), (1, 42, "Occupied")],
            [(9, 10), (40, 50), (45, 60)],
            [(9, 10, "offline"), (40, 42, "offline")],
        ),
        ([(1, 90, "Faulted")], [], [(90, 100, "faulted")]),
        ([(1, 101, "Faulted")], [], []),
    ],
)
def test_each_outage_has_its_reason_and_its_bounds(
    history: list[tuple[int, int, str]], offline: list[tuple[int, int]], outages: Outages
) -> None:
    states, gaps = [Status(*each) for each in history], [TimeSpan(*each) for each in offline]
    found = uptime(STRICT, TimeSpan(0, 100), states, gaps)
    assert [(each.from_ms, each.to_ms, each.why) for each in found.outages] == outages
    assert found.known_ms == max(0, 100 - history[0][1])


@together(
    ("exclusions", "excluded"),
    [
        ([(0, 40, "maintenance")], [40, 0]),
        ([(0, 200, "maintenance")], [72, 0]),
        ([(60, 240, "maintenance")], [40, 32]),
        ([(60, 300, "vandalism")], [40, 100]),
        ([(0, 10, "grid"), (5, 15, "grid"), (15, 20, "grid"), (30, 40, "grid")], [30, 0]),
        ([(0, 30, "grid"), (10, 20, "grid")], [30, 0]),
        ([(0, 50, "grid"), (40, 230, "maintenance")], [100, 22]),
        ([(40, 60, "grid"), (0, 300, "maintenance")], [92, 0]),
        ([(0, 300, "vehicle")], [0, 0]),
        ([(50, 50, "grid")], [0, 0]),
        ([(150, 180, "grid")], [0, 0]),
    ],
)
def test_what_does_not_count_is_left_out_once_and_of_some_causes_only_so_much(
    exclusions: list[tuple[int, int, Cause]], excluded: list[int]
) -> None:
    """Two outages of 100 h each, the second from hour 200 on, by California."""
    history = [Status(1, hour * HOUR_MS, state) for hour, state in ((0, "Faulted"), (100, "Available"))]
    history += [Status(1, hour * HOUR_MS, state) for hour, state in ((200, "Faulted"), (300, "Available"))]
    given_ = [Exclusion(TimeSpan(begin * HOUR_MS, end * HOUR_MS), why) for begin, end, why in exclusions]
    found = uptime(CALIFORNIA, YEAR, history, [], given_)
    assert [each.excluded_ms / HOUR_MS for each in found.outages] == excluded
    assert found.excluded_ms == sum(excluded) * HOUR_MS
    assert found.outage_ms == (200 - sum(excluded)) * HOUR_MS


def test_what_is_known_of_a_time_is_cut_to_it() -> None:
    spans = [TimeSpan(0, 10), TimeSpan(20, 30), TimeSpan(30, 40), TimeSpan(50, 60)]
    assert within(spans, 5, 30) == [TimeSpan(5, 10), TimeSpan(20, 30)]
    assert within(spans, 40, 50) == []


@pytest.mark.long
def test_a_year_of_a_thousand_stations_is_exact_to_the_minute() -> None:
    import random

    chance = random.Random(185)
    minutes = 365 * 24 * 60
    for _ in range(1000):
        history: list[tuple[int, int, str]] = [(1, 0, "Available")]
        history += [
            (chance.randrange(1, 3), chance.randrange(minutes), chance.choice(SOME))
            for _ in range(chance.randrange(40))
        ]
        history = list({each[:2]: each for each in history}.values())
        begins = [chance.randrange(minutes) for _ in range(chance.randrange(8))]
        offline = [(begin, begin + chance.randrange(1, 3000)) for begin in begins]
        exclusions: list[Any] = [
            (begin, begin + chance.randrange(6000), chance.choice(["grid", "vandalism", "maintenance"]))
            for begin in (chance.randrange(minutes) for _ in range(3))
        ]
        rules = chance.choice(list(PRESETS.values()))
        assert _fast(rules, minutes, history, offline, exclusions) == _ours(
            rules, minutes, history, offline, exclusions
        )


def _ours(rules: UptimeRules, minutes: int, history: Any, offline: Any, exclusions: Any) -> tuple[int, int, int]:
    found = uptime(
        rules,
        TimeSpan(0, minutes * MINUTE_MS),
        [Status(connector, minute * MINUTE_MS, status) for connector, minute, status in history],
        [TimeSpan(a * MINUTE_MS, b * MINUTE_MS) for a, b in offline],
        [Exclusion(TimeSpan(a * MINUTE_MS, b * MINUTE_MS), cause) for a, b, cause in exclusions],
    )
    return found.known_ms // MINUTE_MS, found.outage_ms // MINUTE_MS, found.excluded_ms // MINUTE_MS


def _fast(rules: UptimeRules, minutes: int, history: Any, offline: Any, exclusions: Any) -> tuple[int, int, int]:
    """The same with an array of every minute of the year."""
    import numpy as np

    states = np.full((3, minutes), -1, dtype=np.int8)
    since = np.zeros((3, minutes), dtype=np.int64)
    names = ["Available", "Occupied", "Reserved", "Faulted", "Unavailable"]
    for connector, begin, status in sorted(history, key=lambda each: each[1]):
        states[connector, begin:] = names.index(status)
        since[connector, begin:] = begin
    known = (states >= 0).any(axis=0)
    bad = [names.index(each) for each in rules.not_working]
    works = ((states >= 0) & ~np.isin(states, bad)).any(axis=0)
    if rules.offline == "counts":
        for begin, end in merged(offline):
            part = slice(begin, min(end, minutes))
            charged = ((states[:, part] == 1) & (since[:, part] >= begin)).any(axis=0)
            works[part] = charged
    down = known & ~works
    out = np.zeros(minutes, dtype=bool)
    for cause in rules.excluded:
        here = np.zeros(minutes, dtype=bool)
        for begin, end, why in exclusions:
            if why == cause:
                here[begin:end] = True
        chosen = np.flatnonzero(down & here & ~out)
        if cause in rules.most_hours:
            chosen = chosen[: rules.most_hours[cause] * 60]
        out[chosen] = True
    return int(known.sum()), int((down & ~out).sum()), int(out.sum())
