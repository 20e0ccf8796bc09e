"""The forecast of stations' certificates, for a whole fleet (R217)."""

from typing import Any

import pytest
from sqlalchemy import insert

from csms.db.store import Store
from csms.station_security.store import expiring, forecast, station_certificates
from v2g.units import WEEK_MS

NOW = 1_900_000_000_000
V2G, CSMS = "V2GCertificate", "ChargingStationCertificate"


@pytest.mark.requirement("R217")
def test_each_certificate_counts_once_in_the_week_in_which_its_newest_one_expires(store: Store) -> None:
    def put(connection: Any) -> None:
        for number, (station, kind, weeks, status) in enumerate(
            [
                ("CS-1", V2G, -1, "Used"),
                ("CS-2", V2G, 0.5, "Accepted"),
                ("CS-2", V2G, 0.2, "Used"),  # renewed
                ("CS-2", CSMS, 1, "Used"),
                ("CS-3", V2G, 1.99, "Accepted"),
                ("CS-4", V2G, 0.1, "Rejected"),  # the station does not have it
                ("CS-5", V2G, 51.9, "Used"),
                ("CS-6", V2G, 52, "Used"),
            ]
        ):
            row = {"issued_ms": 0, "until_ms": NOW + round(weeks * WEEK_MS), "status": status, "pem": "", "subject": ""}
            connection.execute(
                insert(station_certificates).values(serial=str(number), station_id=station, kind=kind, **row)
            )

    store.do(put)
    found = sorted(store.do(forecast, NOW, 52))
    assert found == [(-1, V2G, 1), (0, V2G, 1), (1, CSMS, 1), (1, V2G, 1), (51, V2G, 1)]
    rows = store.do(expiring)
    assert [each["station_id"] for each in rows] == ["CS-1", "CS-2", "CS-2", "CS-3", "CS-5", "CS-6"]
    third = rows[2]
    rest = store.do(expiring, (third["until_ms"], third["station_id"], third["kind"]), 2)
    assert [each["station_id"] for each in rest] == ["CS-3", "CS-5"]
