"""The interlock: no contactor closes that may not, and none stays closed when it may not any more."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.together import together
from v2g.hardware.faults import FAULTS
from v2g.hardware.interlock import (
    PLUG_S,
    FaultChanged,
    Interlock,
    InterlockConfig,
    SetContactor,
    SetLatch,
    ShowLight,
    StopOutput,
)
from v2g.iec61851.pilot import STANDARD, PilotState
from v2g.iec61851.proximity import Proximity

A, B, C, D, E, F = PilotState
SEATED, LOOSE, SHORTED = Proximity("seated", 32), Proximity("open"), Proximity("fault")


def charging(**config: bool) -> Interlock:
    """Return an interlock whose contactor is closed, in state C, at 0 s."""
    lock = Interlock(InterlockConfig(**config))
    lock.plug(SEATED, 0.0)
    lock.pilot(B, 0.0)
    lock.permit(0.0, allowed=True)
    lock.latch(0.0, locked=True)
    lock.pilot(C, 0.0)
    lock.oscillator(0.0, on=True)
    assert lock.ask(0.0, close=True)
    lock.feedback(0.0, closed=True)
    lock.actions()
    return lock


TRANSITIONS = [(one, two) for one, two in itertools.product(PilotState, repeat=2) if one is not two]


@pytest.mark.parametrize(("before", "after"), TRANSITIONS, ids=lambda s: s.value)
@pytest.mark.parametrize("ventilation", [True, False])
def test_every_change_of_the_pilot_leaves_the_contactor_as_it_must_be(
    before: PilotState, after: PilotState, ventilation: bool
) -> None:
    ready = {C, D} if ventilation else {C}
    lock = Interlock(InterlockConfig(ventilation=ventilation))
    lock.permit(0.0, allowed=True)
    lock.pilot(before, 0.0)
    assert lock.ask(0.0, close=True) is (before in ready)
    assert lock.commanded is (before in ready)
    lock.feedback(0.0, closed=lock.commanded)
    lock.actions()
    lock.pilot(after, 1.0)
    assert lock.commanded is (before in ready and after in ready)
    if before in ready and after not in ready:
        stop, opened = [each for each in lock.actions() if isinstance(each, StopOutput | SetContactor)]
        assert isinstance(stop, StopOutput)  # no contactor opens under current that could be stopped
        assert opened == SetContactor(closed=False)
        lock.pilot(C, 2.0)
        assert not lock.commanded  # it has to be asked for again


EVENTS = {
    "unplugged": lambda lock: lock.pilot(A, 1.0),
    "not ready": lambda lock: lock.pilot(B, 1.0),
    "shorted": lambda lock: lock.pilot(E, 1.0),
    "no diode": lambda lock: lock.pilot(E, 1.0, "diode_shorted"),
    "own fault": lambda lock: lock.pilot(F, 1.0),
    "plug loose": lambda lock: lock.plug(LOOSE, 1.0),
    "plug shorted": lambda lock: lock.plug(SHORTED, 1.0),
    "latch open": lambda lock: lock.latch(1.0, locked=False),
    "not authorised": lambda lock: lock.permit(1.0, allowed=False),
    "asked": lambda lock: lock.ask(1.0, close=False),
    "dropped": lambda lock: lock.feedback(1.0, closed=False),
    **{
        word: lambda lock, word=word: lock.fault(word, 1.0)  # type: ignore[misc]
        for word, kind in FAULTS.items()
        if kind.stops
    },
}


@together("event", EVENTS)
def test_whatever_forbids_energy_opens_the_contactor_at_once(event: str) -> None:
    lock = charging(latch=True)
    EVENTS[event](lock)
    assert not lock.commanded
    actions = lock.actions()
    assert actions.index(SetContactor(closed=False)) > min(
        at for at, each in enumerate(actions) if isinstance(each, StopOutput)
    )


@together("word", [word for word, kind in FAULTS.items() if not kind.stops])
def test_what_only_an_operator_must_know_lets_energy_flow(word: str) -> None:
    lock = charging()
    lock.fault(word, 1.0)
    assert lock.commanded
    assert lock.actions() == [FaultChanged(word, active=True)]


def test_a_contactor_that_does_not_open_within_100_ms_is_welded_until_it_is_serviced() -> None:
    lock = charging()
    lock.pilot(B, 1.0)
    lock.actions()
    assert lock.deadline() == pytest.approx(1.1)
    lock.tick(1.09)
    assert lock.faults == ()
    lock.tick(1.1)
    assert lock.faults == ("contactor_welded",)
    lock.feedback(2.0, closed=False)
    lock.pilot(A, 3.0)
    lock.fault("contactor_welded", 3.0, active=False)
    assert lock.faults == ("contactor_welded",)
    assert lock.light == "red"


def test_a_lock_that_opens_by_itself_is_a_fault() -> None:
    lock = charging(latch=True)
    lock.latch(1.0, locked=False)
    assert not lock.commanded
    lock.feedback(1.05, closed=False)
    lock.latch(1.5, locked=False)
    lock.tick(1.9)
    assert lock.faults == ()
    lock.tick(2.0)
    assert lock.faults == ("latch_failed",)
    lock.latch(2.5, locked=False)
    assert lock.deadline() is None
    lock.latch(3.0, locked=True)
    assert lock.faults == ()


def test_a_lock_that_is_back_in_time_is_none() -> None:
    lock = charging(latch=True)
    lock.latch(1.0, locked=False)
    lock.feedback(1.05, closed=False)
    lock.latch(1.5, locked=True)
    lock.tick(9.0)
    assert lock.faults == ()


def test_a_contactor_that_closes_unasked_is_welded() -> None:
    lock = Interlock(InterlockConfig())
    lock.feedback(0.0, closed=True)
    lock.tick(0.1)
    assert lock.faults == ("contactor_welded",)


def test_a_contactor_that_does_not_close_in_time_is_given_up() -> None:
    lock = Interlock(InterlockConfig())
    lock.permit(0.0, allowed=True)
    lock.pilot(C, 0.0)
    lock.ask(0.0, close=True)
    lock.tick(STANDARD.contactor_close_s)
    assert lock.faults == ("contactor_stuck_open",)
    assert not lock.commanded
    lock.pilot(A, 9.0)
    assert lock.faults == ()


def test_a_vehicle_that_goes_on_drawing_in_x1_is_cut_off_after_six_seconds() -> None:
    lock = charging()
    lock.oscillator(10.0, on=False)
    lock.tick(15.9)
    assert lock.commanded
    lock.tick(16.0)
    assert not lock.commanded
    again = charging()
    again.oscillator(10.0, on=False)
    again.oscillator(12.0, on=True)
    again.tick(17.0)
    assert again.commanded


@pytest.mark.requirement("R22")
def test_a_loose_plug_flashes_red_and_is_forgiven_when_it_is_seated() -> None:
    lock = Interlock(InterlockConfig())
    lock.plug(LOOSE, 0.0)
    assert lock.light == "available"  # nothing is plugged in at all
    lock.pilot(B, 0.0)
    assert (lock.blocked, lock.faults) == ("plug_not_seated", ())
    lock.tick(PLUG_S)
    assert (lock.light, lock.faults) == ("red_flash", ("plug_not_seated",))
    lock.plug(SHORTED, 1.0)
    lock.tick(1.0 + PLUG_S)
    assert (lock.light, lock.faults) == ("red_flash", ("proximity_shorted",))
    lock.plug(SEATED, 2.0)
    assert (lock.light, lock.faults) == ("occupied", ())
    assert ShowLight("red_flash") in lock.actions()


@pytest.mark.parametrize("hidden", [E, F])
def test_a_vehicle_that_e_or_f_hides_is_still_there(hidden: PilotState) -> None:
    lock = charging()
    lock.pilot(hidden, 1.0)
    lock.feedback(1.01, closed=False)
    assert lock.light == ("red" if hidden is E else "occupied")
    lock.fault("emergency_stop", 1.5)
    lock.pilot(F, 2.0)
    assert lock.light == "red"
    lock.fault("emergency_stop", 3.0, active=False)
    assert lock.light == "occupied"
    lock.pilot(A, 4.0)
    assert lock.light == "available"
    lock.pilot(F, 5.0)
    assert lock.light == "available"


def test_a_plug_that_is_pulled_out_is_no_fault() -> None:
    """Its contact opens some ms before the pilot; energy stops all the same."""
    lock = charging()
    lock.plug(LOOSE, 1.0)
    assert not lock.commanded
    lock.feedback(1.01, closed=False)
    lock.pilot(A, 1.05)
    lock.tick(9.0)
    assert lock.faults == ()
    assert "red_flash" not in [each.light for each in lock.actions() if isinstance(each, ShowLight)]


def test_a_shorted_diode_counts_until_the_vehicle_leaves() -> None:
    """X1 hides it."""
    lock = Interlock(InterlockConfig())
    lock.pilot(E, 0.0, "diode_shorted")
    lock.pilot(B, 1.0)
    assert lock.faults == ("diode_shorted",)
    lock.pilot(A, 2.0)
    assert lock.faults == ()


class TestLatch:
    def test_it_locks_before_energy_and_releases_when_nothing_can_be_touched(self) -> None:
        lock = Interlock(InterlockConfig(latch=True))
        lock.pilot(C, 0.0)
        lock.permit(0.0, allowed=True)
        assert SetLatch(locked=True) in lock.actions()
        assert not lock.ask(0.0, close=True)
        lock.latch(0.1, locked=True)
        assert lock.ask(0.1, close=True)
        lock.feedback(0.1, closed=True)
        lock.output(400_000, 0.1)
        lock.actions()
        lock.permit(1.0, allowed=False)
        assert SetLatch(locked=False) not in lock.actions()
        lock.feedback(1.05, closed=False)
        assert SetLatch(locked=False) not in lock.actions()  # 400 V at the plug
        lock.output(59_000, 2.0)
        assert SetLatch(locked=False) in lock.actions()

    @pytest.mark.parametrize(("state", "after"), [(A, 0.0), (E, 0.0), (F, 5.0)])
    def test_it_releases_at_once_in_a_and_e_and_after_five_seconds_in_f(self, state: PilotState, after: float) -> None:
        lock = charging(latch=True)
        lock.pilot(state, 10.0)
        lock.feedback(10.0, closed=False)
        lock.permit(10.0, allowed=False)
        released = SetLatch(locked=False) in lock.actions()
        assert released is (after == 0.0)
        if after:
            lock.tick(10.0 + after)
            assert SetLatch(locked=False) in lock.actions()

    def test_one_that_does_not_move_is_a_fault(self) -> None:
        lock = Interlock(InterlockConfig(latch=True))
        lock.pilot(C, 0.0)
        lock.permit(0.0, allowed=True)
        lock.tick(1.0)
        assert lock.faults == ("latch_failed",)

    def test_one_that_could_not_close_is_tried_again_with_the_next_session(self) -> None:
        """It reports nothing, since it has not moved: the charger was out of service for good."""
        lock = Interlock(InterlockConfig(latch=True))
        lock.pilot(B, 0.0)
        lock.permit(0.0, allowed=True)
        lock.tick(1.0)
        lock.permit(2.0, allowed=False)
        lock.tick(2.9)
        assert lock.faults == ("latch_failed",)
        lock.tick(3.0)
        assert lock.faults == ()
        lock.actions()
        lock.permit(4.0, allowed=True)
        assert SetLatch(locked=True) in lock.actions()

    def test_one_that_has_stuck_is_tried_again_when_an_operator_wants_it(self) -> None:
        """F05: what came of it is known at the latest when the lock had its time."""
        lock = charging(latch=True)
        assert not lock.release(2.0)  # somebody is served
        lock.permit(2.0, allowed=False)
        lock.feedback(2.0, closed=False)
        lock.tick(3.0)
        assert lock.faults == ("latch_failed",)
        lock.actions()
        assert lock.release(4.0)
        assert lock.actions() == [SetLatch(locked=False)]
        assert lock.unlocking
        lock.tick(5.0)
        assert not lock.unlocking
        assert lock.locked
        assert lock.release(6.0)
        lock.latch(6.1, locked=False)
        assert not lock.unlocking
        assert not lock.locked
        assert lock.faults == ()

    def test_it_is_not_opened_where_a_voltage_could_be_touched(self) -> None:
        lock = charging(latch=True)
        lock.output(400_000, 1.0)
        lock.permit(2.0, allowed=False)
        assert not lock.release(2.0)  # the contactor is still closed
        lock.feedback(2.0, closed=False)
        assert not lock.release(2.0)  # 400 V at the plug
        lock.output(0, 2.0)
        assert lock.release(2.0)
        assert not Interlock(InterlockConfig()).release(0.0)  # there is no lock


class World:
    """A contactor of flesh and iron: it follows within `delay_s`, or sticks; and whoever else moves."""

    def __init__(self, ventilation: bool) -> None:
        self.lock = Interlock(InterlockConfig(ventilation=ventilation))
        self.ready = {C, D} if ventilation else {C}
        self.now, self.closed, self.stuck, self.permitted = 0.0, False, False, False
        self.moving: tuple[float, bool] | None = None
        self.forbidden_since: float | None = 0.0

    def drain(self, delay_s: float) -> None:
        for action in self.lock.actions():
            if isinstance(action, SetContactor):
                self.moving = (self.now + delay_s, action.closed)

    def run(self, seconds: float, delay_s: float) -> None:
        end = self.now + seconds
        while True:
            self.drain(delay_s)
            steps = [at for at in (self.lock.deadline(), self.moving[0] if self.moving else None) if at is not None]
            at = min((each for each in steps if each <= end), default=None)
            self.now = max(self.now, end if at is None else at)
            if self.moving and self.moving[0] <= self.now:
                _, closed = self.moving
                self.moving = None
                if not self.stuck and closed is not self.closed:
                    self.closed = closed
                    self.lock.feedback(self.now, closed=closed)
            self.lock.tick(self.now)
            self.check()
            if at is None:
                return

    def check(self) -> None:
        may = not self.closed and not self.lock.commanded
        may = may or (
            self.permitted
            and self.lock.pilot_state in self.ready
            and not [word for word in self.lock.faults if FAULTS[word].stops]
        )
        if may:
            self.forbidden_since = None
        elif self.forbidden_since is None:
            self.forbidden_since = self.now
        assert not self.lock.commanded or may
        if self.forbidden_since is not None and self.closed and self.now - self.forbidden_since > 0.1 + 1e-9:
            assert "contactor_welded" in self.lock.faults


Step = st.one_of(
    st.tuples(st.just("pilot"), st.sampled_from(PilotState)),
    st.tuples(st.just("plug"), st.sampled_from((SEATED, LOOSE, SHORTED))),
    st.tuples(st.just("permit"), st.booleans()),
    st.tuples(st.just("ask"), st.booleans()),
    st.tuples(st.just("oscillator"), st.booleans()),
    st.tuples(st.just("stick"), st.booleans()),
    st.tuples(st.just("fault"), st.sampled_from(sorted(FAULTS))),
    st.tuples(st.just("clear"), st.sampled_from(sorted(FAULTS))),
    st.tuples(st.just("feedback"), st.booleans()),
)


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.lists(st.tuples(Step, st.floats(0, 8), st.floats(0, 0.08)), max_size=40))
def test_no_sequence_of_events_leaves_the_contactor_closed_where_it_must_not_be(
    ventilation: bool, steps: list[tuple[tuple[str, object], float, float]]
) -> None:
    world = World(ventilation)
    lock = world.lock
    for (kind, value), seconds, delay_s in steps:
        match kind:
            case "pilot":
                lock.pilot(value, world.now)  # type: ignore[arg-type]
            case "plug":
                lock.plug(value, world.now)  # type: ignore[arg-type]
            case "permit":
                world.permitted = bool(value)
                lock.permit(world.now, allowed=world.permitted)
            case "ask":
                lock.ask(world.now, close=bool(value))
            case "oscillator":
                lock.oscillator(world.now, on=bool(value))
            case "stick":
                world.stuck = bool(value)
            case "feedback":  # the contactor moves by itself
                world.closed = bool(value)
                lock.feedback(world.now, closed=world.closed)
            case _:
                lock.fault(str(value), world.now, active=kind == "fault")
        world.check()
        world.run(seconds, delay_s)
    deadline = lock.deadline()
    assert deadline is None or deadline > world.now  # nothing that is due is forgotten
