"""The page of stations' certificates, and its forecast (R217)."""

import pytest
from sqlalchemy import Connection, insert

from csms.accounts.rules import Role
from csms.station_security.store import station_certificates
from tests.csms.api.support import ApiClient
from tests.csms.console.support import employ, text_of
from v2g.units import WEEK_MS


@pytest.mark.requirement("R217")
async def test_the_page_counts_what_expires_within_whole_weeks(ask: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ask.backend.clock
    now_ms = clock.utc_ms()

    def put(connection: Connection) -> None:
        for number, weeks in enumerate((-1, 0.9, 1.1, 3.9, 4.2, 12.9, 13.1)):
            row = {"issued_ms": 0, "until_ms": now_ms + round(weeks * WEEK_MS), "status": "Used", "pem": ""}
            about = {"serial": str(number), "station_id": f"CS-{number}", "kind": "V2GCertificate", "subject": ""}
            connection.execute(insert(station_certificates).values(row | about))

    await ask.backend.services.store.run(put)
    ada = await employ(ask, "ada", Role.OPERATOR)

    def passing() -> int:  # time that passes between two looks at the clock
        clock.advance(0.001)
        return clock.now_ms

    monkeypatch.setattr(clock, "utc_ms", passing)
    text = text_of(await ada.get("/console/certificates"))
    for said in ("1 have expired.", "1 expire within 7 days.", "3 expire within 28 days.", "5 expire within 91 days."):
        assert said in text, said
