"""PhysicalValue of ISO 15118-2 and DIN 70121 to and from integers of mV, mA, W, Wh and s.

A PhysicalValue is an int16 times 10^-3 to 10^3 with a unit. Voltages and currents are read exactly. What does not fit
loses digits in the direction that the caller names: a maximum is never overstated, a minimum never understated.
Received values are clamped to plausible magnitudes. Negative ones stay negative: what they mean is for the handler.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Final, Generic, Protocol, TypeVar

from v2g.errors import Iso15118Error

MOST: Final = 10_000_000
"""Maximum magnitude accepted from outside: 10 MW, 10 kV, 10 kA (mV, mA, W, Wh, s)."""

MAX_INT16: Final = 32767
_MIN_MULTIPLIER, _MAX_MULTIPLIER = -3, 3


class Rounding(Enum):
    """What happens to digits that do not fit."""

    DOWN = "towards zero: for maxima"
    UP = "away from zero: for minima"
    NEAREST = "to the nearest: for measured values"


class PhysicalNumber(Protocol):
    """A PhysicalValue of either edition."""

    @property
    def multiplier(self) -> int:
        """Power of ten."""

    @property
    def value(self) -> int:
        """The int16."""

    @property
    def unit(self) -> Enum | None:
        """A UnitSymbol; None in DIN 70121 where it is not sent."""


def divided(value: int, by: int, rounding: Rounding) -> int:
    """Return value / by (positive) as an integer."""
    size = abs(value)
    match rounding:
        case Rounding.DOWN:
            size //= by
        case Rounding.UP:
            size = -(-size // by)
        case Rounding.NEAREST:
            size = (2 * size + by) // (2 * by)
    return size if value >= 0 else -size


def fitted(amount: int, exponent: int, rounding: Rounding) -> tuple[int, int]:
    """Return amount x 10^exponent (-3..0) as `(value, multiplier)`.

    With as many digits as int16 holds and no negative multiplier without need; at most 32767 x 10^3.
    """
    multiplier = max(exponent, _MIN_MULTIPLIER)
    value = divided(amount, 10 ** (multiplier - exponent), rounding)
    while abs(value) > MAX_INT16 and multiplier < _MAX_MULTIPLIER:
        multiplier += 1
        value = divided(amount, 10 ** (multiplier - exponent), rounding)
    while multiplier < 0 and value % 10 == 0:
        value, multiplier = value // 10, multiplier + 1
    return max(-MAX_INT16, min(MAX_INT16, value)), multiplier


def watts_int16(power_w: int) -> int:
    """Return W as DIN 70121 sends powers without multiplier, rounded down to what int16 holds; 0 if negative."""
    return max(0, min(MAX_INT16, power_w))


def percent(received: int) -> int:
    """Return a state of charge within 0..100, whatever a vehicle sends."""
    return max(0, min(100, received))


# -- reading ----------------------------------------------------------------------------------------------------------

_UNITS: Final[Mapping[str, Mapping[str, int]]] = {
    "voltage": {"V": 1},
    "current": {"A": 1},
    "power": {"W": 1, "VA": 1},
    "energy": {"Wh": 1},
    "time": {"s": 1, "m": 60, "h": 3600},
}
"""Quantity -> unit -> factor."""


def _read(number: PhysicalNumber, quantity: str, shift: int, rounding: Rounding) -> int:
    units, unit = _UNITS[quantity], number.unit
    factor = 1 if unit is None else units.get(unit.value, 0)
    if unit is not None and not factor:
        raise Iso15118Error(
            f"{quantity} in {unit.value}, not {' or '.join(units)}", answer="FAILED_WrongChargeParameter"
        )
    value, power = number.value * factor, number.multiplier + shift
    value = value * 10**power if power >= 0 else divided(value, 10**-power, rounding)
    return max(-MOST, min(MOST, value))


def is_power(number: PhysicalNumber) -> bool:
    """Return whether a value has a unit of power, or none."""
    return number.unit is None or number.unit.value in _UNITS["power"]


def millivolts(number: PhysicalNumber) -> int:
    """Return mV, exactly. Raises Iso15118Error for another unit, as all of these; a missing one is the right one."""
    return _read(number, "voltage", 3, Rounding.DOWN)


def milliamperes(number: PhysicalNumber) -> int:
    """Return mA, exactly."""
    return _read(number, "current", 3, Rounding.DOWN)


def watts(number: PhysicalNumber, rounding: Rounding = Rounding.DOWN) -> int:
    """Return whole W."""
    return _read(number, "power", 0, rounding)


def watt_hours(number: PhysicalNumber, rounding: Rounding = Rounding.DOWN) -> int:
    """Return whole Wh."""
    return _read(number, "energy", 0, rounding)


def seconds(number: PhysicalNumber, rounding: Rounding = Rounding.DOWN) -> int:
    """Return whole s."""
    return _read(number, "time", 0, rounding)


# -- writing ----------------------------------------------------------------------------------------------------------

_Value = TypeVar("_Value", covariant=True)


class Writer(Generic[_Value]):
    """Makes the PhysicalValue of one edition; `make` takes multiplier, unit and value.

    Limits and maxima repeat in each response of the charge loop, so the latest values are kept.
    """

    def __init__(self, make: Callable[[int, str, int], _Value]) -> None:
        self._make = make
        self._fit = lru_cache(256)(self._fitted)

    def voltage(self, millivolts: int, rounding: Rounding) -> _Value:
        """Return V from mV."""
        return self._fit(millivolts, -3, "V", rounding)

    def current(self, milliamperes: int, rounding: Rounding) -> _Value:
        """Return A from mA."""
        return self._fit(milliamperes, -3, "A", rounding)

    def power(self, watts: int, rounding: Rounding) -> _Value:
        """Return W."""
        return self._fit(watts, 0, "W", rounding)

    def energy(self, watt_hours: int, rounding: Rounding) -> _Value:
        """Return Wh."""
        return self._fit(watt_hours, 0, "Wh", rounding)

    def time(self, seconds: int) -> _Value:
        """Return s, rounded down."""
        return self._fit(seconds, 0, "s", Rounding.DOWN)

    def _fitted(self, amount: int, exponent: int, unit: str, rounding: Rounding) -> _Value:
        value, multiplier = fitted(amount, exponent, rounding)
        return self._make(multiplier, unit, value)
