"""The choice among schedules by price and departure: PMaxSchedule and SalesTariff of ISO 15118-2.

A tariff that the vehicle cannot trust is ignored, not a reason to end the session; the schedule it came with counts.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from evcc.policy.planner import ChargePlan, Market, Slot, make_plan
from evcc.session.context import EvseLimits
from evcc.session.program import storage, wants_plan
from evcc.session.steps import seen
from evcc.session.v2g_message import loop as schedules
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.stages import Plan, Schedule
from v2g.errors import SignatureError
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.messages.common import ChargeParameterDiscoveryRes
from v2g.iso15118.d2.messages.data_types import CostKind, RelativeTimeInterval, SalesTariff, SalesTariffEntry
from v2g.iso15118.d2.schedules import power_schedules
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step, first_of_each, merged
from v2g.observe import Observe
from v2g.pki.certificates import load_certificate
from v2g.pki.keys import PublicKey

Levels = Sequence[tuple[int, int]]
"""(start s, price level or percent), rising; lower is better."""

_WORST: Final = 1 << 20


def agree(
    response: ChargeParameterDiscoveryRes, limits: EvseLimits, context: MessageContext
) -> tuple[Plan, tuple[Observe, ...]]:
    """Return the plan by the offered schedules, and events about it: by prices if the program plans by them."""
    offers = {each: schedules.profile(offer, limits) for each, offer in power_schedules(response.sa_schedules).items()}
    offered = getattr(response.sa_schedules, "sa_schedule_tuple", ())
    tariffs = {
        each.sa_schedule_tuple_id: levels(each.sales_tariff)
        for each in first_of_each(offered, lambda each: each.sa_schedule_tuple_id)
        if each.sales_tariff is not None
    }
    named = all(each.sales_tariff.id is not None for each in offered if each.sales_tariff is not None)
    trusted, signed = _trust(response, tariffs, context, named=named)
    observed = (seen("schedule", "prices", schedules=len(tariffs), signed=signed),) if trusted and tariffs else ()
    if tariffs and not trusted:
        observed = (seen("schedule", "prices_ignored", schedules=len(tariffs)),)
        tariffs = {}
    offers = {each: offer for each, offer in offers.items() if offer.steps}
    if not offers or not wants_plan(context.config.program):
        return schedules.agree(offers, limits, context), observed
    markets = [_market(each, offer, tariffs.get(each, ()), limits, context) for each, offer in offers.items()]
    made = make_plan(markets, storage(context))
    chosen = Schedule(made.tuple_id, context.session_ms, _profile(made, offers[made.tuple_id], context), made)
    planned = seen(
        "schedule",
        "planned",
        tuple_id=made.tuple_id,
        blocks=len(made.blocks),
        until_ms=made.until_ms,
        energy_wh=made.energy_wh,
        cost=None,
        reaches_target=made.energy_wh >= storage(context).target_wh,
    )
    return Plan(limits, limits.agreed(), chosen), (*observed, planned)


def levels(tariff: SalesTariff) -> Levels:
    """Return the relative prices of a tariff over time: percentages where it has them, else its levels."""
    entries = ((each.time_interval, each) for each in tariff.sales_tariff_entry)
    return sorted((at.start, _price(entry)) for at, entry in entries if isinstance(at, RelativeTimeInterval))


def _price(entry: SalesTariffEntry) -> int:
    costs = (cost for consumption in entry.consumption_cost for cost in consumption.cost)
    relative = next((each for each in costs if each.cost_kind is CostKind.relativePricePercentage), None)
    if relative is not None:
        return min(_WORST, int(relative.amount * 10.0 ** (relative.amount_multiplier or 0)))
    return entry.e_price_level or 0


def _market(tuple_id: int, offer: PowerSchedule, prices: Levels, limits: EvseLimits, context: MessageContext) -> Market:
    """Return a schedule with its prices until departure, at least a minute, or until its end."""
    until_s = max(60, context.left_ms // 1000)
    if offer.end_s is not None:
        until_s = max(1, min(until_s, offer.end_s))
    starts = sorted({0, *(step.start_s for step in offer.steps), *(start for start, _ in prices)})
    starts = [start for start in starts if start < until_s]
    ends = [*starts[1:], until_s]
    slots = tuple(
        Slot(
            context.session_ms + start * 1000,
            context.session_ms + end * 1000,
            min(offer.power_at(start) or 0, context.max_charge_w),
        )
        for start, end in zip(starts, ends, strict=True)
    )
    found = tuple(next((price for at, price in reversed(prices) if at <= start), 0) for start in starts)
    return Market(tuple_id, slots, levels=found if prices else ())


def _profile(made: ChargePlan, offer: PowerSchedule, context: MessageContext) -> PowerSchedule:
    """Return a plan as a profile, nowhere above the offer."""
    steps = [Step((block.start_ms - context.session_ms) // 1000, block.power_w) for block in made.blocks]
    end = (made.blocks[-1].end_ms - context.session_ms) // 1000 if made.blocks else 0
    after = [] if offer.end_s is not None and end >= offer.end_s else [Step(end, 0)]
    return PowerSchedule(tuple(merged([*steps, *after], schedules.MOST_ENTRIES)), offer.end_s)


# -- trust --------------------------------------------------------------------------------------------------------


def _trust(
    response: ChargeParameterDiscoveryRes, tariffs: Mapping[int, Levels], context: MessageContext, *, named: bool
) -> tuple[bool, bool]:
    """Return whether tariffs count, and whether they are signed by a permitted signer: all of them, as one that is not
    `named` by an Id is no part of what is signed."""
    demanded = context.config.planning.unsigned_prices == "refuse"
    if not tariffs or context.signature is None:
        return not demanded, False
    for key in _signers(context) if named else ():
        try:
            signatures.verify(context.signature, response, key)
        except SignatureError:
            continue
        return True, True
    return False, False


def _signers(context: MessageContext) -> tuple[PublicKey, ...]:
    """Return the keys of permitted signers: the CAs of the vehicle's own contracts, and configured ones."""
    certificates = (*context.price_signers, *(ca for contract in context.contracts for ca in contract.chain[1:]))
    return tuple(load_certificate(each).public_key() for each in dict.fromkeys(certificates))  # type: ignore[misc]
