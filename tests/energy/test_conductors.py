"""Currents of conductors, and what follows from them."""

import cmath
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.energy.conductors import (
    LINE_NAMES,
    LINES,
    LOWEST_VOLTAGE,
    VOLTAGE,
    Currents,
    fill,
    line_current_ma,
    line_power_w,
    line_rating_ma,
    spread,
)
from v2g.energy.limits import Limit, effective_limits

MA = st.integers(-100_000, 100_000)


@pytest.mark.requirement("R192")
@given(MA, MA, MA)
def test_the_neutral_carries_the_sum_of_the_phasors(l1: int, l2: int, l3: int) -> None:
    phasors = (each * cmath.exp(2j * math.pi * line / 3) for line, each in enumerate((l1, l2, l3)))
    assert Currents(l1, l2, l3).neutral_ma == pytest.approx(abs(sum(phasors)), abs=1)


@given(MA, st.sets(st.sampled_from(LINES), min_size=1))
def test_a_sum_without_phases_is_taken_in_equal_parts(total_ma: int, lines: set[int]) -> None:
    currents = spread(total_ma, lines)
    assert currents.total_ma == total_ma
    assert all(
        abs(currents[line] - total_ma / len(lines)) < 1 if line in lines else not currents[line] for line in LINES
    )


@given(st.integers(0, 400_000), st.integers(90, 500), st.integers(1, 3))
def test_watts_of_a_balanced_connection_never_become_more(watts: int, volts: int, lines: int) -> None:
    assert watts - lines * volts / 1000 - 1 <= line_power_w(line_current_ma(watts, volts, lines), volts, lines) <= watts


@pytest.mark.requirement("R192")
@together(
    ("limits", "lines", "watts", "source"),
    [
        ((22_000, 32_000),  1, 7_360, "evse"),  # rating 22 kW, 32 A
        ((22_000, 32_000),  3, 22_000, "evse"),
        ((22_000, 32_000, 16_000), 1, 3_680, "cable"),
        ((22_000, 32_000, 16_000), 3, 11_040, "cable"),
        ((4_140, None), 1, 1_380, "evse"),  # 3 x 6 A
        ((4_140, None), 3, 4_140, "evse"),
    ],
)  # fmt: skip
def test_a_conductor_bounds_each_vehicle_by_its_phases(
    limits: tuple[int, ...], lines: int, watts: int, source: str
) -> None:
    rated_w, rated_ma, *cable = limits
    known = [Limit(source="evse", charge_w=rated_w, discharge_w=0, charge_ma=rated_ma).balanced(230, 3)]
    known += [Limit(source="cable", charge_w=10_000_000, discharge_w=10_000_000, charge_ma=each) for each in cable]
    powers = effective_limits(known, 0).over(lines, 230)
    assert (powers.charge_w, powers.charge_source, powers.discharge_w) == (watts, source, 0)


@pytest.mark.requirement("R192")
@given(st.integers(0, 100), st.lists(st.integers(0, 50), min_size=1, max_size=3))
def test_parts_are_as_equal_as_their_maxima_permit(total: int, most: list[int]) -> None:
    """Against raising the lowest part that can be raised, one by one."""
    parts = [0] * len(most)
    for _ in range(min(total, sum(most))):
        can = [line for line in range(len(most)) if parts[line] < most[line]]
        parts[min(can, key=lambda line: parts[line])] += 1
    found = fill(total, most)
    assert sum(found) == min(total, sum(most))
    assert sorted(found) == sorted(parts)
    assert all(part <= bound for part, bound in zip(found, most, strict=True))


@pytest.mark.parametrize(
    ("total_ma", "lines", "currents"),
    [
        (10, LINES, (4, 3, 3)),
        (-11, LINES, (-4, -4, -3)),
        (7, (2, 0), (3, 0, 4)),
        (0, LINES, (0, 0, 0)),
        (5_000, (), (0, 0, 0)),
    ],
)
def test_the_first_lines_take_what_is_left_over(
    total_ma: int, lines: tuple[int, ...], currents: tuple[int, int, int]
) -> None:
    assert spread(total_ma, lines) == currents


@together(
    ("current_a", "power_w", "lines", "rating_ma"),
    [
        (None, 22_000, 3, 32_000),
        (None, 22_080, 3, 32_000),
        (None, 3_680, 1, 16_000),
        (None, 7_291, 1, 32_000),  # 31.7 A: 0.95 % less
        (None, 7_280, 1, 31_652),  # 1.1 % less
        (None, 7_410, 1, 32_000),
        (None, 2_530, 11, 1_000),
        (31.9994, 22_000, 3, 31_999),
        (16.0, 22_000, 3, 16_000),
        (0.0, 22_000, 3, 0),
    ],
)
def test_a_rating_is_in_whole_amperes_where_it_nearly_is(
    current_a: float | None, power_w: int, lines: int, rating_ma: int
) -> None:
    assert line_rating_ma(current_a, power_w, 230, lines) == rating_ma


def test_a_conductor_carries_above_two_amperes() -> None:
    assert Currents(2_000, 2_001, -2_001).carrying == (1, 2)
    assert Currents() == (0, 0, 0)
    assert Currents(-1, 3, 5).total_ma == 7


def test_names_and_voltages_are_those_of_the_standards() -> None:
    assert LINE_NAMES == ("L1", "L2", "L3")  # PhaseEnumType of OCPP 2.0.1
    assert (VOLTAGE, LOWEST_VOLTAGE) == (230, 0.85)  # EN 60038; EN 50549-1, 4.4.4
