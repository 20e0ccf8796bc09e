"""Limits of a battery that a single sample passes: cells apart, heat, low cells, a sudden drop of voltage (R120)."""

import math
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.battery.sample import Finding, Sample, judge
from v2g.events import Severity

_SPREAD: Final = "battery.cell_voltage.imbalance"
_LOWEST: Final = "battery.cell_voltage.min"
_HOTTEST: Final = "battery.temperature.max"
_VOLTAGE: Final = "battery.voltage"


class CellLimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits; a finding ends at the value with `_clear`."""

    spread_v: Annotated[float, Meta(gt=0, le=5, description="cells further apart are out of balance, V")] = 0.05
    spread_clear_v: Annotated[float, Meta(ge=0, le=5, description="balanced again, V")] = 0.04
    temperature_c: Annotated[float, Meta(ge=-60, le=150, description="a hotter cell is too hot, degrees C")] = 55.0
    temperature_clear_c: Annotated[float, Meta(ge=-60, le=150, description="cool again, degrees C")] = 50.0
    cell_v: Annotated[float, Meta(ge=0, le=5, description="a cell below is too low, V")] = 2.8
    cell_clear_v: Annotated[float, Meta(ge=0, le=5, description="high enough again, V")] = 3.0
    drop: Annotated[
        float, Meta(gt=0, lt=1, description="sudden drop of the pack's voltage, as a share of its mean before")
    ] = 0.1
    drop_clear: Annotated[float, Meta(ge=0, lt=1, description="share at which a drop has ended")] = 0.05
    mean_s: Annotated[float, Meta(gt=0, le=3600, description="time constant of that mean, s")] = 10.0

    def __post_init__(self) -> None:
        """Reject limits without hysteresis."""
        for name, over, end in (
            ("spread_clear_v", self.spread_v, self.spread_clear_v),
            ("temperature_clear_c", self.temperature_c, self.temperature_clear_c),
            ("cell_clear_v", self.cell_clear_v, self.cell_v),
            ("drop_clear", self.drop, self.drop_clear),
        ):
            if end >= over:
                raise ValueError(f"{name} must be on the good side of its limit")


class CellLimitState(msgspec.Struct, frozen=True):
    """What was found, and the mean voltage (V) with its time."""

    apart: bool = False
    hot: bool = False
    low: bool = False
    dropped: bool = False
    mean_v: float | None = None
    at_ms: int = 0


def step(
    settings: CellLimitSettings, state: CellLimitState, sample: Sample
) -> tuple[CellLimitState, tuple[Finding, ...]]:
    """Compare a sample with the limits; what it does not have stays as it was."""
    found: list[Finding] = []
    values, changed = sample.values, {}
    watched: tuple[tuple[str, str, Severity, str, float, float], ...] = (
        ("apart", "cell_spread", "warning", _SPREAD, settings.spread_v, settings.spread_clear_v),
        ("hot", "over_temperature", "error", _HOTTEST, settings.temperature_c, settings.temperature_clear_c),
        ("low", "cell_voltage_low", "error", _LOWEST, settings.cell_v, settings.cell_clear_v),
    )
    for name, kind, severity, signal, limit, clear in watched:
        if (value := values.get(signal)) is not None:
            changed[name], new = judge(kind, severity, getattr(state, name), value, limit, clear, sample)
            found += new
    return msgspec.structs.replace(_dropped(settings, state, sample, found), **changed), tuple(found)


def _dropped(
    settings: CellLimitSettings, state: CellLimitState, sample: Sample, found: list[Finding]
) -> CellLimitState:
    """Follow the voltage's mean, which a sudden drop is compared with."""
    voltage = sample.values.get(_VOLTAGE)
    if voltage is None:
        return state
    if state.mean_v is None or state.mean_v <= 0:
        return msgspec.structs.replace(state, mean_v=voltage, at_ms=sample.at_ms)
    share = 1 - voltage / state.mean_v
    evidence = {**sample.values, "mean_v": state.mean_v}
    dropped, new = judge(
        "voltage_drop", "error", state.dropped, share, settings.drop, settings.drop_clear, sample, evidence
    )
    found += new
    keep = math.exp(-max(0, sample.at_ms - state.at_ms) / 1000 / settings.mean_s)
    mean_v = keep * state.mean_v + (1 - keep) * voltage
    return msgspec.structs.replace(state, dropped=dropped, mean_v=mean_v, at_ms=sample.at_ms)
