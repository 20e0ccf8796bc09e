"""Charging without a plug: positioned, paired and aligned above a coil, or connected below a pantograph."""

from typing import Final

from msgspec.structs import replace

from evcc.session.context import EvseLimits, departure_s
from evcc.session.d20 import dynamic_planner, stages
from evcc.session.d20 import requests as ask
from evcc.session.d20.energy import begin_cable_check
from evcc.session.d20.loop import following
from evcc.session.d20.quantities import to_whole
from evcc.session.d20.request_context import RequestContext
from evcc.session.d20.stop import leave_place, session_stop, stop
from evcc.session.paused import PausedChoice
from evcc.session.ports import DriveIn, DroveIn, ObserveDevice, SetPowerLimits, TransmitId
from evcc.session.steps import Stage, seen
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages import wpt as iso
from v2g.iso15118.d20.messages.acdp import (
    ACDP_ConnectReq,
    ACDP_ConnectRes,
    ACDP_DisconnectReq,
    ACDP_DisconnectRes,
    ACDP_VehiclePositioningReq,
    ACDP_VehiclePositioningRes,
    MechanicalChargingDeviceStatus,
)
from v2g.iso15118.d20.messages.common_messages import (
    EvCheckInStatus,
    EvCheckOutStatus,
    EvseCheckOutStatus,
    ParkingMethod,
    VehicleCheckInReq,
    VehicleCheckInRes,
    VehicleCheckOutReq,
    VehicleCheckOutRes,
)
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.iso15118.d20.wpt_methods import OBSERVED_BY_DEVICE, OBSERVED_BY_VEHICLE, MethodLists, agree

# -- Check-in to the parking space before charging, and check-out afterwards (service ParkingStatus) -----------------

PATIENCE_S: Final = 60.0
"""How long the vehicle requests to leave before it ends the session anyway."""


@stages.on_response(stages.CheckingIn)
def on_check_in(
    stage: stages.CheckingIn, request: VehicleCheckInReq, response: VehicleCheckInRes, context: RequestContext
) -> stages.Step:
    """Drive on until in place; then continue with the charge parameters."""
    guided = seen(
        "parking",
        "guided",
        status=request.ev_check_in_status.value,
        space=response.parking_space,
        ahead_cm=response.target_distance,
    )
    if stage.in_place:
        return replace(ask.charge_parameters(stage.choice, context), observed=(guided,))
    again = context.config.timers.evcc_sequence_performance / 2  # the charger times out a silent vehicle
    return stages.Step(stage=stage, commands=(DriveIn(response.target_distance),), observed=(guided,), wait=again)


@stages.on_wake(stages.CheckingIn)
def repeat_check_in(stage: stages.CheckingIn, request: VehicleCheckInReq, context: RequestContext) -> stages.Step:
    """Report that the vehicle is still on its way."""
    return stages.Step(stage=stage, request=_check_in(EvCheckInStatus.Processing, request.vehicle_travel, context))


def on_check_in_drove(stage: stages.CheckingIn, fact: DroveIn, context: RequestContext) -> stages.Step:
    """Report the vehicle's position."""
    status = EvCheckInStatus.Completed if fact.in_place else EvCheckInStatus.Processing
    request = _check_in(status, fact.travel_cm, context)
    return stages.Step(stage=replace(stage, in_place=fact.in_place), request=request)


@stages.on_wake(stages.CheckingOut)
def repeat_check_out(stage: stages.CheckingOut, request: VehicleCheckOutReq, context: RequestContext) -> stages.Step:
    return stages.Step(stage=stage, request=ask.check_out(EvCheckOutStatus.Processing, context))


@stages.on_response(stages.CheckingOut)
def on_check_out(
    stage: stages.CheckingOut, request: VehicleCheckOutReq, response: VehicleCheckOutRes, context: RequestContext
) -> stages.Step:
    """End the session once the charger lets the vehicle leave, or after a timeout."""
    free = response.evse_check_out_status is EvseCheckOutStatus.Completed
    if free and request.ev_check_out_status is not EvCheckOutStatus.Completed:
        return stages.Step(stage=stage, request=ask.check_out(EvCheckOutStatus.Completed, context))
    if not free and context.now - stage.since < PATIENCE_S:
        return stages.Step(stage=stage, wait=context.config.timing.poll_pause_s)
    return session_stop(context, stage.ending, observed=(seen("parking", "left", free=free),))


def _check_in(status: EvCheckInStatus, travel_cm: int | None, context: RequestContext) -> VehicleCheckInReq:
    method = context.config.services.parking
    return VehicleCheckInReq(
        header=context.header(),
        ev_check_in_status=status,
        parking_method=ParkingMethod("Manual" if method == "none" else method),
        vehicle_travel=None if travel_cm is None else max(-32768, min(32767, travel_cm)),
    )


_ARRIVES: Final = 2
"""A vehicle is aligned if it receives at least one part in so many of the power sent."""


def proceed(choice: PausedChoice, context: RequestContext) -> stages.Step:
    """Return the step after the selection of services: positioning, if there is no plug, then the next."""
    if choice.family is Family.WPT:
        return stages.Step(stage=stages.FindingPlace(choice), request=ask.setup(context))
    if choice.family is Family.ACDP:
        return stages.Step(stage=stages.FindingPlace(choice), request=_below(context, moving=True))
    return in_place(choice, context)


def in_place(choice: PausedChoice, context: RequestContext) -> stages.Step:
    """Return the step once the vehicle is in its charging position."""
    if not choice.parking:
        return ask.charge_parameters(choice, context)
    return stages.Step(stage=stages.CheckingIn(choice), request=_check_in(EvCheckInStatus.CheckIn, None, context))


# -- above a coil -------------------------------------------------------------------------------------------------


@stages.on_response(stages.FindingPlace)
def on_place(
    stage: stages.FindingPlace,
    request: Element,
    response: ACDP_VehiclePositioningRes | iso.WPT_FinePositioningSetupRes | iso.WPT_FinePositioningRes,
    context: RequestContext,
) -> stages.Step:
    """Drive on until both sides confirm the position."""
    if isinstance(response, ACDP_VehiclePositioningRes):
        # drive by the deviation that the charger reports, until it confirms that contact is possible
        if response.evse_processing is Processing.Finished and response.ev_in_charge_position:
            return replace(in_place(stage.choice, context), observed=(seen("place", "found"),))
        if stage.in_place:
            return _await_confirmation(stage, context)
        return stages.Step(stage=stage, commands=(DriveIn(response.ev_relative_x_deviation),))
    if isinstance(response, iso.WPT_FinePositioningSetupRes):
        # store the agreed methods, as the charger does, and drive on by the first
        theirs = MethodLists(
            response.primary_device_fine_positioning_method_list,
            response.primary_device_pairing_method_list,
            response.primary_device_alignment_check_method_list,
        )
        agreed = agree(theirs, ask.methods(context))
        if agreed.positioning is None or agreed.pairing is None or agreed.alignment is None:
            return stop(stage, context, stages.Ending(f"no_common_{agreed.missing}", failed=True))
        noted = seen(
            "place", "methods", positioning=agreed.positioning, pairing=agreed.pairing, alignment=agreed.alignment
        )
        known = replace(stage, methods=(agreed.positioning, agreed.pairing))
        return stages.Step(stage=known, commands=(DriveIn(None, agreed.positioning),), observed=(noted,))
    if stage.in_place and response.evse_processing is Processing.Finished:
        return _pair(stage, context)
    if not stage.in_place:
        return stages.Step(stage=stage, commands=(DriveIn(None, stage.methods[0]),))
    return _await_confirmation(stage, context)


def _await_confirmation(stage: stages.FindingPlace, context: RequestContext) -> stages.Step:
    """Wait for the charger to confirm the position, with a timeout."""
    if stage.until is not None and context.now >= stage.until:
        return stop(stage, context, stages.Ending("out_of_place", failed=True))
    until = context.now + context.config.timing.place_s if stage.until is None else stage.until
    return stages.Step(stage=replace(stage, until=until), wait=context.config.timing.poll_pause_s)


def on_drove(stage: stages.FindingPlace, fact: DroveIn, context: RequestContext) -> stages.Step:
    """Report the vehicle's progress."""
    there = replace(stage, in_place=fact.in_place)
    request = (
        ask.position(context, in_place=fact.in_place)
        if stage.choice.family is Family.WPT
        else _below(context, moving=not fact.in_place)
    )
    return stages.Step(stage=there, request=request)


@stages.on_wake(stages.FindingPlace)
def repeat_place(stage: stages.FindingPlace, request: Element, context: RequestContext) -> stages.Step:
    is_wireless = stage.choice.family is Family.WPT
    again = ask.position(context, in_place=stage.in_place) if is_wireless else _below(context, moving=False)
    return stages.Step(stage=stage, request=again)


def _pair(stage: stages.FindingPlace, context: RequestContext) -> stages.Step:
    """Begin to pair by the agreed method: observe the device, be observed, or a person's confirmation."""
    method, found = stage.methods[1], seen("place", "found")
    pairing = stages.Pairing(stage.choice, method)
    if method in OBSERVED_BY_VEHICLE:
        return stages.Step(stage=pairing, commands=(ObserveDevice(method),), observed=(found,))
    shown = (TransmitId(context.config.wireless.device_id),) if method == OBSERVED_BY_DEVICE else ()
    pairing = replace(pairing, done=method != OBSERVED_BY_DEVICE)
    request = ask.pair(context, None, done=pairing.done)
    return stages.Step(stage=pairing, request=request, commands=shown, observed=(found,))


def on_observed(stage: stages.Pairing, device_id: int, context: RequestContext) -> stages.Step:
    """Report the observed device."""
    reported = replace(stage, observed=device_id, done=True)
    return stages.Step(stage=reported, request=ask.pair(context, device_id, done=True))


@stages.on_response(stages.Pairing)
def on_pairing(
    stage: stages.Pairing, request: iso.WPT_PairingReq, response: iso.WPT_PairingRes, context: RequestContext
) -> stages.Step:
    """Continue once paired; end the session above another charger's device."""
    if response.alternative_secc_list is not None:
        others = response.alternative_secc_list.alternative_secc
        observed = seen("place", "other_charger", ssid=others[0].ssid, ip_address=others[0].ip_address)
        step = stop(stage, context, stages.Ending("other_charger", failed=True))
        return replace(step, observed=(observed, *step.observed))
    if stage.done and response.evse_processing is Processing.Finished:
        paired = seen("place", "paired", method=stage.method, device_id=stage.observed)
        return replace(in_place(stage.choice, context), observed=(paired,))
    if stage.method == OBSERVED_BY_DEVICE:  # the device may have observed the vehicle in the next bay
        own = response.observed_id_code == context.config.wireless.device_id
        stage = replace(stage, observed=response.observed_id_code, done=own)
    return stages.Step(stage=stage, wait=context.config.timing.poll_pause_s)


@stages.on_wake(stages.Pairing)
def repeat_pairing(stage: stages.Pairing, request: iso.WPT_PairingReq, context: RequestContext) -> stages.Step:
    observed = stage.observed if stage.method in OBSERVED_BY_VEHICLE else None
    return stages.Step(stage=stage, request=ask.pair(context, observed, done=stage.done))


@stages.on_response(stages.Parametrizing, iso.WPT_ChargeParameterDiscoveryRes)
def on_parameters(
    stage: stages.Parametrizing,
    request: iso.WPT_ChargeParameterDiscoveryReq,
    response: iso.WPT_ChargeParameterDiscoveryRes,
    context: RequestContext,
) -> stages.Step:
    """Set the limits of the primary device."""
    limits = EvseLimits(charge_w=max(0, to_whole(response.sd_max_output_power)), discharge_w=0)
    device = context.config.wireless
    if (
        response.sd_max_ground_clearance_support < device.min_clearance_mm
        or response.sd_min_ground_clearance_support > device.max_clearance_mm
    ):
        return stop(stage, context, stages.Ending("incompatible_clearance", failed=True))
    return ask.exchange(stage.choice, limits, context)


@stages.on_response(stages.Aligning)
def on_alignment(
    stage: stages.Aligning,
    request: iso.WPT_AlignmentCheckReq,
    response: iso.WPT_AlignmentCheckRes,
    context: RequestContext,
) -> stages.Step:
    """Start once power is received and both sides confirm; otherwise leave the place after a timeout.

    A charger whose coil carries no current has not tried yet: the message timeouts cover that.
    """
    if stage.aligned and response.evse_processing is Processing.Finished:
        return _start(stage, context)
    sent = to_whole(response.power_transmitted) if response.power_transmitted is not None else 0
    excited = response.supply_device_current is not None and to_whole(response.supply_device_current) > 0
    if (excited or sent > 0) and context.now >= stage.until:
        return stop(stage, context, stages.Ending("misaligned", failed=True))
    arrives = sent > 0 and ask.received_w(context) * _ARRIVES >= sent
    return stages.Step(stage=replace(stage, aligned=arrives), wait=context.config.timing.poll_pause_s)


def _start(stage: stages.Aligning, context: RequestContext) -> stages.Step:
    """The check is over: from here on the power must not exceed the loop's request, which may be 0."""
    return replace(ask.power_start(stage.plan, context), commands=(SetPowerLimits(0, 0),))


@stages.on_wake(stages.Aligning)
def repeat_alignment(
    stage: stages.Aligning, request: iso.WPT_AlignmentCheckReq, context: RequestContext
) -> stages.Step:
    return stages.Step(stage=stage, request=ask.align(context, aligned=stage.aligned))


@stages.on_response(stages.Looping, iso.WPT_ChargeLoopRes)
def on_loop(
    stage: stages.Looping, request: iso.WPT_ChargeLoopReq, response: iso.WPT_ChargeLoopRes, context: RequestContext
) -> stages.Step:
    """Receive power; a fault at the primary device stops it automatically (WARNING_WPT)."""
    meter = response.meter_info or stage.meter
    flow = seen(
        "loop",
        "flow",
        voltage_mv=context.inlet.voltage_mv,
        current_ma=context.inlet.current_ma,
        power_w=ask.received_w(context),
        soc=context.battery.soc,
        sent_w=to_whole(response.evpc_power_request),
        trouble=response.spc_charge_diagnostics.value if response.response_code is ResponseCode.WARNING_WPT else None,
        charged_wh=meter.charged_energy_reading_wh if meter else None,
    )
    plan = dynamic_planner.learned(
        stage.plan, stage.power_request.charge_w, max(0, to_whole(response.evpc_power_request))
    )
    step = following(replace(stage, meter=meter, plan=plan), response, context)
    return replace(step, observed=(flow, *step.observed))


# -- below a pantograph -------------------------------------------------------------------------------------------


def _below(context: RequestContext, *, moving: bool) -> ACDP_VehiclePositioningReq:
    return ACDP_VehiclePositioningReq(header=context.header(), ev_mobility_status=moving, ev_positioning_support=True)


@stages.on_response(stages.ConnectingDevice)
def on_connection(
    stage: stages.ConnectingDevice, request: ACDP_ConnectReq, response: ACDP_ConnectRes, context: RequestContext
) -> stages.Step:
    """Continue with the cable check once connected; end the session if the device has stopped elsewhere."""
    if response.evse_processing is not Processing.Finished:
        return stages.Step(stage=stage, wait=context.config.timing.poll_pause_s)
    if response.evse_mechanical_charging_device_status is not MechanicalChargingDeviceStatus.EndPosition:
        return stop(stage, context, stages.Ending("device_not_connected", failed=True))
    step = begin_cable_check(stage.plan, context)
    return replace(step, observed=(seen("place", "connected", departure_s=departure_s(context)), *step.observed))


@stages.on_wake(stages.ConnectingDevice, stages.DisconnectingDevice)
def repeat_device(stage: Stage, request: ACDP_ConnectReq | ACDP_DisconnectReq, context: RequestContext) -> stages.Step:
    return stages.Step(stage=stage, request=replace(request, header=context.header()))


@stages.on_response(stages.DisconnectingDevice)
def on_disconnection(
    stage: stages.DisconnectingDevice,
    request: ACDP_DisconnectReq,
    response: ACDP_DisconnectRes,
    context: RequestContext,
) -> stages.Step:
    """End the session once the device is home; below one that has stopped elsewhere, the vehicle does not leave."""
    if response.evse_processing is not Processing.Finished:
        return stages.Step(stage=stage, wait=context.config.timing.poll_pause_s)
    if response.evse_mechanical_charging_device_status is not MechanicalChargingDeviceStatus.Home:
        stuck = stages.Ending("device_not_home", failed=True)
        return session_stop(context, stage.ending if stage.ending.failed else stuck)
    return leave_place(context, stage.ending)
