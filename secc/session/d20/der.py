"""AC DER by IEC (Amendment 1): what the vehicle's inverter is asked for, and what it reports (R221).

Loaded by the first session of it. Services, schedules, power and stop are those of alternating current.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from msgspec.structs import replace

from secc.session.config import ControlMode
from secc.session.d20.stages import RequestContext, refuse
from secc.session.power import permitted
from secc.session.stages import Charging, Parametrised, Selected
from v2g.exi.declare import Element
from v2g.iso15118.d20.der import control, setpoints
from v2g.iso15118.d20.messages import ac_der_iec as iso
from v2g.iso15118.d20.messages.ac import (
    Dynamic_AC_CLReqControlMode,
    Dynamic_AC_CLResControlMode,
    Scheduled_AC_CLReqControlMode,
    Scheduled_AC_CLResControlMode,
)
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.iso15118.d20.quantities import Fields, each_phase
from v2g.observe import Observe, Scalar

PARAMETERS: Final = iso.AC_ChargeParameterDiscoveryRes
LOOP: Final = iso.AC_ChargeLoopRes
_Request: TypeAlias = type[Dynamic_AC_CLReqControlMode] | type[Scheduled_AC_CLReqControlMode]
_Response: TypeAlias = type[Dynamic_AC_CLResControlMode] | type[Scheduled_AC_CLResControlMode]
MODES: Final[Mapping[ControlMode, tuple[_Request, _Response]]] = {
    ControlMode.DYNAMIC: (iso.DER_Dynamic_AC_CLReqControlMode, iso.DER_Dynamic_AC_CLResControlMode),
    ControlMode.SCHEDULED: (iso.DER_Scheduled_AC_CLReqControlMode, iso.DER_Scheduled_AC_CLResControlMode),
}
"""Control mode -> control modes of request and response in the loop."""


def since(stage: Selected | Parametrised, mode: Element, context: RequestContext) -> float:
    """Return since when (s) the vehicle applies the demands. Raises Iso15118Error if it takes too long: no limit of the
    standard is public."""
    began = stage.applying_since if isinstance(stage, Parametrised) else None
    began = context.now if began is None else began
    assert isinstance(mode, iso.DER_AC_CPDReqEnergyTransferMode)
    if mode.ev_processing is not Processing.Finished and context.now - began > context.config.timing.ongoing:
        raise refuse(ResponseCode.FAILED, "the vehicle applies the grid support for too long", reason="ongoing_timeout")
    return began


def rating(fields: Fields, selected: Selected, context: RequestContext) -> iso.DER_AC_CPDResEnergyTransferMode:
    """Return the charge point's rating, given as BPT's fields, and the values of the functions that were selected."""
    discharge = {name: value for name, value in fields.items() if name.startswith("evse_maximum_discharge")}
    charge = {name: value for name, value in fields.items() if name.startswith("evse_maximum_charge")}
    return iso.DER_AC_CPDResEnergyTransferMode(
        **{name: value for name, value in fields.items() if not name.startswith("evse_minimum_discharge")},
        **{name.replace("maximum", "nominal"): value for name, value in (charge | discharge).items()},
        ev_operating_mode=iso.EvOperatingMode.GridFollowing,
        grid_connection_mode=iso.GridConnectionMode.GridConnected,
        der_control=control(context.grid_support, selected.functions),
    )


def loop_fields(stage: Charging, sign: int, context: RequestContext) -> Fields:
    """Return what a loop response has beside that of AC: limits in both directions, and the grid operator's set-points,
    where their functions were selected."""
    limits, lines, support = (
        permitted(stage.selected, stage.vehicle, context),
        stage.vehicle.phases,
        context.grid_support,
    )
    fields = {
        **each_phase("evse_maximum_charge_power", limits.charge_w, lines),
        **each_phase("evse_maximum_discharge_power", sign * limits.discharge_w, lines),
    }
    return fields | setpoints(support, stage.selected.functions, lines)


def grid_event(stage: Charging, mode: Element) -> tuple[Charging, tuple[Observe, ...]]:
    """Note the vehicle's GridEventCondition; an event at each edge."""
    condition: int = mode.grid_event_condition  # type: ignore[attr-defined] # both DER modes have it
    if condition == stage.grid_event:
        return stage, ()
    data: dict[str, Scalar] = {"condition": condition}
    return replace(stage, grid_event=condition), (Observe("power", "grid_event", data),)
