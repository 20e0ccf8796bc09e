"""The vehicle's handling of a ScheduleExchangeRes: trust in prices, choice of a tuple, planning."""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from evcc.policy.planner import make_plan
from evcc.session.d20 import dynamic_planner, offers
from evcc.session.d20.request_context import Outlook, Plan, RequestContext, Schedule
from evcc.session.paused import PausedChoice
from evcc.session.ports import NeedsChanged
from evcc.session.program import storage, wants_plan
from evcc.session.steps import seen
from v2g.errors import SignatureError
from v2g.iso15118.d20.messages import schedules as iso
from v2g.iso15118.d20.messages.common_messages import ScheduleExchangeRes
from v2g.iso15118.d20.messages.common_types import Dynamic_CLResControlMode
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine import signature
from v2g.iso15118.engine.power_schedule import first_of_each
from v2g.observe import Observe
from v2g.pki.certificates import load_certificate
from v2g.pki.keys import PublicKey

WRONG_MODE: Final = "wrong_control_mode"
NOT_SIGNED: Final = "prices_not_signed"
NOT_BELIEVED: Final = "prices_not_believed"
COUNTED_MS: Final = 30_000
"""How far a DepartureTime, which counts down, may be from the departure that is known."""


class Agreed(msgspec.Struct, frozen=True):
    """The agreement, or, in `refused`, the reason for refusing it.

    `needs` are the driver's needs if the charger sets them.
    """

    plan: Plan
    refused: str = ""
    needs: NeedsChanged | None = None
    observed: tuple[Observe, ...] = ()


def agree(response: ScheduleExchangeRes, plan: Plan, context: RequestContext) -> Agreed:
    """Return the result of a finished answer."""
    choice, tuples = plan.choice, response.scheduled_se_res_control_mode
    dynamic = response.dynamic_se_res_control_mode
    if choice.dynamic is (dynamic is None) or choice.dynamic is (tuples is not None):
        return Agreed(plan, refused=WRONG_MODE)
    prices = _price_schedules(response)
    signed, refused = _verify(response, prices, context)
    if refused:
        return Agreed(plan, refused=refused)
    observed = (seen("schedule", "prices", schedules=len(prices), signed=signed),) if prices else ()
    if tuples is not None:
        schedule, planned = _choose(tuples.schedule_tuple, plan, context)
        return Agreed(replace(plan, schedule=schedule), observed=(*observed, *planned))
    needs = None if dynamic is None else other_needs(dynamic, choice, context)
    if dynamic is not None and wants_plan(context.config.program):
        outlook = Outlook(dynamic.absolute_price_schedule, dynamic.price_level_schedule)
        before = plan.outlook or outlook
        outlook = replace(outlook, allowed_w=before.allowed_w, probed=before.probed)
        plan = dynamic_planner.foresee(plan, outlook, context)
        observed = (*observed, planned_event(plan, context))
    return Agreed(plan, needs=needs, observed=observed)


def other_needs(
    goals: iso.Dynamic_SEResControlMode | Dynamic_CLResControlMode, choice: PausedChoice, context: RequestContext
) -> NeedsChanged | None:
    """Return the driver's needs where the charger sets them, and now otherwise (MobilityNeedsMode 2)."""
    if not choice.needs_by_secc:
        return None
    needs, departure = context.config.needs, goals.departure_time
    target = needs.target_soc if goals.target_soc is None else goals.target_soc
    minimum = min(target, needs.minimum_soc if goals.minimum_soc is None else goals.minimum_soc)
    departure_ms = None if departure is None else context.utc_ms + departure * 1000
    if departure_ms is not None and abs(departure_ms - context.departure_ms) <= COUNTED_MS:
        departure_ms = None
    if departure_ms is None and (target, minimum) == (needs.target_soc, needs.minimum_soc):
        return None
    return NeedsChanged(departure_ms=departure_ms, target_soc=target, minimum_soc=minimum)


def planned_event(plan: Plan, context: RequestContext) -> Observe:
    """Return the event of a plan by prices."""
    made = dynamic_planner.made_of(plan)
    assert made is not None
    return seen(
        "schedule",
        "planned",
        tuple_id=made.tuple_id if plan.schedule is not None else None,
        blocks=len(made.blocks),
        until_ms=made.until_ms,
        energy_wh=made.energy_wh,
        cost=None if made.cost is None else float(made.cost),
        reaches_target=made.energy_wh >= storage(context).target_wh,
    )


def _choose(
    tuples: tuple[iso.ScheduleTuple, ...], plan: Plan, context: RequestContext
) -> tuple[Schedule, tuple[Observe, ...]]:
    """Plan by prices if the program requires it; otherwise take the tuple with the most energy."""
    tuples = first_of_each(tuples, lambda each: each.schedule_tuple_id)
    if not wants_plan(context.config.program):
        # of those that offer what was selected: with discharging if energy may flow back
        suiting = [each for each in tuples if each.discharging_schedule is not None] if plan.choice.bpt else []
        return _schedule(offers.best(suiting or tuples, plan.limits, context), context.session_ms), ()
    made = make_plan(offers.markets(tuples, plan.choice, plan.limits, context), storage(context))
    chosen = next(each for each in tuples if each.schedule_tuple_id == made.tuple_id)
    schedule = replace(_schedule(chosen, context.session_ms), plan=made)
    return schedule, (planned_event(replace(plan, schedule=schedule), context),)


def _schedule(offered: iso.ScheduleTuple, session_ms: int) -> Schedule:
    discharge = offered.discharging_schedule
    return Schedule(
        offered.schedule_tuple_id,
        session_ms,
        offered.charging_schedule.power_schedule,
        discharge.power_schedule if discharge is not None else None,
    )


# -- trust in prices ----------------------------------------------------------------------------------------------


def _price_schedules(response: ScheduleExchangeRes) -> tuple[iso.AbsolutePriceSchedule | iso.PriceLevelSchedule, ...]:
    tuples = response.scheduled_se_res_control_mode
    holders: list[iso.Dynamic_SEResControlMode | iso.ChargingSchedule | None] = [response.dynamic_se_res_control_mode]
    for each in tuples.schedule_tuple if tuples is not None else ():
        holders += [each.charging_schedule, each.discharging_schedule]
    found = ((holder.absolute_price_schedule, holder.price_level_schedule) for holder in holders if holder is not None)
    return tuple(each for pair in found for each in pair if each is not None)


def _verify(
    response: ScheduleExchangeRes,
    prices: tuple[iso.AbsolutePriceSchedule | iso.PriceLevelSchedule, ...],
    context: RequestContext,
) -> tuple[bool, str]:
    """Return whether prices are signed by a known signer, and the reason for refusing them, or empty.

    A signature of an unknown signer is ignored; one of a known signer must be valid for every schedule.
    """
    demanded = context.config.planning.unsigned_prices == "refuse"
    if not prices:
        return False, ""
    made = response.header.signature
    if made is None:
        return False, NOT_SIGNED if demanded else ""
    interop = context.provisioning is not None and context.provisioning.interop
    allowed = signature.INTEROP if interop else signature.STANDARD
    known = _signers(context)
    for key in known:
        try:
            signature.verify(made, prices, key, allowed=allowed, schema=COMMON_MESSAGES)
        except SignatureError:
            continue
        return True, ""
    return False, NOT_BELIEVED if known or demanded else ""


def _signers(context: RequestContext) -> tuple[PublicKey, ...]:
    """Return the keys of permitted signers: the CAs of our own contracts, their roots, and configured ones."""
    certificates: Iterable[bytes] = (
        *context.price_signers,
        *(ca for contract in context.contracts for ca in contract.chain[1:]),
        *(context.provisioning.mo_roots if context.provisioning is not None else ()),
    )
    keys = []
    for each in dict.fromkeys(certificates):
        key = load_certificate(each).public_key()
        keys.append(key)
    return tuple(keys)  # type: ignore[arg-type] # verification refuses keys of other kinds
