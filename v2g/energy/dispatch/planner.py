"""Makes a plan: solves the problem, rounds powers to watts without exceeding a limit, and names what stays short."""

import math
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from v2g.energy.curves import share_at
from v2g.energy.dispatch.plan import DispatchPlan, Method, Reason, VehiclePlan
from v2g.energy.dispatch.problem import DispatchProblem, FleetVehicle
from v2g.energy.dispatch.split import level
from v2g.extras import extras_named

_SLACK_WH: Final = 10
"""Rounding to watts may leave this much of a target."""
_NOISE_W: Final = 1e-4


def make_plan(problem: DispatchProblem, *, limit_s: float = 60.0) -> DispatchPlan:
    """Return the plan of least cost: limits first, then targets, then money.

    Costs count energy bought and sold at the grid connection, wear, and heat. If the solver fails, or takes longer than
    `limit_s`, the plan charges at once (`method`). Raises ConfigError, with the extra to install, without SciPy.
    """
    with extras_named():
        from v2g.energy.dispatch import lp  # takes a second: rather before the first vehicle arrives
    if not problem.vehicles:
        return charge_at_once(problem)
    found = lp.solve(problem, limit_s)
    if found is None:
        return charge_at_once(problem)
    powers = _whole(problem, found.power_w.tolist())
    method = Method.BOUNDED if found.gap_micro > len(problem.periods) else Method.OPTIMAL
    return _plan(problem, powers, method, found.gap_micro)


def check_solver() -> None:
    """Raise ConfigError, with the extra to install, if plans of least cost cannot be made here."""
    with extras_named():
        if find_spec("scipy") is None:
            raise ModuleNotFoundError(name="scipy")


def charge_at_once(problem: DispatchProblem) -> DispatchPlan:
    """Return the plan without foresight: each vehicle charges to its target as soon as the site's limit allows.

    The measure of what a plan earns, and the fall-back. No vehicle discharges.
    """
    left = [max(0, each.target_wh - each.energy_wh) / each.charge_efficiency for each in problem.vehicles]
    powers: list[list[int]] = [[] for _ in problem.vehicles]
    for period in problem.periods:
        share = share_at(problem.climate.charge, period.temperature_c)
        able = {}
        for number, each in enumerate(problem.vehicles):
            hours = period.presence(each) * period.hours
            able[number] = min(int(each.charge_w * share), math.ceil(left[number] / hours)) if hours else 0
        given = level(max(0, period.import_limit_w - period.base_w), able.items())
        for number, each in enumerate(problem.vehicles):
            powers[number].append(given[number])
            left[number] = max(0.0, left[number] - given[number] * period.presence(each) * period.hours)
    return _plan(problem, powers, Method.AT_ONCE, 0)


def _whole(problem: DispatchProblem, powers: Sequence[Sequence[float]]) -> list[list[int]]:
    """Return powers as whole watts whose sum in each period is at most the exact one, and less than 1 W below it.

    A vehicle gets the next watt above or below; who lost most by rounding so far gets it first.
    """
    lost = [0.0] * len(powers)
    whole = [[0] * len(problem.periods) for _ in powers]
    for index, period in enumerate(problem.periods):
        hours = period.hours
        exact = {number: row[index] for number, row in enumerate(powers) if abs(row[index]) > _NOISE_W}
        below = {number: math.floor(each + _NOISE_W) for number, each in exact.items()}
        spare = int(sum(exact.values()) - sum(below.values()) + _NOISE_W)
        broken = [number for number, each in exact.items() if each - below[number] > _NOISE_W]
        broken.sort(key=lambda number: below[number] - exact[number] - lost[number] / hours)
        for number in broken[: max(0, spare)]:
            below[number] += 1
        for number, each in exact.items():
            lost[number] += (each - below[number]) * hours
            whole[number][index] = below[number]
    return whole


def _plan(problem: DispatchProblem, powers: list[list[int]], method: Method, gap_micro: int) -> DispatchPlan:
    vehicles = []
    for each, row in zip(problem.vehicles, powers, strict=True):
        energy, levels = float(each.energy_wh), []
        for period, power in zip(problem.periods, row, strict=True):
            if power:
                flow = power * period.presence(each) * period.hours
                energy += flow * each.charge_efficiency if flow > 0 else flow / each.discharge_efficiency
            levels.append(round(energy))
        short = math.floor(problem.target_wh(each) - energy)
        short = 0 if short <= _SLACK_WH or _absent(problem, each) else short
        vehicles.append(
            VehiclePlan(
                id=each.id,
                power_w=tuple(row),
                energy_wh=tuple(levels),
                shortfall_wh=short,
                reason=_reason(problem, each, row, short),
            )
        )
    grid, curtailed, excess = [], [], []
    for index, period in enumerate(problem.periods):
        drawn_w = sum(each.power_w[index] for each in vehicles)
        total = period.base_w + drawn_w
        fed_in_w = period.export_limit_w if period.export_compensation >= 0 else 0
        cut = max(0, min(period.pv_w, -fed_in_w - total))
        grid.append(total + cut)
        curtailed.append(cut)
        excess.append(max(0, total - period.import_limit_w))
    return DispatchPlan(
        edges_ms=(*(period.start_ms for period in problem.periods), problem.end_ms),
        vehicles=tuple(vehicles),
        grid_w=tuple(grid),
        curtailed_w=tuple(curtailed),
        excess_w=tuple(excess),
        method=method,
        gap_micro=gap_micro,
    )


def _absent(problem: DispatchProblem, vehicle: FleetVehicle) -> bool:
    return not any(period.presence(vehicle) for period in problem.periods)


def _reason(problem: DispatchProblem, vehicle: FleetVehicle, powers: Sequence[int], short_wh: int) -> Reason:
    """Return why a vehicle gets nothing or too little."""
    if any(powers) and not short_wh:
        return Reason.NONE
    if _absent(problem, vehicle):
        return Reason.ABSENT
    if not short_wh:
        return Reason.AT_TARGET
    if not vehicle.charge_w:
        return Reason.NO_POWER
    full = [vehicle.charge_w * period.presence(vehicle) * period.hours for period in problem.periods]
    derating = [share_at(problem.climate.charge, period.temperature_c) for period in problem.periods]
    wanted = (problem.target_wh(vehicle) - vehicle.energy_wh - _SLACK_WH) / vehicle.charge_efficiency
    if sum(full) < wanted:
        return Reason.DEPARTS_TOO_SOON
    if sum(most * share for most, share in zip(full, derating, strict=True)) < wanted:
        return Reason.TEMPERATURE
    return Reason.SITE_LIMIT
