"""The vehicle's file of checkpoints: durable before the receipt, for its owner only, and bounded."""

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest

from evcc.checkpoints import CheckpointsConfig, CheckpointStore
from evcc.session.ports import CheckpointStored, SetPowerLimits, StoreCheckpoint
from v2g.energy.settlement.checkpoints import Copy, read_copies
from v2g.io.runtime.disk import DiskThread
from v2g.observe import Observe

pytestmark = pytest.mark.requirement("R25")


class Kept:
    """A store in a folder, and what it says."""

    def __init__(self, file: Path | None, **config: int) -> None:
        self.file, self.published, self.told = file, list[Copy](), list[Observe]()
        self.disk = DiskThread()
        made = None if file is None else CheckpointsConfig(file=file, **config)
        self.store = CheckpointStore(made, self.disk, self.told.append, self.publish)

    def publish(self, copy: Copy) -> None:
        assert self.file is None or copy in self.copies()  # stored first
        self.published.append(copy)

    def copies(self) -> list[Copy]:
        assert self.file is not None
        return [copy for _, copy in read_copies(self.file.read_bytes(), name="file")]

    async def keep(self, number: int, size: int = 400) -> Any:
        command = StoreCheckpoint(session_id=bytes(8), number=number, checkpoint=bytes(size), receipt=bytes(size))
        outcome = self.store.execute(command, lambda _: None)
        assert asyncio.iscoroutine(outcome)
        return await outcome


async def test_copies_are_stored_in_order_for_their_owner_only(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "data" / "checkpoints.jsonl")
    for number in (1, 2, 3):
        assert await kept.keep(number) == CheckpointStored(number)
    assert [copy.number for copy in kept.copies()] == [1, 2, 3]
    assert kept.published == kept.copies()
    assert kept.file is not None
    assert stat.S_IMODE(kept.file.stat().st_mode) == 0o600
    await kept.disk.close()


async def test_a_full_file_loses_its_older_half(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "checkpoints.jsonl", max_kib=64)
    sizes = []
    for number in range(1, 100):
        await kept.keep(number)
        sizes.append((tmp_path / "checkpoints.jsonl").stat().st_size)
    assert max(sizes) <= 64 * 1024
    numbers = [copy.number for copy in kept.copies()]
    assert numbers == list(range(numbers[0], 100))
    assert len(numbers) > 20
    await kept.disk.close()


async def test_a_line_torn_by_a_power_cut_is_dropped(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "checkpoints.jsonl")
    await kept.keep(1)
    whole = (tmp_path / "checkpoints.jsonl").read_bytes()
    (tmp_path / "checkpoints.jsonl").write_bytes(whole + whole[:100])
    await kept.keep(2)
    assert [copy.number for copy in kept.copies()] == [1, 2]
    await kept.disk.close()


async def test_what_cannot_be_stored_is_not_countersigned(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = Kept(tmp_path / "file" / "checkpoints.jsonl")
    assert await kept.keep(1) == CheckpointStored(1, stored=False)
    assert [each.name for each in kept.told] == ["checkpoint_not_stored"]
    assert kept.published == []
    await kept.disk.close()


async def test_without_a_file_checkpoints_are_only_published() -> None:
    kept = Kept(None)
    assert await kept.keep(1) == CheckpointStored(1)
    assert [copy.number for copy in kept.published] == [1]
    other = SetPowerLimits(0, 0)
    assert kept.store.execute(other, lambda command: None if command is other else pytest.fail("another")) is None
