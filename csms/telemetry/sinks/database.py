"""Sink: a SQLite or PostgreSQL database of values (`csms.telemetry.series`)."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from csms.telemetry.rules import StoredRecord
from csms.telemetry.series import SeriesDatabase

CLOSE_S: Final = 2.0
"""How long closing waits for a batch under way, before it is broken off."""


class DatabaseSink:
    """The database at `url`, with a thread of its own: one that is slow must not hold what others need."""

    def __init__(self, url: str) -> None:
        self._database = SeriesDatabase(url)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database-sink")

    async def write(self, records: Sequence[StoredRecord]) -> None:
        """See Sink."""
        await self._do(self._database.write, records)

    async def erase(self, ev: str) -> None:
        """See Sink."""
        await self._do(self._database.erase, ev)

    async def close(self) -> None:
        """See Sink. Callers of what is broken off get StoreError, and repeat it."""
        self._database.hurry(CLOSE_S)
        await self._do(self._database.close)
        self._thread.shutdown()

    async def _do(self, work: Callable[..., None], *arguments: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
