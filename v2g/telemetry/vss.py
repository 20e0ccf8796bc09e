"""Values by paths of COVESA's Vehicle Signal Specification 6, as VISS v2 and Kuksa name them (R212)."""

import re
from typing import Final

from v2g.telemetry.signals import SIGNALS

PATH_PATTERN: Final = r"^Vehicle(\.[A-Za-z0-9]+|\.\*)*\Z"

_PATHS: Final = {f"Vehicle.{signal.vss}": name for name, signal in SIGNALS.items() if signal.vss}
_UNITS: Final = {"battery.energy.charged": 0.001, "battery.energy.discharged": 0.001, "vehicle.range": 1000.0}
"""Signals with another unit than their path: kWh, m."""
_INTEGERS: Final = frozenset({"vehicle.range"})
_TRUTHS: Final = frozenset({"vehicle.contactor"})


def signals_at(path: str) -> dict[str, str]:
    """Return the signals at a path (`PATH_PATTERN`), by theirs: a branch has all below it, `*` is any one name."""
    pattern = re.compile(re.escape(path).replace(r"\*", r"[^.]+") + r"(\.|\Z)")
    return {each: name for each, name in _PATHS.items() if pattern.match(each)}


def vss_value(signal: str, value: float) -> str:
    """Return a value as its path has it: in its unit, as text."""
    if signal in _TRUTHS:
        return "true" if value else "false"
    number = value * _UNITS.get(signal, 1.0)
    return str(round(number)) if signal in _INTEGERS else f"{round(number, 6):.15g}"
