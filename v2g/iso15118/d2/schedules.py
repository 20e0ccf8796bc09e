"""SAScheduleList, SalesTariff, ChargingProfile and PhysicalValue of ISO 15118-2, from and to the values of the core."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from v2g.iso15118.d2.messages import data_types as iso
from v2g.iso15118.d2.messages.data_types import (
    ChargingProfile,
    DC_EVSEStatus,
    DC_EVSEStatusCode,
    EVSENotification,
    IsolationLevel,
    PhysicalValue,
    ProfileEntry,
    UnitSymbol,
)
from v2g.iso15118.engine.dc_status import DcStatus
from v2g.iso15118.engine.physical_values import Rounding, Writer, is_power, watts
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step, offered, read


def _make(multiplier: int, unit: str, value: int) -> PhysicalValue:
    return PhysicalValue(multiplier=multiplier, unit=UnitSymbol(unit), value=value)


VALUES: Final = Writer(_make)
"""The units are always sent."""


# -- DC_EVSEStatus of ISO 15118-2 from `engine.dc_status`


def dc_evse_status(status: DcStatus, max_delay_s: int = 0) -> DC_EVSEStatus:
    """Return the status with NotificationMaxDelay in s (0: at once)."""
    return DC_EVSEStatus(
        notification_max_delay=max_delay_s,
        evse_notification=EVSENotification(status.notification),
        evse_isolation_status=IsolationLevel(status.isolation),
        evse_status_code=DC_EVSEStatusCode(status.code),
    )


MOST_PROFILE_ENTRIES: Final = 24


class PriceStep(msgspec.Struct, frozen=True):
    """From a start in s: the price level (1 is the best), and the price in percent of the highest, if known."""

    start_s: int
    level: int
    percent: int | None = None


def schedule_tuple(
    tuple_id: int, schedule: PowerSchedule, tariff: iso.SalesTariff | None = None
) -> iso.SAScheduleTuple:
    """Return a tuple on offer (id 1..255 [V2G2-773]); PMax in W is the sum of all phases, rounded down."""
    entries = tuple(
        iso.PMaxScheduleEntry(
            time_interval=iso.RelativeTimeInterval(start=start, duration=duration),
            p_max=VALUES.power(power_w, Rounding.DOWN),
        )
        for start, duration, power_w in schedule.entries()
    )
    return iso.SAScheduleTuple(
        sa_schedule_tuple_id=tuple_id,
        p_max_schedule=iso.PMaxSchedule(p_max_schedule_entry=entries),
        sales_tariff=tariff,
    )


def sales_tariff(
    tariff_id: int, steps: Sequence[PriceStep], *, end_s: int, description: str = "", element_id: str | None = None
) -> iso.SalesTariff:
    """Return prices over time; `element_id` is for a signature. A description is cut to 32 characters."""
    entries = tuple(
        iso.SalesTariffEntry(
            time_interval=iso.RelativeTimeInterval(
                start=step.start_s, duration=end_s - step.start_s if at == len(steps) else None
            ),
            e_price_level=step.level,
            consumption_cost=() if step.percent is None else (_relative(step.percent),),
        )
        for at, step in enumerate(steps, 1)
    )
    return iso.SalesTariff(
        sales_tariff_id=tariff_id,
        sales_tariff_description=description[:32] or None,
        num_e_price_levels=max(step.level for step in steps),
        sales_tariff_entry=entries,
        id=element_id,
    )


def _relative(percent: int) -> iso.ConsumptionCost:
    cost = iso.Cost(cost_kind=iso.CostKind.relativePricePercentage, amount=percent)
    return iso.ConsumptionCost(start_value=VALUES.power(0, Rounding.DOWN), cost=(cost,))


def power_schedules(schedules: iso.SASchedules | None) -> Mapping[int, PowerSchedule]:
    """Return the schedules that a charger offers by their tuple ids; none if the list is missing."""
    if not isinstance(schedules, iso.SAScheduleList):
        return {}
    return offered(schedules.sa_schedule_tuple, watts, interval=iso.RelativeTimeInterval)


def charging_profile(steps: Sequence[Step]) -> ChargingProfile | None:
    """Return a vehicle's plan, at most 24 steps; None without one."""
    if not steps:
        return None
    return ChargingProfile(
        profile_entry=tuple(
            ProfileEntry(
                charging_profile_entry_start=step.start_s,
                charging_profile_entry_max_power=VALUES.power(step.power_w, Rounding.DOWN),
            )
            for step in steps[:MOST_PROFILE_ENTRIES]
        )
    )


def planned(profile: ChargingProfile | None) -> PowerSchedule | None:
    """Return a vehicle's plan, None if it sends none, or one in other units than of power."""
    if profile is None or not all(is_power(each.charging_profile_entry_max_power) for each in profile.profile_entry):
        return None
    entries = (
        (each.charging_profile_entry_start, None, watts(each.charging_profile_entry_max_power, Rounding.UP))
        for each in profile.profile_entry
    )
    return read(entries, of_both=max)
