"""Charge parameters: the vehicle's limits in, the charger's limits and schedule out."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from secc.session import stages
from secc.session.config import ControlMode, EnergyService
from secc.session.journal import open_journal
from secc.session.needs import back_end_plans
from secc.session.ports import ReportChargingNeeds
from secc.session.request_context import Wait, refuse
from secc.session.terms import OfferedTuple, PowerSpan, Spans, allowed_over
from secc.session.v2g_message.request_context import RequestContext, Step
from v2g.energy.limits import VEHICLE
from v2g.energy.needs import EvNeeds
from v2g.exi.declare import Element
from v2g.iso15118.engine.physical_values import MOST, Rounding, milliamperes, millivolts, percent, watt_hours, watts
from v2g.iso15118.engine.power_schedule import PowerSchedule, covering
from v2g.iso15118.engine.power_schedule import Step as PowerStep
from v2g.iso15118.engine.quirks import MISSING_FIELDS, Quirk
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe
from v2g.typed_json import Fields
from v2g.units import DAY_S

if TYPE_CHECKING:  # declarations of the edition that is spoken only
    from v2g.iso15118.v2g_message import DC_EVChargeParameter

_OPTIONAL: Final = ("ev_maximum_power_limit", "ev_energy_capacity", "ev_energy_request", "full_soc", "bulk_soc")


def dc_vehicle(parameter: "DC_EVChargeParameter", context: RequestContext) -> tuple[stages.Vehicle, tuple[Quirk, ...]]:
    """Return the limits in a DC_EVChargeParameter; a missing power is that of voltage and current.

    Raises Iso15118Error for impossible ones.
    """
    current_ma, voltage_mv = (
        milliamperes(parameter.ev_maximum_current_limit),
        millivolts(parameter.ev_maximum_voltage_limit),
    )
    power, capacity = parameter.ev_maximum_power_limit, parameter.ev_energy_capacity
    power_w = min(MOST, voltage_mv * current_ma // 1_000_000) if power is None else watts(power)
    if min(current_ma, voltage_mv, power_w) < 0:
        raise refuse("FAILED_WrongChargeParameter", "a limit is negative")
    if voltage_mv < context.config.rating.min_voltage_v * 1000:
        raise refuse("FAILED_WrongChargeParameter", "the vehicle's voltage is below the charger's")
    vehicle = stages.Vehicle(
        max_charge_w=power_w,
        max_charge_ma=current_ma,
        max_voltage_mv=voltage_mv,
        min_voltage_mv=0,
        soc=percent(parameter.dc_ev_status.ev_ress_soc),
        capacity_wh=None if capacity is None else stages.plausible_capacity(watt_hours(capacity, Rounding.NEAREST)),
    )
    missing = any(getattr(parameter, name) is None for name in _OPTIONAL)
    return vehicle, (MISSING_FIELDS,) if missing else ()


def dc_needs(parameter: "DC_EVChargeParameter", vehicle: stages.Vehicle, departure_ms: int | None = None) -> EvNeeds:
    """Return the vehicle's needs for the back end."""
    wanted = parameter.ev_energy_request
    return EvNeeds(
        service="DC",
        control_mode="scheduled",
        max_charge_w=vehicle.max_charge_w,
        max_current_ma=vehicle.max_charge_ma,
        max_voltage_mv=vehicle.max_voltage_mv,
        departure_ms=departure_ms,
        soc=vehicle.soc,
        target_soc=None if parameter.full_soc is None else percent(parameter.full_soc),
        target_energy_wh=None if wanted is None else max(0, watt_hours(wanted)),
        available=("DC",),
        older=True,
    )


def selected(authorized: stages.Authorized, service: EnergyService, context: RequestContext) -> stages.Selected:
    """Return the selection of an energy service. Raises Iso15118Error if the back end does not allow it."""
    allowed = context.facts.allowed
    if allowed is not None and int(service) not in allowed:
        raise refuse("FAILED", f"the back end does not allow {service.name}", reason="energy_transfer_rejected")
    return stages.Selected(
        authorized=authorized, service=service, control_mode=ControlMode.SCHEDULED, signed_discharge=False
    )


def authorized_of(stage: stages.Authorized | stages.Awaiting | stages.AfterPlan) -> stages.Authorized:
    """Return the authorisation."""
    return stage if isinstance(stage, stages.Authorized) else stage.parametrised.selected.authorized


def discover(
    parametrised: stages.Parametrised,
    stage: stages.Authorized | stages.Awaiting | stages.AfterPlan,
    context: RequestContext,
    needs: EvNeeds,
    plan: stages.Plan,
    respond: Callable[[str, stages.Plan], Element],
    *,
    quirks: tuple[Quirk, ...] = (),
) -> Step | Wait:
    """Plan by the present limits, as in `plan`; a back end that is planning gets its time before energy flows.

    `respond` returns the response with this EVSEProcessing and plan.
    """
    opening: tuple[Command | Observe, ...] = ()
    if not context.journal_open:
        chosen = parametrised.selected
        opening = open_journal(
            context, chosen.authorized, chosen.service.name, "none", capacity_wh=parametrised.vehicle.capacity_wh
        )
    begin = (*opening, limits_event(parametrised.vehicle, context), ReportChargingNeeds(needs))
    if isinstance(stage, stages.Awaiting):
        waiting, begin = replace(stage, parametrised=parametrised), ()
        pending = back_end_plans(waiting, context)
        if isinstance(pending, Wait):
            return pending
        if pending:
            return Step(respond("Ongoing", plan), waiting, quirks=quirks)
    elif (
        isinstance(stage, stages.Authorized)
        and context.connection.can_plan
        and context.config.schedules.patience_s
        and not context.waited
    ):
        return Wait(stages.Awaiting(parametrised, since=context.now), context.config.poll_hold_s, begin)
    planned = stages.Planned(parametrised=parametrised, plan=plan)
    event = Observe(
        "schedule",
        "planned",
        {
            "control_mode": "Scheduled",
            "charge_w": plan.tuples[0].charge_w(context.utc_ms),
            "discharge_w": 0,
            "tuples": len(plan.tuples),
            "signed": False,
            "tariff_version": context.facts.tariff.version if context.facts.tariff else None,
            "departure_ms": plan.departure_ms,
        },
    )
    renewed = replace(stage, planned=planned) if isinstance(stage, stages.Charging) else planned
    response = respond("Finished", plan)
    return Step(response, renewed, (*begin, event), quirks=quirks, followed="ScheduleRenegotiation")


def allowed_power(context: RequestContext, horizon_s: int = DAY_S, *, lines: int = 0) -> Spans:
    """Return the limits of charger, site and operator over the next `horizon_s`, as far as they are known; with
    alternating current, of a vehicle on so many `lines`."""
    limits = [each for each in context.limits if each.source != VEHICLE]
    charge_w, _ = context.config.power_rating(context.family)
    volts = context.config.ac_rating.nominal_voltage_v
    spans, _ = allowed_over(
        limits, context.utc_ms, horizon_s, charge_w=charge_w, lines=min(lines, context.facts.lines), volts=volts
    )
    return tuple(spans)


def unbounded(tuple_id: int, context: RequestContext) -> OfferedTuple:
    """Return a tuple that bounds nothing: a schedule must not outlive the limits that it was made of."""
    rating_w, _ = context.config.power_rating(context.family)
    return OfferedTuple(tuple_id=tuple_id, charge=(PowerSpan(context.utc_ms, context.utc_ms, rating_w),))


def schedule_of(spans: Spans, most_entries: int) -> PowerSchedule:
    """Return power over the time of `spans` in at most so many entries, none above them."""
    begin_ms = spans[0].start_ms
    steps = [PowerStep(start_s=(each.start_ms - begin_ms) // 1000, power_w=each.power_w) for each in spans]
    return covering(steps, max(1, (spans[-1].end_ms - begin_ms) // 1000), most_entries)


def most_power_w(plan: stages.Plan) -> int:
    """Return the highest power that a plan offers at any time: vehicles take the limit beside it as the session's."""
    return max(span.power_w for each in plan.tuples for span in each.charge)


def dc_limits(plan: stages.Plan, context: RequestContext) -> Fields:
    """Return the fields of DC_EVSEChargeParameter with the charger's limits; the power is the highest of the plan."""
    rating, values = context.config.rating, context.messages.values
    return {
        "evse_maximum_current_limit": values.current(rating.max_charge_current_a * 1000, Rounding.DOWN),
        "evse_maximum_power_limit": values.power(most_power_w(plan), Rounding.DOWN),
        "evse_maximum_voltage_limit": values.voltage(rating.max_voltage_v * 1000, Rounding.DOWN),
        "evse_minimum_current_limit": values.current(rating.min_charge_current_a * 1000, Rounding.UP),
        "evse_minimum_voltage_limit": values.voltage(rating.min_voltage_v * 1000, Rounding.UP),
        "evse_peak_current_ripple": values.current(rating.current_ripple_a * 1000, Rounding.UP),
    }


def limits_event(vehicle: stages.Vehicle, context: RequestContext) -> Observe:
    """Return the event with both sides' limits."""
    charge_w, _ = context.config.power_rating(context.family)
    return Observe(
        "parameters",
        "limits",
        {
            "ev_charge_w": vehicle.max_charge_w,
            "ev_discharge_w": 0,
            "ev_max_voltage_mv": vehicle.max_voltage_mv,
            "evse_charge_w": charge_w,
            "evse_discharge_w": 0,
            "station_charge_w": context.station.charge_w,
            "station_discharge_w": 0,
        },
    )
