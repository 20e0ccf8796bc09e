"""The first page: is today good, what flows, and what needs a person."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from csms.admission import api as admission
from csms.alerts import api as alerts
from csms.alerts.groups import PresentAlerts
from csms.booking import api as quarantine
from csms.books import api as reports
from csms.console.course import course_of
from csms.console.visit import Visit, page, place, segment
from csms.grid import api as grid
from csms.grid.limits import LimitState
from csms.grid.pages import signal_in_force
from csms.http.pipeline import Answer
from csms.overview import api as overview
from csms.overview.rules import DayFacts, flow_bar, verdict
from csms.sites import api as sites
from csms.stations import api as stations
from csms.stations.listed import ListedStation, fitting
from csms.transactions import api as transactions
from v2g.energy.grid_signal import TypedGridSignal, TypedSlot

_FEW: Final = 8


@page("")
async def show_overview(visit: Visit) -> Answer:
    """Show each part that the person may see."""
    today = datetime.fromtimestamp(visit.now_ms / 1000, UTC).astimezone(visit.zone).date().isoformat()
    shown: dict[str, Any] = {}
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
            total["import_w"],
            total["export_w"],
            min(everywhere, default=None),
            last.base_w or 0 if last else 0,
        ),
        course=course.chart,
        use=course.use,
        sums=[sum(Decimal(e[name]) for e in shown["money"] or []) for name in ("import_kwh", "export_kwh")],
        signal=signal,
        limits=limits,
        price=_slot_now(signal, visit.now_ms),
        **shown,
    )


def _slot_now(signal: TypedGridSignal | None, now_ms: int) -> TypedSlot | None:
    """Return the slot of a grid signal that is in force."""
    slots = () if signal is None else signal.slots
    return next((each for each in slots if each.start_ms <= now_ms < each.start_ms + 1000 * each.duration_s), None)


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
