"""Timers, counters and limits of matching (ISO 15118-3, table A.1, clauses 7 to 9), and the actions of its cores.

Every value has its name in the standard, its role, its range in the sources, and these sources.
`STANDARD` has the default values, `FAST` those that a simulation may shorten without changing the standard's order
of messages: pauses for radio and chips, none that a peer relies on.
"""

from typing import Annotated, Final, Literal, get_type_hints

import msgspec

from v2g.observe import Observe

Role = Literal["ev", "evse", "both"]
_S = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
_N = Annotated[int, msgspec.Meta(ge=0, le=10_000)]


class TimingParameter(msgspec.Struct, frozen=True):
    """One value of the standard: `lowest` and `highest` are the range in the sources (s, or a count).

    `source` are keys of public sources: EV (EVerest), PS (pyslac), TS (a port of the conformance suite), TSe (its
    emulator), MS (a modem vendor's header), RN (a vehicle maker's requirements), PP (pyPLC), or `own` for what the
    standard does not define.
    """

    name: str
    role: Role
    lowest: float
    highest: float
    source: str


class SlacTiming(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds and counts; each has its name in the standard."""

    evse_slac_init_s: Annotated[_S, TimingParameter("TT_EVSE_SLAC_init", "evse", 20, 50, "EV PS MS TS")] = 40.0
    """TT_EVSE_SLAC_init (20-50 s): vehicle connected to its first CM_SLAC_PARM.REQ."""
    match_response_s: Annotated[_S, TimingParameter("TT_match_response", "both", 0.2, 0.2, "EV PS MS TS RN")] = 0.2
    """TT_match_response: wait for an answer before repeating."""
    match_retries: Annotated[_N, TimingParameter("C_EV_match_retry", "both", 2, 100, "TS; EV tries up to 100")] = 2
    """C_EV_match_retry: repetitions beyond the first frame."""
    match_sequence_s: Annotated[_S, TimingParameter("TT_match_sequence", "both", 0.4, 0.4, "EV PS MS TS")] = 0.4
    """TT_match_sequence: wait for the peer's next step."""
    start_announcements: Annotated[_N, TimingParameter("C_EV_start_atten_char_inds", "ev", 3, 3, "EV PS MS TS")] = 3
    """C_EV_start_atten_char_inds: how often sounding is announced."""
    batch_interval_s: Annotated[_S, TimingParameter("TP_EV_batch_msg_interval", "ev", 0.02, 0.05, "EV MS TS PP")] = 0.03
    """TP_EV_batch_msg_interval (20-50 ms): between the announcements and sounds."""
    sounding_s: Annotated[_S, TimingParameter("TT_EVSE_match_MNBC", "evse", 0.6, 0.6, "EV PS MS TS")] = 0.6
    """TT_EVSE_match_MNBC: sound window. It ends as soon as every sound was received."""
    profile_grace_s: Annotated[
        _S, TimingParameter("TP_EVSE_avg_atten_calc", "evse", 0, 0.1, "MS TSe; EV waits 45 ms")
    ] = 0.045
    """Wait for a slow modem's profiles after the last sound (within TP_EVSE_avg_atten_calc)."""
    atten_results_s: Annotated[_S, TimingParameter("TT_EV_atten_results", "ev", 1.2, 1.2, "EV PS MS TS")] = 1.2
    """TT_EV_atten_results: first announcement to the last result."""
    evse_match_session_s: Annotated[_S, TimingParameter("TT_EVSE_match_session", "evse", 10, 10, "EV PS MS TS")] = 10.0
    """TT_EVSE_match_session: result acknowledged to the vehicle's decision."""
    match_join_s: Annotated[_S, TimingParameter("TT_match_join", "both", 10, 12, "MS TS; EV 10")] = 12.0
    """TT_match_join: match confirmed to link."""
    matching_repetition_s: Annotated[_S, TimingParameter("TT_matching_repetition", "ev", 10, 60, "PS MS TS RN")] = 10.0
    """TT_matching_repetition (at least 10 s): how long after the trigger the vehicle starts over."""
    matching_rate_s: Annotated[_S, TimingParameter("TT_matching_rate", "ev", 0.4, 15, "PS MS TS RN")] = 0.4
    """TT_matching_rate (at least 400 ms): pause after a failed attempt."""
    connection_retries: Annotated[_N, TimingParameter("C_conn_max_match", "ev", 0, 3, "RN repeats 3 times, PS not")] = 0
    """How often a vehicle repeats a whole matching after a failure or a lost link."""
    connection_pause_s: Annotated[_S, TimingParameter("T_conn_resetup", "ev", 15, 15, "TSe RN")] = 15.0
    """T_conn_resetup: pause before that."""
    sequence_retries: Annotated[_N, TimingParameter("C_sequ_retry", "evse", 2, 2, "PS TS")] = 2
    """C_sequ_retry: how often a charger without requests wakes the vehicle by E/F."""
    parallel_runs: Annotated[_N, TimingParameter("C_EVSE_match_parallel", "evse", 4, 16, "TSe 5, EV 4 to 16")] = 5
    """C_EVSE_match_parallel: vehicles in range that a charger handles at the same time."""
    toggle_state_s: Annotated[_S, TimingParameter("TP_EV_vald_state_duration", "ev", 0.2, 0.4, "EV TS RN")] = 0.3
    """TP_EV_vald_state_duration (200-400 ms): each B or C while the vehicle toggles its pilot."""
    max_toggles: Annotated[_N, TimingParameter("C_EV_vald_nb_toggles", "ev", 1, 3, "EV TS RN")] = 3
    """C_EV_vald_nb_toggles (1-3): the maximum of the random number of toggles for each charger."""
    validation_rounds: Annotated[_N, TimingParameter("", "ev", 1, 3, "own")] = 3
    """How often a charger must count correctly while other vehicles are received, whose toggles might be counted."""
    validation_extra_s: Annotated[_S, TimingParameter("T_vald_detect_time", "evse", 0.2, 0.2, "TSe EV")] = 0.2
    """T_vald_detect_time: added to the window of a validation (TT_EVSE_vald_toggle), for its last toggle."""
    not_ready_pause_s: Annotated[_S, TimingParameter("", "ev", 0.1, 1, "own; RN 0.5")] = 0.5
    """Pause when a charger is not ready to validate."""
    not_ready_retries: Annotated[_N, TimingParameter("", "ev", 0, 20, "own")] = 10
    """How often such a charger is asked again."""
    amp_map_response_s: Annotated[_S, TimingParameter("TT_amp_map_exchange", "both", 0.1, 0.2, "MS TS RN")] = 0.2
    """TT_amp_map_exchange: wait for the peer's answer to an amplitude map before repeating."""
    set_key_s: Annotated[_S, TimingParameter("", "both", 0.1, 50, "own; EV 1 s, PS 50 s")] = 1.0
    """Wait for the modem to accept a key, before repeating."""
    key_retry_s: Annotated[_S, TimingParameter("", "both", 0, 1, "own")] = 0.2
    """Pause before a key that the modem did not apply is repeated."""
    reset_pause_s: Annotated[_S, TimingParameter("", "both", 0.1, 0.1, "own; EV")] = 0.1
    """From a new key to the restart of a modem that needs one."""
    modem_restart_s: Annotated[_S, TimingParameter("", "both", 3, 12, "own; PP 3-5 s, EV 10 s")] = 10.0
    """Maximum restart time of a modem."""
    detection_s: Annotated[_S, TimingParameter("", "both", 0.1, 0.1, "own; EV")] = 0.1
    """Time-out of each vendor's version query."""
    join_poll_s: Annotated[_S, TimingParameter("", "both", 0.1, 0.2, "own; EV 100 ms")] = 0.1
    """Interval of link queries while joining; the first ones are faster."""
    matched_poll_s: Annotated[_S, TimingParameter("", "both", 1, 1, "own; EV 1 s")] = 1.0
    """Interval of link queries once it is up."""
    link_status_response_s: Annotated[_S, TimingParameter("TT_link_status_response", "both", 5, 5, "TS")] = 5.0
    """TT_link_status_response: a modem without an answer for this time has no link."""
    conn_resume_s: Annotated[_S, TimingParameter("T_conn_resume", "both", 6, 6, "TS RN")] = 6.0
    """T_conn_resume: the vehicle's wake-up to the link."""
    conn_max_comm_s: Annotated[_S, TimingParameter("T_conn_max_comm", "both", 8, 8, "TS TSe")] = 8.0
    """T_conn_max_comm: the charger's wake-up to the link."""
    step_ef_s: Annotated[_S, TimingParameter("T_step_EF", "evse", 4, 8, "EV PS TS; upper bound TS")] = 4.0
    """T_step_EF: duration of E or F."""
    step_x1_s: Annotated[_S, TimingParameter("T_step_X1", "evse", 3, 3, "EV TS")] = 3.0
    """T_step_X1: duration of X1 first, and its minimum before the oscillator restarts after a pause."""


STANDARD: Final = SlacTiming()

FAST: Final = SlacTiming(
    batch_interval_s=0.0005, profile_grace_s=0.01, join_poll_s=0.003, matching_rate_s=0.05, step_ef_s=0.1, step_x1_s=0.1
)

PARAMETERS: Final[dict[str, TimingParameter]] = {
    field: hint.__metadata__[-1] for field, hint in get_type_hints(SlacTiming, include_extras=True).items()
}
"""Field of SlacTiming -> its values in the standard and the sources."""

MAX_VALIDATION_S: Final = 3.5
"""TT_EVSE_vald_toggle: the longest window in which a vehicle toggles and a charger counts."""

EV_CANDIDATES: Final = 32
"""Limit of chargers stored by a vehicle; far more than can be in range."""
EV_SIGNAL_DIRECT_DB: Final = 20.0
EV_SIGNAL_INDIRECT_DB: Final = 40.0
"""C_EV_match_signalattn_direct and _indirect. Sources disagree (10/20, 40/40, 40/80): lenient, and configurable."""
EV_AMBIGUOUS_DB: Final = 3.0
"""Two chargers with more similar attenuation are ambiguous."""


class SendFrame(msgspec.Struct, frozen=True):
    """Put this Ethernet frame on the link."""

    frame: bytes


class Matched(msgspec.Struct, frozen=True, kw_only=True):
    """D-LINK_READY(established): both modems are in one private network and see each other.

    `nid` 7 and `nmk` 16 bytes, addresses 6 bytes, `attenuation_db` the average over carrier groups and sounds.
    """

    nid: bytes
    nmk: bytes
    evse_mac: bytes
    pev_mac: bytes
    attenuation_db: float

    def __repr__(self) -> str:  # the key is a secret
        return (
            f"Matched(evse={self.evse_mac.hex(':')}, pev={self.pev_mac.hex(':')}, nid={self.nid.hex()}, "
            f"attenuation_db={self.attenuation_db})"
        )


class MatchingFailed(msgspec.Struct, frozen=True):
    """Matching failed until the next trigger. `reason` is one of FAILURES."""

    reason: str


class LinkLost(msgspec.Struct, frozen=True):
    """D-LINK_READY(no link): the link was up and is lost."""


class RestartPilot(msgspec.Struct, frozen=True):
    """Charger: show X1, then E or F for T_step_EF, then 5 % again, so that the vehicle starts over."""

    reason: str


class TogglePilot(msgspec.Struct, frozen=True):
    """Vehicle: `count` times from B to C and back (BCB toggle), each B and each C for `state_s` seconds.

    It identifies the charger at this pilot wire (validation), or wakes a charger that switched its oscillator off.
    Begin with a B of `state_s` from now on.
    """

    count: int
    state_s: float


class OscillatorOff(msgspec.Struct, frozen=True):
    """Charger: constant pilot (X1), the session pauses."""


class OscillatorOn(msgspec.Struct, frozen=True):
    """Charger: 5 % again (X1 to X2), the session resumes: the vehicle toggled the pilot, or the charger requests it."""


Action = (
    SendFrame
    | Matched
    | MatchingFailed
    | LinkLost
    | RestartPilot
    | TogglePilot
    | OscillatorOff
    | OscillatorOn
    | Observe
)

FAILURES = {
    "no_charger_answers": "no charger answered CM_SLAC_PARM.REQ",
    "no_attenuation_result": "no charger sent an attenuation profile",
    "too_weak": "every charger that answered is too weak to be at the other end of the cable",
    "no_match_confirmation": "the charger did not confirm the match",
    "modem_silent": "the own modem does not accept the network key",
    "no_link": "the modems did not find each other after the match",
    "vehicle_silent": "the vehicle is connected but never started matching",
    "not_validated": "no charger counted the right number of pilot toggles: none is at the other end of the cable",
    "not_resumed": "the link did not come up again after the pause",
}
"""Why matching failed: stable code -> sentence."""
