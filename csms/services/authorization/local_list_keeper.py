"""Keeps local authorization lists synchronised with the tokens, at stations that have one (D01)."""

import asyncio
from typing import Final

from csms.db.queries import commands
from csms.ocpp.base import Services
from csms.services.authorization import local_lists
from csms.services.stations.requests import for_each
from v2g.errors import V2GError

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
            with_list = frozenset(await self._services.store.read(commands.list_local_lists))
            here = self._services.connections.connected_here() & with_list
            await for_each(sorted(here if everybody else here & booted), self._synchronise)

    async def _synchronise(self, station_id: str) -> None:
        try:
            result = await local_lists.synchronise(self._services, station_id)
        except V2GError as error:
            self._services.report("ocpp", "local_list_not_sent", station_id, {"reason": str(error)[:255]})
            return
        reported = {"version": result.version_number, "entries": result.entries, "status": result.status}
        self._services.report("ocpp", "local_list", station_id, reported)
