"""Schedules for vehicles of ISO 15118-2: power by the limits known in advance, prices by the operator's plan or tariff.

A SalesTariff for a contract has to be signed by the contract's operator. OCPP 2.0.1 carries no such signature, 2.1 only
that of ISO 15118-20: vehicles with a contract get no prices, others those that the CSMS sends with a charging profile
(salesTariff), else those of the tariff.
"""

from typing import Final

from secc.session.identity import Contract
from secc.session.stages import Plan, Planned
from secc.session.terms import OfferedTuple, PowerSpan, Spans, merged
from secc.session.v2g_message.parameters import allowed_power, schedule_of
from secc.session.v2g_message.request_context import RequestContext
from v2g.energy.grid_signal import Tariff
from v2g.iso15118.d2 import schedules
from v2g.iso15118.d2.messages.data_types import SalesTariff, SAScheduleList
from v2g.iso15118.d2.schedules import PriceStep
from v2g.iso15118.d20.messages.schedules import PriceLevelSchedule
from v2g.iso15118.engine.power_schedule import entries_for
from v2g.units import DAY_S

MOST_LEVELS: Final = 10
"""Number of price levels of a tariff at most."""

_LATEST_S: Final = 16_777_214
"""Latest start of an entry, after 194 days."""
_HIGHEST: Final = 255
"""EPriceLevel has eight bits."""

Prices = Tariff | PriceLevelSchedule


def plan(
    horizon_s: int, departure_ms: int | None, contract: Contract | None, lines: int, context: RequestContext
) -> Plan:
    """Return the tuples to choose from: the operator's shares of the power over the next `horizon_s`, and the tariff.
    `lines` is how many line conductors the vehicle uses, 0 with direct current.

    Their ids are the places of the operator's offers, from 1; those that need a target energy are left out.
    """
    charge = allowed_power(context, horizon_s, lines=lines)
    found: list[OfferedTuple] = []
    for number, offer in enumerate(context.config.schedules.offers, 1):
        share = merged(
            (PowerSpan(each.start_ms, each.end_ms, each.power_w * offer.power_percent // 100) for each in charge),
            at_most=len(charge),
        )
        if not offer.cheapest and all(share != each.charge for each in found):
            found.append(OfferedTuple(tuple_id=number, charge=share))
    if not found:
        found.append(OfferedTuple(tuple_id=1, charge=charge))
    prices = _prices_for(context) if context.config.offer_prices and contract is None else None
    return Plan(tuples=tuple(found), departure_ms=departure_ms, prices=prices)


def _prices_for(context: RequestContext) -> Prices | None:
    """Return the levels that the CSMS sent, while they hold, else the tariff."""
    sent, begin_ms = context.facts.csms_prices, context.utc_ms // 1000 * 1000
    if isinstance(sent, PriceLevelSchedule) and _spans(sent, begin_ms, begin_ms + 1000):
        return sent
    return context.facts.tariff


def is_outdated(planned: Planned, context: RequestContext) -> bool:
    """Return whether a vehicle would now be offered other power or prices for the rest of the time that it planned."""
    offered, begin_ms = planned.plan, context.utc_ms // 1000 * 1000
    end_ms = offered.tuples[0].charge[-1].end_ms
    if end_ms <= begin_ms:
        return True
    contract, lines = planned.parametrised.selected.contract, planned.parametrised.vehicle.phases
    present = plan((end_ms - begin_ms) // 1000, offered.departure_ms, contract, lines, context)
    return _rest(offered, begin_ms, end_ms) != _rest(present, begin_ms, end_ms)


def _rest(offered: Plan, begin_ms: int, end_ms: int) -> tuple[dict[int, Spans], list[tuple[int, int, int]]]:
    """Return the power of each tuple, and the prices, from a time on."""
    powers = {
        each.tuple_id: merged(
            (
                PowerSpan(max(begin_ms, span.start_ms), span.end_ms, span.power_w)
                for span in each.charge
                if span.end_ms > begin_ms
            ),
            at_most=len(each.charge),
        )
        for each in offered.tuples
    }
    return powers, [] if offered.prices is None else _spans(offered.prices, begin_ms, end_ms)


def schedule_list(offered: Plan, max_entries: int | None) -> SAScheduleList:
    """Return the tuples for the wire, with prices if a tariff is known; so many entries fit into each tuple."""
    entries = entries_for(max_entries)
    prices: Prices | None = offered.prices if entries > 1 else None
    powers = entries if prices is None else entries - entries // 2
    return SAScheduleList(
        sa_schedule_tuple=tuple(
            schedules.schedule_tuple(
                each.tuple_id,
                schedule_of(each.charge, powers),
                None if prices is None else _sales_tariff(each, prices, entries // 2),
            )
            for each in offered.tuples
        )
    )


def is_whole(tuple_id: int, context: RequestContext) -> bool:
    """Return whether a tuple has all the power that the limits allow: then these hold by themselves."""
    offers = context.config.schedules.offers
    return not 1 <= tuple_id <= len(offers) or offers[tuple_id - 1].power_percent == 100


def horizon_s(departure_s: int | None) -> int:
    """Return what a schedule covers: until the departure [V2G2-303] or its latest entry, else a day [V2G2-304]. After a
    shorter one the vehicle asks again [V2G2-305]."""
    return min(departure_s, _LATEST_S) if departure_s else DAY_S


def _spans(prices: Prices, begin_ms: int, end_ms: int) -> list[tuple[int, int, int]]:
    """Return start, end and price or level during a time, as far as they are known from its begin on without gaps."""
    if isinstance(prices, Tariff):
        slots = prices.window(begin_ms, end_ms)
        return [(max(begin_ms, each.start_ms), min(each.end_ms, end_ms), each.import_price) for each in slots]
    found, start_ms = [], prices.time_anchor * 1000
    if start_ms > begin_ms:
        return []
    for each in prices.price_level_schedule_entries.price_level_schedule_entry:
        span = max(begin_ms, start_ms), min(start_ms + each.duration * 1000, end_ms), each.price_level
        start_ms += each.duration * 1000
        if span[0] < span[1]:
            found.append(span)
    return found


def _sales_tariff(offered: OfferedTuple, prices: Prices, entries: int) -> SalesTariff | None:
    """Return the prices during a schedule as levels, the cheapest first, as far as they are known without gaps."""
    begin_ms, end_ms = offered.charge[0].start_ms, offered.charge[-1].end_ms
    spans = _spans(prices, begin_ms, end_ms)
    starts: list[tuple[int, int]] = []
    for start_ms, _, value in spans:
        if not starts or starts[-1][1] != value:
            starts.append(((start_ms - begin_ms) // 1000, value))
    if not starts:
        return None
    until_s = starts[entries][0] if len(starts) > entries else (spans[-1][1] - begin_ms) // 1000
    starts = starts[:entries]
    if isinstance(prices, Tariff):
        steps, description = _ranked(starts), prices.currency
    else:
        steps = [PriceStep(start_s, min(level + 1, _HIGHEST)) for start_s, level in starts]
        description = prices.price_schedule_description or ""
    last_s = min(until_s, steps[-1].start_s + DAY_S)
    return schedules.sales_tariff(offered.tuple_id, steps, end_s=last_s, description=description)


def _ranked(starts: list[tuple[int, int]]) -> list[PriceStep]:
    """Return prices from their starts on as levels, with percentages of the highest."""
    ranks = sorted({price for _, price in starts})
    levels = min(len(ranks), MOST_LEVELS)
    return [
        PriceStep(
            start_s=start_s,
            level=ranks.index(price) * levels // len(ranks) + 1,
            percent=max(0, price) * 100 // ranks[-1] if ranks[-1] > 0 else None,
        )
        for start_s, price in starts
    ]
