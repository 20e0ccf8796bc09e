"""Bad data are findings about the data, and never about the battery."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.battery.truth import drive
from v2g.battery import data_quality, detectors, health
from v2g.battery.cell import Pack
from v2g.battery.finding import Finding
from v2g.battery.sample import Sample
from v2g.telemetry.signals import SIGNALS

NAN = float("nan")
SETTINGS = detectors.Settings(health=health.Settings(pack=Pack("nmc", 5.1532 * 30, 96)))


def healthy(seconds: int) -> list[dict[str, float]]:
    """Return a sound pack's values each 10 s of a drive: 96 cells in series, 30 in parallel."""
    found = []
    for each in drive("nmc")[: seconds // 10]:
        volts = each.reading.cell_v
        found.append(
            {
                "battery.current": 30 * each.reading.current_a,
                "battery.voltage": 96 * volts,
                "battery.power": 96 * volts * 30 * each.reading.current_a,
                "battery.temperature.min": each.temperature_c - 1,
                "battery.temperature.max": each.temperature_c,
                "battery.cell_voltage.min": volts - 0.005,
                "battery.cell_voltage.max": volts + 0.005,
                "battery.cell_voltage.mean": volts,
                "battery.cell_voltage.imbalance": 0.01,
            }
        )
    return found


SOUND = healthy(3600)


def play(values: list[dict[str, float]], gap_ms: int = 10_000) -> tuple[detectors.State, list[Finding]]:
    """Return what all detectors say to samples in a row."""
    state, found = detectors.State(), []
    for number, each in enumerate(values):
        state, new = detectors.step(SETTINGS, state, Sample(number * gap_ms, each))
        found += new
    return state, found


def told(found: list[Finding]) -> list[tuple[str, bool]]:
    return [(each.kind, each.raised) for each in found]


def test_a_sound_battery_has_no_findings() -> None:
    state, found = play(SOUND)
    assert not found
    assert detectors.estimates(state)["soc_percent"] == pytest.approx(100 * drive("nmc")[359].soc, abs=3)
    assert msgspec.json.decode(msgspec.json.encode(state), type=detectors.State) == state


@pytest.mark.parametrize(
    ("signal", "value", "kind"),
    [
        ("battery.voltage", NAN, "data_number"),
        ("battery.temperature.max", float("inf"), "data_number"),
        ("battery.voltage", -1.0, "data_range"),
        ("battery.temperature.max", 151.0, "data_range"),
        ("battery.cell_voltage.min", 5.1, "data_range"),
        ("battery.temperature.max", 140.0, "data_jump"),
        ("battery.cell_voltage.min", 0.0, "data_jump"),
        ("battery.voltage", 0.0, "data_jump"),
    ],
)
def test_a_wrong_value_is_said_once_and_seen_by_no_detector(signal: str, value: float, kind: str) -> None:
    values = [dict(each) for each in SOUND[:60]]
    gap_ms = 100 if kind == "data_jump" else 10_000
    steady = [dict(SOUND[30]) for _ in values] if kind == "data_jump" else values
    steady[30][signal] = value
    _, found = play(steady, gap_ms)
    assert told(found) == [(kind, True), (kind, False)]
    assert found[0].severity == "warning"


def test_a_jump_that_stays_is_a_step_and_counts_then() -> None:
    hot = dict(SOUND[30]) | {"battery.temperature.max": 90.0}
    _, found = play([SOUND[30]] * 20 + [hot] * 20, 100)
    assert told(found)[:3] == [("data_jump", True), ("data_jump", False), ("over_temperature", True)]
    assert found[2].at_ms - found[0].at_ms == 300  # within a second of its sample (R120)


def test_a_swapped_sign_is_found_and_stops_the_estimates() -> None:
    swapped = [each | {"battery.current": -each["battery.current"]} for each in SOUND]
    state, found = play(swapped)
    assert told(found) == [("data_sign", True)]
    assert found[0].at_ms < 1_800_000
    assert state.health.soc is not None
    assert state.health.soc.last.at_ms < found[0].at_ms + 1
    _, found = play(swapped + SOUND)
    assert told(found) == [("data_sign", True), ("data_sign", False)]


def test_silence_is_a_finding_while_a_current_flowed_and_none_while_parked() -> None:
    flowing = SOUND[5] | {"battery.current": -50.0}
    parked = SOUND[5] | {"battery.current": 0.0}
    for before, kinds in ((flowing, [("data_silent", True), ("data_silent", False)]), (parked, [])):
        state, found = detectors.State(), []
        for at_s in (0, 10, 20, 800, 810):
            state, new = detectors.step(SETTINGS, state, Sample(at_s * 1000, before))
            found += new
        assert told(found) == kinds


def test_a_clock_that_was_set_back_is_no_silence() -> None:
    state, _ = play(SOUND[:10])
    _, found = detectors.step(SETTINGS, state, Sample(-(10**9), SOUND[10]))
    assert not found


def test_signals_that_the_registry_does_not_know_pass() -> None:
    state, found = data_quality.step(data_quality.Settings(), data_quality.State(), Sample(0, {"x": 1e9}))
    assert not found
    assert data_quality.trusted(state, Sample(0, {"x": 1e9})).values == {"x": 1e9}


BROKEN = st.one_of(
    st.just(NAN), st.just(float("inf")), st.just(-float("inf")), st.just(0.0), st.floats(-1e6, 1e6, allow_nan=False)
)


@given(
    st.dictionaries(
        st.integers(2, 18).map(lambda number: 3 * number),  # one after the other, they would be no single ones
        st.tuples(st.sampled_from(sorted(SOUND[0])), BROKEN),
        min_size=1,
        max_size=20,
    )
)
def test_single_broken_values_are_never_findings_about_the_battery(wrong: dict[int, tuple[str, float]]) -> None:
    values = [dict(SOUND[30]) for _ in range(60)]
    for number, (name, value) in wrong.items():
        if abs(value - values[number][name]) > 3 * SIGNALS[name].jump or value != value:
            values[number][name] = value
    _, found = play(values, 200)
    assert all(each.kind.startswith("data_") for each in found)


@given(st.lists(st.dictionaries(st.sampled_from(sorted(SIGNALS)), st.floats(), max_size=8), max_size=20))
def test_anything_is_survived_and_the_state_travels(values: list[dict[str, float]]) -> None:
    state, found = play(values)
    copy = msgspec.json.decode(msgspec.json.encode(state), type=detectors.State)
    assert msgspec.json.encode(copy) == msgspec.json.encode(state)
    assert all(isinstance(each, Finding) for each in found)
