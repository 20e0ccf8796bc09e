"""From the cable check to power and back to an open contactor, in any edition; responses are the edition's."""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from secc.session import ports
from secc.session.power import apply_output
from secc.session.request_context import RequestContext, Step, Wait, refuse
from secc.session.stages import (
    AfterPlan,
    CableChecking,
    Charging,
    Planned,
    PreCharging,
    Stage,
    Starting,
    Stopped,
    Stopping,
)
from v2g.exi.declare import Element
from v2g.hardware.interlock import TOUCH_MV
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe

MATCHED_MV: Final = 20_000
"""Maximum difference of output and battery voltage at which the vehicle may close its contactor."""

READY: Final = (None, PilotState.C, PilotState.D)
"""None: the hardware does not report the control pilot."""


def cable_check(
    stage: Planned | CableChecking, context: RequestContext, respond: Callable[[str], Element], *, pilot_s: float
) -> Step | Wait:
    """Test the insulation; polled until the result is available. The pilot has to be in C or D within `pilot_s`.

    `respond` returns the response with this EVSEProcessing.
    """
    if isinstance(stage, Planned):
        if context.facts.pilot not in READY:
            if context.waited:
                raise refuse("FAILED", "the control pilot is not in state C")
            return Wait(stage, pilot_s)
        vehicle = stage.parametrised.vehicle
        voltage_mv = min(vehicle.max_voltage_mv, context.config.rating.max_voltage_v * 1000)
        started = (
            ports.StartCableCheck(voltage_mv),
            Observe("power", "cable_check_started", {"voltage_mv": voltage_mv}),
        )
        return Wait(CableChecking(planned=stage, since=context.now), context.config.poll_hold_s, started)
    if stage.passed is None and context.now - stage.since < context.timing.secc_cable_check:
        if not context.waited:
            return Wait(stage, context.config.poll_hold_s)
        return Step(respond("Ongoing"), stage)
    if stage.passed is None:
        raise refuse("FAILED", "the cable check timed out", reason="cable_check_timeout")
    if not stage.passed:
        failed = "the cable check failed"
        raise refuse("FAILED", f"{failed}: {stage.why}" if stage.why else failed, reason="cable_check_failed")
    done = Observe("power", "cable_check_passed", {"seconds": round(context.now - stage.since, 4)})
    return Step(respond("Finished"), PreCharging(planned=stage.planned), (done,))


def pre_charge(
    stage: PreCharging,
    target_mv: int,
    context: RequestContext,
    respond: Callable[[], Element],
    *,
    at_once: bool = False,
) -> Step | Wait:
    """Bring the output to the vehicle's voltage. The response may wait a little for it, unless `at_once`; it reports
    the present one."""
    most_mv = min(stage.vehicle.max_voltage_mv, context.config.rating.max_voltage_v * 1000)
    commands: tuple[ports.StartPreCharge, ...] = ()
    if target_mv != stage.target_mv:
        stage = replace(stage, target_mv=target_mv)
        commands = (ports.StartPreCharge(min(target_mv, most_mv)),)
    voltage_mv, matched = context.facts.measured.voltage_mv, is_matched(stage, context)
    if not at_once and not context.waited and (commands or not matched):
        return Wait(stage, context.config.poll_hold_s, commands)
    event = Observe("power", "pre_charge", {"target_mv": target_mv, "voltage_mv": voltage_mv, "matched": matched})
    return Step(respond(), stage, (*commands, event))


def is_matched(stage: PreCharging, context: RequestContext) -> bool:
    """Return whether the output has the voltage that the vehicle requests, and both support it."""
    voltage_mv = context.facts.measured.voltage_mv
    return stage.target_mv >= _least_mv(stage, context) and abs(voltage_mv - stage.target_mv) <= MATCHED_MV


def _least_mv(stage: PreCharging, context: RequestContext) -> int:
    """Return the lowest voltage at which power may start: vehicles in the field name the voltage of their battery, in
    the end, and below its own least voltage a charger cannot control its current."""
    return max(1, stage.vehicle.min_voltage_mv, context.config.rating.min_voltage_v * 1000)


def await_match(stage: PreCharging, context: RequestContext, *, code: str) -> Wait | None:
    """Return a wait for the voltage of the pre-charge, None once it is there; if it is late, refuse with `code`."""
    if is_matched(stage, context):
        return None
    if not context.waited:
        return Wait(stage, context.config.poll_hold_s)
    why = f"the output has {context.facts.measured.voltage_mv} mV, the vehicle requests {stage.target_mv} mV"
    if stage.target_mv < (least_mv := _least_mv(stage, context)):
        why = f"the vehicle requests {stage.target_mv} mV, and power starts at {least_mv} mV or more"
    raise refuse(code, why, reason="pre_charge_not_reached")


def close_contactors(
    planned: Planned, context: RequestContext, *, asked_mv: int = 0, before: tuple[Command, ...] = ()
) -> Wait:
    """Close the contactors, after the commands `before`; `asked_mv` is the pre-charge's target."""
    starting = Starting(planned=planned, since=context.now, asked_mv=asked_mv)
    return Wait(starting, context.timing.contactor, (*before, ports.CloseContactors()))


def tripped(context: RequestContext) -> bool:
    """Return whether a trip of the grid disconnects mains: the loop begins without energy, and the contactors close
    when the EVSE enters service again."""
    return context.family is Family.AC and context.facts.response.trip


def await_closed(stage: Starting, context: RequestContext) -> Wait | None:
    """Return a wait for the contactors, None once they have closed, or may not."""
    if tripped(context):
        return None
    if stage.closed is None and not context.waited:
        return Wait(stage, context.timing.contactor)
    if not stage.closed:
        raise refuse("FAILED_ContactorError", "the contactors did not close", reason="contactor_stuck_open")
    return None


def on_contactor(fact: ports.ContactorState, stage: Starting | Stopping) -> Starting | Stopping:
    """Return the stage with the state of the auxiliary contacts."""
    if isinstance(stage, Starting):
        return replace(stage, closed=fact.closed)
    return replace(stage, opened=not fact.closed)


def started(stage: Starting, context: RequestContext) -> tuple[Command | Observe, ...]:
    """Return the commands for meter and transaction once energy may flow."""
    event = Observe("power", "started", {"seconds": round(context.now - stage.since, 4)})
    return (*charging_state(stage, "begin", "Charging"), event)


def charging_state(stage: AfterPlan, reading: str, state: str) -> tuple[Command, Command]:
    """Return the meter reading and the update of the transaction for a new charging state; no power flows yet."""
    soc = stage.vehicle.soc
    return (
        ports.RecordMeter(reading, power_w=0, soc=soc),
        ports.TransactionUpdated(stage.selected.session_id.hex(), "ChargingStateChanged", state, power_w=0, soc=soc),
    )


def stop(stage: Planned | AfterPlan, context: RequestContext, respond: Callable[[], Element]) -> Step | Wait:
    """Bring the output to zero, open the contactors, and confirm."""
    if isinstance(stage, Planned) and not context.powered:  # before it starts (V2G20-2122)
        return Step(respond(), Stopped(planned=stage))
    if isinstance(stage, Stopped):
        return Step(respond(), stage)
    if not isinstance(stage, Stopping):
        planned = stage if isinstance(stage, Planned) else stage.planned
        stopping = Stopping(planned=planned, since=context.now)
        if isinstance(stage, Charging):
            stopping = replace(
                stopping,
                sent_readings=stage.sent_readings,
                sent_receipts=stage.sent_receipts,
                confirmed=stage.confirmed,
            )
        return Wait(stopping, context.timing.contactor, (*_idle(stage, context), ports.OpenContactors()))
    if stage.opened is None and not context.waited:
        return Wait(stage, context.timing.contactor)
    if not stage.opened:
        raise refuse("FAILED_ContactorError", "the contactors did not open", reason="contactor_welded")
    event = Observe("stop", "power_stopped", {"seconds": round(context.now - stage.since, 4)})
    commands = (*charging_state(stage, "stop", "EVConnected"), event)
    return Step(respond(), Stopped(planned=stage.planned), commands, followed="Terminate")


def await_discharged(stage: Stage, context: RequestContext) -> Wait | None:
    """Return a wait for an output that is safe to touch, None once it is: a vehicle that detects welding polls until
    then."""
    charged = context.facts.measured.voltage_mv >= TOUCH_MV and not context.waited
    return Wait(stage, context.config.poll_hold_s) if charged else None


def _idle(stage: Planned | AfterPlan, context: RequestContext) -> tuple[Command | Observe, ...]:
    """Return the commands that bring the output to zero, so that no contactor opens under load."""
    if not isinstance(stage, Charging) or stage.output is None:
        return ()
    return apply_output(replace(stage, standby=True), context)[1]
