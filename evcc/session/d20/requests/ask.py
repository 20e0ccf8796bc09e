"""The vehicle's requests, built from the present state. They contain no decisions."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from evcc.session.context import EvseLimits, departure_s
from evcc.session.d20.offers import entry_w
from evcc.session.d20.quantities import milli, whole
from evcc.session.d20.request_context import Plan, RequestContext, Schedule
from evcc.session.d20.requests import ask_ac, ask_wpt
from evcc.session.d20.requests.needs import (
    discharge_capability_w,
    discharge_limit_w,
    display,
    energy_requests,
    v2x_requests,
)
from evcc.session.d20.stages import CheckingOut, Discovering, Ending, Looping, Parametrizing, Scheduling, Starting, Step
from evcc.session.paused import Choice
from evcc.session.ports import BatteryState
from evcc.session.program import PowerRequest
from evcc.session.settings import ServiceConfig
from evcc.session.steps import seen
from v2g.exi.declare import Schema
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import (
    ChargeProgress,
    EvCheckOutStatus,
    PowerDeliveryReq,
    ScheduleExchangeReq,
    ServiceDiscoveryReq,
    VehicleCheckOutReq,
)
from v2g.iso15118.d20.messages.common_types import (
    ChargeLoopReq,
    ChargeParameterDiscoveryReq,
    Processing,
    RationalNumber,
)
from v2g.iso15118.d20.messages.dc import (
    BPT_DC_CPDReqEnergyTransferMode,
    BPT_Dynamic_DC_CLReqControlMode,
    BPT_Scheduled_DC_CLReqControlMode,
    DC_ChargeLoopReq,
    DC_ChargeParameterDiscoveryReq,
    DC_CPDReqEnergyTransferMode,
    Dynamic_DC_CLReqControlMode,
    Scheduled_DC_CLReqControlMode,
)
from v2g.iso15118.d20.messages.schedules import (
    Dynamic_EVPPTControlMode,
    Dynamic_SEReqControlMode,
    EVAbsolutePriceSchedule,
    EVEnergyOffer,
    EVPowerProfile,
    EVPowerProfileEntryList,
    EVPowerSchedule,
    EVPowerScheduleEntry,
    EVPowerScheduleEntryList,
    EVPriceRule,
    EVPriceRuleStack,
    EVPriceRuleStackList,
    PowerScheduleEntry,
    PowerToleranceAcceptance,
    Scheduled_EVPPTControlMode,
    Scheduled_SEReqControlMode,
)
from v2g.iso15118.d20.prices import Algorithm
from v2g.iso15118.d20.schemas import AC, ACDP, DC, WPT
from v2g.iso15118.d20.services import ENERGY_TRANSFER, ServiceId
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.units import to_rational

# -- The vehicle's EVPowerProfile, and the EVEnergyOffer with its price for discharge


def power_profile(plan: Plan, context: RequestContext) -> EVPowerProfile:
    """Scheduled: the plan by prices, or the chosen tuple limited to the battery's maximum. Dynamic: the maximum."""
    schedule = plan.schedule
    if schedule is None:
        whole_time = PowerScheduleEntry(duration=max(1, departure_s(context)), power=whole(context.max_charge_w))
        return EVPowerProfile(
            time_anchor=context.utc_ms // 1000,
            dynamic_evppt_control_mode=Dynamic_EVPPTControlMode(),
            ev_power_profile_entries=EVPowerProfileEntryList(ev_power_profile_entry=(whole_time,)),
        )
    return EVPowerProfile(
        time_anchor=schedule.charge.time_anchor if schedule.plan is None else schedule.plan.blocks[0].start_ms // 1000,
        scheduled_evppt_control_mode=Scheduled_EVPPTControlMode(
            selected_schedule_tuple_id=schedule.tuple_id,
            power_tolerance_acceptance=None
            if schedule.charge.power_tolerance is None
            else PowerToleranceAcceptance.PowerToleranceConfirmed
            if context.config.services.confirm_tolerance
            else PowerToleranceAcceptance.PowerToleranceNotConfirmed,
        ),
        ev_power_profile_entries=EVPowerProfileEntryList(ev_power_profile_entry=_entries(schedule, context)),
    )


def _entries(schedule: Schedule, context: RequestContext) -> tuple[PowerScheduleEntry, ...]:
    if schedule.plan is not None:
        return tuple(
            PowerScheduleEntry(duration=(block.end_ms - block.start_ms) // 1000, power=whole(block.power_w))
            for block in schedule.plan.blocks
        )
    lines = context.config.on_board_charger.phases
    return tuple(
        PowerScheduleEntry(duration=entry.duration, power=whole(min(entry_w(entry, lines), context.max_charge_w)))
        for entry in schedule.charge.power_schedule_entries.power_schedule_entry
    )


def energy_offer(choice: Choice, context: RequestContext) -> EVEnergyOffer | None:
    """Return the offer of discharge until departure and its price, if the driver permits offers."""
    config = context.config.discharge
    power_w = discharge_capability_w(context)
    seconds = departure_s(context) - config.departure_reserve_s
    if not (config.offer_energy and choice.bpt and power_w and seconds > 0):
        return None
    now_s = context.utc_ms // 1000
    value, exponent = to_rational(config.minimum_compensation)
    rule = EVPriceRule(energy_fee=RationalNumber(exponent=exponent, value=value), power_range_start=whole(0))
    return EVEnergyOffer(
        ev_power_schedule=EVPowerSchedule(
            time_anchor=now_s,
            ev_power_schedule_entries=EVPowerScheduleEntryList(
                # out of the vehicle is negative (V2G20-1034)
                ev_power_schedule_entry=(EVPowerScheduleEntry(duration=seconds, power=whole(-power_w)),)
            ),
        ),
        ev_absolute_price_schedule=EVAbsolutePriceSchedule(
            time_anchor=now_s,
            currency=config.currency,
            price_algorithm=Algorithm.POWER.uri,
            ev_price_rule_stacks=EVPriceRuleStackList(
                ev_price_rule_stack=(EVPriceRuleStack(duration=seconds, ev_price_rule=(rule,)),)
            ),
        ),
    )


MOST_POINTS: Final = 1024
"""Maximum number of schedule entries that the vehicle supports."""


_NAMESPACES: Final[Mapping[Family, Schema]] = MappingProxyType(
    {Family.AC: AC, Family.DC: DC, Family.WPT: WPT, Family.ACDP: ACDP}
)


def protocols(config: ServiceConfig) -> tuple[AppProtocol, ...]:
    """Return what is offered for ISO 15118-20: one protocol for each set of messages of the vehicle (V2G20-167)."""
    return tuple(
        AppProtocol(
            protocol_namespace=_NAMESPACES[family].uri,
            version_number_major=1,
            version_number_minor=0,
            schema_id=rank,
            priority=rank,
        )
        for rank, family in enumerate(
            tuple(dict.fromkeys(ENERGY_TRANSFER[ServiceId[name]].family for name in config.energy)), start=1
        )
    )


def family_of(protocol: AppProtocol) -> Family | None:
    """Return the set of messages of an offered protocol, None for one of another edition."""
    return next((each for each, schema in _NAMESPACES.items() if schema.uri == protocol.protocol_namespace), None)


def discover(context: RequestContext) -> Step:
    """Request all services; an absent list means all (V2G20-1248)."""
    return Step(stage=Discovering(), request=ServiceDiscoveryReq(header=context.header()))


def charge_parameters(choice: Choice, context: RequestContext) -> Step:
    """Send the battery's limits."""
    request: ChargeParameterDiscoveryReq
    if choice.family is Family.AC:
        request = ask_ac.charge_parameters(choice, context)
    elif choice.family is Family.WPT:
        request = ask_wpt.charge_parameters(context)
    else:
        request = DC_ChargeParameterDiscoveryReq(
            header=context.header(), dc_cpd_req_energy_transfer_mode=_limits(choice, context)
        )
    return Step(stage=Parametrizing(choice), request=request)


def _limits(choice: Choice, context: RequestContext) -> DC_CPDReqEnergyTransferMode:
    battery = context.battery
    zero = whole(0)
    target = round(context.config.needs.target_soc)
    if not choice.bpt:
        return DC_CPDReqEnergyTransferMode(
            ev_maximum_charge_power=whole(battery.max_charge_w),
            ev_minimum_charge_power=zero,
            ev_maximum_charge_current=milli(battery.max_charge_ma),
            ev_minimum_charge_current=zero,
            ev_maximum_voltage=milli(battery.max_voltage_mv),
            ev_minimum_voltage=milli(battery.min_voltage_mv),
            target_soc=target,
        )
    return BPT_DC_CPDReqEnergyTransferMode(
        ev_maximum_charge_power=whole(battery.max_charge_w),
        ev_minimum_charge_power=zero,
        ev_maximum_charge_current=milli(battery.max_charge_ma),
        ev_minimum_charge_current=zero,
        ev_maximum_voltage=milli(battery.max_voltage_mv),
        ev_minimum_voltage=milli(battery.min_voltage_mv),
        target_soc=target,
        ev_maximum_discharge_power=whole(discharge_capability_w(context)),
        ev_minimum_discharge_power=zero,
        ev_maximum_discharge_current=milli(battery.max_discharge_ma if discharge_capability_w(context) else 0),
        ev_minimum_discharge_current=zero,
    )


def exchange(choice: Choice, limits: EvseLimits, context: RequestContext) -> Step:
    """Request a schedule, now that both sides know their limits."""
    observed = seen(
        "parameters",
        "exchanged",
        evse_charge_w=limits.charge_w,
        evse_discharge_w=limits.discharge_w,
        ev_charge_w=context.max_charge_w,
        ev_discharge_w=context.max_discharge_w,
        soc=context.battery.soc,
    )
    return Step(stage=Scheduling(Plan(choice, limits)), request=schedule(choice, context), observed=(observed,))


def schedule(choice: Choice, context: RequestContext) -> ScheduleExchangeReq:
    """Send the driver's needs, in the selected control mode (V2G20-1600)."""
    needs = context.config.needs
    target, most, least = energy_requests(context)
    if choice.dynamic:
        return ScheduleExchangeReq(
            header=context.header(),
            maximum_supporting_points=MOST_POINTS,
            dynamic_se_req_control_mode=Dynamic_SEReqControlMode(
                departure_time=departure_s(context),
                minimum_soc=None if choice.needs_by_secc else round(needs.minimum_soc),
                target_soc=None if choice.needs_by_secc else round(needs.target_soc),
                ev_target_energy_request=whole(target),
                ev_maximum_energy_request=whole(most),
                ev_minimum_energy_request=whole(least),
            ),
        )
    return ScheduleExchangeReq(
        header=context.header(),
        maximum_supporting_points=MOST_POINTS,
        scheduled_se_req_control_mode=Scheduled_SEReqControlMode(
            departure_time=departure_s(context),
            ev_target_energy_request=whole(target),
            ev_maximum_energy_request=whole(most),
            ev_minimum_energy_request=whole(least),
            ev_energy_offer=energy_offer(choice, context),
        ),
    )


def power_start(plan: Plan, context: RequestContext, looping: Looping | None = None) -> Step:
    """Start the transfer of energy, or continue it after a renegotiation."""
    return Step(
        stage=Starting(plan, looping),
        request=PowerDeliveryReq(
            header=context.header(),
            ev_processing=Processing.Finished,
            charge_progress=ChargeProgress.Start,
            ev_power_profile=power_profile(plan, context),
        ),
    )


def charge_loop(plan: Plan, context: RequestContext, power_request: PowerRequest) -> ChargeLoopReq:
    """Request the present power. An unused direction has the limit 0."""
    if plan.choice.family is Family.AC:
        return ask_ac.charge_loop(plan, context, power_request)
    if plan.choice.family is Family.WPT:
        return ask_wpt.charge_loop(context, power_request)
    return DC_ChargeLoopReq(
        header=context.header(),
        display_parameters=display(context),
        meter_info_requested=True,
        ev_present_voltage=milli(context.inlet.voltage_mv),
        cl_req_control_mode=_dynamic_loop(plan, context, power_request)
        if plan.choice.dynamic
        else _scheduled(plan, context, power_request),
    )


def _currents(battery: BatteryState, charge_w: int, discharge_w: int) -> tuple[int, int]:
    """Return the maximum charging and discharging currents (mA); 0 for a direction without power."""
    return battery.max_charge_ma if charge_w else 0, battery.max_discharge_ma if discharge_w else 0


def _dynamic_loop(plan: Plan, context: RequestContext, power_request: PowerRequest) -> Dynamic_DC_CLReqControlMode:
    battery = context.battery
    discharge_w = discharge_limit_w(plan, context, power_request)
    charge_ma, discharge_ma = _currents(battery, power_request.charge_w, discharge_w)
    target, most, least = (whole(energy) for energy in energy_requests(context, plan.outlook))
    fields: dict[str, Any] = {
        "departure_time": departure_s(context),
        "ev_target_energy_request": target,
        "ev_maximum_energy_request": most,
        "ev_minimum_energy_request": least,
        "ev_maximum_charge_power": whole(power_request.charge_w),
        "ev_minimum_charge_power": whole(0),
        "ev_maximum_charge_current": milli(charge_ma),
        "ev_maximum_voltage": milli(battery.max_voltage_mv),
        "ev_minimum_voltage": milli(battery.min_voltage_mv),
    }
    if not plan.choice.bpt:
        return Dynamic_DC_CLReqControlMode(**fields)
    return BPT_Dynamic_DC_CLReqControlMode(
        **fields | v2x_requests(plan, context),
        ev_maximum_discharge_power=whole(discharge_w),
        ev_minimum_discharge_power=whole(0),
        ev_maximum_discharge_current=milli(discharge_ma),
    )


def _scheduled(plan: Plan, context: RequestContext, power_request: PowerRequest) -> Scheduled_DC_CLReqControlMode:
    battery = context.battery
    current = target_current_ma(plan, battery, power_request)
    voltage = milli(min(battery.max_voltage_mv, plan.limits.voltage_mv))
    discharge_w = discharge_limit_w(plan, context, power_request)
    charge_ma, discharge_ma = _currents(battery, power_request.charge_w, discharge_w)
    if not plan.choice.bpt:
        return Scheduled_DC_CLReqControlMode(
            ev_target_current=milli(current),
            ev_target_voltage=voltage,
            ev_maximum_charge_power=whole(power_request.charge_w),
            ev_minimum_charge_power=whole(0),
            ev_maximum_charge_current=milli(charge_ma),
            ev_maximum_voltage=milli(battery.max_voltage_mv),
            ev_minimum_voltage=milli(battery.min_voltage_mv),
        )
    return BPT_Scheduled_DC_CLReqControlMode(
        ev_target_current=milli(current),
        ev_target_voltage=voltage,
        ev_maximum_charge_power=whole(power_request.charge_w),
        ev_minimum_charge_power=whole(0),
        ev_maximum_charge_current=milli(charge_ma),
        ev_maximum_voltage=milli(battery.max_voltage_mv),
        ev_minimum_voltage=milli(battery.min_voltage_mv),
        ev_maximum_discharge_power=whole(discharge_w),
        ev_minimum_discharge_power=whole(0),
        ev_maximum_discharge_current=milli(discharge_ma),
    )


def target_current_ma(plan: Plan, battery: BatteryState, power_request: PowerRequest) -> int:
    """Return the current for the requested power at the battery's voltage, negative for discharge."""
    voltage = max(1, battery.voltage_mv)
    if power_request.discharge_w:
        wanted = power_request.discharge_w * 1_000_000 // voltage
        return -min(wanted, battery.max_discharge_ma, plan.limits.discharge_ma)
    return min(power_request.charge_w * 1_000_000 // voltage, battery.max_charge_ma, plan.limits.charge_ma)


def leave_space(ending: Ending, context: RequestContext) -> Step:
    """Request to leave the parking space now."""
    return Step(stage=CheckingOut(ending, since=context.now), request=check_out(EvCheckOutStatus.CheckOut, context))


def check_out(status: EvCheckOutStatus, context: RequestContext) -> VehicleCheckOutReq:
    """Return the request to leave now."""
    return VehicleCheckOutReq(
        header=context.header(), ev_check_out_status=status, check_out_time=context.utc_ms // 1000
    )
