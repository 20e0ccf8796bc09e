"""The carrier of journal lines ends when it is told to."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from v2g.errors import StoreError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g_station.journal_uploader import JournalUploader


class _Store:
    """Holds no lines, and counts how often it is read; the first time it fails."""

    def __init__(self) -> None:
        self.reads = 0

    def next_lines(self, _limit: int, _max_characters: int) -> None:
        self.reads += 1
        if self.reads == 1:
            raise StoreError("the disk is full")


async def test_the_store_is_read_again_after_a_failure_and_then_only_for_lines_that_are_queued() -> None:
    runner: Any = SimpleNamespace(online=asyncio.Event(), core=SimpleNamespace(outbox=()))
    runner.online.set()
    store: Any = _Store()
    disk = DiskThread()
    uploader = JournalUploader(
        "CS",
        store,
        runner,
        disk,
        Clock(),
        lambda _: None,
        received=lambda session_id, receipt: None,
        delivered=lambda: None,
    )
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
    runner: Any = SimpleNamespace(online=asyncio.Event())
    uploader = JournalUploader(
        "CS",
        None,
        runner,
        DiskThread(),
        Clock(),
        lambda _: None,
        received=lambda session_id, receipt: None,
        delivered=lambda: None,  # type: ignore[arg-type]  # offline: none is read
    )
    uploader._not_before = Clock().monotonic() + 100  # lines wait for another attempt
    task = asyncio.create_task(uploader.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    uploader.wake()
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=0.5)
    assert done
    assert task.cancelled()
