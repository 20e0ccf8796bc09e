"""Commands of partners: sent to their stations once, with results queued for `response_url`, also through restarts."""

from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from csms.remote_control import work as remote
from csms.reservations import work as reservations
from csms.reservations.rules import ACTIVE, Reservation
from csms.reservations.store import find_reservation
from csms.roaming import store as rows
from csms.roaming.authorization import cdr_token, kept_token, ocpp_token
from csms.roaming.charging_profiles import ProfileCommand, carry_out
from csms.roaming.partners import Partners
from csms.roaming.publication import Grant, OfferedEvse, grant_of, put_grant
from csms.roaming.rules import key_of, party_of
from csms.roaming.store import Kept
from csms.services import Services
from csms.stations import store as stations
from csms.transactions import store as transactions
from v2g import typed_json
from v2g.errors import OcpiError, RefusedError, TimeoutExpired, V2GError
from v2g.io.runtime.supervision import spawn
from v2g.ocpi import wire
from v2g.ocpi.objects import (
    CancelReservation,
    OcpiLocation,
    OcpiObject,
    OcpiToken,
    ReserveNow,
    StartSession,
    StopSession,
    UnlockConnector,
)

COMMANDS: Final[dict[str, type[OcpiObject]]] = {
    "START_SESSION": StartSession, "STOP_SESSION": StopSession, "RESERVE_NOW": ReserveNow,
    "CANCEL_RESERVATION": CancelReservation, "UNLOCK_CONNECTOR": UnlockConnector,
}  # fmt: skip
"""By name."""

PROFILE: Final = "CHARGING_PROFILE"
"""How a kept command for a charging profile is named: OCPI has a module of its own for these."""

_KEPT: Final[dict[str, type[OcpiObject]]] = {**COMMANDS, PROFILE: ProfileCommand}

_REFUSED: Final = {"not_connected": "EVSE_INOPERATIVE", "reserved": "EVSE_OCCUPIED"}
"""Results by why we do not send a command to its station."""

TIMEOUT_S: Final = 60
"""How long a partner may wait for a command's result, s."""


def begin_command(services: Services, kept: Kept) -> None:
    """Carry out a command of this node in the background."""
    services[Partners].commands.add(kept.object_id)
    spawn(_carry_out(services, services[Partners], kept))


async def _carry_out(services: Services, partners: Partners, kept: Kept) -> None:
    """Send a command to its station once, and queue its result; one that a stopped node had sent has none, and one that
    the partner expects no more is not sent."""
    try:
        late = services.clock.utc_ms() - kept.updated_ms > 1000 * TIMEOUT_S
        command: Any = typed_json.decode(kept.document, _KEPT[kept.about])
        answer: dict[str, object] = {"result": "TIMEOUT"}
        if kept.state == "waiting" and not late:
            await services.store.run(rows.put_object, msgspec.structs.replace(kept, state="sent"))
            try:
                if isinstance(command, ProfileCommand):
                    answer = await carry_out(services, command)
                else:
                    answer = {"result": await _do(services, kept, command)}
            except TimeoutExpired:
                pass
            except RefusedError as error:
                answer = {"result": _REFUSED.get(error.reason, "REJECTED")}
            except V2GError:
                answer = {"result": "FAILED"}
        if isinstance(command, ProfileCommand) and answer["result"] not in ("ACCEPTED", "REJECTED"):
            answer = {"result": "UNKNOWN"}

        def write(connection: Connection) -> None:
            rows.remove_object(connection, kept.owner, "commands", kept.object_id)
            waiting = f"{kept.object_id}/{kept.alias}"  # named also by the party behind a hub
            rows.enqueue(
                connection, [kept.owner], "results", waiting, services.clock.utc_ms(),
                method="POST", path=command.response_url,
                body=wire.encode(answer).decode(),
            )  # fmt: skip

        await services.store.run(write)
    finally:
        partners.commands.discard(kept.object_id)
    partners.wake.set()


async def resume_commands(services: Services) -> None:
    """Take over the commands of nodes that have stopped, and of this one before its restart."""
    node, run = services.feed.node, services.store.run
    for partner in await run(rows.list_partners):
        for kept in await run(rows.objects_in, partner.partner.partner_id, "commands"):
            busy = kept.object_id in services[Partners].commands
            if busy or (kept.detail != node and kept.detail in services.feed.nodes()):
                continue
            if await run(rows.take_over, kept, node):
                begin_command(services, msgspec.structs.replace(kept, detail=node))


async def _do(services: Services, asked: Kept, command: object) -> str:
    partner_id, run, now_ms = asked.owner, services.store.run, services.clock.utc_ms()
    match command:
        case StartSession():
            offered = await find_evse(services, command)
            token = ocpp_token(command.token)
            grant = Grant(
                token=cdr_token(command.token), auth_method="COMMAND", reference=command.authorization_reference
            )
            await run(_grant, partner_id, command.token, token.type, token.id_token, grant, now_ms)
            started = await remote.start(services, offered.station_id, token, evse_id=offered.evse)
            return "ACCEPTED" if started.response.status == "Accepted" else "REJECTED"
        case StopSession():
            kept = await run(rows.find_object, "", "sessions", command.session_id)
            if kept is None:
                return "FAILED"
            station_id, _, transaction_id = kept.about.partition("/")
            answer = await remote.stop(services, transaction_id, station_id)
            return "ACCEPTED" if answer.status == "Accepted" else "REJECTED"
        case ReserveNow():
            return await _reserve(services, asked, command)
        case CancelReservation():
            _, kept, _ = await run(_reservation, asked, command.reservation_id)
            if kept is None:
                return "UNKNOWN_RESERVATION"
            cancelled = await reservations.cancel(services, int(kept.about))
            await run(rows.remove_object, partner_id, "reservations", kept.object_id)
            return "ACCEPTED" if cancelled.status == "Accepted" else "REJECTED"
        case UnlockConnector():
            offered = await find_evse(services, command)
            if await services.store.read(_would_end, offered):
                return "REJECTED"
            unlocked = await remote.unlock(services, offered.station_id, offered.evse, int(command.connector_id))
            return {"Unlocked": "ACCEPTED", "OngoingAuthorizedTransaction": "REJECTED"}.get(unlocked.status, "FAILED")
    return "NOT_SUPPORTED"


def _would_end(connection: Connection, offered: OfferedEvse) -> bool:
    """Return whether unlocking ends a transaction, whosever it is: stations of 2.0.1 refuse it then (F05.FR.02)."""
    station = stations.find(connection, offered.station_id)
    if station is None or station["protocol"] != "ocpp1.6":
        return False
    return any(each.evse_id == offered.evse for each in transactions.active(connection, offered.station_id))


async def _reserve(services: Services, asked: Kept, command: ReserveNow) -> str:
    partner_id, run, now_ms = asked.owner, services.store.run, services.clock.utc_ms()
    offered = await find_evse(services, command)
    token = ocpp_token(command.token)
    grant = Grant(token=cdr_token(command.token), auth_method="COMMAND", reference=command.authorization_reference)
    await run(_grant, partner_id, command.token, token.type, token.id_token, grant, now_ms)
    name, known, held = await run(_reservation, asked, command.reservation_id)
    station_id, evse_id, replaces = offered.station_id, offered.evse, None
    if held is not None and held.state in ACTIVE:
        replaces = held.reservation_id
        if command.evse_uid is None:  # it stays where it is, and is no free EVSE itself
            station_id, evse_id = held.station_id, held.evse_id or evse_id
    made = await reservations.reserve(
        services, station_id, token, wire.utc_ms(command.expiry_date), evse_id=evse_id, replaces=replaces
    )
    if made.state == "Accepted":
        kept = Kept(
            owner=partner_id, module="reservations", object_id=name, updated_ms=now_ms, document="{}",
            about=str(made.reservation_id),
        )  # fmt: skip
        await run(rows.put_object, kept)
        if known is not None and known.object_id != name:
            await run(rows.remove_object, partner_id, "reservations", known.object_id)
    results = {"Accepted": "ACCEPTED", "Occupied": "EVSE_OCCUPIED", "Rejected": "REJECTED"}
    return results.get(str(made.state), "EVSE_INOPERATIVE")


def _reservation(
    connection: Connection, asked: Kept, reservation_id: str
) -> tuple[str, Kept | None, Reservation | None]:
    """Return how a reservation of the sender of a command is stored, and it, if there is one: parties behind a hub have
    ids of their own."""
    partner = rows.find_partner(connection, asked.owner)
    party = "" if partner is None else partner.partner.behind(asked.alias)
    plain = reservation_id.lower()
    name = key_of(*party.split("*"), plain) if party else plain
    for each in (name, plain):  # the hub's own, and those of an earlier program, have no party in their name
        kept = rows.find_object(connection, asked.owner, "reservations", each)
        held = None if kept is None else find_reservation(connection, int(kept.about))
        granted = None if held is None else grant_of(connection, held.token_type, held.id_token)
        driver = "" if granted is None else party_of(granted[1].token.country_code, granted[1].token.party_id)
        if kept is not None and (each == name or driver == party):
            return name, kept, held
    return name, None, None


def _grant(
    connection: Connection, partner_id: str, token: OcpiToken, kind: str, id_token: str, grant: Grant, now_ms: int
) -> None:
    """Store the token of a command and that it may charge."""
    kept = kept_token(token, partner_id, wire.encode(token).decode(), wire.utc_ms(token.last_updated))
    if rows.find_object(connection, partner_id, "tokens", kept.object_id) is None:
        rows.put_object(connection, kept)
    put_grant(connection, partner_id, kind, id_token, grant, now_ms)


async def find_evse(services: Services, command: Any) -> OfferedEvse:
    """Return the EVSE that a command names, or a free one of its location, with the connector that it names. Raises
    OcpiError (2003)."""
    read = services.store.read
    location = await read(rows.find_object, "", "locations", command.location_id)
    evses = [each for each in await read(rows.objects_in, "", "evses") if each.alias == command.location_id.lower()]
    wanted, connector_id = (command.evse_uid or "").lower(), getattr(command, "connector_id", None)
    offered = (typed_json.decode(each.document, OfferedEvse) for each in evses if wanted in ("", each.object_id))
    found = [each for each in offered if connector_id is None or connector_id in {plug.id for plug in each.connectors}]
    if location is None or not found:
        named = " ".join(each for each in (command.location_id, command.evse_uid, connector_id) if each)
        raise OcpiError(f"unknown location, EVSE or connector {named}", code=2003)
    evses_there = typed_json.decode(location.document, OcpiLocation).evses
    free = {each.uid.lower() for each in evses_there if each.status == "AVAILABLE"}
    return next((each for each in found if each.key.lower() in free), found[0])
