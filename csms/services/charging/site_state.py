"""State of a site's EVSEs, for balancing and dispatch."""

import msgspec

from csms.db.queries import charging
from csms.domain.charging.sites import Known, Site
from csms.ocpp.base import Services


async def look_at(services: Services, site: Site) -> tuple[dict[str, Known], dict[str, int]]:
    """Return the state of a site's EVSEs, and the last limit of each (mA)."""
    connected = services.connections.connected()
    known: dict[str, Known] = {}
    given: dict[str, int] = {}
    for station_id in sorted({place.station_id for place in site.places}):
        at_station = {place.evse_id: place for place in site.places if place.station_id == station_id}
        seen = await services.store.read(charging.look, station_id, services.clock.utc_ms())
        for evse_id, place in at_station.items():
            about = seen.known.get(evse_id, Known(external_w=seen.station_w))
            known[place.id] = msgspec.structs.replace(about, connected=station_id in connected)
            if evse_id in seen.shares:
                given[place.id] = seen.shares[evse_id]
    return known, given
