"""Times of both ends of the control pilot (IEC 61851-1, ISO 15118-3), as data."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

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

FAST: Final = PilotTiming(
    duty_interval_s=0.1,
    obey_off_s=0.1,
    forced_open_s=0.5,
    step_x1_s=0.1,
    step_ef_s=0.1,
    after_ef_s=0.02,
    fault_f_s=0.02,
    wake_after_s=1.0,
    unlock_in_f_s=0.1,
    conversation_s=2.0,
)
"""For simulations: waits for people or chips are shortened, the order stays."""
