"""The carrier of journal lines ends when it is told to."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from v2g.errors import StoreError, TransportError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g_station.journal_uploader import JournalUploader
from v2g_station.store import QueuedLines


class _Store:
    """Holds no lines, and counts how often it is read; the first time it fails."""

    def __init__(self) -> None:
        self.reads = 0

    def next_lines(self, _limit: int, _max_characters: int) -> None:
        self.reads += 1
        if self.reads == 1:
            raise StoreError("the disk is full")


def uploader_of(store: Any, runner: Any, disk: DiskThread) -> JournalUploader:
    """Return an uploader that reports nothing."""
    return JournalUploader(
        "CS", store, runner, disk, Clock(), lambda _: None, received=lambda *_: None, delivered=lambda: None
    )


async def test_the_store_is_read_again_after_a_failure_and_then_only_for_lines_that_are_queued() -> None:
    runner: Any = SimpleNamespace(online=asyncio.Event(), core=SimpleNamespace(outbox=()))
    runner.online.set()
    store: Any = _Store()
    disk = DiskThread()
    uploader = uploader_of(store, runner, disk)
    with pytest.raises(StoreError):
        await uploader.run()
    task = asyncio.create_task(uploader.run())
    try:
        for reads, look in ((2, uploader.wake), (2, uploader.wake), (3, uploader.queued), (3, uploader.wake)):
            look()
            for _ in range(3):  # what was asked of the disk before is done
                await asyncio.sleep(0)
                await disk.ask(lambda: None)
            assert store.reads == reads
    finally:
        task.cancel()
        await asyncio.wait({task})
        await disk.close()


async def test_it_ends_also_when_something_wakes_it_at_that_very_moment() -> None:
    tried = asyncio.Event()

    async def call(*_: object) -> None:
        tried.set()
        raise TransportError("the connection was cut")

    runner: Any = SimpleNamespace(online=asyncio.Event(), core=SimpleNamespace(outbox=()), call=call)
    runner.online.set()
    lines = QueuedLines(1, "s-1", ("{}",))
    store: Any = SimpleNamespace(next_lines=lambda *_: lines)
    disk = DiskThread()
    uploader = uploader_of(store, runner, disk)
    task = asyncio.create_task(uploader.run())
    await tried.wait()  # lines wait for another attempt
    await asyncio.sleep(0)
    uploader.wake()
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=0.5)
    assert done
    assert task.cancelled()
    await disk.close()
