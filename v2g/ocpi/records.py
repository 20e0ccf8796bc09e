"""Judges the CDRs of partners: prices recomputed, signed data verified, totals and powers plausible.

A CDR is a claim. What it says is compared with its own periods and tariffs, with the meter's signature, and with what
the charger can do; each difference is a finding, and a CDR with one is not booked by itself.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from v2g.energy.meter_records.container import FoundRecord
from v2g.energy.meter_records.judge import Expected, judge_all
from v2g.energy.meter_records.record import Mark
from v2g.errors import CodecError
from v2g.ocpi.objects import CdrDimension, CdrPeriod, OcpiCdr, OcpiPrice, OcpiTariff, TaxAmount
from v2g.ocpi.tariffs import Costs, costs_by
from v2g.ocpi.wire import utc_ms
from v2g.units import HOUR_MS, currency_digits, payable

_LONGEST_MS: Final = 40 * 86_400_000
_AHEAD_MS: Final = 600_000
_MOST_KW: Final = Decimal(1500)
"""More than any charger has (MCS: 1.25 kV, 3 kA is the connector's end, no charger's)."""

_MOST_TAXES: Final = Decimal("0.5")
"""The most that taxes add to a price, as a share of it: more than in any country."""

_MOST_EFFORT: Final = 2_000_000
"""Parts of a session times prices that may apply to them: about two seconds."""


def volume(periods: Sequence[CdrPeriod], kind: str) -> Decimal:
    """Return the sum of a dimension."""
    return sum((each.volume for p in periods for each in p.dimensions if each.type == kind), Decimal(0))


def price_of(cdr: OcpiCdr, tariffs: Mapping[str, OcpiTariff], zone: str) -> Costs:
    """Return what a CDR's periods cost by its tariffs, `tariffs` (by id) where it has none. Raises CodecError, also for
    a tariff in another currency than the CDR's.

    A period without a tariff is free, unless none has one, and the CDR one alone.
    """
    known = {name.lower(): each for name, each in {**tariffs, **{each.id: each for each in cdr.tariffs}}.items()}
    named = any(each.tariff_id for each in cdr.charging_periods)
    only = next(iter(known.values())) if len(known) == 1 and not named else None
    priced = list[tuple[CdrPeriod, OcpiTariff | None]]()
    for each in cdr.charging_periods:
        tariff = known.get((each.tariff_id or "").lower(), only)
        if tariff is None and each.tariff_id is not None:
            raise CodecError(f"tariff {each.tariff_id} is not known")
        if tariff is not None and tariff.currency != cdr.currency:
            raise CodecError(f"tariff {tariff.id} is in {tariff.currency}, not {cdr.currency}")
        priced.append((each, tariff))
    return costs_by(priced, utc_ms(cdr.end_date_time), zone)


_COSTS: Final = ("total_fixed_cost", "total_energy_cost", "total_time_cost", "total_parking_cost",
                 "total_reservation_cost")  # fmt: skip


def credit_of(cdr: OcpiCdr, credited: Sequence[OcpiCdr] = ()) -> OcpiCdr:
    """Return the credit CDR that takes a CDR back: an id with a suffix, a reference, and of all its data only the total
    cost of the other sign (CDRs, 10.1.1).

    `credited`: its credit CDRs of energy fed back, which are taken back with it.
    """
    for each in credited:
        energy = cdr.total_energy_cost and _plus(cdr.total_energy_cost, each.total_cost)
        cdr = replace(
            cdr, total_cost=_plus(cdr.total_cost, each.total_cost), total_energy_cost=energy,
            total_energy=cdr.total_energy - each.total_energy,
        )  # fmt: skip
    back = _negative(cdr.total_cost)
    return replace(cdr, id=f"{cdr.id}-C", credit=True, credit_reference_id=cdr.id, total_cost=back)


def credits_in(cdrs: Sequence[OcpiCdr], cdr: OcpiCdr) -> list[OcpiCdr]:
    return [each for each in cdrs if each.credit and (each.credit_reference_id or "").lower() == cdr.id.lower()]


def is_taken_back(cdr: OcpiCdr, cdrs: Sequence[OcpiCdr]) -> bool:
    """Return whether a CDR and its credit CDRs among others cost nothing together."""
    found = [each.total_cost for each in (cdr, *credits_in(cdrs, cdr))]
    gross = [each.total for each in found if each.total is not None]
    whole = len(gross) < len(found) or sum(gross) == 0  # some leave taxes out
    return len(found) > 1 and sum(each.before_taxes for each in found) == 0 and whole


def split_of(cdr: OcpiCdr, zone: str) -> list[OcpiCdr]:
    """Return a CDR of energy taken, and a credit CDR of energy fed back, if there is any: volumes are above zero, and
    both cost together what the CDR costs. `zone`: of its location. Raises CodecError for a price that is not known."""
    back = tuple(each for each in cdr.charging_periods if volume([each], "ENERGY") < 0)
    if not back:
        return [cdr]
    # what was taken beside it counts for restrictions
    only_back = tuple(each if each in back else replace(each, tariff_id=None) for each in cdr.charging_periods)
    priced = any(each.tariff_id for each in back)
    costs = price_of(replace(cdr, charging_periods=only_back), {}, zone) if priced else Costs()
    net, gross = (payable(each, cdr.currency) for each in (costs.before_taxes, costs.after_taxes))
    taxed = None if cdr.total_cost.taxes is None else (TaxAmount(name="VAT", amount=gross - net),)
    price = OcpiPrice(before_taxes=net, taxes=taxed)
    nothing = replace(back[0], dimensions=(CdrDimension(type="ENERGY", volume=Decimal(0)),), tariff_id=None)
    main = replace(
        cdr, charging_periods=tuple(each for each in cdr.charging_periods if each not in back) or (nothing,),
        total_cost=_plus(cdr.total_cost, _negative(price)), total_energy=cdr.total_energy - volume(back, "ENERGY"),
        total_energy_cost=cdr.total_energy_cost and _plus(cdr.total_energy_cost, _negative(price)),
    )  # fmt: skip
    turned = tuple(replace(each, dimensions=tuple(replace(one, volume=abs(one.volume)) for one in each.dimensions))
                   for each in back)  # fmt: skip
    credit = replace(
        cdr, id=f"{cdr.id}E", charging_periods=turned, total_energy=volume(turned, "ENERGY"), credit=True,
        credit_reference_id=cdr.id, total_cost=price, **{**dict.fromkeys(_COSTS), "total_energy_cost": price},
    )  # fmt: skip
    return [main, credit]


def _negative(price: OcpiPrice) -> OcpiPrice:
    taxes = price.taxes and tuple(replace(each, amount=0 - each.amount) for each in price.taxes)
    return OcpiPrice(before_taxes=0 - price.before_taxes, taxes=taxes)


def _plus(one: OcpiPrice, other: OcpiPrice) -> OcpiPrice:
    """Return the sum of two prices, its taxes by name; they are not known unless both are."""
    net = one.before_taxes + other.before_taxes
    if one.taxes is None or other.taxes is None:
        return OcpiPrice(before_taxes=net)
    taxes: dict[str, TaxAmount] = {}
    for each in (*one.taxes, *other.taxes):
        amount = each.amount + (taxes[each.name].amount if each.name in taxes else 0)
        same = each.name not in taxes or taxes[each.name].percentage == each.percentage
        taxes[each.name] = replace(each, amount=amount, percentage=each.percentage if same else None)
    return OcpiPrice(before_taxes=net, taxes=tuple(each for each in taxes.values() if each.amount))


def judge_cdr(
    cdr: OcpiCdr, tariffs: Mapping[str, OcpiTariff], zone: str, now_ms: int, *, most_kw: Decimal | None = None
) -> list[str]:
    """Return what is wrong with a CDR that is no credit; `most_kw` is what its connector can do, if that is known."""
    found = _times_and_energy(cdr, now_ms, most_kw or _MOST_KW)
    try:
        # a partner may send thousands of prices and periods, which would take long to price
        prices = sum(len(each.elements) for each in {**tariffs, **{each.id: each for each in cdr.tariffs}}.values())
        starts = [utc_ms(each.start_date_time) for each in cdr.charging_periods]
        days = (utc_ms(cdr.end_date_time) - min(starts)) / 86_400_000
        if prices * (len(starts) + 10 + 2 * prices * days) > _MOST_EFFORT:
            raise CodecError(f"{prices} prices and {len(starts)} periods are too many to be checked")
    except CodecError as error:
        found.append(f"price: {error}")
    else:
        found += judge_price(cdr, tariffs, zone)
    return found + _signatures(cdr)


def judge_price(cdr: OcpiCdr, tariffs: Mapping[str, OcpiTariff], zone: str) -> list[str]:
    """Return what is wrong with the price of a CDR by its periods and tariffs. It may differ by a cent: volumes have
    four decimals. Taxes of which a tariff says only whether its prices include them (2.3.0) are those of the CDR."""
    try:
        costs = price_of(cdr, tariffs, zone)
    except CodecError as error:
        return [f"price: {error}"]
    found, said, cent = list[str](), cdr.total_cost, Decimal(1).scaleb(-currency_digits(cdr.currency))
    net, gross = payable(costs.before_taxes, cdr.currency), payable(costs.after_taxes, cdr.currency)
    sign, untaxed = -1 if net < 0 else 1, _untaxed((*tariffs.values(), *cdr.tariffs))
    more = (said.before_taxes - net) * sign
    if more > cent or (more < -cent and "YES" not in untaxed):
        found.append(f"price: {said.before_taxes} {cdr.currency} without taxes, by its periods and tariff {net}")
    if said.total is None:
        return found
    more, taxes = (said.total - gross) * sign, said.total - said.before_taxes
    if more < -cent or (more > cent and "NO" not in untaxed):
        found.append(f"price: {said.total} {cdr.currency} with taxes, by its periods and tariff {gross}")
    elif untaxed and not 0 <= taxes * sign <= abs(said.before_taxes) * _MOST_TAXES:
        found.append(f"price: taxes of {taxes} {cdr.currency} on {said.before_taxes}")
    return found


def _untaxed(tariffs: Sequence[OcpiTariff]) -> set[str | None]:
    """Return whether prices without a rate of tax include taxes (YES), or get them on top (NO)."""
    parts = ((each.tax_included, part) for each in tariffs for one in each.elements for part in one.price_components)
    return {included for included, part in parts if part.price and part.vat is None} & {"NO", "YES"}


def judge_credit(cdr: OcpiCdr, credited: OcpiCdr | None, before: Sequence[OcpiCdr] = ()) -> list[str]:
    """Return what is wrong with a credit CDR: it takes back a known one whole, or its energy fed back in part, once.

    `before`: the earlier credit CDRs of the same one.
    """
    if credited is None:
        return [f"credit: no CDR {cdr.credit_reference_id or ''} is known"]
    if credited.credit:
        return [f"credit: {credited.id} is a credit CDR"]
    whole = is_taken_back(credited, [*before, cdr])
    if before and not whole:
        return [f"credit: {before[0].id} has credited that CDR"]
    found = []
    if cdr.currency != credited.currency or cdr.cdr_token != credited.cdr_token:
        found.append("credit: it is of another token or currency")
    if cdr.total_cost.before_taxes > 0 and not whole:
        found.append("credit: its cost is above zero")
    if not whole and cdr.total_energy == credited.total_energy:
        found.append("credit: its cost is not that of the CDR")
    return found


def _times_and_energy(cdr: OcpiCdr, now_ms: int, most_kw: Decimal) -> list[str]:
    found = []
    start_ms, end_ms = utc_ms(cdr.start_date_time), utc_ms(cdr.end_date_time)
    starts = [utc_ms(each.start_date_time) for each in cdr.charging_periods]
    if not start_ms <= end_ms <= now_ms + _AHEAD_MS or end_ms - start_ms > _LONGEST_MS:
        found.append("times: it ends before it starts, in the future, or after 40 days")
    if starts != sorted(starts) or not start_ms - 1000 <= starts[0] <= starts[-1] <= end_ms + 1000:
        found.append("times: its periods are not in order within it")
    taken = volume(cdr.charging_periods, "ENERGY")
    if abs(taken - cdr.total_energy) > Decimal("0.001") * (1 + len(starts)):
        found.append(f"energy: {cdr.total_energy} kWh in all, {taken} in its periods")
    flowed = sum((abs(each.volume) for p in cdr.charging_periods for each in p.dimensions
                  if each.type == "ENERGY"), Decimal(0))  # fmt: skip
    hours = Decimal(max(end_ms - start_ms, 1000)) / HOUR_MS
    if flowed > most_kw * hours * Decimal("1.1") + Decimal("0.1"):
        found.append(f"power: {flowed} kWh within {hours:.3f} h is more than {most_kw} kW")
    in_use = hours - volume(cdr.charging_periods, "RESERVATION_TIME")
    lasted = hours, in_use, volume(cdr.charging_periods, "TIME")
    if all(abs(cdr.total_time - each) > Decimal("0.02") for each in lasted):
        found.append(f"times: {cdr.total_time} h in all, {hours:.4f} h from start to end")
    return found


_MARKS: Final[dict[str, Mark]] = {"start": "begin", "end": "end"}


def _signatures(cdr: OcpiCdr) -> list[str]:
    """Verify the meter's signed values, and compare the energy that they prove. A CDR may have none.

    OCPI has them in base64; partners also send them plain or in hex. It leaves the key out where it is known otherwise,
    as from the meter's face.
    """
    if cdr.signed_data is None:
        return []
    records = (
        FoundRecord(
            place=f"value {number}",
            data=value.signed_data.encode(),
            key=cdr.signed_data.public_key or "",
            mark=_MARKS.get(value.nature.lower(), ""),
        )
        for number, value in enumerate(cdr.signed_data.signed_values, 1)
    )
    judged = judge_all(records, Expected())
    found = [
        f"signed data: {each.place}: {each.reason or each.verdict}"
        for each in judged
        if each.verdict != "verified" and (each.found.key or each.verdict != "no_key")
    ]
    proved = [energy for each in judged for energy in each.energies]
    found += [
        f"signed data: the meter marks an error in {each.register}, or it fell" for each in proved if not each.usable
    ]
    if found or not proved:
        return found
    by_direction = {"import": Decimal(0), "export": Decimal(0)}
    for energy in proved:
        if energy.direction is not None:
            by_direction[energy.direction] = max(by_direction[energy.direction], abs(energy.wh) / 1000)
    said = {"import": Decimal(0), "export": Decimal(0)}
    for period in cdr.charging_periods:
        for each in period.dimensions:
            if each.type == "ENERGY":
                said["import" if each.volume >= 0 else "export"] += abs(each.volume)
    if any(abs(by_direction[way] - said[way]) > Decimal("0.02") for way in said):
        taken, back = by_direction["import"], by_direction["export"]
        found.append(f"signed data: {taken} kWh taken and {back} kWh fed back are proved")
    return found
