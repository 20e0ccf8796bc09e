"""The curves of block R."""

from typing import Final

from v2g.energy.curves import value_at
from v2g.ocpp.messages.der_control import DERCurve

SETTLING_S: Final = 0.2
"""Interval of following a response time, in grid time."""


def curve_at(curve: DERCurve, x: float) -> float:
    """Return the y of a curve: linear between its points, constant beyond them."""
    return value_at([(point.x, point.y) for point in sorted(curve.curve_data, key=lambda point: point.x)], x)
