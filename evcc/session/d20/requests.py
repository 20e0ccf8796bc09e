"""The vehicle's requests, built from the present state. They contain no decisions."""

import itertools
from collections.abc import Mapping
from types import ModuleType
from typing import Final

import msgspec

from evcc.policy import policy
from evcc.policy.planner import PlanBlock, within
from evcc.session.context import EvseLimits, departure_s, energy_up_to
from evcc.session.d20.offers import entry_w
from evcc.session.d20.quantities import to_whole
from evcc.session.d20.request_context import Agreement, Outlook, Plan, RequestContext, Schedule
from evcc.session.d20.stages import CheckingOut, Discovering, Ending, Looping, Parametrizing, Scheduling, Starting, Step
from evcc.session.paused import PausedChoice
from evcc.session.ports import BatteryState
from evcc.session.program import PowerRequest
from evcc.session.settings import ServiceConfig
from evcc.session.steps import seen
from v2g.exi.declare import Schema
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages import ac, common_messages, common_types, dc, wpt
from v2g.iso15118.d20.messages import schedules as iso
from v2g.iso15118.d20.prices import Algorithm
from v2g.iso15118.d20.quantities import each_phase, milli, whole
from v2g.iso15118.d20.schemas import AC, ACDP, DC, WPT
from v2g.iso15118.d20.services import AC_DER, DER_SCHEMAS, ENERGY_TRANSFER, ServiceId
from v2g.iso15118.d20.wpt_methods import MethodLists, method_lists
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.typed_json import Fields
from v2g.units import to_rational

# -- The requests of wireless power: the secondary device's limits, and its requested power --------------------------


def methods(context: RequestContext) -> MethodLists:
    """Return the methods that the vehicle supports."""
    device = context.config.wireless
    return method_lists(device.positioning, device.pairing, device.alignment)


def setup(context: RequestContext) -> wpt.WPT_FinePositioningSetupReq:
    """Send the methods that the vehicle supports."""
    ours = methods(context)
    return wpt.WPT_FinePositioningSetupReq(
        header=context.header(),
        ev_processing=common_types.Processing.Finished,
        ev_device_fine_positioning_method_list=ours.positioning,
        ev_device_pairing_method_list=ours.pairing,
        ev_device_alignment_check_method_list=ours.alignment,
        natural_offset=context.config.wireless.natural_offset_mm,
    )


def position(context: RequestContext, *, in_place: bool) -> wpt.WPT_FinePositioningReq:
    """Report whether the vehicle is in its place."""
    return wpt.WPT_FinePositioningReq(
        header=context.header(), ev_processing=_processing(in_place), ev_result_code=_result(in_place)
    )


def pair(context: RequestContext, observed: int | None, *, done: bool) -> wpt.WPT_PairingReq:
    """Report the vehicle's observation, and whether it has completed its part."""
    return wpt.WPT_PairingReq(
        header=context.header(),
        ev_processing=_processing(done),
        observed_id_code=observed,
        ev_result_code=_result(done),
    )


def align(context: RequestContext, *, aligned: bool) -> wpt.WPT_AlignmentCheckReq:
    """Request a coil current, and report whether its power is received."""
    return wpt.WPT_AlignmentCheckReq(
        header=context.header(),
        ev_processing=_processing(aligned),
        target_coil_current=whole(context.config.wireless.coil_current_a),
        ev_result_code=_result(aligned),
    )


def wpt_charge_loop(context: RequestContext, power_request: PowerRequest) -> wpt.WPT_ChargeLoopReq:
    """Send the requested and the received power."""
    return wpt.WPT_ChargeLoopReq(
        header=context.header(),
        display_parameters=display(context),
        meter_info_requested=True,
        evpc_power_request=whole(power_request.charge_w),
        evpc_power_output=whole(received_w(context)),
        evpc_charge_diagnostics=wpt.WPT_EVPCChargeDiagnostics.EVPCNoIssue,
    )


def received_w(context: RequestContext) -> int:
    """Return the received power, W."""
    return max(0, context.inlet.power_w)


def _processing(finished: bool) -> common_types.Processing:
    return common_types.Processing.Finished if finished else common_types.Processing.Ongoing


def _result(known: bool) -> wpt.WPT_EVResult:
    return wpt.WPT_EVResult.EVResultSuccess if known else wpt.WPT_EVResult.EVResultUnknown


# -- The requests of alternating current: the on-board charger's limits and its present power ------------------------


def _flavour(choice: PausedChoice) -> ModuleType:
    """Return the module of the requests of AC DER by IEC, or by SAE, only where such a session runs."""
    from evcc.session.d20 import der_requests, der_sae_requests

    return der_sae_requests if choice.service_id == ServiceId.AC_DER_SAE else der_requests


def ac_charge_parameters(stage: Parametrizing, context: RequestContext) -> ac.AC_ChargeParameterDiscoveryReq:
    """Send the limits of on-board charger and battery."""
    choice = stage.choice
    charger = context.config.on_board_charger
    phases = charger.phases
    fields: Fields = {
        **each_phase("ev_maximum_charge_power", context.max_charge_w, phases),
        **each_phase("ev_minimum_charge_power", min(charger.min_charge_w, context.max_charge_w), phases),
    }
    if choice.bpt:
        most_w = 0 if choice.lacking else context.discharge_capability_w
        fields |= each_phase("ev_maximum_discharge_power", _sign(choice, context) * most_w, phases)
        fields |= each_phase("ev_minimum_discharge_power", 0, phases)
    if choice.der:
        request: ac.AC_ChargeParameterDiscoveryReq = _flavour(choice).charge_parameters(fields, context, stage)
        return request
    mode = (ac.BPT_AC_CPDReqEnergyTransferMode if choice.bpt else ac.AC_CPDReqEnergyTransferMode)(**fields)
    return ac.AC_ChargeParameterDiscoveryReq(header=context.header(), ac_cpd_req_energy_transfer_mode=mode)


def _sign(choice: PausedChoice, context: RequestContext) -> int:
    """Return the sign of limits of discharge: Amendment 1 has negative ones, its implementations positive ones."""
    negative = context.config.services.negative_discharge_limits or choice.service_id == ServiceId.AC_DER_SAE
    return -1 if choice.der and negative else 1


def ac_charge_loop(plan: Plan, context: RequestContext, power_request: PowerRequest) -> ac.AC_ChargeLoopReq:
    """Send the present power and the request. An unused direction has the limit 0."""
    message: type[ac.AC_ChargeLoopReq] = ac.AC_ChargeLoopReq
    if plan.choice.der:
        message = _flavour(plan.choice).LOOP
    return message(
        header=context.header(),
        display_parameters=display(context),
        meter_info_requested=True,
        cl_req_control_mode=_mode(plan, context, power_request),
    )


def _mode(
    plan: Plan, context: RequestContext, power_request: PowerRequest
) -> ac.Dynamic_AC_CLReqControlMode | ac.Scheduled_AC_CLReqControlMode:
    charger, choice = context.config.on_board_charger, plan.choice
    phases, lines = charger.phases, context.inlet.lines_of(charger.phases)
    scheduled: type[ac.Scheduled_AC_CLReqControlMode] = ac.Scheduled_AC_CLReqControlMode
    dynamic: type[ac.Dynamic_AC_CLReqControlMode] = ac.Dynamic_AC_CLReqControlMode
    fields: Fields = {
        **each_phase("ev_maximum_charge_power", power_request.charge_w, phases),
        **each_phase("ev_minimum_charge_power", min(charger.min_charge_w, power_request.charge_w), phases),
        **each_phase("ev_present_active_power", context.inlet.power_w, lines),
        **each_phase("ev_present_reactive_power", context.inlet.reactive_var, lines if choice.der else 1),
    }
    if choice.bpt:
        limit_w = _sign(choice, context) * discharge_limit_w(plan, context, power_request)
        fields |= each_phase("ev_maximum_discharge_power", limit_w, phases)
        fields |= each_phase("ev_minimum_discharge_power", 0, phases)
        scheduled, dynamic = ac.BPT_Scheduled_AC_CLReqControlMode, ac.BPT_Dynamic_AC_CLReqControlMode
    if choice.der:
        der = _flavour(choice)
        fields |= der.loop_fields(plan, context)
        scheduled, dynamic = der.SCHEDULED, der.DYNAMIC
    if not choice.dynamic:
        return scheduled(**fields)
    return dynamic(**fields, **_needs(plan, context))


# -- The driver's needs and the vehicle's capabilities as values for messages of all kinds of current ----------------


def energy_requests(context: RequestContext, outlook: Outlook | None = None) -> tuple[int, int, int]:
    """Return target, maximum and minimum energy to charge, Wh, with minimum <= target <= maximum.

    The target is the driver's need, or more if a plan by prices charges more.
    """
    needs, most = context.config.needs, _up_to(100.0, context)
    target = _up_to(needs.target_soc, context)
    if outlook is not None and outlook.plan is not None:
        present_wh = int(context.battery.capacity_wh * context.battery.soc / 100)
        target = min(most, max(target, outlook.plan.energy_wh - present_wh))
    return target, most, _up_to(needs.minimum_soc, context)


def _energies(context: RequestContext, outlook: Outlook | None = None) -> Fields:
    """Return the fields of a request for energy by departure."""
    target, most, least = (whole(energy) for energy in energy_requests(context, outlook))
    return {
        "departure_time": departure_s(context),
        "ev_target_energy_request": target,
        "ev_maximum_energy_request": most,
        "ev_minimum_energy_request": least,
    }


def _needs(plan: Plan, context: RequestContext) -> Fields:
    """Return the fields of a charge loop in which the charger controls power."""
    return _energies(context, plan.outlook) | (v2x_requests(plan, context) if plan.choice.bpt else {})


def v2x_requests(plan: Plan, context: RequestContext) -> dict[str, common_types.RationalNumber]:
    """Return the energy available for V2X, Wh, as fields of a Dynamic request; none without compensation.

    The minimum is negative while energy above the driver's reserve can be discharged. A vehicle that follows the
    charger's set-point also sends how far it is above the charge that its driver needs, as a negative minimum.
    """
    config, terms = context.config.discharge, context.terms
    follows = any(step.do == "follow" for step in context.config.program)
    if (plan.outlook is None and not follows) or not config.enabled:
        return {}
    if terms is None or context.agreement is not Agreement.AGREED:
        return {}
    if not policy.pays_later(config, terms, utc_ms=context.utc_ms, departure_ms=context.departure_ms):
        return {}
    reserve = max(config.minimum_soc, config.departure_soc or 0.0)
    fields = {
        "ev_maximum_v2x_energy_request": whole(_up_to(100.0, context)),
        "ev_minimum_v2x_energy_request": whole(energy_up_to(reserve, context)),
    }
    if follows:
        fields["ev_minimum_energy_request"] = whole(energy_up_to(context.config.needs.minimum_soc, context))
    return fields


def _up_to(soc: float, context: RequestContext) -> int:
    return max(0, energy_up_to(soc, context))


def discharge_limit_w(plan: Plan, context: RequestContext, power_request: PowerRequest) -> int:
    """Return the vehicle's limit of discharge.

    If discharge requires signed commands it is the battery's capability, so that offers can be made at
    any time; by the plain standard the charger may use it at once, so it is the present request.
    """
    if plan.choice.lacking:
        return 0
    return power_request.discharge_w if plan.choice.signed_set is None else context.discharge_capability_w


def display(context: RequestContext) -> common_types.DisplayParameters:
    battery, needs = context.battery, context.config.needs
    return common_types.DisplayParameters(
        present_soc=round(battery.soc),
        minimum_soc=round(needs.minimum_soc),
        target_soc=round(needs.target_soc),
        maximum_soc=100,
        charging_complete=battery.soc >= needs.target_soc,
        battery_energy_capacity=whole(battery.capacity_wh),
    )


# -- The vehicle's EVPowerProfile, and the EVEnergyOffer with its price for discharge


def power_profile(plan: Plan, context: RequestContext) -> iso.EVPowerProfile:
    """Scheduled: the plan by prices, or the chosen tuple limited to the battery's maximum. Dynamic: the maximum."""
    schedule = plan.schedule
    if schedule is None:
        whole_time = iso.PowerScheduleEntry(duration=max(1, departure_s(context)), power=whole(context.max_charge_w))
        return iso.EVPowerProfile(
            time_anchor=context.utc_ms // 1000,
            dynamic_evppt_control_mode=iso.Dynamic_EVPPTControlMode(),
            ev_power_profile_entries=iso.EVPowerProfileEntryList(ev_power_profile_entry=(whole_time,)),
        )
    return iso.EVPowerProfile(
        time_anchor=schedule.charge.time_anchor if schedule.plan is None else schedule.plan.blocks[0].start_ms // 1000,
        scheduled_evppt_control_mode=iso.Scheduled_EVPPTControlMode(
            selected_schedule_tuple_id=schedule.tuple_id,
            power_tolerance_acceptance=None
            if schedule.charge.power_tolerance is None
            else iso.PowerToleranceAcceptance.PowerToleranceConfirmed
            if context.config.services.confirm_tolerance
            else iso.PowerToleranceAcceptance.PowerToleranceNotConfirmed,
        ),
        ev_power_profile_entries=iso.EVPowerProfileEntryList(ev_power_profile_entry=_entries(schedule, context)),
    )


def _entries(schedule: Schedule, context: RequestContext) -> tuple[iso.PowerScheduleEntry, ...]:
    """Return the entries of the profile, of each phase where the schedule has them."""
    offered, lines = schedule.charge.power_schedule_entries.power_schedule_entry, context.config.on_board_charger.phases
    if schedule.plan is not None:
        blocks = schedule.plan.blocks
    else:
        available, powers, at_ms = schedule.charge.available_energy, list[PlanBlock](), 0
        for each in offered:
            power_w, end_ms = min(entry_w(each, lines), context.max_charge_w), at_ms + each.duration * 1000
            powers.append(PlanBlock(at_ms, end_ms, power_w))
            at_ms = end_ms
        blocks = within(powers, None if available is None else to_whole(available))
    spans = [((each.end_ms - each.start_ms) // 1000, each.power_w) for each in blocks]
    used = lines if any((each.power_l2 or each.power_l3) is not None for each in offered) else 1
    found = [(s, power_w) for s, power_w in spans if s][:MOST_POINTS] or [(1, 0)]
    return tuple(iso.PowerScheduleEntry(duration=s, **each_phase("power", power_w, used)) for s, power_w in found)


def energy_offer(choice: PausedChoice, context: RequestContext) -> iso.EVEnergyOffer | None:
    """Return the offer of discharge until departure and its price, if the driver permits offers."""
    config = context.config.discharge
    power_w = context.discharge_capability_w
    seconds = departure_s(context) - config.departure_reserve_s
    if not (config.offer_energy and choice.bpt and power_w and seconds > 0):
        return None
    now_s = context.utc_ms // 1000
    value, exponent = to_rational(config.minimum_compensation)
    rule = iso.EVPriceRule(
        energy_fee=common_types.RationalNumber(exponent=exponent, value=value), power_range_start=whole(0)
    )
    return iso.EVEnergyOffer(
        ev_power_schedule=iso.EVPowerSchedule(
            time_anchor=now_s,
            ev_power_schedule_entries=iso.EVPowerScheduleEntryList(
                # out of the vehicle is negative (V2G20-1034)
                ev_power_schedule_entry=(iso.EVPowerScheduleEntry(duration=seconds, power=whole(-power_w)),)
            ),
        ),
        ev_absolute_price_schedule=iso.EVAbsolutePriceSchedule(
            time_anchor=now_s,
            currency=config.currency,
            price_algorithm=Algorithm.POWER.uri,
            ev_price_rule_stacks=iso.EVPriceRuleStackList(
                ev_price_rule_stack=(iso.EVPriceRuleStack(duration=seconds, ev_price_rule=(rule,)),)
            ),
        ),
    )


MOST_POINTS: Final = 1024
"""Maximum number of schedule entries that the vehicle supports."""


_NAMESPACES: Final[Mapping[Family, Schema]] = {Family.AC: AC, Family.DC: DC, Family.WPT: WPT, Family.ACDP: ACDP}


def protocols(config: ServiceConfig) -> tuple[AppProtocol, ...]:
    """Return what is offered for ISO 15118-20: one protocol for each set of messages of the vehicle (V2G20-167), that
    of AC DER before that of alternating current."""
    families = dict.fromkeys(ENERGY_TRANSFER[ServiceId[name]].family for name in config.energy)
    der = (DER_SCHEMAS[AC_DER[config.der]], AC) if config.der else (AC,)
    schemas = (der if each is Family.AC else (_NAMESPACES[each],) for each in families)
    return tuple(
        AppProtocol(
            protocol_namespace=schema.uri, version_number_major=1, version_number_minor=0, schema_id=rank, priority=rank
        )
        for rank, schema in enumerate(itertools.chain.from_iterable(schemas), start=1)
    )


def family_of(protocol: AppProtocol) -> Family | None:
    """Return the set of messages of an offered protocol, None for one of another edition."""
    if protocol.protocol_namespace in {each.uri for each in DER_SCHEMAS.values()}:
        return Family.AC
    return next((each for each, schema in _NAMESPACES.items() if schema.uri == protocol.protocol_namespace), None)


def discover(context: RequestContext) -> Step:
    """Request all services; an absent list means all (V2G20-1248)."""
    return Step(stage=Discovering(), request=common_messages.ServiceDiscoveryReq(header=context.header()))


def charge_parameters(choice: PausedChoice, context: RequestContext, stage: Parametrizing | None = None) -> Step:
    """Send the battery's limits, in the stage of an earlier request if there was one."""
    stage = stage or Parametrizing(choice)
    request: common_types.ChargeParameterDiscoveryReq
    if choice.family is Family.AC:
        request = ac_charge_parameters(stage, context)
    elif choice.family is Family.WPT:
        # send the secondary device's limits
        device = context.config.wireless
        request = wpt.WPT_ChargeParameterDiscoveryReq(
            header=context.header(),
            evpc_max_receivable_power=whole(context.max_charge_w),
            sd_max_ground_clearence=device.max_clearance_mm,
            sd_min_ground_clearence=device.min_clearance_mm,
            evpc_natural_frequency=whole(device.natural_frequency_hz),
            evpc_device_local_control=False,
        )
    else:
        request = dc.DC_ChargeParameterDiscoveryReq(
            header=context.header(), dc_cpd_req_energy_transfer_mode=_limits(choice, context)
        )
    return Step(stage=stage, request=request)


def _limits(choice: PausedChoice, context: RequestContext) -> dc.DC_CPDReqEnergyTransferMode:
    battery = context.battery
    zero = whole(0)
    charging = dc.DC_CPDReqEnergyTransferMode(
        ev_maximum_charge_power=whole(battery.max_charge_w),
        ev_minimum_charge_power=zero,
        ev_maximum_charge_current=milli(battery.max_charge_ma),
        ev_minimum_charge_current=zero,
        ev_maximum_voltage=milli(battery.max_voltage_mv),
        ev_minimum_voltage=milli(battery.min_voltage_mv),
        target_soc=round(context.config.needs.target_soc),
    )
    if not choice.bpt:
        return charging
    return dc.BPT_DC_CPDReqEnergyTransferMode(
        **msgspec.structs.asdict(charging),
        ev_maximum_discharge_power=whole(context.discharge_capability_w),
        ev_minimum_discharge_power=zero,
        ev_maximum_discharge_current=milli(battery.max_discharge_ma if context.discharge_capability_w else 0),
        ev_minimum_discharge_current=zero,
    )


def exchange(choice: PausedChoice, limits: EvseLimits, context: RequestContext) -> Step:
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


def schedule(choice: PausedChoice, context: RequestContext) -> common_messages.ScheduleExchangeReq:
    """Send the driver's needs, in the selected control mode (V2G20-1600)."""
    needs, sends_soc = context.config.needs, not choice.needs_by_secc
    dynamic = scheduled = None
    if choice.dynamic:
        dynamic = iso.Dynamic_SEReqControlMode(
            **_energies(context),
            minimum_soc=round(needs.minimum_soc) if sends_soc else None,
            target_soc=round(needs.target_soc) if sends_soc else None,
        )
    else:
        scheduled = iso.Scheduled_SEReqControlMode(**_energies(context), ev_energy_offer=energy_offer(choice, context))
    return common_messages.ScheduleExchangeReq(
        header=context.header(),
        maximum_supporting_points=MOST_POINTS,
        dynamic_se_req_control_mode=dynamic,
        scheduled_se_req_control_mode=scheduled,
    )


def power_start(plan: Plan, context: RequestContext, looping: Looping | None = None) -> Step:
    """Start the transfer of energy, or continue it after a renegotiation."""
    return Step(
        stage=Starting(plan, looping),
        request=common_messages.PowerDeliveryReq(
            header=context.header(),
            ev_processing=common_types.Processing.Finished,
            charge_progress=common_messages.ChargeProgress.Start,
            ev_power_profile=power_profile(plan, context),
        ),
    )


def charge_loop(plan: Plan, context: RequestContext, power_request: PowerRequest) -> common_types.ChargeLoopReq:
    """Request the present power. An unused direction has the limit 0."""
    if plan.choice.family is Family.AC:
        return ac_charge_loop(plan, context, power_request)
    if plan.choice.family is Family.WPT:
        return wpt_charge_loop(context, power_request)
    return dc.DC_ChargeLoopReq(
        header=context.header(),
        display_parameters=display(context),
        meter_info_requested=True,
        ev_present_voltage=milli(context.inlet.voltage_mv),
        cl_req_control_mode=_loop_mode(plan, context, power_request),
    )


def _loop_mode(
    plan: Plan, context: RequestContext, power_request: PowerRequest
) -> dc.Dynamic_DC_CLReqControlMode | dc.Scheduled_DC_CLReqControlMode:
    battery, choice = context.battery, plan.choice
    scheduled: type[dc.Scheduled_DC_CLReqControlMode] = dc.Scheduled_DC_CLReqControlMode
    dynamic: type[dc.Dynamic_DC_CLReqControlMode] = dc.Dynamic_DC_CLReqControlMode
    fields: Fields = {
        "ev_maximum_charge_power": whole(power_request.charge_w),
        "ev_minimum_charge_power": whole(0),
        "ev_maximum_charge_current": milli(battery.max_charge_ma if power_request.charge_w else 0),
        "ev_maximum_voltage": milli(battery.max_voltage_mv),
        "ev_minimum_voltage": milli(battery.min_voltage_mv),
    }
    if choice.bpt:
        discharge_w = discharge_limit_w(plan, context, power_request)
        fields |= {
            "ev_maximum_discharge_power": whole(discharge_w),
            "ev_minimum_discharge_power": whole(0),
            "ev_maximum_discharge_current": milli(battery.max_discharge_ma if discharge_w else 0),
        }
        scheduled, dynamic = dc.BPT_Scheduled_DC_CLReqControlMode, dc.BPT_Dynamic_DC_CLReqControlMode
    if choice.dynamic:
        return dynamic(**fields, **_needs(plan, context))
    return scheduled(
        **fields,
        ev_target_current=milli(target_current_ma(plan, battery, power_request)),
        ev_target_voltage=milli(min(battery.max_voltage_mv, plan.limits.voltage_mv)),
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
    return Step(
        stage=CheckingOut(ending, since=context.now),
        request=check_out(common_messages.EvCheckOutStatus.CheckOut, context),
    )


def check_out(status: common_messages.EvCheckOutStatus, context: RequestContext) -> common_messages.VehicleCheckOutReq:
    """Return the request to leave now."""
    return common_messages.VehicleCheckOutReq(
        header=context.header(), ev_check_out_status=status, check_out_time=context.utc_ms // 1000
    )
