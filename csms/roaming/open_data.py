"""Open data for national access points (AFIR), below `/ocpi/open`: places, status and prices without a token.

They are the objects that partners see: OCPI lists as theirs, and DATEX II made of them at each request.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from csms.roaming import store as rows
from csms.roaming.partners import PATH, Partners
from csms.services import Services
from v2g import typed_json
from v2g.datex import afir
from v2g.errors import OcpiError
from v2g.ocpi import wire
from v2g.ocpi.objects import OcpiLocation, OcpiTariff
from v2g.ocpi.wire import VERSIONS, Version

OPEN: Final = "open"
_MODULES: Final = ("locations", "tariffs")


class OpenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Open data: `data` of OCPI in the inner form, or a whole `document`."""

    data: object = None
    document: object = None
    headers: dict[str, str] = {}
    version: Version = VERSIONS[0]


async def answer_open(services: Services, partners: Partners, path: tuple[str, ...], query: str) -> OpenAnswer:
    """Answer `VERSION/locations`, `VERSION/tariffs`, `datex/table`, `datex/status` or `datex/missing`. Raises
    OcpiError."""
    match path:
        case (version, module) if version in VERSIONS and module in _MODULES:
            return await _listed(services, partners, VERSIONS[VERSIONS.index(version)], module, query)
        case ("datex", ("table" | "status" | "missing") as what):
            return OpenAnswer(document=await _datex(services, partners, what))
    raise OcpiError("unknown path", code=2001, http=404)


async def _listed(services: Services, partners: Partners, version: Version, module: str, query: str) -> OpenAnswer:
    url = f"{partners.config.url}{PATH}/{OPEN}/{version}/{module}"
    shown, headers = await page_of(services, module, url, wire.query_of(query), "")
    return OpenAnswer(
        data=[each for each in shown if not isinstance(each, dict) or each.get("publish", True)],
        headers=headers, version=version,
    )  # fmt: skip


async def page_of(
    services: Services, module: str, url: str, query: Mapping[str, str], seen_by: str
) -> tuple[list[object], dict[str, str]]:
    """Return a page of the own objects that a partner, or everyone (""), may see, and its headers."""
    asked = wire.list_query(query)
    total, found, more = await services.store.read(rows.list_objects, module, asked, seen_by=seen_by)
    headers = {"X-Total-Count": str(total), "X-Limit": str(wire.MOST_LISTED)}
    if more:
        last = found[-1].updated_ms, found[-1].object_id
        headers["Link"] = wire.next_link(url, query, asked, last, total)
    return [typed_json.decode_exact(each.document.encode()) for each in found], headers


async def publications(services: Services, partners: Partners) -> dict[str, tuple[str, Any]]:
    """Return table and status as they are sent: each with the version of what it says, whenever that is. A table has
    at least one site: without any there is nothing to send."""
    table, who = await _datex(services, partners, "table"), _publisher(partners)
    if not afir.has_sites(table):
        return {}
    now = wire.moment(services.clock.utc_ms())
    found = {"table": table, "status": await _datex(services, partners, "status")}
    return {name: (afir.version_of(each), afir.container(each, who, now)) for name, each in found.items()}


def _publisher(partners: Partners) -> afir.Publisher:
    config = partners.config
    return afir.Publisher(
        country_code=config.country_code, party_id=config.party_id, name=config.name, legal_name=config.legal_name
    )


async def _datex(services: Services, partners: Partners, what: str) -> Any:
    now, who = wire.moment(services.clock.utc_ms()), _publisher(partners)

    def made(connection: Connection) -> Any:
        """Made beside the event loop: there may be thousands of places."""
        locations, kept = (rows.objects_in(connection, "", module) for module in _MODULES)
        places = [typed_json.decode(each.document, OcpiLocation) for each in locations]
        tariffs = {each.id: each for each in (typed_json.decode(each.document, OcpiTariff) for each in kept)}
        if what == "missing":
            return afir.missing(places, tariffs, who)
        return (afir.table if what == "table" else afir.status)(places, tariffs, who, now)

    return await services.store.read(made)
