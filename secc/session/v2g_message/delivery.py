"""From the cable check to power and back, with the messages of these editions."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from secc.session import delivery, stages
from secc.session.delivery import READY
from secc.session.ports import Reported, SetOutput
from secc.session.power import apply_output, loop_event, power
from secc.session.request_context import Step as CommonStep
from secc.session.request_context import Wait, refuse
from secc.session.stages import Charging, Vehicle
from secc.session.terms import OfferedTuple
from secc.session.v2g_message.request_context import RequestContext, Step
from v2g.exi.declare import Element
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine import dc_status
from v2g.iso15118.engine.dc_status import Phase
from v2g.iso15118.engine.physical_values import Rounding, milliamperes, millivolts, percent, watts
from v2g.iso15118.engine.power_schedule import PowerSchedule, exceeds
from v2g.iso15118.engine.quirks import (
    CHARGING_PROFILE,
    PRE_CHARGE_TARGET_CHANGES,
    PRE_CHARGE_TARGET_OUT_OF_RANGE,
    TARGET_CURRENT_OUT_OF_RANGE,
    TARGET_VOLTAGE_ZERO,
    Quirk,
)
from v2g.observe import Observe

if TYPE_CHECKING:
    from v2g.iso15118.v2g_message import (
        CableCheckReq,
        CurrentDemandReq,
        PreChargeReq,
        SessionStopReq,
        WeldingDetectionReq,
    )


def check_profile(planned: PowerSchedule | None, allowed: PowerSchedule, context: RequestContext) -> tuple[Quirk, ...]:
    """Return the quirks of a plan: vehicles in the field send none, or one above PMax [V2G2-224], [V2G2-761].

    Raises Iso15118Error for one above, if the charger is strict.
    """
    if planned is not None and exceeds(planned, allowed) is None:
        return ()
    if planned is not None and context.strict:
        raise refuse("FAILED_ChargingProfileInvalid", "the charging profile is above PMax")
    return (CHARGING_PROFILE,)


NO_ERROR: Final = "NO_ERROR"


def cable_check(
    request: "CableCheckReq", stage: stages.Planned | stages.CableChecking, context: RequestContext
) -> CommonStep | Wait:
    """Test the insulation; polled until the result is available. The pilot has to be in C or D (V2G-DC-547)."""
    return delivery.cable_check(stage, context, partial(cable_check_response, context), pilot_s=context.pilot_s)


def pre_charge(request: "PreChargeReq", stage: stages.PreCharging, context: RequestContext) -> CommonStep | Wait:
    """Bring the output to the vehicle's voltage; each answer reports the present one at once."""
    wanted_mv = millivolts(request.ev_target_voltage)
    target_mv = max(0, min(wanted_mv, context.config.rating.max_voltage_v * 1000))
    quirks: tuple[Quirk, ...] = () if wanted_mv == target_mv else (PRE_CHARGE_TARGET_OUT_OF_RANGE,)
    if stage.target_mv not in (0, target_mv):
        quirks += (PRE_CHARGE_TARGET_CHANGES,)
    step = delivery.pre_charge(stage, target_mv, context, partial(pre_charge_response, context), at_once=True)
    assert isinstance(step, CommonStep), "an answer at once never waits"
    return Step(step.response, step.stage, step.commands, quirks=quirks)


def start(
    chosen: OfferedTuple,
    stage: stages.Planned | stages.AfterPlan,
    context: RequestContext,
    respond: Callable[[], Element],
    *,
    quirks: tuple[Quirk, ...] = (),
) -> Step | Wait:
    """Close the contactors at the voltage of the pre-charge, and begin the charge loop by the chosen schedule."""
    if isinstance(stage, stages.Starting):
        wait = delivery.await_closed(stage, context)
        if wait is not None:
            return wait
        held = delivery.tripped(context)
        charging = stages.Charging(planned=stage.planned, chosen=chosen, asked_mv=stage.asked_mv, held=held)
        battery = Reported(stage.asked_mv, stage.vehicle.max_charge_ma, 0)
        return Step(respond(), charging, (*delivery.started(stage, context), battery), quirks=quirks)
    assert isinstance(stage, stages.PreCharging), "the chart allows a start after the pre-charge only"
    wait = delivery.await_match(stage, context, code=context.messages.voltage_error)
    if wait is not None:
        return wait
    return delivery.close_contactors(stage.planned, context, asked_mv=stage.target_mv)


def stop(stage: stages.Stage, context: RequestContext, error: str, respond: Callable[[], Element]) -> CommonStep | Wait:
    """Bring the output to zero and open the contactors; an EVErrorCode changes nothing.

    A vehicle that stops before the charge parameters has nothing to switch off.
    """
    outcome: CommonStep | Wait = CommonStep(respond(), stage)
    if isinstance(stage, stages.Planned | stages.AfterPlan):
        outcome = delivery.stop(stage, context, respond)
    if error == NO_ERROR or not isinstance(outcome, CommonStep):
        return outcome
    event = Observe("stop", "vehicle_error", {"code": error})
    return Step(outcome.response, outcome.stage, (*outcome.commands, event), followed=outcome.followed)


def welding_detection(request: "WeldingDetectionReq", stage: stages.Stage, context: RequestContext) -> Step | Wait:
    """Report the residual voltage at the output, with the pilot in B (V2G-DC-556)."""
    if wait := _await_b(stage, context) or delivery.await_discharged(stage, context):
        return wait
    voltage_mv = context.facts.measured.voltage_mv
    response = context.messages.response(
        "WeldingDetectionRes",
        dc_evse_status=dc_evse_status(Phase.STOPPED, context),
        evse_present_voltage=context.messages.values.voltage(voltage_mv, Rounding.NEAREST),
    )
    stage = replace(stage, welding=True) if isinstance(stage, stages.Stopped) else stage
    return Step(response, stage, (Observe("stop", "welding_detection", {"voltage_mv": voltage_mv}),))


def session_stop(request: "SessionStopReq", stage: stages.Stage, context: RequestContext) -> Step | Wait:
    """End the session, from any stage; after direct current has flowed only with the pilot in B."""
    if isinstance(stage, stages.Stopped) and context.family is Family.DC and (wait := _await_b(stage, context)):
        return wait
    event = Observe("stop", "session_stop", {"session": "Terminate"})
    return Step(context.messages.response("SessionStopRes"), stages.Finished(), (event,))


def _await_b(stage: stages.Stage, context: RequestContext) -> Wait | None:
    """Return a wait for the pilot to leave C and D; late, refuse."""
    if context.facts.pilot is None or context.facts.pilot not in READY:
        return None
    if not context.waited:
        return Wait(stage, context.pilot_s)
    raise refuse(
        "FAILED", f"the control pilot is still in state {context.facts.pilot.value}, not in {PilotState.B.value}"
    )


def power_response(phase: Phase, context: RequestContext) -> Element:
    """Return PowerDeliveryRes of direct current."""
    return context.messages.response("PowerDeliveryRes", evse_status=dc_evse_status(phase, context))


def cable_check_response(context: RequestContext, processing: str) -> Element:
    """Return CableCheckRes with this EVSEProcessing."""
    phase = Phase.CABLE_CHECK if processing == "Ongoing" else Phase.CHECKED
    return context.messages.response(
        "CableCheckRes",
        dc_evse_status=dc_evse_status(phase, context),
        evse_processing=context.messages.processing(processing),
    )


def pre_charge_response(context: RequestContext) -> Element:
    """Return PreChargeRes with the present voltage."""
    return context.messages.response(
        "PreChargeRes",
        dc_evse_status=dc_evse_status(Phase.PRE_CHARGE, context),
        evse_present_voltage=context.messages.values.voltage(context.facts.measured.voltage_mv, Rounding.NEAREST),
    )


def dc_evse_status(phase: Phase, context: RequestContext) -> Any:
    """Return the edition's DC_EVSEStatus, with the present notification."""
    status = dc_status.status(phase, stop=context.stop, renegotiate=context.renegotiate)
    return context.messages.dc_status(status, context.delay_s)


def current_demand(request: "CurrentDemandReq", stage: Charging, context: RequestContext, **added: object) -> Step:
    """Follow the vehicle's targets within all limits, and report the present output; `added` are further fields."""
    status = request.dc_ev_status
    wanted_ma = milliamperes(request.ev_target_current)
    most_ma = context.config.rating.max_charge_current_a * 1000
    asked_ma = max(0, min(wanted_ma, most_ma))
    error, asked_mv = status.ev_error_code.value, millivolts(request.ev_target_voltage)
    stage = replace(
        _updated(stage, request, percent(status.ev_ress_soc), context),
        asked_ma=asked_ma if error == NO_ERROR else 0,
        asked_mv=max(0, asked_mv) if asked_mv else stage.asked_mv,
        halted="",
    )
    stage, commands = apply_output(stage, context)
    output = stage.output
    assert isinstance(output, SetOutput)
    # the present output, the three maxima, which some vehicles require, and which of these it has reached
    measured, values, rating = context.facts.measured, context.messages.values, context.config.rating
    most_mv = rating.max_voltage_v * 1000
    response = context.messages.response(
        "CurrentDemandRes",
        dc_evse_status=dc_evse_status(Phase.ENERGY, context),
        evse_present_voltage=values.voltage(measured.voltage_mv, Rounding.NEAREST),
        evse_present_current=values.current(measured.current_ma, Rounding.NEAREST),
        evse_current_limit_achieved=50 * measured.current_ma >= 49 * most_ma,
        evse_voltage_limit_achieved=measured.voltage_mv >= most_mv,
        evse_power_limit_achieved=50 * power(context) >= 49 * output.charge_w,
        evse_maximum_voltage_limit=values.voltage(most_mv, Rounding.DOWN),
        evse_maximum_current_limit=values.current(most_ma, Rounding.DOWN),
        evse_maximum_power_limit=values.power(max(0, output.charge_w), Rounding.DOWN),
        **added,
    )
    errors = () if error == NO_ERROR else (Observe("loop", "vehicle_error", {"code": error}),)
    return Step(
        response,
        stage,
        (*commands, *errors, *loop_event(stage, context)),
        quirks=(
            *(() if wanted_ma == asked_ma else (TARGET_CURRENT_OUT_OF_RANGE,)),
            *(() if asked_mv else (TARGET_VOLTAGE_ZERO,)),
        ),
    )


def _updated(stage: Charging, request: "CurrentDemandReq", soc: int, context: RequestContext) -> Charging:
    """Return the stage with the vehicle's new limits; those that it omits stay, and none is negative."""
    parametrised = stage.parametrised
    derived_from = (
        request.ev_maximum_voltage_limit,
        request.ev_maximum_current_limit,
        request.ev_maximum_power_limit,
        soc,
    )
    if parametrised.derived_from == derived_from:
        return stage
    voltage, current, charge, _ = derived_from
    known = parametrised.vehicle
    vehicle = Vehicle(
        max_charge_w=known.max_charge_w if charge is None else max(0, watts(charge)),
        max_charge_ma=known.max_charge_ma if current is None else max(0, milliamperes(current)),
        max_voltage_mv=known.max_voltage_mv if voltage is None else max(0, millivolts(voltage)),
        min_voltage_mv=known.min_voltage_mv,
        soc=soc,
        capacity_wh=known.capacity_wh,
    )
    vehicle = vehicle.bounded(parametrised.able, raises=context.config.raised_limits)
    parametrised = replace(parametrised, vehicle=vehicle, derived_from=derived_from)
    return replace(stage, planned=replace(stage.planned, parametrised=parametrised))
