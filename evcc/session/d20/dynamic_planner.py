"""The present state of a plan by prices; in Dynamic mode also its renewal and the power requested.

In Scheduled mode a plan is part of the chosen schedule, and another one needs a renegotiation. In Dynamic mode the
charger sets the power within the vehicle's limits: the plan is the vehicle's own, and renewed whenever the charger's
power differs from it, or terms or needs change. What the charger permits beyond the vehicle's request is unknown,
so a vehicle whose plan uses all permitted power requests its maximum.
"""

from typing import Final

from msgspec.structs import replace

from evcc.policy.planner import W_MS_PER_WH, ChargePlan, make_plan
from evcc.session.d20.offers import dynamic_market
from evcc.session.d20.request_context import Agreement, Outlook, Plan, RequestContext
from evcc.session.program import PlannedProgram, storage

SHORT_PERCENT: Final = 0.1
"""Tolerated lack of charge at the end of a plan, %."""

TOO_LATE_MS: Final = 60_000
"""No renewal this shortly before departure."""

SOON_MS, LATER_MS = 60_000, 300_000
"""Minimum age of a plan for renewal: if its basis has changed, and if only the energy differs."""

ASTRAY_PERCENT: Final = 1.0
"""Tolerated difference between the battery and the plan, %."""


def made_of(plan: Plan) -> ChargePlan | None:
    """Return the plan by prices, if there is one."""
    if plan.schedule is not None:
        return plan.schedule.plan
    return plan.outlook.plan if plan.outlook is not None else None


def planned(plan: Plan, context: RequestContext, *, awaits_offer: bool = False) -> PlannedProgram:
    """Return the present output of the plan by prices; without one a step `plan` charges until the target is reached.

    It is not over while an offer is awaited, after which a vehicle in Dynamic mode plans again.
    """
    made, needs = made_of(plan), context.config.needs
    if made is None:
        return PlannedProgram(over=context.battery.soc >= needs.target_soc)
    over = context.utc_ms >= made.until_ms and not falls_short(plan, context)
    if not made.until_ms and context.battery.soc < needs.target_soc - SHORT_PERCENT:
        over = False  # no plan was possible: the charger may make a better offer
    power_w = made.power_at(context.utc_ms)
    outlook = plan.outlook
    if outlook is not None and (awaits_offer or outlook.basis != _basis(outlook, context)):
        over = False
    if outlook is not None and (
        not outlook.probed or (outlook.allowed_w is not None and power_w >= outlook.allowed_w and not over)
    ):
        power_w = max(power_w, context.max_charge_w)  # required for finding out what the charger permits
    return PlannedProgram(power_w, over=over)


def falls_short(plan: Plan, context: RequestContext) -> bool:
    """Return whether the battery has got less than planned, so that the rest requires a new plan."""
    made = made_of(plan)
    if made is None or not 0 < made.until_ms <= context.utc_ms < context.departure_ms - TOO_LATE_MS:
        return False
    reached = 100 * made.energy_wh / context.battery.capacity_wh
    return context.battery.soc < min(context.config.needs.target_soc, reached) - SHORT_PERCENT


# -- Dynamic mode -------------------------------------------------------------------------------------------------


def foresee(plan: Plan, outlook: Outlook, context: RequestContext) -> Plan:
    """Return a plan for Dynamic mode, by the present state."""
    battery = storage(context)
    made = make_plan([dynamic_market(outlook, plan.choice, plan.limits, context)], battery)
    outlook = replace(
        outlook, plan=made, basis=_basis(outlook, context), made_ms=context.session_ms, energy_wh=battery.energy_wh
    )
    return replace(plan, outlook=outlook)


def renewed(plan: Plan, context: RequestContext) -> Plan | None:
    """Return a new plan if the present one is outdated, else None."""
    outlook = plan.outlook
    if outlook is None or outlook.plan is None or context.utc_ms >= context.departure_ms - TOO_LATE_MS:
        return None
    age_ms = context.session_ms - outlook.made_ms
    if age_ms >= SOON_MS and outlook.basis != _basis(outlook, context):
        return foresee(plan, outlook, context)
    if age_ms >= LATER_MS and _astray(outlook, outlook.plan, context):
        return foresee(plan, outlook, context)
    return foresee(plan, outlook, context) if age_ms >= SOON_MS and falls_short(plan, context) else None


def learned(plan: Plan, asked_w: int, allowed_w: int) -> Plan:
    """Return the plan with the conclusions from an answer to a request for `asked_w` of charging.

    A charger that lags by one exchange permits the power of the previous request: only power requested twice
    counts.
    """
    outlook = plan.outlook
    if outlook is None:
        return plan
    twice_w = min(asked_w, outlook.asked_w)
    if asked_w != outlook.asked_w:
        outlook = replace(outlook, asked_w=asked_w)
    if allowed_w < twice_w:
        outlook = replace(outlook, allowed_w=allowed_w, probed=True)
    elif twice_w and (not outlook.probed or (outlook.allowed_w is not None and twice_w > outlook.allowed_w)):
        outlook = replace(outlook, allowed_w=None, probed=True)
    return plan if outlook is plan.outlook else replace(plan, outlook=outlook)


def _basis(outlook: Outlook, context: RequestContext) -> tuple[object, ...]:
    """Return the basis of a plan, except prices and the battery."""
    terms = context.terms if context.agreement is Agreement.AGREED else None
    paid = (terms.currency, terms.compensation, terms.max_discharge_w) if terms is not None else None
    needs = context.config.needs
    return (needs.target_soc, needs.minimum_soc, context.departure_ms, paid, outlook.allowed_w)


def _astray(outlook: Outlook, made: ChargePlan, context: RequestContext) -> bool:
    """Return whether the battery differs from the plan."""
    moved = sum(
        block.power_w * (min(block.end_ms, context.utc_ms) - block.start_ms)
        for block in made.blocks
        if block.start_ms < context.utc_ms
    )
    foreseen = outlook.energy_wh + moved // W_MS_PER_WH
    return abs(storage(context).energy_wh - foreseen) * 100 > ASTRAY_PERCENT * context.battery.capacity_wh
