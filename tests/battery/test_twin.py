"""A twin along PyBaMM's cell: what deviates is a finding, and calibration brings it to 0 (R129, R169)."""

import math

import msgspec
import pytest

from tests.battery.truth import CAPACITY_AH, drive
from v2g.battery import twin
from v2g.battery.cell import Pack
from v2g.battery.finding import Finding
from v2g.battery.sample import Sample

SETTINGS = twin.Settings(pack=Pack("nmc", CAPACITY_AH["nmc"], 1), heat_s=800.0, rise_c=15.0)


def play(
    *,
    warmer_c: float = 0.0,
    higher_v: float = 0.0,
    heat_c: float = 0.0,
    ohm: float = 0.0,
    state: twin.State | None = None,
) -> tuple[twin.State, list[Finding], list[twin.State]]:
    """Return what the twin says of a day with offsets of sensors; from the second hour on with a cell that heats
    itself and more resistance."""
    state, found, states = state or twin.State(), [], []
    begin_ms = 0 if state.last is None else state.last.at_ms
    for number, step in enumerate(drive("nmc")):
        bad = number >= 360
        values = {
            "battery.current": step.reading.current_a,
            "battery.voltage": step.reading.cell_v + higher_v + bad * ohm * step.reading.current_a,
            "battery.temperature.max": step.temperature_c + warmer_c + bad * heat_c,
            "battery.temperature.coolant": 25.0,
        }
        state, new = twin.step(SETTINGS, state, Sample(begin_ms + step.reading.at_ms, values))
        found += new
        states.append(state)
    return state, found, states


@pytest.mark.requirement("R129")
def test_the_twin_follows_a_day_within_a_kelvin_and_25_millivolts() -> None:
    _, found, states = play()
    assert not found
    assert max(abs(each.residual_c) for each in states) < 1.0
    assert max(abs(each.residual_v) for each in states) < 0.025


@pytest.mark.requirement("R129")
def test_heat_that_no_current_explains_is_a_finding() -> None:
    _, found, _ = play(heat_c=10.0)
    assert [(each.kind, each.raised) for each in found] == [("twin_temperature", True)]
    assert 3_600_000 < found[0].at_ms < 3_600_000 + 300_000
    assert found[0].evidence["residual_c"] == found[0].value > 8.0


@pytest.mark.requirement("R129")
def test_a_connection_that_has_come_loose_is_a_finding_while_a_current_flows() -> None:
    _, found, _ = play(ohm=0.1)
    assert {each.kind for each in found} == {"twin_voltage"}
    assert [each.raised for each in found][:2] == [True, False]


@pytest.mark.requirement("R169")
def test_calibration_brings_the_residual_to_zero() -> None:
    _, _, states = play(warmer_c=4.0, higher_v=0.0)
    state = states[0]
    for number, step in enumerate(drive("nmc")[:180]):  # parked for half an hour; a sensor says 4 K too much
        values = {"battery.current": 0.0, "battery.voltage": step.reading.cell_v}
        values |= {"battery.temperature.max": 29.0, "battery.temperature.coolant": 25.0}
        state, _ = twin.step(SETTINGS, state, Sample(20_000 + number * 10_000, values))
    assert state.residual_c > 2.5
    for _ in range(20):
        state = twin.calibrated(state)
        assert (state.residual_c, state.residual_v) == (0.0, 0.0)
        for _ in range(60):
            assert state.last is not None
            values["battery.voltage"] = state.last.cell_v
            state, found = twin.step(SETTINGS, state, Sample(state.last.at_ms + 10_000, values))
            assert not found
    assert abs(state.residual_c) < 0.1
    assert abs(state.residual_v) < 0.001
    assert state.offset_c == pytest.approx(4.0, abs=0.3)


def test_after_ten_minutes_of_silence_and_a_clock_set_back_it_begins_anew() -> None:
    state, _, _ = play()
    assert state.last is not None
    for at_ms in (state.last.at_ms + 600_001, 0):
        values = {"battery.current": 0.0, "battery.voltage": 3.3, "battery.temperature.max": 60.0}
        anew, found = twin.step(SETTINGS, state, Sample(at_ms, values))
        assert not found
        assert anew.temperature_c == 60.0
        assert anew.soc == pytest.approx(0.1, abs=0.02)


def test_without_pack_current_or_voltage_there_is_no_twin() -> None:
    sample = Sample(0, {"battery.current": 1.0, "battery.voltage": 3.7})
    assert twin.step(twin.Settings(), twin.State(), sample) == (twin.State(), ())
    assert twin.step(SETTINGS, twin.State(), Sample(0, {"battery.voltage": 3.7})) == (twin.State(), ())
    assert twin.estimates(twin.State()) == {}


def test_the_state_travels_and_says_its_residuals() -> None:
    state, _, _ = play()
    assert msgspec.json.decode(msgspec.json.encode(state), type=twin.State) == state
    assert set(twin.estimates(state)) == {"twin_residual_v", "twin_residual_c"}
    assert all(map(math.isfinite, twin.estimates(state).values()))


def test_limits_without_hysteresis_are_rejected() -> None:
    with pytest.raises(ValueError, match="residual"):
        twin.Settings(voltage_v=0.1, voltage_clear_v=0.1)
