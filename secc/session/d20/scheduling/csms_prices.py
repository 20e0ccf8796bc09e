"""Prices from charging profiles of the back end, as price schedules from now on (K18.FR.20, K19)."""

from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from typing import TypeVar

from msgspec.structs import replace

from v2g.iso15118.d20.messages import schedules as iso
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.prices import amount, fraction
from v2g.units import MICRO

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
        return None if export else _levels(source, entries, source.number_of_price_levels, now_s)
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
    return _levels(source, entries, count, now_s)


def _levels(
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
