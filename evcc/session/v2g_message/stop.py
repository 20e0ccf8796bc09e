"""The end of a session: power off, contactor open, welding detection, session stop."""

from typing import Final

from msgspec.structs import replace

from evcc.session import steps
from evcc.session.ports import SAFE, SAFE_MV, OpenContactor, SetCpState, SetPowerLimits
from evcc.session.program import IDLE
from evcc.session.steps import Ended, LeavingLoop, Stage, seen
from evcc.session.v2g_message.context import COMMON, MessageContext
from evcc.session.v2g_message.stages import (
    Ending,
    Looping,
    OpeningContactor,
    PowerStopping,
    RampingDown,
    Step,
    Stopping,
    Welding,
    fail,
)
from v2g.exi.declare import Element
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.engine.physical_values import milliamperes, millivolts
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.v2g_message import WeldingDetectionRes

_LOOPS: Final = frozenset(
    {State.AC_CHARGE_LOOP, State.AC_METERING_RECEIPT, State.DC_CHARGE_LOOP, State.DC_METERING_RECEIPT}
)
"""States in which the request of the loop is in order."""

WELDING_S: Final = 5.0
"""Maximum duration of welding detection: policy, since the editions have no timer for it."""


def stop(stage: Stage, context: MessageContext, ending: Ending) -> Step:
    """Return the step that ends the session normally from any stage.

    In the charge loop the vehicle asks for 0 first. Once energy may flow PowerDelivery comes next; before the session
    exists no message is sent.
    """
    if context.state in (State.SUPPORTED_APP_PROTOCOL, State.SESSION_SETUP):
        return fail(stage, ending.cause)
    if ending.pause and context.state not in context.vocabulary.delivering:
        ending = replace(ending, pause=False)  # only a session that had energy can be joined again
    observed = (seen("stop", "stopping", cause=ending.cause, session="Pause" if ending.pause else "Terminate"),)
    context = replace(context, ev_error=ending.ev_error)
    looping = stage if isinstance(stage, Looping) else getattr(stage, "looping", None)
    if isinstance(looping, Looping) and context.state in _LOOPS and not isinstance(stage, RampingDown):
        looping = replace(looping, power_request=IDLE)
        until = steps.until(context, failed=ending.failed)
        return replace(ask_nothing(RampingDown(looping, until, ending), context), observed=observed)
    if context.state in context.vocabulary.delivering:
        return replace(_power_stop(context, ending), observed=observed)
    return replace(_session_stop(context, ending), commands=SAFE, observed=observed)


def _power_stop(context: MessageContext, ending: Ending) -> Step:
    ac = context.choice is not None and context.choice.phases
    return Step(
        stage=PowerStopping(ending),
        request=context.vocabulary.power_stop(context),
        commands=(SetPowerLimits(0, 0),),
        then=(SetCpState(PilotState.B),) if ac else (),  # within 250 ms [V2G2-848]
    )


def ask_nothing(stage: LeavingLoop[Looping], context: MessageContext) -> Step:
    """Send the request of the loop for no power."""
    request, commands = context.vocabulary.charge_loop(stage.looping.plan, context, 0)
    return Step(stage=stage, request=request, commands=(SetPowerLimits(0, 0), *commands))


def repeat_nothing(stage: LeavingLoop[Looping], request: Element, context: MessageContext) -> Step:
    """The pause is over."""
    return replace(ask_nothing(stage, context), commands=())


COMMON.on_wake(RampingDown)(repeat_nothing)


@COMMON.on_response(RampingDown)
def ramping_down(stage: RampingDown, request: Element, response: Element, context: MessageContext) -> Step:
    """Stop power once no current flows, or in any case after the time for it."""
    return still_flowing(stage, response, context) or _power_stop(context, stage.ending)


def still_flowing(stage: LeavingLoop[Looping], response: Element, context: MessageContext) -> Step | None:
    """Return the pause before the next request for no power; None once the loop may be left."""
    current = getattr(response, "evse_present_current", None)
    reported_ma = 0 if current is None else milliamperes(current)
    if not steps.flows(context, reported_ma, stage.until):
        return None
    return Step(stage=stage, wait=context.config.timing.loop_pause_s)


def _session_stop(context: MessageContext, ending: Ending) -> Step:
    return Step(stage=Stopping(ending), request=context.vocabulary.session_stop(ending))


@COMMON.on_response(PowerStopping)
def on_power_stopped(stage: PowerStopping, request: Element, response: Element, context: MessageContext) -> Step:
    """The charger has switched off: leave state C and open the contactor."""
    return Step(
        stage=OpeningContactor(stage.ending),
        commands=(SetCpState(PilotState.B), OpenContactor()),
        observed=(seen("power", "stopped", soc=context.battery.soc),),
    )


@COMMON.on_contactor(OpeningContactor, closed=False)
def on_opened(stage: OpeningContactor, context: MessageContext) -> Step:
    """The contactor is open: with direct current verify that it is open (and the charger's)."""
    if context.state is State.SESSION_STOP:
        return _session_stop(context, stage.ending)
    return _ask_welding(Welding(stage.ending, context.now + WELDING_S), context)


def _ask_welding(stage: Welding, context: MessageContext) -> Step:
    return Step(stage=stage, request=context.vocabulary.welding_detection(context))


@COMMON.on_wake(Welding)
def repeat_welding(stage: Welding, request: Element, context: MessageContext) -> Step:
    """Check the voltage again."""
    return _ask_welding(stage, context)


@COMMON.on_response(Welding)
def on_welding(stage: Welding, request: Element, response: WeldingDetectionRes, context: MessageContext) -> Step:
    """Repeat until the voltage is gone; a remaining voltage is reported, and ends the session anyway."""
    voltage_mv = max(millivolts(response.evse_present_voltage), context.inlet.voltage_mv)
    if voltage_mv < SAFE_MV:
        return _session_stop(context, stage.ending)
    if context.now < stage.until:
        return Step(stage=stage, wait=context.config.timing.poll_pause_s)
    suspected = seen("stop", "welding_suspected", voltage_mv=voltage_mv)
    return replace(_session_stop(context, stage.ending), observed=(suspected,))


@COMMON.on_response(Stopping)
def on_session_stopped(stage: Stopping, request: Element, response: Element, context: MessageContext) -> Step:
    """The charger confirms: close."""
    ending = stage.ending
    name = "session_paused" if ending.pause else "session_stopped"
    return Step(stage=Ended(), end=ending.reason, observed=(seen("stop", name, cause=ending.cause),))
