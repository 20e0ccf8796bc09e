"""Heat of a charger's parts: plug, inlet, cable, power electronics, by the sensors of its board. Pure."""

import math
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.battery import runaway
from v2g.battery.sample import Sample

RUNAWAY: Final = "thermal_runaway"
"""The fault, and the cause of the emergency output."""

MOST_SENSORS: Final = 64
"""Sensors that are watched."""


class HeatLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part that heats itself: it is hot, and its temperature rises fast. One of both may be a sensor."""

    gradient: Annotated[float, Meta(gt=0, le=50)] = 1.0
    """Fast rise of temperature, K/s."""
    gradient_s: Annotated[float, Meta(gt=0, le=10)] = 3.0
    """For how long, s."""
    temperature_c: Annotated[float, Meta(gt=0, le=150)] = 70.0
    """Hot from here on, degrees C."""


class HeatWatch:
    """Looks for a runaway at each sensor by itself, by the signs of a battery's (`v2g.battery.runaway`)."""

    def __init__(self, limits: HeatLimits) -> None:
        self._settings = runaway.Settings(
            gradient=limits.gradient, gradient_s=limits.gradient_s, temperature_c=limits.temperature_c
        )
        self._states: dict[str, runaway.State] = {}

    def look(self, temperatures: Mapping[str, float | None], now: float) -> Mapping[str, float | None]:
        """Take what sensors measure (degrees C; None: nothing) at a time (s, monotonic). Return all of it where a part
        heats itself, else nothing."""
        found = False
        for name, celsius in list(temperatures.items())[:MOST_SENSORS]:
            sample = Sample(round(now * 1000), {runaway.HOTTEST: math.nan if celsius is None else celsius})
            state, findings = runaway.step(self._settings, self._states.get(name, runaway.State()), sample)
            self._states[name] = state
            found = found or bool(findings)
        return dict(temperatures) if found else {}
