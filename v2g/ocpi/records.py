"""Judges the CDRs of partners: prices recomputed, signed data verified, totals and powers plausible.

A CDR is a claim. What it says is compared with its own periods and tariffs, with the meter's signature, and with what
the charger can do; each difference is a finding, and a CDR with one is not booked by itself.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Final

from msgspec.structs import replace

from v2g.energy.meter_records.container import FoundRecord
from v2g.energy.meter_records.judge import Expected, judge_all
from v2g.errors import CodecError
from v2g.ocpi.objects import CdrPeriod, OcpiCdr, OcpiPrice, OcpiTariff
from v2g.ocpi.tariffs import Costs, costs_of
from v2g.ocpi.wire import utc_ms
from v2g.units import currency_digits, payable

_HOUR_MS: Final = 3_600_000
_LONGEST_MS: Final = 40 * 86_400_000
_AHEAD_MS: Final = 600_000
_MOST_KW: Final = Decimal(1500)
"""More than any charger has (MCS: 1.25 kV, 3 kA is the connector's end, no charger's)."""


def volume(periods: Sequence[CdrPeriod], kind: str) -> Decimal:
    """Return the sum of a dimension."""
    return sum((each.volume for p in periods for each in p.dimensions if each.type == kind), Decimal(0))


def price_of(cdr: OcpiCdr, tariffs: Mapping[str, OcpiTariff], zone: str) -> Costs:
    """Return what a CDR's periods cost by its tariffs, `tariffs` (by id) where it has none. Raises CodecError."""
    known = {**tariffs, **{each.id: each for each in cdr.tariffs}}
    only = next(iter(known.values())) if len(known) == 1 else None
    end_ms = utc_ms(cdr.end_date_time)
    total = Costs(dimensions={}, before_taxes=Decimal(0), after_taxes=Decimal(0))
    # energy fed back has periods of its own, beside those of energy taken
    back = [each for each in cdr.charging_periods if volume([each], "ENERGY") < 0]
    first = True
    for lane in filter(None, ([each for each in cdr.charging_periods if each not in back], back)):
        ordered = sorted(lane, key=lambda each: utc_ms(each.start_date_time))
        runs = [list(run) for _, run in groupby(ordered, key=lambda each: each.tariff_id)]
        ends = [utc_ms(run[0].start_date_time) for run in runs[1:]] + [end_ms]
        for run, run_end in zip(runs, ends, strict=True):
            tariff = known.get(run[0].tariff_id or "", only)
            if tariff is None:
                if run[0].tariff_id is None and not known:
                    continue  # free of charge
                raise CodecError(f"tariff {run[0].tariff_id or ''} is not known")
            found = costs_of(run, run_end, tariff, zone, fees=first)
            first = False
            total = Costs(
                dimensions={**found.dimensions},
                before_taxes=total.before_taxes + found.before_taxes,
                after_taxes=total.after_taxes + found.after_taxes,
            )
    return total


def credit_of(cdr: OcpiCdr) -> OcpiCdr:
    """Return the credit CDR that takes a CDR back: an id with a suffix, a reference, and costs of the other sign."""
    names = ("total_cost", "total_fixed_cost", "total_energy_cost", "total_time_cost", "total_parking_cost",
             "total_reservation_cost")  # fmt: skip
    costs = {name: _negative(getattr(cdr, name)) for name in names}
    return replace(cdr, id=f"{cdr.id}-C", credit=True, credit_reference_id=cdr.id, **costs)


def _negative(price: OcpiPrice | None) -> OcpiPrice | None:
    if price is None:
        return None
    taxes = price.taxes and tuple(replace(each, amount=0 - each.amount) for each in price.taxes)
    return OcpiPrice(before_taxes=0 - price.before_taxes, taxes=taxes)


def judge_cdr(
    cdr: OcpiCdr, tariffs: Mapping[str, OcpiTariff], zone: str, now_ms: int, *, most_kw: Decimal | None = None
) -> list[str]:
    """Return what is wrong with a CDR that is no credit; `most_kw` is what its connector can do, if that is known."""
    found = _times_and_energy(cdr, now_ms, most_kw or _MOST_KW)
    cent = Decimal(1).scaleb(-currency_digits(cdr.currency))
    try:
        costs = price_of(cdr, tariffs, zone)
    except CodecError as error:
        found.append(f"price: {error}")
    else:
        said = cdr.total_cost
        net = payable(costs.before_taxes, cdr.currency)
        if abs(net - said.before_taxes) > cent:
            found.append(f"price: {said.before_taxes} {cdr.currency} without taxes, by its periods and tariff {net}")
        gross = payable(costs.after_taxes, cdr.currency)
        if said.total is not None and abs(gross - said.total) > cent:
            found.append(f"price: {said.total} {cdr.currency} with taxes, by its periods and tariff {gross}")
    return found + _signatures(cdr)


def judge_credit(cdr: OcpiCdr, credited: OcpiCdr | None) -> list[str]:
    """Return what is wrong with a credit CDR: it takes back a known one whole, or its energy fed back in part."""
    if credited is None:
        return [f"credit: no CDR {cdr.credit_reference_id or ''} is known"]
    found = []
    if cdr.currency != credited.currency or cdr.cdr_token != credited.cdr_token:
        found.append("credit: it is of another token or currency")
    if cdr.total_cost.before_taxes > 0:
        found.append("credit: its cost is above zero")
    whole = credited.total_cost.before_taxes + cdr.total_cost.before_taxes == 0
    if not whole and cdr.total_energy == credited.total_energy:
        found.append("credit: its cost is not that of the CDR")
    return found


def _times_and_energy(cdr: OcpiCdr, now_ms: int, most_kw: Decimal) -> list[str]:
    found = []
    start_ms, end_ms = utc_ms(cdr.start_date_time), utc_ms(cdr.end_date_time)
    starts = [utc_ms(each.start_date_time) for each in cdr.charging_periods]
    if not start_ms <= end_ms <= now_ms + _AHEAD_MS or end_ms - start_ms > _LONGEST_MS:
        found.append("times: it ends before it starts, in the future, or after 40 days")
    if starts != sorted(starts) or (starts and not start_ms - 1000 <= starts[0] <= starts[-1] <= end_ms + 1000):
        found.append("times: its periods are not in order within it")
    taken = volume(cdr.charging_periods, "ENERGY")
    if abs(taken - cdr.total_energy) > Decimal("0.001") * (1 + len(starts)):
        found.append(f"energy: {cdr.total_energy} kWh in all, {taken} in its periods")
    flowed = sum((abs(each.volume) for p in cdr.charging_periods for each in p.dimensions
                  if each.type == "ENERGY"), Decimal(0))  # fmt: skip
    hours = Decimal(max(end_ms - start_ms, 1000)) / _HOUR_MS
    if flowed > most_kw * hours * Decimal("1.1") + Decimal("0.1"):
        found.append(f"power: {flowed} kWh within {hours:.3f} h is more than {most_kw} kW")
    if abs(cdr.total_time - hours) > Decimal("0.02") and abs(volume(cdr.charging_periods, "TIME") - cdr.total_time) > (
        Decimal("0.02")
    ):
        found.append(f"times: {cdr.total_time} h in all, {hours:.4f} h from start to end")
    return found


def _signatures(cdr: OcpiCdr) -> list[str]:
    """Verify the meter's signed values, and compare the energy that they prove. A CDR may have none."""
    if cdr.signed_data is None:
        return []
    records = []
    for number, value in enumerate(cdr.signed_data.signed_values, 1):
        try:
            data = base64.b64decode(value.signed_data, validate=True)
        except (binascii.Error, ValueError):
            return [f"signed data: value {number} is not base64"]
        records.append(FoundRecord(place=f"value {number}", data=data, key=cdr.signed_data.public_key or ""))
    judged = judge_all(records, Expected())
    found = [
        f"signed data: {each.place}: {each.reason or each.verdict}" for each in judged if each.verdict != "verified"
    ]
    proved = [energy for each in judged for energy in each.energies]
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
