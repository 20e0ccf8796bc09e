"""An automatic connection device: the vehicle stops below it, is connected, charges by DC, and is disconnected.

The order of the messages follows from their schema; docs/reference/open-points.md lists the assumptions.
"""

from typing import Final, TypeVar

from msgspec.structs import replace

from secc.session.d20.stages import HANDLERS, SIDE_HANDLERS, Connecting, Disconnecting, RequestContext, Step, refuse
from secc.session.ports import Device, MoveDevice, StartPositioning
from secc.session.request_context import Wait
from secc.session.stages import Planned, Selected, Stage, Stopped
from v2g.iso15118.d20.messages import acdp as iso
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.observe import Observe

_METHOD: Final = "acdp"

Moved = TypeVar("Moved", iso.ACDP_ConnectRes, iso.ACDP_DisconnectRes)


@HANDLERS.on_request(iso.ACDP_VehiclePositioningReq)
def vehicle_positioning(
    request: iso.ACDP_VehiclePositioningReq, stage: Selected, context: RequestContext
) -> Step | Wait:
    """Send the vehicle's distance from its place; finished once it is there."""
    acdp, device = context.config.acdp, context.facts.device
    within = abs(device.x_cm) <= acdp.window_x and abs(device.y_cm) <= acdp.window_y
    there = not request.ev_mobility_status and (device.in_place if acdp.positioning_support else True) and within
    if not there and not context.waited:
        begun = stage.methods[0] == _METHOD
        commands = () if begun else (StartPositioning(_METHOD),)
        return Wait(replace(stage, methods=(_METHOD, "", "")), context.config.poll_hold_s, commands)
    response = iso.ACDP_VehiclePositioningRes(
        header=context.header,
        response_code=ResponseCode.OK,
        evse_processing=Processing.Finished if there else Processing.Ongoing,
        evse_positioning_support=acdp.positioning_support,
        ev_relative_x_deviation=_short(device.x_cm),
        ev_relative_y_deviation=_short(device.y_cm),
        contact_window_xc=acdp.window_x,
        contact_window_yc=acdp.window_y,
        ev_in_charge_position=there,
    )
    event = Observe("acdp", "position", {"x_cm": device.x_cm, "y_cm": device.y_cm, "in_place": there})
    return Step(response, stage, (event,))


@HANDLERS.on_request(iso.ACDP_ConnectReq)
def connect(request: iso.ACDP_ConnectReq, stage: Planned | Connecting, context: RequestContext) -> Step | Wait:
    """Move the device to the vehicle; finished once it is there and all contacts have closed."""
    if isinstance(stage, Planned):
        moving = Connecting(planned=stage, since=context.now)
        return Wait(moving, context.config.poll_hold_s, (MoveDevice(to_vehicle=True),))
    device = context.facts.device
    there = device.mechanical == "EndPosition"
    if not there or not device.connected:
        if context.now - stage.since >= context.config.timing.ongoing_performance:
            raise refuse(
                ResponseCode.FAILED_AssociationError, "the vehicle could not be connected", reason="not_connected"
            )
        if not context.waited:
            return Wait(stage, context.config.poll_hold_s)
        return Step(_connection(iso.ACDP_ConnectRes, Processing.Ongoing, context), stage)
    done = Observe("acdp", "connected", {"seconds": round(context.now - stage.since, 4)})
    return Step(_connection(iso.ACDP_ConnectRes, Processing.Finished, context), stage.planned, (done,))


@HANDLERS.on_request(iso.ACDP_DisconnectReq)
def disconnect(request: iso.ACDP_DisconnectReq, stage: Stopped | Disconnecting, context: RequestContext) -> Step | Wait:
    """Move the device home, unconditionally once there is no voltage."""
    if isinstance(stage, Stopped):
        moving = Disconnecting(planned=stage.planned, since=context.now)
        return Wait(moving, context.config.poll_hold_s, (MoveDevice(to_vehicle=False),))
    if context.facts.device.mechanical != "Home":
        if context.now - stage.since >= context.config.timing.ongoing_performance:
            raise refuse(ResponseCode.FAILED_AssociationError, "the device did not return home", reason="device_stuck")
        if not context.waited:
            return Wait(stage, context.config.poll_hold_s)
        return Step(_connection(iso.ACDP_DisconnectRes, Processing.Ongoing, context), stage)
    done = Observe("acdp", "disconnected", {"seconds": round(context.now - stage.since, 4)})
    response = _connection(iso.ACDP_DisconnectRes, Processing.Finished, context)
    return Step(response, Stopped(planned=stage.planned), (done,))


@SIDE_HANDLERS[PayloadType.ACDP_SYSTEM_STATUS].on_request(iso.ACDP_SystemStatusReq)
def system_status(request: iso.ACDP_SystemStatusReq, stage: Stage, context: RequestContext) -> Step:
    """Exchange states in parallel; a vehicle that is not ready, or reports an emergency, gets no power."""
    vehicle_status = request.ev_technical_status
    if vehicle_status.ev_error_code is iso.ErrorCode.FAILED_EmergencyEvent:
        raise refuse(ResponseCode.FAILED, "the vehicle reports an emergency")
    device = context.facts.device
    response = iso.ACDP_SystemStatusRes(
        header=context.header,
        response_code=ResponseCode.OK,
        evse_mechanical_charging_device_status=iso.MechanicalChargingDeviceStatus(device.mechanical),
        evse_ready_to_charge=not device.trouble,
        evse_isolation_status=iso.IsolationStatus(device.insulation),
        evse_disabled=bool(device.trouble),
        evse_utility_interrupt_event=context.station.charge_w == 0,
        evse_emergency_shutdown=False,
        evse_malfunction=bool(device.trouble),
        ev_in_charge_position=device.in_place,
        ev_association_status=device.connected,
    )
    error = vehicle_status.ev_error_code.value if vehicle_status.ev_error_code is not None else None
    data = {"ready": vehicle_status.ev_ready_to_charge, "immobilized": vehicle_status.ev_immobilized, "error": error}
    return Step(response, stage, (Observe("acdp", "vehicle_status", data),), ready=vehicle_status.ev_ready_to_charge)


def _connection(response: type[Moved], processing: Processing, context: RequestContext) -> Moved:
    return response(
        header=context.header,
        response_code=ResponseCode.OK,
        evse_processing=processing,
        evse_electrical_charging_device_status=_electrical(context.facts.device, context),
        evse_mechanical_charging_device_status=iso.MechanicalChargingDeviceStatus(context.facts.device.mechanical),
    )


def _electrical(device: Device, context: RequestContext) -> iso.ElectricalChargingDeviceStatus:
    """Return the state of the control pilot behind the contacts: A open, B closed, C ready."""
    if not device.connected:
        return iso.ElectricalChargingDeviceStatus.State_A
    pilot = context.facts.pilot.name if context.facts.pilot is not None and context.facts.pilot.name in "BCD" else "B"
    return iso.ElectricalChargingDeviceStatus[f"State_{pilot}"]


def _short(value: int) -> int:
    return max(-32768, min(32767, value))
