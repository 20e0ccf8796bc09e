"""The cost of a transaction by a price plan: lines, taxes and totals, during it and at its end.

The transaction is cut into pieces (`pieces`) in each of which a kind of charge has one rate. A line is the sum of one
rate's quantity, priced and rounded once; each tax stack of a line is rounded with it. A later plan applies from its
start on, not before (I11.FR.08).

`bill` prices a whole transaction. To follow one, open a `Tally` and extend it with new events: it holds what is needed
to price the rest, however long the transaction lasts, and gives the same result. `energy_prices` are the prices of a
kWh over time.
"""

from bisect import bisect_right
from collections.abc import Sequence, Set
from datetime import tzinfo
from typing import Final, Literal

import msgspec

from v2g.energy.price_plan import Bound, Charge, ChargeKind, PricePlan, Tax, local_time
from v2g.energy.settlement.pieces import Piece, Progress, Usage, begin, bounds, cut, facts, zone_of
from v2g.energy.settlement.pricing import amount_of
from v2g.units import MICRO, MINUTE_MS, MWH_PER_KWH

_MILLION: Final = 1_000_000

Plans = Sequence[tuple[int, PricePlan]]
"""Plans by start (UTC ms), in order of time."""

UNITS: Final[dict[ChargeKind, int]] = {
    "energy": MWH_PER_KWH,
    "export": MWH_PER_KWH,
    "charging_time": MINUTE_MS,
    "idle_time": MINUTE_MS,
    "reservation_time": MINUTE_MS,
    "fixed": 1,
    "reservation_fixed": 1,
}
"""The quantity of a kind (mWh, ms, times) that its price applies to."""


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The sum of one rate: `quantity` in mWh, ms or times, `price` and amounts in micro-units; export is negative."""

    plan_id: str
    kind: ChargeKind
    price: int
    quantity: int
    excl_tax: int
    incl_tax: int
    taxes: tuple[Tax, ...] = ()


class Period(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A time with one set of rates (I12.FR.35): its use (mWh, ms); powers in W, currents in A.

    Where energy, power or current decides about a price, it also ends with charging or a pause, and where a bound is
    passed, whether rates change there or not: else the cost could not be calculated again from it.
    `plan_id` is empty if no plan applied.
    """

    plan_id: str
    start_ms: int
    energy_mwh: int = 0
    export_mwh: int = 0
    charging_ms: int = 0
    idle_ms: int = 0
    min_power_w: int = 0
    max_power_w: int = 0
    min_current_a: int = 0
    max_current_a: int = 0


class Bill(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Lines and totals in micro-units of `currency`; `kind` says whether a bound replaced the lines' sum."""

    currency: str
    kind: Literal["NormalCost", "MinCost", "MaxCost"] = "NormalCost"
    lines: tuple[Line, ...] = ()
    periods: tuple[Period, ...] = ()
    excl_tax: int = 0
    incl_tax: int = 0
    energy_mwh: int = 0
    export_mwh: int = 0
    charging_ms: int = 0
    idle_ms: int = 0
    reserved_ms: int = 0


class Quantity(msgspec.Struct, frozen=True):
    """The quantity (mWh, ms, times) priced by one rate: the number of its plan, its kind, its number there."""

    plan: int
    kind: ChargeKind
    rate: int
    amount: int


class Tally(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of a transaction's cost.

    `rates` are the last ones, to detect the start of a new period. `frozen` are the lines at the time when the maximum
    cost was reached: from then on use counts, but not cost (I12.FR.39, .40), until another plan applies (I11.FR.08).
    They are then the `base`, to which the cost by later plans, that of `quantities`, is added.
    """

    progress: Progress
    quantities: tuple[Quantity, ...] = ()
    periods: tuple[Period, ...] = ()
    rates: tuple[int | None, ...] | None = None
    frozen: tuple[Line, ...] | None = None
    base: tuple[Line, ...] = ()
    reserved_ms: int = 0


def bill(plans: Plans, usage: Usage, *, ended: bool) -> Bill:
    """Return the cost of a transaction. `plans` by start; the time before the first is free.

    The minimum cost applies only once a transaction has `ended`. Raises ValueError without a plan, for plans of several
    currencies, and for an unknown zone.
    """
    tally = open_tally(plans, usage, fees=bool(plans) and plans[0][0] <= usage.start_ms)
    return total(extend(tally, plans, usage), plans, ended=ended)


def open_tally(plans: Plans, usage: Usage, *, fees: bool) -> Tally:
    """Return the tally of a new transaction; with its `fees`, which are charged once, by its first plan.

    These are the fixed fee and the reservation (I12.FR.06, .30), by the clock at the start.
    """
    zones = _zones(plans)
    tally = Tally(progress=begin(usage))
    if usage.reserved_ms is not None:
        tally = msgspec.structs.replace(tally, reserved_ms=max(0, usage.start_ms - usage.reserved_ms))
    if not fees:
        return tally
    moment, use, plan = local_time(usage.start_ms, zones[0]), facts(usage), plans[0][1]
    once: list[tuple[ChargeKind, int]] = [("fixed", 1)]
    if usage.reserved_ms is not None:
        once += [("reservation_fixed", 1), ("reservation_time", tally.reserved_ms)]
    found = tuple(
        Quantity(0, kind, rate, amount) for kind, amount in once if (rate := plan.rate(kind, moment, use)) is not None
    )
    frozen = _reached(plan.greatest, (), _lines(plans, found))
    return msgspec.structs.replace(tally, quantities=found, frozen=frozen)


def extend(tally: Tally, plans: Plans, usage: Usage, *, most_periods: int | None = None) -> Tally:
    """Return a tally extended by later events: `usage` continues where the tally ends.

    Beyond `most_periods` the last period grows whatever its rates are; cost does not depend on periods.
    """
    zones, starts = _zones(plans), [since for since, _ in plans]
    quantities = {(each.plan, each.kind, each.rate): each.amount for each in tally.quantities}
    periods, rates, frozen, base = list(tally.periods), tally.rates, tally.frozen, tally.base
    limits = [[bounds([each], name, 1) for name in ("energy_wh", "power_w", "current_a")] for each in plans]
    pieces, progress = cut(plans, zones, usage, tally.progress)
    for piece in pieces:
        index = bisect_right(starts, piece.begin.utc_ms) - 1
        plan = plans[index][1] if index >= 0 else None
        held, rates = rates, (None,)
        if plan is not None:
            if frozen is not None and index > ((held or (0,))[0] or 0):
                base, frozen = frozen, None
                quantities.clear()
            limited = plan.greatest is not None and frozen is None
            before = (*base, *_lines(plans, _listed(quantities))) if limited else ()
            rates = _use_rates(quantities, index, plan, zones[index], piece, limits[index])
            if limited:
                frozen = _reached(plan.greatest, before, (*base, *_lines(plans, _listed(quantities))))
        if held == rates or (most_periods is not None and len(periods) >= most_periods):
            periods[-1] = _grow(periods[-1], piece)
        else:
            name = plan.id if plan is not None else ""
            periods.append(_grow(Period(plan_id=name, start_ms=piece.begin.utc_ms), piece))
    changes = {"progress": progress, "quantities": _listed(quantities), "periods": tuple(periods), "rates": rates}
    return msgspec.structs.replace(tally, frozen=frozen, base=base, **changes)


def with_taxes(amount: int, taxes: Sequence[Tax]) -> int:
    """Return an amount with its taxes, stack upon stack (I12.FR.13), rounded once, half to even."""
    factor, scale = 1, 1
    for stack in sorted({tax.stack for tax in taxes}):
        factor *= _MILLION + sum(tax.ppm for tax in taxes if tax.stack == stack)
        scale *= _MILLION
    return amount_of(amount, factor, scale)


def energy_prices(plans: Plans, usage: Usage) -> list[tuple[int, int, int]]:
    """Return since when (UTC ms) a kWh from the grid costs how much in a transaction, and one fed back pays how much.

    These are the rates of `bill`, in micro-units without taxes, 0 where none applies; the time before the first plan
    has none. Prices by power end with the last reading. Minimum and maximum costs change nothing. Raises ValueError as
    `bill`.
    """
    zones, starts, end_ms = _zones(plans), [since for since, _ in plans], usage.end_ms
    if usage.readings and bounds(plans, "power_w", 1):
        end_ms = usage.readings[-1].utc_ms
    found: list[tuple[int, int, int]] = []
    for piece in cut(plans, zones, usage, begin(usage))[0]:
        index = bisect_right(starts, piece.begin.utc_ms) - 1
        if index < 0 or not piece.length_ms or piece.begin.utc_ms >= end_ms:
            continue
        plan, moment = plans[index][1], local_time(piece.begin.utc_ms, zones[index])
        prices = plan.price("energy", moment, piece.use) or 0, plan.price("export", moment, piece.use) or 0
        if not found or found[-1][1:] != prices:
            found.append((piece.begin.utc_ms, *prices))
    return found


def total(tally: Tally, plans: Plans, *, ended: bool) -> Bill:
    """Return the bill of a tally. The minimum cost of the plan in force applies only at the end (I12.FR.38)."""
    plan = plans[-1][1]
    lines = tally.frozen if tally.frozen is not None else (*tally.base, *_lines(plans, tally.quantities))
    excl, incl = sum(line.excl_tax for line in lines), sum(line.incl_tax for line in lines)
    kind: Literal["NormalCost", "MinCost", "MaxCost"] = "NormalCost"
    least = plan.least
    if tally.frozen is not None:
        kind = "MaxCost"
    elif ended and least is not None and (excl < _or(least.excl_micro, excl) or incl < _or(least.incl_micro, incl)):
        excl, incl = _raise(excl, incl, least, _taxes(plan))
        kind = "MinCost"
    return Bill(
        currency=plan.currency,
        kind=kind,
        lines=lines,
        periods=tally.periods,
        excl_tax=excl,
        incl_tax=incl,
        energy_mwh=sum(period.energy_mwh for period in tally.periods),
        export_mwh=sum(period.export_mwh for period in tally.periods),
        charging_ms=sum(period.charging_ms for period in tally.periods),
        idle_ms=sum(period.idle_ms for period in tally.periods),
        reserved_ms=tally.reserved_ms,
    )


def _zones(plans: Plans) -> list[tzinfo]:
    """Return the plans' time zones. Raises ValueError without a plan, for an unknown zone, or several currencies."""
    currencies = {plan.currency for _, plan in plans}
    if len(currencies) != 1:
        raise ValueError(f"a transaction must have one currency, not {len(currencies)}")
    return [zone_of(plan.zone) for _, plan in plans]


def _use_rates(
    quantities: dict[tuple[int, ChargeKind, int], int], index: int, plan: PricePlan, zone: tzinfo, piece: Piece,
    limits: Sequence[Set[int]],
) -> tuple[int | None, ...]:  # fmt: skip
    """Add a piece's quantities under its rates; return which rates those are (I12.FR.34), and how many bounds of
    energy, power and current (`limits`) it has passed."""
    moment, use = local_time(piece.begin.utc_ms, zone), piece.use
    amounts: tuple[tuple[ChargeKind, int], ...] = (
        ("energy", piece.energy_mwh),
        ("export", piece.export_mwh),
        ("charging_time", piece.length_ms if piece.charging else 0),
        ("idle_time", 0 if piece.charging else piece.length_ms),
    )
    used: list[int | None] = [index, int(any(limits) and piece.charging)]
    used += (
        sum(bound <= value for bound in passed)
        for passed, value in zip(limits, (use.energy_mwh // 1000, use.power_w, use.current_a), strict=True)
    )
    for kind, quantity in amounts:
        rate = plan.rate(kind, moment, use)
        used.append(rate)
        if rate is not None and quantity:
            key = (index, kind, rate)
            quantities[key] = quantities.get(key, 0) + quantity
    return tuple(used)


def _grow(period: Period, piece: Piece) -> Period:
    """Return a period extended by a piece; one without duration does not count for power and current."""
    lasted, use = piece.length_ms > 0, piece.use
    first = not (period.charging_ms or period.idle_ms)
    return msgspec.structs.replace(
        period,
        energy_mwh=period.energy_mwh + piece.energy_mwh,
        export_mwh=period.export_mwh + piece.export_mwh,
        charging_ms=period.charging_ms + (piece.length_ms if piece.charging else 0),
        idle_ms=period.idle_ms + (0 if piece.charging else piece.length_ms),
        min_power_w=(use.power_w if first else min(period.min_power_w, use.power_w)) if lasted else period.min_power_w,
        max_power_w=max(period.max_power_w, use.power_w),
        min_current_a=(use.current_a if first else min(period.min_current_a, use.current_a))
        if lasted
        else period.min_current_a,
        max_current_a=max(period.max_current_a, use.current_a),
    )


def _listed(quantities: dict[tuple[int, ChargeKind, int], int]) -> tuple[Quantity, ...]:
    return tuple(Quantity(*key, amount) for key, amount in quantities.items())


def _lines(plans: Plans, quantities: Sequence[Quantity]) -> tuple[Line, ...]:
    return tuple(_line(plans[each.plan][1], each) for each in quantities if each.amount)


def _line(plan: PricePlan, found: Quantity) -> Line:
    charge = plan.charge(found.kind)
    assert isinstance(charge, Charge)
    price = charge.rates[found.rate].micro
    amount = amount_of(found.amount, price, UNITS[found.kind])
    excl = -amount if found.kind == "export" else amount
    return Line(
        plan_id=plan.id,
        kind=found.kind,
        price=price,
        quantity=found.amount,
        excl_tax=excl,
        incl_tax=with_taxes(excl, charge.taxes),
        taxes=charge.taxes,
    )


def _reached(greatest: Bound | None, before: tuple[Line, ...], after: tuple[Line, ...]) -> tuple[Line, ...] | None:
    """Return the lines at the time when the maximum cost was reached, or None if it was not (I12.FR.39).

    `before` are the first of `after`, as of the start of the piece. Cost grows linearly within a piece.
    """
    if greatest is None:
        return None
    shares: list[tuple[int, int, str, int]] = []
    for field, bound in (("excl_tax", greatest.excl_micro), ("incl_tax", greatest.incl_micro)):
        old, new = (sum(getattr(line, field) for line in lines) for lines in (before, after))
        if bound is not None and new >= bound:
            shares.append((max(0, bound - old), max(1, new - old), field, max(old, bound)))
    if not shares:
        return None
    part, whole, field, bound = min(shares, key=lambda share: share[0] / share[1])
    lines = [
        _partly(before[number] if number < len(before) else None, line, part, whole)
        for number, line in enumerate(after)
    ]
    grown = [number for number, line in enumerate(after) if line not in before]
    for number in grown[-1:]:  # exact to the micro-unit, on the line that grew last
        missing = bound - sum(getattr(line, field) for line in lines)
        lines[number] = msgspec.structs.replace(lines[number], **{field: getattr(lines[number], field) + missing})
    return tuple(lines)


def _partly(before: Line | None, after: Line, part: int, whole: int) -> Line:
    """Return a line after a share of its growth."""
    before = before or msgspec.structs.replace(after, quantity=0, excl_tax=0, incl_tax=0)
    grown = {
        name: getattr(before, name) + amount_of(getattr(after, name) - getattr(before, name), part, whole)
        for name in ("quantity", "excl_tax", "incl_tax")
    }
    return msgspec.structs.replace(after, **grown)


def _raise(excl: int, incl: int, least: Bound, taxes: Sequence[Tax]) -> tuple[int, int]:
    """Return both totals raised to the minimum; one without a minimum of its own keeps its share of taxes, or has
    `taxes` where nothing else is to be paid."""
    raised_excl, raised_incl = max(excl, _or(least.excl_micro, excl)), max(incl, _or(least.incl_micro, incl))
    if max(excl, incl) <= 0:
        excl, incl = MICRO, with_taxes(MICRO, taxes)
    if least.incl_tax is None:
        raised_incl = amount_of(incl, raised_excl, excl) if excl > 0 else max(raised_incl, raised_excl)
    elif least.excl_tax is None:
        raised_excl = amount_of(excl, raised_incl, incl) if incl > 0 else raised_incl
    return raised_excl, raised_incl


def _taxes(plan: PricePlan) -> Sequence[Tax]:
    """Return the taxes of a plan if all its charges have the same."""
    found = {charge.taxes for kind in UNITS if (charge := plan.charge(kind)) is not None}
    return found.pop() if len(found) == 1 else ()


def _or(bound: int | None, otherwise: int) -> int:
    return otherwise if bound is None else bound
