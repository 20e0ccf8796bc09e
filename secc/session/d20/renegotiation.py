"""A new schedule on the side stream 0x8101 while energy flows by the old one.

The result takes effect with the vehicle's PowerDeliveryReq, all of it at once.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from secc.session.d20 import ac, parameters, wpt
from secc.session.d20.loop import account
from secc.session.d20.refusal import refusal
from secc.session.d20.scheduling import exchange
from secc.session.d20.scheduling.schedules import choose_tuple
from secc.session.d20.stages import HANDLERS, SIDE_HANDLERS, RequestContext, Step, refuse
from secc.session.power import apply_output
from secc.session.request_context import Handler, Wait
from secc.session.stages import Awaiting, Charging, Parametrised, Planned, Selected, Stopping
from v2g.errors import Iso15118Error
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.ac import AC_ChargeParameterDiscoveryReq
from v2g.iso15118.d20.messages.common_messages import PowerDeliveryReq, PowerDeliveryRes, ScheduleExchangeReq
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.iso15118.d20.messages.dc import DC_ChargeParameterDiscoveryReq
from v2g.iso15118.d20.messages.wpt import WPT_ChargeParameterDiscoveryReq
from v2g.iso15118.engine.session import Command
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.observe import Observe

_BY_FAMILY: Final[Mapping[Family, Handler[Any, Selected, RequestContext, Step]]] = {
    Family.AC: ac.charge_parameter_discovery,
    Family.DC: parameters.charge_parameter_discovery,
    Family.ACDP: parameters.charge_parameter_discovery,
    Family.WPT: wpt.charge_parameter_discovery,
}


@SIDE_HANDLERS[PayloadType.SCHEDULE_RENEGOTIATION].on_request(
    AC_ChargeParameterDiscoveryReq, DC_ChargeParameterDiscoveryReq, WPT_ChargeParameterDiscoveryReq
)
def charge_parameters(request: Element, stage: Charging | Stopping, context: RequestContext) -> Step:
    """Accept new limits of the vehicle; they apply together with the new schedule."""
    if isinstance(stage, Stopping):
        return _too_late(request, stage, context)
    selected = stage.selected
    step = _BY_FAMILY[selected.family](request, selected, context)
    return replace(step, stage=replace(stage, beside=step.stage))


@SIDE_HANDLERS[PayloadType.SCHEDULE_RENEGOTIATION].on_request(ScheduleExchangeReq)
def schedule_exchange(request: ScheduleExchangeReq, stage: Charging | Stopping, context: RequestContext) -> Step:
    """Make a new plan from the present state."""
    if isinstance(stage, Stopping):
        return _too_late(request, stage, context)
    begun = stage.beside
    parametrised = begun if isinstance(begun, Parametrised) else stage.parametrised
    try:
        step = exchange.plan(request, parametrised, context)
    except Iso15118Error as error:
        return continued(replace(stage, beside=None), context, error)
    needs = exchange.report(request, parametrised, context)
    return replace(step, stage=replace(stage, beside=step.stage), commands=(needs, *step.commands))


@HANDLERS.on_request(ScheduleExchangeReq)
def renegotiated(
    request: ScheduleExchangeReq, stage: Parametrised | Awaiting | Charging, context: RequestContext
) -> Step | Wait:
    """Plan on the main stream; if that fails, a session that charges continues with its old schedule."""
    try:
        return exchange.schedule_exchange(request, stage, context)
    except Iso15118Error as error:
        if not isinstance(stage, Charging):
            raise
        return continued(stage, context, error)  # the loop continues, or the standby


def continued(stage: Charging, context: RequestContext, error: Iso15118Error) -> Step:
    """Continue by the present schedule while it is valid."""
    departure_ms = stage.planned.plan.departure_ms
    if departure_ms is not None and context.utc_ms >= departure_ms:
        raise refuse(ResponseCode.FAILED_ScheduleRenegotiation, f"{error}, and the old schedule is over")
    event = Observe("schedule", "renegotiation_failed", {"reason": str(error)})
    return Step(exchange.unchanged(stage.planned, context), stage, (event,), followed="ScheduleRenegotiation")


@SIDE_HANDLERS[PayloadType.SCHEDULE_RENEGOTIATION].on_request(PowerDeliveryReq)
def power_delivery(request: PowerDeliveryReq, stage: Charging | Stopping, context: RequestContext) -> Step:
    """Change to the new schedule, after checking the vehicle's profile against it."""
    if isinstance(stage, Stopping):
        return _too_late(request, stage, context)
    response = PowerDeliveryRes(header=context.header, response_code=ResponseCode.OK)
    if request.ev_processing is not Processing.Finished:
        return Step(response, stage)
    if not isinstance(stage.beside, Planned):
        raise refuse(ResponseCode.FAILED_SequenceError, "no renegotiation is in progress")
    chosen = choose_tuple(request, stage.beside, context)
    newest = stage.parametrised  # the loop has continued meanwhile: its latest values of the vehicle apply
    asked = stage.beside.parametrised.vehicle
    agreed = stage.beside.parametrised.able.bounded(newest.able, raises=True)  # no cable check has tested more
    vehicle = newest.vehicle.bounded(agreed, raises=context.config.raised_limits)
    vehicle = replace(vehicle, der=asked.der, given=asked.given, enabled=asked.enabled)
    parametrised = replace(stage.beside.parametrised, vehicle=vehicle, rated=agreed, derived_from=None)
    planned = replace(stage.beside, parametrised=parametrised)
    charging = replace(stage, planned=planned, chosen=chosen, beside=None)
    charging = account(charging, context)
    commands: tuple[Command | Observe, ...] = ()
    if charging.output is not None:
        charging, commands = apply_output(charging, context)
    event = Observe("schedule", "renegotiated_beside", {})
    return Step(response, charging, (*commands, event), followed="ScheduleRenegotiation")


def _too_late(request: Element, stage: Stopping, context: RequestContext) -> Step:
    """Answer a vehicle that has requested a stop on its main stream: there is nothing left to plan."""
    if isinstance(request, ScheduleExchangeReq):
        return Step(exchange.unchanged(stage.planned, context), stage)
    response = refusal(request, ResponseCode.WARNING_ScheduleRenegotiationFailed.value, context.header, context.config)
    return Step(response, stage)
