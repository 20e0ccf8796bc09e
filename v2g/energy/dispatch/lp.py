"""The linear programme of a plan, solved by HiGHS. Import it only where a plan is made: it needs the extra `planning`.

Variables are kWh of a period, at least 0: import, export, curtailed generation, excess of the site's own load; for each
vehicle and period charging and discharging; what a target lacks and what is left above it. A vehicle that may
discharge has its battery's energy after each period as variables, too; one that only charges needs a single row.

Charging and discharging at once, and importing and exporting at once, would only pay where energy has a negative value
or export earns more than import costs. A solution that does it is replaced by one with restricted directions, or by a
better one that whole-number variables find in time.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import coo_array, hstack

from v2g.energy.curves import share_at
from v2g.energy.dispatch.problem import DispatchProblem, FleetVehicle

LEAST_PRESENCE: Final = 0.1
"""Share of a period below which a vehicle counts as absent."""

_TILT: Final = 0.9
"""Micro-units per kWh by which the last period is worse for charging: of equal prices, the earlier one is used."""
_IDLE: Final = 1.0
"""Micro-units per kWh that discharging costs at least: without a gain, energy stays where it is."""
_EARNEST: Final = 1e-5
"""kWh of both directions at once that are more than a rounding error."""
_REACHED_WH: Final = 0.01
"""By how much a solution may miss a reserve that counts as reached."""
_SHARED: Final = np.arange(4) / 100
"""By how much each further quarter of what a target lacks costs more: vehicles of one priority share a shortage."""
_SEARCHED_MOST: Final = 40_000
"""Number of variables up to which whole-number variables are tried: a larger problem takes seconds without them."""
_SEARCHES: Final = 3
_SEARCH_S: Final = 0.4
"""Number of searches with whole-number variables, and the time limit of each."""

Array = Any


class Solution(msgspec.Struct, frozen=True):
    """Power of each vehicle and period (W, arrays), and of the site; `gap_micro`: at most that far from the optimum.

    `cost`: in thousandths of a currency unit, with all that is no money.
    """

    power_w: Array
    curtailed_w: Array
    cost: float
    gap_micro: int


class _Program:
    """Columns and rows in the making."""

    def __init__(self) -> None:
        self.cost: list[Array] = []
        self.lower: list[Array] = []
        self.upper: list[Array] = []
        self.columns = 0
        self.entries: list[tuple[Array, Array, Array]] = []
        self.right: list[float] = []

    def add(self, cost: Array, upper: Array, lower: Array = 0.0) -> Array:
        """Add variables and return their numbers."""
        count = np.broadcast(cost, upper, lower).size
        for each, value in ((self.cost, cost), (self.upper, upper), (self.lower, lower)):
            each.append(np.full(count, value))
        self.columns += count
        return np.arange(self.columns - count, self.columns)

    def rows(self, right: Array) -> Array:
        """Add equations with these right sides and return their numbers."""
        start = len(self.right)
        self.right += np.atleast_1d(right).tolist()
        return np.arange(start, len(self.right))

    def put(self, rows: Array, columns: Array, values: Array) -> None:
        """Put coefficients into as many rows as columns."""
        self.entries.append((rows, columns, np.full(len(rows), values)))

    def linear(self) -> "Linear":
        """Return the finished programme; costs in thousandths of a currency unit."""
        rows, columns, values = (np.concatenate(each) for each in zip(*self.entries, strict=True))
        matrix = coo_array((values, (rows, columns)), shape=(len(self.right), self.columns)).tocsc()
        cost, lower, upper = (np.concatenate(each) for each in (self.cost, self.lower, self.upper))
        return Linear(cost / 1000, lower, upper, matrix, np.array(self.right))


class Linear(msgspec.Struct, frozen=True):
    """Least cost of `matrix` @ values = `right` within bounds."""

    cost: Array
    lower: Array
    upper: Array
    matrix: Array
    right: Array

    def solved(self, limit_s: float = math.inf) -> Array | None:
        """Return the optimum, None if there is none or the solver takes longer than a time."""
        found = linprog(
            self.cost,
            A_eq=self.matrix,
            b_eq=self.right,
            bounds=np.column_stack([self.lower, self.upper]),
            method="highs-ds",  # dual simplex: five times as fast here as the interior-point method
            options={
                "presolve": False,
                "time_limit": limit_s,
            },  # presolve removes little, and takes longer than it saves
        )
        return found.x if found.status == 0 else None

    def solved_one_way(self, first: Array, second: Array) -> tuple[Array | None, float]:
        """Return the best solution found where of each pair of variables only one is above 0, and a lower bound of
        cost."""
        pairs, columns = len(first), len(self.cost)
        number = np.arange(pairs)
        most_first, most_second = self.upper[first], self.upper[second]
        switch = coo_array(  # first <= most * choice; second <= most * (1 - choice)
            (
                np.concatenate([np.ones(pairs), -most_first, np.ones(pairs), most_second]),
                (
                    np.concatenate([number, number, number + pairs, number + pairs]),
                    np.concatenate([first, columns + number, second, columns + number]),
                ),
            ),
            shape=(2 * pairs, columns + pairs),
        ).tocsc()
        wider = hstack([self.matrix, coo_array((len(self.right), pairs))]).tocsc()
        found = milp(
            np.concatenate([self.cost, np.zeros(pairs)]),
            integrality=np.concatenate([np.zeros(columns), np.ones(pairs)]),
            bounds=Bounds(np.concatenate([self.lower, np.zeros(pairs)]), np.concatenate([self.upper, np.ones(pairs)])),
            constraints=[
                LinearConstraint(wider, self.right, self.right),
                LinearConstraint(switch, -np.inf, np.concatenate([np.zeros(pairs), most_second])),
            ],
            options={"time_limit": _SEARCH_S, "mip_rel_gap": 1e-6},
        )
        bound = -np.inf if found.mip_dual_bound is None else float(found.mip_dual_bound)
        return (None, bound) if found.x is None else (found.x[:columns], bound)


class Reserve(msgspec.Struct, frozen=True):
    """From which period on a vehicle may discharge, and keeps so much energy (Wh) from the end of the one before."""

    from_period: int
    least_wh: int


class Fleet:
    """The programme of a problem (`linear`), and which of its columns mean what; `reserves` are its vehicles'."""

    def __init__(self, problem: DispatchProblem, reserves: Sequence[Reserve]) -> None:
        self.problem = problem
        periods = problem.periods
        self.hours = np.array([period.hours for period in periods])
        self.starts = np.array([period.start_ms for period in periods], dtype=float)
        self.ends = np.array([period.end_ms for period in periods], dtype=float)
        self.program = _Program()
        climate, count = problem.climate, len(periods)
        temperatures = [period.temperature_c for period in periods]
        self.charge_share = np.array([share_at(climate.charge, each) for each in temperatures])
        self.discharge_share = np.array([share_at(climate.discharge, each) for each in temperatures])
        hot = np.array([0.0 if each is None else max(0.0, each - climate.cool_c) for each in temperatures])
        self.allowed = np.array([period.discharge for period in periods])
        tilt = _TILT * np.arange(count) / count
        self.charge_cost = hot * climate.heat_micro_per_kwh_k + tilt
        self.discharge_cost = _IDLE - tilt
        self.buy = np.array([float(period.import_price) for period in periods])
        self.sell = np.array([float(period.export_compensation) for period in periods])
        wear = max((each.wear_micro_per_kwh for each in problem.vehicles), default=0)
        self.lack = 10_000.0 + 10 * (
            max(np.abs(self.buy).max(), np.abs(self.sell).max()) + wear + self.charge_cost.max()
        )
        """Micro-units per kWh that a target lacks: more than any price, so that prices never leave a vehicle short."""
        self._site()
        self.parts = [self._vehicle(*each) for each in zip(problem.vehicles, reserves, strict=True)]
        self.linear = self.program.linear()

    def _site(self) -> None:
        program, hours, periods = self.program, self.hours, self.problem.periods
        base, limit, export, pv = (
            np.array([float(getattr(each, name)) for each in periods]) / 1000 * hours
            for name in ("base_w", "import_limit_w", "export_limit_w", "pv_w")
        )
        vehicles = self.problem.vehicles
        most_in = sum(each.charge_w for each in vehicles) / 1000 * hours
        most_out = sum(each.discharge_w for each in vehicles) / 1000 * hours
        self.buying = program.add(self.buy, np.minimum(limit, np.maximum(0.0, base + pv) + most_in))
        self.selling = program.add(-self.sell, np.minimum(export, pv + most_out))
        self.curtailed = program.add(0.0, pv)
        excess = program.add(self.buy + 10 * self.lack, np.maximum(0.0, base - limit))
        self.balance = program.rows(base)
        for columns, sign in ((self.buying, 1), (excess, 1), (self.selling, -1), (self.curtailed, -1)):
            program.put(self.balance, columns, float(sign))

    def _vehicle(self, each: FleetVehicle, reserve: Reserve) -> "_Part":
        program, hours = self.program, self.hours
        share = self._overlap(each.arrival_ms, each.departure_ms)
        present = np.flatnonzero(share >= LEAST_PRESENCE)
        power = each.charge_w / 1000 * self.charge_share * hours
        charging = program.add(self.charge_cost[present], (power * share)[present])
        program.put(self.balance[present], charging, -1 / share[present])
        giving = present[:0]
        if each.discharge_w:
            able = (share > 1 - 1e-9) & self.allowed & (self.discharge_share > 0)
            giving = np.flatnonzero(able & (np.arange(len(share)) >= reserve.from_period))
        discharging = program.add(
            self.discharge_cost[giving] + each.wear_micro_per_kwh / each.discharge_efficiency,
            (each.discharge_w / 1000 * self.discharge_share * hours)[giving],
        )
        program.put(self.balance[giving], discharging, 1.0)
        levels = present[:0]
        if len(present):
            levels = self._battery(each, reserve, present, charging, giving, discharging)
        return _Part(present, charging, giving, discharging, levels, share)

    def _battery(
        self, each: FleetVehicle, reserve: Reserve, present: Array, charging: Array, giving: Array, discharging: Array
    ) -> Array:
        """Return the columns of the energy after each period, none for a vehicle that only charges."""
        program, capacity = self.program, each.capacity_wh / 1000
        target = self.problem.target_wh(each) / 1000
        step = max(0.0, target - each.energy_wh / 1000) / len(_SHARED)
        lacking = program.add(
            self.lack * (1 + each.priority / 20 + _SHARED), np.append(np.full(len(_SHARED) - 1, step), np.inf)
        )
        left = program.add(0.0, capacity - target)
        levels = present[:0]
        if len(giving):
            least = np.where(present >= reserve.from_period - 1, reserve.least_wh / 1000, 0.0)
            levels = program.add(0.0, capacity, least)
            chain = program.rows(np.concatenate([[-each.energy_wh / 1000], np.zeros(len(present) - 1)]))
            program.put(chain, charging, each.charge_efficiency)
            program.put(chain[np.searchsorted(present, giving)], discharging, -1 / each.discharge_efficiency)
            program.put(chain, levels, -1.0)
            program.put(chain[1:], levels[:-1], 1.0)
            end = program.rows(target)
            program.put(end, levels[-1:], 1.0)
        else:
            end = program.rows(target - each.energy_wh / 1000)
            program.put(np.repeat(end, len(charging)), charging, each.charge_efficiency)
        program.put(np.repeat(end, len(lacking)), lacking, 1.0)
        program.put(end, left, -1.0)
        return levels

    def opposites(self) -> tuple[Array, Array]:
        """Return the pairs of columns of which only one may be above 0."""
        first, second = [self.buying], [self.selling]
        for part in self.parts:
            first.append(part.charging[np.searchsorted(part.present, part.giving)])
            second.append(part.discharging)
        return np.concatenate(first), np.concatenate(second)

    def restricted(self, tried: Array) -> Linear:
        """Return a programme without reason for both directions at once; its solutions are solutions of the other.

        Where prices are negative, and of the columns that `tried`, nothing is discharged; feeding in earns less than
        importing costs.
        """
        sunk = np.flatnonzero((self.buy < 0) | (self.sell < 0))
        upper, cost = self.linear.upper.copy(), self.linear.cost.copy()
        upper[np.setdiff1d(tried, self.selling)] = 0.0
        for part in self.parts:
            upper[part.discharging[np.isin(part.giving, sunk)]] = 0.0
        cost[self.selling] = np.maximum(cost[self.selling], _IDLE / 1000 - cost[self.buying])
        return msgspec.structs.replace(self.linear, cost=cost, upper=upper)

    def solution(self, values: Array, gap: float) -> Solution:
        """Return the powers that values of the columns mean."""
        count = len(self.hours)
        power = np.zeros((len(self.parts), count))
        for row, part in enumerate(self.parts):
            power[row, part.present] = values[part.charging] / part.share[part.present]
            power[row, part.giving] -= values[part.discharging]
        watts = 1000 / self.hours
        cost = float(self.linear.cost @ values)
        return Solution(power * watts, values[self.curtailed] * watts, cost, _gap_micro(gap))

    def reached(self, number: int, energy_wh: int, values: Array) -> int:
        """Return the first period before which a vehicle has so much energy; the number of periods: it never has."""
        part = self.parts[number]
        enough = np.flatnonzero(values[part.levels] * 1000 >= energy_wh - _REACHED_WH)
        return int(part.present[enough[0]]) + 1 if len(enough) else len(self.hours)

    def _overlap(self, from_ms: int | None, until_ms: int | None) -> Array:
        """Return the share of each period within two times."""
        begin = self.starts if from_ms is None else np.maximum(self.starts, from_ms)
        end = self.ends if until_ms is None else np.minimum(self.ends, until_ms)
        return np.clip(end - begin, 0.0, None) / (self.ends - self.starts)


class _Part(msgspec.Struct, frozen=True):
    """A vehicle's periods and columns."""

    present: Array
    charging: Array
    giving: Array
    discharging: Array
    levels: Array
    share: Array


def solve(problem: DispatchProblem, limit_s: float) -> Solution | None:
    """Return the best powers, None if the solver fails or takes too long: 0.2 s for 100 vehicles and 96 periods.

    A vehicle below its reserve may discharge once it has reached it. When that is follows from the programme in which
    it keeps only what it has; if that is no better, it is only charged.
    """
    low = [each.energy_wh < each.reserve_wh for each in problem.vehicles]
    held = [Reserve(0, min(each.energy_wh, each.reserve_wh)) for each in problem.vehicles]
    fleet = Fleet(problem, held)
    relaxed = fleet.linear.solved(limit_s)
    if relaxed is None or not any(low):
        return None if relaxed is None else _one_way(fleet, relaxed, limit_s)
    never = len(problem.periods)
    charged = [Reserve(never, 0) if each else reserve for each, reserve in zip(low, held, strict=True)]
    reached = [
        Reserve(fleet.reached(number, each.reserve_wh, relaxed), each.reserve_wh) if low[number] else held[number]
        for number, each in enumerate(problem.vehicles)
    ]
    least, found = float(fleet.linear.cost @ relaxed), []
    for reserves in (charged, reached):
        fleet = Fleet(problem, reserves)
        values = fleet.linear.solved(limit_s)
        if values is not None and (solution := _one_way(fleet, values, limit_s)) is not None:
            found.append(solution)
    best = min(found, key=lambda each: each.cost, default=None)
    return None if best is None else msgspec.structs.replace(best, gap_micro=_gap_micro(best.cost - least))


def _one_way(fleet: Fleet, relaxed: Array, limit_s: float) -> Solution | None:
    """Return the optimum of a programme, or the best one found in which no direction is used at once with the other."""
    linear = fleet.linear
    first, second = fleet.opposites()
    both = _both(relaxed, first, second)
    if not both.any():
        return fleet.solution(relaxed, 0.0)
    bound, found = float(linear.cost @ relaxed), []
    safe = fleet.restricted(second[both]).solved(limit_s)
    if safe is not None and not _both(safe, first, second).any():
        found.append(safe)
    for _ in range(_SEARCHES if len(linear.cost) <= _SEARCHED_MOST else 0):
        searched, lower = linear.solved_one_way(first[both], second[both])
        bound = max(bound, lower)
        if searched is None:
            break
        again = _both(searched, first, second)
        if not again.any():
            found.append(searched)
            break
        both |= again
    if not found:
        return None
    best = min(found, key=lambda each: float(linear.cost @ each))
    return fleet.solution(best, float(linear.cost @ best) - bound)


def _gap_micro(gap: float) -> int:
    return max(0, round(gap * 1000))


def _both(values: Array, first: Array, second: Array) -> Array:
    return np.minimum(values[first], values[second]) > _EARNEST
