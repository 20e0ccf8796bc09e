"""Sessions: the list, and one of them with its chart, limits, timeline, cost and papers."""

import json
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from litestar import Response
from msgspec.structs import replace

from csms.booking import api as quarantine
from csms.console.languages import language_of
from csms.console.listing import Column, Listing, show_pages
from csms.console.present import BOUNDS, STEPS, ChartLine, chart, doing
from csms.console.visit import Visit, action, page, place, segment
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from csms.remote_control import api as remote_control
from csms.settlements import api as settlements
from csms.settlements.rules import PriceStep, SessionCourse
from csms.sites import api as sites
from csms.smart_charging.limits_in_force import LimitPoint
from csms.transactions import api as transactions
from csms.transactions.events import READINGS
from v2g.energy.settlement.receipt import function_names
from v2g.typed_json import Fields

_MOST_POINTS = 2000
_MOST_ROWS = 100
_CHARTED = {
    "Power.Active.Import": ("power", Decimal("0.001")),
    "Power.Active.Export": ("power", Decimal("-0.001")),
    "SoC": ("soc", Decimal(1)),
    "Power.Offered": ("offered", Decimal("0.001")),
}
"""Measurands of the chart: which line, and its factor; power out of the vehicle is below 0, as everywhere."""

_LIMITS = {"ev_w": "Vehicle", "evse_w": "Charger", "site_w": "Site", "operator_w": "Operator"}
"""Limits of discharging in a journal."""

_AT_MOST = {
    "ev_w": "At most by the vehicle",
    "evse_w": "At most by the charger",
    "site_w": "At most by the site",
    "operator_w": "At most by the operator",
}


def _taken(row: Fields, way: str) -> Decimal | None:
    """Return the energy (Wh) between the registers of a session; None where one is unknown."""
    begin, end = row[f"{way}_start_wh"], row[f"{way}_wh"]
    return None if begin is None or end is None else Decimal(end) - Decimal(begin)


def _lasted(row: Fields) -> int | None:
    return row["ended_ms"] - row["started_ms"] if row["started_ms"] and row["ended_ms"] else None


COLUMNS: Final = (
    Column(
        "begun",
        "Begun",
        lambda row: row["started_ms"],
        "time",
        lambda row: f"/sessions/{segment(row['station_id'])}/{segment(row['transaction_id'])}",
    ),
    Column("state", "State", lambda row: doing(row) if row["active"] else row["stopped_reason"] or "ended", "state"),
    Column(
        "station", "Station", lambda row: row["station_id"], href=lambda row: f"/stations/{segment(row['station_id'])}"
    ),
    Column("token", "Token", lambda row: row["id_token"], phone=False),
    Column("taken", "Taken", lambda row: _taken(row, "import"), "energy"),
    Column("fed_back", "Fed back", lambda row: _taken(row, "export"), "energy", phone=False),
    Column("power", "Power", lambda row: row["power_w"] if row["active"] else None, "power", phone=False),
    Column("charge", "Charge", lambda row: row["soc"], "percent", phone=False),
    Column("duration", "Duration", _lasted, "duration", phone=False),
    Column("cost", "Cost", lambda row: [row["cost"]] if row["cost"] and not row["held"] else None, "money"),
    Column("id", "Session", lambda row: row["transaction_id"], "id", phone=False),
)
_VIEWS: Final = {"": "All", "true": "Running", "false": "Ended"}


def _day(visit: Visit, text: str, days: int = 0) -> int | None:
    """Return when a day (`2027-01-31`) of the viewer's zone begins, or so many days later; None for no day."""
    try:
        begin = datetime.combine(date.fromisoformat(text) + timedelta(days=days), time(), visit.zone)
        return int(begin.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


@page("/sessions", transactions.list_transactions)
async def list_sessions(visit: Visit) -> Answer:
    """List sessions, newest first."""
    asked = visit.asked("station_id", "active", "q", "site", "from", "to")
    about: dict[str, object] = {name: asked[name] for name in asked.keys() & {"station_id", "active", "site"}}
    bounds = {"since_ms": _day(visit, asked.get("from", "")), "before_ms": _day(visit, asked.get("to", ""), 1)}
    about |= {name: value for name, value in {**bounds, "text": asked.get("q")}.items() if value is not None}
    places = await visit.ask(sites.list_sites, limit=1000) if visit.may(sites.list_sites) else []
    shown = Listing(
        title="Sessions",
        columns=COLUMNS,
        asked=asked,
        tab="active",
        tabs={name: (label, None) for name, label in _VIEWS.items()},
        filters={"site": ("Site", [each["id"] for each in places])},
        days=True,
        key=lambda row: str(row["transaction_id"]),
        empty="No session yet.",
    )
    return await show_pages(visit, shown, transactions.list_transactions, about)


@page("/sessions/{station_id}/{transaction_id}", transactions.read_transaction)
async def one_session(visit: Visit) -> Answer:
    """Show a session."""
    which = {"station": visit.path["station_id"], "transaction_id": visit.path["transaction_id"]}
    found = await visit.ask(transactions.read_transaction, **which)
    try:
        cost = await visit.ask(transactions.read_cost, **which)
    except ApiError as error:
        if error.status != 404 and found["held"] is None:  # it has no price, or people check it first
            raise
        cost = None
    journals, course = [], SessionCourse()
    if visit.may(quarantine.list_journals_of_transaction):
        names = {"station_id": found["station_id"], "transaction_id": found["transaction_id"]}
        journals = await visit.ask(quarantine.list_journals_of_transaction, **names)
        course = await visit.find(SessionCourse, quarantine.read_course_of_transaction, **names)
    if not course.prices:
        course = replace(course, prices=await visit.find(tuple[PriceStep, ...], transactions.read_prices, **which))
    points = await visit.find(tuple[LimitPoint, ...], transactions.read_limits, **which)
    bounds = None
    if found["active"] and visit.may(sites.list_evse_limits):
        here = await visit.ask(sites.list_evse_limits, station_id=found["station_id"])
        bounds = next((each for each in here if each["transaction_id"] == found["transaction_id"]), None)
    limits = {name: json.loads(found[name]) for name in ("limit", "wanted_limit") if found[name]}
    return visit.show(
        "session.html",
        found=found,
        taken=_taken(found, "import"),
        fed_back=_taken(found, "export"),
        cost=cost,
        limits=limits,
        bounds=bounds,
        functions=_functions(course, visit),
        chart=_chart(found["meter_values"], _limits(course)),
        terms=_terms(course, found["ended_ms"] or visit.now_ms),
        lines=_charging(points, found["ended_ms"] or visit.now_ms),
        points=[each for each in points if each.bounds][-_MOST_ROWS:],
        bound=[each for each in course.moments if each.kind == "limit_changed"][-_MOST_ROWS:],
        prices=course.prices[-_MOST_ROWS:],
        names=_LIMITS,
        readings=found["meter_values"][-_MOST_ROWS:],
        steps=_steps(found["events"], course)[-_MOST_ROWS:],
        journals=journals,
        receipts=settlements.read_receipt,
    )


def _functions(course: SessionCourse, visit: Visit) -> list[str] | None:
    """Return the functions of the grid code that the vehicle's inverter was given last, in words; None: not asked."""
    given = [each.facts["functions"] for each in course.moments if each.kind == "grid_support"]
    language = language_of(visit.request.headers.get("accept-language", ""))
    words = function_names("de" if language == "de" else "en")
    return [words[each] for each in str(given[-1]).split()] if given else None  # type: ignore[index] # a record's own


def _steps(events: list[Fields], course: SessionCourse) -> list[tuple[int, str, str, Fields]]:
    """Return what happened, by time: when, the protocol, what, and facts about it."""
    found: list[tuple[int, str, str, Fields]] = [
        (
            each["at_ms"],
            "OCPP",
            each["trigger"] if each["kind"] == "Updated" else each["kind"],
            ({} if each["kind"] == "Updated" else {"trigger": each["trigger"]})
            | ({"sent": "late"} if each["offline"] else {}),
        )
        for each in events
        if each["trigger"] not in READINGS  # the chart has these
    ]
    found += [(each.at_ms, "ISO 15118", STEPS[each.kind], each.facts) for each in course.moments]
    return sorted(found, key=lambda each: each[0])


def _limits(course: SessionCourse) -> list[tuple[int, Fields]]:
    """Return the limits of discharging (W) over time."""
    return [(each.at_ms, each.facts) for each in course.moments if each.kind == "limit_changed"]


def _chart(values: list[Fields], limits: list[tuple[int, Fields]]) -> dict[str, object] | None:
    """Return the chart of a session's values: power in both directions, limits of both, and state of charge."""
    lines: dict[str, dict[int, float]] = {"power": {}, "offered": {}, "discharge": {}, "soc": {}}
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
    if len({at for line in lines.values() for at in line}) < 2:
        return None
    times = sorted({at for line in lines.values() for at in line})
    times = sorted({*times[:: -(-len(times) // _MOST_POINTS)], times[-1], *(at for at, _ in limits)})
    holds, bounds = None, dict(limits)
    for at in times:
        holds = bounds.get(at, holds)
        if holds is not None:
            lines["discharge"][at] = -holds["max_discharge_w"] / 1000
    labels = {
        "power": ("Power", "kW", "net"),
        "offered": ("Limit of charging, as offered", "kW", "limit"),
        "discharge": ("Limit of discharging", "kW", "limit"),
        "soc": ("State of charge", "%", ""),
    }
    drawn = [
        ChartLine(*labels[name][:2], [line.get(at) for at in times], steps=name == "discharge", look=labels[name][2])
        for name, line in lines.items()
        if line
    ]
    return chart("Power, limits and state of charge", times, drawn)


def _charging(points: Sequence[LimitPoint], until_ms: int) -> dict[str, object] | None:
    """Return the chart of each limit of a session's power, and of its set-points; each holds until the next."""
    if not points:
        return None
    held = [*points, points[-1]]
    by_name = [{(each.name, each.source): each.power_w / 1000 for each in point.bounds} for point in held]
    names = {name: None for found in by_name for name in found if name != ("set_point", "")}
    drawn = [
        ChartLine(BOUNDS[name], "kW", [found.get((name, source)) for found in by_name], steps=True, of=source)
        for name, source in names
    ]
    if any(each.setpoint_w is not None for each in points):
        powers = [None if each.setpoint_w is None else each.setpoint_w / 1000 for each in held]
        drawn.append(ChartLine(BOUNDS["set_point"], "kW", powers, steps=True, look="plan"))
    times = [*(each.at_ms for each in points), max(until_ms, points[-1].at_ms)]
    return chart("Limits of power, by source", times, drawn)


def _terms(course: SessionCourse, until_ms: int) -> dict[str, object] | None:
    """Return the chart of what limits discharging, and of prices, each of which holds until the next."""
    limits = _limits(course)
    if not limits and not course.prices:
        return None
    times = sorted({at for at, _ in limits} | {each.at_ms for each in course.prices} | {until_ms})
    powers, prices = dict(limits), {each.at_ms: each for each in course.prices}
    drawn, facts, step = [], None, None
    rows = []
    for at in times:
        facts, step = powers.get(at, facts), prices.get(at, step)
        rows.append((facts, step))
    if limits:
        drawn = [
            ChartLine(label, "kW", [None if by is None else -by[name] / 1000 for by, _ in rows], steps=True)
            for name, label in _AT_MOST.items()
        ]
    if course.prices:
        unit = f"{course.prices[-1].currency}/kWh"
        drawn += [
            ChartLine(
                label, unit, [None if of is None else getattr(of, name) / 1e6 for _, of in rows], steps=True, look=look
            )
            for name, label, look in (
                ("import_price", "Price of charging", "in"),
                ("export_price", "Price of feeding back", "out"),
            )
            if name == "import_price" or any(each.export_price for each in course.prices)
        ]
    return chart("Limits of discharging, and prices" if limits else "Prices, without tax", times, drawn)


@action("/sessions/{station_id}/{transaction_id}/stop", remote_control.stop_transaction)
async def stop(visit: Visit) -> Answer:
    """Stop a session."""
    station, transaction = visit.path["station_id"], visit.path["transaction_id"]
    visit.back = place("sessions", station, transaction)
    found = await visit.ask(remote_control.stop_transaction, transaction_id=transaction, station=station)
    status = found["status"]
    return visit.see(visit.back, "Stop: {status}", failed=status != "Accepted", status=status)


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
