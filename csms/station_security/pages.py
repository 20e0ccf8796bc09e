"""The page of stations' certificates: which expire next, and how many in the weeks to come."""

from collections import Counter
from typing import Final

from csms.console.listing import Column, Listing, show_pages
from csms.console.visit import Visit, page, segment
from csms.http.pipeline import Answer
from csms.station_security import api
from v2g.units import WEEK_MS

AHEAD: Final = (1, 4, 13)
"""Weeks of which the page says how many certificates expire within them; alerts begin 7 and 30 days ahead."""

CERTIFICATES: Final = (
    Column(
        "station", "Station", lambda row: row["station_id"], href=lambda row: f"/stations/{segment(row['station_id'])}"
    ),
    Column("kind", "Kind", lambda row: row["kind"]),
    Column("until", "Expires", lambda row: row["until_ms"], "time"),
)


@page("/certificates", api.list_expiring_certificates)
async def list_certificates(visit: Visit) -> Answer:
    """List the newest certificates of stations, the first to expire first, with a forecast for the whole fleet."""
    shown = Listing(
        title="Certificates",
        columns=CERTIFICATES,
        search=False,
        key=lambda row: f"{row['station_id']}/{row['kind']}",
        empty="No station has a certificate that this back end knows.",
    )
    more: dict[str, object] = {"expired": None}
    if visit.may(api.read_certificate_forecast):
        now_ms, weeks = visit.now_ms, Counter[int]()
        for each in await visit.ask(api.read_certificate_forecast):  # whose weeks begin some moments later
            begins_ms = each["from_ms"]
            weeks[-1 if begins_ms is None else round((begins_ms - now_ms) / WEEK_MS)] += each["certificates"]
        more = {"expired": weeks[-1], "ahead": {7 * most: sum(weeks[each] for each in range(most)) for most in AHEAD}}
    return await show_pages(visit, shown, api.list_expiring_certificates, {}, template="certificates.html", **more)
