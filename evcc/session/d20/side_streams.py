"""The vehicle's side streams during its charge loop: signing readings, and planning again."""

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from evcc.session.d20 import requests as ask
from evcc.session.d20.request_context import Plan, RequestContext
from evcc.session.d20.response_policy import Reaction, reaction
from evcc.session.d20.schedule import agree
from evcc.session.d20.stages import PAUSED_BY_EVSE, Ending, Looping
from evcc.session.ports import NeedsChanged
from evcc.session.steps import register, seen
from v2g.exi.declare import Element
from v2g.iso15118.d20.messages import common_messages as iso
from v2g.iso15118.d20.messages.acdp import ACDP_SystemStatusReq, ACDP_SystemStatusRes
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.observe import Observe


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What follows an answer on a side stream: another request (at once, or after `wait` s), or its end.

    `plan` takes effect once the charger has accepted its profile, unless the old one stays `unchanged`;
    `needs` are the driver's if the charger sets them; `ending` stops the session, `failure` ends it at once.
    """

    request: Element | None = None
    wait: float = 0.0
    plan: Plan | None = None
    unchanged: bool = False
    needs: NeedsChanged | None = None
    observed: tuple[Observe, ...] = ()
    ending: Ending | None = None
    failure: str = ""


RequestT = TypeVar("RequestT", bound=Element)
ResponseT = TypeVar("ResponseT", bound=Element)
OnAnswer: TypeAlias = Callable[[RequestT, ResponseT, Looping | None, RequestContext], Turn]

ANSWERS: Final[dict[str, OnAnswer[Any, Any]]] = {}
"""Request on a side stream -> handler of its answer."""


def on_answer(request: type[RequestT]) -> Callable[[OnAnswer[RequestT, ResponseT]], OnAnswer[RequestT, ResponseT]]:
    """Register the handler of the answers to a request."""
    return register(ANSWERS, request.__name__)


@on_answer(iso.MeteringConfirmationReq)
def on_confirmed(
    request: iso.MeteringConfirmationReq, response: Element, looping: Looping | None, context: RequestContext
) -> Turn:
    """The charger has the signature."""
    meter = request.signed_metering_data.meter_info
    return Turn(
        observed=(
            seen(
                "metering",
                "confirmed",
                charged_wh=meter.charged_energy_reading_wh,
                discharged_wh=meter.bpt_discharged_energy_reading_wh,
            ),
        )
    )


@on_answer(iso.ScheduleExchangeReq)
def on_schedule(
    request: iso.ScheduleExchangeReq,
    response: iso.ScheduleExchangeRes,
    looping: Looping | None,
    context: RequestContext,
) -> Turn:
    """Wait for the charger's plan, and agree on a schedule."""
    if reaction(response) is Reaction.KEEP or looping is None:
        return _unchanged(response.response_code.name)
    if response.evse_processing is not Processing.Finished:
        return Turn(request=request, wait=context.config.timing.poll_pause_s)
    agreed = agree(response, looping.plan, context)
    if agreed.refused:
        return Turn(failure=agreed.refused)
    if response.go_to_pause:
        return Turn(ending=PAUSED_BY_EVSE, unchanged=True, observed=agreed.observed)
    plan = agreed.plan
    step = ask.power_start(plan, context)
    return Turn(request=step.request, plan=plan, needs=agreed.needs, observed=agreed.observed)


@on_answer(iso.PowerDeliveryReq)
def on_power(
    request: iso.PowerDeliveryReq, response: iso.PowerDeliveryRes, looping: Looping | None, context: RequestContext
) -> Turn:
    """The new schedule takes effect, unless the charger stays with the old one."""
    if reaction(response) in (Reaction.KEEP, Reaction.STOP):
        return _unchanged(response.response_code.name)
    return Turn(observed=(seen("schedule", "renegotiated_beside"),))


@on_answer(ACDP_SystemStatusReq)
def on_status(
    request: ACDP_SystemStatusReq, response: ACDP_SystemStatusRes, looping: Looping | None, context: RequestContext
) -> Turn:
    """End the session if the charger reports an emergency or a malfunction of its device."""
    if response.evse_emergency_shutdown or response.evse_malfunction:
        return Turn(failure="connection_device_failed")
    device = response.evse_mechanical_charging_device_status.value
    return Turn(observed=(seen("place", "device_status", device=device, ready=response.evse_ready_to_charge),))


def _unchanged(code: str) -> Turn:
    return Turn(observed=(seen("schedule", "old_schedule_kept", code=code),), unchanged=True)


def plan_anew(looping: Looping, context: RequestContext) -> tuple[tuple[PayloadType, Element], ...]:
    """Return the request that begins a renegotiation on the side stream; nothing if one is in progress."""
    if PayloadType.SCHEDULE_RENEGOTIATION in context.beside:
        return ()
    return ((PayloadType.SCHEDULE_RENEGOTIATION, ask.schedule(looping.plan.choice, context)),)
