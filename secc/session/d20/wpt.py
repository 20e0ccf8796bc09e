"""Wireless power transfer: positioning, pairing, alignment check, and charging.

The order of the messages follows from their schema; docs/reference/open-points.md lists the assumptions.
"""

from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from secc.session.d20.loop import displayed, report_costs, report_meter, status
from secc.session.d20.parameters import limits_event
from secc.session.d20.quantities import to_milli, to_w
from secc.session.d20.stages import HANDLERS, RequestContext, Step, refuse
from secc.session.ports import CheckAlignment, RecordMeter, SetWptOutput, StartPairing, StartPositioning
from secc.session.power import apply_output, loop_event, power
from secc.session.request_context import Wait
from secc.session.stages import Charging, Parametrised, Planned, Selected, Vehicle
from v2g.iso15118.d20 import wpt_methods
from v2g.iso15118.d20.messages import wpt as iso
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.iso15118.d20.messages.wpt_positioning import AlternativeSECC, AlternativeSECCList
from v2g.iso15118.d20.quantities import milli, whole
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe

TROUBLES: Final = MappingProxyType(
    {
        "SPCFODDetected": "foreign_object",
        "SPCLOPDetected": "living_object",
        "SPCTempOverheatDetected": "over_temperature",
        "SPCPowerTransferAnomalyDetected": "power_transfer_anomaly",
        "SPCAnomalyDetected": "device_anomaly",
    }
)
"""Fault of the primary device, as sent to vehicles -> reason code for ending a session if it persists."""


@HANDLERS.on_request(iso.WPT_FinePositioningSetupReq)
def fine_positioning_setup(request: iso.WPT_FinePositioningSetupReq, stage: Selected, context: RequestContext) -> Step:
    """Agree on methods: the first of the charger's that the vehicle supports as well."""
    rating = context.config.wpt
    ours = wpt_methods.method_lists(rating.positioning, rating.pairing, rating.alignment)
    theirs = wpt_methods.MethodLists(
        request.ev_device_fine_positioning_method_list,
        request.ev_device_pairing_method_list,
        request.ev_device_alignment_check_method_list,
    )
    agreed = wpt_methods.agree(ours, theirs)
    if agreed.missing:
        raise refuse(ResponseCode.FAILED_AssociationError, f"no method of {agreed.missing} in common")
    response = iso.WPT_FinePositioningSetupRes(
        header=context.header,
        response_code=ResponseCode.OK,
        primary_device_fine_positioning_method_list=ours.positioning,
        primary_device_pairing_method_list=ours.pairing,
        primary_device_alignment_check_method_list=ours.alignment,
        natural_offset=rating.natural_offset_mm,
    )
    methods = (agreed.positioning or "", agreed.pairing or "", agreed.alignment or "")
    event = Observe("wpt", "methods", dict(zip(("positioning", "pairing", "alignment"), methods, strict=True)))
    selected = replace(stage, methods=methods)
    return Step(response, selected, (event, StartPositioning(methods[0])))


@HANDLERS.on_request(iso.WPT_FinePositioningReq)
def fine_positioning(request: iso.WPT_FinePositioningReq, stage: Selected, context: RequestContext) -> Step:
    """Finished once the vehicle is above the device."""
    _not_failed(request.ev_result_code)
    manual = stage.methods[0] == wpt_methods.BY_PERSON
    there = context.facts.device.in_place or (manual and request.ev_processing is Processing.Finished)
    response = iso.WPT_FinePositioningRes(
        header=context.header, response_code=ResponseCode.OK, evse_processing=_processing(finished=there)
    )
    both = there and request.ev_processing is Processing.Finished
    commands = (StartPairing(stage.methods[1], context.config.wpt.device_id),) if both else ()
    return Step(response, stage, commands)


@HANDLERS.on_request(iso.WPT_PairingReq)
def pairing(request: iso.WPT_PairingReq, stage: Selected, context: RequestContext) -> Step:
    """Verify that vehicle and device belong together; a vehicle above another device gets that one's address."""
    _not_failed(request.ev_result_code)
    rating, method = context.config.wpt, stage.methods[1]
    alternatives, paired = None, False
    if method in wpt_methods.OBSERVED_BY_VEHICLE:
        seen = request.observed_id_code
        paired = seen == rating.device_id
        if seen is not None and not paired:
            # the address of the device below the vehicle, if it is a neighbour
            found = tuple(
                AlternativeSECC(ssid=each.ssid, ip_address=each.ip_address, port=each.port)
                for each in context.config.wpt.neighbours
                if each.device_id == seen
            )
            alternatives = AlternativeSECCList(alternative_secc=found) if found else None
    elif method == wpt_methods.OBSERVED_BY_DEVICE:
        paired = context.facts.device.observed_id is not None
    else:
        paired = context.facts.device.confirmed
    response = iso.WPT_PairingRes(
        header=context.header,
        response_code=ResponseCode.OK,
        evse_processing=_processing(finished=paired),
        observed_id_code=context.facts.device.observed_id if method == wpt_methods.OBSERVED_BY_DEVICE else None,
        alternative_secc_list=alternatives,
    )
    event = Observe("wpt", "pairing", {"method": method, "observed": request.observed_id_code, "paired": paired})
    return Step(response, stage, (event,))


@HANDLERS.on_request(iso.WPT_ChargeParameterDiscoveryReq)
def charge_parameter_discovery(
    request: iso.WPT_ChargeParameterDiscoveryReq, stage: Selected, context: RequestContext
) -> Step:
    """Store the limits of the vehicle's device and send those of ours."""
    rating = context.config.wpt
    if why := _impossible(request, context):
        raise refuse(ResponseCode.FAILED_WrongChargeParameter, why)
    vehicle = Vehicle(
        max_charge_w=max(0, to_w(request.evpc_max_receivable_power)),
        max_charge_ma=0,
        max_voltage_mv=0,
        min_voltage_mv=0,
    )
    response = iso.WPT_ChargeParameterDiscoveryRes(
        header=context.header,
        response_code=ResponseCode.OK,
        pd_input_power_class=iso.WPT_PowerClass(rating.power_class),
        sd_min_output_power=whole(rating.min_power_w),
        sd_max_output_power=whole(rating.max_power_w),
        sd_max_ground_clearance_support=rating.max_clearance_mm,
        sd_min_ground_clearance_support=rating.min_clearance_mm,
        pd_min_coil_current=whole(rating.min_coil_current_a),
        pd_max_coil_current=whole(rating.max_coil_current_a),
    )
    parametrised = Parametrised(selected=stage, vehicle=vehicle, rated=vehicle)
    return Step(response, parametrised, (limits_event(stage, vehicle, context),))


@HANDLERS.on_request(iso.WPT_AlignmentCheckReq)
def alignment_check(request: iso.WPT_AlignmentCheckReq, stage: Planned, context: RequestContext) -> Step | Wait:
    """Send a little power and report it, until both sides know whether it is received."""
    _not_failed(request.ev_result_code)
    rating, device = context.config.wpt, context.facts.device
    commands: tuple[Command, ...] = ()
    if request.target_coil_current is not None:
        most = rating.max_coil_current_a * 1000
        asked = replace(stage, coil_asked_ma=max(0, min(most, to_milli(request.target_coil_current))))
        stage, commands = aligned(asked, context)
        if not context.waited and (commands or stage.coil_ma != device.coil_ma):
            return Wait(stage, context.config.poll_hold_s, commands)
    if device.aligned is False and request.ev_processing is Processing.Finished:
        raise refuse(ResponseCode.FAILED_AssociationError, "the vehicle is not aligned", reason="misaligned")
    response = iso.WPT_AlignmentCheckRes(
        header=context.header,
        response_code=ResponseCode.OK,
        evse_processing=_processing(finished=bool(device.aligned)),
        power_transmitted=whole(device.alignment_w),
        supply_device_current=milli(device.coil_ma),
    )
    return Step(response, stage, (*commands, Observe("wpt", "alignment", {"aligned": bool(device.aligned)})))


def aligned(stage: Planned, context: RequestContext) -> tuple[Planned, tuple[Command, ...]]:
    """Return the stage with the present coil current for the alignment check, within all limits, and the commands
    for the hardware. Energy flows from here on."""
    most_w = min(
        context.config.wpt.alignment_power_w, stage.parametrised.vehicle.max_charge_w, context.station.charge_w
    )
    power_w = 0 if context.stopping else max(0, min(most_w, context.facts.response.bend(most_w)))
    current_ma = stage.coil_asked_ma if power_w else 0
    if (current_ma, power_w) == (stage.coil_ma, stage.coil_w) or (not current_ma and not stage.coil_ma):
        return stage, ()
    begin = RecordMeter("begin", power_w=0, soc=stage.parametrised.vehicle.soc)
    check = CheckAlignment(current_ma, power_w)
    stage = replace(stage, coil_ma=current_ma, coil_w=power_w)
    return stage, (check,) if context.powered else (begin, check)


@HANDLERS.on_request(iso.WPT_ChargeLoopReq)
def charge_loop(request: iso.WPT_ChargeLoopReq, stage: Charging, context: RequestContext) -> Step:
    """Send the requested power, within all limits; a fault of either device stops power with a warning."""
    ill = request.evpc_charge_diagnostics is not iso.WPT_EVPCChargeDiagnostics.EVPCNoIssue
    asked_w = 0 if ill else max(0, to_w(request.evpc_power_request))
    stage = replace(stage, asked_w=asked_w, halted="")
    vehicle = replace(stage.vehicle, **displayed(request))
    if vehicle != stage.vehicle:
        parametrised = replace(stage.parametrised, vehicle=vehicle)
        stage = replace(stage, planned=replace(stage.planned, parametrised=parametrised))
    stage, commands = apply_output(stage, context)
    output = stage.output
    assert isinstance(output, SetWptOutput)
    stage, meter_info = report_meter(request, stage, context)
    stage, receipt = report_costs(stage, meter_info, context)
    trouble = context.facts.device.trouble
    response = iso.WPT_ChargeLoopRes(
        header=context.header,
        response_code=ResponseCode.WARNING_WPT if trouble or ill else ResponseCode.OK,
        evse_status=status(context),
        meter_info=meter_info,
        receipt=receipt,
        evpc_power_request=whole(output.power_w),
        sd_power_input=whole(power(context)),
        spc_max_output_power_limit=whole(output.charge_w),
        spc_min_output_power_limit=whole(min(context.config.wpt.min_power_w, output.charge_w)),
        spc_charge_diagnostics=iso.WPT_SPCChargeDiagnostics(trouble or "SPCNoIssue"),
    )
    return Step(response, replace(stage, loops=stage.loops + 1), (*commands, *loop_event(stage, context)))


def _not_failed(result: iso.WPT_EVResult) -> None:
    if result is iso.WPT_EVResult.EVResultFailed:
        raise refuse(ResponseCode.FAILED_AssociationError, "the vehicle reports a failure")


def _processing(*, finished: bool) -> Processing:
    return Processing.Finished if finished else Processing.Ongoing


def _impossible(request: iso.WPT_ChargeParameterDiscoveryReq, context: RequestContext) -> str:
    """Return the incompatibility of these devices, or empty."""
    rating = context.config.wpt
    if to_w(request.evpc_max_receivable_power) < 0:
        return "a limit is negative"
    least, most = request.sd_min_ground_clearence, request.sd_max_ground_clearence
    if least > most or least > rating.max_clearance_mm or most < rating.min_clearance_mm:
        return "the ground clearances do not overlap"
    frequency = to_w(request.evpc_natural_frequency)
    if not rating.min_frequency_hz <= frequency <= rating.max_frequency_hz:
        return f"{frequency} Hz is outside this device's frequency range"
    return ""
