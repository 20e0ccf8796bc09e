"""Trips of OCPP's curves; how long they may last is in tests/energy/test_ride_through.py."""

from v2g.ocpp.messages.der_control import DERCurve, DERCurvePoint
from v2g_station.blocks.der.trips import points_of

STEP = ((110.0, 13.0), (120.0, 13.0), (120.0, 0.16), (140.0, 0.16))
"""High voltage by IEEE 1547: 13 s above 110 %, 0.16 s above 120 %."""


def test_curves_of_voltages_over_times_are_read_like_those_of_times_over_voltages() -> None:
    """yUnit PctEffectiveV: x is the time, as in IEEE 2030.5."""
    swapped = DERCurve(priority=0, y_unit="PctEffectiveV", curve_data=tuple(DERCurvePoint(x=s, y=v) for v, s in STEP))
    plain = DERCurve(priority=0, y_unit="Not_Applicable", curve_data=tuple(DERCurvePoint(x=v, y=s) for v, s in STEP))
    assert points_of(swapped) == points_of(plain) == STEP
