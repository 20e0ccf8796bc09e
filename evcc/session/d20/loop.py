"""The charge loop: the vehicle's next request, and its reaction to the charger's responses."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from evcc.policy import policy
from evcc.policy.policy import NOT_BIDIRECTIONAL, DischargeTerms, Permit
from evcc.session import program, steps
from evcc.session.context import EvseLimits
from evcc.session.d20 import dynamic_planner, stages
from evcc.session.d20 import requests as ask
from evcc.session.d20.offers import entry_w
from evcc.session.d20.payment import SIGNED_ID
from evcc.session.d20.quantities import to_milli, to_whole
from evcc.session.d20.request_context import Agreement, Plan, RequestContext, Schedule
from evcc.session.d20.response_policy import Reaction, reaction
from evcc.session.d20.schedule import other_needs, planned_event
from evcc.session.d20.stop import ask_nothing, notification, still_flowing, still_looping, stop
from evcc.session.paused import PausedChoice
from evcc.session.ports import SetPowerLimits
from evcc.session.program import PowerRequest
from evcc.session.steps import seen
from v2g.iso15118.d20.messages import common_messages as iso
from v2g.iso15118.d20.messages import dc
from v2g.iso15118.d20.messages.common_types import (
    ChargeLoopReq,
    ChargeLoopRes,
    CLResControlMode,
    Dynamic_CLResControlMode,
    EvseNotification,
    EVSEStatus,
    MeterInfo,
    Processing,
)
from v2g.iso15118.d20.messages.schedules import PowerSchedule, PowerScheduleEntry
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.signature import sign
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.observe import Observe

NOT_SIGNED: Final = "no_signed_discharge"
NO_OFFER: Final = "no_offer"
DECLINED: Final = "offer_declined"
LACKS_SUPPORT: Final = "lacks_grid_support"
NOT_SCHEDULED: Final = "not_in_schedule"

_RESPONSES: Final[Mapping[tuple[bool, bool], type]] = {
    (True, True): dc.BPT_Dynamic_DC_CLResControlMode,
    (True, False): dc.BPT_Scheduled_DC_CLResControlMode,
    (False, True): dc.Dynamic_DC_CLResControlMode,
    (False, False): dc.Scheduled_DC_CLResControlMode,
}
"""(bidirectional, dynamic) -> the control mode required in the charger's response (V2G20-1600)."""


def enter_loop(stage: stages.Starting, response: iso.PowerDeliveryRes, context: RequestContext) -> stages.Step:
    """Begin the program, or continue it, with the first request of the loop; standby ends.

    It continues after a pause, with other services, and where the loop was left. A charger that already asks for
    another schedule is followed before power is requested.
    """
    looping, observed = stage.looping, tuple[Observe, ...]()
    if looping is None:
        progress = context.progress or program.begin(context.battery, context.session_ms)
        looping = stages.Looping(stage.plan, progress, since=context.now)
        observed = (seen("power", "started", soc=context.battery.soc, battery_mv=context.battery.voltage_mv),)
    elif looping.standby is stages.Standby.ON:
        looping = replace(looping, standby=stages.Standby.OFF)
    wanted = _wants_schedule(looping, response, context)
    looping = replace(looping, notified=notification(response) or looping.notified)
    step = _another_schedule(looping, context) if wanted else ask_loop(looping, context)
    return replace(step, observed=(*observed, *step.observed))


@stages.on_wake(stages.Looping)
def repeat_loop(stage: stages.Looping, request: ChargeLoopReq, context: RequestContext) -> stages.Step:
    """The pause is over: ask for another schedule where the present one has ended, as nothing is agreed after it."""
    rested = context.now - stage.asked >= steps.SOONEST_S and stage.standby is not stages.Standby.ON
    if not (rested and _is_over(stage.plan, context)):
        return ask_loop(stage, context)
    return _another_schedule(stage, context)


def _another_schedule(stage: stages.Looping, context: RequestContext) -> stages.Step:
    """Return the step that asks for another schedule, without or beside the next request of the loop."""
    asking = replace(stage, asked=context.now)
    beside = context.config.services.renegotiate_beside
    return replace(ask_loop(asking, context), replan=True) if beside else renegotiate(asking, context)


def _wants_schedule(
    stage: stages.Looping, response: ChargeLoopRes | iso.PowerDeliveryRes, context: RequestContext
) -> bool:
    """Return whether to follow ScheduleRenegotiation: once, as a charger withdraws what was followed.

    One that stays may be another, and is followed again after SOONEST_S. `stage` is that before the response.
    """
    if notification(response) is not EvseNotification.ScheduleRenegotiation:
        return False
    followed = stage.notified is EvseNotification.ScheduleRenegotiation
    return not followed or context.now - stage.asked >= steps.SOONEST_S


def ask_loop(stage: stages.Looping, context: RequestContext) -> stages.Step:
    """Advance the program and request its present power, or stop when it is over."""
    permit, pays_later = permitted(stage, context)
    plan = dynamic_planner.renewed(stage.plan, context)
    if plan is not None:
        step = ask_loop(replace(stage, plan=plan), context)
        return replace(step, observed=(planned_event(plan, context), *step.observed))
    awaits_offer = pays_later and context.agreement is Agreement.WAITING
    planned = dynamic_planner.planned(stage.plan, context, awaits_offer=awaits_offer)
    progress = program.advance(
        context.config.program,
        stage.progress,
        context.battery,
        permit,
        session_ms=context.session_ms,
        left_ms=context.left_ms,
        pays_later=pays_later,
        planned=planned,
    )
    if progress.ended:
        return stop(stage, context, stages.Ending(progress.ended))
    if context.battery.fault:
        return stop(stage, context, stages.Ending(context.battery.fault, failed=True))
    resting = context.config.program[progress.index]
    woken = context.woken_at == progress.index
    if resting.pause and resting.do == "wait" and progress == stage.progress and not woken:
        return stop(stage, context, stages.Ending("program_pauses", iso.ChargingSession.Pause))
    if resting.do == "plan" and stage.plan.outlook is None and dynamic_planner.falls_short(stage.plan, context):
        if not context.config.services.renegotiate_beside:
            return renegotiate(replace(stage, progress=progress), context)
        stage = replace(stage, progress=progress)
        return stages.Step(stage=stage, request=ask.charge_loop(stage.plan, context, stage.power_request), replan=True)
    change = _standby(replace(stage, progress=progress), context, wanted=resting.do == "wait" and resting.standby)
    if change is not None:
        return change
    charge_w = min(context.max_charge_w, _scheduled_w(stage.plan, context, discharge=False))
    power_request = program.power_request(
        context.config.program, progress, context.battery, permit, charge_w=charge_w, planned=planned
    )
    observed = _changes(stage, power_request, permit, progress.index, context)
    return stages.Step(
        stage=replace(stage, progress=progress, power_request=power_request),
        request=ask.charge_loop(stage.plan, context, power_request),
        commands=(SetPowerLimits(power_request.charge_w, power_request.discharge_w),)
        if power_request != stage.power_request
        else (),
        discharge_w=power_request.discharge_w,
        observed=observed,
    )


def _standby(stage: stages.Looping, context: RequestContext, *, wanted: bool) -> stages.Step | None:
    """Return the request that enters or leaves standby, None without a change."""
    if wanted and stage.standby is stages.Standby.OFF:
        return leave(stage, iso.ChargeProgress.Standby, context)
    if not wanted and stage.standby is stages.Standby.ON:
        return ask.power_start(stage.plan, context, replace(stage, standby=stages.Standby.OFF))
    return None


@stages.on_response(stages.EnteringStandby)
def on_standby(
    stage: stages.EnteringStandby,
    request: iso.PowerDeliveryReq,
    response: iso.PowerDeliveryRes,
    context: RequestContext,
) -> stages.Step:
    """Stay without energy, or in the loop if the charger does not allow it (WARNING_StandbyNotAllowed)."""
    refused = reaction(response) is not Reaction.GO_ON
    looping = replace(stage.looping, standby=stages.Standby.REFUSED if refused else stages.Standby.ON)
    step = ask_loop(looping, context)
    return replace(step, observed=(seen("power", "standby", refused=refused), *step.observed))


def _changes(
    stage: stages.Looping, power_request: PowerRequest, permit: Permit, step: int, context: RequestContext
) -> tuple[Observe, ...]:
    if (power_request, step) == (stage.power_request, stage.progress.index):
        return ()
    doing = context.config.program[step].do
    return (
        seen(
            "power",
            "wish",
            step=step,
            do=doing,
            charge_w=power_request.charge_w,
            discharge_w=power_request.discharge_w,
            held_back=permit.reason if doing == "discharge" else "",
            soc=context.battery.soc,
        ),
    )


def permitted(stage: stages.Looping, context: RequestContext) -> tuple[Permit, bool]:
    """Return the present permit for discharging, and whether it makes sense to wait for more."""
    choice, config = stage.plan.choice, context.config.discharge
    if not choice.bpt:
        return Permit(0, NOT_BIDIRECTIONAL), False
    if choice.lacking:
        return Permit(0, LACKS_SUPPORT), False
    if choice.signed_set is None:
        if config.require_signed:
            return Permit(0, NOT_SIGNED), False
        permit = _permit(None, context)
        return _within_schedule(stage.plan, permit, context), False
    if context.agreement is not Agreement.AGREED or context.terms is None:
        waiting = context.agreement is Agreement.WAITING and context.now - stage.since < config.offer_wait_s
        return Permit(0, DECLINED if context.agreement is Agreement.DECLINED else NO_OFFER), waiting
    permit = _permit(context.terms, context)
    later = policy.pays_later(config, context.terms, utc_ms=context.utc_ms, departure_ms=context.departure_ms)
    return _within_schedule(stage.plan, permit, context), later


def _permit(terms: DischargeTerms | None, context: RequestContext) -> Permit:
    return policy.permit(
        context.config.discharge,
        terms,
        context.battery,
        utc_ms=context.utc_ms,
        departure_ms=context.departure_ms,
        owner=context.owner,
    )


def _within_schedule(plan: Plan, permit: Permit, context: RequestContext) -> Permit:
    scheduled_w = _scheduled_w(plan, context, discharge=True)
    if permit.power_w <= scheduled_w:
        return permit
    return Permit(scheduled_w) if scheduled_w > 0 else Permit(0, NOT_SCHEDULED)


def _scheduled_w(plan: Plan, context: RequestContext, *, discharge: bool) -> int:
    """Return the present limit of the chosen tuple in that direction; in Dynamic mode the charger's rating.

    The limits in loop responses do not count here: they may follow our latest request, and a vehicle that requested
    nothing because of them would never request more. The charger applies its limits in any case (V2G20-2188).
    """
    most = plan.limits.discharge_w if discharge else plan.limits.charge_w
    if plan.schedule is None:
        return most
    schedule = plan.schedule.discharge if discharge else plan.schedule.charge
    if schedule is None:
        return 0
    lines = context.config.on_board_charger.phases
    passed_ms = _passed_ms(schedule, plan.schedule, context)
    entry = None if discharge and passed_ms < 0 else entry_at(schedule, passed_ms)
    return 0 if entry is None else min(most, entry_w(entry, lines, discharge=discharge))


def _is_over(plan: Plan, context: RequestContext) -> bool:
    held = plan.schedule
    return held is not None and entry_at(held.charge, _passed_ms(held.charge, held, context)) is None


def _passed_ms(powers: PowerSchedule, held: Schedule, context: RequestContext) -> int:
    """Return how long one of both schedules has run. TimeAnchor is UTC; with 0, as chargers in the field send, it
    begins with the agreement."""
    anchor_s = powers.time_anchor
    return context.utc_ms - anchor_s * 1000 if anchor_s else context.session_ms - held.agreed_ms


def entry_at(schedule: PowerSchedule, passed_ms: int) -> PowerScheduleEntry | None:
    """Return a schedule's entry this long after its beginning: earlier the first one, None after its end."""
    for entry in schedule.power_schedule_entries.power_schedule_entry:
        passed_ms -= entry.duration * 1000
        if passed_ms < 0:
            return entry
    return None


@stages.on_response(stages.Looping)
def on_loop(
    stage: stages.Looping, request: dc.DC_ChargeLoopReq, response: dc.DC_ChargeLoopRes, context: RequestContext
) -> stages.Step:
    """Report flow and meter, and follow the charger's notification."""
    choice = stage.plan.choice
    mode = response.cl_res_control_mode
    if type(mode) is not _RESPONSES[choice.bpt, choice.dynamic]:
        return stages.fail(stage, "wrong_control_mode", received=type(mode).__name__)
    limits = limits_of(stage.plan, mode)
    stage = replace(stage, plan=dynamic_planner.learned(stage.plan, stage.power_request.charge_w, limits.charge_w))
    voltage_mv, current_ma = to_milli(response.evse_present_voltage), to_milli(response.evse_present_current)
    meter = response.meter_info or stage.meter
    flow = seen(
        "loop",
        "flow",
        voltage_mv=voltage_mv,
        current_ma=current_ma,
        power_w=round(voltage_mv * current_ma / 1_000_000),
        soc=context.battery.soc,
        evse_charge_w=limits.charge_w,
        evse_discharge_w=limits.discharge_w,
        charged_wh=meter.charged_energy_reading_wh if meter else None,
        discharged_wh=meter.bpt_discharged_energy_reading_wh if meter else None,
    )
    step = following(replace(stage, meter=meter), response, context)
    return replace(step, observed=(flow, *step.observed))


def following(stage: stages.Looping, response: ChargeLoopRes, context: RequestContext) -> stages.Step:
    """Follow the notification in EVSEStatus; otherwise pause until the next request. Take over the charger's goals."""
    before, stage = stage, replace(stage, notified=notification(response))
    goals = getattr(response, "cl_res_control_mode", None)
    needs = other_needs(goals, stage.plan.choice, context) if isinstance(goals, Dynamic_CLResControlMode) else None
    pause = stages.Step(stage=stage, wait=context.config.timing.loop_pause_s, needs=needs)
    if response.evse_status is None:
        return pause
    ending = wanted_end(response.evse_status, stage.plan.choice, context)
    if ending is not None:
        return stop(stage, context, ending)
    match stage.notified:
        case EvseNotification.ScheduleRenegotiation if _wants_schedule(before, response, context):
            return _another_schedule(stage, context)
        case EvseNotification.MeteringConfirmation if PayloadType.METERING_CONFIRMATION in context.beside:
            return pause
        case EvseNotification.MeteringConfirmation if stage.meter is not None and context.contract is not None:
            return _confirm(stage, stage.meter, response, context)
        case EvseNotification.MeteringConfirmation:
            return replace(pause, observed=(seen("metering", "not_confirmed", metered=stage.meter is not None),))
        case EvseNotification.ExitStandby if stage.standby is stages.Standby.ON:
            # the program continues to wait, but in the loop
            return ask.power_start(stage.plan, context, replace(stage, standby=stages.Standby.REFUSED))
    return pause


def wanted_end(status: EVSEStatus, choice: PausedChoice, context: RequestContext) -> stages.Ending | None:
    """Return the end of session requested by the charger, None for other notifications.

    Services are selected again once in SOONEST_S: each time the contactors open, and a notification may stay.
    """
    match status.evse_notification:
        case EvseNotification.Terminate:
            return stages.TERMINATED_BY_EVSE
        case EvseNotification.Pause:
            return stages.PAUSED_BY_EVSE
        case EvseNotification.ServiceRenegotiation if context.now - context.reselected >= steps.SOONEST_S:  # V2G20-1477
            mode = iso.ChargingSession.ServiceRenegotiation if choice.renegotiable else iso.ChargingSession.Terminate
            return stages.Ending("evse_asked_for_other_service", mode)
    return None


def limits_of(plan: Plan, mode: CLResControlMode) -> EvseLimits:
    """Return the charger's latest limits; those that a response omits stay."""
    limits = plan.limits
    if not isinstance(mode, dc.Dynamic_DC_CLResControlMode | dc.Scheduled_DC_CLResControlMode):
        return limits
    if mode.evse_maximum_charge_power is not None:
        limits = replace(limits, charge_w=max(0, to_whole(mode.evse_maximum_charge_power)))
    if mode.evse_maximum_charge_current is not None:
        limits = replace(limits, charge_ma=max(0, to_milli(mode.evse_maximum_charge_current)))
    if isinstance(mode, dc.BPT_Dynamic_DC_CLResControlMode | dc.BPT_Scheduled_DC_CLResControlMode):
        if mode.evse_maximum_discharge_power is not None:
            limits = replace(limits, discharge_w=abs(to_whole(mode.evse_maximum_discharge_power)))
        if mode.evse_maximum_discharge_current is not None:
            limits = replace(limits, discharge_ma=abs(to_milli(mode.evse_maximum_discharge_current)))
    return limits


def _confirm(stage: stages.Looping, meter: MeterInfo, response: ChargeLoopRes, context: RequestContext) -> stages.Step:
    """Confirm the readings with a signature of the contract key (V2G20-1083)."""
    assert context.contract is not None
    schedule = stage.plan.schedule
    data = iso.SignedMeteringData(
        id=SIGNED_ID,
        session_id=context.session_id,
        meter_info=meter,
        receipt=response.receipt,
        dynamic_smdt_control_mode=iso.Dynamic_SMDTControlMode() if schedule is None else None,
        scheduled_smdt_control_mode=iso.Scheduled_SMDTControlMode(selected_schedule_tuple_id=schedule.tuple_id)
        if schedule is not None
        else None,
    )
    request = iso.MeteringConfirmationReq(
        header=context.header(sign(data, context.contract.key, schema=COMMON_MESSAGES)), signed_metering_data=data
    )
    if not context.config.services.confirm_beside:
        return stages.Step(stage=stages.Confirming(stage), request=request)
    beside = ((PayloadType.METERING_CONFIRMATION, request),)
    return stages.Step(stage=stage, wait=context.config.timing.loop_pause_s, beside=beside)


@stages.on_response(stages.Confirming)
def on_confirmed(
    stage: stages.Confirming,
    request: iso.MeteringConfirmationReq,
    response: iso.MeteringConfirmationRes,
    context: RequestContext,
) -> stages.Step:
    """Return to the pause of the loop: a charger may ask in each of its responses."""
    meter = request.signed_metering_data.meter_info
    confirmed = seen(
        "metering",
        "confirmed",
        charged_wh=meter.charged_energy_reading_wh,
        discharged_wh=meter.bpt_discharged_energy_reading_wh,
    )
    return stages.Step(stage=stage.looping, wait=context.config.timing.loop_pause_s, observed=(confirmed,))


def renegotiate(stage: stages.Looping, context: RequestContext) -> stages.Step:
    """Plan again on the main stream, with no power requested meanwhile."""
    step = leave(stage, iso.ChargeProgress.ScheduleRenegotiation, context)
    return replace(step, observed=(seen("schedule", "renegotiating"),))


def leave(stage: stages.Looping, progress: iso.ChargeProgress, context: RequestContext) -> stages.Step:
    """Leave the loop for standby or a renegotiation; before that ask for 0, as at its end."""
    return ask_nothing(stages.Lowering(stage, steps.until(context), progress), context)


@stages.on_response(stages.Lowering)
def on_lowering(
    stage: stages.Lowering, request: ChargeLoopReq, response: ChargeLoopRes, context: RequestContext
) -> stages.Step:
    """Leave the loop once no current flows, unless the charger wants to end the session."""
    stage = still_looping(stage, response)
    looping = stage.looping
    status = response.evse_status
    ending = wanted_end(status, looping.plan.choice, context) if status is not None else None
    if ending is not None:
        return stop(stage, context, ending)
    waits = still_flowing(stage, response, context)
    if waits is not None:
        return waits
    standby = stage.progress is iso.ChargeProgress.Standby
    return stages.Step(
        stage=stages.EnteringStandby(looping) if standby else stages.Renegotiating(looping),
        request=iso.PowerDeliveryReq(
            header=context.header(), ev_processing=Processing.Finished, charge_progress=stage.progress
        ),
    )


@stages.on_response(stages.Renegotiating)
def on_renegotiating(
    stage: stages.Renegotiating, request: iso.PowerDeliveryReq, response: iso.PowerDeliveryRes, context: RequestContext
) -> stages.Step:
    """Exchange schedules again, unless the charger rejects this."""
    if reaction(response) is not Reaction.GO_ON:
        return ask_loop(stage.looping, context)
    plan = stage.looping.plan
    return stages.Step(stage=stages.Scheduling(plan, looping=stage.looping), request=ask.schedule(plan.choice, context))
