"""The vehicle's file of checkpoints: durable before the receipt, for its owner only, and bounded."""

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest

from evcc.checkpoints import CheckpointsConfig, CheckpointStore, kept, line_of
from evcc.session.ports import CheckpointStored, SetPowerLimits, StoreCheckpoint
from tests.sealing import Keys, new_keys
from v2g.energy.settlement.checkpoints import Copy, encode_copy, read_copies
from v2g.errors import StoreError
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.record_keys import is_sealed, open_lines
from v2g.observe import Observe

pytestmark = pytest.mark.requirement("R25")


class Kept:
    """A store in a folder, and what it says."""

    def __init__(self, file: Path | None, keys: Keys = None, **config: int) -> None:
        self.file, self.keys, self.published, self.reported = file, keys, list[Copy](), list[Observe]()
        self.disk = DiskThread()
        made = None if file is None else CheckpointsConfig(file=file, **config)
        self.store = CheckpointStore(made, self.disk, self.reported.append, self.publish, keys)

    def publish(self, copy: Copy) -> None:
        assert self.file is None or copy in self.copies()  # stored first
        self.published.append(copy)

    def copies(self) -> list[Copy]:
        assert self.file is not None
        data = open_lines(self.file.read_bytes(), self.keys, self.file.name)
        return [copy for _, copy in read_copies(data, name="file")]

    async def keep(self, number: int, size: int = 400) -> Any:
        command = StoreCheckpoint(session_id=bytes(8), number=number, checkpoint=bytes(size), receipt=bytes(size))
        outcome = self.store.execute(command, lambda _: None)
        assert asyncio.iscoroutine(outcome)
        return await outcome


async def test_copies_are_stored_in_order_for_their_owner_only(tmp_path: Path, keys: Keys) -> None:
    store = Kept(tmp_path / "data" / "checkpoints.jsonl", keys)
    for number in (1, 2, 3):
        assert await store.keep(number) == CheckpointStored(number)
    assert [copy.number for copy in store.copies()] == [1, 2, 3]
    assert store.published == store.copies()
    assert store.file is not None
    assert stat.S_IMODE(store.file.stat().st_mode) == 0o600
    await store.disk.close()


async def test_a_full_file_loses_its_older_half(tmp_path: Path, keys: Keys) -> None:
    store = Kept(tmp_path / "checkpoints.jsonl", keys, max_kib=64)
    sizes = []
    for number in range(1, 100):
        await store.keep(number)
        sizes.append((tmp_path / "checkpoints.jsonl").stat().st_size)
    assert max(sizes) <= 64 * 1024
    numbers = [copy.number for copy in store.copies()]
    assert numbers == list(range(numbers[0], 100))
    assert len(numbers) > 20
    await store.disk.close()


async def test_a_line_torn_by_a_power_cut_is_dropped(tmp_path: Path, keys: Keys) -> None:
    store = Kept(tmp_path / "checkpoints.jsonl", keys)
    await store.keep(1)
    whole = (tmp_path / "checkpoints.jsonl").read_bytes()
    (tmp_path / "checkpoints.jsonl").write_bytes(whole + whole[:100])
    await store.keep(2)
    assert [copy.number for copy in store.copies()] == [1, 2]
    await store.disk.close()


async def test_what_cannot_be_stored_is_not_countersigned(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Kept(tmp_path / "file" / "checkpoints.jsonl")
    assert await store.keep(1) == CheckpointStored(1, stored=False)
    assert [each.name for each in store.reported] == ["checkpoint_not_stored"]
    assert store.published == []
    await store.disk.close()


async def test_without_a_file_checkpoints_are_only_published() -> None:
    store = Kept(None)
    assert await store.keep(1) == CheckpointStored(1)
    assert [copy.number for copy in store.published] == [1]
    other = SetPowerLimits(0, 0)
    assert store.store.execute(other, lambda command: None if command is other else pytest.fail("another")) is None


@pytest.mark.requirement("R145")
async def test_sealed_copies_reach_readers_who_were_away_and_no_one_else(tmp_path: Path) -> None:
    file, keys = tmp_path / "checkpoints.jsonl", new_keys(tmp_path / "keys")
    store = Kept(file, keys)
    for number in (1, 2):
        await store.keep(number)
    assert b"checkpoint" not in file.read_bytes()
    config = CheckpointsConfig(file=file)
    assert list(kept(config, keys)) == [line_of(encode_copy(copy)) for copy in store.published]
    assert await Kept(file).store.execute(  # type: ignore[misc]
        StoreCheckpoint(session_id=bytes(8), number=3, checkpoint=b"c", receipt=b"r"), lambda _: None
    ) == CheckpointStored(3, stored=False)
    with pytest.raises(StoreError, match="is sealed"):
        list(kept(config))
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[1])
    with pytest.raises(StoreError, match="does not open"):
        list(kept(config, keys))
    await store.disk.close()


@pytest.mark.requirement("R145")
async def test_a_plain_file_goes_on_and_is_sealed_when_it_is_written_anew(tmp_path: Path) -> None:
    file, keys = tmp_path / "checkpoints.jsonl", new_keys(tmp_path / "keys")
    plain = Kept(file, max_kib=64)
    await plain.keep(1)
    await plain.disk.close()
    store = Kept(file, keys, max_kib=64)
    sealed = []
    for number in range(2, 60):
        await store.keep(number)
        sealed.append(is_sealed(file.read_bytes()))
    assert not sealed[0]
    assert sealed[-1]
    assert store.copies()[-1].number == 59
    await store.disk.close()
