"""Limits of a battery: what is found, when it ends, and what is no finding."""

import itertools
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.battery import detectors, limits
from v2g.battery.sample import Finding, Sample

SETTINGS = limits.CellLimitSettings()


def run(values: list[dict[str, float]], every_ms: int = 100) -> list[Finding]:
    state, found = limits.CellLimitState(), []
    for place, each in enumerate(values):
        state, new = limits.step(SETTINGS, state, Sample(place * every_ms, each))
        found += new
    return found


@pytest.mark.requirement("R120")
@pytest.mark.parametrize(
    ("signal", "kind", "severity", "values"),
    [
        ("battery.cell_voltage.imbalance", "cell_spread", "warning", [0.01, 0.05, 0.051, 0.045, 0.2, 0.04]),
        ("battery.temperature.max", "over_temperature", "error", [20.0, 55.0, 55.1, 50.1, 60.0, 50.0]),
        ("battery.cell_voltage.min", "cell_voltage_low", "error", [3.5, 2.8, 2.79, 2.99, 2.0, 3.0]),
    ],
)
def test_a_limit_is_found_once_and_ends_with_hysteresis(
    signal: str, kind: str, severity: str, values: list[float]
) -> None:
    found = run([{signal: each} for each in values])
    assert [(each.kind, each.raised, each.at_ms) for each in found] == [(kind, True, 200), (kind, False, 500)]
    assert found[0].value == values[2]
    assert found[0].severity == severity
    assert found[0].evidence == {signal: values[2]}


@pytest.mark.requirement("R120")
def test_a_sudden_drop_of_voltage_is_found_at_its_sample_and_a_discharge_is_none() -> None:
    drop = [{"battery.voltage": 400.0}] * 50 + [{"battery.voltage": 355.0}] * 400
    raised, cleared = run(drop)
    assert (raised.kind, raised.severity, raised.raised, raised.at_ms) == ("voltage_drop", "error", True, 5000)
    assert raised.value == pytest.approx(45 / 400)
    assert raised.evidence == {"battery.voltage": 355.0, "mean_v": 400.0}
    assert not cleared.raised
    # 355 V is 5 % below 373.7 V, which the mean reaches ln(45 / (355 / 0.95 - 355)) * 10 s = 8.79 s after 4.9 s:
    # with the sample at 13.7 s, and the next one is compared with it
    assert cleared.at_ms == 13_800
    assert run([{"battery.voltage": 400.0 - 0.02 * n} for n in range(5000)]) == [], "100 V in 500 s"


@given(st.lists(st.floats(allow_nan=True), max_size=30))
def test_findings_begin_and_end_in_turn_whatever_the_values(values: list[float]) -> None:
    state, found = detectors.DetectorState(), []
    for at_ms, each in enumerate(values):
        sample = Sample(at_ms, dict.fromkeys(("battery.voltage", "battery.temperature.max"), each))
        state, new = detectors.step(detectors.DetectorSettings(), state, sample)
        found += new
        assert msgspec.json.decode(msgspec.json.encode(state), type=detectors.DetectorState) == state
    for kind in {each.kind for each in found}:
        turns = [each.raised for each in found if each.kind == kind]
        assert turns[0]
        assert all(one is not other for one, other in itertools.pairwise(turns))


def test_the_mean_of_the_voltage_is_exponential_over_10_s_and_stays_when_the_clock_is_set_back() -> None:
    state, _ = limits.step(SETTINGS, limits.CellLimitState(), Sample(60_000, {"battery.voltage": 400.0}))
    assert (state.mean_v, state.at_ms) == (400.0, 60_000)
    state, _ = limits.step(SETTINGS, state, Sample(65_000, {"battery.voltage": 390.0}))
    mean_v = 390 + 10 * math.exp(-0.5)
    assert (state.mean_v, state.at_ms) == (pytest.approx(mean_v), 65_000)
    same, _ = limits.step(SETTINGS, state, Sample(65_000, {"battery.voltage": 380.0}))
    assert same == state
    back, _ = limits.step(SETTINGS, state, Sample(5_000, {"battery.voltage": 380.0}))
    assert (back.mean_v, back.at_ms) == (state.mean_v, 5_000)
    assert limits.step(SETTINGS, state, Sample(70_000, {})) == (state, ())


def test_a_voltage_of_0_is_no_mean_to_compare_with_and_of_one_volt_is() -> None:
    assert run([{"battery.voltage": each} for each in (0.0, 400.0, 399.0)]) == []
    (found,) = run([{"battery.voltage": each} for each in (1.0, 0.5)])
    assert found.value == 0.5


@pytest.mark.parametrize("name", ["spread_clear_v", "temperature_clear_c", "cell_clear_v", "drop_clear"])
def test_settings_without_hysteresis_are_rejected(name: str) -> None:
    limit = getattr(SETTINGS, name.replace("_clear", ""))
    with pytest.raises(msgspec.ValidationError, match=f"^{name} must"):
        msgspec.convert({name: limit}, limits.CellLimitSettings)
