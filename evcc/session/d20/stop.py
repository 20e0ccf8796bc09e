"""The end of a session: power off, contactor open, welding detection, session stop."""

from typing import TypeVar

import msgspec

from evcc.session import steps
from evcc.session.d20 import requests as ask
from evcc.session.d20.quantities import to_milli
from evcc.session.d20.request_context import RequestContext
from evcc.session.d20.stages import (
    DisconnectingDevice,
    Ending,
    Looping,
    Lowering,
    OpeningContactor,
    PowerStopping,
    RampingDown,
    Step,
    Stopping,
    Welding,
    fail,
    on_contactor,
    on_response,
    on_wake,
)
from evcc.session.ports import SAFE, SAFE_MV, OpenContactor, SetCpState, SetPowerLimits
from evcc.session.program import IDLE
from evcc.session.steps import Ended, LeavingLoop, Stage, seen
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import LOOPS, PARALLEL
from v2g.iso15118.d20.messages.acdp import ACDP_DisconnectReq, ElectricalChargingDeviceStatus
from v2g.iso15118.d20.messages.common_messages import (
    ChargeProgress,
    ChargingSession,
    PowerDeliveryReq,
    PowerDeliveryRes,
    SessionStopReq,
    SessionStopRes,
)
from v2g.iso15118.d20.messages.common_types import ChargeLoopReq, ChargeLoopRes, Processing
from v2g.iso15118.d20.messages.dc import DC_ChargeLoopRes, DC_WeldingDetectionReq, DC_WeldingDetectionRes
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe


def stop(stage: Stage, context: RequestContext, ending: Ending) -> Step:
    """Return the step that ends the session normally from any stage.

    In the charge loop the vehicle asks for 0 first. Once energy may flow PowerDelivery(Stop) comes next; before the
    session exists no message is sent.
    """
    observed = (seen("stop", "stopping", cause=ending.cause, session=ending.mode.value),)
    looping = stage.looping if isinstance(stage, Lowering) else stage
    if isinstance(looping, Looping) and context.state in LOOPS:
        lowered = RampingDown(looping, steps.until(context, failed=ending.failed), ending)
        return msgspec.structs.replace(ask_nothing(lowered, context), observed=observed)
    if context.state in PARALLEL:
        return _power_stop(looping, context, ending, observed)
    if context.state in (State.SUPPORTED_APP_PROTOCOL, State.SESSION_SETUP):
        return fail(stage, ending.cause)
    return session_stop(context, ending, commands=SAFE, observed=observed)


def _power_stop(stage: Stage, context: RequestContext, ending: Ending, observed: tuple[Observe, ...] = ()) -> Step:
    request = PowerDeliveryReq(
        header=context.header(), ev_processing=Processing.Finished, charge_progress=ChargeProgress.Stop
    )
    return Step(
        stage=PowerStopping(ending),
        request=request,
        commands=(SetPowerLimits(0, 0),),
        discharge_w=0,
        observed=(*observed, *_last_reading(stage)),
    )


def ask_nothing(stage: LeavingLoop[Looping], context: RequestContext) -> Step:
    """Send the request of the loop for no power."""
    request = ask.charge_loop(stage.looping.plan, context, IDLE)
    return Step(stage=stage, request=request, commands=(SetPowerLimits(0, 0),), discharge_w=0)


@on_wake(Lowering, RampingDown)
def repeat_nothing(stage: LeavingLoop[Looping], request: ChargeLoopReq, context: RequestContext) -> Step:
    """The pause is over."""
    return Step(stage=stage, request=ask.charge_loop(stage.looping.plan, context, IDLE))


@on_response(RampingDown)
def on_ramping_down(
    stage: RampingDown, request: ChargeLoopReq, response: ChargeLoopRes, context: RequestContext
) -> Step:
    """Stop power once no current flows, or in any case after the time for it."""
    stage = still_looping(stage, response)
    return still_flowing(stage, response, context) or _power_stop(stage.looping, context, stage.ending)


Leaving = TypeVar("Leaving", bound=LeavingLoop[Looping])


def still_looping(stage: Leaving, response: ChargeLoopRes) -> Leaving:
    """Return the stage with the latest reading of the meter, and without power."""
    meter = response.meter_info or stage.looping.meter
    looping = msgspec.structs.replace(stage.looping, meter=meter, power_request=IDLE)
    return msgspec.structs.replace(stage, looping=looping)


def still_flowing(stage: LeavingLoop[Looping], response: ChargeLoopRes, context: RequestContext) -> Step | None:
    """Return the pause before the next request for no power; None once the loop may be left."""
    reported_ma = to_milli(response.evse_present_current) if isinstance(response, DC_ChargeLoopRes) else 0
    if not steps.flows(context, reported_ma, stage.until):
        return None
    return Step(stage=stage, wait=context.config.timing.loop_pause_s)


def _last_reading(stage: Stage) -> tuple[Observe, ...]:
    meter = stage.meter if isinstance(stage, Looping) else None
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
    context: RequestContext, ending: Ending, *, commands: tuple[Command, ...] = (), observed: tuple[Observe, ...] = ()
) -> Step:
    """Return the step that sends SessionStopReq."""
    request = SessionStopReq(
        header=context.header(),
        charging_session=ending.mode,
        ev_termination_code=ending.cause[:80] if ending.failed else None,
    )
    return Step(stage=Stopping(ending), request=request, commands=commands, observed=observed)


def leave(context: RequestContext, ending: Ending) -> Step:
    """Return the step after power: the connection device moves home first."""
    if context.state is State.ACDP_DISCONNECT:
        state = ElectricalChargingDeviceStatus.State_B
        request = ACDP_DisconnectReq(header=context.header(), ev_electrical_charging_device_status=state)
        return Step(stage=DisconnectingDevice(ending), request=request)
    return leave_place(context, ending)


def leave_place(context: RequestContext, ending: Ending) -> Step:
    """Return the step out of the parking space if the vehicle has checked in, or the end of the session."""
    if context.parked and ending.mode is ChargingSession.Terminate:
        return ask.leave_space(ending, context)
    return session_stop(context, ending)


@on_response(PowerStopping)
def on_power_stopped(
    stage: PowerStopping, request: PowerDeliveryReq, response: PowerDeliveryRes, context: RequestContext
) -> Step:
    """The charger has switched off: leave state C and open the contactor."""
    return Step(
        stage=OpeningContactor(stage.ending),
        commands=(SetCpState(PilotState.B), OpenContactor()),
        observed=(seen("power", "stopped", soc=context.battery.soc),),
    )


@on_contactor(OpeningContactor, closed=False)
def on_opened(stage: OpeningContactor, context: RequestContext) -> Step:
    """The contactor is open: with direct current verify that it is open (and the charger's)."""
    if context.state is State.SESSION_STOP:
        return leave(context, stage.ending)
    until = context.now + context.config.timers.evcc_welding_detection
    return ask_welding(Welding(stage.ending, until), context)


def ask_welding(stage: Welding, context: RequestContext) -> Step:
    """Return the step that sends DC_WeldingDetectionReq."""
    processing = Processing.Finished if stage.finished else Processing.Ongoing
    return Step(stage=stage, request=DC_WeldingDetectionReq(header=context.header(), ev_processing=processing))


@on_wake(Welding)
def repeat_welding(stage: Welding, request: DC_WeldingDetectionReq, context: RequestContext) -> Step:
    """Check the voltage again."""
    return ask_welding(stage, context)


@on_response(Welding)
def on_welding(
    stage: Welding, request: DC_WeldingDetectionReq, response: DC_WeldingDetectionRes, context: RequestContext
) -> Step:
    """Repeat until the voltage is gone; a remaining voltage is reported, and ends the session anyway."""
    if stage.finished:
        return leave(context, stage.ending)
    voltage = max(to_milli(response.evse_present_voltage), context.inlet.voltage_mv)
    if voltage < SAFE_MV:
        return ask_welding(msgspec.structs.replace(stage, finished=True), context)
    if context.now >= stage.until:
        step = ask_welding(msgspec.structs.replace(stage, finished=True), context)
        return msgspec.structs.replace(step, observed=(seen("stop", "welding_suspected", voltage_mv=voltage),))
    return Step(stage=stage, wait=context.config.timing.poll_pause_s)


@on_response(Stopping)
def on_session_stopped(
    stage: Stopping, request: SessionStopReq, response: SessionStopRes, context: RequestContext
) -> Step:
    """The charger confirms: close, or select services again."""
    ending = stage.ending
    if ending.mode is ChargingSession.ServiceRenegotiation:
        return ask.discover(context)
    name = "session_paused" if ending.mode is ChargingSession.Pause else "session_stopped"
    return Step(stage=Ended(), end=ending.reason, observed=(seen("stop", name, cause=ending.cause),))
