"""Energy beyond the limits that a station had accepted is held, with the limit; where nothing is known, none is."""

from typing import Any

import msgspec
import pytest

from csms.booking import held
from csms.smart_charging import store as charging
from csms.smart_charging.work import SmartCharging
from csms.stations.store import StationBoot, save_boots
from csms.stations.work import doubt
from tests.csms.backend import Backend
from tests.csms.charging import VALID, Charging
from tests.csms.scripted_station import Refused, ScriptedStation
from tests.csms.services.charging.support import ACCEPTED, REJECTED, booted, offer, until
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.smart_charging import ChargingProfileCriterion, SetChargingProfileRequest
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
    assert "more than limits of up to 10000 W permitted" in found["detail"]


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
            request = SetChargingProfileRequest(evse_id=0, charging_profile=limit(csms, 100_000.0))
            await doubt(csms.services, station.id, request)
        elif case == "boot":
            await csms.services.store.run(save_boots, [StationBoot(station.id, {}, csms.clock.utc_ms())])

    assert await taken(csms, station, 40_000, change) is None


async def signalled(csms: Backend, export_w: int, version: int = 1, until_then: str = "grid_signal_pushed") -> None:
    """Send a station a grid signal that limits export."""
    csms.services.grid.on_change = lambda _: csms.server.signal_changed()
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
    assert "more than limits of up to 4000 W permitted" in found["detail"]


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
            station.answers["DataTransfer"] = {"refused": REJECTED, "raised": ACCEPTED, "unanswered": None}[case]
            event = "grid_signal_push_failed" if case == "unanswered" else "grid_signal_pushed"
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
