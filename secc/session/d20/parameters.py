"""Charge parameters: limits of vehicle and charger."""

from msgspec.structs import replace

from secc.session.config import EvseRating
from secc.session.d20.quantities import to_milli, to_w
from secc.session.d20.stages import HANDLERS, RequestContext, Step, refuse
from secc.session.stages import Parametrised, Selected, Vehicle
from v2g.iso15118.d20.messages import dc as iso
from v2g.iso15118.d20.messages.common_types import ResponseCode
from v2g.iso15118.d20.quantities import whole
from v2g.observe import Observe


@HANDLERS.on_request(iso.DC_ChargeParameterDiscoveryReq)
def charge_parameter_discovery(
    request: iso.DC_ChargeParameterDiscoveryReq, stage: Selected, context: RequestContext
) -> Step:
    """Store the vehicle's limits and send the charger's rating, which bounds every later limit (V2G20-2654)."""
    mode = request.dc_cpd_req_energy_transfer_mode
    if isinstance(mode, iso.BPT_DC_CPDReqEnergyTransferMode) != stage.bidirectional:
        raise refuse(ResponseCode.FAILED_WrongChargeParameter, "the parameters do not match the selected service")
    vehicle = _vehicle(mode)
    rating = context.config.rating
    if why := _impossible(mode, vehicle, rating):  # V2G20-2272
        raise refuse(ResponseCode.FAILED_WrongChargeParameter, why)
    response = iso.DC_ChargeParameterDiscoveryRes(
        header=context.header,
        response_code=ResponseCode.OK,
        dc_cpd_res_energy_transfer_mode=rating_mode(context, bidirectional=stage.bidirectional),
    )
    return Step(
        response, Parametrised(selected=stage, vehicle=vehicle, rated=vehicle), (limits_event(stage, vehicle, context),)
    )


def limits_event(selected: Selected, vehicle: Vehicle, context: RequestContext) -> Observe:
    """Return the event with both sides' limits."""
    charge_w, discharge_w = context.config.power_rating(selected.family)
    return Observe(
        "parameters",
        "limits",
        {
            "ev_charge_w": vehicle.max_charge_w,
            "ev_discharge_w": vehicle.max_discharge_w,
            "ev_max_voltage_mv": vehicle.max_voltage_mv,
            "evse_charge_w": charge_w,
            "evse_discharge_w": discharge_w if selected.bidirectional else 0,
            "station_charge_w": context.station.charge_w,
            "station_discharge_w": context.station.discharge_w,
        },
    )


def rating_mode(
    context: RequestContext, *, bidirectional: bool
) -> iso.DC_CPDResEnergyTransferMode | iso.BPT_DC_CPDResEnergyTransferMode:
    """Return the charger's rating as the schema requires it."""
    rating = context.config.rating
    charge = {
        "evse_maximum_charge_power": whole(rating.max_charge_power_w),
        "evse_minimum_charge_power": whole(rating.min_charge_power_w),
        "evse_maximum_charge_current": whole(rating.max_charge_current_a),
        "evse_minimum_charge_current": whole(rating.min_charge_current_a),
        "evse_maximum_voltage": whole(rating.max_voltage_v),
        "evse_minimum_voltage": whole(rating.min_voltage_v),
    }
    if not bidirectional:
        return iso.DC_CPDResEnergyTransferMode(**charge)
    sign = discharge_sign(context)
    return iso.BPT_DC_CPDResEnergyTransferMode(
        **charge,
        evse_maximum_discharge_power=whole(sign * rating.max_discharge_power_w),
        evse_minimum_discharge_power=whole(sign * rating.min_discharge_power_w),
        evse_maximum_discharge_current=whole(sign * rating.max_discharge_current_a),
        evse_minimum_discharge_current=whole(sign * rating.min_discharge_current_a),
    )


def discharge_sign(context: RequestContext) -> int:
    """Return the sign of discharge limits on the wire, which differs between editions of the standard."""
    return -1 if context.config.negative_discharge_limits else 1


def _vehicle(mode: iso.DC_CPDReqEnergyTransferMode | iso.BPT_DC_CPDReqEnergyTransferMode) -> Vehicle:
    vehicle = Vehicle(
        max_charge_w=to_w(mode.ev_maximum_charge_power),
        max_charge_ma=to_milli(mode.ev_maximum_charge_current),
        max_voltage_mv=to_milli(mode.ev_maximum_voltage),
        min_voltage_mv=to_milli(mode.ev_minimum_voltage),
        min_charge_w=max(0, to_w(mode.ev_minimum_charge_power)),
    )
    if isinstance(mode, iso.BPT_DC_CPDReqEnergyTransferMode):
        return replace(
            vehicle,
            max_discharge_w=abs(to_w(mode.ev_maximum_discharge_power)),
            max_discharge_ma=abs(to_milli(mode.ev_maximum_discharge_current)),
            min_discharge_w=abs(to_w(mode.ev_minimum_discharge_power)),
        )
    return vehicle


def _impossible(mode: iso.DC_CPDReqEnergyTransferMode, vehicle: Vehicle, rating: EvseRating) -> str:
    """Return the contradiction in these limits, or empty."""
    if min(vehicle.max_charge_w, vehicle.max_charge_ma, vehicle.max_voltage_mv, vehicle.min_voltage_mv) < 0:
        return "a limit is negative"
    if vehicle.min_voltage_mv > vehicle.max_voltage_mv:
        return "the vehicle's voltages contradict each other"
    if to_w(mode.ev_minimum_charge_power) > vehicle.max_charge_w:
        return "the vehicle's charge powers contradict each other"
    if to_milli(mode.ev_minimum_charge_current) > vehicle.max_charge_ma:
        return "the vehicle's charge currents contradict each other"
    if isinstance(mode, iso.BPT_DC_CPDReqEnergyTransferMode):
        if vehicle.min_discharge_w > vehicle.max_discharge_w:
            return "the vehicle's discharge powers contradict each other"
        if abs(to_milli(mode.ev_minimum_discharge_current)) > vehicle.max_discharge_ma:
            return "the vehicle's discharge currents contradict each other"
    if vehicle.max_voltage_mv < rating.min_voltage_v * 1000 or vehicle.min_voltage_mv > rating.max_voltage_v * 1000:
        return "the voltage ranges of vehicle and charger do not overlap"
    if to_milli(mode.ev_minimum_charge_current) > rating.max_charge_current_a * 1000:
        return "the vehicle's lowest current is above the charger's highest"
    if vehicle.min_charge_w > rating.max_charge_power_w:
        return "the vehicle's lowest power is above the charger's highest"
    return ""
