"""The charge loop with direct current: the vehicle's next request, and its reaction to the charger's responses."""

from typing import Any

from msgspec.structs import replace

from evcc.policy.policy import NOT_BIDIRECTIONAL, Permit
from evcc.session import program
from evcc.session.ports import Reported, SetPowerLimits
from evcc.session.steps import seen
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.schedule import allowed_w
from evcc.session.v2g_message.stages import Ending, Looping, Plan, Step
from evcc.session.v2g_message.status import present_limits, wanted_end
from evcc.session.v2g_message.stop import stop
from v2g.iso15118.engine.physical_values import milliamperes, millivolts
from v2g.observe import Observe

_NO_DISCHARGE = Permit(0, NOT_BIDIRECTIONAL)


def enter_loop(plan: Plan, context: MessageContext) -> Step:
    """Begin the program with the first request of the loop."""
    step = ask_loop(Looping(plan, program.begin(context.battery, context.utc_ms)), context)
    started = seen("power", "started", soc=context.battery.soc, battery_mv=context.battery.voltage_mv)
    return replace(step, observed=(started, *step.observed))


def repeat_loop(stage: Looping, request: Any, context: MessageContext) -> Step:
    """The pause is over."""
    return ask_loop(stage, context)


def ask_loop(stage: Looping, context: MessageContext) -> Step:
    """Advance the program and request its present power, or stop when it is over."""
    progress = program.advance(
        context.config.program,
        stage.progress,
        context.battery,
        _NO_DISCHARGE,
        utc_ms=context.utc_ms,
        departure_ms=context.departure_ms,
        pays_later=False,
    )
    if progress.ended:
        return stop(stage, context, Ending(progress.ended))
    if context.battery.fault:
        return stop(stage, context, Ending(context.battery.fault, failed=True))
    wanted = program.power_request(
        context.config.program, progress, context.battery, _NO_DISCHARGE, charge_w=allowed_w(stage.plan, context)
    )
    changed = wanted != stage.power_request
    observed: tuple[Observe, ...] = ()
    if changed or progress.index != stage.progress.index:
        doing = context.config.program[progress.index].do
        wish = {"step": progress.index, "do": doing, "charge_w": wanted.charge_w, "discharge_w": 0}
        observed = (seen("power", "wish", **wish, held_back="", soc=context.battery.soc),)
    return Step(
        stage=replace(stage, progress=progress, power_request=wanted),
        request=context.vocabulary.dc.current_demand(stage.plan, context, wanted.charge_w),
        commands=(SetPowerLimits(wanted.charge_w, 0),) if changed else (),
        observed=observed,
    )


def on_loop(stage: Looping, request: Any, response: Any, context: MessageContext) -> Step:
    """Follow the charger's limits, and its status."""
    voltage_mv, current_ma = millivolts(response.evse_present_voltage), milliamperes(response.evse_present_current)
    plan = replace(stage.plan, limits=present_limits(stage.plan.limits, response))
    flow = seen("loop", "flow", voltage_mv=voltage_mv, current_ma=current_ma, soc=context.battery.soc)
    ending = wanted_end(response.dc_evse_status)
    if ending is not None:
        step = stop(replace(stage, plan=plan), context, ending)
    else:
        lowered = allowed_w(plan, context) < stage.power_request.charge_w  # then the next request does not wait
        pause_s = 0.0 if lowered else context.config.timing.loop_pause_s
        step = Step(stage=replace(stage, plan=plan), wait=pause_s)
    return replace(step, commands=(Reported(voltage_mv, current_ma), *step.commands), observed=(flow, *step.observed))
