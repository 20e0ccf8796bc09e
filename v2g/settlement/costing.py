"""What a transaction costs by a price plan: lines, taxes and totals, the same while it runs and at its end.

The transaction is cut wherever a rate may change: at readings, when charging begins or pauses, by clock and calendar,
and where energy or time passes a bound; energy at a bound is split to the mWh. Between cuts each kind of charge has one
rate. A line is the sum of one rate's quantity, priced and rounded once; each tax stack of a line is rounded with it.
A plan that comes later holds from then on, never back (I11.FR.08).
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from v2g.grid.price_plan import Bound, Charge, ChargeKind, PricePlan, Tax, Use, local_time
from v2g.settlement.intervals import Registers, Timeline
from v2g.settlement.pricing import amount_of
from v2g.units import MWH_PER_KWH

MINUTE_MS: Final = 60_000
_MILLION: Final = 1_000_000
_HOUR_MS: Final = 3_600_000

_UNITS: Final[dict[ChargeKind, int]] = {
    "energy": MWH_PER_KWH,
    "export": MWH_PER_KWH,
    "charging_time": MINUTE_MS,
    "idle_time": MINUTE_MS,
    "reservation_time": MINUTE_MS,
    "fixed": 1,
    "reservation_fixed": 1,
}
"""How much of a kind's quantity (mWh, ms, times) its price is for."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a transaction, up to `end_ms`. Times are UTC ms, in order.

    `readings`: both registers (mWh), never falling. `charging`: from when on energy flowed or paused. `currents`: from
    when on how many A flowed over all phases. `reserved_ms`: when the EVSE was reserved for it, if it was.
    """

    start_ms: int
    end_ms: int
    readings: tuple[Registers, ...] = ()
    charging: tuple[tuple[int, bool], ...] = ()
    currents: tuple[tuple[int, int], ...] = ()
    reserved_ms: int | None = None
    evse_kind: Literal["AC", "DC"] | None = None
    payment_brand: str | None = None
    payment_recognition: str | None = None


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
    """A time in which one set of rates held (I12.FR.35): what was used in it (mWh, ms), and its powers (W).

    `plan_id` is empty while no plan held.
    """

    plan_id: str
    start_ms: int
    energy_mwh: int = 0
    export_mwh: int = 0
    charging_ms: int = 0
    idle_ms: int = 0
    min_power_w: int = 0
    max_power_w: int = 0


class Bill(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Lines and totals in micro-units of `currency`; `kind` says whether a bound took the place of the lines' sum."""

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


class _Piece(msgspec.Struct, frozen=True):
    begin: Registers
    end: Registers
    charging: bool
    use: Use


def bill(plans: Sequence[tuple[int, PricePlan]], usage: Usage, *, ended: bool) -> Bill:
    """Return what a transaction costs. `plans`: from when on (UTC ms) each holds; what was before the first is free.

    While a transaction is not `ended` its least cost is not asked for yet. Raises ValueError without a plan, for plans
    of several currencies, and for a zone that nobody knows.
    """
    currencies = {plan.currency for _, plan in plans}
    if len(currencies) != 1:
        raise ValueError(f"a transaction has one currency, not {len(currencies)}")
    zones = [_zone(plan.zone) for _, plan in plans]
    quantities: dict[tuple[int, ChargeKind, int], int] = {}
    periods: list[Period] = []
    before: object = None
    starts = [since for since, _ in plans]
    if starts[0] <= usage.start_ms:
        _add_once(quantities, plans[0][1], zones[0], usage)
    for piece in _pieces(plans, zones, usage):
        index = bisect_right(starts, piece.begin.utc_ms) - 1
        used = _use_rates(quantities, index, plans[index][1], zones[index], piece) if index >= 0 else "free"
        if used == before:
            periods[-1] = _grow(periods[-1], piece)
        else:
            name = plans[index][1].id if index >= 0 else ""
            periods.append(_grow(Period(plan_id=name, start_ms=piece.begin.utc_ms), piece))
        before = used
    lines = tuple(_line(plans[key[0]][1], key[1], key[2], quantity) for key, quantity in quantities.items() if quantity)
    return _total(plans[-1][1], lines, tuple(periods), usage, ended=ended)


def with_taxes(amount: int, taxes: Sequence[Tax]) -> int:
    """Return an amount with its taxes, stack upon stack (I12.FR.13), rounded once, half to even."""
    factor, scale = 1, 1
    for stack in sorted({tax.stack for tax in taxes}):
        factor *= _MILLION + sum(tax.ppm for tax in taxes if tax.stack == stack)
        scale *= _MILLION
    return amount_of(amount, factor, scale)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}") from None


def _add_once(
    quantities: dict[tuple[int, ChargeKind, int], int], plan: PricePlan, zone: ZoneInfo, usage: Usage
) -> None:
    """Add what is asked for once, at the start: the fixed fee and the reservation (I12.FR.06, .30)."""
    moment = local_time(usage.start_ms, zone)
    use = _facts(usage)
    once: list[tuple[ChargeKind, int]] = [("fixed", 1)]
    if usage.reserved_ms is not None:
        once += [("reservation_fixed", 1), ("reservation_time", max(0, usage.start_ms - usage.reserved_ms))]
    for kind, quantity in once:
        rate = plan.rate(kind, moment, use)
        if rate is not None:
            quantities[0, kind, rate] = quantity


def _use_rates(
    quantities: dict[tuple[int, ChargeKind, int], int], index: int, plan: PricePlan, zone: ZoneInfo, piece: _Piece
) -> object:
    """Add a piece's quantities under the rates that hold in it; return which rates those are."""
    moment = local_time(piece.begin.utc_ms, zone)
    length = piece.end.utc_ms - piece.begin.utc_ms
    amounts: list[tuple[ChargeKind, int]] = [
        ("energy", piece.end.import_mwh - piece.begin.import_mwh),
        ("export", piece.end.export_mwh - piece.begin.export_mwh),
        ("charging_time" if piece.charging else "idle_time", length),
    ]
    used: list[object] = [index]
    for kind, quantity in amounts:
        rate = plan.rate(kind, moment, piece.use)
        used.append((kind, rate))
        if rate is not None and quantity:
            key = (index, kind, rate)
            quantities[key] = quantities.get(key, 0) + quantity
    return tuple(used)


def _facts(usage: Usage, **more: int) -> Use:
    return Use(
        evse_kind=usage.evse_kind,
        payment_brand=usage.payment_brand,
        payment_recognition=usage.payment_recognition,
        **more,
    )


def _pieces(plans: Sequence[tuple[int, PricePlan]], zones: Sequence[ZoneInfo], usage: Usage) -> list[_Piece]:
    """Return the transaction in pieces within which no rate can change."""
    points = _points(plans, zones, usage)
    charging_since = [at for at, _ in usage.charging]
    current_since = [at for at, _ in usage.currents]
    first = points[0].import_mwh
    pieces = []
    charged = idle = 0
    for begin, end in pairwise(points):
        charging = _state(charging_since, usage.charging, begin.utc_ms)
        length = end.utc_ms - begin.utc_ms
        flow = end.import_mwh - begin.import_mwh
        use = _facts(
            usage,
            energy_mwh=begin.import_mwh - first,
            power_w=flow * _HOUR_MS // (1000 * length) if length else 0,
            current_a=_state(current_since, usage.currents, begin.utc_ms),
            time_ms=begin.utc_ms - usage.start_ms,
            charging_ms=charged,
            idle_ms=0 if charging else idle,
        )
        pieces.append(_Piece(begin, end, bool(charging), use))
        charged, idle = (charged + length, 0) if charging else (charged, idle + length)
    return pieces


def _state(since: Sequence[int], states: Sequence[tuple[int, int]], at: int) -> int:
    index = bisect_right(since, at) - 1
    return int(states[index][1]) if index >= 0 else 0


def _points(plans: Sequence[tuple[int, PricePlan]], zones: Sequence[ZoneInfo], usage: Usage) -> list[Registers]:
    """Return the registers at the transaction's start, its end, and every cut between."""
    readings = _bounded(usage)
    readings = _split_energy(readings, _bounds(plans, "energy_wh", 1000))
    timeline = Timeline(readings)
    cuts = {since for since, _ in plans} | {at for at, _ in usage.charging} | {at for at, _ in usage.currents}
    cuts |= {usage.start_ms + bound for bound in _bounds(plans, "time_s", 1000)}
    cuts |= _run_cuts(usage, _bounds(plans, "charging_s", 1000), _bounds(plans, "idle_s", 1000))
    for (_, plan), zone in zip(plans, zones, strict=True):
        cuts |= plan.clock_cuts(usage.start_ms, usage.end_ms, zone)
    known = {reading.utc_ms for reading in readings}
    more = [timeline.at(cut) for cut in cuts if usage.start_ms < cut < usage.end_ms and cut not in known]
    return sorted([*readings, *more], key=lambda point: (point.utc_ms, point.import_mwh, point.export_mwh))


def _bounded(usage: Usage) -> list[Registers]:
    """Return the readings within the transaction, with one at its start and one at its end."""
    inside = [reading for reading in usage.readings if usage.start_ms <= reading.utc_ms <= usage.end_ms]
    if not inside:
        return [Registers(usage.start_ms, 0, 0), Registers(usage.end_ms, 0, 0)]
    first, last = inside[0], inside[-1]
    if first.utc_ms > usage.start_ms:
        inside.insert(0, Registers(usage.start_ms, first.import_mwh, first.export_mwh, "interpolated"))
    if last.utc_ms < usage.end_ms or len(inside) == 1:
        inside.append(Registers(usage.end_ms, last.import_mwh, last.export_mwh, "interpolated"))
    return inside


def _split_energy(readings: list[Registers], bounds: set[int]) -> list[Registers]:
    """Put a reading where the energy taken so far reaches each bound (mWh), at that very mWh."""
    if not bounds:
        return readings
    first = readings[0].import_mwh
    split = [readings[0]]
    for before, after in pairwise(readings):
        flow = after.import_mwh - before.import_mwh
        for bound in sorted(first + each for each in bounds):
            if before.import_mwh < bound < after.import_mwh:
                part = bound - before.import_mwh
                at = before.utc_ms + (after.utc_ms - before.utc_ms) * part // flow
                exported = before.export_mwh + (after.export_mwh - before.export_mwh) * part // flow
                split.append(Registers(at, bound, exported, "interpolated"))
        split.append(after)
    return split


def _run_cuts(usage: Usage, charging: set[int], idle: set[int]) -> set[int]:
    """Return when charging altogether, and each pause by itself, has lasted as long as a bound (ms)."""
    cuts = set()
    charged = 0
    runs = [(usage.start_ms, False), *usage.charging, (usage.end_ms, False)]
    for (begin, flows), (end, _) in pairwise(runs):
        if flows:
            cuts |= {begin + bound - charged for bound in charging if charged < bound < charged + end - begin}
            charged += end - begin
        else:
            cuts |= {begin + bound for bound in idle if bound < end - begin}
    return cuts


def _bounds(plans: Sequence[tuple[int, PricePlan]], name: str, scale: int) -> set[int]:
    """Return every bound of one quantity, in its small unit."""
    conditions = [when for _, plan in plans for when in plan.conditions()]
    values = [getattr(when, f"{side}_{name}") for when in conditions for side in ("min", "max")]
    return {value * scale for value in values if value}


def _grow(period: Period, piece: _Piece) -> Period:
    length = piece.end.utc_ms - piece.begin.utc_ms
    energy = piece.end.import_mwh - piece.begin.import_mwh
    powers = (piece.use.power_w, period.min_power_w) if period.charging_ms or period.idle_ms else (piece.use.power_w,)
    return msgspec.structs.replace(
        period,
        energy_mwh=period.energy_mwh + energy,
        export_mwh=period.export_mwh + piece.end.export_mwh - piece.begin.export_mwh,
        charging_ms=period.charging_ms + (length if piece.charging else 0),
        idle_ms=period.idle_ms + (0 if piece.charging else length),
        min_power_w=min(powers),
        max_power_w=max(period.max_power_w, piece.use.power_w),
    )


def _line(plan: PricePlan, kind: ChargeKind, rate: int, quantity: int) -> Line:
    charge = plan.charge(kind)
    assert isinstance(charge, Charge)
    price = charge.rates[rate].price
    excl = amount_of(quantity, price, _UNITS[kind]) * (-1 if kind == "export" else 1)
    return Line(
        plan_id=plan.id,
        kind=kind,
        price=price,
        quantity=quantity,
        excl_tax=excl,
        incl_tax=with_taxes(excl, charge.taxes),
        taxes=charge.taxes,
    )


def _total(plan: PricePlan, lines: tuple[Line, ...], periods: tuple[Period, ...], usage: Usage, *, ended: bool) -> Bill:
    excl, incl = sum(line.excl_tax for line in lines), sum(line.incl_tax for line in lines)
    kind: Literal["NormalCost", "MinCost", "MaxCost"] = "NormalCost"
    least, greatest = plan.least, plan.greatest
    if greatest is not None and (excl > _or(greatest.excl_tax, excl) or incl > _or(greatest.incl_tax, incl)):
        excl, incl = _cap(excl, incl, greatest)  # I12.FR.39
        kind = "MaxCost"
    elif ended and least is not None and (excl < _or(least.excl_tax, excl) or incl < _or(least.incl_tax, incl)):
        excl, incl = max(excl, _or(least.excl_tax, excl)), max(incl, _or(least.incl_tax, incl))  # I12.FR.38
        kind = "MinCost"
    return Bill(
        currency=plan.currency,
        kind=kind,
        lines=lines,
        periods=periods,
        excl_tax=excl,
        incl_tax=incl,
        energy_mwh=sum(period.energy_mwh for period in periods),
        export_mwh=sum(period.export_mwh for period in periods),
        charging_ms=sum(period.charging_ms for period in periods),
        idle_ms=sum(period.idle_ms for period in periods),
        reserved_ms=max(0, usage.start_ms - usage.reserved_ms) if usage.reserved_ms is not None else 0,
    )


def _cap(excl: int, incl: int, greatest: Bound) -> tuple[int, int]:
    """Return both totals as they were, in proportion, when the first of the bounds was reached."""
    if greatest.excl_tax is not None and excl > greatest.excl_tax:
        excl, incl = greatest.excl_tax, amount_of(incl, greatest.excl_tax, excl)
    if greatest.incl_tax is not None and incl > greatest.incl_tax:
        excl, incl = amount_of(excl, greatest.incl_tax, incl), greatest.incl_tax
    return excl, incl


def _or(bound: int | None, otherwise: int) -> int:
    return otherwise if bound is None else bound
