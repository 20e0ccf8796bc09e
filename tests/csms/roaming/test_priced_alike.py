"""What partners compute by a published tariff is what a session costs here, whatever its plan."""

from typing import Any

import pytest

from tests.csms.charging import Charging
from tests.csms.fixtures import backend as backend
from tests.csms.roaming.registered import LOCATION, PLAN, TOKEN, UID, Roaming
from tests.csms.roaming.registered import roaming as roaming
from v2g.ocpi import wire
from v2g.ocpi.objects import OcpiCdr
from v2g.ocpi.records import judge_cdr
from v2g.ocpp.times import format_time

VAT = [{"kind": "VAT", "ppm": 190000}]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"reservation_fixed": {"rates": [{"price": "2.00"}], "taxes": VAT}},
        {"reservation_time": {"rates": [{"price": "0.10"}], "taxes": VAT}},
        {"least": {"incl_tax": "20.00"}},
        {"greatest": {"incl_tax": "3.00"}},
        {"least": {"excl_tax": "20.00"}},
        {"greatest": {"excl_tax": "3.00"}},
    ],
)
async def test_a_cdr_costs_what_its_tariff_says(roaming: Roaming, more: dict[str, Any]) -> None:
    assert (await roaming.ask("POST", "/tariffs", {**PLAN, "id": "other", **more})).status == 201
    assert (await roaming.ask("PUT", "/tariff-assignments", {"plan_id": "other"})).status < 300
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    station = await roaming.backend.booted()
    station.answers["ReserveNow"] = {"status": "Accepted"}
    until = format_time(roaming.backend.clock.utc_ms() + 7_200_000)
    reserve = {
        "response_url": f"{roaming.partner.url}/commands/result", "location_id": "Depot", "evse_uid": UID,
        "token": TOKEN, "expiry_date": until, "reservation_id": "R-1",
    }  # fmt: skip
    await roaming.ocpi("POST", "/cpo/2.2.1/commands/RESERVE_NOW", reserve)
    await roaming.partner.sent("POST", "/commands/result")
    number = station.payloads("ReserveNow")[0]["id"]
    roaming.backend.clock.advance(1000)
    charging, token = Charging(roaming.backend, station), {"idToken": "04A1B2C3", "type": "ISO14443"}
    await charging.event(
        "Started", "Authorized", state="Charging", token=token, context="Transaction.Begin",
        extra={"reservationId": number},
    )  # fmt: skip
    charging.wh += 10_000
    for _ in range(60):
        roaming.backend.clock.advance(60)
    await charging.event("Ended", "StopAuthorized", stopped="Local", token=token, context="Transaction.End")
    await roaming.partner.sent("POST", "/cdrs")
    (cdr,) = (await roaming.ocpi("GET", "/cpo/2.3.0/cdrs")).json["data"]
    read = wire.read(wire.decode(wire.encode(cdr)), OcpiCdr)
    assert judge_cdr(read, {}, "Europe/Berlin", roaming.backend.clock.utc_ms()) == []
