"""The charger's offers as markets for the planner: permitted power over time, and prices.

In Scheduled mode that is a schedule tuple; in Dynamic mode there are prices of charging, the compensation
agreed by signature, and the limits of the charger.
"""

import itertools
from bisect import bisect_right
from collections.abc import Iterable
from fractions import Fraction
from typing import Final

import msgspec
from msgspec.structs import replace

from evcc.policy.planner import Market, Slot
from evcc.policy.policy import DischargeTerms
from evcc.session.context import EvseLimits
from evcc.session.d20.quantities import to_whole
from evcc.session.d20.request_context import Agreement, Outlook, RequestContext
from evcc.session.paused import PausedChoice
from v2g.errors import RefusedError
from v2g.iso15118.d20.messages import schedules as iso
from v2g.iso15118.d20.prices import Algorithm, Prices, Rule, Stack, read_prices
from v2g.iso15118.d20.quantities import on_lines, stated
from v2g.units import MICRO

DYNAMIC: Final = 0
"""Substitute for the id of a tuple in Dynamic mode."""


class _Span(msgspec.Struct, frozen=True):
    start_ms: int
    end_ms: int
    value: int


def markets(
    tuples: tuple[iso.ScheduleTuple, ...], choice: PausedChoice, limits: EvseLimits, context: RequestContext
) -> tuple[Market, ...]:
    """Return each tuple from now until departure, within the limits of vehicle and charger.

    Discharge is included if the driver's rules permit it at all: sufficient compensation in the right currency, and not
    just before departure.
    """
    return tuple(_scheduled(each, choice, limits, context) for each in tuples)


def best(tuples: Iterable[iso.ScheduleTuple], limits: EvseLimits, context: RequestContext) -> iso.ScheduleTuple:
    """Return the tuple by which vehicle and charger can charge the most energy until departure, the first of equals."""
    now_ms, departure_ms = _bounds(context)
    most_w, lines = min(limits.charge_w, context.max_charge_w), context.config.on_board_charger.phases

    def energy_wms(offered: iso.ScheduleTuple) -> int:
        schedule = offered.charging_schedule.power_schedule
        found = sum(
            min(each.value, most_w) * max(0, min(each.end_ms, departure_ms) - max(each.start_ms, now_ms))
            for each in _powers(schedule, now_ms, departure_ms, lines)
        )
        available = schedule.available_energy
        return found if available is None else min(found, to_whole(available) * 3_600_000)

    return max(tuples, key=energy_wms)


def dynamic_market(outlook: Outlook, choice: PausedChoice, limits: EvseLimits, context: RequestContext) -> Market:
    """Return the time from now until departure in Dynamic mode, within the charger's limits so far.

    Discharge is included only if agreed terms compensate it, by the driver's rules.
    """
    now_ms, departure_ms = _bounds(context)
    terms = context.terms if choice.bpt and context.agreement is Agreement.AGREED else None
    allowed = limits.charge_w if outlook.allowed_w is None else min(limits.charge_w, outlook.allowed_w)
    return _market(
        _Offer(
            tuple_id=DYNAMIC,
            charge=[_Span(now_ms, departure_ms, allowed)],
            prices=_prices(outlook.prices, now_ms),
            levels=_levels(outlook.levels, now_ms),
            give=[_Span(now_ms, departure_ms, terms.max_discharge_w)] if terms is not None else [],
            paid=_compensation(terms) if terms is not None else None,
        ),
        choice,
        limits,
        context,
    )


def _scheduled(offered: iso.ScheduleTuple, choice: PausedChoice, limits: EvseLimits, context: RequestContext) -> Market:
    now_ms, departure_ms = _bounds(context)
    charging, back = offered.charging_schedule, offered.discharging_schedule if choice.bpt else None
    available, lines = charging.power_schedule.available_energy, context.config.on_board_charger.phases
    return _market(
        _Offer(
            tuple_id=offered.schedule_tuple_id,
            charge=_powers(charging.power_schedule, now_ms, departure_ms, lines),
            prices=_prices(charging.absolute_price_schedule, now_ms),
            levels=_levels(charging.price_level_schedule, now_ms),
            give=_powers(back.power_schedule, now_ms, departure_ms, lines, discharge=True) if back is not None else [],
            paid=_prices(back.absolute_price_schedule, now_ms) if back is not None else None,
            available_wh=None if available is None else max(0, to_whole(available)),
        ),
        choice,
        limits,
        context,
    )


def _bounds(context: RequestContext) -> tuple[int, int]:
    """Return now and departure in whole seconds, as in schedules."""
    now_ms = context.utc_ms // 1000 * 1000
    return now_ms, max(now_ms + 1000, context.departure_ms // 1000 * 1000)


class _Offer(msgspec.Struct, frozen=True):
    """Power and prices over time, in both directions."""

    tuple_id: int
    charge: list[_Span]
    prices: Prices | None
    levels: list[_Span]
    give: list[_Span]
    paid: Prices | None
    available_wh: int | None = None


def _market(offer: _Offer, choice: PausedChoice, limits: EvseLimits, context: RequestContext) -> Market:
    now_ms, departure_ms = _bounds(context)
    charge, give, levels, prices, paid = offer.charge, offer.give, offer.levels, offer.prices, offer.paid
    if prices is not None and prices.end_ms < departure_ms:  # the last known price is assumed to continue
        last = replace(prices.stacks[-1], end_ms=departure_ms)
        prices = replace(prices, stacks=(*prices.stacks[:-1], last))
    edges = {now_ms, departure_ms, _latest_discharge_ms(context)}
    for spans in (charge, give, levels):
        edges |= {each.start_ms for each in spans} | {each.end_ms for each in spans}
    for each in (prices, paid):
        edges |= {edge for stack in (each.stacks if each else ()) for edge in (stack.start_ms, stack.end_ms)}
    cuts = sorted(edge for edge in edges if now_ms <= edge <= departure_ms)
    slots = tuple(
        Slot(
            start,
            end,
            max(0, min(_at(charge, start), limits.charge_w, context.max_charge_w)),
            max(0, min(_at(give, start), limits.discharge_w, context.discharge_capability_w))
            if _gives(paid, start, choice, context)
            else 0,
        )
        for start, end in itertools.pairwise(cuts)
    )
    return Market(
        tuple_id=offer.tuple_id,
        slots=slots,
        charge=prices,
        discharge=paid,
        levels=tuple(_at(levels, slot.start_ms) for slot in slots) if levels and prices is None else (),
        available_wh=offer.available_wh,
    )


def _compensation(terms: DischargeTerms) -> Prices | None:
    """Return the compensation of the terms as prices: positive fees are paid to the vehicle."""
    stacks = tuple(
        Stack(slot.start_ms, slot.end_ms, (Rule(Fraction(0), Fraction(slot.micro_per_kwh, MICRO)),))
        for slot in sorted(terms.compensation, key=lambda slot: slot.start_ms)
    )
    return Prices(Algorithm.POWER, terms.currency, stacks[0].start_ms, stacks) if stacks else None


def _latest_discharge_ms(context: RequestContext) -> int:
    return (context.departure_ms - context.config.discharge.departure_reserve_s * 1000) // 1000 * 1000


def _gives(paid: Prices | None, start_ms: int, choice: PausedChoice, context: RequestContext) -> bool:
    """Return whether the driver's rules permit discharging in the interval that begins here."""
    config = context.config.discharge
    if paid is None or not config.enabled or (choice.signed_set is None and config.require_signed):
        return False
    stack = paid.at(start_ms)
    if stack is None or paid.currency != config.currency or start_ms >= _latest_discharge_ms(context):
        return False
    return min(rule.fee for rule in stack.rules) * MICRO >= config.minimum_compensation_micro


def _powers(
    schedule: iso.PowerSchedule, now_ms: int, until_ms: int, lines: int, *, discharge: bool = False
) -> list[_Span]:
    """Return powers over time. TimeAnchor is a time of day, but chargers in the field send 0: from now on."""
    start, spans = schedule.time_anchor * 1000 or now_ms, []
    for entry in schedule.power_schedule_entries.power_schedule_entry:
        end = start + entry.duration * 1000
        spans.append(_Span(start, end, entry_w(entry, lines, discharge=discharge)))
        start = end
        if start >= until_ms:
            break
    return spans


def entry_w(entry: iso.PowerScheduleEntry, lines: int, *, discharge: bool = False) -> int:
    """Return an entry's power for a vehicle on so many phases, all together, W.

    Power fed back has either sign, as sources disagree; a negative one offers nothing for charging (V2G20-1034).
    """
    phases = (entry.power, entry.power_l2, entry.power_l3)
    power_w = on_lines(stated([None if power is None else to_whole(power) for power in phases]), lines)
    return abs(power_w) if discharge else max(0, power_w)


def _levels(schedule: iso.PriceLevelSchedule | None, now_ms: int) -> list[_Span]:
    if schedule is None:
        return []
    start, spans = schedule.time_anchor * 1000 or now_ms, []
    for entry in schedule.price_level_schedule_entries.price_level_schedule_entry:
        end = start + entry.duration * 1000
        spans.append(_Span(start, end, entry.price_level))
        start = end
    return spans


def _prices(schedule: iso.AbsolutePriceSchedule | None, now_ms: int) -> Prices | None:
    """Return prices, None if there are none or they are invalid."""
    if schedule is None:
        return None
    try:
        return read_prices(schedule, begin_ms=now_ms)
    except RefusedError:
        return None


def _at(spans: list[_Span], utc_ms: int) -> int:
    """Return the value in force, 0 outside of all spans."""
    index = bisect_right(spans, utc_ms, key=lambda span: span.start_ms) - 1
    return spans[index].value if index >= 0 and utc_ms < spans[index].end_ms else 0
