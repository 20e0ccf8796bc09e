"""Checks of runs in which grid and market steer: an event, a fleet's limits and targets, a day's trade."""

from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Final

from csms.fleets.rules import Peak
from v2g.energy.dispatch.problem import PeakWindow
from v2g.typed_json import Fields
from v2g.units import MICRO
from v2g_cli.demo.folder import SITE_LIMIT_W
from v2g_cli.demo.run import TOLERANCE_W, Check, Run

_FOLLOWED_S: Final = 1.5
"""After a change of what is wanted, power has followed so soon, real seconds."""
_SHORT_PERCENT: Final = 2.0
"""A vehicle departs with its target but for this."""


def event_followed(run: Run) -> Iterable[Check]:
    """Power follows an OpenADR event step by step, and the VTN has its report."""
    from v2g_cli.demo.vtn import LOWERED_W, SETPOINT_W

    conductor = run.conductor
    if conductor.vtn is None:
        return
    begin, step_ms = conductor.event_ms, conductor.folder.step_s * 1000
    late_ms = int(_FOLLOWED_S * conductor.folder.scale * 1000)
    before = _powers(run, begin - step_ms, begin)
    lowered = _powers(run, begin + late_ms, begin + step_ms)
    back = _powers(run, begin + step_ms + late_ms, begin + 2 * step_ms)
    after = _powers(run, begin + 2 * step_ms + late_ms, begin + 3 * step_ms)
    yield Check("charged before the event", max(before, default=0) > 2 * LOWERED_W, f"up to {max(before, default=0)} W")
    lowest = f"{min(lowered, default=0)} to {max(lowered, default=0)} W"
    within = bool(lowered) and 0 < max(lowered) <= LOWERED_W + TOLERANCE_W
    yield Check(f"power lowered to {LOWERED_W / 1000:.0f} kW", within, lowest)
    given = f"{min(back, default=0)} to {max(back, default=0)} W"
    near = bool(back) and max(abs(each - SETPOINT_W) for each in back) <= 2 * TOLERANCE_W
    yield Check(f"then {-SETPOINT_W / 1000:.0f} kW from the vehicle", near, given)
    yield Check("and charged again", max(after, default=0) > 2 * LOWERED_W, f"up to {max(after, default=0)} W")
    kwh = conductor.vtn.reported_kwh
    hours = step_ms / 3_600_000
    most, least = LOWERED_W / 1000 * hours, SETPOINT_W / 1000 * hours
    right = len(kwh) == 2 and 0 < kwh[0] < 2 * most + 1 and least - 0.1 <= kwh[1] < 0
    yield Check("the VTN has the report of both steps", right, ", ".join(f"{each:.3f} kWh" for each in kwh) or "none")


def _powers(run: Run, from_ms: int, until_ms: int) -> list[int]:
    flows = run.all("secc", "loop", "response")
    return [int(e.data["power_w"]) for e in flows if from_ms <= e.utc_ms < until_ms]


def fleet_kept(run: Run) -> Iterable[Check]:
    """The fleet's limits hold at every sample, and each vehicle departs with its target."""
    conductor = run.conductor
    fleet = conductor.fleet
    yield Check(
        "the fleet was planned", conductor.plan is not None, "plan.svg, plan.txt" if conductor.plan else "never"
    )
    if fleet is not None and fleet.peak is not None:
        yield from _limits_kept(run, PeakWindow(fleet.peak.from_minute, fleet.peak.until_minute), fleet.peak)
    for name in conductor.programs:
        if not name.startswith("evcc"):
            continue
        ended = run.last(name, "session", "ended")
        target = conductor.folder.target_soc(name)
        soc = float(ended.data["soc"]) if ended is not None else 0.0
        yield Check(f"{name} departs with its target", soc >= target - _SHORT_PERCENT, f"{soc:.1f} % of {target:.0f} %")


def _limits_kept(run: Run, window: PeakWindow, peak: Peak) -> Iterable[Check]:
    late_ms = int(_FOLLOWED_S * run.conductor.folder.scale * 1000)
    totals = list(sums(run))
    within_peak = [watts for at, watts in totals if window.contains(at, UTC) and window.contains(at - late_ms, UTC)]
    limit_w, peak_w = SITE_LIMIT_W, peak.import_limit_w
    most, most_peak = max((watts for _, watts in totals), default=0), max(within_peak, default=0)
    tolerance_w = TOLERANCE_W * len(run.conductor.folder.evses)
    yield Check("the connection's limit is kept", 0 < most <= limit_w + tolerance_w, f"at most {most} W of {limit_w} W")
    within = bool(within_peak) and most_peak <= peak_w + tolerance_w
    yield Check(
        "the peak limit is kept",
        within,
        f"{min(within_peak, default=0)} to {most_peak} W of {peak_w} W in {len(within_peak)} samples",
    )


def sums(run: Run) -> Iterator[tuple[int, int]]:
    """Yield (UTC ms, W) of all EVSEs together, at each sample."""
    now: dict[str, int] = {}
    for event in run.events:
        match event.process, event.stage, event.name:
            case "secc", "loop", "response":
                now[str(event.data["evse_id"])] = int(event.data["power_w"])
            case "secc", "stop", "power_stopped":
                now[str(event.data["evse_id"])] = 0
            case _:
                continue
        yield event.utc_ms, sum(now.values())


def trade_result(run: Run) -> tuple[dict[str, float], dict[str, float]]:
    """Return what the plan promised and what was settled: bought and sold kWh, their prices, wear, and the result."""
    conductor = run.conductor
    if conductor.plan is None or run.report is None or conductor.fleet is None:
        return {}, {}
    plan = conductor.plan["earnings"]
    wear = _amount(plan["wear"])
    promised = _result(
        plan["bought_wh"] / 1000, _amount(plan["bought"]), plan["sold_wh"] / 1000, _amount(plan["sold"]), wear
    )
    totals = run.report.settlement.totals
    out_kwh = run.energy_wh[1] / 1000
    per_kwh = wear / plan["discharged_wh"] * 1000 if plan["discharged_wh"] else 0.0
    settled = _result(
        run.energy_wh[0] / 1000,
        sum(each.import_cost for each in totals) / MICRO,
        out_kwh,
        sum(each.export_credit for each in totals) / MICRO,
        per_kwh * out_kwh / conductor.fleet.discharge_efficiency,
    )
    return promised, settled


def _amount(money: dict[str, str]) -> float:
    return float(money["amount"])


def _result(bought_kwh: float, paid: float, sold_kwh: float, earned: float, wear: float) -> dict[str, float]:
    values = {"bought_kwh": bought_kwh, "paid": paid, "sold_kwh": sold_kwh, "earned": earned, "wear": wear}
    values["result"] = values["earned"] - values["paid"] - values["wear"]
    return {name: round(value, 3) for name, value in values.items()}


def trade_kept(run: Run) -> Iterable[Check]:
    """The settlement shows a gain, near to what the plan promised."""
    promised, settled = trade_result(run)
    if not promised:
        yield Check("a plan and a settlement", passed=False, evidence="one of them is missing")
        return
    yield Check("something was earned, net of wear", settled["result"] > 0, f"{settled['result']:.2f} EUR")
    near = abs(settled["result"] - promised["result"]) <= max(0.15, 0.25 * abs(promised["result"]))
    words = f"{settled['result']:.2f} EUR settled, {promised['result']:.2f} EUR planned"
    yield Check("the result is near to the plan's", near, words)


def bid_kept(run: Run) -> Iterable[Check]:
    """A bid is given in time, delivered by the meters, and paid at its price; one that is late is refused."""
    if (market := run.conductor.market) is None:
        return
    record, refused = market.record, market.record.get("late", "it was not")
    yield Check("a late bid is refused", "gate" in refused, refused[-120:])
    if (bid := record.get("settled")) is None:
        yield Check("a bid was given and called", passed=False, evidence=record.get("again", "there was no time"))
        return
    asked, delivered, price = bid["asked_wh"], bid["delivered_wh"], _amount(bid["price_per_kwh"])
    paid = abs(_amount(bid["paid"]) - min(asked, delivered) / 1000 * price) < 1e-6
    right = 0 < asked * 0.9 <= delivered <= asked * 1.1 and paid
    words = f"{delivered / 1000:.3f} of {asked / 1000:.3f} kWh, {_amount(bid['paid']):.2f} EUR at {price:.2f} EUR/kWh"
    yield Check("what was called is delivered, and paid at the bid's price", right, words)


def facts(run: Run) -> Iterable[tuple[str, str]]:
    """Yield what people want to know."""
    plan = run.conductor.plan
    if run.conductor.scenario.prices:
        for name, each in zip(("planned", "settled"), trade_result(run), strict=True):
            if each:
                words = f"buys {each['bought_kwh']:.1f} kWh for {each['paid']:.2f}, sells {each['sold_kwh']:.1f} kWh "
                words += f"for {each['earned']:.2f}, wear {each['wear']:.2f}: result {each['result']:+.2f} EUR"
                yield name, words
        if plan is not None:
            yield "charging at once", f"would cost {_amount(plan['earnings']['at_once']):.2f} EUR"


def figures(run: Run) -> Fields:
    """Return the same for programs."""
    if not run.conductor.scenario.prices:
        return {}
    promised, settled = trade_result(run)
    return {"planned": promised, "settled": settled}
