"""Thermal runaway of a cell: heat that feeds itself, found from its signs (R126). Latched.

Four signs: the temperature rises at 1 K/s or more for some seconds, it is beyond what the maker permits, a cell lost
a quarter of its voltage, the pressure in the pack has risen as gas leaves a cell. GB 38031-2020, C.5.3.3 (and the
test of UN GTR 20) calls it a runaway where the fast rise comes with one of the next two; one sign alone may
be a sensor, two of them are not. Here any two count within `together_s`, as a cell that vents cools its neighbours'
sensor, and one that burns may take its sensor with it.

The finding comes with the sample that has the second sign. What ends the flow of energy is told there and not later; it
stays until `reset`, by hand.
"""

import math
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.battery.finding import Finding
from v2g.battery.sample import Sample

_HOTTEST: Final = "battery.temperature.max"
_LOWEST: Final = "battery.cell_voltage.min"
_MEAN: Final = "battery.cell_voltage.mean"
_PRESSURE: Final = "battery.pressure"
_NEVER: Final = -(1 << 62)
_SECOND_MS: Final = 1000
_RISES: Final = 3

SIGNS: Final = ("gradient", "temperature", "voltage", "pressure")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of the signs."""

    gradient: Annotated[float, Meta(gt=0, le=50, description="fast rise of temperature, K/s")] = 1.0
    gradient_s: Annotated[float, Meta(gt=0, le=10, description="for how long, s")] = 3.0
    temperature_c: Annotated[float, Meta(gt=0, le=150, description="highest permitted temperature, degrees C")] = 65.0
    voltage: Annotated[float, Meta(gt=0, lt=1, description="loss of a cell's voltage, as a share of the mean")] = 0.25
    pressure_kpa: Annotated[float, Meta(gt=0, le=1000, description="rise of the pack's pressure, kPa")] = 2.0
    pressure_s: Annotated[float, Meta(gt=0, le=3600, description="in less than, s")] = 10.0
    together_s: Annotated[float, Meta(gt=0, le=3600, description="two signs within count together, s")] = 60.0


class State(msgspec.Struct, frozen=True):
    """When each sign was last seen (ms), and what they are measured from."""

    seen_ms: tuple[int, int, int, int] = (_NEVER,) * 4
    mark_c: float | None = None
    """Temperature at the start of the present second, and that time."""
    mark_ms: int = 0
    rising_ms: int = 0
    """Since when each second has risen fast enough."""
    rises: int = 0
    """How many of them: a single jump of a sensor is one, however long it was silent before."""
    pressure_kpa: float | None = None
    """Slow mean of the pressure."""
    pressure_ms: int = 0
    latched_ms: int | None = None
    """When a runaway was found."""


def step(settings: Settings, state: State, sample: Sample) -> tuple[State, tuple[Finding, ...]]:
    """Look for signs; the finding comes once, and `State.latched_ms` stays until `reset`."""
    state, signs = _signs(settings, state, sample)
    seen = tuple(sample.at_ms if now else at for now, at in zip(signs, state.seen_ms, strict=True))
    assert len(seen) == len(SIGNS)
    state = msgspec.structs.replace(state, seen_ms=seen)
    recent = [at >= sample.at_ms - settings.together_s * 1000 for at in seen]
    if state.latched_ms is not None or sum(recent) < 2 or not any(signs):
        return state, ()
    evidence = dict(sample.values) | {
        f"sign.{name}_s": (sample.at_ms - at) / 1000 for name, at, now in zip(SIGNS, seen, recent, strict=True) if now
    }
    found = Finding("thermal_runaway", "error", sample.at_ms, True, float(sum(recent)), 1.0, evidence)  # noqa: FBT003
    return msgspec.structs.replace(state, latched_ms=sample.at_ms), (found,)


def reset(state: State, at_ms: int) -> tuple[State, tuple[Finding, ...]]:
    """Forget a runaway: by hand, once a person has seen to the battery."""
    if state.latched_ms is None:
        return state, ()
    return State(), (Finding("thermal_runaway", "error", at_ms, False, 0.0, 1.0),)  # noqa: FBT003


def _signs(settings: Settings, state: State, sample: Sample) -> tuple[State, tuple[bool, bool, bool, bool]]:
    values, at_ms = sample.values, sample.at_ms
    hottest_c, gradient = values.get(_HOTTEST), False
    if hottest_c is not None:
        passed_ms = at_ms - state.mark_ms
        if state.mark_c is None or passed_ms < 0:
            state = msgspec.structs.replace(state, mark_c=hottest_c, mark_ms=at_ms, rising_ms=at_ms, rises=0)
        elif passed_ms >= _SECOND_MS:
            rises = state.rises + 1 if hottest_c - state.mark_c >= settings.gradient * passed_ms / 1000 else 0
            since_ms = state.rising_ms if rises else at_ms
            state = msgspec.structs.replace(state, mark_c=hottest_c, mark_ms=at_ms, rising_ms=since_ms, rises=rises)
        gradient = state.rises >= _RISES and state.mark_ms - state.rising_ms >= settings.gradient_s * 1000
    lowest_v, mean_v = values.get(_LOWEST), values.get(_MEAN)
    collapsed = lowest_v is not None and mean_v is not None and 0 < lowest_v < (1 - settings.voltage) * mean_v
    pressure_kpa, swollen = values.get(_PRESSURE), False
    if pressure_kpa is not None:
        if state.pressure_kpa is None or at_ms < state.pressure_ms:
            state = msgspec.structs.replace(state, pressure_kpa=pressure_kpa, pressure_ms=at_ms)
        assert state.pressure_kpa is not None
        swollen = pressure_kpa - state.pressure_kpa > settings.pressure_kpa
        keep = math.exp(-(at_ms - state.pressure_ms) / 1000 / settings.pressure_s)
        mean_kpa = keep * state.pressure_kpa + (1 - keep) * pressure_kpa
        state = msgspec.structs.replace(state, pressure_kpa=mean_kpa, pressure_ms=at_ms)
    hot = hottest_c is not None and hottest_c > settings.temperature_c
    return state, (gradient, hot, collapsed, swollen)
