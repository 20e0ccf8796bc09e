"""The program of a session ends its steps where it should and never wants both directions at once."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from evcc.policy.battery import Battery, BatteryConfig
from evcc.policy.policy import AT_MINIMUM_SOC, COMPENSATION, Permit
from evcc.session import program
from evcc.session.ports import BatteryState
from evcc.session.program import IDLE, PowerRequest, ProgramProgress
from evcc.session.settings import ProgramStep

NOW = 1_700_000_000_000
LATER = NOW + 100_000_000
BATTERY = Battery(BatteryConfig(soc=50.0), at_ms=NOW).state
STEPS = (
    ProgramStep(do="charge", energy_wh=5_000, power_w=11_000),
    ProgramStep(do="wait", for_s=60),
    ProgramStep(do="discharge", until_soc=45.0),
)
YES = Permit(7_000)


def battery(**changes: object) -> BatteryState:
    return msgspec.structs.replace(BATTERY, **changes)


def move(
    steps: tuple[ProgramStep, ...],
    progress: ProgramProgress,
    state: BatteryState = BATTERY,
    permit: Permit = YES,
    *,
    utc_ms: int = NOW,
    pays_later: bool = True,
) -> ProgramProgress:
    return program.advance(
        steps, progress, state, permit, session_ms=utc_ms, left_ms=LATER - utc_ms, pays_later=pays_later
    )


def test_a_program_goes_through_its_steps_to_the_end() -> None:
    at = program.begin(BATTERY, NOW)
    assert move(STEPS, at) == at
    assert program.power_request(STEPS, at, BATTERY, YES, charge_w=22_000) == PowerRequest(11_000, 0)
    charged = battery(charged_mwh=5_000_000, soc=58.0)
    at = move(STEPS, at, charged, utc_ms=NOW + 1000)
    assert at.index == 1
    assert program.power_request(STEPS, at, charged, YES, charge_w=22_000) == IDLE
    at = move(STEPS, at, charged, utc_ms=NOW + 61_000)
    assert at.index == 2
    assert program.power_request(STEPS, at, charged, YES, charge_w=22_000) == PowerRequest(0, 7_000)
    at = move(STEPS, at, battery(soc=45.0), utc_ms=NOW + 900_000)
    assert at.ended == "program_finished"
    assert program.power_request(STEPS, at, BATTERY, YES, charge_w=22_000) == IDLE
    assert move(STEPS, at) == at


def test_who_follows_leaves_the_direction_to_the_charger_until_departure() -> None:
    steps = (ProgramStep(do="follow", power_w=9_000),)
    at = program.begin(BATTERY, NOW)
    assert program.power_request(steps, at, BATTERY, YES, charge_w=22_000) == PowerRequest(9_000, 7_000)
    assert program.power_request(steps, at, BATTERY, Permit(0, AT_MINIMUM_SOC), charge_w=5_000) == PowerRequest(
        5_000, 0
    )
    assert move(steps, at, battery(soc=100.0), Permit(0, AT_MINIMUM_SOC), pays_later=False) == at
    assert move(steps, at, utc_ms=LATER).ended == "departure"
    assert program.charges_before_discharge(steps, at)


def test_a_planned_step_ends_after_its_time_at_the_latest() -> None:
    steps, plan = (ProgramStep(do="plan", for_s=60),), program.PlannedProgram(3_000, over=False)
    at = program.begin(BATTERY, NOW)
    for later_ms, ended in ((59_999, ""), (60_000, "program_finished")):
        session_ms, left_ms = NOW + later_ms, 10**9
        after = program.advance(
            steps, at, BATTERY, YES, session_ms=session_ms, left_ms=left_ms, pays_later=True, planned=plan
        )
        assert after.ended == ended


def test_departure_ends_the_program_whatever_it_does() -> None:
    assert move(STEPS, program.begin(BATTERY, NOW), utc_ms=LATER).ended == "departure"


def test_a_discharge_step_ends_at_the_minimum_charge() -> None:
    steps = (ProgramStep(do="discharge"),)
    assert move(steps, program.begin(BATTERY, NOW), permit=Permit(0, AT_MINIMUM_SOC)).ended == "program_finished"


def test_a_discharge_step_waits_for_a_paying_hour_only_if_one_comes_or_it_was_given_time() -> None:
    at = program.begin(BATTERY, NOW)
    poor = Permit(0, COMPENSATION)
    steps = (ProgramStep(do="discharge"),)
    assert not move(steps, at, permit=poor, pays_later=True).ended
    assert program.power_request(steps, at, BATTERY, poor, charge_w=1) == IDLE
    assert move(steps, at, permit=poor, pays_later=False).ended
    timed = (ProgramStep(do="discharge", for_s=10),)
    assert not move(timed, at, permit=poor, pays_later=False).ended
    assert move(timed, at, permit=poor, pays_later=False, utc_ms=NOW + 10_000).ended


def test_a_discharge_step_ends_after_its_energy() -> None:
    steps = (ProgramStep(do="discharge", energy_wh=1_000),)
    at = program.begin(BATTERY, NOW)
    assert not move(steps, at, battery(discharged_mwh=999_999)).ended
    assert move(steps, at, battery(discharged_mwh=1_000_000)).ended


def test_what_is_still_to_come_is_known() -> None:
    at = program.begin(BATTERY, NOW)
    assert program.charges_before_discharge(STEPS, at)
    last = program.begin(BATTERY, NOW, index=2)
    assert not program.charges_before_discharge(STEPS, last)
    assert not program.charges_before_discharge(STEPS[1:2], at)


def test_a_faulty_battery_wants_nothing() -> None:
    assert program.power_request(STEPS, program.begin(BATTERY, NOW), battery(fault="hot"), YES, charge_w=1) == IDLE


steps = st.builds(
    ProgramStep,
    do=st.sampled_from(["charge", "discharge", "wait"]),
    until_soc=st.none() | st.floats(0, 100),
    energy_wh=st.none() | st.integers(1, 10_000),
    for_s=st.none() | st.integers(1, 10_000),
    power_w=st.none() | st.integers(1, 50_000),
)


@given(
    st.lists(steps, min_size=1, max_size=5).map(tuple),
    st.lists(st.tuples(st.integers(0, 2_000_000), st.floats(0, 100), st.integers(0, 20_000)), max_size=20),
)
def test_a_program_only_moves_forward_and_never_wants_both_directions(
    plan: tuple[ProgramStep, ...], world: list[tuple[int, float, int]]
) -> None:
    at, now = program.begin(BATTERY, NOW), NOW
    for passed, soc, watts in world:
        now += passed
        permit = Permit(watts, "" if watts else COMPENSATION)
        after = move(plan, at, battery(soc=soc), permit, utc_ms=now)
        assert after.index >= at.index
        at = after
        wanted = program.power_request(plan, at, BATTERY, permit, charge_w=22_000)
        assert 0 in (wanted.charge_w, wanted.discharge_w)
        assert wanted.discharge_w <= permit.power_w
