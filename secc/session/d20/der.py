"""AC DER by IEC (Amendment 1): what the vehicle's inverter is asked for, and what it reports (R221).

Loaded by the first session of it. Services, schedules, power and stop are those of alternating current.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from msgspec.structs import asdict, replace

from secc.session.config import ControlMode
from secc.session.d20.parameters import discharge_sign
from secc.session.d20.quantities import by_phase, to_w
from secc.session.d20.stages import RequestContext
from secc.session.power import on_lines, permitted, used_lines
from secc.session.stages import Charging, Selected, Vehicle
from v2g.energy.grid_support import GridSupport
from v2g.energy.limits import MOST_MA
from v2g.energy.needs import DerNeeds
from v2g.exi.declare import Element
from v2g.iso15118.d20.der import control, setpoints
from v2g.iso15118.d20.messages import ac
from v2g.iso15118.d20.messages import ac_der_iec as iso
from v2g.iso15118.d20.quantities import PHASES
from v2g.observe import Observe, Scalar
from v2g.typed_json import Fields

PARAMETERS: Final = iso.AC_ChargeParameterDiscoveryRes
LOOP: Final = iso.AC_ChargeLoopRes
_Request: TypeAlias = type[ac.Dynamic_AC_CLReqControlMode] | type[ac.Scheduled_AC_CLReqControlMode]
_Response: TypeAlias = type[ac.Dynamic_AC_CLResControlMode] | type[ac.Scheduled_AC_CLResControlMode]
Modes: TypeAlias = Mapping[ControlMode, tuple[_Request, _Response]]
MODES: Final[Modes] = {
    ControlMode.DYNAMIC: (iso.DER_Dynamic_AC_CLReqControlMode, iso.DER_Dynamic_AC_CLResControlMode),
    ControlMode.SCHEDULED: (iso.DER_Scheduled_AC_CLReqControlMode, iso.DER_Scheduled_AC_CLResControlMode),
}
"""Control mode -> control modes of request and response in the loop."""


def rated(rating: ac.BPT_AC_CPDResEnergyTransferMode) -> Fields:
    """Return the charge point's rating as either flavour has it: without a least discharge, with nominal powers."""
    fields = {name: value for name, value in asdict(rating).items() if "minimum_discharge" not in name}
    most = {name: value for name, value in fields.items() if name.startswith("evse_maximum")}
    return fields | {name.replace("maximum", "nominal"): value for name, value in most.items()}


def rating(
    plain: ac.BPT_AC_CPDResEnergyTransferMode,
    mode: Element,
    vehicle: Vehicle,
    selected: Selected,
    context: RequestContext,
) -> tuple[iso.DER_AC_CPDResEnergyTransferMode, Vehicle, tuple[Observe, ...]]:
    """Return the charge point's rating with the values of the functions that were selected, the vehicle as these allow
    it, and what there is to report."""
    demands = iso.DER_AC_CPDResEnergyTransferMode(
        **rated(plain),
        ev_operating_mode=iso.EvOperatingMode.GridFollowing,
        grid_connection_mode=iso.GridConnectionMode.GridConnected,
        der_control=control(context.grid_support, selected.functions),
    )
    assert isinstance(mode, iso.DER_AC_CPDReqEnergyTransferMode)
    reactive, energy = mode.ev_reactive_power_limits, mode.ev_session_total_discharge_energy_available
    needs = DerNeeds(
        functions=selected.functions,
        charge_var=None if reactive is None else whole(reactive, "ev_maximum_charge_reactive_power"),
        discharge_var=None if reactive is None else whole(reactive, "ev_maximum_discharge_reactive_power"),
        discharge_wh=None if energy is None else to_w(energy),
    )
    given = context.grid_support.only(selected.functions)
    return demands, replace(vehicle, der=needs, given=given), (given_to(given),)


def given_to(support: GridSupport) -> Observe:
    """Return the event that a vehicle's inverter was given these functions."""
    return Observe("power", "supports_grid", {"functions": " ".join(sorted(support.functions))})


def whole(limits: Element, name: str) -> int:
    """Return a reactive power of all phases, var, as a magnitude."""
    return abs(sum(to_w(value) for phase in PHASES if (value := getattr(limits, name + phase)) is not None))


def limits(stage: Charging, sign: int, context: RequestContext) -> Fields:
    """Return the limits in both directions, as a loop response of either flavour has them: under a schedule those in
    force, which no target says while the vehicle keeps to them."""
    scheduled, vehicle = stage.selected.control_mode is ControlMode.SCHEDULED, stage.vehicle
    most = stage.limits if scheduled else permitted(stage.selected, vehicle, context)
    assert most is not None
    (charge_ma, _), (discharge_ma, _) = most.charge_line or (MOST_MA, ""), most.discharge_line or (MOST_MA, "")
    charge = on_lines(most.charge_w, charge_ma, vehicle, context)
    discharge = on_lines(-most.discharge_w, discharge_ma, vehicle, context)
    return {
        **by_phase("evse_maximum_charge_power", charge),
        **by_phase("evse_maximum_discharge_power", [sign * abs(each) for each in discharge]),
    }


def loop_fields(stage: Charging, context: RequestContext) -> Fields:
    """Return what a loop response has beside that of AC: limits in both directions, and the grid operator's set-points,
    where their functions were selected."""
    given = setpoints(context.grid_support, stage.selected.functions, used_lines(stage.vehicle, context))
    return limits(stage, discharge_sign(context), context) | given


def noted(stage: Charging, mode: Element) -> tuple[Charging, tuple[Observe, ...]]:
    """Note the vehicle's GridEventCondition."""
    condition: int = mode.grid_event_condition  # type: ignore[attr-defined] # both DER modes have it
    return at_edge(stage, condition)


def at_edge(stage: Charging, condition: int) -> tuple[Charging, tuple[Observe, ...]]:
    """Note what the vehicle says of the grid, 0 for nothing; an event at each edge."""
    if condition == stage.grid_event:
        return stage, ()
    data: dict[str, Scalar] = {"condition": condition}
    return replace(stage, grid_event=condition), (Observe("power", "grid_event", data),)
