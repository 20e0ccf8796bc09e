"""Bad data are findings about the data, and never about the battery."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.battery.truth import drive
from v2g.battery import data_quality, detectors, health
from v2g.battery.cell import PackModel
from v2g.battery.sample import Finding, Sample
from v2g.telemetry.signals import SIGNALS

NAN = float("nan")
SETTINGS = detectors.DetectorSettings(health=health.HealthSettings(pack=PackModel("nmc", 5.1532 * 30, 96)))


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


def play(values: list[dict[str, float]], gap_ms: int = 10_000) -> tuple[detectors.DetectorState, list[Finding]]:
    """Return what all detectors say to samples in a row."""
    state, found = detectors.DetectorState(), []
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
    assert msgspec.json.decode(msgspec.json.encode(state), type=detectors.DetectorState) == state


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
        state, found = detectors.DetectorState(), []
        for at_s in (0, 10, 20, 800, 810):
            state, new = detectors.step(SETTINGS, state, Sample(at_s * 1000, before))
            found += new
        assert told(found) == kinds


def test_a_clock_that_was_set_back_is_no_silence() -> None:
    state, _ = play(SOUND[:10])
    _, found = detectors.step(SETTINGS, state, Sample(-(10**9), SOUND[10]))
    assert not found


def test_signals_that_the_registry_does_not_know_pass() -> None:
    state, found = data_quality.step(
        data_quality.DataQualitySettings(), data_quality.DataQualityState(), Sample(0, {"x": 1e9})
    )
    assert not found
    assert data_quality.trusted(state, Sample(0, {"x": 1e9})).values == {"x": 1e9}


BROKEN = st.one_of(
    st.just(NAN), st.just(float("inf")), st.just(-float("inf")), st.just(0.0), st.floats(-1e6, 1e6, allow_nan=False)
)


@example({6: ("battery.cell_voltage.imbalance", 0.125)})
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
    copy = msgspec.json.decode(msgspec.json.encode(state), type=detectors.DetectorState)
    assert msgspec.json.encode(copy) == msgspec.json.encode(state)
    assert all(isinstance(each, Finding) for each in found)


HOT = "battery.temperature.max"


def judged(*samples: tuple[int, dict[str, float]]) -> list[tuple[int, str, bool]]:
    """Return what is wrong with samples (ms, values) as data: time, kind, whether it begins."""
    state, found = data_quality.DataQualityState(), []
    for at_ms, values in samples:
        state, new = data_quality.step(data_quality.DataQualitySettings(), state, Sample(at_ms, values))
        found += new
    return [(each.at_ms, each.kind, each.raised) for each in found]


def pair(amperes: float, volts: float, **others: float) -> dict[str, float]:
    return {"battery.current": amperes, "battery.voltage": volts, **others}


@pytest.mark.parametrize(
    ("amperes", "gap_ms", "silent"),
    [(2.0, 120_000, False), (2.0, 120_001, True), (-2.0, 120_001, True), (1.9, 999_000, False)],
)
def test_silence_is_more_than_2_minutes_after_2_amperes(amperes: float, gap_ms: int, silent: bool) -> None:
    flowing = pair(amperes, 350.0)
    assert judged((0, flowing), (gap_ms, flowing)) == [(gap_ms, "data_silent", True)] * silent
    found = judged((0, flowing), (1000, {"battery.soc": 50.0}), (1000 + gap_ms, {"battery.soc": 50.0}))
    assert found == [(1000 + gap_ms, "data_silent", True)] * silent


def steps(
    count: int, amperes: float, volts: float, gap_ms: int = 12_000, begin: int = 0
) -> list[tuple[int, dict[str, float]]]:
    """Return samples of so many steps to and fro."""
    numbers = range(begin, begin + count + 1)
    return [(each * gap_ms, pair(amperes * (each % 2), abs(volts) * ((each + (volts < 0)) % 2))) for each in numbers]


def test_a_sign_is_judged_after_20_steps_of_5_amperes_and_200_millivolts_in_12_seconds() -> None:
    assert judged(*steps(30, 5.0, -0.2)) == [(20 * 12_000, "data_sign", True)]
    for one in (steps(90, 5.0, 0.2), steps(90, 5.0, 10.0), steps(90, 0.0, -9.0), steps(90, 9.0, 0.0)):
        assert judged(*one) == []
    for one in (steps(90, 4.9, -0.2), steps(90, 5.0, -0.19), steps(90, 5.0, -0.2, 12_001), steps(90, 5.0, -0.2, 0)):
        assert judged(*one) == []
    assert judged((0, {"battery.soc": 50.0}), (1000, pair(5.0, 0.2)), (900, pair(5.0, 0.2))) == []
    assert judged(*steps(90, 5.0, -0.2, 500)) == [(20 * 500, "data_sign", True)]
    # 20 steps make the mean of agreement 1 - 0.9 ** 20 = 0.878; 13 others, from sample 22 on, bring it beyond -0.5
    for sign, expected in ((1, [True]), (-1, [True, False])):
        found = judged(*steps(20, 5.0, 0.2 * sign), *steps(40, 5.0, -0.2 * sign, begin=20)[1:])
        assert [each[1:] for each in found] == [("data_sign", each) for each in expected]
        assert found[-1][0] == 34 * 12_000


def test_steps_of_samples_that_jump_say_nothing_of_the_sign() -> None:
    samples = [(at_ms, values | {HOT: 140.0 if at_ms % 2000 else 25.0}) for at_ms, values in steps(39, 5.0, -0.2, 1000)]
    assert all(kind == "data_jump" for _, kind, _ in judged(*samples))


def test_while_a_sign_is_wrong_current_and_power_are_not_trusted() -> None:
    state = data_quality.DataQualityState(wrong={"data_sign": True}, jumped={HOT: (140.0, 0)})
    values = pair(1.0, 350.0, **{"battery.power": 350.0, HOT: 140.0, "battery.soc": 50.0})
    assert data_quality.trusted(state, Sample(0, values)).values == {"battery.voltage": 350.0, "battery.soc": 50.0}
    wrong = {"x": NAN, HOT: 150.1, "battery.soc": -0.1}
    assert data_quality.plausible(Sample(0, wrong | {"battery.temperature.min": 150.0})).values == {
        "battery.temperature.min": 150.0
    }


@pytest.mark.parametrize(
    ("signal", "before", "after", "gap_ms", "jumps"),
    [
        (HOT, 25.0, 35.0, 1000, False),
        (HOT, 25.0, 35.1, 1000, True),
        (HOT, 25.0, 35.1, 100, True),
        (HOT, 25.0, 45.0, 2000, False),
        (HOT, 25.0, 45.1, 2000, True),
        ("battery.cell_voltage.imbalance", 0.0, 0.2, 100, False),
        ("battery.cell_voltage.imbalance", 0.0, 0.21, 100, True),
    ],
)
def test_a_jump_is_more_than_its_signal_moves_in_a_second(
    signal: str, before: float, after: float, gap_ms: int, jumps: bool
) -> None:
    assert judged((0, {signal: before}), (gap_ms, {signal: after})) == [(gap_ms, "data_jump", True)] * jumps


@pytest.mark.parametrize(
    ("course", "ends_ms"),
    [
        (((100, 140.0), (399, 140.0), (400, 140.0), (500, 140.0)), 400),
        (((100, 140.0), (250, 130.0), (400, 130.0)), 400),
        (((100, 140.0), (300, 60.0), (500, 60.0), (600, 60.0)), 600),
        (((1000, 140.0), (900, 140.0), (1200, 140.0)), 1200),
    ],
)
def test_a_jump_counts_after_300_ms_at_one_value(course: tuple[tuple[int, float], ...], ends_ms: int) -> None:
    found = judged((0, {HOT: 25.0}), *((at_ms, {HOT: celsius}) for at_ms, celsius in course))
    assert found == [(course[0][0], "data_jump", True), (ends_ms, "data_jump", False)]


def test_evidence_of_a_jump_is_what_jumped_and_of_a_number_all_others() -> None:
    state, _ = data_quality.step(
        data_quality.DataQualitySettings(), data_quality.DataQualityState(), Sample(0, {HOT: 25.0})
    )
    values = {HOT: 140.0, "battery.soc": 50.0, "battery.voltage": NAN}
    _, found = data_quality.step(data_quality.DataQualitySettings(), state, Sample(100, values))
    assert [(each.kind, dict(each.evidence)) for each in found] == [
        ("data_number", {HOT: 140.0, "battery.soc": 50.0}),
        ("data_jump", {HOT: 140.0}),
    ]
