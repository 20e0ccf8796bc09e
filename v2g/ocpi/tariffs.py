"""Price plans as OCPI tariffs, and the price of charging periods by an OCPI tariff.

A tariff is read into the same plan that prices transactions; what OCPI has beyond it is here: VAT of each component,
`step_size`, and reservations. Steps are rounded up once a session and dimension, at the price of the last period that
used it; of time and parking time only the last one (ocpi#494). Nothing else is rounded: law and contract round totals.
"""

import hashlib
import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

import msgspec

from v2g.energy.price_plan import Bound, Charge, ChargeKind, PricePlan, Rate, Tax, When, local_time
from v2g.energy.settlement.costing import with_taxes
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.pieces import Usage, begin, cut, zone_of
from v2g.errors import CodecError
from v2g.ocpi.objects import (
    CdrPeriod,
    OcpiComponent,
    OcpiElement,
    OcpiTariff,
    PriceBound,
    TariffRestrictions,
)
from v2g.ocpi.wire import utc_ms

_DAYS: Final = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
_TYPES: Final[dict[ChargeKind, tuple[str, int]]] = {
    "energy": ("ENERGY", 1),
    "charging_time": ("TIME", 60),  # a plan's prices are per minute, OCPI's per hour
    "idle_time": ("PARKING_TIME", 60),
    "fixed": ("FLAT", 1),
    "reservation_time": ("TIME", 60),
    "reservation_fixed": ("FLAT", 1),
}
_KINDS: Final[dict[str, ChargeKind]] = {
    "ENERGY": "energy", "TIME": "charging_time", "PARKING_TIME": "idle_time", "FLAT": "fixed",
}  # fmt: skip
_HOUR_MS: Final = 3_600_000
_LEAST: Final = Decimal("0.001")
EXPORT: Final = "-export"
"""Ends the id of the tariff of energy fed back."""


def tariff_id(plan_id: str) -> str:
    """Return the id of a plan's tariff: 36 printable characters."""
    if re.fullmatch(r"[ -~]{1,29}", plan_id) and not plan_id.lower().endswith(EXPORT):
        return plan_id
    return f"{re.sub('[^ -~]', '_', plan_id)[:12]}-{hashlib.sha256(plan_id.encode()).hexdigest()[:16]}"


def tariffs_of(plan: PricePlan, country_code: str, party_id: str, updated: datetime) -> tuple[OcpiTariff, ...]:
    """Return the tariff of a plan, and that of energy fed back if it has a price. Raises CodecError for a condition
    that OCPI does not have."""

    def tariff(name: str, elements: Sequence[OcpiElement], **more: object) -> OcpiTariff:
        made = OcpiTariff(
            country_code=country_code, party_id=party_id, id=name, currency=plan.currency,
            elements=tuple(elements), tax_included="NO", last_updated=updated,
        )  # fmt: skip
        return msgspec.structs.replace(made, **more)

    elements = [
        OcpiElement(price_components=(_component(kind, rate, charge),), restrictions=_restrictions(rate.when, kind))
        for kind in _TYPES
        if (charge := plan.charge(kind)) is not None
        for rate in charge.rates
    ]
    free = OcpiElement(price_components=(OcpiComponent(type="FLAT", price=Decimal("0.00")),))
    bounds = {"min_price": _bound(plan, plan.least), "max_price": _bound(plan, plan.greatest)}
    found = [tariff(tariff_id(plan.id), elements or [free], **bounds)]
    if (export := plan.export) is not None:
        back = [
            OcpiElement(price_components=(_component("energy", rate, export),), restrictions=_restrictions(rate.when))
            for rate in export.rates
        ]
        found.append(tariff(tariff_id(plan.id) + EXPORT, back))
    return tuple(found)


def percent_of(taxes: Sequence[Tax]) -> Decimal | None:
    """Return taxes as one rate of VAT, percent."""
    if not taxes:
        return None
    return (Decimal(with_taxes(10**12, taxes) - 10**12) / 10**10).quantize(Decimal("0.0001")).normalize() + 0


def _component(kind: ChargeKind, rate: Rate, charge: Charge) -> OcpiComponent:
    name, factor = _TYPES[kind]
    price = Decimal(rate.price) * factor
    return OcpiComponent(type=name, price=price, vat=percent_of(charge.taxes), step_size=1)


def _bound(plan: PricePlan, bound: Bound | None) -> PriceBound | None:
    """Return a bound; OCPI has none with taxes alone. Raises CodecError where its part without taxes may vary."""
    if bound is None or bound.incl_tax is None:
        return None if bound is None or bound.excl_tax is None else PriceBound(before_taxes=Decimal(bound.excl_tax))
    after = Decimal(bound.incl_tax)
    if bound.excl_tax is not None:
        return PriceBound(before_taxes=Decimal(bound.excl_tax), after_taxes=after)
    taxes = {charge.taxes for kind in _TYPES if (charge := plan.charge(kind)) is not None} or {()}
    if len(taxes) > 1:
        raise CodecError("OCPI has no least or greatest price with taxes alone", hint="give it without taxes, too")
    before = after * 10**12 / with_taxes(10**12, taxes.pop())
    return PriceBound(before_taxes=before.quantize(Decimal("0.0001")), after_taxes=after)


def _restrictions(when: When, kind: ChargeKind = "energy") -> TariffRestrictions | None:
    unknown = ("holidays", "evse_kind", "min_charging_s", "max_charging_s", "min_idle_s", "max_idle_s",
               "payment_brand", "payment_recognition")  # fmt: skip
    for name in unknown:
        if getattr(when, name) is not None:
            raise CodecError(f"OCPI has no condition {name}", hint="give roaming partners a plan without it")

    def scaled(value: int | None) -> Decimal | None:
        return None if value is None else Decimal(value) / 1000

    found = TariffRestrictions(
        start_time=_clock(when.from_minute),
        end_time=_clock(when.to_minute),
        start_date=when.from_day,
        end_date=when.to_day,
        min_kwh=scaled(when.min_energy_wh),
        max_kwh=scaled(when.max_energy_wh),
        min_current=None if when.min_current_a is None else Decimal(when.min_current_a),
        max_current=None if when.max_current_a is None else Decimal(when.max_current_a),
        min_power=scaled(when.min_power_w),
        max_power=scaled(when.max_power_w),
        min_duration=when.min_time_s,
        max_duration=when.max_time_s,
        day_of_week=tuple(_DAYS[each] for each in when.weekdays),
        reservation="RESERVATION" if kind.startswith("reservation") else None,
    )
    return None if found == TariffRestrictions() else found


def _clock(minute: int | None) -> str | None:
    return None if minute is None else f"{minute // 60:02}:{minute % 60:02}"


# -- prices of charging periods


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What a session costs by a tariff, unrounded, without taxes and with them."""

    before_taxes: Decimal
    after_taxes: Decimal


def costs_of(periods: Sequence[CdrPeriod], end_ms: int, tariff: OcpiTariff, zone: str, *, fees: bool = True) -> Costs:
    """Return what charging periods cost by a tariff; `end_ms` ends the last one, `zone` is that of the location.
    `fees`: with what is paid once.

    Raises CodecError for a tariff or periods that cannot be priced.
    """
    elements = {kind: _elements(tariff, kind) for kind in ("ENERGY", "TIME", "PARKING_TIME", "FLAT")}
    charges = {
        _KINDS[kind]: Charge(rates=tuple(Rate(price="0", when=when) for when, _ in found))
        for kind, found in elements.items()
        if found
    }
    plan = msgspec.structs.replace(PricePlan(id=tariff.id, currency=tariff.currency, zone=zone or "UTC"), **charges)
    try:
        where = zone_of(plan.zone)
    except (ValueError, LookupError) as error:
        raise CodecError(f"time zone {zone!r}: {error}") from None
    in_use = [each for each in periods if not is_reserved(each)]
    if periods and not in_use:
        return _bounded(tariff, _costs(tariff, _reserved(periods, tariff, "RESERVATION_EXPIRES")))
    usage = _usage(in_use, end_ms)
    used: dict[str, list[tuple[OcpiComponent, Decimal]]] = {kind: [] for kind in elements}
    last_time = ""
    for number, piece in enumerate(cut([(0, plan)], [where], usage, begin(usage))[0]):
        moment = local_time(piece.begin.utc_ms, where)
        amounts = [("ENERGY", Decimal(piece.energy_mwh - piece.export_mwh) / 10**6)]
        if piece.length_ms:
            last_time = "TIME" if piece.charging else "PARKING_TIME"
            amounts.append((last_time, Decimal(piece.length_ms) / _HOUR_MS))
        if number == 0 and fees:
            amounts.append(("FLAT", Decimal(1)))
        for kind, amount in amounts:
            index = plan.rate(_KINDS[kind], moment, piece.use)
            if index is not None and amount:
                used[kind].append((elements[kind][index][1], amount))
    for kind, unit in (("ENERGY", 1000), ("TIME", 3600), ("PARKING_TIME", 3600)):
        if used[kind] and (kind == "ENERGY" or kind == last_time or not used["PARKING_TIME"]):
            _round_up(used[kind], unit)
    reserved = _reserved(periods, tariff, "RESERVATION")
    return _bounded(tariff, _costs(tariff, [*(each for parts in used.values() for each in parts), *reserved]))


def is_reserved(period: CdrPeriod) -> bool:
    """Return whether a period is one before the session, for which the EVSE was reserved."""
    return {each.type for each in period.dimensions if each.volume} == {"RESERVATION_TIME"}


def _reserved(
    periods: Sequence[CdrPeriod], tariff: OcpiTariff, kind: Literal["RESERVATION", "RESERVATION_EXPIRES"]
) -> list[tuple[OcpiComponent, Decimal]]:
    """Return what is paid for a reservation: the first component of each type."""
    hours = sum((each.volume for period in periods for each in period.dimensions
                 if each.type == "RESERVATION_TIME"), Decimal(0))  # fmt: skip
    hours = Decimal(round(hours * 3600)) / 3600  # four decimals of an hour are a third of a second
    first: dict[str, OcpiComponent] = {}
    for element in tariff.elements if hours else ():
        if element.restrictions is not None and element.restrictions.reservation == kind:
            for component in element.price_components:
                first.setdefault(component.type, component)
    found = []
    for each in first.values():
        part = [(each, Decimal(1) if each.type == "FLAT" else hours)]
        if each.type == "TIME":
            _round_up(part, 3600)
        found += part
    return found


def _costs(tariff: OcpiTariff, amounts: Sequence[tuple[OcpiComponent, Decimal]]) -> Costs:
    included = tariff.tax_included == "YES"
    net = gross = Decimal(0)
    for component, amount in amounts:
        factor = 1 + (component.vat or Decimal(0)) / 100
        cost = component.price * amount / (factor if included else 1)
        net, gross = net + cost, gross + cost * factor
    return Costs(before_taxes=net, after_taxes=gross)


def _bounded(tariff: OcpiTariff, costs: Costs) -> Costs:
    """Return costs within the least and greatest price, both of which apply with and without taxes."""
    net, gross = costs.before_taxes, costs.after_taxes
    for bound, choose in ((tariff.min_price, max), (tariff.max_price, min)):
        if bound is None:
            continue
        before = choose(net, bound.before_taxes)
        if bound.after_taxes is not None:
            gross = choose(gross, bound.after_taxes)
        elif before != net:
            rates = {each.vat or Decimal(0) for element in tariff.elements for each in element.price_components}
            gross = (
                gross * before / net if net else before * (1 + (rates.pop() if len(rates) == 1 else Decimal(0)) / 100)
            )
        net = before
    return msgspec.structs.replace(costs, before_taxes=net, after_taxes=gross)


def _round_up(parts: list[tuple[OcpiComponent, Decimal]], unit: int) -> None:
    """Round a dimension's total up to the step of its last component, at that one's price."""
    component, amount = parts[-1]
    # exact: quantities are of mWh and ms, and a third of an hour as a decimal would be one step more
    total = (sum((each for _, each in parts), Decimal(0)) * unit).quantize(_LEAST)
    if component.step_size > 1 and total > 0:
        wanted = math.ceil(total / component.step_size) * component.step_size
        parts[-1] = component, amount + (wanted - total) / unit


def _elements(tariff: OcpiTariff, kind: str) -> list[tuple[When, OcpiComponent]]:
    found = []
    for element in tariff.elements:
        restrictions = element.restrictions or TariffRestrictions()
        for component in element.price_components:
            if component.type == kind and restrictions.reservation is None:
                found.append((_when(restrictions), component))
                break
    return found


def _when(given: TariffRestrictions) -> When:
    def scaled(value: Decimal | None, factor: int) -> int | None:
        return None if value is None else int(value * factor)

    unknown = set(given.day_of_week) - set(_DAYS)
    if unknown:
        raise CodecError(f"unknown day {min(unknown)!r}")
    return When(
        from_minute=_minute(given.start_time),
        to_minute=_minute(given.end_time),
        weekdays=tuple(_DAYS.index(each) for each in given.day_of_week),
        from_day=given.start_date,
        to_day=given.end_date,
        min_energy_wh=scaled(given.min_kwh, 1000),
        max_energy_wh=scaled(given.max_kwh, 1000),
        min_power_w=scaled(given.min_power, 1000),
        max_power_w=scaled(given.max_power, 1000),
        min_current_a=scaled(given.min_current, 1),
        max_current_a=scaled(given.max_current, 1),
        min_time_s=given.min_duration,
        max_time_s=given.max_duration,
    )


def _minute(clock: str | None) -> int | None:
    if clock is None:
        return None
    hour, minute = clock.split(":")
    return (int(hour) * 60 + int(minute)) % 1440


def _usage(periods: Sequence[CdrPeriod], end_ms: int) -> Usage:
    """Return what was used in charging periods: registers at their borders, and where energy flowed."""
    ordered = sorted(periods, key=lambda each: utc_ms(each.start_date_time))
    starts = [utc_ms(each.start_date_time) for each in ordered]
    if not ordered or end_ms < starts[-1] or end_ms - starts[0] > timedelta(days=60) / timedelta(milliseconds=1):
        raise CodecError("the charging periods do not end")
    imported = exported = 0
    readings = [Registers(starts[0], 0, 0, "metered")]
    charging, currents = list[tuple[int, bool]](), list[tuple[int, int]]()
    for period, start_ms, stop_ms in zip(ordered, starts, [*starts[1:], end_ms], strict=True):
        volumes = {each.type: each.volume for each in period.dimensions}
        energy = round(volumes.get("ENERGY", Decimal(0)) * 10**6)
        imported, exported = imported + max(energy, 0), exported + max(-energy, 0)
        flowing = "TIME" in volumes or ("PARKING_TIME" not in volumes and energy != 0)
        charging.append((start_ms, flowing))
        if flowing and volumes.get("PARKING_TIME", Decimal(0)) > 0:  # both: the rates of a period do not change in it
            paused_ms = min(stop_ms, start_ms + round(volumes["TIME"] * _HOUR_MS))
            readings.append(Registers(paused_ms, imported, exported, "metered"))
            charging.append((paused_ms, False))
        readings.append(Registers(stop_ms, imported, exported, "metered"))
        if (current := volumes.get("MIN_CURRENT", volumes.get("MAX_CURRENT"))) is not None or not flowing:
            currents.append((start_ms, round(current or 0)))
    return Usage(
        start_ms=starts[0], end_ms=end_ms, readings=tuple(readings), charging=tuple(charging),
        currents=tuple(currents),
    )  # fmt: skip
