"""The duty cycle of the control pilot and its current, in both directions (IEC 61851-1). Pure.

Duty cycles are percent (0..100), currents A. 100 % means that the oscillator is off (X1).
"""

from typing import Final, Literal

import msgspec

HLC_DUTY: Final = 5.0
"""Duty cycle, %, that requests digital communication (ISO 15118-3)."""

OFF_DUTY: Final = 100.0
"""A constant level: the charger is present, but signals nothing for now."""

LEAST_A: Final = 6.0
MOST_A: Final = 80.0

Meaning = Literal["off", "no_charging", "digital", "current", "error"]


class DutyReading(msgspec.Struct, frozen=True):
    """The meaning of a duty cycle for the vehicle; `max_current_a` only with `current`. `off` is a constant level (X1):
    the charger signals nothing for now; `no_charging` also means E, F and no charger at all."""

    meaning: Meaning
    max_current_a: float = 0.0


class _Range(msgspec.Struct, frozen=True):
    """Duty cycles up to `below` (or up to and with it, if `closed`): A = percent x slope + offset, at most MOST_A."""

    below: float
    meaning: Meaning
    slope: float = 0.0
    offset: float = 0.0
    closed: bool = False

    def holds(self, percent: float) -> bool:
        return percent <= self.below if self.closed else percent < self.below


DUTY_RANGES: Final = (
    _Range(3, "no_charging"),
    _Range(7, "digital", closed=True),
    _Range(8, "error"),
    _Range(10, "current", 0.0, 6.0),
    _Range(85, "current", 0.6, closed=True),
    _Range(97, "current", 2.5, -160.0, closed=True),  # (D - 64) x 2.5, from 96 % on 80 A
    _Range(100, "no_charging"),
    _Range(100, "off", closed=True),
)
"""All duty cycles, in order: the first matching range applies."""


def read_duty(percent: float) -> DutyReading:
    """Return the meaning of `percent` for the vehicle (IEC 61851-1). 100 means that the oscillator is off.

    Raises ValueError outside 0..100.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"duty cycle {percent} % is outside 0..100")
    found = next(each for each in DUTY_RANGES if each.holds(percent))
    if found.meaning != "current":
        return DutyReading(found.meaning)
    return DutyReading("current", min(percent * found.slope + found.offset, MOST_A))


def duty_for(current_a: float) -> float:
    """Return the duty cycle (percent) for an offer of `current_a`; 100 (off) below 6 A.

    51 to 52.5 A cannot be encoded and become 51 A, above 80 A 80 A.
    """
    if current_a < LEAST_A:
        return OFF_DUTY
    if current_a < 52.5:
        return min(current_a, 51.0) / 0.6
    return min(current_a, MOST_A) / 2.5 + 64


def offer(current_a: float) -> float:
    """Return `duty_for` in steps of 0.01 %, suitable for an oscillator, never for more than `current_a`."""
    duty = duty_for(current_a)
    return duty if duty == OFF_DUTY else int(duty * 100 + 1e-6) / 100
