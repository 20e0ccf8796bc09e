"""A twin along PyBaMM's cell: what deviates is a finding, and calibration brings it to 0 (R129, R169)."""

import math

import msgspec
import pytest

from tests.battery.truth import CAPACITY_AH, drive
from v2g.battery import twin
from v2g.battery.cell import CELLS, CURVES, CellReading, PackModel, mean_a
from v2g.battery.sample import Finding, Sample

SETTINGS = twin.TwinSettings(pack=PackModel("nmc", CAPACITY_AH["nmc"], 1), heat_s=800.0, rise_c=15.0)


def play(
    *,
    warmer_c: float = 0.0,
    higher_v: float = 0.0,
    heat_c: float = 0.0,
    ohm: float = 0.0,
    state: twin.TwinState | None = None,
) -> tuple[twin.TwinState, list[Finding], list[twin.TwinState]]:
    """Return what the twin says of a day with offsets of sensors; from the second hour on with a cell that heats
    itself and more resistance."""
    state, found, states = state or twin.TwinState(), [], []
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
    assert twin.step(twin.TwinSettings(), twin.TwinState(), sample) == (twin.TwinState(), ())
    assert twin.step(SETTINGS, twin.TwinState(), Sample(0, {"battery.voltage": 3.7})) == (twin.TwinState(), ())
    assert twin.estimates(twin.TwinState()) == {}


def test_the_state_travels_and_says_its_residuals() -> None:
    state, _, _ = play()
    assert msgspec.json.decode(msgspec.json.encode(state), type=twin.TwinState) == state
    assert set(twin.estimates(state)) == {"twin_residual_v", "twin_residual_c"}
    assert all(map(math.isfinite, twin.estimates(state).values()))


def test_limits_without_hysteresis_are_rejected() -> None:
    with pytest.raises(ValueError, match="residual"):
        twin.TwinSettings(voltage_v=0.1, voltage_clear_v=0.1)


COURSE: tuple[tuple[float, float, float, float | None, float | None, float | None], ...] = (
    (0, 30.0, 3.5, None, None, 10.0), (10, 30.0, 3.55, None, 20.0, 10.0), (10, 30.0, 3.55, 24.0, None, 10.0),
    (10, 30.0, 3.55, 24.0, 20.0, 10.0), (0, 31.0, 3.56, 24.5, 20.0, 10.0), (0.5, 90.0, 3.7, 24.5, 20.0, 10.0),
    (60, 90.0, 3.75, None, 20.0, None), (600, 150.0, 3.9, 31.0, None, 11.0), (59, 0.0, 3.7, 31.0, None, None),
    (30, 0.0, 3.65, 30.0, 21.0, None), (600, 0.0, 3.6, 29.0, 21.0, None), (10, 3.0, 3.68, 29.0, 21.0, None),
    (10, 0.0, 3.68, 29.0, 21.0, None), (10, 3.2, 3.6, 29.0, 21.0, None), (10, -150.0, 3.2, 29.0, 21.0, None),
    (600, -150.0, 3.0, 35.0, 21.0, None), (59, 0.0, 3.1, 35.0, 21.0, None), (600, 0.0, 2.5, 35.0, 21.0, None),
    (600, 0.0, 2.5, 35.0, 21.0, None), (600.001, 60.0, 3.9, 28.0, 21.0, None), (10, 0.0, 4.3, 28.0, 21.0, None),
    (600, 0.0, 4.3, 28.0, 21.0, None), (600, 0.0, 4.3, 28.0, 21.0, None), (600, 0.0, 4.3, 28.0, 21.0, None),
)  # fmt: skip
"""Seconds since the sample before, A, V of a cell, and degC of the hottest cell, the coolant, and the air."""


@pytest.mark.requirement("R129")
@pytest.mark.parametrize("chemistry", ["nmc", "lfp"])
def test_the_twin_is_the_solution_of_its_equations(chemistry: str) -> None:
    """By SciPy: charge, two RC pairs and heat, with the defaults: cooling in 3000 s, 10 K at 1/h, smoothed by 120 s."""
    from scipy.integrate import solve_ivp  # no worker without this test loads it

    cell, curve = CELLS[chemistry], CURVES[chemistry]  # type: ignore[index]
    settings = twin.TwinSettings(pack=PackModel(chemistry, 150.0, 96))  # type: ignore[arg-type]
    offset_v, offset_c = 0.004, 1.5
    state = twin.TwinState(offset_v=offset_v, offset_c=offset_c)
    before: CellReading | None = None
    soc = v1 = v2 = residual_v = residual_c = 0.0
    heat: float | None = None
    at_ms = 1000
    for seconds, current_a, cell_v, hottest_c, coolant_c, air_c in COURSE:
        at_ms += round(seconds * 1000)
        named = {"temperature.max": hottest_c, "temperature.coolant": coolant_c}
        values = {f"battery.{name}": each for name, each in named.items() if each is not None}
        values |= {} if air_c is None else {"ambient.temperature": air_c}
        values |= {"battery.current": current_a, "battery.voltage": 96 * cell_v}
        state, _ = twin.step(settings, state, Sample(at_ms, values))
        now, around_c = CellReading(at_ms, current_a, cell_v), air_c if coolant_c is None else coolant_c
        if before is None or seconds > 600:
            rate = current_a / 150
            soc = curve.soc_at(cell_v - offset_v - rate * (cell.r0 + cell.r1 + cell.r2))
            v1, v2, heat = rate * cell.r1, rate * cell.r2, None if hottest_c is None else hottest_c - offset_c
        else:
            rate, keep = mean_a(before, now) / 150, math.exp(-seconds / 120)
            if heat is None and hottest_c is not None:
                heat = hottest_c - offset_c
            settled = heat or 0.0 if around_c is None else around_c + 10 * rate**2

            def course(
                _: float, y: tuple[float, ...], rate: float = rate, settled: float = settled
            ) -> tuple[float, ...]:
                return (
                    rate / 3600, (rate * cell.r1 - y[1]) / cell.tau1_s, (rate * cell.r2 - y[2]) / cell.tau2_s,
                    (settled - y[3]) / 3000,
                )  # fmt: skip

            if seconds:
                solved = solve_ivp(course, (0, seconds), (soc, v1, v2, heat or 0.0), rtol=1e-10, atol=1e-12)
                soc, v1, v2, warm = solved.y[:, -1]
                heat = None if heat is None else warm
            error_v = cell_v - offset_v - (curve.open_v(soc) + v1 + v2 + cell.r0 * current_a / 150)
            residual_v = keep * residual_v + (1 - keep) * error_v
            if abs(rate) <= 0.02 and curve.slope_v(soc) >= 0.2:
                soc += (1 - math.exp(-seconds / 600)) * error_v / curve.slope_v(soc)
            soc = min(1.0, max(0.0, soc))
            if heat is not None and around_c is not None and hottest_c is not None:
                residual_c = keep * residual_c + (1 - keep) * (hottest_c - offset_c - heat)
        before = now
        found = (state.soc, state.v1, state.v2, state.residual_v, state.residual_c)
        assert found == pytest.approx((soc, v1, v2, residual_v, residual_c), rel=1e-6, abs=1e-9)
        assert state.temperature_c == (None if heat is None else pytest.approx(heat, rel=1e-6))


def judged(
    *, celsius: float = 0.0, volts: float = 0.0, active: bool = False, warm_c: float = 25.0, sized: bool = True
) -> list[tuple[str, bool]]:
    """Return what is found at residuals, by a sample that changes none of them."""
    state = twin.TwinState(
        last=CellReading(5000, 0.0, 3.7), soc=0.5, temperature_c=warm_c, residual_c=celsius, residual_v=volts,
        deviates_c=active, deviates_v=active,
    )  # fmt: skip
    values = {"battery.current": 0.0, "battery.voltage": 3.7, "battery.temperature.coolant": 25.0}
    _, found = twin.step(twin.TwinSettings(pack=PackModel("nmc", 5.0, 1)), state, Sample(5000, values), sized=sized)
    for each in found:
        assert each.severity == "warning"
        assert dict(each.evidence) == values | {
            "expected_v": pytest.approx(CURVES["nmc"].open_v(0.5)), "residual_v": volts, "residual_c": celsius,
        }  # fmt: skip
    return [(each.kind, each.raised) for each in found]


def test_residuals_are_findings_from_8_kelvin_and_150_millivolts_to_5_and_100() -> None:
    heat, drop = ("twin_temperature", True), ("twin_voltage", True)
    for celsius, volts, found in ((8.0, 0.15, []), (8.01, 0.15, [heat]), (-8.01, -0.151, [drop, heat])):
        assert judged(celsius=celsius, volts=volts) == found
    assert judged(celsius=5.01, volts=0.1001, active=True) == []
    assert judged(celsius=5.0, volts=0.1, active=True) == [("twin_voltage", False), ("twin_temperature", False)]


def test_without_a_confirmed_capacity_only_heat_of_a_pack_that_no_current_has_warmed_is_judged() -> None:
    for warm_c, found in ((25.99, [("twin_temperature", True)]), (24.01, [("twin_temperature", True)]), (26.0, [])):
        assert judged(celsius=9.0, volts=0.2, warm_c=warm_c, sized=False) == found


@pytest.mark.parametrize("limits", [(5.0, 5.0, 0.15, 0.1), (8.0, 5.0, 0.1, 0.1), (4.0, 5.0, 0.15, 0.1)])
def test_residuals_end_below_their_limits(limits: tuple[float, float, float, float]) -> None:
    names = ("temperature_c", "temperature_clear_c", "voltage_v", "voltage_clear_v")
    with pytest.raises(ValueError, match="a residual must end below its limit"):
        twin.TwinSettings(**dict(zip(names, limits, strict=True)))  # type: ignore[arg-type]
