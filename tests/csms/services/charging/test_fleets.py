"""A fleet follows its plan at scripted stations: set-points, new plans, calls of its flexibility (R48, R50, R51)."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC

import pytest

from csms.db.queries import fleets as rows
from csms.db.queries import leases, prequalifications
from csms.domain.charging.fleets import Fleet, Peak, describe_call
from csms.domain.charging.prequalification import Prequalification
from csms.services.charging.fleets import FLEET_CHANGED, Fleets
from tests.certification.backend import Backend
from tests.certification.charging import Charging, away
from tests.csms.services.charging.support import (
    HOUR_MS,
    NAMES,
    commanded,
    fleet_vehicle,
    offer,
    running,
    settled,
    until,
)
from v2g.energy.dispatch import lp  # noqa: F401 - takes long to import, and no test should
from v2g.energy.dispatch.flexibility import capabilities
from v2g.errors import RefusedError

FLEET = Fleet(id="depot", import_limit_w=60_000, export_limit_w=60_000)


def setpoints(charge: Charging) -> list[float]:
    """What a vehicle's station received, in order."""
    return commanded(charge.station)


async def vehicles(csms: Backend, count: int) -> list[Charging]:
    return [await fleet_vehicle(csms, name) for name in NAMES[:count]]


@contextlib.asynccontextmanager
async def followed(csms: Backend, fleet: Fleet = FLEET) -> AsyncIterator[None]:
    """Keep a fleet on its plan, which vehicles have when this begins."""
    await csms.services.store.run(rows.save, fleet, csms.clock.utc_ms())
    async with running(Fleets(csms.services)):
        yield


async def change(csms: Backend) -> None:
    """Have fleets planned again, and wait until that is done."""
    csms.services.feed.publish(FLEET_CHANGED, None, {})
    await settled()


@pytest.mark.requirement("R50")
async def test_vehicles_follow_prices_and_a_new_signal_at_once(csms: Backend) -> None:
    charge = await fleet_vehicle(csms)
    await offer(csms, (100_000, 50_000), (600_000, 500_000))
    async with followed(csms):
        assert setpoints(charge)[-1] > 0, "bought where it is cheap"
        await offer(csms, (600_000, 500_000), (100_000, 50_000), version=2)
        csms.services.feed.publish("grid_signal", None, {"version": 2})
        await until(lambda: setpoints(charge)[-1] < 0)


async def test_a_fleet_that_is_not_active_is_planned_and_left_alone(csms: Backend) -> None:
    charge = await fleet_vehicle(csms)
    await offer(csms, (100_000, 50_000), (600_000, 500_000))
    async with followed(csms, Fleet(id="depot", active=False)):
        found = await Fleets(csms.services).plan(FLEET)
        assert found.plan.vehicles[0].power_w[0] > 0
        await change(csms)
    assert not setpoints(charge)


@pytest.mark.requirement("R48")
async def test_a_peak_bounds_what_all_vehicles_draw(csms: Backend) -> None:
    charges = await vehicles(csms, 3)
    await offer(csms, (100_000, 50_000))
    peak = Peak(from_minute=0, until_minute=1440, import_limit_w=9_000)
    async with followed(csms, Fleet(id="depot", import_limit_w=60_000, load_w=3_000, peak=peak)):
        assert sum(setpoints(each)[-1] for each in charges) <= 6_000


@pytest.mark.requirement("R55")
async def test_power_rises_in_steps_and_only_where_others_have_made_room(csms: Backend) -> None:
    charges = await vehicles(csms, 3)
    await offer(csms, (100_000, 50_000))
    async with followed(csms, Fleet(id="depot", import_limit_w=20_000, raise_w=5_000)):
        assert sum(setpoints(each)[-1] for each in charges) <= 5_000
        await until(lambda: sum(setpoints(each)[-1] for each in charges) > 5_000)
        assert sum(setpoints(each)[-1] for each in charges) <= 10_000


@pytest.mark.requirement("R51")
async def test_a_call_changes_what_flows_and_is_measured(csms: Backend) -> None:
    charges = await vehicles(csms, 2)
    await offer(csms, (100_000, 50_000), (600_000, 500_000))
    async with followed(csms):
        planned = sum(setpoints(each)[-1] for each in charges)
        fleets = Fleets(csms.services)
        given = await fleets.call(FLEET, 10_000, 900)
        assert sum(each.setpoint_w for each in given) == pytest.approx(planned - 10_000)
        await change(csms)
        assert sum(setpoints(each)[-1] for each in charges) == pytest.approx(planned - 10_000), "a new plan keeps it"
        for charge, each in zip(charges, given, strict=True):
            charge.wh += round(each.setpoint_w / 4)  # the meter counts what flows in the quarter hour
            await charge.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
        csms.clock.advance(900)
        await change(csms)
        assert csms.events.named("fleet_call_ended")
        (ended,) = (each.data for each in csms.events.named("fleet_call_ended"))
        assert ended["asked_wh"] == 2500
        assert ended["delivered_wh"] == pytest.approx(2500, abs=3)
    with pytest.raises(RefusedError, match=r"can go \d+ W up"):
        await fleets.call(FLEET, 50_000, 900)


async def test_without_prices_there_is_no_plan_and_it_is_said_once(csms: Backend) -> None:
    charge = await fleet_vehicle(csms)
    async with followed(csms):
        for _ in range(3):
            await change(csms)
        assert len(csms.events.named("fleet_not_planned")) == 1
        assert "no prices" in csms.events.named("fleet_not_planned")[0].data["reason"]
    assert not setpoints(charge)


async def test_a_vehicle_at_a_station_that_is_not_prequalified_is_planned_to_charge_only(csms: Backend) -> None:
    await fleet_vehicle(csms)
    await offer(csms, (100_000, 50_000), (600_000, 500_000))
    fleets = Fleets(csms.services)
    assert (await fleets.plan(FLEET)).problem.vehicles[0].discharge_w > 0
    record = Prequalification(
        station_id=NAMES[0],
        certificate="A",
        evse_id=0,
        operator="DSO",
        valid_from_ms=0,
        valid_until_ms=1,
        most_export_w=11_000,
    )
    await csms.services.store.run(prequalifications.put, record)
    await csms.services.permits.load()
    assert (await fleets.plan(FLEET)).problem.vehicles[0].discharge_w == 0


async def test_the_clock_goes_on_while_a_plan_is_made(csms: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    charge = await fleet_vehicle(csms)
    await offer(csms, (100_000, 50_000), (600_000, 500_000))

    def ticking() -> int:
        csms.clock.now_ms += 3
        return csms.clock.now_ms

    monkeypatch.setattr(csms.clock, "utc_ms", ticking)
    async with followed(csms):
        await until(lambda: setpoints(charge))
        assert setpoints(charge)[-1] > 0


async def test_set_points_are_renewed_though_events_never_cease(csms: Backend) -> None:
    charge = await fleet_vehicle(csms)
    await offer(csms, (100_000, 50_000))
    async with followed(csms):
        await until(lambda: setpoints(charge))
        count = len(setpoints(charge))
        for _ in range(3):
            await change(csms)
        assert len(setpoints(charge)) == count, "it has not changed"
        csms.clock.advance(csms.services.config.balancing.dispatch_duration_s / 2 + 1)
        await change(csms)
        assert len(setpoints(charge)) > count
        assert setpoints(charge)[-1] == setpoints(charge)[0]


async def test_a_plan_names_the_call_in_force_and_another_call_ends_it(csms: Backend) -> None:
    charges = await vehicles(csms, 2)
    await offer(csms, (100_000, 50_000), (600_000, 500_000))
    await csms.services.store.run(rows.save, FLEET, csms.clock.utc_ms())
    fleets = Fleets(csms.services)
    assert (await fleets.plan(FLEET)).call is None
    await fleets.call(FLEET, 6_000, 900)
    call = (await fleets.plan(FLEET)).call
    assert call is not None
    assert "6.0 kW less than planned" in describe_call(call, UTC)
    csms.clock.advance(180)
    for charge in charges:  # a minute later each
        await charge.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
    await fleets.call(FLEET, 2_000, 900)
    (ended,) = (each.data for each in csms.events.named("fleet_call_ended"))
    assert ended["asked_wh"] == 500, "for the third of its time that it was in force"
    csms.clock.advance(1000)
    assert (await fleets.plan(FLEET)).call is None


async def test_a_call_beyond_the_range_is_refused_and_one_at_its_end_is_not(csms: Backend) -> None:
    """Up is less power drawn: 11 kW stop, and 8 kW come back; down there is no more than 11 kW."""
    await fleet_vehicle(csms)
    await offer(csms, (100_000, 50_000), (600_000, 500_000))
    await csms.services.store.run(rows.save, FLEET, csms.clock.utc_ms())
    fleets = Fleets(csms.services)
    found = await fleets.plan(FLEET)
    now = capabilities(found.problem, found.plan, headroom=FLEET.headroom)[0]
    for power_w in (now.up_w + 1, -now.down_w - 1):
        with pytest.raises(
            RefusedError, match=f"fleet depot can go {now.up_w} W up and {now.down_w} W down"
        ) as refused:
            await fleets.call(FLEET, power_w, 900)
        assert refused.value.reason == "beyond_range"
    assert csms.events.named("fleet_called") == []
    (given,) = await fleets.call(FLEET, now.up_w, 900)
    assert given.setpoint_w == found.plan.vehicles[0].power_w[0] - now.up_w
    (called,) = csms.events.named("fleet_called")
    assert (called.stage, called.data) == ("ocpp", {"fleet": "depot", "power_w": now.up_w, "duration_s": 900})
    call = (await fleets.plan(FLEET)).call
    assert call is not None
    assert (call.from_ms, call.until_ms) == (csms.clock.utc_ms(), csms.clock.utc_ms() + 900_000)


async def test_only_connected_stations_of_2_1_in_the_fleet_are_planned(csms: Backend) -> None:
    first, second = await fleet_vehicle(csms), await fleet_vehicle(csms, NAMES[1])
    await Charging(csms, await csms.booted(NAMES[2])).started()
    await offer(csms, (100_000, 50_000))
    fleets = Fleets(csms.services)

    async def planned(fleet: Fleet) -> list[str]:
        return [each.id.partition("/")[0] for each in (await fleets.plan(fleet)).problem.vehicles]

    assert await planned(FLEET) == [first.station.id, second.station.id]
    assert await planned(Fleet(id="one", stations=(NAMES[1],))) == [second.station.id]
    await away(csms, second.station)
    assert await planned(FLEET) == [first.station.id]


async def test_one_node_at_a_time_follows_the_plan(csms: Backend) -> None:
    charge = await fleet_vehicle(csms)
    await offer(csms, (100_000, 50_000))
    now_ms = csms.clock.utc_ms()
    assert await csms.services.store.run(leases.take, "fleets", "another node", now_ms, now_ms + 100_000)
    async with followed(csms):
        await change(csms)
        assert not setpoints(charge)
        csms.clock.advance(101)
        await change(csms)
        assert setpoints(charge)


async def test_a_plan_that_can_be_made_again_is_missed_again(csms: Backend) -> None:
    charge = await fleet_vehicle(csms)
    async with followed(csms):
        (missed,) = csms.events.named("fleet_not_planned")
        assert (missed.stage, missed.data["fleet"]) == ("ocpp", "depot")
        await offer(csms, (100_000, 50_000), valid_until_ms=csms.clock.utc_ms() + HOUR_MS)
        csms.services.feed.publish("grid_signal", None, {})
        await until(lambda: setpoints(charge))
        csms.clock.advance(2 * 86_400)
        await change(csms)
        assert len(csms.events.named("fleet_not_planned")) == 2
