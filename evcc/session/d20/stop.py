"""The end of a session: power off, contactor open, welding detection, session stop."""

from typing import TypeVar

import msgspec

from evcc.session import steps
from evcc.session.d20 import requests as ask
from evcc.session.d20 import stages
from evcc.session.d20.quantities import to_milli
from evcc.session.d20.request_context import RequestContext
from evcc.session.ports import SAFE, SAFE_MV, OpenContactor, SetCpState, SetPowerLimits
from evcc.session.program import IDLE
from evcc.session.steps import Ended, LeavingLoop, Stage, seen
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import LOOPS, PARALLEL
from v2g.iso15118.d20.messages import common_messages as iso
from v2g.iso15118.d20.messages.acdp import ACDP_DisconnectReq, ElectricalChargingDeviceStatus
from v2g.iso15118.d20.messages.common_types import ChargeLoopReq, ChargeLoopRes, EvseNotification, Processing
from v2g.iso15118.d20.messages.dc import DC_ChargeLoopRes, DC_WeldingDetectionReq, DC_WeldingDetectionRes
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe


def stop(stage: Stage, context: RequestContext, ending: stages.Ending) -> stages.Step:
    """Return the step that ends the session normally from any stage.

    In the charge loop the vehicle asks for 0 first. Once energy may flow PowerDelivery(Stop) comes next; before the
    session exists no message is sent.
    """
    observed = (seen("stop", "stopping", cause=ending.cause, session=ending.mode.value),)
    looping = stage.looping if isinstance(stage, stages.Lowering) else stage
    if isinstance(looping, stages.Looping) and context.state in LOOPS:
        lowered = stages.RampingDown(looping, steps.until(context, failed=ending.failed), ending)
        return msgspec.structs.replace(ask_nothing(lowered, context), observed=observed)
    if context.state in PARALLEL:
        return _power_stop(looping, context, ending, observed)
    if context.state in (State.SUPPORTED_APP_PROTOCOL, State.SESSION_SETUP):
        return stages.fail(stage, ending.cause)
    return session_stop(context, ending, commands=SAFE, observed=observed)


def _power_stop(
    stage: Stage, context: RequestContext, ending: stages.Ending, observed: tuple[Observe, ...] = ()
) -> stages.Step:
    request = iso.PowerDeliveryReq(
        header=context.header(), ev_processing=Processing.Finished, charge_progress=iso.ChargeProgress.Stop
    )
    return stages.Step(
        stage=stages.PowerStopping(ending),
        request=request,
        commands=(SetPowerLimits(0, 0),),
        discharge_w=0,
        observed=(*observed, *_last_reading(stage)),
    )


def ask_nothing(stage: LeavingLoop[stages.Looping], context: RequestContext) -> stages.Step:
    """Send the request of the loop for no power."""
    request = ask.charge_loop(stage.looping.plan, context, IDLE)
    return stages.Step(stage=stage, request=request, commands=(SetPowerLimits(0, 0),), discharge_w=0)


@stages.on_wake(stages.Lowering, stages.RampingDown)
def repeat_nothing(stage: LeavingLoop[stages.Looping], request: ChargeLoopReq, context: RequestContext) -> stages.Step:
    """The pause is over."""
    return stages.Step(stage=stage, request=ask.charge_loop(stage.looping.plan, context, IDLE))


@stages.on_response(stages.RampingDown)
def on_ramping_down(
    stage: stages.RampingDown, request: ChargeLoopReq, response: ChargeLoopRes, context: RequestContext
) -> stages.Step:
    """Stop power once no current flows, or in any case after the time for it; a charger that ends the session meanwhile
    lets it neither pause nor select services again."""
    stage = still_looping(stage, response)
    if stage.looping.notified is EvseNotification.Terminate and stage.ending.goes_on:
        stage = msgspec.structs.replace(stage, ending=stages.TERMINATED_BY_EVSE)
    return still_flowing(stage, response, context) or _power_stop(stage.looping, context, stage.ending)


def notification(response: ChargeLoopRes | iso.PowerDeliveryRes) -> EvseNotification | None:
    """Return what the charger notifies in EVSEStatus, None without one."""
    return None if response.evse_status is None else response.evse_status.evse_notification


Leaving = TypeVar("Leaving", bound=LeavingLoop[stages.Looping])


def still_looping(stage: Leaving, response: ChargeLoopRes) -> Leaving:
    """Return the stage with the latest reading of the meter and notification, and without power."""
    meter = response.meter_info or stage.looping.meter
    notified = notification(response)
    looping = msgspec.structs.replace(stage.looping, meter=meter, power_request=IDLE, notified=notified)
    return msgspec.structs.replace(stage, looping=looping)


def still_flowing(
    stage: LeavingLoop[stages.Looping], response: ChargeLoopRes, context: RequestContext
) -> stages.Step | None:
    """Return the pause before the next request for no power; None once the loop may be left."""
    reported_ma = to_milli(response.evse_present_current) if isinstance(response, DC_ChargeLoopRes) else 0
    if not steps.flows(context, reported_ma, stage.until):
        return None
    return stages.Step(stage=stage, wait=context.config.timing.loop_pause_s)


def _last_reading(stage: Stage) -> tuple[Observe, ...]:
    meter = stage.meter if isinstance(stage, stages.Looping) else None
    if meter is None:
        return ()
    return (
        seen(
            "metering",
            "reading",
            meter_id=meter.meter_id,
            charged_wh=meter.charged_energy_reading_wh,
            discharged_wh=meter.bpt_discharged_energy_reading_wh,
        ),
    )


def session_stop(
    context: RequestContext,
    ending: stages.Ending,
    *,
    commands: tuple[Command, ...] = (),
    observed: tuple[Observe, ...] = (),
) -> stages.Step:
    """Return the step that sends SessionStopReq."""
    request = iso.SessionStopReq(
        header=context.header(),
        charging_session=ending.mode,
        ev_termination_code=ending.cause[:80] if ending.failed else None,
    )
    return stages.Step(stage=stages.Stopping(ending), request=request, commands=commands, observed=observed)


def leave(context: RequestContext, ending: stages.Ending) -> stages.Step:
    """Return the step after power: the connection device moves home first."""
    if context.state is State.ACDP_DISCONNECT:
        state = ElectricalChargingDeviceStatus.State_B
        request = ACDP_DisconnectReq(header=context.header(), ev_electrical_charging_device_status=state)
        return stages.Step(stage=stages.DisconnectingDevice(ending), request=request)
    return leave_place(context, ending)


def leave_place(context: RequestContext, ending: stages.Ending) -> stages.Step:
    """Return the step out of the parking space if the vehicle has checked in, or the end of the session."""
    if context.parked and ending.mode is iso.ChargingSession.Terminate:
        return ask.leave_space(ending, context)
    return session_stop(context, ending)


@stages.on_response(stages.PowerStopping)
def on_power_stopped(
    stage: stages.PowerStopping, request: iso.PowerDeliveryReq, response: iso.PowerDeliveryRes, context: RequestContext
) -> stages.Step:
    """The charger has switched off: leave state C and open the contactor."""
    return stages.Step(
        stage=stages.OpeningContactor(stage.ending),
        commands=(SetCpState(PilotState.B), OpenContactor()),
        observed=(seen("power", "stopped", soc=context.battery.soc),),
    )


@stages.on_contactor(stages.OpeningContactor, closed=False)
def on_opened(stage: stages.OpeningContactor, context: RequestContext) -> stages.Step:
    """The contactor is open: with direct current verify that it is open (and the charger's)."""
    if context.state is State.SESSION_STOP:
        return leave(context, stage.ending)
    until = context.now + context.config.timers.evcc_welding_detection
    return ask_welding(stages.Welding(stage.ending, until), context)


def ask_welding(stage: stages.Welding, context: RequestContext) -> stages.Step:
    """Return the step that sends DC_WeldingDetectionReq."""
    processing = Processing.Finished if stage.finished else Processing.Ongoing
    return stages.Step(stage=stage, request=DC_WeldingDetectionReq(header=context.header(), ev_processing=processing))


@stages.on_wake(stages.Welding)
def repeat_welding(stage: stages.Welding, request: DC_WeldingDetectionReq, context: RequestContext) -> stages.Step:
    """Check the voltage again."""
    return ask_welding(stage, context)


@stages.on_response(stages.Welding)
def on_welding(
    stage: stages.Welding, request: DC_WeldingDetectionReq, response: DC_WeldingDetectionRes, context: RequestContext
) -> stages.Step:
    """Repeat until the voltage is gone; a remaining voltage is reported, and ends the session anyway."""
    if stage.finished:
        return leave(context, stage.ending)
    voltage = max(to_milli(response.evse_present_voltage), context.inlet.voltage_mv)
    if voltage < SAFE_MV:
        return ask_welding(msgspec.structs.replace(stage, finished=True), context)
    if context.now >= stage.until:
        step = ask_welding(msgspec.structs.replace(stage, finished=True), context)
        return msgspec.structs.replace(step, observed=(seen("stop", "welding_suspected", voltage_mv=voltage),))
    return stages.Step(stage=stage, wait=context.config.timing.poll_pause_s)


@stages.on_response(stages.Stopping)
def on_session_stopped(
    stage: stages.Stopping, request: iso.SessionStopReq, response: iso.SessionStopRes, context: RequestContext
) -> stages.Step:
    """The charger confirms: close, or select services again."""
    ending = stage.ending
    if request.charging_session is iso.ChargingSession.ServiceRenegotiation:
        return ask.discover(context) if ending.goes_on else session_stop(context, ending)  # ended meanwhile
    name = "session_paused" if ending.mode is iso.ChargingSession.Pause else "session_stopped"
    return stages.Step(stage=Ended(), end=ending.reason, observed=(seen("stop", name, cause=ending.cause),))
