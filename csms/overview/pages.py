"""The first page: is today good, what flows, and what needs a person."""

from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Final
from urllib.parse import urlencode

from csms.admission import api as admission
from csms.alerts import api as alerts
from csms.alerts.groups import PresentAlerts
from csms.booking import api as quarantine
from csms.books import api as reports
from csms.console.course import course_of, date_of, days_later, midnight_ms, points_of
from csms.console.listing import Column, Listing, show_list
from csms.console.present import ChartLine, chart, flow_bar
from csms.console.visit import ROOT, Visit, action, page, place, segment
from csms.grid import api as grid
from csms.grid.limits import LimitState, tightest
from csms.grid.pages import signal_in_force
from csms.http.pipeline import Answer
from csms.overview import api as overview
from csms.overview.rules import DayFacts, PowerPoint, PowerTrend, beside, hours_wh, trend, verdict
from csms.sites import api as sites
from csms.stations import api as stations
from csms.stations.listed import ListedStation, fitting
from csms.transactions import api as transactions
from v2g.typed_json import Fields
from v2g.units import HOUR_MS

_FEW: Final = 8


@page("")
async def show_overview(visit: Visit) -> Answer:
    """Show each part that the person may see."""
    today = date_of(visit, visit.now_ms).isoformat()
    shown: Fields = {}
    for name, operation, parameters in (
        ("stations", overview.read_stations_overview, {}),
        ("transactions", overview.read_transactions_overview, {}),
        ("money", reports.report_transactions, {"by": "day", "from_day": today, "to_day": today}),
        ("quarantine", quarantine.list_quarantine, {"state": "quarantined", "limit": _FEW}),
        ("undecided", admission.list_admissions, {"undecided": True, "limit": _FEW}),
        ("faults", admission.list_connection_faults, {"limit": _FEW}),
    ):
        shown[name] = None
        if visit.may(operation):
            shown[name] = await visit.ask(operation, **parameters)
    present = None
    if visit.may(alerts.read_alert_groups):
        present = await visit.find(PresentAlerts, alerts.read_alert_groups)
    signal = await signal_in_force(visit)
    limits: Sequence[LimitState] = ()
    if signal is not None:
        limits = await visit.find(tuple[LimitState, ...], grid.list_grid_limits)
    only = visit.person.principal.sites
    course = await course_of(visit, ("",) if only is None else sorted(only.names))
    open_ones = [each for each in present.groups if each.state == "open"] if present else []
    outages = [each for each in present.outages if each.state == "open"] if present else []
    last = course.last
    total = shown["transactions"] or {"import_w": 0, "export_w": 0}
    everywhere = [each.limit_w or 0 for each in limits if each.subject == "import"]
    facts = DayFacts(
        critical=None if present is None else sum(e.count for e in open_ones if e.severity == "error") + len(outages),
        warnings=None if present is None else sum(each.count for each in open_ones if each.severity == "warning"),
        exceeded=tuple(each.connection_point for each in limits if each.left_w < 0),
        ready=last.ready / last.evses if last is not None and last.evses else None,
        known=None if shown["stations"] is None else shown["stations"]["known"],
    )
    slots = () if signal is None else signal.slots
    return visit.show(
        "overview.html",
        200,
        verdict=verdict(facts),
        compared=course.compared,
        facts=facts,
        alerts=open_ones[:_FEW],
        outages=outages,
        more=max(0, len(open_ones) - _FEW),
        flows=flow_bar(
            total["import_w"], total["export_w"], min(everywhere, default=None), last.base_w or 0 if last else 0
        ),
        course=course.chart,
        hours=course.hours,
        sums=[sum(Decimal(e[name]) for e in shown["money"] or []) for name in ("import_kwh", "export_kwh")],
        signal=signal,
        limits=limits,
        tightest=tightest(limits),
        price=next(
            (each for each in slots if each.start_ms <= visit.now_ms < each.start_ms + 1000 * each.duration_s), None
        ),
        **shown,
    )


_WEEK: Final = (7, False, "7 days")
_SPANS: Final = {
    "": _WEEK,
    "month": (30, False, "30 days"),
    "week-sites": (7, True, "7 days by site"),
    "month-sites": (30, True, "30 days by site"),
}
"""Days, whether by site, and the label of each view of the trends."""

TRENDS: Final = (
    Column("import", "Into vehicles", lambda row: row.import_wh, "energy"),
    Column("export", "Out of vehicles", lambda row: row.export_wh, "energy"),
    Column("most", "Greatest power", lambda row: row.most_w, "power", phone=False),
    Column("used", "Use of EVSEs", lambda row: None if row.used is None else round(row.used, 1), "percent"),
    Column("ready", "EVSEs that work", lambda row: None if row.ready is None else round(row.ready, 1), "percent"),
    Column("sessions", "Sessions ended", lambda row: row.sessions, "number", phone=False),
    Column("money", "With VAT", lambda row: row.money, "money"),
)


@page("/trends", overview.read_power_course)
async def show_trends(visit: Visit) -> Answer:
    """Show energy, use, availability and money of a week or a month, by day or by site."""
    view = visit.asked("span").get("span", "")
    days, of_sites, _ = _SPANS.get(view, _WEEK)
    begin_ms = midnight_ms(visit, days - 1)
    only = visit.person.principal.sites
    everywhere = ("",) if only is None else sorted(only.names)
    points = await points_of(visit, everywhere, begin_ms, HOUR_MS)
    before_ms, until_ms = midnight_ms(visit, 2 * days - 1), days_later(visit, visit.now_ms, -days)
    before = await points_of(visit, everywhere, before_ms, HOUR_MS, until_ms)
    ended: dict[str, tuple[int, list[dict[str, str]]]] = {}
    if visit.may(reports.report_transactions):
        about = {"by": "site" if of_sites else "day", "from_day": date_of(visit, begin_ms).isoformat(), "limit": 1000}
        for each in await visit.ask(reports.report_transactions, **about):
            number, sums = ended.setdefault(each["group"] or "", (0, []))
            if each["gross"] is not None:
                sums.append({"amount": each["gross"], "currency": each["currency"]})
            ended[each["group"] or ""] = number + each["transactions"], sums
    parts: dict[str, list[PowerPoint]] = {}
    if of_sites:
        names = [each["id"] async for each in visit.every(sites.list_sites)]
        parts = {name: await points_of(visit, (name,), begin_ms, HOUR_MS) for name in names}
    else:
        for point in points:
            parts.setdefault(date_of(visit, point.at_ms).isoformat(), []).append(point)
    rows = [trend(name, of, visit.now_ms, *ended.get(name, ())) for name, of in parts.items()]
    href = (lambda row: f"/sites/{segment(row.of)}") if of_sites else None
    first = Column("of", "Site" if of_sites else "Day", lambda row: row.of, href=href)
    listing = Listing(
        title="Trends",
        columns=(first, *TRENDS),
        rows=rows if of_sites else rows[::-1],
        asked={"span": view} if view in _SPANS and view else {},
        tab="span",
        tabs={view: (label, None) for view, (_, _, label) in _SPANS.items()},
        search=False,
        empty="Nothing has been noted yet: the first point is there after five minutes.",
    )
    taken_wh, before_wh = hours_wh(points, "import_w", visit.now_ms), hours_wh(before, "import_w", until_ms)
    return await show_list(
        visit,
        listing,
        template="trends.html",
        compared=beside(taken_wh, before_wh, days) if before and before[0].at_ms == before_ms else None,
        chart=_by_day(rows, visit) if len(rows) > 1 and not of_sites else None,
    )


def _by_day(rows: Sequence[PowerTrend], visit: Visit) -> dict[str, object]:
    """Return the chart of energies by day."""
    times = [datetime.combine(date.fromisoformat(each.of), time(), visit.zone).timestamp() * 1000 for each in rows]
    until = [*rows, rows[-1]]  # the last day has a width, too
    drawn = [
        ChartLine("Into vehicles", "kWh", [each.import_wh / 1000 for each in until], steps=True, look="in"),
        ChartLine("Out of vehicles", "kWh", [each.export_wh / 1000 for each in until], steps=True, look="out"),
    ]
    return chart("Energy by day", [*map(round, times), midnight_ms(visit, -1)], drawn, visit.now_ms)


@page("/search")
async def search(visit: Visit) -> Answer:
    """Find stations, sites, sessions, alerts and pages with a text; the only one of exactly that name is opened."""
    text = visit.asked("q").get("q", "").strip()[:60]
    found: dict[str, list[tuple[str, str, str]]] = {}
    if text and visit.may(stations.list_every_station):
        rows = fitting(await visit.find(tuple[ListedStation, ...], stations.list_every_station), text)
        rows.sort(key=lambda each: (each.station_id.lower() != text.lower(), each.station_id))
        if rows and rows[0].station_id.lower() == text.lower():
            return visit.see(place("stations", rows[0].station_id))
        found["Stations"] = [(f"/stations/{segment(e.station_id)}", e.station_id, e.state) for e in rows[:_FEW]]
    if text and visit.may(sites.list_sites):
        names = [each["id"] async for each in visit.every(sites.list_sites)]
        found["Sites"] = [(f"/sites/{segment(e)}", e, "") for e in names if text.lower() in e.lower()][:_FEW]
    if text and visit.may(transactions.list_transactions):
        some = await visit.ask(transactions.list_transactions, text=text, limit=_FEW)
        found["Sessions"] = [
            (
                f"/sessions/{segment(e['station_id'])}/{segment(e['transaction_id'])}",
                e["transaction_id"],
                e["station_id"],
            )
            for e in some
        ]
    if text and visit.may(alerts.read_alert_groups):
        present = await visit.find(PresentAlerts, alerts.read_alert_groups)
        named = [each for each in present.groups if any(text.lower() in name.lower() for name in each.subjects)]
        found["Alerts"] = [(f"/alerts?{urlencode({'q': text})}", each.kind, each.state) for each in named[:_FEW]]
    return visit.show("search.html", text=text, found={name: some for name, some in found.items() if some})


@page("/inventory", overview.read_inventory, instead=overview.read_vehicle_inventory)
async def show_inventory(visit: Visit) -> Answer:
    """Show what is installed on how many stations, in how many vehicles, and in which nodes of this back end, each to
    those who may see it."""
    kinds = (overview.read_inventory, overview.read_vehicle_inventory)
    rows, parts = [await visit.ask(each) if visit.may(each) else None for each in kinds]
    listed = overview.list_node_firmware
    nodes = [each async for each in visit.every(listed)] if visit.may(listed) else []
    return visit.show("inventory.html", rows=rows, parts=parts, nodes=nodes)


@page("/health")
async def show_health(visit: Visit) -> Answer:
    """Show the state of the back end."""
    running = await visit.ask(overview.read_system) if visit.may(overview.read_system) else None
    return visit.show("health.html", health=await visit.ask(overview.read_health), system=running)


@action("/health/backup", overview.make_backup)
async def back_up(visit: Visit) -> Answer:
    """Write a backup now."""
    visit.back = f"{ROOT}/health"
    made = await visit.ask(overview.make_backup)
    return visit.see(visit.back, "Backup: {file}", "{rows} rows, {octets} bytes.", **made)
