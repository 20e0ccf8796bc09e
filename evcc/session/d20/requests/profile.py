"""The vehicle's EVPowerProfile, and the EVEnergyOffer with its price for discharge."""

from evcc.session.context import departure_s
from evcc.session.d20.offers import entry_w
from evcc.session.d20.quantities import whole
from evcc.session.d20.request_context import Plan, RequestContext, Schedule
from evcc.session.d20.requests.needs import discharge_capability_w
from evcc.session.paused import Choice
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.messages.schedules import (
    Dynamic_EVPPTControlMode,
    EVAbsolutePriceSchedule,
    EVEnergyOffer,
    EVPowerProfile,
    EVPowerProfileEntryList,
    EVPowerSchedule,
    EVPowerScheduleEntry,
    EVPowerScheduleEntryList,
    EVPriceRule,
    EVPriceRuleStack,
    EVPriceRuleStackList,
    PowerScheduleEntry,
    PowerToleranceAcceptance,
    Scheduled_EVPPTControlMode,
)
from v2g.iso15118.d20.prices import Algorithm
from v2g.units import to_rational


def power_profile(plan: Plan, context: RequestContext) -> EVPowerProfile:
    """Scheduled: the plan by prices, or the chosen tuple limited to the battery's maximum. Dynamic: the maximum."""
    schedule = plan.schedule
    if schedule is None:
        whole_time = PowerScheduleEntry(duration=max(1, departure_s(context)), power=whole(context.max_charge_w))
        return EVPowerProfile(
            time_anchor=context.utc_ms // 1000,
            dynamic_evppt_control_mode=Dynamic_EVPPTControlMode(),
            ev_power_profile_entries=EVPowerProfileEntryList(ev_power_profile_entry=(whole_time,)),
        )
    return EVPowerProfile(
        time_anchor=schedule.charge.time_anchor if schedule.plan is None else schedule.plan.blocks[0].start_ms // 1000,
        scheduled_evppt_control_mode=Scheduled_EVPPTControlMode(
            selected_schedule_tuple_id=schedule.tuple_id,
            power_tolerance_acceptance=None
            if schedule.charge.power_tolerance is None
            else PowerToleranceAcceptance.PowerToleranceConfirmed
            if context.config.services.confirm_tolerance
            else PowerToleranceAcceptance.PowerToleranceNotConfirmed,
        ),
        ev_power_profile_entries=EVPowerProfileEntryList(ev_power_profile_entry=_entries(schedule, context)),
    )


def _entries(schedule: Schedule, context: RequestContext) -> tuple[PowerScheduleEntry, ...]:
    if schedule.plan is not None:
        return tuple(
            PowerScheduleEntry(duration=(block.end_ms - block.start_ms) // 1000, power=whole(block.power_w))
            for block in schedule.plan.blocks
        )
    lines = context.config.on_board_charger.phases
    return tuple(
        PowerScheduleEntry(duration=entry.duration, power=whole(min(entry_w(entry, lines), context.max_charge_w)))
        for entry in schedule.charge.power_schedule_entries.power_schedule_entry
    )


def energy_offer(choice: Choice, context: RequestContext) -> EVEnergyOffer | None:
    """Return the offer of discharge until departure and its price, if the driver permits offers."""
    config = context.config.discharge
    power_w = discharge_capability_w(context)
    seconds = departure_s(context) - config.departure_reserve_s
    if not (config.offer_energy and choice.bpt and power_w and seconds > 0):
        return None
    now_s = context.utc_ms // 1000
    value, exponent = to_rational(config.minimum_compensation)
    rule = EVPriceRule(energy_fee=RationalNumber(exponent=exponent, value=value), power_range_start=whole(0))
    return EVEnergyOffer(
        ev_power_schedule=EVPowerSchedule(
            time_anchor=now_s,
            ev_power_schedule_entries=EVPowerScheduleEntryList(
                # out of the vehicle is negative (V2G20-1034)
                ev_power_schedule_entry=(EVPowerScheduleEntry(duration=seconds, power=whole(-power_w)),)
            ),
        ),
        ev_absolute_price_schedule=EVAbsolutePriceSchedule(
            time_anchor=now_s,
            currency=config.currency,
            price_algorithm=Algorithm.POWER.uri,
            ev_price_rule_stacks=EVPriceRuleStackList(
                ev_price_rule_stack=(EVPriceRuleStack(duration=seconds, ev_price_rule=(rule,)),)
            ),
        ),
    )
