"""Basic AC charging: every state of the pilot, every wait, and a journal that closes; time is an argument."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secc.energy_manager.grid import SiteGrid
from secc.session import ports
from secc.session.basic_charging import STOP_S, Phase, Way
from tests.secc.session.basic_charging import ACCEPTED, A, B, C, D, Desk, F
from v2g.energy.limits import SITE, GridResponse, Limit, Setpoint
from v2g.energy.settlement.records import SessionStarted
from v2g.hardware.interlock import Interlock, InterlockConfig, SetContactor
from v2g.iec61851.pilot import STANDARD, PilotState, read_duty
from v2g.iso15118.engine.session import Close
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

pytestmark = pytest.mark.requirement("R24")

REFUSED = ports.AuthorizationDecided(1, AuthorizationStatus.UNKNOWN)


def test_from_identification_to_the_closed_journal() -> None:
    desk = Desk()
    assert desk.shown() == [(None, None)]
    desk.run(1)
    assert desk.session.duty is None  # nobody has identified
    desk.fact(ACCEPTED)
    assert read_duty(desk.session.duty or 0).max_current_a == pytest.approx(31.88, abs=0.12)  # 22 kW on three phases
    (started,) = desk.of(ports.TransactionStarted)
    (journal,) = desk.of(ports.Journal)
    assert isinstance(journal.record, SessionStarted)
    assert (journal.record.session_id, journal.record.discharge) == (started.session_id, "none")
    fresh = desk.pilot(C)
    assert [type(each) for each in fresh] == [ports.SetAcOutput, ports.CloseContactors]
    fresh = desk.fact(ports.ContactorState(closed=True))
    assert ports.RecordMeter("begin", power_w=0, soc=None) in fresh
    fresh = desk.pilot(B)
    assert ports.OpenContactors() in fresh
    assert fresh.index(ports.SetAcOutput(0, 0)) < fresh.index(ports.OpenContactors())
    desk.fact(ports.ContactorState(closed=False))
    fresh = desk.pilot(A)
    assert [type(e) for e in fresh if isinstance(e, ports.CloseJournal | ports.TransactionEnded | Close)] == [
        ports.CloseJournal,
        ports.TransactionEnded,
        Close,
    ]
    assert desk.of(ports.TransactionEnded)[0].stopped_reason == "EVDisconnected"
    states = [each.charging_state for each in desk.of(ports.TransactionUpdated)]
    assert states == ["Charging", "SuspendedEV"]


@pytest.mark.parametrize(
    ("way", "shown", "after"),
    [
        ("at_once", [(None, None)], 0.0),
        ("x1", [(None, None)], STANDARD.step_x1_s),
        ("f", [(None, F), (None, None)], STANDARD.step_ef_s + STANDARD.after_ef_s),
    ],
)
def test_the_way_to_nominal_duty(way: Way, shown: list[Any], after: float) -> None:
    """V2G3-M06-05 to -08."""
    desk = Desk(way)
    desk.fact(ACCEPTED)
    if after:
        desk.run(after - 0.01)
        assert desk.session.duty is None
        desk.run(0.02)
    assert desk.shown()[:-1] == shown
    assert desk.session.duty is not None


def test_a_lower_limit_is_a_lower_duty_and_none_at_all_is_x1() -> None:
    desk = Desk()
    desk.charging()
    desk.run(10)
    desk.fact(ports.GridChanged((Limit(source=SITE, charge_w=11_040, discharge_w=0),)))
    assert read_duty(desk.session.duty or 0).max_current_a == pytest.approx(16, abs=0.1)
    desk.fact(ports.GridChanged((Limit(source=SITE, charge_w=4_140, discharge_w=0, version=1),)))
    assert read_duty(desk.session.duty or 0).max_current_a == pytest.approx(16, abs=0.1)  # not every 5 s more than once
    desk.run(5)
    assert read_duty(desk.session.duty or 0).max_current_a == pytest.approx(6, abs=0.1)
    desk.fact(ports.GridChanged((Limit(source=SITE, charge_w=4_000, discharge_w=0, version=2),)))
    assert desk.session.duty is None  # at once: off is no duty cycle
    assert desk.session.phase is Phase.HELD
    assert ports.OpenContactors() not in desk.commands
    desk.run(2.9)
    assert ports.OpenContactors() not in desk.commands
    desk.run(0.2)
    assert ports.OpenContactors() in desk.commands  # the vehicle went on drawing
    desk.fact(ports.ContactorState(closed=False))
    desk.fact(ports.GridChanged((Limit(source=SITE, charge_w=11_040, discharge_w=0, version=3),)))
    desk.run(2.5)
    assert len(desk.of(ports.CloseContactors)) == 2
    desk.fact(ports.ContactorState(closed=True))
    assert desk.session.phase is Phase.CHARGING


def test_a_limit_in_watts_bounds_the_duty_of_conductors_that_carry_more() -> None:
    """11 kW for a site whose conductors carry 32 A: the duty cycle is all that bounds the vehicle."""
    desk = Desk(limits=(Limit(source=SITE, charge_w=11_040, discharge_w=0, charge_ma=32_000),))
    desk.charging()
    assert read_duty(desk.session.duty or 0).max_current_a == pytest.approx(16, abs=0.1)


def test_a_set_point_bounds_the_duty_and_none_at_all_ends_it() -> None:
    """A vehicle without messages cannot be asked for a power: it gets no more than that."""
    desk = Desk()
    desk.charging()
    desk.run(10)
    desk.fact(ports.SetpointChanged(Setpoint(power_w=11_040, source="csms")))
    assert read_duty(desk.session.duty or 0).max_current_a == pytest.approx(16, abs=0.1)
    for power_w in (0, -3_000, 4_000):
        desk.run(10)
        desk.fact(ports.SetpointChanged(Setpoint(power_w=power_w, source="csms")))
        assert desk.session.duty is None, power_w
        desk.run(4)
        desk.fact(ports.ContactorState(closed=False))
        desk.run(3_600)
        assert desk.session.phase is Phase.HELD, "an order is no lack of energy"
        now_ms = int(desk.now * 1000)
        desk.fact(ports.SetpointChanged(Setpoint(power_w=6_000, source="csms", valid_until_ms=now_ms + 60_000)))
        desk.run(0.5)
        desk.fact(ports.ContactorState(closed=True))
        assert read_duty(desk.session.duty or 0).max_current_a == pytest.approx(6_000 / 690, abs=0.1)
    desk.run(70)
    assert read_duty(desk.session.duty or 0).max_current_a == pytest.approx(31.88, abs=0.12), "it has ended"
    desk.fact(ports.SetpointChanged(None))
    assert desk.session.duty is not None


def test_a_set_point_that_was_there_before_the_vehicle_holds() -> None:
    desk = Desk(setpoint=Setpoint(power_w=0, source="csms"))
    desk.fact(ACCEPTED)
    assert (desk.session.duty, desk.session.phase) == (None, Phase.HELD)


def test_a_contactor_that_is_still_closing_opens_at_once_when_nothing_is_permitted() -> None:
    """Nobody draws who needs the 3 s to stop (IEC 61851-1): else each rise that is taken back would let 3 s flow."""
    desk = Desk()
    desk.fact(ACCEPTED)
    desk.run(10)
    desk.pilot(C)
    assert desk.of(ports.CloseContactors)
    asked = desk.fact(ports.GridChanged((Limit(source=SITE, charge_w=0, discharge_w=0),)))
    assert ports.OpenContactors() in asked
    assert (desk.session.duty, desk.session.phase) == (None, Phase.HELD)
    desk.fact(ports.ContactorState(closed=False))
    desk.fact(ports.GridChanged((Limit(source=SITE, charge_w=11_040, discharge_w=0, version=1),)))
    desk.run(5)
    assert len(desk.of(ports.CloseContactors)) == 2, "and closes again when something is"


@pytest.mark.parametrize(
    ("response", "most_a"),
    [
        (GridResponse(ceiling_w=0), 0.0),
        (GridResponse(floor_w=-5_000, ceiling_w=-5_000), 0.0),
        (GridResponse(ceiling_w=6_900), 10.0),
        (GridResponse(delta_w=-11_040), 16.0),
        (GridResponse(delta_w=5_000), 32.0),
    ],
)
def test_a_response_to_the_grid_bounds_the_current(response: GridResponse, most_a: float) -> None:
    """R04: it holds for a vehicle without words, too; more than the limits allow it never asks for."""
    desk = Desk()
    desk.charging()
    desk.run(6)
    desk.fact(ports.GridResponseChanged(response))
    assert desk.session.current_a == pytest.approx(most_a, abs=0.2)
    assert (desk.session.duty is None) is (most_a == 0)
    desk.run(STOP_S)
    assert (ports.OpenContactors() in desk.commands) is (most_a == 0)
    desk.fact(ports.GridResponseChanged(GridResponse()))
    desk.run(6)
    assert desk.session.current_a == pytest.approx(31.88, abs=0.2)


def test_a_trip_of_the_grid_opens_at_once_and_its_end_closes_again() -> None:
    desk = Desk()
    desk.charging()
    desk.run(6)
    desk.fact(ports.GridResponseChanged(GridResponse(floor_w=0, ceiling_w=0, trip=True)))
    assert ports.OpenContactors() in desk.commands
    desk.fact(ports.ContactorState(closed=False))
    desk.run(6)
    desk.fact(ports.GridResponseChanged(GridResponse()))
    desk.run(6)
    assert len(desk.of(ports.CloseContactors)) == 2


def test_a_session_that_begins_in_a_trip_of_the_grid_closes_when_it_is_over() -> None:
    desk = Desk()
    desk.fact(ports.GridResponseChanged(GridResponse(floor_w=0, ceiling_w=0, trip=True)))
    desk.fact(ACCEPTED)
    desk.pilot(C)
    desk.run(60)
    assert desk.of(ports.CloseContactors) == []
    desk.fact(ports.GridResponseChanged(GridResponse()))
    desk.run(6)
    assert len(desk.of(ports.CloseContactors)) == 1


def test_a_cable_bounds_the_current() -> None:
    desk = Desk(cable_a=13)
    desk.fact(ACCEPTED)
    assert read_duty(desk.session.duty or 0).max_current_a <= 13


@pytest.mark.parametrize("ventilation", [True, False])
def test_state_d_gets_energy_where_there_is_ventilation(ventilation: bool) -> None:
    desk = Desk(ventilation=ventilation)
    desk.fact(ACCEPTED)
    fresh = desk.pilot(D)
    assert (ports.CloseContactors() in fresh) is ventilation
    assert (ports.Ventilate(on=True) in fresh) is ventilation
    fresh = desk.pilot(C)
    assert (ports.CloseContactors() in fresh) is not ventilation


def test_a_vehicle_that_stays_in_b_is_woken_once_by_f() -> None:
    """A.5.3."""
    desk = Desk()
    desk.fact(ACCEPTED)
    desk.run(29.9)
    assert (None, F) not in desk.shown()
    desk.run(0.2)
    assert desk.shown()[-1] == (None, F)
    desk.run(5)
    assert desk.session.duty is not None
    desk.run(120)
    assert desk.shown().count((None, F)) == 1
    assert desk.of(ports.TransactionUpdated)[-1].charging_state == "SuspendedEV"


def test_an_abort_does_not_wait_for_a_vehicle_that_stays_plugged_in() -> None:
    desk = Desk()
    desk.charging()
    desk.fact(ports.StopRequested("reset"))
    desk.pilot(B)
    desk.fact(ports.ContactorState(closed=False))
    assert not desk.session.closed
    desk.session.abort("shut_down", desk.now, 0)
    assert desk.session.closed
    assert [type(each) for each in desk.session.actions()] == [Close], "the contactor is open"
    assert desk.session.reason == "reset"


def test_an_abort_opens_a_contactor_that_has_not_yet_obeyed() -> None:
    desk = Desk()
    desk.charging()
    desk.pilot(B)
    desk.fact(ports.StopRequested("remote"))
    assert not desk.session.closed
    desk.session.abort("shut_down", desk.now, 0)
    assert desk.session.actions() == [ports.EmergencyOff("shut_down"), Close("remote")]


@pytest.mark.parametrize(("reason", "reported"), [("remote", "Remote"), ("cost_limit", "LocalOutOfCredit")])
def test_a_remote_stop_lets_the_vehicle_stop_by_itself_first(reason: str, reported: str) -> None:
    desk = Desk()
    desk.charging()
    desk.fact(ports.StopRequested(reason))
    assert desk.session.duty is None
    assert ports.OpenContactors() not in desk.commands
    desk.pilot(B)
    assert ports.OpenContactors() in desk.commands
    desk.fact(ports.ContactorState(closed=False))
    assert desk.of(ports.TransactionEnded)[0].stopped_reason == reported
    assert not desk.session.closed
    desk.pilot(C)
    assert len(desk.of(ports.CloseContactors)) == 1  # it is over until the vehicle leaves
    desk.pilot(A)
    assert desk.session.closed


def test_a_stop_ends_a_transaction_whose_contactor_was_still_closing() -> None:
    desk = Desk()
    desk.fact(ACCEPTED)
    desk.run(10)
    desk.pilot(C)
    assert desk.of(ports.CloseContactors)
    desk.fact(ports.StopRequested("remote"))
    assert ports.OpenContactors() in desk.commands
    desk.fact(ports.ContactorState(closed=False))
    assert [each.stopped_reason for each in desk.of(ports.TransactionEnded)] == ["Remote"]
    desk.run(60)
    assert len(desk.of(ports.CloseContactors)) == 1


def test_a_fault_under_current_is_shown_by_f_and_one_in_b_is_not() -> None:
    desk = Desk()
    desk.charging()
    fresh = desk.fact(ports.HardwareFault("over_current"))
    assert isinstance(fresh[1], ports.EmergencyOff)
    assert (None, F) in desk.shown()
    desk.run(STANDARD.fault_f_s)
    assert desk.shown()[-1] == (None, None)
    other = Desk()
    other.fact(ACCEPTED)
    other.fact(ports.HardwareFault("over_current"))
    assert (None, F) not in other.shown()


def test_a_contactor_that_does_not_close_is_asked_again_and_given_up() -> None:
    desk = Desk()
    desk.fact(ACCEPTED)
    desk.pilot(C)
    for _ in range(15):
        desk.fact(ports.ContactorState(closed=False))
        desk.run(0.25)
    assert len(desk.of(ports.CloseContactors)) > 3
    assert desk.session.phase is Phase.ENDED
    assert desk.of(ports.TransactionEnded)[0].reason == "hardware_fault"


@pytest.mark.parametrize("then", [B, A, None])
def test_an_interlock_that_is_faster_than_its_reason_is_no_fault(then: PilotState | None) -> None:
    """The vehicle stops, and the contactor is open before the session knows; or the plug was loose for a moment."""
    desk = Desk()
    desk.charging()
    desk.fact(ports.ContactorState(closed=False))
    assert desk.commands[-1] == ports.RecordMeter("stop", power_w=0, soc=None)
    closes = len(desk.of(ports.CloseContactors))
    if then is not None:
        desk.pilot(then)
    desk.run(1.0)
    assert desk.of(ports.EmergencyOff) == ([ports.EmergencyOff("unplugged")] if then is A else [])
    if then is B:
        desk.pilot(C)
    if then is not A:
        assert len(desk.of(ports.CloseContactors)) == closes + 1
        desk.fact(ports.ContactorState(closed=True))
        assert desk.session.phase is Phase.CHARGING
        desk.pilot(A)
    assert [each.stopped_reason for each in desk.of(ports.TransactionEnded)] == ["EVDisconnected"]


def test_who_is_refused_may_try_again_without_haste() -> None:
    desk = Desk()
    desk.fact(REFUSED)
    desk.run(4.9)
    assert len(desk.of(ports.AuthorizeExternally)) == 1
    desk.run(0.2)
    assert len(desk.of(ports.AuthorizeExternally)) == 2
    assert desk.of(ports.TransactionStarted) == []


Fact = st.one_of(
    st.sampled_from(PilotState).map(ports.PilotChanged),
    st.sampled_from((ACCEPTED, REFUSED)),
    st.builds(
        lambda watts, version: ports.GridChanged((Limit(source=SITE, charge_w=watts, discharge_w=0, version=version),)),
        st.integers(0, 30_000),
        st.integers(0, 5),
    ),
    st.just(ports.StopRequested("remote")),
    st.just(ports.HardwareFault("over_temperature")),
)


@pytest.mark.long
@given(
    st.sampled_from(("at_once", "x1", "f")),
    st.booleans(),
    st.lists(st.tuples(Fact, st.floats(0, 8)), max_size=30),
)
def test_no_sequence_closes_the_contactor_where_it_must_not_be(
    way: Way, ventilation: bool, steps: list[tuple[Any, float]]
) -> None:
    """Session and interlock together: closed only in C (or D), authorised, at nominal duty or just after it; and every
    transaction that was opened is closed when the vehicle has left."""
    desk = Desk(way, ventilation=ventilation)
    lock = Interlock(InterlockConfig(ventilation=ventilation))
    lock.pilot(B, 0.0)
    done = 0

    def obey() -> None:
        nonlocal done
        while done < len(desk.commands):
            command, done = desk.commands[done], done + 1
            match command:
                case ports.TransactionStarted():
                    lock.permit(desk.now, allowed=True)
                case ports.TransactionEnded():
                    lock.permit(desk.now, allowed=False)
                case ports.CloseContactors():
                    assert desk.of(ports.TransactionStarted)
                    assert not any(isinstance(each, ports.TransactionEnded) for each in desk.commands[:done])
                    lock.ask(desk.now, close=True)
                    desk.fact(ports.ContactorState(move()))
                case ports.OpenContactors() | ports.EmergencyOff():
                    lock.ask(desk.now, close=False)
                    desk.fact(ports.ContactorState(move()))
                case ports.SetPilot(duty_percent=duty):
                    lock.oscillator(desk.now, on=duty is not None)

    def move() -> bool:
        for action in lock.actions():
            if isinstance(action, SetContactor):
                lock.feedback(desk.now, closed=action.closed)
        return lock.closed

    for fact, seconds in steps:
        if isinstance(fact, ports.PilotChanged):
            lock.pilot(fact.state, desk.now)
            was, closed = lock.closed, move()
            if closed is not was:
                desk.fact(ports.ContactorState(closed))
        desk.fact(fact)
        obey()
        desk.run(seconds)
        obey()
        if lock.closed:
            assert lock.pilot_state in ({C, D} if ventilation else {C})
            assert desk.session.phase in (Phase.CHARGING, Phase.HELD)
    lock.pilot(A, desk.now)
    move()
    desk.pilot(A)
    obey()
    assert not lock.closed
    assert desk.session.closed
    assert len(desk.of(ports.TransactionStarted)) == len(desk.of(ports.TransactionEnded)) <= 1
    assert len(desk.of(ports.CloseJournal)) == len(desk.of(ports.TransactionEnded))


@pytest.mark.requirement("R192")
def test_the_outlet_changes_its_phases_while_the_contactor_is_open() -> None:
    desk, grid = Desk(), SiteGrid(charge_w=50_000, discharge_w=0)
    desk.charging()
    assert desk.of(ports.SetAcOutput)[-1].charge_w == pytest.approx(22_000, abs=200)
    for fact in grid.interrupt(rest=True):
        desk.fact(fact)
    assert desk.session.duty is None  # X1: the vehicle has 3 s
    for fact in grid.interrupt(rest=True, disconnect=True):
        desk.fact(fact)
    assert desk.commands.count(ports.OpenContactors()) == 1
    desk.fact(ports.ContactorState(closed=False))
    desk.run(10)
    desk.fact(ports.PhasesChanged(1))
    for fact in grid.interrupt(rest=False):
        desk.fact(fact)
    desk.fact(ports.ContactorState(closed=True))
    output = desk.of(ports.SetAcOutput)[-1]
    assert (output.charge_w, output.charge_ma) == (pytest.approx(7_360, abs=30), pytest.approx(32_000, abs=120))
    assert output.lines == 1, "the sum of all currents flows in one conductor"


def test_a_response_to_the_grid_is_all_for_the_one_conductor_in_use() -> None:
    desk = Desk(lines=1)
    desk.charging()
    desk.fact(ports.GridResponseChanged(GridResponse(ceiling_w=3_680)))
    desk.run(6)
    assert desk.session.current_a == pytest.approx(16, abs=0.1)
    assert desk.session.phase is Phase.CHARGING
