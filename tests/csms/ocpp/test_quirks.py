"""Quirks of stations at the back end: tolerated by make, reported once, shown, overridden by the operator."""

import asyncio
from typing import Any

import pytest

from tests.csms.api.support import serving
from tests.csms.backend import Backend
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Refused
from v2g.ocpp.messages.authorization import ClearCacheRequest
from v2g.ocpp.quirks import StationQuirks

CS = "CS-V2G-0001"


def boot(vendor: str, model: str = "M", **more: Any) -> dict[str, Any]:
    return {"reason": "PowerUp", "chargingStation": {"vendorName": vendor, "model": model, **more}}


STATUS = {"evseId": 1, "connectorId": 1, "connectorStatus": "Available", "timestamp": "2026-01-01T00:00:00"}


async def test_a_make_with_a_quirk_is_understood_and_another_is_not(backend: Start) -> None:
    async with backend() as csms:
        station = await csms.join()
        await station.call("BootNotification", boot("Other"))
        with pytest.raises(Refused, match="PropertyConstraintViolation"):
            await station.call_unchecked("StatusNotification", STATUS)
        await station.call("BootNotification", boot("Growatt", "THOR"))
        for _ in range(2):
            assert await station.call_unchecked("StatusNotification", STATUS) == {}
        (event,) = csms.events.named("quirk_tolerated")
        assert event.data == {"station": CS, "quirk": "time_without_zone", "message": "StatusNotificationRequest"}
        await csms.leave(station)
        again = await csms.join()  # before it boots, as it is known
        assert await again.call_unchecked("StatusNotification", STATUS) == {}
        await again.call("BootNotification", boot("Other"))
        with pytest.raises(Refused):
            await again.call_unchecked("StatusNotification", STATUS)


async def test_a_boot_that_is_wrong_itself_says_whose_it_is(backend: Start) -> None:
    async with backend() as csms:
        station = await csms.join()
        wrong = boot("UnitedChargers", "Grizzl-E Smart Connect")
        assert (await station.call_unchecked("BootNotification", wrong))["status"] == "Accepted"
        other = boot("Other", "Grizzl-E Smart Connect")
        with pytest.raises(Refused):
            await station.call_unchecked("BootNotification", other)


async def test_answers_of_a_make_are_read_by_its_quirks_too(backend: Start) -> None:
    async with backend(ocpp={"quirks": (StationQuirks(vendor="Own", tolerates=("enum_case",)),)}) as csms:
        station = await csms.join()
        await station.call("BootNotification", boot("Own"))
        waits = asyncio.create_task(csms.call(station, ClearCacheRequest()))
        station.push([3, (await station.expect("ClearCache")).id, {"status": "accepted"}])
        assert (await waits).status == "Accepted"


async def test_requests_wait_after_the_boot_of_a_make_that_needs_time(backend: Start) -> None:
    async with backend(ocpp={"quirks": (StationQuirks(vendor="Slow", delay_after_boot_s=600),)}) as csms:
        station = await csms.join()
        station.answers["ClearCache"] = {"status": "Accepted"}
        await station.call("BootNotification", boot("Slow"))
        waits = asyncio.create_task(csms.call(station, ClearCacheRequest()))
        await station.call("Heartbeat")
        assert (station.calls, waits.done()) == ([], False)
        await station.call("BootNotification", boot("Quick"))
        assert (await csms.call(station, ClearCacheRequest())).status == "Accepted"
        waits.cancel()


async def test_a_station_shows_its_quirks(csms: Backend) -> None:
    async with serving(csms) as ask:
        station = await csms.join()
        await station.call("BootNotification", boot("Wall Box Chargers", "CPB1"))
        found = (await ask("GET", f"/stations/{CS}")).json
        assert (found["quirks"], found["delay_after_boot_s"]) == ([], 20.0)
        await station.call("BootNotification", boot("Growatt", "THOR"))
        assert (await ask("GET", "/stations")).json[0]["quirks"] == ["time_without_zone"]
        for _ in range(2):
            await station.call_unchecked("StatusNotification", STATUS)
        found = (await ask("GET", f"/stations/{CS}")).json
        assert (found["tolerated"], found["lacks"]) == ({"time_without_zone": 2}, [])
