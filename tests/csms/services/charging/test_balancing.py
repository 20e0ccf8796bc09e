"""Sites with stations that refuse, fail, do not answer or drop out: the others make room, the rest is an alarm."""

import asyncio
import itertools
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from csms.config import StationEntry
from csms.device_model import store as device_model
from csms.dispatch.rules import dispatch_profile, setpoint_update
from csms.sites import store as site_store
from csms.sites import work as module
from csms.sites.rules import Known, Place, Site
from csms.sites.work import Balancer, hold_back, look_at
from csms.smart_charging import store as charging
from csms.smart_charging.charging_plans import milliampere
from csms.smart_charging.rules import SHARE_PROFILE, WAITING_PROFILE, Needs
from csms.transactions import store as transactions
from pki_tools.tree import PkiTree
from tests.csms.backend import BOOT, Backend
from tests.csms.charging import Charging, away
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Payload, Refused, ScriptedStation
from tests.csms.services.charging.support import (
    ACCEPTED,
    NAMES,
    REJECTED,
    TOKENS,
    limit_ma,
    running,
    settled,
    two_nodes,
)
from v2g.energy.balancing import Node

MOST_MA = 32_000
YARD = NAMES[:4]
BEHAVIOURS = ("obeys", "rejects", "fails", "ignores", "obeys without answer", "drops")

_databases = itertools.count()


def external_limit(amperes: float) -> Payload:
    """A limit of an energy manager at the first EVSE."""
    period = {"startPeriod": 0, "limit": float(amperes)}
    schedule = {"id": 1, "chargingRateUnit": "A", "chargingSchedulePeriod": [period]}
    return {"evseId": 1, "chargingLimit": {"chargingLimitSource": "EMS"}, "chargingSchedule": [schedule]}


class Yard:
    """Stations that behave as a test says; `drawn`: what each one's vehicle may really draw (mA)."""

    def __init__(self, csms: Backend) -> None:
        self.csms = csms
        self.behaviour = dict.fromkeys(NAMES, "obeys")
        self.drawn = dict.fromkeys(NAMES, MOST_MA)
        self.stations: dict[str, ScriptedStation] = {}
        self._dropping: dict[str, asyncio.Task[None]] = {}

    async def connect(self, name: str) -> ScriptedStation:
        station = self.stations[name] = await self.csms.booted(name)
        station.answers["SetChargingProfile"] = lambda request: self._answer(name, request)
        station.answers["GetVariables"] = Refused("NotSupported")
        return station

    def _answer(self, name: str, request: Payload) -> Any:
        behaviour = self.behaviour[name]
        if behaviour.startswith("obeys"):
            self.drawn[name] = limit_ma(request["chargingProfile"])
        match behaviour:
            case "rejects":
                return REJECTED
            case "fails":
                return Refused("InternalError")
            case "drops":
                self._dropping[name] = asyncio.create_task(self.stations[name].disconnect())
                return None
        return ACCEPTED if behaviour == "obeys" else None

    async def settled(self) -> None:
        """Wait until the stations that dropped out are gone."""
        while self._dropping:
            name, task = self._dropping.popitem()
            await task
            while self.connected(name):
                await asyncio.sleep(0)

    def connected(self, name: str) -> bool:
        return name in self.csms.services.connections.connected()

    def alarm_a(self) -> float:
        """What the metric says."""
        found = re.search(rb'v2g_site_overload_amperes\{site="yard"\} (\S+)', self.csms.services.metrics.text())
        return float(found[1]) if found else 0.0


def pair(main_ma: int, *, stations: int = 2, **changes: Any) -> Site:
    """Two stations on one fuse."""
    places = tuple(Place(station_id=name, evse_id=1, node="main", most_ma=MOST_MA) for name in NAMES[:stations])
    node = Node(id="main", limits=(main_ma,) * 3)
    return Site(**{"id": "yard", "nodes": (node,), "places": places, **changes})


async def fuse(csms: Backend, main_ma: int, **changes: Any) -> None:
    """Change the site without an event."""
    await csms.services.store.run(site_store.save_site, pair(main_ma, **changes), 0)


async def charging_pair(csms: Backend, main_ma: int = 40_000) -> Yard:
    """Two vehicles that charge, without shares yet."""
    found = Yard(csms)
    await fuse(csms, main_ma)
    for name in NAMES[:2]:
        await Charging(csms, await found.connect(name)).started()
    return found


async def test_after_a_refusal_the_others_are_lowered_and_what_is_left_is_said_once(csms: Backend) -> None:
    """A fuse of 60 A becomes one of 26 A: 13 A each. One refuses; the other goes down to the 6 A that are left."""
    found, balancer = await charging_pair(csms), Balancer(csms.services)
    await balancer.balance_all()
    assert [found.drawn[name] for name in NAMES[:2]] == [20_000, 20_000]
    for answer, amperes in (("rejects", 26), ("fails", 26), ("rejects", 18)):
        await fuse(csms, amperes * 1000)
        found.behaviour[NAMES[0]] = answer
        await balancer.balance_all()
        await balancer.balance_all()
        assert [found.drawn[name] for name in NAMES[:2]] == [20_000, 6_000 if amperes == 26 else 0]
    (overload,) = csms.events.named("site_overloaded")
    assert overload.stage == "ocpp"
    assert overload.data == {"site": "yard", "node": "main", "phase": "L1", "above": None, "excess_ma": 2_000}
    assert found.alarm_a() == 2.0
    found.behaviour[NAMES[0]] = "obeys"
    await balancer.balance_all()
    assert found.alarm_a() == 0
    (ended,) = csms.events.named("site_overload_ended")
    assert (ended.stage, ended.data) == ("ocpp", {"site": "yard"})


@pytest.mark.requirement("R192")
async def test_an_evse_that_an_earlier_version_has_put_into_two_sites_is_balanced_by_one(csms: Backend) -> None:
    found, balancer = await charging_pair(csms), Balancer(csms.services)
    await csms.services.store.run(site_store.save_site, msgspec.structs.replace(pair(20_000, stations=1), id="zoo"), 0)
    for _ in range(2):
        await balancer.balance_all()
        assert [found.drawn[name] for name in NAMES[:2]] == [20_000, 20_000], "as the first site gives it"
    (twice,) = csms.events.named("evse_at_several_sites")
    assert twice.data == {"evse": f"{NAMES[0]}/1", "sites": "yard, zoo"}
    await fuse(csms, 24_000)
    await balancer.balance_all()
    assert [found.drawn[name] for name in NAMES[:2]] == [12_000, 12_000]


@pytest.mark.requirement("R192")
async def test_an_unbalance_by_a_vehicle_that_is_not_lowered_is_reported(csms: Backend) -> None:
    """A vehicle on L1 with 32 A, whose station refuses, where 20 A may be drawn more from one phase than another."""
    found, balancer = Yard(csms), Balancer(csms.services)
    place = Place(station_id=NAMES[0], evse_id=1, node="main", most_ma=32_000, phases=("L2",))
    node = Node(id="main", limits=(63_000,) * 3)
    site = Site(id="yard", nodes=(node,), places=(place,))
    await csms.services.store.run(site_store.save_site, site, 0)
    await Charging(csms, await found.connect(NAMES[0])).started()
    await balancer.balance_all()
    assert (found.drawn[NAMES[0]], found.alarm_a()) == (32_000, 0)
    found.behaviour[NAMES[0]] = "rejects"
    german = msgspec.structs.replace(site, nodes=(msgspec.structs.replace(node, unbalance=20_000),))
    await csms.services.store.run(site_store.save_site, german, 0)
    await balancer.balance_all()
    (overload,) = csms.events.named("site_overloaded")
    assert overload.data == {"site": "yard", "node": "main", "phase": "L2", "above": "L1", "excess_ma": 12_000}
    assert found.alarm_a() == 12
    found.behaviour[NAMES[0]] = "obeys"
    await balancer.balance_all()
    assert (found.drawn[NAMES[0]], found.alarm_a()) == (20_000, 0)


@pytest.mark.requirement("R57")
async def test_a_welded_contactor_keeps_all_that_it_may_draw(csms: Backend) -> None:
    """N07: after its transaction nobody limits the vehicle there. An open contactor keeps nothing."""
    found, balancer = Yard(csms), Balancer(csms.services)
    await fuse(csms, 40_000)
    first, second = [Charging(csms, await found.connect(name)) for name in NAMES[:2]]
    for each in (first, second):
        await each.started()
    await balancer.balance_all()
    assert [found.drawn[name] for name in NAMES[:2]] == [20_000, 20_000]
    await first.unplugged()
    for code, active, left_ma in (
        ("contactor_dropped", True, 32_000),
        ("contactor_welded", True, 8_000),
        ("contactor_welded", False, 32_000),
    ):
        about = {"name": "PowerContactor", "evse": {"id": 1, "connectorId": 1}}
        event = {
            "eventId": 1, "timestamp": first.now(), "trigger": "Alerting", "actualValue": str(active).lower(),
            "techCode": code, "cleared": not active, "component": about, "variable": {"name": "Problem"},
            "eventNotificationType": "HardWiredNotification",
        }  # fmt: skip
        await first.station.call("NotifyEvent", {"generatedAt": first.now(), "seqNo": 0, "eventData": [event]})
        await first.connector("Faulted")
        await balancer.balance_all()
        assert found.drawn[NAMES[1]] == left_ma


@pytest.mark.requirement("R57")
async def test_what_a_faulted_connector_leaves_goes_to_others(csms: Backend) -> None:
    """Its transaction goes on, without power; its least current stays for it, and its share returns with it."""
    found, balancer = Yard(csms), Balancer(csms.services)
    await fuse(csms, 40_000)
    first, second = [Charging(csms, await found.connect(name)) for name in NAMES[:2]]
    for each in (first, second):
        await each.started()
    for status, state, shares in (
        ("Faulted", "SuspendedEVSE", [6_000, 32_000]),
        ("Occupied", "Charging", [20_000] * 2),
    ):
        await first.connector(status)
        await first.event("Updated", "ChargingStateChanged", state=state)
        await balancer.balance_all()
        assert [found.drawn[name] for name in NAMES[:2]] == shares


async def test_a_small_raise_is_left_out_also_after_a_refusal(csms: Backend) -> None:
    found, balancer = Yard(csms), Balancer(csms.services)
    await fuse(csms, 30_000, stations=3, least_raise_ma=3_000)
    for name in NAMES[:3]:
        await Charging(csms, await found.connect(name)).started()
    await balancer.balance_all()
    await found.stations[NAMES[0]].call("NotifyChargingLimit", external_limit(6))
    await found.stations[NAMES[2]].call("NotifyChargingLimit", external_limit(9))
    found.behaviour[NAMES[0]] = "rejects"
    await balancer.balance_all()
    assert [found.drawn[name] for name in NAMES[:3]] == [10_000, 10_000, 9_000]


async def test_a_station_cannot_pull_a_limit_that_it_refused(csms: Backend) -> None:
    """What it refuses by both messages is not in force for the site, and so not in the answer to a pull either."""
    await fuse(csms, 40_000)
    first, second = [await csms.booted(name, version="2.1") for name in NAMES[:2]]
    key = {"component": "SmartChargingCtrlr", "component_instance": "", "evse_id": 0, "connector_id": 0}
    variable = {"variable": "SupportsDynamicProfiles", "variable_instance": "", "attribute": "Actual", "value": "true"}
    await csms.services.store.run(device_model.save, first.id, [key | variable])
    charges = []
    for station in (first, second):
        station.answers |= {"SetChargingProfile": ACCEPTED, "UpdateDynamicSchedule": ACCEPTED}
        charges.append(Charging(csms, station))
        await charges[-1].started()
    balancer = Balancer(csms.services)
    await balancer.balance_all()
    await charges[1].unplugged()
    for refusal in (REJECTED, Refused("InternalError")):
        first.answers |= {"SetChargingProfile": refusal, "UpdateDynamicSchedule": refusal}
        await balancer.balance_all()
        pulled = await first.call("PullDynamicScheduleUpdate", {"chargingProfileId": SHARE_PROFILE + 1})
        assert pulled["scheduleUpdate"] == {"limit": 20.0}


@pytest.mark.requirement("R192")
async def test_vehicles_on_one_phase_get_phases_of_their_own_where_stations_can_choose(csms: Backend) -> None:
    """Two stations choose, one has its L1 on the grid's L2, one can do neither; each phase has 40 A."""
    await fuse(csms, 40_000, stations=4)
    stations = [await csms.booted(name, version="2.1") for name in NAMES[:4]]
    key = {"component_instance": "", "evse_id": 0, "connector_id": 0, "variable_instance": "", "attribute": "Actual"}
    chooses = key | {"component": "SmartChargingCtrlr", "variable": "ACPhaseSwitchingSupported", "value": "true"}
    turned = key | {"component": "ElectricalFeed", "variable": "PhaseRotation", "value": "STR"}
    for name, row in zip(NAMES, (chooses, chooses, turned), strict=False):
        await csms.services.store.run(device_model.save, name, [row])
    needs = Needs(evse_id=1, requested="AC_single_phase", most_ma=32_000)
    for station in stations:
        station.answers["SetChargingProfile"] = ACCEPTED
        charge = Charging(csms, station)
        await charge.started()
        await csms.services.store.run(transactions.save_needs, station.id, charge.id, needs)
    await Balancer(csms.services).balance_all()
    sent = [station.payloads("SetChargingProfile") for station in stations]
    periods = [
        each[-1]["chargingProfile"]["chargingSchedule"][0]["chargingSchedulePeriod"][0] if each else {} for each in sent
    ]
    # the third is on L2, the fourth on L1; the first takes L3, the second the first of those with one vehicle each
    assert [each.get("phaseToUse") for each in periods] == [3, 1, None, None]
    assert [each.get("numberPhases") for each in periods] == [1, 1, None, None]
    assert [each.get("limit", 32.0) for each in periods] == [32.0, 20.0, 32.0, 20.0]
    await Balancer(csms.services).balance_all()
    assert [station.payloads("SetChargingProfile") for station in stations] == sent, "nothing is said twice"


@pytest.mark.requirement("R192")
async def test_a_share_in_watts_grows_with_the_phases_that_a_vehicle_is_seen_to_use(csms: Backend) -> None:
    """At stations that take W only; before, all of it may be on one phase."""
    await fuse(csms, 20_000)
    key = {"component": "SmartChargingCtrlr", "component_instance": "", "evse_id": 0, "connector_id": 0}
    stations, balancer = [await csms.booted(name) for name in NAMES[:2]], Balancer(csms.services)
    charges = []
    for station, unit in zip(stations, ("W", "A,W"), strict=True):
        station.answers["SetChargingProfile"] = ACCEPTED
        variable = {"variable": "RateUnit", "variable_instance": "", "attribute": "Actual", "value": unit}
        await csms.services.store.run(device_model.save, station.id, [key | variable])
        charges.append(Charging(csms, station))
        await charges[-1].started()
    currents = [
        {"value": 9.8, "measurand": "Current.Import", "phase": phase, "unitOfMeasure": {"unit": "A"}}
        for phase in ("L1", "L2", "L3")
    ]
    for watts in (2300.0, 6900.0):
        for _ in range(2):
            await balancer.balance_all()
        sent = [[_period(each["chargingProfile"]) for each in one.payloads("SetChargingProfile")] for one in stations]
        assert sent[0][-1]["limit"] == watts
        assert [each["limit"] for each in sent[1]] == [10.0], "nothing is said twice"
        for charge in charges:
            reading = {"timestamp": charge.now(), "sampledValue": currents}
            await charge.event("Updated", "MeterValuePeriodic", extra={"meterValue": [reading]})
    assert len(sent[0]) == 2


async def test_a_station_that_refuses_a_phase_counts_on_the_one_that_it_uses(csms: Backend) -> None:
    await fuse(csms, 40_000)
    key = {"component": "SmartChargingCtrlr", "component_instance": "", "evse_id": 0, "connector_id": 0}
    variable = {"variable": "ACPhaseSwitchingSupported", "variable_instance": "", "attribute": "Actual"}
    needs = Needs(evse_id=1, requested="AC_single_phase", most_ma=32_000)
    stations = [await csms.booted(name, version="2.1") for name in NAMES[:2]]
    for station in stations:
        station.answers["SetChargingProfile"] = lambda request: (
            REJECTED if _period(request["chargingProfile"]).get("phaseToUse") == 2 else ACCEPTED
        )
        await csms.services.store.run(device_model.save, station.id, [key | variable | {"value": "true"}])
        charge = Charging(csms, station)
        await charge.started()
        await csms.services.store.run(transactions.save_needs, station.id, charge.id, needs)
    await Balancer(csms.services).balance_all()
    accepted = [
        [_period(each["chargingProfile"]) for each in station.payloads("SetChargingProfile")] for station in stations
    ]
    assert [each.get("phaseToUse") for each in accepted[0]] == [1, 1]
    assert [each.get("phaseToUse") for each in accepted[1]] == [2, None]
    assert [each[-1]["limit"] for each in accepted] == [20.0, 20.0], "both are on L1"


def _period(found: Payload) -> Payload:
    period: Payload = found["chargingSchedule"][0]["chargingSchedulePeriod"][0]
    return period


EVENTS = (
    "boot_accepted", "charging_limit", "charging_limit_cleared", "charging_needs", "dispatched", "priority_charging",
    "station_connected", "station_disconnected", "transaction_closed", "transaction_ended", "transaction_started",
    "transaction_updated",
)  # fmt: skip


async def waiting(csms: Backend, name: str) -> int | None:
    """The limit (mA) that a station is known to hold for transactions without a share."""
    held = await csms.services.store.read(charging.profile, name, WAITING_PROFILE)
    return None if held is None else milliampere(held)


async def test_it_balances_after_every_event_that_may_change_a_share(csms: Backend) -> None:
    publish = csms.services.feed.publish
    found = Yard(csms)
    for name in NAMES[:2]:
        await Charging(csms, await found.connect(name)).started()
    async with running(Balancer(csms.services)):
        await fuse(csms, 40_000, waiting_ma=1_000)
        publish("transaction_updated", NAMES[0], {})
        await settled()
        assert found.drawn == dict.fromkeys(NAMES, MOST_MA), "there was no site"
        publish("site_changed", None, {})
        await settled()
        assert [found.drawn[name] for name in NAMES[:2]] == [20_000] * 2
        assert [await waiting(csms, name) for name in NAMES[:2]] == [1_000] * 2
        for number, kind in enumerate(EVENTS, 1):
            await fuse(csms, 40_000 - 2_000 * number)
            publish(kind, NAMES[1], {})
            await settled()
            assert found.drawn[NAMES[0]] == 20_000 - 1_000 * number, kind
        await fuse(csms, 60_000, waiting_ma=2_000)
        await found.stations[NAMES[1]].call("BootNotification", BOOT)
        await settled()
        assert found.drawn[NAMES[0]] == 30_000
        assert [await waiting(csms, name) for name in NAMES[:2]] == [1_000, 2_000], "only one has restarted"
        found.drawn[NAMES[1]] = 2_000
        count = len(found.stations[NAMES[0]].payloads("SetChargingProfile"))
        await found.stations[NAMES[1]].call("BootNotification", BOOT)
        await settled()
        assert found.drawn[NAMES[1]] == 30_000, "it may have lost its share"
        assert len(found.stations[NAMES[0]].payloads("SetChargingProfile")) == count
        await fuse(csms, 50_000, waiting_ma=3_000)
        for kind in ("charging_needs", "site_changed"):
            publish(kind, None, {})
        await settled()
        assert found.drawn[NAMES[0]] == 25_000
        assert [await waiting(csms, name) for name in NAMES[:2]] == [3_000] * 2, "sent before it balances"
        asked = len(found.stations[NAMES[0]].payloads("SetChargingProfile"))
        await fuse(csms, 40_000, waiting_ma=3_000)
        publish("site_changed", None, {})
        await settled()
        assert found.drawn[NAMES[0]] == 20_000
        assert len(found.stations[NAMES[0]].payloads("SetChargingProfile")) == asked + 1, "the default limit is held"


async def test_a_reading_at_another_node_has_the_one_that_balances_look(
    tmp_path: Path, pki: PkiTree, empty_database: Path
) -> None:
    async with two_nodes(tmp_path, pki, empty_database) as (here, there):
        found, far = Yard(here), Yard(there)
        await fuse(here, 40_000)
        await Charging(here, await found.connect(NAMES[0])).started()
        await Charging(there, await far.connect(NAMES[1])).started()
        balancer = Balancer(there.services)
        telling = asyncio.create_task(balancer.tell())
        async with running(Balancer(here.services)), running(balancer):
            await settled()
            await settled()
            assert (found.drawn[NAMES[0]], far.drawn[NAMES[1]]) == (20_000, 20_000)
            await fuse(here, 30_000)
            with here.services.feed.subscribe({"site_loads"}) as told:
                for _ in range(3):
                    there.services.feed.publish("transaction_updated", NAMES[1], {})
                await settled()
                assert (found.drawn[NAMES[0]], far.drawn[NAMES[1]]) == (15_000, 15_000)
                assert [dict(each.data) for each in await told.batch(0.0)] == [{"stations": [NAMES[1]]}], "together"
        telling.cancel()


async def test_it_balances_at_once_and_at_intervals_without_an_event(csms: Backend) -> None:
    interval_s = csms.services.config.balancing.interval_s
    found = await charging_pair(csms)
    async with running(Balancer(csms.services)):
        assert found.drawn[NAMES[0]] == 20_000
        await fuse(csms, 30_000)
        await asyncio.sleep(interval_s - 1)
        assert found.drawn[NAMES[0]] == 20_000
        await asyncio.sleep(2)
        assert found.drawn[NAMES[0]] == 15_000


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("stations", "balanced"), [((), True), ((None,), True), (NAMES[1:3], True), (NAMES[2:], False), (NAMES[:1], True)]
)
async def test_only_sites_of_the_stations_concerned_are_balanced(
    csms: Backend, stations: tuple[str | None, ...], balanced: bool
) -> None:
    found = await charging_pair(csms)
    await Balancer(csms.services).balance_all(stations)
    assert (found.drawn[NAMES[0]] == 20_000) is balanced


async def test_the_node_of_the_first_connected_station_balances(csms: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another node holds a connection of the site. It reports the overload, too."""
    found, balancer = await charging_pair(csms), Balancer(csms.services)
    found.behaviour |= dict.fromkeys(NAMES, "rejects")
    await balancer.balance_all()
    assert found.alarm_a() == 24
    monkeypatch.setattr(csms.services.connections, "connected_here", lambda: frozenset(NAMES[1:2]))
    asked = len(found.stations[NAMES[1]].calls)
    await balancer.balance_all()
    await balancer.prepare(NAMES[1])
    assert (found.alarm_a(), len(found.stations[NAMES[1]].calls)) == (0, asked)
    monkeypatch.setattr(csms.services.connections, "connected_here", lambda: frozenset(NAMES[:1]))
    await balancer.balance_all()
    assert (found.alarm_a(), len(csms.events.named("site_overloaded"))) == (24, 2)
    await away(csms, found.stations[NAMES[0]])
    monkeypatch.setattr(csms.services.connections, "connected_here", lambda: frozenset(NAMES[1:2]))
    asked = len(found.stations[NAMES[1]].calls)
    await balancer.balance_all()
    assert len(found.stations[NAMES[1]].calls) > asked, "it is the first now"


async def test_the_default_limit_is_sent_once_and_again_when_it_changes(csms: Backend) -> None:
    found, balancer = Yard(csms), Balancer(csms.services)
    for name in NAMES[:3]:
        await found.connect(name)

    def sent(name: str) -> int:
        return len(found.stations[name].payloads("SetChargingProfile"))

    await fuse(csms, 40_000, waiting_ma=1_234)
    for name in NAMES[:3]:
        await balancer.prepare(name, again=False)
        await balancer.prepare(name, again=False)
    assert [sent(name) for name in NAMES[:3]] == [1, 1, 0], "the third is on no site"
    assert await waiting(csms, NAMES[0]) == 1_200
    assert found.stations[NAMES[0]].payloads("SetChargingProfile")[0]["evseId"] == 0
    await balancer.prepare(NAMES[0])
    assert sent(NAMES[0]) == 2, "it has restarted"
    await fuse(csms, 40_000, waiting_ma=1_300)
    await balancer.prepare(NAMES[0], again=False)
    assert (sent(NAMES[0]), await waiting(csms, NAMES[0])) == (3, 1_300)
    for behaviour in ("rejects", "fails"):
        found.behaviour[NAMES[0]] = "obeys"
        await balancer.prepare(NAMES[0])
        found.behaviour[NAMES[0]] = behaviour
        await balancer.prepare(NAMES[0])
        assert await waiting(csms, NAMES[0]) is None, "its transactions may draw all that they can"
    assert await waiting(csms, NAMES[1]) == 1_200


@pytest.mark.requirement("R55")
async def test_a_transaction_without_a_share_is_held_back_before_it_has_another_profile(csms: Backend) -> None:
    """Any TxProfile overrules the default for transactions without a share (K01)."""
    found, balancer, (name, far) = Yard(csms), Balancer(csms.services), NAMES[1:3]
    await fuse(csms, 40_000, waiting_ma=1_200, stations=3)
    charges = {each: Charging(csms, await found.connect(each)) for each in (name, far)}
    for each in charges.values():
        await each.started()

    async def held_back(station: str, transaction: str = "") -> tuple[bool, list[int]]:
        before = len(found.stations[station].payloads("SetChargingProfile"))
        took = await hold_back(csms.services, station, 1, transaction or charges[station].id)
        return took, [
            limit_ma(each["chargingProfile"])
            for each in found.stations[station].payloads("SetChargingProfile")[before:]
            if (each["evseId"], each["chargingProfile"]["transactionId"]) == (1, transaction or charges[station].id)
        ]

    assert await held_back(name) == (True, []), "its station does not hold the default: it counts with all that it can"
    for each in charges:
        await balancer.prepare(each)
    await fuse(csms, 40_000, waiting_ma=1_200)
    assert await held_back(far) == (True, []), "it is on no site"
    for behaviour in ("rejects", "fails"):
        found.behaviour[name] = behaviour
        assert (await held_back(name))[0] is False
    found.behaviour[name] = "obeys"
    assert await held_back(name) == (True, [1_200])
    assert await held_back(name) == (True, []), "it has a limit of its own"
    await balancer.balance_all()
    assert found.drawn[name] > 1_200
    assert await held_back(name) == (True, []), "which is its share now"
    assert await held_back(name, "another") == (True, [1_200]), "the limit of the transaction before is not its own"


async def test_a_raise_whose_answer_is_lost_counts_and_a_reduction_does_not(csms: Backend) -> None:
    found, balancer = await charging_pair(csms, 20_000), Balancer(csms.services)
    await balancer.balance_all()
    place = pair(0).places[0].id
    found.behaviour[NAMES[0]] = "ignores"
    bigger, smaller = pair(30_000), pair(12_000)
    assert (await balancer.balance(bigger))[place] == 15_000
    assert (await balancer.balance(bigger))[place] == 15_000, "it is stored"
    assert (await balancer.balance(smaller))[place] == 15_000
    assert found.drawn[NAMES[1]] == 0, "12 A are below what the first may draw"
    assert found.alarm_a() == 3
    found.behaviour[NAMES[0]] = "obeys"
    assert (await balancer.balance(smaller))[place] == 6_000


async def test_stations_of_other_nodes_get_the_default_limit_of_a_new_site(
    csms: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    await charging_pair(csms)
    await fuse(csms, 40_000, waiting_ma=1_000)
    monkeypatch.setattr(csms.services.connections, "connected_here", lambda: frozenset(NAMES[:1]))
    async with running(Balancer(csms.services)):
        assert len(csms.events.named("share")) == 2
        assert [await waiting(csms, name) for name in NAMES[:2]] == [1_000] * 2


async def test_what_is_sent_is_reported_with_the_answer(csms: Backend) -> None:
    found = await charging_pair(csms)
    found.behaviour[NAMES[1]] = "rejects"
    await Balancer(csms.services).balance_all()
    reported = [each.data for each in csms.events.named("share")]
    assert sorted(reported, key=lambda each: (str(each["station"]), -int(str(each["limit_ma"])))) == [
        {"station": NAMES[0], "evse": 1, "limit_ma": 20_000, "status": "Accepted"},
        {"station": NAMES[0], "evse": 1, "limit_ma": 8_000, "status": "Accepted"},
        {"station": NAMES[1], "evse": 1, "limit_ma": 20_000, "status": "Rejected"},
    ]
    assert {each.stage for each in csms.events.named("share")} == {"ocpp"}


async def test_nothing_is_raised_when_a_vehicle_was_dispatched_meanwhile(
    csms: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another vehicle no longer draws may be what the set-point needs."""
    found = Yard(csms)
    await fuse(csms, 40_000)
    charges = [Charging(csms, await found.connect(name)) for name in NAMES[:2]]
    for charge in charges:
        await charge.started()
    balancer = Balancer(csms.services)
    await balancer.balance_all()
    await found.stations[NAMES[0]].call("NotifyChargingLimit", external_limit(6))
    looks = 0

    async def look(services: Any, site: Site) -> tuple[dict[str, Known], dict[str, int]]:
        nonlocal looks
        looks += 1
        if looks == 2:
            now_ms = csms.clock.utc_ms()
            profile = dispatch_profile(1, 5_000, "CentralSetpoint", now_ms, charges[1].id, duration_s=300)
            await csms.services.store.run(charging.save_profile, NAMES[1], 1, profile, charging.CSO, now_ms)
            values = charging.Dynamic(NAMES[1], profile.id, setpoint_update(5_000), now_ms)
            await csms.services.store.gather(charging.save_dynamic, values)
        return await look_at(services, site)

    monkeypatch.setattr(module, "look_at", look)
    await balancer.balance_all()
    assert [found.drawn[name] for name in NAMES[:2]] == [6_000, 20_000]


# -- whatever stations do


def yard(main_ma: int, row_ma: int, *, least_raise_ma: int = 500) -> Site:
    """Two stations at the main fuse, two at one below it."""
    nodes = Node(id="main", limits=(main_ma,) * 3), Node(id="row", parent="main", limits=(row_ma,) * 3)
    places = tuple(
        Place(station_id=name, evse_id=1, node="main" if n < 2 else "row", most_ma=MOST_MA)
        for n, name in enumerate(YARD)
    )
    return Site(id="yard", nodes=nodes, places=places, waiting_ma=1_000, least_raise_ma=least_raise_ma)


def through(site: Site, node: Node, drawn: dict[str, int], names: list[str]) -> int:
    at = {place.station_id: place.node for place in site.places}
    return sum(drawn[name] for name in names if node.parent is None or at[name] == node.id)


@pytest.mark.requirement("R55", "R57")
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fuses=st.lists(st.tuples(st.integers(0, 130), st.integers(0, 70)), min_size=2, max_size=4),
    manners=st.lists(st.tuples(*[st.sampled_from(BEHAVIOURS)] * 4), min_size=4, max_size=4),
    prepared=st.tuples(*[st.booleans()] * 4),
    least_raise_ma=st.sampled_from([0, 500, 3_000]),
)
@example(  # in the end no station is connected
    fuses=[(101, 14), (0, 0), (0, 0), (0, 51)],
    manners=[
        ("obeys", "obeys", "obeys", "drops"),
        ("drops", "rejects", "drops", "obeys without answer"),
        ("drops", "drops", "fails", "ignores"),
        ("ignores", "ignores", "fails", "drops"),
    ],
    prepared=(False, False, False, True),
    least_raise_ma=0,
)
@pytest.mark.long
async def test_those_who_obey_bring_the_sum_under_the_fuse_and_the_rest_is_an_alarm(
    backend: Start,
    tmp_path: Path,
    fuses: list[tuple[int, int]],
    manners: list[tuple[str, ...]],
    prepared: tuple[bool, ...],
    least_raise_ma: int,
) -> None:
    stations = tuple(StationEntry(id=name) for name in YARD)
    data_dir = tmp_path / str(next(_databases))
    async with backend(tokens=TOKENS, stations=stations, data_dir=data_dir) as csms:
        found, balancer = Yard(csms), Balancer(csms.services)
        site = yard(130_000, 70_000)
        await csms.services.store.run(site_store.save_site, site, 0)
        for name, ready in zip(YARD, prepared, strict=True):
            station = await found.connect(name)
            if ready:
                await balancer.prepare(name)
            await Charging(csms, station).started()
        for (main_a, row_a), manner in zip([*fuses, (130, 70)], [*manners[: len(fuses)], ("obeys",) * 4], strict=True):
            site = yard(main_a * 1000, row_a * 1000, least_raise_ma=least_raise_ma)
            await csms.services.store.run(site_store.save_site, site, 0)
            for name, behaviour in zip(YARD, manner, strict=True):
                found.behaviour[name] = behaviour
                if behaviour == "obeys" and not found.connected(name):
                    await found.connect(name)
            before = dict(found.drawn)
            await balancer.balance_all()
            await found.settled()
            others = [name for name in YARD if found.behaviour[name] != "obeys"]
            for node in site.nodes:
                drawn = through(site, node, found.drawn, YARD)
                left = through(site, node, {name: max(before[name], found.drawn[name]) for name in YARD}, others)
                assert drawn <= max(node.limits[0], left), (node.id, found.drawn, manner)
                assert found.alarm_a() * 1000 >= drawn - node.limits[0], "an overload without alarm"
        assert found.alarm_a() == 0, "all obey, and the alarm goes on"
        said = [each.name for each in csms.events.reported if each.name.startswith("site_overload")]
        assert not said or said[-1] == "site_overload_ended"
