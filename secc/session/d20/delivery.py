"""From the cable check to power, and back to an open contactor."""

from typing import Final

from msgspec.structs import replace

from secc.session.config import EvseRating
from secc.session.d20.loop import account, apply_output
from secc.session.d20.phases import CableChecking, Charging, Planned, PreCharging, Starting, Stopped, Stopping
from secc.session.d20.quantities import milli, to_milli
from secc.session.d20.request_context import Step, Wait, World, refuse
from secc.session.d20.scheduling.profile import choose_tuple
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
"""How near the output must come to the battery before the vehicle may close its contactor."""

READY: Final = (None, PilotState.C, PilotState.D)
"""None: the shell does not report the control pilot."""


def cable_check(request: DC_CableCheckReq, context: Planned | CableChecking, world: World) -> Step | Wait:
    """Test the insulation; polled until it is known (V2G20-1418: only with the pilot in C or D)."""
    if isinstance(context, Planned):
        if world.pilot not in READY:
            if world.waited:
                raise refuse(ResponseCode.FAILED, "the control pilot is not in state C")
            return Wait(context, world.config.timing.contactor)
        vehicle = context.parametrised.vehicle
        voltage_mv = min(vehicle.max_voltage_mv, world.config.rating.max_voltage_v * 1000)
        started = (StartCableCheck(voltage_mv), Observe("power", "cable_check_started", {"voltage_mv": voltage_mv}))
        return Wait(CableChecking(planned=context, since=world.now), world.config.poll_hold_s, started)
    if context.passed is None and world.now - context.since < world.config.timing.secc_cable_check:
        if not world.waited:
            return Wait(context, world.config.poll_hold_s)
        return Step(_cable_check_response(world, Processing.Ongoing), context)
    if context.passed is None:
        raise refuse(ResponseCode.FAILED, "the cable check takes too long", reason="cable_check_timeout")
    if not context.passed:
        raise refuse(ResponseCode.FAILED, "the cable check failed", reason="cable_check_failed")
    done = Observe("power", "cable_check_passed", {"seconds": round(world.now - context.since, 4)})
    return Step(_cable_check_response(world, Processing.Finished), PreCharging(planned=context.planned), (done,))


def on_cable_check(fact: CableCheckFinished, context: CableChecking) -> CableChecking:
    """Take the outcome of the insulation test."""
    return replace(context, passed=fact.passed)


def pre_charge(request: DC_PreChargeReq, context: PreCharging, world: World) -> Step | Wait:
    """Bring the output to the vehicle's voltage. The answer may wait a little for it; it tells what is there."""
    most_mv = min(context.planned.parametrised.vehicle.max_voltage_mv, world.config.rating.max_voltage_v * 1000)
    target_mv = wanted_mv(request, world.config.rating, interop=world.trust.interop)
    commands: tuple[StartPreCharge, ...] = ()
    if target_mv != context.target_mv:
        context = replace(context, target_mv=target_mv)
        commands = (StartPreCharge(min(target_mv, most_mv)),)
    matched = is_matched(context, world)
    if request.ev_processing is not Processing.Finished and not world.waited and (commands or not matched):
        return Wait(context, world.config.poll_hold_s, commands)
    response = DC_PreChargeRes(
        header=world.header,
        response_code=ResponseCode.OK,
        evse_present_voltage=milli(world.measured.voltage_mv),
    )
    event = Observe(
        "power", "pre_charge", {"target_mv": target_mv, "voltage_mv": world.measured.voltage_mv, "matched": matched}
    )
    return Step(response, context, (*commands, event))


def wanted_mv(request: DC_PreChargeReq, rating: EvseRating, *, interop: bool) -> int:
    """Return the voltage that has to be there before power; for peers on trial (`interop`), some of which name voltages
    that no charger has, at most what this one has."""
    target_mv = max(0, to_milli(request.ev_target_voltage))
    return min(target_mv, rating.max_voltage_v * 1000) if interop else target_mv


def is_matched(context: PreCharging, world: World) -> bool:
    """Say whether the output has the voltage that the vehicle wants, which is one that it can have."""
    least_mv = max(1, context.planned.parametrised.vehicle.min_voltage_mv)
    return context.target_mv >= least_mv and abs(world.measured.voltage_mv - context.target_mv) <= MATCHED_MV


PowerContext = Planned | PreCharging | Starting | Charging | Stopping


def power_delivery(request: PowerDeliveryReq, context: PowerContext, world: World) -> Step | Wait:
    """Start, stop or re-plan the transfer of energy."""
    match request.charge_progress:
        case ChargeProgress.Start:
            return _start(request, context, world)
        case ChargeProgress.Stop:
            return _stop(context, world)
        case ChargeProgress.ScheduleRenegotiation:
            if world.notice is not None and world.notice.notification == "Terminate":  # nothing left to plan
                return Step(_delivery_response(world, ResponseCode.WARNING_ScheduleRenegotiationFailed), context)
            event = Observe("schedule", "renegotiation", {})
            return Step(_delivery_response(world), context, (event,), heard="ScheduleRenegotiation")
        case ChargeProgress.Standby:
            return _standby(context, world)


def on_contactor(fact: ContactorState, context: Starting | Stopping) -> Starting | Stopping:
    """Take what the auxiliary contacts say."""
    if isinstance(context, Starting):
        return replace(context, closed=fact.closed)
    return replace(context, opened=not fact.closed)


def welding_detection(request: DC_WeldingDetectionReq, context: Stopped, world: World) -> Step:
    """Tell the voltage that is left at the output."""
    response = DC_WeldingDetectionRes(
        header=world.header,
        response_code=ResponseCode.OK,
        evse_present_voltage=milli(world.measured.voltage_mv),
    )
    event = Observe("stop", "welding_detection", {"voltage_mv": world.measured.voltage_mv})
    return Step(response, context, (event,))


def _start(request: PowerDeliveryReq, context: PowerContext, world: World) -> Step | Wait:
    if request.ev_processing is not Processing.Finished:
        return Step(_delivery_response(world), context)
    if isinstance(context, Starting):
        return _started(request, context, world)
    if isinstance(context, PreCharging) and not is_matched(context, world):  # V2G20-2005
        if not world.waited:
            return Wait(context, world.config.poll_hold_s)
        why = f"the output has {world.measured.voltage_mv} mV, the vehicle wants {context.target_mv}"
        raise refuse(ResponseCode.FAILED_PowerDeliveryNotApplied, why, reason="pre_charge_not_reached")
    planned = context if isinstance(context, Planned) else context.planned
    chosen = choose_tuple(request, planned, world)
    code = tolerance_code(request, world)
    if isinstance(context, Charging):  # after renegotiation or standby; the contactors are closed
        renewed = account(replace(context, chosen=chosen, standby=False), world)
        return _go_on(renewed, code, world, rested=context.standby)
    if isinstance(context, Planned) and world.family is Family.AC and world.pilot not in READY:
        # With alternating current the vehicle goes to state C as it asks, up to 250 ms later (V2G20-847).
        if world.waited:
            raise refuse(ResponseCode.FAILED, "the control pilot is not in state C")
        return Wait(context, world.config.timing.contactor)
    asked_mv = context.target_mv if isinstance(context, PreCharging) else 0
    # The field of the alignment goes: until the loop asks for power, which may wait for the books, none is asked for.
    aligned = (CheckAlignment(0, 0),) if planned.coil_ma else ()
    planned = replace(planned, coil_ma=0, coil_w=0)
    starting = Starting(planned=planned, since=world.now, asked_mv=asked_mv)
    return Wait(starting, world.config.timing.contactor, (*aligned, CloseContactors()))


def _started(request: PowerDeliveryReq, context: Starting, world: World) -> Step | Wait:
    if context.closed is None and not world.waited:
        return Wait(context, world.config.timing.contactor)
    if not context.closed:
        raise refuse(ResponseCode.FAILED_ContactorError, "the contactors did not close", reason="contactor_stuck_open")
    selected = context.planned.parametrised.selected
    session_id = selected.authorized.opened.session_id.hex()
    vehicle = context.planned.parametrised.vehicle
    commands = (
        RecordMeter("begin", power_w=0, soc=vehicle.soc),
        TransactionUpdated(session_id, "ChargingStateChanged", "Charging", power_w=0, soc=vehicle.soc),
        Observe("power", "started", {"seconds": round(world.now - context.since, 4)}),
    )
    chosen = choose_tuple(request, context.planned, world)
    charging = account(Charging(planned=context.planned, chosen=chosen, asked_mv=context.asked_mv), world)
    return Step(_delivery_response(world, tolerance_code(request, world)), charging, commands)


def tolerance_code(request: PowerDeliveryReq, world: World) -> ResponseCode:
    """Return what follows from the vehicle's word on the band around its schedule: codes 4, 17 and 31.

    Sources are silent on a vehicle that does not say anything; it has not confirmed.
    """
    profile, rules = request.ev_power_profile, world.config.profile
    scheduled = profile.scheduled_evppt_control_mode if profile is not None else None
    if rules.power_tolerance_w is None or scheduled is None:
        return ResponseCode.OK
    if scheduled.power_tolerance_acceptance is PowerToleranceAcceptance.PowerToleranceConfirmed:
        return ResponseCode.OK_PowerToleranceConfirmed
    if rules.tolerance_required:
        raise refuse(ResponseCode.FAILED_PowerToleranceNotConfirmed, "the vehicle does not keep the tolerance")
    return ResponseCode.WARNING_PowerToleranceNotConfirmed


def _go_on(context: Charging, code: ResponseCode, world: World, *, rested: bool) -> Step:
    context, commands = apply_output(context, world) if context.output is not None else (context, ())
    if not rested:
        return Step(_delivery_response(world, code), context, commands)
    selected, vehicle = context.planned.parametrised.selected, context.planned.parametrised.vehicle
    session_id = selected.authorized.opened.session_id.hex()
    told = (
        TransactionUpdated(session_id, "ChargingStateChanged", "Charging", power_w=0, soc=vehicle.soc),
        Observe("power", "standby_left", {}),
    )
    return Step(_delivery_response(world, code), context, (*commands, *told), heard="ExitStandby")


def _stop(context: PowerContext, world: World) -> Step | Wait:
    if isinstance(context, Planned) and not world.powered:  # the vehicle pauses before it starts (V2G20-2122)
        return Step(_delivery_response(world), Stopped(planned=context))
    if not isinstance(context, Stopping):
        planned = context if isinstance(context, Planned) else context.planned
        stopping = Stopping(planned=planned, since=world.now)
        if isinstance(context, Charging):
            stopping = replace(stopping, told_meter=context.told_meter, confirmed=context.confirmed)
        return Wait(stopping, world.config.timing.contactor, (*_idle(context, world), OpenContactors()))
    if context.opened is None and not world.waited:
        return Wait(context, world.config.timing.contactor)
    if not context.opened:
        raise refuse(ResponseCode.FAILED_ContactorError, "the contactors did not open", reason="contactor_welded")
    selected, vehicle = context.planned.parametrised.selected, context.planned.parametrised.vehicle
    session_id = selected.authorized.opened.session_id.hex()
    commands = (
        RecordMeter("stop", power_w=0, soc=vehicle.soc),
        TransactionUpdated(session_id, "ChargingStateChanged", "EVConnected", power_w=0, soc=vehicle.soc),
        Observe("stop", "power_stopped", {"seconds": round(world.now - context.since, 4)}),
    )
    return Step(_delivery_response(world), Stopped(planned=context.planned), commands, heard="Terminate")


def _idle(context: PowerContext, world: World) -> tuple[Command | Observe, ...]:
    """Return what brings the output to nothing, so that no contactor opens under load."""
    if not isinstance(context, Charging) or context.output is None:
        return ()
    return apply_output(replace(context, standby=True), world)[1]


def _standby(context: PowerContext, world: World) -> Step:
    """Let the vehicle stay without energy, once it has come as far as the loop."""
    if not world.config.standby or not isinstance(context, Charging):
        return Step(_delivery_response(world, ResponseCode.WARNING_StandbyNotAllowed), context)
    resting, commands = apply_output(replace(context, standby=True), world)
    selected, vehicle = context.planned.parametrised.selected, context.planned.parametrised.vehicle
    session_id = selected.authorized.opened.session_id.hex()
    told = (
        TransactionUpdated(session_id, "ChargingStateChanged", "SuspendedEV", power_w=0, soc=vehicle.soc),
        Observe("power", "standby", {}),
    )
    return Step(_delivery_response(world), resting, (*commands, *told))


def _cable_check_response(world: World, processing: Processing) -> DC_CableCheckRes:
    return DC_CableCheckRes(header=world.header, response_code=ResponseCode.OK, evse_processing=processing)


def _delivery_response(world: World, code: ResponseCode = ResponseCode.OK) -> PowerDeliveryRes:
    return PowerDeliveryRes(header=world.header, response_code=code)
