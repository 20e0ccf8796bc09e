"""Charging schedules over time: made, compared and added up, against looking at every second."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csms.sites.rules import Known, Place, Site, loads_of
from csms.smart_charging.charging_plans import (
    ProfileTemplate,
    TemplatePeriod,
    add_up,
    exceeds,
    from_template,
    in_unit,
    limit_at,
    milliampere,
    share_profile,
    steps,
    watts,
)
from csms.smart_charging.profile_rules import problems
from tests.ocpp.official import validator
from tests.together import together
from v2g.energy.balancing import Node
from v2g.ocpp.messages.charging_profiles import (
    ChargingProfile,
    ChargingRateUnit,
    ChargingSchedule,
    ChargingSchedulePeriod,
)
from v2g.ocpp.messages.smart_charging import CompositeSchedule, SetChargingProfileRequest
from v2g.ocpp.times import format_time, parse_time
from v2g.ocpp.versions import write_payload

START = 1_800_000_000_000

periods = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 50)), max_size=4).map(
    lambda found: tuple(
        ChargingSchedulePeriod(start_period=start, limit=float(limit))
        for start, limit in {0: 7, **dict(sorted(found))}.items()
    )
)
schedules = st.builds(
    ChargingSchedule,
    id=st.just(1),
    start_schedule=st.integers(-10, 10).map(lambda s: format_time(START + s * 1000)),
    duration=st.none() | st.integers(1, 30),
    charging_rate_unit=st.just("W"),
    charging_schedule_period=periods,
)
profiles = st.builds(
    ChargingProfile,
    id=st.just(1),
    stack_level=st.integers(0, 3),
    charging_profile_purpose=st.sampled_from(["TxProfile", "TxDefaultProfile", "ChargingStationMaxProfile"]),
    charging_profile_kind=st.just("Absolute"),
    charging_schedule=schedules.map(lambda found: (found,)),
)


def at_second(schedule: ChargingSchedule, begin_ms: int, second: int) -> float | None:
    offset = (START + second * 1000 - begin_ms) // 1000
    if offset < 0 or (schedule.duration is not None and offset >= schedule.duration):
        return None
    return [each.limit for each in schedule.charging_schedule_period if each.start_period <= offset][-1]


def begin_of(schedule: ChargingSchedule) -> int:
    assert schedule.start_schedule is not None
    return parse_time(schedule.start_schedule)


@settings(max_examples=50)
@given(schedules, st.lists(profiles, max_size=4))
def test_a_plan_exceeds_what_second_by_second_exceeds(plan: ChargingSchedule, held: list[ChargingProfile]) -> None:
    expected = False
    for second in range(80):
        planned = at_second(plan, START, second)
        found: dict[str, float] = {}
        for each in sorted(held, key=lambda profile: -profile.stack_level):
            limit = at_second(each.charging_schedule[0], begin_of(each.charging_schedule[0]), second)
            if limit is not None and each.charging_profile_purpose not in found:
                found[each.charging_profile_purpose] = limit
        if "TxProfile" in found:
            found.pop("TxDefaultProfile", None)
        expected = expected or (planned is not None and bool(found) and planned > min(found.values()) + 1)
    assert exceeds(plan, START, held, START) == expected


@settings(max_examples=40)
@given(st.lists(schedules, min_size=1, max_size=3))
def test_sums_are_those_of_every_second(found: list[ChargingSchedule]) -> None:
    composites = [
        CompositeSchedule(
            evse_id=1,
            duration=each.duration or 100,
            schedule_start=each.start_schedule or "",
            charging_rate_unit="W",
            charging_schedule_period=each.charging_schedule_period,
        )
        for each in found
    ]
    total = add_up(composites, START, 40)
    for second in range(40):
        limits = [
            at_second(msgspec.structs.replace(each, duration=each.duration or 100), begin_of(each), second)
            for each in found
        ]
        known = [limit for limit in limits if limit is not None]
        assert limit_at(total, START + second * 1000) == (sum(known) if len(known) == len(limits) else None)


def test_a_share_is_sent_in_tenths_of_an_ampere_rounded_down() -> None:
    profile = share_profile(1, 13_370, 1, START, "t")
    period = profile.charging_schedule[0].charging_schedule_period[0]
    assert (period.limit, period.number_phases, milliampere(profile)) == (13.3, 1, 13_300)
    validator("SetChargingProfileRequest", "2.0.1").validate(
        msgspec.json.decode(write_payload(SetChargingProfileRequest(evse_id=1, charging_profile=profile), "2.0.1"))
    )


def test_amperes_are_watts_on_the_phases_they_flow_on() -> None:
    assert (watts(10, "A", 1), watts(10, "A", None), watts(10, "W", 1)) == (2300, 6900, 10)


@pytest.mark.parametrize(
    "wrong",
    [
        {"periods": (TemplatePeriod(start_s=5, limit=1),)},
        {"periods": (TemplatePeriod(start_s=0, limit=1), TemplatePeriod(start_s=0, limit=2))},
        {"kind": "Recurring"},
        {"recurrency": "Daily"},
        {"kind": "Recurring", "recurrency": "Daily"},
    ],
)
def test_templates_that_no_station_could_follow_are_refused(wrong: dict[str, object]) -> None:
    good = {"name": "n", "purpose": "TxProfile", "periods": (TemplatePeriod(start_s=0, limit=1),)}
    ProfileTemplate(**good)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"periods|recurr"):
        ProfileTemplate(**{**good, **wrong})  # type: ignore[arg-type]


def test_templates_become_profiles_without_problems() -> None:
    one = (TemplatePeriod(start_s=0, limit=1),)
    for template in (
        ProfileTemplate(name="n", purpose="TxDefaultProfile", periods=one),
        ProfileTemplate(name="n", purpose="TxProfile", kind="Relative", periods=one),
        ProfileTemplate(
            name="n", purpose="TxDefaultProfile", kind="Recurring", recurrency="Weekly", duration_s=60, periods=one
        ),
    ):
        transaction = "T1" if template.purpose == "TxProfile" else None
        assert list(problems(from_template(template, 1, START, transaction_id=transaction), 1)) == []


def test_limits_of_a_template_have_one_decimal_and_never_permit_more() -> None:
    periods = (
        TemplatePeriod(start_s=0, limit=15.99, discharge_limit=-10.05),
        TemplatePeriod(start_s=60, limit=0.3, discharge_limit=0.0),
        TemplatePeriod(start_s=90, limit=10_000_000.0),
    )
    template = ProfileTemplate(name="n", purpose="TxDefaultProfile", unit="A", periods=periods)
    found = from_template(template, 1, START).charging_schedule[0].charging_schedule_period
    assert [(each.limit, each.discharge_limit) for each in found] == [(15.9, -10.0), (0.3, 0.0), (10_000_000.0, None)]
    request = SetChargingProfileRequest(evse_id=1, charging_profile=from_template(template, 1, START))
    validator("SetChargingProfileRequest", "2.1").validate(msgspec.json.decode(write_payload(request, "2.1")))


def test_an_evse_without_transaction_keeps_room_only_for_what_it_may_draw() -> None:
    site = Site(
        id="s",
        nodes=(Node(id="n", limits=(1, 1, 1)),),
        places=(Place(station_id="A", evse_id=1, node="n", most_ma=32_000, phases=("L2",)),),
        waiting_ma=6_000,
    )
    (idle,) = loads_of(site, {"A/1": Known(connected=True)}, {}, START)
    assert (idle.fixed, idle.phases) == (6_000, (1,))
    (away,) = loads_of(site, {}, {"A/1": 9_000}, START)
    assert away.fixed == 9_000
    with pytest.raises(ValueError, match="twice"):
        Site(id="s", nodes=site.nodes, places=site.places * 2)


def test_steps_end_with_the_schedule() -> None:
    schedule = ChargingSchedule(
        id=1,
        duration=10,
        charging_rate_unit="W",
        charging_schedule_period=(ChargingSchedulePeriod(start_period=0, limit=5.0),),
    )
    found = steps(schedule, START)
    assert [limit_at(found, START + second * 1000) for second in (-1, 0, 9, 10)] == [None, 5.0, 5.0, None]


@together(
    ("limit", "discharge", "number_phases", "unit", "phases", "turned"),
    [
        (12_000.0, None, None, "A", 3, (17.3, None)),
        (6900.0, -1000.0, None, "A", 3, (10.0, -1.4)),  # never more power, in either direction
        (6900.0, None, 1, "A", 3, (30.0, None)),
        (None, 0.0, None, "A", 3, (None, 0.0)),
        (16.0, None, None, "W", 1, (3680.0, None)),
        (16.0, None, None, "W", 3, (11_040.0, None)),
        (16.0, None, 2, "W", 3, (7360.0, None)),
    ],
)
def test_a_limit_in_another_unit_is_none_of_more_power(
    limit: float | None,
    discharge: float | None,
    number_phases: int | None,
    unit: ChargingRateUnit,
    phases: int,
    turned: tuple[float | None, float | None],
) -> None:
    period = ChargingSchedulePeriod(start_period=0, limit=limit, discharge_limit=discharge, number_phases=number_phases)
    share = share_profile(1, 16_000, 3, START, "t")
    schedule = msgspec.structs.replace(
        share.charging_schedule[0], charging_rate_unit="A" if unit == "W" else "W", charging_schedule_period=(period,)
    )
    profile = msgspec.structs.replace(share, charging_schedule=(schedule,))
    (found,) = in_unit(profile, unit, phases).charging_schedule
    (changed,) = found.charging_schedule_period
    assert (found.charging_rate_unit, changed.limit, changed.discharge_limit) == (unit, *turned)
    assert in_unit(in_unit(profile, unit, phases), unit, phases) == in_unit(profile, unit, phases)


def test_a_share_that_a_station_reports_in_watts_may_be_all_on_one_phase() -> None:
    assert milliampere(in_unit(share_profile(1, 16_000, 3, START, "t"), "W", 1)) == 16_000
