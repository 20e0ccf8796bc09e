"""Values of a meter by their OBIS codes (IEC 62056-61), as readouts and SML have them. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from v2g.errors import FrameError
from v2g.hardware.interfaces import MeterValues
from v2g.hardware.meters.registers import meter_values

IMPORT: Final = "1.8.0"
EXPORT: Final = "2.8.0"
POWER: Final = "16.7.0"
POWER_IN: Final = "1.7.0"
POWER_OUT: Final = "2.7.0"
VOLTAGE: Final = "32.7.0"
FREQUENCY: Final = "14.7.0"

UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {IMPORT: "Wh", EXPORT: "Wh", POWER: "W", POWER_IN: "W", POWER_OUT: "W", VOLTAGE: "V", FREQUENCY: "Hz"}
)
"""Code (groups C, D and E) -> its unit. Import is towards the consumer: here, the vehicle."""


def values_of_codes(found: Mapping[str, float], *, export: bool) -> MeterValues:
    """Return a reading from values by code, in `UNITS`. A meter without `export` only counts energy to the vehicle.

    Raises FrameError for a missing register of energy, or for power in a direction that the meter does not count.
    """
    for code in (IMPORT, EXPORT) if export else (IMPORT,):
        if code not in found:
            raise FrameError(f"the meter sends no {code}")
    power = found.get(POWER)
    if power is None and POWER_IN in found:
        power = found[POWER_IN] - found.get(POWER_OUT, 0.0)
    if not export and power is not None and power < 0:
        raise FrameError(f"the power is {power:g} W, but the meter does not count energy out of the vehicle")
    return meter_values(
        found[IMPORT], found[EXPORT] if export else 0.0, found.get(VOLTAGE), power, found.get(FREQUENCY)
    )
