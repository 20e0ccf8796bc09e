"""What vehicle and charger can do, and what they plan."""

from msgspec.structs import replace

from secc.core import pricing
from secc.core.config import ControlMode, EvseRating
from secc.core.context import Charging, Parametrised, Plan, Planned, Selected, Step, Vehicle, World, refuse
from secc.core.ports import ReportChargingNeeds
from secc.core.quantities import to_milli, to_w, watts
from v2g.iso15118.messages.common_messages import ScheduleExchangeReq, ScheduleExchangeRes
from v2g.iso15118.messages.common_types import Processing, RationalNumber, ResponseCode
from v2g.iso15118.messages.dc import (
    BPT_DC_CPDReqEnergyTransferMode,
    BPT_DC_CPDResEnergyTransferMode,
    DC_ChargeParameterDiscoveryReq,
    DC_ChargeParameterDiscoveryRes,
    DC_CPDReqEnergyTransferMode,
    DC_CPDResEnergyTransferMode,
)
from v2g.iso15118.messages.schedules import Dynamic_SEReqControlMode, Scheduled_SEReqControlMode
from v2g.observe import Observe


def charge_parameter_discovery(request: DC_ChargeParameterDiscoveryReq, context: Selected, world: World) -> Step:
    """Take the vehicle's limits and tell the charger's rating, within which every later limit stays (V2G20-2654)."""
    mode = request.dc_cpd_req_energy_transfer_mode
    if isinstance(mode, BPT_DC_CPDReqEnergyTransferMode) != context.bidirectional:
        raise refuse(ResponseCode.FAILED_WrongChargeParameter, "the parameters are not those of the selected service")
    vehicle = _vehicle(mode)
    rating = world.config.rating
    if why := _impossible(mode, vehicle, rating):  # V2G20-2272
        raise refuse(ResponseCode.FAILED_WrongChargeParameter, why)
    response = DC_ChargeParameterDiscoveryRes(
        header=world.header,
        response_code=ResponseCode.OK,
        dc_cpd_res_energy_transfer_mode=rating_mode(world, bidirectional=context.bidirectional),
    )
    event = Observe(
        "parameters",
        "limits",
        {
            "ev_charge_w": vehicle.max_charge_w,
            "ev_discharge_w": vehicle.max_discharge_w,
            "ev_max_voltage_mv": vehicle.max_voltage_mv,
            "evse_charge_w": rating.max_charge_power_w,
            "evse_discharge_w": rating.max_discharge_power_w if context.bidirectional else 0,
            "station_charge_w": world.station.charge_w,
            "station_discharge_w": world.station.discharge_w,
        },
    )
    return Step(response, Parametrised(selected=context, vehicle=vehicle), (event,))


def rating_mode(world: World, *, bidirectional: bool) -> DC_CPDResEnergyTransferMode | BPT_DC_CPDResEnergyTransferMode:
    """Return the charger's rating as the schema wants it."""
    rating = world.config.rating
    charge = {
        "evse_maximum_charge_power": watts(rating.max_charge_power_w),
        "evse_minimum_charge_power": watts(rating.min_charge_power_w),
        "evse_maximum_charge_current": watts(rating.max_charge_current_a),
        "evse_minimum_charge_current": watts(rating.min_charge_current_a),
        "evse_maximum_voltage": watts(rating.max_voltage_v),
        "evse_minimum_voltage": watts(rating.min_voltage_v),
    }
    if not bidirectional:
        return DC_CPDResEnergyTransferMode(**charge)
    sign = discharge_sign(world)
    return BPT_DC_CPDResEnergyTransferMode(
        **charge,
        evse_maximum_discharge_power=watts(sign * rating.max_discharge_power_w),
        evse_minimum_discharge_power=watts(sign * rating.min_discharge_power_w),
        evse_maximum_discharge_current=watts(sign * rating.max_discharge_current_a),
        evse_minimum_discharge_current=watts(sign * rating.min_discharge_current_a),
    )


def discharge_sign(world: World) -> int:
    """Return the sign of discharge limits on the wire, which editions of the standard see differently."""
    return -1 if world.config.negative_discharge_limits else 1


def schedule_exchange(request: ScheduleExchangeReq, context: Parametrised | Charging, world: World) -> Step:
    """Plan with what is known now. Limits and prices that change later are obeyed in the loop."""
    parametrised = context.planned.parametrised if isinstance(context, Charging) else context
    mode = request.dynamic_se_req_control_mode or request.scheduled_se_req_control_mode
    dynamic = parametrised.selected.control_mode is ControlMode.DYNAMIC
    if mode is None or isinstance(mode, Dynamic_SEReqControlMode) != dynamic:  # V2G20-1600
        raise refuse(ResponseCode.FAILED, "the needs are not stated in the selected control mode")
    if why := _contradiction(mode):
        raise refuse(ResponseCode.FAILED, why)
    departure_ms = world.utc_ms + mode.departure_time * 1000 if mode.departure_time is not None else None
    charge_w = max(0, min(parametrised.vehicle.max_charge_w, world.station.charge_w))
    discharge_w = plannable_discharge(parametrised, world)
    plan = Plan(tuples=() if dynamic else ((1, charge_w, discharge_w),), departure_ms=departure_ms)
    horizon_s = pricing.horizon(mode.departure_time)
    response = ScheduleExchangeRes(
        header=world.header,
        response_code=ResponseCode.OK,
        evse_processing=Processing.Finished,
        dynamic_se_res_control_mode=pricing.dynamic_mode(request, world, horizon_s) if dynamic else None,
        scheduled_se_res_control_mode=None if dynamic else pricing.scheduled_mode(request, plan, world, horizon_s),
    )
    planned = Planned(parametrised=parametrised, plan=plan)
    renewed = replace(context, planned=planned) if isinstance(context, Charging) else planned
    needs = _needs(mode, parametrised, departure_ms)
    event = Observe(
        "schedule",
        "planned",
        {
            "control_mode": parametrised.selected.control_mode.name.capitalize(),
            "charge_w": charge_w,
            "discharge_w": discharge_w,
            "tariff_version": world.tariff.version if world.tariff else None,
            "departure_ms": departure_ms,
        },
    )
    return Step(response, renewed, (needs, event))


def plannable_discharge(parametrised: Parametrised, world: World) -> int:
    """Return the W of discharge that a schedule may hold: all limits, without asking yet for a signed command."""
    selected = parametrised.selected
    if not selected.bidirectional or (world.config.signed_discharge.required and not selected.signed_discharge):
        return 0
    return max(0, min(parametrised.vehicle.max_discharge_w, world.station.discharge_w))


def _vehicle(mode: DC_CPDReqEnergyTransferMode | BPT_DC_CPDReqEnergyTransferMode) -> Vehicle:
    vehicle = Vehicle(
        max_charge_w=to_w(mode.ev_maximum_charge_power),
        max_charge_ma=to_milli(mode.ev_maximum_charge_current),
        max_voltage_mv=to_milli(mode.ev_maximum_voltage),
        min_voltage_mv=to_milli(mode.ev_minimum_voltage),
    )
    if isinstance(mode, BPT_DC_CPDReqEnergyTransferMode):
        return replace(
            vehicle,
            max_discharge_w=abs(to_w(mode.ev_maximum_discharge_power)),
            max_discharge_ma=abs(to_milli(mode.ev_maximum_discharge_current)),
        )
    return vehicle


def _impossible(mode: DC_CPDReqEnergyTransferMode, vehicle: Vehicle, rating: EvseRating) -> str:
    """Return why these limits leave nothing that could be done, or nothing."""
    if min(vehicle.max_charge_w, vehicle.max_charge_ma, vehicle.max_voltage_mv, vehicle.min_voltage_mv) < 0:
        return "a limit is negative"
    if vehicle.min_voltage_mv > vehicle.max_voltage_mv:
        return "the vehicle's voltages contradict each other"
    if to_w(mode.ev_minimum_charge_power) > vehicle.max_charge_w:
        return "the vehicle's charge powers contradict each other"
    if to_milli(mode.ev_minimum_charge_current) > vehicle.max_charge_ma:
        return "the vehicle's charge currents contradict each other"
    if vehicle.max_voltage_mv < rating.min_voltage_v * 1000 or vehicle.min_voltage_mv > rating.max_voltage_v * 1000:
        return "vehicle and charger have no voltage in common"
    return ""


def _contradiction(mode: Dynamic_SEReqControlMode | Scheduled_SEReqControlMode) -> str:
    """Return what is wrong with the needs (V2G20-1290, -1640, -2681), or nothing."""
    energies = [
        to_w(each)
        for each in (mode.ev_minimum_energy_request, mode.ev_target_energy_request, mode.ev_maximum_energy_request)
        if each is not None
    ]
    if energies != sorted(energies):
        return "minimum, target and maximum energy are not in this order"
    if isinstance(mode, Dynamic_SEReqControlMode):
        if (mode.minimum_soc is None) != (mode.target_soc is None):
            return "MinimumSOC and TargetSOC come together or not at all"
        if mode.minimum_soc is not None and mode.target_soc is not None and mode.minimum_soc > mode.target_soc:
            return "MinimumSOC is above TargetSOC"
    return ""


def _needs(
    mode: Dynamic_SEReqControlMode | Scheduled_SEReqControlMode, parametrised: Parametrised, departure_ms: int | None
) -> ReportChargingNeeds:
    selected, vehicle = parametrised.selected, parametrised.vehicle
    return ReportChargingNeeds(
        service=selected.service.name,
        control_mode=selected.control_mode.name.capitalize(),
        departure_ms=departure_ms,
        max_charge_w=vehicle.max_charge_w,
        max_discharge_w=vehicle.max_discharge_w,
        max_current_ma=vehicle.max_charge_ma,
        max_voltage_mv=vehicle.max_voltage_mv,
        soc=vehicle.soc,
        target_soc=mode.target_soc if isinstance(mode, Dynamic_SEReqControlMode) else None,
        target_energy_wh=_energy(mode.ev_target_energy_request),
        max_energy_wh=_energy(mode.ev_maximum_energy_request),
        min_energy_wh=_energy(mode.ev_minimum_energy_request),
    )


def _energy(number: RationalNumber | None) -> int | None:
    return None if number is None else to_w(number)
