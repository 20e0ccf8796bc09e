"""Functional block D: local authorization lists, from the token store."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from csms.db.queries import commands, tokens
from csms.domain.authorization.authorize import Where, answer_known, lasting
from csms.domain.authorization.local_lists import (
    MAX_ENTRIES,
    Entries,
    Key,
    difference,
    differential,
    entries_of,
    full,
    read_entries,
    removal,
)
from csms.ocpp.authorization import token_info
from csms.ocpp.base import Services
from csms.services.stations.device_model import items_per_message
from csms.services.stations.requests import call
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.local_list import (
    AuthorizationData,
    GetLocalListVersionRequest,
    GetLocalListVersionResponse,
    SendLocalListRequest,
    SendLocalListResponse,
    SendLocalListStatus,
)


class LocalList(NamedTuple):
    """A station's list after an update: its version, number of entries, and the last answer."""

    version_number: int
    entries: int
    status: SendLocalListStatus


async def version_of(services: Services, station_id: str) -> int:
    """Get the version of a station's list; 0 is none (D02)."""
    response = await call(services, station_id, GetLocalListVersionRequest(), GetLocalListVersionResponse)
    return response.version_number


async def replace(services: Services, station_id: str, limit: int | None = None) -> LocalList:
    """Send the complete list (D01.FR.15), `limit` entries a message or as many as the station supports."""
    wanted = await _wanted(services, station_id)
    version = max(await version_of(services, station_id), await _known_version(services, station_id)) + 1
    limit = limit or await _limit(services, station_id, len(wanted))
    return await _send(services, station_id, full(wanted.values(), version, limit))


async def clear(services: Services, station_id: str) -> LocalList:
    """Empty a station's list (D01.FR.04)."""
    version = max(await version_of(services, station_id), await _known_version(services, station_id)) + 1
    return await _send(services, station_id, full((), version, 1))


async def change(
    services: Services,
    station_id: str,
    put: Iterable[AuthorizationData] = (),
    remove: Iterable[Key] = (),
    limit: int | None = None,
) -> LocalList:
    """Add, change and remove entries (D01.FR.16, .17). A station that rejects gets the complete list (D01.FR.03)."""
    entries = (*put, *map(removal, remove))
    version = await version_of(services, station_id)
    limit = limit or await _limit(services, station_id, len(entries))
    result = await _send(services, station_id, differential(entries, version + 1, limit))
    return result if result.status == "Accepted" else await replace(services, station_id, limit)


async def synchronise(services: Services, station_id: str, limit: int | None = None) -> LocalList:
    """Synchronise a station's list: by differences, or completely when the station has another version."""
    known = await services.store.run(commands.find_local_list, station_id)
    if known is None or known["status"] != "Accepted" or await version_of(services, station_id) != known["version"]:
        return await replace(services, station_id, limit)
    held, wanted = read_entries(known["entries"]), await _wanted(services, station_id)
    changes = difference(held, wanted)
    if not changes:
        return LocalList(known["version"], len(held), "Accepted")
    limit = limit or await _limit(services, station_id, len(changes))
    result = await _send(services, station_id, differential(changes, known["version"] + 1, limit))
    return result if result.status == "Accepted" else await replace(services, station_id, limit)


async def forget(services: Services, station_id: str, token: IdToken) -> LocalList | None:
    """Remove a customer from a station's list, if listed (N10.FR.02)."""
    keys = entries_of([AuthorizationData(id_token=token)], "2.1").keys() & (await _held(services, station_id)).keys()
    return await change(services, station_id, remove=keys) if keys else None


async def _send(services: Services, station_id: str, requests: Sequence[SendLocalListRequest]) -> LocalList:
    """Send messages in turn, until one is not accepted; the list is recorded after each."""
    status: SendLocalListStatus = "Accepted"
    for request in requests:
        status = (await call(services, station_id, request, SendLocalListResponse)).status
        if status != "Accepted":
            break
    held = await _held(services, station_id)
    return LocalList(await _known_version(services, station_id), len(held), status)


async def _limit(services: Services, station_id: str, entries: int) -> int:
    """Return the number of entries in a message; the station is asked only if it matters (D01.FR.11)."""
    if entries <= MAX_ENTRIES:
        return MAX_ENTRIES
    return await items_per_message(services, station_id, "LocalAuthListCtrlr", None, MAX_ENTRIES)


async def _wanted(services: Services, station_id: str) -> Entries:
    known = await services.store.read(tokens.list_known)
    where = Where(station_id, None, services.clock.utc_ms())
    data = (
        AuthorizationData(
            id_token=IdToken(type=each.token.type, id_token=each.token.id_token),
            id_token_info=token_info(lasting(answer_known(each, where))),
        )
        for each in known
    )
    return entries_of(data, services.connections.version(station_id) or "2.0.1")


async def _held(services: Services, station_id: str) -> dict[Key, AuthorizationData]:
    known = await services.store.run(commands.find_local_list, station_id)
    return read_entries(known["entries"]) if known else {}


async def _known_version(services: Services, station_id: str) -> int:
    known = await services.store.run(commands.find_local_list, station_id)
    return known["version"] if known else 0
