"""State of charge against PyBaMM's electrochemical cells, with sensors that lie (R114)."""

import itertools
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.battery.truth import CAPACITY_AH, START, drive
from v2g.battery import soc
from v2g.battery.cell import CELLS, CURVES, CellReading, Chemistry

SETTINGS = soc.SocSettings()
SETTLED = 360
"""Steps of an hour."""


def begin(chemistry: Chemistry, first: CellReading, charge: float | None = None) -> soc.SocState:
    return soc.begin(SETTINGS, CELLS[chemistry], CURVES[chemistry], first, CAPACITY_AH[chemistry], charge)


def update(chemistry: Chemistry, state: soc.SocState, now: CellReading) -> soc.SocState:
    return soc.update(SETTINGS, CELLS[chemistry], CURVES[chemistry], state, now, now.current_a, CAPACITY_AH[chemistry])


def errors(chemistry: Chemistry, gain: float, offset: float, wrong: float) -> list[tuple[float, float]]:
    """Return error and standard deviation of each step."""
    found, state = [], None
    for step in drive(chemistry):
        current_a = step.reading.current_a * gain + offset * CAPACITY_AH[chemistry]
        seen = msgspec.structs.replace(step.reading, current_a=current_a)
        state = begin(chemistry, seen, START + wrong) if state is None else update(chemistry, state, seen)
        found.append((state.soc - step.soc, state.deviation))
    return found


WORST = [(1 + sign * 0.01, sign * 0.01, wrong) for sign, wrong in itertools.product((1, -1), (0.1, -0.1))]


@pytest.mark.requirement("R114")
@pytest.mark.parametrize(("gain", "offset", "wrong"), WORST)
def test_nmc_is_within_1_percent_after_an_hour_with_wrong_sensors_and_start(
    gain: float, offset: float, wrong: float
) -> None:
    found = errors("nmc", gain, offset, wrong)[SETTLED:]
    assert max(abs(error) for error, _ in found) < 0.01  # measured: 0.61 to 0.72 %
    within = sum(abs(error) <= 2 * deviation for error, deviation in found)
    assert within > 0.95 * len(found)


@pytest.mark.requirement("R114")
@pytest.mark.parametrize(("gain", "offset", "wrong"), WORST)
def test_lfp_takes_until_its_steep_part_and_says_so(gain: float, offset: float, wrong: float) -> None:
    """On the plateau 10 % of the charge are 2 mV, so a wrong start stays until the first rest on a slope."""
    found = errors("lfp", gain, offset, wrong)
    settled = found[2 * SETTLED :]
    assert max(abs(error) for error, _ in settled) < 0.03  # measured: 2.87 to 2.91 %
    assert math.sqrt(sum(error**2 for error, _ in settled) / len(settled)) < 0.01
    within = sum(abs(error) <= 2 * deviation for error, deviation in found)
    assert within > 0.8 * len(found)


def test_counting_alone_would_miss_what_the_filter_finds() -> None:
    state = None
    counted = START + 0.1
    for step in drive("nmc"):
        current_a = step.reading.current_a * 1.01 + 0.01 * CAPACITY_AH["nmc"]
        counted += current_a * 10 / 3600 / CAPACITY_AH["nmc"]
        seen = msgspec.structs.replace(step.reading, current_a=current_a)
        state = begin("nmc", seen, START + 0.1) if state is None else update("nmc", state, seen)
    assert state is not None
    assert counted - step.soc > 0.2
    assert state.offset == pytest.approx(0.01, abs=0.003)


def test_ten_samples_a_second_say_no_more_than_one_in_ten_seconds() -> None:
    steps = drive("nmc")[:360]
    slow = begin("nmc", steps[0].reading, START + 0.1)
    fast = slow
    for before, step in itertools.pairwise(steps):
        slow = update("nmc", slow, step.reading)
        start = before.reading
        for tenth in range(1, 11):
            share = tenth / 10
            fast = update(
                "nmc",
                fast,
                CellReading(
                    start.at_ms + tenth * 1000,
                    step.reading.current_a,
                    start.cell_v + share * (step.reading.cell_v - start.cell_v),
                ),
            )
    assert fast.deviation == pytest.approx(slow.deviation, rel=0.3)
    assert fast.soc == pytest.approx(slow.soc, abs=0.02)


def test_repeated_and_late_readings_change_nothing() -> None:
    first = CellReading(10_000, 1.0, 3.8)
    state = update("nmc", begin("nmc", CellReading(0, 1.0, 3.8)), first)
    assert update("nmc", state, first) == state
    assert update("nmc", state, CellReading(5_000, 9.0, 3.0)) == state


@given(
    st.sampled_from(["nmc", "lfp"]),
    st.lists(st.tuples(st.integers(1, 10**8), st.floats(-50, 50), st.floats(0, 5)), max_size=30),
)
def test_any_readings_leave_an_estimate_that_is_a_number_and_travels(
    chemistry: Chemistry, readings: list[tuple[int, float, float]]
) -> None:
    state, at_ms = begin(chemistry, CellReading(0, 0.0, 3.3)), 0
    for gap_ms, current_a, cell_v in readings:
        at_ms += gap_ms
        state = update(chemistry, state, CellReading(at_ms, current_a, cell_v))
        assert -0.05 <= state.soc <= 1.05
        assert math.isfinite(state.deviation)
        assert all(map(math.isfinite, state.covariance))
    assert msgspec.json.decode(msgspec.json.encode(state), type=soc.SocState) == state
