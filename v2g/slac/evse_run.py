"""One matching run at the charger: one vehicle address and RunID, from CM_SLAC_PARM.REQ to CM_SLAC_MATCH.REQ.

A charger also receives the vehicles of its neighbours, so several independent runs are active at once.
"""

from enum import Enum
from typing import Literal

import msgspec

from v2g.iec61851.pilot import BcbCounter, PilotState
from v2g.slac import mme
from v2g.slac.layout import Mme
from v2g.slac.timing import MAX_VALIDATION_S, SlacTiming


class RunState(Enum):
    """What the run waits for."""

    START = "CM_START_ATTEN_CHAR.IND"
    SOUNDS = "CM_MNBC_SOUND.IND"
    PROFILES = "CM_ATTEN_PROFILE.IND"  # all sounds received, the modem's last profiles not yet
    RESPONSE = "CM_ATTEN_CHAR.RSP"
    DECISION = "CM_VALIDATE.REQ or CM_SLAC_MATCH.REQ"
    TOGGLE = "CM_VALIDATE.REQ, step 2"
    WINDOW = "the end of the toggle window"
    OVER = "nothing: the run failed"


class Outcome(msgspec.Struct, frozen=True):
    """Result of a step: a message for the vehicle, or None; and a report, or an empty string."""

    reply: Mme | None = None
    report: str = ""


_NOTHING = Outcome()

ValidationPolicy = Literal["supported", "not_required", "failure"]


class EvseRun:
    """See the module. `deadline` is when `on_timer` must be called, None when never."""

    def __init__(
        self, pev_mac: bytes, run_id: bytes, timing: SlacTiming, now: float, *, adjustment_db: int = 0
    ) -> None:
        self.pev_mac = pev_mac
        self.run_id = run_id
        self.state = RunState.START
        self.deadline: float | None = now + timing.match_sequence_s
        self.sounds = 0
        self.attenuation_db = 0.0
        self._timing = timing
        self._adjustment_db = adjustment_db
        self._sums = [0] * mme.GROUPS
        self._profiles = 0
        self._result: mme.CmAttenCharInd | None = None
        self._tries = 0
        self._toggles = BcbCounter()
        self._pilot = PilotState.B
        self._counted: mme.CmValidateCnf | None = None

    @property
    def validating(self) -> bool:
        """Whether this run watches the pilot."""
        return self.state in (RunState.TOGGLE, RunState.WINDOW)

    def parameters(self) -> mme.CmSlacParmCnf:
        """Return the answer to CM_SLAC_PARM.REQ."""
        return mme.CmSlacParmCnf(forwarding_sta=self.pev_mac, run_id=self.run_id)

    def on_start(self, message: mme.CmStartAttenCharInd, now: float) -> None:
        """Open the sound window; the second and third announcement do not move it."""
        usable = message.num_sounds and message.time_out and message.resp_type == mme.RESP_TYPE_GP_STATION
        if self.state is RunState.START and usable and message.forwarding_sta == self.pev_mac:
            self.state, self.deadline = RunState.SOUNDS, now + self._timing.sounding_s

    def on_sound(self, now: float) -> Outcome:
        """Count a sound; after the last one only the modem's profiles are missing."""
        if self.state is not RunState.SOUNDS:
            return _NOTHING
        self.sounds += 1
        if self.sounds >= mme.NUM_SOUNDS:
            if self._profiles >= mme.NUM_SOUNDS:
                return self._characterize(now)
            window_end = now if self.deadline is None else self.deadline
            self.state = RunState.PROFILES
            self.deadline = min(window_end, now + self._timing.profile_grace_s)
        return _NOTHING

    def on_profile(self, aag: bytes, now: float) -> Outcome:
        """Add the modem's measurement of one sound, dB for each of the 58 groups."""
        if self.state not in (RunState.SOUNDS, RunState.PROFILES):
            return _NOTHING
        self._profiles += 1
        for group, value in enumerate(aag):
            self._sums[group] += value
        if self._profiles >= mme.NUM_SOUNDS:
            return self._characterize(now)
        return _NOTHING

    def on_response(self, message: mme.CmAttenCharRsp, now: float) -> Outcome:
        """Process the vehicle's receipt for the profile."""
        if self.state is not RunState.RESPONSE or message.source_address != self.pev_mac:
            return _NOTHING
        if message.result != 0:
            return self._fail("profile_refused")
        self._await_decision(now, self._timing.evse_match_session_s)
        return _NOTHING

    def on_validate(self, message: mme.CmValidateReq, now: float, *, policy: ValidationPolicy, free: bool) -> Outcome:
        """Answer either step; `free` is whether the pilot is at rest in B and not watched by another run."""
        if message.result != mme.VALIDATE_READY or message.signal_type != 0:
            return self._fail("validation_broken_off") if self.validating else _NOTHING
        if message.timer and self.state is RunState.TOGGLE:
            window_s = min((message.timer + 1) * 0.1, MAX_VALIDATION_S)
            self.state, self.deadline = RunState.WINDOW, now + window_s + self._timing.validation_extra_s
            return _NOTHING
        if message.timer and self.state is RunState.DECISION and self._counted is not None:
            return Outcome(self._counted)  # it has not received the result
        if self.state not in (RunState.DECISION, RunState.TOGGLE) or message.timer:
            return _NOTHING
        if policy != "supported":
            result = mme.VALIDATE_NOT_REQUIRED if policy == "not_required" else mme.VALIDATE_FAILURE
            return Outcome(mme.CmValidateCnf(result=result))
        if not free:
            return Outcome(mme.CmValidateCnf(result=mme.VALIDATE_NOT_READY))
        if self.state is RunState.DECISION:
            self._toggles, self._counted = BcbCounter(), None
            self.on_pilot(PilotState.B, now)
        self.state, self._tries = RunState.TOGGLE, 0
        return self._ready(now)

    def on_pilot(self, state: PilotState, now: float) -> None:
        """Count toggles of the pilot from step 1 on, so that the wire and the link cannot race."""
        self._toggles.on_state(state, now)
        self._pilot = state

    def on_timer(self, now: float) -> Outcome:
        """Let the deadline expire."""
        if self.state in (RunState.SOUNDS, RunState.PROFILES):
            return self._characterize(now)
        if self.state is RunState.RESPONSE and self._tries <= self._timing.match_retries:
            return self._send_result(now)
        if self.state is RunState.TOGGLE and self._tries <= self._timing.match_retries:
            return self._ready(now)
        if self.state is RunState.WINDOW:
            self._await_decision(now, self._timing.match_sequence_s)
            # A pilot that is not back in B is toggled by a vehicle with another timing: not this one.
            result = mme.VALIDATE_SUCCESS if self._pilot is PilotState.B else mme.VALIDATE_FAILURE
            self._counted = mme.CmValidateCnf(toggle_num=min(self._toggles.count, 255), result=result)
            return Outcome(self._counted, "validation_counted")
        return self._fail(f"no {self.state.value}")

    def _await_decision(self, now: float, wait_s: float) -> None:
        self.state, self.deadline = RunState.DECISION, now + wait_s

    def _ready(self, now: float) -> Outcome:
        self._tries += 1
        self.deadline = now + self._timing.match_sequence_s
        return Outcome(mme.CmValidateCnf(result=mme.VALIDATE_READY))

    def _characterize(self, now: float) -> Outcome:
        """Average per group. Even without a profile the standard requires an answer; vehicles ignore 0 sounds."""
        count = self._profiles
        averages = [total // count if count else 1 for total in self._sums]
        aag = bytes(max(0, min(255, average + self._adjustment_db)) for average in averages)
        self.attenuation_db = round(sum(aag) / mme.GROUPS, 1)
        self._result = mme.CmAttenCharInd(
            source_address=self.pev_mac, run_id=self.run_id, num_sounds=min(count, 255), aag=aag
        )
        self.state = RunState.RESPONSE
        sent = self._send_result(now)
        return Outcome(sent.reply, "attenuation_measured")

    def _send_result(self, now: float) -> Outcome:
        self._tries += 1
        self.deadline = now + self._timing.match_response_s
        return Outcome(self._result)

    def _fail(self, why: str) -> Outcome:
        self.state, self.deadline = RunState.OVER, None
        return Outcome(report=why)
