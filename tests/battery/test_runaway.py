"""Thermal runaway from traces of its signs (R126)."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.battery import runaway
from v2g.battery.finding import Finding
from v2g.battery.sample import Sample

SETTINGS = runaway.Settings()
SOUND = {
    "battery.temperature.max": 30.0,
    "battery.cell_voltage.min": 3.70,
    "battery.cell_voltage.mean": 3.71,
    "battery.pressure": 101.0,
}


def play(
    *samples: tuple[float, dict[str, float]], state: runaway.State | None = None
) -> tuple[runaway.State, list[Finding]]:
    """Return what follows from samples at times in s."""
    state, found = state or runaway.State(), []
    for at_s, values in samples:
        state, new = runaway.step(SETTINGS, state, Sample(round(at_s * 1000), {**SOUND, **values}))
        found += new
    return state, found


def heating(
    rate: float, seconds: float, start_c: float = 30.0, begin_s: float = 0.0
) -> list[tuple[float, dict[str, float]]]:
    """Return samples at 10 Hz of a temperature that rises (K/s)."""
    return [
        (begin_s + n / 10, {"battery.temperature.max": start_c + rate * n / 10}) for n in range(round(seconds * 10) + 1)
    ]


@pytest.mark.requirement("R126")
def test_fast_rise_and_voltage_collapse_are_a_runaway_with_the_very_sample() -> None:
    before = heating(1.5, 4.0)
    state, found = play(*before)
    assert not found
    state, found = play((4.1, {"battery.temperature.max": 36.15, "battery.cell_voltage.min": 2.0}), state=state)
    assert [(each.kind, each.severity, each.at_ms, each.raised) for each in found] == [
        ("thermal_runaway", "error", 4100, True)
    ]
    assert found[0].evidence["battery.cell_voltage.min"] == 2.0
    assert found[0].evidence["sign.voltage_s"] == 0.0
    assert found[0].value == 2.0
    assert state.latched_ms == 4100


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"battery.temperature.max": 65.1}, False),
        ({"battery.cell_voltage.min": 2.7}, False),
        ({"battery.pressure": 103.1}, False),
        ({"battery.temperature.max": 65.1, "battery.cell_voltage.min": 2.78}, True),
        ({"battery.temperature.max": 65.0, "battery.cell_voltage.min": 2.78}, False),
        ({"battery.temperature.max": 65.1, "battery.cell_voltage.min": 2.79}, False),
        ({"battery.temperature.max": 65.1, "battery.cell_voltage.min": 0.0}, False),  # a sensor without a cell
        ({"battery.temperature.max": 65.1, "battery.pressure": 103.1}, True),
        ({"battery.temperature.max": 65.1, "battery.pressure": 103.0}, False),
        ({"battery.cell_voltage.min": 2.7, "battery.pressure": 103.1}, True),
    ],
)
def test_one_sign_may_be_a_sensor_and_two_are_not(values: dict[str, float], found: bool) -> None:
    _, got = play((0.0, {}), (0.1, values))
    assert bool(got) is found


@pytest.mark.parametrize(
    ("rate", "seconds", "sign"), [(1.0, 3.0, True), (1.0, 2.9, False), (0.99, 30.0, False), (5.0, 3.0, True)]
)
def test_the_rise_counts_from_1_kelvin_a_second_for_3_seconds(rate: float, seconds: float, sign: bool) -> None:
    state, _ = play(*heating(rate, seconds))
    _, found = play((seconds, {"battery.temperature.max": 30 + rate * seconds, "battery.pressure": 120}), state=state)
    assert bool(found) is sign


def test_a_jump_of_the_temperature_is_one_second_of_rise_and_not_three() -> None:
    flat = [(1 + n / 10, {"battery.temperature.max": 60.0}) for n in range(50)]
    _, found = play(*heating(0, 0.9), *flat, (6.1, {"battery.temperature.max": 60.0, "battery.pressure": 120}))
    assert not found


def test_signs_count_together_for_a_minute() -> None:
    hot, collapsed = {"battery.temperature.max": 70.0}, {"battery.cell_voltage.min": 2.0}
    assert play((0.0, hot), (60.0, collapsed))[1]
    assert not play((0.0, hot), (60.1, collapsed))[1]


def test_slow_pressure_is_weather() -> None:
    rising = [(n / 10, {"battery.pressure": 101 + n / 100, "battery.temperature.max": 70.0}) for n in range(300)]
    assert not play(*rising)[1]


def test_the_finding_comes_once_and_stays_until_it_is_reset_by_hand() -> None:
    state, found = play((0.0, {}), (0.1, {"battery.temperature.max": 70.0, "battery.cell_voltage.min": 2.0}))
    assert len(found) == 1
    state, found = play(
        *((n, {}) for n in range(1, 500)),
        (500.0, {"battery.temperature.max": 70.0, "battery.cell_voltage.min": 2.0}),
        state=state,
    )
    assert not found
    assert state.latched_ms == 100
    state = msgspec.json.decode(msgspec.json.encode(state), type=runaway.State)  # also over a restart
    assert state.latched_ms == 100
    state, found = runaway.reset(state, 600_000)
    assert [(each.kind, each.raised, each.at_ms) for each in found] == [("thermal_runaway", False, 600_000)]
    assert state == runaway.State()
    assert runaway.reset(state, 700_000) == (state, ())


def test_without_signals_nothing_is_found() -> None:
    state = runaway.State()
    for at_ms in range(0, 10_000, 100):
        state, found = runaway.step(SETTINGS, state, Sample(at_ms, {}))
        assert not found


def test_a_clock_that_goes_back_starts_the_rise_and_the_pressure_again() -> None:
    state, _ = play(*heating(1.5, 4.0, begin_s=1000.0))
    _, found = play((10.0, {"battery.temperature.max": 36.0, "battery.cell_voltage.min": 3.7}), state=state)
    assert not found
    state, found = play((0.0, {"battery.pressure": 200.0}), state=state)
    assert not found


@given(st.lists(st.tuples(st.integers(0, 10_000), st.floats(-40, 64.9), st.floats(3.0, 4.2)), max_size=60))
def test_no_single_signal_alone_is_a_runaway(samples: list[tuple[int, float, float]]) -> None:
    state, at_ms = runaway.State(), 0
    for gap_ms, hottest_c, mean_v in samples:
        at_ms += gap_ms
        values = {
            "battery.temperature.max": hottest_c,
            "battery.cell_voltage.min": mean_v * 0.9,
            "battery.cell_voltage.mean": mean_v,
        }
        state, found = runaway.step(SETTINGS, state, Sample(at_ms, values))
        assert not found
