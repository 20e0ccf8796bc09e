"""A meter that measures is never accused, one that does not is found out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.hardware.meters.plausibility import MARGIN_WH, STUCK_WH, MeterGuard, unmetered_mwh

MOST_W = 150_000


@given(
    st.lists(st.tuples(st.integers(0, 60_000), st.integers(-MOST_W, MOST_W)), max_size=60),
    st.sampled_from((1, 1_000, 10_000)),
)
def test_a_meter_that_integrates_is_believed(flows: list[tuple[int, int]], resolution_mwh: int) -> None:
    """Registers in steps of 1 mWh, 1 Wh and 10 Wh."""
    guard, now, taken, given_back = MeterGuard(MOST_W), 0, 0, 0
    assert guard.check(0, 0, 0, (0, 0)) == ""
    for ms, watts in flows:
        now += ms
        taken += max(0, watts) * ms
        given_back += max(0, -watts) * ms
        registers = [wms // 3_600 // resolution_mwh * resolution_mwh for wms in (taken, given_back)]
        assert guard.check(now, registers[0], registers[1], (taken // 3_600, given_back // 3_600)) == ""


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_a_register_that_goes_back_is_found_at_once_and_again(first: int, back: int) -> None:
    guard = MeterGuard(MOST_W)
    guard.check(0, first, first, (0, 0))
    assert guard.check(1_000, max(0, first - back), first, (0, 0)) == "meter_backward"
    assert guard.check(2_000, max(0, first - back), first, (0, 0)) == "meter_backward"


@given(st.integers(0, 3_600_000))
def test_no_register_jumps_further_than_power_and_time_allow(ms: int) -> None:
    possible = MOST_W * ms // 3_600 + MARGIN_WH * 1_000
    for mwh, word in ((possible, ""), (possible + 1, "meter_jump")):
        guard = MeterGuard(MOST_W)
        guard.check(0, 0, 0, (0, 0))
        assert guard.check(ms, mwh, 0, (mwh, 0)) == word


def test_a_meter_that_stands_still_is_given_some_time() -> None:
    guard, watts = MeterGuard(MOST_W), 50_000
    guard.check(0, 0, 0, (0, 0))
    second = 1
    while not (word := guard.check(second * 1_000, 0, 0, (second * watts * 1_000 // 3_600, 0))):
        second += 1
        assert second < 3_600
    assert word == "meter_stuck"
    assert abs(second * watts / 3_600 - STUCK_WH) <= watts / 3_600
    flowed = second * watts * 1_000 // 3_600
    assert guard.check((second + 1) * 1_000, 1_000, 0, (flowed, 0)) == ""


@pytest.mark.parametrize("watts", [-50_000, 10_000, 50_000])
@pytest.mark.parametrize("percent", [-12, -8, -3, 0, 3, 8, 12])
def test_energies_that_drift_apart_are_found_within_the_hour(watts: int, percent: int) -> None:
    """The error grows to `percent` in half an hour, and stays."""
    guard, flowed, counted, word = MeterGuard(MOST_W), 0.0, 0.0, ""
    into = watts > 0
    for second in range(3_600):
        flowed += abs(watts) / 3.6
        counted += abs(watts) / 3.6 * (1 + percent / 100 * min(1.0, second / 1_800))
        registers, energies = (round(counted), 0), (round(flowed), 0)
        word = guard.check(second * 1_000, *registers[:: 1 if into else -1], energies[:: 1 if into else -1])
        if word:
            break
    assert word == (
        "measurements_differ" if abs(percent) > 5 and not (abs(watts) < 20_000 and abs(percent) < 10) else ""
    )


def test_energy_in_the_other_direction_differs() -> None:
    guard = MeterGuard(MOST_W)
    guard.check(0, 0, 0, (0, 0))
    assert guard.check(1_000, 0, 0, (0, 0)) == ""
    words = {guard.check(second * 1_000, second * 10_000, 0, (0, second * 10_000)) for second in range(2, 60)}
    assert words == {"", "measurements_differ"}


def test_a_meter_whose_registers_count_without_power_differs_from_itself() -> None:
    """22 kW, counted by a meter of alternating current that shows 0 W."""
    guard = MeterGuard(MOST_W)
    words = [guard.check(second * 1_000, second * 22_000 // 3_600 * 1_000, 0, (0, 0)) for second in range(60)]
    assert words[30] == ""
    assert words[-1] == "measurements_differ"


# -- to the mWh


@pytest.mark.parametrize("flowed", [0, 1_000_000, 10_000_000])
def test_what_no_register_counted_is_unmetered_beyond_both_errors(flowed: int) -> None:
    errors = 50_000 + flowed // 20
    for missing in (0, 1, errors):
        assert unmetered_mwh(flowed, flowed - missing) == 0
    assert unmetered_mwh(flowed, flowed - errors - 1) == errors + 1
    assert unmetered_mwh(flowed, flowed + errors + 1) == 0


@pytest.mark.parametrize("ways", [1, -1])
def test_each_register_is_judged_by_itself(ways: int) -> None:
    def register(mwh: int) -> tuple[int, int]:
        first, second = (mwh, 7)[::ways]
        return first, second

    for at_ms, mwh, word in (
        (3_600_000, 57, "meter_jump"),  # from 0 in no time is one
        (3_600_000, 50_007, ""),
        (3_600_000, 50_008, "meter_jump"),
        (3_600_001, 51_007, ""),
        (3_600_001, 51_008, "meter_jump"),
        (3_600_000, 6, "meter_backward"),
        (0, 7, ""),  # a time that goes back is none
    ):
        guard = MeterGuard(3_600_000)
        assert guard.check(3_600_000, *register(7), (0, 0)) == ""
        if word != "meter_jump" or mwh > 57:
            assert guard.check(at_ms, *register(mwh), (0, 0)) == word
            assert guard.check(at_ms, *register(mwh), (0, 0)) == word  # by the last sound one


def test_a_meter_stands_still_from_its_last_movement_on() -> None:
    guard = MeterGuard(MOST_W)
    guard.check(0, 0, 0, (100_000, 0))
    for second, (mwh, into, out_of, word) in enumerate(
        (
            (0, 300_000, 0, ""),
            (0, 300_000, 1, "meter_stuck"),
            (1, 300_000, 1, ""),
            (1, 400_000, 100_001, ""),
            (1, 400_000, 100_002, "meter_stuck"),
        ),
        1,
    ):
        assert guard.check(second * 1_000, mwh, 0, (into, out_of)) == word


@pytest.mark.parametrize("ways", [1, -1])
@pytest.mark.parametrize(("counted", "flowed"), [(10_000_000, 9_300_000), (9_300_000, 10_000_000)])
@pytest.mark.parametrize("more", [0, 1])
def test_energies_may_differ_by_the_resolution_and_a_twentieth_of_the_greater(
    ways: int, counted: int, flowed: int, more: int
) -> None:
    counted, flowed = (counted - more, flowed) if counted < flowed else (counted, flowed - more)
    guard = MeterGuard(1_000_000_000)
    for second in (0, 1):
        assert guard.check(second * 1_000, 5, 5, (3, 3)) == ""
    registers, energies = ((each + 5, 5)[::ways] for each in (counted, 0))
    energies = (flowed + 3, 3)[::ways]
    assert guard.check(500_000, *registers, energies) == "measurements_differ" * more


def test_energies_are_compared_anew_after_half_an_hour() -> None:
    guard = MeterGuard(1_000_000_000)
    for second, counted, word in (
        (0, 0, ""),
        (1, 0, ""),
        (1_800, 210_527, "measurements_differ"),
        (1_801, 210_527, ""),
        (1_802, 421_053, ""),
        (1_803, 421_054, "measurements_differ"),
    ):
        assert guard.check(second * 1_000, counted, 0, (0, 0)) == word
