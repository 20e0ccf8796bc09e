"""What has limited a transaction, by source, at every change."""

import asyncio

import pytest

from csms.dispatch.work import Dispatch
from csms.retention import store as retention
from csms.sites import store as site_store
from csms.sites.rules import Place, Site
from csms.smart_charging import store as charging
from csms.smart_charging.charging_plans import share_profile
from csms.smart_charging.limits_in_force import LimitPoint
from csms.smart_charging.work import LimitCourse
from tests.csms.backend import Backend
from tests.csms.charging import Charging
from tests.csms.db.events import found_as
from tests.csms.services.charging.support import NAMES, booted, running, send_needs, vehicle
from v2g.energy.balancing import Node
from v2g.ocpp.times import format_time

LOOKED_S = 6
"""Longer than a change waits for others."""


async def course(csms: Backend, charge: Charging) -> list[LimitPoint]:
    return await csms.services.store.read(charging.limits_over_time, charge.station.id, charge.id)


async def bounds(csms: Backend, charge: Charging) -> list[list[tuple[str, str, int]]]:
    """Let a change be stored; return the limits of each point."""
    await asyncio.sleep(LOOKED_S)
    return [[(each.name, each.source, each.power_w) for each in point.bounds] for point in await course(csms, charge)]


async def limit(csms: Backend, charge: Charging, source: str, *periods: tuple[int, float], evse_id: int = 1) -> None:
    """Have a station report a limit of another system: from so many seconds on, W."""
    schedule = {
        "id": 1,
        "startSchedule": format_time(csms.clock.utc_ms()),
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{"startPeriod": begin_s, "limit": power_w} for begin_s, power_w in periods],
    }
    request = {"chargingLimit": {"chargingLimitSource": source}, "chargingSchedule": [schedule], "evseId": evse_id}
    await charge.station.call("NotifyChargingLimit", request)


async def test_each_change_of_a_limit_is_kept_with_its_source_the_lowest_first(csms: Backend) -> None:
    csms.clock.start()
    async with running(LimitCourse(csms.services)):
        charge = await vehicle(csms, await booted(csms), requested="DC", maxChargePower=11_000.0)
        vehicles = ("vehicle", "", 11_000)
        assert await bounds(csms, charge) == [[vehicles]]
        await limit(csms, charge, "EMS", (0, 9_000.0))
        await limit(csms, charge, "SO", (0, 20_000.0), evse_id=0)
        assert (await bounds(csms, charge))[1:] == [[("external", "EMS", 9_000), vehicles, ("external", "SO", 20_000)]]
        await limit(csms, charge, "EMS", (0, 9_000.0))
        assert len(await bounds(csms, charge)) == 2, "nothing has changed"
        await charge.station.call("ClearedChargingLimit", {"chargingLimitSource": "EMS", "evseId": 1})
        assert (await bounds(csms, charge))[2:] == [[vehicles, ("external", "SO", 20_000)]]
        await send_needs(charge.station, requested="DC", maxChargePower=7_000.0)
        assert (await bounds(csms, charge))[3][0] == ("vehicle", "", 7_000)
        await charge.event("Ended", "EVCommunicationLost")
        await limit(csms, charge, "EMS", (0, 1_000.0))
        assert len(await bounds(csms, charge)) == 4, "it has ended"
    times = [each.at_ms for each in await course(csms, charge)]
    assert times == sorted(set(times))


async def test_what_begins_by_the_clock_is_kept_within_a_minute_and_a_set_point_with_its_end(csms: Backend) -> None:
    csms.clock.start()
    async with running(LimitCourse(csms.services)):
        charge = await vehicle(csms, await booted(csms))
        assert len(await bounds(csms, charge)) == 1
        await limit(csms, charge, "EMS", (0, 9_000.0), (300, 5_000.0))
        assert (await bounds(csms, charge))[1][0] == ("external", "EMS", 9_000)
        await asyncio.sleep(360)
        assert (await bounds(csms, charge))[2][0] == ("external", "EMS", 5_000)
        await Dispatch(csms.services).set_point(-4_000)
        await bounds(csms, charge)
        assert [each.setpoint_w for each in await course(csms, charge)] == [None, None, None, -4_000]
        await asyncio.sleep(csms.services.config.balancing.dispatch_duration_s + 60)
        assert [each.setpoint_w for each in await course(csms, charge)][4:] == [None]
        await Dispatch(csms.services).set_point(3_000)
        assert ("set_point", "", 3_000) in (await bounds(csms, charge))[5]


async def test_limits_of_a_transaction_go_with_it(csms: Backend) -> None:
    async with running(LimitCourse(csms.services)):
        charges = [await vehicle(csms, await booted(csms, name)) for name in NAMES[:2]]
        await bounds(csms, charges[0])
    await charges[0].event("Ended", "EVCommunicationLost")
    run = csms.services.store.run
    while await run(retention.delete_old, "transactions", csms.clock.utc_ms() + 1):
        pass
    assert await run(found_as, charges[0].id) == []
    assert await course(csms, charges[0]) == []
    assert len(await course(csms, charges[1])) == 1


async def test_only_transactions_at_stations_of_this_node_are_looked_at(csms: Backend) -> None:
    charge = await vehicle(csms, await booted(csms))
    limits = LimitCourse(csms.services)
    await limits.note({"CS-OTHER"})
    assert await course(csms, charge) == []
    await limits.note({charge.station.id, "CS-OTHER"})
    assert len(await course(csms, charge)) == 1


@pytest.mark.parametrize(
    "name",
    [
        "charging_limit", "charging_limit_cleared", "charging_needs", "dispatched", "share", "station_connected",
        "transaction_started",
    ],
)  # fmt: skip
async def test_limits_are_looked_at_after_what_may_change_them(csms: Backend, name: str) -> None:
    charge = await vehicle(csms, await booted(csms))
    async with running(LimitCourse(csms.services)):
        csms.services.report("ocpp", "heartbeat", charge.station.id, {})
        assert await bounds(csms, charge) == []
        csms.services.report("ocpp", name, charge.station.id, {})
        assert len(await bounds(csms, charge)) == 1


async def test_a_transaction_gets_one_point_for_changes_at_a_time(csms: Backend) -> None:
    csms.clock.start()
    charge = await vehicle(csms, await booted(csms))
    async with running(LimitCourse(csms.services)):
        await limit(csms, charge, "EMS", (0, 9_000.0))
        await asyncio.sleep(4)
        await limit(csms, charge, "EMS", (0, 8_000.0))
        (point,) = await bounds(csms, charge)
    assert point[0] == ("external", "EMS", 8_000)


async def test_limits_that_change_by_the_clock_are_looked_at_once_a_minute(csms: Backend) -> None:
    charge = await vehicle(csms, await booted(csms))
    await limit(csms, charge, "EMS", (0, 9_000.0), (30, 5_000.0))
    limits, begin_ms = LimitCourse(csms.services), csms.clock.utc_ms()
    await limits.note({charge.station.id})
    for after_ms, points in ((0, 1), (40_000, 1), (59_999, 1), (60_000, 2)):
        csms.clock.now_ms = begin_ms + after_ms
        await limits.note(())
        assert len(await course(csms, charge)) == points


async def test_a_share_of_the_site_is_of_the_phases_that_its_place_has(csms: Backend) -> None:
    charge = await vehicle(csms, await booted(csms))
    place = Place(station_id=charge.station.id, evse_id=1, node="main", phases=("L2",), most_ma=32_000)
    site = Site(id="yard", nodes=(Node(id="main", limits=(63_000,) * 3),), places=(place,))
    run, now_ms = csms.services.store.run, csms.clock.utc_ms()
    await run(site_store.save_site, site, now_ms)
    share = share_profile(1, 10_000, 1, now_ms, charge.id)
    await run(charging.save_profile, charge.station.id, 1, share, charging.CSO, now_ms)
    await LimitCourse(csms.services).note({charge.station.id})
    (point,) = await course(csms, charge)
    assert [(each.name, each.power_w) for each in point.bounds] == [("share", 2_300), ("vehicle", 11_000)]
