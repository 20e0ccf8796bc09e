"""State of charge and of health, sample by sample, and one finding below 80 % (R114-R116, R121, R122, R124).

The charge needs the capacity and the aged cell's curve, and cycles need the charge: so they are one estimator. Its
model, with which the charge is counted, is fitted anew each 50 equivalent cycles or each month: in between it is
constant, so that what is reported compares.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.battery import ageing as _ageing
from v2g.battery import soc as _soc
from v2g.battery.cell import CURVES, Curve, PackModel, mean_a, reading
from v2g.battery.sample import Finding, Sample, judge
from v2g.units import DAY_MS

_LEAST: Final = 0.005
"""Standard deviation of a health that a forecast believes."""
_SET_BACK_S: Final = 60.0
"""A reading that is older than the last one by more comes from a clock that was set back: time goes on from there."""


class HealthSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is estimated how, and when it is a finding."""

    pack: PackModel | None = None
    """Nothing is estimated of an unknown battery."""
    soc: _soc.SocSettings = _soc.SocSettings()
    capacity: _ageing.CapacitySettings = _ageing.CapacitySettings()
    resistance: _ageing.ResistanceSettings = _ageing.ResistanceSettings()
    low: Annotated[float, Meta(gt=0, lt=1, description="state of health below is a finding")] = 0.8
    low_clear: Annotated[float, Meta(gt=0, le=1, description="and no more from here on")] = 0.82
    certain: Annotated[float, Meta(gt=0, le=0.5, description="largest standard deviation of a health to judge")] = 0.02
    measured: Annotated[int, Meta(ge=1, le=1000, description="measurements before a health is judged")] = 20
    plausible: tuple[float, float] = (0.6, 1.15)
    """An apparent health outside says that the capacity in the settings is wrong, not that the battery is."""
    apart: Annotated[float, Meta(gt=0, le=1, description="largest error against a reference, in proportion")] = 0.03
    cycles: Annotated[
        float, Meta(gt=0, le=10**6, description="equivalent cycles after which the model is fitted anew")
    ] = 50.0
    days: Annotated[float, Meta(gt=0, le=36_500, description="days after which the model is fitted anew")] = 30.0

    def __post_init__(self) -> None:
        """Reject limits without hysteresis."""
        if self.low_clear <= self.low:
            raise ValueError("low_clear must be above low")
        if self.plausible[0] >= self.plausible[1]:
            raise ValueError("plausible is upside down")


class Model(msgspec.Struct, frozen=True):
    """What was fitted last, with which the charge is counted."""

    capacity_ah: float
    curve: Curve
    at_ms: int
    cycles: float = 0.0
    fits: int = 0


class HealthState(msgspec.Struct, frozen=True):
    """Estimates of one battery; None before its first reading."""

    soc: _soc.SocState | None = None
    capacity: _ageing.CapacityState | None = None
    resistance: _ageing.ResistanceState = _ageing.ResistanceState()
    cycles: _ageing.CycleState = _ageing.CycleState()
    model: Model | None = None
    first_ms: int = 0
    forecast: _ageing.ForecastState = _ageing.ForecastState()
    """Follows the health, fit by fit."""
    low: bool = False
    implausible: bool = False
    apart: bool = False


def step(settings: HealthSettings, state: HealthState, sample: Sample) -> tuple[HealthState, tuple[Finding, ...]]:
    """Take a sample; one without current or voltage, or of a time before the last, changes nothing."""
    pack = settings.pack
    now = None if pack is None else reading(pack, sample)
    if pack is None or now is None:
        return state, ()
    if state.soc is None or state.capacity is None or state.model is None:
        model = Model(pack.capacity_ah, CURVES[pack.chemistry], now.at_ms)
        first = _soc.begin(settings.soc, pack.cell, model.curve, now, pack.capacity_ah)
        unknown = _ageing.begin(settings.capacity, pack.cell)
        return msgspec.structs.replace(state, soc=first, capacity=unknown, model=model, first_ms=now.at_ms), ()
    before, model = state.soc.last, state.model
    seconds = (now.at_ms - before.at_ms) / 1000
    if seconds <= 0:
        if seconds >= -_SET_BACK_S:
            return state, ()
        return msgspec.structs.replace(state, soc=msgspec.structs.replace(state.soc, last=now)), ()
    current_a = mean_a(before, now)
    charge = _soc.update(settings.soc, pack.cell, model.curve, state.soc, now, current_a, model.capacity_ah)
    rate, now_rate = current_a / pack.capacity_ah, now.current_a / pack.capacity_ah
    size = _ageing.update_capacity(settings.capacity, pack.cell, state.capacity, now, rate, now_rate, seconds)
    state = msgspec.structs.replace(
        state,
        soc=charge,
        capacity=size,
        resistance=_ageing.update_resistance(settings.resistance, state.resistance, before, now, pack.capacity_ah),
        cycles=_ageing.update_cycles(state.cycles, charge.soc),
    )
    if refit_due(settings, model, state.cycles.total, now.at_ms):
        fitted = Model(
            size.capacity * pack.capacity_ah,
            pack.cell.curve(size.electrodes),
            now.at_ms,
            state.cycles.total,
            model.fits + 1,
        )
        years = _years(state, now.at_ms)
        fade = _ageing.update_forecast(state.forecast, years, size.capacity, max(_LEAST, size.deviation))
        state = msgspec.structs.replace(state, model=fitted, forecast=fade if size.measured else state.forecast)
    # findings about the data, and about the health once it is certain enough
    assert state.capacity is not None
    health, deviation = state.capacity.capacity, state.capacity.deviation
    evidence = {**_facts(state, pack), "deviation": deviation}
    apparent, (least, most) = state.capacity.apparent, settings.plausible
    beyond = max(least - apparent, apparent - most)
    implausible, about = judge("data_capacity", "warning", state.implausible, beyond, 0.0, -0.02, sample, evidence)
    low, found = state.low, ()  # type: bool, tuple[Finding, ...]
    if not implausible and deviation <= settings.certain and state.capacity.measured >= settings.measured:
        low, found = judge("soh_low", "warning", state.low, health, settings.low, settings.low_clear, sample, evidence)
    return msgspec.structs.replace(state, low=low, implausible=implausible), about + found


def _years(state: HealthState, at_ms: int) -> float:
    return (at_ms - state.first_ms) / DAY_MS / 365.25


def refit_due(settings: HealthSettings, model: Model, cycles: float, now_ms: int) -> bool:
    """Return whether the model is to be fitted anew: after so many cycles or days (R116)."""
    return cycles - model.cycles >= settings.cycles or now_ms - model.at_ms >= settings.days * DAY_MS


def sized(settings: HealthSettings, state: HealthState) -> bool:
    """Return whether measurements confirm the described capacity; True where none is described."""
    known = state.capacity is not None and state.capacity.measured >= settings.measured
    return settings.pack is None or (known and not state.implausible)


def reference(
    settings: HealthSettings, state: HealthState, at_ms: int, capacity_ah: float, relative: float = 0.002
) -> tuple[HealthState, tuple[Finding, ...]]:
    """Compare the estimate with a measured capacity, such as that of a full discharge, and correct it by that (R124).

    A difference beyond `apart` is a finding, which the next reference within it ends.
    """
    if settings.pack is None or state.capacity is None:
        return state, ()
    pack = settings.pack
    error = abs(state.capacity.capacity * pack.capacity_ah / capacity_ah - 1)
    evidence = {**_facts(state, pack), "reference_ah": capacity_ah}
    sample = Sample(at_ms, {})
    apart, found = judge(
        "soh_reference", "warning", state.apart, error, settings.apart, settings.apart * 0.8, sample, evidence
    )
    measured = capacity_ah / pack.capacity_ah
    size = _ageing.measure(settings.capacity, pack.cell, state.capacity, measured, relative * measured)
    return msgspec.structs.replace(state, capacity=size, apart=apart), found


def _facts(state: HealthState, pack: PackModel) -> dict[str, float]:
    assert state.capacity is not None
    return {
        "capacity_ah": state.capacity.capacity * pack.capacity_ah,
        "apparent_ah": state.capacity.apparent * pack.capacity_ah,
        "nominal_ah": pack.capacity_ah,
        "measurements": float(state.capacity.measured),
        "cycles": state.cycles.total,
        "resistance_growth": state.resistance.growth,
    }


def estimates(state: HealthState) -> dict[str, float]:
    """Return what is known: charge and health (%) with their standard deviations, also half a year after the last fit,
    cycles, and resistance (1: as new)."""
    found: dict[str, float] = {}
    if state.soc is not None:
        found |= {"soc_percent": 100 * state.soc.soc, "soc_deviation_percent": 100 * state.soc.deviation}
        found["cycles"] = state.cycles.total
    if state.capacity is not None and state.capacity.measured:
        found |= {"soh_percent": 100 * state.capacity.capacity, "soh_deviation_percent": 100 * state.capacity.deviation}
    if state.forecast.observed >= 3 and state.model is not None:
        expected, deviation = _ageing.forecast_at(state.forecast, _years(state, state.model.at_ms) + _ageing.HALF_YEAR)
        found |= {"soh_in_half_a_year_percent": 100 * expected}
        found["soh_in_half_a_year_deviation_percent"] = 100 * deviation
    if state.resistance.fresh:
        found["resistance_growth"] = state.resistance.growth
    return found
