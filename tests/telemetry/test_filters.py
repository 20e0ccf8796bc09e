"""What is removed as a glitch of the bus, and what is kept."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.telemetry.filters import GlitchFilter
from v2g.telemetry.signals import SIGNALS

VOLTAGE, SOC = "battery.voltage", "battery.soc"


def passed(name: str, samples: list[float]) -> tuple[list[float], GlitchFilter]:
    found = GlitchFilter()
    return [value for each in samples for value in found.valid({name: each}).values()], found


@pytest.mark.requirement("R109")
def test_injected_outliers_are_removed_and_counted() -> None:
    chance = random.Random(7)
    true = [round(380 + n * 0.01, 2) for n in range(10_000)]
    places = chance.sample(range(10, 9_990, 3), 500)  # never two in a row
    noisy = [value if n not in places else chance.choice((0.0, 1500.0)) for n, value in enumerate(true)]
    found, filtered = passed(VOLTAGE, noisy)
    assert set(found) <= set(true)
    assert len(found) == 9_500
    assert (filtered.samples, filtered.outliers[VOLTAGE]) == (10_000, 500)


@pytest.mark.requirement("R109")
@given(st.floats(0, 1500), st.floats(0, 1500), st.integers(2, 20))
def test_a_true_step_is_kept_one_sample_late_at_most(before: float, after: float, length: int) -> None:
    found, filtered = passed(VOLTAGE, [before] * 3 + [after] * length)
    assert found[:3] == [before] * 3
    assert found[3:] in ([after] * length, [after] * (length - 1))
    assert filtered.outliers.total() == 0


@pytest.mark.requirement("R109")
@given(st.floats(5.1, 20), st.integers(2, 4))
def test_a_ramp_steeper_than_the_limit_is_followed(slope: float, length: int) -> None:
    ramp = [slope * n for n in range(length + 1)]
    found, filtered = passed(SOC, [*ramp, ramp[-1]])
    assert found[-1] == ramp[-1]
    assert found == sorted(found)
    assert filtered.outliers.total() == 0


@pytest.mark.requirement("R109")
def test_outliers_in_both_directions_one_after_the_other_do_not_pass() -> None:
    found, filtered = passed(VOLTAGE, [400, 400, 1500, 0, 400, 401])
    assert found == [400, 400, 400, 401]
    assert filtered.outliers[VOLTAGE] == 2


@pytest.mark.requirement("R109")
def test_a_signal_that_may_jump_is_never_late() -> None:
    assert passed("vehicle.contactor", [0, 1, 0, 1])[0] == [0, 1, 0, 1]


@given(st.sampled_from(sorted(SIGNALS)), st.lists(st.floats(-1e6, 1e6), max_size=30))
def test_only_received_values_pass(name: str, samples: list[float]) -> None:
    found, filtered = passed(name, samples)
    assert set(found) <= set(samples)
    assert len(found) + filtered.outliers[name] <= filtered.samples == len(samples)


@pytest.mark.requirement("R109")
def test_a_repeated_frame_is_one_that_follows_at_once() -> None:
    found = GlitchFilter()
    times = (0.0, 0.0003, 0.01, 0.0105, 0.0106)
    frames = (b"a", b"a", b"a", b"b", b"a")
    assert [found.is_repeated(1, data, at) for data, at in zip(frames, times, strict=True)] == [
        False, True, False, False, False
    ]  # fmt: skip
    assert not found.is_repeated(2, b"a", 0.0106)
    assert (found.frames, found.repeated) == (6, 1)
