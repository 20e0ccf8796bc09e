"""The control pilot of IEC 61851-1: the meaning of levels, and the influence of both ends on them. Pure.

Voltages are integer mV at the charger's end of the wire, resistances ohm, times s.
"""

from enum import Enum
from typing import Final, Literal

import msgspec


class PilotState(Enum):
    """State by the pilot's level (IEC 61851-1), regardless of the oscillator being on (X2) or off (X1)."""

    A = "A"  # not connected
    B = "B"  # connected, vehicle not ready
    C = "C"  # vehicle ready
    D = "D"  # vehicle ready, ventilation needed
    E = "E"  # pilot shorted to earth, or no supply
    F = "F"  # charger not available

    @property
    def connected(self) -> bool:
        """Whether a vehicle is connected, and communication may start."""
        return self in (PilotState.B, PilotState.C, PilotState.D)

    @property
    def ready(self) -> bool:
        """Whether the vehicle requests energy."""
        return self in (PilotState.C, PilotState.D)


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
"""Tolerance of levels. The standard's own limits are an open point; public simulators use this one."""

_SOURCE_OHM = 1_000
_SOURCE_MV = 12_000
_DIODE_MV = 700
VEHICLE_OHM: Final = {PilotState.B: 2_740, PilotState.C: 882, PilotState.D: 246}
"""Resistance of the vehicle behind its diode: 2.74 kohm, with 1.3 kohm and then 270 ohm in parallel."""

PilotFault = Literal["", "pilot_shorted", "diode_shorted"]


class PilotReading(msgspec.Struct, frozen=True):
    """Meaning of two levels: `state` None if they are between two states, and the reason of an E."""

    state: PilotState | None
    fault: PilotFault = ""


def pilot_high_mv(resistance_ohm: int | None, *, diode: bool = True) -> int:
    """Return the high level with a vehicle of this resistance, from 12 V behind 1 kohm; None: no vehicle."""
    if resistance_ohm is None:
        return _SOURCE_MV
    drop = _DIODE_MV if diode else 0
    return (_SOURCE_MV - drop) * resistance_ohm // (_SOURCE_OHM + resistance_ohm) + drop


def pilot_low_mv(resistance_ohm: int | None, *, diode: bool = True) -> int:
    """Return the low level while the oscillator runs: -12 V, unless a shorted diode or a passive load pulls it up."""
    if resistance_ohm is None or diode:
        return -_SOURCE_MV
    return -_SOURCE_MV * resistance_ohm // (_SOURCE_OHM + resistance_ohm)


def near(level_mv: int | None, nominal_mv: int | None) -> bool:
    """Return whether a level is the nominal one, within its tolerance; None is no level."""
    if level_mv is None or nominal_mv is None:
        return level_mv is nominal_mv
    return abs(level_mv - nominal_mv) <= TOLERANCE_MV


def read_levels(high_mv: int, low_mv: int | None) -> PilotReading:
    """Return the meaning of the levels. `low_mv` is None while the oscillator is off.

    With the oscillator on, a low level that is not near -12 V means a shorted diode or a passive load: not a vehicle
    that may get power, reported as E. The diode cannot be checked in X1. A high level near 0 V is E, whatever the low
    one: some testers short the wire behind the diode.
    """
    state = next((s for s, nominal in NOMINAL_MV.items() if near(high_mv, nominal)), None)
    if state is PilotState.E:
        return PilotReading(state, "pilot_shorted")
    if low_mv is not None and state in VEHICLE_OHM and low_mv > -_SOURCE_MV + TOLERANCE_MV:
        return PilotReading(PilotState.E, "diode_shorted")
    return PilotReading(state)


class PilotFilter:
    """Turns readings into states: a reading stable for `settle_s` becomes the state; an unclear one becomes E after
    `unclear_s`.

    C to B must be found within 50 ms, and pulses of 200 ms must pass (ISO 15118-3), so the filter is short. States that
    remove power, E and F, apply at once.
    """

    def __init__(self, *, settle_s: float = 0.015, unclear_s: float = 0.1) -> None:
        self._settle_s, self._unclear_s = settle_s, unclear_s
        self.state = PilotState.A
        self.fault: PilotFault = ""
        self._seen: PilotReading | None = None
        self._since = 0.0

    def feed(self, reading: PilotReading, now: float) -> bool:
        """Process a reading at `now` (s); return whether the state has changed."""
        if reading != self._seen:
            self._seen, self._since = reading, now
        lasted = now - self._since
        state, fault = reading.state, reading.fault
        if state is None:
            if lasted < self._unclear_s:
                return False
            state, fault = PilotState.E, "pilot_shorted"
        elif state not in (PilotState.E, PilotState.F) and lasted < self._settle_s:
            return False
        changed = state is not self.state
        self.state, self.fault = state, fault
        return changed
