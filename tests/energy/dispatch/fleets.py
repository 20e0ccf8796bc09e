"""Small problems for tests, and the same problem stated for another solver."""

from collections.abc import Sequence

import clarabel
import numpy as np
from scipy.sparse import csc_matrix, eye_array

from v2g.energy.dispatch.plan import DispatchPlan, Method, VehiclePlan
from v2g.energy.dispatch.problem import DispatchProblem, FleetVehicle, Period
from v2g.units import HOUR_MS

START = 1_800_000_000_000


def hours(prices: Sequence[float], sell: Sequence[float] | None = None, **same: object) -> tuple[Period, ...]:
    """One period an hour, with prices per kWh; feeding in earns nothing unless said."""
    earned = [0.0] * len(prices) if sell is None else sell
    return tuple(
        Period(
            start_ms=START + n * HOUR_MS,
            end_ms=START + (n + 1) * HOUR_MS,
            import_price=round(buy * 1e6),
            export_compensation=round(get * 1e6),
            **same,  # type: ignore[arg-type]
        )
        for n, (buy, get) in enumerate(zip(prices, earned, strict=True))
    )


def at(hour: float) -> int:
    """The time so many hours after the start."""
    return START + round(hour * HOUR_MS)


def vehicle(name: str = "a", **changed: object) -> FleetVehicle:
    """A vehicle of 60 kWh and 10 kW without losses, that has what it wants."""
    given = {"id": name, "energy_wh": 30_000, "capacity_wh": 60_000, "target_wh": 30_000, "charge_w": 10_000} | changed
    return FleetVehicle(**given)  # type: ignore[arg-type]


def planned(problem: DispatchProblem, parts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> DispatchPlan:
    """A plan made by hand: power and energy of each vehicle."""
    powers = [power for power, _ in parts]
    grid = [period.base_w + sum(each[n] for each in powers) for n, period in enumerate(problem.periods)]
    return DispatchPlan(
        edges_ms=(*(period.start_ms for period in problem.periods), problem.end_ms),
        vehicles=tuple(
            VehiclePlan(id=each.id, power_w=power, energy_wh=energy)
            for each, (power, energy) in zip(problem.vehicles, parts, strict=True)
        ),
        grid_w=tuple(grid),
        curtailed_w=(0,) * len(grid),
        excess_w=(0,) * len(grid),
        method=Method.OPTIMAL,
    )


def cost(problem: DispatchProblem, plan: DispatchPlan) -> float:
    """What energy and wear of a plan cost, in units of the currency."""
    total = 0.0
    for period, power in zip(problem.periods, plan.grid_w, strict=True):
        price = period.import_price if power > 0 else period.export_compensation
        total += power / 1000 * period.hours * price / 1e6
    for each, part in zip(problem.vehicles, plan.vehicles, strict=True):
        for period, power in zip(problem.periods, part.power_w, strict=True):
            out_kwh = max(0, -power) / 1000 * period.hours / each.discharge_efficiency
            total += out_kwh * each.wear_micro_per_kwh / 1e6
    return total


def least_cost(
    problem: DispatchProblem, directions: Sequence[bool] | None = None, ready: Sequence[int] | None = None
) -> float:
    """The least cost of a fleet that can reach its targets, by Clarabel, an interior-point solver of other authors.

    `directions`: of each period, whether it may only charge and import, else only discharge and feed in. `ready`: the
    period from which each vehicle may discharge, and before which it has its reserve; all have it now unless said.
    Batteries are sums over all periods before, so that hardly a row is the planner's own.
    """
    count, fleet = len(problem.periods), problem.vehicles
    length = np.array([period.hours for period in problem.periods])
    size = 2 * count * (1 + len(fleet))  # import, feed-in, then charging and discharging of each vehicle, kW
    price = np.zeros(size)
    price[:count] = [period.import_price / 1e6 for period in problem.periods] * length
    price[count : 2 * count] = [-period.export_compensation / 1e6 for period in problem.periods] * length
    upper = np.zeros(size)
    upper[:count] = [period.import_limit_w / 1000 for period in problem.periods]
    upper[count : 2 * count] = [period.export_limit_w / 1000 for period in problem.periods]
    balance = np.zeros((count, size))
    balance[:, :count], balance[:, count : 2 * count] = np.eye(count), -np.eye(count)
    rows, right = [], []
    for number, each in enumerate(fleet, 1):
        into = slice(2 * count * number, 2 * count * number + count)
        out = slice(into.stop, into.stop + count)
        balance[:, into], balance[:, out] = -np.eye(count), np.eye(count)
        present = np.array([period.presence(each) for period in problem.periods])
        upper[into] = each.charge_w / 1000 * present
        upper[out] = each.discharge_w / 1000 * present * [period.discharge for period in problem.periods]
        upper[out][: 0 if ready is None else ready[number - 1]] = 0.0
        price[out] = each.wear_micro_per_kwh / 1e6 / each.discharge_efficiency * length
        for last in range(count):
            level = np.zeros(size)
            level[into.start : into.start + last + 1] = each.charge_efficiency * length[: last + 1]
            level[out.start : out.start + last + 1] = -length[: last + 1] / each.discharge_efficiency
            reserve_wh = 0 if ready is not None and last < ready[number - 1] - 1 else each.reserve_wh
            reserve_wh = 0 if ready is not None and ready[number - 1] == count else reserve_wh
            least = max(each.target_wh, reserve_wh) if last == count - 1 else reserve_wh
            rows += [level, -level]
            right += [(each.capacity_wh - each.energy_wh) / 1000, (each.energy_wh - least) / 1000]
    for period, charging in enumerate(directions or ()):
        for number in range(1 + len(fleet)):
            upper[2 * count * number + (count if charging else 0) + period] = 0.0
    inequalities = np.vstack([*rows]) if rows else np.zeros((0, size))
    base = np.array([period.base_w / 1000 for period in problem.periods])
    identity = eye_array(size).toarray()
    matrix = csc_matrix(np.vstack([balance, inequalities, identity, -identity]))
    bound = np.concatenate([base, right, upper, np.zeros(size)])
    cones = [clarabel.ZeroConeT(count), clarabel.NonnegativeConeT(len(bound) - count)]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    found = clarabel.DefaultSolver(csc_matrix((size, size)), price, matrix, bound, cones, settings).solve()
    return float(found.obj_val) if str(found.status) == "Solved" else float("inf")
