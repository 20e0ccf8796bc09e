"""From the charge parameters to the closed circuit, with direct current."""

from typing import Final

from msgspec.structs import replace

from evcc.session.context import departure_s, matched
from evcc.session.ports import CloseContactor, Reported, SetCpState
from evcc.session.steps import seen
from evcc.session.v2g_message.context import COMMON, MessageContext
from evcc.session.v2g_message.loop import dc_limits, enter_loop, wanted_end
from evcc.session.v2g_message.stages import (
    CableChecking,
    ClosingContactor,
    Ending,
    Parametrizing,
    Plan,
    PreCharging,
    Starting,
    Step,
    fail,
)
from evcc.session.v2g_message.stop import stop
from v2g.exi.declare import Element
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.engine.dc_status import is_sound
from v2g.iso15118.engine.physical_values import millivolts
from v2g.iso15118.engine.quirks import NOT_READY_BUT_FINISHED
from v2g.iso15118.v2g_message import (
    CableCheckRes,
    ChargeParameterDiscoveryRes,
    DC_EVSEChargeParameter,
    PowerDeliveryRes,
    PreChargeRes,
)
from v2g.observe import Observe
from v2g.safety.output import UNBOUNDED

MOVED_MV: Final = 1_000
"""Least change of an output that is on its way, which may lead away from the battery's voltage first."""


@COMMON.on_response(Parametrizing)
def on_parameters(
    stage: Parametrizing, request: Element, response: ChargeParameterDiscoveryRes, context: MessageContext
) -> Step:
    """Wait for limits and schedule, then start the cable check if they fit the battery."""
    parameter = response.evse_charge_parameter
    if not isinstance(parameter, DC_EVSEChargeParameter):
        return fail(stage, "wrong_charge_parameters", received=type(parameter).__name__)
    ending = wanted_end(parameter.dc_evse_status)
    if ending is not None:
        return stop(stage, context, ending)
    if response.evse_processing.value != "Finished":
        return Step(stage=replace(stage, polls=stage.polls + 1), wait=context.config.timing.poll_pause_s)
    limits, quirks = dc_limits(parameter)
    if parameter.dc_evse_status.evse_status_code.value == "EVSE_NotReady":
        quirks = (*quirks, NOT_READY_BUT_FINISHED)
    exchanged = seen(
        "parameters",
        "exchanged",
        evse_charge_w=None if limits.charge_w >= UNBOUNDED else limits.charge_w,
        ev_charge_w=context.battery.max_charge_w,
        soc=context.battery.soc,
    )
    if not limits.min_voltage_mv <= context.battery.voltage_mv <= limits.voltage_mv:
        step = stop(stage, context, Ending("incompatible_voltage", failed=True))
        return replace(step, observed=(exchanged, *step.observed), quirks=quirks)
    plan, observed = context.vocabulary.agree(response, limits, context)
    step = begin_cable_check(plan, context)
    agreed = agreed_event(plan, context)
    return replace(step, observed=(exchanged, *observed, agreed, *step.observed), quirks=quirks)


def agreed_event(plan: Plan, context: MessageContext) -> Observe:
    """Return the event of an agreed schedule."""
    tuple_id = plan.schedule.tuple_id if plan.schedule else None
    return seen("schedule", "agreed", tuple_id=tuple_id, departure_s=departure_s(context))


@COMMON.on_wake(Parametrizing)
def repeat_parameters(stage: Parametrizing, request: Element, context: MessageContext) -> Step:
    """Ask for limits and schedule again."""
    return Step(stage=stage, request=context.vocabulary.parameters(context))


def begin_cable_check(plan: Plan, context: MessageContext) -> Step:
    """Request the insulation test, in state C, with an open contactor."""
    if context.contactor_closed:
        return fail(CableChecking(plan), "contactor_welded")
    return replace(_ask_cable_check(CableChecking(plan), context), commands=(SetCpState(PilotState.C),))


def _ask_cable_check(stage: CableChecking, context: MessageContext) -> Step:
    return Step(stage=stage, request=context.vocabulary.cable_check(context))


@COMMON.on_wake(CableChecking)
def repeat_cable_check(stage: CableChecking, request: Element, context: MessageContext) -> Step:
    """Request the state of the insulation test."""
    return _ask_cable_check(stage, context)


@COMMON.on_response(CableChecking)
def on_cable_check(stage: CableChecking, request: Element, response: CableCheckRes, context: MessageContext) -> Step:
    """Wait for the insulation test, then request the battery's voltage."""
    ending = wanted_end(response.dc_evse_status)
    if ending is not None:
        return stop(stage, context, ending)
    if response.evse_processing.value != "Finished":
        return Step(stage=stage, wait=context.config.timing.poll_pause_s)
    if not is_sound(response.dc_evse_status):
        return stop(stage, context, Ending("insulation_fault", failed=True))
    return replace(
        _ask_pre_charge(PreCharging(stage.plan, context.now), context), observed=(seen("power", "cable_checked"),)
    )


def _ask_pre_charge(stage: PreCharging, context: MessageContext) -> Step:
    return Step(stage=stage, request=context.vocabulary.pre_charge(stage.plan, context))


@COMMON.on_wake(PreCharging)
def repeat_pre_charge(stage: PreCharging, request: Element, context: MessageContext) -> Step:
    """Check whether the voltage is reached; it has been measured at the inlet meanwhile."""
    return _close(stage) if matched(context) else _ask_pre_charge(stage, context)


@COMMON.on_response(PreCharging)
def on_pre_charge(stage: PreCharging, request: Element, response: PreChargeRes, context: MessageContext) -> Step:
    """Close the contactor once the voltages match."""
    ending = wanted_end(response.dc_evse_status)
    if ending is not None:
        return stop(stage, context, ending)
    if matched(context):
        return _close(stage)
    reported = Reported(max(0, millivolts(response.evse_present_voltage)), 0)
    if abs(context.inlet.voltage_mv - stage.inlet_mv) >= MOVED_MV:
        stage = replace(stage, inlet_mv=context.inlet.voltage_mv, moved_at=context.now)
    return Step(stage=stage, commands=(reported,), wait=context.config.timing.poll_pause_s)


def _close(stage: PreCharging) -> Step:
    return Step(stage=ClosingContactor(stage.plan), commands=(CloseContactor(),))


@COMMON.on_contactor(ClosingContactor, closed=True)
def on_closed(stage: ClosingContactor, context: MessageContext) -> Step:
    """The battery is connected: start the transfer of energy."""
    observed = seen("power", "connected", inlet_mv=context.inlet.voltage_mv, battery_mv=context.battery.voltage_mv)
    return Step(
        stage=Starting(stage.plan), request=context.vocabulary.power_start(stage.plan, context), observed=(observed,)
    )


@COMMON.on_response(Starting)
def on_started(stage: Starting, request: Element, response: PowerDeliveryRes, context: MessageContext) -> Step:
    """Energy may flow, unless the charger already wants to stop."""
    ending = wanted_end(response.evse_status)
    return enter_loop(stage.plan, context) if ending is None else stop(stage, context, ending)
