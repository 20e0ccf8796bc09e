"""Currents of conductors, and what follows from them."""

import cmath
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.energy.conductors import LINES, Currents, fill, line_current_ma, line_power_w, spread
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
@pytest.mark.parametrize(
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
