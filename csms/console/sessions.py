"""Sessions: the list, and one of them with its chart, limits, timeline, cost and papers."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from litestar import Response

from csms.api.billing import quarantine
from csms.api.charging import sites
from csms.api.http.pipeline import Answer
from csms.api.http.problems import ApiError
from csms.api.stations import remote_control
from csms.api.transactions import settlements, transactions
from csms.console.present import Line, chart
from csms.console.visit import Visit, action, page, place

_PAGE = 50
_MOST_POINTS = 2000
_MOST_ROWS = 100
_CHARTED = {
    "Power.Active.Import": ("power", Decimal("0.001")),
    "Power.Active.Export": ("power", Decimal("-0.001")),
    "SoC": ("soc", Decimal(1)),
    "Power.Offered": ("offered", Decimal("0.001")),
}
"""Measurands of the chart: which line, and its factor; power out of the vehicle is below 0, as everywhere."""


@page("/sessions", transactions.list_transactions)
async def list_sessions(visit: Visit) -> Answer:
    """List sessions, newest first."""
    asked = visit.asked("station_id", "active")
    found, following = await visit.page(transactions.list_transactions, limit=_PAGE, **asked, **visit.asked("cursor"))
    return visit.show("sessions.html", sessions=found, next=following, asked=asked)


@page("/sessions/{station_id}/{transaction_id}", transactions.read_transaction)
async def one_session(visit: Visit) -> Answer:
    """Show a session."""
    which = {"station": visit.path["station_id"], "transaction_id": visit.path["transaction_id"]}
    found = await visit.ask(transactions.read_transaction, **which)
    try:
        cost = await visit.ask(transactions.read_cost, **which)
    except ApiError as error:
        if error.status != 404:  # it has no price
            raise
        cost = None
    journals = []
    if visit.may(quarantine.list_journals_of_transaction):
        names = {"station_id": found["station_id"], "transaction_id": found["transaction_id"]}
        journals = await visit.ask(quarantine.list_journals_of_transaction, **names)
    bounds = None
    if found["active"] and visit.may(sites.list_evse_limits):
        here = await visit.ask(sites.list_evse_limits, station_id=found["station_id"])
        bounds = next((each for each in here if each["transaction_id"] == found["transaction_id"]), None)
    limits = {name: json.loads(found[name]) for name in ("limit", "wanted_limit") if found[name]}
    return visit.show(
        "session.html",
        found=found,
        cost=cost,
        limits=limits,
        bounds=bounds,
        chart=_chart(found["meter_values"]),
        readings=found["meter_values"][-_MOST_ROWS:],
        events=found["events"][-_MOST_ROWS:],
        journals=journals,
        receipts=settlements.read_receipt,
    )


def _chart(values: list[dict[str, Any]]) -> dict[str, object] | None:
    """Return the chart of a session's values: power in both directions, what was offered, and state of charge."""
    lines: dict[str, dict[int, float]] = {"power": {}, "offered": {}, "soc": {}}
    for each in values:
        name, factor = _CHARTED.get(each["measurand"], ("", Decimal(0)))
        if not name or each["phase"]:
            continue
        try:
            value = Decimal(each["value"])
        except InvalidOperation:
            continue
        if each["unit"] == "kW":
            value *= 1000
        if name == "power" and not value and lines[name].get(each["at_ms"]):
            continue  # the other direction has the power
        lines[name][each["at_ms"]] = float(value * factor)
    times = sorted({at for line in lines.values() for at in line})
    if len(times) < 2:
        return None
    times = times[:: -(-len(times) // _MOST_POINTS)]
    labels = {"power": ("Power", "kW"), "offered": ("Offered", "kW"), "soc": ("State of charge", "%")}
    drawn = [Line(*labels[name], [line.get(at) for at in times]) for name, line in lines.items() if line]
    return chart("Power and state of charge", times, drawn)


@action("/sessions/{station_id}/{transaction_id}/stop", remote_control.stop_transaction)
async def stop(visit: Visit) -> Answer:
    """Stop a session."""
    station, transaction = visit.path["station_id"], visit.path["transaction_id"]
    visit.back = place("sessions", station, transaction)
    found = await visit.ask(remote_control.stop_transaction, transaction_id=transaction, station=station)
    return visit.see(visit.back, f"Stop: {found['status']}", failed=found["status"] != "Accepted")


@page("/settlements/{station_id}/{session_id}/receipt", settlements.read_receipt)
async def receipt(visit: Visit) -> Answer:
    """Show a session's receipt, which is a page of its own."""
    found = await visit.ask(
        settlements.read_receipt, session_id=visit.path["session_id"], station=visit.path["station_id"]
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
    return Response(found, media_type="text/html", headers={"Content-Security-Policy": policy})


@page("/settlements/{station_id}/{session_id}/journal", settlements.read_journal)
async def journal(visit: Visit) -> Answer:
    """Send a session's journal, for `v2g settle verify`."""
    session = visit.path["session_id"]
    found = await visit.ask(settlements.read_journal, session_id=session, station=visit.path["station_id"])
    named = "".join(each for each in session if each.isascii() and each.isalnum())[:64]
    headers = {"Content-Disposition": f'attachment; filename="journal-{named}.jsonl"'}
    return Response(found, media_type="application/jsonl", headers=headers)


ROUTES = (list_sessions, one_session, stop, receipt, journal)
