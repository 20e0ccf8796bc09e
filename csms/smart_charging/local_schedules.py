"""Schedules by a site's wall clock (useLocalTime, K01.FR.90, FR.91).

Stations that do not know its time get them in UTC, and again when clocks change.
"""

from datetime import datetime, timezone

import msgspec

from v2g.energy.settlement.pieces import zone_of
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.times import parse_time


def offset_of(zone: str, at_ms: int) -> timezone:
    """Return how far a zone is ahead of UTC at a time."""
    offset = datetime.fromtimestamp(at_ms / 1000, zone_of(zone)).utcoffset()
    assert offset is not None
    return timezone(offset)


def is_local(profile: ChargingProfile) -> bool:
    """Return whether a profile's times are those of a wall clock."""
    return any(each.use_local_time and each.start_schedule is not None for each in profile.charging_schedule)


def marked(profile: ChargingProfile, *, local: bool) -> ChargingProfile:
    """Return a profile whose times are those of a wall clock, or those that it names."""
    schedules = (msgspec.structs.replace(each, use_local_time=local or None) for each in profile.charging_schedule)
    return msgspec.structs.replace(profile, charging_schedule=tuple(schedules))


def at_present(profile: ChargingProfile, zone: str, now_ms: int) -> ChargingProfile:
    """Return a profile of local time whose starts have the present offset of its zone: what they name is right now."""
    present = offset_of(zone, now_ms)
    schedules = (
        msgspec.structs.replace(
            each, start_schedule=datetime.fromisoformat(each.start_schedule).replace(tzinfo=present).isoformat()
        )
        if each.start_schedule is not None
        else each
        for each in profile.charging_schedule
    )
    return msgspec.structs.replace(profile, charging_schedule=tuple(schedules))


def as_made(reported: ChargingProfile, held: ChargingProfile) -> ChargingProfile:
    """Return a profile as reported by a station that got it in UTC: with the local times that it was made of."""
    starts = [
        [each.start_schedule and parse_time(each.start_schedule) for each in profile.charging_schedule]
        for profile in (reported, held)
    ]
    if not is_local(held) or starts[0] != starts[1]:
        return reported
    schedules = (
        msgspec.structs.replace(its, start_schedule=ours.start_schedule, use_local_time=ours.use_local_time)
        for its, ours in zip(reported.charging_schedule, held.charging_schedule, strict=True)
    )
    return msgspec.structs.replace(reported, charging_schedule=tuple(schedules))
