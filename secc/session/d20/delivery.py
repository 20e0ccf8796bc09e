"""From the cable check to power, and back to an open contactor."""

from typing import Final

from msgspec.structs import replace

from secc.session.config import EvseRating
from secc.session.d20.loop import account, apply_output
from secc.session.d20.quantities import milli, to_milli
from secc.session.d20.request_context import RequestContext, Step, Wait, refuse
from secc.session.d20.scheduling.profile import choose_tuple
from secc.session.d20.stages import CableChecking, Charging, Planned, PreCharging, Starting, Stopped, Stopping
from secc.session.ports import (
    CableCheckFinished,
    CheckAlignment,
    CloseContactors,
    ContactorState,
    OpenContactors,
    RecordMeter,
    StartCableCheck,
    StartPreCharge,
    TransactionUpdated,
)
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import ChargeProgress, PowerDeliveryReq, PowerDeliveryRes
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.iso15118.d20.messages.dc import (
    DC_CableCheckReq,
    DC_CableCheckRes,
    DC_PreChargeReq,
    DC_PreChargeRes,
    DC_WeldingDetectionReq,
    DC_WeldingDetectionRes,
)
from v2g.iso15118.d20.messages.schedules import PowerToleranceAcceptance
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe

MATCHED_MV: Final = 20_000
"""Maximum difference of output and battery voltage at which the vehicle may close its contactor."""

READY: Final = (None, PilotState.C, PilotState.D)
"""None: the hardware does not report the control pilot."""


def cable_check(request: DC_CableCheckReq, stage: Planned | CableChecking, context: RequestContext) -> Step | Wait:
    """Test the insulation; polled until the result is available (V2G20-1418: only with the pilot in C or D)."""
    if isinstance(stage, Planned):
        if context.facts.pilot not in READY:
            if context.waited:
                raise refuse(ResponseCode.FAILED, "the control pilot is not in state C")
            return Wait(stage, context.config.timing.contactor)
        vehicle = stage.parametrised.vehicle
        voltage_mv = min(vehicle.max_voltage_mv, context.config.rating.max_voltage_v * 1000)
        started = (StartCableCheck(voltage_mv), Observe("power", "cable_check_started", {"voltage_mv": voltage_mv}))
        return Wait(CableChecking(planned=stage, since=context.now), context.config.poll_hold_s, started)
    if stage.passed is None and context.now - stage.since < context.config.timing.secc_cable_check:
        if not context.waited:
            return Wait(stage, context.config.poll_hold_s)
        return Step(_cable_check_response(context, Processing.Ongoing), stage)
    if stage.passed is None:
        raise refuse(ResponseCode.FAILED, "the cable check timed out", reason="cable_check_timeout")
    if not stage.passed:
        raise refuse(ResponseCode.FAILED, "the cable check failed", reason="cable_check_failed")
    done = Observe("power", "cable_check_passed", {"seconds": round(context.now - stage.since, 4)})
    return Step(_cable_check_response(context, Processing.Finished), PreCharging(planned=stage.planned), (done,))


def on_cable_check(fact: CableCheckFinished, stage: CableChecking) -> CableChecking:
    """Return the stage with the outcome of the insulation test."""
    return replace(stage, passed=fact.passed)


def pre_charge(request: DC_PreChargeReq, stage: PreCharging, context: RequestContext) -> Step | Wait:
    """Bring the output to the vehicle's voltage. The response may wait a little for it; it reports the present one."""
    most_mv = min(stage.vehicle.max_voltage_mv, context.config.rating.max_voltage_v * 1000)
    target_mv = wanted_mv(request, context.config.rating, interop=context.connection.trust.interop)
    commands: tuple[StartPreCharge, ...] = ()
    if target_mv != stage.target_mv:
        stage = replace(stage, target_mv=target_mv)
        commands = (StartPreCharge(min(target_mv, most_mv)),)
    matched = is_matched(stage, context)
    if request.ev_processing is not Processing.Finished and not context.waited and (commands or not matched):
        return Wait(stage, context.config.poll_hold_s, commands)
    response = DC_PreChargeRes(
        header=context.header,
        response_code=ResponseCode.OK,
        evse_present_voltage=milli(context.facts.measured.voltage_mv),
    )
    event = Observe(
        "power",
        "pre_charge",
        {"target_mv": target_mv, "voltage_mv": context.facts.measured.voltage_mv, "matched": matched},
    )
    return Step(response, stage, (*commands, event))


def wanted_mv(request: DC_PreChargeReq, rating: EvseRating, *, interop: bool) -> int:
    """Return the voltage required before power; in `interop` mode at most the charger's own, since some such peers
    request voltages beyond the rating."""
    target_mv = max(0, to_milli(request.ev_target_voltage))
    return min(target_mv, rating.max_voltage_v * 1000) if interop else target_mv


def is_matched(stage: PreCharging, context: RequestContext) -> bool:
    """Return whether the output has the voltage that the vehicle requests, and the vehicle supports it."""
    least_mv = max(1, stage.vehicle.min_voltage_mv)
    return stage.target_mv >= least_mv and abs(context.facts.measured.voltage_mv - stage.target_mv) <= MATCHED_MV


PowerContext = Planned | PreCharging | Starting | Charging | Stopping


def power_delivery(request: PowerDeliveryReq, stage: PowerContext, context: RequestContext) -> Step | Wait:
    """Start, stop or re-plan the transfer of energy."""
    match request.charge_progress:
        case ChargeProgress.Start:
            return _start(request, stage, context)
        case ChargeProgress.Stop:
            return _stop(stage, context)
        case ChargeProgress.ScheduleRenegotiation:
            if context.notice is not None and context.notice.notification == "Terminate":  # nothing left to plan
                return Step(_delivery_response(context, ResponseCode.WARNING_ScheduleRenegotiationFailed), stage)
            event = Observe("schedule", "renegotiation", {})
            return Step(_delivery_response(context), stage, (event,), followed="ScheduleRenegotiation")
        case ChargeProgress.Standby:
            return _standby(stage, context)


def on_contactor(fact: ContactorState, stage: Starting | Stopping) -> Starting | Stopping:
    """Return the stage with the state of the auxiliary contacts."""
    if isinstance(stage, Starting):
        return replace(stage, closed=fact.closed)
    return replace(stage, opened=not fact.closed)


def welding_detection(request: DC_WeldingDetectionReq, stage: Stopped, context: RequestContext) -> Step:
    """Report the residual voltage at the output."""
    response = DC_WeldingDetectionRes(
        header=context.header,
        response_code=ResponseCode.OK,
        evse_present_voltage=milli(context.facts.measured.voltage_mv),
    )
    event = Observe("stop", "welding_detection", {"voltage_mv": context.facts.measured.voltage_mv})
    return Step(response, stage, (event,))


def _start(request: PowerDeliveryReq, stage: PowerContext, context: RequestContext) -> Step | Wait:
    if request.ev_processing is not Processing.Finished:
        return Step(_delivery_response(context), stage)
    if isinstance(stage, Starting):
        return _started(request, stage, context)
    if isinstance(stage, PreCharging) and not is_matched(stage, context):  # V2G20-2005
        if not context.waited:
            return Wait(stage, context.config.poll_hold_s)
        why = f"the output has {context.facts.measured.voltage_mv} mV, the vehicle requests {stage.target_mv} mV"
        raise refuse(ResponseCode.FAILED_PowerDeliveryNotApplied, why, reason="pre_charge_not_reached")
    planned = stage if isinstance(stage, Planned) else stage.planned
    chosen = choose_tuple(request, planned, context)
    code = tolerance_code(request, context)
    if isinstance(stage, Charging):  # after renegotiation or standby; the contactors are closed
        renewed = account(replace(stage, chosen=chosen, standby=False), context)
        return _go_on(renewed, code, context, rested=stage.standby)
    if isinstance(stage, Planned) and context.family is Family.AC and context.facts.pilot not in READY:
        # With alternating current the vehicle changes to state C with its request, up to 250 ms later (V2G20-847).
        if context.waited:
            raise refuse(ResponseCode.FAILED, "the control pilot is not in state C")
        return Wait(stage, context.config.timing.contactor)
    asked_mv = stage.target_mv if isinstance(stage, PreCharging) else 0
    # The alignment field is switched off: the loop requests power later, and that may wait for the journal.
    aligned = (CheckAlignment(0, 0),) if planned.coil_ma else ()
    planned = replace(planned, coil_ma=0, coil_w=0)
    starting = Starting(planned=planned, since=context.now, asked_mv=asked_mv)
    return Wait(starting, context.config.timing.contactor, (*aligned, CloseContactors()))


def _started(request: PowerDeliveryReq, stage: Starting, context: RequestContext) -> Step | Wait:
    if stage.closed is None and not context.waited:
        return Wait(stage, context.config.timing.contactor)
    if not stage.closed:
        raise refuse(ResponseCode.FAILED_ContactorError, "the contactors did not close", reason="contactor_stuck_open")
    selected = stage.selected
    session_id = selected.session_id.hex()
    vehicle = stage.vehicle
    commands = (
        RecordMeter("begin", power_w=0, soc=vehicle.soc),
        TransactionUpdated(session_id, "ChargingStateChanged", "Charging", power_w=0, soc=vehicle.soc),
        Observe("power", "started", {"seconds": round(context.now - stage.since, 4)}),
    )
    chosen = choose_tuple(request, stage.planned, context)
    charging = account(Charging(planned=stage.planned, chosen=chosen, asked_mv=stage.asked_mv), context)
    return Step(_delivery_response(context, tolerance_code(request, context)), charging, commands)


def tolerance_code(request: PowerDeliveryReq, context: RequestContext) -> ResponseCode:
    """Return the response code for the vehicle's confirmation of the band around its schedule: codes 4, 17 and 31.

    Sources are silent on a vehicle that neither confirms nor declines; it counts as not confirming.
    """
    profile, rules = request.ev_power_profile, context.config.profile
    scheduled = profile.scheduled_evppt_control_mode if profile is not None else None
    if rules.power_tolerance_w is None or scheduled is None:
        return ResponseCode.OK
    if scheduled.power_tolerance_acceptance is PowerToleranceAcceptance.PowerToleranceConfirmed:
        return ResponseCode.OK_PowerToleranceConfirmed
    if rules.tolerance_required:
        raise refuse(
            ResponseCode.FAILED_PowerToleranceNotConfirmed, "the vehicle has not confirmed the power tolerance"
        )
    return ResponseCode.WARNING_PowerToleranceNotConfirmed


def _go_on(stage: Charging, code: ResponseCode, context: RequestContext, *, rested: bool) -> Step:
    stage, commands = apply_output(stage, context) if stage.output is not None else (stage, ())
    if not rested:
        return Step(_delivery_response(context, code), stage, commands)
    selected, vehicle = stage.selected, stage.vehicle
    session_id = selected.session_id.hex()
    updates = (
        RecordMeter("resume", power_w=0, soc=vehicle.soc),
        TransactionUpdated(session_id, "ChargingStateChanged", "Charging", power_w=0, soc=vehicle.soc),
        Observe("power", "standby_left", {}),
    )
    return Step(_delivery_response(context, code), stage, (*commands, *updates), followed="ExitStandby")


def _stop(stage: PowerContext, context: RequestContext) -> Step | Wait:
    if isinstance(stage, Planned) and not context.powered:  # the vehicle pauses before it starts (V2G20-2122)
        return Step(_delivery_response(context), Stopped(planned=stage))
    if not isinstance(stage, Stopping):
        planned = stage if isinstance(stage, Planned) else stage.planned
        stopping = Stopping(planned=planned, since=context.now)
        if isinstance(stage, Charging):
            stopping = replace(stopping, sent_readings=stage.sent_readings, confirmed=stage.confirmed)
        return Wait(stopping, context.config.timing.contactor, (*_idle(stage, context), OpenContactors()))
    if stage.opened is None and not context.waited:
        return Wait(stage, context.config.timing.contactor)
    if not stage.opened:
        raise refuse(ResponseCode.FAILED_ContactorError, "the contactors did not open", reason="contactor_welded")
    selected, vehicle = stage.selected, stage.vehicle
    session_id = selected.session_id.hex()
    commands = (
        RecordMeter("stop", power_w=0, soc=vehicle.soc),
        TransactionUpdated(session_id, "ChargingStateChanged", "EVConnected", power_w=0, soc=vehicle.soc),
        Observe("stop", "power_stopped", {"seconds": round(context.now - stage.since, 4)}),
    )
    return Step(_delivery_response(context), Stopped(planned=stage.planned), commands, followed="Terminate")


def _idle(stage: PowerContext, context: RequestContext) -> tuple[Command | Observe, ...]:
    """Return the commands that bring the output to zero, so that no contactor opens under load."""
    if not isinstance(stage, Charging) or stage.output is None:
        return ()
    return apply_output(replace(stage, standby=True), context)[1]


def _standby(stage: PowerContext, context: RequestContext) -> Step:
    """Let the vehicle stay without energy, once it has reached the loop."""
    if not context.config.standby or not isinstance(stage, Charging):
        return Step(_delivery_response(context, ResponseCode.WARNING_StandbyNotAllowed), stage)
    resting, commands = apply_output(replace(stage, standby=True), context)
    selected, vehicle = stage.selected, stage.vehicle
    session_id = selected.session_id.hex()
    updates = (
        RecordMeter("suspend", power_w=0, soc=vehicle.soc),
        TransactionUpdated(session_id, "ChargingStateChanged", "SuspendedEV", power_w=0, soc=vehicle.soc),
        Observe("power", "standby", {}),
    )
    return Step(_delivery_response(context), resting, (*commands, *updates))


def _cable_check_response(context: RequestContext, processing: Processing) -> DC_CableCheckRes:
    return DC_CableCheckRes(header=context.header, response_code=ResponseCode.OK, evse_processing=processing)


def _delivery_response(context: RequestContext, code: ResponseCode = ResponseCode.OK) -> PowerDeliveryRes:
    return PowerDeliveryRes(header=context.header, response_code=code)
