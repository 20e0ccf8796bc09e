"""Sink: a SQLite or PostgreSQL database of values (`csms.db.series`)."""

import asyncio
from collections.abc import Sequence

from csms.db.series import SeriesDatabase
from csms.domain.diagnostics.sink_records import StoredRecord


class DatabaseSink:
    """The database at `url`."""

    def __init__(self, url: str) -> None:
        self._database = SeriesDatabase(url)

    async def write(self, records: Sequence[StoredRecord]) -> None:
        """See Sink."""
        await asyncio.to_thread(self._database.write, records)

    async def erase(self, ev: str) -> None:
        """See Sink."""
        await asyncio.to_thread(self._database.erase, ev)

    async def close(self) -> None:
        """See Sink."""
        await asyncio.to_thread(self._database.close)
