"""The charge loop: the vehicle's limits in, the power of this moment out, and the meter confirmed by signature."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec.structs import replace

from secc.core.config import ControlMode
from secc.core.context import Charging, Selected, Step, Vehicle, World, refuse
from secc.core.parameters import discharge_sign
from secc.core.ports import Journal, RecordMeter, Reported, SetOutput
from secc.core.power import choose_output
from secc.core.quantities import milli, to_milli, to_w, watts
from v2g import exi
from v2g.errors import SignatureError
from v2g.iso15118 import signature
from v2g.iso15118.messages.common_messages import MeteringConfirmationReq, MeteringConfirmationRes
from v2g.iso15118.messages.common_types import EvseNotification, EVSEStatus, MeterInfo, ResponseCode
from v2g.iso15118.messages.dc import (
    BPT_Dynamic_DC_CLReqControlMode,
    BPT_Dynamic_DC_CLResControlMode,
    BPT_Scheduled_DC_CLReqControlMode,
    BPT_Scheduled_DC_CLResControlMode,
    DC_ChargeLoopReq,
    DC_ChargeLoopRes,
    Dynamic_DC_CLReqControlMode,
    Dynamic_DC_CLResControlMode,
    Scheduled_DC_CLReqControlMode,
    Scheduled_DC_CLResControlMode,
)
from v2g.iso15118.session import Command
from v2g.observe import Observe
from v2g.pki.certificates import load_certificate
from v2g.settlement.records import MeteringConfirmed

REMEMBERED_READINGS: Final = 8
"""How many readings a vehicle may still confirm; loops go on while it signs."""

RequestMode = (
    BPT_Dynamic_DC_CLReqControlMode
    | BPT_Scheduled_DC_CLReqControlMode
    | Dynamic_DC_CLReqControlMode
    | Scheduled_DC_CLReqControlMode
)
ResponseMode = (
    BPT_Dynamic_DC_CLResControlMode
    | BPT_Scheduled_DC_CLResControlMode
    | Dynamic_DC_CLResControlMode
    | Scheduled_DC_CLResControlMode
)

_MODES: Final[Mapping[tuple[ControlMode, bool], type[RequestMode]]] = MappingProxyType(
    {
        (ControlMode.DYNAMIC, True): BPT_Dynamic_DC_CLReqControlMode,
        (ControlMode.DYNAMIC, False): Dynamic_DC_CLReqControlMode,
        (ControlMode.SCHEDULED, True): BPT_Scheduled_DC_CLReqControlMode,
        (ControlMode.SCHEDULED, False): Scheduled_DC_CLReqControlMode,
    }
)
"""(control mode, both directions) -> what the loop of such a session carries."""


def charge_loop(request: DC_ChargeLoopReq, context: Charging, world: World) -> Step:
    """Take the vehicle's limits or targets, set the output, and say what flows (V2G20-2183 to -2188)."""
    selected = context.planned.parametrised.selected
    mode = request.cl_req_control_mode
    if type(mode) is not _MODES[selected.control_mode, selected.bidirectional]:
        raise refuse(ResponseCode.FAILED, f"{type(mode).__name__} is not what was selected")
    soc = request.display_parameters.present_soc if request.display_parameters else None
    context = _told(context, mode, soc)
    context, commands = apply_output(context, world)
    output = context.output
    assert output is not None
    vehicle = context.planned.parametrised.vehicle
    reported = Reported(to_milli(request.ev_present_voltage), vehicle.max_charge_ma, vehicle.max_discharge_ma)
    meter_info = _meter_info(request, context, world)
    if meter_info is not None and (not context.told_meter or context.told_meter[-1] != meter_info):
        context = replace(context, told_meter=(*context.told_meter, meter_info)[-REMEMBERED_READINGS:])
    response = _response(output, meter_info, selected, world)
    event = (_event(context, output, world),) if world.config.loop_events else ()
    return Step(response, replace(context, loops=context.loops + 1), (*commands, reported, *event))


def apply_output(context: Charging, world: World) -> tuple[Charging, tuple[Command | Observe, ...]]:
    """Return the context with the output that holds now, and what makes the hardware follow.

    A lower limit reaches the hardware first and the books afterwards.
    """
    output = choose_output(context, world)
    before = context.output
    if output == before:
        return context, ()
    commands: list[Command | Observe] = [output]
    if _direction(output) != (_direction(before) if before else 0):
        soc = context.planned.parametrised.vehicle.soc
        commands.append(RecordMeter("direction", power_w=_power(world), soc=soc))
        commands.append(Observe("power", "direction", {"direction": _NAMES[_direction(output)]}))
    return replace(context, output=output), tuple(commands)


def metering_confirmation(request: MeteringConfirmationReq, context: Charging, world: World) -> Step:
    """Take the vehicle's signature under a reading that it was told."""
    data = request.signed_metering_data
    contract = context.planned.parametrised.selected.authorized.contract
    if contract is None:
        raise refuse(ResponseCode.FAILED_SignatureError, "without a contract nobody can sign")
    interop = world.trust.interop
    try:
        signature.verify(
            request.header.signature,
            data,
            load_certificate(contract.chain[0]).public_key(),  # type: ignore[arg-type] # judged with the chain
            allowed=signature.INTEROP if interop else signature.STANDARD,
        )
    except SignatureError as error:
        raise refuse(ResponseCode.FAILED_SignatureError, str(error)) from None
    if data.session_id != request.header.session_id or data.meter_info not in context.told_meter:
        raise refuse(ResponseCode.FAILED_MeteringSignatureNotValid, "this reading was not told in this session")
    info = data.meter_info
    commands = (
        Journal(MeteringConfirmed(payload=exi.encode(request))),
        Observe(
            "metering",
            "confirmed",
            {
                "charged_wh": info.charged_energy_reading_wh,
                "discharged_wh": info.bpt_discharged_energy_reading_wh,
                "emaid": contract.emaid,
            },
        ),
    )
    response = MeteringConfirmationRes(header=world.header, response_code=ResponseCode.OK)
    return Step(response, context, commands, heard="MeteringConfirmation")


def _told(context: Charging, mode: RequestMode, soc: int | None) -> Charging:
    """Return the context with what the vehicle says now; optional limits that it leaves out stay as they were."""
    parametrised = context.planned.parametrised
    vehicle = _limits(parametrised.vehicle, mode, soc)
    if vehicle != parametrised.vehicle:
        planned = replace(context.planned, parametrised=replace(parametrised, vehicle=vehicle))
        context = replace(context, planned=planned)
    if isinstance(mode, Scheduled_DC_CLReqControlMode):
        return replace(
            context, asked_ma=to_milli(mode.ev_target_current), asked_mv=max(0, to_milli(mode.ev_target_voltage))
        )
    return context


def _limits(known: Vehicle, mode: RequestMode, soc: int | None) -> Vehicle:
    given = (
        ("max_charge_w", mode.ev_maximum_charge_power, to_w),
        ("max_charge_ma", mode.ev_maximum_charge_current, to_milli),
        ("max_voltage_mv", mode.ev_maximum_voltage, to_milli),
        ("min_voltage_mv", mode.ev_minimum_voltage, to_milli),
    )
    changes: dict[str, Any] = {name: max(0, read(number)) for name, number, read in given if number is not None}
    if isinstance(mode, BPT_Dynamic_DC_CLReqControlMode | BPT_Scheduled_DC_CLReqControlMode):
        # sources disagree on the sign of discharge limits: the magnitude counts
        if mode.ev_maximum_discharge_power is not None:
            changes["max_discharge_w"] = abs(to_w(mode.ev_maximum_discharge_power))
        if mode.ev_maximum_discharge_current is not None:
            changes["max_discharge_ma"] = abs(to_milli(mode.ev_maximum_discharge_current))
    if soc is not None:
        changes["soc"] = soc
    return replace(known, **changes)


def _meter_info(request: DC_ChargeLoopReq, context: Charging, world: World) -> MeterInfo | None:
    """Return the meter's reading of this session (V2G20-902) when it is asked for, first, or to be confirmed."""
    meter = world.meter
    first = world.config.meter_info and context.loops == 0  # V2G20-1833
    confirm = world.notice is not None and world.notice.notification == "MeteringConfirmation"  # V2G20-1083
    if meter is None or not (request.meter_info_requested or first or confirm):
        return None
    import_mwh, export_mwh = world.meter_begin
    bidirectional = context.planned.parametrised.selected.bidirectional
    return MeterInfo(
        meter_id=meter.meter_id,
        charged_energy_reading_wh=(meter.import_mwh - import_mwh) // 1000,
        bpt_discharged_energy_reading_wh=(meter.export_mwh - export_mwh) // 1000 if bidirectional else None,
        meter_signature=meter.signature,
        meter_timestamp=meter.utc_ms // 1000,
    )


def _response(output: SetOutput, meter_info: MeterInfo | None, selected: Selected, world: World) -> DC_ChargeLoopRes:
    measured, power_w = world.measured, _power(world)
    bound_w = output.charge_w if power_w >= 0 else output.discharge_w
    return DC_ChargeLoopRes(
        header=world.header,
        response_code=ResponseCode.OK,
        evse_status=_status(world),
        meter_info=meter_info,
        evse_present_current=milli(measured.current_ma),
        evse_present_voltage=milli(measured.voltage_mv),
        evse_power_limit_achieved=50 * abs(power_w) >= 49 * bound_w,
        evse_current_limit_achieved=50 * abs(measured.current_ma) >= 49 * abs(output.current_ma),
        evse_voltage_limit_achieved=measured.voltage_mv >= output.voltage_mv,
        cl_res_control_mode=_mode(output, selected, world),
    )


def _mode(output: SetOutput, selected: Selected, world: World) -> ResponseMode:
    """Return the limits of this moment. In dynamic mode they are the command: power will be found within them."""
    rating = world.config.rating
    limits: dict[str, Any] = {
        "evse_maximum_charge_power": watts(output.charge_w),
        "evse_minimum_charge_power": watts(min(rating.min_charge_power_w, output.charge_w)),
        "evse_maximum_charge_current": watts(rating.max_charge_current_a),
        "evse_maximum_voltage": watts(rating.max_voltage_v),
    }
    dynamic = selected.control_mode is ControlMode.DYNAMIC
    if not selected.bidirectional:
        return Dynamic_DC_CLResControlMode(**limits) if dynamic else Scheduled_DC_CLResControlMode(**limits)
    sign = discharge_sign(world)
    limits |= {
        "evse_maximum_discharge_power": watts(sign * output.discharge_w),
        "evse_minimum_discharge_power": watts(sign * min(rating.min_discharge_power_w, output.discharge_w)),
        "evse_maximum_discharge_current": watts(sign * rating.max_discharge_current_a),
        "evse_minimum_voltage": watts(rating.min_voltage_v),
    }
    return BPT_Dynamic_DC_CLResControlMode(**limits) if dynamic else BPT_Scheduled_DC_CLResControlMode(**limits)


def _status(world: World) -> EVSEStatus | None:
    if world.notice is None:
        return None
    return EVSEStatus(
        notification_max_delay=max(0, min(65535, int(world.notice.until - world.now))),
        evse_notification=EvseNotification(world.notice.notification),
    )


_NAMES: Final = {1: "charging", 0: "idle", -1: "discharging"}


def _direction(output: SetOutput) -> int:
    if output.current_ma > 0 and output.charge_w:
        return 1
    return -1 if output.current_ma < 0 and output.discharge_w else 0


def _power(world: World) -> int:
    return world.measured.voltage_mv * world.measured.current_ma // 1_000_000


def _event(context: Charging, output: SetOutput, world: World) -> Observe:
    return Observe(
        "loop",
        "response",
        {
            "power_w": _power(world),
            "voltage_mv": world.measured.voltage_mv,
            "current_ma": world.measured.current_ma,
            "charge_limit_w": output.charge_w,
            "discharge_limit_w": output.discharge_w,
            "soc": context.planned.parametrised.vehicle.soc,
            "notice": world.notice.notification if world.notice else None,
        },
    )
