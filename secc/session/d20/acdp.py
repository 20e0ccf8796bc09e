"""An automatic connection device: the vehicle stops below it, is connected, charges by DC, and is disconnected.

The order of the messages follows from their schema; everything here is listed in docs/reference/open-points.md.
"""

from typing import Any, Final

from msgspec.structs import replace

from secc.session.d20.phases import Connecting, Disconnecting, Planned, Selected, Stopped
from secc.session.d20.request_context import Step, Wait, World, refuse
from secc.session.ports import Device, MoveDevice, StartPositioning
from v2g.iso15118.d20.messages.acdp import (
    ACDP_ConnectReq,
    ACDP_ConnectRes,
    ACDP_DisconnectReq,
    ACDP_DisconnectRes,
    ACDP_SystemStatusReq,
    ACDP_SystemStatusRes,
    ACDP_VehiclePositioningReq,
    ACDP_VehiclePositioningRes,
    ElectricalChargingDeviceStatus,
    ErrorCode,
    IsolationStatus,
    MechanicalChargingDeviceStatus,
)
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.observe import Observe

_METHOD: Final = "acdp"


def vehicle_positioning(request: ACDP_VehiclePositioningReq, context: Selected, world: World) -> Step | Wait:
    """Tell how far the vehicle is from its place; finished once it stands there."""
    acdp, device = world.config.acdp, world.device
    within = abs(device.x_cm) <= acdp.window_x and abs(device.y_cm) <= acdp.window_y
    there = not request.ev_mobility_status and (device.in_place if acdp.positioning_support else True) and within
    if not there and not world.waited:
        begun = context.methods[0] == _METHOD
        commands = () if begun else (StartPositioning(_METHOD),)
        return Wait(replace(context, methods=(_METHOD, "", "")), world.config.poll_hold_s, commands)
    response = ACDP_VehiclePositioningRes(
        header=world.header,
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
    return Step(response, context, (event,))


def connect(request: ACDP_ConnectReq, context: Planned | Connecting, world: World) -> Step | Wait:
    """Move the device to the vehicle; finished once it is there and all contacts have closed."""
    if isinstance(context, Planned):
        moving = Connecting(planned=context, since=world.now)
        return Wait(moving, world.config.poll_hold_s, (MoveDevice(to_vehicle=True),))
    device = world.device
    there = device.mechanical == "EndPosition"
    if not there or not device.connected:
        if world.now - context.since >= world.config.timing.ongoing_performance:
            raise refuse(
                ResponseCode.FAILED_AssociationError, "the vehicle could not be connected", reason="not_connected"
            )
        if not world.waited:
            return Wait(context, world.config.poll_hold_s)
        return Step(ACDP_ConnectRes(**_connection(Processing.Ongoing, world)), context)
    done = Observe("acdp", "connected", {"seconds": round(world.now - context.since, 4)})
    return Step(ACDP_ConnectRes(**_connection(Processing.Finished, world)), context.planned, (done,))


def disconnect(request: ACDP_DisconnectReq, context: Stopped | Disconnecting, world: World) -> Step | Wait:
    """Move the device home, which nothing may hinder once there is no voltage any more."""
    if isinstance(context, Stopped):
        moving = Disconnecting(planned=context.planned, since=world.now)
        return Wait(moving, world.config.poll_hold_s, (MoveDevice(to_vehicle=False),))
    if world.device.mechanical != "Home":
        if world.now - context.since >= world.config.timing.ongoing_performance:
            raise refuse(ResponseCode.FAILED_AssociationError, "the device did not come home", reason="device_stuck")
        if not world.waited:
            return Wait(context, world.config.poll_hold_s)
        return Step(ACDP_DisconnectRes(**_connection(Processing.Ongoing, world)), context)
    done = Observe("acdp", "disconnected", {"seconds": round(world.now - context.since, 4)})
    response = ACDP_DisconnectRes(**_connection(Processing.Finished, world))
    return Step(response, Stopped(planned=context.planned), (done,))


def system_status(request: ACDP_SystemStatusReq, context: Any, world: World) -> Step:
    """Exchange states beside everything else; a vehicle gets no power that is not ready, or reports an emergency."""
    told = request.ev_technical_status
    if told.ev_error_code is ErrorCode.FAILED_EmergencyEvent:
        raise refuse(ResponseCode.FAILED, "the vehicle reports an emergency")
    device = world.device
    response = ACDP_SystemStatusRes(
        header=world.header,
        response_code=ResponseCode.OK,
        evse_mechanical_charging_device_status=MechanicalChargingDeviceStatus(device.mechanical),
        evse_ready_to_charge=not device.trouble,
        evse_isolation_status=IsolationStatus(device.insulation),
        evse_disabled=bool(device.trouble),
        evse_utility_interrupt_event=world.station.charge_w == 0,
        evse_emergency_shutdown=False,
        evse_malfunction=bool(device.trouble),
        ev_in_charge_position=device.in_place,
        ev_association_status=device.connected,
    )
    error = told.ev_error_code.value if told.ev_error_code is not None else None
    data = {"ready": told.ev_ready_to_charge, "immobilized": told.ev_immobilized, "error": error}
    return Step(response, context, (Observe("acdp", "vehicle_status", data),), ready=told.ev_ready_to_charge)


def _connection(processing: Processing, world: World) -> dict[str, Any]:
    return {
        "header": world.header,
        "response_code": ResponseCode.OK,
        "evse_processing": processing,
        "evse_electrical_charging_device_status": _electrical(world.device, world),
        "evse_mechanical_charging_device_status": MechanicalChargingDeviceStatus(world.device.mechanical),
    }


def _electrical(device: Device, world: World) -> ElectricalChargingDeviceStatus:
    """Return the state of the control pilot behind the contacts: A open, B closed, C ready."""
    if not device.connected:
        return ElectricalChargingDeviceStatus.State_A
    pilot = world.pilot.name if world.pilot is not None and world.pilot.name in "BCD" else "B"
    return ElectricalChargingDeviceStatus[f"State_{pilot}"]


def _short(value: int) -> int:
    return max(-32768, min(32767, value))
