"""The course of set-points: a point a minute while one is in force, with what vehicles follow and deliver."""

import msgspec
import pytest

from csms.dispatch import store as dispatch_store
from csms.dispatch import work as dispatch_course
from csms.dispatch.rules import Orders
from csms.dispatch.store import CoursePoint
from csms.dispatch.work import Dispatch
from csms.fleets import store as fleets
from csms.fleets.rules import Fleet
from csms.fleets.work import Fleets
from csms.retention import store as retention
from csms.transactions.powers import FRESH_MS
from tests.csms.backend import Backend
from tests.csms.services.charging.support import (
    NAMES,
    REJECTED,
    booted,
    fleet_vehicle,
    next_hour,
    offer,
    running,
    settled,
    vehicle,
)

HALF_MS = 30_000


async def course(csms: Backend) -> list[CoursePoint]:
    return await csms.services.store.read(dispatch_store.course, 0)


async def test_each_minute_has_what_was_asked_followed_and_delivered(csms: Backend) -> None:
    charges = [await vehicle(csms, await booted(csms, name)) for name in NAMES[:2]]
    charges[1].station.answers["SetChargingProfile"] = REJECTED
    await dispatch_course.note(csms.services)
    assert await course(csms) == [], "nothing is asked for"
    csms.clock.now_ms = csms.clock.now_ms // 60_000 * 60_000
    await Dispatch(csms.services).set_point(-12_000)
    sampled = [{"value": 7_500, "measurand": "Power.Active.Export", "context": "Sample.Periodic"}]
    reading = {"timestamp": charges[0].now(), "sampledValue": sampled}
    await charges[0].event("Updated", "MeterValuePeriodic", extra={"meterValue": [reading]})
    begun_ms = csms.clock.utc_ms()
    for _ in range(2):
        await dispatch_course.note(csms.services)
        csms.clock.now_ms += HALF_MS
    expected = CoursePoint(at_ms=begun_ms, asked_w=-12_000, accepted_w=-8_000, delivered_w=-7_500, vehicles=1)
    assert await course(csms) == [expected], "once a minute"
    await dispatch_course.note(csms.services)
    assert [each.at_ms - begun_ms for each in await course(csms)] == [0, 60_000]
    csms.clock.now_ms = begun_ms + FRESH_MS + 60_000
    await Dispatch(csms.services).set_point(-12_000)
    await dispatch_course.note(csms.services)
    assert (await course(csms))[-1].delivered_w is None, "no reading for so long"
    csms.clock.advance(csms.services.config.balancing.dispatch_duration_s)
    await dispatch_course.note(csms.services)
    assert len(await course(csms)) == 3, "it has ended"


async def test_a_minute_keeps_what_was_so_when_it_was_noted(csms: Backend) -> None:
    await vehicle(csms, await booted(csms, NAMES[0]))
    csms.clock.now_ms = csms.clock.now_ms // 60_000 * 60_000
    for setpoint_w in (-6_000, -5_000):
        await Dispatch(csms.services).set_point(setpoint_w)
        await dispatch_course.note(csms.services)
    assert [each.asked_w for each in await course(csms)] == [-6_000]


async def test_what_was_asked_for_is_known_after_a_restart(csms: Backend) -> None:
    charge = await vehicle(csms, await booted(csms, NAMES[0]))
    await Dispatch(csms.services).set_point(-6_000)
    await Dispatch(csms.services).set_point(-5_000, [NAMES[0]])
    restarted = msgspec.structs.replace(csms.services, parts={**csms.services.parts, Orders: Orders()})
    await dispatch_course.note(restarted)
    (point,) = await course(csms)
    assert (point.asked_w, point.accepted_w, point.vehicles) == (-5_000, -5_000, 1)
    (order,) = await dispatch_course.in_force(restarted)
    assert order.stations == frozenset({NAMES[0]})
    await charge.event("Ended", "EVCommunicationLost")
    csms.clock.advance(csms.services.config.balancing.dispatch_duration_s)
    assert await dispatch_course.in_force(restarted) == [], "it has expired"


@pytest.mark.requirement("R48")
async def test_what_a_fleets_plan_said_is_kept_beside_what_became_of_it(csms: Backend) -> None:
    charges = [await fleet_vehicle(csms, name) for name in NAMES[:2]]
    charges[1].station.answers["SetChargingProfile"] = REJECTED
    other = await vehicle(csms, await booted(csms, NAMES[2]))
    next_hour(csms.clock)
    await offer(csms, (100_000, 50_000), (600_000, 500_000))
    fleet = Fleet(id="depot", stations=tuple(NAMES[:2]), import_limit_w=60_000, export_limit_w=60_000)
    await csms.services.store.run(fleets.save, fleet, csms.clock.utc_ms())
    planner = Fleets(csms.services)
    planned_w = sum(each.power_w[0] for each in (await planner.plan(fleet)).plan.vehicles)
    assert planned_w > 0
    async with running(planner):
        await settled()
    await Dispatch(csms.services).set_point(-3_000, [NAMES[2]])
    for each, watts in ((charges[0], 6_000), (other, 2_000)):
        sampled = [{"value": watts, "measurand": "Power.Active.Import", "context": "Sample.Periodic"}]
        reading = {"timestamp": each.now(), "sampledValue": sampled}
        await each.event("Updated", "MeterValuePeriodic", extra={"meterValue": [reading]})
    await dispatch_course.note(csms.services)
    (point,) = await csms.services.store.read(fleets.course, "depot", 0)
    assert (point.planned_w, point.asked_w, point.delivered_w, point.vehicles) == (planned_w, planned_w, 6_000, 1)
    assert 0 < point.accepted_w < planned_w, "one refuses"
    assert await csms.services.store.read(fleets.course, "depot", point.at_ms + 1) == []
    assert await csms.services.store.read(fleets.course, "none", 0) == []
    gone = await csms.services.store.run(retention.delete_old, "events", point.at_ms + 1)
    assert gone == 3 + 3, "of the set-points, of the fleet, its past, and of each connector what it was before"
    assert await csms.services.store.read(fleets.course, "depot", 0) == []


async def test_nodes_add_up_and_old_points_go(csms: Backend) -> None:
    run = csms.services.store.run
    for at_ms in (60_000, 120_000):
        for node in ("a", "b"):
            point = CoursePoint(at_ms=at_ms, asked_w=-5_000, accepted_w=-4_000, delivered_w=-3_000, vehicles=2)
            await run(dispatch_store.note_course, node, point)
    both = CoursePoint(at_ms=120_000, asked_w=-10_000, accepted_w=-8_000, delivered_w=-6_000, vehicles=4)
    assert (await course(csms))[1] == both
    unknown = msgspec.structs.replace(point, delivered_w=None)
    await run(dispatch_store.note_course, "c", unknown)
    expected = msgspec.structs.replace(both, asked_w=-15_000, accepted_w=-12_000, delivered_w=None, vehicles=6)
    assert (await course(csms))[1] == expected, "an unknown part makes the sum unknown"
    assert await run(retention.delete_old, "events", 120_000) == 2
    assert await course(csms) == [expected]
