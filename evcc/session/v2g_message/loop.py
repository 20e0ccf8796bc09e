"""The charge loop with direct current: the vehicle's next request, and its reaction to the charger's responses."""

from msgspec.structs import replace

from evcc.policy.plans import ChargePlan
from evcc.policy.policy import NOT_BIDIRECTIONAL, Permit
from evcc.session import program
from evcc.session.ports import SetPowerLimits
from evcc.session.program import PlannedProgram
from evcc.session.steps import seen
from evcc.session.v2g_message.context import COMMON, MessageContext
from evcc.session.v2g_message.schedule import allowed_w
from evcc.session.v2g_message.stages import Ending, Looping, Plan, Step
from evcc.session.v2g_message.status import followed, wanted_end
from evcc.session.v2g_message.stop import stop
from v2g.exi.declare import Element
from v2g.iso15118.engine.physical_values import milliamperes, millivolts
from v2g.iso15118.v2g_message import CurrentDemandRes
from v2g.observe import Observe

_NO_DISCHARGE = Permit(0, NOT_BIDIRECTIONAL)


def enter_loop(plan: Plan, context: MessageContext) -> Step:
    """Begin the program, or continue it after a renegotiation or pause, with the first request of the loop."""
    progress = context.progress or program.begin(context.battery, context.utc_ms)
    step = ask_loop(Looping(plan, progress), context)
    started = seen("power", "started", soc=context.battery.soc, battery_mv=context.battery.voltage_mv)
    return replace(step, observed=(started, *step.observed))


@COMMON.on_wake(Looping)
def repeat_loop(stage: Looping, request: Element | None, context: MessageContext) -> Step:
    """The pause is over."""
    return ask_loop(stage, context)


def ask_loop(stage: Looping, context: MessageContext) -> Step:
    """Advance the program and request its present power, or stop when it is over."""
    made = stage.plan.schedule.plan if stage.plan.schedule is not None else None
    planned = planned_now(made, context)
    progress = program.advance(
        context.config.program,
        stage.progress,
        context.battery,
        _NO_DISCHARGE,
        utc_ms=context.utc_ms,
        departure_ms=context.departure_ms,
        pays_later=False,
        planned=planned,
    )
    if progress.ended:
        return stop(stage, context, Ending(progress.ended))
    if context.battery.fault:
        return stop(stage, context, Ending(context.battery.fault, failed=True))
    wanted = program.power_request(
        context.config.program,
        progress,
        context.battery,
        _NO_DISCHARGE,
        charge_w=allowed_w(stage.plan, context),
        planned=planned,
    )
    changed = wanted != stage.power_request
    observed: tuple[Observe, ...] = ()
    if changed or progress.index != stage.progress.index:
        doing = context.config.program[progress.index].do
        wish = {"step": progress.index, "do": doing, "charge_w": wanted.charge_w, "discharge_w": 0}
        observed = (seen("power", "wish", **wish, held_back="", soc=context.battery.soc),)
    request, commands = context.vocabulary.charge_loop(stage.plan, context, wanted.charge_w)
    return Step(
        stage=replace(stage, progress=progress, power_request=wanted),
        request=request,
        commands=(SetPowerLimits(wanted.charge_w, 0), *commands) if changed else (),
        observed=observed,
    )


def planned_now(made: ChargePlan | None, context: MessageContext) -> PlannedProgram:
    """Return the present output of a plan by prices; without one a step `plan` charges until the target is reached."""
    if made is None:
        return PlannedProgram(over=context.battery.soc >= context.config.needs.target_soc)
    return PlannedProgram(made.power_at(context.utc_ms), over=context.utc_ms >= made.until_ms)


@COMMON.on_response(Looping)
def on_loop(stage: Looping, request: Element, response: CurrentDemandRes, context: MessageContext) -> Step:
    """Follow the charger's limits, and its status."""
    voltage_mv, current_ma = millivolts(response.evse_present_voltage), milliamperes(response.evse_present_current)
    flow = seen("loop", "flow", voltage_mv=voltage_mv, current_ma=current_ma, soc=context.battery.soc)
    ending = wanted_end(response.dc_evse_status)
    step = follow_limits(stage, response, context) if ending is None else stop(stage, context, ending)
    return replace(step, observed=(flow, *step.observed))


def follow_limits(stage: Looping, response: Element, context: MessageContext) -> Step:
    """Return the pause before the next request, which does not wait where the limits are lower than the power."""
    stage = replace(stage, plan=followed(stage.plan, response, context))
    lowered = allowed_w(stage.plan, context) < stage.power_request.charge_w
    return Step(stage=stage, wait=0.0 if lowered else context.config.timing.loop_pause_s)
