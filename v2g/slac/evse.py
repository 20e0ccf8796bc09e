"""The charger's side of matching (ISO 15118-3): pure.

The modem gets a fresh key before a vehicle arrives; then any number of vehicles in range may run the
matching, and the one that selects this charger gets the key.
"""

from enum import Enum
from typing import Annotated, Literal

import msgspec

from v2g.iec61851.pilot import BcbCounter, PilotState
from v2g.slac import mme, shared, vendor
from v2g.slac.host import Entropy, Host, HostConfig
from v2g.slac.layout import Mme

# One matching run at the charger: one vehicle address and RunID, from CM_SLAC_PARM.REQ to CM_SLAC_MATCH.REQ.
#
# A charger also receives the vehicles of its neighbours, so several independent runs are active at once.


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


class MatchingOutcome(msgspec.Struct, frozen=True):
    """Result of a step: a message for the vehicle, or None; and a report, or an empty string."""

    reply: Mme | None = None
    report: str = ""


_NOTHING = MatchingOutcome()

ValidationPolicy = Literal["supported", "not_required", "failure"]


class EvseRun:
    """See the module. `deadline` is when `on_timer` must be called, None when never."""

    def __init__(
        self, pev_mac: bytes, run_id: bytes, timing: shared.SlacTiming, now: float, *, adjustment_db: int = 0
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

    def on_sound(self, now: float) -> MatchingOutcome:
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

    def on_profile(self, aag: bytes, now: float) -> MatchingOutcome:
        """Add the modem's measurement of one sound, dB for each of the 58 groups."""
        if self.state not in (RunState.SOUNDS, RunState.PROFILES):
            return _NOTHING
        self._profiles += 1
        for group, value in enumerate(aag):
            self._sums[group] += value
        if self._profiles >= mme.NUM_SOUNDS:
            return self._characterize(now)
        return _NOTHING

    def on_response(self, message: mme.CmAttenCharRsp, now: float) -> MatchingOutcome:
        """Process the vehicle's receipt for the profile."""
        if self.state is not RunState.RESPONSE or message.source_address != self.pev_mac:
            return _NOTHING
        if message.result != 0:
            return self._fail("profile_refused")
        self._await_decision(now, self._timing.evse_match_session_s)
        return _NOTHING

    def on_validate(
        self, message: mme.CmValidateReq, now: float, *, policy: ValidationPolicy, free: bool
    ) -> MatchingOutcome:
        """Answer either step; `free` is whether the pilot is at rest in B and not watched by another run."""
        if message.result != mme.VALIDATE_READY or message.signal_type != 0:
            return self._fail("validation_broken_off") if self.validating else _NOTHING
        if message.timer and self.state is RunState.TOGGLE:
            window_s = min((message.timer + 1) * 0.1, shared.MAX_VALIDATION_S)
            self.state, self.deadline = RunState.WINDOW, now + window_s + self._timing.validation_extra_s
            return _NOTHING
        if message.timer and self.state is RunState.DECISION and self._counted is not None:
            return MatchingOutcome(self._counted)  # it has not received the result
        if self.state not in (RunState.DECISION, RunState.TOGGLE) or message.timer:
            return _NOTHING
        if policy != "supported":
            result = mme.VALIDATE_NOT_REQUIRED if policy == "not_required" else mme.VALIDATE_FAILURE
            return MatchingOutcome(mme.CmValidateCnf(result=result))
        if not free:
            self._await_decision(now, self._timing.evse_match_session_s)  # the vehicle may wait until it asks again
            return MatchingOutcome(mme.CmValidateCnf(result=mme.VALIDATE_NOT_READY))
        if self.state is RunState.DECISION:
            self._toggles, self._counted = BcbCounter(), None
            self.on_pilot(PilotState.B, now)
        self.state, self._tries = RunState.TOGGLE, 0
        return self._ready(now)

    def on_pilot(self, state: PilotState, now: float) -> None:
        """Count toggles of the pilot from step 1 on, so that the wire and the link cannot race."""
        self._toggles.on_state(state, now)
        self._pilot = state

    def on_timer(self, now: float) -> MatchingOutcome:
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
            return MatchingOutcome(self._counted, "validation_counted")
        return self._fail(f"no {self.state.value}")

    def _await_decision(self, now: float, wait_s: float) -> None:
        self.state, self.deadline = RunState.DECISION, now + wait_s

    def _ready(self, now: float) -> MatchingOutcome:
        self._tries += 1
        self.deadline = now + self._timing.match_sequence_s
        return MatchingOutcome(mme.CmValidateCnf(result=mme.VALIDATE_READY))

    def _characterize(self, now: float) -> MatchingOutcome:
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
        return MatchingOutcome(sent.reply, "attenuation_measured")

    def _send_result(self, now: float) -> MatchingOutcome:
        self._tries += 1
        self.deadline = now + self._timing.match_response_s
        return MatchingOutcome(self._result)

    def _fail(self, why: str) -> MatchingOutcome:
        self.state, self.deadline = RunState.OVER, None
        return MatchingOutcome(report=why)


class EvseSlacState(Enum):
    """State of the charger's data link."""

    UNMATCHED = "unmatched"  # no vehicle: CM_SLAC_PARM.REQ is not answered
    MATCHING = "matching"
    JOINING = "joining"  # CM_SLAC_MATCH.CNF is sent, the link is not up
    MATCHED = "matched"
    PAUSED = "paused"  # D-LINK_PAUSE: the oscillator is off, the key stays
    RESUMING = "resuming"  # it is on again: waiting for the link of the same network


class EvseSlacConfig(HostConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of a charger's matching."""

    attenuation_adjustment_db: Annotated[int, msgspec.Meta(ge=-40, le=40)] = 0
    """Added to the modem's measurement, for the losses between socket and modem."""
    validation: ValidationPolicy = "supported"
    """Answer to a vehicle that asks to count its pilot's toggles: they are counted (`supported`), or it gets
    `not_required` or `failure`, as from chargers without support."""
    vendor_profiles: bool = False
    """Accept attenuation also from the message 0xA14E that an AR7420 sends instead of CM_ATTEN_PROFILE.IND: unverified,
    for the laboratory."""


_AT_REST_S = 0.5  # longer than any part of a toggle

_RUNS_OF_ONE = 2  # runs of one vehicle: the present one, and one begun by a late frame of the last attempt


class EvseSlac(Host):
    """Call `prepare` once, then `connect` and `disconnect` by the control pilot, and `pilot` with each of its
    states; `error` for D-LINK_ERROR, `pause` and `wake_up` for D-LINK_PAUSE and its end; see Host for the rest."""

    def __init__(self, config: EvseSlacConfig, *, mac: bytes, entropy: Entropy) -> None:
        super().__init__(config, mac=mac, entropy=entropy)
        self.state = EvseSlacState.UNMATCHED
        self._config = config
        self._runs: dict[tuple[bytes, bytes], EvseRun] = {}
        self._matched: EvseRun | None = None
        self._restarts = 0
        self._key_used = False
        self._pilot, self._pilot_since = PilotState.A, 0.0
        self._toggles = BcbCounter()  # of a vehicle that requests to resume
        self._oscillator_from = 0.0  # when it may start again

    def prepare(self, now: float) -> None:
        """Set a fresh key in the modem, before any vehicle arrives."""
        self._fresh_key(now)

    def connect(self, now: float) -> None:
        """A vehicle is plugged in (pilot B, C or D): be ready to match."""
        if self.state is not EvseSlacState.UNMATCHED:
            return
        if not self.modem.keyed and not self.modem.busy:
            self._fresh_key(now)  # the modem did not respond before
        self._restarts = 0
        self._listen(now)

    def disconnect(self, now: float) -> None:
        """The vehicle is unplugged, the pilot is at E or F, or the session ended (D-LINK_TERMINATE): leave the network,
        discard everything, including a paused session (TP_match_leave, V2G3-M09-19)."""
        self._reset()
        self.state = EvseSlacState.UNMATCHED
        if self._key_used:
            self._fresh_key(now)

    def error(self, reason: str, now: float) -> None:
        """D-LINK_ERROR: leave the network, and let the vehicle start over (V2G3-M07-04 to -12)."""
        if self.state is not EvseSlacState.UNMATCHED:
            self._start_over(reason, now)

    def pause(self, now: float) -> None:
        """D-LINK_PAUSE: oscillator off, the network stays, unmonitored until the session resumes."""
        if self.state is EvseSlacState.MATCHED:
            self.state = EvseSlacState.PAUSED
            self.modem.stop_polling()
            self._toggles = BcbCounter()
            self._toggles.on_state(self._pilot, now)
            self._oscillator_from = now + self._timing.step_x1_s
            self._actions.append(shared.OscillatorOff())

    def wake_up(self, now: float) -> None:
        """The charger resumes after a pause: oscillator on, not earlier than T_step_X1 after it was switched off."""
        if self.state is EvseSlacState.PAUSED:
            self._timers.setdefault("oscillator", max(now, self._oscillator_from))

    def pilot(self, state: PilotState, now: float) -> None:
        """Report each state of the control pilot: toggles validate, and end a pause."""
        if state is not self._pilot:
            self._pilot, self._pilot_since = state, now
        for run in self._runs.values():
            if run.validating:
                run.on_pilot(state, now)
        if self.state is EvseSlacState.PAUSED:
            self._toggles.on_state(state, now)
            if self._toggles.count:
                self.wake_up(now)

    # -- runs -------------------------------------------------------------------------------------------------

    def _on_message(self, source: bytes, message: Mme, now: float) -> None:
        match message:
            case mme.CmSlacParmReq():
                self._on_parameters(source, message.run_id, now)
            case mme.CmSlacMatchReq():
                self._on_match(source, message, now)
            case mme.CmAttenProfileInd():
                self._on_profile(message.pev_mac, message.aag, now)
            case vendor.VsAttenuationCharacteristicsInd():
                if self._config.vendor_profiles and message.num_groups == mme.GROUPS:
                    self._on_profile(message.pev_mac, message.aag, now)
            case mme.CmValidateReq():
                for run in [r for r in self._runs.values() if r.pev_mac == source]:
                    alone = not any(other.validating for other in self._runs.values() if other is not run)
                    at_rest = self._pilot is PilotState.B and now - self._pilot_since >= _AT_REST_S
                    free = run.validating or (alone and at_rest)
                    self._apply(run, run.on_validate(message, now, policy=self._config.validation, free=free))
            case mme.CmStartAttenCharInd() | mme.CmMnbcSoundInd() | mme.CmAttenCharRsp():
                run_of = self._runs.get((source, message.run_id))
                if run_of is not None:
                    self._on_run_message(run_of, message, now)
            case _:
                return
        self._arm(now)

    def _on_run_message(
        self, run: EvseRun, message: mme.CmStartAttenCharInd | mme.CmMnbcSoundInd | mme.CmAttenCharRsp, now: float
    ) -> None:
        match message:
            case mme.CmStartAttenCharInd():
                run.on_start(message, now)
                if self.state is EvseSlacState.JOINING and run.state is RunState.SOUNDS:
                    # the vehicle has started over: its key is replaced with the next match
                    self._matched = None
                    self._timers.pop("join", None)
                    self._drop_map()
                    self.modem.stop_polling()
                    self.state = EvseSlacState.MATCHING
            case mme.CmMnbcSoundInd():
                self._apply(run, run.on_sound(now))
            case mme.CmAttenCharRsp():
                self._apply(run, run.on_response(message, now))

    def _on_profile(self, pev_mac: bytes, aag: bytes, now: float) -> None:
        """A profile identifies the vehicle, not its run."""
        for run in [r for r in self._runs.values() if r.pev_mac == pev_mac]:
            self._apply(run, run.on_profile(aag, now))

    def _on_parameters(self, source: bytes, run_id: bytes, now: float) -> None:
        """Begin a run, or begin it again (V2G3-A09-16). While joining, only the vehicle being joined may start over.

        It has done so when it sounds again; a late copy of an earlier request changes nothing.
        """
        joining = self.state is EvseSlacState.JOINING and self._matched is not None and self._matched.pev_mac == source
        if self.state is not EvseSlacState.MATCHING and not joining:
            return
        self._runs.pop((source, run_id), None)
        of_one = [key for key in self._runs if key[0] == source]
        if len(of_one) >= _RUNS_OF_ONE:
            del self._runs[of_one[0]]
        vehicles = {key[0] for key in self._runs} - {source}
        if len(vehicles) >= self._timing.parallel_runs:
            self._observe("run_refused", pev=source.hex(":"), runs=len(vehicles))
            return
        self._timers.pop("slac_init", None)
        run = EvseRun(source, run_id, self._timing, now, adjustment_db=self._config.attenuation_adjustment_db)
        self._runs[source, run_id] = run
        self._observe("matching_started", pev=source.hex(":"), runs=len(self._runs))
        self._send(source, run.parameters())

    def _on_match(self, source: bytes, message: mme.CmSlacMatchReq, now: float) -> None:
        if message.evse_mac != self.mac or message.pev_mac != source or not self.modem.keyed:
            return
        matched = self._matched
        if matched is not None:
            if (source, message.run_id) == (matched.pev_mac, matched.run_id):
                self._confirm(matched)
            return
        run = self._runs.get((source, message.run_id))
        # A receipt may be lost, but a vehicle that requests the match has received the profile.
        if self.state is not EvseSlacState.MATCHING or run is None:
            return
        if run.state not in (RunState.DECISION, RunState.RESPONSE):
            return
        self._runs = {}
        self._timers.pop("runs", None)
        self._matched, self._key_used = run, True
        self.state = EvseSlacState.JOINING
        self._confirm(run)
        self._timers["join"] = now + self._timing.match_join_s
        self.modem.start_polling(self._timing.join_poll_s, now)

    def _confirm(self, run: EvseRun) -> None:
        nid, nmk = self.modem.key
        self._send(
            run.pev_mac, mme.CmSlacMatchCnf(pev_mac=run.pev_mac, evse_mac=self.mac, run_id=run.run_id, nid=nid, nmk=nmk)
        )

    def _apply(self, run: EvseRun, outcome: MatchingOutcome) -> None:
        if outcome.reply is not None:
            self._send(run.pev_mac, outcome.reply)
        if run.state is RunState.OVER:
            self._runs.pop((run.pev_mac, run.run_id), None)
            self._observe("run_failed", pev=run.pev_mac.hex(":"), reason=outcome.report)
        elif outcome.report:
            self._observe(outcome.report, pev=run.pev_mac.hex(":"), sounds=run.sounds, db=run.attenuation_db)

    def _arm(self, now: float) -> None:
        """Maintain one timer for all runs; without a run, wait for the vehicle to start over."""
        due = [run.deadline for run in self._runs.values() if run.deadline is not None]
        if due:
            self._timers["runs"] = min(due)
            return
        self._timers.pop("runs", None)
        if self.state is EvseSlacState.MATCHING and not self._runs:
            self._timers.setdefault("slac_init", now + self._timing.evse_slac_init_s)

    # -- timers, key, link ------------------------------------------------------------------------------------

    def _on_timer(self, name: str, now: float) -> None:
        if name == "runs":
            for run in [r for r in self._runs.values() if r.deadline is not None and r.deadline <= now]:
                self._apply(run, run.on_timer(now))
            self._arm(now)
        elif name == "slac_init":
            # wake the vehicle up to C_sequ_retry times, then report failure but keep listening: some start late
            if self._restarts >= self._timing.sequence_retries:
                self._actions.append(shared.MatchingFailed("vehicle_silent"))
                return
            self._restarts += 1
            self._actions.append(shared.RestartPilot("vehicle_silent"))
            restart_s = self._timing.step_x1_s + self._timing.step_ef_s
            self._timers["slac_init"] = now + restart_s + self._timing.evse_slac_init_s
        elif name == "oscillator":
            # resume after a pause. A vehicle that does not is asked to start over, as after a failure
            self.state = EvseSlacState.RESUMING
            self._actions.append(shared.OscillatorOn())
            self._timers["resume"] = now + self._timing.conn_max_comm_s
            self.modem.start_polling(self._timing.join_poll_s, now)
        elif name in ("join", "resume"):
            reason = "no_link" if name == "join" else "not_resumed"
            self._observe("link_failed", reason=reason)
            self._start_over(reason, now)

    def _start_over(self, reason: str, now: float) -> None:
        self._reset()
        self._fresh_key(now)
        self._actions.append(shared.RestartPilot(reason))
        self._listen(now)

    def _listen(self, now: float) -> None:
        self.state = EvseSlacState.MATCHING
        self._timers["slac_init"] = now + self._timing.evse_slac_init_s

    def _reset(self) -> None:
        self._runs, self._matched = {}, None
        for name in ("runs", "slac_init", "join", "oscillator", "resume"):
            self._timers.pop(name, None)
        self._drop_map()
        self.modem.stop_polling()

    def _fresh_key(self, now: float) -> None:
        self._key_used = False
        self._random_key(now)

    def on_key_set(self, now: float) -> None:
        self._observe("key_set", nid=self.modem.key[0].hex())
        self.modem.detect(now)

    def on_modem_silent(self, now: float) -> None:
        self._actions.append(shared.MatchingFailed("modem_silent"))

    def on_link(self, up: bool, now: float) -> None:
        if up and self.state is EvseSlacState.JOINING and self._matched is not None:
            self._link_up(self._matched.pev_mac, now)
        elif up and self.state is EvseSlacState.RESUMING:
            self._on_ready(now)
        elif not up and self.state is EvseSlacState.MATCHED:
            self._actions.append(shared.LinkLost())
            self._start_over("link_lost", now)

    def _on_ready(self, now: float) -> None:
        matched = self._matched
        assert matched is not None
        self.state, self._runs = EvseSlacState.MATCHED, {}
        for name in ("join", "resume", "runs"):
            self._timers.pop(name, None)
        nid, nmk = self.modem.key
        self._actions.append(
            shared.Matched(
                nid=nid, nmk=nmk, evse_mac=self.mac, pev_mac=matched.pev_mac, attenuation_db=matched.attenuation_db
            )
        )
        self.modem.keep_polling(now)
