"""Set-points of two nodes for the same vehicles: the last one counts, whichever node has it (R51)."""

import asyncio
from pathlib import Path

import pytest

from csms.cluster.bus import LocalHub
from csms.dispatch import store as dispatch_store
from csms.dispatch import work as dispatch_course
from csms.dispatch.work import Dispatch
from csms.sites.rules import Balancing
from pki_tools.tree import PkiTree
from tests.csms.backend import BOOT
from tests.csms.scripted_station import Refused
from tests.csms.services.charging.support import (
    ACCEPTED,
    NAMES,
    booted,
    commanded,
    node,
    running,
    settled,
    two_nodes,
    vehicle,
)
from tests.waiting import until


@pytest.mark.requirement("R51")
async def test_a_node_does_not_come_back_to_what_another_has_replaced(
    tmp_path: Path, pki: PkiTree, empty_database: Path
) -> None:
    async with two_nodes(tmp_path, pki, empty_database) as (here, there):
        first, second = await booted(here, NAMES[0]), await booted(there, NAMES[1])
        for csms, station in ((here, first), (there, second)):
            await vehicle(csms, station)
        async with running(Dispatch(here.services)), running(Dispatch(there.services)):
            await Dispatch(here.services).set_point(-6_000)
            await Dispatch(there.services).set_point(8_000)
            await first.call("BootNotification", BOOT)
            await settled()
            await settled()
            assert [commanded(each) for each in (first, second)] == [[-3_000, 4_000, 4_000], [-3_000, 4_000]]
            for csms in (here, there):
                await dispatch_course.note(csms.services)
            (point,) = await here.services.store.read(dispatch_store.course, 0)
            assert (point.asked_w, point.accepted_w, point.vehicles) == (8_000, 8_000, 2), "counted once"


async def test_a_set_point_that_is_replaced_while_it_is_sent_is_not_split_again(
    tmp_path: Path, pki: PkiTree, empty_database: Path
) -> None:
    async with two_nodes(tmp_path, pki, empty_database) as (here, there):
        first, second = await booted(here, NAMES[0]), await booted(there, NAMES[1])
        for csms, station in ((here, first), (there, second)):
            await vehicle(csms, station)
        async with running(Dispatch(here.services)), running(Dispatch(there.services)):
            del second.answers["SetChargingProfile"]
            earlier = asyncio.create_task(Dispatch(here.services).set_point(-6_000))
            asked = await second.expect("SetChargingProfile")
            second.answers["SetChargingProfile"] = ACCEPTED
            later = asyncio.create_task(Dispatch(there.services).set_point(8_000))
            await until(lambda: commanded(first)[-1:] == [4_000])
            asked.reply(Refused("InternalError", "busy"))
            await asyncio.gather(earlier, later)
            await settled()
            await settled()
            assert [commanded(each)[-1] for each in (first, second)] == [4_000, 4_000]
            assert min(commanded(first)) == -3_000


async def test_a_vehicle_that_receives_a_set_point_after_the_one_that_replaces_it_gets_that_again(
    tmp_path: Path, pki: PkiTree, empty_database: Path
) -> None:
    async with two_nodes(tmp_path, pki, empty_database) as (here, there):
        station = await booted(there, NAMES[0])
        await vehicle(there, station)
        here.clock.now_ms = there.clock.now_ms
        async with running(Dispatch(here.services)), running(Dispatch(there.services)):
            only = [NAMES[0]]
            await Dispatch(there.services).set_point(1_000, only)
            del station.answers["GetChargingProfiles"]
            earlier = asyncio.create_task(Dispatch(here.services).set_point(-6_000, only, frequency=True))
            asked = await station.expect("GetChargingProfiles")  # of the other node: its profile comes after that
            later = asyncio.create_task(Dispatch(there.services).set_point(8_000, only))
            await settled()
            asked.reply(Refused("NotSupported"))
            await asyncio.gather(earlier, later)
            assert commanded(station) == [1_000, 8_000, -6_000]
            await settled()
            await settled()
            assert commanded(station)[-1] == 8_000


async def test_a_station_that_has_restarted_at_a_slower_node_gets_its_set_point_again(
    tmp_path: Path, pki: PkiTree, empty_database: Path
) -> None:
    """The node of the set-point looks before that of the station has noted that it lost it."""
    hub, slow = LocalHub(), Balancing(settle_s=3.0)
    async with (
        node("a", hub, tmp_path, pki, empty_database, balancing=slow) as here,
        node("b", hub, tmp_path, pki, empty_database) as there,
    ):
        station = await booted(here, NAMES[0])
        await vehicle(here, station)
        there.clock.now_ms = here.clock.now_ms
        async with running(Dispatch(here.services)), running(Dispatch(there.services)):
            await Dispatch(there.services).set_point(8_000, [NAMES[0]])
            await station.call("BootNotification", BOOT)
            await until(lambda: commanded(station) == [8_000, 8_000])


async def test_the_set_point_of_a_node_that_is_gone_is_split_again_by_another(
    tmp_path: Path, pki: PkiTree, empty_database: Path
) -> None:
    hub = LocalHub()
    async with node("b", hub, tmp_path, pki, empty_database) as there:
        stations = [await booted(there, name) for name in NAMES[:2]]
        charges = [await vehicle(there, each) for each in stations]
        async with running(Dispatch(there.services)):
            async with node("a", hub, tmp_path, pki, empty_database) as here:
                here.clock.now_ms = there.clock.now_ms
                await Dispatch(here.services).set_point(-6_000)
            await charges[1].unplugged()
            await settled()
            assert commanded(stations[0])[-1] == -6_000
