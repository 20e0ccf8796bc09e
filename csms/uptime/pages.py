"""The page of uptime: whether the target of a definition is reached, and which EVSEs miss it."""

from typing import Final

from csms.console.listing import Column, Listing, show_pages
from csms.console.present import price
from csms.console.visit import Visit, page, segment
from csms.http.pipeline import Answer
from csms.overview import api as overview
from csms.uptime import api
from csms.uptime.rules import EvseOutage
from v2g import typed_json
from v2g.typed_json import Fields

AT_ONCE: Final = 1000
"""Stations that are summed up at each view of the page; of 10,000 that takes some seconds, so it waits to be asked."""

EVSES: Final = (
    Column(
        "station", "Station", lambda row: row["station_id"], href=lambda row: f"/stations/{segment(row['station_id'])}"
    ),
    Column("evse", "EVSE", lambda row: row["evse_id"], "number"),
    Column("uptime", "Uptime", lambda row: row["percent"] and f"{price(row['percent'])} %"),
    Column("state", "Target", lambda row: _reached(row["reaches_target"]), "state"),
    Column("outages", "Outages", lambda row: len(row["outages"]), "number", phone=False),
    Column("out", "Out, counted", lambda row: row["outage_ms"], "duration"),
    Column("excluded", "Not counted", lambda row: row["excluded_ms"], "duration", phone=False),
    Column("attempts", "Sessions", lambda row: row["attempts"], "number", phone=False),
    Column("charged", "With energy", lambda row: f"{price(row['charged_percent'])} %" if row["attempts"] else None),
    Column("last", "Last outage", lambda row: each.from_ms if (each := _last(row)) else None, "time", phone=False),
    Column("why", "Why", lambda row: _why(row), "state", phone=False),
)


def _reached(reaches: bool | None) -> str:
    return "Unknown" if reaches is None else "Reached" if reaches else "Missed"


def _last(row: Fields) -> EvseOutage | None:
    return typed_json.convert(row["outages"][-1], EvseOutage) if row["outages"] else None


def _why(row: dict[str, object]) -> str | None:
    last = _last(row)
    return None if last is None else last.why.capitalize()


@page("/uptime", api.list_uptime)
async def list_uptime(visit: Visit) -> Answer:
    """List the uptime of EVSEs by a definition, with that of all together."""
    known = [each["name"] for each in await visit.ask(api.list_uptime_rules)]
    asked = visit.asked("rules", "station_id")
    if asked.get("rules") not in known:
        asked = {**asked, "rules": known[0]}
    shown = Listing(
        title="Uptime",
        columns=EVSES,
        asked=asked,
        filters={"rules": ("Definition", known), "station_id": ("Station", None)},
        search=False,
        key=lambda row: f"{row['station_id']}/{row['evse_id']}",
        empty="No station has reported the state of a connector yet.",
    )
    summary = None
    count = (await visit.ask(overview.read_stations_overview))["known"]
    if count <= AT_ONCE or visit.asked("all"):
        summary = await visit.ask(api.read_uptime_summary, rules=asked["rules"])
    more = {"summary": summary, "count": count, "chosen": asked["rules"]}
    return await show_pages(visit, shown, api.list_uptime, asked, template="uptime.html", **more)
