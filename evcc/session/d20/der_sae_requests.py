"""Requests of AC DER by SAE (Amendment 1): what they have beside those of alternating current (R221).

Loaded by the first session of it. Where the vehicle's limits in phases are not public, those of all phases are equal
parts. Absorbed reactive power is positive, injected and discharged power negative (clause 8.3.5.2, by EVerest).
"""

import math
from typing import Final

from evcc.session.d20.request_context import Plan, RequestContext
from evcc.session.d20.stages import Parametrizing
from v2g.iso15118.d20.der import number
from v2g.iso15118.d20.der_sae import supported_modes
from v2g.iso15118.d20.messages import ac_der_sae as iso
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.quantities import each_phase
from v2g.typed_json import Fields

LOOP: Final = iso.AC_ChargeLoopReq
SCHEDULED: Final = iso.DER_Scheduled_AC_CLReqControlMode
DYNAMIC: Final = iso.DER_Dynamic_AC_CLReqControlMode

_WAYS: Final = tuple(
    (direction, way, sign)
    for direction in ("charging", "discharging")
    for way, sign in (("absorption", 1), ("injection", -1))
)
_FOREVER: Final = 0xFFFF_FFFF


def charge_parameters(
    fields: Fields, context: RequestContext, stage: Parametrizing
) -> iso.AC_ChargeParameterDiscoveryReq:
    """Send limits, inverter and modes; Ongoing until the inverter has the demands (V2G20-3150)."""
    charger = context.config.on_board_charger
    details, phases = charger.inverter, charger.phases
    volts, zero = 230 if context.inlet.voltage_mv == 0 else context.inlet.voltage_mv / 1000, number(0)
    most = {"charging": charger.max_charge_w, "discharging": charger.max_discharge_w}
    apparent, reactive, excitation = Fields(), Fields(), Fields()
    for direction, way, sign in _WAYS:
        power = round(math.hypot(most[direction], charger.max_reactive_var))
        name = f"ev_maximum_apparent_power_during_{direction}_and_var_{way}"
        apparent |= each_phase(name, power if direction == "charging" else -power, phases)
        name = f"ev_maximum_var_{way}_during_{direction}"
        reactive |= each_phase(name, sign * charger.max_reactive_var, phases)
    factor = charger.max_discharge_w / max(1.0, math.hypot(charger.max_discharge_w, charger.max_reactive_var))
    for way in ("over", "under"):
        excitation |= {f"ev_specified_{way}_excited_power_factor": number(round(factor, 3))}
        name = f"ev_specified_{way}_excited_discharge_power"
        excitation |= each_phase(name, -charger.max_discharge_w, phases)
    mode = iso.DER_AC_CPDReqEnergyTransferMode(
        **fields,
        ev_processing=Processing.Finished if stage.finished else Processing.Ongoing,
        ev_apparent_power_limits=iso.EVApparentPowerLimits(**apparent),
        ev_reactive_power_limits=iso.EVReactivePowerLimits(**reactive, ev_reactive_susceptance=zero),
        ev_excitation_limits=iso.EVExcitationLimits(**excitation),
        ev_inverter_details=iso.EVInverterDetails(
            ev_inverter_sw_version=details.software,
            ev_inverter_manufacturer=details.maker,
            ev_inverter_model=details.model,
            ev_inverter_serial_number=details.serial,
        ),
        ieee1547_normal_category=iso.Ieee1547NormalCategory.CategoryB,
        ieee1547_abnormal_category=iso.Ieee1547AbnormalCategory.CategoryIII,
        ev_nominal_voltage=number(volts),
        ev_maximum_voltage=number(1.1 * volts),
        ev_minimum_voltage=number(0.88 * volts),
        ev_nominal_voltage_offset=zero,
        j3072_certified=details.certified_s is not None,
        j3072_certification_date=details.certified_s or 0,
        ev_useable_watt_hours=context.battery.capacity_wh,
        ev_update_time=context.utc_ms // 1000,
        supported_modes=supported_modes(context.config.services.der_functions),
        enabled_modes=stage.enabled,
    )
    return iso.AC_ChargeParameterDiscoveryReq(header=context.header(), ac_cpd_req_energy_transfer_mode=mode)


def loop_fields(plan: Plan, context: RequestContext) -> Fields:
    """Return what a loop request has beside that of BPT, and reactive power with the sign of this flavour."""
    inlet = context.inlet
    flows, lines = bool(inlet.voltage_mv), inlet.lines_of(context.config.on_board_charger.phases)
    dynamic: Fields = {
        "ev_minimum_charging_duration": 0,
        "ev_duration_maximum_charge_rate": _FOREVER,
        "ev_duration_maximum_discharge_rate": _FOREVER,
    }
    return {
        **each_phase("ev_present_reactive_power", -inlet.reactive_var, lines),
        "ev_present_voltage": number(inlet.voltage_mv / 1000),
        "ev_present_frequency": number(inlet.frequency_hz),
        "der_operational_state": iso.DerOperationalState.On if flows else iso.DerOperationalState.Off,
        "der_connection_status": iso.DerConnectionStatus.Connected if flows else iso.DerConnectionStatus.Disconnected,
        "ev_update_time": context.utc_ms // 1000,
        "der_alarm_status": int(inlet.grid_event),
        "enabled_modes": plan.enabled,
        **dynamic,
    }
