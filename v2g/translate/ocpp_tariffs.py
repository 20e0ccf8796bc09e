"""Price plans in OCPP 2.1's form of tariffs (block I), in both directions.

OCPP's tariffs have no holidays, no price for energy fed back and no time zone. Holidays become dates; a plan that pays
for energy fed back is calculated only by a back end, never by a station.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from v2g.energy.price_plan import Bound, Charge, PricePlan, Tax, When
from v2g.errors import RefusedError
from v2g.ocpp.messages import tariff_cost as wire
from v2g.ocpp.messages.base import MessageContent
from v2g.ocpp.times import format_time

DAYS: Final[tuple[wire.DayOfWeek, ...]] = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
"""Days of the week in conditions; Monday is 0."""


def money(micro: int) -> float:
    """Return micro-units as OCPP's number."""
    return float(Decimal(micro).scaleb(-6))


def elements(tariff: wire.Tariff) -> int:
    """Return the number of prices in a tariff, which a station may limit (TariffMaxElements, I07.FR.02)."""
    charges = (
        tariff.energy,
        tariff.charging_time,
        tariff.idle_time,
        tariff.fixed_fee,
        tariff.reservation_time,
        tariff.reservation_fixed,
    )
    return sum(len(charge.prices) for charge in charges if charge is not None)


def has_conditions(tariff: wire.Tariff) -> bool:
    """Return whether any price has conditions, which a station may not support (I07.FR.03)."""
    charges = (tariff.energy, tariff.charging_time, tariff.idle_time, tariff.fixed_fee, tariff.reservation_time,
               tariff.reservation_fixed)  # fmt: skip
    return any(price.conditions is not None for charge in charges if charge is not None for price in charge.prices)


def to_wire(plan: PricePlan, *, driver: bool = False) -> wire.Tariff:
    """Return a plan for local calculation by a station; a driver tariff has no `validFrom` (I08.FR.09).

    Raises RefusedError (`not_local`) for plans that OCPP cannot express.
    """
    if plan.export is not None:
        raise RefusedError(f"plan {plan.id} pays for energy fed back, unlike OCPP tariffs", reason="not_local")
    description = MessageContent(format="UTF8", content=plan.description) if plan.description else None
    return wire.Tariff(
        tariff_id=plan.id,
        description=(description,) if description else (),
        currency=plan.currency,
        valid_from=format_time(plan.valid_from_ms) if plan.valid_from_ms is not None and not driver else None,
        energy=_energy(plan),
        charging_time=_time(plan, plan.charging_time),
        idle_time=_time(plan, plan.idle_time),
        fixed_fee=_fixed(plan, plan.fixed),
        reservation_time=_time(plan, plan.reservation_time),
        reservation_fixed=_fixed(plan, plan.reservation_fixed),
        min_cost=_bound(plan.least),
        max_cost=_bound(plan.greatest),
    )


def _energy(plan: PricePlan) -> wire.TariffEnergy | None:
    if plan.energy is None:
        return None
    prices = tuple(
        wire.TariffEnergyPrice(price_kwh=money(price), conditions=_conditions(when))
        for price, when in _rates(plan, plan.energy)
    )
    return wire.TariffEnergy(prices=prices, tax_rates=taxes(plan.energy.taxes)) if prices else None


def _time(plan: PricePlan, charge: Charge | None) -> wire.TariffTime | None:
    if charge is None:
        return None
    prices = tuple(
        wire.TariffTimePrice(price_minute=money(price), conditions=_conditions(when))
        for price, when in _rates(plan, charge)
    )
    return wire.TariffTime(prices=prices, tax_rates=taxes(charge.taxes)) if prices else None


def _fixed(plan: PricePlan, charge: Charge | None) -> wire.TariffFixed | None:
    if charge is None:
        return None
    prices = tuple(
        wire.TariffFixedPrice(price_fixed=money(price), conditions=_fixed_conditions(when))
        for price, when in _rates(plan, charge)
    )
    return wire.TariffFixed(prices=prices, tax_rates=taxes(charge.taxes)) if prices else None


def _rates(plan: PricePlan, charge: Charge) -> Iterator[tuple[int, When]]:
    """Yield prices and conditions, repeated for their holidays."""
    for rate in charge.rates:
        if rate.when.holidays is None:
            yield rate.micro, rate.when
        for first, last in _spans(rate.when, plan.holidays):
            yield rate.micro, msgspec.structs.replace(rate.when, holidays=None, from_day=first, to_day=last)


def _spans(when: When, holidays: tuple[date, ...]) -> Iterator[tuple[date | None, date | None]]:
    """Yield the dates (from, until) of a condition on holidays, or on all other days."""
    if when.holidays is None:
        return
    days, one = sorted(set(holidays)), timedelta(days=1)
    spans: list[tuple[date | None, date | None]]
    if when.holidays:
        spans = [(day, day + one) for day in days]
    else:
        begins: list[date | None] = [None, *(day + one for day in days)]
        spans = list(zip(begins, [*days, None], strict=True))
    for begin, end in spans:
        first = max((day for day in (begin, when.from_day) if day is not None), default=None)
        last = min((day for day in (end, when.to_day) if day is not None), default=None)
        if first is None or last is None or first < last:
            yield first, last


def _conditions(when: When) -> wire.TariffConditions | None:
    if when == When():
        return None
    if when.payment_brand is not None or when.payment_recognition is not None:
        raise RefusedError("OCPP supports payment conditions only for fixed fees", reason="not_local")
    return msgspec.structs.replace(
        _calendar(wire.TariffConditions, when),
        min_energy=when.min_energy_wh,
        max_energy=when.max_energy_wh,
        min_current=when.min_current_a,
        max_current=when.max_current_a,
        min_power=when.min_power_w,
        max_power=when.max_power_w,
        min_time=when.min_time_s,
        max_time=when.max_time_s,
        min_charging_time=when.min_charging_s,
        max_charging_time=when.max_charging_s,
        min_idle_time=when.min_idle_s,
        max_idle_time=when.max_idle_s,
    )


def _fixed_conditions(when: When) -> wire.TariffConditionsFixed | None:
    if when == When():
        return None
    return msgspec.structs.replace(
        _calendar(wire.TariffConditionsFixed, when),
        payment_brand=when.payment_brand,
        payment_recognition=when.payment_recognition,
    )


_Conditions = TypeVar("_Conditions", wire.TariffConditions, wire.TariffConditionsFixed)


def _calendar(kind: type[_Conditions], when: When) -> _Conditions:
    """Return the common conditions of energy, time and fees."""
    return kind(
        start_time_of_day=_clock(when.from_minute),
        end_time_of_day=_clock(when.to_minute),
        day_of_week=tuple(DAYS[day] for day in when.weekdays),
        valid_from_date=_day(when.from_day),
        valid_to_date=_day(when.to_day),
        evse_kind=when.evse_kind,
    )


def _clock(minute: int | None) -> str | None:
    return None if minute is None else f"{minute // 60:02}:{minute % 60:02}"


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def taxes(found: tuple[Tax, ...]) -> tuple[wire.TaxRate, ...]:
    """Return taxes in percent."""
    return tuple(wire.TaxRate(type=tax.kind, tax=tax.ppm / 10_000, stack=tax.stack) for tax in found)


def _bound(bound: Bound | None) -> wire.Price | None:
    if bound is None:
        return None
    return wire.Price(
        excl_tax=None if bound.excl_micro is None else money(bound.excl_micro),
        incl_tax=None if bound.incl_micro is None else money(bound.incl_micro),
    )
