"""Who gets which set-point, and until when: permits, refusals, restarts and lost answers (Q)."""

import asyncio
from collections.abc import Callable

import pytest

from csms.alerts import store as alerts
from csms.alerts.work import AlertWatch
from csms.backend import make_backend
from csms.dispatch import store as dispatch_store
from csms.dispatch.work import Dispatch, in_force
from csms.fleets.rules import vehicle_id
from csms.grid.setpoints import SetpointFollower
from csms.grid.source import GRID_SIGNAL, GridSource
from csms.prequalifications import store as prequalifications
from csms.prequalifications.rules import Prequalification
from csms.prequalifications.work import ExportPermits
from csms.sites import store as site_store
from csms.sites.rules import Place, Site
from csms.smart_charging import store as charging
from csms.smart_charging.charging_plans import share_profile
from csms.smart_charging.rules import DISPATCH_PROFILE, SHARE_PROFILE
from tests.csms.backend import BOOT, Backend
from tests.csms.charging import Charging, away
from tests.csms.scripted_station import Payload, Refused, ScriptedStation
from tests.csms.services.charging.support import (
    ACCEPTED,
    NAMES,
    REJECTED,
    at_rest,
    booted,
    commanded,
    limit_ma,
    offer,
    running,
    send_older_needs,
    setpoint,
    settled,
    vehicle,
)
from tests.csms.support import grid_signal
from v2g.energy.balancing import Node
from v2g.energy.grid_signal import ConnectionPoint, GridLimit
from v2g.errors import RefusedError
from v2g.ocpp.times import format_time

DURATION_S = 300
"""What a set-point lasts in the default configuration."""


async def vehicles(csms: Backend, count: int) -> list[Charging]:
    return [await vehicle(csms, await booted(csms, name)) for name in NAMES[:count]]


async def yard(csms: Backend, main_ma: int, count: int = 2) -> None:
    """A balanced site of the first stations, on one fuse."""
    places = tuple(Place(station_id=name, evse_id=1, node="main", most_ma=32_000, least_ma=0) for name in NAMES[:count])
    site = Site(id="yard", nodes=(Node(id="main", limits=(main_ma,) * 3),), places=places)
    await csms.services.store.run(site_store.save_site, site, 0)


def shares_sent(station: ScriptedStation) -> list[float]:
    """The limits (A) of its shares that a station received."""
    found = [each["chargingProfile"] for each in station.payloads("SetChargingProfile")]
    return [limit_ma(each) / 1000 for each in found if each["id"] == SHARE_PROFILE + 1]


def profiles(station: ScriptedStation) -> list[Payload]:
    found = [each["chargingProfile"] for each in station.payloads("SetChargingProfile")]
    return [each for each in found if each["id"] > DISPATCH_PROFILE]


async def permit(csms: Backend, most_w: int, *, evse_id: int = 0, until_ms: int = 2**42, begin_ms: int = 0) -> None:
    record = Prequalification(
        station_id=NAMES[0], certificate=f"A{evse_id}", evse_id=evse_id, operator="DSO", valid_from_ms=begin_ms,
        valid_until_ms=until_ms, most_export_w=most_w,
    )  # fmt: skip
    await csms.services.store.run(prequalifications.put, record)
    await csms.services[ExportPermits].load()


async def following(csms: Backend) -> dict[tuple[str, str], int]:
    return await csms.services.store.read(charging.following, csms.clock.utc_ms())


# -- permits


async def two_vehicles(csms: Backend) -> tuple[ScriptedStation, list[Charging]]:
    """Two at one station, whose permit they share."""
    station = await booted(csms)
    return station, [await vehicle(csms, station, evse_id) for evse_id in (1, 2)]


async def test_a_station_s_permit_is_shared_evenly_and_an_evse_s_is_its_own(csms: Backend) -> None:
    await two_vehicles(csms)
    await permit(csms, 7_001)
    results = await Dispatch(csms.services).set_point(-12_000)
    assert [each.setpoint_w for each in results] == [-3_500, -3_500]
    await permit(csms, 2_000, evse_id=2)
    results = await Dispatch(csms.services).set_point(-12_000)
    assert [each.setpoint_w for each in results] == [-3_500, -2_000]


async def test_no_permit_lets_a_vehicle_give_more_than_it_can(csms: Backend) -> None:
    await vehicle(csms, await booted(csms))
    await permit(csms, 20_000)
    await permit(csms, 20_000, evse_id=1)
    (results,) = await Dispatch(csms.services).set_point(-50_000)
    assert results.setpoint_w == -8_000


@pytest.mark.parametrize(("asked_w", "parts"), [(7_000, [0, 7_000]), (-4_000, [-2_000, -2_000]), (-3_000, [0, -3_000])])
async def test_none_gets_less_than_the_least_that_it_takes_or_gives(
    csms: Backend, asked_w: int, parts: list[int]
) -> None:
    """It would take nothing at all: another, who can, follows alone."""
    for number in (0, 1):
        await vehicle(csms, await booted(csms, NAMES[number]), minChargePower=4000.0, minDischargePower=-2000.0)
    results = await Dispatch(csms.services).set_point(asked_w)
    assert sorted(abs(each.setpoint_w) for each in results) == sorted(map(abs, parts))
    assert sum(each.setpoint_w for each in results) == asked_w


async def test_a_vehicle_that_does_not_ask_to_discharge_gives_nothing(csms: Backend) -> None:
    await vehicle(csms, await booted(csms), requested="DC")
    (results,) = await Dispatch(csms.services).set_point(-5_000)
    assert results.setpoint_w == 0


async def test_what_one_gives_that_refused_less_stays_out_of_the_other_s_permit(csms: Backend) -> None:
    station, charges = await two_vehicles(csms)
    await permit(csms, 6_000)
    await Dispatch(csms.services).set_point(-6_000)

    def answer(request: Payload) -> Payload:
        return {
            "status": "Rejected" if (request.get("evseId") or request["chargingProfileId"] % 10) == 2 else "Accepted"
        }

    station.answers |= {"UpdateDynamicSchedule": answer, "SetChargingProfile": answer}
    await Dispatch(csms.services).set_point(-12_000)
    assert sum((await following(csms)).values()) == -6_000
    csms.clock.advance(1)
    names = [vehicle_id(NAMES[0], each.id) for each in charges]
    await Dispatch(csms.services).follow({names[0]: -8_000}, keep_up=True)
    assert sum((await following(csms)).values()) == -6_000, "the other's set-point is still in force"


async def test_a_refusal_to_discharge_is_reported(csms: Backend) -> None:
    charge = await vehicle(csms, await booted(csms))
    await permit(csms, 5_000, begin_ms=2**42)
    (results,) = await Dispatch(csms.services).set_point(-5_000)
    assert (results.setpoint_w, results.status) == (0, "Accepted")
    assert results.refusal
    assert (results.station_id, results.evse_id, results.transaction_id) == (NAMES[0], 1, charge.id)
    (event,) = csms.events.named("dispatched")
    assert (event.stage, event.data) == (
        "ocpp",
        {"station": NAMES[0], "evse": 1, "setpoint_w": 0, "status": "Accepted", "refusal": results.refusal},
    )


async def test_a_refused_set_point_is_reported_with_its_reason(csms: Backend) -> None:
    charge = await vehicle(csms, await booted(csms))
    charge.station.answers["SetChargingProfile"] = Refused("InternalError", "x" * 250)
    (results,) = await Dispatch(csms.services).set_point(-5_000)
    assert len(results.status) > 200
    (event,) = csms.events.named("dispatched")
    assert event.data == {"station": NAMES[0], "evse": 1, "setpoint_w": -5_000, "status": results.status[:200]}


# -- how long


async def test_a_set_point_ends_by_itself(csms: Backend) -> None:
    charge = await vehicle(csms, await booted(csms))
    now_ms = csms.clock.utc_ms()
    ends = {None: DURATION_S, 120_000: 120, 119_001: 120, 300_001: DURATION_S, 1: 1}
    for end_ms, duration_s in ends.items():
        await charge.station.call("BootNotification", BOOT)
        await Dispatch(csms.services).set_point(-5_000, until_ms=None if end_ms is None else now_ms + end_ms)
        assert profiles(charge.station)[-1]["chargingSchedule"][0]["duration"] == duration_s, end_ms
    for end_ms in (0, -5_000):
        assert await Dispatch(csms.services).set_point(-5_000, until_ms=now_ms + end_ms) == [], "it is over"


async def test_a_permit_ends_only_discharge(csms: Backend) -> None:
    charge = await vehicle(csms, await booted(csms))
    now_ms = csms.clock.utc_ms()
    for setpoint_w, permit_s, duration_s in (
        (-5_000, 40, 40),
        (-5_000, 400, DURATION_S),
        (5_000, 40, DURATION_S),
        (0, 40, DURATION_S),
        (-1, 40, 40),
    ):
        await permit(csms, 6_000, until_ms=now_ms + permit_s * 1000)
        await Dispatch(csms.services).set_point(setpoint_w)
        assert profiles(charge.station)[-1]["chargingSchedule"][0]["duration"] == duration_s, (setpoint_w, permit_s)


async def test_a_profile_is_set_again_when_more_than_its_value_changes(csms: Backend) -> None:
    station = await booted(csms)
    await vehicle(csms, station)
    dispatch = Dispatch(csms.services)
    counts = []
    for more in ({}, {}, {"frequency": True}, {"frequency": True}, {}, {"until_ms": csms.clock.utc_ms() + 9_000}):
        await dispatch.set_point(-5_000, **more)  # type: ignore[arg-type]
        counts.append((len(profiles(station)), len(station.payloads("UpdateDynamicSchedule"))))
    assert counts == [(1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (4, 2)]
    await dispatch.set_point(-5_000)
    other = await vehicle(csms, station)  # the end of the one before was never reported
    await dispatch.follow({vehicle_id(station.id, other.id): -5_000}, keep_up=True)
    assert profiles(station)[-1]["transactionId"] == other.id


@pytest.mark.parametrize("given", ["plan", "set-point", "long set-point"])
async def test_what_is_lost_is_sent_again_until_it_ends(csms: Backend, given: str) -> None:
    first, second = await vehicles(csms, 2)
    dispatch = Dispatch(csms.services)

    async def give(charge: Charging) -> None:
        if given == "plan":
            await dispatch.follow({vehicle_id(charge.station.id, charge.id): -4_000}, keep_up=False)
        else:
            until_ms = csms.clock.utc_ms() + 2 * DURATION_S * 1000 if given == "long set-point" else None
            await dispatch.set_point(-4_000, [charge.station.id], until_ms=until_ms)

    async def lose(*stations: str) -> None:
        for name in stations:
            await csms.services.store.run(dispatch_store.forget_dispatch, name, 0)
            csms.services.feed.publish("transaction_resumed", name, {})
        await settled()

    async with running(dispatch):
        await give(first)
        (schedule,) = profiles(first.station)[0]["chargingSchedule"]
        assert schedule["duration"] == DURATION_S
        assert schedule["chargingSchedulePeriod"][0]["operationMode"] == "CentralSetpoint"
        csms.clock.advance(DURATION_S - 0.001)
        await lose(NAMES[0])
        assert len(profiles(first.station)) == 2
        csms.clock.advance(0.001)
        await give(second)
        await lose(*NAMES[:2])
        assert (len(profiles(first.station)), len(profiles(second.station))) == (2, 2), "the first one's is over"


# -- whose


async def test_only_connected_stations_of_2_1_with_needs_take_part(csms: Backend) -> None:
    first, second, third = await vehicles(csms, 3)
    old = Charging(csms, await booted(csms, NAMES[3], "2.0.1"))
    await old.started()
    await send_older_needs(old.station)
    await Charging(csms, await booted(csms, NAMES[4])).started()
    await away(csms, third.station)
    dispatch = Dispatch(csms.services)
    assert [each.station_id for each in await dispatch.set_point(-6_000)] == NAMES[:2]
    assert not profiles(old.station)
    (results,) = await dispatch.set_point(-2_000, [NAMES[1]])
    assert (results.station_id, results.setpoint_w) == (NAMES[1], -2_000), "what the first follows is not of this one"
    assert commanded(first.station) == [-3_000]
    assert commanded(second.station) == [-3_000, -2_000]


async def test_a_plan_is_for_its_vehicles_and_within_what_they_can(csms: Backend) -> None:
    charges = await vehicles(csms, 3)
    names = [vehicle_id(each.station.id, each.id) for each in charges]
    dispatch = Dispatch(csms.services)
    results = await dispatch.follow({names[0]: 20_000, names[1]: -20_000}, keep_up=True)
    assert [(each.station_id, each.setpoint_w) for each in results] == [(NAMES[0], 11_000), (NAMES[1], -8_000)]
    assert await dispatch.follow({names[0]: 20_000, names[1]: -20_000}, keep_up=False) == []
    results = await dispatch.follow({names[0]: 20_000, names[1]: -1_000}, keep_up=False)
    assert [(each.station_id, each.setpoint_w) for each in results] == [(NAMES[1], -1_000)]
    assert commanded(charges[2].station) == []


@pytest.mark.parametrize("at_site", [False, True])
async def test_what_is_refused_is_split_over_the_others_three_times_at_most(csms: Backend, at_site: bool) -> None:
    """The last one follows more before; that it is lowered first, at a site, is no attempt."""
    charges = await vehicles(csms, 5)
    if at_site:
        await yard(csms, 200_000, count=5)
    await Dispatch(csms.services).follow({vehicle_id(NAMES[4], charges[4].id): 9_000}, keep_up=True)
    refusals = dict.fromkeys(NAMES, 0)

    def refuse(name: str, most_w: float) -> Callable[[Payload], Payload]:
        def answer(request: Payload) -> Payload:
            refused = setpoint(request["chargingProfile"]) > most_w
            refusals[name] += refused
            return {"status": "Rejected" if refused else "Accepted"}

        return answer

    for charge, most_w in zip(charges, (1_999, 2_499, 2_665, 4_999), strict=False):
        charge.station.answers |= {
            "SetChargingProfile": refuse(charge.station.id, most_w),
            "UpdateDynamicSchedule": REJECTED,
        }
    charges[4].station.answers |= dict.fromkeys(("SetChargingProfile", "UpdateDynamicSchedule"), ACCEPTED)
    results = await Dispatch(csms.services).set_point(10_000)
    assert list(refusals.values()) == [1, 1, 1, 0, 0]
    assert [(each.setpoint_w, each.status) for each in results] == [
        (2_000, "Rejected"), (2_500, "Rejected"), (2_666, "Rejected"), (2_667, "Accepted"), (2_667, "Accepted")
    ]  # fmt: skip


async def test_nothing_rises_at_a_site_before_the_others_have_been_lowered(csms: Backend) -> None:
    charges = await vehicles(csms, 3)
    names = [vehicle_id(each.station.id, each.id) for each in charges]
    await yard(csms, 16_000)
    dispatch = Dispatch(csms.services)
    await dispatch.follow({names[0]: 11_000, names[1]: 0, names[2]: 0}, keep_up=True)
    order: list[str] = []
    for charge in charges:
        name = charge.station.id
        charge.station.answers["UpdateDynamicSchedule"] = lambda _, name=name: order.append(name) or ACCEPTED
    results = await dispatch.follow({names[0]: 1_000, names[1]: 10_000, names[2]: 5_000}, keep_up=True)
    assert [each.setpoint_w for each in results] == [1_000, 10_000, 5_000]
    assert order.index(NAMES[0]) < order.index(NAMES[1])
    assert order[-1] == NAMES[1], "the third is at no site"
    charges[1].station.answers |= dict.fromkeys(
        ("UpdateDynamicSchedule", "SetChargingProfile"), Refused("InternalError")
    )
    before = len(commanded(charges[0].station))
    results = await dispatch.follow({names[0]: 9_000, names[1]: 2_000, names[2]: 5_000}, keep_up=True)
    assert max(commanded(charges[0].station)[before:]) <= 1_040, "11.04 kW less the 10 kW that were not lowered"


async def test_who_has_accepted_is_not_sent_it_again_when_another_refuses(csms: Backend) -> None:
    first, second = await vehicles(csms, 2)
    second.station.answers |= {"SetChargingProfile": REJECTED, "UpdateDynamicSchedule": REJECTED}
    names = [vehicle_id(each.station.id, each.id) for each in (first, second)]
    results = await Dispatch(csms.services).follow({names[0]: 5_000, names[1]: -1_000}, keep_up=True)
    assert [each.status for each in results] == ["Accepted", "Rejected"]
    assert (commanded(first.station), commanded(second.station)) == ([5_000], [-1_000])


async def test_what_is_not_sure_to_flow_is_asked_of_the_others(csms: Backend) -> None:
    first, _ = await vehicles(csms, 2)
    dispatch = Dispatch(csms.services)
    await dispatch.set_point(-6_000)
    first.station.answers |= dict.fromkeys(("SetChargingProfile", "UpdateDynamicSchedule"), lambda _: None)
    results = await dispatch.set_point(-7_000)
    assert [each.setpoint_w for each in results] == [-3_500, -7_000]


async def test_only_what_rises_waits_for_what_is_lowered(csms: Backend) -> None:
    """What stays is renewed at once, though a station that is to be lowered does not answer; one watt more waits."""
    charges = await vehicles(csms, 4)
    names = [vehicle_id(each.station.id, each.id) for each in charges]
    await yard(csms, 200_000, count=3)
    dispatch = Dispatch(csms.services)
    await dispatch.follow({names[0]: 5_000, names[1]: 5_000}, keep_up=True)
    charges[1].station.answers |= dict.fromkeys(("SetChargingProfile", "UpdateDynamicSchedule"), lambda _: None)
    counts = [len(commanded(each.station)) for each in charges]
    parts = {names[0]: 5_000, names[1]: 1_000, names[2]: 1, names[3]: 1}
    going = asyncio.create_task(dispatch.follow(parts, keep_up=True))
    await at_rest()
    sent = [len(commanded(each.station)) - count for each, count in zip(charges, counts, strict=True)]
    assert sent == [1, 1, 0, 1], "the last one is at no site"
    results = await going
    assert [each.status == "Accepted" for each in results] == [True, False, True, True]
    assert commanded(charges[0].station)[counts[0] :] == [5_000]
    assert commanded(charges[2].station) == [1]


async def given_shares(csms: Backend, *charges: tuple[Charging, int]) -> None:
    """Let stations hold shares (mA), as balancing has sent them."""
    now_ms = csms.clock.utc_ms()
    for charge, share_ma in charges:
        share = share_profile(1, share_ma, 3, now_ms, charge.id)
        await csms.services.store.run(charging.save_profile, charge.station.id, 1, share, charging.CSO, now_ms)


async def test_shares_are_lowered_for_a_plan_that_needs_them_only(csms: Backend) -> None:
    """A share of 10 A allows 6.9 kW: more than the first vehicle takes, or than its plan gives it."""
    first = await vehicle(csms, await booted(csms), maxChargePower=3_000.0)
    second = await vehicle(csms, await booted(csms, NAMES[1]))
    names = [vehicle_id(each.station.id, each.id) for each in (first, second)]
    await given_shares(csms, (first, 10_000), (second, 6_000))
    dispatch = Dispatch(csms.services)
    await yard(csms, 16_000)
    results = await dispatch.set_point(20_000)
    assert [each.setpoint_w for each in results] == [3_000, 4_140], "beside the share"
    await yard(csms, 100_000)
    await dispatch.set_point(20_000)
    await dispatch.follow({names[0]: 1_000, names[1]: 1_000}, keep_up=True)
    assert (shares_sent(first.station), shares_sent(second.station)) == ([], [])
    await yard(csms, 16_000)
    results = await dispatch.follow({names[0]: 690, names[1]: 10_000}, keep_up=True)
    assert [each.setpoint_w for each in results] == [690, 10_000]
    assert (shares_sent(first.station), shares_sent(second.station)) == ([1.0], [])


async def test_shares_that_do_not_fit_any_more_leave_no_vehicle_without_power(csms: Backend) -> None:
    """Two vehicles keep 20 A each for afterwards, where 24 A are left: each gets a half, and keeps no more."""
    charges = [await vehicle(csms, await booted(csms, name), maxChargePower=22_000.0) for name in NAMES[:2]]
    await given_shares(csms, *((each, 20_000) for each in charges))
    dispatch = Dispatch(csms.services)
    await yard(csms, 40_000)
    assert [each.setpoint_w for each in await dispatch.set_point(20_000)] == [10_000, 10_000]
    assert [shares_sent(each.station) for each in charges] == [[], []]
    await yard(csms, 24_000)
    assert [each.setpoint_w for each in await dispatch.set_point(20_000)] == [8_280, 8_280]
    assert [shares_sent(each.station) for each in charges] == [[12.0], [12.0]]


# -- the grid's limits hold for all set-points together

NO_PRICE = (0, 0)


async def asked(csms: Backend, setpoint_w: int, stations: list[str] | None = None) -> int:
    """Dispatch; return what all vehicles follow then, W."""
    await Dispatch(csms.services).set_point(setpoint_w, stations)
    return sum((await following(csms)).values())


async def test_an_operator_s_set_point_stays_within_the_limits_of_the_grid(csms: Backend) -> None:
    await vehicles(csms, 2)
    await offer(csms, NO_PRICE, site_import_limit_w=15_000, export_limit_w=5_000)
    assert await asked(csms, 20_000) == 15_000
    assert await asked(csms, -20_000) == -5_000
    assert await asked(csms, 4_000) == 4_000
    csms.clock.advance(49 * 3600)
    assert await asked(csms, -20_000) == 0, "nothing may flow out when the signal has ended"
    assert await asked(csms, 20_000) == 15_000


async def test_set_points_of_several_groups_share_the_limits(csms: Backend) -> None:
    await vehicles(csms, 3)
    await offer(csms, NO_PRICE, site_import_limit_w=15_000, export_limit_w=5_000)
    for _ in range(2):
        assert await asked(csms, 11_000, NAMES[:1]) == 11_000, "its own power is not that of others"
    assert await asked(csms, 11_000, NAMES[1:2]) == 15_000
    assert await asked(csms, 11_000, NAMES[2:3]) == 15_000, "nothing is left"
    assert await asked(csms, -8_000, NAMES[:1]) == -1_000, "the second still takes 4 kW, and may end at any moment"
    assert await asked(csms, -8_000, NAMES[1:2]) == -5_000


async def test_a_set_point_is_cut_to_what_others_leave(csms: Backend) -> None:
    """To the watt, and never to power in the other direction."""
    dispatch = Dispatch(csms.services)
    assert dispatch.within_grid(99_999, [20_000]) == 99_999, "there is no signal"
    await offer(csms, NO_PRICE, site_import_limit_w=15_000, export_limit_w=5_000)
    found = [
        dispatch.within_grid(asked_w, elsewhere)
        for asked_w, elsewhere in (
            (1, ()), (4_000, ()), (15_000, (1, -7_000)), (4_000, (20_000,)), (0, (20_000, -20_000)),
            (-1, ()), (-4_000, ()), (-5_000, (-1, 7_000)), (-4_000, (-20_000,)),
        )
    ]  # fmt: skip
    assert found == [1, 4_000, 14_999, 0, 0, -1, -4_000, -4_999, 0]
    site = Site(id="depot", nodes=(Node(id="main", limits=(200_000,) * 3),), places=())
    await csms.services.store.run(site_store.save_site, site, 0)
    point = ConnectionPoint(site="depot")
    limits = tuple(
        GridLimit(connection_point=point, direction=each, limit_w=limit_w)
        for each, limit_w in (("import", 12_000), ("export", 2_000))
    )
    await offer(csms, NO_PRICE, site_import_limit_w=15_000, export_limit_w=5_000, limits=limits, version=2)
    found = [
        dispatch.within_grid(asked_w, elsewhere, point)
        for asked_w, elsewhere in (
            (20_000, ()), (20_000, (2_000,)), (20_000, (4_000,)),
            (-20_000, ()), (-20_000, (-2_000,)), (-20_000, (-4_000,)),
        )
    ]  # fmt: skip
    assert found == [12_000, 12_000, 11_000, -2_000, -2_000, -1_000], "what others have is not behind its point"
    now_ms = csms.clock.utc_ms()
    await SetpointFollower(csms.services, "ieee2030_5", point).follow(-30_000, now_ms + 3_600_000, now_ms)
    assert [each.setpoint_w for each in await in_force(csms.services)] == [-2_000], "of a grid source, too"


async def test_a_set_point_at_a_connection_point_is_of_what_is_behind_it(csms: Backend) -> None:
    """Of one EVSE: the other one of its station keeps its own, which counts for the grid's limit only."""
    await two_vehicles(csms)
    await vehicle(csms, await booted(csms, NAMES[1]))
    places = tuple(
        Place(station_id=name, evse_id=evse_id, node="main", most_ma=32_000, least_ma=0)
        for name, evse_id in ((NAMES[0], 1), (NAMES[0], 2), (NAMES[1], 1))
    )
    site = Site(id="yard", nodes=(Node(id="main", limits=(200_000,) * 3),), places=places)
    await csms.services.store.run(site_store.save_site, site, 0)
    await offer(csms, NO_PRICE, site_import_limit_w=200_000, export_limit_w=10_000)

    async def given(
        setpoint_w: int, stations: list[str] | None = None, **point: str | int
    ) -> list[tuple[str, int, int]]:
        found = await Dispatch(csms.services).set_point(
            setpoint_w,
            stations,
            connection_point=ConnectionPoint(**point),  # type: ignore[arg-type]
        )
        return [(each.station_id, each.evse_id, each.setpoint_w) for each in found]

    assert await given(-6_000, station_id=NAMES[0], evse_id=1) == [(NAMES[0], 1, -6_000)]
    assert await given(-8_000, station_id=NAMES[0], evse_id=2) == [(NAMES[0], 2, -4_000)]
    assert await given(5_000, station_id=NAMES[0], evse_id=2) == [(NAMES[0], 2, 5_000)]
    assert await given(-2_000, [NAMES[1]], site="yard") == [(NAMES[1], 1, -2_000)]
    assert sorted((await following(csms)).values()) == [-6_000, -2_000, 5_000]
    assert len(await in_force(csms.services)) == 3, "the one of a station stays beside those of another's EVSEs"
    await Dispatch(csms.services).set_point(-1_000, [NAMES[1]])
    assert await given(-3_000, station_id=NAMES[0], evse_id=1) == [(NAMES[0], 1, -3_000)]
    assert sorted(each.setpoint_w for each in await in_force(csms.services)) == [-3_000, -1_000, 5_000]
    with pytest.raises(RefusedError) as refused:
        await given(1, site="attic")
    assert str(refused.value).startswith("a set-point is unbound: no site has site attic")
    assert (refused.value.reason, refused.value.hint) == ("unbound", "PUT /sites/SITE adds it")


async def test_what_vehicles_follow_on_their_own_is_no_fleet_s_plan(csms: Backend) -> None:
    charge = await vehicle(csms, await booted(csms))
    await Dispatch(csms.services).follow({vehicle_id(NAMES[0], charge.id): 2_000}, keep_up=True)
    (order,) = await in_force(csms.services)
    assert (order.fleet, order.planned_w, order.setpoint_w) == ("", 0, 2_000)


async def test_a_lower_limit_lowers_set_points_in_force(csms: Backend) -> None:
    await vehicles(csms, 2)
    await offer(csms, NO_PRICE, site_import_limit_w=15_000, export_limit_w=5_000)
    async with running(Dispatch(csms.services)):
        assert await asked(csms, 20_000) == 15_000
        await offer(csms, NO_PRICE, version=2, site_import_limit_w=9_000, export_limit_w=5_000)
        csms.services.feed.publish(GRID_SIGNAL, None, {"version": 2})
        await settled()
        assert sum((await following(csms)).values()) == 9_000


@pytest.mark.requirement("R125")
async def test_a_limit_that_is_broken_is_an_alert(csms: Backend) -> None:
    """By readings that came since the limit did."""
    charges = await vehicles(csms, 2)
    watch = AlertWatch(csms.services, make_backend(csms.services).alerts)

    async def seen() -> set[str]:
        await watch.look()
        return (await csms.services.store.read(alerts.active_by_rules))["grid_limit_exceeded"]

    async def drawn(*powers: float) -> set[str]:
        for charge, power_w in zip(charges, powers, strict=True):
            name = "Power.Active.Import" if power_w >= 0 else "Power.Active.Export"
            sample = {"value": abs(power_w), "measurand": name, "unitOfMeasure": {"unit": "W"}}
            values = [{"timestamp": charge.now(), "sampledValue": [sample]}]
            await charge.event("Updated", "MeterValuePeriodic", extra={"meterValue": values})
        return await seen()

    assert await drawn(10_000, 9_000) == set(), "there is no limit"
    now_ms = csms.clock.utc_ms()
    limits = {"site_import_limit_w": 15_000, "export_limit_w": 5_000}
    await csms.services[GridSource].offer(grid_signal(now_ms=now_ms, **limits), "test")
    assert await seen() == set(), "these are of the time before"
    assert await drawn(10_000, 5_000) == set()
    assert await drawn(10_000, 9_000) == {"import"}
    assert await drawn(7_000, 8_000) == set()
    assert await drawn(-3_000, -2_000) == set()
    assert await drawn(-3_000, -2_001) == {"export"}
    assert await drawn(-1_000, 0) == set()
    csms.clock.advance(3600)
    assert await drawn(-1_000, 0) == {"export"}, "nothing may flow out when the signal has ended"


# -- restarts and losses


@pytest.mark.parametrize(("reason", "again"), [("PowerUp", True), ("Triggered", False)])
async def test_a_station_that_has_restarted_gets_its_profile_again(csms: Backend, reason: str, again: bool) -> None:
    first, second = await vehicles(csms, 2)
    async with running(Dispatch(csms.services)):
        await Dispatch(csms.services).set_point(-6_000)
        await second.station.call("BootNotification", {**BOOT, "reason": reason})
        await first.station.call("BootNotification", BOOT)
        await settled()
        assert [setpoint(each) for each in profiles(first.station)] == [-3_000, -3_000]
        assert commanded(second.station) == [-3_000] * (1 + again), "nothing is sent to those who follow"


async def test_one_that_restarts_at_another_node_is_left_to_it(csms: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await vehicles(csms, 2)
    await Dispatch(csms.services).set_point(-6_000)
    monkeypatch.setattr(csms.services.connections, "connected_here", lambda: frozenset(NAMES[:1]))
    async with running(Dispatch(csms.services)):
        for charge in (second, first):
            await charge.station.call("BootNotification", BOOT)
        await settled()
    assert (len(profiles(first.station)), len(profiles(second.station))) == (2, 1)


async def test_a_loss_is_made_up_for(csms: Backend) -> None:
    charge = await vehicle(csms, await booted(csms))
    kinds = "charging_profiles_gone station_connected transaction_closed transaction_ended transaction_resumed"
    async with running(Dispatch(csms.services)):
        await Dispatch(csms.services).set_point(-6_000)
        for number, kind in enumerate(kinds.split(), 1):
            for lost in (False, True):
                if lost:
                    await csms.services.store.run(dispatch_store.forget_dispatch, NAMES[0], 0)
                csms.services.feed.publish(kind, NAMES[0], {})
                await settled()
                assert len(profiles(charge.station)) == number + lost, kind


@pytest.mark.parametrize("follows", [False, True])
async def test_a_set_point_whose_answer_was_lost_is_repeated_until_it_is_sure(csms: Backend, follows: bool) -> None:
    charge = await vehicle(csms, await booted(csms))
    dispatch, actions = Dispatch(csms.services), ("SetChargingProfile", "UpdateDynamicSchedule")
    name = vehicle_id(NAMES[0], charge.id)
    if follows:
        await dispatch.follow({name: -3_000}, keep_up=False)
    charge.station.answers |= dict.fromkeys(actions, lambda _: None)
    (results,) = await dispatch.follow({name: -4_000}, keep_up=False)
    assert results.status != "Accepted"
    assert await following(csms) == ({(NAMES[0], charge.id): -4_000} if follows else {}), "it may have it"
    charge.station.answers |= dict.fromkeys(actions, ACCEPTED)
    sent = len(commanded(charge.station))
    for answers in (1, 0):
        assert len(await dispatch.follow({name: -4_000}, keep_up=False)) == answers
    assert commanded(charge.station)[sent:] == [-4_000]


# -- frequency, and modes


async def test_a_frequency_signal_is_for_now_and_modes_are_named(csms: Backend) -> None:
    charge = await vehicle(csms, await booted(csms))
    charge.station.answers |= dict.fromkeys(("AFRRSignal", "NotifyAllowedEnergyTransfer"), ACCEPTED)
    dispatch = Dispatch(csms.services)
    refusing = await booted(csms, NAMES[1])
    refusing.answers["AFRRSignal"] = Refused("NotSupported", "none here")
    answers = await dispatch.afrr(-7, [NAMES[1], NAMES[0]])
    assert answers[NAMES[0]] == "Accepted"
    assert "none here" in answers[NAMES[1]]
    assert charge.station.payloads("AFRRSignal") == [{"timestamp": format_time(csms.clock.utc_ms()), "signal": -7}]
    with pytest.raises(RefusedError) as refused:
        await dispatch.allow(NAMES[0], charge.id, [])
    assert refused.value.reason == "no_mode"
    assert await dispatch.allow(NAMES[0], charge.id, ["DC"]) == "Accepted"


async def test_reports_wait_for_a_set_point(csms: Backend) -> None:
    charge = await vehicle(csms, await booted(csms))
    stored: list[str] = []

    async def report() -> None:
        async with csms.services.precedence.report(1_000):
            stored.append("report")

    def answer(_: Payload) -> Payload:
        stored.append("answer")
        return ACCEPTED

    charge.station.answers["SetChargingProfile"] = answer
    going = asyncio.create_task(Dispatch(csms.services).set_point(-6_000))
    await asyncio.sleep(0)
    await asyncio.gather(going, report())
    assert stored == ["answer", "report"]
