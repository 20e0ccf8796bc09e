"""What a journal file acknowledged is there after kill -9; what was torn off is put aside, never dropped."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journal_start import START
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.records import MeterReading
from v2g.errors import StoreError, VerificationError
from v2g.io.storage.journal_file import JournalFile, read_files, write_files


def lines(count: int) -> list[bytes]:
    journal = Journal()
    first = journal.append(START, 0)
    return [first, *(journal.append(MeterReading(import_mwh=n, export_mwh=0), n) for n in range(1, count))]


def written(path: Path, count: int = 4) -> bytes:
    file = JournalFile.open(path)
    file.append(lines(count))
    file.close()
    return path.read_bytes()


def test_lines_are_appended_and_found_again(tmp_path: Path) -> None:
    """Opening says what is there already."""
    path = tmp_path / "journal.jsonl"
    first, *rest = lines(4)
    file = JournalFile.open(path)
    assert file.recovered == b""
    file.append([first])
    file.append(rest, sync=False)
    assert file.read() == b"".join([first, *rest])
    file.close()
    file.close()
    assert JournalFile.open(path).recovered == b"".join([first, *rest])
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoreError, match="closed"):
        file.append([first])


@pytest.mark.parametrize("lost", range(1, 40))
def test_a_torn_last_line_is_put_aside_and_no_whole_line_is_lost(tmp_path: Path, lost: int) -> None:
    """Cut at any place in the last line; when only the line feed is missing the line is whole."""
    path = tmp_path / "journal.jsonl"
    data = written(path)
    path.write_bytes(data[:-lost])
    file = JournalFile.open(path)
    if lost == 1:
        assert file.recovered == path.read_bytes() == data
        assert not (tmp_path / "journal.jsonl.torn").exists()
    else:
        whole = b"".join(lines(3))
        assert file.recovered == path.read_bytes() == whole
        torn = (tmp_path / "journal.jsonl.torn").read_bytes()
        assert torn == data[len(whole) : -lost] + b"\n"
        file.append(lines(4)[3:])
        assert file.read() == data
    file.close()


def test_a_file_with_nothing_but_a_torn_line_is_empty_again(tmp_path: Path) -> None:
    """Killed while the very first line was written."""
    path = tmp_path / "journal.jsonl"
    path.write_bytes(lines(1)[0][:50])
    file = JournalFile.open(path)
    assert file.recovered == path.read_bytes() == b""
    file.close()


def test_a_journal_that_was_edited_is_not_opened(tmp_path: Path) -> None:
    """Nothing is appended to what does not hold."""
    path = tmp_path / "journal.jsonl"
    data = written(path)
    path.write_bytes(data.replace(b'"import_mwh":2', b'"import_mwh":1'))
    with pytest.raises(VerificationError) as error:
        JournalFile.open(path)
    assert error.value.where == "journal.jsonl:3"


def test_a_place_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    """With the path in it."""
    with pytest.raises(StoreError, match="missing"):
        JournalFile.open(tmp_path / "missing" / "journal.jsonl")
    with pytest.raises(StoreError):
        read_files(tmp_path / "missing")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        write_files(tmp_path / "file", {"a": b""})


CHILD = """
import sys
from pathlib import Path
from v2g.io.storage.journal_file import JournalFile
from v2g.energy.settlement.journal import Journal
from v2g.energy.settlement.records import MeterReading, SessionStarted

start = SessionStarted(station_id="CS", evse_id="DE*V2G*E1", session_id="00" * 8, meter_serial="M",
    meter_certificate="ab" * 32, charger_certificate="cd" * 32, import_mwh=0, export_mwh=0)
file, journal = JournalFile.open(Path(sys.argv[1])), Journal()
file.append([journal.append(start, 0)])
for number in range(1, 100_000):
    file.append([journal.append(MeterReading(import_mwh=number, export_mwh=0), number)], sync=False)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


@pytest.mark.requirement("R27")
@pytest.mark.parametrize("acknowledged", [1, 10, 57, 200])
def test_a_process_killed_with_9_loses_nothing_that_it_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    """Killed at an arbitrary place after so many acknowledgements."""
    path = tmp_path / "journal.jsonl"
    with subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, cwd=Path.cwd()) as child:
        assert child.stdout is not None
        said = 0
        while said < acknowledged:
            said = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().split()
        child.wait()
    said = max([said, *(int(each) for each in rest)])
    file = JournalFile.open(path)
    entries = verify_lines(file.recovered)
    file.close()
    assert len(entries) - 1 >= said
    assert [e.data.import_mwh for e in entries] == list(range(len(entries)))  # type: ignore[union-attr]


def test_a_bundle_directory_is_written_whole_and_read_back(tmp_path: Path) -> None:
    """No half file is ever visible under its name, and nothing else is left behind."""
    files = {"a.json": b"{}", "b.txt": b"\x00\xff"}
    write_files(tmp_path / "deep" / "bundle", files)
    write_files(tmp_path / "deep" / "bundle", files | {"a.json": b"[]"})
    assert read_files(tmp_path / "deep" / "bundle") == files | {"a.json": b"[]"}


def test_a_file_that_failed_takes_nothing_after_the_gap(tmp_path: Path) -> None:
    """The disk was full for one entry and had room for the next: what follows a torn line would be lost with it."""
    path = tmp_path / "journal.jsonl"
    first, second, third, fourth = lines(4)
    file = JournalFile.open(path)
    file.append([first, second])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(first + second) + 20, before[1]))
    try:
        with pytest.raises(StoreError):
            file.append([third])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with pytest.raises(StoreError):
        file.append([fourth])
    file.close()
    assert JournalFile.open(path).recovered == first + second


def test_what_is_no_plain_file_is_not_read_as_part_of_a_bundle(tmp_path: Path) -> None:
    """A pipe would be waited for, and a device has no end."""
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(StoreError, match="regular file"):
        read_files(tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").symlink_to("/dev/zero")
    with pytest.raises(StoreError, match="regular file"):
        read_files(tmp_path)
