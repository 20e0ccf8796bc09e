"""Thermal runaway of a cell: heat that feeds itself, found from its signs (R126). Latched.

Four signs: the temperature rises at 1 K/s or more for some seconds, it is beyond what the maker permits, a cell lost
a quarter of its voltage, the pressure in the pack has risen as gas leaves a cell. GB 38031-2020, C.5.3.3 (and the
test of UN GTR 20) calls it a runaway where the fast rise comes with one of the next two; one sign alone may
be a sensor, two of them are not. Here any two count within `together_s`, as a cell that vents cools its neighbours'
sensor, and one that burns may take its sensor with it.

A sign has to last for `hold_s`, and its time adds up (`v2g.safety.excess`): a wrong sample is no sign, however many
signals it spoils, and a right one between wrong ones does not take a sign away. A value that is no number says nothing
either way. The finding comes with the sample that completes the second sign, and stays until `reset`, by hand.
"""

import math
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.battery.sample import Finding, Sample
from v2g.safety.excess import UNIT, Excess, microseconds
from v2g.units import SECOND_MS

KIND: Final = "thermal_runaway"
HOTTEST: Final = "battery.temperature.max"
LOWEST: Final = "battery.cell_voltage.min"
MEAN: Final = "battery.cell_voltage.mean"
PRESSURE: Final = "battery.pressure"
_NEVER: Final = -(1 << 62)
_RISES: Final = 3

_NONE_LASTS: Final = (Excess(),) * 3

SIGNS: Final = ("gradient", "temperature", "voltage", "pressure")


class RunawaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of the signs."""

    gradient: Annotated[float, Meta(gt=0, le=50, description="fast rise of temperature, K/s")] = 1.0
    gradient_s: Annotated[float, Meta(gt=0, le=10, description="for how long, s")] = 3.0
    temperature_c: Annotated[float, Meta(gt=0, le=150, description="highest permitted temperature, degrees C")] = 65.0
    voltage: Annotated[float, Meta(gt=0, lt=1, description="loss of a cell's voltage, as a share of the mean")] = 0.25
    pressure_kpa: Annotated[float, Meta(gt=0, le=1000, description="rise of the pack's pressure, kPa")] = 2.0
    pressure_s: Annotated[float, Meta(gt=0, le=3600, description="in less than, s")] = 10.0
    together_s: Annotated[float, Meta(gt=0, le=3600, description="two signs within count together, s")] = 60.0
    hold_s: Annotated[
        float, Meta(gt=0, le=2, description="temperature, voltage and pressure are signs after, s; gaps add up")
    ] = 0.3


class RunawayState(msgspec.Struct, frozen=True):
    """When each sign was last seen (ms), and what they are measured from."""

    seen_ms: tuple[int, int, int, int] = (_NEVER,) * 4
    mark_c: float | None = None
    """Temperature at the start of the present second, and that time."""
    mark_ms: int = 0
    rising_c: float = 0.0
    rising_ms: int = 0
    """Temperature and time from which seconds have risen fast enough."""
    rises: int = 0
    """Such seconds, less those since that did not: neither a jump of a sensor, however long it was silent before, nor
    a dip decides."""
    pressure_kpa: float | None = None
    """Slow mean of the pressure."""
    pressure_ms: int = 0
    lasting: tuple[Excess, Excess, Excess] = _NONE_LASTS
    """For how long the temperature, the voltage, and the pressure have been beyond their limits."""
    latched_ms: int | None = None
    """When a runaway was found."""


def step(settings: RunawaySettings, state: RunawayState, sample: Sample) -> tuple[RunawayState, tuple[Finding, ...]]:
    """Look for signs; the finding comes once, and `RunawayState.latched_ms` stays until `reset`."""
    state, signs = _signs(settings, state, sample)
    if not any(signs):
        return state, ()
    seen = tuple(sample.at_ms if now else at for now, at in zip(signs, state.seen_ms, strict=True))
    assert len(seen) == len(SIGNS)
    state = msgspec.structs.replace(state, seen_ms=seen)
    recent = [sample.at_ms - settings.together_s * 1000 <= at <= sample.at_ms for at in seen]
    if state.latched_ms is not None or sum(recent) < 2:
        return state, ()
    evidence = {name: value for name, value in sample.values.items() if math.isfinite(value)} | {
        f"sign.{name}_s": (sample.at_ms - at) / 1000 for name, at, now in zip(SIGNS, seen, recent, strict=True) if now
    }
    found = Finding(KIND, "error", sample.at_ms, True, float(sum(recent)), 1.0, evidence)  # noqa: FBT003
    return msgspec.structs.replace(state, latched_ms=sample.at_ms), (found,)


def reset(state: RunawayState, at_ms: int) -> tuple[RunawayState, tuple[Finding, ...]]:
    """Forget a runaway: by hand, once a person has seen to the battery."""
    if state.latched_ms is None:
        return state, ()
    return RunawayState(), (Finding(KIND, "error", at_ms, False, 0.0, 1.0),)  # noqa: FBT003


def _signs(
    settings: RunawaySettings, state: RunawayState, sample: Sample
) -> tuple[RunawayState, tuple[bool, bool, bool, bool]]:
    find, at_ms, gradient, swollen = sample.values.get, sample.at_ms, False, None
    hottest_c, lowest_v = _number(find(HOTTEST)), _number(find(LOWEST))
    mean_v, pressure_kpa = _number(find(MEAN)), _number(find(PRESSURE))
    if hottest_c is not None:
        state = _marked(settings, state, hottest_c, at_ms)
        gradient = state.rises >= _RISES and state.mark_ms - state.rising_ms >= settings.gradient_s * 1000
    hot = None if hottest_c is None else hottest_c > settings.temperature_c
    collapsed = None
    if lowest_v is not None and mean_v is not None and lowest_v > 0:  # 0 V is a wire without a cell
        collapsed = lowest_v < (1 - settings.voltage) * mean_v
    if pressure_kpa is not None:
        state, swollen = _swollen(settings, state, pressure_kpa, at_ms)
    if not (hot or collapsed or swollen) and state.lasting == _NONE_LASTS:
        return state, (gradient, False, False, False)  # as nearly always
    lasting = tuple(
        each if wrong is None else each.then(UNIT * wrong, at_ms * 1000)
        for each, wrong in zip(state.lasting, (hot, collapsed, swollen), strict=True)
    )
    assert len(lasting) == 3
    budget_us = microseconds(settings.hold_s)
    now = [
        each.lasts(budget_us) and bool(wrong) for each, wrong in zip(lasting, (hot, collapsed, swollen), strict=True)
    ]
    return msgspec.structs.replace(state, lasting=lasting), (gradient, now[0], now[1], now[2])


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _marked(settings: RunawaySettings, state: RunawayState, hottest_c: float, at_ms: int) -> RunawayState:
    """Return the state with the rise of the last second, once it is over."""
    passed_ms = at_ms - state.mark_ms
    if state.mark_c is None or passed_ms < 0:
        return msgspec.structs.replace(
            state, mark_c=hottest_c, mark_ms=at_ms, rising_c=hottest_c, rising_ms=at_ms, rises=0
        )
    if passed_ms < SECOND_MS:
        return state
    rises = state.rises
    risen = hottest_c - state.mark_c >= settings.gradient * passed_ms / 1000
    on_the_whole = hottest_c - state.rising_c >= settings.gradient * settings.gradient_s
    if risen and (rises < _RISES - 1 or on_the_whole):
        rises = min(_RISES, rises + 1)
    elif not risen:
        rises = max(0, rises - 1)
    state = msgspec.structs.replace(state, mark_c=hottest_c, mark_ms=at_ms, rises=rises)
    return state if rises else msgspec.structs.replace(state, rising_c=hottest_c, rising_ms=at_ms)


def _swollen(
    settings: RunawaySettings, state: RunawayState, pressure_kpa: float, at_ms: int
) -> tuple[RunawayState, bool]:
    """Return whether the pressure is above its slow mean, and the state with that mean."""
    if state.pressure_kpa is None or at_ms < state.pressure_ms:
        state = msgspec.structs.replace(state, pressure_kpa=pressure_kpa, pressure_ms=at_ms)
    assert state.pressure_kpa is not None
    swollen = pressure_kpa - state.pressure_kpa > settings.pressure_kpa
    keep = math.exp(-(at_ms - state.pressure_ms) / 1000 / settings.pressure_s)
    mean_kpa = keep * state.pressure_kpa + (1 - keep) * pressure_kpa
    return msgspec.structs.replace(state, pressure_kpa=mean_kpa, pressure_ms=at_ms), swollen
