"""V2G: what flows back, the grid's signal and its sources, fleets and what they can do, set-points."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from csms.books import api as books
from csms.console.present import ChartLine, chart, price
from csms.console.visit import ROOT, Visit, action, page
from csms.dispatch import api as dispatch
from csms.dispatch.store import CoursePoint
from csms.fleets import api as fleets
from csms.fleets.store import FleetPoint
from csms.grid import api as grid
from csms.grid.limits import LimitState
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from csms.overview import api as overview
from csms.sites import api as sites
from csms.transactions import api as transactions
from v2g.energy.grid_signal import TypedGridSignal
from v2g.typed_json import Fields

_DAYS = 14
_COURSE_MS = 86_400_000
_ASKED = {"asked_w": "Asked for", "accepted_w": "Accepted by vehicles", "delivered_w": "Delivered"}
_PAST = {"planned_w": "Planned", **_ASKED}
_MOST_BACK = 20
_PAGE = 50
_MOST_SHOWN = 50


@page("/v2g", grid.list_grid_sources)
async def show_v2g(visit: Visit) -> Answer:
    """Show what vehicles feed back, and what the grid and the fleets ask for."""
    sources = await visit.ask(grid.list_grid_sources)
    signal = await signal_in_force(visit)
    since_ms = visit.now_ms - _DAYS * 86_400_000
    totals, periods, known = None, [], []
    settled: list[object] = []
    more = ""
    if visit.may(overview.read_transactions_overview):
        totals = await visit.ask(overview.read_transactions_overview)
    if visit.may(books.list_costs):
        periods = await visit.ask(books.list_costs, by="period", limit=_PAGE)
        asked = {"by": "vehicle", "limit": _PAGE, **visit.asked("period", "cursor")}
        settled, more = await visit.page(books.list_costs, **asked)
    if visit.may(fleets.list_fleets):
        known = await visit.ask(fleets.list_fleets, limit=50)
    counts, decided = [], []
    course: tuple[CoursePoint, ...] = ()
    if visit.may(dispatch.read_dispatch_course):
        since = visit.now_ms - _COURSE_MS
        course = await visit.find(tuple[CoursePoint, ...], dispatch.read_dispatch_course, from_ms=since)
        counts = await visit.ask(dispatch.read_offers_overview, from_ms=since_ms)
    if visit.may(dispatch.list_offer_decisions):
        decided = await visit.ask(dispatch.list_offer_decisions, accepted=False, limit=_MOST_BACK)
    return visit.show(
        "v2g.html",
        sources=sources,
        signal=signal,
        limits=await visit.find(tuple[LimitState, ...], grid.list_grid_limits),
        prices=_prices(signal, visit.now_ms),
        totals=totals,
        back=[] if totals is None else totals["most_back"],
        periods=periods,
        settled=settled,
        next=more,
        asked=visit.asked("period"),
        fleets=known,
        set_point=dispatch.dispatch_setpoint,
        offers=dispatch.read_offers_overview,
        costs=books.list_costs,
        course=_course(course, "Set-points asked for and delivered", _ASKED),
        points=course[-_MOST_BACK:],
        counts=counts,
        decided=decided,
        since_ms=since_ms,
    )


def _course(
    points: Sequence[CoursePoint] | Sequence[FleetPoint], title: str, labels: Mapping[str, str]
) -> dict[str, object] | None:
    """Return the chart of set-points by minute: what was asked for, and what vehicles followed and delivered of it."""
    if len(points) < 2:
        return None
    drawn = [
        ChartLine(label, "kW", [None if (watts := getattr(each, name)) is None else watts / 1000 for each in points])
        for name, label in labels.items()
    ]
    return chart(title, [each.at_ms for each in points], drawn)


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


def _prices(signal: TypedGridSignal | None, now_ms: int) -> dict[str, object] | None:
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
    drawn = [
        ChartLine("Import", unit, imports, steps=True, look="in"),
        ChartLine("Feeding back", unit, exports, steps=True, look="out"),
    ]
    return chart("Prices of the grid signal", times, drawn, now_ms)


@page("/v2g/fleets/{fleet_id}", fleets.read_fleet_course)
async def one_fleet(visit: Visit) -> Answer:
    """Show what a fleet can do beside its plan, and why the plan is as it is."""
    name = visit.path["fleet_id"]
    visit.back = f"{ROOT}/sites"
    stations = (await visit.ask(fleets.read_fleet, fleet_id=name))["stations"]
    if stations is None:  # all: those with sessions
        running = await visit.ask(transactions.list_transactions, active=True, limit=_MOST_SHOWN)
        stations = sorted({each["station_id"] for each in running})
    found, plan, problem = None, None, None
    try:
        found = await visit.ask(fleets.read_capability, fleet_id=name)
        plan = await visit.ask(fleets.read_plan, fleet_id=name)
    except ApiError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
        problem = error  # such as no prices
    happens = [
        each
        for station in stations[:_MOST_SHOWN]
        for each in await visit.ask(sites.list_evse_limits, station_id=station)
    ]
    past = await visit.find(
        tuple[FleetPoint, ...], fleets.read_fleet_course, fleet_id=name, from_ms=visit.now_ms - _COURSE_MS
    )
    return visit.show(
        "fleet.html",
        name=name,
        problem=problem,
        capability=found,
        plan=plan,
        chart=None if plan is None else _planned_chart(plan["plan"], visit.now_ms),
        happens=happens,
        planned={each["id"]: each["power_w"][0] for each in plan["plan"]["vehicles"]} if plan is not None else {},
        past=_course(past, "The plan of the last day, and what happened", _PAST),
        points=past[-_MOST_BACK:],
        more=max(0, len(stations) - _MOST_SHOWN),
    )


def _planned_chart(plan: Fields, now_ms: int) -> dict[str, object] | None:
    """Return the chart of what all vehicles draw by plan, and the grid connection with them."""
    edges, vehicles = plan["edges_ms"], plan["vehicles"]
    if len(edges) < 2:
        return None
    sums = [sum(each["power_w"][at] for each in vehicles) / 1000 for at in range(len(edges) - 1)]
    grid = [power / 1000 for power in plan["grid_w"]]
    drawn = [
        ChartLine("Vehicles", "kW", [*sums, sums[-1]], steps=True),
        ChartLine("Grid connection", "kW", [*grid, grid[-1]], steps=True),
    ]
    return chart("The plan", edges, drawn, now_ms)


@action("/v2g/setpoint", dispatch.dispatch_setpoint)
async def send_set_point(visit: Visit) -> Answer:
    """Split a set-point over all connected vehicles, and show what each accepted or why not."""
    visit.back = f"{ROOT}/v2g"
    try:
        watts = int(float(visit.form.get("power_kw", "").replace(",", ".")) * 1000)
    except (ValueError, OverflowError):
        raise ApiError(400, "the power is a number of kW", "below 0 out of the vehicles") from None
    shares = await visit.ask(dispatch.dispatch_setpoint, {"setpoint_w": watts})
    return visit.show("setpoint.html", asked_w=watts, shares=shares)
