"""The charger's side of matching (ISO 15118-3): pure.

The modem gets a fresh key before a vehicle comes; then any number of vehicles within hearing may run the
matching, and the one that chooses this charger gets the key.
"""

from enum import Enum

import msgspec

from v2g.slac import mme
from v2g.slac.actions import Failed, LinkLost, Matched, RestartPilot
from v2g.slac.evse_run import EvseRun, Outcome, RunState
from v2g.slac.host import Entropy, Host
from v2g.slac.pilot import PilotState
from v2g.slac.timing import EVSE_PARALLEL, STANDARD, SlacTiming


class EvseState(Enum):
    """State of the charger's data link."""

    UNMATCHED = "unmatched"  # no vehicle: CM_SLAC_PARM.REQ is not answered
    MATCHING = "matching"
    JOINING = "joining"  # CM_SLAC_MATCH.CNF is sent, the link is not up
    MATCHED = "matched"


class EvseSlacConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`attenuation_adjustment_db` (-40..40) makes up for losses between socket and modem. `link_status` is false for
    modems that cannot be asked whether there is a link (VS_PL_LINK_STATUS)."""

    timing: SlacTiming = STANDARD
    attenuation_adjustment_db: int = 0
    link_status: bool = True


class EvseSlac(Host):
    """Call `prepare` once, then `connect` and `disconnect` as the control pilot says; see Host for the rest."""

    def __init__(self, config: EvseSlacConfig, *, mac: bytes, entropy: Entropy) -> None:
        super().__init__(config.timing, mac=mac, entropy=entropy, link_status=config.link_status)
        self.state = EvseState.UNMATCHED
        self._config = config
        self._runs: dict[tuple[bytes, bytes], EvseRun] = {}
        self._matched: EvseRun | None = None
        self._restarts = 0
        self._key_used = False

    def prepare(self, now: float) -> None:
        """Give the modem a fresh key, before any vehicle comes."""
        self._fresh_key(now)

    def connect(self, now: float) -> None:
        """A vehicle is at the plug (pilot B, C or D): be ready to match."""
        if self.state is not EvseState.UNMATCHED:
            return
        if not self._keyed and "key" not in self._timers:
            self._fresh_key(now)  # the modem was silent before
        self._restarts = 0
        self._listen(now)

    def disconnect(self, now: float) -> None:
        """The vehicle is gone, or the session ended: leave the network and forget everything (TP_match_leave)."""
        self._reset()
        self.state = EvseState.UNMATCHED
        if self._key_used:
            self._fresh_key(now)

    def pilot(self, state: PilotState, now: float) -> None:
        """Tell a state of the control pilot, for validations under way."""
        for run in self._runs.values():
            run.on_pilot(state, now)

    # -- runs -------------------------------------------------------------------------------------------------

    def _on_message(self, source: bytes, message: mme.Mme, now: float) -> None:
        match message:
            case mme.CmSlacParmReq():
                self._on_parameters(source, message.run_id, now)
            case mme.CmSlacMatchReq():
                self._on_match(source, message, now)
            case mme.CmAttenProfileInd():
                for run in [r for r in self._runs.values() if r.pev_mac == message.pev_mac]:
                    self._apply(run, run.on_profile(message, now))
            case mme.CmValidateReq():
                for run in [r for r in self._runs.values() if r.pev_mac == source]:
                    free = not any(other.validating for other in self._runs.values() if other is not run)
                    self._apply(run, run.on_validate(message, now, free=free))
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
            case mme.CmMnbcSoundInd():
                self._apply(run, run.on_sound(now))
            case mme.CmAttenCharRsp():
                self._apply(run, run.on_response(message, now))

    def _on_parameters(self, source: bytes, run_id: bytes, now: float) -> None:
        """Begin a run, or begin it anew (V2G3-A09-16). While joining, only the vehicle being joined may start over."""
        if self.state is EvseState.JOINING and self._matched is not None and self._matched.pev_mac == source:
            self._reset()
            self.state = EvseState.MATCHING
        if self.state is not EvseState.MATCHING:
            return
        for key in [key for key in self._runs if key[0] == source]:
            del self._runs[key]
        if len(self._runs) >= EVSE_PARALLEL:
            self._observe("run_refused", pev=source.hex(":"), runs=len(self._runs))
            return
        self._timers.pop("slac_init", None)
        run = EvseRun(source, run_id, self._timing, now, adjustment_db=self._config.attenuation_adjustment_db)
        self._runs[source, run_id] = run
        self._observe("matching_started", pev=source.hex(":"), runs=len(self._runs))
        self._send(source, run.parameters())

    def _on_match(self, source: bytes, message: mme.CmSlacMatchReq, now: float) -> None:
        if message.evse_mac != self.mac or message.pev_mac != source or not self._keyed:
            return
        matched = self._matched
        if matched is not None:
            if (source, message.run_id) == (matched.pev_mac, matched.run_id):
                self._confirm(matched)
            return
        run = self._runs.get((source, message.run_id))
        # A receipt may get lost, but who asks to match has seen the profile.
        if self.state is not EvseState.MATCHING or run is None:
            return
        if run.state not in (RunState.DECISION, RunState.RESPONSE):
            return
        self._runs = {}
        self._timers.pop("runs", None)
        self._matched, self._key_used = run, True
        self.state = EvseState.JOINING
        self._confirm(run)
        self._timers["join"] = now + self._timing.match_join_s
        self._start_polling(self._timing.join_poll_s, now)

    def _confirm(self, run: EvseRun) -> None:
        nid, nmk = self._key
        self._send(
            run.pev_mac,
            mme.CmSlacMatchCnf(pev_mac=run.pev_mac, evse_mac=self.mac, run_id=run.run_id, nid=nid, nmk=nmk),
        )

    def _apply(self, run: EvseRun, outcome: Outcome) -> None:
        if outcome.reply is not None:
            self._send(run.pev_mac, outcome.reply)
        if run.state is RunState.OVER:
            self._runs.pop((run.pev_mac, run.run_id), None)
            self._observe("run_failed", pev=run.pev_mac.hex(":"), reason=outcome.report)
        elif outcome.report:
            self._observe(outcome.report, pev=run.pev_mac.hex(":"), sounds=run.sounds, db=run.attenuation_db)

    def _arm(self, now: float) -> None:
        """Keep one timer for all runs; with the last run gone, wait for the vehicle to start over."""
        due = [run.deadline for run in self._runs.values() if run.deadline is not None]
        if due:
            self._timers["runs"] = min(due)
            return
        self._timers.pop("runs", None)
        if self.state is EvseState.MATCHING and not self._runs:
            self._timers.setdefault("slac_init", now + self._timing.evse_slac_init_s)

    # -- timers, key, link ------------------------------------------------------------------------------------

    def _on_timer(self, name: str, now: float) -> None:
        if name == "runs":
            for run in [r for r in self._runs.values() if r.deadline is not None and r.deadline <= now]:
                self._apply(run, run.on_timer(now))
            self._arm(now)
        elif name == "slac_init":
            self._vehicle_silent(now)
        elif name == "join":
            self._observe("link_failed", reason="no_link")
            self._start_over("no_link", now)

    def _vehicle_silent(self, now: float) -> None:
        """Wake the vehicle up to C_sequ_retry times, then give up but go on listening: some start after minutes."""
        if self._restarts >= self._timing.sequence_retries:
            self._actions.append(Failed("vehicle_silent"))
            return
        self._restarts += 1
        self._actions.append(RestartPilot("vehicle_silent"))
        self._timers["slac_init"] = now + self._timing.step_ef_s + self._timing.evse_slac_init_s

    def _start_over(self, reason: str, now: float) -> None:
        self._reset()
        self._fresh_key(now)
        self._actions.append(RestartPilot(reason))
        self._listen(now)

    def _listen(self, now: float) -> None:
        self.state = EvseState.MATCHING
        self._timers["slac_init"] = now + self._timing.evse_slac_init_s

    def _reset(self) -> None:
        self._runs, self._matched = {}, None
        for name in ("runs", "slac_init", "join"):
            self._timers.pop(name, None)
        self._stop_polling()

    def _fresh_key(self, now: float) -> None:
        self._key_used = False
        self._random_key(now)

    def _on_key_set(self, now: float) -> None:
        self._observe("key_set", nid=self._key[0].hex())

    def _on_modem_silent(self, now: float) -> None:
        self._actions.append(Failed("modem_silent"))

    def _on_link(self, up: bool, now: float) -> None:
        matched = self._matched
        if matched is None:
            return
        if up and self.state is EvseState.JOINING:
            self.state = EvseState.MATCHED
            del self._timers["join"]
            nid, nmk = self._key
            self._actions.append(
                Matched(
                    nid=nid, nmk=nmk, evse_mac=self.mac, pev_mac=matched.pev_mac, attenuation_db=matched.attenuation_db
                )
            )
            self._keep_polling(now)
        elif not up and self.state is EvseState.MATCHED:
            self._actions.append(LinkLost())
            self._start_over("link_lost", now)
