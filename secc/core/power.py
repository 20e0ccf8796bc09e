"""How much power flows, and which way: the one place where limits, schedules, wishes and signatures meet."""

from secc.core.config import ControlMode
from secc.core.context import Charging, Selected, Vehicle, World
from secc.core.ports import SetOutput


def choose_output(context: Charging, world: World) -> SetOutput:
    """Return what the hardware has to do now.

    Charge and discharge never exceed what vehicle, charger, site and operator allow (V2G20-2183 to -2188), nor,
    under a schedule, the chosen tuple. Discharge needs a live signed command where the session is bound to that.
    """
    if context.planned.parametrised.selected.control_mode is ControlMode.DYNAMIC:
        return _dynamic(context, world)
    return _scheduled(context, world)


def discharge_ceiling(selected: Selected, vehicle: Vehicle, world: World) -> int:
    """Return the W that may leave the vehicle now, whoever wishes it."""
    if not selected.bidirectional:
        return 0
    bounds = [vehicle.max_discharge_w, world.station.discharge_w]
    if selected.signed_discharge:
        bounds.append(world.signed_w)
    elif world.config.signed_discharge.required:
        return 0
    return max(0, min(bounds))


def _dynamic(context: Charging, world: World) -> SetOutput:
    selected, vehicle = context.planned.parametrised.selected, context.planned.parametrised.vehicle
    charge_w = max(0, min(vehicle.max_charge_w, world.station.charge_w))
    discharge_w = discharge_ceiling(selected, vehicle, world)
    wish = world.setpoint_w
    if wish is not None and wish >= 0:
        charge_w, discharge_w = min(charge_w, wish), 0
    elif wish is not None:
        charge_w, discharge_w = 0, min(discharge_w, -wish)
    elif not selected.signed_discharge:
        discharge_w = 0  # by the plain standard the charger decides, and nobody asks it to take energy
    return _output(vehicle, world, charge_w=0 if discharge_w else charge_w, discharge_w=discharge_w)


def _scheduled(context: Charging, world: World) -> SetOutput:
    selected, vehicle = context.planned.parametrised.selected, context.planned.parametrised.vehicle
    assert context.chosen is not None
    _, planned_charge_w, planned_discharge_w = context.chosen
    charge_w = max(0, min(vehicle.max_charge_w, world.station.charge_w, planned_charge_w))
    discharge_w = min(discharge_ceiling(selected, vehicle, world), planned_discharge_w)
    rating = world.config.rating
    most = min(rating.max_charge_current_a * 1000, vehicle.max_charge_ma)
    least = -min(rating.max_discharge_current_a * 1000, vehicle.max_discharge_ma)
    return SetOutput(
        voltage_mv=min(context.asked_mv, vehicle.max_voltage_mv, rating.max_voltage_v * 1000),
        current_ma=max(least, min(most, context.asked_ma)),
        charge_w=charge_w,
        discharge_w=discharge_w,
    )


def _output(vehicle: Vehicle, world: World, *, charge_w: int, discharge_w: int) -> SetOutput:
    rating = world.config.rating
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
