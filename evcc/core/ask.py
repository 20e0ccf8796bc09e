"""The vehicle's requests, built from what is known at the moment of sending. Nothing is decided here."""

from typing import Final

from evcc.core.ports import BatteryState
from evcc.core.program import Wish
from evcc.core.quantities import milli, to_whole, whole
from evcc.core.stages import Choice, Discovering, Looping, Negotiating, Parametrizing, Plan, Starting, Step, World
from v2g.iso15118.messages.app_protocol import AppProtocol, SupportedAppProtocolReq
from v2g.iso15118.messages.common_messages import (
    ChargeProgress,
    PowerDeliveryReq,
    ScheduleExchangeReq,
    ServiceDiscoveryReq,
)
from v2g.iso15118.messages.common_types import DisplayParameters, Processing
from v2g.iso15118.messages.dc import (
    BPT_DC_CPDReqEnergyTransferMode,
    BPT_Dynamic_DC_CLReqControlMode,
    BPT_Scheduled_DC_CLReqControlMode,
    DC_ChargeLoopReq,
    DC_ChargeParameterDiscoveryReq,
    DC_CPDReqEnergyTransferMode,
    Dynamic_DC_CLReqControlMode,
    Scheduled_DC_CLReqControlMode,
)
from v2g.iso15118.messages.schedules import (
    Dynamic_EVPPTControlMode,
    Dynamic_SEReqControlMode,
    EVPowerProfile,
    EVPowerProfileEntryList,
    PowerScheduleEntry,
    PowerToleranceAcceptance,
    Scheduled_EVPPTControlMode,
    Scheduled_SEReqControlMode,
)
from v2g.iso15118.messages.schemas import DC

SCHEMA_ID: Final = 1
"""The only protocol on offer."""

MOST_POINTS: Final = 1024
"""Schedule entries that the vehicle can take."""

_U32: Final = 0xFFFF_FFFF


def protocol() -> Step:
    """Offer ISO 15118-20 DC, the only message set of this vehicle."""
    offer = AppProtocol(
        protocol_namespace=DC.uri, version_number_major=1, version_number_minor=0, schema_id=SCHEMA_ID, priority=1
    )
    return Step(stage=Negotiating(), request=SupportedAppProtocolReq(app_protocol=(offer,)))


def discover(world: World) -> Step:
    """Ask for all services; an absent list means all (V2G20-1248)."""
    return Step(stage=Discovering(), request=ServiceDiscoveryReq(header=world.header()))


def charge_parameters(choice: Choice, world: World) -> Step:
    """Tell what the battery bears."""
    return Step(
        stage=Parametrizing(choice),
        request=DC_ChargeParameterDiscoveryReq(
            header=world.header(), dc_cpd_req_energy_transfer_mode=_limits(choice, world)
        ),
    )


def _limits(choice: Choice, world: World) -> DC_CPDReqEnergyTransferMode:
    battery = world.battery
    zero = whole(0)
    target = round(world.config.needs.target_soc)
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
        ev_maximum_discharge_power=whole(discharge_capability_w(world)),
        ev_minimum_discharge_power=zero,
        ev_maximum_discharge_current=milli(battery.max_discharge_ma if discharge_capability_w(world) else 0),
        ev_minimum_discharge_current=zero,
    )


def schedule(choice: Choice, world: World) -> ScheduleExchangeReq:
    """State what the driver needs, in the control mode that was selected (V2G20-1600)."""
    needs = world.config.needs
    target, most, least = energy_requests(world)
    if choice.dynamic:
        return ScheduleExchangeReq(
            header=world.header(),
            maximum_supporting_points=MOST_POINTS,
            dynamic_se_req_control_mode=Dynamic_SEReqControlMode(
                departure_time=departure_s(world),
                minimum_soc=round(needs.minimum_soc),
                target_soc=round(needs.target_soc),
                ev_target_energy_request=whole(target),
                ev_maximum_energy_request=whole(most),
                ev_minimum_energy_request=whole(least),
            ),
        )
    return ScheduleExchangeReq(
        header=world.header(),
        maximum_supporting_points=MOST_POINTS,
        scheduled_se_req_control_mode=Scheduled_SEReqControlMode(
            departure_time=departure_s(world),
            ev_target_energy_request=whole(target),
            ev_maximum_energy_request=whole(most),
            ev_minimum_energy_request=whole(least),
        ),
    )


def departure_s(world: World) -> int:
    """Return the seconds until departure, 0 when it has passed."""
    return max(0, min(_U32, (world.departure_ms - world.utc_ms) // 1000))


def energy_requests(world: World) -> tuple[int, int, int]:
    """Return target, most and least energy to charge, Wh, with least <= target <= most (V2G20-1290)."""
    battery, needs = world.battery, world.config.needs

    def up_to(soc: float) -> int:
        return max(0, int(battery.capacity_wh * (soc - battery.soc) / 100))

    return up_to(needs.target_soc), up_to(100.0), up_to(needs.minimum_soc)


def power_start(plan: Plan, world: World, looping: Looping | None = None) -> Step:
    """Start the transfer of energy, or go on with it after a renegotiation."""
    return Step(
        stage=Starting(plan, looping),
        request=PowerDeliveryReq(
            header=world.header(),
            ev_processing=Processing.Finished,
            charge_progress=ChargeProgress.Start,
            ev_power_profile=_power_profile(plan, world),
        ),
    )


def _power_profile(plan: Plan, world: World) -> EVPowerProfile:
    """Scheduled: the chosen tuple, cut to what the battery takes. Dynamic: what the charger may count on."""
    most = world.battery.max_charge_w
    if plan.schedule is None:
        whole_time = PowerScheduleEntry(duration=max(1, departure_s(world)), power=whole(most))
        return EVPowerProfile(
            time_anchor=world.utc_ms // 1000,
            dynamic_evppt_control_mode=Dynamic_EVPPTControlMode(),
            ev_power_profile_entries=EVPowerProfileEntryList(ev_power_profile_entry=(whole_time,)),
        )
    charge = plan.schedule.charge
    entries = tuple(
        PowerScheduleEntry(duration=entry.duration, power=whole(min(to_whole(entry.power), most)))
        for entry in charge.power_schedule_entries.power_schedule_entry
    )
    return EVPowerProfile(
        time_anchor=charge.time_anchor,
        scheduled_evppt_control_mode=Scheduled_EVPPTControlMode(
            selected_schedule_tuple_id=plan.schedule.tuple_id,
            # a band around the schedule is no burden: this vehicle asks for no more than the schedule
            power_tolerance_acceptance=PowerToleranceAcceptance.PowerToleranceConfirmed
            if charge.power_tolerance is not None
            else None,
        ),
        ev_power_profile_entries=EVPowerProfileEntryList(ev_power_profile_entry=entries),
    )


def charge_loop(plan: Plan, world: World, wish: Wish) -> DC_ChargeLoopReq:
    """Say what the vehicle wants now. A direction that it does not want has the limit 0."""
    return DC_ChargeLoopReq(
        header=world.header(),
        display_parameters=_display(world),
        meter_info_requested=True,
        ev_present_voltage=milli(world.inlet.voltage_mv),
        cl_req_control_mode=_dynamic_loop(plan, world, wish) if plan.choice.dynamic else _scheduled(plan, world, wish),
    )


def _display(world: World) -> DisplayParameters:
    battery, needs = world.battery, world.config.needs
    return DisplayParameters(
        present_soc=round(battery.soc),
        minimum_soc=round(needs.minimum_soc),
        target_soc=round(needs.target_soc),
        maximum_soc=100,
        charging_complete=battery.soc >= needs.target_soc,
        battery_energy_capacity=whole(battery.capacity_wh),
    )


def discharge_capability_w(world: World) -> int:
    """Return what the vehicle could give back, whoever asks for it."""
    config = world.config.discharge
    return min(config.max_power_w, world.battery.max_discharge_w) if config.enabled else 0


def _discharge_limit_w(plan: Plan, world: World, wish: Wish) -> int:
    """Return the vehicle's limit of discharge.

    Where every watt needs a signed command it is what the battery could give, so that offers can be made of it at
    any time; by the plain standard the charger may act on it at once, so it is what is wanted now.
    """
    return wish.discharge_w if plan.choice.signed_set is None else discharge_capability_w(world)


def _currents(battery: BatteryState, charge_w: int, discharge_w: int) -> tuple[int, int]:
    """Return the highest charging and discharging currents (mA); 0 for a direction without power."""
    return battery.max_charge_ma if charge_w else 0, battery.max_discharge_ma if discharge_w else 0


def _dynamic_loop(plan: Plan, world: World, wish: Wish) -> Dynamic_DC_CLReqControlMode:
    battery = world.battery
    discharge_w = _discharge_limit_w(plan, world, wish)
    charge_ma, discharge_ma = _currents(battery, wish.charge_w, discharge_w)
    target, most, least = (whole(energy) for energy in energy_requests(world))
    if not plan.choice.bpt:
        return Dynamic_DC_CLReqControlMode(
            departure_time=departure_s(world),
            ev_target_energy_request=target,
            ev_maximum_energy_request=most,
            ev_minimum_energy_request=least,
            ev_maximum_charge_power=whole(wish.charge_w),
            ev_minimum_charge_power=whole(0),
            ev_maximum_charge_current=milli(charge_ma),
            ev_maximum_voltage=milli(battery.max_voltage_mv),
            ev_minimum_voltage=milli(battery.min_voltage_mv),
        )
    return BPT_Dynamic_DC_CLReqControlMode(
        departure_time=departure_s(world),
        ev_target_energy_request=target,
        ev_maximum_energy_request=most,
        ev_minimum_energy_request=least,
        ev_maximum_charge_power=whole(wish.charge_w),
        ev_minimum_charge_power=whole(0),
        ev_maximum_charge_current=milli(charge_ma),
        ev_maximum_voltage=milli(battery.max_voltage_mv),
        ev_minimum_voltage=milli(battery.min_voltage_mv),
        ev_maximum_discharge_power=whole(discharge_w),
        ev_minimum_discharge_power=whole(0),
        ev_maximum_discharge_current=milli(discharge_ma),
    )


def _scheduled(plan: Plan, world: World, wish: Wish) -> Scheduled_DC_CLReqControlMode:
    battery = world.battery
    current = target_current_ma(plan, battery, wish)
    voltage = milli(min(battery.max_voltage_mv, plan.limits.max_voltage_mv))
    discharge_w = _discharge_limit_w(plan, world, wish)
    charge_ma, discharge_ma = _currents(battery, wish.charge_w, discharge_w)
    if not plan.choice.bpt:
        return Scheduled_DC_CLReqControlMode(
            ev_target_current=milli(current),
            ev_target_voltage=voltage,
            ev_maximum_charge_power=whole(wish.charge_w),
            ev_minimum_charge_power=whole(0),
            ev_maximum_charge_current=milli(charge_ma),
            ev_maximum_voltage=milli(battery.max_voltage_mv),
            ev_minimum_voltage=milli(battery.min_voltage_mv),
        )
    return BPT_Scheduled_DC_CLReqControlMode(
        ev_target_current=milli(current),
        ev_target_voltage=voltage,
        ev_maximum_charge_power=whole(wish.charge_w),
        ev_minimum_charge_power=whole(0),
        ev_maximum_charge_current=milli(charge_ma),
        ev_maximum_voltage=milli(battery.max_voltage_mv),
        ev_minimum_voltage=milli(battery.min_voltage_mv),
        ev_maximum_discharge_power=whole(discharge_w),
        ev_minimum_discharge_power=whole(0),
        ev_maximum_discharge_current=milli(discharge_ma),
    )


def target_current_ma(plan: Plan, battery: BatteryState, wish: Wish) -> int:
    """Return the current that gives the wished power at the battery's voltage, negative for discharge."""
    voltage = max(1, battery.voltage_mv)
    if wish.discharge_w:
        wanted = wish.discharge_w * 1_000_000 // voltage
        return -min(wanted, battery.max_discharge_ma, plan.limits.discharge_ma)
    return min(wish.charge_w * 1_000_000 // voltage, battery.max_charge_ma, plan.limits.charge_ma)
