"""The charge loop: what the vehicle wants next, and what it makes of the charger's answers."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from evcc.core import ask, policy, program
from evcc.core.policy import Permit
from evcc.core.ports import Reported, SetPowerLimits
from evcc.core.program import Wish
from evcc.core.quantities import to_milli, to_whole
from evcc.core.setup import SIGNED_ID
from evcc.core.stages import (
    Agreement,
    Confirming,
    Ending,
    EvseLimits,
    Looping,
    Plan,
    Renegotiating,
    Scheduling,
    Step,
    World,
    fail,
    seen,
)
from evcc.core.stop import stop
from v2g.iso15118.messages.common_messages import (
    ChargeProgress,
    ChargingSession,
    Dynamic_SMDTControlMode,
    MeteringConfirmationReq,
    MeteringConfirmationRes,
    PowerDeliveryReq,
    PowerDeliveryRes,
    Scheduled_SMDTControlMode,
    SignedMeteringData,
)
from v2g.iso15118.messages.common_types import CLResControlMode, EvseNotification, MeterInfo, Processing
from v2g.iso15118.messages.dc import (
    BPT_Dynamic_DC_CLResControlMode,
    BPT_Scheduled_DC_CLResControlMode,
    DC_ChargeLoopReq,
    DC_ChargeLoopRes,
    Dynamic_DC_CLResControlMode,
    Scheduled_DC_CLResControlMode,
)
from v2g.iso15118.messages.schedules import PowerSchedule
from v2g.iso15118.signature import sign
from v2g.iso15118.v2gtp import PayloadType
from v2g.observe import Observe

NOT_BIDIRECTIONAL: Final = "not_bidirectional"
NOT_SIGNED: Final = "no_signed_discharge"
NO_OFFER: Final = "no_offer"
DECLINED: Final = "offer_declined"
NOT_SCHEDULED: Final = "not_in_schedule"

_RESPONSES: Final[Mapping[tuple[bool, bool], type]] = {
    (True, True): BPT_Dynamic_DC_CLResControlMode,
    (True, False): BPT_Scheduled_DC_CLResControlMode,
    (False, True): Dynamic_DC_CLResControlMode,
    (False, False): Scheduled_DC_CLResControlMode,
}
"""(bidirectional, dynamic) -> the control mode that the charger has to answer with (V2G20-1600)."""


def enter_loop(plan: Plan, world: World) -> Step:
    """Begin the program with the first request of the loop."""
    stage = Looping(plan, program.begin(world.battery, world.utc_ms), since=world.now)
    step = ask_loop(stage, world)
    started = seen("power", "started", soc=world.battery.soc, battery_mv=world.battery.voltage_mv)
    return replace(step, observed=(started, *step.observed))


def resume_loop(stage: Looping, world: World) -> Step:
    """Go on where the loop was left."""
    return ask_loop(stage, world)


def repeat_loop(stage: Looping, request: DC_ChargeLoopReq, world: World) -> Step:
    """The pause is over."""
    return ask_loop(stage, world)


def ask_loop(stage: Looping, world: World) -> Step:
    """Move the program on and ask for what it wants now, or stop when it is over."""
    permit, pays_later = permitted(stage, world)
    progress = program.advance(
        world.config.program,
        stage.progress,
        world.battery,
        permit,
        utc_ms=world.utc_ms,
        departure_ms=world.departure_ms,
        pays_later=pays_later,
    )
    if progress.ended:
        return stop(stage, world, Ending(progress.ended))
    if world.battery.fault:
        return stop(stage, world, Ending(world.battery.fault, failed=True))
    charge_w = _scheduled_w(stage.plan, world, discharge=False)
    wish = program.wish(world.config.program, progress, world.battery, permit, charge_w=charge_w)
    observed = _changes(stage, wish, permit, progress.index, world)
    return Step(
        stage=replace(stage, progress=progress, wish=wish),
        request=ask.charge_loop(stage.plan, world, wish),
        commands=(SetPowerLimits(wish.charge_w, wish.discharge_w),) if wish != stage.wish else (),
        discharge_w=wish.discharge_w,
        observed=observed,
    )


def _changes(stage: Looping, wish: Wish, permit: Permit, step: int, world: World) -> tuple[Observe, ...]:
    if (wish, step) == (stage.wish, stage.progress.index):
        return ()
    doing = world.config.program[step].do
    return (
        seen(
            "power",
            "wish",
            step=step,
            do=doing,
            charge_w=wish.charge_w,
            discharge_w=wish.discharge_w,
            held_back=permit.reason if doing == "discharge" else "",
            soc=world.battery.soc,
        ),
    )


def permitted(stage: Looping, world: World) -> tuple[Permit, bool]:
    """Return how much may be discharged now, and whether waiting for more makes sense."""
    choice, config = stage.plan.choice, world.config.discharge
    if not choice.bpt:
        return Permit(0, NOT_BIDIRECTIONAL), False
    if choice.signed_set is None:
        if config.require_signed:
            return Permit(0, NOT_SIGNED), False
        permit = policy.permit(config, None, world.battery, utc_ms=world.utc_ms, departure_ms=world.departure_ms)
        return _within_schedule(stage.plan, permit, world), False
    if world.agreement is not Agreement.AGREED or world.terms is None:
        waiting = world.agreement is Agreement.WAITING and world.now - stage.since < config.offer_wait_s
        return Permit(0, DECLINED if world.agreement is Agreement.DECLINED else NO_OFFER), waiting
    permit = policy.permit(config, world.terms, world.battery, utc_ms=world.utc_ms, departure_ms=world.departure_ms)
    later = policy.pays_later(config, world.terms, utc_ms=world.utc_ms, departure_ms=world.departure_ms)
    return _within_schedule(stage.plan, permit, world), later


def _within_schedule(plan: Plan, permit: Permit, world: World) -> Permit:
    if plan.schedule is None and world.terms is not None:
        return permit  # the offer is newer than the charge parameters
    scheduled_w = _scheduled_w(plan, world, discharge=True)
    if permit.power_w <= scheduled_w:
        return permit
    return Permit(scheduled_w) if scheduled_w > 0 else Permit(0, NOT_SCHEDULED)


def _scheduled_w(plan: Plan, world: World, *, discharge: bool) -> int:
    """Return what the chosen tuple allows now in that direction; in Dynamic mode what the charger can do at all.

    The limits of loop answers do not count here: they may follow what we asked for last, and a vehicle that asked for
    nothing because of them would never ask for more. The charger holds its limits whatever is asked (V2G20-2183).
    """
    most = plan.limits.discharge_w if discharge else plan.limits.charge_w
    if plan.schedule is None:
        return most
    schedule = plan.schedule.discharge if discharge else plan.schedule.charge
    return min(most, power_at(schedule, world.utc_ms - plan.schedule.since_ms)) if schedule is not None else 0


def power_at(schedule: PowerSchedule, left_ms: int) -> int:
    """Return the magnitude of a schedule's power so long after its begin, W; before it the first entry, later 0."""
    for entry in schedule.power_schedule_entries.power_schedule_entry:
        left_ms -= entry.duration * 1000
        if left_ms < 0:
            return abs(to_whole(entry.power))
    return 0


def on_loop(stage: Looping, request: DC_ChargeLoopReq, response: DC_ChargeLoopRes, world: World) -> Step:
    """Note what flows and what is metered, and do what the charger asks for."""
    choice = stage.plan.choice
    mode = response.cl_res_control_mode
    if type(mode) is not _RESPONSES[choice.bpt, choice.dynamic]:
        return fail(stage, "wrong_control_mode", told=type(mode).__name__)
    limits = limits_of(stage.plan, mode)
    voltage_mv, current_ma = to_milli(response.evse_present_voltage), to_milli(response.evse_present_current)
    meter = response.meter_info or stage.meter
    following = replace(stage, meter=meter)
    flow = seen(
        "loop",
        "flow",
        voltage_mv=voltage_mv,
        current_ma=current_ma,
        power_w=voltage_mv * current_ma // 1_000_000,
        soc=world.battery.soc,
        evse_charge_w=limits.charge_w,
        evse_discharge_w=limits.discharge_w,
        charged_wh=meter.charged_energy_reading_wh if meter else None,
        discharged_wh=meter.bpt_discharged_energy_reading_wh if meter else None,
    )
    step = _react(following, response, world)
    observed = (flow, *step.observed)
    if response.response_code.name.startswith("WARNING"):
        observed = (*observed, seen("loop", "warning", code=response.response_code.name))
    return replace(step, commands=(Reported(voltage_mv, current_ma), *step.commands), observed=observed)


def limits_of(plan: Plan, mode: CLResControlMode) -> EvseLimits:
    """Return the charger's newest limits; what an answer leaves out stays as it was."""
    limits = plan.limits
    if not isinstance(mode, Dynamic_DC_CLResControlMode | Scheduled_DC_CLResControlMode):
        return limits
    if mode.evse_maximum_charge_power is not None:
        limits = replace(limits, charge_w=max(0, to_whole(mode.evse_maximum_charge_power)))
    if mode.evse_maximum_charge_current is not None:
        limits = replace(limits, charge_ma=max(0, to_milli(mode.evse_maximum_charge_current)))
    if isinstance(mode, BPT_Dynamic_DC_CLResControlMode | BPT_Scheduled_DC_CLResControlMode):
        if mode.evse_maximum_discharge_power is not None:
            limits = replace(limits, discharge_w=abs(to_whole(mode.evse_maximum_discharge_power)))
        if mode.evse_maximum_discharge_current is not None:
            limits = replace(limits, discharge_ma=abs(to_milli(mode.evse_maximum_discharge_current)))
    return limits


def _react(stage: Looping, response: DC_ChargeLoopRes, world: World) -> Step:
    """Do what EVSEStatus asks for; otherwise pause until the next request."""
    pause = Step(stage=stage, wait=world.config.timing.loop_pause_s)
    if response.evse_status is None:
        return pause
    match response.evse_status.evse_notification:
        case EvseNotification.Terminate:
            return stop(stage, world, Ending("evse_terminated"))
        case EvseNotification.Pause:
            return stop(stage, world, Ending("evse_asked_to_pause", ChargingSession.Pause))
        case EvseNotification.ServiceRenegotiation:
            renegotiable = stage.plan.choice.renegotiable  # V2G20-1477
            mode = ChargingSession.ServiceRenegotiation if renegotiable else ChargingSession.Terminate
            return stop(stage, world, Ending("evse_asked_for_other_service", mode))
        case EvseNotification.ScheduleRenegotiation:
            return _renegotiate(stage, world)
        case EvseNotification.MeteringConfirmation if stage.meter is not None and world.contract is not None:
            return _confirm(stage, stage.meter, response, world)
        case EvseNotification.MeteringConfirmation:
            return replace(pause, observed=(seen("metering", "not_confirmed", metered=stage.meter is not None),))
        case EvseNotification.ExitStandby:
            return pause  # this vehicle never goes into standby


def _confirm(stage: Looping, meter: MeterInfo, response: DC_ChargeLoopRes, world: World) -> Step:
    """Sign the readings with the contract key: they were received (V2G20-1083)."""
    assert world.contract is not None
    schedule = stage.plan.schedule
    data = SignedMeteringData(
        id=SIGNED_ID,
        session_id=world.session_id,
        meter_info=meter,
        receipt=response.receipt,
        dynamic_smdt_control_mode=Dynamic_SMDTControlMode() if schedule is None else None,
        scheduled_smdt_control_mode=Scheduled_SMDTControlMode(selected_schedule_tuple_id=schedule.tuple_id)
        if schedule is not None
        else None,
    )
    request = MeteringConfirmationReq(header=world.header(sign(data, world.contract.key)), signed_metering_data=data)
    return Step(stage=Confirming(stage), request=request, payload_type=PayloadType.METERING_CONFIRMATION)


def on_confirmed(
    stage: Confirming, request: MeteringConfirmationReq, response: MeteringConfirmationRes, world: World
) -> Step:
    """Back to the loop at once: the pause has been used up."""
    meter = request.signed_metering_data.meter_info
    step = ask_loop(stage.looping, world)
    confirmed = seen(
        "metering",
        "confirmed",
        charged_wh=meter.charged_energy_reading_wh,
        discharged_wh=meter.bpt_discharged_energy_reading_wh,
    )
    return replace(step, observed=(confirmed, *step.observed))


def _renegotiate(stage: Looping, world: World) -> Step:
    """Plan anew on the main stream, with no power wanted meanwhile."""
    request = PowerDeliveryReq(
        header=world.header(),
        ev_processing=Processing.Finished,
        charge_progress=ChargeProgress.ScheduleRenegotiation,
    )
    return Step(
        stage=Renegotiating(replace(stage, wish=program.IDLE)),
        request=request,
        commands=(SetPowerLimits(0, 0),),
        discharge_w=0,
        observed=(seen("schedule", "renegotiating"),),
    )


def on_renegotiating(stage: Renegotiating, request: PowerDeliveryReq, response: PowerDeliveryRes, world: World) -> Step:
    """Exchange schedules again, unless the charger keeps the old one."""
    if response.response_code.name.startswith("WARNING"):
        return ask_loop(stage.looping, world)
    plan = stage.looping.plan
    return Step(stage=Scheduling(plan, looping=stage.looping), request=ask.schedule(plan.choice, world))
