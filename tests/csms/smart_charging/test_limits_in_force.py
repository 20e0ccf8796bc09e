"""Limits that stations have accepted bound what their meters say, and nothing true exceeds them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.booking.plausibility import judge_limits
from csms.sites.rules import Known
from csms.smart_charging.limits_in_force import (
    MARGIN_MS,
    Bound,
    LimitInForce,
    PermittedPower,
    evse_limits,
    permitted,
    rises,
    steps_of,
)
from csms.smart_charging.rules import Needs
from csms.transactions.rules import Dated, Transaction
from tests.csms.support import utc
from tests.together import together
from v2g.energy.limits import MOST_W
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.times import format_time

pytestmark = pytest.mark.requirement("R195")

NOON = 1_795_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
NOW = NOON - MINUTE
RATED_W = 50_000
SPAN = NOON, NOON + 2 * HOUR


def profile(*limits: tuple[int, float | None], start_ms: int | None = NOON, **more: Any) -> ChargingProfile:
    """A profile with limits (W) from so many seconds after its start on."""
    names = ("duration", "charging_rate_unit", "use_local_time", "randomized_delay")
    about = {name: more.pop(name) for name in names if name in more}
    schedule = ChargingSchedule(
        id=1, start_schedule=None if start_ms is None else format_time(start_ms),
        charging_schedule_period=tuple(ChargingSchedulePeriod(start_period=at_s, limit=each) for at_s, each in limits),
        **({"charging_rate_unit": "W"} | about),
    )  # fmt: skip
    known: dict[str, Any] = {
        "id": 1, "stack_level": 0, "charging_profile_purpose": "TxProfile", "charging_profile_kind": "Absolute",
        "charging_schedule": (schedule,),
    }  # fmt: skip
    return ChargingProfile(**(known | more))


def held(
    limit_w: int | None, from_ms: int = NOON - HOUR, to_ms: int | None = None, purpose: Any = "TxProfile",
    export_w: int | None = MOST_W, **more: Any,
) -> LimitInForce:  # fmt: skip
    known = LimitInForce(
        evse_id=1, purpose=purpose, transaction_id="t" if purpose == "TxProfile" else None, from_ms=from_ms,
        to_ms=to_ms, whole=True, steps=(PermittedPower(0, limit_w, export_w),),
    )  # fmt: skip
    return msgspec.structs.replace(known, **more)


def at(limits: list[LimitInForce], at_ms: int, way: int = 0) -> int:
    return [power_w for since_ms, power_w in permitted(limits, 1, "t", SPAN)[way] if since_ms <= at_ms][-1]


def test_what_a_profile_permits_over_time() -> None:
    assert steps_of(profile((0, 11_000.0), (60, 7_000.0)), NOW) == (
        (NOON, 11_000, MOST_W),
        (NOON + MINUTE, 7_000, MOST_W),
    )
    ends = profile((0, 11_000.0), (60, 7_000.0), duration=30)
    assert steps_of(ends, NOW) == ((NOON, 11_000, MOST_W), (NOON + 30_000, None, None))
    valid = profile(
        (0, 11_000.0), (60, 7_000.0), valid_from=format_time(NOON + MINUTE), valid_to=format_time(NOON + HOUR)
    )
    assert steps_of(valid, NOW) == ((NOON + MINUTE, 7_000, MOST_W), (NOON + HOUR, None, None))
    amperes = profile((0, 10.0), charging_rate_unit="A")
    assert steps_of(amperes, NOW) == ((NOON, 7_590, MOST_W),), "at 253 V on three phases"
    until: dict[str, Any] = {
        "duration": 60,
        "valid_to": format_time(NOON + HOUR),
        "valid_from": format_time(NOON - HOUR),
    }
    assert steps_of(profile((0, 11_000.0), (60, 7_000.0), **until), NOW) == (
        (NOON, 11_000, MOST_W), (NOON + MINUTE, None, None)
    )  # fmt: skip
    ends = profile((0, 11_000.0), duration=7200, valid_to=format_time(NOON + HOUR))
    assert steps_of(ends, NOW)[-1] == (NOON + HOUR, None, None)
    assert steps_of(profile((0, -5.0), (60, 2e7)), NOW) == ((NOON, 0, MOST_W), (NOON + MINUTE, MOST_W, MOST_W))
    assert steps_of(profile((0, None)), NOW) == ((NOON, MOST_W, MOST_W),)


@together(
    "more",
    [
        {"use_local_time": True}, {"randomized_delay": 60}, {"max_offline_duration": 60},
        {"invalid_after_offline_duration": True}, {"charging_profile_kind": "Recurring", "duration": 60},
        {"charging_profile_kind": "Relative", "duration": 60}, {"start_ms": None},
    ],
)  # fmt: skip
def test_what_may_lapse_unseen_is_no_limit(more: dict[str, Any]) -> None:
    assert steps_of(profile((0, 5_000.0), **more), NOW) == ((0, MOST_W, MOST_W),)


def test_what_begins_with_the_transaction_or_again_permits_the_highest_of_its_periods() -> None:
    """And several schedules do: the vehicle chooses one of them."""
    limits = (0, 5_000.0), (60, 9_000.0), (120, 7_000.0)
    assert steps_of(profile(*limits, charging_profile_kind="Recurring"), NOW) == ((NOON, 9_000, MOST_W),)
    relative = profile(*limits, charging_profile_kind="Relative", start_ms=None)
    assert steps_of(relative, NOW) == ((0, 9_000, MOST_W),)
    until = profile(*limits, charging_profile_kind="Relative", start_ms=None, valid_to=format_time(NOON))
    assert steps_of(until, NOW) == ((0, 9_000, MOST_W), (NOON, None, None))
    one, other = (profile((0, each), start_ms=NOON + shift).charging_schedule[0]
                  for each, shift in ((4_000.0, 0), (3_000.0, MINUTE)))  # fmt: skip
    local = msgspec.structs.replace(other, use_local_time=True)
    assert steps_of(profile((0, 0.0), charging_schedule=(one, local)), NOW) == ((0, MOST_W, MOST_W),)
    for schedules in ((one, other), (other, one)):
        assert steps_of(profile((0, 0.0), charging_schedule=schedules), NOW) == ((NOON + MINUTE, 4_000, MOST_W),)
    ends = msgspec.structs.replace(other, duration=60)
    assert steps_of(profile((0, 0.0), charging_schedule=(one, ends)), NOW) == ((0, MOST_W, MOST_W),)
    timeless = msgspec.structs.replace(other, start_schedule=None)
    assert steps_of(profile((0, 0.0), charging_schedule=(one, timeless)), NOW) == ((0, MOST_W, MOST_W),)


def test_of_what_begins_with_the_transaction_the_highest_export_counts() -> None:
    periods = tuple(
        ChargingSchedulePeriod(start_period=at_s, discharge_limit=each, operation_mode="ExternalSetpoint")
        for at_s, each in ((0, -2_000.0), (60, -3_000.0), (120, -1_000.0))
    )
    schedule = ChargingSchedule(id=1, charging_rate_unit="W", charging_schedule_period=periods)
    relative = profile((0, 0.0), charging_profile_kind="Relative", charging_schedule=(schedule,))
    assert steps_of(relative, NOW) == ((0, MOST_W, 3_000),)


def test_a_dynamic_profile_counts_from_its_last_update_on() -> None:
    """What its station has asked for its values since may go on after that; how long is unknown."""
    dynamic = profile((0, 5_000.0), charging_profile_kind="Dynamic", start_ms=None)
    assert steps_of(dynamic, NOW) == ((NOW, 5_000, MOST_W),)
    lasts = profile((0, 5_000.0), charging_profile_kind="Dynamic", start_ms=None, duration=60)
    assert steps_of(lasts, NOW) == ((NOW, 5_000, MOST_W), (NOW + MINUTE, None, None))
    pulled = msgspec.structs.replace(lasts, dyn_update_interval=10)
    assert steps_of(pulled, NOW) == ((NOW, 5_000, MOST_W), (NOW + MINUTE, MOST_W, MOST_W))


@pytest.mark.parametrize("mode", ["CentralSetpoint", "CentralFrequency"])
@pytest.mark.parametrize(
    ("setpoint", "permits"), [(7_000.0, (7_000, 0)), (-6_000.0, (0, 6_000)), (0.0, (0, 0)), (None, (MOST_W, MOST_W))]
)
def test_a_set_point_permits_its_own_direction(mode: Any, setpoint: float | None, permits: tuple[int, int]) -> None:
    period = ChargingSchedulePeriod(start_period=0, setpoint=setpoint, operation_mode=mode)
    schedule = ChargingSchedule(id=1, charging_rate_unit="W", charging_schedule_period=(period,))
    dynamic = profile((0, 0.0), charging_profile_kind="Dynamic", charging_schedule=(schedule,))
    assert steps_of(dynamic, NOW) == ((NOW, *permits),)


@together(
    ("before", "after", "is_higher"),
    [
        ([(NOW, 5_000, 0)], [(NOW, 5_000, 0)], False),
        ([(NOW, 5_000, 0)], [(NOW, 5_001, 0)], True),
        ([(NOW, 5_000, 0)], [(NOW, 0, 1)], True),
        ([(NOW, 5_000, 0)], [], True),
        ([(NOW, 5_000, 0), (NOON, None, None)], [(NOW, 5_000, 0)], False),
        ([(NOW, 5_000, 0)], [(NOW, 5_000, 0), (NOON, None, 0)], True),
        ([(NOW, 5_000, 0)], [(NOW, 5_000, 0), (NOON, 0, None)], True),
        ([(NOW, 5_000, 0)], [(NOON, 5_000, 0)], True),  # nothing is said until noon
        ([(0, 5_000, 0), (NOW, 4_000, 0)], [(0, 5_000, 0), (NOW, 4_000, 0)], False),
        ([(0, 5_000, 0), (NOW, 4_000, 0)], [(0, 4_000, 0), (NOW, 4_500, 0)], True),
        ([(0, 5_000, 0), (NOON, 4_000, 0)], [(0, 4_500, 0)], True),
        ([(0, 5_000, 0), (NOW - 1, 4_000, 0)], [(0, 4_500, 0)], True),
        ([(0, 4_000, 0), (NOW - 1, 5_000, 0)], [(0, 4_500, 0)], False),  # what was before now does not count
        ([(0, MOST_W, MOST_W)], [], False),
    ],
)
def test_whether_limits_rise(before: list[Any], after: list[Any], *, is_higher: bool) -> None:
    held_, wanted = (tuple(PermittedPower(*each) for each in steps) for steps in (before, after))
    assert rises([held_], wanted, NOW) == is_higher
    other = (PermittedPower(0, MOST_W, MOST_W),)
    assert not rises([held_, other], wanted, NOW), "the highest of those in its place counts"


@together(
    ("period", "purpose", "most_w"),
    [
        ({"discharge_limit": -8_000.0, "operation_mode": "ExternalSetpoint"}, "TxProfile", 8_000),
        ({"discharge_limit": -8_000.0}, "ChargingStationMaxProfile", 8_000),
        ({"discharge_limit": 0.0, "operation_mode": "ExternalSetpoint"}, "TxDefaultProfile", 0),
        ({"discharge_limit": 0.0, "operation_mode": "ExternalLimits"}, "TxDefaultProfile", MOST_W),
        ({"limit": 11_000.0, "operation_mode": "ChargingOnly"}, "TxProfile", 0),
        ({"limit": 0.0, "operation_mode": "Idle"}, "TxDefaultProfile", 0),
        ({"limit": 11_000.0, "operation_mode": "ChargingOnly"}, "ChargingStationMaxProfile", MOST_W),
        ({"limit": 11_000.0}, "TxProfile", MOST_W),  # in 2.0.1 that says nothing of discharging
        ({"discharge_limit": -4_000.0, "discharge_limit_l2": -2_000.0}, "TxProfile", MOST_W),
    ],
)
def test_what_a_profile_permits_to_export(period: dict[str, Any], purpose: Any, most_w: int) -> None:
    schedule = ChargingSchedule(
        id=1, start_schedule=format_time(NOON), charging_rate_unit="W",
        charging_schedule_period=(ChargingSchedulePeriod(start_period=0, **period),),
    )  # fmt: skip
    (step,) = steps_of(profile((0, 0.0), charging_profile_purpose=purpose, charging_schedule=(schedule,)), NOW)
    assert (step.import_w, step.export_w) == (round(period.get("limit", MOST_W)), most_w)


def test_export_in_amperes_is_at_the_highest_voltage() -> None:
    schedule = ChargingSchedule(
        id=1, start_schedule=format_time(NOON), charging_rate_unit="A",
        charging_schedule_period=(ChargingSchedulePeriod(start_period=0, discharge_limit=-10.0, number_phases=1),),
    )  # fmt: skip
    assert steps_of(profile((0, 0.0), charging_schedule=(schedule,)), NOW) == ((NOON, MOST_W, 2_530),)


def test_of_export_the_lowest_of_signal_station_and_transaction_counts() -> None:
    station = held(9_000, purpose="ChargingStationMaxProfile", evse_id=0, export_w=7_000)
    signal = held(None, purpose="ExportSignal", evse_id=0, export_w=6_000)
    assert [at([station, signal, held(11_000, export_w=8_000)], NOON, way) for way in (0, 1)] == [9_000, 6_000]
    assert [at([station, signal, held(11_000, export_w=0)], NOON, way) for way in (0, 1)] == [9_000, 0]
    assert at([signal, held(4_000), held(4_000, export_w=0, purpose="TxDefaultProfile")], NOON, 1) == 6_000
    assert at([signal, held(4_000, purpose="PriorityCharging")], NOON, 1) == MOST_W
    assert at([held(4_000, export_w=0, whole=False)], NOON, 1) == MOST_W
    ends = msgspec.structs.replace(signal, steps=(PermittedPower(0, None, 6_000), PermittedPower(NOON + HOUR, None, 0)))
    assert [at([ends], NOON + HOUR + shift_ms, 1) for shift_ms in (MARGIN_MS - 1, MARGIN_MS)] == [6_000, 0]


def test_an_export_register_that_rises_by_more_is_named_with_the_limit() -> None:
    _, limits = permitted([held(None, purpose="ExportSignal", export_w=4_000)], 1, "t", SPAN)
    points = [(NOON, 0), (NOON + HOUR, 4_400_000), (NOON + 2 * HOUR, 8_900_000)]
    (found,) = judge_limits("export", points, limits, RATED_W)
    assert found.reason == "limits"
    assert found.detail == (
        f"the export register rises from 4400 to 8900 Wh in 1\u00a0h, at {utc(NOON + 2 * HOUR)}: 100 Wh more than "
        "limits of up to 4 kW permitted"
    )
    slack_mwh = 1_000 + 76_388  # what is rounded, and 5 s of 50 kW and 10 %
    for more_mwh, count in ((0, 0), (1, 1)):
        points = [(NOON, 0), (NOON + HOUR, 4_400_000 + slack_mwh + more_mwh)]
        assert len(list(judge_limits("export", points, limits, RATED_W))) == count


def test_the_lowest_of_station_and_transaction_counts_and_the_highest_level_of_each() -> None:
    station = held(9_000, purpose="ChargingStationMaxProfile", evse_id=0)
    assert at([station, held(11_000)], NOON) == 9_000
    assert at([station, held(4_000)], NOON) == 4_000
    assert at([station, held(4_000), held(7_000, purpose="TxDefaultProfile", evse_id=0)], NOON) == 7_000
    assert at([station, held(4_000), held(7_000, purpose="TxDefaultProfile", evse_id=2)], NOON) == 4_000
    assert at([held(4_000, transaction_id="other")], NOON) == MOST_W
    assert at([held(4_000, purpose="ChargingStationExternalConstraints")], NOON) == MOST_W


def test_where_something_is_unknown_there_is_no_limit() -> None:
    assert at([held(4_000, whole=False)], NOON) == MOST_W
    assert at([held(4_000, whole=False), held(3_000, purpose="TxDefaultProfile")], NOON) == MOST_W
    for raising in ("PriorityCharging", "LocalGeneration"):
        assert at([held(4_000), held(5_000, purpose=raising)], NOON) == MOST_W
    assert at([held(4_000), held(MOST_W)], NOON) == MOST_W
    assert at([held(4_000), held(None)], NOON) == 4_000, "the other one is over"


def test_a_limit_counts_a_while_before_and_after() -> None:
    assert MARGIN_MS == 120_000
    limits = [held(30_000, to_ms=NOON + HOUR), held(4_000, NOON + HOUR, NOON + 80 * MINUTE)]
    lower_ms, open_ms = NOON + HOUR + MARGIN_MS, NOON + 80 * MINUTE - MARGIN_MS
    for at_ms, most_w in ((NOON, 30_000), (lower_ms - 1, 30_000), (lower_ms, 4_000), (open_ms - 1, 4_000),
                          (open_ms, MOST_W)):  # fmt: skip
        assert at(limits, at_ms) == most_w, at_ms


def test_what_was_in_force_shortly_before_and_after_a_transaction_counts() -> None:
    raised = [held(30_000, to_ms=NOON - MINUTE), held(4_000, NOON - MINUTE)]
    assert [at(raised, NOON + shift_ms) for shift_ms in (0, MINUTE)] == [30_000, 4_000]
    later = [held(4_000, to_ms=SPAN[1] + MINUTE), held(30_000, SPAN[1] + MINUTE)]
    assert [at(later, SPAN[1] - shift_ms) for shift_ms in (MINUTE + 1, MINUTE)] == [4_000, 30_000]


def test_a_limit_counts_as_long_as_it_is_in_force() -> None:
    """Also while another one begins; one that was replaced at once never was."""
    default = held(30_000, NOON - HOUR, NOON + HOUR, "TxDefaultProfile")
    assert at([default, held(4_000, NOON)], NOON + 30 * MINUTE) == 30_000
    meanwhile = held(30_000, NOON + 30 * MINUTE, NOON + 40 * MINUTE)
    limits = [held(4_000), held(4_000, NOON + 40 * MINUTE), meanwhile]
    steps = (NOON - 3 * MARGIN_MS, 4_000), (NOON + 28 * MINUTE, 30_000), (NOON + 42 * MINUTE, 4_000)
    assert permitted(limits, 1, "t", SPAN)[0] == steps
    at_once = held(30_000, NOON + 30 * MINUTE, NOON + 30 * MINUTE)
    assert at([held(4_000), at_once], NOON + 30 * MINUTE) == 4_000


def test_a_register_that_rises_by_more_is_named_with_the_limit() -> None:
    limits, open_ = permitted([held(10_000)], 1, "t", SPAN)
    points = [(NOON, 0), (NOON + 30 * MINUTE, 5_000_000), (NOON + HOUR, 25_000_000), (NOON + 2 * HOUR, 30_000_000)]
    (found,) = judge_limits("import", points, limits, RATED_W)
    assert (found.reason, found.missing) == ("limits", False)
    assert found.detail == (
        f"the import register rises from 5000 to 25000 Wh in 30\u00a0min, at {utc(NOON + HOUR)}: 14500 Wh more than "
        "limits of up to 10 kW permitted"
    )
    assert list(judge_limits("import", points, [], RATED_W)) == []
    for too_few in ([], points[:1]):
        assert list(judge_limits("import", too_few, [(0, 1)], RATED_W)) == [], "a transaction without two readings"
    assert list(judge_limits("import", points, permitted([held(41_000)], 1, "t", SPAN)[0], RATED_W)) == []
    assert list(judge_limits("export", points, open_, RATED_W)) == [], "nothing limits that"


@pytest.mark.parametrize(
    ("limits", "most_mwh"),
    [
        # 10 kW for half an hour, then 4 kW: 7 kWh, and 10 % of them; a coarse register may show 1 kWh less at first
        ([(NOON - HOUR, 10_000), (NOON + HOUR // 2, 4_000)], 7_700_000),
        ([(NOON - HOUR, 4_000), (NOON - HOUR // 2, 10_000), (NOON + HOUR // 2, 4_000)], 7_700_000),
        ([(NOON - HOUR, 4_000), (NOON + HOUR, 10_000)], 4_400_000),
        ([(NOON, 4_000), (NOON + HOUR, 30_000)], 4_400_000),
        ([(NOON - HOUR, 4_000), (NOON + 2 * HOUR, 10_000)], 4_400_000),
        ([(NOON + HOUR // 2, 4_000)], 29_700_000),  # as much as it can before the first one
        ([(NOON - HOUR, 4_000), (NOON + HOUR // 2, MOST_W)], 29_700_000),  # or after the last one
    ],
)
@pytest.mark.parametrize("resolution_mwh", [0, 1_000_000])
def test_between_two_readings_all_limits_count_by_their_time(
    limits: list[tuple[int, int]], most_mwh: int, resolution_mwh: int
) -> None:
    slack_mwh = 1_000 + resolution_mwh + 76_388  # rounded, and 5 s of 50 kW and 10 %
    for begin_mwh, more_mwh, count in ((0, 0, 0), (0, 1, 1), (7_000_000, 0, 0), (7_000_000, 1, 1)):
        points = [(NOON, begin_mwh), (NOON + HOUR, begin_mwh + most_mwh + slack_mwh + more_mwh)]
        found = list(judge_limits("import", points, limits, RATED_W, resolution_mwh))
        assert len(found) == count, (more_mwh, found)
        for each in found:
            most_w = max(w for at_ms, w in limits if at_ms < NOON + HOUR and w < RATED_W)
            assert f"up to {most_w / 1000:g} kW" in each.detail


def test_the_part_that_exceeds_limits_most_is_named() -> None:
    """One that exceeds them a little and one more; what is drawn less afterwards does not make up for it."""
    limits, kwh = [(NOON - HOUR, 10_000)], 1_000_000
    values = [0, 12 * kwh, 12 * kwh, 26 * kwh, 41 * kwh, 41 * kwh, 53 * kwh, 53 * kwh]
    points = [(NOON + number * HOUR, each) for number, each in enumerate(values)]
    (found,) = judge_limits("import", points, limits, RATED_W)
    assert found.detail == (
        f"the import register rises from 12000 to 41000 Wh in 2\u00a0h, at {utc(NOON + 4 * HOUR)}: 7000 Wh more than "
        "limits of up to 10 kW permitted"
    )


def test_the_slack_itself_is_permitted() -> None:
    for more_mwh, count in ((0, 0), (1, 1)):
        points = [(NOON, 0), (NOON + HOUR, 4_400_000 + 1_000 + 55_000 + more_mwh)]  # 5 s of 36 kW and 10 %
        assert len(list(judge_limits("import", points, [(NOON, 4_000)], 36_000))) == count


def test_electronics_may_take_a_little_where_nothing_is_permitted() -> None:
    slack_mwh = 1_000 + 76_388  # as above
    for more_mwh, count in ((0, 0), (1, 1)):
        points = [(NOON, 0), (NOON + HOUR, 110_000 + slack_mwh + more_mwh)]
        assert len(list(judge_limits("import", points, [(NOON, 0)], RATED_W))) == count


def test_a_limit_of_all_that_an_evse_can_is_none() -> None:
    """More than its rating is another finding."""
    points = [(NOON, 0), (NOON + HOUR, 90_000_000)]
    assert list(judge_limits("import", points, [(NOON, RATED_W)], RATED_W)) == []
    (found,) = judge_limits("import", points, [(NOON, RATED_W - 1)], RATED_W)
    assert "up to 49.999 kW" in found.detail


TOGETHER = ("ChargingStationMaxProfile",), ("TxProfile", "TxDefaultProfile"), ("ExportSignal",)
POWER = st.sampled_from([0, 5_000, RATED_W, MOST_W])
LIMITS = st.lists(
    st.tuples(
        st.sampled_from([name for names in TOGETHER for name in names]), st.integers(0, 1), st.integers(0, 60),
        st.tuples(POWER, POWER), st.none() | st.integers(1, 60),
    ),
    min_size=1, max_size=8,
)  # fmt: skip


@given(
    LIMITS,
    st.lists(
        st.tuples(st.integers(1, 30), st.sampled_from([1.0, 1.0, 0.5, 0.0, -0.5, -1.0])), min_size=20, max_size=60
    ),
    st.integers(-60, 60),
    st.integers(0, 30),
    st.integers(0, 60),
    st.sampled_from([RATED_W, RATED_W, 20_000]),
)
def test_nothing_that_a_truth_teller_says_exceeds_them(
    changes: list[tuple[str, int, int, tuple[int, int], int | None]],
    course: list[tuple[int, float]],
    clock_s: int,
    early_s: int,
    late_s: int,
    local_w: int,
) -> None:
    """Its limits change, at two levels of each purpose; it takes each a little before or after that is known, goes by
    the highest level, its own limit and its clock, and the vehicle draws or gives any part of what it may."""
    spans: list[LimitInForce] = []
    real: list[tuple[str, int, int, tuple[int, int], int | None]] = []
    for purpose, level, minute, limits_w, lasts in sorted(changes, key=lambda each: each[2]):
        from_ms = NOON + minute * MINUTE
        to_ms = None if lasts is None else from_ms + lasts * MINUTE
        level = 0 if purpose == "ExportSignal" else level
        for place, (other, span) in enumerate(zip(real, spans, strict=True)):
            if other[:2] == (purpose, level) and (span.to_ms is None or span.to_ms > from_ms):
                spans[place] = msgspec.structs.replace(span, to_ms=from_ms)
                real[place] = (*other[:3], other[3], from_ms)
        import_w = None if purpose == "ExportSignal" else limits_w[0]
        spans.append(held(import_w, from_ms, to_ms, purpose, limits_w[1]))
        real.append((purpose, level, from_ms, limits_w, to_ms))

    def most_w(at_ms: int, way: int) -> int:
        found = [RATED_W, local_w]
        for purposes in TOGETHER[: 2 if way == 0 else 3]:
            for purpose in purposes:
                there = [(level, limits_w[way]) for name, level, from_ms, limits_w, to_ms in real if name == purpose
                         and from_ms + shift_ms <= at_ms and (to_ms is None or at_ms < to_ms + shift_ms)]  # fmt: skip
                if there:
                    found.append(max(there)[1])
                    break
        return min(found)

    shift_ms = (late_s - early_s) * 1000
    now_ms, energies, points = NOON, [0, 0], [[NOON + clock_s * 1000, 0, 0]]
    for ten_seconds, part in course:
        for _ in range(ten_seconds):
            way = int(part < 0)
            energies[way] += round(most_w(now_ms, way) * abs(part) * 10_000 / 3600)
            now_ms += 10_000
        points.append([now_ms + clock_s * 1000, *energies])
    limits = permitted(spans, 1, "t", (points[0][0], points[-1][0]))
    for way, name in enumerate(("import", "export")):
        register = [(at_ms, values[way]) for at_ms, *values in points]
        assert list(judge_limits(name, register, limits[way], RATED_W)) == []


# -- what bounds an EVSE now

RUNNING = Transaction(station_id="CS", transaction_id="t", first_seq=0, last_seq=9, evse_id=1, power_w=Dated(9, "3000"))


@pytest.mark.parametrize("unknown", [Known(), Known(transaction=msgspec.structs.replace(RUNNING, evse_id=None))])
def test_without_a_transaction_nothing_bounds_an_evse(unknown: Known) -> None:
    assert evse_limits("CS", unknown, 16_000) is None


@pytest.mark.parametrize(
    ("requested", "watts"), [("AC_single_phase", 230), ("AC_two_phase", 2 * 230), ("AC_three_phase", 3 * 230)]
)
def test_the_lowest_bound_of_an_evse_comes_first(requested: str, watts: int) -> None:
    """Currents are of each phase that the vehicle uses."""
    needs = Needs(evse_id=1, requested=requested, most_ma=20_000, most_w=100_000)
    known = Known(transaction=RUNNING, needs=needs, external={"EMS": 90_000.0}, dispatch_w=-1_000)
    found = evse_limits("CS", known, 16_000)
    assert found is not None
    assert (found.evse_id, found.power_w, found.setpoint_w) == (1, "3000", -1_000)
    assert found.bounds == (
        Bound("set_point", -1_000), Bound("share", 16 * watts), Bound("vehicle", 20 * watts),
        Bound("external", 90_000, "EMS"),
    )  # fmt: skip


def test_what_is_not_known_bounds_nothing() -> None:
    needs = Needs(evse_id=1, requested="DC", most_w=50_000)
    for about, bounds in ((needs, (Bound("vehicle", 50_000),)), (Needs(evse_id=1, requested="DC"), ()), (None, ())):
        found = evse_limits("CS", Known(transaction=RUNNING, needs=about), None)
        assert found is not None
        assert (found.setpoint_w, found.bounds) == (None, bounds)
