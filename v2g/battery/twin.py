"""A battery's twin: a lumped thermal and electrical model that runs along, and what deviates from it (R129, R169).

Its heat is that of the current in the cells; it flows to the coolant (or the air), and is stored in their mass:
`C dT/dt = rate² R - (T - T_coolant) / S`. Its voltage is that of the charge, counted on, and of the circuit. A
temperature far above the twin's is heat that no current explains; a voltage far below, a resistance or a lost cell.

Sensors have offsets, and parameters are not those of a data sheet. So the mean residual of a time in which nothing was
wrong is its calibration (`calibrated`), and from then on the residual is what is new.
"""

import math
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.battery.cell import CURVES, CellReading, PackModel, mean_a, reading
from v2g.battery.sample import Finding, Sample, judge

_HOTTEST: Final = "battery.temperature.max"
_AROUND: Final = ("battery.temperature.coolant", "ambient.temperature")
_HEATED_C: Final = 1.0
"""Less heating of the twin than this, even if its currents are wrong by half, is not a finding about the battery."""
_LONGEST_S: Final = 600.0
"""After a longer silence the twin begins anew from what is measured."""


class TwinSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model, and how far the battery may be from it."""

    pack: PackModel | None = None
    heat_s: Annotated[float, Meta(gt=0, le=31_622_400, description="time constant of cooling, s")] = 3000.0
    rise_c: Annotated[float, Meta(gt=0, le=500, description="settled rise above the coolant at a rate of 1/h, K")] = (
        10.0
    )
    smooth_s: Annotated[float, Meta(gt=0, le=86_400, description="time constant of residuals, s")] = 120.0
    temperature_c: Annotated[float, Meta(gt=0, le=100, description="residual that is a finding, K")] = 8.0
    temperature_clear_c: Annotated[float, Meta(gt=0, le=100, description="and at which it ends, K")] = 5.0
    voltage_v: Annotated[float, Meta(gt=0, le=1, description="residual of a cell that is a finding, V")] = 0.15
    voltage_clear_v: Annotated[float, Meta(gt=0, le=1, description="and at which it ends, V")] = 0.1

    def __post_init__(self) -> None:
        """Reject limits without hysteresis."""
        if self.temperature_clear_c >= self.temperature_c or self.voltage_clear_v >= self.voltage_v:
            raise ValueError("a residual must end below its limit")


class TwinState(msgspec.Struct, frozen=True):
    """The twin, its smoothed residuals (measured less expected), and their calibration."""

    last: CellReading | None = None
    soc: float = 0.0
    v1: float = 0.0
    v2: float = 0.0
    temperature_c: float | None = None
    residual_v: float = 0.0
    residual_c: float = 0.0
    offset_v: float = 0.0
    offset_c: float = 0.0
    deviates_v: bool = False
    deviates_c: bool = False


def step(
    settings: TwinSettings, state: TwinState, sample: Sample, *, sized: bool = True
) -> tuple[TwinState, tuple[Finding, ...]]:
    """Let the twin follow a sample, and compare it.

    While the described capacity has not been confirmed (`sized`), findings begin and end only by a temperature that no
    current has moved: what follows from a current may be the description's fault.
    """
    pack = settings.pack
    now = None if pack is None else reading(pack, sample)
    if pack is None or now is None:
        return state, ()
    hottest_c = sample.values.get(_HOTTEST)
    around_c = next((each for name in _AROUND if (each := sample.values.get(name)) is not None), None)
    before, cell, curve = state.last, pack.cell, CURVES[pack.chemistry]
    seconds = math.inf if before is None else (now.at_ms - before.at_ms) / 1000
    if before is None or not 0 <= seconds <= _LONGEST_S:
        rate = now.current_a / pack.capacity_ah
        soc = curve.soc_at(now.cell_v - state.offset_v - rate * (cell.r0 + cell.r1 + cell.r2))
        begun_c = None if hottest_c is None else hottest_c - state.offset_c
        return msgspec.structs.replace(
            state, last=now, soc=soc, v1=rate * cell.r1, v2=rate * cell.r2, temperature_c=begun_c
        ), ()
    rate = mean_a(before, now) / pack.capacity_ah
    a1, a2, keep = (math.exp(-seconds / each) for each in (cell.tau1_s, cell.tau2_s, settings.smooth_s))
    soc = state.soc + rate * seconds / 3600
    v1, v2 = a1 * state.v1 + (1 - a1) * cell.r1 * rate, a2 * state.v2 + (1 - a2) * cell.r2 * rate
    expected_v = curve.open_v(soc) + v1 + v2 + cell.r0 * now.current_a / pack.capacity_ah
    residual_v = keep * state.residual_v + (1 - keep) * (now.cell_v - state.offset_v - expected_v)
    # A wrong charge is no fault: where the curve is steep, rests draw it to the voltage.
    soc = min(1.0, max(0.0, soc + _pull(curve.slope_v(soc), now.cell_v - state.offset_v - expected_v, rate, seconds)))
    temperature_c, residual_c, judged_c = state.temperature_c, state.residual_c, sized
    if temperature_c is None and hottest_c is not None:
        temperature_c = hottest_c - state.offset_c
    if temperature_c is not None and around_c is not None:
        settled_c = around_c + settings.rise_c * rate**2
        temperature_c = settled_c + (temperature_c - settled_c) * math.exp(-seconds / settings.heat_s)
        judged_c = sized or abs(temperature_c - around_c) < _HEATED_C
        if hottest_c is not None:
            residual_c = keep * residual_c + (1 - keep) * (hottest_c - state.offset_c - temperature_c)
    evidence = dict(sample.values) | {"expected_v": expected_v, "residual_v": residual_v, "residual_c": residual_c}
    deviates_v, found_v = judge(
        "twin_voltage", "warning", state.deviates_v, abs(residual_v) if sized else math.nan, settings.voltage_v,
        settings.voltage_clear_v, sample, evidence,
    )  # fmt: skip
    deviates_c, found_c = judge(
        "twin_temperature", "warning", state.deviates_c, abs(residual_c) if judged_c else math.nan,
        settings.temperature_c, settings.temperature_clear_c, sample, evidence,
    )  # fmt: skip
    return msgspec.structs.replace(
        state, last=now, soc=soc, v1=v1, v2=v2, temperature_c=temperature_c, residual_v=residual_v,
        residual_c=residual_c, deviates_v=deviates_v, deviates_c=deviates_c,
    ), found_v + found_c  # fmt: skip


def calibrated(state: TwinState) -> TwinState:
    """Return the twin with its present residuals as offsets of the sensors: a person, or a workshop, says that it is
    sound now."""
    return msgspec.structs.replace(
        state,
        offset_v=state.offset_v + state.residual_v,
        offset_c=state.offset_c + state.residual_c,
        residual_v=0.0,
        residual_c=0.0,
    )


def estimates(state: TwinState) -> dict[str, float]:
    """Return the residuals."""
    if state.last is None:
        return {}
    found = {"twin_residual_v": state.residual_v}
    return found if state.temperature_c is None else found | {"twin_residual_c": state.residual_c}


def _pull(slope_v: float, error_v: float, rate: float, seconds: float) -> float:
    """Return by how much a resting cell's voltage corrects the charge, within about ten minutes."""
    if abs(rate) > 0.02 or slope_v < 0.2:
        return 0.0
    return (1 - math.exp(-seconds / 600)) * error_v / slope_v
