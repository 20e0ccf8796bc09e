"""The record of emergencies over restarts, and what a kill or a bad file leaves of it (R127)."""

import os
import stat
from pathlib import Path

import pytest

from v2g.errors import RefusedError, StoreError
from v2g.io.storage.emergency_log import FILE, UNREADABLE, EmergencyLog, EmergencyRecord

BURNS = EmergencyRecord(utc_ms=5, what="asserted", cause="thermal_runaway", evidence={"plug": 90.5, "cabinet": None})
RESET = EmergencyRecord(utc_ms=9, what="reset", reason="cable replaced")


def reopened(folder: Path, *records: EmergencyRecord) -> tuple[EmergencyRecord, ...]:
    """Append records, and return what the next program reads."""
    log = EmergencyLog.open(folder / "data" / FILE)
    for each in records:
        log.append(each)
    assert log.entries[-len(records) :] == records if records else True
    log.close()
    again = EmergencyLog.open(folder / "data" / FILE)
    again.close()
    return again.entries


def test_an_emergency_lasts_until_its_reset(tmp_path: Path) -> None:
    assert reopened(tmp_path) == ()
    assert reopened(tmp_path, BURNS) == (BURNS,)
    log = EmergencyLog.open(tmp_path / "data" / FILE)
    assert log.latched == BURNS
    log.append(RESET)
    assert log.latched is None
    log.close()
    assert reopened(tmp_path) == (BURNS, RESET)
    assert stat.S_IMODE((tmp_path / "data" / FILE).stat().st_mode) == 0o600


def test_what_is_appended_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = list[int]()
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, synced.append)
    log = EmergencyLog.open(tmp_path / FILE)
    assert len(synced) == 1  # its name
    assert log.latched is None
    log.append(BURNS)
    assert len(synced) == 2
    log.close()


def test_a_file_of_the_greatest_size_is_read_and_each_lost_line_counts_as_an_emergency(tmp_path: Path) -> None:
    line = b'{"utc_ms":1,"what":"reset"}'
    (tmp_path / "emergency.jsonl").write_bytes(line.ljust((1 << 20) - 1) + b"\n")
    log = EmergencyLog.open(tmp_path / FILE)
    assert log.entries == (EmergencyRecord(utc_ms=1, what="reset", cause="", reason=""),)
    log.close()
    (tmp_path / FILE).write_bytes(b"\0" * 20 + b"}\n" + line + b"\n{")
    log = EmergencyLog.open(tmp_path / FILE)
    lost = EmergencyRecord(utc_ms=0, what="asserted", cause="unreadable_record")
    assert log.entries == (lost, EmergencyRecord(utc_ms=1, what="reset"), lost)
    log.close()


def test_its_folders_are_made(tmp_path: Path) -> None:
    EmergencyLog.open(tmp_path / "var" / "vehicle" / FILE).close()
    assert (tmp_path / "var" / "vehicle" / FILE).exists()


def test_a_line_that_the_disk_takes_only_in_part_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EmergencyLog.open(tmp_path / FILE)
    monkeypatch.setattr(os, "write", lambda _descriptor, data: len(data) - 1)
    with pytest.raises(StoreError, match="the disk is full"):
        log.append(BURNS)
    assert log.latched is None
    log.close()


def test_two_programs_do_not_hold_it(tmp_path: Path) -> None:
    log = EmergencyLog.open(tmp_path / FILE)
    with pytest.raises(RefusedError, match="another program uses") as caught:
        EmergencyLog.open(tmp_path / FILE)
    assert caught.value.reason == "running"
    log.close()
    EmergencyLog.open(tmp_path / FILE).close()


def test_each_torn_line_is_an_emergency_until_a_reset_behind_it(tmp_path: Path) -> None:
    reopened(tmp_path, RESET, BURNS)
    whole = (tmp_path / "data" / FILE).read_bytes()
    for end in range(len(whole) - 1, whole.index(b"\n") + 1, -7):
        (tmp_path / "data" / FILE).write_bytes(whole[:end])
        log = EmergencyLog.open(tmp_path / "data" / FILE)
        assert log.latched is not None
        assert log.latched.cause == UNREADABLE
        log.close()
        entries = reopened(tmp_path, RESET)
        assert [each.what for each in entries] == ["reset", "asserted", "reset"]


@pytest.mark.parametrize(
    "content",
    [
        b'{"utc_ms":1,"what":"paused"}\n',
        b"{}\n",
        b'{"utc_ms":1,"what":"reset","reason":"' + b"x" * 501 + b'"}\n',
        b" " * ((1 << 20) + 1),
    ],
)
def test_a_file_that_is_none_keeps_the_program_from_starting(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    for _ in range(2):  # and it is released again
        with pytest.raises(StoreError, match=FILE) as caught:
            EmergencyLog.open(tmp_path / FILE)
        assert "look after the hardware" in caught.value.hint


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        EmergencyLog.open(tmp_path / "file" / FILE)


def test_a_disk_that_fails_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    log = EmergencyLog(tmp_path / FILE, os.open(tmp_path / FILE, os.O_RDONLY), ())
    with pytest.raises(StoreError, match="Bad file descriptor"):
        log.append(BURNS)
    assert log.entries == ()
    log.close()
