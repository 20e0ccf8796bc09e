"""Energy beyond the limits that a station had accepted is held, with the limit; where nothing is known, none is."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, select

from csms.booking import held
from csms.dispatch.work import Dispatch
from csms.grid.source import GridSource
from csms.requests.work import call
from csms.smart_charging import store as charging
from csms.smart_charging.tables import limits_in_force
from csms.smart_charging.work import SmartCharging
from csms.stations.store import StationBoot, save_boots
from csms.transactions import store as transactions
from tests.csms.backend import Backend
from tests.csms.charging import VALID, Charging
from tests.csms.scripted_station import Payload, Refused, ScriptedStation
from tests.csms.services.charging.support import ACCEPTED, REJECTED, booted, offer, vehicle
from tests.waiting import until
from v2g.energy.limits import MOST_W
from v2g.errors import V2GError
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.remote_control import RequestStartTransactionRequest, RequestStartTransactionResponse
from v2g.ocpp.messages.smart_charging import ChargingProfileCriterion, ChargingScheduleUpdate
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time

pytestmark = pytest.mark.requirement("R195")

HOUR_S = 3600


def limit(csms: Backend, limit_w: float) -> ChargingProfile:
    """A limit of all that a station draws."""
    schedule = ChargingSchedule(
        id=1, start_schedule=format_time(csms.clock.utc_ms() - 86_400_000), charging_rate_unit="W",
        charging_schedule_period=(ChargingSchedulePeriod(start_period=0, limit=limit_w),),
    )  # fmt: skip
    return ChargingProfile(
        id=1_000_000_001, stack_level=0, charging_profile_purpose="ChargingStationMaxProfile",
        charging_profile_kind="Absolute", charging_schedule=(schedule,),
    )  # fmt: skip


async def limited(csms: Backend, station: ScriptedStation, limit_w: float) -> None:
    """Have a station accept it."""
    await SmartCharging(csms.services).set_profile(station.id, 0, limit(csms, limit_w))


async def taken(
    csms: Backend, station: ScriptedStation, wh: int, between: Any = None, *, begin: int = 1000
) -> dict[str, Any] | None:
    """Let a vehicle take so much in an hour; return why it is held, if it is."""
    charge = Charging(csms, station, wh=begin)
    await charge.started()
    csms.clock.advance(HOUR_S / 2)
    if between is not None:
        await between()
    csms.clock.advance(HOUR_S / 2)
    charge.wh += wh
    extra = {"meterValue": [charge.reading("Transaction.End")]}
    await charge.event("Ended", "EVDeparted", state="Idle", stopped="EVDisconnected", token=VALID, extra=extra)
    return await csms.services.store.read(held.find, station.id, charge.id)


async def test_energy_beyond_what_a_station_accepted_is_held_with_the_limit(csms: Backend) -> None:
    station = await booted(csms)
    await limited(csms, station, 10_000.0)
    csms.clock.advance(600)
    assert await taken(csms, station, 10_000) is None
    found = await taken(csms, station, 40_000, begin=11_000)
    assert found is not None
    assert (found["state"], found["reason"]) == ("quarantined", "limits")
    assert "more than limits of up to 10 kW permitted" in found["detail"]


@pytest.mark.parametrize("case", ["raised", "unanswered", "boot", "unread"])
async def test_what_is_not_known_for_sure_holds_nothing(csms: Backend, case: str) -> None:
    """It was raised meanwhile, perhaps was, may have been forgotten, or other profiles may permit more."""
    station = await booted(csms)
    if case == "unread":
        station.answers["GetChargingProfiles"] = Refused("NotSupported")
    await limited(csms, station, 10_000.0)
    csms.clock.advance(600)

    async def change() -> None:
        if case == "raised":
            await limited(csms, station, 100_000.0)
        elif case == "unanswered":
            station.answers["SetChargingProfile"] = None  # type: ignore[assignment]
            with pytest.raises(V2GError):
                await limited(csms, station, 100_000.0)
        elif case == "boot":
            await csms.services.store.run(save_boots, [StationBoot(station.id, {}, csms.clock.utc_ms())])

    assert await taken(csms, station, 40_000, change) is None


WAYS = {
    "set": "SetChargingProfile", "updated": "UpdateDynamicSchedule", "cleared": "ClearChargingProfile",
    "started remotely": "RequestStartTransaction",
}  # fmt: skip


def default(limit_w: float) -> ChargingProfile:
    """A limit of each transaction, whose value can be changed."""
    schedule = ChargingSchedule(
        id=1, charging_rate_unit="W",
        charging_schedule_period=(ChargingSchedulePeriod(start_period=0, limit=limit_w),),
    )  # fmt: skip
    return ChargingProfile(
        id=7, stack_level=0, charging_profile_purpose="TxDefaultProfile", charging_profile_kind="Dynamic",
        charging_schedule=(schedule,),
    )  # fmt: skip


async def changed(csms: Backend, station: ScriptedStation, way: str, limit_w: float) -> None:
    """Change it in one of the ways."""
    services = SmartCharging(csms.services)
    if way == "set":
        await services.set_profile(station.id, 0, default(limit_w))
    elif way == "updated":
        await services.update_dynamic(station.id, 7, ChargingScheduleUpdate(limit=limit_w))
    elif way == "cleared":
        await services.clear(station.id, purpose="TxDefaultProfile")
    else:
        own = msgspec.structs.replace(default(limit_w), id=8, charging_profile_purpose="TxProfile")
        request = RequestStartTransactionRequest(
            remote_start_id=1, id_token=IdToken(id_token=VALID["idToken"], type=VALID["type"]), evse_id=1,
            charging_profile=own,
        )  # fmt: skip
        await call(csms.services, station.id, request, RequestStartTransactionResponse)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("outcome", ["accepted", "killed", "unanswered", "refused", "not supported"])
@pytest.mark.some(5)
async def test_what_may_have_been_raised_holds_nothing_though_the_answer_is_noted_by_nobody(
    csms: Backend, way: str, outcome: str
) -> None:
    """The node may be killed once its station has accepted more. What is refused leaves the limit in force; but a
    station may have asked for values of a dynamic profile before it refused them."""
    station = await booted(csms)
    await SmartCharging(csms.services).read_held(station.id)
    await changed(csms, station, "set", 10_000.0)
    csms.clock.advance(600)

    async def change() -> None:
        def killed(_: Payload) -> None:
            asking.cancel()  # and nobody is left for the answer

        refused = {"status": "Unknown"} if way == "cleared" else REJECTED
        (running,) = await csms.services.store.read(transactions.active, station.id)
        accepted = {**ACCEPTED, "transactionId": running.transaction_id} if way == "started remotely" else ACCEPTED
        answers = {"accepted": accepted, "killed": killed, "refused": refused, "not supported": Refused("NotSupported")}
        station.answers[WAYS[way]] = answers.get(outcome)  # type: ignore[assignment]
        asking = asyncio.create_task(changed(csms, station, way, 100_000.0))
        await asyncio.wait((asking,))
        assert asking.cancelled() == (outcome == "killed")
        assert asking.cancelled() or bool(asking.exception()) == (outcome in ("unanswered", "not supported"))
        csms.clock.advance(600)

    found = await taken(csms, station, 40_000, change)
    kept = outcome in ("refused", "not supported") and way != "updated"
    assert (found and found["reason"]) == ("limits" if kept else None)


@pytest.mark.parametrize(("way", "limit_w"), [("set", 10_000.0), ("set", 4_000.0), ("updated", 4_000.0)])
async def test_less_power_does_not_wait_for_a_note(csms: Backend, way: str, limit_w: float) -> None:
    station = await booted(csms)
    await SmartCharging(csms.services).read_held(station.id)
    await changed(csms, station, "set", 10_000.0)
    noted = []
    station.answers[WAYS[way]] = lambda _: noted.append(csms.services.store.do(in_force)) or ACCEPTED  # type: ignore[func-returns-value]
    before = csms.services.store.do(in_force)
    await changed(csms, station, way, limit_w)
    assert noted == [before]
    assert csms.services.store.do(in_force) == [limit_w]


def in_force(connection: Connection) -> list[int]:
    """The limits on record, W."""
    there = limits_in_force.c
    rows = connection.execute(select(there.steps).where(there.to_ms.is_(None)).order_by(there.id)).scalars()
    return [json.loads(each)[0][1] for each in rows]


async def test_nothing_is_noted_before_the_first_limit_of_a_station(csms: Backend) -> None:
    """None is known, so none can be raised."""
    station = await booted(csms)
    noted = []
    station.answers["SetChargingProfile"] = lambda _: noted.append(csms.services.store.do(in_force)) or ACCEPTED  # type: ignore[func-returns-value]
    for each in (default(10_000.0), msgspec.structs.replace(default(9_000.0), id=9, stack_level=1)):
        await SmartCharging(csms.services).set_profile(station.id, 0, each)
    assert noted == [[], [10_000, MOST_W]]
    assert csms.services.store.do(in_force) == [10_000, 9_000]


async def dispatched(csms: Backend, station: ScriptedStation, setpoint_w: int, wh: int, **more: Any) -> str | None:
    """Let a vehicle follow a set-point, renewed every two minutes, and take (or give) so much (Wh) in each of them;
    return why it is held, if it is. `after` is called once it has begun."""
    charge, dispatch = await vehicle(csms, station, maxChargePower=50_000.0), Dispatch(csms.services)
    registers = {"Import": charge.wh, "Export": 0}

    def shown(context: str = "Sample.Periodic") -> dict[str, Any]:
        samples = [
            {"value": each, "measurand": f"Energy.Active.{way}.Register", "context": context}
            for way, each in registers.items()
        ]
        return {"meterValue": [{"timestamp": charge.now(), "sampledValue": samples}]}

    for number in range(12):
        await dispatch.set_point(setpoint_w, [station.id])
        if number == 1 and "after" in more:
            await more["after"](charge)
        await charge.event("Updated", "MeterValuePeriodic", state="Charging", extra=shown())
        csms.clock.advance(60)
        registers["Export" if wh < 0 else "Import"] += abs(wh)
    extra = shown("Transaction.End")
    await charge.event("Ended", "EVDeparted", state="Idle", stopped="EVDisconnected", extra=extra)
    found = await csms.services.store.read(held.find, station.id, charge.id)
    return None if found is None else found["detail"]


@pytest.mark.parametrize(
    ("setpoint_w", "wh", "most"),
    [(5_000, 160, None), (5_000, 1_500, "5 kW"), (-5_000, -160, None), (-5_000, -1_500, "5 kW"),
     (-5_000, 1_500, "0 kW"), (40_000, 1_500, None)],
)  # fmt: skip
@pytest.mark.some(2)
async def test_energy_beyond_a_set_point_is_held(csms: Backend, setpoint_w: int, wh: int, most: str | None) -> None:
    found = await dispatched(csms, await booted(csms), setpoint_w, wh)
    assert (found is not None) == (most is not None), found
    assert most is None or f"more than limits of up to {most} permitted" in str(found)


async def test_limits_are_judged_by_how_long_messages_may_wait(csms: Backend) -> None:
    """A limit counts two real minutes after it was sent, which are hours where time is simulated."""
    csms.clock.scale = 200.0
    assert await dispatched(csms, await booted(csms), 5_000, 1_500) is None


@pytest.mark.parametrize("case", ["lost", "other set-points", "unknown limit", "raised", "limit"])
@pytest.mark.some(2)
async def test_a_set_point_counts_only_while_it_is_what_the_station_follows(csms: Backend, case: str) -> None:
    """It refuses later ones, or an external system's count; a limit of that alone only lowers."""
    station = await booted(csms)

    async def after(charge: Charging) -> None:
        if case == "lost":
            station.answers |= {"UpdateDynamicSchedule": REJECTED, "SetChargingProfile": REJECTED}
        elif case == "raised":
            profile = msgspec.structs.replace(default(40_000.0), charging_profile_purpose="TxProfile")
            profile = msgspec.structs.replace(profile, transaction_id=charge.id)
            await SmartCharging(csms.services).set_profile(station.id, 1, profile)
        else:
            period = {"startPeriod": 0, **({"limit": 9_000.0} if case == "limit" else {"setpoint": 9_000.0})}
            schedule = {"id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [period]}
            notice: Payload = {"evseId": 1, "chargingLimit": {"chargingLimitSource": "EMS"}}
            notice |= {} if case == "unknown limit" else {"chargingSchedule": [schedule]}
            await station.call("NotifyChargingLimit", notice)

    found = await dispatched(csms, station, 5_000, 1_000, after=after)
    assert (found is not None) == (case == "limit"), found


async def signalled(csms: Backend, export_w: int, version: int = 1, until_then: str = "grid_signal_pushed") -> None:
    """Send a station a grid signal that limits export."""
    csms.services[GridSource].on_change = lambda _: csms.server.signal_changed()
    before = len(csms.events.named(until_then))
    await offer(csms, (300_000, 200_000), version=version, export_limit_w=export_w)
    await until(lambda: len(csms.events.named(until_then)) > before)


async def fed_back(
    csms: Backend, station: ScriptedStation, wh: int, between: Any = None, *, begin: int = 1000
) -> dict[str, Any] | None:
    """Let a vehicle feed back so much in an hour; return why it is held, if it is."""
    charge = Charging(csms, station)

    def registers(export_wh: int, context: str) -> dict[str, Any]:
        samples = [
            {"value": each, "measurand": f"Energy.Active.{way}.Register", "context": context}
            for way, each in (("Import", 5000), ("Export", export_wh))
        ]
        return {"meterValue": [{"timestamp": charge.now(), "sampledValue": samples}]}

    csms.clock.advance(60)
    await charge.event(
        "Started", "Authorized", state="Charging", token=VALID, extra=registers(begin, "Transaction.Begin")
    )
    csms.clock.advance(HOUR_S / 2)
    if between is not None:
        await between()
    csms.clock.advance(HOUR_S / 2)
    extra = registers(begin + wh, "Transaction.End")
    await charge.event("Ended", "EVDeparted", state="Idle", stopped="EVDisconnected", extra=extra)
    return await csms.services.store.read(held.find, station.id, charge.id)


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_energy_fed_back_beyond_what_a_station_accepted_is_held_with_the_limit(
    csms: Backend, version: Version
) -> None:
    """In 2.1 a profile has the limit of a grid signal, in 2.0.1 the signal itself."""
    station = await booted(csms, version=version)
    await signalled(csms, 4_000)
    csms.clock.advance(600)
    assert await fed_back(csms, station, 4_000) is None
    found = await fed_back(csms, station, 10_000, begin=5_000)
    assert found is not None
    assert (found["state"], found["reason"]) == ("quarantined", "limits")
    assert "the export register rises from 5000 to 15000 Wh" in found["detail"]
    assert "more than limits of up to 4 kW permitted" in found["detail"]


@pytest.mark.parametrize("case", ["refused", "raised", "unanswered", "boot", "cleared"])
async def test_a_signal_of_2_0_1_counts_until_another_may_have_been_taken(csms: Backend, case: str) -> None:
    station = await booted(csms, version="2.0.1")
    await signalled(csms, 4_000)
    csms.clock.advance(600)

    async def change() -> None:
        if case == "boot":
            await csms.services.store.run(save_boots, [StationBoot(station.id, {}, csms.clock.utc_ms())])
        elif case == "cleared":
            await csms.services.store.run(charging.clear_profiles, station.id, csms.clock.utc_ms())
        else:
            station.answers["DataTransfer"] = {"refused": REJECTED, "raised": ACCEPTED, "unanswered": None}.get(case)  # type: ignore[assignment]
            event = "grid_signal_pushed" if case in ("refused", "raised") else "grid_signal_push_failed"
            await signalled(csms, 40_000, 2, event)

    found = await fed_back(csms, station, 12_000, change)
    assert (found is not None) == (case in ("refused", "cleared")), found


async def reports(csms: Backend, station: ScriptedStation, *held_: ChargingProfile) -> None:
    """Have a station report all profiles of this back end."""
    station.answers["GetChargingProfiles"] = ACCEPTED if held_ else {"status": "NoProfiles"}
    criterion = ChargingProfileCriterion(charging_limit_source=("CSO",))
    asked = await SmartCharging(csms.services).get_profiles(station.id, criterion)
    for number, each in enumerate(held_, 1):
        part = {
            "requestId": asked.request_id, "chargingLimitSource": "CSO", "evseId": 0, "tbc": number < len(held_),
            "chargingProfile": [msgspec.to_builtins(each)],
        }  # fmt: skip
        await station.call("ReportChargingProfiles", part)


@pytest.mark.parametrize(
    ("case", "is_held"),
    [("kept", True), ("not asked", False), ("another", False), ("lost", False), ("generated", False),
     ("generated no more", True)],
)  # fmt: skip
async def test_a_profile_that_a_station_kept_through_a_boot_counts_from_its_report_on(
    csms: Backend, case: str, is_held: bool
) -> None:
    """Also one of an operator; what the station generates itself may be taken beside it (K27)."""
    station = await booted(csms)
    mine = msgspec.structs.replace(limit(csms, 10_000.0), id=7)
    await SmartCharging(csms.services).set_profile(station.id, 0, mine)
    await csms.services.store.run(save_boots, [StationBoot(station.id, {}, csms.clock.utc_ms())])
    source = {"chargingLimitSource": "EMS"}
    if case.startswith("generated"):
        await station.call("NotifyChargingLimit", {"chargingLimit": {**source, "isLocalGeneration": True}})
    if case == "generated no more":
        await station.call("ClearedChargingLimit", source)
    others = {"another": [msgspec.structs.replace(limit(csms, 100_000.0), id=8, stack_level=1)], "lost": []}
    if case != "not asked":
        await reports(csms, station, *([] if case == "lost" else [mine]), *others.get(case, []))
    csms.clock.advance(600)
    found = await taken(csms, station, 40_000)
    assert (found and found["reason"]) == ("limits" if is_held else None)


async def test_before_a_report_nothing_is_known_of_a_station_that_booted(csms: Backend) -> None:
    station = await booted(csms)
    mine = msgspec.structs.replace(limit(csms, 10_000.0), id=7)

    async def late() -> None:
        await SmartCharging(csms.services).set_profile(station.id, 0, mine)
        await reports(csms, station, mine)

    assert await taken(csms, station, 25_000, late) is None, "20 kWh of them before"


async def test_clearing_profiles_leaves_what_the_station_generates(csms: Backend) -> None:
    """Its limit of power stays unknown until that ends; here one of its EVSE remains."""
    station = await booted(csms)
    await limited(csms, station, 10_000.0)
    notice = {"chargingLimit": {"chargingLimitSource": "EMS", "isLocalGeneration": True}}
    await station.call("NotifyChargingLimit", notice)
    await SmartCharging(csms.services).clear(station.id, purpose="LocalGeneration")
    csms.clock.advance(600)
    assert await taken(csms, station, 40_000) is None
