"""The vehicle's side of matching (ISO 15118-3): pure.

It requests matching, sends sounds, receives each charger's attenuation, and joins the network
of the nearest. If that is ambiguous, it toggles its pilot and selects the charger that counted correctly.
"""

import math
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Literal

import msgspec

from v2g.slac import mme, shared
from v2g.slac.host import Entropy, Host, HostConfig
from v2g.slac.layout import Mme

# The vehicle's side of validation (ISO 15118-3): it toggles its pilot, and selects the charger that counts correctly.
#
# The chargers that attenuation leaves possible are asked, the nearest first. Each is asked to watch its pilot (step 1),
# then notified of the duration (step 2), while the vehicle toggles one to three times.
#
# A charger reports only a number, and may have counted the toggles of another vehicle that validates at the same
# time. So the number is random, and repeated (`rounds`) if other vehicles are received.


class EvStep(msgspec.Struct, frozen=True):
    """Next step: send `request` to the present charger, toggle the pilot, and report its `verdict`.

    `over` ends the validation; `Validation.found` and `unvalidated` have the result.
    """

    request: mme.CmValidateReq | None = None
    toggle: shared.TogglePilot | None = None
    verdict: str = ""
    over: bool = False


class Asking(Enum):
    """What the present charger must send."""

    READY = "the answer to step 1"
    PAUSE = "nothing for now: it is not ready"
    COUNT = "the answer to step 2"


_NOTHING = EvStep()


class EvValidation:
    """Call `begin` once. `deadline` is when `on_timer` must be called."""

    def __init__(
        self, candidates: list[bytes], timing: shared.SlacTiming, *, rounds: int, entropy: Callable[[int], bytes]
    ) -> None:
        """Takes chargers, nearest first, and how often each must count correctly."""
        self.found: bytes | None = None
        self.unvalidated: list[bytes] = []
        """Chargers that cannot or will not watch their pilot, nearest first."""
        self.deadline = 0.0
        self.state = Asking.READY
        self._timing = timing
        self._left = candidates
        self._rounds = rounds
        self._entropy = entropy
        self.asked = b""
        """The present charger."""
        self._won = 0
        self._toggles = 0
        self._tries = 0
        self._pauses = 0

    def begin(self, now: float) -> EvStep:
        """Ask the nearest."""
        return self._next(now)

    def on_confirmation(self, source: bytes, message: mme.CmValidateCnf, now: float) -> EvStep:
        """Process an answer; those of others, and unexpected ones, are ignored."""
        if source != self.asked or message.signal_type != 0:
            return _NOTHING
        if self.state is Asking.COUNT:
            match message.result:
                case mme.VALIDATE_READY if self._tries <= self._timing.match_retries:
                    self._tries += 1  # it has not received step 2
                    return EvStep(request=mme.CmValidateReq(timer=max(0, round(self._window_s * 10) - 1)))
                case mme.VALIDATE_SUCCESS if message.toggle_num == self._toggles:
                    self._won += 1
                    if self._won < self._rounds:
                        self._tries = self._pauses = 0
                        return self._ask(now)
                    self.found = self.asked
                    return EvStep(verdict="validated", over=True)
                case mme.VALIDATE_SUCCESS:
                    return self._next(now, verdict="miscounted")
                case mme.VALIDATE_FAILURE | mme.VALIDATE_NOT_READY:
                    return self._next(now, verdict="failed")
            return _NOTHING
        if self.state is not Asking.READY:
            return _NOTHING
        match message.result:
            case mme.VALIDATE_READY:
                return self._toggle(now)
            case mme.VALIDATE_NOT_READY if self._pauses < self._timing.not_ready_retries:
                self._pauses += 1
                self.state, self.deadline = Asking.PAUSE, now + self._timing.not_ready_pause_s
                return _NOTHING
            case mme.VALIDATE_NOT_READY:
                return self._pass_over("not_ready", now)
            case mme.VALIDATE_FAILURE:
                return self._pass_over("unable", now)
            case mme.VALIDATE_NOT_REQUIRED:
                return self._pass_over("not_required", now)
        return _NOTHING

    def on_timer(self, now: float) -> EvStep:
        """Repeat an unanswered request, C_EV_match_retry times."""
        if self.state is Asking.PAUSE:
            self._tries = 0
            return self._ask(now)
        if self._tries <= self._timing.match_retries:
            return self._ask(now) if self.state is Asking.READY else self._announce(now, self._timing.match_response_s)
        if self.state is Asking.READY:
            return self._pass_over("silent", now)
        # It promised to count and did not answer: not a reason to select it.
        return self._next(now, verdict="no_count")

    def _next(self, now: float, *, verdict: str = "") -> EvStep:
        if not self._left:
            return EvStep(verdict=verdict, over=True)
        self.asked, *self._left = self._left
        self._tries = self._pauses = self._won = 0
        request = self._ask(now).request
        return EvStep(request=request, verdict=verdict)

    def _ask(self, now: float) -> EvStep:
        self._tries += 1
        self.state, self.deadline = Asking.READY, now + self._timing.match_response_s
        return EvStep(request=mme.CmValidateReq())

    def _pass_over(self, verdict: str, now: float) -> EvStep:
        self.unvalidated.append(self.asked)
        return self._next(now, verdict=verdict)

    def _toggle(self, now: float) -> EvStep:
        """Begin step 2."""
        self._toggles, self._tries = 1 + self._entropy(1)[0] % self._timing.max_toggles, 0
        self.state = Asking.COUNT
        message = self._announce(now, self._window_s + self._timing.validation_extra_s + self._timing.match_response_s)
        return EvStep(request=message.request, toggle=shared.TogglePilot(self._toggles, self._timing.toggle_state_s))

    @property
    def _window_s(self) -> float:
        """Return the window, a multiple of 100 ms: each toggle has three parts, B, C and B."""
        return min(math.ceil(self._toggles * 30 * self._timing.toggle_state_s - 1e-9) / 10, shared.MAX_VALIDATION_S)

    def _announce(self, now: float, wait_s: float) -> EvStep:
        self._tries += 1
        self.deadline = now + wait_s
        return EvStep(request=mme.CmValidateReq(timer=max(0, round(self._window_s * 10) - 1)))


class EvState(Enum):
    """State of the vehicle's data link."""

    UNMATCHED = "unmatched"
    ASKING = "asking"  # CM_SLAC_PARM.REQ is sent
    SOUNDING = "sounding"
    COLLECTING = "collecting"  # waiting for CM_ATTEN_CHAR.IND
    VALIDATING = "validating"  # asking chargers to watch their pilot
    CHOOSING = "choosing"  # CM_SLAC_MATCH.REQ is sent
    KEYING = "keying"
    JOINING = "joining"
    MATCHED = "matched"
    PAUSING = "pausing"  # between two attempts
    PAUSED = "paused"  # D-LINK_PAUSE: the key stays
    WAKING = "waking"  # the charger is asked to resume, by a toggle of the pilot
    RESUMING = "resuming"  # waiting for the link of the same network


class EvSlacConfig(HostConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of a vehicle's matching, by the average attenuation of each charger that answers.

    Between the two limits, and for similar chargers, the result is ambiguous (EVSE_POTENTIALLY_FOUND);
    then `validation` decides.
    """

    signal_direct_db: Annotated[float, msgspec.Meta(ge=0, le=127)] = shared.EV_SIGNAL_DIRECT_DB
    """Up to this attenuation a charger is found immediately (EVSE_FOUND)."""
    signal_indirect_db: Annotated[float, msgspec.Meta(ge=0, le=127)] = shared.EV_SIGNAL_INDIRECT_DB
    """Above this attenuation there is no charger (EVSE_NOT_FOUND)."""
    ambiguous_db: Annotated[float, msgspec.Meta(ge=0, le=127)] = shared.EV_AMBIGUOUS_DB
    """Chargers whose attenuations differ by less are ambiguous."""
    validation: Literal["off", "optional", "required"] = "optional"
    """`optional` asks chargers to count toggles of the pilot and falls back to the nearest that cannot, `required`
    never falls back, `off` does not ask and selects the nearest."""


_JOINED = (EvState.KEYING, EvState.JOINING, EvState.MATCHED, EvState.PAUSED, EvState.WAKING, EvState.RESUMING)
"""States in which the modem has, or is getting, a charger's key."""

_CROWDED_S = 30.0
"""How long another matching vehicle may still be active: TT_matching_repetition and a last attempt."""


class EvSlac(Host):
    """Call `start` when the pilot shows 5 %; `leave` when unplugged, at E or F, D-LINK_TERMINATE and D-LINK_ERROR;
    `pause` and `wake_up` for D-LINK_PAUSE and its end; `resume` when the pilot shows 5 % after a pause. See Host."""

    def __init__(self, config: EvSlacConfig, *, mac: bytes, entropy: Entropy) -> None:
        super().__init__(config, mac=mac, entropy=entropy)
        self.state = EvState.UNMATCHED
        self.attempts = 0
        self._config = config
        self._run_id = bytes(8)
        self._tries = 0
        self._batch = 0
        self._repeat_until = 0.0
        self._answered: set[bytes] = set()  # chargers that sent CM_SLAC_PARM.CNF
        self._attenuation: dict[bytes, float] = {}  # charger -> average dB
        self._validation: EvValidation | None = None
        self._chosen = b""
        self._others_at: float | None = None  # when another matching vehicle was last received
        self._connections = 0

    def prepare(self, now: float) -> None:
        """Detect the modem's vendor early; optional."""
        self.modem.detect(now)

    def start(self, now: float) -> None:
        """Begin matching; does nothing if it is in progress."""
        if self.state is EvState.UNMATCHED:
            self._timers.pop("connection", None)
            self._connections = 0
            self._matching(now)

    def leave(self, now: float) -> None:
        """Leave the network or abort the matching, within TP_match_leave (V2G3-A09-121, M09-17, M09-19)."""
        self._timers.pop("connection", None)
        self._leave(now)

    def pause(self, now: float) -> None:
        """D-LINK_PAUSE: stay in the network, unmonitored until `wake_up` or `resume`."""
        if self.state is EvState.MATCHED:
            self.state = EvState.PAUSED
            self.modem.stop_polling()

    def wake_up(self, now: float) -> None:
        """Ask the charger to resume, by toggling the pilot; it answers with 5 %, reported by `resume`."""
        if self.state is EvState.PAUSED:
            self.state = EvState.WAKING
            self._timers["resume"] = now + self._timing.conn_resume_s
            self._actions.append(shared.TogglePilot(1, self._timing.toggle_state_s))

    def resume(self, now: float) -> None:
        """The pilot shows 5 % after a pause: wait for the link of the same network, without a new matching."""
        if self.state in (EvState.PAUSED, EvState.WAKING):
            self._timers.setdefault("resume", now + self._timing.conn_max_comm_s)
            self.state = EvState.RESUMING
            self.modem.start_polling(self._timing.join_poll_s, now)

    # -- messages ---------------------------------------------------------------------------------------------

    def _on_message(self, source: bytes, message: Mme, now: float) -> None:
        match message:
            case mme.CmSlacParmCnf():
                self._on_parameters(source, message, now)
            case mme.CmAttenCharInd():
                self._on_attenuation(source, message, now)
            case mme.CmValidateCnf() if self._validation is not None:
                self._step(self._validation.on_confirmation(source, message, now), now)
            case mme.CmSlacMatchCnf():
                if self.state is not EvState.CHOOSING or source != self._chosen or message.run_id != self._run_id:
                    return
                if message.evse_mac != self._chosen or message.pev_mac != self.mac:
                    return
                self._timers.pop("response", None)
                self.state = EvState.KEYING
                self._timers["join"] = now + self._timing.match_join_s
                self.modem.set_key(message.nid, message.nmk, now)
            case mme.CmSlacParmReq() | mme.CmStartAttenCharInd() | mme.CmMnbcSoundInd():
                self._others_at = now

    def _on_parameters(self, source: bytes, message: mme.CmSlacParmCnf, now: float) -> None:
        """Use the first answer as the signal to sound; store who else will answer (V2G3-A09-09)."""
        if message.run_id != self._run_id or self.state not in (EvState.ASKING, EvState.SOUNDING):
            return
        fixed = mme.CmSlacParmCnf(forwarding_sta=self.mac, run_id=self._run_id)
        if message != fixed:
            self._observe("answer_ignored", evse=source.hex(":"), reason="CM_SLAC_PARM.CNF with a wrong fixed field")
            return
        if len(self._answered) < shared.EV_CANDIDATES:
            self._answered.add(source)
        if self.state is EvState.ASKING:
            self.state, self._batch = EvState.SOUNDING, 0
            self._timers.pop("response", None)
            self._timers["results"] = now + self._timing.atten_results_s
            self._sound(now)

    def _sound(self, now: float) -> None:
        """Send the next message of the batch: three announcements, then ten sounds."""
        if self._batch < self._timing.start_announcements:
            self._send(mme.BROADCAST, mme.CmStartAttenCharInd(forwarding_sta=self.mac, run_id=self._run_id))
        else:
            remaining = self._timing.start_announcements + mme.NUM_SOUNDS - 1 - self._batch
            self._send(mme.BROADCAST, mme.CmMnbcSoundInd(cnt=remaining, run_id=self._run_id, rnd=self._entropy(16)))
        self._batch += 1
        if self._batch < self._timing.start_announcements + mme.NUM_SOUNDS:
            self._timers["batch"] = now + self._timing.batch_interval_s
        else:
            self.state = EvState.COLLECTING

    def _on_attenuation(self, source: bytes, message: mme.CmAttenCharInd, now: float) -> None:
        """Acknowledge every profile, also repeated ones; one of 0 sounds is meaningless (V2G3-A09-36)."""
        if message.run_id != self._run_id or message.source_address != self.mac or message.num_sounds == 0:
            return
        if self.state not in (EvState.SOUNDING, EvState.COLLECTING, EvState.VALIDATING, EvState.CHOOSING):
            return
        self._send(source, mme.CmAttenCharRsp(source_address=self.mac, run_id=self._run_id))
        if self.state in (EvState.VALIDATING, EvState.CHOOSING):
            return
        if source in self._attenuation or len(self._attenuation) < shared.EV_CANDIDATES:
            self._attenuation[source] = sum(message.aag) / mme.GROUPS
        # No other charger is expected, and this one is near: no reason to wait for the timeout.
        everyone = self._answered <= self._attenuation.keys()
        if self.state is EvState.COLLECTING and everyone and self._ranked()[0][1] <= self._config.signal_direct_db:
            self._decide(now)

    def _ranked(self) -> list[tuple[bytes, float]]:
        """Return chargers and their attenuation, the nearest first."""
        return sorted(self._attenuation.items(), key=lambda item: item[1])

    def _decide(self, now: float) -> None:
        for name in ("results", "batch"):
            self._timers.pop(name, None)
        if not self._attenuation:
            self._attempt_failed("no_attenuation_result", now)
            return
        ranked = self._ranked()
        evse, attenuation_db = ranked[0]
        self._observe("attenuation", evse=evse.hex(":"), db=round(attenuation_db, 1), measured=len(ranked))
        if attenuation_db > self._config.signal_indirect_db:
            self._attempt_failed("too_weak", now)
            return
        alone = len(ranked) == 1 or ranked[1][1] - attenuation_db >= self._config.ambiguous_db
        if self._config.validation == "off" or (alone and attenuation_db <= self._config.signal_direct_db):
            self._choose(evse, now)
            return
        possible = [each for each, db in ranked if db <= self._config.signal_indirect_db]
        self._observe("validation_started", chargers=len(possible))
        self.state = EvState.VALIDATING
        crowded = self._others_at is not None and now - self._others_at < _CROWDED_S
        rounds = self._timing.validation_rounds if crowded else 1
        self._validation = EvValidation(possible, self._timing, rounds=rounds, entropy=self._entropy)
        self._step(self._validation.begin(now), now)

    def _choose(self, evse: bytes, now: float) -> None:
        self.state, self._chosen, self._tries = EvState.CHOOSING, evse, 0
        self._ask_match(now)

    def _step(self, step: EvStep, now: float) -> None:
        """Execute the next step of validation."""
        validation = self._validation
        assert validation is not None
        if step.verdict:
            self._observe("validation", verdict=step.verdict)
        if step.request is not None:
            self._send(validation.asked, step.request)
        if step.toggle is not None:
            self._actions.append(step.toggle)
        if not step.over:
            self._timers["validation"] = validation.deadline
            return
        self._validation = None
        self._timers.pop("validation", None)
        if validation.found is not None:
            self._choose(validation.found, now)
        elif validation.unvalidated and self._config.validation == "optional":
            self._observe("unvalidated", evse=validation.unvalidated[0].hex(":"))
            self._choose(validation.unvalidated[0], now)
        else:
            self._attempt_failed("not_validated", now)

    def _ask_match(self, now: float) -> None:
        self._tries += 1
        self._timers["response"] = now + self._timing.match_response_s
        self._send(self._chosen, mme.CmSlacMatchReq(pev_mac=self.mac, evse_mac=self._chosen, run_id=self._run_id))

    # -- attempts ---------------------------------------------------------------------------------------------

    def _matching(self, now: float) -> None:
        self.attempts = 0
        self._repeat_until = now + self._timing.matching_repetition_s
        self._attempt(now)

    def _attempt(self, now: float) -> None:
        self.attempts += 1
        self.state, self._tries = EvState.ASKING, 0
        self._answered, self._attenuation, self._chosen = set(), {}, b""
        self._run_id = self._entropy(8)
        self._observe("matching_started", pev=self.mac.hex(":"), attempt=self.attempts)
        self._ask(now)

    def _ask(self, now: float) -> None:
        self._tries += 1
        self._timers["response"] = now + self._timing.match_response_s
        self._send(mme.BROADCAST, mme.CmSlacParmReq(run_id=self._run_id))

    def _attempt_failed(self, reason: str, now: float) -> None:
        """Start over after a pause, while TT_matching_repetition runs (V2G3-A09-123 to -125)."""
        self._leave(now)
        self._observe("attempt_failed", reason=reason, attempt=self.attempts)
        if now + self._timing.matching_rate_s < self._repeat_until:
            self.state = EvState.PAUSING
            self._timers["pause"] = now + self._timing.matching_rate_s
        else:
            self._actions.append(shared.MatchingFailed(reason))
            self._connect_again(now)

    def _connect_again(self, now: float) -> None:
        if self._connections < self._timing.connection_retries:
            self._connections += 1
            self._timers["connection"] = now + self._timing.connection_pause_s

    def _leave(self, now: float) -> None:
        """Return to unmatched; if the modem is in a charger's network, leave it by a random key."""
        joined = self.state in _JOINED
        self.state, self._validation = EvState.UNMATCHED, None
        for name in ("response", "batch", "results", "validation", "join", "pause", "resume"):
            self._timers.pop(name, None)
        self._drop_map()
        self.modem.stop_polling()
        if joined:
            self._random_key(now)

    def _on_timer(self, name: str, now: float) -> None:
        match name:
            case "batch":
                self._sound(now)
            case "results":
                self._decide(now)
            case "pause":
                self._attempt(now)
            case "join":
                self._attempt_failed("no_link", now)
            case "validation" if self._validation is not None:
                self._step(self._validation.on_timer(now), now)
            case "resume":
                self._leave(now)
                self._actions.append(shared.MatchingFailed("not_resumed"))
                self._connect_again(now)
            case "connection":
                self._matching(now)
            case "response" if self._tries <= self._timing.match_retries:
                if self.state is EvState.ASKING:
                    self._ask(now)
                else:
                    self._ask_match(now)
            case "response":
                asking = self.state is EvState.ASKING
                self._attempt_failed("no_charger_answers" if asking else "no_match_confirmation", now)

    # -- key and link -----------------------------------------------------------------------------------------

    def on_key_set(self, now: float) -> None:
        if self.state is EvState.KEYING:
            self.state = EvState.JOINING
            self.modem.start_polling(self._timing.join_poll_s, now)
        elif self.state not in _JOINED:
            self._observe("network_left")

    def on_modem_silent(self, now: float) -> None:
        if self.state is EvState.KEYING:
            self._attempt_failed("modem_silent", now)

    def on_link(self, up: bool, now: float) -> None:
        if up and self.state is EvState.JOINING:
            self._link_up(self._chosen, now)
        elif up and self.state is EvState.RESUMING:
            self._on_ready(now)
        elif not up and self.state is EvState.MATCHED:
            self._leave(now)
            self._actions.append(shared.LinkLost())
            self._connect_again(now)

    def _on_ready(self, now: float) -> None:
        self.state = EvState.MATCHED
        for name in ("join", "resume"):
            self._timers.pop(name, None)
        nid, nmk = self.modem.key
        attenuation_db = round(self._attenuation[self._chosen], 1)
        self._actions.append(
            shared.Matched(nid=nid, nmk=nmk, evse_mac=self._chosen, pev_mac=self.mac, attenuation_db=attenuation_db)
        )
        self.modem.keep_polling(now)
