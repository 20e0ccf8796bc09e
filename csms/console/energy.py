"""V2G: what flows back, the grid's signal and its sources, fleets and what they can do, set-points."""

from datetime import datetime, timedelta

from csms.api.billing import reports
from csms.api.charging import dispatch, fleets, grid
from csms.api.diagnostics import overview
from csms.api.http.pipeline import Answer
from csms.api.http.problems import ApiError
from csms.console.present import Line, chart, price
from csms.console.visit import ROOT, Visit, action, page
from v2g.energy.grid_signal import TypedGridSignal

_MOST = 1000
_DAYS = 14


@page("/v2g", grid.list_grid_sources)
async def show_v2g(visit: Visit) -> Answer:
    """Show what vehicles feed back, and what the grid and the fleets ask for."""
    sources = await visit.ask(grid.list_grid_sources)
    signal = await signal_in_force(visit)
    totals, days, known = None, [], []
    if visit.may(overview.read_transactions_overview):
        totals = await visit.ask(overview.read_transactions_overview)
    if visit.may(reports.report_transactions):
        first = (datetime.fromtimestamp(visit.now_ms / 1000, visit.zone) - timedelta(days=_DAYS)).date()
        days = await visit.ask(reports.report_transactions, by="day", from_day=first, limit=_MOST)
    if visit.may(fleets.list_fleets):
        known = await visit.ask(fleets.list_fleets, limit=50)
    return visit.show(
        "v2g.html",
        sources=sources,
        signal=signal,
        prices=_prices(signal),
        totals=totals,
        back=[] if totals is None else totals["most_back"],
        days=days,
        fleets=known,
        set_point=dispatch.dispatch_setpoint,
    )


async def signal_in_force(visit: Visit) -> TypedGridSignal | None:
    """Return the grid signal; None if there is none yet, or the person may not see it."""
    if not visit.may(grid.read_grid_signal):
        return None
    try:
        return await visit.find(TypedGridSignal, grid.read_grid_signal)
    except ApiError as error:
        if error.status != 404:
            raise
        return None


def _prices(signal: TypedGridSignal | None) -> dict[str, object] | None:
    """Return the chart of a signal's prices, each of which holds until the next."""
    if signal is None or not signal.slots:
        return None
    unit, slots = f"{signal.currency}/kWh", signal.slots
    imports, exports = (
        [*each, each[-1]]
        for each in (
            [float(price(slot.import_price)) for slot in slots],
            [float(price(slot.export_compensation)) for slot in slots],
        )
    )
    times = [*(slot.start_ms for slot in slots), slots[-1].start_ms + 1000 * slots[-1].duration_s]
    drawn = [Line("Import", unit, imports, steps=True), Line("Feeding back", unit, exports, steps=True)]
    return chart("Prices of the grid signal", times, drawn)


@page("/v2g/fleets/{fleet_id}", fleets.read_capability)
async def one_fleet(visit: Visit) -> Answer:
    """Show what a fleet can do beside its plan, and why the plan is as it is."""
    name = visit.path["fleet_id"]
    visit.back = f"{ROOT}/v2g"
    found = await visit.ask(fleets.read_capability, fleet_id=name)
    plan = await visit.ask(fleets.read_plan, fleet_id=name)
    return visit.show("fleet.html", name=name, capability=found, plan=plan)


@action("/v2g/setpoint", dispatch.dispatch_setpoint)
async def send_set_point(visit: Visit) -> Answer:
    """Split a set-point over all connected vehicles, and show what each accepted or why not."""
    visit.back = f"{ROOT}/v2g"
    try:
        watts = int(float(visit.form.get("power_kw", "")) * 1000)
    except (ValueError, OverflowError):
        raise ApiError(400, "the power is a number of kW", "below 0 out of the vehicles") from None
    shares = await visit.ask(dispatch.dispatch_setpoint, {"setpoint_w": watts})
    return visit.show("setpoint.html", asked_w=watts, shares=shares)


ROUTES = (show_v2g, one_fleet, send_set_point)
