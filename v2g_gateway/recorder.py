"""Brings records into the outbox: in order, several in one commit, by priority (R97, R102)."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from v2g.errors import StoreError
from v2g.io.storage.outbox import Gap, Outbox, OutboxEntry
from v2g.telemetry.batch import PROMPT_S
from v2g.telemetry.priority import Prioritiser, Priority
from v2g.telemetry.signals import Record, encode_record

COMMIT_S: Final = 0.2
"""Minimum interval of commits for records that are neither urgent nor prompt: each commit waits for the disk."""

MOST_HELD: Final = 1000
"""Records that may wait for a disk that fails."""


class OutboxRecorder:
    """Runs as a task beside the one that makes records. A failed commit is tried again with the same records."""

    def __init__(
        self,
        outbox: Outbox,
        prioritiser: Prioritiser,
        *,
        on_stored: Callable[[list[Record], int, bool], Awaitable[None]],
        on_boot: Callable[[int], None],
    ) -> None:
        """`on_stored(records, dropped, prompt)` is called after each commit, `on_boot` with a new boot's number."""
        self._outbox, self._prioritiser = outbox, prioritiser
        self._on_stored, self._on_boot = on_stored, on_boot
        self._held: deque[tuple[Record, OutboxEntry]] = deque()
        self._urgent = self._prompt = False
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._committing = asyncio.Lock()
        self._now = asyncio.get_running_loop().time

    def add(self, record: Record, reports: Gap | None = None, *, prompt: bool = False) -> None:
        """Take a record, of which the outbox must have all earlier ones; perhaps it reports a gap. A `prompt` one does
        not wait for others."""
        priority = self._prioritiser.priority(record)
        entry = OutboxEntry(
            record.seq, encode_record(record), priority, record.utc_ms, boot=record.boot, reports=reports
        )
        self._held.append((record, entry))
        self._urgent |= priority <= Priority.SAFETY
        self._prompt |= prompt
        if len(self._held) >= MOST_HELD:
            self._room.clear()
        self._news.set()

    @property
    def empty(self) -> bool:
        """Whether everything is in the outbox."""
        return not self._held

    async def room(self) -> None:
        """Return when a record can be taken."""
        await self._room.wait()

    async def run(self) -> None:
        """Commit records until cancelled. Raises StoreError; another call goes on."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.commit()
            done = self._now()
            while not self._urgent and self._now() < (until := done + (PROMPT_S if self._prompt else COMMIT_S)):
                try:
                    async with asyncio.timeout_at(until):
                        await self._news.wait()
                        self._news.clear()
                except TimeoutError:
                    break
            if self._held:
                self._news.set()

    async def stored(self) -> None:
        """Return once the outbox has all that was taken, however long the disk fails, which `run` reports."""
        while True:
            try:
                return await self.commit()
            except StoreError:
                await asyncio.sleep(COMMIT_S)

    async def commit(self) -> None:
        """Bring everything into the outbox. Raises StoreError."""
        async with self._committing:
            held, prompt = list(self._held), self._prompt
            self._urgent = self._prompt = False
            if not held:
                return
            try:
                dropped = await self._outbox.put_all([entry for _, entry in held])
            except BaseException:
                self._prompt |= prompt
                self._news.set()
                raise
            for _ in held:
                self._held.popleft()
            self._room.set()
            try:
                if self._outbox.crowded:  # also the next time, if this fails
                    self._on_boot(await self._outbox.next_boot())
            finally:
                await self._on_stored([record for record, _ in held], dropped, prompt)
