"""The control pilot of IEC 61851-1: the meaning of levels, and the influence of both ends on them. Pure.

Voltages are integer mV at the charger's end of the wire, resistances ohm, times s.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from statistics import median_low
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta


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


# -- B-C-B toggles, by which a vehicle identifies its pilot wire or wakes a sleeping charger (ISO 15118-3). Pure.


class BcbCounter:
    """Counts the vehicle's B-C-B toggles.

    A toggle is one C between two Bs that lasts `shortest` to `longest` seconds; the defaults widen the vehicle's
    200-400 ms by the sampling interval.
    """

    def __init__(self, *, shortest: float = 0.15, longest: float = 0.45) -> None:
        self._shortest = shortest
        self._longest = longest
        self._state: PilotState | None = None
        self._since = 0.0
        self._from_b = False
        self.count = 0

    def on_state(self, state: PilotState, now: float) -> None:
        """Process a state that began at `now` (s)."""
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


def toggles(count: int, each_s: float) -> Iterator[tuple[PilotState, float]]:
    """Yield a vehicle's states and durations (s): `count` times C and B, `each_s` each. It starts in B."""
    for _ in range(count):
        yield PilotState.C, each_s
        yield PilotState.B, each_s


# -- The levels of a control pilot, from samples that do not know when its oscillator is high. Pure. Voltages are mV
# at the charger's end of the wire, times s.

HITS: Final = 3
"""Samples that a level needs: its median is no single disturbed one."""

SPLIT_MV: Final = 2_000
"""Samples closer together than this are of one level. Least distance of two: 4.8 V, with a shorted diode in state D."""

ONE_LEVEL_S: Final = 0.1
"""Time after which an oscillating wire that shows one level has only that one: of the 5 % that are high for 50 us in
each ms, samples may miss many."""

Levels = tuple[int, int | None]
"""The high level, and the low one; None while the oscillator is off."""


class LevelWindow:
    """Collects samples until both levels are found."""

    def __init__(self) -> None:
        self._oscillates = False
        self._samples: list[int] = []
        self._began: float | None = None

    def restart(self, *, oscillates: bool) -> None:
        """Forget all samples: the oscillator was switched, on or off."""
        self._oscillates = oscillates
        self._samples, self._began = [], None

    def add(self, samples: Sequence[int], now: float) -> Levels | None:
        """Add samples taken until `now`; return the levels, None if more samples are needed."""
        self._began = now if self._began is None else self._began
        self._samples += samples
        levels = self._levels(now - self._began)
        if levels is not None:
            self.restart(oscillates=self._oscillates)
        return levels

    def _levels(self, lasted: float) -> Levels | None:
        found = self._samples
        if len(found) < HITS:
            return None
        if not self._oscillates:
            return median_low(found), None
        middle = (min(found) + max(found)) // 2
        high, low = [each for each in found if each > middle], [each for each in found if each <= middle]
        if max(found) - min(found) >= SPLIT_MV:
            if min(len(high), len(low)) >= HITS:
                return median_low(high), median_low(low)
            high = low = found  # disturbed samples
        level = median_low(found)
        return (level, level) if lasted >= ONE_LEVEL_S else None


Seconds = Annotated[float, Meta(ge=0, le=3600)]


class PilotTiming(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds. The defaults are the standards' if known, followed by the sequence in IEC 61851-1 Annex A."""

    contactor_open_s: Seconds = 0.1
    """From C or D to B until the contactor is open, at most (sequence 8.1)."""
    contactor_close_s: Seconds = 3.0
    """From C2 with power available until the contactor is closed, at most (sequence 4)."""
    forced_open_s: Seconds = 6.0
    """From oscillator off, if the vehicle keeps drawing power, until the contactor opens under load (sequence 10.2)."""
    duty_interval_s: Seconds = 5.0
    """Minimum interval of two duty cycles; the oscillator may be switched off at any time."""
    obey_off_s: Seconds = 3.0
    """From oscillator off until a vehicle draws no power, at most."""
    step_x1_s: Seconds = 3.0
    """Duration of X1 between two duty cycles of different meaning, 5 % and nominal."""
    step_ef_s: Seconds = 4.0
    """Duration of E or F to wake a vehicle or to restart (T_step_EF)."""
    after_ef_s: Seconds = 0.75
    """Duration of X1 after E or F, before the oscillator is on again."""
    fault_f_s: Seconds = 0.3
    """Minimum duration of F after a fault while charging."""
    wake_after_s: Seconds = 30.0
    """A vehicle that stays in B at nominal duty is woken by one F sequence after this time (A.5.3)."""
    unlock_in_f_s: Seconds = 5.0
    """The plug is released so long after F; in A and E at once."""
    conversation_s: Seconds = 10.0
    """From matching without a charge loop until nominal duty. A vehicle may need 30 s to start matching, another
    timer (TT_EVSE_SLAC_init)."""


STANDARD: Final = PilotTiming()


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
