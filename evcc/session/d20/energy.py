"""From the charge parameters to the closed circuit: limits, schedule, cable check, pre-charge, start."""

from types import ModuleType
from typing import Final

from msgspec.structs import replace

from evcc.session.context import EvseLimits, departure_s, matched
from evcc.session.d20 import dynamic_planner, loop, stages
from evcc.session.d20 import requests as ask
from evcc.session.d20.loop import ask_loop, enter_loop, following
from evcc.session.d20.quantities import phase_powers, to_milli, to_whole
from evcc.session.d20.request_context import Plan, RequestContext
from evcc.session.d20.response_policy import Reaction, reaction
from evcc.session.d20.schedule import WRONG_MODE, agree
from evcc.session.d20.stages import Aligning, CableChecking, ConnectingDevice, Step, fail
from evcc.session.d20.stop import stop
from evcc.session.paused import PausedChoice
from evcc.session.ports import CloseContactor, Reported, SetAcPower, SetCpState, SetPowerLimits
from evcc.session.steps import seen
from v2g.exi.declare import Element
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages import ac, acdp
from v2g.iso15118.d20.messages import dc as iso
from v2g.iso15118.d20.messages.common_messages import (
    PowerDeliveryReq,
    PowerDeliveryRes,
    ScheduleExchangeReq,
    ScheduleExchangeRes,
)
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.messages.dc import DC_CableCheckReq
from v2g.iso15118.d20.quantities import milli, on_lines
from v2g.iso15118.d20.services import ServiceId
from v2g.iso15118.engine.session import Command
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.observe import Observe
from v2g.safety.output import UNBOUNDED

_STATE_B: Final = acdp.ElectricalChargingDeviceStatus.State_B


def begin(plan: Plan, context: RequestContext) -> Step:
    """Return the step after the schedule."""
    match plan.choice.family:
        case Family.AC:  # V2G20-847: state C at most 250 ms after the request, V2G20-1617: not before
            return replace(ask.power_start(plan, context), then=(SetCpState(PilotState.C),))
        case Family.WPT:
            # request a little power, and accept it: the power received shows the alignment
            return Step(
                stage=Aligning(plan, until=context.now + context.config.timing.place_s),
                request=ask.align(context, aligned=False),
                commands=(SetPowerLimits(context.max_charge_w, 0),),
            )
        case Family.ACDP:
            # ask the charger to connect its device, and report the vehicle's state on the side stream
            technical = acdp.EVTechnicalStatus(
                ev_ready_to_charge=not context.battery.fault,
                ev_immobilization_request=False,
                ev_immobilized=True,
                ev_soc=round(context.battery.soc),
            )
            status = acdp.ACDP_SystemStatusReq(header=context.header(), ev_technical_status=technical)
            return Step(
                stage=ConnectingDevice(plan),
                request=acdp.ACDP_ConnectReq(header=context.header(), ev_electrical_charging_device_status=_STATE_B),
                beside=((PayloadType.ACDP_SYSTEM_STATUS, status),),
            )
        case _:
            return begin_cable_check(plan, context)


def begin_cable_check(plan: Plan, context: RequestContext) -> Step:
    """Request the insulation test, in state C (V2G20-1418), with an open contactor."""
    if context.contactor_closed:
        return fail(CableChecking(plan), "contactor_welded")
    return Step(
        stage=CableChecking(plan),
        request=DC_CableCheckReq(header=context.header()),
        commands=(SetCpState(PilotState.C),),
    )


@stages.on_response(stages.Parametrizing)
def on_parameters(
    stage: stages.Parametrizing,
    request: iso.DC_ChargeParameterDiscoveryReq,
    response: iso.DC_ChargeParameterDiscoveryRes,
    context: RequestContext,
) -> stages.Step:
    """Set the charger's limits, if they are of the selected kind and fit the battery."""
    mode = response.dc_cpd_res_energy_transfer_mode
    if isinstance(mode, iso.BPT_DC_CPDResEnergyTransferMode) is not stage.choice.bpt:
        return stages.fail(stage, "wrong_charge_parameters", received=type(mode).__name__)
    # discharge limits count by magnitude: sources disagree on their sign
    discharge_w = discharge_ma = 0
    if isinstance(mode, iso.BPT_DC_CPDResEnergyTransferMode):
        discharge_w = abs(to_whole(mode.evse_maximum_discharge_power))
        discharge_ma = abs(to_milli(mode.evse_maximum_discharge_current))
    limits = EvseLimits(
        charge_w=max(0, to_whole(mode.evse_maximum_charge_power)),
        discharge_w=discharge_w,
        charge_ma=max(0, to_milli(mode.evse_maximum_charge_current)),
        discharge_ma=discharge_ma,
        voltage_mv=to_milli(mode.evse_maximum_voltage),
        min_voltage_mv=to_milli(mode.evse_minimum_voltage),
    )
    exchanged = ask.exchange(stage.choice, limits, context)
    if not limits.min_voltage_mv <= context.battery.voltage_mv <= limits.voltage_mv:
        step = stop(stage, context, stages.Ending("incompatible_voltage", failed=True))
        return replace(step, observed=(*exchanged.observed, *step.observed))
    return exchanged


@stages.on_response(stages.Scheduling)
def on_schedule(
    stage: stages.Scheduling, request: ScheduleExchangeReq, response: ScheduleExchangeRes, context: RequestContext
) -> stages.Step:
    """Wait for the charger's plan, then start the cable check, or return to the loop after a renegotiation."""
    if reaction(response) is Reaction.KEEP and stage.looping is not None:
        event = seen("schedule", "old_schedule_kept", code=response.response_code.name)
        step = ask_loop(stage.looping, context)  # or to the standby before
        return replace(step, observed=(event, *step.observed))
    if response.evse_processing is not Processing.Finished:
        return stages.Step(stage=replace(stage, polls=stage.polls + 1), wait=context.config.timing.poll_pause_s)
    agreed = agree(response, stage.plan, context)
    if agreed.refused == WRONG_MODE:
        return stages.fail(stage, WRONG_MODE)
    if agreed.refused:
        return stop(stage, context, stages.Ending(agreed.refused, failed=True))
    plan = agreed.plan
    observed = seen(
        "schedule",
        "agreed",
        control_mode="Dynamic" if plan.choice.dynamic else "Scheduled",
        tuple_id=plan.schedule.tuple_id if plan.schedule else None,
        departure_s=departure_s(context),
    )
    noted = (*agreed.observed, observed)
    if response.go_to_pause:
        step = stop(stage.looping or stage, context, stages.PAUSED_BY_EVSE)
    elif stage.looping is not None:
        step = ask.power_start(plan, context, replace(stage.looping, plan=plan))
    else:
        step = begin(plan, context)
    return replace(step, observed=(*noted, *step.observed), needs=agreed.needs)


@stages.on_wake(stages.Scheduling)
def repeat_schedule(stage: stages.Scheduling, request: ScheduleExchangeReq, context: RequestContext) -> stages.Step:
    """Request the plan again."""
    return stages.Step(stage=stage, request=ask.schedule(stage.plan.choice, context))


@stages.on_wake(stages.CableChecking)
def repeat_cable_check(
    stage: stages.CableChecking, request: iso.DC_CableCheckReq, context: RequestContext
) -> stages.Step:
    """Request the state of the insulation test."""
    return stages.Step(stage=stage, request=iso.DC_CableCheckReq(header=context.header()))


@stages.on_response(stages.CableChecking)
def on_cable_check(
    stage: stages.CableChecking, request: iso.DC_CableCheckReq, response: iso.DC_CableCheckRes, context: RequestContext
) -> stages.Step:
    """Wait for the insulation test, then request the battery's voltage."""
    if response.evse_processing is not Processing.Finished:
        return stages.Step(stage=stage, wait=context.config.timing.poll_pause_s)
    step = ask_pre_charge(stages.PreCharging(stage.plan), context)
    return replace(step, observed=(seen("power", "cable_checked"),))


def ask_pre_charge(stage: stages.PreCharging, context: RequestContext) -> stages.Step:
    """Request the battery's voltage at the inlet; Finished once the contactor is closed."""
    return stages.Step(
        stage=stage,
        request=iso.DC_PreChargeReq(
            header=context.header(),
            ev_processing=Processing.Finished if stage.connected else Processing.Ongoing,
            ev_present_voltage=milli(context.inlet.voltage_mv),
            ev_target_voltage=milli(context.battery.voltage_mv),
        ),
    )


@stages.on_wake(stages.PreCharging)
def repeat_pre_charge(stage: stages.PreCharging, request: iso.DC_PreChargeReq, context: RequestContext) -> stages.Step:
    """Check whether the voltage is reached; it has been measured at the inlet meanwhile."""
    if matched(context):
        return stages.Step(stage=stages.ClosingContactor(stage.plan), commands=(CloseContactor(),))
    return ask_pre_charge(stage, context)


@stages.on_response(stages.PreCharging)
def on_pre_charge(
    stage: stages.PreCharging, request: iso.DC_PreChargeReq, response: iso.DC_PreChargeRes, context: RequestContext
) -> stages.Step:
    """Close the contactor once the voltages match; after the Finished one start the transfer."""
    if stage.connected:
        return ask.power_start(stage.plan, context)
    reported = Reported(to_milli(response.evse_present_voltage), 0)
    if matched(context):
        return stages.Step(stage=stages.ClosingContactor(stage.plan), commands=(CloseContactor(),))
    return stages.Step(stage=stage, commands=(reported,), wait=context.config.timing.poll_pause_s)


@stages.on_contactor(stages.ClosingContactor, closed=True)
def on_closed(stage: stages.ClosingContactor, context: RequestContext) -> stages.Step:
    """The battery is connected: send Finished once."""
    step = ask_pre_charge(stages.PreCharging(stage.plan, connected=True), context)
    observed = seen("power", "connected", inlet_mv=context.inlet.voltage_mv, battery_mv=context.battery.voltage_mv)
    return replace(step, observed=(observed,))


@stages.on_response(stages.Starting)
def on_started(
    stage: stages.Starting, request: PowerDeliveryReq, response: PowerDeliveryRes, context: RequestContext
) -> stages.Step:
    """Energy may flow."""
    if reaction(response) not in (Reaction.GO_ON, Reaction.NOTE):
        return stop(stage, context, stages.Ending(response.response_code.name, failed=True))
    return enter_loop(stage, response, context)


# Alternating current: the vehicle's own charger follows the charge point's targets, within the vehicle's request.


@stages.on_response(stages.Parametrizing, ac.AC_ChargeParameterDiscoveryRes)
def on_ac_parameters(
    stage: stages.Parametrizing,
    request: ac.AC_ChargeParameterDiscoveryReq,
    response: ac.AC_ChargeParameterDiscoveryRes,
    context: RequestContext,
) -> stages.Step:
    """Set the charge point's limits, if they are of the selected kind."""
    mode = response.ac_cpd_res_energy_transfer_mode
    kind = "DER_" if stage.choice.der else "BPT_" if stage.choice.bpt else ""
    if type(mode).__name__ != f"{kind}AC_CPDResEnergyTransferMode":
        return stages.fail(stage, "wrong_charge_parameters", received=type(mode).__name__)
    lines, asymmetry = context.config.on_board_charger.phases, getattr(mode, "maximum_power_asymmetry", None)
    # on fewer phases than three the others have no power
    most_w = UNBOUNDED if asymmetry is None or lines == 3 else lines * max(0, to_whole(asymmetry))
    # discharge limits count by magnitude: sources disagree on their sign
    limits = EvseLimits(
        charge_w=min(most_w, max(0, _power(mode, "evse_maximum_charge_power", context))),
        discharge_w=min(most_w, abs(_power(mode, "evse_maximum_discharge_power", context))) if stage.choice.bpt else 0,
    )
    if stage.choice.der:
        from evcc.session.d20 import der  # only where such a session runs

        return der.on_parameters(stage, _flavour(stage.choice).demanded(stage, mode, context), limits, context)
    return ask.exchange(stage.choice, limits, context)


@stages.on_wake(stages.Parametrizing)
def repeat_parameters(
    stage: stages.Parametrizing, request: ac.AC_ChargeParameterDiscoveryReq, context: RequestContext
) -> stages.Step:
    """Ask again for the demands of AC DER: the charger has not finished them."""
    return ask.charge_parameters(stage.choice, context, stage)


def _flavour(choice: PausedChoice) -> ModuleType:
    """Return the module of AC DER by IEC, or by SAE."""
    from evcc.session.d20 import der, der_sae

    return der_sae if choice.service_id == ServiceId.AC_DER_SAE else der


@stages.on_response(stages.Looping, ac.AC_ChargeLoopRes)
def on_loop(
    stage: stages.Looping, request: ac.AC_ChargeLoopReq, response: ac.AC_ChargeLoopRes, context: RequestContext
) -> stages.Step:
    """Draw or feed back the charge point's target, never more than the vehicle requests (V2G20-1600)."""
    choice, mode = stage.plan.choice, response.cl_res_control_mode
    if not _is_of(mode, choice):
        return stages.fail(stage, "wrong_control_mode", received=type(mode).__name__)
    meter = response.meter_info or stage.meter
    wanted = stage.power_request.charge_w - stage.power_request.discharge_w
    targets = phase_powers(mode, "evse_target_active_power")
    target = on_lines(targets, context.config.on_board_charger.phases) if targets else wanted
    power_w = max(-stage.power_request.discharge_w, min(stage.power_request.charge_w, target))
    plan, changed, noted = stage.plan, tuple[Command, ...](), tuple[Observe, ...]()
    if choice.der:
        der = _flavour(choice)
        plan, changed, noted = der.follow(plan, mode, context)
        power_w = der.within(power_w, mode, plan, context)
    if 0 < power_w < context.config.on_board_charger.min_charge_w:  # as it has stated: so little it cannot draw
        power_w = 0
    flow = seen(
        "loop",
        "flow",
        voltage_mv=context.inlet.voltage_mv,
        current_ma=context.inlet.current_ma,
        power_w=context.inlet.power_w,
        reactive_var=context.inlet.reactive_var,
        direct_ma=context.inlet.direct_ma,
        soc=context.battery.soc,
        target_w=power_w,
        charged_wh=meter.charged_energy_reading_wh if meter else None,
        discharged_wh=meter.bpt_discharged_energy_reading_wh if meter else None,
    )
    plan = dynamic_planner.learned(plan, stage.power_request.charge_w, max(0, target))
    step = following(replace(stage, meter=meter, plan=plan), response, context)
    commands = (*changed, SetAcPower(power_w), *step.commands)
    return replace(step, commands=commands, observed=(*noted, flow, *step.observed))


@stages.on_response(stages.Lowering, ac.AC_ChargeLoopRes)
def on_lowering(
    stage: stages.Lowering, request: ac.AC_ChargeLoopReq, response: ac.AC_ChargeLoopRes, context: RequestContext
) -> stages.Step:
    """Leave the loop as with direct current; what a charger of AC DER changes meanwhile it does not say again."""
    choice, mode, looping = stage.looping.plan.choice, response.cl_res_control_mode, stage.looping
    if not _is_of(mode, choice):
        return stages.fail(stage, "wrong_control_mode", received=type(mode).__name__)
    if not choice.der:
        return loop.on_lowering(stage, request, response, context)
    plan, changed, noted = _flavour(choice).follow(looping.plan, mode, context)
    step = loop.on_lowering(replace(stage, looping=replace(looping, plan=plan)), request, response, context)
    return replace(step, commands=(*changed, *step.commands), observed=(*noted, *step.observed))


def _is_of(mode: Element, choice: PausedChoice) -> bool:
    """Return whether a response's control mode is that of the selected service (V2G20-1600)."""
    kind = "DER_" if choice.der else "BPT_" if choice.bpt else ""
    return type(mode).__name__ == f"{kind}{'Dynamic' if choice.dynamic else 'Scheduled'}_AC_CLResControlMode"


def _power(mode: Element, name: str, context: RequestContext) -> int:
    """Return the power (W) of the phases that the on-board charger has, each within its value."""
    return on_lines(phase_powers(mode, name), context.config.on_board_charger.phases)
