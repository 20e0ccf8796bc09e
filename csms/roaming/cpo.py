"""The modules of the CPO side: lists for partners, their tokens, commands, charging profiles and preferences."""

import re
import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from csms.dispatch.work import Dispatch
from csms.roaming import store as rows
from csms.roaming.authorization import ocpp_token, transfer_of
from csms.roaming.charging_profiles import ProfileCommand
from csms.roaming.commands import COMMANDS, PROFILE, TIMEOUT_S, begin_command, find_evse
from csms.roaming.endpoint import HANDLERS, OcpiAnswer, OcpiRequest, not_found, only
from csms.roaming.exchange import clients, listed, one, part, received, seen
from csms.roaming.publication import grant_of, put_grant
from csms.roaming.rules import check_partner_url
from csms.roaming.store import Kept
from csms.services import Services
from csms.tokens import store as tokens
from csms.tokens.rules import normalise
from csms.transactions import store as transactions
from csms.transactions.rules import Transaction
from v2g.errors import OcpiError, V2GError
from v2g.io.runtime.supervision import spawn
from v2g.observe import Observe, Scalar
from v2g.ocpi import wire
from v2g.ocpi.objects import ChargingPreferences, OcpiObject, ReserveNow, SetChargingProfile, StartSession, StopSession
from v2g.ocpp.messages.base import EnergyTransferMode

_MOST_KWH: Final = 10_000
"""What a driver may ask for, kWh."""


async def _locations(asked: OcpiRequest) -> OcpiAnswer:
    only(asked.method, "GET")
    if not asked.path:
        return await listed(asked, "locations")
    return OcpiAnswer(data=part(await one(asked, "locations", asked.path[0]), asked.path[1:3]))


async def _tariffs(asked: OcpiRequest) -> OcpiAnswer:
    return await _plain_list(asked, "tariffs")


async def _cdrs(asked: OcpiRequest) -> OcpiAnswer:
    return await _plain_list(asked, "cdrs")


async def _plain_list(asked: OcpiRequest, module: str) -> OcpiAnswer:
    only(asked.method, "GET")
    return OcpiAnswer(data=await one(asked, module, asked.path[0])) if asked.path else await listed(asked, module)


async def _sessions(asked: OcpiRequest) -> OcpiAnswer:
    if len(asked.path) == 2 and asked.path[1] == "charging_preferences":
        only(asked.method, "PUT")
        await one(asked, "sessions", asked.path[0])
        return OcpiAnswer(data=await _prefer(asked, wire.read(asked.sent(), ChargingPreferences)))
    if len(asked.path) > 1:
        raise not_found()
    only(asked.method, "GET")
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
    if len(asked.path) != 1:
        raise not_found()
    only(asked.method, "POST")
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
    return await _accept(asked, asked.path[0].upper(), command)


async def _accept(asked: OcpiRequest, name: str, command: OcpiObject) -> OcpiAnswer:
    """Store a command, and let it begin."""
    kept = Kept(
        owner=asked.partner.partner_id, module="commands", object_id=secrets.token_hex(16), updated_ms=asked.now_ms,
        document=wire.encode(command).decode(), state="waiting", about=name,
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
    departure_ms = None if said.departure_time is None else wire.utc_ms(said.departure_time)
    energy_wh = int(said.energy_need * 1000) if said.energy_need else None
    await run(transactions.save_wishes, transaction.station_id, transaction.transaction_id, departure_ms, energy_wh)
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
    only(asked.method, "PUT", "GET", "DELETE")
    transaction = await _transaction(asked, asked.path[0])
    if transaction is None or transaction.evse_id is None:
        return _sync("UNKNOWN_SESSION")
    wanted, url, duration_s = None, asked.query.get("response_url", ""), 3600
    if asked.method == "PUT":
        sent = wire.read(asked.sent(), SetChargingProfile)
        wanted, url = sent.charging_profile, sent.response_url
        if not wanted.charging_profile_period:  # OCPI allows it, a station of OCPP needs at least one
            return _sync("REJECTED")
    elif asked.method == "GET":
        said = asked.query.get("duration", "")
        duration_s = min(int(said), 604_800) if re.fullmatch("[0-9]{1,9}", said) else duration_s
    if not url:
        raise OcpiError("response_url is missing", code=2001)
    check_partner_url(url, asked.partner.hosts, asked.partners.reach)
    command = ProfileCommand(
        station_id=transaction.station_id, transaction_id=transaction.transaction_id, evse_id=transaction.evse_id,
        method=asked.method, charging_profile=wanted, duration_s=duration_s, response_url=url,
    )  # fmt: skip
    return await _accept(asked, PROFILE, command)


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
