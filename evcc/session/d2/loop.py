"""What ISO 15118-2 adds to the charge loop: alternating current, renegotiation, pause and metering receipts."""

from typing import Final

from msgspec.structs import replace

from evcc.session import program, steps
from evcc.session.d2.installation import SIGNED_ID
from evcc.session.d2.stages import HANDLERS, Confirming, Disconnecting, Lowering, Renegotiating
from evcc.session.d2.vocabulary import VOCABULARY, tuple_id
from evcc.session.ports import OpenContactor, SetCpState
from evcc.session.steps import seen
from evcc.session.v2g_message import loop
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.loop import is_over, status_of, wanted_end
from evcc.session.v2g_message.stages import Ending, Looping, Parametrizing, RampingDown, Step
from evcc.session.v2g_message.stop import ask_nothing, ramping_down, repeat_nothing, still_flowing, stop
from v2g.exi.declare import Element
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d2.messages.common import (
    ChargingStatusReq,
    ChargingStatusRes,
    CurrentDemandReq,
    CurrentDemandRes,
    MeteringReceiptReq,
    MeteringReceiptRes,
    PowerDeliveryReq,
    PowerDeliveryRes,
)
from v2g.iso15118.d2.messages.data_types import (
    AC_EVSEStatus,
    DC_EVSEStatus,
    EVSENotification,
    EVSEStatus,
    MeterInfo,
)
from v2g.iso15118.d2.signatures import sign

SOONEST_MS: Final = steps.SOONEST_S * 1000


@HANDLERS.on_response(Looping)
def on_dc_loop(stage: Looping, request: CurrentDemandReq, response: CurrentDemandRes, context: MessageContext) -> Step:
    """Follow limits and status, and the charger's requests for a receipt and for other parameters."""
    step = loop.on_loop(stage, request, response, context)
    return _following(stage, step, response.dc_evse_status, response, context)


@HANDLERS.on_response(Looping, ChargingStatusRes)
def on_ac_loop(
    stage: Looping, request: ChargingStatusReq, response: ChargingStatusRes, context: MessageContext
) -> Step:
    """Draw within the charger's current per phase, and follow its status."""
    status = response.ac_evse_status
    ending = wanted_end(status)
    step = loop.follow_limits(stage, response, context) if ending is None else stop(stage, context, ending)
    inlet = context.inlet
    flow = seen("loop", "flow", voltage_mv=inlet.voltage_mv, current_ma=inlet.current_ma, soc=context.battery.soc)
    step = replace(step, observed=(flow, *step.observed))
    return _following(stage, step, status, response, context)


def _following(
    before: Looping,
    step: Step,
    status: DC_EVSEStatus | AC_EVSEStatus,
    response: CurrentDemandRes | ChargingStatusRes,
    context: MessageContext,
) -> Step:
    """Return the step that the charger asks for, instead of the pause before the next request.

    A receipt precedes an orderly stop, after which it would be out of order, with power off meanwhile; and other
    parameters, as it is for the present schedule.
    """
    stage, reading = step.stage, _to_confirm(response, context)
    if isinstance(stage, RampingDown) and reading and not stage.ending.failed:
        other = _confirm(replace(before, power_request=program.IDLE), reading, context, stage.ending)
        return replace(other, commands=step.commands, observed=step.observed)
    if not isinstance(stage, Looping):
        return step
    renegotiates = _wants_renegotiation(status, context)
    if reading:
        other = _confirm(stage, reading, context, renegotiates=renegotiates)
    elif renegotiates:
        other = renegotiate(stage, context)
    else:
        return step
    return replace(other, commands=(*step.commands, *other.commands), observed=(*step.observed, *other.observed))


def _wants_renegotiation(status: EVSEStatus, context: MessageContext) -> bool:
    """Return whether to follow a status: a notification that stays opens the contactor once in SOONEST_MS only."""
    before = context.renegotiated_ms
    soon = before is not None and context.session_ms - before < SOONEST_MS
    return status.evse_notification is EVSENotification.ReNegotiation and not soon


def _to_confirm(response: CurrentDemandRes | ChargingStatusRes, context: MessageContext) -> MeterInfo | None:
    pays = context.choice is not None and context.choice.contract  # no receipt elsewhere [V2G2-691]
    return response.meter_info if response.receipt_required and pays else None


@HANDLERS.on_response(RampingDown)
def on_ramping_down(
    stage: RampingDown, request: Element, response: CurrentDemandRes | ChargingStatusRes, context: MessageContext
) -> Step:
    """End once no current flows; the last reading is confirmed before."""
    step, reading = ramping_down(stage, request, response, context), _to_confirm(response, context)
    if stage.ending.failed or isinstance(step.stage, RampingDown) or reading is None:
        return step
    return _confirm(stage, reading, context, stage.ending)


@HANDLERS.on_wake(Looping)
def repeat_loop(stage: Looping, request: Element | None, context: MessageContext) -> Step:
    """The pause is over: ask for other parameters if needs have changed or the schedule has ended, pause, or go on."""
    schedule = stage.plan.schedule
    over = is_over(schedule, context) and context.session_ms - (schedule.since_ms if schedule else 0) >= SOONEST_MS
    if context.replan or over:
        return renegotiate(stage, context)
    resting = context.config.program[stage.progress.index] if not stage.progress.ended else None
    woken = context.woken_at == stage.progress.index
    if resting is not None and resting.do == "wait" and resting.pause and not woken:
        return stop(stage, context, Ending("program_pauses", pause=True))
    return loop.repeat_loop(stage, request, context)


# -- renegotiation ------------------------------------------------------------------------------------------------


def renegotiate(stage: Looping, context: MessageContext) -> Step:
    """Leave the loop for other parameters; before that ask for 0, as at its end."""
    lowered = Lowering(replace(stage, power_request=program.IDLE), steps.until(context))
    return replace(ask_nothing(lowered, context), observed=(seen("schedule", "renegotiating"),))


HANDLERS.on_wake(Lowering)(repeat_nothing)


@HANDLERS.on_response(Lowering)
def on_lowering(
    stage: Lowering, request: Element, response: CurrentDemandRes | ChargingStatusRes, context: MessageContext
) -> Step:
    """Ask for other parameters once no current flows [V2G2-813], unless the charger wants to stop."""
    ending = wanted_end(status_of(response))
    if ending is not None:
        return stop(stage, context, ending)
    asked = Step(stage=Renegotiating(stage.looping), request=VOCABULARY.renegotiate(context))
    return still_flowing(stage, response, context) or asked


@HANDLERS.on_response(Renegotiating)
def on_renegotiating(
    stage: Renegotiating, request: PowerDeliveryReq, response: PowerDeliveryRes, context: MessageContext
) -> Step:
    """Send the parameters again; with direct current the cable is checked again, with an open contactor [V2G2-582].

    State B shows the charger that the battery is not connected. A charger may want to stop instead.
    """
    ending = wanted_end(response.evse_status)
    if ending is not None:
        return stop(stage, context, ending)
    if context.choice is not None and context.choice.phases:
        return on_disconnected(Disconnecting(), context)
    return Step(stage=Disconnecting(), commands=(SetCpState(PilotState.B), OpenContactor()))


@HANDLERS.on_contactor(Disconnecting, closed=False)
def on_disconnected(stage: Disconnecting, context: MessageContext) -> Step:
    """Send the parameters."""
    return Step(stage=Parametrizing(again=True), request=VOCABULARY.parameters(context))


# -- receipts -----------------------------------------------------------------------------------------------------


def _confirm(
    stage: Looping | RampingDown,
    meter: MeterInfo,
    context: MessageContext,
    ending: Ending | None = None,
    *,
    renegotiates: bool = False,
) -> Step:
    """Confirm a reading by a signature of the contract's key [V2G2-903]."""
    assert context.contract is not None
    receipt = MeteringReceiptReq(
        session_id=context.session_id, sa_schedule_tuple_id=tuple_id(context.plan), meter_info=meter, id=SIGNED_ID
    )
    confirming = Confirming(stage, ending, renegotiates)
    return Step(stage=confirming, request=receipt, signature=sign(receipt, context.contract.key))


@HANDLERS.on_response(Confirming)
def on_confirmed(
    stage: Confirming, request: MeteringReceiptReq, response: MeteringReceiptRes, context: MessageContext
) -> Step:
    """Return to the loop's pause, or leave the loop: to end the session, as was reported before, or to renegotiate."""
    confirmed = seen("metering", "confirmed", charged_wh=request.meter_info.meter_reading, discharged_wh=None)
    if stage.ending is not None:
        return replace(stop(stage.looping, context, stage.ending), observed=(confirmed,))
    assert isinstance(stage.looping, Looping), "without an ending the loop goes on"
    ending = wanted_end(response.evse_status)
    if ending is not None:
        step = stop(stage, context, ending)
    elif stage.renegotiates or _wants_renegotiation(response.evse_status, context):
        step = renegotiate(stage.looping, context)
    else:
        step = Step(stage=stage.looping, wait=context.config.timing.loop_pause_s)
    return replace(step, observed=(confirmed, *step.observed))
