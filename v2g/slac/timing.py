"""Timers and counters of matching (ISO 15118-3), as data.

`STANDARD` holds the standard's values, `FAST` what a simulation may shorten without leaving the standard's order of
messages: pauses that exist for radio and chips, none that a peer relies on.
"""

from typing import Final

import msgspec


class SlacTiming(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds and counts; the name in the standard stands behind each."""

    evse_slac_init_s: float = 40.0
    """TT_EVSE_SLAC_init (20-50 s): vehicle connected to its first CM_SLAC_PARM.REQ."""
    match_response_s: float = 0.2
    """TT_match_response: wait for an answer before repeating."""
    match_retries: int = 2
    """C_EV_match_retry: repetitions beyond the first frame."""
    match_sequence_s: float = 0.4
    """TT_match_sequence: wait for the peer's next step."""
    batch_interval_s: float = 0.03
    """TP_EV_batch_msg_interval (20-50 ms): between the announcements and sounds."""
    sounding_s: float = 0.6
    """TT_EVSE_match_MNBC: sound window. It ends as soon as every sound is in."""
    profile_grace_s: float = 0.045
    """How long after the last sound a slow modem's profiles are waited for (within TP_EVSE_avg_atten_calc)."""
    atten_results_s: float = 1.2
    """TT_EV_atten_results: first announcement to the last result."""
    evse_match_session_s: float = 10.0
    """TT_EVSE_match_session: result acknowledged to the vehicle's decision."""
    match_join_s: float = 12.0
    """TT_match_join: match confirmed to link."""
    matching_repetition_s: float = 10.0
    """TT_matching_repetition: how long after the trigger the vehicle starts over."""
    matching_rate_s: float = 0.4
    """TT_matching_rate: pause after a failed attempt."""
    sequence_retries: int = 2
    """C_sequ_retry: how often a charger that hears nothing wakes the vehicle by E/F."""
    validation_extra_s: float = 0.2
    """Added to the window of a validation, for the detection of its last toggle."""
    set_key_s: float = 1.0
    """Wait for the modem to take a key, before asking again."""
    join_poll_s: float = 0.1
    """Between questions for the link while joining."""
    matched_poll_s: float = 1.0
    """Between questions for the link once it is up."""
    step_ef_s: float = 4.0
    """T_step_EF: how long E or F is shown."""
    step_x1_s: float = 3.0
    """T_step_X1: how long the oscillator stays off first."""


STANDARD: Final = SlacTiming()

FAST: Final = SlacTiming(
    batch_interval_s=0.0005,
    profile_grace_s=0.01,
    join_poll_s=0.003,
    matching_rate_s=0.05,
    step_ef_s=0.1,
    step_x1_s=0.1,
)

NUM_ANNOUNCEMENTS: Final = 3
"""C_EV_start_atten_char_inds."""
EVSE_PARALLEL: Final = 5
"""C_EVSE_match_parallel: vehicles heard at the same time."""
EV_CANDIDATES: Final = 32
"""Chargers that a vehicle keeps in mind; far more than can be heard."""
EV_SIGNAL_DIRECT_DB: Final = 20.0
EV_SIGNAL_INDIRECT_DB: Final = 40.0
"""C_EV_match_signalattn_direct and _indirect. Sources disagree (10/20, 40/40, 40/80): lenient, and configurable."""
