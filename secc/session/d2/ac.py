"""Alternating current in ISO 15118-2: the vehicle's own charger controls the power, the charge point bounds it."""

from msgspec.structs import replace

from secc.session import delivery
from secc.session.ports import SetAcOutput
from secc.session.power import apply_output, line_ma, loop_event, overdraw
from secc.session.request_context import Wait, refuse
from secc.session.stages import Charging, Plan, Planned, Vehicle
from secc.session.v2g_message.parameters import most_power_w
from secc.session.v2g_message.request_context import RequestContext, Step
from v2g.energy.conductors import LOWEST_VOLTAGE, line_current_ma
from v2g.energy.needs import EvNeeds
from v2g.iso15118.d2.messages import data_types as iso
from v2g.iso15118.d2.messages.common import ChargingStatusReq
from v2g.iso15118.d2.messages.data_types import EnergyTransferMode
from v2g.iso15118.d2.schedules import VALUES
from v2g.iso15118.engine.physical_values import MOST, Rounding, milliamperes, millivolts, watt_hours


def phases(mode: EnergyTransferMode, context: RequestContext) -> int:
    """Return the number of phases in a mode."""
    return context.config.ac_rating.phases if mode is EnergyTransferMode.AC_three_phase_core else 1


def vehicle(parameter: iso.AC_EVChargeParameter, mode: EnergyTransferMode, context: RequestContext) -> Vehicle:
    """Return the vehicle's limits; its power is that of all phases at the nominal voltage.

    Raises Iso15118Error for impossible ones.
    """
    most_ma, least_ma = milliamperes(parameter.ev_max_current), milliamperes(parameter.ev_min_current)
    if min(least_ma, millivolts(parameter.ev_max_voltage), watt_hours(parameter.e_amount)) < 0:
        raise refuse("FAILED_WrongChargeParameter", "a limit is negative")
    if least_ma > most_ma:
        raise refuse("FAILED_WrongChargeParameter", "the vehicle's currents contradict each other")
    rating, lines = context.config.ac_rating, phases(mode, context)
    voltage = rating.nominal_voltage_v
    if least_ma > rating.charge_ma:  # not the present limit, which may rise
        raise refuse("FAILED_WrongChargeParameter", "the vehicle's lowest current is above the charger's highest")
    # stated between phase and neutral; the field is mandatory, 0 is a vehicle that states none
    if 0 < millivolts(parameter.ev_max_voltage) < LOWEST_VOLTAGE * voltage * 1000:
        raise refuse("FAILED_WrongChargeParameter", "the vehicle's voltage is below that of the mains")
    return Vehicle(
        max_charge_w=min(MOST, voltage * most_ma * lines // 1000),
        max_charge_ma=most_ma,
        max_voltage_mv=voltage * 1000,
        min_voltage_mv=voltage * 1000,
        phases=lines,
    )


def needs(parameter: iso.AC_EVChargeParameter, known: Vehicle, departure_ms: int | None) -> EvNeeds:
    """Return the vehicle's needs for the back end."""
    return EvNeeds(
        service="AC",
        control_mode="scheduled",
        max_charge_w=known.max_charge_w,
        min_charge_w=known.max_voltage_mv * milliamperes(parameter.ev_min_current) * known.phases // 1_000_000,
        max_current_ma=known.max_charge_ma,
        max_voltage_mv=known.max_voltage_mv,
        departure_ms=departure_ms,
        target_energy_wh=watt_hours(parameter.e_amount),
        available=("AC",),
        older=True,
    )


def limits(mode: EnergyTransferMode, plan: Plan, context: RequestContext) -> iso.AC_EVSEChargeParameter:
    """Return the charge point's voltage, and the highest current of one phase in a plan."""
    voltage = context.config.ac_rating.nominal_voltage_v
    most_ma = line_current_ma(most_power_w(plan), voltage, min(phases(mode, context), context.facts.lines))
    return iso.AC_EVSEChargeParameter(
        ac_evse_status=status(context),
        evse_nominal_voltage=VALUES.voltage(voltage * 1000, Rounding.NEAREST),
        evse_max_current=VALUES.current(most_ma, Rounding.DOWN),
    )


def status(context: RequestContext) -> iso.AC_EVSEStatus:
    """Return the present notification."""
    notification = "StopCharging" if context.stop else "ReNegotiation" if context.renegotiate else "None"
    return iso.AC_EVSEStatus(
        notification_max_delay=context.delay_s, evse_notification=iso.EVSENotification(notification), rcd=False
    )


def close(stage: Planned, context: RequestContext) -> Wait | None:
    """Close the contactor, once the control pilot is in C or D, up to 250 ms after the request [V2G2-847]; None while
    a trip of the grid forbids it."""
    if context.facts.pilot not in delivery.READY:
        if context.waited:
            raise refuse("FAILED", "the control pilot is not in state C")
        return Wait(stage, context.pilot_s)
    return None if delivery.tripped(context) else delivery.close_contactors(stage, context)


def charging_status(request: ChargingStatusReq, stage: Charging, context: RequestContext, **added: object) -> Step:
    """Report the present maximum current and the meter; a vehicle that draws more for long is disconnected."""
    stage, commands = apply_output(replace(stage, halted=""), context)
    output, limits = stage.output, stage.limits
    assert isinstance(output, SetAcOutput)
    assert limits is not None
    most_ma = min(output.charge_ma, line_ma(output.charge_w, limits.charge_line, output.lines, context))
    stage, above_w, level = overdraw(stage, context)
    if level == "fail":
        raise refuse("FAILED", f"{above_w} W more than allowed", reason="power_not_obeyed")
    response = context.messages.response(
        "ChargingStatusRes",
        evse_max_current=VALUES.current(most_ma, Rounding.DOWN),
        ac_evse_status=status(context),
        **added,
    )
    return Step(response, stage, (*commands, *loop_event(stage, context)))
