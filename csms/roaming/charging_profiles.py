"""Charging profiles of sessions that partners set, ask for and clear by OCPI."""

from collections.abc import Collection
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from csms.roaming import store as rows
from csms.services import Services
from csms.smart_charging import store as charging
from csms.smart_charging.work import SmartCharging
from csms.transactions import store as transactions
from v2g.ocpi import wire
from v2g.ocpi.objects import OcpiObject, OcpiProfile
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.times import format_time

PROFILES: Final = "chargingprofiles"
_PROFILE_ID: Final = 650_000
_AHEAD_S: Final = 1800
"""How far ahead partners see, s: 5 to 60 min."""


class ProfileCommand(OcpiObject, frozen=True, kw_only=True):
    """What a partner asked of a session's profile, and where its result goes, as it is kept until that is known."""

    method: str
    """PUT, GET or DELETE."""

    station_id: str
    transaction_id: str
    evse_id: int
    charging_profile: OcpiProfile | None = None
    """What PUT sets."""

    duration_s: int = 0
    """How far GET looks ahead, s."""

    response_url: str


async def carry_out(services: Services, command: ProfileCommand) -> dict[str, object]:
    """Do it at the station, within its shares of sites: no partner's limit takes their place. Returns the result of
    OCPI. Raises as `ConnectionRegistry.call`, and RefusedError as `set_operators`."""
    number = _PROFILE_ID + command.evse_id
    if command.charging_profile is not None:
        start, begin_ms = command.charging_profile.start_date_time, services.clock.utc_ms()
        running = await services.store.read(transactions.get, command.station_id, command.transaction_id)
        if start is not None:
            begin_ms = wire.utc_ms(start)
        elif running is not None and running.started_ms is not None:  # its periods count from the start of charging
            begin_ms = running.started_ms
        schedule = ChargingSchedule(
            id=_PROFILE_ID,
            charging_rate_unit=command.charging_profile.charging_rate_unit,
            charging_schedule_period=tuple(
                ChargingSchedulePeriod(start_period=each.start_period, limit=float(each.limit))
                for each in command.charging_profile.charging_profile_period
            ),
            start_schedule=format_time(begin_ms),
            duration=command.charging_profile.duration,
            min_charging_rate=None
            if command.charging_profile.min_charging_rate is None
            else float(command.charging_profile.min_charging_rate),
        )
        profile = ChargingProfile(
            id=number,
            stack_level=1,
            charging_profile_purpose="TxProfile",
            charging_profile_kind="Absolute",
            charging_schedule=(schedule,),
            transaction_id=command.transaction_id,
        )
        done = (
            await SmartCharging(services).set_operators(command.station_id, command.evse_id, profile)
        ).status == "Accepted"
    elif command.method == "DELETE":
        cleared = await SmartCharging(services).clear(command.station_id, profile_id=number)
        return {"result": "ACCEPTED" if cleared.status == "Accepted" else "UNKNOWN"}  # it has none
    else:
        active = await active_profile(services, command.station_id, command.evse_id, command.duration_s)
        return {"result": "REJECTED"} if active is None else {"result": "ACCEPTED", "profile": active}
    return {"result": "ACCEPTED" if done else "REJECTED"}


async def active_profile(
    services: Services, station_id: str, evse_id: int, duration_s: int = _AHEAD_S
) -> dict[str, object] | None:
    """Return what limits an EVSE from now on, as its station says; None if it does not. Raises as
    `ConnectionRegistry.call`."""
    composed = (await SmartCharging(services).composite(station_id, evse_id, duration_s, "W")).schedule
    if composed is None:
        return None
    periods = [
        {"start_period": each.start_period, "limit": Decimal(str(each.limit or 0))}
        for each in composed.charging_schedule_period
    ]
    unit = composed.charging_rate_unit  # some know no other than A, whatever is asked for
    profile = {"charging_rate_unit": unit, "duration": composed.duration, "charging_profile_period": periods}
    return {"start_date_time": composed.schedule_start, "charging_profile": profile}


def queue_updates(connection: Connection, stations: Collection[str], now_ms: int) -> None:
    """Note that partners are to be sent what limits those sessions at some stations for which they have set a profile:
    something else has begun, or has ceased, to limit them."""
    for station_id in stations:
        for transaction in transactions.active(connection, station_id):
            held = charging.profiles(connection, station_id, None, transaction.transaction_id)
            if any(profile.id == _PROFILE_ID + evse_id for evse_id, _, profile in held):
                for kept in rows.objects_about(
                    connection, "", "sessions", f"{station_id}/{transaction.transaction_id}"
                ):
                    rows.enqueue(connection, [kept.audience], PROFILES, kept.object_id, now_ms)
