"""Whether an EVSE is free of a transaction that its station may have lost."""

import pytest
from sqlalchemy import update

from csms.db.store import Store
from csms.stations import store as stations
from csms.stations.tables import stations as table
from v2g.units import HOUR_MS


@pytest.mark.parametrize("freed_ms", [5, HOUR_MS])
def test_an_evse_is_not_free_while_it_is_unknown_since_when_its_station_is_connected(
    store: Store, freed_ms: int
) -> None:
    """A database of 0.2.0 does not say it until the station comes back."""
    store.do(stations.touch, "CS-1", "ocpp2.1", 1)
    store.do(stations.save_connector, "CS-1", 1, 1, "Available", freed_ms)
    asked = ("CS-1", 1, 4, 2 * HOUR_MS)
    assert store.do(stations.is_free, *asked)
    store.do(lambda connection: connection.execute(update(table).values(connected_ms=None)))
    assert not store.do(stations.is_free, *asked)
