"""Price schedules in charging profiles, in ISO 15118-20's form, to be sent to the vehicle (K15, K18, K19).

A sales tariff of ISO 15118-2 becomes price levels. Times become absolute; a rule with a power range that starts
below 0 is for energy fed back (OCPP's PriceRuleType).
"""

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Final

from v2g.errors import RefusedError
from v2g.iso15118.d20.messages import schedules as iso
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.prices import amount
from v2g.ocpp.messages import price_schedules as wire
from v2g.ocpp.messages.charging_profiles import ChargingSchedule
from v2g.ocpp.times import parse_time
from v2g.units import DAY_S

CsmsPrices = iso.AbsolutePriceSchedule | iso.PriceLevelSchedule

_POWERS: Final = 30
"""Of ten, up to which a number of too many digits is rounded."""
_LEVELS: Final = 255
_LONGEST: Final = 255
"""Characters of an identifier."""


def read_csms_prices(schedule: ChargingSchedule, begin_ms: int) -> CsmsPrices | None:
    """Return the prices of a schedule that begins at `begin_ms` (UTC), None if it has none.

    Raises RefusedError (`bad_prices`) for what ISO 15118 cannot represent, and OcppError for invalid times.
    """
    if schedule.absolute_price_schedule is not None:
        return _absolute(schedule.absolute_price_schedule)
    if schedule.price_level_schedule is not None:
        given = schedule.price_level_schedule
        entries = [(_seconds(each.duration), each.price_level) for each in given.price_level_schedule_entries]
        anchor_s, text = _seconds(parse_time(given.time_anchor) // 1000), given.price_schedule_description
        return _level_schedule(anchor_s, text, entries, given.number_of_price_levels)
    if schedule.sales_tariff is not None:
        return _sales(schedule.sales_tariff, begin_ms, schedule.duration or DAY_S)
    return None


def _absolute(given: wire.AbsolutePriceSchedule) -> iso.AbsolutePriceSchedule:
    services = tuple(
        iso.AdditionalService(service_name=each.service_name, service_fee=_number(each.service_fee))
        for each in given.additional_selected_services
    )
    taxes = tuple(map(_tax, given.tax_rules))
    if not any(each.duration for each in given.price_rule_stacks):
        raise _bad("prices without times")
    if len(given.price_algorithm) > _LONGEST:
        raise _bad(f"an algorithm with a name of {len(given.price_algorithm)} characters")
    return iso.AbsolutePriceSchedule(
        time_anchor=_seconds(parse_time(given.time_anchor) // 1000),
        price_schedule_id=1,
        price_schedule_description=given.price_schedule_description or None,
        currency=given.currency,
        language=given.language.partition("-")[0][:3],
        price_algorithm=given.price_algorithm,
        minimum_cost=None if given.minimum_cost is None else _number(given.minimum_cost),
        maximum_cost=None if given.maximum_cost is None else _number(given.maximum_cost),
        tax_rules=iso.TaxRuleList(tax_rule=taxes) if taxes else None,
        price_rule_stacks=iso.PriceRuleStackList(
            price_rule_stack=tuple(
                iso.PriceRuleStack(duration=_seconds(each.duration), price_rule=tuple(map(_rule, each.price_rule)))
                for each in given.price_rule_stacks
            )
        ),
        overstay_rules=None if given.overstay_rule_list is None else _overstay(given.overstay_rule_list),
        additional_selected_services=iso.AdditionalServiceList(additional_service=services) if services else None,
    )


def _rule(given: wire.PriceRule) -> iso.PriceRule:
    back = given.power_range_start.value < 0
    return iso.PriceRule(
        energy_fee=_number(given.energy_fee, up=back),
        parking_fee=None if given.parking_fee is None else _number(given.parking_fee),
        parking_fee_period=None if given.parking_fee_period is None else _seconds(given.parking_fee_period),
        carbon_dioxide_emission=None
        if given.carbon_dioxide_emission is None
        else min(given.carbon_dioxide_emission, 0xFFFF),
        renewable_generation_percentage=given.renewable_generation_percentage,
        power_range_start=_number(given.power_range_start),
    )


def _tax(given: wire.TaxRule) -> iso.TaxRule:
    if given.tax_rate.value < 0:
        raise _bad("a negative tax")
    return iso.TaxRule(
        tax_rule_id=max(1, given.tax_rule_id),
        tax_rule_name=(given.tax_rule_name or "")[:80] or None,
        tax_rate=_number(given.tax_rate),
        tax_included_in_price=given.tax_included_in_price,
        applies_to_energy_fee=given.applies_to_energy_fee,
        applies_to_parking_fee=given.applies_to_parking_fee,
        applies_to_overstay_fee=given.applies_to_overstay_fee,
        applies_minimum_maximum_cost=given.applies_to_minimum_maximum_cost,
    )


def _overstay(given: wire.OverstayRuleList) -> iso.OverstayRuleList:
    return iso.OverstayRuleList(
        overstay_time_threshold=None
        if given.overstay_time_threshold is None
        else _seconds(given.overstay_time_threshold),
        overstay_power_threshold=None
        if given.overstay_power_threshold is None
        else _number(given.overstay_power_threshold),
        overstay_rule=tuple(
            iso.OverstayRule(
                overstay_rule_description=each.overstay_rule_description or None,
                start_time=_seconds(each.start_time),
                overstay_fee=_number(each.overstay_fee),
                overstay_fee_period=_seconds(each.overstay_fee_period),
            )
            for each in given.overstay_rule
        ),
    )


def _sales(given: wire.SalesTariff, begin_ms: int, duration_s: int) -> iso.PriceLevelSchedule:
    """Each entry applies until the next one; levels of ISO 15118-2 start with 1 for the cheapest."""
    entries = sorted(given.sales_tariff_entry, key=lambda each: each.relative_time_interval.start)
    starts = [_seconds(each.relative_time_interval.start) for each in entries]
    last = entries[-1].relative_time_interval.duration
    ends = [*starts[1:], starts[-1] + _seconds(last) if last else max(starts[-1] + 1, duration_s)]
    levels = [
        (end - start, (each.e_price_level or 1) - 1) for each, start, end in zip(entries, starts, ends, strict=True)
    ]
    anchor_s, text = begin_ms // 1000 + starts[0], given.sales_tariff_description
    return _level_schedule(anchor_s, text, levels, given.num_e_price_levels or 0)


def _level_schedule(
    anchor_s: int, description: str | None, entries: Iterable[tuple[int, int]], count: int
) -> iso.PriceLevelSchedule:
    levels = tuple(
        iso.PriceLevelScheduleEntry(duration=seconds, price_level=min(level, _LEVELS))
        for seconds, level in _joined(entries)
    )
    if not levels:
        raise _bad("levels without times")
    highest = 1 + max(each.price_level for each in levels)
    return iso.PriceLevelSchedule(
        time_anchor=anchor_s,
        price_schedule_id=1,
        price_schedule_description=description or None,
        number_of_price_levels=min(max(count, highest), _LEVELS),
        price_level_schedule_entries=iso.PriceLevelScheduleEntryList(price_level_schedule_entry=levels),
    )


def _joined(entries: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for level, same in itertools.groupby(entries, key=lambda each: each[1]):
        seconds = sum(each[0] for each in same)
        if seconds:
            yield seconds, level


def _seconds(value: int) -> int:
    if value < 0:
        raise _bad(f"a time of {value} s")
    return value


def _number(given: wire.RationalNumber, *, up: bool = False) -> RationalNumber:
    """Return a number in 16 bits: exact, or with fewer digits; fees are rounded down, compensations up."""
    if -32768 <= given.value <= 32767:
        return RationalNumber(exponent=given.exponent, value=given.value)
    if abs(given.exponent) > _POWERS:
        raise _bad(f"a number of {given.value}e{given.exponent}")
    value = given.value * Fraction(10) ** given.exponent
    if not up:
        return amount(value)
    number = amount(-value)
    if number.value == -32768:  # its negative exceeds 16 bits
        return RationalNumber(exponent=number.exponent + 1, value=3277)
    return RationalNumber(exponent=number.exponent, value=-number.value)


def _bad(what: str) -> RefusedError:
    return RefusedError(f"the price schedule has {what}", reason="bad_prices")
