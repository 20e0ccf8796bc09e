"""Explains a plan to people: in sentences, and as a picture."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Final

from v2g.energy.dispatch.earnings import Earnings
from v2g.energy.dispatch.plan import REASONS, DispatchPlan, Method, Reason
from v2g.energy.dispatch.problem import DispatchProblem
from v2g.svg_chart import Row, Series, stairs_chart
from v2g.units import MICRO

_METHODS: Final = {
    Method.OPTIMAL: "The plan is the cheapest one within the limits that meets the targets as far as possible.",
    Method.BOUNDED: "The plan keeps all limits and costs at most {gap:.2f} more than the cheapest one.",
    Method.AT_ONCE: "Vehicles charge as soon as the site allows: nothing to optimise, or no solution found.",
}
_MOST_NAMED: Final = 5
"""How many vehicles a sentence names."""


def explain(problem: DispatchProblem, plan: DispatchPlan, earned: Earnings, *, zone: tzinfo = UTC) -> tuple[str, ...]:
    """Return what a plan does and why, in sentences; money in units of the currency of the prices."""
    return tuple(_sentences(problem, plan, earned, lambda ms: f"{datetime.fromtimestamp(ms / 1000, zone):%H:%M}"))


def _sentences(
    problem: DispatchProblem, plan: DispatchPlan, earned: Earnings, clock: Callable[[int], str]
) -> Iterator[str]:
    yield _METHODS[plan.method].format(gap=plan.gap_micro / MICRO)
    taken = [sum(max(0, each.power_w[n]) for each in plan.vehicles) for n in range(len(problem.periods))]
    given = [sum(max(0, -each.power_w[n]) for each in plan.vehicles) for n in range(len(problem.periods))]
    for powers, word, price, verb in (
        (taken, "charge", "import_price", "importing costs"),
        (given, "discharge", "export_compensation", "feeding in earns"),
    ):
        # where values are above 0, as (first, after the last)
        spans: list[tuple[int, int]] = []
        for number, value in enumerate(powers):
            if value <= 0:
                continue
            if spans and spans[-1][1] == number:
                spans[-1] = spans[-1][0], number + 1
            else:
                spans.append((number, number + 1))
        if not spans:
            yield f"No vehicle is to {word}."
            continue
        when = ", ".join(f"{clock(plan.edges_ms[begin])} to {clock(plan.edges_ms[end])}" for begin, end in spans[:4])
        more = f" and {len(spans) - 4} more times" if len(spans) > 4 else ""
        chosen = [getattr(problem.periods[n], price) for begin, end in spans for n in range(begin, end)]
        every = [getattr(period, price) for period in problem.periods]
        yield (
            f"Vehicles {word} from {when}{more}, while {verb} {min(chosen) / MICRO:.4f} to {max(chosen) / MICRO:.4f} "
            f"per kWh (in all: {min(every) / MICRO:.4f} to {max(every) / MICRO:.4f})."
        )
    own = sum(
        min(power, max(0, -period.base_w)) * period.hours for power, period in zip(taken, problem.periods, strict=True)
    )
    if own:
        yield f"{own / 1000:.1f} kWh of what vehicles take are the site's own generation."
    at_limit = [n for n, period in enumerate(problem.periods) if plan.grid_w[n] >= period.import_limit_w - 1]
    if at_limit:
        first, last = clock(plan.edges_ms[at_limit[0]]), clock(plan.edges_ms[at_limit[-1] + 1])
        yield f"The import limit is reached in {len(at_limit)} periods between {first} and {last}."
    if any(plan.excess_w):
        yield f"The site's own load exceeds its import limit by up to {max(plan.excess_w) / 1000:.1f} kW."
    if any(plan.curtailed_w):
        cut = sum(cut * period.hours for cut, period in zip(plan.curtailed_w, problem.periods, strict=True)) / 1000
        yield f"{cut:.1f} kWh of generation are curtailed."
    by_reason: dict[Reason, list[str]] = {}
    for each in plan.vehicles:
        by_reason.setdefault(each.reason, []).append(each.id)
    short = Counter({each.reason: 0 for each in plan.vehicles})
    for each in plan.vehicles:
        short[each.reason] += each.shortfall_wh
    for reason, names in by_reason.items():
        if reason is not Reason.NONE:
            lacking = f" ({short[reason] / 1000:.1f} kWh short in total)" if short[reason] else ""
            yield f"{_names(names)}: {REASONS[reason]}{lacking}."
    yield (
        f"Energy costs {earned.bought_micro / MICRO:.2f} and earns {earned.sold_micro / MICRO:.2f}, wear costs "
        f"{earned.wear_micro / MICRO:.2f}; charging at once would cost {earned.at_once_micro / MICRO:.2f}. "
        f"Net gain: {earned.net_micro / MICRO:.2f}, {earned.net_micro_per_day / MICRO:.2f} a day."
    )


def _names(names: Sequence[str]) -> str:
    named = ", ".join(names[:_MOST_NAMED])
    return f"{named} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else named


def chart(problem: DispatchProblem, plan: DispatchPlan, *, zone: tzinfo = UTC) -> str:
    """Return a plan as an SVG picture: prices, power of vehicles and grid with its limits, energy in all batteries."""
    count = len(problem.periods)
    fleet = [sum(each.power_w[n] for each in plan.vehicles) / 1000 for n in range(count)]
    limits = [period.import_limit_w / 1000 for period in problem.periods]
    grid = [power / 1000 for power in plan.grid_w]
    top = max([*fleet, *grid, 1.0]) * 1.5
    shown = [limit if limit <= top else None for limit in limits]
    begin_wh = sum(each.energy_wh for each in problem.vehicles)
    energy = [begin_wh / 1000, *(sum(each.energy_wh[n] for each in plan.vehicles) / 1000 for n in range(count))]
    buy = [period.import_price / MICRO for period in problem.periods]
    sell = [period.export_compensation / MICRO for period in problem.periods]
    rows = (
        Row("price per kWh", (Series("blue", "import", buy), Series("green", "feed-in", sell))),
        Row(
            "power, kW",
            (Series("orange", "vehicles", fleet), Series("blue", "grid", grid), Series("red", "import limit", shown)),
        ),
        Row("in batteries, kWh", (Series("green", "energy", energy),)),
    )
    return stairs_chart("charging plan", plan.edges_ms, rows, zone=zone)
