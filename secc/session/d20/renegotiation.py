"""A new schedule on the side stream 0x8101 while energy flows by the old one.

What is agreed takes effect with the vehicle's PowerDeliveryReq, all of it at once.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec.structs import replace

from secc.session.d20 import ac, parameters, wpt
from secc.session.d20.loop import account, apply_output
from secc.session.d20.phases import Awaiting, Charging, Parametrised, Planned, Stopping
from secc.session.d20.refusal import refusal
from secc.session.d20.request_context import Step, Wait, World, refuse
from secc.session.d20.scheduling import exchange
from secc.session.d20.scheduling.profile import choose_tuple
from v2g.errors import Iso15118Error
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import PowerDeliveryReq, PowerDeliveryRes, ScheduleExchangeReq
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.observe import Observe

_BY_FAMILY: Final[Mapping[Family, Any]] = MappingProxyType(
    {Family.AC: ac, Family.DC: parameters, Family.ACDP: parameters, Family.WPT: wpt}
)


def charge_parameters(request: Any, context: Charging | Stopping, world: World) -> Step:
    """Take new limits of the vehicle; they hold once the new schedule does."""
    if isinstance(context, Stopping):
        return _too_late(request, context, world)
    selected = context.planned.parametrised.selected
    step: Step = _BY_FAMILY[selected.family].charge_parameter_discovery(request, selected, world)
    return replace(step, context=replace(context, beside=step.context))


def schedule_exchange(request: ScheduleExchangeReq, context: Charging | Stopping, world: World) -> Step:
    """Plan anew from what is known now."""
    if isinstance(context, Stopping):
        return _too_late(request, context, world)
    begun = context.beside
    parametrised = begun if isinstance(begun, Parametrised) else context.planned.parametrised
    try:
        step = exchange.plan(request, parametrised, world)
    except Iso15118Error as error:
        return kept(replace(context, beside=None), world, error)
    needs = exchange.report(request, parametrised, world)
    return replace(step, context=replace(context, beside=step.context), commands=(needs, *step.commands))


def renegotiated(
    request: ScheduleExchangeReq, context: Parametrised | Awaiting | Charging, world: World
) -> Step | Wait:
    """Plan on the main stream; what cannot be planned anew leaves a session that charges with its old schedule."""
    try:
        return exchange.schedule_exchange(request, context, world)
    except Iso15118Error as error:
        if not isinstance(context, Charging):
            raise
        return kept(context, world, error)  # the loop goes on, or the rest that was before


def kept(context: Charging, world: World, error: Iso15118Error) -> Step:
    """Go on by the schedule that holds, as long as it does."""
    departure_ms = context.planned.plan.departure_ms
    if departure_ms is not None and world.utc_ms >= departure_ms:
        raise refuse(ResponseCode.FAILED_ScheduleRenegotiation, f"{error}, and the old schedule is over")
    event = Observe("schedule", "renegotiation_failed", {"reason": str(error)})
    return Step(exchange.unchanged(context.planned, world), context, (event,), heard="ScheduleRenegotiation")


def power_delivery(request: PowerDeliveryReq, context: Charging | Stopping, world: World) -> Step:
    """Go over to the new schedule, with its profile checked against it."""
    if isinstance(context, Stopping):
        return _too_late(request, context, world)
    response = PowerDeliveryRes(header=world.header, response_code=ResponseCode.OK)
    if request.ev_processing is not Processing.Finished:
        return Step(response, context)
    if not isinstance(context.beside, Planned):
        raise refuse(ResponseCode.FAILED_SequenceError, "nothing was renegotiated")
    chosen = choose_tuple(request, context.beside, world)
    newest = context.planned.parametrised  # the loop has gone on meanwhile: what it last said of the vehicle holds
    parametrised = replace(context.beside.parametrised, vehicle=newest.vehicle, heard=newest.heard)
    planned = replace(context.beside, parametrised=parametrised)
    charging = replace(context, planned=planned, chosen=chosen, beside=None)
    charging = account(charging, world)
    commands: tuple[Any, ...] = ()
    if charging.output is not None:
        charging, commands = apply_output(charging, world)
    event = Observe("schedule", "renegotiated_beside", {})
    return Step(response, charging, (*commands, event), heard="ScheduleRenegotiation")


def _too_late(request: Any, context: Stopping, world: World) -> Step:
    """Answer a vehicle that has asked on its main stream to stop: there is nothing to plan any more."""
    if isinstance(request, ScheduleExchangeReq):
        return Step(exchange.unchanged(context.planned, world), context)
    response = refusal(request, ResponseCode.WARNING_ScheduleRenegotiationFailed.value, world.header, world.config)
    return Step(response, context)
