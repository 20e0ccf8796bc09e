"""The carrier of journal lines ends when it is told to."""

import asyncio
from types import SimpleNamespace
from typing import Any

from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g_station.journal_uploader import JournalUploader


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
