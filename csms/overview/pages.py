"""The first page: is today good, what flows, and what needs a person."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from csms.admission import api as admission
from csms.alerts import api as alerts
from csms.alerts.groups import PresentAlerts
from csms.booking import api as quarantine
from csms.books import api as reports
from csms.console.course import course_of
from csms.console.visit import Visit, page
from csms.grid import api as grid
from csms.grid.pages import signal_in_force
from csms.http.pipeline import Answer
from csms.overview import api as overview
from csms.overview.rules import DayFacts, flow_bar, verdict
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
    limits = await visit.ask(grid.list_grid_limits) if signal is not None else []
    sites = visit.person.principal.sites
    course = await course_of(visit, ("",) if sites is None else sorted(sites.names))
    open_ones = [each for each in present.groups if each.state == "open"] if present else []
    outages = [each for each in present.outages if each.state == "open"] if present else []
    last = course.last
    total = shown["transactions"] or {"import_w": 0, "export_w": 0}
    everywhere = [each for each in limits if each["connection_point"] == "all" and each["direction"] == "import"]
    facts = DayFacts(
        critical=None if present is None else sum(e.count for e in open_ones if e.severity == "error") + len(outages),
        warnings=None if present is None else sum(each.count for each in open_ones if each.severity == "warning"),
        exceeded=tuple(each["connection_point"] for each in limits if each["left_w"] < 0),
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
        flows=flow_bar(total["import_w"], total["export_w"], min((e["limit_w"] for e in everywhere), default=None)),
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
