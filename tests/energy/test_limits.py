"""Limits: the smallest binds, versions only go up, what ran out allows no export."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.energy.limits import (
    EVSE,
    OPERATOR,
    SITE,
    VEHICLE,
    EffectiveLimits,
    Limit,
    LimitBook,
    Setpoint,
    choose_setpoint,
    effective_limits,
    limits_over,
)

WATTS = st.integers(0, 200_000)
LIMIT = st.builds(
    Limit,
    source=st.sampled_from((VEHICLE, EVSE, SITE, OPERATOR)),
    charge_w=WATTS,
    discharge_w=WATTS,
    version=st.integers(0, 50),
    valid_until_ms=st.none() | st.integers(0, 2_000),
)


@pytest.mark.requirement("R9")
@given(limits=st.lists(LIMIT, min_size=1), now=st.integers(0, 2_000))
def test_the_smallest_limit_binds_each_direction_and_is_named(limits: list[Limit], now: int) -> None:
    """Over random limits; a limit that ran out vouches for no export and still limits charge."""
    effective = effective_limits(limits, now)
    live = [0 if x.valid_until_ms is not None and now >= x.valid_until_ms else x.discharge_w for x in limits]
    assert effective.charge_w == min(x.charge_w for x in limits)
    assert effective.discharge_w == min(live)
    assert effective.charge_source in {x.source for x in limits if x.charge_w == effective.charge_w}


def test_no_limit_at_all_allows_nothing() -> None:
    """Silence is no permission."""
    assert effective_limits([], 0) == EffectiveLimits(
        charge_w=0, discharge_w=0, charge_source="none", discharge_source="none"
    )
    assert LimitBook().discharge_limits(0).max_discharge_w == 0


@pytest.mark.requirement("R28")
@given(updates=st.lists(LIMIT, max_size=40))
def test_the_newest_version_stands_whatever_the_order(updates: list[Limit]) -> None:
    """A late old message cannot undo a newer one."""
    book = LimitBook()
    for update in updates:
        before = book.get(update.source)
        assert book.update(update) == (before is None or update.version >= before.version)
    for source in {update.source for update in updates}:
        stands = book.get(source)
        assert stands is not None
        assert stands.version == max(x.version for x in updates if x.source == source)


def test_an_offer_is_made_of_four_sources_and_one_that_is_silent_allows_nothing() -> None:
    """Every one of them has to say yes."""
    book = LimitBook(Limit(source=s, charge_w=11_000, discharge_w=10_000) for s in (VEHICLE, EVSE, SITE))
    assert book.discharge_limits(0).max_discharge_w == 0
    book.update(Limit(source=OPERATOR, charge_w=11_000, discharge_w=6_000, version=4, valid_until_ms=100))
    limits = book.discharge_limits(99)
    assert (limits.operator_w, limits.max_discharge_w, limits.operator_version) == (6_000, 6_000, 4)
    assert limits.source == OPERATOR
    assert book.discharge_limits(100).max_discharge_w == 0
    assert book.next_change_ms(0) == 100
    assert book.next_change_ms(100) is None


@pytest.mark.parametrize(
    ("power", "clamped"), [(20_000, 11_000), (5_000, 5_000), (-5_000, -5_000), (-9_000, -6_000), (0, 0)]
)
def test_power_is_clamped_by_direction(power: int, clamped: int) -> None:
    """Positive into the vehicle, negative out of it."""
    limits = EffectiveLimits(charge_w=11_000, discharge_w=6_000, charge_source="evse", discharge_source="site")
    assert limits.clamp(power) == clamped


def test_the_setpoint_of_highest_priority_wins_and_of_those_the_newest() -> None:
    """While it is live."""
    low = Setpoint(power_w=5_000, source="schedule")
    old = Setpoint(power_w=-3_000, source="csms", priority=2, version=1)
    new = Setpoint(power_w=-4_000, source="csms", priority=2, version=2, valid_until_ms=50)
    assert choose_setpoint([low, new, old], 10) is new
    assert choose_setpoint([low, new, old], 50) is old
    assert choose_setpoint([low], 50) is low
    assert choose_setpoint([Setpoint(power_w=1, source="later", valid_from_ms=60)], 50) is None


@given(
    st.lists(
        st.builds(
            Limit,
            source=st.sampled_from([SITE, OPERATOR, EVSE]),
            charge_w=st.integers(0, 9),
            discharge_w=st.integers(0, 9),
            valid_from_ms=st.integers(0, 30),
            valid_until_ms=st.none() | st.integers(0, 40),
        ),
        max_size=6,
    ),
    st.integers(0, 20),
    st.integers(1, 20),
)
def test_limits_over_time_are_those_of_every_moment(limits: list[Limit], start: int, length: int) -> None:
    found = limits_over(limits, start, start + length)
    assert found[0][0] == start
    assert found[-1][1] == start + length
    for (_, before, _), (after, _, _) in itertools.pairwise(found):
        assert before == after
    for moment in range(start, start + length):
        newest = {}
        for limit in sorted(limits, key=lambda each: each.valid_from_ms):
            if limit.valid_from_ms <= moment or limit.source not in newest:
                newest[limit.source] = limit
        (allowed,) = [each for begin, end, each in found if begin <= moment < end]
        wanted = effective_limits(newest.values(), moment)
        assert (allowed.charge_w, allowed.discharge_w) == (wanted.charge_w, wanted.discharge_w)
