"""What a plan earns: energy bought and sold, wear, and the difference to charging at once."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.energy.dispatch.plan import DispatchPlan
from v2g.energy.dispatch.planner import charge_at_once
from v2g.energy.dispatch.problem import DispatchProblem
from v2g.units import DAY_MS, HOUR_MS

_W_MS_PER_KWH: Final = 1000 * HOUR_MS

Percent = Annotated[float, Meta(ge=0.0, le=100.0)]


def wear_micro_per_kwh(
    battery_micro_per_kwh: int, *, loss_percent: Percent = 0.4, worthless_at_percent: Percent = 80.0
) -> int:
    """Return the cost of a kWh taken out of a battery, from the price of a kWh of its capacity.

    `loss_percent`: of the capacity in 100 full cycles, usually 0.3 to 0.5. `worthless_at_percent`: remaining capacity
    at which the battery has no value left; 0 counts the lost capacity alone. A cycle takes the capacity out once, so
    cost = price * (loss / 100 cycles) / (1 - worthless). At 100 a kWh, 0.4 % and 80 %: 0.02 a kWh.
    """
    if not 0 <= worthless_at_percent < 100:
        raise ValueError("worthless_at_percent must be at least 0 and below 100")
    return round(battery_micro_per_kwh * loss_percent / 100 / (100 - worthless_at_percent))


class Earnings(msgspec.Struct, frozen=True, kw_only=True):
    """Micro-units over the whole plan, for the site with its own load; energies Wh at the grid or in batteries.

    `at_once_micro`: what the same day costs if vehicles charge at once. `stored_micro`: worth of the energy that
    batteries hold more (or less, negative) than then, at the mean import price. `net_micro`: what the plan is better
    by, after wear.
    """

    ms: int
    bought_wh: int
    sold_wh: int
    bought_micro: int
    sold_micro: int
    discharged_wh: int
    wear_micro: int
    at_once_micro: int
    stored_micro: int

    @property
    def net_micro(self) -> int:
        """Gain of the plan over charging at once, after wear and losses."""
        return self.at_once_micro - (self.bought_micro - self.sold_micro) - self.wear_micro + self.stored_micro

    @property
    def net_micro_per_day(self) -> int:
        """The gain for 24 hours of such a plan."""
        return self.net_micro * DAY_MS // self.ms


def earnings(problem: DispatchProblem, plan: DispatchPlan) -> Earnings:
    """Return what a plan earns, estimated from its powers; amounts for payment come from meters."""
    bought_wh, sold_wh, bought, sold = _trade(problem, plan)
    at_once = charge_at_once(problem)
    _, _, first_bought, first_sold = _trade(problem, at_once)
    taken, wear = 0.0, 0.0
    for each, part in zip(problem.vehicles, plan.vehicles, strict=True):
        flows = (
            -power * period.presence(each) * period.hours
            for period, power in zip(problem.periods, part.power_w, strict=True)
        )
        out_wh = sum(flow for flow in flows if flow > 0) / each.discharge_efficiency
        taken += out_wh
        wear += out_wh * each.wear_micro_per_kwh / 1000
    mean = sum(period.import_price * period.ms for period in problem.periods) // (problem.end_ms - problem.start_ms)
    more_wh = sum(
        (mine.energy_wh[-1] - other.energy_wh[-1]) / each.charge_efficiency
        for each, mine, other in zip(problem.vehicles, plan.vehicles, at_once.vehicles, strict=True)
    )
    return Earnings(
        ms=problem.end_ms - problem.start_ms,
        bought_wh=bought_wh,
        sold_wh=sold_wh,
        bought_micro=bought,
        sold_micro=sold,
        discharged_wh=round(taken),
        wear_micro=round(wear),
        at_once_micro=first_bought - first_sold,
        stored_micro=round(more_wh * mean / 1000),
    )


def _trade(problem: DispatchProblem, plan: DispatchPlan) -> tuple[int, int, int, int]:
    """Return the energy bought and sold (Wh), and its price (micro-units)."""
    flows = list(zip(problem.periods, plan.grid_w, strict=True))
    bought = sum(max(0, power) * period.ms for period, power in flows)
    sold = sum(max(0, -power) * period.ms for period, power in flows)
    bought_micro = sum(max(0, power) * period.ms * period.import_price for period, power in flows)
    sold_micro = sum(max(0, -power) * period.ms * period.export_compensation for period, power in flows)
    return bought // HOUR_MS, sold // HOUR_MS, bought_micro // _W_MS_PER_KWH, sold_micro // _W_MS_PER_KWH
