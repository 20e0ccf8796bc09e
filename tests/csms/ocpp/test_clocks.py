"""Clocks of stations follow the time zones of their sites (B05, ClockCtrlr)."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from csms.config import check_config
from csms.sites import store as site_store
from csms.sites.rules import Balancing, Place, Site
from csms.stations.clocks import ClockKeeper
from tests.csms.backend import BOOT, Backend
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Payload, ScriptedStation
from v2g.energy.balancing import Node

YARD = Site(
    id="yard",
    nodes=(Node(id="main", limits=(1, 1, 1)),),
    places=(Place(station_id="CS-V2G-0001", evse_id=1, node="main", most_ma=1),),
    zone="Europe/Berlin",
)


def answers(*known: str) -> Callable[[Payload], Payload]:
    """A station that has some variables of ClockCtrlr."""

    def answer(request: Payload) -> Payload:
        results = []
        for each in request["setVariableData"]:
            status = "Accepted" if each["variable"]["name"] in known else "UnknownVariable"
            results.append({"attributeStatus": status, "component": each["component"], "variable": each["variable"]})
        return {"setVariableResult": results}

    return answer


def reported(station: ScriptedStation) -> list[tuple[str, str]]:
    return [
        (each["variable"]["name"], each["attributeValue"])
        for request in station.payloads("SetVariables")
        for each in request["setVariableData"]
    ]


async def until(csms: Backend, name: str, count: int = 1) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while len(csms.events.named(name)) < count:
            await asyncio.sleep(0.001)
    return dict(csms.events.named(name)[-1].data)


async def test_clocks_are_set_after_a_boot_and_when_the_site_changes(backend: Start) -> None:
    async with backend(balancing=Balancing(settle_s=0.005)) as csms:
        await csms.services.store.run(site_store.save_site, YARD, 0)
        work = asyncio.create_task(ClockKeeper(csms.services).run())
        station = await csms.join()
        station.answers["SetVariables"] = answers("TimeZone")
        await station.call("BootNotification", BOOT)
        assert (await until(csms, "clock_set"))["zone"] == "Europe/Berlin"
        assert reported(station) == [("TimeZone", "Europe/Berlin")]
        await station.call("BootNotification", BOOT)
        moved = msgspec.structs.replace(YARD, zone="Europe/Lisbon", time_sources=("NTP",))
        await csms.services.store.run(site_store.save_site, moved, 0)
        csms.services.feed.publish("site_changed", None, {"site": "yard"})
        refused = await until(csms, "clock_not_set")
        assert refused["reason"] == "TimeSource: UnknownVariable"
        assert reported(station)[1:] == [("TimeZone", "Europe/Lisbon"), ("TimeSource", "NTP")], (
            "the second boot told nothing"
        )
        work.cancel()


async def test_a_station_that_has_no_zone_receives_offsets_and_one_without_a_clock_is_named(backend: Start) -> None:
    async with backend() as csms:
        await csms.services.store.run(site_store.save_site, YARD, 0)
        station = await csms.booted()
        offsets = answers("TimeOffset", "NextTimeOffsetTransitionDateTime")
        station.answers["SetVariables"] = offsets
        keeper = ClockKeeper(csms.services)
        await keeper.set_all([station.id])
        assert [name for name, _ in reported(station)] == [
            "TimeZone", "TimeOffset", "TimeOffset", "NextTimeOffsetTransitionDateTime"
        ]  # fmt: skip
        await until(csms, "clock_set")
        await keeper.set_all([station.id, "CS-OF-NO-SITE"])
        assert len(reported(station)) == 4, "it is known to have none"
        csms.clock.advance(200 * 86_400)
        await keeper.set_all([station.id])
        assert reported(station)[4:] != reported(station)[1:4], "the next change of the clock"
        other = await csms.booted("CS-V2G-0002")
        other.answers["SetVariables"] = answers()
        place = msgspec.structs.replace(YARD.places[0], station_id=other.id)
        await csms.services.store.run(
            site_store.save_site, msgspec.structs.replace(YARD, id="lane", places=(place,)), 0
        )
        await keeper.set_all([other.id])
        assert "TimeOffset: UnknownVariable" in (await until(csms, "clock_not_set"))["reason"]


async def test_a_zone_that_this_machine_does_not_know_is_named(backend: Start) -> None:
    """One that was stored before time zone data dropped it: the rest of the site, and other sites, stay in use."""
    async with backend() as csms:
        await csms.services.store.run(site_store.save_site, msgspec.structs.replace(YARD, zone="US/Pacific-New"), 0)
        station = await csms.booted()
        await ClockKeeper(csms.services).set_all([station.id])
        found = await until(csms, "clock_not_set")
        assert (found["zone"], found["reason"]) == ("US/Pacific-New", "unknown time zone; none in its place")
        assert reported(station) == []


def test_the_zone_of_stations_without_a_site_is_a_known_one() -> None:
    text = """
data_dir = "d"
ocpp.time_zone = "Europe/Nowhere"
api = { certificate = "c", key = "k" }
trust.roots = []
"""
    assert [each for each in check_config(text, name="csms.toml") if "time_zone" in str(each)]
