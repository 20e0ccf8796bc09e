"""Functional block G, availability, beyond the cases of the test lab."""

import asyncio

import pytest

from csms.remote_control import store as commands
from csms.remote_control import work as availability
from csms.remote_control.rules import Order
from tests.csms.backend import Backend
from tests.csms.charging import Charging, away
from tests.csms.customers import TOKENS, Start, connector_is, device_event
from tests.csms.scripted_station import Payload, Refused, ScriptedStation
from tests.csms.support import run_periodic
from tests.waiting import until
from v2g.errors import OcppError
from v2g.ocpp.messages.availability import OperationalStatus


async def order_of(csms: Backend, order: Order) -> Order:
    """Return an order as it stands now."""
    orders: list[Order] = await csms.services.store.run(commands.list_orders)
    return next(each for each in orders if each.order_id == order.order_id)


async def change(
    csms: Backend, station: ScriptedStation, wanted: OperationalStatus, evse: Payload | None, status: str = "Accepted"
) -> Order:
    """Have the back end change the availability of an EVSE, a connector or the station (no `evse`)."""
    station.answers["ChangeAvailability"] = {"status": status}
    place = (evse.get("id", 0), evse.get("connectorId", 0)) if evse else (0, 0)
    order = await availability.change(csms.services, station.id, wanted, *place)
    sent = station.payloads("ChangeAvailability")[-1]
    assert sent == {"operationalStatus": wanted} | ({"evse": evse} if evse else {})
    assert order.state == status
    return order


PLACES: tuple[Payload | None, ...] = (None, {"id": 1}, {"id": 1, "connectorId": 1})


@pytest.mark.parametrize("wanted", ["Operative", "Inoperative"])
@pytest.mark.parametrize("evse", PLACES, ids=["station", "EVSE", "connector"])
async def test_an_order_is_done_when_the_connector_says_so(
    csms: Backend, wanted: OperationalStatus, evse: Payload | None
) -> None:
    station = await csms.booted()
    if wanted == "Operative":
        await connector_is(csms, station, "Unavailable")
    order = await change(csms, station, wanted, evse)
    await connector_is(csms, station, "Available" if wanted == "Operative" else "Unavailable")
    assert (await order_of(csms, order)).state == "Done"


@pytest.mark.parametrize("evse", PLACES, ids=["station", "EVSE", "connector"])
async def test_an_order_waits_for_a_transaction(backend: Start, evse: Payload | None) -> None:
    async with backend(tokens=TOKENS) as csms:
        charging = Charging(csms, await csms.booted())
        await charging.started()
        order = await change(csms, charging.station, "Inoperative", evse, "Scheduled")
        await charging.post_session()
        await charging.unplugged()
        assert (await order_of(csms, order)).state == "Scheduled"
        await connector_is(csms, charging.station, "Unavailable")
        assert (await order_of(csms, order)).state == "Done"


async def test_states_of_connectors_are_told(csms: Backend) -> None:
    """G01 of 2.1: by StatusNotification and by event."""
    station = await csms.booted(version="2.1")
    for status in ("Occupied", "Available"):
        await connector_is(csms, station, status)
        assert csms.events.named("connector_status")[-1].data["status"] == status


async def test_device_events_are_told(csms: Backend) -> None:
    station = await csms.booted()
    request = {"generatedAt": "2026-01-01T00:00:00Z", "seqNo": 0, "eventData": [device_event()]}
    assert await station.call("NotifyEvent", request) == {}
    (event,) = csms.events.named("device_event")
    assert (event.data["component"], event.data["value"]) == ("ConnectorPlugRetentionLock", "true")


# -- beyond the cases


async def test_a_connectors_status_may_come_as_an_event_alone(csms: Backend) -> None:
    """G01.FR.07; TC_G_11 has it either way."""
    station = await csms.booted()
    order = await change(csms, station, "Inoperative", {"id": 1})
    component = {"name": "Connector", "evse": {"id": 1, "connectorId": 1}}
    event = device_event(component=component, variable={"name": "AvailabilityState"}, actualValue="Unavailable")
    stamped = {**event, "timestamp": "2026-01-01T00:00:01Z"}
    await station.call("NotifyEvent", {"generatedAt": "2026-01-01T00:00:01Z", "seqNo": 0, "eventData": [stamped]})
    assert (await order_of(csms, order)).state == "Done"


async def test_a_planned_change_is_sent_when_its_time_has_come_and_the_station_is_there(csms: Backend) -> None:
    station = await csms.booted()
    at_ms = csms.clock.utc_ms() + 60_000
    order = await availability.change(csms.services, station.id, "Inoperative", 1, at_ms=at_ms)
    await run_periodic(csms.services)
    assert (order.state, station.calls) == ("Planned", [])
    await away(csms, station)
    csms.clock.advance(60)
    await run_periodic(csms.services)
    assert (await order_of(csms, order)).state == "Planned"
    station = await csms.booted()
    station.answers["ChangeAvailability"] = {"status": "Accepted"}
    await run_periodic(csms.services)
    await run_periodic(csms.services)
    assert station.payloads("ChangeAvailability") == [{"evse": {"id": 1}, "operationalStatus": "Inoperative"}]
    assert (await order_of(csms, order)).state == "Accepted"


async def test_a_station_that_does_not_answer_keeps_no_other_waiting(csms: Backend) -> None:
    silent, other = await csms.booted(), await csms.booted("CS-V2G-0002")
    other.answers["ChangeAvailability"] = {"status": "Accepted"}
    at_ms = csms.clock.utc_ms() + 1000
    for station in (silent, other):
        await availability.change(csms.services, station.id, "Inoperative", at_ms=at_ms)
    csms.clock.advance(1)
    going = asyncio.create_task(availability.send_due(csms.services))
    request = await silent.expect("ChangeAvailability")
    await until(lambda: csms.events.named("command_result"))
    request.reply({"status": "Rejected"})
    await going
    orders = await csms.services.store.run(commands.list_orders)
    assert {each.station_id: each.state for each in orders} == {silent.id: "Rejected", other.id: "Accepted"}


async def test_a_newer_order_about_the_same_replaces_an_older_one(csms: Backend) -> None:
    station = await csms.booted()
    first = await change(csms, station, "Inoperative", {"id": 1}, "Scheduled")
    second = await change(csms, station, "Operative", {"id": 1})
    assert (await order_of(csms, first)).state == "Replaced"
    assert (await order_of(csms, second)).state == "Accepted"


async def test_an_order_that_the_station_could_not_read_has_failed(csms: Backend) -> None:
    station = await csms.booted()
    station.answers["ChangeAvailability"] = Refused("NotSupported")
    with pytest.raises(OcppError):
        await availability.change(csms.services, station.id, "Operative")
    (order,) = await csms.services.store.run(commands.list_orders)
    assert order.state == "Failed"
