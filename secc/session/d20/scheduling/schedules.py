"""Schedule tuples: power over time by the limits known in advance, in the operator's variants."""

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

from secc.session.config import ControlMode
from secc.session.d20.quantities import to_w
from secc.session.d20.scheduling.pricing import WantedPrices, price_schedule
from secc.session.d20.stages import RequestContext, refuse
from secc.session.power import used_lines
from secc.session.stages import Parametrised, Planned
from secc.session.terms import OfferedTuple, PowerSpan, ScheduleOffer, Spans, allowed_over, merged, power_at
from v2g.energy.limits import VEHICLE
from v2g.errors import Iso15118Error
from v2g.iso15118.d20.messages import schedules as iso
from v2g.iso15118.d20.messages.common_messages import PowerDeliveryReq
from v2g.iso15118.d20.messages.common_types import ResponseCode
from v2g.iso15118.d20.quantities import each_phase, whole
from v2g.units import MICRO

W_MS_PER_WH = 3_600_000


def choose_tuple(request: PowerDeliveryReq, planned: Planned, context: RequestContext) -> OfferedTuple | None:
    """Return the scheduled tuple that the vehicle chose, None in dynamic mode.

    Rejects a profile that is missing, of the other control mode, of an unknown tuple or not within its powers.
    """
    profile = request.ev_power_profile
    dynamic = planned.selected.control_mode is ControlMode.DYNAMIC
    if profile is None:
        if dynamic:
            return None
        raise _invalid("a scheduled vehicle must send a profile")
    scheduled = profile.scheduled_evppt_control_mode
    if (scheduled is None) != dynamic:
        raise _invalid("the profile is for another control mode")
    if any(entry.duration < 1 for entry in profile.ev_power_profile_entries.ev_power_profile_entry):
        raise _invalid("an entry of the profile has no duration")
    if scheduled is None:
        return None
    tuple_id = scheduled.selected_schedule_tuple_id
    chosen = next((each for each in planned.plan.tuples if each.tuple_id == tuple_id), None)
    if chosen is None:
        raise refuse(ResponseCode.FAILED_ScheduleSelectionInvalid, f"schedule tuple {tuple_id} was not offered")
    check_profile(profile, chosen, used_lines(planned.parametrised.vehicle, context), context.utc_ms)
    return chosen


def check_profile(profile: iso.EVPowerProfile, chosen: OfferedTuple, phases: int, utc_ms: int) -> None:
    """Reject entries outside of the tuple at any time. A TimeAnchor of 0, which some vehicles send, means now."""
    start_ms = profile.time_anchor * 1000 or utc_ms
    energy = 0
    for entry in profile.ev_power_profile_entries.ev_power_profile_entry:
        powers = entry_powers(entry)
        if len(powers) > 1 and len({power > 0 for power in powers if power}) > 1:
            raise _invalid("phases have different directions")
        total, end_ms = sum(powers), start_ms + entry.duration * 1000
        energy += max(0, total) * (end_ms - start_ms)
        for span, sign in _during(chosen, start_ms, end_ms, total):
            if sign * total > span.power_w:
                raise _invalid(f"{total} W is not in the schedule, which has {sign * span.power_w} W then")
            if len(powers) > 1 and max(map(abs, powers)) * phases > span.power_w:
                raise _invalid(f"{max(powers, key=abs)} W is more than the share of one phase")
        start_ms = end_ms
    if chosen.available_wh is not None and energy > chosen.available_wh * W_MS_PER_WH:
        raise _invalid(f"{energy // W_MS_PER_WH} Wh exceed the available energy")


def _during(chosen: OfferedTuple, start_ms: int, end_ms: int, power_w: int) -> Iterator[tuple[PowerSpan, int]]:
    """Yield the offered spans of the power's direction in `[start_ms, end_ms)`, and the direction's sign."""
    spans, sign = (chosen.charge, 1) if power_w >= 0 else (chosen.discharge, -1)
    if not spans:
        yield PowerSpan(start_ms, end_ms, 0), sign
        return
    last = len(spans) - 1
    for index, span in enumerate(spans):
        # the first span applies before the schedule, the last one after it, as in the loop
        begins = span.start_ms < end_ms or index == 0
        ends = span.end_ms > start_ms or index == last
        if begins and ends:
            yield span, sign


def _invalid(why: str) -> Iso15118Error:
    return refuse(ResponseCode.FAILED_EVPowerProfileInvalid, why)


MOST_POINTS: Final = 1024
"""Maximum number of entries of a schedule."""


class ScheduleRequest(msgspec.Struct, frozen=True):
    """Parameters of schedules. `target_wh` is the energy that the vehicle needs by its departure, if both are known."""

    parametrised: Parametrised
    horizon_s: int
    points: int
    target_wh: int | None = None


def offered_tuples(request: ScheduleRequest, context: RequestContext) -> tuple[OfferedTuple, ...]:
    """Return the tuples to choose from, without duplicates of equal price.

    One is always offered: where all are for the cheapest time, and that is not known, the first one for all times.
    """

    def distinct(*offers: ScheduleOffer) -> dict[tuple[Spans, Spans, Decimal], None]:
        powers = ((each, _powers(each, request, context)) for each in offers)
        return dict.fromkeys((*found, each.surcharge) for each, found in powers if found is not None)

    offers = context.config.schedules.offers
    priced = distinct(*offers) or distinct(msgspec.structs.replace(offers[0], cheapest=False))
    tuples: list[OfferedTuple] = []
    for tuple_id, (charge, discharge, surcharge) in enumerate(priced, 1):
        wanted = WantedPrices(
            schedule_id=2 * tuple_id - 1,  # unique in a message
            pricing=request.parametrised.selected.pricing,
            horizon_s=request.horizon_s,
            points=request.points,
            surcharge_micro=int(surcharge * MICRO),
        )
        back = msgspec.structs.replace(wanted, schedule_id=2 * tuple_id, export=True)
        tuples.append(
            OfferedTuple(
                tuple_id=tuple_id,
                charge=charge,
                discharge=discharge,
                charge_prices=price_schedule(context, wanted),
                discharge_prices=price_schedule(context, back) if discharge else None,
                available_wh=context.config.schedules.available_energy_wh,
            )
        )
    return tuple(tuples)


def schedule_tuple(offered: OfferedTuple, context: RequestContext, *, phases: int) -> iso.ScheduleTuple:
    """Return a tuple for the wire; powers of discharge are negative (V2G20-1034)."""
    return iso.ScheduleTuple(
        schedule_tuple_id=offered.tuple_id,
        charging_schedule=_wire(offered.charge, offered.charge_prices, context, phases, 1, offered.available_wh),
        discharging_schedule=_wire(offered.discharge, offered.discharge_prices, context, phases, -1)
        if offered.discharge
        else None,
    )


def _powers(offer: ScheduleOffer, request: ScheduleRequest, context: RequestContext) -> tuple[Spans, Spans] | None:
    """Return power over time in both directions; None if the offer is impossible."""
    # the limits of vehicle, charger, site and operator until the horizon, as far as known. The vehicle's latest limits
    # are not used: in the loop it lowers them to its present needs.
    able = request.parametrised.able
    charge, discharge = allowed_over(
        [each for each in context.limits if each.source != VEHICLE],
        context.utc_ms,
        request.horizon_s,
        charge_w=able.max_charge_w,
        discharge_w=able.max_discharge_w if _may_give(request.parametrised, context) else 0,
        lines=used_lines(able, context),
        volts=context.config.ac_rating.nominal_voltage_v,
    )
    share = [PowerSpan(each.start_ms, each.end_ms, each.power_w * offer.power_percent // 100) for each in charge]
    if offer.cheapest:
        chosen = _cheapest(share, request, context)
        if chosen is None:
            return None
        share = chosen
    points = min(request.points, MOST_POINTS)
    back = offer.discharge and any(each.power_w for each in discharge)
    return merged(share, at_most=points), merged(discharge, at_most=points) if back else ()


def _may_give(parametrised: Parametrised, context: RequestContext) -> bool:
    """Return whether a schedule may include discharge, without requiring a signed command yet."""
    selected = parametrised.selected
    return selected.bidirectional and (selected.signed_discharge or not context.config.signed_discharge.required)


def _cheapest(share: list[PowerSpan], request: ScheduleRequest, context: RequestContext) -> list[PowerSpan] | None:
    """Return the power of the cheapest slots that suffice for the target energy, 0 in all others."""
    if (
        request.target_wh is None
        or request.target_wh <= 0
        or context.facts.tariff is None
        or not context.config.offer_prices
    ):
        return None
    begin, end = share[0].start_ms, share[-1].end_ms
    slots = context.facts.tariff.window(begin, end)
    if not slots or slots[-1].end_ms < end:
        return None  # unknown prices could be lower
    cuts = sorted(
        {begin, end, *(edge for slot in slots for edge in (slot.start_ms, slot.end_ms) if begin < edge < end)}
    )
    cuts = sorted({*cuts, *(each.start_ms for each in share)})
    pieces, spans = [], tuple(share)
    for start, until in itertools.pairwise(cuts):
        power = power_at(spans, start)
        pieces.append((context.facts.tariff.price_at(start).import_price, PowerSpan(start, until, power)))
    missing, chosen = request.target_wh * 3_600_000, set()
    for _, span in sorted(pieces, key=lambda piece: (piece[0], piece[1].start_ms)):
        if missing <= 0:
            break
        chosen.add(span.start_ms)
        missing -= span.power_w * (span.end_ms - span.start_ms)
    if len(chosen) == len(pieces):
        return None  # all of the time is required
    return [PowerSpan(each.start_ms, each.end_ms, each.power_w if each.start_ms in chosen else 0) for _, each in pieces]


def _wire(
    spans: Spans,
    prices: iso.AbsolutePriceSchedule | iso.PriceLevelSchedule | None,
    context: RequestContext,
    phases: int,
    sign: int,
    available_wh: int | None = None,
) -> iso.ChargingSchedule:
    tolerance_w = context.config.profile.power_tolerance_w
    entries = tuple(
        iso.PowerScheduleEntry(
            duration=(each.end_ms - each.start_ms) // 1000, **each_phase("power", sign * each.power_w, phases)
        )
        for each in spans
    )
    return iso.ChargingSchedule(
        power_schedule=iso.PowerSchedule(
            time_anchor=spans[0].start_ms // 1000,
            available_energy=None if available_wh is None else whole(available_wh),
            power_tolerance=None if tolerance_w is None else whole(tolerance_w),
            power_schedule_entries=iso.PowerScheduleEntryList(power_schedule_entry=entries),
        ),
        absolute_price_schedule=prices if isinstance(prices, iso.AbsolutePriceSchedule) else None,
        price_level_schedule=prices if isinstance(prices, iso.PriceLevelSchedule) else None,
    )


def entry_powers(entry: iso.PowerScheduleEntry) -> tuple[int, ...]:
    """Return the W of an entry: of all phases together, or of each phase."""
    further = [to_w(each) for each in (entry.power_l2, entry.power_l3) if each is not None]
    return to_w(entry.power), *further
