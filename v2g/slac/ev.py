"""The vehicle's side of matching (ISO 15118-3): pure.

It asks who is there, sounds, lets every charger within hearing tell how loud that was, and joins the network
of the one that heard it best.
"""

from enum import Enum

import msgspec

from v2g.slac import mme
from v2g.slac.actions import Failed, LinkLost, Matched
from v2g.slac.host import Entropy, Host
from v2g.slac.timing import (
    EV_CANDIDATES,
    EV_SIGNAL_DIRECT_DB,
    EV_SIGNAL_INDIRECT_DB,
    NUM_ANNOUNCEMENTS,
    STANDARD,
    SlacTiming,
)


class EvState(Enum):
    """State of the vehicle's data link."""

    UNMATCHED = "unmatched"
    ASKING = "asking"  # CM_SLAC_PARM.REQ is sent
    SOUNDING = "sounding"
    COLLECTING = "collecting"  # waiting for CM_ATTEN_CHAR.IND
    CHOOSING = "choosing"  # CM_SLAC_MATCH.REQ is sent
    KEYING = "keying"
    JOINING = "joining"
    MATCHED = "matched"
    PAUSING = "pausing"  # between two attempts


class EvSlacConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Average attenuation (dB) up to `signal_direct_db` is a charger found at once; above `signal_indirect_db` none.
    `link_status` is false for modems that cannot be asked whether there is a link (VS_PL_LINK_STATUS)."""

    timing: SlacTiming = STANDARD
    signal_direct_db: float = EV_SIGNAL_DIRECT_DB
    signal_indirect_db: float = EV_SIGNAL_INDIRECT_DB
    link_status: bool = True


class EvSlac(Host):
    """Call `start` when the pilot says 5 %, `leave` when the session is over or the plug is out; see Host."""

    def __init__(self, config: EvSlacConfig, *, mac: bytes, entropy: Entropy) -> None:
        super().__init__(config.timing, mac=mac, entropy=entropy, link_status=config.link_status)
        self.state = EvState.UNMATCHED
        self.attempts = 0
        self._config = config
        self._run_id = bytes(8)
        self._tries = 0
        self._batch = 0
        self._repeat_until = 0.0
        self._answered: set[bytes] = set()  # chargers that sent CM_SLAC_PARM.CNF
        self._attenuation: dict[bytes, float] = {}  # charger -> average dB
        self._chosen = b""

    def start(self, now: float) -> None:
        """Begin matching; nothing happens when it is already under way."""
        if self.state is EvState.UNMATCHED:
            self.attempts = 0
            self._repeat_until = now + self._timing.matching_repetition_s
            self._attempt(now)

    def leave(self, now: float) -> None:
        """Leave the network or break off the matching (D-LINK_TERMINATE, D-LINK_ERROR, plug out)."""
        joined = self.state in (EvState.KEYING, EvState.JOINING, EvState.MATCHED)
        self._idle()
        if joined:
            self._random_key(now)

    # -- messages ---------------------------------------------------------------------------------------------

    def _on_message(self, source: bytes, message: mme.Mme, now: float) -> None:
        match message:
            case mme.CmSlacParmCnf():
                self._on_parameters(source, message, now)
            case mme.CmAttenCharInd():
                self._on_attenuation(source, message, now)
            case mme.CmSlacMatchCnf():
                self._on_confirmed(source, message, now)

    def _on_parameters(self, source: bytes, message: mme.CmSlacParmCnf, now: float) -> None:
        """Take the first answer as the signal to sound; keep in mind who else will answer (V2G3-A09-09)."""
        if message.run_id != self._run_id or self.state not in (EvState.ASKING, EvState.SOUNDING):
            return
        fixed = mme.CmSlacParmCnf(forwarding_sta=self.mac, run_id=self._run_id)
        if message != fixed:
            self._observe("answer_ignored", evse=source.hex(":"), reason="CM_SLAC_PARM.CNF with a wrong fixed field")
            return
        if len(self._answered) < EV_CANDIDATES:
            self._answered.add(source)
        if self.state is EvState.ASKING:
            self.state, self._batch = EvState.SOUNDING, 0
            self._timers.pop("response", None)
            self._timers["results"] = now + self._timing.atten_results_s
            self._sound(now)

    def _sound(self, now: float) -> None:
        """Send the next message of the batch: three announcements, then ten sounds."""
        if self._batch < NUM_ANNOUNCEMENTS:
            self._send(mme.BROADCAST, mme.CmStartAttenCharInd(forwarding_sta=self.mac, run_id=self._run_id))
        else:
            remaining = NUM_ANNOUNCEMENTS + mme.NUM_SOUNDS - 1 - self._batch
            self._send(mme.BROADCAST, mme.CmMnbcSoundInd(cnt=remaining, run_id=self._run_id, rnd=self._entropy(16)))
        self._batch += 1
        if self._batch < NUM_ANNOUNCEMENTS + mme.NUM_SOUNDS:
            self._timers["batch"] = now + self._timing.batch_interval_s
        else:
            self.state = EvState.COLLECTING

    def _on_attenuation(self, source: bytes, message: mme.CmAttenCharInd, now: float) -> None:
        """Acknowledge every profile, also repeated ones; one of 0 sounds says nothing (V2G3-A09-36)."""
        if message.run_id != self._run_id or message.source_address != self.mac or message.num_sounds == 0:
            return
        if self.state not in (EvState.SOUNDING, EvState.COLLECTING, EvState.CHOOSING):
            return
        self._send(source, mme.CmAttenCharRsp(source_address=self.mac, run_id=self._run_id))
        if self.state is EvState.CHOOSING:
            return
        if source in self._attenuation or len(self._attenuation) < EV_CANDIDATES:
            self._attenuation[source] = sum(message.aag) / mme.GROUPS
        # Nobody else is expected, and this one is near: no reason to wait for the timeout.
        everyone = self._answered <= self._attenuation.keys()
        if self.state is EvState.COLLECTING and everyone and self._best()[1] <= self._config.signal_direct_db:
            self._decide(now)

    def _best(self) -> tuple[bytes, float]:
        return min(self._attenuation.items(), key=lambda item: item[1])

    def _decide(self, now: float) -> None:
        for name in ("results", "batch"):
            self._timers.pop(name, None)
        if not self._attenuation:
            self._attempt_failed("no_attenuation_result", now)
            return
        evse, attenuation_db = self._best()
        self._observe("attenuation", evse=evse.hex(":"), db=round(attenuation_db, 1), heard=len(self._attenuation))
        if attenuation_db > self._config.signal_indirect_db:
            self._attempt_failed("too_weak", now)
            return
        self.state, self._chosen, self._tries = EvState.CHOOSING, evse, 0
        self._ask_match(now)

    def _ask_match(self, now: float) -> None:
        self._tries += 1
        self._timers["response"] = now + self._timing.match_response_s
        self._send(self._chosen, mme.CmSlacMatchReq(pev_mac=self.mac, evse_mac=self._chosen, run_id=self._run_id))

    def _on_confirmed(self, source: bytes, message: mme.CmSlacMatchCnf, now: float) -> None:
        if self.state is not EvState.CHOOSING or source != self._chosen or message.run_id != self._run_id:
            return
        if message.evse_mac != self._chosen or message.pev_mac != self.mac:
            return
        self._timers.pop("response", None)
        self.state = EvState.KEYING
        self._timers["join"] = now + self._timing.match_join_s
        self._set_key(message.nid, message.nmk, now)

    # -- attempts ---------------------------------------------------------------------------------------------

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
        """Start over after a pause, as long as TT_matching_repetition runs (V2G3-A09-123 to -125)."""
        joined = self.state in (EvState.KEYING, EvState.JOINING)
        self._idle()
        if joined:
            self._random_key(now)
        self._observe("attempt_failed", reason=reason, attempt=self.attempts)
        if now + self._timing.matching_rate_s < self._repeat_until:
            self.state = EvState.PAUSING
            self._timers["pause"] = now + self._timing.matching_rate_s
        else:
            self._actions.append(Failed(reason))

    def _idle(self) -> None:
        self.state = EvState.UNMATCHED
        for name in ("response", "batch", "results", "join", "pause"):
            self._timers.pop(name, None)
        self._stop_polling()

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
            case "response" if self._tries <= self._timing.match_retries:
                if self.state is EvState.ASKING:
                    self._ask(now)
                else:
                    self._ask_match(now)
            case "response":
                asking = self.state is EvState.ASKING
                self._attempt_failed("no_charger_answers" if asking else "no_match_confirmation", now)

    # -- key and link -----------------------------------------------------------------------------------------

    def _on_key_set(self, now: float) -> None:
        if self.state is EvState.KEYING:
            self.state = EvState.JOINING
            self._start_polling(self._timing.join_poll_s, now)

    def _on_modem_silent(self, now: float) -> None:
        if self.state is EvState.KEYING:
            self._attempt_failed("modem_silent", now)

    def _on_link(self, up: bool, now: float) -> None:
        if up and self.state is EvState.JOINING:
            self.state = EvState.MATCHED
            self._timers.pop("join", None)
            nid, nmk = self._key
            attenuation_db = round(self._attenuation[self._chosen], 1)
            self._actions.append(
                Matched(nid=nid, nmk=nmk, evse_mac=self._chosen, pev_mac=self.mac, attenuation_db=attenuation_db)
            )
            self._keep_polling(now)
        elif not up and self.state is EvState.MATCHED:
            self._idle()
            self._random_key(now)
            self._actions.append(LinkLost())
