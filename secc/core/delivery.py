"""From the cable check to power, and back to an open contactor."""

from typing import Final

from msgspec.structs import replace

from secc.core.config import ControlMode
from secc.core.context import (
    CableChecking,
    Charging,
    Planned,
    PreCharging,
    Starting,
    Step,
    Stopped,
    Stopping,
    Wait,
    World,
    refuse,
)
from secc.core.ports import (
    CableCheckFinished,
    CloseContactors,
    ContactorState,
    OpenContactors,
    RecordMeter,
    StartCableCheck,
    StartPreCharge,
    TransactionUpdated,
)
from secc.core.quantities import milli, to_milli, to_w
from v2g.iso15118.messages.common_messages import ChargeProgress, PowerDeliveryReq, PowerDeliveryRes
from v2g.iso15118.messages.common_types import Processing, ResponseCode
from v2g.iso15118.messages.dc import (
    DC_CableCheckReq,
    DC_CableCheckRes,
    DC_PreChargeReq,
    DC_PreChargeRes,
    DC_WeldingDetectionReq,
    DC_WeldingDetectionRes,
)
from v2g.observe import Observe
from v2g.slac.pilot import PilotState

MATCHED_MV: Final = 20_000
"""How near the output must come to the battery before the vehicle may close its contactor."""

_READY: Final = (None, PilotState.C, PilotState.D)
"""None: the shell does not report the control pilot."""


def cable_check(request: DC_CableCheckReq, context: Planned | CableChecking, world: World) -> Step | Wait:
    """Test the insulation; polled until it is known (V2G20-1418: only with the pilot in C or D)."""
    if isinstance(context, Planned):
        if world.pilot not in _READY:
            if world.waited:
                raise refuse(ResponseCode.FAILED, "the control pilot is not in state C")
            return Wait(context, world.config.timing.contactor)
        vehicle = context.parametrised.vehicle
        voltage_mv = min(vehicle.max_voltage_mv, world.config.rating.max_voltage_v * 1000)
        started = (StartCableCheck(voltage_mv), Observe("power", "cable_check_started", {"voltage_mv": voltage_mv}))
        return Wait(CableChecking(planned=context, since=world.now), world.config.poll_hold_s, started)
    if context.passed is None and world.now - context.since < world.config.timing.ongoing_performance:
        if not world.waited:
            return Wait(context, world.config.poll_hold_s)
        return Step(_cable_check_response(world, Processing.Ongoing), context)
    if not context.passed:
        raise refuse(ResponseCode.FAILED, "the cable check failed" if context.passed is False else "it took too long")
    done = Observe("power", "cable_check_passed", {"seconds": round(world.now - context.since, 4)})
    return Step(_cable_check_response(world, Processing.Finished), PreCharging(planned=context.planned), (done,))


def on_cable_check(fact: CableCheckFinished, context: CableChecking) -> CableChecking:
    """Take the outcome of the insulation test."""
    return replace(context, passed=fact.passed)


def pre_charge(request: DC_PreChargeReq, context: PreCharging, world: World) -> Step | Wait:
    """Bring the output to the vehicle's voltage. The answer may wait a little for it; it tells what is there."""
    target_mv = min(max(0, to_milli(request.ev_target_voltage)), world.config.rating.max_voltage_v * 1000)
    commands: tuple[StartPreCharge, ...] = ()
    if target_mv != context.target_mv:
        context = replace(context, target_mv=target_mv)
        commands = (StartPreCharge(target_mv),)
    matched = abs(world.measured.voltage_mv - target_mv) <= MATCHED_MV
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


PowerContext = Planned | PreCharging | Starting | Charging | Stopping


def power_delivery(request: PowerDeliveryReq, context: PowerContext, world: World) -> Step | Wait:
    """Start, stop or re-plan the transfer of energy."""
    match request.charge_progress:
        case ChargeProgress.Start:
            return _start(request, context, world)
        case ChargeProgress.Stop:
            return _stop(context, world)
        case ChargeProgress.ScheduleRenegotiation:
            event = Observe("schedule", "renegotiation", {})
            return Step(_delivery_response(world), context, (event,), heard="ScheduleRenegotiation")
        case ChargeProgress.Standby:
            return Step(_delivery_response(world, ResponseCode.WARNING_StandbyNotAllowed), context)


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
    assert isinstance(context, PreCharging | Charging)
    chosen = choose_tuple(request, context.planned, world)
    if isinstance(context, Charging):  # after renegotiation; the contactors are closed
        return Step(_delivery_response(world), replace(context, chosen=chosen))
    starting = Starting(planned=context.planned, since=world.now)
    return Wait(starting, world.config.timing.contactor, (CloseContactors(),))


def _started(request: PowerDeliveryReq, context: Starting, world: World) -> Step | Wait:
    if context.closed is None and not world.waited:
        return Wait(context, world.config.timing.contactor)
    if not context.closed:
        raise refuse(ResponseCode.FAILED_ContactorError, "the contactors did not close")
    selected = context.planned.parametrised.selected
    session_id = selected.authorized.opened.session_id.hex()
    vehicle = context.planned.parametrised.vehicle
    commands = (
        RecordMeter("begin", power_w=0, soc=vehicle.soc),
        TransactionUpdated(session_id, "ChargingStateChanged", "Charging", power_w=0, soc=vehicle.soc),
        Observe("power", "started", {"seconds": round(world.now - context.since, 4)}),
    )
    charging = Charging(planned=context.planned, chosen=choose_tuple(request, context.planned, world))
    return Step(_delivery_response(world), charging, commands)


def _stop(context: PowerContext, world: World) -> Step | Wait:
    if isinstance(context, Planned):  # nothing was closed yet: the vehicle pauses before it starts (V2G20-2122)
        return Step(_delivery_response(world), Stopped(planned=context))
    if not isinstance(context, Stopping):
        stopping = Stopping(planned=context.planned, since=world.now)
        return Wait(stopping, world.config.timing.contactor, (OpenContactors(),))
    if context.opened is None and not world.waited:
        return Wait(context, world.config.timing.contactor)
    if not context.opened:
        raise refuse(ResponseCode.FAILED_ContactorError, "the contactors did not open")
    selected, vehicle = context.planned.parametrised.selected, context.planned.parametrised.vehicle
    session_id = selected.authorized.opened.session_id.hex()
    commands = (
        RecordMeter("stop", power_w=0, soc=vehicle.soc),
        TransactionUpdated(session_id, "ChargingStateChanged", "EVConnected", power_w=0, soc=vehicle.soc),
        Observe("stop", "power_stopped", {"seconds": round(world.now - context.since, 4)}),
    )
    return Step(_delivery_response(world), Stopped(planned=context.planned), commands, heard="Terminate")


def choose_tuple(request: PowerDeliveryReq, planned: Planned, world: World) -> tuple[int, int, int] | None:
    """Return the scheduled tuple that the vehicle chose, None in dynamic mode.

    Refuses a profile that is missing, of the other control mode, about an unknown tuple or above its powers.
    """
    profile = request.ev_power_profile
    dynamic = planned.parametrised.selected.control_mode is ControlMode.DYNAMIC
    if profile is None:
        if dynamic:
            return None
        raise refuse(ResponseCode.FAILED_EVPowerProfileInvalid, "a scheduled vehicle names its schedule")
    scheduled = profile.scheduled_evppt_control_mode
    if (scheduled is None) != dynamic:
        raise refuse(ResponseCode.FAILED_EVPowerProfileInvalid, "the profile is of another control mode")
    if scheduled is None:
        return None
    chosen = next((each for each in planned.plan.tuples if each[0] == scheduled.selected_schedule_tuple_id), None)
    if chosen is None:
        raise refuse(ResponseCode.FAILED_ScheduleSelectionInvalid, "this schedule tuple was not offered")
    _, charge_w, discharge_w = chosen
    for entry in profile.ev_power_profile_entries.ev_power_profile_entry:
        if not -discharge_w <= to_w(entry.power) <= charge_w:
            raise refuse(ResponseCode.FAILED_EVPowerProfileInvalid, f"{to_w(entry.power)} W is not in the schedule")
    return chosen


def _cable_check_response(world: World, processing: Processing) -> DC_CableCheckRes:
    return DC_CableCheckRes(header=world.header, response_code=ResponseCode.OK, evse_processing=processing)


def _delivery_response(world: World, code: ResponseCode = ResponseCode.OK) -> PowerDeliveryRes:
    return PowerDeliveryRes(header=world.header, response_code=code)
