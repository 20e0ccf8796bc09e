"""Price schedules from the back end's prices, else from the tariff and the operator's terms."""

from bisect import bisect_right
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from secc.session.config import ControlMode
from secc.session.d20.stages import RequestContext
from secc.session.terms import OverstayTerms, PriceTerms
from v2g.asn1.discharge import PriceSlot
from v2g.iso15118.d20.messages import schedules as iso
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.price_rules import PRICE_ALGORITHM
from v2g.iso15118.d20.prices import amount, fraction
from v2g.iso15118.d20.quantities import whole
from v2g.units import DAY_S, MICRO

Entry = TypeVar("Entry", iso.PriceRuleStack, iso.PriceLevelScheduleEntry)
CsmsPrices = iso.AbsolutePriceSchedule | iso.PriceLevelSchedule


def still_hold(source: CsmsPrices, now_s: int) -> bool:
    """Return whether they contain a present price."""
    return source.time_anchor <= now_s < source.time_anchor + sum(each.duration for each in _entries(source))


def in_money(
    source: iso.AbsolutePriceSchedule, now_s: int, horizon_s: int, points: int, *, export: bool, surcharge_micro: int
) -> iso.AbsolutePriceSchedule | None:
    """Return prices from now on: those to pay, or with `export` the compensation; None if there is none.

    Only energy is compensated for discharge; `surcharge_micro` is added to prices to pay.
    """
    stacks = []
    for stack in _from(source.price_rule_stacks.price_rule_stack, source.time_anchor, now_s, horizon_s, points):
        rules = tuple(_back(stack) if export else _ahead(stack, surcharge_micro))
        stacks.append(replace(stack, price_rule=rules))
    if not all(each.price_rule for each in stacks):
        return None
    prices = replace(
        source, time_anchor=now_s, price_rule_stacks=iso.PriceRuleStackList(price_rule_stack=tuple(stacks))
    )
    if not export:
        return prices
    return replace(
        prices,
        minimum_cost=None,
        maximum_cost=None,
        tax_rules=None,
        overstay_rules=None,
        additional_selected_services=None,
    )


def in_levels(
    source: CsmsPrices, now_s: int, horizon_s: int, points: int, *, export: bool
) -> iso.PriceLevelSchedule | None:
    """Return levels from now on: those of the back end, or prices by rank; None if energy has no price."""
    if isinstance(source, iso.PriceLevelSchedule):
        entries = tuple(
            _from(
                source.price_level_schedule_entries.price_level_schedule_entry,
                source.time_anchor,
                now_s,
                horizon_s,
                points,
            )
        )
        return None if export else _csms_levels(source, entries, source.number_of_price_levels, now_s)
    money = in_money(source, now_s, horizon_s, points, export=export, surcharge_micro=0)
    if money is None:
        return None
    stacks = money.price_rule_stacks.price_rule_stack
    fees = [fraction(each.price_rule[0].energy_fee) for each in stacks]
    ranks = sorted(set(fees))
    count = min(len(ranks), 255)
    entries = tuple(
        iso.PriceLevelScheduleEntry(
            duration=each.duration, price_level=(bisect_right(ranks, fee) - 1) * count // len(ranks)
        )
        for each, fee in zip(stacks, fees, strict=True)
    )
    return _csms_levels(source, entries, count, now_s)


def _csms_levels(
    source: CsmsPrices, entries: tuple[iso.PriceLevelScheduleEntry, ...], count: int, now_s: int
) -> iso.PriceLevelSchedule:
    return iso.PriceLevelSchedule(
        time_anchor=now_s,
        price_schedule_id=source.price_schedule_id,
        price_schedule_description=source.price_schedule_description,
        number_of_price_levels=count,
        price_level_schedule_entries=iso.PriceLevelScheduleEntryList(price_level_schedule_entry=entries),
    )


def _entries(source: CsmsPrices) -> tuple[iso.PriceRuleStack, ...] | tuple[iso.PriceLevelScheduleEntry, ...]:
    if isinstance(source, iso.AbsolutePriceSchedule):
        return source.price_rule_stacks.price_rule_stack
    return source.price_level_schedule_entries.price_level_schedule_entry


def _from(entries: tuple[Entry, ...], anchor_s: int, now_s: int, horizon_s: int, points: int) -> Iterator[Entry]:
    """Yield entries from now on until the horizon, at most so many."""
    begin, count = anchor_s, 0
    for entry in entries:
        start, end = max(begin, now_s), min(begin + entry.duration, now_s + horizon_s)
        begin += entry.duration
        if end > start and count < min(points, 1024):
            count += 1
            yield replace(entry, duration=end - start)


def _ahead(stack: iso.PriceRuleStack, surcharge_micro: int) -> Iterator[iso.PriceRule]:
    for rule in stack.price_rule:
        if rule.power_range_start.value >= 0:
            fee = fraction(rule.energy_fee) + Fraction(surcharge_micro, MICRO)
            yield replace(rule, energy_fee=amount(fee)) if surcharge_micro else rule


def _back(stack: iso.PriceRuleStack) -> Iterator[iso.PriceRule]:
    """Yield the compensation for discharged energy, by its magnitude; the lowest range begins at 0."""
    paid = sorted(
        (rule for rule in stack.price_rule if rule.power_range_start.value < 0),
        key=lambda rule: -fraction(rule.power_range_start),
    )
    for index, rule in enumerate(paid):
        start = rule.power_range_start
        yield iso.PriceRule(
            energy_fee=rule.energy_fee,
            power_range_start=RationalNumber(exponent=start.exponent, value=min(32767, -start.value))
            if index
            else RationalNumber(exponent=0, value=0),
        )


NONE, ABSOLUTE, LEVELS = 0, 1, 2
"""Values of the service parameter Pricing (Tables 205 to 207)."""


class WantedPrices(msgspec.Struct, frozen=True):
    """Parameters of a price schedule. `points` is the maximum number of entries.

    With `export` the fees are compensations: positive, paid for energy that counts as negative. `surcharge_micro`
    is added to the tariff.
    """

    schedule_id: int
    pricing: int
    horizon_s: int
    points: int
    export: bool = False
    surcharge_micro: int = 0


def horizon(departure_s: int | None) -> int:
    """Return the planning horizon in s: until departure, at least an hour, at most a day."""
    return DAY_S if departure_s is None else max(3600, min(DAY_S, departure_s))


def has_prices(context: RequestContext) -> bool:
    """Return whether the tariff has a present price that may be sent to vehicles."""
    tariff = context.facts.tariff
    return (
        context.config.offer_prices and tariff is not None and bool(tariff.window(context.utc_ms, context.utc_ms + 1))
    )


def pricings(mode: ControlMode, context: RequestContext) -> tuple[int, ...]:
    """Return the values of the service parameter Pricing to offer, best first.

    Scheduled vehicles get one level if no price is known, since some require a price schedule. The back end's
    prices come after the vehicle has selected: `from_back_end` announces them.
    """
    if (
        has_prices(context)
        or _csms_prices(context) is not None
        or (context.config.prices.from_back_end and context.connection.can_plan)
    ):
        return tuple(ABSOLUTE if form == "absolute" else LEVELS for form in context.config.prices.forms)
    return (LEVELS if mode is ControlMode.SCHEDULED else NONE,)


def price_schedule(
    context: RequestContext, wanted: WantedPrices
) -> iso.AbsolutePriceSchedule | iso.PriceLevelSchedule | None:
    """Return prices or levels from now on, or None without prices.

    The back end's prices have precedence over the tariff; levels cannot be converted to prices.
    """
    if wanted.pricing == NONE:
        return None
    prices = _csms_prices(context)
    if prices is not None and (wanted.pricing == LEVELS or isinstance(prices, iso.AbsolutePriceSchedule)):
        found: iso.AbsolutePriceSchedule | iso.PriceLevelSchedule | None
        span = context.utc_ms // 1000, wanted.horizon_s, wanted.points
        if wanted.pricing == LEVELS:
            found = in_levels(prices, *span, export=wanted.export)
            if found is None:
                return _one_level(context, wanted)
        else:
            assert isinstance(prices, iso.AbsolutePriceSchedule)
            found = in_money(prices, *span, export=wanted.export, surcharge_micro=wanted.surcharge_micro)
        return (
            None
            if found is None
            else replace(found, price_schedule_id=wanted.schedule_id, id=_price_id(context, wanted))
        )
    if not has_prices(context):
        return _one_level(context, wanted) if wanted.pricing == LEVELS else None
    return _absolute(context, wanted) if wanted.pricing == ABSOLUTE else _levels(context, wanted)


def _csms_prices(context: RequestContext) -> CsmsPrices | None:
    """Return the back end's prices if valid now and allowed to be sent."""
    prices = context.facts.csms_prices
    fresh = prices is not None and context.config.offer_prices and still_hold(prices, context.utc_ms // 1000)
    return prices if fresh else None


def _price_id(context: RequestContext, wanted: WantedPrices) -> str | None:
    """Return the id that a signature refers to, if prices are signed."""
    return f"price{wanted.schedule_id}" if context.connection.trust.price_key is not None else None


def _slots(context: RequestContext, wanted: WantedPrices) -> Iterator[tuple[int, PriceSlot]]:
    """Yield (seconds, slot) from now on."""
    tariff = context.facts.tariff
    assert tariff is not None
    now_s = context.utc_ms // 1000
    points = min(wanted.points, 1024)
    for slot in tariff.window(context.utc_ms, context.utc_ms + wanted.horizon_s * 1000, at_most=points):
        yield slot.end_ms // 1000 - max(slot.start_ms // 1000, now_s), slot


def _absolute(context: RequestContext, wanted: WantedPrices) -> iso.AbsolutePriceSchedule:
    """Return the tariff with fees and taxes. Only energy is compensated for discharge."""
    terms = context.config.prices
    assert context.facts.tariff is not None
    stacks = tuple(
        iso.PriceRuleStack(duration=seconds, price_rule=tuple(_rules(terms, slot, wanted)))
        for seconds, slot in _slots(context, wanted)
    )
    charging = not wanted.export
    return iso.AbsolutePriceSchedule(
        time_anchor=context.utc_ms // 1000,
        price_schedule_id=wanted.schedule_id,
        price_schedule_description=terms.description or None,
        currency=context.facts.tariff.currency,
        language=terms.language,
        price_algorithm=PRICE_ALGORITHM + terms.algorithm,
        minimum_cost=_money(terms.minimum_cost) if charging else None,
        maximum_cost=_money(terms.maximum_cost) if charging else None,
        tax_rules=_taxes(terms) if charging else None,
        price_rule_stacks=iso.PriceRuleStackList(price_rule_stack=stacks),
        overstay_rules=_overstay(terms.overstay) if charging and terms.overstay is not None else None,
        additional_selected_services=_services(terms) if charging else None,
        id=_price_id(context, wanted),
    )


def _rules(terms: PriceTerms, slot: PriceSlot, wanted: WantedPrices) -> Iterator[iso.PriceRule]:
    """Yield the rules of one slot, one for each power range; rounding to 16 bits is in the payer's favour."""
    if wanted.export:
        compensation = Fraction(slot.export_compensation, MICRO)
        yield iso.PriceRule(energy_fee=_negated(amount(-compensation)), power_range_start=whole(0))
        return
    parking = _money(terms.parking_fee)
    surcharges = ((0, Decimal(0)), *((each.from_w, each.surcharge) for each in terms.power_ranges))
    for from_w, surcharge in surcharges:
        fee = Fraction(slot.import_price + wanted.surcharge_micro, MICRO) + Fraction(surcharge)
        yield iso.PriceRule(
            energy_fee=amount(fee),
            parking_fee=parking,
            parking_fee_period=terms.parking_period_s if parking is not None else None,
            carbon_dioxide_emission=terms.carbon_dioxide,
            renewable_generation_percentage=terms.renewable_percent,
            power_range_start=whole(from_w),
        )


def _taxes(terms: PriceTerms) -> iso.TaxRuleList | None:
    rules = tuple(
        iso.TaxRule(
            tax_rule_id=number,
            tax_rule_name=tax.name,
            tax_rate=amount(100 * Fraction(tax.rate)),
            tax_included_in_price=tax.included,
            applies_to_energy_fee=tax.energy,
            applies_to_parking_fee=tax.parking,
            applies_to_overstay_fee=tax.overstay,
            applies_minimum_maximum_cost=tax.bounds,
        )
        for number, tax in enumerate(terms.taxes, start=1)
    )
    return iso.TaxRuleList(tax_rule=rules) if rules else None


def _overstay(terms: OverstayTerms) -> iso.OverstayRuleList:
    return iso.OverstayRuleList(
        overstay_time_threshold=terms.after_s,
        overstay_power_threshold=None if terms.below_w is None else whole(terms.below_w),
        overstay_rule=tuple(
            iso.OverstayRule(
                overstay_rule_description=each.description or None,
                start_time=each.from_s,
                overstay_fee=amount(Fraction(each.fee)),
                overstay_fee_period=each.period_s,
            )
            for each in terms.rules
        ),
    )


def _services(terms: PriceTerms) -> iso.AdditionalServiceList | None:
    services = tuple(
        iso.AdditionalService(service_name=each.name, service_fee=amount(Fraction(each.fee))) for each in terms.services
    )
    return iso.AdditionalServiceList(additional_service=services) if services else None


def _money(value: Decimal | None) -> RationalNumber | None:
    return None if value is None else amount(Fraction(value))


def _negated(number: RationalNumber) -> RationalNumber:
    # -32768 has no counterpart in 16 bits
    if number.value == -32768:
        return RationalNumber(exponent=number.exponent + 1, value=3277)
    return RationalNumber(exponent=number.exponent, value=-number.value)


def _levels(context: RequestContext, wanted: WantedPrices) -> iso.PriceLevelSchedule:
    """Divide the prices of the horizon into levels by rank: 0 is the lowest price."""
    slots = list(_slots(context, wanted))
    prices = [slot.export_compensation if wanted.export else slot.import_price for _, slot in slots]
    ranks = sorted(set(prices))
    count = min(context.config.prices.levels, len(ranks))
    entries = tuple(
        iso.PriceLevelScheduleEntry(
            duration=seconds, price_level=(bisect_right(ranks, price) - 1) * count // len(ranks)
        )
        for (seconds, _), price in zip(slots, prices, strict=True)
    )
    return _level_schedule(context, wanted, count, entries)


def _one_level(context: RequestContext, wanted: WantedPrices) -> iso.PriceLevelSchedule:
    entry = iso.PriceLevelScheduleEntry(duration=wanted.horizon_s, price_level=0)
    return _level_schedule(context, wanted, 1, (entry,))


def _level_schedule(
    context: RequestContext, wanted: WantedPrices, count: int, entries: tuple[iso.PriceLevelScheduleEntry, ...]
) -> iso.PriceLevelSchedule:
    return iso.PriceLevelSchedule(
        time_anchor=context.utc_ms // 1000,
        price_schedule_id=wanted.schedule_id,
        number_of_price_levels=count,
        price_level_schedule_entries=iso.PriceLevelScheduleEntryList(price_level_schedule_entry=entries),
        id=_price_id(context, wanted),
    )
