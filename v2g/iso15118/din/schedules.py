"""SAScheduleList and ChargingProfile of DIN 70121, from and to schedules of `engine.power_schedule`.

Powers are int16 in W without a multiplier: what a charger offers beyond 32.767 kW is sent as that, and vehicles take
EVSEMaximumPowerLimit for the rest. There are no sales tariffs [V2G-DC-554].
"""

from collections.abc import Mapping
from itertools import islice
from typing import Final

from v2g.iso15118.din.messages import data_types as iso
from v2g.iso15118.din.messages.data_types import (
    ChargingProfile,
    DC_EVSEStatus,
    DC_EVSEStatusCode,
    EVSENotification,
    IsolationLevel,
    PhysicalValue,
    UnitSymbol,
)
from v2g.iso15118.engine.dc_status import DcStatus
from v2g.iso15118.engine.physical_values import MAX_INT16, Writer, watts_int16
from v2g.iso15118.engine.power_schedule import PowerSchedule, offered, read

MOST_ENTRIES: Final = 12
"""Entries of a PMaxSchedule."""


def schedule_list(schedule: PowerSchedule, *, tuple_id: int = 1) -> iso.SAScheduleList:
    """Return the one schedule on offer, its first 12 steps."""
    entries = tuple(
        iso.PMaxScheduleEntry(
            time_interval=iso.RelativeTimeInterval(start=start, duration=duration), p_max=watts_int16(power_w)
        )
        for start, duration, power_w in islice(schedule.entries(), MOST_ENTRIES)
    )
    p_max = iso.PMaxSchedule(p_max_schedule_id=tuple_id, p_max_schedule_entry=entries)
    return iso.SAScheduleList(
        sa_schedule_tuple=(iso.SAScheduleTuple(sa_schedule_tuple_id=tuple_id, p_max_schedule=p_max),)
    )


def power_schedules(schedules: iso.SASchedules | None) -> Mapping[int, PowerSchedule]:
    """Return the schedules that a charger offers by their tuple ids; none if it sends only the abstract head."""
    if not isinstance(schedules, iso.SAScheduleList):
        return {}
    return offered(schedules.sa_schedule_tuple, _watts, interval=iso.RelativeTimeInterval)


def _watts(p_max: int) -> int:
    return p_max % (1 << 16)  # a charger in the field (Tesla) sends more than int16 holds as a negative number


def is_capped(power_w: int) -> bool:
    """Return whether a power of a schedule stands for any that int16 does not hold."""
    return power_w == MAX_INT16


def planned(profile: ChargingProfile | None) -> PowerSchedule | None:
    """Return a vehicle's plan, None if it sends none."""
    if profile is None:
        return None
    entries = (
        (each.charging_profile_entry_start, None, each.charging_profile_entry_max_power)
        for each in profile.profile_entry
    )
    return read(entries, of_both=max)


def _make(multiplier: int, unit: str, value: int) -> PhysicalValue:
    return PhysicalValue(multiplier=multiplier, unit=UnitSymbol(unit), value=value)


VALUES: Final = Writer(_make)
"""The units are always sent."""


# -- DC_EVSEStatus of DIN 70121 from `engine.dc_status`


def dc_evse_status(status: DcStatus, _max_delay_s: int = 0) -> DC_EVSEStatus:
    """Return the status. Its code alone says that a charger wants to stop: EVSENotification is always None
    (V2G-DC-500), and vehicles ignore NotificationMaxDelay (V2G-DC-636)."""
    return DC_EVSEStatus(
        notification_max_delay=0,
        evse_notification=EVSENotification("None"),
        evse_isolation_status=IsolationLevel(status.isolation),
        evse_status_code=DC_EVSEStatusCode(status.code),
    )
