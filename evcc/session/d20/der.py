"""AC DER by IEC (Amendment 1): the charger's demands, checked before the inverter follows them (R221).

Loaded by the first session of it. Services, schedules, power and stop are those of alternating current.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from evcc.session.context import EvseLimits
from evcc.session.d20 import requests as ask
from evcc.session.d20.quantities import phase_powers
from evcc.session.d20.request_context import Plan, RequestContext
from evcc.session.d20.stages import Discovering, Parametrizing, Step
from evcc.session.ports import SetGridSupport
from evcc.session.steps import seen
from v2g.energy.grid_support import GridSupport
from v2g.exi.declare import Element
from v2g.iso15118.d20.der import cos_phi_setpoint, made, q_setpoint, real, support_of
from v2g.iso15118.d20.messages import ac_der_iec as iso
from v2g.iso15118.d20.quantities import on_lines
from v2g.observe import Observe
from v2g.typed_json import Fields

_SETPOINTS: Final = (
    ("q_setpoint", "dso_q_setpoint", q_setpoint),
    ("cos_phi_setpoint", "dso_cos_phi_setpoint", cos_phi_setpoint),
)
"""Function, its field in the loop, and how that is read."""


class Outcome(msgspec.Struct, frozen=True):
    """The demands of a charger, and what is wrong with them."""

    support: GridSupport | None
    wrong: str
    ongoing: bool = False
    """Whether the charger has not finished them."""
    enabled: int = 0
    """EnabledModes that acknowledge them, by SAE."""
    grid: tuple[float, float] = (0.0, 0.0)
    """Nominal voltage, V, and frequency, Hz, by SAE."""


def on_parameters(stage: Parametrizing, found: Outcome, limits: EvseLimits, context: RequestContext) -> Step:
    """Give the demands to the inverter, and send Finished. If they make no sense, select another service (V2G20-3348),
    or do without discharge."""
    choice, support, wrong = stage.choice, found.support, found.wrong
    if found.ongoing:
        return Step(stage=replace(stage, polls=stage.polls + 1), wait=context.config.timing.poll_pause_s)
    observed: tuple[Observe, ...] = ()
    if support != stage.support or wrong != stage.wrong:
        unasked = sorted(support.functions - choice.functions) if support is not None else []
        names = " ".join(sorted(support.functions & choice.functions)) if support is not None else ""
        data = {"functions": names, "dropped": " ".join(unasked), "refused": wrong}
        observed = (seen("parameters", "grid_support", **data),)
    kept = GridSupport() if support is None or wrong else support.only(choice.functions)
    commands = (SetGridSupport(kept),)
    if not stage.finished:
        stage = replace(stage, finished=True, support=support, wrong=wrong, enabled=found.enabled)
        step = ask.charge_parameters(choice, context, stage)
        return replace(step, commands=commands, observed=observed)
    if wrong and choice.one_way:
        request = ask.discover(context).request
        return Step(stage=Discovering(without_der=True), request=request, observed=observed)
    if wrong:  # nothing else is offered: charge, and never feed back
        choice = replace(choice, lacking=frozenset({"refused"}))
    step = replace(ask.exchange(choice, limits, context), choice=choice)
    plan = step.stage.plan  # type: ignore[attr-defined] # it is Scheduling
    plan = replace(plan, support=kept, enabled=found.enabled, grid=found.grid)
    stage_with = replace(step.stage, plan=plan)
    return replace(step, stage=stage_with, commands=commands if observed else (), observed=(*observed, *step.observed))


def demanded(stage: Parametrizing, mode: Element, context: RequestContext) -> Outcome:
    """Return the demands, and what is wrong with them."""
    assert isinstance(mode, iso.DER_AC_CPDResEnergyTransferMode)
    try:
        support = support_of(mode.der_control)
    except ValueError as error:
        return Outcome(None, str(error))
    if mode.ev_operating_mode is not iso.EvOperatingMode.GridFollowing:
        return Outcome(support, "the vehicle is asked to form a grid")
    if mode.grid_connection_mode is not iso.GridConnectionMode.GridConnected:
        return Outcome(support, "the grid is islanded")
    return Outcome(support, support.wrong_at(real(mode.evse_nominal_frequency)))


def follow(
    plan: Plan, mode: Element, context: RequestContext
) -> tuple[Plan, tuple[SetGridSupport, ...], tuple[Observe, ...]]:
    """Take over the grid operator's set-points: those that were not negotiated, or make no sense, are dropped, and
    named when that changes."""
    assert plan.support is not None
    fields: Fields = {}
    dropped: list[str] = []
    for name, field, read in _SETPOINTS:
        given = getattr(mode, field)
        if given is None:
            continue
        if name not in plan.choice.functions:
            dropped.append(f"{name}: not negotiated")
            continue
        try:
            fields[name] = getattr(made({name: read(given)}), name)
        except ValueError as error:
            dropped.append(f"{name}: {error}")
    support = replace(plan.support, **{name: fields.get(name) for name, _, _ in _SETPOINTS})
    changed = (SetGridSupport(support),) if support != plan.support else ()
    observed: tuple[Observe, ...] = ()
    if changed or tuple(dropped) != plan.dropped:
        data = {"functions": " ".join(sorted(fields)), "dropped": "; ".join(dropped)}
        observed = (seen("loop", "setpoints", **data),)
    return replace(plan, support=support, dropped=tuple(dropped)), changed, observed


def within(power_w: int, mode: Element, plan: Plan, context: RequestContext) -> int:
    """Return a power (W) within the limits of a loop response: the charger's, and the grid operator's of discharge."""
    lines = context.config.on_board_charger.phases
    most = {}
    for name in ("evse_maximum_charge_power", "evse_maximum_discharge_power", "dso_maximum_discharge_power"):
        given = phase_powers(mode, name)
        if given:
            most[name] = on_lines([abs(each) for each in given], lines)
    out_w = min((value for name, value in most.items() if "discharge" in name), default=plan.limits.discharge_w)
    return max(-out_w, min(most.get("evse_maximum_charge_power", plan.limits.charge_w), power_w))
