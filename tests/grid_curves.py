"""Points of grid codes' functions, and how exactly an inverter keeps them: one table for the charger's own inverter
(block R of OCPP) and for vehicles' (AC DER).

Tolerances are those of IEEE 1547-2018, Table 3 (steady state): 5 % of the rating for active and reactive power. Curves
are its defaults of category B, the droop is 40 % of the maximum per Hz from 50.2 Hz (VDE-AR-N 4105).
"""

from typing import Final, NamedTuple

TOLERANCE: Final = 0.05
"""Of the rating, for W and var."""

VOLT_VAR: Final = ((92.0, 100.0), (98.0, 0.0), (102.0, 0.0), (108.0, -100.0))
"""Percent of the nominal voltage, then of the maximum reactive power, injected."""
VOLT_WATT: Final = ((106.0, 100.0), (110.0, 0.0))
"""Percent of the nominal voltage, then of the maximum discharge."""
OVER_HZ, STOP_HZ, SLOPE = 50.2, 52.7, 40.0
"""Begin and end of the droop, and its percent of the maximum of discharge per Hz."""


class Point(NamedTuple):
    """A state of the grid, and what leaves an inverter that would discharge at its maximum, percent of its ratings."""

    volts: float
    hertz: float
    watts: float
    var: float


BY_VOLTAGE: Final = (
    *(Point(volts, 50.0, 100, var) for volts, var in ((85, 100), (92, 100), (95, 50), (98, 0), (100, 0), (102, 0))),
    *(Point(105, 50.0, 100, -50), Point(106, 50.0, 100, -66.7), Point(107, 50.0, 75, -83.3)),
    *(Point(108, 50.0, 50, -100), Point(110, 50.0, 0, -100), Point(112, 50.0, 0, -100)),
)
BY_FREQUENCY: Final = tuple(
    Point(100, hertz, watts, 0)
    for hertz, watts in ((49.0, 100), (50.0, 100), (50.2, 100), (50.3, 96), (50.7, 80), (51.2, 60), (51.5, 48))
)
