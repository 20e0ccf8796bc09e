"""What a fleet can do for the grid beside its plan: ranges, bids, the split of a call, and how much was delivered.

*Up* is less import or more export than planned, *down* the opposite, both as magnitudes in W (upward and downward
regulation, as balancing markets name them).
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from v2g.energy.curves import share_at
from v2g.energy.dispatch.plan import DispatchPlan, VehiclePlan
from v2g.energy.dispatch.problem import DispatchProblem, FleetVehicle, Period
from v2g.energy.dispatch.split import Participant, split
from v2g.units import HOUR_MS, QUARTER_MS

Headroom = Annotated[float, Meta(ge=0.0, lt=1.0)]


class VehicleRange(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle's planned power (W, signed), and by how much it can go up and down from there."""

    id: str
    planned_w: int
    up_w: int = 0
    down_w: int = 0


class FleetRange(msgspec.Struct, frozen=True, kw_only=True):
    """What the fleet can do in a period, W: within the site's limits, less the headroom kept for departures and
    refusals."""

    start_ms: int
    end_ms: int
    planned_w: int
    up_w: int
    down_w: int
    vehicles: tuple[VehicleRange, ...]


class Bid(msgspec.Struct, frozen=True, kw_only=True):
    """An offer for a period: whole blocks of power, and the price of a kWh at which a call neither gains nor loses.

    Up: the least that the fleet must get. Down: the most that it would pay for the energy.
    """

    start_ms: int
    end_ms: int
    direction: Literal["up", "down"]
    power_w: int
    break_even_micro_per_kwh: int


def capabilities(problem: DispatchProblem, plan: DispatchPlan, *, headroom: Headroom = 0.1) -> tuple[FleetRange, ...]:
    """Return the fleet's range in each period of a plan; the first one is that of now.

    A vehicle counts if it is connected for the whole period, with what it can sustain for all of it: between reserve
    and capacity, and so that it still reaches at full power the energy that the plan gives it at departure.
    """
    return tuple(_range(problem, plan, index, headroom) for index in range(len(problem.periods)))


def bids(
    problem: DispatchProblem, ranges: Sequence[FleetRange], *, block_w: int = 1000, least_w: int = 0
) -> tuple[Bid, ...]:
    """Return a bid for each period and direction with at least `least_w`, in whole blocks of `block_w`.

    Break-even of up: the dearest energy still ahead replaces what is given, with losses, and wear. Of down: the
    cheapest energy still ahead is saved.
    """
    losses = min((each.charge_efficiency * each.discharge_efficiency for each in problem.vehicles), default=1.0)
    wear = max((each.wear_micro_per_kwh / each.discharge_efficiency for each in problem.vehicles), default=0.0)
    found = []
    for index, each in enumerate(ranges):
        ahead = [period.import_price for period in problem.periods[index:]]
        prices = {"up": round(max(ahead) / losses + wear), "down": min(ahead)}
        for direction, power_w in (("up", each.up_w), ("down", each.down_w)):
            blocks_w = power_w // block_w * block_w
            if blocks_w and blocks_w >= least_w:
                found.append(
                    Bid(
                        start_ms=each.start_ms,
                        end_ms=each.end_ms,
                        direction="up" if direction == "up" else "down",
                        power_w=blocks_w,
                        break_even_micro_per_kwh=prices[direction],
                    )
                )
    return tuple(found)


def activate(
    up_w: int, vehicles: Iterable[VehicleRange], *, refused: Collection[str] = (), gone: Collection[str] = ()
) -> dict[str, int]:
    """Split a call (W, up positive, down negative) over vehicles; return each one's set-point, signed as everywhere.

    Those that `refused` stay with the plan, those `gone` draw nothing: call it again with them, and the others take
    over, so that the fleet's sum is what is planned less the call. What exceeds the ranges is not delivered.
    """
    every = list(vehicles)
    able = [each for each in every if each.id not in refused and each.id not in gone]
    shift_w = sum(each.planned_w for each in every if each.id in gone) - up_w
    parts = split(shift_w, [Participant(id=each.id, most_w=each.down_w, most_out_w=each.up_w) for each in able])
    return {each.id: each.planned_w + parts[each.id] for each in able}


def _range(problem: DispatchProblem, plan: DispatchPlan, index: int, headroom: float) -> FleetRange:
    period = problem.periods[index]
    lasting = msgspec.structs.replace(period, end_ms=max(period.end_ms, period.start_ms + QUARTER_MS))
    vehicles = tuple(
        _vehicle_range(problem, each, part, index, lasting)
        for each, part in zip(problem.vehicles, plan.vehicles, strict=True)
        if lasting.presence(each) == 1.0
    )
    site_up = max(0, plan.grid_w[index] + period.export_limit_w)
    site_down = max(0, period.import_limit_w - plan.grid_w[index])
    return FleetRange(
        start_ms=period.start_ms,
        end_ms=period.end_ms,
        planned_w=sum(each.planned_w for each in vehicles),
        up_w=min(site_up, int(sum(each.up_w for each in vehicles) * (1 - headroom))),
        down_w=min(site_down, int(sum(each.down_w for each in vehicles) * (1 - headroom))),
        vehicles=vehicles,
    )


def _vehicle_range(
    problem: DispatchProblem, each: FleetVehicle, part: VehiclePlan, index: int, period: Period
) -> VehicleRange:
    """Return what a vehicle can do from the start of a period of the plan to the end of `period`."""
    planned_w = part.power_w[index]
    energy_wh = part.energy_wh[index - 1] if index else each.energy_wh
    most_w = min(
        each.charge_w * share_at(problem.climate.charge, period.temperature_c),
        (each.capacity_wh - energy_wh) / each.charge_efficiency / period.hours,
    )
    least_wh = max(min(energy_wh, each.reserve_wh), _needed_wh(problem, each, part, period))
    flow_wh = least_wh - energy_wh
    least_w = (flow_wh / each.charge_efficiency if flow_wh > 0 else flow_wh * each.discharge_efficiency) / period.hours
    can_discharge = period.discharge and energy_wh >= each.reserve_wh
    lowest_w = each.discharge_w * share_at(problem.climate.discharge, period.temperature_c) if can_discharge else 0.0
    least_w = max(least_w, -lowest_w)
    return VehicleRange(
        id=each.id, planned_w=planned_w, up_w=max(0, int(planned_w - least_w)), down_w=max(0, int(most_w - planned_w))
    )


def _needed_wh(problem: DispatchProblem, each: FleetVehicle, part: VehiclePlan, period: Period) -> float:
    """Return the energy that a vehicle needs at the end of a period to reach what is planned at its departure."""
    end_ms = problem.end_ms if each.departure_ms is None else min(problem.end_ms, each.departure_ms)
    goal_wh = min(part.energy_wh[-1], problem.target_wh(each))
    return goal_wh - each.charge_w * each.charge_efficiency * max(0, end_ms - period.end_ms) / HOUR_MS
