"""The charge loop with direct current: the vehicle's next request, and its reaction to the charger's responses."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from evcc.policy.policy import NOT_BIDIRECTIONAL, Permit
from evcc.session import program
from evcc.session.context import EvseLimits
from evcc.session.ports import SetPowerLimits
from evcc.session.program import PlannedProgram
from evcc.session.steps import seen
from evcc.session.v2g_message.context import COMMON, MessageContext
from evcc.session.v2g_message.stages import Ending, Looping, Plan, Schedule, Step
from evcc.session.v2g_message.stop import stop
from v2g.exi.declare import Element
from v2g.iso15118.engine.dc_status import Demand, demand
from v2g.iso15118.engine.physical_values import Rounding, milliamperes, millivolts, watts
from v2g.iso15118.engine.power_schedule import PowerSchedule, merged
from v2g.iso15118.engine.power_schedule import Step as ScheduleStep
from v2g.iso15118.engine.quirks import MISSING_FIELDS, Quirk
from v2g.iso15118.v2g_message import CurrentDemandRes, DC_EVSEChargeParameter, DC_EVSEStatus, EVSEStatus
from v2g.observe import Observe
from v2g.safety.output import UNBOUNDED

MOST_ENTRIES: Final = 24
"""Entries of a profile: the limit of ISO 15118-2."""


def agree(offers: Mapping[int, PowerSchedule], limits: EvseLimits, context: MessageContext) -> Plan:
    """Return the plan by the schedule with the most energy until departure, the first of equals.

    Without an offer only the limits count.
    """
    until_s = max(1, context.left_ms // 1000)
    best = max(offers, key=lambda each: energy_ws(offers[each], until_s), default=None)
    if best is None or not offers[best].steps:
        return Plan(limits, limits.agreed())
    return Plan(limits, limits.agreed(), Schedule(best, context.session_ms, profile(offers[best], limits)))


def energy_ws(schedule: PowerSchedule, until_s: int) -> int:
    """Return the energy (W s) that a schedule allows from its start until a time."""
    ends = [*(step.start_s for step in schedule.steps[1:]), until_s if schedule.end_s is None else schedule.end_s]
    return sum(
        step.power_w * max(0, min(end, until_s) - step.start_s) for step, end in zip(schedule.steps, ends, strict=True)
    )


def profile(offered: PowerSchedule, limits: EvseLimits) -> PowerSchedule:
    """Return an offered schedule within the charger's limits, in at most 24 steps."""
    steps = [ScheduleStep(each.start_s, min(each.power_w, limits.charge_w)) for each in offered.steps]
    return PowerSchedule(tuple(merged(steps, MOST_ENTRIES)), offered.end_s)


def allowed_w(plan: Plan, context: MessageContext) -> int:
    """Return the power that charger and schedule allow now, W; after the schedule its last power still holds.

    An on-board charger that cannot draw as little draws nothing.
    """
    most = min(context.max_charge_w, plan.limits.charge_w)
    if plan.schedule is not None:
        now_w = _scheduled_w(plan.schedule, context)
        most = min(most, plan.schedule.power.steps[-1].power_w if now_w is None else now_w)
    if context.choice is None or not context.choice.phases:
        if plan.limits.voltage_mv < context.battery.voltage_mv:
            return 0  # no current can flow, nor may it once the charger allows more: the vehicle waits
        return min(most, plan.limits.charge_ma * plan.limits.voltage_mv // 1_000_000)
    voltage_mv = context.inlet.voltage_mv or plan.limits.voltage_mv
    lines = context.inlet.lines_of(context.choice.phases)
    on_board = context.config.on_board_charger
    most = min(most, lines * min(on_board.line_ma, plan.limits.charge_ma) * voltage_mv // 1_000_000)
    return most if most >= on_board.min_charge_w else 0


def is_over(schedule: Schedule | None, context: MessageContext) -> bool:
    """Return whether a schedule has ended, so that the vehicle has to ask for another one [V2G2-305]."""
    return schedule is not None and _scheduled_w(schedule, context) is None


def _scheduled_w(schedule: Schedule, context: MessageContext) -> int | None:
    return schedule.power.power_at(max(0, context.session_ms - schedule.since_ms) // 1000)


_CAUSES: Final[Mapping[str, Ending]] = {
    "EVSE_EmergencyShutdown": Ending("evse_emergency_shutdown", failed=True),
    "EVSE_Malfunction": Ending("evse_malfunction", failed=True),
    "EVSE_UtilityInterruptEvent": Ending("evse_utility_interrupt"),
}
"""EVSEStatusCode -> the end that it leads to."""

_TERMINATED: Final = Ending("evse_terminated")
_RESIDUAL_CURRENT: Final = Ending("evse_rcd_fault", failed=True)


def status_of(response: Element) -> EVSEStatus | None:
    """Return the status in a response, also that beside the limits; None without one."""
    part = getattr(response, "evse_charge_parameter", response)
    fields = ("dc_evse_status", "ac_evse_status", "evse_status")
    return next((getattr(part, field) for field in fields if hasattr(part, field)), None)


def wanted_end(status: EVSEStatus | None) -> Ending | None:
    """Return the end of session that a status demands, None for none; without a notification it demands none."""
    if isinstance(status, DC_EVSEStatus):
        stops = demand(status) in (Demand.STOP, Demand.STOP_NOW)
        return _CAUSES.get(status.evse_status_code.value, _TERMINATED) if stops else None
    if getattr(status, "rcd", False):
        return _RESIDUAL_CURRENT
    notification = getattr(status, "evse_notification", None)
    return _TERMINATED if notification is not None and notification.value == "StopCharging" else None


def dc_limits(parameter: DC_EVSEChargeParameter) -> tuple[EvseLimits, tuple[Quirk, ...]]:
    """Return the limits in a DC_EVSEChargeParameter, and a quirk where fields or units are missing.

    Raises Iso15118Error for values of another unit.
    """
    fields = (
        parameter.evse_maximum_current_limit,
        parameter.evse_maximum_voltage_limit,
        parameter.evse_maximum_power_limit,
    )
    current, voltage, power = fields
    tolerance = parameter.evse_current_regulation_tolerance
    limits = EvseLimits(
        charge_w=UNBOUNDED if power is None else max(0, watts(power, Rounding.DOWN)),
        charge_ma=max(0, milliamperes(current)),
        voltage_mv=max(0, millivolts(voltage)),
        min_voltage_mv=max(0, millivolts(parameter.evse_minimum_voltage_limit)),
        tolerance_ma=0
        if tolerance is None
        else max(0, milliamperes(tolerance) + milliamperes(parameter.evse_peak_current_ripple)),
    )
    return limits, (MISSING_FIELDS,) if any(each is None or each.unit is None for each in fields) else ()


_PRESENT: Final = (
    ("charge_ma", "evse_max_current", milliamperes),
    ("charge_ma", "evse_maximum_current_limit", milliamperes),
    ("voltage_mv", "evse_maximum_voltage_limit", millivolts),
    ("charge_w", "evse_maximum_power_limit", watts),
)
"""A limit, the field of a loop's response with it, and how that is read."""


def followed(plan: Plan, response: Element, context: MessageContext) -> Plan:
    """Return the plan with the limits in the response of a loop, within those agreed; those that it omits stay, as does
    a voltage for 0. Raises Iso15118Error for values of another unit.
    """
    given = ((name, getattr(response, field, None), read) for name, field, read in _PRESENT)
    changes = {name: max(0, read(value)) for name, value, read in given if value is not None}
    changes["voltage_mv"] = changes.get("voltage_mv") or plan.limits.voltage_mv
    limits = replace(plan.limits, **changes).bounded(plan.agreed, raises=context.config.raised_limits)
    return replace(plan, limits=limits)


_NO_DISCHARGE = Permit(0, NOT_BIDIRECTIONAL)


def enter_loop(plan: Plan, context: MessageContext) -> Step:
    """Begin the program, or continue it after a renegotiation or pause, with the first request of the loop."""
    progress = context.progress or program.begin(context.battery, context.session_ms)
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
    # the present output of a plan by prices; without one a step `plan` charges until the target is reached
    if made is None:
        planned = PlannedProgram(over=context.battery.soc >= context.config.needs.target_soc)
    else:
        planned = PlannedProgram(made.power_at(context.session_ms), over=context.session_ms >= made.until_ms)
    progress = program.advance(
        context.config.program,
        stage.progress,
        context.battery,
        _NO_DISCHARGE,
        session_ms=context.session_ms,
        left_ms=context.left_ms,
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
    before, stage = stage.plan.limits, replace(stage, plan=followed(stage.plan, response, context))
    lowered = allowed_w(stage.plan, context) < stage.power_request.charge_w
    lowered = lowered or stage.plan.limits.charge_ma < before.charge_ma
    return Step(stage=stage, wait=0.0 if lowered else context.config.timing.loop_pause_s)
