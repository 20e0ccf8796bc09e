"""A power split over vehicles: exact, within their limits, evenly."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from v2g.energy.dispatch.split import Participant, split

power, least = st.integers(0, 50), st.integers(0, 10)
participants = st.lists(st.tuples(power, power, least, least), max_size=6).map(
    lambda found: [
        Participant(id=str(n), most_w=most, most_out_w=most_out, least_w=least, least_out_w=least_out)
        for n, (most, most_out, least, least_out) in enumerate(found)
    ]
)


@pytest.mark.requirement("R51")
@settings(max_examples=40)
@given(st.integers(-200, 200), participants)
def test_a_set_point_is_met_exactly_within_what_vehicles_can_do(setpoint: int, who: list[Participant]) -> None:
    found = split(setpoint, who)
    for each in who:
        assert found[each.id] == 0 or abs(found[each.id]) >= (each.least_w if setpoint >= 0 else each.least_out_w)
        assert -each.most_out_w <= found[each.id] <= each.most_w
        assert found[each.id] * setpoint >= 0
    able = [each.most_w if setpoint >= 0 else each.most_out_w for each in who]
    reach = min(abs(setpoint), sum(able))
    assert abs(sum(found.values())) <= reach
    if all((each.least_w if setpoint >= 0 else each.least_out_w) <= 1 for each in who):
        assert abs(sum(found.values())) == reach


@pytest.mark.requirement("R51")
def test_a_set_point_is_split_evenly_and_the_weak_step_back() -> None:
    strong = [Participant(id=name, most_w=10_000) for name in ("a", "b")]
    assert split(9_000, [*strong, Participant(id="c", most_w=1_000)]) == {"a": 4_000, "b": 4_000, "c": 1_000}
    picky = [Participant(id=name, most_w=10_000, least_w=3_000) for name in ("a", "b")]
    assert split(5_000, picky) == {"a": 0, "b": 5_000}
    assert split(-5_000, picky) == {"a": 0, "b": 0}
    picky = [Participant(id=name, most_w=0, most_out_w=10_000, least_w=9_000, least_out_w=3_000) for name in ("a", "b")]
    assert split(-5_000, picky) == {"a": 0, "b": -5_000}


@pytest.mark.requirement("R51")
def test_vehicles_take_part_from_their_least_power_on_and_those_that_cannot_hinder_nobody() -> None:
    exact = Participant(id="a", most_w=3_000, least_w=3_000)
    assert split(3_000, [exact]) == {"a": 3_000}
    assert split(6_000, [exact, Participant(id="b", most_w=9_000, least_w=3_000)]) == {"a": 3_000, "b": 3_000}
    unable = Participant(id="b", most_w=50_000, least_w=60_000)
    assert split(10_000, [Participant(id="a", most_w=10_000, least_w=6_000), unable]) == {"a": 10_000, "b": 0}
    assert split(2_000, [Participant(id="a", most_w=0), Participant(id="b", most_w=4_000)]) == {"a": 0, "b": 2_000}
