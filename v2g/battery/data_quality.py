"""What is wrong with the data of a battery, which is nothing wrong with the battery.

A value that is no number, outside its plausible range, or that jumped and has not stayed there yet, is a finding about
the data, and no detector or estimator sees it (`trusted`). So does a current whose sign is swapped: it rises as the
voltage falls, step by step; and silence while a current flowed, of which nobody knows how long it did.
"""

import math
import sys
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.battery.sample import Finding, Sample, judge
from v2g.events import Severity
from v2g.telemetry.signals import SIGNALS

_CURRENT: Final = "battery.current"
_VOLTAGE: Final = "battery.voltage"
_BY_CURRENT: Final = (_CURRENT, "battery.power")
_JUMPS: Final = {name: each.jump for name, each in SIGNALS.items() if each.jump}
_WARNING: Final[Severity] = "warning"
_RANGES: Final = {name: (each.minimum, each.maximum) for name, each in SIGNALS.items()}
_FINITE: Final = -sys.float_info.max, sys.float_info.max


class DataQualitySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When data are wrong."""

    stays_ms: Annotated[int, Meta(ge=0, le=60_000, description="a jump that stays so long is a step, ms")] = 300
    silent_s: Annotated[float, Meta(gt=0, le=86_400, description="longest silence while a current flows, s")] = 120.0
    flows_a: Annotated[float, Meta(gt=0, le=1000, description="a current that flows, A")] = 2.0
    step_a: Annotated[float, Meta(gt=0, le=1000, description="smallest step of the current that tells its sign, A")] = (
        5.0
    )
    step_v: Annotated[float, Meta(gt=0, le=100, description="and of the voltage, V")] = 0.2
    step_s: Annotated[float, Meta(gt=0, le=60, description="both in this time, s")] = 12.0
    steps: Annotated[int, Meta(ge=5, le=1000, description="steps before a sign is judged")] = 20


class DataQualityState(msgspec.Struct, frozen=True):
    """The last trusted values by signal, jumps that have not stayed yet (value, since ms), and what was found."""

    at_ms: int | None = None
    values: dict[str, float] = {}
    jumped: dict[str, tuple[float, int]] = {}
    wrong: dict[str, bool] = {}
    agrees: float = 0.0
    """Mean of recent steps: 1 where current and voltage rise together, -1 where they do not."""
    steps: int = 0
    before: tuple[float, float] | None = None
    """Current and voltage of the last sample."""


def step(
    settings: DataQualitySettings, state: DataQualityState, sample: Sample, seen: Sample | None = None
) -> tuple[DataQualityState, tuple[Finding, ...]]:
    """Look at a sample as it came; its values may be no numbers. `seen`: it as `plausible` has it, if that is known."""
    ranged = numbers = (plausible(sample) if seen is None else seen).values
    if len(ranged) < len(sample.values):
        numbers = {name: value for name, value in sample.values.items() if math.isfinite(value)}
    passed_s = 0.0 if state.at_ms is None else (sample.at_ms - state.at_ms) / 1000
    values, jumped = _jumps(settings, state, ranged, sample.at_ms, passed_s)
    if _CURRENT in ranged and _VOLTAGE in ranged:
        now: tuple[float, float] | None = ranged[_CURRENT], ranged[_VOLTAGE]
    else:
        now = None
    agrees, steps = state.agrees, state.steps
    if now is not None and state.before is not None and 0 < passed_s <= settings.step_s and not jumped:
        by_a, by_v = now[0] - state.before[0], now[1] - state.before[1]
        if abs(by_a) >= settings.step_a and abs(by_v) >= settings.step_v:
            agrees, steps = 0.9 * agrees + (0.1 if by_a * by_v > 0 else -0.1), steps + 1
    flowed = state.before is not None and abs(state.before[0]) >= settings.flows_a
    wrong, found = dict(state.wrong), ()  # type: dict[str, bool], tuple[Finding, ...]
    for kind, value, limit, clear in (
        ("data_number", float(len(sample.values) - len(numbers)), 0.5, 0.5),
        ("data_range", float(len(numbers) - len(ranged)), 0.5, 0.5),
        ("data_jump", float(len(jumped)), 0.5, 0.5),
        ("data_silent", passed_s if flowed else 0.0, settings.silent_s, settings.silent_s),
        ("data_sign", -agrees if steps >= settings.steps else 0.0, 0.5, -0.5),
    ):
        active = wrong.setdefault(kind, False)
        if not active and value <= limit:  # as nearly always
            continue
        shown = {name: each for name, (each, _) in jumped.items()} if kind == "data_jump" else numbers
        wrong[kind], new = judge(kind, _WARNING, active, value, limit, clear, sample, shown)
        found += new
    return DataQualityState(sample.at_ms, values, jumped, wrong, agrees, steps, now or state.before), found


def plausible(sample: Sample) -> Sample:
    """Return a sample without values that are no numbers or outside their range."""
    values = {}
    for name, each in sample.values.items():
        least, most = _RANGES.get(name, _FINITE)
        if least <= each <= most:
            values[name] = each
    return Sample(sample.at_ms, values)


def trusted(state: DataQualityState, sample: Sample) -> Sample:
    """Return a plausible sample that `step` has just taken, without what jumped or has the wrong sign."""
    wrong = {*state.jumped, *(_BY_CURRENT if state.wrong.get("data_sign") else ())}
    if not wrong:
        return sample
    return Sample(sample.at_ms, {name: each for name, each in sample.values.items() if name not in wrong})


def _jumps(
    settings: DataQualitySettings, state: DataQualityState, values: Mapping[str, float], at_ms: int, passed_s: float
) -> tuple[dict[str, float], dict[str, tuple[float, int]]]:
    """Return the newest trusted values, and those that have jumped and may go back."""
    known, jumped, span_s = dict(state.values), {}, max(1.0, passed_s)
    for name, value in values.items():
        jump = _JUMPS.get(name)
        if jump is None:
            continue
        last = known.get(name)
        if last is None or abs(value - last) <= jump * span_s:
            known[name] = value
            continue
        held = state.jumped.get(name)
        if held is None or abs(value - held[0]) > jump or at_ms < held[1]:
            jumped[name] = value, at_ms
        elif at_ms - held[1] >= settings.stays_ms:
            known[name] = value
        else:
            jumped[name] = value, held[1]
    return known, jumped
