"""The curves of block R."""

import itertools

from v2g.ocpp.messages.der_control import DERCurve


def curve_at(curve: DERCurve, x: float) -> float:
    """Return the y of a curve: linear between its points, constant beyond them."""
    points = sorted((point.x, point.y) for point in curve.curve_data)
    if x <= points[0][0]:
        return points[0][1]
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        if x <= x2:
            return y2 if x2 == x1 else y1 + (y2 - y1) * (x - x1) / (x2 - x1)
    return points[-1][1]
