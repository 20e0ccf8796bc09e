"""The interlock in detail: when each thing is due, what each cause is called, what the lamp says."""

from collections.abc import Callable

import pytest

from tests.together import together
from v2g.hardware.faults import FAULTS, Light
from v2g.hardware.interlock import (
    Action,
    FaultChanged,
    Interlock,
    InterlockConfig,
    SetContactor,
    SetLatch,
    ShowLight,
    StopOutput,
)
from v2g.iec61851.pilot import PilotState
from v2g.iec61851.proximity import Proximity

A, B, C, D, E, F = PilotState
SEATED, UNLATCHED, LOOSE, SHORTED = (
    Proximity("seated", 32),
    Proximity("unlatched"),
    Proximity("open"),
    Proximity("fault"),
)
OPEN, CLOSE = SetContactor(closed=False), SetContactor(closed=True)
LOCK, UNLOCK = SetLatch(locked=True), SetLatch(locked=False)


def ready(*, pilot: bool = True, latch: bool = False, oscillator: bool | None = None) -> Interlock:
    """Return an interlock that lets the contactor close, at 0 s, and that has nothing left to do."""
    lock = Interlock(InterlockConfig(pilot=pilot, latch=latch))
    lock.pilot(C, 0.0)
    lock.permit(0.0, allowed=True)
    if latch:
        lock.latch(0.0, locked=True)
    if oscillator is not None:
        lock.oscillator(0.0, on=oscillator)
    lock.actions()
    assert lock.deadline() is None
    return lock


def charging(*, pilot: bool = True, latch: bool = False) -> Interlock:
    """Return an interlock whose contactor is closed, at 0 s."""
    lock = ready(pilot=pilot, latch=latch, oscillator=True)
    assert lock.ask(0.0, close=True)
    lock.feedback(0.0, closed=True)
    lock.actions()
    assert lock.deadline() is None
    return lock


def in_state(state: PilotState) -> Interlock:
    """Return an interlock that has seen nothing but this state."""
    lock = Interlock(InterlockConfig())
    lock.pilot(state, 0.0)
    return lock


# -- every deadline


def _opening() -> Interlock:
    lock = charging()
    lock.pilot(B, 1.0)
    return lock


def _closed_unasked() -> Interlock:
    lock = in_state(C)
    lock.feedback(1.0, closed=True)
    lock.feedback(1.05, closed=True)  # says it again, which gives it no more time
    return lock


def _closing() -> Interlock:
    lock = ready()
    lock.ask(1.0, close=True)
    return lock


def _off_while_closed() -> Interlock:
    lock = charging()
    lock.oscillator(1.0, on=False)
    lock.oscillator(2.0, on=False)  # said again, which gives it no more time
    return lock


def _closed_while_off() -> Interlock:
    lock = ready(oscillator=False)
    lock.ask(1.0, close=True)
    lock.feedback(1.0, closed=True)
    return lock


def _loose() -> Interlock:
    lock = ready()
    lock.plug(LOOSE, 1.0)
    lock.plug(UNLATCHED, 1.1)  # as loose as before
    return lock


def _unlatched() -> Interlock:
    lock = ready()
    lock.plug(UNLATCHED, 1.0)
    return lock


def _shorted() -> Interlock:
    lock = ready()
    lock.plug(SHORTED, 1.0)
    return lock


def _locking() -> Interlock:
    lock = Interlock(InterlockConfig(latch=True))
    lock.pilot(B, 0.0)
    lock.permit(1.0, allowed=True)
    return lock


def _unlocking() -> Interlock:
    lock = ready(latch=True)
    lock.permit(1.0, allowed=False)
    return lock


def _unlocking_again() -> Interlock:
    lock = _unlocking()
    lock.tick(2.0)
    lock.fault("latch_failed", 2.0, active=False)
    assert lock.release(3.0)
    return lock


def _not_available() -> Interlock:
    lock = ready(latch=True)
    lock.pilot(F, 1.0)
    lock.permit(1.0, allowed=False)
    lock.pilot(F, 2.0)  # shown all the while
    return lock


DUE: dict[str, tuple[Callable[[], Interlock], float, list[Action]]] = {
    "opening": (_opening, 1.1, [FaultChanged("contactor_welded", active=True), ShowLight("red")]),
    "closed unasked": (_closed_unasked, 1.1, [FaultChanged("contactor_welded", active=True), ShowLight("red")]),
    "closing": (
        _closing,
        4.0,
        [FaultChanged("contactor_stuck_open", active=True), StopOutput("contactor_stuck_open"), OPEN, ShowLight("red")],
    ),
    "oscillator off while closed": (_off_while_closed, 7.0, [StopOutput("asked"), OPEN]),
    "closed while the oscillator is off": (_closed_while_off, 7.0, [StopOutput("asked"), OPEN]),
    "loose": (_loose, 1.2, [FaultChanged("plug_not_seated", active=True), ShowLight("red_flash")]),
    "unlatched": (_unlatched, 1.2, [FaultChanged("plug_not_seated", active=True), ShowLight("red_flash")]),
    "shorted": (_shorted, 1.2, [FaultChanged("proximity_shorted", active=True), ShowLight("red_flash")]),
    "locking": (_locking, 2.0, [FaultChanged("latch_failed", active=True), ShowLight("red")]),
    "unlocking": (_unlocking, 2.0, [FaultChanged("latch_failed", active=True), ShowLight("red")]),
    "unlocking again": (_unlocking_again, 4.0, [FaultChanged("latch_failed", active=True), ShowLight("red")]),
    "not available": (_not_available, 6.0, [UNLOCK]),
}


@pytest.mark.parametrize("off_s", [-0.001, 0.0, 0.001])
@pytest.mark.parametrize("name", DUE)
def test_what_is_due_happens_at_its_time_and_not_before(name: str, off_s: float) -> None:
    build, due_s, expected = DUE[name]
    lock = build()
    lock.actions()
    deadline = lock.deadline()
    assert deadline == pytest.approx(due_s, abs=1e-9)
    assert deadline is not None
    lock.tick(deadline + off_s)
    assert lock.actions() == (expected if off_s >= 0 else [])


def test_what_is_due_first_is_waited_for_first() -> None:
    lock = ready(oscillator=False)
    lock.ask(1.0, close=True)
    assert lock.deadline() == 4.0  # the contactor; the oscillator would be at 7 s
    lock.feedback(2.0, closed=True)
    assert lock.deadline() == 7.0
    lock.tick(4.0)
    assert lock.commanded


SETTLED: dict[str, tuple[Callable[[], Interlock], Callable[[Interlock], object]]] = {
    "opened": (_opening, lambda lock: lock.feedback(1.05, closed=False)),
    "opened after closing unasked": (_closed_unasked, lambda lock: lock.feedback(1.06, closed=False)),
    "closed": (_closing, lambda lock: lock.feedback(1.5, closed=True)),
    "not wanted any more": (_closing, lambda lock: lock.ask(1.5, close=False)),
    "oscillator on": (_off_while_closed, lambda lock: lock.oscillator(3.0, on=True)),
    "seated": (_loose, lambda lock: lock.plug(SEATED, 1.15)),
    "pulled": (_loose, lambda lock: lock.pilot(A, 1.15)),
    "locked": (_locking, lambda lock: lock.latch(1.5, locked=True)),
    "unlocked": (_unlocking, lambda lock: lock.latch(1.5, locked=False)),
    "available again": (lambda: in_state(F), lambda lock: lock.pilot(B, 3.0)),
}


@together("name", SETTLED)
def test_what_has_happened_in_time_is_not_waited_for(name: str) -> None:
    build, settle = SETTLED[name]
    lock = build()
    assert lock.deadline() is not None
    settle(lock)
    assert lock.deadline() is None
    lock.actions()
    lock.tick(99.0)
    assert lock.actions() == []


def test_a_contactor_that_opens_is_not_cut_off_a_second_time() -> None:
    lock = _off_while_closed()
    lock.pilot(B, 3.0)
    lock.feedback(3.0, closed=False)
    assert lock.deadline() is None


def test_the_oscillator_matters_only_to_a_contactor_that_is_closed() -> None:
    lock = ready()
    lock.oscillator(1.0, on=False)
    assert lock.deadline() is None
    lock.ask(2.0, close=True)
    lock.feedback(2.0, closed=True)
    assert lock.deadline() == 8.0
    on = ready(oscillator=True)
    on.ask(2.0, close=True)
    on.feedback(2.0, closed=True)
    assert on.deadline() is None


# -- what the cause is called


def test_each_cause_that_forbids_energy_is_named() -> None:
    lock = Interlock(InterlockConfig(latch=True))
    assert lock.blocked == "not_authorised"
    lock.permit(0.0, allowed=True)
    for state in (A, B, F):
        lock.pilot(state, 0.0)
        assert lock.blocked == f"pilot_{state.value}"
    lock.pilot(E, 0.0)
    assert lock.blocked == "pilot_shorted"
    lock.pilot(D, 0.0)
    assert lock.blocked == "no_ventilation"
    lock.pilot(C, 0.0)
    assert lock.blocked == "plug_not_locked"
    lock.latch(0.0, locked=True)
    assert lock.blocked == ""
    lock.feedback(0.0, closed=True)
    assert lock.blocked == "contactor_closed"
    assert not lock.ask(0.0, close=True)
    lock.feedback(0.05, closed=False)
    assert lock.blocked == ""
    assert lock.ask(0.1, close=True)
    assert lock.blocked == ""


CAUSES: dict[str, Callable[[Interlock], object]] = {
    "asked": lambda lock: lock.ask(1.0, close=False),
    "not_authorised": lambda lock: lock.permit(1.0, allowed=False),
    "pilot_A": lambda lock: lock.pilot(A, 1.0),
    "pilot_B": lambda lock: lock.pilot(B, 1.0),
    "pilot_F": lambda lock: lock.pilot(F, 1.0),
    "no_ventilation": lambda lock: lock.pilot(D, 1.0),
    "pilot_shorted": lambda lock: lock.pilot(E, 1.0),
    "diode_shorted": lambda lock: lock.pilot(E, 1.0, "diode_shorted"),
    "plug_not_seated": lambda lock: lock.plug(UNLATCHED, 1.0),
    "proximity_shorted": lambda lock: lock.plug(SHORTED, 1.0),
    "plug_not_locked": lambda lock: lock.latch(1.0, locked=False),
    "contactor_dropped": lambda lock: lock.feedback(1.0, closed=False),
}


@together("cause", CAUSES)
def test_the_output_is_stopped_with_the_cause(cause: str) -> None:
    lock = charging(latch=True)
    CAUSES[cause](lock)
    actions = lock.actions()
    assert [each for each in actions if isinstance(each, StopOutput | SetContactor)] == [StopOutput(cause), OPEN]


def test_the_contactor_gets_one_command() -> None:
    lock = ready()
    assert lock.ask(0.0, close=True)
    assert lock.actions() == [CLOSE]
    assert lock.ask(0.1, close=True)
    lock.feedback(0.1, closed=True)
    assert lock.actions() == [ShowLight("charging")]
    assert lock.ask(1.0, close=False)
    assert lock.actions() == [StopOutput("asked"), OPEN]
    assert lock.ask(1.0, close=False)
    lock.feedback(1.05, closed=False)
    assert lock.actions() == [ShowLight("occupied")]


# -- every fault


@together("word", FAULTS)
def test_each_fault_is_said_when_it_begins_and_when_it_ends(word: str) -> None:
    kind = FAULTS[word]
    lock = in_state(A)
    lock.actions()
    assert not lock.stands(word)
    lock.fault(word, 1.0)
    begun = [FaultChanged(word, active=True), *([ShowLight(kind.light)] if kind.stops else [])]
    assert lock.actions() == begun
    assert lock.stands(word)
    assert lock.faults == (word,)
    assert lock.serious == (word if kind.stops else "")
    assert lock.blocked == (word if kind.stops else "not_authorised")
    lock.fault(word, 2.0)
    assert lock.actions() == []  # it has been said
    lock.fault(word, 3.0, active=False)
    ended = [FaultChanged(word, active=False), *([ShowLight("available")] if kind.stops else [])]
    assert lock.actions() == (ended if kind.until == "cleared" else [])
    lock.pilot(A, 4.0)
    assert lock.actions() == (ended if kind.until == "unplugged" else [])
    lock.tested(5.0)
    assert lock.actions() == (ended if kind.until == "tested" else [])
    assert lock.stands(word) is (kind.until in ("serviced", "reset"))


def test_faults_are_the_oldest_first_and_those_of_an_earlier_run_stand() -> None:
    lock = Interlock(InterlockConfig(), faults=("meter_store",))
    lock.fault("fan_failed", 0.0)
    lock.fault("emergency_stop", 0.0)
    assert lock.faults == ("meter_store", "fan_failed", "emergency_stop")
    assert lock.serious == "meter_store"
    assert not lock.stands("over_current")


def test_a_word_that_no_fault_has_is_refused() -> None:
    lock = Interlock(InterlockConfig())
    for active in (True, False):
        with pytest.raises(KeyError):
            lock.fault("mood", 0.0, active=active)
    assert lock.faults == ()


def test_a_pilot_that_is_shorted_is_so_until_it_shows_a_state() -> None:
    lock = in_state(B)
    lock.actions()
    lock.pilot(E, 1.0)
    assert lock.actions() == [FaultChanged("pilot_shorted", active=True), ShowLight("red")]
    lock.pilot(B, 2.0)
    assert lock.actions() == [FaultChanged("pilot_shorted", active=False), ShowLight("occupied")]
    assert lock.faults == ()


def test_a_plug_that_f_hides_before_it_counts_is_judged_when_it_shows_again() -> None:
    """A vehicle that left as a fault began was a loose plug until that fault was mended."""
    lock = _loose()
    lock.pilot(F, 1.1)
    lock.tick(9.0)
    assert (lock.blocked, lock.faults) == ("pilot_F", ())
    lock.pilot(B, 10.0)
    lock.tick(10.1)
    assert lock.faults == ()
    lock.tick(10.2)
    assert lock.faults == ("plug_not_seated",)


def test_what_the_pilot_hides_in_f_is_not_judged() -> None:
    lock = _loose()
    lock.tick(1.2)
    lock.pilot(F, 2.0)
    lock.plug(SEATED, 2.0)
    assert lock.faults == ("plug_not_seated",)
    lock.pilot(B, 3.0)
    assert lock.faults == ()


# -- without a pilot


def test_a_bench_without_a_pilot_has_neither_states_nor_a_plug_nor_an_oscillator() -> None:
    lock = Interlock(InterlockConfig(pilot=False))
    assert lock.blocked == "not_authorised"
    lock.permit(0.0, allowed=True)
    lock.pilot(E, 0.0)
    lock.plug(LOOSE, 0.0)
    lock.oscillator(0.0, on=False)
    assert (lock.blocked, lock.faults, lock.light, lock.deadline()) == ("", (), "available", None)
    assert lock.ask(0.0, close=True)
    assert lock.deadline() == 3.0
    lock.feedback(0.0, closed=True)
    assert lock.deadline() is None
    lock.oscillator(1.0, on=False)
    assert lock.deadline() is None
    assert lock.light == "charging"


def test_a_bench_without_a_pilot_forgives_when_nobody_is_authorised() -> None:
    bench = ready(pilot=False)
    bench.fault("over_voltage", 1.0)
    bench.permit(1.0, allowed=True)
    assert bench.faults == ("over_voltage",)
    bench.permit(2.0, allowed=False)
    assert bench.faults == ()
    lock = ready()
    lock.fault("over_voltage", 1.0)
    for allowed in (False, True):
        lock.permit(2.0, allowed=allowed)
        assert lock.faults == ("over_voltage",)  # the vehicle is still there


def test_a_bench_without_a_pilot_locks_its_plug_for_whoever_is_authorised() -> None:
    lock = Interlock(InterlockConfig(pilot=False, latch=True))
    lock.permit(0.0, allowed=True)
    assert LOCK in lock.actions()
    lock.latch(0.1, locked=True)
    assert lock.blocked == ""
    lock.permit(1.0, allowed=False)
    assert UNLOCK in lock.actions()


# -- the lock of the plug


def test_a_plug_is_locked_only_for_somebody_with_a_vehicle_and_without_a_fault() -> None:
    lock = Interlock(InterlockConfig(latch=True))
    lock.permit(0.0, allowed=True)
    lock.pilot(A, 0.0)
    assert LOCK not in lock.actions()
    lock.fault("emergency_stop", 1.0)
    lock.pilot(B, 1.0)
    assert LOCK not in lock.actions()
    lock.fault("emergency_stop", 2.0, active=False)
    assert LOCK in lock.actions()


def test_a_plug_stays_locked_in_a_fault_while_somebody_is_served() -> None:
    lock = charging(latch=True)
    lock.fault("emergency_stop", 1.0)
    lock.feedback(1.0, closed=False)
    assert UNLOCK not in lock.actions()
    lock.pilot(A, 2.0)
    assert UNLOCK in lock.actions()  # though nobody has said that the session is over


def test_a_plug_is_released_below_60_v_and_with_the_contactor_open() -> None:
    lock = charging(latch=True)
    lock.permit(1.0, allowed=False)
    lock.output(0, 1.0)
    assert UNLOCK not in lock.actions()
    lock.output(400_000, 1.0)
    lock.feedback(1.0, closed=False)
    lock.output(60_000, 1.1)
    lock.permit(1.1, allowed=False)
    assert UNLOCK not in lock.actions()
    assert lock.release(1.1) is False
    lock.output(59_999, 1.2)
    assert lock.actions() == [UNLOCK]


def test_a_plug_is_not_tried_again_while_somebody_is_served_nor_in_the_first_seconds_of_f() -> None:
    assert ready(latch=True).release(1.0) is False
    lock = _not_available()
    lock.actions()
    assert lock.release(5.9) is False
    assert lock.actions() == []
    lock.tick(6.0)
    lock.actions()
    assert lock.release(6.1) is True
    assert lock.actions() == [UNLOCK]
    lock.latch(6.2, locked=False)
    assert lock.release(6.3) is True
    assert lock.actions() == []  # it is open


def test_a_lock_is_unlocking_only_when_it_is_locked_and_commanded_to_open() -> None:
    lock = Interlock(InterlockConfig(latch=True))
    lock.pilot(B, 0.0)
    lock.permit(0.0, allowed=True)
    assert not lock.unlocking  # it is told to lock
    lock.permit(0.1, allowed=False)
    assert not lock.unlocking  # told to open, and has never locked
    other = Interlock(InterlockConfig(latch=True))
    other.latch(0.0, locked=True)
    other.pilot(B, 0.0)
    other.permit(0.0, allowed=True)
    assert not other.unlocking  # told to lock, and was locked before
    assert _unlocking().unlocking


# -- the lamp


def test_the_lamp_is_available_before_anything_is_known() -> None:
    assert Interlock(InterlockConfig()).light == "available"


@together(
    ("state", "light"),
    [(A, "available"), (B, "occupied"), (C, "occupied"), (D, "occupied"), (E, "red"), (F, "available")],
)
def test_the_lamp_says_what_the_pilot_shows(state: PilotState, light: Light) -> None:
    lock = in_state(state)
    assert lock.light == light
    assert ShowLight(light) in lock.actions()
    lock.pilot(state, 1.0)
    assert lock.actions() == []  # it has been said


def test_a_vehicle_is_still_there_in_f() -> None:
    lock = in_state(B)
    lock.pilot(F, 1.0)
    assert lock.light == "occupied"
    lock.pilot(A, 2.0)
    assert lock.light == "available"
    lock.pilot(F, 3.0)
    assert lock.light == "available"


def test_the_lamp_says_charging_while_the_contactor_is_closed_and_red_first() -> None:
    lock = charging()
    assert lock.light == "charging"
    lock.fault("fan_failed", 1.0)
    assert lock.light == "charging"
    lock.fault("over_temperature", 1.0)
    assert lock.light == "red"
    lock.plug(LOOSE, 1.0)
    lock.tick(2.0)
    assert lock.light == "red_flash"
    lock.plug(SEATED, 3.0)
    lock.fault("over_temperature", 3.0, active=False)
    lock.feedback(3.0, closed=False)
    assert lock.light == "red"  # it was closed for too long


def test_it_is_vacant_while_nobody_is_plugged_in_or_authorised() -> None:
    lock = Interlock(InterlockConfig(pilot=True, latch=False))
    assert lock.vacant, "the pilot has not been read yet"
    lock.pilot(A, 0.0)
    assert lock.vacant
    lock.pilot(B, 0.0)
    assert not lock.vacant
    lock.pilot(A, 0.0)
    lock.permit(0.0, allowed=True)
    assert not lock.vacant
