"""Price plans in OCPP 2.1's words: the tariffs that stations are given, and the cost of a transaction (block I).

OCPP's tariff has no holidays, no price for energy fed back and no time zone. Holidays become dates; a plan that pays
for energy fed back is only worked out here, never by a station.
"""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

import msgspec

from csms.core.transactions import Transaction
from v2g.errors import OcppError, RefusedError
from v2g.grid.price_plan import Bound, Charge, ChargeKind, PricePlan, Tax, When
from v2g.ocpp.messages import tariff_cost as wire
from v2g.ocpp.messages.base import MessageContent
from v2g.ocpp.times import format_time
from v2g.settlement.costing import Bill, Line, Usage
from v2g.settlement.intervals import Registers
from v2g.units import MICRO

_LARGEST: Final = 1e12
_LONGEST_MS: Final = 366 * 86_400_000
_EARLIEST_MS, _LATEST_MS = 0, 32_503_680_000_000  # to the year 3000
"""Times that clocks of stations may show; no transaction lasts longer than a year. What lies beyond is not priced."""

_DAYS: Final[tuple[wire.DayOfWeek, ...]] = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
)


def money(micro: int) -> float:
    """Return micro-units as the number that OCPP writes."""
    return float(Decimal(micro).scaleb(-6))


def elements(tariff: wire.Tariff) -> int:
    """Return how many prices a tariff has, which a station may limit (TariffMaxElements, I07.FR.02)."""
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
    """Say whether any price has conditions, which a station may not support (I07.FR.03)."""
    charges = (tariff.energy, tariff.charging_time, tariff.idle_time, tariff.fixed_fee, tariff.reservation_time,
               tariff.reservation_fixed)  # fmt: skip
    return any(price.conditions is not None for charge in charges if charge is not None for price in charge.prices)


def to_wire(plan: PricePlan, *, driver: bool = False) -> wire.Tariff:
    """Return a plan as a station may work it out by itself; a driver's has no `validFrom` (I08.FR.09).

    Raises RefusedError (`not_local`) for what OCPP cannot say.
    """
    if plan.export is not None:
        raise RefusedError(f"plan {plan.id} pays for energy fed back, which no tariff of OCPP does", reason="not_local")
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
    return wire.TariffEnergy(prices=prices, tax_rates=_taxes(plan.energy.taxes)) if prices else None


def _time(plan: PricePlan, charge: Charge | None) -> wire.TariffTime | None:
    if charge is None:
        return None
    prices = tuple(
        wire.TariffTimePrice(price_minute=money(price), conditions=_conditions(when))
        for price, when in _rates(plan, charge)
    )
    return wire.TariffTime(prices=prices, tax_rates=_taxes(charge.taxes)) if prices else None


def _fixed(plan: PricePlan, charge: Charge | None) -> wire.TariffFixed | None:
    if charge is None:
        return None
    prices = tuple(
        wire.TariffFixedPrice(price_fixed=money(price), conditions=_fixed_conditions(when))
        for price, when in _rates(plan, charge)
    )
    return wire.TariffFixed(prices=prices, tax_rates=_taxes(charge.taxes)) if prices else None


def _rates(plan: PricePlan, charge: Charge) -> Iterator[tuple[int, When]]:
    """Yield prices and conditions, each as often as its holidays need."""
    for rate in charge.rates:
        if rate.when.holidays is None:
            yield rate.price, rate.when
        for first, last in _spans(rate.when, plan.holidays):
            yield rate.price, msgspec.structs.replace(rate.when, holidays=None, from_day=first, to_day=last)


def _spans(when: When, holidays: tuple[date, ...]) -> Iterator[tuple[date | None, date | None]]:
    """Yield the dates (from, until) of a condition on holidays, or on all days but them."""
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
        raise RefusedError("OCPP knows conditions of payment for fixed fees only", reason="not_local")
    return wire.TariffConditions(
        start_time_of_day=_clock(when.from_minute),
        end_time_of_day=_clock(when.to_minute),
        day_of_week=tuple(_DAYS[day] for day in when.weekdays),
        valid_from_date=_day(when.from_day),
        valid_to_date=_day(when.to_day),
        evse_kind=when.evse_kind,
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
    return wire.TariffConditionsFixed(
        start_time_of_day=_clock(when.from_minute),
        end_time_of_day=_clock(when.to_minute),
        day_of_week=tuple(_DAYS[day] for day in when.weekdays),
        valid_from_date=_day(when.from_day),
        valid_to_date=_day(when.to_day),
        evse_kind=when.evse_kind,
        payment_brand=when.payment_brand,
        payment_recognition=when.payment_recognition,
    )


def _clock(minute: int | None) -> str | None:
    return None if minute is None else f"{minute // 60:02}:{minute % 60:02}"


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _taxes(taxes: tuple[Tax, ...]) -> tuple[wire.TaxRate, ...]:
    return tuple(wire.TaxRate(type=tax.kind, tax=tax.ppm / 10_000, stack=tax.stack) for tax in taxes)


def _bound(bound: Bound | None) -> wire.Price | None:
    if bound is None:
        return None
    return wire.Price(
        excl_tax=None if bound.excl_tax is None else money(bound.excl_tax),
        incl_tax=None if bound.incl_tax is None else money(bound.incl_tax),
    )


def bill_of(details: wire.CostDetails) -> Bill:
    """Return the totals of a cost that a station worked out: where it names none with taxes, those without."""
    total, used = details.total_cost, details.total_usage
    excl = total.total.excl_tax if total.total.excl_tax is not None else total.total.incl_tax
    incl = total.total.incl_tax if total.total.incl_tax is not None else excl
    return Bill(
        currency=total.currency,
        kind=total.type_of_cost,
        excl_tax=_micro(excl or 0),
        incl_tax=_micro(incl or 0),
        energy_mwh=_micro(used.energy) // 1000,
        charging_ms=used.charging_time * 1000,
        idle_ms=used.idle_time * 1000,
        reserved_ms=(used.reservation_time or 0) * 1000,
    )


def _micro(amount: float) -> int:
    """Return an amount in micro-units. Raises OcppError for more than any store holds."""
    if not abs(amount) < _LARGEST:
        raise OcppError(f"a cost of {amount}", answer="PropertyConstraintViolation")
    return int((Decimal(repr(amount)) * MICRO).to_integral_value())


def cost_details(bill: Bill) -> wire.CostDetails:
    """Return a bill as OCPP 2.1 writes costs (I12)."""
    prices = {} if bill.kind == "MinCost" else {kind: _price(bill, kind) for kind in _KINDS}
    fixed = wire.Price(excl_tax=money(bill.excl_tax), incl_tax=money(bill.incl_tax)) if bill.kind == "MinCost" else None
    total = wire.TotalCost(
        currency=bill.currency,
        type_of_cost=bill.kind,
        fixed=fixed or prices.get("fixed"),
        energy=prices.get("energy"),
        charging_time=prices.get("charging_time"),
        idle_time=prices.get("idle_time"),
        reservation_time=prices.get("reservation_time"),
        reservation_fixed=prices.get("reservation_fixed"),
        total=wire.TotalPrice(excl_tax=money(bill.excl_tax), incl_tax=money(bill.incl_tax)),
    )
    usage = wire.TotalUsage(
        energy=float(Decimal(bill.energy_mwh).scaleb(-3)),
        charging_time=bill.charging_ms // 1000,
        idle_time=bill.idle_ms // 1000,
        reservation_time=bill.reserved_ms // 1000 or None,
    )
    return wire.CostDetails(charging_periods=tuple(_periods(bill)), total_cost=total, total_usage=usage)


_KINDS: Final[tuple[ChargeKind, ...]] = (
    "fixed",
    "energy",
    "charging_time",
    "idle_time",
    "reservation_time",
    "reservation_fixed",
)


def _price(bill: Bill, kind: ChargeKind) -> wire.Price | None:
    kinds = ("energy", "export") if kind == "energy" else (kind,)  # OCPP has no other place for what is fed back
    lines: list[Line] = [line for line in bill.lines if line.kind in kinds]
    if not lines:
        return None
    return wire.Price(
        excl_tax=money(sum(line.excl_tax for line in lines)),
        incl_tax=money(sum(line.incl_tax for line in lines)),
        tax_rates=_taxes(lines[0].taxes),
    )


def _periods(bill: Bill) -> Iterator[wire.ChargingPeriod]:
    for period in bill.periods:
        volumes = (
            ("Energy", float(Decimal(period.energy_mwh).scaleb(-3))),
            ("ChargingTime", period.charging_ms / 1000),
            ("IdleTIme", period.idle_ms / 1000),  # the schema's own spelling
            ("MinPower", float(period.min_power_w)),
            ("MaxPower", float(period.max_power_w)),
        )
        yield wire.ChargingPeriod(
            tariff_id=period.plan_id or None,
            start_period=format_time(period.start_ms),
            dimensions=tuple(wire.CostDimension(type=kind, volume=volume) for kind, volume in volumes if volume),  # type: ignore[arg-type]
        )


class Moment(msgspec.Struct, frozen=True):
    """What one transaction event says for its cost; `None` where it says nothing. Registers in Wh, as decimal text."""

    at_ms: int
    charging: bool | None = None
    import_wh: str | None = None
    export_wh: str | None = None


def usage_of(transaction: Transaction, moments: list[Moment], end_ms: int, *, reserved_ms: int | None = None) -> Usage:
    """Return what a transaction used, from its events in order of seqNo, up to `end_ms` (or its own end, if earlier).

    A register that falls is held where it was, and a clock that goes back likewise: what is billed never falls.
    """
    start_ms = transaction.started_ms if transaction.started_ms is not None else min(each.at_ms for each in moments)
    start_ms = max(_EARLIEST_MS, min(start_ms, _LATEST_MS))
    end_ms = max(start_ms, min(end_ms, transaction.ended_ms) if transaction.ended_ms is not None else end_ms)
    end_ms = min(end_ms, start_ms + _LONGEST_MS)
    charging: list[tuple[int, bool]] = []
    imports = _held(transaction.import_start_wh.value if transaction.import_start_wh else None)
    exports = _held(transaction.export_start_wh.value if transaction.export_start_wh else None)
    readings: list[Registers] = []
    at = start_ms
    for moment in moments:
        at = min(max(at, moment.at_ms), end_ms)
        if moment.import_wh is not None or moment.export_wh is not None:
            readings.append(Registers(at, imports(moment.import_wh), exports(moment.export_wh)))
        if moment.charging is not None and (not charging or charging[-1][1] != moment.charging):
            charging.append((at, moment.charging))
    return Usage(
        start_ms=start_ms, end_ms=end_ms, readings=tuple(readings), charging=tuple(charging), reserved_ms=reserved_ms
    )


def _held(first: str | None) -> Callable[[str | None], int]:
    """Return a register (mWh) that keeps its value when nothing is said and never falls, from its first value on."""
    value = _mwh(first)

    def read(watt_hours: str | None) -> int:
        nonlocal value
        value = max(value, _mwh(watt_hours))
        return value

    return read


def _mwh(watt_hours: str | None) -> int:
    return int(Decimal(watt_hours).scaleb(3)) if watt_hours is not None else 0
