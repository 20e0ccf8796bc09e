"""Which of the charger's schedules the vehicle follows, and its profile within it."""

from collections.abc import Mapping
from typing import Final

from evcc.session.context import EvseLimits
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.stages import Plan, Schedule
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step, merged

MOST_ENTRIES: Final = 24
"""Entries of a profile: the limit of ISO 15118-2."""


def agree(offers: Mapping[int, PowerSchedule], limits: EvseLimits, context: MessageContext) -> Plan:
    """Return the plan by the schedule with the most energy until departure, the first of equals.

    Without an offer only the limits count.
    """
    until_s = max(1, (context.departure_ms - context.utc_ms) // 1000)
    best = max(offers, key=lambda each: energy_ws(offers[each], until_s), default=None)
    if best is None or not offers[best].steps:
        return Plan(limits, limits.agreed())
    return Plan(limits, limits.agreed(), Schedule(best, context.utc_ms, profile(offers[best], limits)))


def energy_ws(schedule: PowerSchedule, until_s: int) -> int:
    """Return the energy (W s) that a schedule allows from its start until a time."""
    ends = [*(step.start_s for step in schedule.steps[1:]), until_s if schedule.end_s is None else schedule.end_s]
    return sum(
        step.power_w * max(0, min(end, until_s) - step.start_s) for step, end in zip(schedule.steps, ends, strict=True)
    )


def profile(offered: PowerSchedule, limits: EvseLimits) -> PowerSchedule:
    """Return an offered schedule within the charger's limits, in at most 24 steps."""
    steps = [Step(each.start_s, min(each.power_w, limits.charge_w)) for each in offered.steps]
    return PowerSchedule(tuple(merged(steps, MOST_ENTRIES)), offered.end_s)


def allowed_w(plan: Plan, context: MessageContext) -> int:
    """Return the power that charger and schedule allow now, W; after the schedule its last power still holds.

    An on-board charger that cannot draw as little draws nothing.
    """
    most = min(context.max_charge_w, plan.limits.charge_w)
    if plan.schedule is not None:
        now_w = _scheduled_w(plan.schedule, context)
        most = min(most, plan.schedule.power.steps[-1].power_w if now_w is None else now_w)
    if context.choice is None or not context.choice.phases:
        return most
    voltage_mv = context.inlet.voltage_mv or plan.limits.voltage_mv
    lines = context.inlet.lines_of(context.choice.phases)
    on_board = context.config.on_board_charger
    most = min(most, lines * min(on_board.line_ma, plan.limits.charge_ma) * voltage_mv // 1_000_000)
    return most if most >= on_board.min_charge_w else 0


def is_over(schedule: Schedule | None, context: MessageContext) -> bool:
    """Return whether a schedule has ended, so that the vehicle has to ask for another one [V2G2-305]."""
    return schedule is not None and _scheduled_w(schedule, context) is None


def _scheduled_w(schedule: Schedule, context: MessageContext) -> int | None:
    return schedule.power.power_at(max(0, context.utc_ms - schedule.since_ms) // 1000)
