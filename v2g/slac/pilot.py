"""The control pilot of IEC 61851-1 and the proximity contact, as far as both ends must agree on them: pure.

Voltages are integer mV at the charger's end of the wire, resistances ohm, duty cycles percent (0..100).
"""

from enum import Enum
from typing import Final, Literal

import msgspec


class PilotState(Enum):
    """What the pilot's level says (IEC 61851-1). The oscillator being on (X2) or off (X1) is kept apart."""

    A = "A"  # not connected
    B = "B"  # connected, vehicle not ready
    C = "C"  # vehicle ready
    D = "D"  # vehicle ready, ventilation needed
    E = "E"  # pilot shorted to earth, or no supply
    F = "F"  # charger not available

    @property
    def connected(self) -> bool:
        """Whether a vehicle is there and communication may start."""
        return self in (PilotState.B, PilotState.C, PilotState.D)


NOMINAL_MV: Final = {
    PilotState.A: 12_000,
    PilotState.B: 9_000,
    PilotState.C: 6_000,
    PilotState.D: 3_000,
    PilotState.E: 0,
    PilotState.F: -12_000,
}
"""High level in each state."""

TOLERANCE_MV: Final = 1_100
"""How far a level may lie from its nominal value. The standard's own windows are an open fact; this is what public
simulators take."""

_SOURCE_OHM = 1_000
_SOURCE_MV = 12_000
_DIODE_MV = 700
VEHICLE_OHM: Final = {PilotState.B: 2_740, PilotState.C: 882, PilotState.D: 246}
"""Resistance that the vehicle puts behind its diode: 2.74 kohm, with 1.3 kohm and then 270 ohm in parallel."""


def pilot_high_mv(resistance_ohm: int | None, *, diode: bool = True) -> int:
    """Return the high level that a vehicle of this resistance pulls 12 V behind 1 kohm down to; None is no vehicle."""
    if resistance_ohm is None:
        return _SOURCE_MV
    drop = _DIODE_MV if diode else 0
    return (_SOURCE_MV - drop) * resistance_ohm // (_SOURCE_OHM + resistance_ohm) + drop


def pilot_low_mv(resistance_ohm: int | None, *, diode: bool = True) -> int:
    """Return the low level while the oscillator runs: -12 V, unless a shorted diode or a passive load pulls it up."""
    if resistance_ohm is None or diode:
        return -_SOURCE_MV
    return -_SOURCE_MV * resistance_ohm // (_SOURCE_OHM + resistance_ohm)


def read_state(high_mv: int, low_mv: int | None) -> PilotState | None:
    """Return the state that the levels mean, or None when they lie between two states.

    `low_mv` is None while the oscillator is off. With it on, a low level that is not near -12 V means a shorted
    diode or a passive load: no vehicle that may get power, reported as E.
    """
    state = next((s for s, nominal in NOMINAL_MV.items() if abs(high_mv - nominal) <= TOLERANCE_MV), None)
    if low_mv is not None and state in (PilotState.B, PilotState.C, PilotState.D):
        return state if low_mv <= -_SOURCE_MV + TOLERANCE_MV else PilotState.E
    return state


HLC_DUTY: Final = 5.0
"""Percent that ask for digital communication (ISO 15118-3)."""


class DutyReading(msgspec.Struct, frozen=True):
    """What a duty cycle tells the vehicle; `max_current_a` only with `current`. `off` is a constant level (X1): the
    charger is there and says nothing for now; `no_charging` also stands for E, F and no charger at all."""

    meaning: Literal["off", "no_charging", "digital", "current", "error"]
    max_current_a: float = 0.0


def read_duty(percent: float) -> DutyReading:
    """Return what the vehicle reads from `percent` (IEC 61851-1). 100 is the oscillator off.

    Raises ValueError outside 0..100.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"duty cycle {percent} % is outside 0..100")
    if percent == 100:
        return DutyReading("off")
    if percent < 3 or percent > 97:
        return DutyReading("no_charging")
    if percent <= 7:
        return DutyReading("digital")
    if percent < 8:
        return DutyReading("error")
    if percent < 10:
        return DutyReading("current", 6.0)
    if percent <= 85:
        return DutyReading("current", percent * 0.6)
    return DutyReading("current", min((percent - 64) * 2.5, 80.0))


def duty_for(current_a: float) -> float:
    """Return the duty cycle (percent) by which a charger offers `current_a`; 100 (off) below 6 A.

    51 to 52.5 A have no code of their own and become 51 A, above 80 A 80 A.
    """
    if current_a < 6:
        return 100.0
    if current_a < 52.5:
        return min(current_a, 51.0) / 0.6
    return min(current_a, 80.0) / 2.5 + 64


class Proximity(msgspec.Struct, frozen=True):
    """What the proximity contact says: the plug seated or not, and the cable's ampacity (A) where it is coded."""

    state: Literal["seated", "open", "fault"]
    max_current_a: int = 0


SEATED_OHM: Final = 1_500
"""A CCS2 vehicle connector for DC."""


def read_proximity(resistance_ohm: int | None) -> Proximity:
    """Return what the resistance between proximity and earth means (IEC 61851-1); None is an open contact.

    Between two ranges the lower ampacity counts. Below 60 ohm is a short (`fault`), above 4.5 kohm no plug (`open`).
    """
    if resistance_ohm is None or resistance_ohm > 4_500:
        return Proximity("open")
    if resistance_ohm < 60:
        return Proximity("fault")
    for highest, ampere in ((140, 63), (308, 32), (936, 20)):
        if resistance_ohm <= highest:
            return Proximity("seated", ampere)
    return Proximity("seated", 13)


class BcbCounter:
    """Counts the vehicle's B-C-B toggles, by which it shows whose pilot wire it is on (validation of ISO 15118-3).

    A toggle is one C between two Bs that lasts `shortest` to `longest` seconds; the defaults widen the vehicle's
    200-400 ms by what sampling costs.
    """

    def __init__(self, *, shortest: float = 0.15, longest: float = 0.45) -> None:
        self._shortest = shortest
        self._longest = longest
        self._state: PilotState | None = None
        self._since = 0.0
        self._from_b = False
        self.count = 0

    def on_state(self, state: PilotState, now: float) -> None:
        """Take note of a state that began at `now` (s)."""
        if state is self._state:
            return
        lasted = now - self._since
        if (
            state is PilotState.B
            and self._state is PilotState.C
            and self._from_b
            and self._shortest <= lasted <= self._longest
        ):
            self.count += 1
        self._from_b = self._state is PilotState.B
        self._state, self._since = state, now
