"""The cost of a session so far, from the meter's readings and the agreed price schedules."""

from fractions import Fraction
from typing import Final

import msgspec
from msgspec.structs import replace

from secc.session.ports import MeterRead
from v2g.errors import RefusedError
from v2g.iso15118.d20.messages.common_types import DetailedCost, DetailedTax, Receipt
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule, PriceLevelSchedule
from v2g.iso15118.d20.prices import ZERO, Account, Flow, Prices, add, amount, read_prices, settle

STEP_MS: Final = 1000
"""Minimum duration of a piece of energy; its mean power counts for power ranges."""

_W_MS_PER_MWH: Final = 3600


class Running(msgspec.Struct, frozen=True):
    """Accounts of both directions up to a reading of the meter. `sent_ms` is the time of the last receipt."""

    meter: MeterRead
    charge: Prices | None
    discharge: Prices | None
    charged: Account = Account()
    discharged: Account = Account()
    sent_ms: int | None = None


PriceList = AbsolutePriceSchedule | PriceLevelSchedule | None


def begin(charge: PriceList, discharge: PriceList, meter: MeterRead, before: Running | None = None) -> Running | None:
    """Return the accounts from this reading on; None if there are no prices.

    Accounts of an earlier schedule continue from their own reading: limits, taxes and services are those of the latest
    one, peaks restart; a direction that has no prices any more keeps its cost.
    """
    meter = meter if before is None else before.meter
    prices = [_readable(each, meter.utc_ms) for each in (charge, discharge)]
    if prices == [None, None]:
        return None
    running = Running(meter, prices[0], prices[1])
    if before is None:
        return running
    return replace(
        running,
        charge=running.charge or before.charge,
        discharge=running.discharge or before.discharge,
        charged=replace(before.charged, peak_w=ZERO),
        discharged=replace(before.discharged, peak_w=ZERO),
        sent_ms=before.sent_ms,
    )


def advance(running: Running, meter: MeterRead) -> Running:
    """Return the accounts after a reading of the meter."""
    before = running.meter
    span = meter.utc_ms - before.utc_ms
    if span < STEP_MS:
        return running
    charged, discharged = running.charged, running.discharged
    if running.charge is not None:
        power = Fraction((meter.import_mwh - before.import_mwh) * _W_MS_PER_MWH, span)
        charged = add(running.charge, charged, Flow(before.utc_ms, meter.utc_ms, power))
    if running.discharge is not None:
        power = Fraction((meter.export_mwh - before.export_mwh) * _W_MS_PER_MWH, span)
        discharged = add(running.discharge, discharged, Flow(before.utc_ms, meter.utc_ms, -power))
    return replace(running, meter=meter, charged=charged, discharged=discharged)


def receipt(running: Running) -> Receipt | None:
    """Return the vehicle's debt so far, all schedules together; compensation counts as negative."""
    # the cost of each direction
    pairs = ((running.charge, running.charged), (running.discharge, running.discharged))
    costs = tuple(settle(prices, account) for prices, account in pairs if prices is not None)
    if not costs:
        return None
    energy = sum((each.energy for each in costs), ZERO)
    taxes: dict[int, Fraction] = {}
    for each in costs:
        for rule_id, due in each.taxes:
            taxes[rule_id] = taxes.get(rule_id, ZERO) + due
    # the mean price of the energy, 0 without energy
    kwh = (running.charged.energy_w_ms + running.discharged.energy_w_ms) / 3_600_000_000
    own = running.charged.energy + running.discharged.energy
    return Receipt(
        time_anchor=running.meter.utc_ms // 1000,
        energy_costs=_line(energy, own / kwh if kwh else ZERO),
        occupancy_costs=_optional(sum((each.parking for each in costs), ZERO)),
        additional_services_costs=_optional(sum((each.services for each in costs), ZERO)),
        overstay_costs=_optional(sum((each.overstay for each in costs), ZERO)),
        tax_costs=tuple(DetailedTax(tax_rule_id=rule_id, amount=amount(due)) for rule_id, due in sorted(taxes.items()))[
            :10
        ],
    )


def _line(due: Fraction, per_unit: Fraction) -> DetailedCost:
    return DetailedCost(amount=amount(due), cost_per_unit=amount(per_unit))


def _optional(due: Fraction) -> DetailedCost | None:
    return _line(due, due) if due else None


def _readable(schedule: PriceList, from_ms: int) -> Prices | None:
    """Return a schedule's prices. The first one also holds from this reading on: schedules begin at whole seconds."""
    if not isinstance(schedule, AbsolutePriceSchedule):
        return None
    try:
        prices = read_prices(schedule)
    except RefusedError:  # the last second of the last known price
        return None
    first, *others = prices.stacks
    return replace(prices, stacks=(replace(first, start_ms=min(first.start_ms, from_ms)), *others))
