"""Deletes old data as configured, in small steps that let other operations of the store proceed."""

import asyncio
import logging
from typing import Final

import msgspec

from csms.retention import store as retention
from csms.services import Services
from v2g import typed_json
from v2g.errors import StoreError
from v2g.units import DAY_MS

_log = logging.getLogger(__name__)

_PAUSE_S: Final = 0.05
_INTERVAL_S: Final = 3600.0


async def let_go(services: Services) -> dict[str, int]:
    """Delete all data that is old enough; return how many rows, by kind. Raises StoreError."""
    deleted: dict[str, int] = {}
    now_ms = services.clock.utc_ms()
    for name, days in msgspec.structs.asdict(services.config.retention).items():
        kind: retention.Kind = typed_json.convert(name.removesuffix("_days"), retention.Kind)
        if days is None:
            continue
        while count := await services.store.run(retention.delete_old, kind, now_ms - days * DAY_MS):
            deleted[kind] = deleted.get(kind, 0) + count
            await asyncio.sleep(_PAUSE_S)
    return deleted


async def run_retention(services: Services) -> None:
    """Do that every hour, for ever."""
    while True:
        try:
            deleted = await let_go(services)
            await asyncio.to_thread(services.store.delete_copies)
        except (StoreError, OSError) as error:
            _log.warning("deletion of old data failed: %s", error)
        else:
            if deleted:
                _log.info("deleted old data: %s", ", ".join(f"{n} {kind}" for kind, n in deleted.items()))
        await asyncio.sleep(_INTERVAL_S)
