"""Whatever an interlock is commanded, in any order: the contactor is commanded to close only where nothing forbids it,
to open with whatever does, after the output; and one that does not follow is a fault in time. The plain rule is
written once more here; single events are for `tests.hardware.test_interlock`.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from v2g.hardware.faults import FAULTS
from v2g.hardware.interlock import (
    LATCH_S,
    PLUG_S,
    TOUCH_MV,
    FaultChanged,
    Interlock,
    InterlockConfig,
    SetContactor,
    SetLatch,
    StopOutput,
)
from v2g.iec61851.pilot import STANDARD, PilotState
from v2g.iec61851.proximity import Proximity

A, B, C, D, E, F = PilotState
LOOSE = {"open": "plug_not_seated", "unlatched": "plug_not_seated", "fault": "proximity_shorted"}
WORDS = ("emergency_stop", "isolation_low", "over_temperature", "contactor_welded", "diode_shorted")
OWN = ("contactor_welded", "contactor_dropped", "contactor_stuck_open", "latch_failed", *LOOSE.values())


class AnyOrder(RuleBasedStateMachine):
    """An interlock with a contactor and a lock that follow, or stick, and what is known of the world."""

    @initialize(ventilation=st.booleans(), latch=st.booleans())
    def it_is_made(self, ventilation: bool, latch: bool) -> None:
        self.serviced(ventilation=ventilation, latch=latch)
        self.a_vehicle_charges(then="nothing")

    def serviced(self, *, ventilation: bool, latch: bool) -> None:
        """A new interlock, in front of sound parts."""
        self.ventilation, self.latch = ventilation, latch
        self.lock = Interlock(InterlockConfig(ventilation=ventilation, latch=latch))
        self.now = self.in_f_since = 0.0
        self.state, self.proximity = A, "seated"
        self.permitted = self.asked = False
        self.told_faults: set[str] = set()
        self.commanded = self.closed = self.sticks = False
        self.locked = self.lock_told = self.lock_sticks = False
        self.output_mv = 0
        self.oscillator: bool | None = None
        self.since: dict[str, float] = {}

    # -- what is allowed, by the rule

    def forbidden(self) -> bool:
        """Whether anything that this machine knows of forbids a closed contactor."""
        ready = self.state is C or (self.state is D and self.ventilation)
        loose = self.proximity in LOOSE and self.state is not A
        stops = any(FAULTS[word].stops for word in self.lock.faults)
        return not ready or loose or stops or not self.permitted or (self.latch and not self.locked)

    def obey(self) -> None:
        """Do what it says."""
        actions = self.lock.actions()
        for at, action in enumerate(actions):
            match action:
                case SetContactor(closed=True):
                    assert not self.forbidden()
                    assert self.asked
                    assert not self.closed
                    self.commanded = True
                case SetContactor(closed=False):
                    assert any(isinstance(each, StopOutput) for each in actions[:at])
                    self.commanded = self.asked = False
                case SetLatch(locked=False):
                    assert not self.commanded
                    assert not self.closed
                    assert self.output_mv < TOUCH_MV
                    assert not (self.permitted and self.state not in (A, E, F))
                    assert self.state is not F or self.now >= self.in_f_since + STANDARD.unlock_in_f_s - 1e-6
                    self.lock_told = False
                case SetLatch(locked=True):
                    assert self.permitted
                    self.lock_told = True
                case FaultChanged(word=word, active=True):
                    assert word in (*self.told_faults, *OWN, "pilot_shorted", "diode_shorted")
                    assert word in self.lock.faults

    def follow(self) -> None:
        """Let contactor and lock move, where they can."""
        self.obey()
        if not self.sticks and self.closed is not self.commanded:
            self.closed = self.commanded
            self.lock.feedback(self.now, closed=self.closed)
            self.obey()
        if self.latch and not self.lock_sticks and self.locked is not self.lock_told:
            self.locked = self.lock_told
            self.lock.latch(self.now, locked=self.locked)
            self.obey()
        self.judge()

    # -- what happens

    @rule(then=st.sampled_from(("nothing", "X1", "X1 before", "stuck", "unlocked", "welded and asked", "D", "F")))
    def a_vehicle_charges(self, then: str) -> None:
        """All that lets energy flow, where most of what can happen ends that, and something that goes on from there."""
        self.serviced(ventilation=self.ventilation, latch=self.latch)
        self.pilot(B)
        self.permit(allowed=True)
        self.pilot(C)
        self.turn(on=then != "X1 before")
        self.sticks = then == "stuck"
        self.ask(close=True)
        assert self.commanded
        match then:
            case "X1":
                self.turn(on=False)
            case "unlocked":
                self.locked, self.lock_sticks = False, True
                self.lock.latch(self.now, locked=False)
                self.follow()
            case "welded and asked":
                self.sticks = True
                self.ask(close=False)
                self.ask(close=True)
            case "D":
                self.pilot(D)
            case "F":
                self.pilot(F)
                self.permit(allowed=False)
        self.time_passes(0.05 if then in ("nothing", "F") else 8.0)

    @rule(state=st.sampled_from(PilotState))
    def pilot(self, state: PilotState) -> None:
        self.in_f_since = self.now if state is F and self.state is not F else self.in_f_since
        self.state = state
        self.lock.pilot(state, self.now)
        self.follow()

    @rule(says=st.sampled_from(("seated", "open", "unlatched", "fault")))
    def plug(self, says: Any) -> None:
        if self.state is not F:  # which hides the plug
            self.proximity = says
            self.lock.plug(Proximity(says), self.now)
            self.follow()

    @rule(allowed=st.booleans())
    def permit(self, allowed: bool) -> None:
        self.permitted = allowed
        self.lock.permit(self.now, allowed=allowed)
        self.follow()

    @rule(word=st.sampled_from(WORDS), active=st.booleans())
    def fault(self, word: str, active: bool) -> None:
        stood = self.lock.stands(word)
        self.told_faults.add(word)
        self.lock.fault(word, self.now, active=active)
        assert self.lock.stands(word) is (active or (stood and FAULTS[word].until != "cleared"))
        self.follow()

    @rule(close=st.booleans())
    def ask(self, close: bool) -> None:
        may = not self.forbidden() and not (self.closed and not self.commanded)
        self.asked = (self.asked or may) if close else False
        assert self.lock.ask(self.now, close=close) is (may or not close)
        self.follow()

    @rule(on=st.booleans())
    def turn(self, on: bool) -> None:
        """Switch the oscillator."""
        self.oscillator = on
        self.lock.oscillator(self.now, on=on)
        self.follow()

    @rule(voltage_mv=st.sampled_from((0, 59_999, 60_000, 400_000)))
    def output(self, voltage_mv: int) -> None:
        self.output_mv = voltage_mv
        self.lock.output(voltage_mv, self.now)
        self.follow()

    @rule()
    def release(self) -> None:
        """Somebody wants the plug free."""
        tried = self.lock.release(self.now)
        if tried:
            self.since.pop("latch_failed", None)  # it has its time once more
        assert not (tried and (self.permitted or self.closed or self.output_mv >= TOUCH_MV))
        self.follow()

    @rule(lock=st.booleans(), sticks=st.booleans())
    def stick(self, lock: bool, sticks: bool) -> None:
        """The contactor, or the lock, does not move from now on, or does again."""
        if lock:
            self.lock_sticks = sticks
        else:
            self.sticks = sticks
        self.follow()

    @rule(closed=st.booleans())
    def move(self, closed: bool) -> None:
        """The contactor moves by itself, and sticks there."""
        drops = self.commanded and self.closed and not closed
        self.sticks, self.closed = True, closed
        self.lock.feedback(self.now, closed=closed)
        self.follow()
        assert not drops or (self.lock.stands("contactor_dropped") and not self.commanded)

    @rule(seconds=st.sampled_from((0.05, 0.1, 0.2, 0.5, 1.0, 6.0)))
    def time_passes(self, seconds: float) -> None:
        end = self.now + seconds
        while (deadline := self.lock.deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.lock.tick(self.now)
            self.follow()
            self.judge()
        self.now = end

    # -- what must be

    def judge(self) -> None:
        """Say that nothing is there that may not be, and nothing for longer than it may."""
        assert self.lock.commanded is self.commanded
        assert not (self.commanded and self.forbidden())
        loose = LOOSE.get(self.proximity, "") if self.state not in (A, F) else ""
        over = {
            "contactor_welded": (self.closed and not self.commanded, STANDARD.contactor_open_s),
            "contactor_stuck_open": (self.commanded and not self.closed, STANDARD.contactor_close_s),
            "latch_failed": (self.latch and self.locked is not self.lock_told, LATCH_S),
            "proximity_shorted": (loose == "proximity_shorted", PLUG_S),
            "plug_not_seated": (loose == "plug_not_seated", PLUG_S),
        }
        for word, (wrong, most_s) in over.items():
            if self._lasts(word, wrong) > most_s + 1e-6:
                assert self.lock.stands(word), word
        drawing = self.commanded and self.oscillator is False
        assert self._lasts("forced", drawing) <= STANDARD.forced_open_s + 1e-6

    def _lasts(self, what: str, wrong: bool) -> float:
        if not wrong:
            self.since.pop(what, None)
            return 0.0
        return self.now - self.since.setdefault(what, self.now)

    @invariant()
    def always(self) -> None:
        if hasattr(self, "lock"):
            self.judge()


TestAnyOrder: Any = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)
