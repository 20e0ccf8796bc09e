"""Files of events and log stay bounded, lose no line, and keep nobody waiting; others may rename them, too."""

import asyncio
import json
import logging
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from v2g.errors import StoreError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.program import OrderlyEnd, start_log, until_signalled
from v2g.io.storage.growing_file import GrowingFile, LogFiles, generations, reopen_all
from v2g.observe import Observe
from v2g_cli.demo.processes import EventFile


def at_once(work: Callable[[], None]) -> None:
    work()


def opened(path: Path, *, keep: int, max_bytes: int = 50) -> GrowingFile:
    """Five lines of `put` fill it."""
    return GrowingFile(path, max_bytes=max_bytes, keep=keep, beside=at_once)


def put(file: GrowingFile, *numbers: int) -> None:
    for number in numbers:
        file.append(f"{number:9}\n".encode())


def held(path: Path) -> list[list[int]]:
    """Return the numbers in each file, the newest first."""
    return [[int(line) for line in each.read_text().splitlines()] for each in generations(path)]


@pytest.mark.parametrize(("keep", "kept"), [(0, []), (1, [[15, 16, 17, 18, 19]]), (3, 3), (9, 4)])
def test_full_files_are_kept_as_many_as_wanted(tmp_path: Path, keep: int, kept: list[list[int]] | int) -> None:
    path = tmp_path / "events.jsonl"
    file = opened(path, keep=keep)
    put(file, *range(22))
    file.close()
    newest, *full = held(path)
    assert newest == [20, 21]
    assert full == kept if isinstance(kept, list) else len(full) == kept
    together = [number for part in reversed(full) for number in part]
    assert together == list(range(20 - len(together), 20))
    assert {each.stat().st_mode & 0o777 for each in generations(path)} == {0o600}


def test_fewer_are_kept_once_fewer_are_wanted(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = opened(path, keep=4)
    put(file, *range(21))
    file.close()
    assert len(held(path)) == 5
    file = opened(path, keep=2)
    put(file, *range(21, 26))
    file.close()
    assert held(path) == [[25], [20, 21, 22, 23, 24], [15, 16, 17, 18, 19]]


def test_lines_go_on_into_the_full_file_until_a_thread_has_made_a_new_one(tmp_path: Path) -> None:
    """Nobody who writes renames, opens or closes anything."""
    waiting: list[Callable[[], None]] = []
    path = tmp_path / "events.jsonl"
    file = GrowingFile(path, max_bytes=50, keep=2, beside=waiting.append)
    put(file, *range(8))
    assert len(waiting) == 1
    assert held(path) == [list(range(8))]
    thread = threading.Thread(target=waiting.pop())
    thread.start()
    thread.join()
    put(file, 8)
    file.close()
    assert held(path) == [[8], list(range(8))]


def test_a_disk_that_does_not_rename_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    go, replace = threading.Event(), Path.replace

    def slow(self: Path, target: Path) -> Path:
        go.wait()
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", slow)
    file = GrowingFile(path, max_bytes=50, keep=1)
    put(file, *range(100))
    assert held(path) == [list(range(100))]
    threads = [each for each in threading.enumerate() if each.name == "files"]
    go.set()
    for each in threads:
        each.join()
    put(file, 100)
    file.close()
    assert held(path) == [[100], list(range(100))]


def test_a_file_that_cannot_be_renamed_grows_on_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "events.jsonl"
    in_the_way = tmp_path / "events.jsonl.1"
    in_the_way.mkdir()
    file = opened(path, keep=1)
    put(file, *range(12))
    assert [int(line) for line in path.read_text().splitlines()] == list(range(12))
    assert len(caplog.records) == 2
    in_the_way.rmdir()
    put(file, *range(12, 16))
    file.close()
    assert held(path) == [[15], list(range(15))]


def test_a_file_that_another_program_renamed_is_made_anew_when_asked(tmp_path: Path) -> None:
    """As logrotate does: rename, then SIGHUP. Until then the renamed file is written to."""
    path, moved = tmp_path / "events.jsonl", tmp_path / "events.jsonl-20261121"
    file = opened(path, keep=1, max_bytes=10_000)
    put(file, 1)
    path.rename(moved)
    put(file, 2)
    reopen_all()
    put(file, 3)
    file.close()
    reopen_all()
    assert [int(line) for line in moved.read_text().splitlines()] == [1, 2]
    assert held(path) == [[3]]


def test_a_full_file_that_is_gone_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = opened(path, keep=1)
    path.unlink()
    put(file, *range(6))
    file.close()
    assert held(path) == [[5]]


async def test_sighup_opens_the_files_of_a_program_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.isatty", lambda _: False)
    path = tmp_path / "events.jsonl"
    file = opened(path, keep=1)

    async def program() -> int:
        path.rename(tmp_path / "old")
        signal.raise_signal(signal.SIGHUP)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return 0

    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored
    assert await until_signalled(program(), 130, OrderlyEnd()) == 0
    signal.signal(signal.SIGHUP, before)
    file.close()
    assert path.exists()


def test_a_program_logs_to_a_file_and_what_the_disk_does_not_take_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secc.log"
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        start_log(LogFiles(file=path, level="warning"))
        logging.getLogger("secc").warning("voltage \x1b[31m at\nthe output \udce4")
        logging.getLogger("secc").info("not this")
        assert capsys.readouterr().err == ""
        start_log(LogFiles(file=Path("/dev/full")))
        logging.getLogger("secc").info("kept anyway")
        assert "kept anyway" in capsys.readouterr().err
        with pytest.raises(StoreError, match="No such file"):
            start_log(LogFiles(file=tmp_path / "none" / "secc.log"))
    finally:
        for each in root.handlers:
            each.close()
        root.handlers[:] = before
        root.setLevel(level)
    (line,) = path.read_text().splitlines()
    assert "WARNING secc: voltage" in line
    assert "\x1b" not in line


# -- reading while they are renamed -------------------------------------------------------------------------------


def log_of(path: Path, *, keep: int) -> GrowingFile:
    return GrowingFile(path, max_bytes=450, keep=keep, beside=at_once)


def tell(file: GrowingFile, *numbers: int) -> None:
    for number in numbers:
        data = {"number": number}
        event = {"t": 1.0, "utc_ms": 1, "process": "secc", "stage": "loop", "name": "response", "data": data}
        file.append(json.dumps(event).encode() + b"\n")


def seen(events: EventFile) -> list[int]:
    return [event.data["number"] for event in events.read()]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 11])
def test_who_follows_events_misses_none_and_sees_none_twice(tmp_path: Path, step: int) -> None:
    """Though several files were full since the last look."""
    path = tmp_path / "events.jsonl"
    file, events, numbers = log_of(path, keep=4), EventFile(path), list[int]()
    assert seen(events) == []
    for begin in range(0, 60, step):
        tell(file, *range(begin, min(60, begin + step)))
        numbers += seen(events)
    file.close()
    assert numbers == list(range(60))
    assert len(generations(path)) == 5


def test_what_goes_into_a_full_file_while_a_new_one_is_made_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file, events = log_of(path, keep=2), EventFile(path)
    tell(file, 1, 2)
    assert seen(events) == [1, 2]
    path.rename(tmp_path / "events.jsonl.1")
    path.touch()  # here the thread is stopped that renames
    tell(file, 3)
    assert seen(events) == [3]
    tell(file, 4)
    file.reopen()
    tell(file, 5)
    file.close()
    assert seen(events) == [4, 5]


def test_who_was_away_for_too_long_goes_on_with_the_oldest_that_is_left(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file, events = log_of(path, keep=1), EventFile(path)
    tell(file, 0)
    assert seen(events) == [0]
    tell(file, *range(1, 30))
    file.close()
    *numbers, last = seen(events)
    kept = [number for number in numbers if number > 20]
    assert [*kept, last] == list(range(kept[0], 30))
    assert numbers == [*range(1, 5), *kept]  # the one that was being read is read to its end, though it was removed


def test_a_file_that_is_cut_or_thrown_away_is_read_from_its_beginning(tmp_path: Path) -> None:
    """As logrotate's copytruncate does, and `keep = 0`."""
    path = tmp_path / "events.jsonl"
    file, events = log_of(path, keep=0), EventFile(path)
    tell(file, 1, 2)
    assert seen(events) == [1, 2]
    with path.open("r+b") as cut:
        cut.truncate(0)
    tell(file, 3)
    assert seen(events) == [3]
    tell(file, 4, 5, 6, 7)
    assert seen(events)[-1:] == [7]
    file.close()


def test_events_are_bounded_as_the_configuration_says(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog("secc", Clock(), path, files=LogFiles(max_mib=1, keep=0))
    for _ in range(3):
        log(Observe("loop", "response", {"text": "x" * 400_000}))
    for each in [each for each in threading.enumerate() if each.name == "files"]:
        each.join()
    log.close()
    assert [each.stat().st_size for each in generations(path)] == [0]
