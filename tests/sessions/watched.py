"""Vehicle and charger joined in memory, under watch: what must never happen is looked for at every step.

The judge is the plant between them and a list of what was said, not the cores: who was authorised, what limits were
told to whom and when, what the vehicle has signed, what flows, and a journal that is proved at the end.
"""

from collections.abc import Callable
from typing import Any

from evcc.session import ports as ev
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import SeccConfig
from tests.sessions.joined import AIR, Joined
from v2g.energy.limits import OPERATOR, SITE, Limit
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.records import SessionEnded, SessionStarted
from v2g.hardware.faults import FAULTS
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.session import Command, Fact
from v2g.observe import Observe

STILL_MA = 1_000
"""Less than this is no load for a contactor."""

LOOP_S = 1.0
"""What a vehicle sent longer ago it has sent anew, or its charger has left it."""

SKEW_MS = 2_000
AC_REACTION_S = 16.0
"""How long an AC vehicle may draw more than it is allowed: by then its charge point has opened."""


class Watched(Joined):
    """A pair whose every step is judged. `ledger` is the journal of the session, also over a pause."""

    def __init__(self, pki: PkiTree, utc_ms: int, *, charger: SeccConfig, **options: Any) -> None:
        before = options.get("before")
        self.told_limits = {SITE: (22_000, 15_000), OPERATOR: (22_000, 8_000)}
        self.decide: Callable[[Command], Fact | None] | None = None
        self._came_back = isinstance(before, Watched)
        self.closed_journal = False
        self.keeps = False
        self.allowed = isinstance(before, Watched)
        self._above_since: float | None = None
        self._bore: list[tuple[float, ev.BatteryState]] = []
        self.emergency = False
        super().__init__(pki, utc_ms, charger=charger, **options)

    # -- what is commanded --------------------------------------------------------------------------------------

    def obey_charger(self, command: Command) -> Fact | None:
        assert not isinstance(command, se.Journal | se.RecordMeter | se.SetOutput) or not self.closed_journal
        match command:
            case se.TransactionStarted():
                self.allowed = True
            case se.StartCableCheck() | se.StartPreCharge() | se.CloseContactors() | se.MoveDevice(to_vehicle=True):
                assert self.allowed, "power without authorisation"
            case se.SetOutput() | se.SetAcOutput() | se.SetWptOutput():
                self._judge_output(command)
            case se.OpenContactors():
                assert self._still() or self.emergency, f"the charger opened under load: {self.plant.flow()}"
            case se.EmergencyOff():
                self.emergency = True
            case se.SaveSession():
                self.keeps = True
        if isinstance(command, se.CloseJournal):
            assert not self.closed_journal, "the journal was closed twice"
            self.closed_journal = True
        decided = self.decide(command) if self.decide is not None else None
        if decided is not None:
            super().obey_charger(command)
            return decided
        return super().obey_charger(command)

    def _judge_output(self, command: Any) -> None:
        """No command of the charger lets more flow than anybody allows, in either direction."""
        assert command.charge_w == 0 or self.allowed
        assert command.charge_w >= 0
        assert command.discharge_w >= 0
        config, family = self.charger_config, self.secc.family
        rated = config.power_rating(family)
        charge_w = min(rated[0], *(each[0] for each in self.told_limits.values()))
        discharge_w = min(rated[1], *(each[1] for each in self.told_limits.values()))
        assert command.charge_w <= charge_w
        assert command.discharge_w <= discharge_w
        selected = self.secc._selected()
        if command.discharge_w:
            assert selected is not None
            assert selected.bidirectional
        if selected is not None and selected.signed_discharge:
            assert command.discharge_w <= self._signed_w()
        if isinstance(command, se.SetOutput):
            # what the vehicle has sent with its last loop is never more than its battery bore then
            bore = [self.plant.battery.state, *(state for _, state in self._bore)]
            charge_ma, discharge_ma = max(s.max_charge_ma for s in bore), max(s.max_discharge_ma for s in bore)
            assert command.voltage_mv <= min(bore[0].max_voltage_mv, config.rating.max_voltage_v * 1000)
            assert command.current_ma <= min(charge_ma, config.rating.max_charge_current_a * 1000)
            assert -command.current_ma <= min(discharge_ma, config.rating.max_discharge_current_a * 1000)

    def _signed_w(self) -> int:
        """The most that the vehicle has signed for and that may still be live."""
        live = [
            each["power_w"]
            for each in self.vehicle_saw("power", "command_signed")
            if each["valid_until_ms"] + SKEW_MS >= self.utc_ms
        ]
        return max(live, default=0)

    def _obey_vehicle(self, command: Command) -> Fact | None:
        if isinstance(command, ev.OpenContactor) and self.plant.ev_closed:
            assert self._still(), f"the vehicle opened under load: {self.plant.flow()}"
        if isinstance(command, ev.SetPowerLimits):
            state = self.plant.battery.state
            assert 0 <= command.charge_w <= state.max_charge_w
            assert 0 <= command.discharge_w <= state.max_discharge_w
        if isinstance(command, ev.SetAcPower):
            charger = self.vehicle_config.on_board_charger
            assert -charger.max_discharge_w <= command.power_w <= charger.max_charge_w
        return super()._obey_vehicle(command)

    def _still(self) -> bool:
        return abs(self.plant.flow()[1]) < STILL_MA

    # -- what flows ---------------------------------------------------------------------------------------------

    def advance(self, seconds: float = 0.05) -> None:
        self._bore = [each for each in self._bore if each[0] > self.now - LOOP_S]
        self._bore.append((self.now, self.plant.battery.state))
        super().advance(seconds)
        voltage, current = self.plant.flow()
        if abs(current) >= STILL_MA:
            assert self.allowed, "energy without authorisation"
            state = self.plant.battery.state
            power = voltage * current // 1_000_000
            assert power <= state.max_charge_w * 1.02 + 50
            assert -power <= state.max_discharge_w * 1.02 + 50
            self._judge_flow(power)
        else:
            self._above_since = None

    def _judge_flow(self, power: int) -> None:
        """What flows is within what is allowed now; an on-board charger has the time that its charge point gives."""
        charge_w = min(each[0] for each in self.told_limits.values())
        discharge_w = min(each[1] for each in self.told_limits.values())
        margin = 100 + self.charger_config.profile.margin_w if self.secc.family is Family.AC else 100
        if -discharge_w - margin <= power <= charge_w + margin:
            self._above_since = None
            return
        assert self.secc.family is Family.AC, f"{power} W against {charge_w} and {discharge_w} W"
        self._above_since = self.now if self._above_since is None else self._above_since
        assert self.now - self._above_since < AC_REACTION_S

    def tell_limit(self, source: str, charge_w: int, discharge_w: int, version: int) -> None:
        """Let a source change its mind; obeyed at once."""
        self.told_limits[source] = (charge_w, discharge_w)
        limit = Limit(source=source, charge_w=charge_w, discharge_w=discharge_w, version=version)
        self.charger_hears(se.GridChanged((limit,)))

    def charger_hears(self, fact: Fact) -> None:
        """Tell the charger a fact; a pilot that the vehicle did not move is an emergency: open at once."""
        self.emergency |= isinstance(fact, se.PilotChanged)
        self.secc.fact(fact, self.now, self.utc_ms)
        self.settle()

    def vehicle_hears(self, fact: Fact) -> None:
        self.evcc.fact(fact, self.now, self.utc_ms)
        self.settle()

    # -- the end ------------------------------------------------------------------------------------------------

    def finish(self, most_s: float = 900.0) -> None:
        """Let it go to its end, with long steps where nothing flows, and judge what is left."""
        end = self.now + most_s
        while not (self.evcc.closed and self.secc.closed):
            assert self.now < end, f"no end after {most_s} s: {self.evcc.stage}, {self.secc.state}"
            self.advance(0.05 if abs(self.plant.flow()[1]) >= STILL_MA else 1.0)
        self.judge_end()

    def judge_end(self) -> None:
        plant = self.plant
        assert not plant.ev_closed
        assert not plant.evse_closed
        assert plant.flow()[1] == 0
        charged, discharged = plant.battery.state.charged_mwh, plant.battery.state.discharged_mwh
        sent = self.imported_mwh() * (AIR if self.secc.family is Family.WPT else 1.0)
        assert abs(sent - charged) <= 3_000 + charged // 200, (sent, charged)
        assert abs(self.exported_mwh() - discharged) <= 3_000 + discharged // 200
        self._judge_journal()
        self._judge_words()

    def _judge_journal(self) -> None:
        if not self.lines:
            assert self.imported_mwh() == self.exported_mwh() == 0, "energy without journal"
            return
        entries = verify_lines(b"".join(self.lines))
        assert isinstance(entries[0].data, SessionStarted)
        ended = [each.data for each in entries if isinstance(each.data, SessionEnded)]
        if (self.keeps and self.secc_reason == "paused") or self._never_joined():
            assert not ended
            return
        (last,) = ended
        assert last is entries[-1].data
        assert last.import_mwh == int(self.plant.import_mwh)
        assert last.export_mwh == int(self.plant.export_mwh)

    def _never_joined(self) -> bool:
        """Whether the vehicle came back and its conversation broke before SessionSetup: what it paused stays open."""
        begun = ("session_started", "session_joined")
        return self._came_back and not any(_is(each, "session", name) for each in self.secc_actions for name in begun)

    def _judge_words(self) -> None:
        """One session, one end; the same reason for the journal, the back end and the log."""
        ends = [each for each in self.secc_actions if isinstance(each, se.TransactionEnded)]
        assert len(ends) <= 1
        seen = [each.data["reason"] for each in self.secc_actions if _is(each, "session", "session_ended")]
        assert len(seen) == (0 if self.secc_reason == "paused" else 1)
        for end in ends:
            assert end.reason == seen[0]
            assert end.reason not in FAULTS or end.reason == self.secc_reason


def _is(action: Any, stage: str, name: str) -> bool:
    return isinstance(action, Observe) and (action.stage, action.name) == (stage, name)
