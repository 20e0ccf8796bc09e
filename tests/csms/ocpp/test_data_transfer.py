"""Functional block P, data transfer, beyond the cases of the test lab."""

from csms.config import Vendor
from csms.remote_control import store as remote_control
from csms.remote_control.work import transfer_data
from tests.csms.backend import Backend
from tests.csms.customers import Start


async def test_what_vendors_send_who_are_known_is_kept(backend: Start) -> None:
    """P02."""
    vendors = (Vendor(vendor_id="com.example", message_ids=("Weather",)), Vendor(vendor_id="org.example"))
    async with backend(vendors=vendors) as csms:
        station = await csms.booted()
        weather = {"vendorId": "com.example", "messageId": "Weather", "data": {"celsius": -3, "snow": None}}
        assert await station.call("DataTransfer", weather) == {"status": "Accepted"}
        assert await station.call("DataTransfer", {**weather, "messageId": "News"}) == {"status": "UnknownMessageId"}
        assert await station.call("DataTransfer", {"vendorId": "org.example"}) == {"status": "Accepted"}
        kept = await csms.services.store.run(remote_control.list_transfers, station_id=station.id)
        assert [(each["vendor_id"], each["document"]) for each in kept] == [
            ("org.example", None),
            ("com.example", {"celsius": -3, "snow": None}),
        ]


async def test_a_vendors_message_goes_to_a_station(csms: Backend) -> None:
    """P01."""
    station = await csms.booted()
    station.answers["DataTransfer"] = {"status": "Accepted", "data": [1, 2]}
    response = await transfer_data(csms.services, station.id, "com.example", "Weather", {"celsius": 20})
    assert response.data == [1, 2]
    sent = {"vendorId": "com.example", "messageId": "Weather", "data": {"celsius": 20}}
    assert station.payloads("DataTransfer") == [sent]
