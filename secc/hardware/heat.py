"""Heat of a charger's parts: plug, inlet, cable, power electronics, by the sensors of its board. Pure.

A part that is warm gets less power (R128), one that heats itself none any more (R126). A battery's own window, 20 to
40 degrees C, is the vehicle's: it asks for less.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.battery import runaway
from v2g.battery.derating import Curve, check_curve, share
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


class DeratingLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Power by temperature. A lower share applies at once, a higher one slowly."""

    curve: Curve = ((-40.0, 0.0), (-30.0, 1.0), (60.0, 1.0), (90.0, 0.0))
    """Pairs of degrees C and share of the rated power, 0 to 1: linear between the points, and no power beyond them. The
    coldest and the hottest sensor count."""
    hysteresis_k: Annotated[float, Meta(ge=0, le=30)] = 3.0
    """The share rises as if a part were so much warmer, or colder."""
    rise_percent_s: Annotated[float, Meta(gt=0, le=100)] = 1.0
    """It rises by so much of the rated power in a second."""

    def __post_init__(self) -> None:
        """Reject curves that are none."""
        check_curve("curve", self.curve)


class Derating:
    """The share of power that temperatures permit. `percent` is the present one."""

    def __init__(self, limits: DeratingLimits) -> None:
        self._limits = limits
        self._share, self._last = 1.0, 1.0
        self._at: float | None = None

    @property
    def percent(self) -> int:
        """The share, %, rounded down."""
        return int(self._share * 100 + 1e-9)

    def look(self, temperatures: Mapping[str, float | None], now: float) -> int:
        """Take what sensors measure (degrees C; None: nothing) at a time (s, monotonic); return `percent`.

        It takes two in a row to lower it: one sample may be wrong. A failed sensor is a fault of its own, and the share
        does not rise without it.
        """
        passed_s, self._at = 0.0 if self._at is None else max(0.0, now - self._at), now
        known = [each for each in temperatures.values() if each is not None and math.isfinite(each)]
        if not known:
            return self.percent
        coldest_c, hottest_c, apart_k = min(known), max(known), self._limits.hysteresis_k
        here = share(self._limits.curve, coldest_c, hottest_c)
        lower, self._last = max(here, self._last), here
        if lower < self._share:
            self._share = lower
        elif len(known) == len(temperatures):
            most = share(self._limits.curve, coldest_c - apart_k, hottest_c + apart_k)
            risen = self._share + self._limits.rise_percent_s / 100 * passed_s
            self._share = max(self._share, min(most, risen))
        return self.percent


class HeatWatch:
    """Looks for a runaway at each sensor by itself, by the signs of a battery's (`v2g.battery.runaway`)."""

    def __init__(self, limits: HeatLimits) -> None:
        self._settings = runaway.RunawaySettings(
            gradient=limits.gradient, gradient_s=limits.gradient_s, temperature_c=limits.temperature_c
        )
        self._states: dict[str, runaway.RunawayState] = {}

    def look(self, temperatures: Mapping[str, float | None], now: float) -> Mapping[str, float | None]:
        """Take what sensors measure (degrees C; None: nothing) at a time (s, monotonic). Return all of it where a part
        heats itself, else nothing."""
        found = False
        for name, celsius in list(temperatures.items())[:MOST_SENSORS]:
            sample = Sample(round(now * 1000), {runaway.HOTTEST: math.nan if celsius is None else celsius})
            state, findings = runaway.step(self._settings, self._states.get(name, runaway.RunawayState()), sample)
            self._states[name] = state
            found = found or bool(findings)
        return dict(temperatures) if found else {}
