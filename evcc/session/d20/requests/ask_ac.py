"""The requests of alternating current: the on-board charger's limits and its present power."""

from typing import Any

from evcc.session.context import departure_s
from evcc.session.d20.quantities import whole
from evcc.session.d20.request_context import Plan, RequestContext
from evcc.session.d20.requests.needs import (
    discharge_capability_w,
    discharge_limit_w,
    display,
    energy_requests,
    v2x_requests,
)
from evcc.session.paused import Choice
from evcc.session.program import PowerRequest
from v2g.iso15118.d20.messages.ac import (
    AC_ChargeLoopReq,
    AC_ChargeParameterDiscoveryReq,
    AC_CPDReqEnergyTransferMode,
    BPT_AC_CPDReqEnergyTransferMode,
    BPT_Dynamic_AC_CLReqControlMode,
    BPT_Scheduled_AC_CLReqControlMode,
    Dynamic_AC_CLReqControlMode,
    Scheduled_AC_CLReqControlMode,
)
from v2g.iso15118.d20.quantities import each_phase


def charge_parameters(choice: Choice, context: RequestContext) -> AC_ChargeParameterDiscoveryReq:
    """Send the limits of on-board charger and battery."""
    charger = context.config.on_board_charger
    phases = charger.phases
    fields: dict[str, Any] = {
        **each_phase("ev_maximum_charge_power", context.max_charge_w, phases),
        **each_phase("ev_minimum_charge_power", min(charger.min_charge_w, context.max_charge_w), phases),
    }
    if choice.bpt:
        fields |= each_phase("ev_maximum_discharge_power", discharge_capability_w(context), phases)
        fields |= each_phase("ev_minimum_discharge_power", 0, phases)
    mode = (BPT_AC_CPDReqEnergyTransferMode if choice.bpt else AC_CPDReqEnergyTransferMode)(**fields)
    return AC_ChargeParameterDiscoveryReq(header=context.header(), ac_cpd_req_energy_transfer_mode=mode)


def charge_loop(plan: Plan, context: RequestContext, power_request: PowerRequest) -> AC_ChargeLoopReq:
    """Send the present power and the request. An unused direction has the limit 0."""
    return AC_ChargeLoopReq(
        header=context.header(),
        display_parameters=display(context),
        meter_info_requested=True,
        cl_req_control_mode=_mode(plan, context, power_request),
    )


def _mode(
    plan: Plan, context: RequestContext, power_request: PowerRequest
) -> Dynamic_AC_CLReqControlMode | Scheduled_AC_CLReqControlMode:
    charger, choice = context.config.on_board_charger, plan.choice
    phases = charger.phases
    fields: dict[str, Any] = {
        **each_phase("ev_maximum_charge_power", power_request.charge_w, phases),
        **each_phase("ev_minimum_charge_power", min(charger.min_charge_w, power_request.charge_w), phases),
        **each_phase("ev_present_active_power", present_w(context), phases),
        "ev_present_reactive_power": whole(0),
    }
    if choice.bpt:
        fields |= each_phase("ev_maximum_discharge_power", discharge_limit_w(plan, context, power_request), phases)
        fields |= each_phase("ev_minimum_discharge_power", 0, phases)
    if not choice.dynamic:
        return (BPT_Scheduled_AC_CLReqControlMode if choice.bpt else Scheduled_AC_CLReqControlMode)(**fields)
    target, most, least = (whole(energy) for energy in energy_requests(context, plan.outlook))
    fields |= {
        "departure_time": departure_s(context),
        "ev_target_energy_request": target,
        "ev_maximum_energy_request": most,
        "ev_minimum_energy_request": least,
    }
    if not choice.bpt:
        return Dynamic_AC_CLReqControlMode(**fields)
    return BPT_Dynamic_AC_CLReqControlMode(**fields | v2x_requests(plan, context))


def present_w(context: RequestContext) -> int:
    """Return the power at the inlet, W, negative for discharge."""
    return context.inlet.voltage_mv * context.inlet.current_ma // 1_000_000
