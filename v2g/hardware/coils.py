"""A pair of coils as seen from their ends: coupling, efficiency, power for a coil current.

Two resonant circuits, compensated in series. The coupling falls with the distance between the coils' centres and with
the ground clearance; it determines how much of the power arrives (the optimum of a matched load, and the
losses of the converters), and the power of a coil current. Lengths mm, currents mA, power W. Pure.
"""

import math
from typing import Annotated, Final

import msgspec
from msgspec import Meta

CONVERTERS: Final = 0.95
"""Efficiency of inverter and rectifier together."""


class CoilPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of the coils: best coupling, its decrease, and the quality of their circuits."""

    best_coupling: Annotated[float, Meta(gt=0, lt=1)] = 0.25
    """At no offset and `nominal_clearance_mm`."""
    offset_mm: Annotated[float, Meta(gt=0, le=10_000)] = 220.0
    """Offset at which the coupling has dropped to 1/e."""
    nominal_clearance_mm: Annotated[float, Meta(ge=0, le=10_000)] = 150.0
    """Ground clearance up to which coupling is best."""
    clearance_mm: Annotated[float, Meta(gt=0, le=10_000)] = 200.0
    """Additional clearance at which the coupling has dropped to 1/e."""
    quality: Annotated[float, Meta(ge=1, le=10_000)] = 300.0
    """Quality factor of both circuits (geometric mean)."""
    reflected_ohm: Annotated[float, Meta(gt=0, le=1_000)] = 3.0
    """Resistance of the loaded secondary circuit, seen in the primary one at `best_coupling`."""


class CoilPlace(msgspec.Struct, frozen=True):
    """Position of the secondary coil relative to the primary: ahead, sideways, and the ground clearance (mm)."""

    x_mm: int = 0
    y_mm: int = 0
    clearance_mm: int = 150

    @property
    def offset_mm(self) -> float:
        """Distance between the centres, in the plane."""
        return math.hypot(self.x_mm, self.y_mm)


def coupling(pair: CoilPair, place: CoilPlace) -> float:
    """Return the coupling factor, from 0 to 1."""
    across = math.exp(-((place.offset_mm / pair.offset_mm) ** 2))
    further = max(0.0, place.clearance_mm - pair.nominal_clearance_mm)
    return pair.best_coupling * across * math.exp(-further / pair.clearance_mm)


def efficiency(pair: CoilPair, place: CoilPlace) -> float:
    """Return the efficiency from the primary device's input to the secondary device's output, from 0 to 1."""
    merit = (coupling(pair, place) * pair.quality) ** 2
    return CONVERTERS * merit / (1 + math.sqrt(1 + merit)) ** 2


def power_w(pair: CoilPair, place: CoilPlace, coil_ma: int) -> int:
    """Return the power of this coil current into a loaded secondary circuit."""
    reflected = pair.reflected_ohm * (coupling(pair, place) / pair.best_coupling) ** 2
    return int((coil_ma / 1000) ** 2 * reflected)


def current_ma(pair: CoilPair, place: CoilPlace, power: int) -> int:
    """Return the coil current for this power; the inverse of `power_w`, unbounded."""
    reflected = pair.reflected_ohm * (coupling(pair, place) / pair.best_coupling) ** 2
    return math.ceil(1000 * math.sqrt(power / reflected)) if power > 0 and reflected > 0 else 0
