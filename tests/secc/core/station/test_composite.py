"""Composite schedules against a slow and obvious reference: every second is looked at by itself (K01, K08)."""

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from secc.core.station.profiles import Installed, OpenTransaction, composite
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.times import format_time, parse_time

NOW = 1_780_000_200_000
HORIZON = 240
MAX_W = 22_000
TRANSACTION = OpenTransaction("tx", 1, NOW - 90_000)
STEP = 30
"""Everything happens at whole half minutes, so that edges meet."""

PURPOSES = ("ChargingStationMaxProfile", "TxDefaultProfile", "TxProfile")


@st.composite
def installed(draw: st.DrawFn) -> Installed:
    """Any profile of OCPP 2.0.1 that a station accepts."""
    purpose: Any = draw(st.sampled_from(PURPOSES))
    kinds = ["Absolute", "Recurring"] + ([] if purpose == "ChargingStationMaxProfile" else ["Relative"])
    kind: Any = draw(st.sampled_from(kinds))
    ticks = st.integers(-6, 12).map(lambda n: n * STEP * 1000)
    starts = sorted({0, *draw(st.lists(st.integers(1, 8).map(lambda n: n * STEP), max_size=3))})
    start = NOW + draw(ticks) - (86_400_000 * draw(st.integers(0, 2)) if kind == "Recurring" else 0)
    return Installed(
        0 if purpose == "ChargingStationMaxProfile" else draw(st.sampled_from([0, 1])),
        ChargingProfile(
            id=draw(st.integers(1, 10**6)),
            stack_level=draw(st.integers(0, 3)),
            charging_profile_purpose=purpose,
            charging_profile_kind=kind,
            recurrency_kind="Daily" if kind == "Recurring" else None,
            valid_from=draw(st.none() | ticks.map(lambda t: format_time(NOW + t))),
            valid_to=draw(st.none() | ticks.map(lambda t: format_time(NOW + t))),
            transaction_id="tx" if purpose == "TxProfile" else None,
            charging_schedule=(
                ChargingSchedule(
                    id=1,
                    charging_rate_unit="W",
                    start_schedule=None if kind == "Relative" else format_time(start),
                    duration=draw(st.none() | st.integers(1, 10).map(lambda n: n * STEP)),
                    charging_schedule_period=tuple(
                        ChargingSchedulePeriod(start_period=s, limit=float(draw(st.integers(0, 30)) * 1000))
                        for s in starts
                    ),
                ),
            ),
        ),
        "2.0.1",
    )


def limit_of(profile: ChargingProfile, at: int) -> float | None:
    """What one profile says at a moment, by the words of the standard."""
    if profile.valid_from and at < parse_time(profile.valid_from):
        return None
    if profile.valid_to and at >= parse_time(profile.valid_to):
        return None
    schedule = profile.charging_schedule[0]
    if profile.charging_profile_kind == "Relative":
        begin = TRANSACTION.started_ms
    else:
        begin = parse_time(schedule.start_schedule or "")
        while profile.charging_profile_kind == "Recurring" and begin + 86_400_000 <= at:
            begin += 86_400_000
    seconds = (at - begin) // 1000
    if seconds < 0 or (schedule.duration is not None and seconds >= schedule.duration):
        return None
    found = None
    for period in schedule.charging_schedule_period:
        if period.start_period <= seconds:
            found = period.limit
    return found


def reference(profiles: list[Installed], at: int) -> float:
    """What is allowed at a moment: the highest level of each purpose, then the smallest of the purposes."""
    chosen: dict[str, float] = {}
    for purpose in PURPOSES:
        for item in sorted(profiles, key=lambda item: -item.profile.stack_level):
            value = limit_of(item.profile, at) if item.profile.charging_profile_purpose == purpose else None
            if value is not None:
                chosen[purpose] = value
                break
    if "TxProfile" in chosen:
        chosen.pop("TxDefaultProfile", None)
    return min([MAX_W, *chosen.values()])


@given(
    st.lists(installed(), max_size=5, unique_by=lambda i: (i.profile.charging_profile_purpose, i.profile.stack_level))
)
@settings(max_examples=150, deadline=None)
def test_every_second_of_a_composite_schedule_is_as_the_standard_says(profiles: list[Installed]) -> None:
    schedule = composite(profiles, NOW, HORIZON, evse_id=1, transaction=TRANSACTION, max_w=MAX_W)
    periods = schedule.charging_schedule_period
    for second in range(0, HORIZON, 10):
        said = [period.limit for period in periods if period.start_period <= second][-1]
        assert said == reference(profiles, NOW + second * 1000), second
    limits = [period.limit for period in periods]
    assert all(one != two for one, two in itertools.pairwise(limits)), "nothing is said twice"
