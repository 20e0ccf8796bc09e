"""Price plans as sent to vehicles: ISO 15118's price schedules and sales tariffs, in OCPP's form (K15 to K19).

A schedule of absolute prices is made only if it represents the plan exactly: it cannot depend on the energy charged so
far, on the current or on the payment method, and has no fee for charging time alone. Price levels rank
the times of any plan. Fees are rounded down and compensations up to what 16 bits can hold, as `rounded` does.
"""

import itertools
from collections.abc import Iterable, Iterator
from datetime import tzinfo
from fractions import Fraction
from typing import Final

import msgspec
from msgspec.structs import replace

from v2g.energy.price_plan import Charge, PricePlan, Tax, Use, When, local_time
from v2g.energy.settlement.pieces import zone_of
from v2g.errors import RefusedError
from v2g.iso15118.d20.price_rules import PRICE_ALGORITHM, rounded
from v2g.ocpp.messages import price_schedules as wire
from v2g.ocpp.times import format_time
from v2g.units import MICRO

MOST_LEVELS: Final = 100
"""Maximum number of entries of a price level schedule in OCPP."""

_MOST_ENTRIES: Final = 1024
_MOST_RULES: Final = 8
_MOST_OVERSTAY: Final = 5
_PPM: Final = 1_000_000
_BACK_W: Final = -1
"""Start of power ranges for energy fed back (PriceRuleType: a negative start counts downwards)."""
_IN_USE: Final = frozenset(When.__struct_fields__) - {
    "from_minute", "to_minute", "weekdays", "holidays", "from_day", "to_day", "evse_kind",
}  # fmt: skip
"""Conditions beyond clock, calendar and place."""
_TIMES: Final = frozenset({"min_time_s", "max_time_s"})
_POWERS: Final = frozenset({"min_power_w", "max_power_w"})
_PAUSES: Final = frozenset({"min_idle_s", "max_idle_s"})


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of a schedule: its EVSE and time (UTC ms, both in whole seconds).

    `started_ms`: start of the transaction. `use`: its consumption so far, for ranking by levels. `entries`: maximum
    number of entries, of which a message has 1,024 at most.
    """

    from_ms: int
    until_ms: int
    started_ms: int
    evse_kind: str | None = None
    use: Use = Use()
    entries: int = _MOST_ENTRIES


class _Piece(msgspec.Struct, frozen=True):
    """Prices for some seconds: of energy by power (W, from 0), of energy fed back, and per minute; micro-units."""

    seconds: int
    fees: tuple[tuple[int, int], ...]
    back: int | None
    minute: int


def absolute_prices(plan: PricePlan, asked: Asked, schedule_id: int) -> wire.AbsolutePriceSchedule:
    """Return the plan's prices in money.

    Raises RefusedError (`not_expressible`) for a plan that such a schedule cannot represent.
    """
    _only(plan.energy, _TIMES | _POWERS, "energy")
    _only(plan.export, _TIMES, "energy fed back")
    if plan.charging_time is not None and not _is_parking(plan):
        raise _not_expressible("a price for the time of charging alone")
    if _is_parking(plan):
        _only(plan.idle_time, _TIMES, "time")
    else:
        _only(plan.idle_time, _PAUSES, "pauses", clock=False)
    if len(_ranges(plan)) + (plan.export is not None) > _MOST_RULES:
        raise _not_expressible("so many ranges of power")
    pieces = _merged(_pieces(plan, asked), min(asked.entries, _MOST_ENTRIES))
    least, greatest, bounded_net = _bounds(plan, asked)
    return wire.AbsolutePriceSchedule(
        time_anchor=format_time(asked.from_ms),
        price_schedule_id=schedule_id,
        price_schedule_description=plan.description[:160] or None,
        currency=plan.currency,
        language="eng",
        price_algorithm=f"{PRICE_ALGORITHM}1-Power",
        minimum_cost=least,
        maximum_cost=greatest,
        price_rule_stacks=tuple(
            wire.PriceRuleStack(duration=each.seconds, price_rule=tuple(_rules(plan, each))) for each in pieces
        ),
        tax_rules=tuple(_tax_rules(plan, bounds=bounded_net)),
        overstay_rule_list=_overstay(plan, asked),
        additional_selected_services=_fees(plan, asked),
    )


def price_levels(plan: PricePlan, asked: Asked, schedule_id: int) -> wire.PriceLevelSchedule:
    """Return the times ranked by the price of a kWh; 0 is the cheapest. The highest power in `asked.use` counts."""
    ranked = _ranked(plan, asked, min(asked.entries, MOST_LEVELS))
    return wire.PriceLevelSchedule(
        time_anchor=format_time(asked.from_ms),
        price_schedule_id=schedule_id,
        price_schedule_description=plan.description[:32] or None,
        number_of_price_levels=1 + max(level for _, level in ranked),
        price_level_schedule_entries=tuple(
            wire.PriceLevelScheduleEntry(duration=seconds, price_level=level) for seconds, level in ranked
        ),
    )


def sales_tariff(plan: PricePlan, asked: Asked, tariff_id: int) -> wire.SalesTariff:
    """Return the times ranked, in the form of ISO 15118-2; 1 is the cheapest. Times count from `from_ms`."""
    ranked = _ranked(plan, asked, min(asked.entries, _MOST_ENTRIES))
    starts = itertools.accumulate((seconds for seconds, _ in ranked), initial=0)
    return wire.SalesTariff(
        id=tariff_id,
        sales_tariff_description=plan.description[:32] or None,
        num_e_price_levels=1 + max(level for _, level in ranked),
        sales_tariff_entry=tuple(
            wire.SalesTariffEntry(
                relative_time_interval=wire.RelativeTimeInterval(start=start, duration=seconds), e_price_level=level + 1
            )
            for start, (seconds, level) in zip(starts, ranked, strict=False)
        ),
    )


# -- over time --------------------------------------------------------------------------------------------------------


def _cuts(plan: PricePlan, asked: Asked, zone: tzinfo) -> list[int]:
    """Return the times between which prices only depend on the vehicle."""
    times = {asked.started_ms + edge * 1000 for when in plan.conditions() for edge in _edges(when, _TIMES)}
    inside = {each for each in times if asked.from_ms < each < asked.until_ms}
    clock = plan.clock_cuts(asked.from_ms, asked.until_ms, zone)
    return sorted(clock | inside | {asked.from_ms, asked.until_ms})


def _pieces(plan: PricePlan, asked: Asked) -> Iterator[_Piece]:
    zone = zone_of(plan.zone)
    steps = sorted(_ranges(plan))
    for begin_ms, end_ms in itertools.pairwise(_cuts(plan, asked, zone)):
        moment = local_time(begin_ms, zone)
        use = Use(time_ms=max(0, begin_ms - asked.started_ms), evse_kind=asked.evse_kind)
        fees: list[tuple[int, int]] = []
        for power in steps:
            fee = plan.price("energy", moment, replace(use, power_w=power)) or 0
            if not fees or fees[-1][1] != fee:
                fees.append((power, fee))
        minute = plan.price("idle_time", moment, use) or 0 if _is_parking(plan) else 0
        yield _Piece((end_ms - begin_ms) // 1000, tuple(fees), plan.price("export", moment, use), minute)


def _ranges(plan: PricePlan) -> set[int]:
    """Return the powers (W) from which energy may have another price."""
    energy = plan.energy.rates if plan.energy else ()
    return {0} | {edge for rate in energy for edge in _edges(rate.when, _POWERS)}


def _merged(pieces: Iterable[_Piece], most: int) -> list[_Piece]:
    """Return pieces with equal neighbours merged, at most so many of them."""
    found: list[_Piece] = []
    for piece in pieces:
        if found and replace(found[-1], seconds=0) == replace(piece, seconds=0):
            found[-1] = replace(piece, seconds=found[-1].seconds + piece.seconds)
        elif len(found) == most:
            break
        elif piece.seconds:
            found.append(piece)
    return found


def _ranked(plan: PricePlan, asked: Asked, most: int) -> list[tuple[int, int]]:
    """Return (seconds, rank) of the price of a kWh over time, with the consumption so far."""
    zone = zone_of(plan.zone)
    found: list[tuple[int, int]] = []
    for begin_ms, end_ms in itertools.pairwise(_cuts(plan, asked, zone)):
        use = replace(asked.use, time_ms=max(0, begin_ms - asked.started_ms), evse_kind=asked.evse_kind)
        price = plan.price("energy", local_time(begin_ms, zone), use) or 0
        seconds = (end_ms - begin_ms) // 1000
        if found and found[-1][1] == price:
            found[-1] = found[-1][0] + seconds, price
        elif len(found) == most:
            break
        elif seconds:
            found.append((seconds, price))
    ranks = sorted({price for _, price in found})
    return [(seconds, ranks.index(price)) for seconds, price in found]


# -- what can be expressed -----------------------------------------------------------------------------------------


def _only(charge: Charge | None, known: frozenset[str], what: str, *, clock: bool = True) -> None:
    for when in (rate.when for rate in (charge.rates if charge else ())):
        if any(getattr(when, name) is not None for name in _IN_USE - known):
            raise _not_expressible(f"such conditions of {what}")
        bare = When(evse_kind=when.evse_kind, **{name: getattr(when, name) for name in known})
        if not clock and when != bare:
            raise _not_expressible(f"clock times for {what}")


def _is_parking(plan: PricePlan) -> bool:
    """Return whether time costs the same with and without energy flowing."""
    return plan.charging_time == plan.idle_time


def _not_expressible(what: str) -> RefusedError:
    return RefusedError(f"a price schedule cannot express {what}", reason="not_expressible")


def _edges(when: When, names: Iterable[str]) -> Iterator[int]:
    for name in names:
        if (edge := getattr(when, name)) is not None:
            yield edge


# -- parts of a schedule ----------------------------------------------------------------------------------------------


def _rules(plan: PricePlan, piece: _Piece) -> Iterator[wire.PriceRule]:
    for power, fee in piece.fees:
        yield wire.PriceRule(
            energy_fee=_money(Fraction(fee, MICRO)),
            power_range_start=_money(Fraction(power)),
            parking_fee=_money(Fraction(piece.minute, MICRO)) if piece.minute else None,
            parking_fee_period=60 if piece.minute else None,
        )
    if piece.back is not None:
        paid = Fraction(piece.back, MICRO) * _with_taxes(plan.export)
        up = _money(-paid)  # rounded in favour of the payee
        yield wire.PriceRule(
            energy_fee=wire.RationalNumber(exponent=up.exponent, value=-up.value),
            power_range_start=_money(Fraction(_BACK_W)),
        )


def _tax_rules(plan: PricePlan, *, bounds: bool) -> Iterator[wire.TaxRule]:
    """Yield the taxes on energy and on time, added to prices without them."""
    of_energy = plan.energy.taxes if plan.energy else ()
    of_time = plan.idle_time.taxes if plan.idle_time else ()
    groups = [(of_energy, True, plan.idle_time is None or of_time == of_energy)]
    if not groups[0][2]:
        groups.append((of_time, False, True))
    numbers = itertools.count(1)
    for taxes, energy, time in groups:
        for name, rate in _effective(taxes):
            rounded = _money(100 * rate)
            if Fraction(rounded.value) * Fraction(10) ** rounded.exponent != 100 * rate:
                raise _not_expressible("a tax rate with so many digits")
            yield wire.TaxRule(
                tax_rule_id=next(numbers),
                tax_rule_name=name,
                tax_rate=rounded,
                tax_included_in_price=False,
                applies_to_energy_fee=energy,
                applies_to_parking_fee=time,
                applies_to_overstay_fee=time,
                applies_to_minimum_maximum_cost=bounds,
            )


def _effective(taxes: Iterable[Tax]) -> Iterator[tuple[str, Fraction]]:
    """Yield taxes as shares of the net price: a higher stack is applied on top of the lower ones (I12.FR.13)."""
    below = Fraction(1)
    for _, level in itertools.groupby(sorted(taxes, key=lambda tax: tax.stack), key=lambda tax: tax.stack):
        here = [(tax.kind, below * Fraction(tax.ppm, _PPM)) for tax in level]
        yield from here
        below += sum((rate for _, rate in here), Fraction(0))


def _with_taxes(charge: Charge | None) -> Fraction:
    return 1 + sum((rate for _, rate in _effective(charge.taxes if charge else ())), Fraction(0))


def _bounds(plan: PricePlan, asked: Asked) -> tuple[wire.RationalNumber | None, wire.RationalNumber | None, bool]:
    """Return minimum and maximum cost, and whether they are without taxes."""
    both = [each for each in (plan.least, plan.greatest) if each is not None]
    if not both:
        return None, None, True
    if _fees(plan, asked):
        raise _not_expressible("a fixed fee within a minimum or maximum cost")
    net = all(each.excl_tax is not None for each in both)
    if not net and any(each.incl_tax is None for each in both):
        raise _not_expressible("a minimum cost with taxes and a maximum cost without")
    if plan.energy and plan.idle_time and plan.energy.taxes != plan.idle_time.taxes:
        raise _not_expressible("a minimum or maximum cost under several taxes")
    least, greatest = (
        None if each is None else _money(Fraction((each.excl_micro if net else each.incl_micro) or 0, MICRO))
        for each in (plan.least, plan.greatest)
    )
    return least, greatest, net


def _overstay(plan: PricePlan, asked: Asked) -> wire.OverstayRuleList | None:
    """Return the cost of pauses, by their duration."""
    if plan.idle_time is None or _is_parking(plan):
        return None
    edges = sorted({0} | {edge for rate in plan.idle_time.rates for edge in _edges(rate.when, _PAUSES)})
    moment = local_time(asked.from_ms, zone_of(plan.zone))
    steps: list[tuple[int, int]] = []
    for edge in edges:
        price = plan.price("idle_time", moment, Use(idle_ms=edge * 1000, evse_kind=asked.evse_kind)) or 0
        if price != (steps[-1][1] if steps else 0):
            steps.append((edge, price))
    if not steps:
        return None
    if len(steps) > _MOST_OVERSTAY:
        raise _not_expressible("so many price steps for pauses")
    first = steps[0][0]
    return wire.OverstayRuleList(
        overstay_time_threshold=first,
        overstay_power_threshold=_money(Fraction(0)),
        overstay_rule=tuple(
            wire.OverstayRule(
                start_time=start - first, overstay_fee=_money(Fraction(price, MICRO)), overstay_fee_period=60
            )
            for start, price in steps
        ),
    )


def _fees(plan: PricePlan, asked: Asked) -> tuple[wire.AdditionalSelectedServices, ...]:
    """Return the fixed fee, with its taxes: tax rules do not apply to it."""
    if plan.fixed is None:
        return ()
    moment = local_time(asked.started_ms, zone_of(plan.zone))
    price = plan.price("fixed", moment, Use(evse_kind=asked.evse_kind))
    if not price:
        return ()
    fee = _money(Fraction(price, MICRO) * _with_taxes(plan.fixed))
    return (wire.AdditionalSelectedServices(service_name=plan.description[:80] or "fee", service_fee=fee),)


def _money(value: Fraction) -> wire.RationalNumber:
    number, exponent = rounded(value)
    return wire.RationalNumber(exponent=exponent, value=number)
