"""From the cable check to power, and back to an open contactor: the messages of `secc.session.delivery`."""

from functools import partial

from msgspec.structs import replace

from secc.session import delivery, stages
from secc.session.config import EvseRating
from secc.session.d20.loop import account
from secc.session.d20.quantities import to_milli
from secc.session.d20.scheduling.schedules import choose_tuple
from secc.session.d20.stages import HANDLERS, RequestContext, Step, authorized_of, refuse
from secc.session.delivery import READY
from secc.session.ports import CheckAlignment, EmergencyOff, Paused, RecordMeter, SaveSession, TransactionUpdated
from secc.session.power import apply_output
from secc.session.request_context import Step as CommonStep
from secc.session.request_context import Wait
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages import dc as iso
from v2g.iso15118.d20.messages.common_messages import (
    ChargeProgress,
    ChargingSession,
    PowerDeliveryReq,
    PowerDeliveryRes,
    SessionStopReq,
    SessionStopRes,
)
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.iso15118.d20.messages.schedules import PowerToleranceAcceptance
from v2g.iso15118.d20.quantities import milli
from v2g.iso15118.d20.session import binding
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe


@HANDLERS.on_request(iso.DC_CableCheckReq)
def cable_check(
    request: iso.DC_CableCheckReq, stage: stages.Planned | stages.CableChecking, context: RequestContext
) -> CommonStep | Wait:
    """Test the insulation; polled until the result is available (V2G20-1418: only with the pilot in C or D)."""
    respond = partial(_cable_check_response, context)
    return delivery.cable_check(stage, context, respond, pilot_s=context.timing.contactor)


@HANDLERS.on_request(iso.DC_PreChargeReq)
def pre_charge(request: iso.DC_PreChargeReq, stage: stages.PreCharging, context: RequestContext) -> CommonStep | Wait:
    """Bring the output to the vehicle's voltage. The response may wait a little for it; it reports the present one."""
    target_mv = wanted_mv(request, context.config.rating, interop=context.connection.trust.interop)
    finished = request.ev_processing is Processing.Finished
    return delivery.pre_charge(stage, target_mv, context, partial(_pre_charge_response, context), at_once=finished)


def wanted_mv(request: iso.DC_PreChargeReq, rating: EvseRating, *, interop: bool) -> int:
    """Return the voltage required before power; in `interop` mode at most the charger's own, since some such peers
    request voltages beyond the rating."""
    target_mv = max(0, to_milli(request.ev_target_voltage))
    return min(target_mv, rating.max_voltage_v * 1000) if interop else target_mv


PowerContext = stages.Planned | stages.PreCharging | stages.Starting | stages.Charging | stages.Stopping


@HANDLERS.on_request(PowerDeliveryReq)
def power_delivery(request: PowerDeliveryReq, stage: PowerContext, context: RequestContext) -> CommonStep | Wait:
    """Start, stop or re-plan the transfer of energy."""
    match request.charge_progress:
        case ChargeProgress.Start:
            return _start(request, stage, context)
        case ChargeProgress.Stop:
            return delivery.stop(stage, context, partial(_delivery_response, context))
        case ChargeProgress.ScheduleRenegotiation:
            if context.notice is not None and context.notice.notification == "Terminate":  # nothing left to plan
                return Step(_delivery_response(context, ResponseCode.WARNING_ScheduleRenegotiationFailed), stage)
            event = Observe("schedule", "renegotiation", {})
            return Step(_delivery_response(context), stage, (event,), followed="ScheduleRenegotiation")
        case ChargeProgress.Standby:
            # let the vehicle stay without energy, once it has reached the loop
            if not context.config.standby or not isinstance(stage, stages.Charging):
                return Step(_delivery_response(context, ResponseCode.WARNING_StandbyNotAllowed), stage)
            resting, commands = apply_output(replace(stage, standby=True, suspended=""), context)
            updates = (*delivery.charging_state(stage, "suspend", "SuspendedEV"), Observe("power", "standby", {}))
            return Step(_delivery_response(context), resting, (*commands, *updates))


@HANDLERS.on_request(iso.DC_WeldingDetectionReq)
def welding_detection(
    request: iso.DC_WeldingDetectionReq, stage: stages.Stopped, context: RequestContext
) -> Step | Wait:
    """Report the residual voltage at the output."""
    if wait := delivery.await_discharged(stage, context):
        return wait
    response = iso.DC_WeldingDetectionRes(
        header=context.header,
        response_code=ResponseCode.OK,
        evse_present_voltage=milli(context.facts.measured.voltage_mv),
    )
    event = Observe("stop", "welding_detection", {"voltage_mv": context.facts.measured.voltage_mv})
    return Step(response, stage, (event,))


def _start(request: PowerDeliveryReq, stage: PowerContext, context: RequestContext) -> Step | Wait:
    if request.ev_processing is not Processing.Finished:
        return Step(_delivery_response(context), stage)
    if isinstance(stage, stages.Starting):
        return _started(request, stage, context)
    if isinstance(stage, stages.PreCharging):  # V2G20-2005
        wait = delivery.await_match(stage, context, code=ResponseCode.FAILED_PowerDeliveryNotApplied.name)
        if wait is not None:
            return wait
    planned = stage if isinstance(stage, stages.Planned) else stage.planned
    chosen = choose_tuple(request, planned, context)
    code = tolerance_code(request, context)
    if isinstance(stage, stages.Charging):  # after renegotiation or standby; the contactors are closed
        renewed = account(replace(stage, chosen=chosen, standby=False), context)
        return _go_on(renewed, code, context, rested=stage.standby)
    if isinstance(stage, stages.Planned) and context.family is Family.AC and context.facts.pilot not in READY:
        # With alternating current the vehicle changes to state C with its request, up to 250 ms later (V2G20-847).
        if context.waited:
            raise refuse(ResponseCode.FAILED, "the control pilot is not in state C")
        return Wait(stage, context.timing.contactor)
    if delivery.tripped(context):
        return _started(request, stages.Starting(planned=planned, since=context.now), context)
    asked_mv = stage.target_mv if isinstance(stage, stages.PreCharging) else 0
    # The alignment field is switched off: the loop requests power later, and that may wait for the journal.
    aligned = (CheckAlignment(0, 0),) if planned.coil_ma else ()
    return delivery.close_contactors(replace(planned, coil_ma=0, coil_w=0), context, asked_mv=asked_mv, before=aligned)


def _started(request: PowerDeliveryReq, stage: stages.Starting, context: RequestContext) -> Step | Wait:
    wait = delivery.await_closed(stage, context)
    if wait is not None:
        return wait
    chosen = choose_tuple(request, stage.planned, context)
    held = delivery.tripped(context)
    charging = account(
        stages.Charging(planned=stage.planned, chosen=chosen, asked_mv=stage.asked_mv, held=held), context
    )
    commands = delivery.started(stage, context)
    return Step(_delivery_response(context, tolerance_code(request, context)), charging, commands)


def tolerance_code(request: PowerDeliveryReq, context: RequestContext) -> ResponseCode:
    """Return the response code for the vehicle's confirmation of the band around its schedule: codes 4, 17 and 31.

    Sources are silent on a vehicle that neither confirms nor declines; it counts as not confirming.
    """
    profile, rules = request.ev_power_profile, context.config.profile
    scheduled = profile.scheduled_evppt_control_mode if profile is not None else None
    if scheduled is None:
        return ResponseCode.OK
    if scheduled.power_tolerance_acceptance is PowerToleranceAcceptance.PowerToleranceConfirmed:
        return ResponseCode.OK_PowerToleranceConfirmed  # V2G20-1944: where no band was offered, too
    if rules.power_tolerance_w is None:
        return ResponseCode.OK
    if rules.tolerance_required:
        raise refuse(
            ResponseCode.FAILED_PowerToleranceNotConfirmed, "the vehicle has not confirmed the power tolerance"
        )
    return ResponseCode.WARNING_PowerToleranceNotConfirmed


def _go_on(stage: stages.Charging, code: ResponseCode, context: RequestContext, *, rested: bool) -> Step:
    stage, commands = apply_output(stage, context) if stage.output is not None else (stage, ())
    if not rested:
        return Step(_delivery_response(context, code), stage, commands)
    updates = (*delivery.charging_state(stage, "resume", "Charging"), Observe("power", "standby_left", {}))
    return Step(_delivery_response(context, code), stage, (*commands, *updates), followed="ExitStandby")


def _cable_check_response(context: RequestContext, processing: str) -> iso.DC_CableCheckRes:
    return iso.DC_CableCheckRes(
        header=context.header, response_code=ResponseCode.OK, evse_processing=Processing(processing)
    )


def _pre_charge_response(context: RequestContext) -> iso.DC_PreChargeRes:
    return iso.DC_PreChargeRes(
        header=context.header,
        response_code=ResponseCode.OK,
        evse_present_voltage=milli(context.facts.measured.voltage_mv),
    )


def _delivery_response(context: RequestContext, code: ResponseCode = ResponseCode.OK) -> PowerDeliveryRes:
    return PowerDeliveryRes(header=context.header, response_code=code)


@HANDLERS.on_request(SessionStopReq)
def session_stop(request: SessionStopReq, stage: stages.Stage, context: RequestContext) -> Step:
    """End the session, pause it, or return to service selection."""
    event = Observe(
        "stop",
        "session_stop",
        {
            "session": request.charging_session.value,
            "code": request.ev_termination_code,
            "explanation": request.ev_termination_explanation,
        },
    )
    match request.charging_session:
        case ChargingSession.Pause:
            return _pause(stage, context, event)
        case ChargingSession.ServiceRenegotiation:
            # to ServiceDiscovery in the same session and authorization, if that was offered (V2G20-1477). Power that is
            # still on is switched off. A session whose end has been requested is not renegotiated.
            authorized: stages.Authorized | None = authorized_of(stage)
            if context.stopping or not context.config.service_renegotiation or authorized is None:
                raise refuse(ResponseCode.FAILED_NoServiceRenegotiationSupported, "services are not renegotiated")
            return Step(_response(context), authorized, (*_off(context), event), followed="ServiceRenegotiation")
    return Step(_response(context), stages.Finished(), (event,))


def _pause(stage: stages.Stage, context: RequestContext, event: Observe) -> Step:
    """Store the session if the vehicle can be identified when it returns (V2G20-2545).

    A session whose end has been requested is not stored, nor one of a vehicle that is not in its place yet: it would
    return to the charge parameters (V2G20-5046), after position and pairing.
    """
    selected, known = stages.selected_of(stage), bool(context.connection.vehicle_certificate)
    placed = context.family in (Family.AC, Family.DC) or stages.parametrised_of(stage) is not None
    if context.stopping or not context.config.pause or selected is None or not known or not placed:
        raise refuse(ResponseCode.FAILED_PauseNotAllowed, "this session cannot be paused")
    opened = selected.authorized.opened
    paused = Paused(
        session_id=opened.session_id,
        vehicle=binding(opened.session_id, context.connection.vehicle_certificate),
        evcc_id=opened.evcc_id,
        contract=selected.contract,
        service=selected.service,
        control_mode=selected.control_mode,
        signed_discharge=selected.signed_discharge,
        checkpoints=selected.checkpoints,
        meter_begin=context.facts.meter_begin,
        added=selected.added,
        needs_by_secc=selected.needs_by_secc,
        pricing=selected.pricing,
        functions=selected.functions,
        allowed=context.facts.allowed,
    )
    session_id = paused.session_id.hex()
    off = (EmergencyOff("paused"),) if context.powered else ()  # first: SaveSession ends what permits the voltage
    commands = (
        *off,
        SaveSession(paused),
        TransactionUpdated(session_id, "ChargingStateChanged", "SuspendedEV", power_w=0, soc=None),
        event,
    )
    return Step(_response(context), stages.Finished(paused=paused), commands, followed="Pause")


def _off(context: RequestContext) -> tuple[Command, ...]:
    """Return the commands that switch power off in a session that continues."""
    if not context.powered:
        return ()
    session_id = context.header.session_id.hex()
    return (
        EmergencyOff("service_renegotiation"),
        RecordMeter("stop", power_w=0, soc=None),
        TransactionUpdated(session_id, "ChargingStateChanged", "EVConnected", power_w=0, soc=None),
    )


def _response(context: RequestContext) -> SessionStopRes:
    return SessionStopRes(header=context.header, response_code=ResponseCode.OK)
