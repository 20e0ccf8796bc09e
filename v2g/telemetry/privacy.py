"""What may leave a vehicle: pseudonyms instead of VINs, blurred positions, and signals with consent (R143, R144)."""

import hashlib
import hmac
import math
import re
from collections.abc import Collection, Mapping
from typing import Final

from v2g.errors import ConfigError

VIN: Final = re.compile(
    r"(?<![A-HJ-NPR-Z0-9])(?=[A-HJ-NPR-Z0-9]*[A-HJ-NPR-Z])[A-HJ-NPR-Z0-9]{13}[0-9]{4}(?![A-HJ-NPR-Z0-9])", re.IGNORECASE
)
"""A vehicle identification number (ISO 3779), in capitals or not: 17 characters without I, O and Q; the last four are
digits."""

HIDDEN: Final = "[VIN]"

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "battery": ("battery.",),
    "cells": ("battery.cell_voltage.",),
    "charging": ("charging.", "grid.", "vehicle."),
    "driving": ("motor.", "ambient.", "vehicle.speed", "vehicle.odometer"),
    "location": ("location.",),
    "scores": (),
}
"""Beginnings of the signals of each group; a signal belongs to the group with the longest one. `scores` has none: it is
the consent to scores, which the back end makes of the others (R214)."""

SCORES: Final = "scores"

WITHOUT_CONSENT: Final = ("battery", "cells", "charging")
"""Groups that describe a battery and its charging, not a person."""

_PREFIXES: Final = sorted(
    ((prefix, group) for group, prefixes in GROUPS.items() for prefix in prefixes), key=lambda each: -len(each[0])
)
_LATITUDE: Final = "location.latitude"
_LONGITUDE: Final = "location.longitude"
METRES_PER_DEGREE: Final = 111_320.0
_KEY_BYTES: Final = 32
_SIDE, _NOISE = 1.5, 0.775
"""Side of a cell and mean of the noise, by the mean distance that both together give."""
_NARROWEST: Final = 0.01
"""Cosine of the latitude from which on cells grow no wider: half a degree from the poles."""


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
    """Shows each position as one point for all of its cell, a square with a side of 1.5 times `mean_m`.

    The point is near the cell by noise of the planar Laplace distribution, which the key draws for each cell. So it is
    the same at each visit, and however many reports somebody has, they tell the cell at most. The grid begins where the
    key says: nobody else knows its lines. The mean distance to the true position is `mean_m`.
    """

    def __init__(self, mean_m: float, key: bytes) -> None:
        """`key` is the vehicle's own (32 bytes), and stays there; a `mean_m` of 0 adds no noise."""
        self._mean_m, self._key = mean_m, key
        self._true: dict[str, float] = {}
        self._side = _SIDE * mean_m / METRES_PER_DEGREE
        self._offsets = self._uniform("grid")[:2]

    def blurred(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return values with a blurred position; without one while only half of it is known."""
        found = {name: value for name, value in values.items() if name not in (_LATITUDE, _LONGITUDE)}
        if len(found) == len(values):
            return found
        self._true |= {name: values[name] for name in (_LATITUDE, _LONGITUDE) if name in values}
        if len(self._true) < 2:
            return found
        here = self._true[_LATITUDE], self._true[_LONGITUDE]
        there = self._shown(*here) if self._mean_m else here
        found[_LATITUDE], found[_LONGITUDE] = (round(each, 6) for each in there)
        return found

    def _shown(self, latitude: float, longitude: float) -> tuple[float, float]:
        """Return the point of a position's cell: the distance of noise is a sum of two exponential variables."""
        row = math.floor(latitude / self._side + self._offsets[0])
        middle = (row - self._offsets[0] + 0.5) * self._side
        width = self._side / max(math.cos(math.radians(middle)), _NARROWEST)
        column = math.floor(longitude / width + self._offsets[1])
        first, second, third = self._uniform(f"{row}/{column}")
        degrees = -_NOISE * self._mean_m / 2 * (math.log(1 - first) + math.log(1 - second)) / METRES_PER_DEGREE
        bearing = 2 * math.pi * third
        north = middle + degrees * math.cos(bearing)
        east = (column - self._offsets[1] + 0.5) * width + degrees * math.sin(bearing) * width / self._side
        return max(-90.0, min(90.0, north)), (east + 180) % 360 - 180

    def _uniform(self, place: str) -> tuple[float, float, float]:
        """Return numbers from 0 (inclusive) to 1 for a place, which only the key determines."""
        digest = hmac.digest(self._key, place.encode(), hashlib.sha256)
        first, second, third = (int.from_bytes(digest[at : at + 6], "big") / 2**48 for at in (0, 6, 12))
        return first, second, third
