"""The first page: what happens now, and what the operator has to do."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from csms.admission import api as admission
from csms.alerts import api as alerts
from csms.booking import api as quarantine
from csms.books import api as reports
from csms.console.visit import Visit, page
from csms.grid import api as grid
from csms.grid.pages import signal_in_force
from csms.http.pipeline import Answer
from csms.overview import api as overview
from v2g.energy.grid_signal import TypedGridSignal, TypedSlot

_FEW = 8
_MOST = 100


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
        ("alerts", alerts.list_alerts, {"active": True, "limit": _MOST}),
        ("faults", admission.list_connection_faults, {"limit": _FEW}),
    ):
        shown[name] = None
        if visit.may(operation):
            shown[name] = await visit.ask(operation, **parameters)
    signal = await signal_in_force(visit)
    taken, fed_back = (
        sum(Decimal(each[name]) for each in shown["money"] or []) for name in ("import_kwh", "export_kwh")
    )
    return visit.show(
        "overview.html",
        200,
        taken_kwh=taken,
        fed_back_kwh=fed_back,
        signal=signal,
        limits=await visit.ask(grid.list_grid_limits) if signal is not None else [],
        price=_slot_now(signal, visit.now_ms),
        **shown,
    )


def _slot_now(signal: TypedGridSignal | None, now_ms: int) -> TypedSlot | None:
    """Return the slot of a grid signal that is in force."""
    slots = () if signal is None else signal.slots
    return next((each for each in slots if each.start_ms <= now_ms < each.start_ms + 1000 * each.duration_s), None)
