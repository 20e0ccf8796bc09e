"""Stations share the grid's limits by what their vehicles need, in what order, and who does not obey (R193)."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from csms.alerts import store as alerts
from csms.alerts.work import AlertWatch
from csms.backend import make_backend
from csms.dispatch.work import Dispatch
from csms.grid import store as grid_shares
from csms.grid.shares import GridShares
from csms.grid.source import GridSource
from csms.grid.store import ABSENT_MS
from csms.sites import store as site_store
from csms.sites.rules import Place, Site
from csms.sites.work import Balancer
from csms.smart_charging.rules import SHARE_PROFILE, SITE_PROFILE, Needs
from csms.transactions import store as transactions
from pki_tools.tree import PkiTree
from tests.csms.backend import BOOT, Backend
from tests.csms.charging import Charging
from tests.csms.scripted_station import Payload, ScriptedStation
from tests.csms.services.charging.support import (
    ACCEPTED,
    NAMES,
    REJECTED,
    TOKENS,
    booted,
    limit_ma,
    offer,
    running,
    settled,
    two_nodes,
    vehicle,
)
from v2g.energy.balancing import Node
from v2g.energy.grid_signal import ConnectionPoint, GridLimit
from v2g.errors import RefusedError

PRICE = (300_000, 200_000)
YARD = ConnectionPoint(site="yard")


@contextlib.asynccontextmanager
async def sharing(*nodes: Backend) -> AsyncIterator[None]:
    """Let nodes share limits, and send them to their stations."""
    async with contextlib.AsyncExitStack() as stack:
        for csms in nodes:
            csms.services[GridSource].on_change = lambda _, csms=csms: csms.server.signal_changed()  # type: ignore[misc]
            await stack.enter_async_context(running(csms.services[GridShares]))
        yield


async def limit(csms: Backend, import_w: int, version: int = 1, **more: Any) -> None:
    await offer(csms, PRICE, version=version, site_import_limit_w=import_w, **more)
    await at_peace()


async def at_peace() -> None:
    """Let stations be lowered, then others raised."""
    for _ in range(8):
        await settled()


def most_w(station: ScriptedStation) -> float:
    """What a station may draw by the last profile that it accepted."""
    found = [each["chargingProfile"] for each in station.payloads("SetChargingProfile")]
    own = [each for each in found if each["id"] == SITE_PROFILE]
    return float(own[-1]["chargingSchedule"][0]["chargingSchedulePeriod"][0]["limit"])


async def draws(charge: Charging, power_w: int) -> None:
    name = "Power.Active.Import" if power_w >= 0 else "Power.Active.Export"
    sample = {"value": abs(power_w), "measurand": name, "unitOfMeasure": {"unit": "W"}}
    values = [{"timestamp": charge.now(), "sampledValue": [sample]}]
    await charge.event("Updated", "MeterValuePeriodic", state="Charging", extra={"meterValue": values})


@pytest.mark.requirement("R193")
async def test_all_stations_together_stay_within_a_limit_and_those_with_vehicles_get_more(csms: Backend) -> None:
    stations = [await booted(csms, NAMES[0]), await booted(csms, NAMES[1], "2.0.1"), await booted(csms, NAMES[2])]
    async with sharing(csms):
        await limit(csms, 60_000)
        assert [most_w(each) for each in stations] == [20_000] * 3
        charge = await vehicle(csms, stations[0], maxChargePower=50_000.0)
        await at_peace()
        assert [most_w(each) for each in stations] == [50_000, 5_000, 5_000]
        await charge.unplugged()
        await limit(csms, 30_000, 2)
        assert [most_w(each) for each in stations] == [10_000, 5_000, 5_000], "half of what is fair is enough"


@pytest.mark.parametrize(
    ("requested", "sample", "shared"),
    [
        (None, None, [6_000, 0]),  # 6 A on three phases do not fit twice
        ("AC_BPT", None, [6_000, 0]),
        ("DC", None, [3_000, 3_000]),
        (None, {"measurand": "SoC", "value": 40, "unitOfMeasure": {"unit": "Percent"}}, [3_000, 3_000]),
        (None, {"measurand": "Current.Import", "value": 10, "phase": "L1"}, [3_000, 3_000]),
        (None, {"measurand": "Power.Active.Import", "value": 2_500}, [3_000, 3_000]),  # which shows that it can
        (None, {"measurand": "Power.Active.Import", "value": 5_000}, [6_000, 0]),
    ],
)
async def test_vehicles_wait_where_none_would_have_its_least_current(
    csms: Backend, requested: str | None, sample: Payload | None, shared: list[int]
) -> None:
    stations = [await booted(csms, name) for name in NAMES[:2]]
    charges = [Charging(csms, each) for each in stations]
    for charge in charges:
        await charge.started()
        if requested is not None:
            needs = Needs(evse_id=1, requested=requested)
            await csms.services.store.run(transactions.save_needs, charge.station.id, charge.id, needs)
        if sample is not None:
            values = [{"timestamp": charge.now(), "sampledValue": [sample]}]
            await charge.event("Updated", "MeterValuePeriodic", state="Charging", extra={"meterValue": values})
    async with sharing(csms):
        await limit(csms, 6_000)
        assert [most_w(each) for each in stations] == shared
        await charges[0].unplugged()
        await at_peace()
        assert most_w(stations[1]) >= min(6_000, shared[1] or 6_000)


async def test_none_is_raised_before_others_have_accepted_less(csms: Backend) -> None:
    first, second = [await booted(csms, name) for name in NAMES[:2]]
    sums: list[float] = []
    accepted = {first.id: 0.0, second.id: 0.0}

    def answer(station: ScriptedStation) -> Any:
        def take(request: Payload) -> Payload:
            if (profile := request["chargingProfile"])["id"] == SITE_PROFILE:
                power_w = profile["chargingSchedule"][0]["chargingSchedulePeriod"][0]["limit"]
                accepted[station.id] = power_w
                sums.append(sum(accepted.values()))
            return ACCEPTED

        return take

    for each in (first, second):
        each.answers["SetChargingProfile"] = answer(each)
    async with sharing(csms):
        await limit(csms, 60_000)
        for station in (first, second):
            charge = await vehicle(csms, station, maxChargePower=55_000.0)
            await at_peace()
            assert accepted[station.id] == 55_000
            await charge.unplugged()
            await at_peace()
    assert len(sums) > 4
    assert max(sums) <= 60_000


@pytest.mark.requirement("R193")
async def test_what_one_that_does_not_obey_draws_is_taken_from_the_others_and_it_is_named(csms: Backend) -> None:
    stations = [await booted(csms, name) for name in NAMES[:3]]
    stations[0].answers["SetChargingProfile"] = REJECTED
    charges = [await vehicle(csms, each, maxChargePower=50_000.0) for each in stations]
    watch = AlertWatch(csms.services, make_backend(csms.services).alerts)

    async def active(name: Any) -> set[str]:
        return (await csms.services.store.read(alerts.active_by_rules))[name]

    async with sharing(csms):
        await limit(csms, 60_000)
        await draws(charges[1], 19_000)
        await draws(charges[0], 40_000)
        csms.clock.advance(5)
        await at_peace()
        assert [most_w(each) for each in stations[1:]] == [10_000] * 2
        await draws(charges[2], 10_200)
        csms.clock.advance(5)
        await watch.look()
        assert await active("grid_limit_exceeded") == {"import"}, "40 + 10 + 10.2 kW, at the second look at most"
        assert await active("limit_not_obeyed") == set(), "it has accepted nothing that it could break"
        stations[0].answers["SetChargingProfile"] = ACCEPTED
        await limit(csms, 59_000, 2)
        for charge in charges[1:]:
            await draws(charge, 9_000)
        await draws(charges[0], 40_000)
        csms.clock.advance(5)
        await at_peace()
        await watch.look()
        assert await active("limit_not_obeyed") == {NAMES[0]}
        assert {each.data["station"] for each in csms.events.named("limit_not_obeyed")} == {NAMES[0]}
        assert sum(most_w(each) for each in stations[1:]) + 40_000 <= 59_000
        await draws(charges[0], 10_000)
        await at_peace()
        await watch.look()
        assert await active("limit_not_obeyed") == set()


@pytest.mark.requirement("R193")
async def test_a_station_that_boots_has_its_limits_before_a_driver_is_authorised(csms: Backend) -> None:
    token = {"idToken": {"idToken": TOKENS[0].id_token, "type": TOKENS[0].type}}
    async with sharing(csms):
        await limit(csms, 60_000)
        station = await csms.join(NAMES[0], "2.1")
        station.answers |= {"SetChargingProfile": ACCEPTED, "DataTransfer": ACCEPTED}
        await station.call("BootNotification", BOOT)
        assert (await station.call("Authorize", token))["idTokenInfo"]["status"] == "Accepted"
        assert [each.data["import_w"] for each in csms.events.named("grid_share")] == [60_000]


@pytest.mark.requirement("R193")
async def test_one_that_refuses_what_bounds_export_has_accepted_its_import(csms: Backend) -> None:
    """As stations of OCPP 2.1 that only charge: they have to obey, and others rise only after they accept less."""
    stations = [await booted(csms, name) for name in NAMES[:2]]

    def answer(request: Payload) -> Payload:
        only_charges = request["chargingProfile"]["chargingProfilePurpose"] == "ChargingStationMaxProfile"
        return ACCEPTED if only_charges else REJECTED

    stations[0].answers["SetChargingProfile"] = answer
    async with sharing(csms):
        await limit(csms, 60_000, valid_until_ms=253_402_300_799_000)  # as late as it can be
        data = [each.data for each in csms.events.named("grid_share") if each.data["station"] == NAMES[0]]
        assert data[-1] == {"station": NAMES[0], "import_w": 30_000, "export_w": None}
        charges = [await vehicle(csms, each, maxChargePower=50_000.0) for each in stations]
        await draws(charges[0], 40_000)
        csms.clock.advance(5)
        await at_peace()
        assert csms.services[GridShares].beyond == {NAMES[0]: 10_000}
        assert [most_w(each) for each in stations] == [30_000, 20_000]


@pytest.mark.requirement("R193")
async def test_what_one_that_refuses_less_than_it_has_may_draw_is_taken_from_the_others(csms: Backend) -> None:
    stations = [await booted(csms, name) for name in NAMES[:3]]
    charges = [await vehicle(csms, each, maxChargePower=50_000.0) for each in stations]
    watch = AlertWatch(csms.services, make_backend(csms.services).alerts)

    async def active() -> set[str]:
        await watch.look()
        return (await csms.services.store.read(alerts.active_by_rules))["limit_not_obeyed"]

    async with sharing(csms):
        await limit(csms, 60_000)
        for each in charges:
            await draws(each, 20_000)
        stations[0].answers["SetChargingProfile"] = REJECTED
        await limit(csms, 30_000, 2)
        csms.clock.advance(5)
        await at_peace()
        assert [most_w(each) for each in stations] == [10_000, 5_000, 5_000]
        assert await active() == {NAMES[0]}
        await draws(charges[0], 4_000)
        csms.clock.advance(5)
        await at_peace()
        assert [most_w(each) for each in stations[1:]] == [5_000, 5_000], "it may draw more at any moment"
        assert await active() == set()
        stations[0].answers["SetChargingProfile"] = ACCEPTED
        await limit(csms, 36_000, 3)
        assert [most_w(each) for each in stations] == [12_000] * 3


def yard(row_ma: int = 63_000) -> Site:
    nodes = (Node(id="main", limits=(200_000,) * 3), Node(id="row", parent="main", limits=(row_ma,) * 3))
    homes = ("row", "row", "main")
    places = tuple(
        Place(station_id=name, evse_id=1, node=home, most_ma=32_000, least_ma=0)
        for name, home in zip(NAMES, homes, strict=False)
    )
    return Site(id="yard", nodes=nodes, places=places)


def shares_ma(station: ScriptedStation) -> int:
    found = [each["chargingProfile"] for each in station.payloads("SetChargingProfile")]
    return [limit_ma(each) for each in found if each["id"] == SHARE_PROFILE + 1][-1]


@pytest.mark.requirement("R193")
async def test_limits_of_site_feeder_and_evse_hold_over_the_stations_behind_them(csms: Backend) -> None:
    """Those of the site in W, that of the feeder by phase, and a set-point only behind its point."""
    await csms.services.store.run(site_store.save_site, yard(), 0)
    stations = [await booted(csms, name) for name in NAMES[:3]]
    charges = [await vehicle(csms, each, maxChargePower=22_000.0) for each in stations]
    row = ConnectionPoint(site="yard", feeder="row")
    evse = ConnectionPoint(station_id=NAMES[0], evse_id=1)
    limits = (
        GridLimit(connection_point=row, direction="import", phases_ma=(20_000, 24_000, 24_000)),
        GridLimit(connection_point=evse, direction="import", limit_w=4_830),
        GridLimit(connection_point=evse, direction="export", limit_w=1_000),
    )
    async with sharing(csms), running(Balancer(csms.services)):
        await limit(csms, 27_600, connection_point=YARD, limits=limits)
        for each in charges:
            await draws(each, 3_000)
        await limit(csms, 27_600, 2, connection_point=YARD, limits=limits)
        assert [shares_ma(each) for each in stations] == [7_000, 13_000, 20_000]
        results = await Dispatch(csms.services).set_point(-9_000, connection_point=evse)
        assert [(each.station_id, each.setpoint_w) for each in results] == [(NAMES[0], -999)]
        with pytest.raises(RefusedError, match="no site has feeder yard/attic"):
            await Dispatch(csms.services).set_point(1, connection_point=ConnectionPoint(site="yard", feeder="attic"))


async def test_a_part_of_the_grid_that_is_exceeded_is_no_fuse_that_is(csms: Backend) -> None:
    """A station refuses less: its site draws more than its part, and another outside gets no more."""
    await csms.services.store.run(site_store.save_site, yard(), 0)
    stations = [await booted(csms, name) for name in NAMES[:4]]
    charges = [await vehicle(csms, each, maxChargePower=22_000.0) for each in stations]
    async with sharing(csms), running(Balancer(csms.services)):
        await limit(csms, 60_000)
        assert [shares_ma(each) for each in stations[:3]] == [21_700] * 3
        for each in charges[:3]:
            await draws(each, 15_000)
        stations[0].answers["SetChargingProfile"] = REJECTED
        await limit(csms, 12_000, 2)
        assert [shares_ma(each) for each in stations[1:3]] == [0, 0]
        await draws(charges[0], 15_000)
        csms.clock.advance(5)
        await at_peace()
        assert most_w(stations[3]) == 0, "what the first draws is taken from all others"
        await AlertWatch(csms.services, make_backend(csms.services).alerts).look()
    active = await csms.services.store.read(alerts.active_by_rules)
    assert active["grid_limit_exceeded"] == {"import"}
    assert active["fuse_overloaded"] == set()
    assert not csms.events.named("site_overloaded")


async def test_a_limit_without_its_connection_point_is_refused_and_an_ambiguous_one_is_named(csms: Backend) -> None:
    with pytest.raises(RefusedError, match="unbound: no site has site yard"):
        await offer(csms, PRICE, connection_point=YARD)
    await offer(csms, PRICE)
    assert not csms.events.named("grid_limit_ambiguous"), "without sites all stations are meant"
    await csms.services.store.run(site_store.save_site, yard(), 0)
    await offer(csms, PRICE, version=2)
    await offer(csms, PRICE, version=3)
    assert [each.data for each in csms.events.named("grid_limit_ambiguous")] == [{"version": 2, "sites": "yard"}]
    await offer(csms, PRICE, version=4, connection_point=YARD)
    assert (await csms.services[GridSource].stated(), csms.services[GridSource].current.version) == ([], 4)  # type: ignore[union-attr]


async def test_a_station_that_is_away_keeps_its_share_for_a_while(csms: Backend) -> None:
    first, second = [await booted(csms, name) for name in NAMES[:2]]
    async with sharing(csms):
        await limit(csms, 60_000)
        await csms.leave(first)
        await vehicle(csms, second, maxChargePower=50_000.0)
        await at_peace()
        assert most_w(second) == 30_000
        csms.clock.advance(ABSENT_MS / 1000 + 60)
        await at_peace()
        assert most_w(second) == 60_000, "the other is not there"
        first = await booted(csms, NAMES[0])
        await at_peace()
        assert (most_w(first), most_w(second)) == (10_000, 50_000)


async def test_without_limits_there_are_no_shares(csms: Backend) -> None:
    await booted(csms, NAMES[0])
    async with sharing(csms):
        await limit(csms, 60_000)
        await limit(csms, 10_000_000, 2, export_limit_w=10_000_000)
    assert await csms.services.store.read(grid_shares.parts_of) == {}
    assert (await csms.services[GridShares].of(NAMES[0])) == (10_000_000, 10_000_000)


@pytest.mark.requirement("R193")
async def test_two_nodes_share_one_limit(tmp_path: Path, pki: PkiTree, empty_database: Path) -> None:
    async with two_nodes(tmp_path, pki, empty_database) as (here, there):
        stations = [await booted(here, NAMES[0]), await booted(there, NAMES[1]), await booted(there, NAMES[2])]
        async with sharing(here, there):
            await limit(here, 60_000)
            await there.services[GridSource].take_newest()
            await at_peace()
            assert [most_w(each) for each in stations] == [20_000] * 3
            await vehicle(there, stations[2], maxChargePower=50_000.0)
            await at_peace()
            assert [most_w(each) for each in stations] == [5_000, 5_000, 50_000]
