"""Functional block E, transactions, beyond the cases of the test lab."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import Connection

from csms.admission.work import StationAdmissions
from csms.background import background
from csms.remote_control import work as remote_control
from csms.smart_charging import store as profiles
from csms.smart_charging.charging_plans import share_profile
from csms.smart_charging.work import SmartCharging
from csms.tariffs import store as tariffs
from csms.tariffs.work import CostAnnouncer
from csms.transactions import store as transactions
from csms.transactions.work import TransactionWatch
from tests.csms.backend import BOOT, Backend
from tests.csms.charging import TOKENS, VALID, Charging, away
from tests.csms.customers import accepted
from tests.csms.fixtures import Start
from tests.csms.network import knocking, listening
from tests.csms.scripted_station import Refused, ScriptedStation
from v2g.energy.price_plan import Charge, PricePlan, Rate
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.transactions import GetTransactionStatusRequest, TransactionLimit
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time

PASSWORD = "a-Password_of=32*characters+4321"


@pytest_asyncio.fixture
async def csms(backend: Start) -> AsyncIterator[Backend]:
    """A back end that knows a driver."""
    async with backend(tokens=TOKENS) as running:
        yield running


@pytest_asyncio.fixture
async def charging(csms: Backend) -> Charging:
    """A transaction that has not begun."""
    return Charging(csms, await csms.booted())


async def ended(charging: Charging, reason: str) -> None:
    """Check that the transaction has ended, whole, with a reason."""
    stored = await charging.stored()
    assert (stored["active"], stored["complete"], stored["stopped_reason"]) == (False, True, reason)
    assert not stored["faults"]


async def test_events_that_were_missing_complete_a_transaction(csms: Backend) -> None:
    charging = Charging(csms, await csms.booted())
    await charging.started()
    await away(csms, charging.station)
    charging.station = station = await csms.join()
    await charging.connector("Available")
    last = charging.seq_no + 3
    await charging.event("Ended", "EVCommunicationLost", seq_no=last, state="Idle", offline=True)
    stored = await charging.stored()
    assert [tuple(run) for run in stored["missing"]] == [(last - 2, last - 1)]
    assert not stored["complete"]
    station.answers["GetTransactionStatus"] = {"ongoingIndicator": False, "messagesInQueue": True}
    response = await csms.call(station, GetTransactionStatusRequest(transaction_id=charging.id))
    assert (response.ongoing_indicator, response.messages_in_queue) == (False, True)
    csms.clock.advance(-150)  # the events that were left out happened before the end
    await charging.event("Updated", "StopAuthorized", seq_no=last - 2, offline=True)
    await charging.event("Updated", "ChargingStateChanged", seq_no=last - 1, state="EVConnected", offline=True)
    stored = await charging.stored()
    assert stored["complete"]
    assert stored["charging_state"] == "Idle"
    assert {(each["kind"], each["seq_no"]) for each in stored["faults"]} == {("late", last - 2), ("late", last - 1)}


# -- beyond the cases: a station that loses a transaction


async def lost(csms: Backend, **answer: Any) -> tuple[Charging, TransactionWatch]:
    """A transaction runs, its station boots again and answers so about it."""
    charging = Charging(csms, await csms.booted())
    await charging.started()
    csms.clock.advance(600)
    await away(csms, charging.station)
    charging.station = station = await csms.booted()
    station.answers["GetTransactionStatus"] = answer
    watch = TransactionWatch(csms.services)
    await watch.sweep()
    assert station.payloads("GetTransactionStatus") == [{"transactionId": charging.id}]
    return charging, watch


async def test_a_transaction_that_its_station_lost_is_closed_after_the_boot(csms: Backend) -> None:
    charging, watch = await lost(csms, ongoingIndicator=False, messagesInQueue=False)
    stored = await charging.stored()
    assert (stored["active"], stored["closed_reason"]) == (False, "station_lost_it")
    await watch.sweep()  # nothing is left to ask about
    assert len(csms.events.named("transaction_closed")) == 1


@pytest.mark.parametrize("version", ["2.0.1", "1.6"])
async def test_a_lost_transaction_is_closed_at_a_free_evse_of_a_station_that_cannot_tell(
    csms: Backend, version: Version
) -> None:
    """Its driver may charge nowhere else meanwhile. A station of 1.6 has no such request, others may lack it."""
    charging = Charging(csms, await csms.booted())
    await charging.started()
    csms.clock.advance(600)
    await away(csms, charging.station)
    charging.station = station = await csms.join(version=version)
    station.refuses_others = True
    boot = {"chargePointVendor": "V", "chargePointModel": "M"} if version == "1.6" else BOOT
    await station.call_unchecked("BootNotification", boot)
    watch = TransactionWatch(csms.services)

    async def status(state: str) -> None:
        csms.clock.advance(1)
        plug: dict[str, Any] = {"connectorId": 1, "timestamp": format_time(csms.clock.utc_ms())}
        of_16, later = {"status": state, "errorCode": "NoError"}, {"connectorStatus": state, "evseId": 1}
        await station.call_unchecked("StatusNotification", plug | (of_16 if version == "1.6" else later))

    async def open_after(seconds: float) -> bool:
        csms.clock.advance(seconds)
        await watch.sweep()
        return bool((await charging.stored())["active"])

    await status("Charging" if version == "1.6" else "Occupied")
    assert await open_after(1000)
    await status("Available")
    assert not await open_after(0)
    assert (await charging.stored())["closed_reason"] == "station_lost_it"
    asked = [action for action, _ in station.calls if action == "GetTransactionStatus"]
    assert len(asked) == (version == "2.0.1"), "once: it will not know it the next time, either"


@pytest.mark.parametrize("away_s", [1, 3600])
async def test_a_lost_transaction_is_closed_though_its_station_never_stays_for_long(
    csms: Backend, away_s: float
) -> None:
    """It has a bad network, and delivers what it kept bit by bit; while it is away it delivers nothing."""
    charging = Charging(csms, await csms.booted())
    await charging.started()
    csms.clock.advance(1200)
    station, watch = charging.station, TransactionWatch(csms.services)
    still_open: list[bool] = []
    for _ in range(4):
        await away(csms, station)
        csms.clock.advance(away_s)
        station = await csms.join(version="1.6")
        await station.call_unchecked("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
        plug = {"connectorId": 1, "status": "Available", "errorCode": "NoError"}
        await station.call_unchecked("StatusNotification", plug | {"timestamp": format_time(csms.clock.utc_ms())})
        csms.clock.advance(300)
        await watch.sweep()
        still_open.append(bool((await charging.stored())["active"]))
    assert still_open == [True, True, False, False], "after 15 min in all"


async def test_a_station_that_cannot_tell_has_time_to_deliver_what_it_kept(csms: Backend) -> None:
    charging, watch = await lost(csms, ongoingIndicator=True, messagesInQueue=False)
    charging.station.answers["GetTransactionStatus"] = Refused("NotSupported", "")
    csms.clock.advance(csms.services.config.transactions.silent_after_s)
    await away(csms, charging.station)
    charging.station = station = await csms.booted()
    station.refuses_others = True
    await charging.connector("Available")
    await watch.sweep()
    assert (await charging.stored())["active"]
    csms.clock.advance(900)
    await watch.sweep()
    assert not (await charging.stored())["active"]


async def test_a_transaction_that_goes_on_after_the_boot_is_left_alone(csms: Backend) -> None:
    charging, watch = await lost(csms, ongoingIndicator=True, messagesInQueue=False)
    assert (await charging.stored())["active"]
    await watch.sweep()
    assert len(charging.station.payloads("GetTransactionStatus")) == 1
    csms.clock.advance(csms.services.config.transactions.silent_after_s)
    await watch.sweep()  # silent for long: asked again
    assert len(charging.station.payloads("GetTransactionStatus")) == 2


async def test_a_transaction_whose_messages_wait_is_waited_for(csms: Backend) -> None:
    charging, _ = await lost(csms, ongoingIndicator=False, messagesInQueue=True)
    assert (await charging.stored())["active"]
    await charging.unplugged(offline=True)
    await ended(charging, "EVDisconnected")


@contextlib.asynccontextmanager
async def by_socket(backend: Start) -> AsyncIterator[tuple[Backend, ScriptedStation]]:
    """A back end that does all that it does by itself, and a station that has come in by a socket and booted."""
    async with backend(tokens=TOKENS, ocpp={"security_profile": 1, "port": 0}) as csms, listening(csms) as (port,):
        await csms.services[StationAdmissions].set_password("CS-V2G-0001", PASSWORD)
        async with background(csms.services), knocking(port, "CS-V2G-0001", password=PASSWORD) as station:
            assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"
            yield csms, station


async def test_a_forgotten_transaction_is_closed_when_the_next_begins_on_its_evse(backend: Start) -> None:
    async with by_socket(backend) as (csms, station):
        old, beside = Charging(csms, station), Charging(csms, station, evse_id=2)
        await old.started()
        await beside.started()
        new = Charging(csms, station)
        await new.started()
        async with asyncio.timeout(60):
            while (await old.stored())["active"]:
                await asyncio.sleep(0.001)
        assert (await old.stored())["closed_reason"] == "next_began"
        assert (await new.stored())["active"]
        assert (await beside.stored())["active"]
        assert not station.payloads("GetTransactionStatus")
        await old.unplugged(offline=True)  # its end comes after all
        await ended(old, "EVDisconnected")


async def test_a_transaction_that_was_forgotten_before_this_back_end_ran_is_closed_unasked(csms: Backend) -> None:
    station = await csms.booted()
    old, new = Charging(csms, station), Charging(csms, station)
    await old.started()
    await new.started()
    await TransactionWatch(csms.services).sweep()
    assert ((await old.stored())["active"], (await new.stored())["active"]) == (False, True)
    assert not station.payloads("GetTransactionStatus")


async def test_a_station_is_asked_about_the_gap_in_a_transaction_that_has_ended(backend: Start) -> None:
    async with by_socket(backend) as (csms, station):
        charging = Charging(csms, station)
        await charging.started()
        charging.seq_no += 2  # 3 and 4 are lost
        station.answers["GetTransactionStatus"] = {"ongoingIndicator": False, "messagesInQueue": False}
        await charging.unplugged()
        async with asyncio.timeout(60):
            while not (found := await charging.stored())["faults"]:
                await asyncio.sleep(0.001)
        assert station.payloads("GetTransactionStatus") == [{"transactionId": charging.id}]
        assert found["missing"] == [(3, 4)]
        assert found["faults"] == [{"kind": "lost", "seq_no": 3, "detail": "3 to 4 will not come"}]
        assert not csms.events.named("transaction_closed"), "it had ended"


async def test_a_gap_that_waits_in_its_stations_queue_is_asked_about_until_it_is_filled(csms: Backend) -> None:
    charging = Charging(csms, await csms.booted())
    await charging.started()
    charging.seq_no += 1
    await charging.unplugged()
    charging.station.answers["GetTransactionStatus"] = {"ongoingIndicator": False, "messagesInQueue": True}
    watch = TransactionWatch(csms.services)
    await watch.ended(charging.station.id, charging.id)
    await watch.sweep()
    assert len(charging.station.payloads("GetTransactionStatus")) == 2
    await charging.event("Updated", "MeterValuePeriodic", seq_no=3, offline=True)
    await watch.sweep()
    assert len(charging.station.payloads("GetTransactionStatus")) == 2
    assert [each["kind"] for each in (await charging.stored())["faults"]] == ["late", "clock_backwards"]


async def test_a_whole_transaction_is_not_asked_about(csms: Backend) -> None:
    charging = Charging(csms, await csms.booted())
    await charging.started()
    await charging.unplugged()
    await TransactionWatch(csms.services).ended(charging.station.id, charging.id)
    assert not charging.station.payloads("GetTransactionStatus")


async def test_an_event_that_comes_after_all_opens_it_again(csms: Backend) -> None:
    charging, _ = await lost(csms, ongoingIndicator=False, messagesInQueue=False)
    await charging.event("Updated", "Trigger", state="Charging")
    stored = await charging.stored()
    assert (stored["active"], stored["closed_reason"]) == (True, None)


async def test_repeated_and_contradicting_events_are_told_apart(charging: Charging) -> None:
    await charging.started()
    again = charging.seq_no
    charging.seq_no += 1
    reported = {"timestamp": charging.now()}
    for offline in (False, True):  # the first time it was not answered (E11.FR.07)
        await charging.event("Updated", "Trigger", seq_no=charging.seq_no, extra=reported, offline=offline)
    await charging.event("Updated", "MeterValuePeriodic", seq_no=again, context="Sample.Periodic")
    charging.wh -= 700
    await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
    kinds = [each["kind"] for each in (await charging.stored())["faults"]]
    assert kinds == ["conflict", "register_decreased"]


@pytest.mark.parametrize("trigger", ["MeterValueClock", "MeterValuePeriodic"])
async def test_events_with_readings_alone_are_stored_behind_all_else(charging: Charging, trigger: str) -> None:
    await charging.started()
    store, begun, over = charging.csms.services.store, threading.Event(), threading.Event()

    def last(_: Connection) -> None:
        begun.set()
        over.wait(60)

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(store.run(last))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        tasks.create_task(charging.event("Updated", trigger, context="Sample.Periodic"))
        while not store.waiting:
            await asyncio.sleep(0.001)
        behind = store.reports_waiting
        over.set()
    assert behind == 1


async def test_each_event_is_reported_as_what_it_is_with_the_energy_so_far(csms: Backend, charging: Charging) -> None:
    now_ms = csms.clock.now_ms
    for kind, seq_no, wh in (
        ("Started", 0, 0),
        ("Updated", 1, 500),
        ("Updated", 1, 0),
        ("Ended", 2, 700),
        ("Ended", 2, 9),
    ):
        csms.clock.now_ms, charging.wh = now_ms, charging.wh + wh
        await charging.event(kind, "Trigger", seq_no=seq_no, context="Sample.Periodic")
    found = [each for each in csms.events.reported if each.name.startswith("transaction_") and "seq_no" in each.data]
    assert [(each.name[len("transaction_") :], each.data["seq_no"], each.data["import_wh"]) for each in found] == [
        ("started", 0, "1000"), ("updated", 1, "1500"), ("event_duplicate", 1, "1500"), ("ended", 2, "2200"),
        ("event_conflict", 2, "2200"),
    ]  # fmt: skip


# -- 2.1: limits of transactions, and transactions that go on after an interruption


async def limited(csms: Backend) -> Charging:
    """A transaction at a station of 2.1."""
    station = await csms.booted(version="2.1")
    station.answers["SetChargingProfile"] = {"status": "Accepted"}
    charging = Charging(csms, station)
    await charging.started()
    return charging


async def want(csms: Backend, charging: Charging, **limit: Any) -> None:
    wanted = TransactionLimit(**limit)
    assert await csms.services.store.run(transactions.want_limit, charging.station.id, charging.id, wanted)


async def supports(charging: Charging, names: str) -> None:
    values = [{"type": "MaxSet", "value": "maxSoC"}, {"value": names}]
    place = {"component": {"name": "TxCtrlr"}, "variable": {"name": "SupportedLimits"}, "variableAttribute": values}
    report = {"requestId": 1, "generatedAt": charging.now(), "seqNo": 0, "reportData": [place]}
    await charging.station.call("NotifyReport", report)


async def says(charging: Charging, limit: dict[str, Any], trigger: str = "LimitSet", **more: Any) -> Any:
    """The station reports its limit; return what it receives of ours."""
    extra = {"transactionInfo": {"transactionId": charging.id, "transactionLimit": limit}}
    return (await charging.event("Updated", trigger, extra=extra, **more)).get("transactionLimit")


async def csms_sets(csms: Backend, ours: dict[str, Any], **wanted: Any) -> Charging:
    """The back end sets a limit; it is sent once, and the station confirms it."""
    charging = await limited(csms)
    await want(csms, charging, **wanted)
    answer = await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
    assert answer["transactionLimit"] == ours
    assert await says(charging, ours) is None
    assert "transactionLimit" not in await charging.event("Updated", "MeterValuePeriodic")
    return charging


async def test_the_lower_limit_counts(csms: Backend) -> None:
    charging = await limited(csms)
    assert await says(charging, {"maxEnergy": 20_000.0}) is None
    await want(csms, charging, max_energy=10_000.0)
    assert (await charging.event("Updated", "MeterValuePeriodic"))["transactionLimit"] == {"maxEnergy": 10_000.0}
    await want(csms, charging, max_energy=30_000.0)  # the station's own is lower: E16.FR.08
    assert await says(charging, {"maxEnergy": 10_000.0}) is None


@pytest.mark.parametrize(
    ("supported", "sent"),
    [
        ("maxEnergy, maxTime", {"maxEnergy": 9_000.0}),
        ("maxCost", {"maxCost": 2.0}),
        ("maxSoC", None),
        ("", {"maxEnergy": 9_000.0, "maxCost": 2.0}),
    ],
)
async def test_a_station_is_sent_the_limits_that_it_supports(
    csms: Backend, supported: str, sent: dict[str, float] | None
) -> None:
    """E16.FR.12: as its variable says, all where that says nothing."""
    charging = await limited(csms)
    await supports(charging, supported)
    await want(csms, charging, max_energy=9_000.0, max_cost=2.0)
    answer = await charging.event("Updated", "MeterValuePeriodic")
    assert answer.get("transactionLimit") == sent
    assert "transactionLimit" not in await charging.event("Updated", "MeterValuePeriodic"), "once"


@pytest.mark.parametrize(
    ("supported", "asked"),
    [("maxCost", 1), ("maxSoC", 1), ("maxEnergy", 0), ("", 0)],
    ids=["part", "none", "it", "all"],
)
@pytest.mark.parametrize("other", [False, True])
async def test_the_back_end_keeps_a_limit_that_a_station_does_not_know(
    csms: Backend, supported: str, asked: int, other: bool
) -> None:
    charging, watch = await limited(csms), TransactionWatch(csms.services)
    await supports(charging, supported)
    charging.station.answers["RequestStopTransaction"] = accepted
    await watch.limit(charging.station.id, charging.id, TransactionLimit(max_energy=9_000.0, max_cost=200.0))
    for wh, times in ((0, 0), (8_999, 0), (1, asked), (1_000, asked)):
        charging.wh += wh
        await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
        if other and not wh:  # another limit replaces none that is kept here
            await watch.limit(charging.station.id, charging.id, TransactionLimit(max_time=10**6))
        await watch.look(charging.station.id)
        assert len(charging.station.payloads("RequestStopTransaction")) == times


async def test_the_back_end_keeps_the_limit_of_a_remote_start_that_a_station_does_not_know(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    station.answers |= {"RequestStartTransaction": accepted, "RequestStopTransaction": accepted}
    token, limit = IdToken(id_token=VALID["idToken"], type=VALID["type"]), TransactionLimit(max_energy=1.0, max_soc=80)
    started = await remote_control.start(csms.services, station.id, token, evse_id=1, limit=limit)
    charging = Charging(csms, station)
    await supports(charging, "maxSoC")
    info = {"transactionId": charging.id, "remoteStartId": started.remote_start_id}
    more = {"token": VALID, "state": "Charging", "context": "Transaction.Begin"}
    answer = await charging.event("Started", "RemoteStart", extra={"transactionInfo": info}, **more)
    assert answer["transactionLimit"] == {"maxSoC": 80}
    charging.wh += 1
    await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
    await TransactionWatch(csms.services).look(station.id)
    assert len(station.payloads("RequestStopTransaction")) == 1


@pytest.mark.parametrize("placed", [True, False])
async def test_a_transaction_has_the_profile_of_the_remote_start_that_it_names(csms: Backend, placed: bool) -> None:
    """F01.FR.25: also where it does not say its EVSE, which is then that of the start."""
    station = await csms.booted(version="2.1")
    station.answers["RequestStartTransaction"] = {"status": "Accepted"}
    token, profile = IdToken(id_token=VALID["idToken"], type=VALID["type"]), share_profile(2, 16_000, 3, 0, "")
    profile = msgspec.structs.replace(profile, id=7, stack_level=4, transaction_id=None)
    started = await remote_control.start(csms.services, station.id, token, evse_id=2, charging_profile=profile)
    charging = Charging(csms, station, evse_id=2)
    info = {"transactionId": charging.id, "remoteStartId": started.remote_start_id}
    await charging.event("Started", "RemoteStart", placed=placed, extra={"transactionInfo": info})
    bound = msgspec.structs.replace(profile, transaction_id=charging.id)
    stored = await csms.services.store.read(profiles.profiles, station.id)
    assert [(evse_id, held) for evse_id, _, held in stored] == [(2, bound)]
    (matched,) = csms.events.named("remote_start_matched")
    assert matched.data.items() >= {"remote_start": started.remote_start_id, "known": True}.items()


async def test_a_remote_start_gives_its_driver_to_a_transaction_that_names_none(csms: Backend) -> None:
    """Some stations leave the token out: the back end sent it. That of another station's start is not taken."""
    token = IdToken(id_token=VALID["idToken"], type=VALID["type"])
    drivers = []
    for station_id in ("CS-V2G-0001", "CS-V2G-0002"):
        station = await csms.booted(station_id, "2.1")
        station.answers["RequestStartTransaction"] = {"status": "Accepted"}
        if not drivers:
            started = await remote_control.start(csms.services, station.id, token, evse_id=1)
        charging = Charging(csms, station)
        await charging.plugged()
        info = {"extra": {"transactionInfo": {"transactionId": charging.id, "remoteStartId": started.remote_start_id}}}
        answer = await charging.event("Updated", "RemoteStart", **info)
        stored = await csms.services.store.read(transactions.find, station.id, charging.id)
        assert stored is not None
        drivers.append((stored["id_token"], answer.get("idTokenInfo", {}).get("status")))
        assert "idTokenInfo" not in await charging.event("Updated", "ChargingStateChanged", **info)
        answer = await charging.event("Updated", "RemoteStart", token=VALID, **info)
        assert answer["idTokenInfo"]["status"] == "Accepted", "one that the station names counts"
    assert drivers == [(VALID["idToken"], "Accepted"), (None, None)]


async def test_the_limit_of_a_remote_start_comes_before_an_operators(csms: Backend) -> None:
    """Each is for one answer: that to the event which names the start, and the next one."""
    station = await csms.booted(version="2.1")
    station.answers["RequestStartTransaction"] = {"status": "Accepted"}
    token, limit = IdToken(id_token=VALID["idToken"], type=VALID["type"]), TransactionLimit(max_energy=5_000.0)
    started = await remote_control.start(csms.services, station.id, token, evse_id=1, limit=limit)
    charging = Charging(csms, station)
    await charging.plugged()
    await want(csms, charging, max_time=60)
    info = {"transactionId": charging.id, "remoteStartId": started.remote_start_id}
    names_it = {"extra": {"transactionInfo": info}}
    answers = [await charging.event("Updated", "RemoteStart", **more) for more in (names_it, {}, names_it)]
    assert [each.get("transactionLimit") for each in answers] == [{"maxEnergy": 5_000.0}, {"maxTime": 60}, None]


async def test_a_cost_limit_is_told_with_the_cost(csms: Backend) -> None:
    plan = PricePlan(id="one", currency="EUR", energy=Charge(rates=(Rate(price="1"),)))
    await csms.services.store.run(tariffs.add_plan, plan, 0)
    await csms.services.store.run(tariffs.assign, tariffs.Scope(), plan.id, 0)
    charging = await csms_sets(csms, {"maxCost": 2.0}, max_cost=2.0)
    charging.station.answers["CostUpdated"] = {}
    charging.wh += 2000
    await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
    await CostAnnouncer(csms.services).tell_all()  # E16.FR.11
    assert [each["totalCost"] for each in charging.station.payloads("CostUpdated")] == [2.0]
    await charging.event("Updated", "CostLimitReached", state="SuspendedEVSE")


# -- before 2.1: the back end keeps limits


async def reserved(csms: Backend) -> Charging:
    """A transaction at a station of 2.0.1, at 1 EUR/kWh, by a remote start that is limited to 2 EUR."""
    plan = PricePlan(id="one", currency="EUR", energy=Charge(rates=(Rate(price="1"),)))
    await csms.services.store.run(tariffs.add_plan, plan, 0)
    await csms.services.store.run(tariffs.assign, tariffs.Scope(), plan.id, 0)
    station = await csms.booted()
    station.answers |= {"RequestStartTransaction": accepted, "RequestStopTransaction": accepted, "CostUpdated": {}}
    token, limit = IdToken(id_token=VALID["idToken"], type=VALID["type"]), TransactionLimit(max_cost=2.0)
    started = await remote_control.start(csms.services, station.id, token, evse_id=1, limit=limit)
    charging = Charging(csms, station)
    info = {"transactionId": charging.id, "remoteStartId": started.remote_start_id}
    more = {"token": VALID, "state": "Charging", "context": "Transaction.Begin"}
    now_ms = csms.clock.now_ms
    for _ in range(2):  # its answer was lost
        csms.clock.now_ms = now_ms
        answer = await charging.event("Started", "RemoteStart", seq_no=0, extra={"transactionInfo": info}, **more)
        assert "transactionLimit" not in answer
    charging.seq_no = 0
    return charging


@pytest.mark.requirement("R218")
async def test_a_station_without_limits_is_asked_once_to_stop_what_has_reached_one(csms: Backend) -> None:
    charging = await reserved(csms)
    station = charging.station
    for wh, asked in ((1999, 0), (1, 1), (1000, 1)):
        charging.wh += wh
        await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
        await TransactionWatch(csms.services).look(station.id)  # as after a restart, or at another node
        assert len(station.payloads("RequestStopTransaction")) == asked
    assert station.payloads("RequestStopTransaction") == [{"transactionId": charging.id}]
    (found,) = csms.events.named("transaction_limit_reached")
    assert (found.data["transaction"], found.data["limit"], found.data["value"]) == (charging.id, "max_cost", 2.0)


async def test_a_station_that_does_not_agree_to_stop_is_asked_again(csms: Backend) -> None:
    charging = await reserved(csms)
    charging.station.answers["RequestStopTransaction"] = {"status": "Rejected"}
    charging.wh += 2000
    await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
    for _ in range(2):
        await TransactionWatch(csms.services).look(charging.station.id)
    assert len(charging.station.payloads("RequestStopTransaction")) == 2
    assert csms.events.named("transaction_limit_reached") == []


async def test_a_limit_is_kept_as_soon_as_a_reading_reaches_it(csms: Backend) -> None:
    async with background(csms.services):
        await asyncio.sleep(0)  # it listens
        charging = await reserved(csms)
        charging.wh += 3000
        async with asyncio.timeout(60):
            while not charging.station.payloads("RequestStopTransaction"):
                await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
                await asyncio.sleep(0.02)


async def test_a_cost_that_takes_long_to_work_out_is_not_worked_out_at_each_reading(
    csms: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reading makes it longer: many sessions would keep the database busy."""
    charging, watch = await reserved(csms), TransactionWatch(csms.services)
    await watch.limit(charging.station.id, charging.id, TransactionLimit(max_energy=900.0))
    work_out, monotonic, worked_out = tariffs.work_out, csms.clock.monotonic, list[str]()
    monkeypatch.setattr(csms.clock, "monotonic", lambda: monotonic() + len(worked_out))

    def noted(connection: Connection, station_id: str, transaction_id: str, now_ms: int) -> tariffs.Worked | None:
        worked_out.append(transaction_id)
        return work_out(connection, station_id, transaction_id, now_ms)

    monkeypatch.setattr(tariffs, "work_out", noted)
    running = asyncio.create_task(watch.run())
    await asyncio.sleep(0)  # it listens
    async with asyncio.timeout(60):
        while not worked_out:
            await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
        charging.wh += 1000
        while not charging.station.payloads("RequestStopTransaction"):
            await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
    running.cancel()
    assert worked_out == [charging.id]


@pytest.mark.parametrize("limit", [{"max_energy": 900.0}, {"max_time": 60}, {"max_cost": 0.5}])
async def test_an_operator_limits_a_transaction_beside_what_is_limited_already(
    csms: Backend, limit: dict[str, Any]
) -> None:
    charging = await reserved(csms)
    watch = TransactionWatch(csms.services)
    await watch.look(charging.station.id)
    assert charging.station.payloads("RequestStopTransaction") == []
    await watch.limit(charging.station.id, charging.id, TransactionLimit(**limit))
    charging.wh += 1000
    await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
    await watch.look(charging.station.id)
    (found,) = csms.events.named("transaction_limit_reached")
    assert found.data["limit"] == next(iter(limit))


async def resumed(csms: Backend) -> Charging:
    """A transaction with a profile goes on after its station lost power."""
    charging = await limited(csms)
    service = SmartCharging(csms.services)
    profile = share_profile(1, 16_000, 3, csms.clock.utc_ms(), charging.id)
    await service.set_profile(charging.station.id, 1, profile)
    await away(csms, charging.station)
    charging.station = await csms.booted(version="2.1")
    charging.station.answers["SetChargingProfile"] = {"status": "Accepted"}
    await charging.event("Updated", "TxResumed", state="Charging")
    return charging


async def test_a_transaction_that_is_resumed_is_told(csms: Backend) -> None:
    charging = await resumed(csms)
    stored = await charging.stored()
    assert (stored["active"], stored["charging_state"]) == (True, "Charging")
    assert len(csms.events.named("transaction_resumed")) == 1


async def test_what_runs_by_itself_asks_after_a_boot_and_restores_after_an_interruption(csms: Backend) -> None:
    charging = await limited(csms)
    profile = share_profile(1, 16_000, 3, csms.clock.utc_ms(), charging.id)
    await SmartCharging(csms.services).set_profile(charging.station.id, 1, profile)
    csms.clock.advance(600)
    await away(csms, charging.station)
    async with background(csms.services):
        await asyncio.sleep(0)  # it listens
        charging.station = station = await csms.join(version="2.1")
        station.answers["GetTransactionStatus"] = {"ongoingIndicator": True, "messagesInQueue": False}
        station.answers["SetChargingProfile"] = {"status": "Accepted"}
        await station.call("BootNotification", BOOT)
        async with asyncio.timeout(60):
            while not station.payloads("GetTransactionStatus"):  # nothing has been reported of it since the boot
                await asyncio.sleep(0.001)
            await charging.event("Updated", "TxResumed", state="Charging")
            while not station.payloads("SetChargingProfile"):
                await asyncio.sleep(0.001)
