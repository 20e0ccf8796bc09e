"""The page of stations' certificates: which expire next, and how many in the weeks to come."""

from typing import Any, Final

from csms.console.listing import Column, Listing, show_pages
from csms.console.visit import Visit, page, segment
from csms.http.pipeline import Answer
from csms.station_security import api

_DAY_MS: Final = 86_400_000
AHEAD: Final = (7, 30, 90)
"""Days of which the page says how many certificates expire within them; alerts begin at the first two."""

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
    weeks = await visit.ask(api.read_certificate_forecast) if visit.may(api.read_certificate_forecast) else None
    more = {
        "expired": None if weeks is None else _within(weeks, None),
        "ahead": {days: _within(weeks or [], visit.now_ms + days * _DAY_MS) for days in AHEAD},
    }
    return await show_pages(visit, shown, api.list_expiring_certificates, {}, template="certificates.html", **more)


def _within(weeks: list[dict[str, Any]], end_ms: int | None) -> int:
    """Return how many expire in the weeks that begin before a time; None: how many have."""
    return sum(
        each["certificates"]
        for each in weeks
        if (each["from_ms"] is None if end_ms is None else each["from_ms"] is not None and each["from_ms"] < end_ms)
    )
