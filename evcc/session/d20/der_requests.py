"""Requests of AC DER by IEC (Amendment 1): what they have beside those of alternating current (R221).

Loaded by the first session of it.
"""

from typing import Final

from evcc.session.d20.request_context import Plan, RequestContext
from evcc.session.d20.stages import Parametrizing
from v2g.iso15118.d20.messages import ac_der_iec as iso
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.quantities import PHASES, each_phase
from v2g.typed_json import Fields

LOOP: Final = iso.AC_ChargeLoopReq
SCHEDULED: Final = iso.DER_Scheduled_AC_CLReqControlMode
DYNAMIC: Final = iso.DER_Dynamic_AC_CLReqControlMode


def charge_parameters(
    fields: Fields, context: RequestContext, stage: Parametrizing
) -> iso.AC_ChargeParameterDiscoveryReq:
    """Send the limits, given as BPT's fields; Ongoing until the inverter has the demands (V2G20-3150)."""
    charger = context.config.on_board_charger
    reactive = {
        name + phase: value
        for name in ("ev_maximum_charge_reactive_power", "ev_maximum_discharge_reactive_power")
        for phase, value in zip(PHASES, each_phase("", charger.max_reactive_var, charger.phases).values(), strict=False)
    }
    mode = iso.DER_AC_CPDReqEnergyTransferMode(
        **fields,
        ev_processing=Processing.Finished if stage.finished else Processing.Ongoing,
        ev_reactive_power_limits=iso.EVReactivePowerLimits(**reactive),
    )
    return iso.AC_ChargeParameterDiscoveryReq(header=context.header(), ac_cpd_req_energy_transfer_mode=mode)


def loop_fields(plan: Plan, context: RequestContext) -> Fields:
    """Return what a loop request has beside that of BPT."""
    charger, inlet = context.config.on_board_charger, context.inlet
    return {
        **each_phase("ev_maximum_charge_reactive_power", charger.max_reactive_var, charger.phases),
        **each_phase("ev_maximum_discharge_reactive_power", charger.max_reactive_var, charger.phases),
        "grid_event_condition": int(inlet.grid_event),
    }
