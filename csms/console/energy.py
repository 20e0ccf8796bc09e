"""V2G: what flows back, the grid's signal and its sources, fleets and what they can do, set-points."""

from csms.api.billing import reports
from csms.api.charging import dispatch, fleets, grid
from csms.api.diagnostics import overview
from csms.api.http.pipeline import Answer
from csms.api.http.problems import ApiError
from csms.api.transactions import transactions
from csms.console.present import Line, chart, price
from csms.console.visit import ROOT, Visit, action, page

_MOST = 1000


@page("/v2g", grid.list_grid_sources)
async def show_v2g(visit: Visit) -> Answer:
    """Show what vehicles feed back, and what the grid and the fleets ask for."""
    sources = await visit.ask(grid.list_grid_sources)
    try:
        signal = await visit.ask(grid.read_grid_signal)
    except ApiError as error:
        if error.status != 404:  # there is none yet
            raise
        signal = None
    totals, back, days, known = None, [], [], []
    if visit.may(transactions.list_transactions):
        totals = await visit.ask(overview.read_transactions_overview)
        running = await visit.ask(transactions.list_transactions, active=True, limit=_MOST)
        back = [each for each in running if (each["power_w"] or "0").startswith("-")]
    if visit.may(reports.report_transactions):
        days = (await visit.ask(reports.report_transactions, by="day", limit=_MOST))[-14:]
    if visit.may(fleets.list_fleets):
        known = await visit.ask(fleets.list_fleets, limit=50)
    return visit.show(
        "v2g.html",
        sources=sources,
        signal=signal,
        prices=_prices(signal),
        totals=totals,
        back=back[:50],
        days=days,
        fleets=known,
        set_point=dispatch.dispatch_setpoint,
    )


def _prices(signal: dict[str, object] | None) -> dict[str, object] | None:
    """Return the chart of a signal's prices."""
    slots = [] if signal is None else signal.get("slots", [])
    assert isinstance(slots, list)
    if len(slots) < 2:
        return None
    unit = f"{signal['currency']}/kWh" if signal else ""
    lines = (("Import", "import_price"), ("Feeding back", "export_compensation"))
    drawn = [Line(label, unit, [float(price(slot[name])) for slot in slots]) for label, name in lines]
    return chart("Prices of the grid signal", [slot["start_ms"] for slot in slots], drawn)


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
