"""The record of emergencies over restarts, and what a kill or a bad file leaves of it (R127)."""

import os
import stat
from pathlib import Path

import pytest

from v2g.errors import RefusedError, StoreError
from v2g.io.storage.emergency_log import FILE, MOST_BYTES, UNREADABLE, EmergencyLog, EmergencyRecord

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


def test_two_programs_do_not_hold_it(tmp_path: Path) -> None:
    log = EmergencyLog.open(tmp_path / FILE)
    with pytest.raises(RefusedError, match="another program uses"):
        EmergencyLog.open(tmp_path / FILE)
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
        b'{"utc_ms":1,"what":"reset","extra":1}\n',
        b'{"utc_ms":1,"what":"reset","reason":"' + b"x" * 501 + b'"}\n',
        b" " * (MOST_BYTES + 1),
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
