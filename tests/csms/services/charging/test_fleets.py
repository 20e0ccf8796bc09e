"""A fleet follows its plan at scripted stations: set-points, new plans, calls of its flexibility (R48, R50, R51)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC

import msgspec
import pytest

from csms.config import StationEntry
from csms.db import leases
from csms.fleets import store as rows
from csms.fleets import work as module
from csms.fleets.rules import Fleet, FleetCall, Forecast, Peak, describe_call
from csms.fleets.work import FleetPlan, Fleets
from csms.prequalifications import store as prequalifications
from csms.prequalifications.rules import Prequalification
from csms.prequalifications.work import ExportPermits
from csms.sites.rules import Balancing
from tests.csms.backend import Backend
from tests.csms.charging import Charging, away
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Payload
from tests.csms.services.charging.support import (
    ACCEPTED,
    FLEET_ENERGIES,
    NAMES,
    TOKENS,
    commanded,
    fleet_vehicle,
    next_hour,
    offer,
    running,
    send_needs,
    send_older_needs,
    settled,
)
from tests.waiting import until
from v2g.energy.dispatch import lp  # noqa: F401 - takes long to import, and no test should
from v2g.energy.dispatch.flexibility import capabilities
from v2g.energy.dispatch.plan import DispatchPlan
from v2g.energy.dispatch.problem import Climate, DispatchProblem
from v2g.errors import ConfigError, RefusedError
from v2g.ocpp.times import format_time

FLEET = Fleet(id="depot", import_limit_w=60_000, export_limit_w=60_000)
CHEAP, DEAR = (100_000, 50_000), (600_000, 500_000)
TRIGGERS = (
    "fleet_changed", "grid_signal", "charging_needs", "priority_charging", "station_connected", "station_disconnected",
    "transaction_closed", "transaction_ended", "transaction_resumed",
)  # fmt: skip


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


def call_of(found: FleetPlan) -> FleetCall:
    assert found.call is not None
    return found.call


async def change(csms: Backend, kind: str = "fleet_changed") -> None:
    """Have fleets planned again, and wait until that is done."""
    csms.services.feed.publish(kind, None, {})
    await settled()


def recorded(*charges: Charging) -> list[tuple[float, int, float]]:
    """When (s from now on) each vehicle, by its number, receives which set-point: a list that grows."""
    found: list[tuple[float, int, float]] = []
    loop = asyncio.get_running_loop()
    begin = loop.time()
    counts = [len(setpoints(each)) for each in charges]

    def answer(number: int) -> Callable[[Payload], Payload]:
        def note(_: Payload) -> Payload:
            for power_w in setpoints(charges[number])[counts[number] :]:  # none, for another profile
                found.append((round(loop.time() - begin, 2), number, power_w))
                counts[number] += 1
            return ACCEPTED

        return note

    for number, charge in enumerate(charges):
        charge.station.answers |= dict.fromkeys(("SetChargingProfile", "UpdateDynamicSchedule"), answer(number))
    return found


async def approach(csms: Backend, seconds: float, *prices: tuple[int, int]) -> None:
    """Set prices, each for two hours; the first one soon ends, with the time that passes by itself from now on."""
    next_hour(csms.clock)
    await offer(csms, *prices)
    csms.clock.advance(7200 - seconds)
    csms.clock.start()


@pytest.mark.requirement("R50")
async def test_vehicles_follow_prices_and_a_new_signal_at_once(csms: Backend) -> None:
    charge = await fleet_vehicle(csms)
    await offer(csms, CHEAP, DEAR)
    async with followed(csms):
        assert setpoints(charge)[-1] > 0, "bought where it is cheap"
        now_ms = csms.clock.utc_ms()
        points = await csms.services.store.read(rows.planned, None, now_ms, now_ms + 14_000_000, 900_000)
        powers = [each.power_w or 0 for each in points]
        assert powers[0] == 11_000 > 0 > powers[-1], "and to be sold where it is dear"
        await offer(csms, DEAR, CHEAP, version=2)
        csms.services.feed.publish("grid_signal", None, {"version": 2})
        await until(lambda: setpoints(charge)[-1] < 0)


async def test_a_fleet_that_is_not_active_is_planned_and_left_alone(csms: Backend) -> None:
    charge = await fleet_vehicle(csms)
    await offer(csms, CHEAP, DEAR)
    async with followed(csms, Fleet(id="depot", active=False)):
        found = await Fleets(csms.services).plan(FLEET)
        assert found.plan.vehicles[0].power_w[0] > 0
        await change(csms)
    assert not setpoints(charge)
    now_ms = csms.clock.utc_ms()
    assert await csms.services.store.run(leases.take, "fleets", "another node", now_ms, now_ms + 1), "nobody leads"


async def test_a_plan_is_made_after_every_event_that_may_change_it(csms: Backend) -> None:
    charge = await fleet_vehicle(csms)
    await offer(csms, CHEAP, DEAR)
    async with followed(csms):
        assert setpoints(charge) == [11_000]
        for number, kind in enumerate(TRIGGERS, 1):
            fleet = msgspec.structs.replace(FLEET, import_limit_w=11_000 - 500 * number)
            await csms.services.store.run(rows.save, fleet, csms.clock.utc_ms())
            await change(csms, kind)
            assert setpoints(charge)[-1] == fleet.import_limit_w, kind


@pytest.mark.requirement("R48")
async def test_a_peak_bounds_what_all_vehicles_draw(csms: Backend) -> None:
    charges = await vehicles(csms, 3)
    await offer(csms, CHEAP)
    peak = Peak(from_minute=0, until_minute=1440, import_limit_w=9_000)
    async with followed(csms, Fleet(id="depot", import_limit_w=60_000, load_w=3_000, peak=peak)):
        assert sum(setpoints(each)[-1] for each in charges) <= 6_000


@pytest.mark.requirement("R55")
@pytest.mark.parametrize(("scale", "settle_s"), [(1, 1.0), (10, 0.5)])
async def test_power_rises_in_steps(backend: Start, scale: float, settle_s: float) -> None:
    """Every two settling times, whatever the clock says."""
    stations = tuple(StationEntry(id=name) for name in NAMES)
    async with backend(tokens=TOKENS, stations=stations, balancing=Balancing(settle_s=settle_s)) as csms:
        next_hour(csms.clock)
        charges = await vehicles(csms, 3)
        await offer(csms, CHEAP, DEAR)
        csms.clock.start(scale)
        found = recorded(*charges)
        async with followed(csms, Fleet(id="depot", import_limit_w=20_000, raise_w=6_000)):
            await asyncio.sleep(14)
    powers, sums = dict.fromkeys(range(3), 0.0), {}
    for at_s, number, power_w in found:
        powers[number] = power_w
        sums[at_s] = sum(powers.values())
    assert sums == {0: 6_000, 2 * settle_s: 12_000, 4 * settle_s: 18_000, 6 * settle_s: 20_000}


@pytest.mark.requirement("R55")
async def test_power_rises_only_where_others_have_made_room(csms: Backend) -> None:
    charges = [await fleet_vehicle(csms, NAMES[n], maxChargePower=most_w) for n, most_w in ((0, 5000.0), (1, 1000.0))]
    await offer(csms, CHEAP, DEAR)
    found = recorded(*charges)
    async with followed(csms, Fleet(id="depot", import_limit_w=9_000, load_w=3_000)):
        for charge, most_w in zip(charges, (1000.0, 5000.0), strict=True):
            await send_needs(charge.station, **{**FLEET_ENERGIES, "maxChargePower": most_w})
        await asyncio.sleep(5)
    assert sorted(found) == [(0, 0, 5_000), (0, 1, 1_000), (1, 0, 1_000), (3, 1, 5_000)]


async def test_a_plan_is_followed_into_its_next_period(csms: Backend) -> None:
    charge = await fleet_vehicle(csms)
    await approach(csms, 30, CHEAP, DEAR, CHEAP)
    found = recorded(charge)
    async with followed(csms):
        await asyncio.sleep(70)
    assert [(at_s, power_w > 0) for at_s, _, power_w in found] == [(0, True), (30, False)]


@pytest.mark.long
async def test_a_period_that_ends_before_the_next_step_is_not_overrun(csms: Backend) -> None:
    charge = await fleet_vehicle(csms)
    await approach(csms, 1, CHEAP, DEAR, CHEAP)
    found = recorded(charge)
    async with followed(csms, Fleet(id="depot", raise_w=6_000)):
        await asyncio.sleep(1.5)
    assert [(at_s, power_w > 0) for at_s, _, power_w in found] == [(0, True), (1, False)]


@pytest.mark.requirement("R51")
async def test_a_call_changes_what_flows_and_is_measured(csms: Backend) -> None:
    charges = await vehicles(csms, 2)
    await offer(csms, CHEAP, DEAR)
    async with followed(csms):
        planned = sum(setpoints(each)[-1] for each in charges)
        fleets = Fleets(csms.services)
        given = await fleets.call(FLEET, 10_000, 900)
        assert sum(each.setpoint_w for each in given) == pytest.approx(planned - 10_000)
        await change(csms)
        assert sum(setpoints(each)[-1] for each in charges) == pytest.approx(planned - 10_000), "a new plan keeps it"
        begin_ms = csms.clock.utc_ms()
        for at_ms in (begin_ms, begin_ms + 900_000):
            for charge, each in zip(charges, given, strict=True):
                charge.wh += round(each.setpoint_w / 4) if at_ms > begin_ms else 0  # what flows in the quarter hour
                csms.clock.now_ms = at_ms - 60_000
                await charge.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
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
    await offer(csms, CHEAP, DEAR)
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
    await csms.services[ExportPermits].load()
    assert (await fleets.plan(FLEET)).problem.vehicles[0].discharge_w == 0


async def test_the_clock_goes_on_while_a_plan_is_made(csms: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    charge = await fleet_vehicle(csms)
    await offer(csms, CHEAP, DEAR)

    def ticking() -> int:
        csms.clock.now_ms += 3
        return csms.clock.now_ms

    monkeypatch.setattr(csms.clock, "utc_ms", ticking)
    async with followed(csms):
        await until(lambda: setpoints(charge))
        assert setpoints(charge)[-1] > 0


@pytest.mark.some(1)
@pytest.mark.parametrize("scale", [1, 10])
@pytest.mark.parametrize("events", [False, True])
async def test_set_points_are_renewed_in_time_also_while_events_never_cease(
    csms: Backend, scale: int, events: bool
) -> None:
    """After half of what they last, by a clock that may run faster."""
    charge = await fleet_vehicle(csms)
    await offer(csms, CHEAP, DEAR)
    csms.clock.start(scale)
    found = recorded(charge)
    async with followed(csms):
        for _ in range(310 // scale):
            await asyncio.sleep(1)
            if events:
                csms.services.feed.publish("fleet_changed", None, {})
    assert {power_w for _, _, power_w in found} == {11_000}
    due = [n * 150 / scale for n in range(3)]
    assert [at_s for at_s, _, _ in found] == pytest.approx(due, abs=1.1 if events else 0.01)


async def test_a_vehicle_whose_departure_is_over_is_left_alone(csms: Backend) -> None:
    first, second = await vehicles(csms, 2)
    await offer(csms, CHEAP, DEAR)
    departure = format_time(csms.clock.utc_ms() + 60_000)
    await send_needs(first.station, departure=departure, **FLEET_ENERGIES)
    async with followed(csms):
        assert setpoints(first)
        csms.clock.advance(60)
        for charge in (first, second):
            charge.station.calls.clear()
        csms.clock.advance(150)
        await change(csms)
        assert (setpoints(first), len(setpoints(second))) == ([], 1)


async def test_discharging_starts_again_only_well_above_the_least(csms: Backend) -> None:
    """It may give 100 Wh and take 30 kWh: it rests from when these are given until a 50th of both is there again."""
    charge = await fleet_vehicle(csms, evMinEnergyRequest=-100.0)
    await approach(csms, 800, DEAR, CHEAP)
    fleet = Fleet(id="depot", charge_efficiency=1.0, discharge_efficiency=1.0, battery_price_per_kwh="1")
    begin = charge.wh
    async with followed(csms, fleet):
        for moved_wh, gives in ((-100, False), (501, False), (502, True), (-99, True), (-100, False)):
            charge.wh = begin + moved_wh
            await charge.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
            await change(csms)
            assert (setpoints(charge)[-1] < 0) is gives, moved_wh


async def test_a_plan_names_the_call_in_force_and_another_call_ends_it(csms: Backend) -> None:
    charges = await vehicles(csms, 2)
    await offer(csms, CHEAP, DEAR)
    await csms.services.store.run(rows.save, FLEET, csms.clock.utc_ms())
    fleets = Fleets(csms.services)
    assert (await fleets.plan(FLEET)).call is None
    await fleets.call(FLEET, 6_000, 900)
    assert "6.0 kW less than planned" in describe_call(call_of(await fleets.plan(FLEET)), UTC)
    csms.clock.advance(180)

    async def read_meters() -> None:
        for charge in charges:  # a minute later each
            await charge.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")

    await read_meters()
    await fleets.call(FLEET, 2_000, 900)
    assert csms.events.named("fleet_call_ended") == [], "the first meter has not been read since"
    await read_meters()
    csms.clock.now_ms = call_of(await fleets.plan(FLEET)).until_ms - 1
    assert (await fleets.plan(FLEET)).call is not None
    csms.clock.advance(0.001)
    assert (await fleets.plan(FLEET)).call is None
    csms.clock.advance(60)
    await fleets.call(FLEET, 1_000, 900)
    (ended,) = csms.events.named("fleet_call_ended")
    assert (ended.stage, ended.data["fleet"]) == ("ocpp", "depot")
    assert ended.data["asked_wh"] == 500, "for the third of its time that it was in force"
    await read_meters()
    await fleets.call(FLEET, 500, 900)
    _, ended = csms.events.named("fleet_call_ended")
    assert ended.data["asked_wh"] == 500, "2 kW for all of its time"


async def test_nobody_is_paid_for_what_a_silent_vehicle_may_have_done(csms: Backend) -> None:
    """It was planned to take 11 kW, and says nothing of the last two thirds of the call."""
    charge = await fleet_vehicle(csms)
    await offer(csms, CHEAP, DEAR)
    await csms.services.store.run(rows.save, FLEET, csms.clock.utc_ms())
    fleets, begin_ms = Fleets(csms.services), csms.clock.utc_ms()
    await fleets.call(FLEET, 6_000, 900)
    (planned_w,) = call_of(await fleets.plan(FLEET)).planned_w.values()
    csms.clock.advance(240)
    await charge.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
    read_ms = csms.clock.utc_ms()
    csms.clock.now_ms = begin_ms + 1_799_000
    await fleets.call(FLEET, 500, 900)
    assert csms.events.named("fleet_call_ended") == [], "it may still be read"
    csms.clock.advance(1)
    await fleets.call(FLEET, 400, 900)
    ended, *_ = csms.events.named("fleet_call_ended")
    assert planned_w == 11_000
    assert ended.data["delivered_wh"] == round(planned_w * (read_ms - begin_ms) / 3_600_000)


async def test_a_call_is_renewed_and_ends_in_time(csms: Backend) -> None:
    charge = await fleet_vehicle(csms)
    await offer(csms, CHEAP, DEAR)
    async with followed(csms):
        csms.clock.start()
        await Fleets(csms.services).call(FLEET, 5_000, 200)
        found = recorded(charge)
        for _ in range(11):
            await asyncio.sleep(10)
            csms.services.feed.publish("fleet_changed", None, {})
        await asyncio.sleep(100)
        await charge.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
        await change(csms)
    assert [(round(at_s), power_w) for at_s, _, power_w in found] == [(150, 6_000), (200, 11_000)]
    assert len(csms.events.named("fleet_call_ended")) == 1


async def test_a_call_is_settled_within_a_minute_of_the_last_reading(backend: Start) -> None:
    """However seldom plans are looked at."""
    stations = tuple(StationEntry(id=name) for name in NAMES)
    balancing = Balancing(interval_s=3600.0, dispatch_duration_s=36_000)
    async with backend(tokens=TOKENS, stations=stations, balancing=balancing) as csms:
        charge = await fleet_vehicle(csms)
        await offer(csms, CHEAP, DEAR)
        async with followed(csms):
            csms.clock.start()
            await Fleets(csms.services).call(FLEET, 5_000, 200)
            await change(csms)
            await asyncio.sleep(210)
            await charge.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
            assert csms.events.named("fleet_call_ended") == []
            await asyncio.sleep(60)
            assert len(csms.events.named("fleet_call_ended")) == 1


async def test_a_call_is_answered_by_the_plan_s_next_period(csms: Backend) -> None:
    """When it is too cold to charge."""
    charge = await fleet_vehicle(csms)
    await approach(csms, 30, CHEAP, CHEAP)
    cold = Forecast(start_ms=csms.clock.utc_ms() + 30_000, temperature_c=-20.0)
    fleet = Fleet(id="depot", climate=Climate(), forecast=(Forecast(start_ms=0, temperature_c=20.0), cold))
    async with followed(csms, fleet):
        await Fleets(csms.services).call(fleet, 1_000, 900)
        found = recorded(charge)
        await change(csms)
        await asyncio.sleep(40)
    assert [at_s for at_s, _, _ in found] == [30]
    assert setpoints(charge)[-1] <= 0


@pytest.mark.parametrize(("prices", "up"), [((CHEAP, DEAR), True), ((DEAR, CHEAP), False)])
async def test_a_call_beyond_the_range_is_refused_and_one_at_its_end_is_not(
    csms: Backend, prices: tuple[tuple[int, int], ...], up: bool
) -> None:
    """Up is less power drawn: 11 kW stop, and 8 kW come back; down is the opposite, where it is dear now."""
    await fleet_vehicle(csms)
    await offer(csms, *prices)
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
    power_w = now.up_w if up else -now.down_w
    assert abs(power_w) > 1_000
    (given,) = await fleets.call(FLEET, power_w, 900)
    assert given.setpoint_w == found.plan.vehicles[0].power_w[0] - power_w
    (called,) = csms.events.named("fleet_called")
    assert (called.stage, called.data) == ("ocpp", {"fleet": "depot", "power_w": power_w, "duration_s": 900})
    call = call_of(await fleets.plan(FLEET))
    assert (call.from_ms, call.until_ms) == (csms.clock.utc_ms(), csms.clock.utc_ms() + 900_000)


async def test_only_connected_stations_of_2_1_in_the_fleet_are_planned(csms: Backend) -> None:
    first, second = await fleet_vehicle(csms), await fleet_vehicle(csms, NAMES[1])
    older = Charging(csms, await csms.booted(NAMES[2]))
    await older.started()
    await send_older_needs(older.station)
    await offer(csms, CHEAP)
    fleets = Fleets(csms.services)

    async def planned(fleet: Fleet) -> list[str]:
        return [each.id.partition("/")[0] for each in (await fleets.plan(fleet)).problem.vehicles]

    assert await planned(FLEET) == [first.station.id, second.station.id]
    assert await planned(Fleet(id="one", stations=(NAMES[1],))) == [second.station.id]
    await away(csms, second.station)
    assert await planned(FLEET) == [first.station.id]


async def test_one_node_at_a_time_follows_the_plan(csms: Backend) -> None:
    charge = await fleet_vehicle(csms)
    await offer(csms, CHEAP)
    now_ms = csms.clock.utc_ms()
    assert await csms.services.store.run(leases.take, "fleets", "another node", now_ms, now_ms + 100_000)
    async with followed(csms):
        await change(csms)
        assert not setpoints(charge)
        csms.clock.advance(101)
        await change(csms)
        assert setpoints(charge)


async def test_a_plan_that_can_be_made_again_is_missed_again(csms: Backend) -> None:
    def fail(_: DispatchProblem) -> DispatchPlan:
        raise ConfigError("x" * 300)

    charge = await fleet_vehicle(csms)
    await offer(csms, CHEAP, DEAR)
    async with followed(csms, Fleet(id="depot", active=False)):
        await csms.services.store.run(rows.save, FLEET, csms.clock.utc_ms())
        for count in (1, 2):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(module, "make_plan", fail)
                await change(csms)
                await change(csms)
            missed = [(each.stage, each.data) for each in csms.events.named("fleet_not_planned")]
            assert missed == [("ocpp", {"fleet": "depot", "reason": "x" * 200})] * count
            await change(csms)
            assert setpoints(charge) == [11_000]
