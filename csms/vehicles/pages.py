"""Vehicles and their batteries, and the map."""

from contextlib import suppress
from typing import Final

from csms.alerts import api as alerts
from csms.batteries import api as batteries
from csms.console.listing import INSTALLED, Column, Listing, show_list
from csms.console.present import ChartLine, chart
from csms.console.visit import Visit, page, segment
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from csms.scores import api as scores
from csms.sites import api as sites
from csms.vehicles import api as positions
from v2g.typed_json import Fields

_SILENT_MS = 3_600_000
_SHOWN = "battery.soc,battery.soh,charging.power"
_MOST_ESTIMATES = 1000
_MOST_ROWS = 100


VEHICLES: Final = (
    Column("vehicle", "Vehicle", lambda row: row["ev"], href=lambda row: f"/vehicles/{segment(row['ev'])}"),
    Column("state", "State", lambda row: row["context"], "state"),
    Column("charge", "Charge", lambda row: row["values"].get("battery.soc"), "percent"),
    Column("health", "Health", lambda row: row["values"].get("battery.soh"), "percent", phone=False),
    Column("power", "Power", lambda row: row["values"].get("charging.power"), "power"),
    Column("telemetry", "Telemetry", lambda row: row["telemetry"], "state", phone=False),
    Column("seen", "Last record", lambda row: row["at_ms"], "time"),
)


@page("/vehicles", positions.list_vehicles)
async def list_vehicles(visit: Visit) -> Answer:
    """List vehicles with their latest state."""
    signals = ",".join(positions.seen(visit.person.principal, _SHOWN.split(",")))
    found = await visit.ask(positions.list_vehicles, signals=signals)
    since = visit.now_ms - _SILENT_MS
    rows = [{**each, "telemetry": "silent" if each["at_ms"] < since else "current"} for each in found]
    old = visit.asked("text", "silent")  # of addresses of former versions
    asked = ({"q": old["text"]} if "text" in old else {}) | ({"telemetry": "silent"} if "silent" in old else {})
    empty = "No vehicle fits. A vehicle appears here with its first telemetry."
    health = {"/batteries": "Health of batteries"} if visit.may(batteries.list_fleet_health) else {}
    shown = Listing(
        title="Vehicles",
        columns=VEHICLES,
        rows=rows,
        tab="telemetry",
        asked=asked,
        empty=empty,
        links={**INSTALLED, **health},
    )
    return await show_list(visit, shown, by=("state",))


@page("/vehicles/{ev}", positions.read_vehicle)
async def one_vehicle(visit: Visit) -> Answer:
    """Show a vehicle: latest values, its battery with forecast, alerts, scores."""
    name = visit.path["ev"]
    found = await visit.ask(positions.read_vehicle, ev=name)
    estimates, checks, raised, scored = [], [], [], None
    if visit.may(scores.read_scores):
        with suppress(ApiError):  # there are none without consent
            scored = await visit.ask(scores.read_scores, ev=name)
    if visit.may(positions.list_battery_estimates):
        from_ms = max(0, visit.now_ms - _MOST_ESTIMATES * 900_000)
        span = {"ev": name, "from_ms": from_ms, "limit": _MOST_ESTIMATES}
        estimates = await visit.ask(positions.list_battery_estimates, **span)
        checks = await visit.ask(batteries.list_battery_checks, ev=name)
    if visit.may(alerts.list_alerts):
        raised = await visit.ask(alerts.list_alerts, subject=name, limit=20)
    drawn = _battery(estimates)
    return visit.show(
        "vehicle.html",
        found=found,
        chart=drawn,
        estimate=estimates[-1]["values"] if estimates else {},
        estimates=estimates[::-1][:: -(-len(estimates) // _MOST_ROWS) or 1],
        checks=checks[-10:],
        alerts=raised,
        scored=scored,
        since=visit.now_ms - _SILENT_MS,
    )


def _battery(estimates: list[Fields]) -> dict[str, object] | None:
    """Return the chart of a battery's state: charge, health, and the health that is expected in half a year."""
    names = {"soc_percent": "Charge", "soh_percent": "Health", "soh_in_half_a_year_percent": "Health in half a year"}
    known = {name: label for name, label in names.items() if any(name in each["values"] for each in estimates)}
    if len(estimates) < 2 or not known:
        return None
    lines = [ChartLine(label, "%", [each["values"].get(name) for each in estimates]) for name, label in known.items()]
    return chart("Battery", [each["at_ms"] for each in estimates], lines)


@page("/batteries", batteries.list_fleet_health)
async def show_batteries(visit: Visit) -> Answer:
    """Show the health of all batteries over 13 weeks, what is expected, and the weakest ones."""
    found = [each for each in await visit.ask(batteries.list_fleet_health) if each["vehicles"]]
    names = {
        "highest_percent": "Highest",
        "mean_percent": "Mean",
        "lowest_percent": "Lowest",
        "expected_percent": "Mean in half a year",
    }
    lines = [ChartLine(label, "%", [each[name] for each in found]) for name, label in names.items()]
    drawn = chart("Health", [each["at_ms"] for each in found], lines) if len(found) > 1 else None
    return visit.show("batteries.html", found=found[-1] if found else None, points=found, chart=drawn)


@page("/map", positions.stream_positions)
async def show_map(visit: Visit) -> Answer:
    """Show where vehicles and sites are; vehicles move as they report."""
    found = [each async for each in visit.every(sites.list_sites)] if visit.may(sites.list_sites) else []
    known = [each for each in found if each["latitude"] is not None and each["longitude"] is not None]
    return visit.show(
        "map.html", sites=known, points=[[each["id"], each["latitude"], each["longitude"]] for each in known]
    )


@page("/positions", positions.stream_positions)
async def stream_positions(visit: Visit) -> Answer:
    """Stream positions as the API does."""
    return await visit.stream(positions.stream_positions, {})
