"""Schedules and profiles of DIN 70121, whose powers are plain int16."""

from typing import Any

from hypothesis import given

from tests.iso15118.engine.power_schedule import steps
from v2g import exi
from v2g.iso15118.din.messages.data_types import ChargingProfile, ProfileEntry, SASchedules
from v2g.iso15118.din.schedules import MOST_ENTRIES, is_capped, planned, power_schedules, schedule_list
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step, covering
from v2g.units import DAY_S


@given(steps(20))
def test_an_offered_schedule_arrives_with_its_first_twelve_steps_and_no_more_power(given_steps: list[Step]) -> None:
    made = covering(given_steps, DAY_S, 24)
    sent: Any = exi.decode_fragment(exi.encode_fragment(schedule_list(made), DIN, name="SAScheduleList"), DIN)
    received = power_schedules(sent)[1]
    expected = made.steps[:MOST_ENTRIES]
    assert [step.start_s for step in received.steps] == [step.start_s for step in expected]
    assert [step.power_w for step in received.steps] == [min(step.power_w, 32767) for step in expected]
    assert received.end_s == (made.end_s if len(made.steps) <= MOST_ENTRIES else None)


def test_a_power_beyond_int16_is_known_as_such() -> None:
    (schedule,) = power_schedules(schedule_list(PowerSchedule((Step(0, 150_000), Step(60, 20_000)), DAY_S))).values()
    assert [is_capped(step.power_w) for step in schedule.steps] == [True, False]


def test_what_is_missing_offers_and_plans_nothing() -> None:
    assert power_schedules(None) == {}
    assert power_schedules(SASchedules()) == {}
    assert planned(None) is None


def test_a_vehicles_plan() -> None:
    entries = (
        ProfileEntry(charging_profile_entry_start=0, charging_profile_entry_max_power=-5),
        ProfileEntry(charging_profile_entry_start=60, charging_profile_entry_max_power=20_000),
    )
    plan = planned(ChargingProfile(sa_schedule_tuple_id=1, profile_entry=entries))
    assert plan == PowerSchedule((Step(0, 0), Step(60, 20_000)))
