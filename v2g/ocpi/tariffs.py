"""Price plans as OCPI tariffs, and the price of charging periods by an OCPI tariff.

A tariff is read into the same plan that prices transactions; what OCPI has beyond it is here: VAT of each component,
`step_size`, and reservations. Steps are rounded up once a session and dimension, at the price of the last period that
used it; of time and parking time only the last one (ocpi#494). Nothing else is rounded: law and contract round totals.
"""

import hashlib
import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final

import msgspec

from v2g.energy.price_plan import Charge, ChargeKind, PricePlan, Rate, Tax, When, local_time
from v2g.energy.settlement.costing import Bill, with_taxes
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.pieces import Piece, Usage, begin, cut, zone_of
from v2g.errors import CodecError
from v2g.ocpi import wire
from v2g.ocpi.objects import (
    CdrDimension,
    CdrPeriod,
    OcpiComponent,
    OcpiElement,
    OcpiTariff,
    PriceBound,
    TariffRestrictions,
)
from v2g.ocpi.wire import utc_ms
from v2g.units import HOUR_MS, micro_of

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
_FINE: Final = 10**6
"""Powers (kW) and currents (A) of periods, and what bounds them, are compared in millionths: they have decimals."""
_DECIMAL_MS: Final = 360
"""The fourth decimal of an hour."""
_LEAST: Final = Decimal("0.001")
_Q4: Final = Decimal("0.0001")
EXPORT: Final = "-export"
"""Ends the id of the tariff of energy fed back."""


def tariff_id(plan_id: str) -> str:
    """Return the id of a plan's tariff: 36 printable characters."""
    if re.fullmatch(r"[ -~]{1,29}", plan_id) and not plan_id.lower().endswith(EXPORT):
        return plan_id
    return f"{re.sub('[^ -~]', '_', plan_id)[:12]}-{hashlib.sha256(plan_id.encode()).hexdigest()[:16]}"


def tariffs_of(plan: PricePlan, country_code: str, party_id: str, updated: datetime) -> tuple[OcpiTariff, ...]:
    """Return the tariff of a plan, and that of energy fed back if it has a price. Raises CodecError for what OCPI
    cannot say, so that nothing is published that costs something else here."""

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
    free = OcpiElement(price_components=(OcpiComponent(type="FLAT", price=Decimal("0.00"), step_size=1),))
    least, greatest = _least(plan), _greatest(plan)
    bounds = {"min_price": least, "max_price": greatest}
    if least is not None and greatest is not None and _is_above(least, greatest):
        raise CodecError("a least price above the greatest one has no meaning in OCPI")
    if plan.export is not None and any(bounds.values()):
        raise CodecError("OCPI has no least or greatest price of energy taken and fed back together")
    found = [tariff(tariff_id(plan.id), elements or [free], **bounds)]
    if (export := plan.export) is not None:
        back = [
            OcpiElement(price_components=(_component("energy", rate, export),), restrictions=_restrictions(rate.when))
            for rate in export.rates
        ]
        found.append(tariff(tariff_id(plan.id) + EXPORT, back))
    return tuple(found)


def tariffs_billed(
    bill: Bill, plan_id: str, name: str, country_code: str, party_id: str, updated: datetime
) -> tuple[OcpiTariff, ...]:
    """Return the tariffs, of that name, of what a bill has by a plan that OCPI cannot say; none if it had two prices of
    one kind. Whether they price its periods as it did is for the caller to find out."""
    lines = {each.kind: each for each in bill.lines if each.plan_id == plan_id}
    if len(lines) < sum(each.plan_id == plan_id for each in bill.lines):
        return ()
    bounds: dict[str, PriceBound] = {}
    if bill.kind != "NormalCost":
        if "export" in lines or any(each.plan_id != plan_id for each in bill.lines):
            return ()
        paid = PriceBound(before_taxes=Decimal(bill.excl_tax).scaleb(-6), after_taxes=Decimal(bill.incl_tax).scaleb(-6))
        bounds = {"min_price" if bill.kind == "MinCost" else "max_price": paid}
    found: dict[str, list[OcpiElement]] = {}
    for kind, line in lines.items():
        of, factor = _TYPES["energy" if kind == "export" else kind]
        price = Decimal(line.price).scaleb(-6) * factor
        reserved = TariffRestrictions(reservation="RESERVATION") if kind.startswith("reservation") else None
        part = OcpiComponent(type=of, price=price, vat=percent_of(line.taxes), step_size=1)
        element = OcpiElement(price_components=(part,), restrictions=reserved)
        found.setdefault(name + EXPORT if kind == "export" else name, []).append(element)
    made = (
        OcpiTariff(
            country_code=country_code, party_id=party_id, id=each, currency=bill.currency, elements=tuple(elements),
            tax_included="NO", last_updated=updated,
        )
        for each, elements in found.items()
    )  # fmt: skip
    return tuple(msgspec.structs.replace(each, **bounds) for each in made)


def percent_of(taxes: Sequence[Tax]) -> Decimal | None:
    """Return taxes as one rate of VAT, percent."""
    if not taxes:
        return None
    return (Decimal(with_taxes(10**12, taxes) - 10**12) / 10**10).quantize(_Q4).normalize() + 0


def _component(kind: ChargeKind, rate: Rate, charge: Charge) -> OcpiComponent:
    name, factor = _TYPES[kind]
    price = Decimal(rate.price) * factor
    return OcpiComponent(type=name, price=price, vat=percent_of(charge.taxes), step_size=1)


def _taxes(plan: PricePlan) -> set[tuple[Tax, ...]]:
    """Return the taxes of a plan's charges: one, if all have the same."""
    return {charge.taxes for kind in _TYPES if (charge := plan.charge(kind)) is not None} or {()}


def _least(plan: PricePlan) -> PriceBound | None:
    """Return the least price; OCPI has none with taxes alone. Raises CodecError where its part without taxes may
    vary."""
    bound, taxes = plan.least, _taxes(plan)
    if bound is None:
        return None
    after = None if bound.incl_tax is None else Decimal(bound.incl_tax)
    if bound.excl_tax is not None:
        return PriceBound(before_taxes=Decimal(bound.excl_tax), after_taxes=after)
    if after is None:
        return None
    if len(taxes) > 1:
        raise CodecError("OCPI has no least price with taxes alone", hint="give it without taxes, too")
    return PriceBound(before_taxes=_before(after, taxes.pop()), after_taxes=after)


def _greatest(plan: PricePlan) -> PriceBound | None:
    """Return the greatest price, with and without taxes: once one is reached, the other grows no more, either.

    OCPI applies each to the whole session. Raises CodecError where that is something else.
    """
    bound, taxes = plan.greatest, _taxes(plan)
    if bound is None or (bound.excl_tax is None and bound.incl_tax is None):
        return None
    if len(taxes) > 1:
        raise CodecError("OCPI has no greatest price of charges with different taxes")
    if any(rate.micro < 0 for kind in _TYPES if (charge := plan.charge(kind)) is not None for rate in charge.rates):
        raise CodecError("OCPI has no greatest price at which costs stop, where a price is below zero")
    only = taxes.pop()
    after = [Decimal(bound.incl_tax)] if bound.incl_tax is not None else []
    if bound.excl_tax is not None:
        after.append(Decimal(with_taxes(micro_of(bound.excl_tax), only)).scaleb(-6))
    before = _before(min(after), only)
    if bound.excl_tax is not None and after[-1] == min(after):
        before = Decimal(bound.excl_tax)
    return PriceBound(before_taxes=before, after_taxes=min(after))


def _is_above(least: PriceBound, greatest: PriceBound) -> bool:
    after = least.after_taxes or Decimal(0)
    return least.before_taxes > greatest.before_taxes or after > (greatest.after_taxes or after)


def _before(after: Decimal, taxes: Sequence[Tax]) -> Decimal:
    return (after * 10**12 / with_taxes(10**12, taxes)).quantize(_Q4)


def _restrictions(when: When, kind: ChargeKind = "energy") -> TariffRestrictions | None:
    unknown = ("holidays", "evse_kind", "min_charging_s", "max_charging_s", "min_idle_s", "max_idle_s",
               "payment_brand", "payment_recognition")  # fmt: skip
    for name in unknown:
        if getattr(when, name) is not None:
            raise CodecError(f"OCPI has no condition {name}", hint="give roaming partners a plan without it")
    by_clock = msgspec.structs.replace(
        When(), from_minute=when.from_minute, to_minute=when.to_minute, weekdays=when.weekdays,
        from_day=when.from_day, to_day=when.to_day,
    )  # fmt: skip
    # here what is paid once depends on the moment at which a session starts; there a reservation has its own time
    if (kind == "fixed" and when != by_clock) or (kind.startswith("reservation") and when != When()):
        raise CodecError(
            f"OCPI has no such condition of what is paid once ({kind})", hint="give partners a plan without it"
        )

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


# -- what was billed, as charging periods


def periods_of(bill: Bill) -> list[CdrPeriod]:
    """Return the charging periods of a bill; energy fed back has periods and a tariff of its own.

    Volumes are differences of rounded sums, so that thresholds of a tariff are reached when they were.
    """
    taken = back = 0
    found = list[CdrPeriod]()
    for period in bill.periods:
        begun, name = wire.moment(period.start_ms), tariff_id(period.plan_id) if period.plan_id else None
        energy = _kwh(taken + period.energy_mwh) - _kwh(taken)
        exported = _kwh(back + period.export_mwh) - _kwh(back)
        taken, back = taken + period.energy_mwh, back + period.export_mwh
        volumes = {"ENERGY": energy} if period.energy_mwh or not period.export_mwh else {}
        for kind, lasted_ms in (("TIME", period.charging_ms), ("PARKING_TIME", period.idle_ms)):
            if lasted_ms:
                volumes[kind] = hours_of(lasted_ms)
        if period.max_current_a:
            volumes |= {"MIN_CURRENT": Decimal(period.min_current_a), "MAX_CURRENT": Decimal(period.max_current_a)}
        if period.max_power_w:
            least, most = (Decimal(each) / 1000 for each in (period.min_power_w, period.max_power_w))
            volumes |= {"MIN_POWER": least, "MAX_POWER": most}
        dimensions = tuple(CdrDimension(type=kind, volume=each) for kind, each in volumes.items())
        if dimensions:
            found.append(CdrPeriod(start_date_time=begun, dimensions=dimensions, tariff_id=name))
        if period.export_mwh:
            fed = (CdrDimension(type="ENERGY", volume=0 - exported),)
            found.append(CdrPeriod(start_date_time=begun, dimensions=fed, tariff_id=name and name + EXPORT))
    return found


def hours_of(ms: int) -> Decimal:
    """Return a time in hours, four decimals."""
    return (Decimal(max(0, ms)) / HOUR_MS).quantize(_Q4)


def _kwh(mwh: int) -> Decimal:
    return (Decimal(mwh) / 10**6).quantize(_Q4)


# -- prices of charging periods


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What a session costs by a tariff, unrounded, without taxes and with them."""

    before_taxes: Decimal = Decimal(0)
    after_taxes: Decimal = Decimal(0)


def costs_by(priced: Sequence[tuple[CdrPeriod, OcpiTariff | None]], end_ms: int, zone: str) -> Costs:
    """Return what charging periods cost, each by its tariff, free without one; `end_ms` ends the last period, `zone` is
    that of the location.

    Energy and time of restrictions count from the start of the session, whatever tariffs it has had before. A period of
    energy fed back may stand beside one of energy taken, with the same start. Raises CodecError for a tariff or periods
    that cannot be priced.
    """
    try:
        where = zone_of(zone or "UTC")
    except (ValueError, LookupError) as error:
        raise CodecError(f"time zone {zone!r}: {error}") from None
    ordered = sorted(priced, key=lambda each: utc_ms(each[0].start_date_time))
    tallies = {id(tariff): _Tally(tariff) for _, tariff in ordered if tariff is not None}
    in_use = [each for each in ordered if not is_reserved(each[0])]
    reserved = next((t for p, t in ordered if any(each.type == "RESERVATION_TIME" for each in p.dimensions)), None)
    if reserved is not None:
        kinds = ("RESERVATION",) if in_use else ("RESERVATION_EXPIRES", "RESERVATION")
        tallies[id(reserved)].once += _reserved([each for each, _ in ordered], reserved, kinds)
    if in_use or not ordered:
        _count(tallies, in_use, end_ms, where)
    costs = [each.costs() for each in tallies.values()]
    return Costs(
        before_taxes=sum((each.before_taxes for each in costs), Decimal(0)),
        after_taxes=sum((each.after_taxes for each in costs), Decimal(0)),
    )


class _Tally:
    """What is used of a tariff: amounts by component of each dimension, in order of time, and what is paid once."""

    def __init__(self, tariff: OcpiTariff) -> None:
        self.once: list[tuple[OcpiComponent, Decimal]] = []
        self._tariff = tariff
        self._elements = {kind: _elements(tariff, kind) for kind in _KINDS}
        self._used: dict[str, list[tuple[OcpiComponent, Decimal]]] = {kind: [] for kind in _KINDS}
        self._last_time = ""
        charges = {
            _KINDS[kind]: Charge(rates=tuple(Rate(price="0", when=when) for when, _ in found))
            for kind, found in self._elements.items()
            if found
        }
        self.plan = msgspec.structs.replace(PricePlan(id=tariff.id, currency=tariff.currency), **charges)

    def use(self, kind: str, amount: Decimal, piece: Piece, moment: datetime) -> None:
        """Count an amount of a dimension in a piece of the session."""
        if kind in ("TIME", "PARKING_TIME"):
            self._last_time = kind
        index = self.plan.rate(_KINDS[kind], moment, piece.use)
        if index is not None:
            self._used[kind].append((self._elements[kind][index][1], amount))

    def costs(self) -> Costs:
        """Return what it costs, rounded up to steps."""
        for kind, unit in (("ENERGY", 1000), ("TIME", 3600), ("PARKING_TIME", 3600)):
            used = self._used[kind]
            if used and (kind == "ENERGY" or kind == self._last_time or not self._used["PARKING_TIME"]):
                _round_up(used, unit)
        amounts = [*(each for parts in self._used.values() for each in parts), *self.once]
        included = self._tariff.tax_included == "YES"
        net = gross = Decimal(0)
        for component, amount in amounts:
            factor = 1 + (component.vat or Decimal(0)) / 100
            cost = component.price * amount / (factor if included else 1)
            net, gross = net + cost, gross + cost * factor
        return _bounded(self._tariff, Costs(before_taxes=net, after_taxes=gross))


def _count(
    tallies: Mapping[int, _Tally], priced: Sequence[tuple[CdrPeriod, OcpiTariff | None]], end_ms: int, where: tzinfo
) -> None:
    """Count what periods, in order of time, use of their tariffs."""
    beside = _beside([each for each, _ in priced])
    groups = [[priced[number] for number in numbers] for numbers in beside]
    usage = _usage([[each for each, _ in group] for group in groups], end_ms)
    starts = [utc_ms(group[0][0].start_date_time) for group in groups]
    plans = [(0, each.plan) for each in tallies.values()]
    for number, piece in enumerate(cut(plans, [where] * len(plans), usage, begin(usage))[0]):
        group = groups[bisect_right(starts, piece.begin.utc_ms) - 1]
        moment = local_time(piece.begin.utc_ms, where)
        back = next((each for each in group if _is_back(each[0])), group[0])
        forth = next((each for each in group if not _is_back(each[0])), back)
        amounts = [(forth, "ENERGY", Decimal(piece.energy_mwh) / 10**6)]
        amounts.append((back, "ENERGY", Decimal(-piece.export_mwh) / 10**6))
        said = {each.type for each in forth[0].dimensions if each.volume or each.type == "TIME"}
        if piece.charging or "PARKING_TIME" in said or "TIME" not in said:
            amounts.append((forth, "TIME" if piece.charging else "PARKING_TIME", Decimal(piece.length_ms) / HOUR_MS))
        if number == 0:
            amounts.append((forth, "FLAT", Decimal(1)))
        for (_, tariff), kind, amount in amounts:
            if tariff is not None and amount:
                tallies[id(tariff)].use(kind, amount, piece, moment)


def _is_back(period: CdrPeriod) -> bool:
    return any(each.type == "ENERGY" and each.volume < 0 for each in period.dimensions)


def _beside(periods: Sequence[CdrPeriod]) -> list[list[int]]:
    """Return the numbers of periods that are one time: one of energy taken and one of energy fed back, else one."""
    found: list[list[int]] = []
    for number, period in enumerate(periods):
        before = [periods[each] for each in found[-1]] if found else []
        if (
            len(before) == 1
            and before[0].start_date_time == period.start_date_time
            and _is_back(before[0]) != _is_back(period)
        ):
            found[-1].append(number)
        else:
            found.append([number])
    return found


def is_reserved(period: CdrPeriod) -> bool:
    """Return whether a period is one before the session, for which the EVSE was reserved."""
    return {each.type for each in period.dimensions if each.volume} == {"RESERVATION_TIME"}


def _reserved(
    periods: Sequence[CdrPeriod], tariff: OcpiTariff, kinds: Sequence[str]
) -> list[tuple[OcpiComponent, Decimal]]:
    """Return what is paid for a reservation: the first component of each type, of the first of these kinds of elements
    that has it. One that has expired costs what a reservation does, where a tariff has nothing else for that."""
    hours = sum((each.volume for period in periods for each in period.dimensions
                 if each.type == "RESERVATION_TIME"), Decimal(0))  # fmt: skip
    hours = Decimal(round(hours * 3600)) / 3600  # four decimals of an hour are a third of a second
    first: dict[str, OcpiComponent] = {}
    for kind in kinds if hours else ():
        for element in tariff.elements:
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
    """Return what a type may cost, and when: the first that applies counts."""
    return [
        (_when(restrictions), component)
        for element in tariff.elements
        if (restrictions := element.restrictions or TariffRestrictions()).reservation is None
        for component in element.price_components
        if component.type == kind
    ]


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
        min_power_w=scaled(given.min_power, _FINE),
        max_power_w=scaled(given.max_power, _FINE),
        min_current_a=scaled(given.min_current, _FINE),
        max_current_a=scaled(given.max_current, _FINE),
        min_time_s=given.min_duration,
        max_time_s=given.max_duration,
    )


def _minute(clock: str | None) -> int | None:
    if clock is None:
        return None
    hour, minute = clock.split(":")
    return (int(hour) * 60 + int(minute)) % 1440


def _usage(groups: Sequence[Sequence[CdrPeriod]], end_ms: int) -> Usage:
    """Return what was used in charging periods: registers at their borders, and where energy flowed: for as long as a
    period says, if it lasts longer."""
    starts = [utc_ms(each[0].start_date_time) for each in groups]
    if not groups or end_ms < starts[-1] or end_ms - starts[0] > timedelta(days=60) / timedelta(milliseconds=1):
        raise CodecError("the charging periods do not end")
    imported = exported = 0
    readings = [Registers(starts[0], 0, 0)]
    charging, currents, powers = list[tuple[int, bool]](), list[tuple[int, int]](), list[tuple[int, int]]()
    for group, start_ms, stop_ms in zip(groups, starts, [*starts[1:], end_ms], strict=True):
        volumes = {each.type: each.volume for period in group for each in period.dimensions}
        energies = [round(each.volume * 10**6) for period in group for each in period.dimensions
                    if each.type == "ENERGY"]  # fmt: skip
        taken, flows_ms = sum(max(each, 0) for each in energies), stop_ms - start_ms
        imported, exported = imported + taken, exported - sum(min(each, 0) for each in energies)
        flowing = "TIME" in volumes or ("PARKING_TIME" not in volumes and any(energies))
        charging.append((start_ms, flowing))
        charged_ms = round(volumes["TIME"] * HOUR_MS) if "TIME" in volumes else flows_ms
        parks = volumes.get("PARKING_TIME", Decimal(0)) > 0
        if parks or charged_ms + _DECIMAL_MS < flows_ms:  # the rates of a period do not change in it
            flows_ms = min(flows_ms, charged_ms)
            readings.append(Registers(start_ms + flows_ms, imported, exported))
            charging.append((start_ms + flows_ms, False))
        readings.append(Registers(stop_ms, imported, exported))
        # rates do not change within a period, so any of its values selects them
        current = volumes.get("MIN_CURRENT", volumes.get("MAX_CURRENT"))
        currents.append((start_ms, round((current or 0) * _FINE)))
        power = volumes.get("MIN_POWER", volumes.get("MAX_POWER"))
        mean_mw = taken * HOUR_MS // flows_ms if flows_ms > 0 else 0
        powers.append((start_ms, mean_mw if power is None else round(power * _FINE)))
        if power is None and flows_ms < stop_ms - start_ms:
            powers.append((start_ms + flows_ms, 0))
    return Usage(
        start_ms=starts[0], end_ms=end_ms, readings=tuple(readings), charging=tuple(charging),
        currents=tuple(currents), powers=tuple(powers),
    )  # fmt: skip
