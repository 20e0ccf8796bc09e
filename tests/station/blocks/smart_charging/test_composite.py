"""Composite schedules against a slow and obvious reference: every moment is looked at by itself (K01, K08, K27, Q)."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod, LimitAtSoC
from v2g.ocpp.times import format_time, parse_time
from v2g_station.blocks.smart_charging.profile_times import InstalledProfile, OpenTransaction, ProfileSituation, delay_s
from v2g_station.blocks.smart_charging.profiles import composite, limits_at
from v2g_station.kernel.local_time import LocalTime

NOW = 1_780_000_200_000
HORIZON = 240
MAX_W = 22_000
VOLTS, PHASES = 230, 3
TRANSACTION = OpenTransaction("tx", 1, NOW - 90_000)
STEP = 30
"""Everything happens at whole half minutes, so that edges meet."""

PURPOSES = ("ChargingStationMaxProfile", "TxDefaultProfile", "TxProfile")
PURPOSES_21 = (*PURPOSES, "PriorityCharging", "LocalGeneration", "ChargingStationExternalConstraints")
ZONES = ("", "Europe/Oslo", "Asia/Kolkata")
DAY = 86_400_000

TICKS = st.integers(-6, 12).map(lambda n: n * STEP * 1000)
WATTS = st.integers(0, 30).map(lambda n: n * 1000.0)


@st.composite
def installed(draw: st.DrawFn) -> InstalledProfile:
    """Any profile of OCPP 2.0.1 that a station accepts."""
    purpose: Any = draw(st.sampled_from(PURPOSES))
    kinds = ["Absolute", "Recurring"] + ([] if purpose == "ChargingStationMaxProfile" else ["Relative"])
    kind: Any = draw(st.sampled_from(kinds))
    starts = sorted({0, *draw(st.lists(st.integers(1, 8).map(lambda n: n * STEP), max_size=3))})
    start = NOW + draw(TICKS) - (DAY * draw(st.integers(0, 2)) if kind == "Recurring" else 0)
    return InstalledProfile(
        0 if purpose == "ChargingStationMaxProfile" else draw(st.sampled_from([0, 1])),
        ChargingProfile(
            id=draw(st.integers(1, 10**6)),
            stack_level=draw(st.integers(0, 3)),
            charging_profile_purpose=purpose,
            charging_profile_kind=kind,
            recurrency_kind="Daily" if kind == "Recurring" else None,
            valid_from=draw(st.none() | TICKS.map(lambda t: format_time(NOW + t))),
            valid_to=draw(st.none() | TICKS.map(lambda t: format_time(NOW + t))),
            transaction_id="tx" if purpose == "TxProfile" else None,
            charging_schedule=(
                ChargingSchedule(
                    id=1,
                    charging_rate_unit="W",
                    start_schedule=None if kind == "Relative" else format_time(start),
                    duration=draw(st.none() | st.integers(1, 10).map(lambda n: n * STEP)),
                    charging_schedule_period=tuple(
                        ChargingSchedulePeriod(start_period=s, limit=draw(WATTS)) for s in starts
                    ),
                ),
            ),
        ),
        "2.0.1",
    )


@st.composite
def installed_21(draw: st.DrawFn) -> InstalledProfile:
    """Any profile of OCPP 2.1: units, modes, offline validity, local time, delays and updates as well."""
    purpose: Any = draw(st.sampled_from(PURPOSES_21))
    of_transactions = purpose in ("TxProfile", "TxDefaultProfile")
    old = draw(installed().filter(lambda i: of_transactions or i.profile.charging_profile_kind != "Relative"))
    profile, schedule = old.profile, old.profile.charging_schedule[0]
    dynamic = draw(st.booleans()) if profile.charging_profile_kind == "Absolute" else False
    local = not dynamic and schedule.start_schedule is not None and draw(st.booleans())
    start = schedule.start_schedule
    if local and start is not None:
        start = start.removesuffix("Z") + draw(st.sampled_from(["", "Z", "+07:00"]))
    periods = schedule.charging_schedule_period[: 1 if dynamic else None]
    schedule = msgspec.structs.replace(
        schedule,
        charging_rate_unit=draw(st.sampled_from(["W", "A"])),
        start_schedule=None if dynamic else start,
        use_local_time=True if local else None,
        randomized_delay=draw(st.none() | st.integers(0, 90)) if of_transactions else None,
        duration=None if purpose == "PriorityCharging" else schedule.duration,
        limit_at_soc=draw(st.none() | st.builds(LimitAtSoC, soc=st.integers(0, 100), limit=WATTS)),
        charging_schedule_period=tuple(draw(of_mode(purpose, period)) for period in periods),
    )
    return InstalledProfile(
        0 if purpose == "ChargingStationMaxProfile" else draw(st.sampled_from([0, 1])),
        msgspec.structs.replace(
            profile,
            charging_profile_purpose=purpose,
            charging_profile_kind="Dynamic" if dynamic else profile.charging_profile_kind,
            dyn_update_time=format_time(NOW + draw(TICKS)) if dynamic else None,
            transaction_id="tx" if purpose == "TxProfile" else None,
            max_offline_duration=draw(st.none() | st.integers(0, 8).map(lambda n: n * STEP)),
            charging_schedule=(schedule,),
        ),
        "2.1",
        ended=draw(st.integers(0, 9)) == 0,
    )


@st.composite
def of_mode(draw: st.DrawFn, purpose: str, period: ChargingSchedulePeriod) -> ChargingSchedulePeriod:
    """A period in an operation mode that its purpose may have."""
    modes: tuple[Any, ...] = (None, "ChargingOnly")
    if purpose in ("TxProfile", "TxDefaultProfile"):
        modes = (*modes, "Idle", "CentralSetpoint", "ExternalLimits")
    elif purpose == "ChargingStationExternalConstraints":
        modes = (*modes, "ExternalLimits", "ExternalSetpoint")
    elif purpose == "LocalGeneration":
        modes = (*modes, "ExternalLimits")
    mode = draw(st.sampled_from(modes))
    both = mode not in (None, "ChargingOnly")
    fields: dict[str, Any] = {"operation_mode": mode, "number_phases": draw(st.sampled_from([None, 1, 3]))}
    if mode == "Idle":
        fields |= {"limit": None, "evse_sleep": draw(st.none() | st.booleans())}
    elif both:
        fields |= {"limit": draw(st.none() | WATTS), "discharge_limit": draw(st.none() | WATTS.map(lambda w: -w))}
    if mode in ("CentralSetpoint", "ExternalSetpoint"):
        fields["setpoint"] = draw(st.integers(-30, 30)) * 1000.0
    return msgspec.structs.replace(period, **fields)


AROUND = st.builds(
    ProfileSituation,
    evse_id=st.just(1),
    transaction=st.builds(
        OpenTransaction,
        transaction_id=st.just("tx"),
        evse_id=st.just(1),
        started_ms=st.just(NOW - 90_000),
        priority=st.booleans(),
        soc=st.none() | st.integers(0, 100),
    ),
    sharers=st.integers(1, 3),
    offline_since_ms=st.none() | TICKS.map(lambda t: NOW + t),
    local=st.sampled_from(ZONES).map(lambda zone: LocalTime(zone=zone)),
    volts=st.just(float(VOLTS)),
    phases=st.sampled_from([1, 3]),
    csms_first=st.booleans(),
)

OFFSETS = {"": 0, "Europe/Oslo": 2 * 3_600_000, "Asia/Kolkata": 5 * 3_600_000 + 1_800_000}
"""How far these zones are ahead of UTC at the end of May."""


def period_of(item: InstalledProfile, at: int, around: ProfileSituation) -> ChargingSchedulePeriod | None:
    """What one profile says at a moment, by the words of the standard."""
    profile, schedule = item.profile, item.profile.charging_schedule[0]
    if profile.valid_from and at < parse_time(profile.valid_from):
        return None
    if profile.valid_to and at >= parse_time(profile.valid_to):
        return None
    if item.ended:
        return None
    longest = profile.max_offline_duration
    if longest is not None and around.offline_since_ms is not None and at - around.offline_since_ms >= longest * 1000:
        return None
    if profile.charging_profile_kind == "Relative":
        begin = TRANSACTION.started_ms
    elif profile.charging_profile_kind == "Dynamic":
        begin = parse_time(profile.dyn_update_time or "")
    elif schedule.use_local_time:
        begin = parse_time((schedule.start_schedule or "")[:19] + "Z") - OFFSETS[around.local.zone]
    else:
        begin = parse_time(schedule.start_schedule or "")
    while profile.charging_profile_kind == "Recurring" and begin + DAY <= at:
        begin += DAY
    seconds = (at - begin) // 1000
    if seconds < 0 or (schedule.duration is not None and seconds >= schedule.duration):
        return None
    found = None
    for number, period in enumerate(schedule.charging_schedule_period):
        delay = delay_s("tx", profile.id, number, schedule.randomized_delay or 0) if number else 0
        if period.start_period + delay <= seconds:
            found = period
    return found


def chosen_at(
    profiles: list[InstalledProfile], at: int, around: ProfileSituation
) -> dict[str, tuple[ChargingSchedulePeriod, InstalledProfile]]:
    """The period of the highest level of each purpose."""
    chosen = {}
    for purpose in PURPOSES_21:
        for item in sorted(profiles, key=lambda item: -item.profile.stack_level):
            period = period_of(item, at, around) if item.profile.charging_profile_purpose == purpose else None
            if period is not None:
                chosen[purpose] = (period, item)
                break
    assert around.transaction is not None
    leads = next(
        (
            purpose
            for purpose in ("PriorityCharging", "TxProfile", "TxDefaultProfile")
            if purpose in chosen and (purpose != "PriorityCharging" or around.transaction.priority)
        ),
        None,
    )
    for purpose in ("PriorityCharging", "TxProfile", "TxDefaultProfile"):
        if purpose != leads:
            chosen.pop(purpose, None)
    return chosen


def reference(profiles: list[InstalledProfile], at: int) -> float:
    """What is allowed at a moment: the highest level of each purpose, then the smallest of the purposes."""
    around = ProfileSituation(evse_id=1, transaction=TRANSACTION)
    return min([MAX_W, *(period.limit or 0 for period, _ in chosen_at(profiles, at, around).values())])


def reference_21(
    profiles: list[InstalledProfile], at: int, around: ProfileSituation, *, amperes: bool = False
) -> tuple[float | None, float | None, float | None]:
    """What is allowed to charge and to discharge at a moment, W or A of each line, and what is wished for, W; None for
    no word on it."""
    chosen = chosen_at(profiles, at, around)
    assert around.transaction is not None
    charge, discharge, own_wish, their_wish, generated = [], [], None, None, 0.0
    leads = False
    for purpose, (period, item) in chosen.items():
        factor = wish_factor = 1.0
        if item.profile.charging_schedule[0].charging_rate_unit == "A":
            factor = wish_factor = VOLTS * min(period.number_phases or 3, around.phases)
        if amperes:  # K01.FR.50: current per phase = power / (line voltage * number of phases)
            in_watts = item.profile.charging_schedule[0].charging_rate_unit == "W"
            factor = 1 / (VOLTS * min(period.number_phases or 3, around.lines)) if in_watts else 1.0
        cap = item.profile.charging_schedule[0].limit_at_soc
        limits = [] if period.limit is None else [period.limit]
        if cap is not None and around.transaction.soc is not None and around.transaction.soc >= cap.soc:
            limits.append(cap.limit)
        if item.evse_id == 0 and purpose not in ("TxProfile", "TxDefaultProfile", "PriorityCharging"):
            factor /= around.sharers
            wish_factor /= around.sharers
        if purpose == "LocalGeneration":
            generated = min(limits) * factor if limits and period.operation_mode != "Idle" else 0.0
            continue
        wish = None if period.setpoint is None else period.setpoint * wish_factor
        if purpose == "ChargingStationExternalConstraints":
            their_wish = wish
        elif purpose != "ChargingStationMaxProfile":
            leads = True
            own_wish = wish
            if (period.operation_mode or "ChargingOnly") in ("ChargingOnly", "Idle"):
                discharge.append(0.0)
            if period.operation_mode == "Idle":
                charge.append(0.0)
                own_wish = 0.0
                continue
        if limits:
            charge.append(min(limits) * factor)
        if period.discharge_limit is not None:
            discharge.append(-period.discharge_limit * factor)
    if not leads and over(profiles, at, around):
        discharge.append(0.0)
    most = min(charge) + generated if charge else None
    least = min(discharge) if discharge else None
    idle = any(period.operation_mode == "Idle" for period, _ in chosen.values())
    wish = own_wish
    if their_wish is not None and not idle and not (around.csms_first and own_wish is not None):
        wish = their_wish
    if wish is not None and not amperes:
        wish = wish if most is None else min(wish, most)
        wish = wish if least is None else max(wish, -least)
    return most, least, wish


def over(profiles: list[InstalledProfile], at: int, around: ProfileSituation) -> bool:
    """Whether a transaction's profile for both directions has held at any moment before, or might have."""
    for item in profiles:
        profile, schedule = item.profile, item.profile.charging_schedule[0]
        if profile.charging_profile_purpose not in ("TxProfile", "TxDefaultProfile"):
            continue
        modes = {period.operation_mode or "ChargingOnly" for period in schedule.charging_schedule_period}
        if modes == {"ChargingOnly"}:
            continue
        longest, since = profile.max_offline_duration, around.offline_since_ms
        if item.ended or (longest is not None and since is not None and at >= since + longest * 1000):
            return True
        if profile.valid_to and at >= parse_time(profile.valid_to):
            return True
        if profile.charging_profile_kind == "Recurring" or schedule.duration is None:
            continue
        if profile.charging_profile_kind == "Relative":
            begin = TRANSACTION.started_ms
        elif profile.charging_profile_kind == "Dynamic":
            begin = parse_time(profile.dyn_update_time or "")
        else:
            begin = parse_time((schedule.start_schedule or "")[:19] + "Z")
            begin -= OFFSETS[around.local.zone] if schedule.use_local_time else 0
        if at >= begin + schedule.duration * 1000:
            return True
    return False


LEVELS: Any = lambda i: (i.profile.charging_profile_purpose, i.profile.stack_level)  # noqa: E731


@pytest.mark.long
@given(st.lists(installed(), max_size=5, unique_by=LEVELS))
def test_every_second_of_a_composite_schedule_is_as_the_standard_says(profiles: list[InstalledProfile]) -> None:
    around = ProfileSituation(evse_id=1, transaction=TRANSACTION)
    schedule = composite(profiles, NOW, HORIZON, around, [(around, MAX_W)])
    periods = schedule.charging_schedule_period
    for second in range(0, HORIZON, 10):
        said = [period.limit for period in periods if period.start_period <= second][-1]
        assert said == reference(profiles, NOW + second * 1000), second
    limits = [period.limit for period in periods]
    assert all(one != two for one, two in itertools.pairwise(limits)), "nothing is said twice"


def same(one: float | None, two: float | None) -> bool:
    """Whether two powers are equal but for how they were calculated."""
    if one is None or two is None:
        return one is two
    return abs(one - two) <= 1e-9 * max(1.0, abs(one), abs(two))


@pytest.mark.long
@given(st.lists(installed_21(), max_size=5, unique_by=LEVELS), AROUND)
def test_every_moment_of_21_is_as_the_standard_says(profiles: list[InstalledProfile], around: ProfileSituation) -> None:
    """And between two moments of which something is said nothing changes."""
    now = limits_at(profiles, NOW, around)
    for second in range(0, HORIZON, 15):
        at = NOW + second * 1000
        while now.until_ms is not None and now.until_ms <= at:
            now = limits_at(profiles, now.until_ms, around)
        said = (now.charge_w, now.discharge_w, now.setpoint_w)
        wanted = reference_21(profiles, at, around)
        assert all(same(one, two) for one, two in zip(said, wanted, strict=True)), (second, said, wanted)


@given(st.lists(installed_21(), max_size=4, unique_by=LEVELS), AROUND, st.sampled_from(["W", "A"]))
@settings(max_examples=30, deadline=None)
def test_a_composite_schedule_of_21_says_it_in_the_unit_that_is_asked_for(
    profiles: list[InstalledProfile], around: ProfileSituation, unit: Any
) -> None:
    """Amperes are of each line of an EVSE whose vehicle may use fewer of them."""
    around = msgspec.structs.replace(around, lines=3, sharers=1)
    schedule = composite(profiles, NOW, HORIZON, around, [(around, MAX_W)], version="2.1", unit=unit)
    whole = MAX_W if unit == "W" else MAX_W / VOLTS / 3
    for second in range(0, HORIZON, 30):
        said = [each for each in schedule.charging_schedule_period if each.start_period <= second][-1]
        charge, discharge, _ = reference_21(profiles, NOW + second * 1000, around, amperes=unit == "A")
        *_, wish = reference_21(profiles, NOW + second * 1000, around)
        assert same(said.limit or 0, min(whole, whole if charge is None else charge))
        assert same(said.discharge_limit or 0, -(discharge or 0.0))
        wish = None if wish is None else min(wish, MAX_W)  # K08.FR.08
        assert same(said.setpoint, wish if wish is None or unit == "W" else wish / VOLTS / 3)
