"""Functional block Q, bidirectional power transfer, beyond the cases of the test lab."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from sqlalchemy import Connection

from csms.dispatch import store as dispatch_store
from csms.dispatch.rules import Order
from csms.dispatch.work import Dispatch
from csms.fleets.rules import vehicle_id
from csms.grid.source import GridSource
from csms.sites import store as site_store
from csms.sites.rules import Balancing, Place, Site
from csms.sites.work import Balancer
from csms.smart_charging import store as charging
from csms.smart_charging.rules import DISPATCH_PROFILE, Needs
from csms.smart_charging.work import SmartCharging
from csms.stations import store as stations
from csms.tokens.rules import TokenEntry
from csms.transactions import store as transactions
from csms.transactions.events import EventArrival, add_events
from csms.transactions.rules import Event
from tests.csms.backend import Backend
from tests.csms.charging import VALID, Charging
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Payload, Refused
from tests.csms.support import grid_signal
from tests.waiting import until
from v2g.energy.balancing import Node
from v2g.errors import RefusedError
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.charging_profiles import (
    ChargingProfile,
    ChargingSchedule,
    ChargingSchedulePeriod,
    V2XFreqWattPoint,
    V2XSignalWattPoint,
)
from v2g.ocpp.messages.smart_charging import ChargingProfileCriterion
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time

M = TypeVar("M", bound=Message)

ACCEPTED = {"status": "Accepted"}
TOKENS = (TokenEntry(id_token=VALID["idToken"], type=VALID["type"], energy_transfer=("DC", "DC_BPT")),)


@pytest_asyncio.fixture
async def csms(backend: Start) -> AsyncIterator[Backend]:
    """A back end that knows a driver whose contract allows both directions."""
    async with backend(tokens=TOKENS) as running:
        yield running


async def session(csms: Backend, identity: str = "CS-V2G-0001") -> Charging:
    """A vehicle stands at a station of 2.1, authorised and plugged in."""
    station = await csms.booted(identity, version="2.1")
    for action in (
        "SetChargingProfile", "UpdateDynamicSchedule", "NotifyAllowedEnergyTransfer", "AFRRSignal", "DataTransfer",
    ):  # fmt: skip
        station.answers[action] = ACCEPTED
    charge = Charging(csms, station)
    await charge.authorized()
    await charge.plugged()
    return charge


async def needs(charge: Charging, requested: str = "DC_BPT", **more: Any) -> str:
    """The vehicle sends what it can; return the answer's status."""
    v2x = {"maxChargePower": 11000.0, "maxDischargePower": -8000.0, "evTargetEnergyRequest": 20000.0}
    wanted = {
        "requestedEnergyTransfer": requested,
        "controlMode": "DynamicControl",
        "v2xChargingParameters": v2x,
        **more,
    }
    answer = await charge.station.call("NotifyEVChargingNeeds", {"evseId": 1, "chargingNeeds": wanted})
    return str(answer["status"])


def last_period(charge: Charging) -> Payload:
    received = charge.station.payloads("SetChargingProfile")[-1]["chargingProfile"]
    period: Payload = received["chargingSchedule"][0]["chargingSchedulePeriod"][0]
    return period


async def offer_signal(csms: Backend) -> None:
    now_ms = csms.clock.utc_ms()
    await csms.services[GridSource].offer(grid_signal(now_ms=now_ms), "test")


async def test_a_set_point_within_the_contract_lets_a_vehicle_discharge(csms: Backend) -> None:
    charge = await session(csms)
    await offer_signal(csms)
    assert await needs(charge) == "Accepted"
    await until(lambda: charge.station.payloads("SetChargingProfile"))
    assert last_period(charge)["operationMode"] == "ExternalSetpoint"
    assert last_period(charge)["dischargeLimit"] == -5000.0


async def test_a_vehicle_only_charges_until_it_may_discharge(csms: Backend) -> None:
    charge = await session(csms)
    await offer_signal(csms)
    assert await needs(charge, "DC") == "Accepted"
    await until(lambda: [each for each in charge.station.payloads("SetChargingProfile") if each["evseId"] == 1])
    for received in charge.station.payloads("SetChargingProfile"):
        if received["evseId"] == 1:  # Q02.FR.01, FR.02
            period = received["chargingProfile"]["chargingSchedule"][0]["chargingSchedulePeriod"][0]
            assert period.get("operationMode", "ChargingOnly") == "ChargingOnly"
            assert not {"dischargeLimit", "setpoint"} & set(period)
    dispatch = Dispatch(csms.services)
    assert await dispatch.allow(charge.station.id, charge.id, ["DC", "DC_BPT"]) == "Accepted"
    (received,) = charge.station.payloads("NotifyAllowedEnergyTransfer")
    assert received == {"transactionId": charge.id, "allowedEnergyTransfer": ["DC", "DC_BPT"]}
    with pytest.raises(RefusedError):
        await dispatch.allow(charge.station.id, charge.id, [])


def v2x_profile(csms: Backend, charge: Charging, kind: Any = "Absolute", **period: Any) -> ChargingProfile:
    now = format_time(csms.clock.utc_ms())
    schedule = ChargingSchedule(
        id=1,
        start_schedule=now if kind == "Absolute" else None,
        charging_rate_unit="W",
        duration=900,
        charging_schedule_period=(ChargingSchedulePeriod(start_period=0, **period),),
    )
    return ChargingProfile(
        id=60,
        stack_level=2,
        charging_profile_purpose="TxProfile",
        charging_profile_kind=kind,
        transaction_id=charge.id,
        charging_schedule=(schedule,),
    )


async def test_a_set_point_has_no_limit(csms: Backend) -> None:
    charge = await session(csms)
    service = SmartCharging(csms.services)
    wanted = v2x_profile(csms, charge, operation_mode="CentralSetpoint", setpoint=-3000.0)
    assert (await service.set_profile(charge.station.id, 1, wanted)).status == "Accepted"
    assert last_period(charge) == {"startPeriod": 0, "operationMode": "CentralSetpoint", "setpoint": -3000.0}
    with pytest.raises(RefusedError, match="limit"):  # Q03.FR.02
        await service.set_profile(
            charge.station.id,
            1,
            v2x_profile(csms, charge, operation_mode="CentralSetpoint", setpoint=-3000.0, limit=1.0),
        )


async def dispatched(csms: Backend, **more: Any) -> Charging:
    charge = await session(csms)
    assert await needs(charge) == "NoChargingProfile"
    (split,) = await Dispatch(csms.services).set_point(-5000, **more)
    assert (split.setpoint_w, split.status) == (-5000, "Accepted")
    return charge


async def test_a_set_point_is_pushed(csms: Backend) -> None:
    charge = await dispatched(csms)
    received = charge.station.payloads("SetChargingProfile")[-1]["chargingProfile"]
    assert (received["chargingProfileKind"], received["chargingProfilePurpose"]) == ("Dynamic", "TxProfile")
    assert received["chargingSchedule"][0]["duration"] == 300
    assert last_period(charge) == {"startPeriod": 0, "operationMode": "CentralSetpoint", "setpoint": -5000.0}
    await Dispatch(csms.services).set_point(4000)
    update = {"chargingProfileId": DISPATCH_PROFILE + 1, "scheduleUpdate": {"setpoint": 4000.0}}
    assert charge.station.payloads("UpdateDynamicSchedule") == [update]
    assert len(charge.station.payloads("SetChargingProfile")) == 1


async def test_a_set_point_is_pulled(csms: Backend) -> None:
    charge = await dispatched(csms, pull_s=60)
    received = charge.station.payloads("SetChargingProfile")[-1]["chargingProfile"]
    assert received["dynUpdateInterval"] == 60
    answer = await charge.station.call("PullDynamicScheduleUpdate", {"chargingProfileId": received["id"]})
    assert answer == {"status": "Accepted", "scheduleUpdate": {"setpoint": -5000.0}}


async def external(csms: Backend, mode: str) -> None:
    charge = await session(csms)
    wanted = v2x_profile(csms, charge, operation_mode=mode, limit=11000.0, discharge_limit=-8000.0)
    assert (await SmartCharging(csms.services).set_profile(charge.station.id, 1, wanted)).status == "Accepted"
    assert last_period(charge)["operationMode"] == mode


async def test_tc_q_111_csms_external_set_point(csms: Backend) -> None:
    await external(csms, "ExternalSetpoint")


async def test_tc_q_112_csms_external_limits(csms: Backend) -> None:
    await external(csms, "ExternalLimits")


async def test_a_set_point_may_support_the_frequency(csms: Backend) -> None:
    charge = await dispatched(csms, frequency=True)
    assert last_period(charge)["operationMode"] == "CentralFrequency"
    await Dispatch(csms.services).set_point(-1000, frequency=True)
    assert charge.station.payloads("UpdateDynamicSchedule")[-1]["scheduleUpdate"] == {"setpoint": -1000.0}


async def test_an_afrr_signal_goes_to_who_takes_it(csms: Backend) -> None:
    charge = await session(csms)
    curve = (V2XSignalWattPoint(signal=-1, power=-5000.0), V2XSignalWattPoint(signal=1, power=5000.0))
    points = (V2XFreqWattPoint(frequency=49.8, power=-5000.0), V2XFreqWattPoint(frequency=50.2, power=5000.0))
    wanted = v2x_profile(
        csms, charge, operation_mode="LocalFrequency", v2x_signal_watt_curve=curve, v2x_freq_watt_curve=points
    )
    assert (await SmartCharging(csms.services).set_profile(charge.station.id, 1, wanted)).status == "Accepted"
    assert await Dispatch(csms.services).afrr(1, [charge.station.id]) == {charge.station.id: "Accepted"}
    (received,) = charge.station.payloads("AFRRSignal")
    assert received["signal"] == 1
    old = await csms.booted("CS-V2G-0002")
    answers = await Dispatch(csms.services).afrr(1, [old.id, "nobody"])
    assert "no AFRRSignal" in answers[old.id]
    assert "not connected" in answers["nobody"]


async def test_frequency_support_has_a_curve(csms: Backend) -> None:
    charge = await session(csms)
    service = SmartCharging(csms.services)
    points = (V2XFreqWattPoint(frequency=49.8, power=-5000.0), V2XFreqWattPoint(frequency=50.2, power=5000.0))
    wanted = v2x_profile(csms, charge, operation_mode="LocalFrequency", v2x_freq_watt_curve=points, v2x_baseline=0.0)
    assert (await service.set_profile(charge.station.id, 1, wanted)).status == "Accepted"
    with pytest.raises(RefusedError, match="curve"):
        await service.set_profile(charge.station.id, 1, v2x_profile(csms, charge, operation_mode="LocalFrequency"))


async def test_needs_that_overtake_their_transaction_are_dispatched(csms: Backend) -> None:
    station = await csms.booted("CS-V2G-0001", version="2.1")
    station.answers["SetChargingProfile"] = ACCEPTED
    charge = Charging(csms, station)
    assert await needs(charge) == "NoChargingProfile"
    await charge.started()
    (split,) = await Dispatch(csms.services).set_point(-5000)
    assert (split.setpoint_w, split.status) == (-5000, "Accepted")


class Silent:
    """A connection to a station that answers nothing."""

    version: Version = "2.1"

    async def call(self, _request: Message, _response: type[M], *, timeout: float | None = None) -> M:
        del timeout
        await asyncio.Event().wait()
        raise AssertionError

    async def close(self, reason: str = "") -> None:
        """Nothing to close."""


@pytest.mark.requirement("R54")
async def test_stations_that_do_not_answer_delay_no_other_set_point(csms: Backend) -> None:
    charge = await session(csms, "CS-V2G-0002")
    await needs(charge)
    silent = [f"CS-{number:04d}" for number in range(150)]

    def start(connection: Connection) -> None:
        for identity in silent:
            stations.touch(connection, identity, "ocpp2.1", 0)
            begun = Event(
                station_id=identity,
                transaction_id="t",
                seq_no=0,
                kind="Started",
                at_ms=0,
                trigger="",
                digest="",
                evse_id=1,
            )
            add_events(connection, [EventArrival(begun, b'{"transactionInfo":{}}', 0)])
            able = Needs(evse_id=1, requested="DC_BPT", most_w=11_000, most_discharge_w=8_000)
            transactions.save_needs(connection, identity, "t", able)

    await csms.services.store.run(start)
    for identity in silent:
        csms.services.connections.register(identity, Silent())
    going = asyncio.create_task(Dispatch(csms.services).set_point(-151_000))
    await until(lambda: charge.station.payloads("SetChargingProfile"))
    assert last_period(charge)["setpoint"] == -1000.0
    going.cancel()


@pytest.mark.requirement("R51")
async def test_a_set_point_is_split_over_stations_and_one_that_refuses_is_named(csms: Backend) -> None:
    first = await session(csms)
    second = await session(csms, "CS-V2G-0002")
    for charge in (first, second):
        await needs(charge)
    second.station.answers["SetChargingProfile"] = Refused("NotSupported", "not today")
    split = await Dispatch(csms.services).set_point(-12_000)
    assert [each.setpoint_w for each in split] == [-8000, -6000], (
        "the first takes over what it can of the second's part"
    )
    assert split[0].status == "Accepted"
    assert "not today" in split[1].status
    assert await following(csms) == {(first.station.id, first.id): -8000}, "what was refused is not reckoned with"
    await needs(first, "DC")  # no longer both ways
    split = await Dispatch(csms.services).set_point(-12_000)
    assert [each.setpoint_w for each in split] == [0, -8000]


async def test_a_balanced_site_bounds_dispatch_in_both_directions_and_shares_what_dispatch_leaves(
    csms: Backend,
) -> None:
    first, second = await session(csms), await session(csms, "CS-V2G-0002")
    for charge in (first, second):
        await needs(charge)
    three = (12_000, 12_000, 12_000)
    node = Node(id="fuse", limits=three, feed_back=(6_000, 6_000, 6_000))
    places = tuple(
        Place(station_id=each.station.id, evse_id=1, node="fuse", most_ma=32_000, least_ma=0)
        for each in (first, second)
    )
    await csms.services.store.run(site_store.save_site, Site(id="yard", nodes=(node,), places=places), 0)
    for charge in (first, second):
        await Balancer(csms.services).prepare(charge.station.id)
    split = await Dispatch(csms.services).set_point(-12_000)  # 6 A on three phases of 230 V may be fed back
    assert [each.setpoint_w for each in split] == [-2070, -2070]
    await second.unplugged()
    third = Charging(csms, second.station)
    await third.started()
    split = await Dispatch(csms.services).set_point(5_000, [first.station.id])
    assert [each.setpoint_w for each in split] == [5_000]
    await Balancer(csms.services).balance_all()
    shares = [each["chargingProfile"] for each in third.station.payloads("SetChargingProfile")]
    period = shares[-1]["chargingSchedule"][0]["chargingSchedulePeriod"][0]
    assert shares[-1]["transactionId"] == third.id
    assert period["limit"] == 4.7  # of 12 A, 7.3 A are dispatched


async def test_a_site_is_shared_by_the_plan_before_it_is_shared_evenly(csms: Backend) -> None:
    """On 11.04 kW: one draws all of it by its plan and the other nothing, and the other way round."""
    charges = [await session(csms), await session(csms, "CS-V2G-0002")]
    for charge in charges:
        await needs(charge, "DC_BPT")
    node = Node(id="fuse", limits=(16_000,) * 3)
    places = tuple(Place(station_id=each.station.id, evse_id=1, node="fuse", most_ma=32_000) for each in charges)
    await csms.services.store.run(site_store.save_site, Site(id="yard", nodes=(node,), places=places), 0)
    await Balancer(csms.services).balance_all()
    names = [vehicle_id(each.station.id, each.id) for each in charges]
    dispatch = Dispatch(csms.services)
    for plan in ((0, 11_000), (11_000, 0), (5_000, 5_000)):
        split = await dispatch.follow(dict(zip(names, plan, strict=True)), keep_up=True)
        assert tuple(each.setpoint_w for each in split) == plan
    split = await dispatch.follow(dict.fromkeys(names, 11_000), keep_up=True)
    assert [each.setpoint_w for each in split] == [5_520, 5_520], "what the plan wants is more than there is"
    charges[0].station.answers["UpdateDynamicSchedule"] = Refused("InternalError", "busy")
    split = await dispatch.follow(dict(zip(names, (0, 11_000), strict=True)), keep_up=True)
    assert await following(csms) == {(charges[n].station.id, charges[n].id): 5_520 for n in (0, 1)}
    assert split[1].setpoint_w == 5_520, "the other was not lowered"


async def following(csms: Backend) -> dict[tuple[str, str], int]:
    return await csms.services.store.read(charging.following, csms.clock.utc_ms())


def told_last(charge: Charging) -> float:
    """The set-point that a station received last."""
    for action, payload in reversed(charge.station.calls):
        if action == "UpdateDynamicSchedule":
            return float(payload["scheduleUpdate"]["setpoint"])
        if action == "SetChargingProfile":
            break
    return float(last_period(charge)["setpoint"])


async def test_a_set_point_that_an_earlier_one_contradicts_is_put_back_and_made_up_for(csms: Backend) -> None:
    first, second = await session(csms), await session(csms, "CS-V2G-0002")
    for charge in (first, second):
        await needs(charge)
    await Dispatch(csms.services).set_point(-4_000)
    second.station.answers["UpdateDynamicSchedule"] = Refused("InternalError", "busy")
    split = await Dispatch(csms.services).set_point(6_000)
    assert [(each.setpoint_w, each.status) for each in split] == [(8_000, "Accepted"), (3_000, split[1].status)]
    assert await following(csms) == {(first.station.id, first.id): 8_000, (second.station.id, second.id): -2_000}
    # a station that is gone goes on with what it received
    await second.station.disconnect()
    await until(lambda: second.station.id not in csms.services.connections.connected())
    (told_alone,) = await Dispatch(csms.services).set_point(1_000)
    assert told_alone.setpoint_w == 3_000
    csms.clock.advance(301)
    (told_alone,) = await Dispatch(csms.services).set_point(1_000)
    assert told_alone.setpoint_w == 1_000, "nobody kept it up"


async def test_one_whose_answer_is_lost_is_made_up_for_and_asked_again(backend: Start) -> None:
    async with backend(tokens=TOKENS, balancing=Balancing(settle_s=0.005)) as csms:
        first, second = await session(csms), await session(csms, "CS-V2G-0002")
        for charge in (first, second):
            await needs(charge)
        work = asyncio.create_task(Dispatch(csms.services).run())
        await Dispatch(csms.services).set_point(-2_000)
        del second.station.answers["UpdateDynamicSchedule"]
        going = asyncio.create_task(Dispatch(csms.services).set_point(-6_000))
        await second.station.expect("UpdateDynamicSchedule")
        await second.station.disconnect()
        split = await going
        assert [each.setpoint_w for each in split] == [-6_000, -3_000]
        assert (await following(csms))[second.station.id, second.id] == -3_000, "it may have taken it"
        back = await csms.join("CS-V2G-0002", version="2.1")
        back.answers["UpdateDynamicSchedule"] = ACCEPTED
        await until(lambda: back.payloads("UpdateDynamicSchedule"))
        await until(lambda: told_last(first) == -3_000)
        assert back.payloads("UpdateDynamicSchedule")[-1]["scheduleUpdate"] == {"setpoint": -3_000.0}
        work.cancel()


async def test_what_is_lost_is_dispatched_again_at_once(backend: Start) -> None:
    async with backend(tokens=TOKENS, balancing=Balancing(settle_s=0.005)) as csms:
        first, second = await session(csms), await session(csms, "CS-V2G-0002")
        for charge in (first, second):
            await needs(charge)
        work = asyncio.create_task(Dispatch(csms.services).run())
        await Dispatch(csms.services).set_point(-6_000)
        assert (told_last(first), told_last(second)) == (-3_000, -3_000)

        async def sent_again(charge: Charging, before: int) -> None:
            await until(lambda: len(charge.station.payloads("SetChargingProfile")) > before)
            assert last_period(charge)["setpoint"] == -3_000
            async with asyncio.timeout(5):  # its answer has been noted
                while (charge.station.id, charge.id) not in await following(csms):
                    await asyncio.sleep(0.001)

        # it has restarted
        before = len(first.station.payloads("SetChargingProfile"))
        boot = {"reason": "PowerUp", "chargingStation": {"model": "M", "vendorName": "V"}}
        await first.station.call("BootNotification", boot)
        await sent_again(first, before)
        assert not second.station.payloads("UpdateDynamicSchedule"), "whose part is the same receives nothing"
        # somebody has cleared it
        first.station.answers["ClearChargingProfile"] = ACCEPTED
        await SmartCharging(csms.services).clear(first.station.id, evse_id=1)
        await sent_again(first, before + 1)
        # its report does not have it
        csms.clock.advance(1)
        first.station.answers["GetChargingProfiles"] = {"status": "NoProfiles"}
        await SmartCharging(csms.services).get_profiles(first.station.id, ChargingProfileCriterion())
        await sent_again(first, before + 2)
        # it does not know it any more when it is to be changed
        await Dispatch(csms.services).set_point(-6_000)
        first.station.answers["UpdateDynamicSchedule"] = {"status": "Rejected"}
        before = len(first.station.calls)
        await Dispatch(csms.services).set_point(-6_000)
        calls = [action for action, _ in first.station.calls[before:]]  # others if a set-point met that before it
        assert "SetChargingProfile" in calls[calls.index("UpdateDynamicSchedule") :]
        # another vehicle leaves: its part is for the one that stays
        first.station.answers["UpdateDynamicSchedule"] = ACCEPTED
        await second.unplugged()
        await until(lambda: told_last(first) == -6_000)
        work.cancel()


async def test_of_two_set_points_that_meet_the_later_one_counts(csms: Backend) -> None:
    run, living = csms.services.store.run, {"b", "c"}

    def order(setpoint_w: int, *stations: str, until_ms: int = 100, evses: frozenset[str] | None = None) -> Order:
        names = frozenset(stations) if stations else None
        return Order(
            setpoint_w=setpoint_w, stations=names, frequency=False, pull_s=None, until_ms=until_ms, evses=evses
        )

    async def of(node: str, now_ms: int = 0) -> list[int]:
        return [each.setpoint_w for each in await run(dispatch_store.orders, node, living, now_ms)]

    one, two = frozenset({"B/1"}), frozenset({"B/2"})
    for node, each in (
        ("b", order(1, "A")), ("c", order(2, "B", "C")), ("b", order(3, "C", "D")), ("b", order(4, "B", evses=one)),
        ("c", order(5, "B", evses=two)), ("a", order(6, "E")),
    ):  # fmt: skip
        await run(dispatch_store.put_order, node, each, 0)
    assert await of("b") == [6, 1, 3, 4], "also that of a node that is gone"
    assert await of("c") == [5]
    await run(dispatch_store.put_order, "c", order(7, until_ms=50), 0)
    assert (await of("b"), await of("c", 49), await of("c", 50)) == ([], [7], [])
    await run(dispatch_store.put_order, "b", order(8, "A"), 50)
    assert await run(dispatch_store.orders, "c", living, 0) == [], "what has expired is not kept"
