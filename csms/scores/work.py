"""Watches whether the world of scores shifts (R214): then their precision and recall may no longer hold."""

import asyncio
from typing import Final, NoReturn

from csms.batteries import store as batteries
from csms.services import Services
from v2g.battery.scores import drifts

LOOK_S: Final = 21_600.0
_LEASE: Final = "score drifts"


class DriftWatch:
    """Announces each quantity that begins to differ for all vehicles (`score_drift`), and its end."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._last = frozenset[str]()

    async def run(self) -> NoReturn:
        """Look until cancelled. Raises StoreError."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S / self._services.clock.scale)

    async def look(self) -> None:
        """Look once, at the node that does. Raises StoreError."""
        services = self._services
        if not await services.leads(_LEASE, LOOK_S):
            return
        found = {each.name: each for each in drifts((await services.store.read(batteries.scored, None)).values())}
        for name in sorted(found.keys() ^ self._last):
            percent = round(100 * found[name].share) if name in found else 0
            services.announce("alerts", "score_drift", quantity=name, percent=percent, raised=name in found)
        self._last = frozenset(found)
