"""A charger lets go of what the back end has, the oldest first, and of nothing else unless configured so."""

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from secc.retention import Bundle, BundleRetention, RetentionConfig, choose
from tests.sealing import Keys
from tests.together import together
from tests.virtual_time import in_simulated_time
from v2g.energy.settlement.bundle import Manifest
from v2g.errors import StoreError
from v2g.io.runtime.clock import wall_ns
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.journal_file import write_files
from v2g.observe import Observe

DAY_S = 86_400
MIB = 1024 * 1024


def bundles(*ages_d: float) -> list[Bundle]:
    """Return a bundle of 1 MiB of each age, named after it."""
    return [Bundle(f"{age:g}", Path(f"{age:g}"), age * DAY_S, MIB) for age in ages_d]


@together(
    ("settings", "undelivered", "gone"),
    [
        ({"max_mib": 5}, (), {}),
        ({"max_mib": 3}, (), {"9": "size", "7": "size"}),
        ({"max_mib": 1}, (), {"9": "size", "7": "size", "5": "size", "3": "size"}),
        ({"max_mib": 3}, ("9",), {"7": "size", "5": "size"}),
        ({"max_mib": 3}, ("9", "7", "5", "3"), {"1": "size"}),
        ({"max_mib": None}, (), {}),
        ({"max_mib": None, "delivered_days": 6}, (), {"9": "age", "7": "age"}),
        ({"max_mib": None, "delivered_days": 6}, ("9",), {"7": "age"}),
        ({"max_mib": None, "all_days": 6}, ("9", "7"), {"9": "age", "7": "age"}),
        ({"max_mib": 2, "all_days": 8}, ("9", "7"), {"9": "age", "5": "size", "3": "size"}),
        ({"max_mib": 3, "delivered_days": 8}, (), {"9": "age", "7": "size"}),
    ],
)
def test_what_may_go(settings: dict[str, Any], undelivered: Sequence[str], gone: dict[str, str]) -> None:
    config = RetentionConfig(**settings)
    chosen = choose(bundles(3, 9, 1, 7, 5), config, lambda each: each.session_id not in undelivered)
    assert {bundle.session_id: reason for bundle, reason in chosen} == gone


def test_what_is_young_stays_however_full_the_folder_is() -> None:
    """The meter's signatures in it are sent with the end of the transaction."""
    assert not list(choose(bundles(0.04, 0.01), RetentionConfig(max_mib=1), lambda _: True))


class Shelf:
    """The folders of a charger with two EVSEs, and a back end that has some of what is in them."""

    def __init__(self, folder: Path, keys: Keys = None, **settings: Any) -> None:
        self.keys = keys
        self.folders = [folder / "evse-1", folder / "evse-2"]
        for each in self.folders:
            each.mkdir()
        self.events: list[Observe] = []
        self.lines: dict[str, int] = {}
        self.disk = DiskThread()
        self.retention = BundleRetention(
            RetentionConfig(**settings),
            self.folders,
            self.disk,
            self.events.append,
            taken=self.taken,
            forget=self.forget,
            keys=keys,
        )

    async def taken(self) -> Mapping[str, int]:
        return dict(self.lines)

    async def forget(self, sessions: Sequence[str]) -> None:
        for each in sessions:
            self.lines.pop(each, None)

    def put(self, session_id: str, *, age_d: float, evse: int = 1, entries: int = 10, mib: float = 0.4) -> Path:
        path = self.folders[evse - 1] / session_id
        path.mkdir()
        manifest = Manifest(format="v2g-bundle/1", created_ms=1, files={}, journal_entries=entries, journal_head="00")
        write_files(path, {"manifest.json": msgspec.json.encode(manifest)}, keys=self.keys)
        (path / "journal.jsonl").write_bytes(os.urandom(int(mib * MIB)))
        then = wall_ns() / 1e9 - age_d * DAY_S
        os.utime(path, (then, then))
        return path

    def left(self) -> set[str]:
        return {path.name for folder in self.folders for path in folder.iterdir()}

    def reported(self, name: str) -> list[dict[str, Any]]:
        return [dict(event.data) for event in self.events if (event.stage, event.name) == ("settlement", name)]


async def test_bundles_of_all_evses_that_the_back_end_has_go_the_oldest_first(tmp_path: Path, keys: Keys) -> None:
    shelf = Shelf(tmp_path, keys, max_mib=1)
    for number in range(1, 6):
        shelf.put(f"session-{number}", age_d=10 - number, evse=1 + number % 2)
        shelf.lines[f"session-{number}"] = 10
    shelf.lines["session-1"] = 9  # one line of it the back end has not accepted
    await shelf.retention.let_go()
    await shelf.disk.close()
    assert shelf.left() == {"session-1", "session-5"}
    reported = shelf.reported("bundle_removed")
    assert [(each["session_id"], each["reason"]) for each in reported] == [(f"session-{n}", "size") for n in (2, 3, 4)]
    assert all(400 < each["kib"] < 500 for each in reported)
    assert shelf.lines == {"session-1": 9, "session-5": 10}


async def test_without_a_back_end_nothing_goes_and_that_is_reported_once(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, max_mib=1)
    for number in range(4):
        shelf.put(f"session-{number}", age_d=1000)
    await shelf.retention.let_go()
    await shelf.retention.let_go()
    await shelf.disk.close()
    assert len(shelf.left()) == 4
    assert shelf.reported("bundles_too_large") == [{"mib": 1, "bundles": 4}]
    assert not shelf.reported("bundle_removed")


async def test_without_a_back_end_an_age_is_obeyed_that_was_configured(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, all_days=30)
    shelf.put("old", age_d=31)
    shelf.put("new", age_d=29)
    await shelf.retention.let_go()
    await shelf.disk.close()
    assert shelf.left() == {"new"}


async def test_a_bundle_whose_manifest_cannot_be_read_stays(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, delivered_days=1)
    (shelf.put("broken", age_d=9) / "manifest.json").write_text("{")
    (shelf.put("without", age_d=9) / "manifest.json").unlink()
    for path in shelf.folders[0].iterdir():
        os.utime(path, (1, 1))
    shelf.lines = {"broken": 99, "without": 99}
    await shelf.retention.let_go()
    await shelf.disk.close()
    assert shelf.left() == {"broken", "without"}


async def test_a_bundle_is_whole_or_gone_when_the_program_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(tmp_path, all_days=1)
    shelf.put("session", age_d=9)
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", _killed)
    with pytest.raises(StoreError):
        await shelf.retention.let_go()
    assert shelf.left() == {".session"}
    monkeypatch.setattr(Path, "unlink", unlink)
    await shelf.retention.let_go()
    await shelf.disk.close()
    assert shelf.left() == set()


def _killed(path: Path, *_: object, **__: object) -> None:
    raise OSError(5, "killed", str(path))


def test_it_looks_again_and_again_and_no_disk_is_touched_by_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the folders nor what is in them: the loop charges."""
    threads, rounds = set[str](), list[float]()
    for name in ("iterdir", "stat", "unlink", "rmdir", "rename", "read_bytes"):
        monkeypatch.setattr(Path, name, _noted(getattr(Path, name), threads))

    async def play() -> None:
        shelf = Shelf(tmp_path, delivered_days=1)
        shelf.put("session", age_d=9)
        shelf.lines["session"] = 10
        threads.clear()
        taken = shelf.taken

        async def counted() -> Mapping[str, int]:
            rounds.append(asyncio.get_running_loop().time())
            return await taken()

        retention = BundleRetention(
            RetentionConfig(delivered_days=1), shelf.folders, shelf.disk, shelf.events.append,
            taken=counted, forget=shelf.forget,
        )  # fmt: skip
        task = asyncio.create_task(retention.run())
        while len(rounds) < 3:
            await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        found = set(threads)
        assert shelf.left() == set()
        assert found == {"disk"}

    in_simulated_time(play())
    assert rounds[1] - rounds[0] >= 3600


def _noted(work: Any, threads: set[str]) -> Any:
    def noted(*arguments: Any, **options: Any) -> Any:
        threads.add(threading.current_thread().name)
        return work(*arguments, **options)

    return noted
