"""Limits: the smallest binds, versions only go up, what ran out allows no export."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.energy.limits import (
    AUTHORIZATION,
    CABLE,
    EVSE,
    MOST_MA,
    MOST_W,
    NO_RESPONSE,
    OPERATOR,
    PHASES,
    SETPOINT,
    SITE,
    TEMPERATURE,
    VEHICLE,
    EffectiveLimits,
    GridResponse,
    Limit,
    LimitBook,
    Setpoint,
    choose_setpoint,
    discharge_limits,
    effective_limits,
    limits_over,
    setpoint_limit,
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


def test_of_conductors_the_smallest_current_counts_and_the_first_of_equal_ones_is_named() -> None:
    bare = Limit(source=VEHICLE, charge_w=1, discharge_w=1)
    sources = ((SITE, 20_000, 6_000), (EVSE, 10_000, 8_000), (CABLE, 10_000, 6_000))
    limits = [
        msgspec.structs.replace(bare, source=name, charge_ma=most, discharge_ma=back) for name, most, back in sources
    ]
    effective = effective_limits([bare, *limits], 0)
    assert (effective.charge_line, effective.discharge_line) == ((10_000, EVSE), (6_000, SITE))
    effective = effective_limits([bare], 0)
    assert (effective.charge_line, effective.discharge_line) == (None, None)


def test_where_less_is_permitted_than_a_source_can_hold_nothing_flows() -> None:
    evse = Limit(source=EVSE, charge_w=50_000, discharge_w=20_000, least_charge_w=3_000, least_discharge_w=2_000)
    for charge_w, discharge_w, charges_w, discharges_w in (
        (3_000, 2_000, 3_000, 2_000),
        (2_999, 2_000, 0, 2_000),
        (9_000, 1_999, 9_000, 0),
        (0, 0, 0, 0),
    ):
        effective = effective_limits([evse, Limit(source=SITE, charge_w=charge_w, discharge_w=discharge_w)], 0)
        assert (effective.charge_w, effective.discharge_w) == (charges_w, discharges_w)
        assert (effective.charge_source, effective.discharge_source) == (SITE, SITE)


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
    later = Setpoint(power_w=1, source="later", valid_from_ms=60)
    assert choose_setpoint([later], 59) is None
    assert choose_setpoint([later], 60) is later


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


@together(
    ("power", "charge", "discharge"),
    [
        (None, MOST_W, MOST_W),
        (0, 0, 0),
        (500, 500, 0),
        (-500, 0, 500),
        (2 * MOST_W, MOST_W, 0),
        (-MOST_W - 1, 0, MOST_W),
    ],
)
def test_a_setpoint_limits_a_schedule_to_its_power_in_its_direction(
    power: int | None, charge: int, discharge: int
) -> None:
    limit = Limit(source=SETPOINT, charge_w=charge, discharge_w=discharge, valid_from_ms=7)
    assert setpoint_limit(power, 7) == limit
    assert setpoint_limit(power).valid_from_ms == 0


@together(
    ("more", "charge", "discharge"),
    [
        ({}, (500, "evse"), (300, "site")),
        ({"charge_w": 500, "discharge_w": 300}, (500, "evse"), (300, "site")),
        ({"charge_w": 499}, (499, "cable"), (300, "site")),
        ({"discharge_w": 299}, (500, "evse"), (299, "cable")),
        ({"charge_w": 600, "discharge_w": 299}, (500, "evse"), (299, "cable")),
        ({"charge_w": 499, "discharge_w": 600}, (499, "cable"), (300, "site")),
        ({"charge_w": 0, "discharge_w": 0}, (0, "cable"), (0, "cable")),
        ({"charge_w": -1, "discharge_w": -1}, (0, "cable"), (0, "cable")),
        ({"charge_w": 2, "discharge_w": 1}, (2, "cable"), (1, "cable")),
    ],
)
def test_one_more_source_lowers_and_is_named(
    more: dict[str, int], charge: tuple[int, str], discharge: tuple[int, str]
) -> None:
    limits = EffectiveLimits(charge_w=500, discharge_w=300, charge_source="evse", discharge_source="site")
    lowered = limits.at_most("cable", **more)
    assert (lowered.charge_w, lowered.charge_source) == charge
    assert (lowered.discharge_w, lowered.discharge_source) == discharge
    one = msgspec.structs.replace(limits, charge_w=1, discharge_w=1)
    assert (one.at_most("cable", 0).charge_w, one.at_most("cable", None, 0).discharge_w) == (0, 0)
    none = msgspec.structs.replace(limits, charge_w=0, discharge_w=0)
    assert none.at_most("cable", **more) is none, "a limit of 0 is not lowered"


def test_limits_that_are_negative_count_as_none() -> None:
    """Whoever makes them without checking."""
    low = Limit(source=SITE, charge_w=-5, discharge_w=-5)
    effective = effective_limits([low], 0)
    assert (effective.charge_w, effective.discharge_w) == (0, 0)
    offered = discharge_limits(ev_w=-1, evse_w=2, site_w=3, operator_w=4, source="s" * 65)
    assert (offered.ev_w, offered.evse_w, offered.site_w, offered.operator_w) == (0, 2, 3, 4)
    assert (offered.max_discharge_w, offered.operator_version, offered.source) == (0, 0, "s" * 64)
    assert discharge_limits(ev_w=1, evse_w=2, site_w=3, operator_w=4).source == ""


def test_a_book_of_limits_is_what_its_limits_say_at_every_moment_in_any_order() -> None:
    """Also when it is asked about an earlier time again, without one of the sources, and after a change."""
    limits = (
        Limit(source=SITE, charge_w=9, discharge_w=9, valid_from_ms=10, valid_until_ms=30),
        Limit(source=EVSE, charge_w=8, discharge_w=5, valid_from_ms=0, valid_until_ms=20),
        Limit(source=VEHICLE, charge_w=7, discharge_w=6),
    )
    book = LimitBook(limits)
    assert book.all == limits
    for moment in (15, 16, 14, 19, 20, 21, 29, 30, 9, 10, 40, 5, 15):
        assert book.effective(moment) == effective_limits(limits, moment)
        assert book.effective(moment, without=EVSE) == effective_limits((limits[0], limits[2]), moment)
    assert [book.next_change_ms(at) for at in (-1, 0, 10, 20, 30)] == [0, 10, 20, 30, None]
    assert book.update(Limit(source=SITE, charge_w=1, discharge_w=1))
    assert book.effective(15).charge_w == 1
    book = LimitBook()
    assert book.discharge_limits(0).operator_version == 0


def test_what_holds_is_calculated_once_until_it_changes() -> None:
    """It is asked for with every message."""
    book = LimitBook([Limit(source=SITE, charge_w=9, discharge_w=9, valid_from_ms=10, valid_until_ms=30)])
    for first, same in ((10, 10), (10, 29), (30, 10**12)):
        assert book.effective(first) is book.effective(same)
    assert book.effective(10) is not book.effective(30)


@together(
    ("response", "power", "bent"),
    [
        (NO_RESPONSE, 7, 7),
        (GridResponse(delta_w=3), 7, 10),
        (GridResponse(delta_w=-3), -7, -10),
        (GridResponse(floor_w=8), 7, 8),
        (GridResponse(floor_w=6), 7, 7),
        (GridResponse(ceiling_w=6), 7, 6),
        (GridResponse(ceiling_w=8), 7, 7),
        (GridResponse(delta_w=5, floor_w=-1, ceiling_w=1), -7, -1),
        (GridResponse(delta_w=9, floor_w=-1, ceiling_w=1), -7, 1),
        (GridResponse(floor_w=5, ceiling_w=3), 4, 3),
    ],
)
def test_the_grid_shifts_power_and_bounds_it(response: GridResponse, power: int, bent: int) -> None:
    assert response.bend(power) == bent


def test_two_demands_of_the_grid_are_met_at_once() -> None:
    one = GridResponse(delta_w=5, floor_w=-3, ceiling_w=9, ramp_percent=2.0)
    other = GridResponse(delta_w=-2, floor_w=-1, ceiling_w=4, ramp_percent=1.0, trip=True)
    both = GridResponse(delta_w=3, floor_w=-1, ceiling_w=4, ramp_percent=1.0, trip=True)
    assert one.beside(other) == other.beside(one) == both
    assert one.beside(NO_RESPONSE) == NO_RESPONSE.beside(one) == one
    assert NO_RESPONSE.beside(NO_RESPONSE) == NO_RESPONSE


@together(
    ("stated", "volts", "lines", "currents"),
    [
        ({}, 230, 3, (16_000, 8_000)),
        ({}, 230, 1, (48_000, 24_000)),
        ({}, 1, 1, (MOST_MA, 5_520_000)),
        ({"discharge_w": MOST_W}, 1, 1, (MOST_MA, MOST_MA)),
        ({"charge_ma": 10_000}, 230, 3, (10_000, 8_000)),
        ({"discharge_ma": 32_000}, 230, 3, (16_000, 32_000)),
    ],
)
def test_each_conductor_carries_its_part_of_a_power(
    stated: dict[str, int], volts: int, lines: int, currents: tuple[int, int]
) -> None:
    limit = msgspec.structs.replace(Limit(source=SITE, charge_w=11_040, discharge_w=5_520), **stated)
    found = limit.balanced(volts, lines)
    assert found == msgspec.structs.replace(limit, charge_ma=currents[0], discharge_ma=currents[1])


@pytest.mark.parametrize(
    ("charge_line", "discharge_line", "lines", "charge", "discharge"),
    [
        (None, None, 1, (11_040, "evse"), (5_520, "site")),
        ((10_000, "cable"), None, 3, (6_900, "cable"), (5_520, "site")),
        (None, (6_000, "operator"), 3, (11_040, "evse"), (4_140, "operator")),
        ((10_000, "cable"), (6_000, "operator"), 1, (2_300, "cable"), (1_380, "operator")),
        ((16_000, "cable"), (8_000, "operator"), 3, (11_040, "evse"), (5_520, "site")),
    ],
)
def test_a_vehicle_gets_what_the_conductors_that_it_uses_may_carry(
    charge_line: tuple[int, str] | None,
    discharge_line: tuple[int, str] | None,
    lines: int,
    charge: tuple[int, str],
    discharge: tuple[int, str],
) -> None:
    limits = EffectiveLimits(
        charge_w=11_040, discharge_w=5_520, charge_source="evse", discharge_source="site", charge_line=charge_line,
        discharge_line=discharge_line,
    )  # fmt: skip
    found = limits.over(lines, 230)
    assert (found.charge_w, found.charge_source) == charge
    assert (found.discharge_w, found.discharge_source) == discharge


def test_what_is_not_said_of_a_limit() -> None:
    limit, setpoint = Limit(source=SITE, charge_w=1, discharge_w=2), Setpoint(power_w=1, source="csms")
    assert (limit.version, limit.valid_from_ms, limit.valid_until_ms) == (0, 0, None)
    assert (setpoint.priority, setpoint.version, setpoint.valid_from_ms, setpoint.valid_until_ms) == (0, 0, 0, None)
    assert GridResponse(delta_w=0, floor_w=None, ceiling_w=None, ramp_percent=0.0, trip=False) == NO_RESPONSE
    later = msgspec.structs.replace(limit, discharge_ma=3, valid_from_ms=10, valid_until_ms=20)
    for permitted, within in ((later.discharge_at, 2), (later.discharge_ma_at, 3)):
        assert [permitted(at) for at in (9, 10, 19, 20)] == [0, within, within, 0]
    assert limit.discharge_ma_at(0) is None


def test_sources_have_the_names_that_events_and_offers_show() -> None:
    names = (VEHICLE, EVSE, SITE, OPERATOR, AUTHORIZATION, CABLE, TEMPERATURE, PHASES, SETPOINT)
    assert names == (
        "vehicle", "evse", "site", "operator", "authorization", "cable", "temperature", "phases", "setpoint",
    )  # fmt: skip
    assert MOST_W == MOST_MA == 10_000_000
