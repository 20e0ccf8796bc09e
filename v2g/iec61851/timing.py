"""How fast both ends of the control pilot act (IEC 61851-1, ISO 15118-3), as data."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0, le=3600)]


class PilotTiming(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds. The defaults are the standards' where they are known; the sequence of IEC 61851-1 Annex A stands
    behind."""

    contactor_open_s: Seconds = 0.1
    """C or D to B: contactor open within (sequence 8.1)."""
    contactor_close_s: Seconds = 3.0
    """C2 with power available: contactor closed within (sequence 4)."""
    forced_open_s: Seconds = 6.0
    """Oscillator off and the vehicle goes on drawing: opened under load after (sequence 10.2)."""
    duty_interval_s: Seconds = 5.0
    """Least time between two duty cycles; the oscillator may be switched off at any time."""
    obey_off_s: Seconds = 3.0
    """A vehicle draws nothing any more after the oscillator went off."""
    step_x1_s: Seconds = 3.0
    """X1 between two duty cycles of different meaning, 5 % and nominal."""
    step_ef_s: Seconds = 4.0
    """E or F, shown to wake a vehicle or to start over (T_step_EF)."""
    after_ef_s: Seconds = 0.75
    """X1 after E or F, before the oscillator runs again."""
    fault_f_s: Seconds = 0.3
    """F after a fault while charging, at least."""
    wake_after_s: Seconds = 30.0
    """A vehicle that stays in B at nominal duty is woken by one F sequence after (A.5.3)."""
    unlock_in_f_s: Seconds = 5.0
    """The plug is released so long after F; in A and E at once."""
    conversation_s: Seconds = 10.0
    """Matched, and no charge loop: nominal duty after. A vehicle may need 30 s to start matching, which is another
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
"""For simulations: waits that only a person or a chip needs are shortened, the order stays."""
