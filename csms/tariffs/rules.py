"""A tariff's week: which price holds when, where none does, and holidays that are as Sundays."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final

import msgspec

from v2g.energy.price_plan import Charge, ChargeKind, PricePlan, Rate, Use, When
from v2g.energy.settlement.costing import with_taxes
from v2g.energy.settlement.pieces import zone_of
from v2g.units import decimals_of

DAY_MIN: Final = 1440
SUNDAY: Final = 6
YEAR: Final = 366
"""Days that are searched for hours without a price."""

CLOCK: Final = frozenset({"from_minute", "to_minute", "weekdays", "holidays", "from_day", "to_day"})
"""Conditions by clock and calendar."""


class PricedHours(msgspec.Struct, frozen=True):
    """A part of a day, in minutes after midnight, `end` exclusive, with its price without tax; None: none applies."""

    begin: int
    end: int
    price: str | None


class UnpricedHours(msgspec.Struct, frozen=True):
    """Hours without a price on a day, and on how many days of the year they are so; `first`: the first of them."""

    first: date
    begin: int
    end: int
    days: int


def blocks(plan: PricePlan, kind: ChargeKind, day: date) -> tuple[PricedHours, ...]:
    """Return the prices of a day by the clock, as a session that begins then has them; equal neighbours are one."""
    charge = plan.charge(kind)
    if charge is None:
        return ()
    whens = [each.when for each in charge.rates]
    minutes = {minute for when in whens for minute in (when.from_minute, when.to_minute) if minute}
    cuts = [0, *sorted(minutes), DAY_MIN]
    found: list[PricedHours] = []
    for begin, end in pairwise(cuts):
        moment = datetime.combine(day, datetime.min.time()) + timedelta(minutes=begin)
        index = plan.rate(kind, moment, Use())
        price = None if index is None else charge.rates[index].price
        if found and found[-1].price == price:
            found[-1] = PricedHours(found[-1].begin, end, price)
        else:
            found.append(PricedHours(begin, end, price))
    return tuple(found)


def week(plan: PricePlan, kind: ChargeKind, day: date) -> list[tuple[date, tuple[PricedHours, ...]]]:
    """Return the days of the week of a day, Monday first, with their prices."""
    monday = day - timedelta(days=day.weekday())
    days = [monday + timedelta(days=each) for each in range(7)]
    return [(each, blocks(plan, kind, each)) for each in days]


def weeks(plan: PricePlan, today: date) -> list[date]:
    """Return a day of each week that is unlike others: this one, those in which a season begins, the next holiday's."""
    days = {day for when in plan.conditions() for day in (when.from_day, when.to_day) if day and day > today}
    holiday = min((day for day in plan.holidays if day > today), default=None)
    holidays = [holiday] if holiday and any(when.holidays is not None for when in plan.conditions()) else []
    found = [today, *sorted(days), *holidays]
    by_monday = {day - timedelta(days=day.weekday()): day for day in reversed(found[:8])}
    return sorted(by_monday.values())


def gaps(plan: PricePlan, kind: ChargeKind, first: date) -> list[UnpricedHours]:
    """Return the hours of a year from a day on in which no rate of a kind applies, by weekday, the soonest first; none
    where the kind has no rates, and so is free on purpose."""
    charge = plan.charge(kind)
    if charge is None:
        return []
    holidays = frozenset(plan.holidays)
    known: dict[tuple[object, ...], tuple[PricedHours, ...]] = {}
    found: dict[tuple[int, int, int], UnpricedHours] = {}
    for day in (first + timedelta(days=number) for number in range(YEAR)):
        seasons = tuple(_in_season(each.when, day) for each in charge.rates)
        alike = (day.weekday(), day in holidays, seasons)
        if alike not in known:
            known[alike] = blocks(plan, kind, day)
        for each in known[alike]:
            if each.price is None:
                key = (day.weekday(), each.begin, each.end)
                before = found.get(key)
                found[key] = UnpricedHours(
                    before.first if before else day, each.begin, each.end, 1 + (before.days if before else 0)
                )
    return sorted(found.values(), key=lambda each: (each.first, each.begin))


def _in_season(when: When, day: date) -> bool:
    return (when.from_day is None or when.from_day <= day) and (when.to_day is None or day < when.to_day)


def filling(charge: Charge, kind: ChargeKind) -> str:
    """Return the price that fills hours without one: of charging the greatest, of feeding back the least."""
    pick = min if kind == "export" else max
    return pick(charge.rates, key=lambda each: each.micro).price


def by_clock(plan: PricePlan) -> bool:
    """Return whether rates differ by clock and calendar only, not by use."""
    fields = set(When.__struct_fields__) - CLOCK
    return not any(getattr(when, name) not in (None, ()) for when in plan.conditions() for name in fields)


def has_clock_of(plan: PricePlan, zone: str, day: int) -> bool:
    """Return whether a plan means the same by clock and calendar in another zone, a year from a day (since 1970) on."""
    used = any(getattr(when, name) not in (None, ()) for when in plan.conditions() for name in CLOCK)
    return not used or _are_alike(zone, plan.zone, day)


@lru_cache
def _are_alike(one: str, other: str, day: int) -> bool:
    zones = zone_of(one), zone_of(other)
    noons = [datetime(1970, 1, 1, 12, tzinfo=UTC) + timedelta(days=day + number) for number in range(YEAR)]
    return all(each.astimezone(zones[0]).utcoffset() == each.astimezone(zones[1]).utcoffset() for each in noons)


def as_sundays(rates: Sequence[Rate]) -> tuple[Rate, ...]:
    """Return rates by which holidays are as Sundays, whatever their weekday."""
    found: list[Rate] = []
    for each in rates:
        if not each.when.weekdays or each.when.holidays is not None:
            found.append(each)
            continue
        replace = msgspec.structs.replace
        if SUNDAY in each.when.weekdays:
            found.append(replace(each, when=replace(each.when, weekdays=(), holidays=True)))
        found.append(replace(each, when=replace(each.when, holidays=False)))
    return tuple(found)


class OfferedPrices(msgspec.Struct, frozen=True):
    """What a driver pays, with taxes, from a moment on: per kWh, kWh fed back (paid to the driver), minute of charging
    and of standing idle, and session; None: free."""

    energy: str | None
    export: str | None
    charging_time: str | None
    idle_time: str | None
    fixed: str | None


PRICED: Final[tuple[ChargeKind, ...]] = ("energy", "export", "charging_time", "idle_time", "fixed")


def offered(plan: PricePlan, moment: datetime) -> OfferedPrices:
    """Return the prices of a session that begins at a local time, by the rates and taxes that its receipt uses."""
    found: list[str | None] = []
    for kind in PRICED:
        charge, price = plan.charge(kind), plan.price(kind, moment, Use())
        taxes = charge.taxes if charge else ()
        found.append(None if price is None else decimals_of(with_taxes(price, taxes)))
    return OfferedPrices(*found)


def changes(plan: PricePlan, moment: datetime) -> list[tuple[int, OfferedPrices]]:
    """Return the minutes of the rest of a local day at which prices per kWh change, with the new ones."""
    day = moment.date()
    cuts = {each.begin for kind in ("energy", "export") for each in blocks(plan, kind, day)}
    now = moment.hour * 60 + moment.minute
    start = datetime.combine(day, datetime.min.time())
    later = [(cut, offered(plan, start + timedelta(minutes=cut))) for cut in sorted(cuts) if cut > now]
    found, last = [], offered(plan, moment)
    for cut, prices in later:
        if (prices.energy, prices.export) != (last.energy, last.export):
            found.append((cut, prices))
        last = prices
    return found
