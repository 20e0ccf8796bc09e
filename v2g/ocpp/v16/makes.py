"""Charging profiles as makes of stations of 1.6 take them: never a higher limit, and what was changed is said."""

import math
from typing import Final

from msgspec.structs import replace

from v2g.errors import OcppError
from v2g.ocpp.quirks import StationQuirks
from v2g.ocpp.times import format_time, parse_time
from v2g.ocpp.v16.messages import ChargingProfile16, ChargingSchedule16, SchedulePeriod16

_VOLTAGE_V: Final = 230


def profile_for(
    profile: ChargingProfile16, quirks: StationQuirks, now_ms: int
) -> tuple[ChargingProfile16, tuple[str, ...]]:
    """Return a profile by the options of a make, and what differs from the one that was asked for.

    Raises OcppError (`NotSupported`) for one that cannot be expressed so without a higher limit at some time.
    """
    said: list[str] = []
    options, schedule = quirks.profiles, profile.charging_schedule
    if "stack_level_0" in options and profile.stack_level:
        said.append(f"stack level 0 in place of {profile.stack_level}")
        profile = replace(profile, stack_level=0)
    if "watts" in options and schedule.charging_rate_unit == "A":
        said.append("limits in W")
        periods = tuple(
            replace(each, limit=each.limit * _VOLTAGE_V * (each.number_phases or 1))
            for each in schedule.charging_schedule_period
        )
        lowest = schedule.min_charging_rate
        schedule = replace(
            schedule,
            charging_rate_unit="W",
            charging_schedule_period=periods,
            min_charging_rate=None if lowest is None else lowest * _VOLTAGE_V,
        )
    if quirks.steps_a:
        periods = tuple(_stepped(each, schedule, quirks.steps_a) for each in schedule.charging_schedule_period)
        if periods != schedule.charging_schedule_period:
            said.append(f"rounded down to {', '.join(f'{each.limit:g} A' for each in periods)}"[:200])
        schedule = replace(schedule, charging_rate_unit="A", charging_schedule_period=periods)
    profile = replace(profile, charging_schedule=schedule)
    relative = "relative" in options and profile.charging_profile_kind != "Relative"
    if relative or ("no_start" in options and schedule.start_schedule is not None):
        said.append("without its beginning")
        profile = _from_now_on(profile, now_ms)
        if relative:
            profile = replace(profile, charging_profile_kind="Relative")
    if "zero_ends" in options and any(each.limit == 0 for each in schedule.charging_schedule_period):
        said.append("a limit of 0 ends the transaction")
    return profile, tuple(said)


def never_above(profile: ChargingProfile16, other: ChargingProfile16, level: int, now_ms: int) -> ChargingProfile16:
    """Return a profile that takes the place of another one, of a stack `level`: nowhere higher than that.

    Raises OcppError (`NotSupported`) for one that begins later or ends sooner, or has limits of another kind.
    """
    schedule, there = profile.charging_schedule, other.charging_schedule
    ends_ms = _ends_ms(other, math.inf)
    if ends_ms <= now_ms:
        return profile
    starts = [each for each in (profile.valid_from, schedule.start_schedule) if each is not None]
    begins_late = any(parse_time(each) > now_ms for each in starts) or schedule.charging_schedule_period[0].start_period
    is_shorter = profile.charging_profile_kind == "Recurring" or _ends_ms(profile, now_ms) < ends_ms
    if begins_late or is_shorter or schedule.charging_rate_unit != there.charging_rate_unit:
        raise OcppError(
            f"this make holds one profile in a place: clear profile {other.charging_profile_id} of level {level} first",
            answer="NotSupported",
        )
    lowest = min(each.limit for each in there.charging_schedule_period)
    periods = tuple(replace(each, limit=min(each.limit, lowest)) for each in schedule.charging_schedule_period)
    return replace(profile, charging_schedule=replace(schedule, charging_schedule_period=periods))


def _ends_ms(profile: ChargingProfile16, unknown: float) -> float:
    """Return when a profile ends, UTC ms, infinite if it does not; `unknown` for one that ends after it began."""
    schedule = profile.charging_schedule
    valid = math.inf if profile.valid_to is None else parse_time(profile.valid_to)
    if schedule.duration is None or profile.charging_profile_kind == "Recurring":
        return valid
    begins = schedule.start_schedule
    return min(valid, unknown if begins is None else parse_time(begins) + schedule.duration * 1000)


def _stepped(period: SchedulePeriod16, schedule: ChargingSchedule16, steps_a: tuple[float, ...]) -> SchedulePeriod16:
    """Return a period whose limit is a step, or 0 below the lowest; without a number of phases it counts for three."""
    per_a = 1 if schedule.charging_rate_unit == "A" else _VOLTAGE_V * (period.number_phases or 3)
    return replace(period, limit=max((each for each in steps_a if each * per_a <= period.limit), default=0))


def _from_now_on(profile: ChargingProfile16, now_ms: int) -> ChargingProfile16:
    """Return a constant limit that begins at once; its end is that of the profile."""
    schedule = profile.charging_schedule
    begins_ms = now_ms if schedule.start_schedule is None else parse_time(schedule.start_schedule)
    limits = {(each.limit, each.number_phases) for each in schedule.charging_schedule_period}
    if profile.charging_profile_kind == "Recurring" or len(limits) > 1 or begins_ms > now_ms:
        raise OcppError("this make takes only a constant limit that begins at once", answer="NotSupported")
    valid_to = profile.valid_to
    if schedule.duration is not None:
        ends_ms = begins_ms + schedule.duration * 1000
        valid_to = format_time(ends_ms if valid_to is None else min(ends_ms, parse_time(valid_to)))
    first = replace(schedule.charging_schedule_period[0], start_period=0)
    schedule = replace(schedule, start_schedule=None, duration=None, charging_schedule_period=(first,))
    return replace(profile, valid_to=valid_to, charging_schedule=schedule)
