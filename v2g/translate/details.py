"""Bills in OCPP 2.1's form of a transaction's cost (CostDetails, I12), in both directions."""

import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

from v2g.energy.price_plan import ChargeKind, Tax
from v2g.energy.settlement.costing import UNITS, Bill, Line, Period
from v2g.errors import OcppError
from v2g.ocpp.messages import tariff_cost as wire
from v2g.ocpp.times import format_time, parse_time
from v2g.translate.ocpp_tariffs import money, taxes
from v2g.units import MICRO

_LARGEST: Final = 1e12


def bill_of(details: wire.CostDetails) -> Bill:
    """Return the totals of a station's cost calculation; without taxes if it has none with taxes. What is no code of a
    currency becomes XXX, ISO 4217's for none."""
    total, used = details.total_cost, details.total_usage
    excl, incl = total.total.excl_tax, total.total.incl_tax
    return Bill(
        currency=total.currency.upper() if re.fullmatch("[A-Za-z]{3}", total.currency) else "XXX",
        kind=total.type_of_cost,
        excl_tax=_micro(_given(excl, incl)),
        incl_tax=_micro(_given(incl, excl)),
        energy_mwh=_micro(used.energy) // 1000,
        charging_ms=used.charging_time * 1000,
        idle_ms=used.idle_time * 1000,
        reserved_ms=(used.reservation_time or 0) * 1000,
    )


def itemised(details: wire.CostDetails) -> Bill:
    """Return a station's cost calculation with its periods; where one tariff applied, also with a line for each kind of
    cost, at its mean price. Raises OcppError."""
    found = msgspec.structs.replace(bill_of(details), periods=tuple(map(_read_period, details.charging_periods)))
    used: dict[ChargeKind, int] = {
        "fixed": 1,
        "energy": sum(each.energy_mwh for each in found.periods),
        "charging_time": sum(each.charging_ms for each in found.periods),
        "idle_time": sum(each.idle_ms for each in found.periods),
        "reservation_time": found.reserved_ms,
        "reservation_fixed": 1,
    }
    found = msgspec.structs.replace(found, charging_ms=used["charging_time"], idle_ms=used["idle_time"])
    plans = {each.plan_id for each in found.periods}
    if len(plans) != 1:
        return found
    (plan_id,) = plans
    lines = []
    for kind, quantity in used.items():
        price: wire.Price | None = getattr(details.total_cost, kind)
        if price is None or not quantity:
            continue
        excl = _micro(_given(price.excl_tax, price.incl_tax))
        rates = tuple(
            Tax(kind=each.type, ppm=_micro(each.tax) // 100, stack=each.stack or 0) for each in price.tax_rates
        )
        lines.append(
            Line(
                plan_id=plan_id, kind=kind, price=excl * UNITS[kind] // quantity, quantity=quantity, excl_tax=excl,
                incl_tax=_micro(_given(price.incl_tax, price.excl_tax)), taxes=rates,
            )
        )  # fmt: skip
    return msgspec.structs.replace(found, lines=tuple(lines))


def _given(one: float | None, other: float | None) -> float:
    return next((each for each in (one, other) if each is not None), 0.0)


def _read_period(period: wire.ChargingPeriod) -> Period:
    volumes = Counter({each.type: _micro(each.volume) for each in period.dimensions})  # 0 of what is not named
    return Period(
        plan_id=period.tariff_id or "",
        start_ms=parse_time(period.start_period),
        energy_mwh=volumes["Energy"] // 1000,
        charging_ms=volumes["ChargingTime"] // 1000,
        idle_ms=volumes["IdleTIme"] // 1000,
        min_power_w=volumes["MinPower"] // MICRO,
        max_power_w=volumes["MaxPower"] // MICRO,
        min_current_a=volumes["MinCurrent"] // MICRO,
        max_current_a=volumes["MaxCurrent"] // MICRO,
    )


def _micro(amount: float) -> int:
    """Return an amount in micro-units. Raises OcppError if it is too large to store."""
    if not abs(amount) < _LARGEST:
        raise OcppError(f"a cost of {amount}", answer="PropertyConstraintViolation")
    return int((Decimal(repr(amount)) * MICRO).to_integral_value())


def cost_details(bill: Bill, *, periods: bool = True) -> wire.CostDetails:
    """Return a bill in OCPP 2.1's form (I12); a running cost has no periods (I12.FR.02)."""
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
    found = tuple(_periods(bill)) if periods else ()
    return wire.CostDetails(charging_periods=found, total_cost=total, total_usage=usage)


_KINDS: Final[tuple[ChargeKind, ...]] = (
    "fixed",
    "energy",
    "charging_time",
    "idle_time",
    "reservation_time",
    "reservation_fixed",
)


def _price(bill: Bill, kind: ChargeKind) -> wire.Price | None:
    kinds = ("energy", "export") if kind == "energy" else (kind,)  # OCPP has no separate field for energy fed back
    lines: list[Line] = [line for line in bill.lines if line.kind in kinds]
    if not lines:
        return None
    return wire.Price(
        excl_tax=money(sum(line.excl_tax for line in lines)),
        incl_tax=money(sum(line.incl_tax for line in lines)),
        tax_rates=taxes(lines[0].taxes),
    )


def _periods(bill: Bill) -> Iterator[wire.ChargingPeriod]:
    for period in bill.periods:
        volumes = (
            ("Energy", float(Decimal(period.energy_mwh).scaleb(-3))),
            ("ChargingTime", period.charging_ms / 1000),
            ("IdleTIme", period.idle_ms / 1000),  # the schema's own spelling
            ("MinPower", float(period.min_power_w)),
            ("MaxPower", float(period.max_power_w)),
            ("MinCurrent", float(period.min_current_a)),
            ("MaxCurrent", float(period.max_current_a)),
        )
        yield wire.ChargingPeriod(
            tariff_id=period.plan_id or None,
            start_period=format_time(period.start_ms),
            dimensions=tuple(wire.CostDimension(type=kind, volume=volume) for kind, volume in volumes if volume),  # type: ignore[arg-type]
        )
