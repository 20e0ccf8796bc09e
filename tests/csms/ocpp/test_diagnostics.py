"""Functional block N, diagnostics, beyond the cases of the test lab."""

import json
from typing import Any

import pytest

from csms.commands import work as commands
from csms.diagnostics import store as rows
from csms.diagnostics import work as diagnostics
from tests.csms.backend import Backend
from tests.csms.customers import CUSTOMER, VALID, accepted, device_event, parts_of, request_of
from tests.csms.monitors import EVSE_1, NOW, STATE, install
from tests.csms.scripted_station import Payload, ScriptedStation
from v2g.errors import RefusedError
from v2g.ocpp.messages import diagnostics as ocpp
from v2g.ocpp.messages.base import Component
from v2g.ocpp.messages.monitoring import SetMonitoringData

WIRE: dict[str, Payload] = {
    "EVSE": {"name": "EVSE", "evse": {"id": 1}},
    "ChargingStation": {"name": "ChargingStation"},
}


# -- setting and clearing monitors


def delta(component: Component, severity: int = 8) -> SetMonitoringData:
    """Return a monitor of a component's AvailabilityState."""
    return SetMonitoringData(value=1.0, type="Delta", severity=severity, component=component, variable=STATE)


# -- logs


async def test_the_password_of_an_upload_is_not_told(csms: Backend) -> None:
    """N01.FR.17: the password is in the address, which is neither kept nor shown to those who watch."""
    station = await csms.booted(version="2.1")
    station.answers["GetLog"] = accepted
    where = "https://logs:hunter2@logs.example/CS-V2G-0001"
    asked = await diagnostics.get_log(csms.services, station.id, "DiagnosticsLog", where)
    assert station.payloads("GetLog")[0]["log"]["remoteLocation"] == where
    assert "hunter2" not in str(csms.events.reported)
    assert "logs:***@logs.example" in (await request_of(csms, asked.request_id))["document"]


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("https://logs.example/a#b", "has a fragment"),
        ("HTTP://logs.example/?to=a/", "has a query that ends with a slash"),
        ("https://logs.example/?to=a", ""),
        ("https://logs.example/a/", ""),
        ("ftp://logs.example/a#b", ""),
    ],
)
@pytest.mark.parametrize("raw", [False, True])
async def test_no_upload_is_asked_for_to_an_address_that_stations_change(
    csms: Backend, where: str, fault: str, *, raw: bool
) -> None:
    """N01.FR.27, FR.28."""
    station = await csms.booted(version="2.1")
    station.answers["GetLog"] = accepted
    log = ocpp.LogParameters(remote_location=where)

    async def asked() -> None:
        if raw:
            request = ocpp.GetLogRequest(log=log, log_type="SecurityLog", request_id=7)
            await commands.send(csms.services, station.id, request, 60)
        else:
            await diagnostics.get_log(csms.services, station.id, "SecurityLog", where)

    if fault:
        with pytest.raises(RefusedError, match=fault):
            await asked()
    else:
        await asked()
    assert len(station.payloads("GetLog")) == (not fault)


# -- customers


async def customer(
    csms: Backend, station: ScriptedStation, status: str = "Accepted", data: str | None = None, **wish: Any
) -> dict[str, Any]:
    """Have the back end ask about a customer; let the station tell `data`. Return the request as noted."""
    station.answers["CustomerInformation"] = {"status": status}
    wish.setdefault("report", True)
    wish.setdefault("clear", False)
    if not wish.keys() & {"certificate", "identifier"}:
        wish["id_token"] = CUSTOMER
    asked = await diagnostics.customer_information(csms.services, station.id, **wish)
    sent = station.payloads("CustomerInformation")[-1]
    assert (sent["report"], sent["clear"]) == (wish["report"], wish["clear"])
    assert sent.get("idToken") == (VALID if "id_token" in wish else None)
    if data is not None:
        part = {"data": data, "seqNo": 0, "generatedAt": NOW, "requestId": asked.request_id}
        assert await station.call("NotifyCustomerInformation", part) == {}
        assert [json.loads(each) for each in await parts_of(csms, asked.request_id)] == [data]
    return await request_of(csms, asked.request_id)


async def test_what_customers_did_is_not_told(csms: Backend) -> None:
    assert (await customer(csms, await csms.booted(), data="charged twice"))["done_ms"] is not None
    assert "charged twice" not in str(csms.events.reported)


# -- beyond the cases


async def test_a_customer_is_named_one_way(csms: Backend) -> None:
    """N09.FR.04, N10.FR.08."""
    station = await csms.booted()
    for wish in ({}, {"id_token": CUSTOMER, "identifier": "x"}):
        with pytest.raises(RefusedError, match="exactly one"):
            await diagnostics.customer_information(
                csms.services,
                station.id,
                report=True,
                clear=False,
                **wish,  # type: ignore[arg-type]
            )


async def test_an_event_has_the_severity_of_its_monitor(csms: Backend) -> None:
    station = await csms.booted()
    install(station)
    await diagnostics.set_monitors(csms.services, station.id, [delta(EVSE_1, severity=3)])
    event = device_event(variableMonitoringId=1)
    await station.call("NotifyEvent", {"generatedAt": NOW, "seqNo": 0, "eventData": [event]})
    (kept,) = await csms.services.store.run(rows.list_events, station_id=station.id)
    assert kept["severity"] == 3


async def test_going_back_to_factory_default_ends_our_monitors(csms: Backend) -> None:
    """N03.FR.04."""
    station = await csms.booted()
    install(station)
    station.answers["SetMonitoringBase"] = accepted
    await diagnostics.set_monitors(csms.services, station.id, [delta(EVSE_1)])
    await diagnostics.set_base(csms.services, station.id, "All")
    assert len(await csms.services.store.run(rows.list_monitors, station.id)) == 1
    await diagnostics.set_base(csms.services, station.id, "FactoryDefault")
    assert await csms.services.store.run(rows.list_monitors, station.id) == []
