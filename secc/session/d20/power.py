"""Amount and direction of power: the one place that combines limits, schedules, set points and signatures."""

from typing import Final

from secc.session.config import ControlMode
from secc.session.d20.request_context import RequestContext
from secc.session.d20.stages import Charging, Selected, Vehicle
from secc.session.ports import Output, SetAcOutput, SetOutput, SetWptOutput
from v2g.energy.limits import GridResponse
from v2g.iso15118.d20.charts import Family


def choose_output(stage: Charging, context: RequestContext) -> Output:
    """Return the present output for the hardware.

    Charge and discharge never exceed the limits of vehicle, charger, site and operator (V2G20-2188), nor, under a
    schedule, the chosen tuple. Discharge needs a valid signed command if the session requires it. No power flows
    without a running loop, nor after a request to end the session.
    """
    selected, vehicle = stage.selected, stage.vehicle
    idle = stage.standby or not stage.alive or context.stopping
    if selected.family is Family.WPT:
        return SetWptOutput(charge_w=0, power_w=0) if idle else _wireless(stage, context)
    if idle or stage.held or not context.ready:
        if selected.family is Family.AC:
            return SetAcOutput(charge_w=0, discharge_w=0, power_w=0)
        return _output(vehicle, context, charge_w=0, discharge_w=0)
    if selected.control_mode is ControlMode.DYNAMIC:
        charge_w, discharge_w = _slewed(_dynamic_powers(stage, context), stage, context)
        if selected.family is Family.AC:
            return SetAcOutput(charge_w=charge_w, discharge_w=discharge_w, power_w=charge_w - discharge_w)
        return _output(vehicle, context, charge_w=charge_w, discharge_w=discharge_w)
    charge_w, discharge_w = _scheduled_powers(stage, context)
    if selected.family is Family.AC:
        charge_w, discharge_w = _slewed(_bounded(charge_w, discharge_w, None, context.facts.response), stage, context)
        return SetAcOutput(charge_w=charge_w, discharge_w=discharge_w)
    planned_w = stage.asked_mv * stage.asked_ma // 1_000_000
    charge_w, discharge_w = _slewed(_bounded(charge_w, discharge_w, planned_w, context.facts.response), stage, context)
    return _scheduled(stage, context, charge_w=charge_w, discharge_w=discharge_w)


def _wireless(stage: Charging, context: RequestContext) -> SetWptOutput:
    """Send the power that the vehicle requests, within all limits; none while there is an obstacle."""
    if context.facts.device.trouble:
        return SetWptOutput(charge_w=0, power_w=0)
    dynamic = stage.selected.control_mode is ControlMode.DYNAMIC
    powers = (
        _dynamic_powers(stage, context)
        if dynamic
        else _bounded(*_scheduled_powers(stage, context), None, context.facts.response)
    )
    charge_w, _ = _slewed(powers, stage, context)
    return SetWptOutput(charge_w=charge_w, power_w=min(stage.asked_w, charge_w))


def discharge_ceiling(selected: Selected, vehicle: Vehicle, context: RequestContext) -> int:
    """Return the maximum power (W) that may leave the vehicle now."""
    if not selected.bidirectional:
        return 0
    bounds = [vehicle.max_discharge_w, context.station.discharge_w]
    if selected.signed_discharge:
        bounds.append(context.signed_w)
    elif context.config.signed_discharge.required:
        return 0
    return max(0, min(bounds))


def _dynamic_powers(stage: Charging, context: RequestContext) -> tuple[int, int]:
    """Return W of charge and of discharge, one of which is 0."""
    selected, vehicle = stage.selected, stage.vehicle
    charge_w = max(0, min(vehicle.max_charge_w, context.station.charge_w))
    discharge_w = discharge_ceiling(selected, vehicle, context)
    setpoint_w = context.setpoint_w
    if setpoint_w is not None and setpoint_w >= 0:
        charge_w, discharge_w = min(charge_w, setpoint_w), 0
    elif setpoint_w is not None:
        charge_w, discharge_w = 0, min(discharge_w, -setpoint_w)
    elif not selected.signed_discharge:
        discharge_w = 0  # without signatures the charger decides, and there is no request for discharge
    charge_w = 0 if discharge_w else charge_w
    power_w = context.facts.response.bend(charge_w - discharge_w)
    most, least = min(vehicle.max_charge_w, context.station.charge_w), discharge_ceiling(selected, vehicle, context)
    return max(0, min(most, power_w)), max(0, min(least, -power_w))


def _bounded(charge_w: int, discharge_w: int, planned_w: int | None, response: GridResponse) -> tuple[int, int]:
    """Return the corrected limits of a vehicle that controls its power itself, by schedule or on its own.

    The correction starts from its planned power; if that is unknown, from each limit.
    """
    upper = response.bend(charge_w if planned_w is None else planned_w)
    lower = response.bend(-discharge_w if planned_w is None else planned_w)
    if response.delta_w < 0:
        charge_w = max(0, min(charge_w, upper))
    elif response.delta_w > 0 or response.floor_w is not None:
        discharge_w = max(0, min(discharge_w, -lower))
    if response.ceiling_w is not None:
        charge_w = min(charge_w, max(0, response.ceiling_w))
    if response.floor_w is not None:
        discharge_w = min(discharge_w, max(0, -response.floor_w))
    return charge_w, discharge_w


LEAD_S: Final = 1.0
"""How far (s) a limit that rises by a gradient may be ahead of the present power."""


def _slewed(powers: tuple[int, int], stage: Charging, context: RequestContext) -> tuple[int, int]:
    """Return W of charge and of discharge that rise no faster than the gradient; reductions take effect at once.

    They start from the last limits, and stay close to the power of a vehicle that draws less.
    """
    percent, before = context.facts.response.ramp_percent, stage.output
    if not percent:
        return powers
    seconds = 0.0 if before is None else max(0, context.utc_ms - stage.output_ms) / 1000
    last = (0, 0) if before is None else (before.charge_w, getattr(before, "discharge_w", 0))
    flows = (max(0, context.facts.measured.watts), max(0, -context.facts.measured.watts))
    slewed = []
    for power_w, last_w, flow_w, rated_w in zip(
        powers, last, flows, context.config.power_rating(context.family), strict=True
    ):
        rise = percent / 100 * rated_w
        slewed.append(min(power_w, int(min(last_w + rise * seconds, flow_w + rise * LEAD_S))))
    return slewed[0], slewed[1]


def _scheduled_powers(stage: Charging, context: RequestContext) -> tuple[int, int]:
    """Return the maximum W in each direction by the present entry of the chosen tuple."""
    selected, vehicle = stage.selected, stage.vehicle
    chosen = stage.chosen
    assert chosen is not None
    charge_w = max(0, min(vehicle.max_charge_w, context.station.charge_w, chosen.charge_w(context.utc_ms)))
    discharge_w = min(discharge_ceiling(selected, vehicle, context), chosen.discharge_w(context.utc_ms))
    setpoint_w = context.setpoint_w  # obeyed at once, before the vehicle has agreed on another schedule (K16.FR.11)
    return (
        (charge_w, discharge_w)
        if setpoint_w is None
        else (min(charge_w, max(0, setpoint_w)), min(discharge_w, max(0, -setpoint_w)))
    )


def _scheduled(stage: Charging, context: RequestContext, *, charge_w: int, discharge_w: int) -> SetOutput:
    vehicle = stage.vehicle
    rating = context.config.rating
    most = min(rating.max_charge_current_a * 1000, vehicle.max_charge_ma)
    least = -min(rating.max_discharge_current_a * 1000, vehicle.max_discharge_ma)
    return SetOutput(
        voltage_mv=min(stage.asked_mv, vehicle.max_voltage_mv, rating.max_voltage_v * 1000),
        current_ma=max(least, min(most, stage.asked_ma)),
        charge_w=charge_w,
        discharge_w=discharge_w,
    )


def _output(vehicle: Vehicle, context: RequestContext, *, charge_w: int, discharge_w: int) -> SetOutput:
    rating = context.config.rating
    if discharge_w:
        current = -min(vehicle.max_discharge_ma, rating.max_discharge_current_a * 1000)
    else:
        current = min(vehicle.max_charge_ma, rating.max_charge_current_a * 1000)
    return SetOutput(
        voltage_mv=min(vehicle.max_voltage_mv, rating.max_voltage_v * 1000),
        current_ma=current,
        charge_w=charge_w,
        discharge_w=discharge_w,
    )
