"""Schedules for vehicles of ISO 15118-2: power by the limits known in advance, prices by the tariff."""

from typing import Final

from secc.session.offers import OfferedTuple, Span, merged
from secc.session.stages import Plan
from secc.session.v2g_message.parameters import allowed_power, schedule_of
from secc.session.v2g_message.request_context import RequestContext
from v2g.energy.grid_signal import Tariff
from v2g.iso15118.d2 import schedules
from v2g.iso15118.d2.messages.tariffs import SalesTariff, SAScheduleList
from v2g.iso15118.d2.schedules import PriceStep
from v2g.iso15118.engine.power_schedule import DAY_S, entries_for

MOST_LEVELS: Final = 10
"""Number of price levels at most."""


def plan(horizon_s: int, departure_ms: int | None, context: RequestContext) -> Plan:
    """Return the tuples to choose from: the operator's shares of the power over the next `horizon_s`.

    Their ids are the places of the operator's offers, from 1; those that need a target energy are left out.
    """
    charge = allowed_power(context, horizon_s)
    found: list[OfferedTuple] = []
    for number, offer in enumerate(context.config.schedules.offers, 1):
        share = merged(
            (Span(each.start_ms, each.end_ms, each.power_w * offer.power_percent // 100) for each in charge),
            at_most=len(charge),
        )
        if not offer.cheapest and all(share != each.charge for each in found):
            found.append(OfferedTuple(tuple_id=number, charge=share))
    if not found:
        found.append(OfferedTuple(tuple_id=1, charge=charge))
    return Plan(tuples=tuple(found), departure_ms=departure_ms)


def schedule_list(offered: Plan, max_entries: int | None, context: RequestContext, *, contract: bool) -> SAScheduleList:
    """Return the tuples for the wire, with prices if a tariff is known; so many entries fit into each tuple.

    Vehicles with a contract accept prices with its operator's signature only, and get none.
    """
    entries = entries_for(max_entries)
    prices = context.config.offer_prices and entries > 1 and not contract
    tariff = context.facts.tariff if prices else None
    powers = entries if tariff is None else entries - entries // 2
    return SAScheduleList(
        sa_schedule_tuple=tuple(
            schedules.schedule_tuple(
                each.tuple_id,
                schedule_of(each.charge, powers),
                None if tariff is None else _prices(each, tariff, entries // 2),
            )
            for each in offered.tuples
        )
    )


def is_whole(tuple_id: int, context: RequestContext) -> bool:
    """Return whether a tuple has all the power that the limits allow: then these hold by themselves."""
    offers = context.config.schedules.offers
    return not 1 <= tuple_id <= len(offers) or offers[tuple_id - 1].power_percent == 100


def horizon_s(departure_s: int | None) -> int:
    """Return what a schedule covers: until the departure [V2G2-303], else a day [V2G2-304]."""
    return max(1, departure_s) if departure_s else DAY_S


def _prices(offered: OfferedTuple, tariff: Tariff, entries: int) -> SalesTariff | None:
    """Return the prices during a schedule as levels, the cheapest first, as far as they are known without gaps."""
    begin_ms, end_ms = offered.charge[0].start_ms, offered.charge[-1].end_ms
    slots = tariff.window(begin_ms, end_ms)
    starts: list[tuple[int, int]] = []
    for slot in slots:
        if not starts or starts[-1][1] != slot.import_price:
            starts.append((max(0, (slot.start_ms - begin_ms) // 1000), slot.import_price))
    if not starts:
        return None
    known_s = (min(slots[-1].end_ms, end_ms) - begin_ms) // 1000
    until_s = starts[entries][0] if len(starts) > entries else known_s
    prices = sorted({price for _, price in starts[:entries]})
    levels = min(len(prices), MOST_LEVELS)
    steps = [
        PriceStep(
            start_s=start_s,
            level=prices.index(price) * levels // len(prices) + 1,
            percent=max(0, price) * 100 // prices[-1] if prices[-1] > 0 else None,
        )
        for start_s, price in starts[:entries]
    ]
    last_s = min(until_s, steps[-1].start_s + DAY_S)
    return schedules.sales_tariff(offered.tuple_id, steps, end_s=last_s, description=tariff.currency)
