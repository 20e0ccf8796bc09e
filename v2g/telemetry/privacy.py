"""What may leave a vehicle: pseudonyms instead of VINs, blurred positions, and signals with consent (R143, R144)."""

import hashlib
import hmac
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Final

from v2g.errors import ConfigError

VIN: Final = re.compile(
    r"(?<![A-HJ-NPR-Z0-9])(?=[A-HJ-NPR-Z0-9]*[A-HJ-NPR-Z])[A-HJ-NPR-Z0-9]{13}[0-9]{4}(?![A-HJ-NPR-Z0-9])"
)
"""A vehicle identification number (ISO 3779): 17 characters without I, O and Q; the last four are digits."""

HIDDEN: Final = "[VIN]"

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "battery": ("battery.",),
    "cells": ("battery.cell_voltage.",),
    "charging": ("charging.", "grid.", "vehicle."),
    "driving": ("motor.", "ambient."),
    "location": ("location.",),
}
"""Beginnings of the signals of each group; a signal belongs to the group with the longest one."""

WITHOUT_CONSENT: Final = ("battery", "cells", "charging")
"""Groups that describe a battery and its charging, not a person."""

_PREFIXES: Final = sorted(
    ((prefix, group) for group, prefixes in GROUPS.items() for prefix in prefixes), key=lambda each: -len(each[0])
)
_LATITUDE: Final = "location.latitude"
_LONGITUDE: Final = "location.longitude"
_METRES_PER_DEGREE: Final = 111_320.0
_KEY_BYTES: Final = 32


def pseudonym(vin: str, key: bytes) -> str:
    """Return the pseudonym of a VIN: HMAC-SHA256 under the operator's key (32 bytes), 128 bits in hex.

    A plain hash would not do: there are few VINs, so that all can be tried. Raises ConfigError for anything else.
    """
    canonical = vin.strip().upper()
    if len(canonical) != 17 or re.fullmatch(r"[A-HJ-NPR-Z0-9]{17}", canonical) is None:
        raise ConfigError("not a VIN", hint="17 letters and digits, without I, O and Q (ISO 3779)")
    if len(key) != _KEY_BYTES:
        raise ConfigError("the key of pseudonyms has another length", hint="64 hexadecimal digits")
    return "ev-" + hmac.new(key, canonical.encode(), hashlib.sha256).hexdigest()[:32]


def without_vins(text: str) -> str:
    """Return a text with every VIN replaced."""
    return VIN.sub(HIDDEN, text)


def group_of(signal: str) -> str:
    """Return the group of a signal, "battery" for one without."""
    return next((group for prefix, group in _PREFIXES if signal.startswith(prefix)), "battery")


class Consent:
    """Which groups of signals may leave the vehicle. What is withheld reaches no record."""

    def __init__(self, groups: Collection[str]) -> None:
        """Raises ConfigError for an unknown group."""
        if unknown := sorted(set(groups) - GROUPS.keys()):
            raise ConfigError(f"unknown signal group {unknown[0]!r}", hint=f"there are {', '.join(GROUPS)}")
        self.groups: Final = frozenset(groups)

    def covers(self, signal: str) -> bool:
        """Return whether a signal may leave."""
        return group_of(signal) in self.groups

    def permitted(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the values that may leave."""
        return {name: value for name, value in values.items() if self.covers(name)}


class PositionBlur:
    """Adds noise to positions: the planar Laplace distribution, whose density falls with the distance alone.

    `mean_m` is the mean distance to the true position (geo-indistinguishability: epsilon is 2 / `mean_m`). A new point
    is drawn only when the vehicle has moved by `mean_m`, so that the mean of many reports of a parked vehicle does not
    reveal where it is.
    """

    def __init__(self, mean_m: float, uniform: Callable[[], float]) -> None:
        """`uniform` returns random numbers from 0 (inclusive) to 1; a `mean_m` of 0 adds no noise."""
        self._mean_m, self._uniform = mean_m, uniform
        self._true: dict[str, float] = {}
        self._anchor: tuple[float, float] | None = None
        self._shown: tuple[float, float] = (0.0, 0.0)

    def blurred(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return values with a blurred position; without one while only half of it is known."""
        found = {name: value for name, value in values.items() if name not in (_LATITUDE, _LONGITUDE)}
        if len(found) == len(values):
            return found
        self._true |= {name: values[name] for name in (_LATITUDE, _LONGITUDE) if name in values}
        if len(self._true) < 2:
            return found
        here = self._true[_LATITUDE], self._true[_LONGITUDE]
        if self._mean_m == 0:
            self._shown = here
        elif self._anchor is None or distance_m(self._anchor, here) >= self._mean_m:
            self._anchor, self._shown = here, self._moved(here)
        found[_LATITUDE], found[_LONGITUDE] = (round(each, 6) for each in self._shown)
        return found

    def _moved(self, here: tuple[float, float]) -> tuple[float, float]:
        """Return a random point near a position: the distance is a sum of two exponential variables."""
        scale = self._mean_m / 2
        metres = -scale * (math.log(1 - self._uniform()) + math.log(1 - self._uniform()))
        bearing = 2 * math.pi * self._uniform()
        latitude = here[0] + metres * math.cos(bearing) / _METRES_PER_DEGREE
        latitude = max(-90.0, min(90.0, latitude))
        width = max(math.cos(math.radians(here[0])), 1e-6)
        longitude = here[1] + metres * math.sin(bearing) / (_METRES_PER_DEGREE * width)
        return latitude, (longitude + 180) % 360 - 180


def distance_m(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the distance of two positions (latitude, longitude in degrees) near each other, m."""
    width = math.cos(math.radians((one[0] + other[0]) / 2))
    east = ((other[1] - one[1] + 180) % 360 - 180) * width
    return math.hypot(other[0] - one[0], east) * _METRES_PER_DEGREE
