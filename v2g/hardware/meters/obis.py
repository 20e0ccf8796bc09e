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

LINE_CURRENTS: Final = ("31.7.0", "51.7.0", "71.7.0")
LINE_VOLTAGES: Final = (VOLTAGE, "52.7.0", "72.7.0")
LINE_POWERS: Final = ("36.7.0", "56.7.0", "76.7.0")
LINE_POWERS_IN: Final = ("21.7.0", "41.7.0", "61.7.0")
LINE_POWERS_OUT: Final = ("22.7.0", "42.7.0", "62.7.0")
"""Of L1, L2 and L3."""

UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {IMPORT: "Wh", EXPORT: "Wh", POWER: "W", POWER_IN: "W", POWER_OUT: "W", FREQUENCY: "Hz"}
    | dict.fromkeys(LINE_CURRENTS, "A")
    | dict.fromkeys(LINE_VOLTAGES, "V")
    | dict.fromkeys((*LINE_POWERS, *LINE_POWERS_IN, *LINE_POWERS_OUT), "W")
)
"""Code (groups C, D and E) -> its unit. Import is towards the consumer: here, the vehicle."""

OF_LINES: Final = frozenset((*LINE_CURRENTS, *LINE_VOLTAGES[1:], *LINE_POWERS, *LINE_POWERS_IN, *LINE_POWERS_OUT))
"""Codes of single lines, which a telegram may have wrong and still be of use."""


def values_of_codes(found: Mapping[str, float], *, export: bool) -> MeterValues:
    """Return a reading from values by code, in `UNITS`; NaN is a wrong value. A meter without `export` only counts
    energy to the vehicle.

    Raises FrameError for a missing register of energy, or for power in a direction that the meter does not count.
    """
    for code in (IMPORT, EXPORT) if export else (IMPORT,):
        if code not in found:
            raise FrameError(f"the meter sends no {code}")
    power = _both_ways(found, POWER, POWER_IN, POWER_OUT)
    if not export and power is not None and power < 0:
        raise FrameError(f"the power is {power:g} W, but the meter does not count energy out of the vehicle")
    values = {"import_wh": found[IMPORT], "export_wh": found[EXPORT] if export else 0.0, "power": power}
    values |= {"voltage": found.get(VOLTAGE), "frequency": found.get(FREQUENCY)}
    for line, codes in enumerate(zip(LINE_POWERS, LINE_POWERS_IN, LINE_POWERS_OUT, strict=True)):
        values[f"line_current_{line + 1}"] = found.get(LINE_CURRENTS[line])
        values[f"line_voltage_{line + 1}"] = found.get(LINE_VOLTAGES[line])
        values[f"line_power_{line + 1}"] = _both_ways(found, *codes)
        if export and power is None and values[f"line_power_{line + 1}"] is None:
            values[f"line_current_{line + 1}"] = None  # its direction is unknown
    return meter_values({name: value for name, value in values.items() if value is not None})


def _both_ways(found: Mapping[str, float], both: str, inward: str, outward: str) -> float | None:
    """Return a power, signed; None without one."""
    if both in found or inward not in found:
        return found.get(both)
    return found[inward] - found.get(outward, 0.0)
