"""The modules of the CPO side: lists for partners, their tokens, commands, charging profiles and preferences."""

import re
import secrets
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from csms.dispatch.work import Dispatch
from csms.roaming import store as rows
from csms.roaming.authorization import ocpp_token, transfer_of
from csms.roaming.commands import COMMANDS, TIMEOUT_S, begin_command, find_evse, result_name
from csms.roaming.endpoint import HANDLERS, OcpiAnswer, OcpiRequest, not_allowed, not_found
from csms.roaming.exchange import clients, listed, one, part, received, seen
from csms.roaming.publication import grant_of, put_grant
from csms.roaming.rules import check_partner_url
from csms.roaming.store import Kept
from csms.services import Services
from csms.smart_charging.rules import Needs
from csms.smart_charging.work import SmartCharging
from csms.tokens import store as tokens
from csms.tokens.rules import normalise
from csms.transactions import store as transactions
from csms.transactions.rules import Transaction
from v2g.errors import OcpiError, V2GError
from v2g.io.runtime.supervision import spawn
from v2g.observe import Observe, Scalar
from v2g.ocpi import wire
from v2g.ocpi.objects import ChargingPreferences, OcpiProfile, ReserveNow, SetChargingProfile, StartSession, StopSession
from v2g.ocpp.messages.base import EnergyTransferMode
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.times import format_time

_MOST_KWH: Final = 10_000
"""What a driver may ask for, kWh."""


async def _locations(asked: OcpiRequest) -> OcpiAnswer:
    if asked.method != "GET":
        raise not_allowed(asked.method)
    if not asked.path:
        return await listed(asked, "locations")
    return OcpiAnswer(data=part(await one(asked, "locations", asked.path[0]), asked.path[1:3]))


async def _tariffs(asked: OcpiRequest) -> OcpiAnswer:
    return await _plain_list(asked, "tariffs")


async def _cdrs(asked: OcpiRequest) -> OcpiAnswer:
    return await _plain_list(asked, "cdrs")


async def _plain_list(asked: OcpiRequest, module: str) -> OcpiAnswer:
    if asked.method != "GET":
        raise not_allowed(asked.method)
    return OcpiAnswer(data=await one(asked, module, asked.path[0])) if asked.path else await listed(asked, module)


async def _sessions(asked: OcpiRequest) -> OcpiAnswer:
    if len(asked.path) == 2 and asked.path[1] == "charging_preferences":
        if asked.method != "PUT":
            raise not_allowed(asked.method)
        await one(asked, "sessions", asked.path[0])
        return OcpiAnswer(data=await _prefer(asked, wire.read(asked.sent(), ChargingPreferences)))
    if asked.method != "GET" or len(asked.path) > 1:
        raise not_allowed(asked.method)
    if asked.path:
        return OcpiAnswer(data=await one(asked, "sessions", asked.path[0]))
    if not asked.query.get("date_from"):
        raise OcpiError("sessions need date_from", code=2001)
    return await listed(asked, "sessions")


async def _tokens(asked: OcpiRequest) -> OcpiAnswer:
    return await received(asked, "tokens", "GET", "PUT", "PATCH")


# -- commands


async def _commands(asked: OcpiRequest) -> OcpiAnswer:
    """Take a command: errors are said at once, its result goes to `response_url`, also after a restart."""
    if asked.method != "POST" or len(asked.path) != 1:
        raise not_allowed(asked.method)
    kind = COMMANDS.get(asked.path[0].upper())
    if kind is None:
        return _sync("NOT_SUPPORTED")
    command: Any = wire.read(asked.sent(), kind)
    check_partner_url(command.response_url, asked.partner.hosts, asked.partners.reach)
    if isinstance(command, StartSession | ReserveNow):
        if not asked.speaks_for(command.token.country_code, command.token.party_id):
            raise OcpiError("the token is not of one of your parties", code=2004)
        token = ocpp_token(command.token)
        key = token.type, normalise(token.type, token.id_token)
        own = await asked.services.store.read(tokens.look_up, *key, asked.now_ms)
        if not command.token.valid or own is not None:  # the session would be that of our own driver
            return _sync("REJECTED")
    if hasattr(command, "location_id"):
        await find_evse(asked.services, command)
    if isinstance(command, StopSession) and await _transaction(asked, command.session_id) is None:
        return _sync("UNKNOWN_SESSION")
    kept = Kept(
        owner=asked.partner.partner_id, module="commands", object_id=secrets.token_hex(16), updated_ms=asked.now_ms,
        document=wire.encode(command).decode(), state="waiting", about=asked.path[0].upper(),
        alias=asked.sender, detail=asked.services.feed.node,
    )  # fmt: skip
    await asked.services.store.run(rows.put_object, kept)
    begin_command(asked.services, kept)
    return _sync("ACCEPTED")


def _sync(result: str) -> OcpiAnswer:
    return OcpiAnswer(data={"result": result, "timeout": TIMEOUT_S})


async def _transaction(asked: OcpiRequest, session_id: str) -> Transaction | None:
    """Return the running transaction of one of the partner's sessions."""
    try:
        kept = await seen(asked, "sessions", session_id)
    except OcpiError:
        return None
    station_id, _, transaction_id = kept.about.partition("/")
    found = await asked.services.store.read(transactions.get, station_id, transaction_id)
    return found if found is not None and found.active else None


# -- preferences and profiles


async def _prefer(asked: OcpiRequest, said: ChargingPreferences) -> str:
    """Store a driver's preferences in what its vehicle needs; consent to feed back lets dispatch use the session, also
    one that is running (Q02)."""
    transaction = await _transaction(asked, asked.path[0])
    if transaction is None or transaction.evse_id is None:
        return "NOT_POSSIBLE"
    if said.profile_type not in ("CHEAP", "FAST", "GREEN", "REGULAR"):
        return "PROFILE_TYPE_NOT_SUPPORTED"
    if not 0 <= (said.energy_need or 0) <= _MOST_KWH:
        raise OcpiError(f"energy_need is {said.energy_need} kWh", code=2001)
    if said.profile_type in ("CHEAP", "GREEN"):
        if said.departure_time is None:
            return "DEPARTURE_REQUIRED"
        if said.energy_need is None:
            return "ENERGY_NEED_REQUIRED"
    run, token, kind = asked.services.store.run, transaction.id_token, transaction.token_type
    granted = None if token is None or kind is None else await run(grant_of, kind.value, token.value)
    if granted is not None and token is not None and kind is not None:
        grant = msgspec.structs.replace(granted[1], discharge=said.discharge_allowed)
        new = await run(put_grant, asked.partner.partner_id, kind.value, token.value, grant, asked.now_ms)
        if new.discharge != granted[1].discharge:
            spawn(_allow(asked.services, transaction, transfer_of(new)))
    key = transaction.station_id, transaction.transaction_id
    needs = dict(await run(transactions.with_needs, key[0])).get(key[1])
    needs = needs or Needs(evse_id=transaction.evse_id, requested="AC_three_phase")
    wanted = said.energy_need and int(said.energy_need * 1000)
    departure_ms = None if said.departure_time is None else wire.utc_ms(said.departure_time)
    changed = msgspec.structs.replace(
        needs, departure_ms=departure_ms or needs.departure_ms, energy_wh=wanted or needs.energy_wh
    )
    await run(transactions.save_needs, *key, changed)
    return "ACCEPTED"


async def _allow(services: Services, transaction: Transaction, modes: Sequence[EnergyTransferMode]) -> None:
    """Let a running session feed back, or no more: stations before 2.1 cannot be told."""
    key = transaction.station_id, transaction.transaction_id
    try:
        if services.connections.version(key[0]) == "2.1":
            await Dispatch(services).allow(*key, modes)
    except V2GError as error:
        data: dict[str, Scalar] = {"station": key[0], "transaction": key[1], "reason": str(error)[:300]}
        services.observe(Observe("roaming", "consent_not_passed_on", data))


async def _profiles(asked: OcpiRequest) -> OcpiAnswer:
    """Answer PUT, GET and DELETE of a session's charging profile; results go to `response_url`."""
    if len(asked.path) != 1:
        raise not_found()
    transaction = await _transaction(asked, asked.path[0])
    if transaction is None or transaction.evse_id is None:
        return _sync("UNKNOWN_SESSION")
    if asked.method == "PUT":
        wanted = wire.read(asked.sent(), SetChargingProfile)
        url, work = wanted.response_url, _set_profile(asked.services, transaction, wanted.charging_profile)
    elif asked.method in ("GET", "DELETE"):
        url = asked.query.get("response_url", "")
        said = asked.query.get("duration", "")
        duration = int(said) if re.fullmatch("[0-9]{1,9}", said) else 3600
        work = (
            _active_profile(asked.services, transaction, min(duration, 604_800))
            if asked.method == "GET"
            else _clear_profile(asked.services, transaction)
        )
    else:
        raise not_allowed(asked.method)
    try:
        if not url:
            raise OcpiError("response_url is missing", code=2001)
        check_partner_url(url, asked.partner.hosts, asked.partners.reach)
    except OcpiError:
        work.close()
        raise
    spawn(_report(asked, url, work))
    return _sync("ACCEPTED")


async def _report(asked: OcpiRequest, url: str, work: Any) -> None:
    try:
        body = await work
    except V2GError:
        body = {"result": "UNKNOWN"}
    text = wire.encode(body).decode()
    name = result_name(secrets.token_hex(16), asked.sender)
    await asked.services.store.run(
        rows.enqueue, [asked.partner.partner_id], "results", name, asked.now_ms, method="POST", path=url, body=text
    )
    asked.partners.wake.set()


_PROFILE_ID: Final = 650_000


async def _set_profile(services: Services, transaction: Transaction, profile: OcpiProfile) -> dict[str, object]:
    start = profile.start_date_time
    schedule = ChargingSchedule(
        id=_PROFILE_ID,
        charging_rate_unit=profile.charging_rate_unit,
        charging_schedule_period=tuple(
            ChargingSchedulePeriod(start_period=each.start_period, limit=float(each.limit))
            for each in profile.charging_profile_period
        ),
        start_schedule=format_time(services.clock.utc_ms() if start is None else wire.utc_ms(start)),
        duration=profile.duration,
        min_charging_rate=None if profile.min_charging_rate is None else float(profile.min_charging_rate),
    )
    made = ChargingProfile(
        id=_PROFILE_ID + (transaction.evse_id or 0),
        stack_level=1,
        charging_profile_purpose="TxProfile",
        charging_profile_kind="Absolute",
        charging_schedule=(schedule,),
        transaction_id=transaction.transaction_id,
    )
    answer = await SmartCharging(services).set_profile(transaction.station_id, transaction.evse_id or 1, made)
    return {"result": "ACCEPTED" if answer.status == "Accepted" else "REJECTED"}


async def _clear_profile(services: Services, transaction: Transaction) -> dict[str, object]:
    number = _PROFILE_ID + (transaction.evse_id or 0)
    answer = await SmartCharging(services).clear(transaction.station_id, profile_id=number)
    return {"result": "ACCEPTED" if answer.status == "Accepted" else "REJECTED"}


async def _active_profile(services: Services, transaction: Transaction, duration_s: int) -> dict[str, object]:
    found = await SmartCharging(services).composite(transaction.station_id, transaction.evse_id or 1, duration_s, "W")
    schedule = found.schedule
    if schedule is None:
        return {"result": "REJECTED"}
    periods = [
        {"start_period": each.start_period, "limit": Decimal(str(each.limit or 0))}
        for each in schedule.charging_schedule_period
    ]
    profile = {"charging_rate_unit": "W", "duration": schedule.duration, "charging_profile_period": periods}
    begun = {"start_date_time": schedule.schedule_start, "charging_profile": profile}
    return {"result": "ACCEPTED", "profile": begun}


HANDLERS.update({
    ("cpo", "hubclientinfo"): clients,
    ("cpo", "locations"): _locations,
    ("cpo", "tariffs"): _tariffs,
    ("cpo", "sessions"): _sessions,
    ("cpo", "cdrs"): _cdrs,
    ("cpo", "tokens"): _tokens,
    ("cpo", "commands"): _commands,
    ("cpo", "chargingprofiles"): _profiles,
})  # fmt: skip
