"""The charge loop of direct current: the vehicle's targets in, the present output out."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from secc.session.ports import SetOutput
from secc.session.power import apply_output, loop_event, power
from secc.session.stages import Charging, Vehicle
from secc.session.v2g_message.delivery import NO_ERROR, dc_evse_status
from secc.session.v2g_message.request_context import RequestContext, Step
from v2g.iso15118.engine.dc_status import Phase
from v2g.iso15118.engine.physical_values import Rounding, milliamperes, millivolts, percent, watts
from v2g.iso15118.engine.quirks import TARGET_CURRENT_OUT_OF_RANGE, TARGET_VOLTAGE_ZERO
from v2g.observe import Observe

if TYPE_CHECKING:  # declarations of the edition that is spoken only
    from v2g.iso15118.v2g_message import CurrentDemandReq


def current_demand(request: "CurrentDemandReq", stage: Charging, context: RequestContext, **added: object) -> Step:
    """Follow the vehicle's targets within all limits, and report the present output; `added` are further fields."""
    status = request.dc_ev_status
    wanted_ma = milliamperes(request.ev_target_current)
    most_ma = context.config.rating.max_charge_current_a * 1000
    asked_ma = max(0, min(wanted_ma, most_ma))
    error, asked_mv = status.ev_error_code.value, millivolts(request.ev_target_voltage)
    stage = replace(
        _updated(stage, request, percent(status.ev_ress_soc), context),
        asked_ma=asked_ma if error == NO_ERROR else 0,
        asked_mv=max(0, asked_mv) if asked_mv else stage.asked_mv,
        alive=True,
    )
    stage, commands = apply_output(stage, context)
    output = stage.output
    assert isinstance(output, SetOutput)
    response = context.messages.response("CurrentDemandRes", **_fields(output, context), **added)
    errors = () if error == NO_ERROR else (Observe("loop", "vehicle_error", {"code": error}),)
    return Step(
        response,
        stage,
        (*commands, *errors, *loop_event(stage, context)),
        quirks=(
            *(() if wanted_ma == asked_ma else (TARGET_CURRENT_OUT_OF_RANGE,)),
            *(() if asked_mv else (TARGET_VOLTAGE_ZERO,)),
        ),
    )


def _updated(stage: Charging, request: "CurrentDemandReq", soc: int, context: RequestContext) -> Charging:
    """Return the stage with the vehicle's new limits; those that it omits stay, and none is negative."""
    parametrised = stage.parametrised
    derived_from = (
        request.ev_maximum_voltage_limit,
        request.ev_maximum_current_limit,
        request.ev_maximum_power_limit,
        soc,
    )
    if parametrised.derived_from == derived_from:
        return stage
    voltage, current, charge, _ = derived_from
    known = parametrised.vehicle
    vehicle = Vehicle(
        max_charge_w=known.max_charge_w if charge is None else max(0, watts(charge)),
        max_charge_ma=known.max_charge_ma if current is None else max(0, milliamperes(current)),
        max_voltage_mv=known.max_voltage_mv if voltage is None else max(0, millivolts(voltage)),
        min_voltage_mv=known.min_voltage_mv,
        soc=soc,
        capacity_wh=known.capacity_wh,
    )
    vehicle = vehicle.bounded(parametrised.able, raises=context.config.raised_limits)
    parametrised = replace(parametrised, vehicle=vehicle, derived_from=derived_from)
    return replace(stage, planned=replace(stage.planned, parametrised=parametrised))


def _fields(output: SetOutput, context: RequestContext) -> dict[str, object]:
    """Return the present output, the limits reached, and the three maxima, which some vehicles require."""
    measured, power_w, values, rating = (
        context.facts.measured,
        power(context),
        context.messages.values,
        context.config.rating,
    )
    return {
        "dc_evse_status": dc_evse_status(Phase.ENERGY, context),
        "evse_present_voltage": values.voltage(measured.voltage_mv, Rounding.NEAREST),
        "evse_present_current": values.current(measured.current_ma, Rounding.NEAREST),
        "evse_current_limit_achieved": 50 * measured.current_ma >= 49 * output.current_ma,
        "evse_voltage_limit_achieved": measured.voltage_mv >= output.voltage_mv,
        "evse_power_limit_achieved": 50 * power_w >= 49 * output.charge_w,
        "evse_maximum_voltage_limit": values.voltage(rating.max_voltage_v * 1000, Rounding.DOWN),
        "evse_maximum_current_limit": values.current(rating.max_charge_current_a * 1000, Rounding.DOWN),
        "evse_maximum_power_limit": values.power(max(0, output.charge_w), Rounding.DOWN),
    }
