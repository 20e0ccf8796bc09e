"""Thermal runaway from traces of its signs (R126)."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.battery import runaway
from v2g.battery.sample import Finding, Sample

SETTINGS = runaway.RunawaySettings()
SOUND = {
    "battery.temperature.max": 30.0,
    "battery.cell_voltage.min": 3.70,
    "battery.cell_voltage.mean": 3.71,
    "battery.pressure": 101.0,
}


def play(
    *samples: tuple[float, dict[str, float]],
    state: runaway.RunawayState | None = None,
    settings: runaway.RunawaySettings = SETTINGS,
) -> tuple[runaway.RunawayState, list[Finding]]:
    """Return what follows from samples at times in s."""
    state, found = state or runaway.RunawayState(), list[Finding]()
    for at_s, values in samples:
        state, new = runaway.step(settings, state, Sample(round(at_s * 1000), {**SOUND, **values}))
        found += new
    return state, found


def heating(
    rate: float, seconds: float, start_c: float = 30.0, begin_s: float = 0.0
) -> list[tuple[float, dict[str, float]]]:
    """Return samples at 10 Hz of a temperature that rises (K/s)."""
    return [
        (begin_s + n / 10, {"battery.temperature.max": start_c + rate * n / 10}) for n in range(round(seconds * 10) + 1)
    ]


def held(values: dict[str, float], begin_s: float, seconds: float = 0.3) -> list[tuple[float, dict[str, float]]]:
    """Return samples at 10 Hz of values that stay for so long."""
    return [(begin_s + n / 10, values) for n in range(round(seconds * 10) + 1)]


HOT = {"battery.temperature.max": 70.0}
COLLAPSED = {"battery.cell_voltage.min": 2.0}
SWOLLEN = {"battery.pressure": 104.0}


@pytest.mark.requirement("R126")
def test_fast_rise_and_voltage_collapse_are_a_runaway_with_the_sample_that_completes_them() -> None:
    state, found = play(*heating(1.5, 4.0))
    assert not found
    collapse = [
        (at_s, {**COLLAPSED, "battery.temperature.max": 30 + 1.5 * at_s}) for at_s, _ in held(COLLAPSED, 4.1, 0.2)
    ]
    state, found = play(*collapse, state=state)
    assert not found
    state, found = play((4.4, {**COLLAPSED, "battery.temperature.max": 36.6}), state=state)
    assert [(each.kind, each.severity, each.at_ms, each.raised, each.limit) for each in found] == [
        ("thermal_runaway", "error", 4400, True, 1.0)
    ]
    assert found[0].evidence["battery.cell_voltage.min"] == 2.0
    signs = {name: seconds for name, seconds in found[0].evidence.items() if name.startswith("sign.")}
    assert signs == {"sign.gradient_s": 0.0, "sign.voltage_s": 0.0}
    assert found[0].value == 2.0
    assert state.latched_ms == 4400


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"battery.temperature.max": 65.1}, False),
        ({"battery.cell_voltage.min": 2.7}, False),
        ({"battery.pressure": 103.2}, False),
        ({"battery.temperature.max": 65.1, "battery.cell_voltage.min": 2.78}, True),
        ({"battery.temperature.max": 65.0, "battery.cell_voltage.min": 2.78}, False),
        ({"battery.temperature.max": 65.1, "battery.cell_voltage.min": 2.79}, False),
        ({"battery.temperature.max": 65.1, "battery.cell_voltage.min": 0.0}, False),  # a wire without a cell
        ({"battery.temperature.max": 65.1, "battery.pressure": 103.2}, True),
        ({"battery.temperature.max": 65.1, "battery.pressure": 103.0}, False),
        ({"battery.cell_voltage.min": 2.7, "battery.pressure": 103.2}, True),
    ],
)
def test_one_sign_may_be_a_sensor_and_two_are_not(values: dict[str, float], found: bool) -> None:
    _, got = play((0.0, {}), *held(values, 0.1))
    assert bool(got) is found


@pytest.mark.parametrize(
    "wrong",
    [
        {"battery.temperature.max": 150.0, "battery.cell_voltage.min": 0.5, "battery.pressure": 500.0},
        {"battery.temperature.max": math.nan, "battery.cell_voltage.min": math.nan, "battery.pressure": math.nan},
        {"battery.temperature.max": math.inf, "battery.cell_voltage.min": -math.inf, "battery.pressure": math.inf},
    ],
)
def test_a_wrong_sample_each_ten_seconds_is_no_runaway_whatever_it_spoils(wrong: dict[str, float]) -> None:
    _, found = play(*((n / 10, wrong if n % 100 == 50 else {}) for n in range(6000)))
    assert not found


def test_two_wrong_samples_are_none_and_four_are() -> None:
    both = {**HOT, **COLLAPSED}
    assert not play((0.0, {}), *held(both, 0.1, 0.2), (0.4, {}))[1]
    assert play((0.0, {}), *held(both, 0.1, 0.3))[1]


def test_signs_are_held_to_the_millisecond() -> None:
    slow, both = msgspec.structs.replace(SETTINGS, hold_s=2.0), {**HOT, **COLLAPSED}
    assert not play((0.0, both), (1.999, both), settings=slow)[1]
    assert play((0.0, both), (2.0, both), settings=slow)[1]


def test_a_right_sample_between_does_not_forgive() -> None:
    """Every second sample of a cell that burns is right: the others add up."""
    both = {**HOT, **COLLAPSED}
    _, found = play(*((n / 10, both if n % 2 else {}) for n in range(20)))
    assert found
    assert found[0].at_ms <= 1000


def test_a_value_that_is_no_number_neither_counts_nor_forgives() -> None:
    lost = {"battery.temperature.max": math.nan, "battery.cell_voltage.min": math.nan, "battery.pressure": math.nan}
    both = {**HOT, **COLLAPSED}
    state, found = play((0.0, {}), *held(both, 0.1, 0.2), *held(lost, 0.4, 5.0))
    assert not found
    _, found = play((5.5, both), state=state)
    assert found
    hot = play((0.0, {}), *held(HOT, 0.1))[0]
    _, found = play(*held({**SWOLLEN, "battery.temperature.max": math.nan}, 1.0), state=hot)  # it took its sensor along
    assert found
    assert "battery.temperature.max" not in found[0].evidence
    assert found[0].evidence["sign.temperature_s"] == pytest.approx(0.9), "when it was last seen"
    blind = {**SWOLLEN, "battery.temperature.max": math.nan}
    assert not play((0.0, {}), *held(blind, 0.1))[1], "one sign"


def test_a_rise_outlasts_a_dip_of_its_sensor() -> None:
    """A sample far too low, just when a second is over: the rise is found 2 s later."""
    rising = heating(2.0, 4.0)
    rising[20] = (2.0, {"battery.temperature.max": -40.0})
    state, _ = play(*rising)
    assert not play(*held({**SWOLLEN, "battery.temperature.max": 38.0}, 4.1, 0.4), state=state)[1]
    state, _ = play(*heating(2.0, 2.0, start_c=38.0, begin_s=4.0), state=state)
    assert play(*held({**SWOLLEN, "battery.temperature.max": 42.0}, 6.1, 0.4), state=state)[1]


def seconds(*celsius: float, begin_s: float = 0.0) -> list[tuple[float, dict[str, float]]]:
    """Return samples of a temperature, one a second."""
    return [(begin_s + n, {"battery.temperature.max": each}) for n, each in enumerate(celsius)]


@pytest.mark.parametrize(
    ("celsius", "sign"),
    [
        ((30, 32, 34, 36), True),
        ((30, 32, 34, 34, 36), False),  # a level second takes one away,
        ((30, 32, 34, 34, 36, 38), True),  # not all
        ((30, 31, 30, 31, 32, 33), True),
        ((30, 31, 30, 30, 31, 32), False),  # what was level before does not count against it
        ((30, 31, 30, 30, 30, 31, 32, 33), True),
        ((30, 32, 34, 36, 38, 40, 40, 40), True),  # it has ended, and was a sign within a minute
        ((30, 32, 34, 36, 38, 40, 40, 42), True),
        ((30, 32, 31, 32, 31.5, 32.5), False),  # three rises more than falls of a second, and not 3 K
        ((30, 31, 32, 30.5, 31.5, 32.5), False),
        ((30, 31, 32, 30.5, 31.5, 32.5, 33.5), True),
    ],
)
def test_seconds_of_rise_count_less_those_without(celsius: tuple[float, ...], sign: bool) -> None:
    state, _ = play(*seconds(*celsius))
    end = len(celsius) - 1 + 0.1
    _, found = play(*held({**SWOLLEN, "battery.temperature.max": celsius[-1]}, end, 0.4), state=state)
    assert bool(found) is sign


def test_limits_are_exact() -> None:
    """2 kPa more is none yet, nor is three quarters of the mean; nothing counts without a mean."""
    hot = held({**HOT, "battery.pressure": 103.0}, 0.1)
    assert not play((0.0, {}), *hot)[1]
    mean = {"battery.cell_voltage.mean": 4.0}
    assert not play((0.0, {}), *held({**HOT, **mean, "battery.cell_voltage.min": 3.0}, 0.1))[1]
    assert play((0.0, {}), *held({**HOT, **mean, "battery.cell_voltage.min": 2.99}, 0.1))[1]
    assert play((0.0, {}), *held({**HOT, **mean, "battery.cell_voltage.min": 0.5}, 0.1))[1]
    assert not play((0.0, {}), *held({**HOT, "battery.cell_voltage.mean": math.nan, **COLLAPSED}, 0.1))[1]


def test_the_evidence_says_how_long_ago_each_sign_was() -> None:
    _, found = play(*held(HOT, 0.0), (1.0, {}), *held(COLLAPSED, 10.0))
    assert found[0].evidence["sign.temperature_s"] == 10.0
    assert found[0].evidence["sign.voltage_s"] == 0.0
    assert set(found[0].evidence) == {*SOUND, "sign.temperature_s", "sign.voltage_s"}
    _, found = play((0.0, {}), *held({**HOT, **SWOLLEN}, 0.1))
    assert {"sign.temperature_s", "sign.pressure_s"} <= set(found[0].evidence)


def test_a_rise_counts_no_longer_than_it_lasted() -> None:
    state, _ = play(*seconds(*range(30, 52, 2), *[50] * 5))
    _, found = play(*held({**SWOLLEN, "battery.temperature.max": 50.0}, 15.1), state=state)
    assert found[0].evidence["sign.gradient_s"] == pytest.approx(5.4)


def test_a_rise_has_to_last_as_long_as_is_set_however_fast_it_is() -> None:
    patient = msgspec.structs.replace(SETTINGS, gradient_s=5.0)
    for last_s, sign in ((4.0, False), (5.0, True)):
        state, _ = play(*heating(2.0, last_s, begin_s=100.0), settings=patient)
        end = {**SWOLLEN, "battery.temperature.max": 30 + 2 * last_s}
        assert bool(play(*held(end, 100.1 + last_s), state=state, settings=patient)[1]) is sign


def test_two_signs_of_the_past_need_one_of_the_present() -> None:
    state, found = play((0.0, {}), *held({**HOT, **COLLAPSED}, 0.1))
    assert found
    state = msgspec.structs.replace(state, latched_ms=None)
    assert not play((1.0, {}), state=state)[1]


def test_the_default_limits() -> None:
    assert runaway.RunawaySettings() == runaway.RunawaySettings(
        gradient=1.0, gradient_s=3.0, temperature_c=65.0, voltage=0.25, pressure_kpa=2.0, pressure_s=10.0,
        together_s=60.0, hold_s=0.3,
    )  # fmt: skip
    _, found = play(*held({**HOT, **COLLAPSED}, 0.0))
    ended = runaway.reset(runaway.RunawayState(latched_ms=1), 7)[1]
    assert [(each.severity, each.value, each.limit) for each in (*found, *ended)] == [
        ("error", 2.0, 1.0),
        ("error", 0.0, 1.0),
    ]


def test_a_noisy_sensor_does_not_rise() -> None:
    """Two degrees of noise, also when it happens to rise three times in a row by the marks of seconds."""
    noise = [0.0, 1.1, 0.0, 1.1, 2.2, 1.1, 0.0, 1.2, 2.4, 1.2, 2.4, 2.4, 1.2, 2.4]
    noisy = [(n / 10, {"battery.temperature.max": 30 + noise[n // 10]}) for n in range(140)]
    state, _ = play(*noisy)
    assert not play(*held(SWOLLEN, 14.0), state=state)[1]


@pytest.mark.parametrize(
    ("rate", "seconds", "sign"), [(1.0, 3.0, True), (1.0, 2.9, False), (0.9995, 30.0, False), (5.0, 3.0, True)]
)
def test_the_rise_counts_from_1_kelvin_a_second_for_3_seconds(rate: float, seconds: float, sign: bool) -> None:
    state, _ = play(*heating(rate, seconds))
    end = {"battery.temperature.max": 30 + rate * seconds, "battery.pressure": 120.0}
    _, found = play(*held(end, seconds), state=state)
    assert bool(found) is sign


def test_a_jump_of_the_temperature_is_one_second_of_rise_and_not_three() -> None:
    flat = [(1 + n / 10, {"battery.temperature.max": 60.0}) for n in range(50)]
    _, found = play(*heating(0, 0.9), *flat, *held({"battery.temperature.max": 60.0, "battery.pressure": 120.0}, 6.1))
    assert not found


def test_signs_count_together_for_a_minute() -> None:
    """By the sample that completes each: the temperature's at 0.3 s."""
    assert play(*held(HOT, 0.0), (1.0, {}), *held(COLLAPSED, 60.0))[1]
    assert not play(*held(HOT, 0.0), (1.0, {}), *held(COLLAPSED, 60.01))[1]


def test_pressure_is_beyond_its_mean_by_more_than_the_limit() -> None:
    at_limit = {**HOT, "battery.pressure": 103.0}
    assert not play((0.0, {}), (0.1, at_limit), *held({**HOT, "battery.pressure": 105.0}, 0.2, 0.2))[1]
    state, _ = play((0.0, {}), (10.0, {"battery.pressure": 102.0}))
    assert state.pressure_kpa == pytest.approx(102 - math.exp(-1), abs=1e-6), "after its time constant"


def test_slow_pressure_is_weather() -> None:
    rising = [(n / 10, {"battery.pressure": 101 + n / 100, "battery.temperature.max": 70.0}) for n in range(300)]
    assert not play(*rising)[1]


def test_the_finding_comes_once_and_stays_until_it_is_reset_by_hand() -> None:
    both = {**HOT, **COLLAPSED}
    state, found = play((0.0, {}), *held(both, 0.1))
    assert len(found) == 1
    state, found = play(*((n, {}) for n in range(1, 500)), *held(both, 500.0), state=state)
    assert not found
    assert state.latched_ms == 400
    state = msgspec.json.decode(msgspec.json.encode(state), type=runaway.RunawayState)  # also over a restart
    assert state.latched_ms == 400
    state, ended = runaway.reset(state, 600_000)
    assert [(each.kind, each.raised, each.at_ms) for each in ended] == [("thermal_runaway", False, 600_000)]
    assert state == runaway.RunawayState()
    assert runaway.reset(state, 700_000) == (state, ())


def test_without_signals_nothing_is_found() -> None:
    state = runaway.RunawayState()
    for at_ms in range(0, 10_000, 100):
        state, none = runaway.step(SETTINGS, state, Sample(at_ms, {}))
        assert not none


def test_a_clock_that_goes_back_starts_the_rise_and_the_pressure_again() -> None:
    state, _ = play(*heating(1.5, 4.0, begin_s=1000.0))
    _, found = play(*held({"battery.temperature.max": 36.0, "battery.cell_voltage.min": 2.0}, 10.0), state=state)
    assert not found
    _, found = play(*held({"battery.temperature.max": 70.0, "battery.pressure": 200.0}, 5.0, 3.0), state=state)
    assert not found


@given(st.lists(st.tuples(st.integers(0, 10_000), st.floats(-40, 64.9), st.floats(3.0, 4.2)), max_size=60))
def test_no_single_signal_alone_is_a_runaway(samples: list[tuple[int, float, float]]) -> None:
    state, at_ms = runaway.RunawayState(), 0
    for gap_ms, hottest_c, mean_v in samples:
        at_ms += gap_ms
        values = {
            "battery.temperature.max": hottest_c,
            "battery.cell_voltage.min": mean_v * 0.9,
            "battery.cell_voltage.mean": mean_v,
        }
        state, found = runaway.step(SETTINGS, state, Sample(at_ms, values))
        assert not found
