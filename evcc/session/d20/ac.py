"""Alternating current: the vehicle's own charger follows the charge point's targets, within the vehicle's request."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from evcc.session.context import EvseLimits
from evcc.session.d20 import dynamic_planner
from evcc.session.d20.loop import following
from evcc.session.d20.quantities import to_whole
from evcc.session.d20.request_context import RequestContext
from evcc.session.d20.requests import ask
from evcc.session.d20.requests.ask_ac import present_w
from evcc.session.d20.stages import Looping, Parametrizing, Step, fail
from evcc.session.ports import SetAcPower
from evcc.session.steps import seen
from v2g.exi.declare import Element
from v2g.iso15118.d20.messages.ac import (
    AC_ChargeLoopReq,
    AC_ChargeLoopRes,
    AC_ChargeParameterDiscoveryReq,
    AC_ChargeParameterDiscoveryRes,
    BPT_AC_CPDResEnergyTransferMode,
    BPT_Dynamic_AC_CLResControlMode,
    BPT_Scheduled_AC_CLResControlMode,
    Dynamic_AC_CLResControlMode,
    Scheduled_AC_CLResControlMode,
)
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.quantities import PHASES, on_lines

_RESPONSES: Final[Mapping[tuple[bool, bool], type]] = MappingProxyType(
    {
        (True, True): BPT_Dynamic_AC_CLResControlMode,
        (True, False): BPT_Scheduled_AC_CLResControlMode,
        (False, True): Dynamic_AC_CLResControlMode,
        (False, False): Scheduled_AC_CLResControlMode,
    }
)
"""(bidirectional, dynamic) -> the control mode required in the charger's response (V2G20-1600)."""


def on_parameters(
    stage: Parametrizing,
    request: AC_ChargeParameterDiscoveryReq,
    response: AC_ChargeParameterDiscoveryRes,
    context: RequestContext,
) -> Step:
    """Set the charge point's limits, if they are of the selected kind."""
    mode = response.ac_cpd_res_energy_transfer_mode
    if isinstance(mode, BPT_AC_CPDResEnergyTransferMode) is not stage.choice.bpt:
        return fail(stage, "wrong_charge_parameters", received=type(mode).__name__)
    # discharge limits count by magnitude: sources disagree on their sign
    limits = EvseLimits(
        charge_w=max(0, _power(mode, "evse_maximum_charge_power", context)),
        discharge_w=abs(_power(mode, "evse_maximum_discharge_power", context)) if stage.choice.bpt else 0,
    )
    return ask.exchange(stage.choice, limits, context)


def on_loop(stage: Looping, request: AC_ChargeLoopReq, response: AC_ChargeLoopRes, context: RequestContext) -> Step:
    """Draw or feed back the charge point's target, never more than the vehicle requests (V2G20-1600)."""
    choice, mode = stage.plan.choice, response.cl_res_control_mode
    if type(mode) is not _RESPONSES[choice.bpt, choice.dynamic]:
        return fail(stage, "wrong_control_mode", received=type(mode).__name__)
    meter = response.meter_info or stage.meter
    wanted = stage.power_request.charge_w - stage.power_request.discharge_w
    target = _power(mode, "evse_target_active_power", context) if _has_target(mode) else wanted
    power_w = max(-stage.power_request.discharge_w, min(stage.power_request.charge_w, target))
    flow = seen(
        "loop",
        "flow",
        voltage_mv=context.inlet.voltage_mv,
        current_ma=context.inlet.current_ma,
        power_w=present_w(context),
        soc=context.battery.soc,
        target_w=power_w,
        charged_wh=meter.charged_energy_reading_wh if meter else None,
        discharged_wh=meter.bpt_discharged_energy_reading_wh if meter else None,
    )
    plan = dynamic_planner.learned(stage.plan, stage.power_request.charge_w, max(0, target))
    step = following(replace(stage, meter=meter, plan=plan), response, context)
    return replace(step, commands=(SetAcPower(power_w), *step.commands), observed=(flow, *step.observed))


def _has_target(mode: Element) -> bool:
    return getattr(mode, "evse_target_active_power", None) is not None


def _power(mode: Element, name: str, context: RequestContext) -> int:
    """Return the power (W) of the phases that the on-board charger has, each within its value."""
    values: list[RationalNumber | None] = [getattr(mode, name + phase) for phase in PHASES]
    given = [to_whole(value) for value in values if value is not None]
    return on_lines(given, context.config.on_board_charger.phases)
