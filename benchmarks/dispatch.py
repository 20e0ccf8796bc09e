"""How long a plan for a fleet takes, beside another solver on the same linear programme."""

import random
import time
from collections.abc import Iterator

import clarabel
import msgspec
import numpy as np
from scipy.sparse import csc_array, eye_array, vstack

from benchmarks.figures import Figure
from v2g.energy.dispatch.lp import Fleet, Linear, Reserve
from v2g.energy.dispatch.plan import Method
from v2g.energy.dispatch.planner import make_plan
from v2g.energy.dispatch.problem import DispatchProblem, FleetVehicle, Period
from v2g.units import QUARTER_MS

ABOUT = "plans for fleets: vehicles that come and go, and charge and discharge by prices over 96 quarter hours"
REQUIREMENTS = ("R50",)

PEER = "Clarabel"
SIZES = ((100, 0.5), (500, 6.0), (1000, 2.0))
REPLAN_TARGET_S = 2.0
AGREE = 1e-5
"""Share by which the costs of both solvers may differ."""


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield the time of a first plan for each size, and the slowest of new plans after changes."""
    make_plan(problem(1, 4))  # imports SciPy
    for count, target in ((10, 0.5),) if quick else SIZES:
        given = problem(count)
        begin = time.perf_counter()
        plan = make_plan(given)
        took = time.perf_counter() - begin
        reserves = [Reserve(0, min(each.energy_wh, each.reserve_wh)) for each in given.vehicles]
        peer_s, note = _peer(Fleet(given, reserves).linear)
        yield Figure(
            f"plan for {count} vehicles",
            took,
            "s",
            target=target,
            peer=PEER,
            peer_value=peer_s,
            note=f"{plan.method.value}; ours: build, solve, round; the peer's: solve; {note}",
        )
    given = problem(10 if quick else 100)
    spans = []
    for number, each in enumerate(given.vehicles[: 2 if quick else 10]):
        changed = msgspec.structs.replace(each, target_wh=each.capacity_wh, energy_wh=each.reserve_wh)
        others = [other for n, other in enumerate(given.vehicles) if n not in (number, number + 20)]  # and one leaves
        begin = time.perf_counter()
        plan = make_plan(msgspec.structs.replace(given, vehicles=(*others, changed)))
        spans.append(time.perf_counter() - begin)
        assert plan.method is Method.OPTIMAL
    yield Figure(
        f"new plan after a change, {len(given.vehicles)} vehicles, slowest of {len(spans)}",
        max(spans),
        "s",
        target=REPLAN_TARGET_S,
        note="one vehicle changes its needs, one leaves; no peer: the same programme as above",
    )


def problem(count: int, periods: int = 96) -> DispatchProblem:
    """Return a made-up day of a site whose limit binds: all vehicles bidirectional, connected for 4 to 15 hours."""
    numbers = random.Random(count)
    slots = []
    for n in range(periods):
        buy = 250_000 + 100_000 * (n // 24 % 2) + numbers.randrange(40_000)
        slots.append(
            Period(
                start_ms=n * QUARTER_MS,
                end_ms=(n + 1) * QUARTER_MS,
                import_price=buy,
                export_compensation=buy - 50_000,
                import_limit_w=count * 5_000,
                export_limit_w=count * 5_000,
                load_w=count * 1_000,
                pv_w=count * 1_500 if 36 <= n < 60 else 0,
            )
        )
    fleet = []
    for n in range(count):
        capacity, arrival = numbers.choice((40_000, 60_000, 80_000)), numbers.randrange(periods // 2)
        fleet.append(
            FleetVehicle(
                id=str(n),
                energy_wh=capacity * numbers.randrange(10, 60) // 100,
                capacity_wh=capacity,
                target_wh=capacity * numbers.randrange(60, 100) // 100,
                reserve_wh=capacity // 10,
                charge_w=11_000,
                discharge_w=11_000,
                charge_efficiency=0.95,
                discharge_efficiency=0.95,
                wear_micro_per_kwh=20_000,
                arrival_ms=arrival * QUARTER_MS,
                departure_ms=(arrival + numbers.randrange(16, 60)) * QUARTER_MS,
            )
        )
    return DispatchProblem(periods=tuple(slots), vehicles=tuple(fleet))


def _peer(linear: Linear) -> tuple[float | None, str]:
    """Return the time that the peer takes for a programme (s), and whether it finds the same cost."""
    size = len(linear.cost)
    limited = np.isfinite(linear.upper)
    identity = eye_array(size).tocsr()
    rows = csc_array(vstack([linear.matrix, identity[limited], -identity]))
    right = np.concatenate([linear.right, linear.upper[limited], -linear.lower])
    cones = [clarabel.ZeroConeT(len(linear.right)), clarabel.NonnegativeConeT(len(right) - len(linear.right))]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    begin = time.perf_counter()
    found = clarabel.DefaultSolver(csc_array((size, size)), linear.cost, rows, right, cones, settings).solve()
    took = time.perf_counter() - begin
    values = linear.solved()
    if values is None or str(found.status) != "Solved":
        return None, f"the peer ended with {found.status}"
    differs = abs(found.obj_val - float(linear.cost @ values)) / max(1.0, abs(found.obj_val))
    return took, "the same cost" if differs < AGREE else f"costs differ by {differs:.1e}"
