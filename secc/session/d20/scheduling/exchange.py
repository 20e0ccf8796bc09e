"""ScheduleExchange: needs in, also for the back end; schedules and prices out, signed if a key is configured."""

from typing import cast

from msgspec.structs import replace

from secc.session.config import ControlMode, offered
from secc.session.d20.quantities import scaled, to_w
from secc.session.d20.scheduling.pricing import WantedPrices, horizon, price_schedule
from secc.session.d20.scheduling.schedules import ScheduleRequest, entry_powers, offered_tuples, schedule_tuple
from secc.session.d20.stages import RequestContext, Step, refuse
from secc.session.needs import back_end_plans
from secc.session.ports import ReportChargingNeeds, ReportChargingPlan
from secc.session.power import used_lines
from secc.session.request_context import Wait
from secc.session.stages import Awaiting, Charging, Parametrised, Plan, Planned, Vehicle
from v2g.energy.needs import AskedPrice, AskedPrices, EnergyOffer, EvNeeds, OfferedPower, Service
from v2g.iso15118.d20.messages import common_types
from v2g.iso15118.d20.messages import schedules as iso
from v2g.iso15118.d20.messages.common_messages import (
    ChargeProgress,
    PowerDeliveryReq,
    ScheduleExchangeReq,
    ScheduleExchangeRes,
)
from v2g.iso15118.d20.prices import Algorithm
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine import signature
from v2g.observe import Observe
from v2g.units import LAST_MS

# -- The vehicle's price offer for discharged energy: read and checked here, answered by the back end


def impossible(offer: EnergyOffer, vehicle: Vehicle, *, bidirectional: bool) -> str:
    """Return the error in an offer, or empty."""
    if not bidirectional:
        return "energy is offered by a service without discharge"
    if max(offer.power_from_s, offer.price_from_s) * 1000 > LAST_MS:
        return "the offer begins after the year 9999"
    if any(each.duration_s < 1 for each in offer.powers) or any(each.duration_s < 1 for each in offer.prices):
        return "an interval of the offer has no duration"
    if any(each.power_w > vehicle.max_discharge_w for each in offer.powers):
        return "more power is offered than the vehicle can discharge"
    if offer.algorithm not in {each.uri for each in Algorithm}:
        return f"price algorithm {offer.algorithm!r} is not known"
    for stack in offer.prices:
        starts = [rule.from_w for rule in stack.rules]
        if starts != sorted(set(starts)):
            return "power ranges of the offer must rise"
    if not (len(offer.currency) == 3 and offer.currency.isascii() and offer.currency.isupper()):
        return f"{offer.currency!r} is not a currency"
    return ""


RequestMode = iso.Dynamic_SEReqControlMode | iso.Scheduled_SEReqControlMode
ResponseMode = iso.Dynamic_SEResControlMode | iso.Scheduled_SEResControlMode


def schedule_exchange(
    request: ScheduleExchangeReq, stage: Parametrised | Awaiting | Charging, context: RequestContext
) -> Step | Wait:
    """Plan by the present state, or, before energy flows, ask the vehicle for a little time.

    A back end that is planning gets its time. Limits and prices that change later are applied in the loop.
    """
    parametrised = stage.parametrised if isinstance(stage, Charging) else stage
    parametrised = parametrised.parametrised if isinstance(parametrised, Awaiting) else parametrised
    mode = _checked(request, parametrised)
    needs = ReportChargingNeeds(_needs(request, mode, parametrised, context))
    if (
        isinstance(stage, Parametrised)
        and context.connection.can_plan
        and context.config.schedules.patience_s
        and not context.waited
    ):
        return Wait(Awaiting(parametrised, since=context.now), context.config.poll_hold_s, (needs,))
    if isinstance(stage, Awaiting):
        pending = back_end_plans(stage, context)
        if isinstance(pending, Wait):
            return pending
        return _ongoing(request, stage, context) if pending else plan(request, parametrised, context)
    step = plan(request, parametrised, context)
    planned = step.stage
    renewed = replace(stage, planned=planned) if isinstance(stage, Charging) else planned
    return replace(step, stage=renewed, commands=(needs, *step.commands))


def report(request: ScheduleExchangeReq, parametrised: Parametrised, context: RequestContext) -> ReportChargingNeeds:
    """Return the report of a request for the back end."""
    return ReportChargingNeeds(_needs(request, _checked(request, parametrised), parametrised, context))


def plan(request: ScheduleExchangeReq, parametrised: Parametrised, context: RequestContext) -> Step:
    """Return the answer with a plan by the present state."""
    mode = _checked(request, parametrised)
    dynamic = parametrised.selected.control_mode is ControlMode.DYNAMIC
    departure_ms = _departure_ms(mode, parametrised, context)
    left_s = None if departure_ms is None else max(0, departure_ms - context.utc_ms) // 1000
    settled: Plan
    answer: ResponseMode
    if dynamic:
        answer = _dynamic(request, parametrised, context, left_s)
        settled = Plan(departure_ms=departure_ms, prices=answer.absolute_price_schedule)
    else:
        target = mode.ev_target_energy_request
        wanted = ScheduleRequest(
            parametrised=parametrised,
            horizon_s=horizon(left_s),
            points=request.maximum_supporting_points,
            target_wh=None if target is None or left_s is None else to_w(target),
        )
        settled = Plan(tuples=offered_tuples(wanted, context), departure_ms=departure_ms)
        answer = _scheduled(settled, parametrised, context)
    paused = context.notice is not None and context.notice.notification == "Pause"
    response = replace(_response(common_types.ResponseCode.OK, answer, context), go_to_pause=True if paused else None)
    if parametrised.selected.needs_by_secc and parametrised.departure_ms is None:
        parametrised = replace(parametrised, departure_ms=departure_ms)
    planned = Planned(parametrised=parametrised, plan=settled)
    _, why = _offer(mode, parametrised)
    refused = (Observe("schedule", "offer_refused", {"reason": why}),) if why else ()
    return Step(response, planned, (_planned_event(settled, parametrised, context), *refused))


def unchanged(planned: Planned, context: RequestContext) -> ScheduleExchangeRes:
    """Return the answer to a vehicle whose schedule cannot be renewed: the present one, in the selected control
    mode (V2G20-1600)."""
    dynamic = planned.selected.control_mode is ControlMode.DYNAMIC
    answer: ResponseMode = (
        iso.Dynamic_SEResControlMode(absolute_price_schedule=planned.plan.prices)
        if dynamic
        else _scheduled(planned.plan, planned.parametrised, context)
    )
    return _response(common_types.ResponseCode.WARNING_ScheduleRenegotiationFailed, answer, context)


def _scheduled(settled: Plan, parametrised: Parametrised, context: RequestContext) -> iso.Scheduled_SEResControlMode:
    phases = used_lines(parametrised.vehicle, context)
    return iso.Scheduled_SEResControlMode(
        schedule_tuple=tuple(schedule_tuple(each, context, phases=phases) for each in settled.tuples)
    )


def _response(code: common_types.ResponseCode, answer: ResponseMode, context: RequestContext) -> ScheduleExchangeRes:
    return ScheduleExchangeRes(
        header=_header(answer, context),
        response_code=code,
        evse_processing=common_types.Processing.Finished,
        dynamic_se_res_control_mode=answer if isinstance(answer, iso.Dynamic_SEResControlMode) else None,
        scheduled_se_res_control_mode=answer if isinstance(answer, iso.Scheduled_SEResControlMode) else None,
    )


def _planned_event(settled: Plan, parametrised: Parametrised, context: RequestContext) -> Observe:
    able = parametrised.able
    best = settled.tuples[0] if settled.tuples else None
    return Observe(
        "schedule",
        "planned",
        {
            "control_mode": parametrised.selected.control_mode.name.capitalize(),
            "charge_w": best.charge_w(context.utc_ms)
            if best
            else max(0, min(able.max_charge_w, context.station.charge_w)),
            "discharge_w": best.discharge_w(context.utc_ms) if best else plannable_discharge(parametrised, context),
            "tuples": len(settled.tuples),
            "signed": context.connection.trust.price_key is not None,
            "tariff_version": context.facts.tariff.version if context.facts.tariff else None,
            "departure_ms": settled.departure_ms,
        },
    )


def plannable_discharge(parametrised: Parametrised, context: RequestContext) -> int:
    """Return the possible present discharge (W): all limits, without requiring a signed command yet."""
    selected = parametrised.selected
    if not selected.bidirectional or (context.config.signed_discharge.required and not selected.signed_discharge):
        return 0
    return max(0, min(parametrised.able.max_discharge_w, context.station.discharge_w))


def _dynamic(
    request: ScheduleExchangeReq, parametrised: Parametrised, context: RequestContext, left_s: int | None
) -> iso.Dynamic_SEResControlMode:
    """Return prices, and the needs if the charger sets them."""
    wanted = WantedPrices(
        schedule_id=1,
        pricing=parametrised.selected.pricing,
        horizon_s=horizon(left_s),
        points=request.maximum_supporting_points,
    )
    prices = price_schedule(context, wanted)
    needs = context.config.needs if parametrised.selected.needs_by_secc else None
    return iso.Dynamic_SEResControlMode(
        departure_time=left_s if needs is not None and needs.departure_after_s is not None else None,
        minimum_soc=needs.minimum_soc if needs is not None else None,
        target_soc=needs.target_soc if needs is not None else None,
        absolute_price_schedule=prices if isinstance(prices, iso.AbsolutePriceSchedule) else None,
        price_level_schedule=prices if isinstance(prices, iso.PriceLevelSchedule) else None,
    )


def _departure_ms(mode: RequestMode, parametrised: Parametrised, context: RequestContext) -> int | None:
    """Return the departure: the vehicle's, or the charger's if it sets the needs (V2G20-2663)."""
    needs = context.config.needs
    if parametrised.selected.needs_by_secc and needs.departure_after_s is not None:
        if (said_ms := parametrised.departure_ms) is not None:
            return said_ms if said_ms > context.utc_ms else None
        return context.utc_ms + needs.departure_after_s * 1000
    return context.utc_ms + mode.departure_time * 1000 if mode.departure_time is not None else None


def _header(answer: ResponseMode, context: RequestContext) -> common_types.MessageHeader:
    """Return the header, with one signature of all price schedules if a key is configured."""
    key = context.connection.trust.price_key
    if isinstance(answer, iso.Scheduled_SEResControlMode):
        schedules = [
            each
            for offered in answer.schedule_tuple
            for schedule in (offered.charging_schedule, offered.discharging_schedule)
            if schedule is not None
            for each in (schedule.absolute_price_schedule, schedule.price_level_schedule)
        ]
    else:
        schedules = [answer.absolute_price_schedule, answer.price_level_schedule]
    signed = [each for each in schedules if each is not None]
    if key is None or not signed:
        return context.header
    return replace(context.header, signature=signature.sign(signed, key, schema=COMMON_MESSAGES))


def _ongoing(request: ScheduleExchangeReq, stage: Awaiting, context: RequestContext) -> Step:
    """Ask for more time; the schema requires a plan anyway, so it is a provisional one."""
    step = plan(request, stage.parametrised, context)
    return Step(replace(step.response, evse_processing=common_types.Processing.Ongoing), stage)


def _checked(request: ScheduleExchangeReq, parametrised: Parametrised) -> RequestMode:
    """Return the needs, which must match the selected control mode and be consistent."""
    mode: RequestMode | None = request.dynamic_se_req_control_mode or request.scheduled_se_req_control_mode
    dynamic = parametrised.selected.control_mode is ControlMode.DYNAMIC
    if mode is None or isinstance(mode, iso.Dynamic_SEReqControlMode) != dynamic:  # V2G20-1600
        raise refuse(common_types.ResponseCode.FAILED, "the needs are not stated in the selected control mode")
    if why := _contradiction(mode):
        raise refuse(common_types.ResponseCode.FAILED, why)
    return mode


def _offer(mode: RequestMode, parametrised: Parametrised) -> tuple[EnergyOffer | None, str]:
    """Return the vehicle's discharge offer, or the reason why it is invalid.

    An invalid offer is dropped without ending the session: some vehicles send one with any service.
    """
    if not isinstance(mode, iso.Scheduled_SEReqControlMode) or mode.ev_energy_offer is None:
        return None, ""
    # an offer as numbers; sources disagree on the sign of discharge power, so its magnitude counts
    power, price = mode.ev_energy_offer.ev_power_schedule, mode.ev_energy_offer.ev_absolute_price_schedule
    offer = EnergyOffer(
        power_from_s=power.time_anchor,
        powers=tuple(
            OfferedPower(each.duration, abs(to_w(each.power)))
            for each in power.ev_power_schedule_entries.ev_power_schedule_entry
        ),
        price_from_s=price.time_anchor,
        currency=price.currency,
        algorithm=price.price_algorithm,
        prices=tuple(
            AskedPrices(
                stack.duration,
                tuple(AskedPrice(abs(to_w(r.power_range_start)), scaled(r.energy_fee, 6)) for r in stack.ev_price_rule),
            )
            for stack in price.ev_price_rule_stacks.ev_price_rule_stack
        ),
    )
    why = impossible(offer, parametrised.able, bidirectional=parametrised.selected.bidirectional)
    return (None, why) if why else (offer, "")


def _contradiction(mode: RequestMode) -> str:
    """Return the inconsistency of the needs (V2G20-2681), or empty."""
    energies = [
        to_w(each)
        for each in (mode.ev_minimum_energy_request, mode.ev_target_energy_request, mode.ev_maximum_energy_request)
        if each is not None
    ]
    if energies != sorted(energies):
        return "minimum, target and maximum energy are not in this order"
    if isinstance(mode, iso.Dynamic_SEReqControlMode):
        if (mode.minimum_soc is None) != (mode.target_soc is None):
            return "MinimumSOC and TargetSOC must be given together or not at all"
        if mode.minimum_soc is not None and mode.target_soc is not None and mode.minimum_soc > mode.target_soc:
            return "MinimumSOC is above TargetSOC"
    return ""


def _needs(
    request: ScheduleExchangeReq, mode: RequestMode, parametrised: Parametrised, context: RequestContext
) -> EvNeeds:
    selected, vehicle = parametrised.selected, parametrised.able
    offer, _ = _offer(mode, parametrised)
    current_ma = vehicle.max_charge_ma
    if vehicle.phases:  # of its power at the nominal voltage
        current_ma = max(vehicle.line_charge_w, default=vehicle.max_charge_w) * 1_000_000 // vehicle.max_voltage_mv
    return EvNeeds(
        service=cast(Service, selected.service.name),
        control_mode="dynamic" if selected.control_mode is ControlMode.DYNAMIC else "scheduled",
        departure_ms=_departure_ms(mode, parametrised, context),
        max_charge_w=vehicle.max_charge_w,
        max_discharge_w=vehicle.max_discharge_w,
        line_charge_w=vehicle.line_charge_w,
        line_discharge_w=vehicle.line_discharge_w,
        min_charge_w=vehicle.min_charge_w,
        min_discharge_w=vehicle.min_discharge_w,
        max_current_ma=current_ma,
        max_voltage_mv=vehicle.max_voltage_mv,
        soc=parametrised.vehicle.soc,
        target_soc=mode.target_soc if isinstance(mode, iso.Dynamic_SEReqControlMode) else None,
        target_energy_wh=_energy(mode.ev_target_energy_request),
        max_energy_wh=_energy(mode.ev_maximum_energy_request),
        min_energy_wh=_energy(mode.ev_minimum_energy_request),
        needs_by_secc=selected.needs_by_secc,
        offer=offer,
        available=tuple(
            cast(Service, each.name) for each in offered(context.config.offers(context.family), context.facts.allowed)
        ),
        max_points=request.maximum_supporting_points,
        der=vehicle.der,
    )


def renewed(mode: common_types.Dynamic_CLReqControlMode, before: EvNeeds, utc_ms: int) -> EvNeeds | None:
    """Return a dynamic vehicle's needs in the loop, if the back end does not know them (K20.FR.01)."""
    departure_ms = before.departure_ms
    if mode.departure_time is not None and not before.needs_by_secc:
        departure_ms = utc_ms + mode.departure_time * 1000
    now = replace(
        before,
        departure_ms=departure_ms,
        target_energy_wh=_energy(mode.ev_target_energy_request),
        max_energy_wh=_energy(mode.ev_maximum_energy_request),
        min_energy_wh=_energy(mode.ev_minimum_energy_request),
        min_v2x_energy_wh=_energy(getattr(mode, "ev_minimum_v2x_energy_request", None)),
    )
    return None if now.go_on_from(before) else now


def planned_power(request: PowerDeliveryReq) -> ReportChargingPlan | None:
    """Return the plan of a vehicle that begins or continues, as stated in its profile."""
    profile = request.ev_power_profile
    if profile is None or request.charge_progress is not ChargeProgress.Start:
        return None
    steps, begin = [], 0
    for entry in profile.ev_power_profile_entries.ev_power_profile_entry:
        steps.append((begin, sum(entry_powers(entry))))
        begin += entry.duration
    return ReportChargingPlan(tuple(steps), begin, dynamic=profile.scheduled_evppt_control_mode is None)


def _energy(number: common_types.RationalNumber | None) -> int | None:
    return None if number is None else to_w(number)
