"""Functional block D: local authorization lists, kept synchronised with the token store (D01)."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from csms.device_model.work import items_per_message
from csms.requests.work import call, for_each
from csms.services import Services
from csms.tokens import rules
from csms.tokens import store as tokens
from csms.tokens.work import token_info
from v2g.errors import V2GError
from v2g.ocpp.messages import authorization as ocpp


class SentList(msgspec.Struct, frozen=True):
    """A station's list after an update: its version, number of entries, and the last answer."""

    version: int
    entries: int
    status: ocpp.SendLocalListStatus


async def version_of(services: Services, station_id: str) -> int:
    """Get the version of a station's list; 0 is none (D02)."""
    response = await call(services, station_id, ocpp.GetLocalListVersionRequest(), ocpp.GetLocalListVersionResponse)
    return response.version_number


async def replace(services: Services, station_id: str) -> SentList:
    """Send the complete list (D01.FR.15), as many entries a message as the station supports."""
    wanted = await _wanted(services, station_id)
    version = max(await version_of(services, station_id), await _known_version(services, station_id)) + 1
    limit = await _limit(services, station_id, len(wanted))
    return await _send(services, station_id, rules.full(wanted.values(), version, limit))


async def clear(services: Services, station_id: str) -> SentList:
    """Empty a station's list (D01.FR.04)."""
    version = max(await version_of(services, station_id), await _known_version(services, station_id)) + 1
    return await _send(services, station_id, rules.full((), version, 1))


async def change(
    services: Services, station_id: str, put: Iterable[ocpp.AuthorizationData] = (), remove: Iterable[rules.Key] = ()
) -> SentList:
    """Add, change and remove entries (D01.FR.16, .17). A station that rejects gets the complete list (D01.FR.03)."""
    entries = (*put, *map(rules.removal, remove))
    version = await version_of(services, station_id)
    limit = await _limit(services, station_id, len(entries))
    result = await _send(services, station_id, rules.differential(entries, version + 1, limit))
    return result if result.status == "Accepted" else await replace(services, station_id)


async def synchronise(services: Services, station_id: str) -> SentList:
    """Synchronise a station's list: by differences, or completely when the station has another version."""
    known = await services.store.run(tokens.find_local_list, station_id)
    if known is None or known["status"] != "Accepted" or await version_of(services, station_id) != known["version"]:
        return await replace(services, station_id)
    held, wanted = rules.read_entries(known["entries"]), await _wanted(services, station_id)
    changes = rules.difference(held, wanted)
    if not changes:
        return SentList(known["version"], len(held), "Accepted")
    limit = await _limit(services, station_id, len(changes))
    result = await _send(services, station_id, rules.differential(changes, known["version"] + 1, limit))
    return result if result.status == "Accepted" else await replace(services, station_id)


async def forget(services: Services, station_id: str, token: ocpp.IdToken) -> SentList | None:
    """Remove a customer from a station's list, if listed (N10.FR.02)."""
    keys = (
        rules.entries_of([ocpp.AuthorizationData(id_token=token)], "2.1").keys()
        & (await _held(services, station_id)).keys()
    )
    return await change(services, station_id, remove=keys) if keys else None


async def _send(services: Services, station_id: str, requests: Sequence[ocpp.SendLocalListRequest]) -> SentList:
    """Send messages in turn, until one is not accepted; the list is recorded after each."""
    status: ocpp.SendLocalListStatus = "Accepted"
    for request in requests:
        status = (await call(services, station_id, request, ocpp.SendLocalListResponse)).status
        if status != "Accepted":
            break
    held = await _held(services, station_id)
    return SentList(await _known_version(services, station_id), len(held), status)


async def _limit(services: Services, station_id: str, entries: int) -> int:
    """Return the number of entries in a message; the station is asked only if it matters (D01.FR.11)."""
    if entries <= rules.MAX_ENTRIES:
        return rules.MAX_ENTRIES
    return await items_per_message(services, station_id, "LocalAuthListCtrlr", None, rules.MAX_ENTRIES)


async def _wanted(services: Services, station_id: str) -> rules.Entries:
    known = await services.store.read(tokens.list_known)
    where = rules.Where(station_id, None, services.clock.utc_ms())
    data = (
        ocpp.AuthorizationData(
            id_token=ocpp.IdToken(type=each.token.type, id_token=each.token.id_token),
            id_token_info=token_info(rules.lasting(rules.answer_known(each, where))),
        )
        for each in known
    )
    return rules.entries_of(data, services.connections.version(station_id) or "2.0.1")


async def _held(services: Services, station_id: str) -> dict[rules.Key, ocpp.AuthorizationData]:
    known = await services.store.run(tokens.find_local_list, station_id)
    return rules.read_entries(known["entries"]) if known else {}


async def _known_version(services: Services, station_id: str) -> int:
    known = await services.store.run(tokens.find_local_list, station_id)
    return known["version"] if known else 0


_SETTLE_S: Final = 2.0
"""How long changes of tokens are collected: an import has many at once."""

_CHANGES: Final = frozenset({"token_put", "token_status", "token_removed", "token_group_put"})
_BOOT: Final = "boot_accepted"


class LocalListKeeper:
    """Synchronises the lists of stations that are connected here: all after tokens changed, one after its boot.

    The first list of a station is sent by an operator; stations without one are left alone.
    """

    def __init__(self, services: Services, settle_s: float = _SETTLE_S) -> None:
        self._services = services
        self._settle_s = settle_s
        self._booted: set[str] = set()
        self._tokens_changed = False
        self._work = asyncio.Event()

    async def run(self) -> None:
        """Run for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._keep())

    async def _listen(self) -> None:
        with self._services.feed.subscribe({*_CHANGES, _BOOT}) as events:
            async for event in events:
                if event.kind == _BOOT and event.station_id is not None:
                    self._booted.add(event.station_id)
                else:  # tokens changed, or events were lost
                    self._tokens_changed = True
                self._work.set()

    async def _keep(self) -> None:
        while True:
            await self._work.wait()
            await asyncio.sleep(self._settle_s)
            self._work.clear()
            everybody, booted = self._tokens_changed, self._booted
            self._tokens_changed, self._booted = False, set()
            with_list = frozenset(await self._services.store.read(tokens.list_local_lists))
            here = self._services.connections.connected_here() & with_list
            await for_each(sorted(here if everybody else here & booted), self._synchronise)

    async def _synchronise(self, station_id: str) -> None:
        try:
            result = await synchronise(self._services, station_id)
        except V2GError as error:
            self._services.report("ocpp", "local_list_not_sent", station_id, {"reason": str(error)[:255]})
            return
        reported = {"version": result.version, "entries": result.entries, "status": result.status}
        self._services.report("ocpp", "local_list", station_id, reported)
