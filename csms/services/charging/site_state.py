"""State of a site's EVSEs, for balancing and dispatch."""

import msgspec

from csms.db.queries import charging
from csms.domain.charging.sites import Known, Site
from csms.ocpp.base import Services


async def look_at(services: Services, site: Site) -> tuple[dict[str, Known], dict[str, int]]:
    """Return the state of a site's EVSEs, and the last limit (mA) of each with a transaction or a share.

    Before its first share a transaction may draw `waiting_ma`, or all that its EVSE can where the station does not hold
    that default.
    """
    connected = services.connections.connected()
    known: dict[str, Known] = {}
    given: dict[str, int] = {}
    stations = sorted({place.station_id for place in site.places})
    found = await services.store.read(charging.look_all, stations, services.clock.utc_ms())
    for place in sorted(site.places, key=lambda place: place.station_id):
        seen = found[place.station_id]
        about = seen.known.get(place.evse_id, Known(external=seen.station))
        known[place.id] = msgspec.structs.replace(
            about, connected=place.station_id in connected, uncontrolled=place.evse_id in seen.uncontrolled
        )
        if place.evse_id in seen.shares:
            given[place.id] = seen.shares[place.evse_id]
        elif about.transaction is not None:
            given[place.id] = min(place.most_ma, site.waiting_ma) if seen.waiting else place.most_ma
    return known, given
