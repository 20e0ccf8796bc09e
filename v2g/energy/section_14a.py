"""§ 14a EnWG (BNetzA BK6-22-300): what a grid operator's control leaves at least to controllable devices. Pure."""

from typing import Final

DEVICE_W: Final = 4200
"""Of one device: below it nothing is controlled."""
SIMULTANEITY: Final = (1.0, 0.80, 0.75, 0.70, 0.65, 0.60, 0.55, 0.50, 0.45)
"""Factors for 1, 2, ... devices, the last from 9 on. Those of 2 to 8 are unverified (K)."""


def least_power_w(devices: int) -> int:
    """Return the minimum power of `devices` behind one energy manager, W; 0 for none.

    4.2 kW + (n - 1) · factor · 4.2 kW, without heat pumps and cooling above 11 kW.
    """
    if devices < 1:
        return 0
    factor = SIMULTANEITY[min(devices, len(SIMULTANEITY)) - 1]
    return round(DEVICE_W * (1 + (devices - 1) * factor))
