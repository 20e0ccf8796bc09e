"""Units that CAN databases give their signals, in their makers' words, and what they are in another unit. Pure."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from v2g.dbc import DbcSignal

_MILES: Final = 1.609344

_UNITS: Final[Mapping[str, Mapping[str, tuple[float, float]]]] = {
    "V": {"mV": (1e-3, 0), "kV": (1e3, 0)},
    "A": {"mA": (1e-3, 0), "kA": (1e3, 0)},
    "W": {"mW": (1e-3, 0), "kW": (1e3, 0), "MW": (1e6, 0)},
    "Wh": {"mWh": (1e-3, 0), "kWh": (1e3, 0), "MWh": (1e6, 0)},
    "ohm": {"uohm": (1e-6, 0), "mohm": (1e-3, 0), "kohm": (1e3, 0), "Mohm": (1e6, 0)},
    "degC": {"degF": (5 / 9, -160 / 9), "F": (5 / 9, -160 / 9), "K": (1, -273.15)},
    "Hz": {"mHz": (1e-3, 0), "kHz": (1e3, 0)},
    "km/h": {"m/s": (3.6, 0), "mph": (_MILES, 0), "mi/h": (_MILES, 0)},
    "km": {"m": (1e-3, 0), "mi": (_MILES, 0), "mile": (_MILES, 0)},
    "kPa": {"Pa": (1e-3, 0), "hPa": (0.1, 0), "mbar": (0.1, 0), "bar": (100, 0), "MPa": (1e3, 0), "psi": (6.894757, 0)},
    "l/min": {"l/h": (1 / 60, 0), "l/s": (60, 0), "ml/s": (0.06, 0), "ml/min": (1e-3, 0)},
}
"""Unit -> other unit of its quantity -> factor and offset."""

_WORDS: Final = (
    (r"unit_|[\s_.]", ""), ("milli", "m"), ("kilo", "k"), ("mega", "M"), ("micro|[µμ]", "u"), ("volts?", "V"),
    ("amp(?:ere)?s?", "A"), ("watt-?s?", "W"), ("hours?", "h"), ("ohms?|[ΩΩ]", "ohm"), ("degrees?|°|º", "deg"),
    ("fahrenheit", "F"), ("kelvin", "K"), ("hertz", "Hz"), ("met(?:er|re)s?", "m"), ("miles?", "mi"),
    ("pascals?", "Pa"), ("per", "/"),
)  # fmt: skip


def rescaled(signal: DbcSignal, unit: str) -> DbcSignal:
    """Return a signal in this unit, if its own is another one of the same quantity; else as it is."""
    factor, offset = _conversion(signal.unit, unit)
    if (factor, offset) == (1, 0):
        return signal
    return msgspec.structs.replace(
        signal,
        scale=signal.scale * factor,
        offset=signal.offset * factor + offset,
        minimum=signal.minimum * factor + offset,
        maximum=signal.maximum * factor + offset,
        unit=unit,
    )


def in_si(signal: DbcSignal) -> DbcSignal:
    """Return a signal of voltage, current, resistance or temperature in V, A, ohm or degC."""
    for unit in ("V", "A", "ohm", "degC"):
        signal = rescaled(signal, unit)
    return signal


def _conversion(written: str, unit: str) -> tuple[float, float]:
    names = _UNITS.get(unit, {})
    short = written.strip()
    for word, symbol in _WORDS:
        short = re.sub(word, symbol, short, flags=re.IGNORECASE)
    if short.casefold() in ("mph", "mi/h"):
        short = "mph"
    if short in names or short[:1] in ("m", "M"):  # milli is not mega
        return names.get(short, (1, 0))
    return next((numbers for name, numbers in names.items() if name.casefold() == short.casefold()), (1, 0))
