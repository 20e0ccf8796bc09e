"""AC DER by SAE (Amendment 1): as far as public facts carry, and inert beyond (R221).

Loaded by the first session of it. Services, schedules, power and stop are those of alternating current. A vehicle that
lacks a demanded function, or is not certified (SAE J3072), charges: nothing is enabled, and no service permitted.
"""

from typing import Final

from msgspec.structs import replace

from secc.session.config import ControlMode
from secc.session.d20.der import Modes, at_edge, given_to, limits, rated, whole
from secc.session.d20.quantities import to_w
from secc.session.d20.stages import RequestContext
from secc.session.stages import Charging, Selected, Vehicle
from v2g.energy.grid_support import NO_SUPPORT
from v2g.energy.needs import DerNeeds
from v2g.exi.declare import Element
from v2g.iso15118.d20.der import number, real
from v2g.iso15118.d20.der_sae import carried, control, enabled_modes, functions_of
from v2g.iso15118.d20.messages import ac_der_sae as iso
from v2g.iso15118.d20.messages.ac import BPT_AC_CPDResEnergyTransferMode
from v2g.iso15118.d20.messages.common_types import Processing, RationalNumber
from v2g.observe import Observe
from v2g.typed_json import Fields

PARAMETERS: Final = iso.AC_ChargeParameterDiscoveryRes
LOOP: Final = iso.AC_ChargeLoopRes
MODES: Final[Modes] = {
    ControlMode.DYNAMIC: (iso.DER_Dynamic_AC_CLReqControlMode, iso.DER_Dynamic_AC_CLResControlMode),
    ControlMode.SCHEDULED: (iso.DER_Scheduled_AC_CLReqControlMode, iso.DER_Scheduled_AC_CLResControlMode),
}
"""Control mode -> control modes of request and response in the loop."""


def rating(
    plain: BPT_AC_CPDResEnergyTransferMode, mode: Element, vehicle: Vehicle, selected: Selected, context: RequestContext
) -> tuple[iso.DER_AC_CPDResEnergyTransferMode, Vehicle, tuple[Observe, ...]]:
    """See `der.rating`: where the vehicle lacks something, nothing is enabled, and it never feeds back."""
    assert isinstance(mode, iso.DER_AC_CPDReqEnergyTransferMode)
    grid, zero = context.config.ac_rating, number(0)
    energy = mode.ev_session_total_discharge_energy_available
    asked = context.grid_support.only(selected.functions)
    support = carried(asked, grid.nominal_frequency_hz)
    lacking: frozenset[str] = asked.functions - (support.functions & functions_of(mode.supported_modes))
    if not mode.j3072_certified:
        lacking |= {"certificate"}
    fields, event = _negative(rated(plain)), given_to(support)
    if lacking:
        support = NO_SUPPORT
        event = Observe("power", "vehicle_lacks_grid_support", {"functions": " ".join(sorted(lacking))})
    most = {"absorption": number(grid.max_discharge_power_w), "injection": number(-grid.max_discharge_power_w)}
    demands = iso.DER_AC_CPDResEnergyTransferMode(
        **fields,
        evse_processing=Processing.Finished,
        der_control_cpd_res=control(
            support, permit=not lacking, nominal_v=grid.nominal_voltage_v, nominal_hz=grid.nominal_frequency_hz
        ),
        evse_reactive_power_limits=iso.EVSEReactivePowerLimits(
            **{
                f"evse_maximum_var_{way}_during_{direction}": value
                for way, value in most.items()
                for direction in ("charging", "discharging")
            }
        ),
        grid_limits=iso.GridLimits(
            grid_nominal_frequency=number(grid.nominal_frequency_hz),
            grid_nominal_voltage=number(grid.nominal_voltage_v),
            grid_nominal_voltage_offset=zero,
            grid_maximum_voltage=number(1.1 * grid.nominal_voltage_v),
            grid_minimum_voltage=number(0.88 * grid.nominal_voltage_v),
        ),
        required_der_operating_mode=iso.RequiredDEROperatingMode.GridFollowing,
        grid_connection_mode=iso.GridConnectionMode.GridConnected,
        evse_update_time=context.header.time_stamp,
    )
    needs = DerNeeds(
        functions=functions_of(mode.supported_modes),
        charge_var=whole(mode.ev_reactive_power_limits, "ev_maximum_var_injection_during_charging"),
        discharge_var=whole(mode.ev_reactive_power_limits, "ev_maximum_var_injection_during_discharging"),
        discharge_wh=None if energy is None else to_w(energy),
    )
    enabled = enabled_modes(support, permit=not lacking)
    return demands, replace(vehicle, der=needs, given=support, enabled=enabled), (event,)


def _negative(fields: Fields) -> Fields:
    """Return the fields with negative powers of discharge (clause 8.3.5.2, which EVerest follows in this flavour)."""
    return {
        name: number(-abs(real(value))) if "discharge" in name and isinstance(value, RationalNumber) else value
        for name, value in fields.items()
    }


def loop_fields(stage: Charging, context: RequestContext) -> Fields:
    """See `der.loop_fields`: the limits, and whether the vehicle may feed back. Curves would be sent again only where
    they change; new ones are given with another selection here, as by IEC."""
    permit = stage.vehicle.may_feed
    service = iso.DERControlCLRes(enter_service_cl_res=iso.EnterServiceCLRes(permit_service=permit))
    return limits(stage, -1, context) | {"der_control_cl_res": service}


def noted(stage: Charging, mode: Element) -> tuple[Charging, tuple[Observe, ...]]:
    """See `der.noted`: DERAlarmStatus, and whether EnabledModes acknowledges what is enabled; there is no rule for a
    vehicle that does not."""
    assert isinstance(mode, iso.DER_Dynamic_AC_CLReqControlMode | iso.DER_Scheduled_AC_CLReqControlMode)
    stage, events = at_edge(stage, mode.der_alarm_status)
    if mode.enabled_modes == stage.enabled_modes:
        return stage, events
    data = {"expected": stage.vehicle.enabled, "received": mode.enabled_modes}
    wrong = () if mode.enabled_modes == stage.vehicle.enabled else (Observe("power", "modes_not_enabled", {**data}),)
    return replace(stage, enabled_modes=mode.enabled_modes), (*events, *wrong)
