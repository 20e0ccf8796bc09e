"""Energy beyond the limits that a station had accepted is held, with the limit; where nothing is known, none is."""

from typing import Any

import pytest

from csms.booking import held
from csms.smart_charging.work import SmartCharging
from csms.stations.store import StationBoot, save_boots
from csms.stations.work import doubt
from tests.csms.backend import Backend
from tests.csms.charging import VALID, Charging
from tests.csms.scripted_station import Refused, ScriptedStation
from tests.csms.services.charging.support import booted
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.smart_charging import SetChargingProfileRequest
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
