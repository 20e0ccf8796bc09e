"""What a journal file acknowledged is there after kill -9; what was torn off is put aside, never dropped."""

import errno
import fcntl
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.journal_start import START
from tests.power_cuts import PowerCuts, laid_out
from tests.sealing import Keys, new_keys
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.records import MeterReading
from v2g.errors import ConfigError, SealedError, StoreError, VerificationError
from v2g.io.storage import journal_file
from v2g.io.storage.journal_file import (
    JournalFile,
    open_alone,
    read_files,
    remove_file,
    remove_folder,
    sync_directory,
    write_files,
)
from v2g.io.storage.record_keys import RecordKeys


def lines(count: int) -> list[bytes]:
    journal = Journal()
    first = journal.append(START, 0)
    return [first, *(journal.append(MeterReading(import_mwh=n, export_mwh=0), n) for n in range(1, count))]


Change = Callable[[list[bytes], list[bytes]], list[bytes]]


def written(path: Path, keys: Keys = None, count: int = 4) -> bytes:
    file = JournalFile.open(path, keys)
    file.append(lines(count))
    file.close()
    return path.read_bytes()


def recovered(path: Path, keys: Keys) -> bytes:
    file = JournalFile.open(path, keys)
    file.close()
    return file.recovered


def test_lines_are_appended_and_found_again(tmp_path: Path, keys: Keys) -> None:
    """Opening says what is there already."""
    path = tmp_path / "journal.jsonl"
    first, *rest = lines(4)
    file = JournalFile.open(path, keys)
    assert file.recovered == b""
    file.append([first])
    file.append(rest[:2], sync=False)
    file.close()
    file = JournalFile.open(path, keys)
    file.append(rest[2:], sync=False)
    assert file.read() == b"".join([first, *rest])
    file.close()
    file.close()
    assert recovered(path, keys) == b"".join([first, *rest])
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoreError, match="closed"):
        file.append([first])


@pytest.mark.parametrize("lost", range(1, 40))
def test_a_torn_last_line_is_put_aside_and_no_whole_line_is_lost(tmp_path: Path, keys: Keys, lost: int) -> None:
    """Cut at any place in the last line; when only the line feed is missing the line is whole."""
    path = tmp_path / "journal.jsonl"
    data = written(path, keys)
    path.write_bytes(data[:-lost])
    file = JournalFile.open(path, keys)
    if lost == 1:
        assert file.recovered == b"".join(lines(4))
        assert path.read_bytes() == data
        assert not (tmp_path / "journal.jsonl.torn").exists()
    else:
        whole = data[: data.rfind(b"\n", 0, -1) + 1]
        assert file.recovered == b"".join(lines(3))
        assert path.read_bytes() == whole
        torn = (tmp_path / "journal.jsonl.torn").read_bytes()
        assert torn == data[len(whole) : -lost] + b"\n"
        file.append(lines(4)[3:])
        assert file.read() == b"".join(lines(4))
    file.close()
    assert recovered(path, keys) == b"".join(lines(4))


@pytest.mark.parametrize("length", [1, 7, 9, 50])
def test_a_file_with_nothing_but_a_torn_line_is_empty_again(tmp_path: Path, keys: Keys, length: int) -> None:
    """Killed while the very first line was written."""
    path = tmp_path / "journal.jsonl"
    path.write_bytes(written(path, keys)[:length])
    file = JournalFile.open(path, keys)
    assert file.recovered == path.read_bytes() == b""
    file.append(lines(4))
    file.close()
    assert recovered(path, keys) == b"".join(lines(4))


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
from v2g.io.storage.record_keys import RecordKeys
from v2g.energy.settlement.journal import Journal
from v2g.energy.settlement.records import MeterReading, SessionStarted

start = SessionStarted(station_id="CS", evse_id="DE*V2G*E1", session_id="00" * 8, meter_serial="M",
    meter_certificate="ab" * 32, charger_certificate="cd" * 32, import_mwh=0, export_mwh=0)
keys = RecordKeys(Path(sys.argv[2])) if sys.argv[2] else None
file, journal = JournalFile.open(Path(sys.argv[1]), keys), Journal()
file.append([journal.append(start, 0)])
for number in range(1, 100_000):
    file.append([journal.append(MeterReading(import_mwh=number, export_mwh=0), number)], sync=False)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


@pytest.mark.requirement("R27")
@pytest.mark.parametrize("acknowledged", [1, 10, 57, 200])
@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_a_process_killed_with_9_loses_nothing_that_it_acknowledged(
    tmp_path: Path, acknowledged: int, sealed: bool
) -> None:
    """Killed at an arbitrary place after so many acknowledgements."""
    path = tmp_path / "journal.jsonl"
    keys = new_keys(tmp_path / "journal.keys") if sealed else None
    arguments = [str(path), str(tmp_path / "journal.keys") if sealed else ""]
    with subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, cwd=Path.cwd()) as child:
        assert child.stdout is not None
        said = 0
        while said < acknowledged:
            said = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().split()
        child.wait()
    said = max([said, *(int(each) for each in rest)])
    assert (b"DE*V2G" in path.read_bytes()) is not sealed
    entries = verify_lines(recovered(path, keys))
    assert len(entries) - 1 >= said
    assert [e.data.import_mwh for e in entries] == list(range(len(entries)))  # type: ignore[union-attr]


@pytest.mark.requirement("R145")
def test_a_sealed_journal_shows_no_value(tmp_path: Path) -> None:
    data = written(tmp_path / "journal.jsonl", new_keys(tmp_path / "keys"))
    for secret in (*START.__struct_fields__, START.evse_id, "import_mwh", "sequence"):
        assert secret.encode() not in data
    assert data.count(b"\n") == 4


@pytest.mark.requirement("R145")
@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda made, other: [made[0], made[2], made[1], made[3]], 2),
        (lambda made, other: [made[0], *made[2:]], 2),
        (lambda made, other: made[1:], 1),
        (lambda made, other: [*made[:2], made[1], *made[2:]], 3),
        (lambda made, other: [made[0], other[1], *made[2:]], 2),
        (lambda made, other: other, 1),
        (lambda made, other: [made[0], made[1][:-20] + b"\n", *made[2:]], 2),
        (lambda made, other: [made[0], made[1].replace(b"sealed 1 ", b"sealed 2 "), *made[2:]], 2),
        (lambda made, other: [made[0], lines(2)[1], *made[2:]], 2),
    ],
    ids=["swapped", "missing", "first missing", "repeated", "of another", "renamed", "cut", "other key", "plain"],
)
def test_what_is_done_to_sealed_lines_is_found(tmp_path: Path, change: Change, line: int) -> None:
    """Both journals hold the same lines: without seals, each of these files would be a journal, or part of one."""
    keys = new_keys(tmp_path / "journal.keys", 2)
    (tmp_path / "journal.keys").write_text((tmp_path / "journal.keys").read_text().splitlines()[0])
    first = RecordKeys(tmp_path / "journal.keys")
    path = tmp_path / "a.jsonl"
    made, other = (written(tmp_path / f"{name}.jsonl", first).splitlines(keepends=True) for name in "ab")
    path.write_bytes(b"".join(change(made, other)))
    with pytest.raises(VerificationError) as error:
        JournalFile.open(path, keys)
    assert error.value.where == f"a.jsonl:{line}"


@pytest.mark.requirement("R145")
def test_a_file_of_another_key_or_without_one_is_refused_and_stays(tmp_path: Path) -> None:
    data = written(tmp_path / "a.jsonl", new_keys(tmp_path / "keys"))
    with pytest.raises(SealedError, match="is sealed"):
        JournalFile.open(tmp_path / "a.jsonl")
    rotated = new_keys(tmp_path / "keys")
    (tmp_path / "keys").write_text((tmp_path / "keys").read_text().splitlines()[1])
    with pytest.raises(SealedError, match="has no key 1"):
        JournalFile.open(tmp_path / "a.jsonl", RecordKeys(tmp_path / "keys"))
    with pytest.raises(VerificationError, match="sealed with other keys"):
        JournalFile.open(tmp_path / "a.jsonl", new_keys(tmp_path / "others"))
    assert (tmp_path / "a.jsonl").read_bytes() == data
    assert recovered(tmp_path / "a.jsonl", rotated) == b"".join(lines(4))


@pytest.mark.requirement("R145")
def test_a_plain_journal_goes_on_in_plain_lines(tmp_path: Path) -> None:
    """Sealing begins with the next session's file."""
    written(tmp_path / "journal.jsonl", count=2)
    file = JournalFile.open(tmp_path / "journal.jsonl", new_keys(tmp_path / "keys"))
    file.append(lines(4)[2:])
    file.close()
    assert (tmp_path / "journal.jsonl").read_bytes() == b"".join(lines(4))


@pytest.mark.requirement("R145")
@pytest.mark.requirement("R152")
def test_keys_rotate_while_a_journal_is_open(tmp_path: Path) -> None:
    """Each line names its key, and old ones stay readable."""
    keys = new_keys(tmp_path / "keys")
    path = tmp_path / "journal.jsonl"
    file = JournalFile.open(path, keys)
    file.append(lines(4)[:2])
    assert not keys.renew()
    RecordKeys.rotate(tmp_path / "keys")
    assert keys.renew()
    file.append(lines(4)[2:])
    file.close()
    assert [line.split()[1] for line in path.read_bytes().splitlines()] == [b"1", b"1", b"2", b"2"]
    assert recovered(path, RecordKeys(tmp_path / "keys")) == b"".join(lines(4))
    (tmp_path / "keys").write_text("nonsense")
    with pytest.raises(ConfigError):
        keys.renew()
    assert recovered(path, keys) == b"".join(lines(4))


def test_sealing_asks_the_disk_for_no_more_synchronisation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda each, name=name, real=real: (asked.append(name), real(each))[1])
    written(tmp_path / "plain.jsonl")
    plain, asked[:] = list(asked), []
    written(tmp_path / "sealed.jsonl", new_keys(tmp_path / "keys"))
    assert [each for each in asked if each == "fdatasync"] == [each for each in plain if each == "fdatasync"]


def left(cuts: PowerCuts, folder: Path) -> Iterator[Path]:
    """What a power cut may leave now, each laid out in a folder."""
    for each, state in enumerate(list(cuts.left())):
        yield laid_out(state, folder / f"left-{len(list(folder.iterdir()))}-{each}")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A folder whose power may be cut."""
    made = tmp_path / "disk"
    made.mkdir()
    return made


@pytest.mark.requirement("R27")
def test_a_power_cut_leaves_what_was_acknowledged(
    disk: Path, tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not synchronised may be lost until the file is closed; its name is there as soon as it is open."""
    first, second, third, fourth = lines(4)
    cuts = PowerCuts(disk)
    with cuts.recording(monkeypatch):
        file = JournalFile.open(disk / "journal.jsonl", keys)
        assert all((each / "journal.jsonl").exists() for each in left(cuts, tmp_path))
        for made, sync, sure in (([first, second], True, 2), ([third], False, 2), ([], True, 3), ([fourth], False, 3)):
            file.append(made, sync=sync)
            for each in left(cuts, tmp_path):
                assert verify_count(each, keys) >= sure
        file.close()
        assert [verify_count(each, keys) for each in left(cuts, tmp_path)] == [4] * 3


def verify_count(folder: Path, keys: Keys) -> int:
    """How many lines a journal has."""
    return len(recovered(folder / "journal.jsonl", keys).splitlines())


@pytest.mark.parametrize("before", [b"", b"older\n"], ids=["first", "another"])
def test_a_power_cut_never_takes_what_was_torn_off(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    """It is in the journal, or beside it; so is one of before."""
    data, path = written(disk / "journal.jsonl"), disk / "journal.jsonl"
    whole, torn = data[: data.rfind(b"\n", 0, -1) + 1], b'{"torn'
    path.write_bytes(whole + torn)
    if before:
        (disk / "journal.jsonl.torn").write_bytes(before)
    cuts = PowerCuts(disk)
    with cuts.recording(monkeypatch):
        JournalFile.open(path).close()
        states = [*cuts.states, *cuts.left()]
    assert len(states) > 4
    for state in states:
        aside = state.get("journal.jsonl.torn", b"")
        assert aside in (before, before + torn, before + torn + b"\n")
        assert state["journal.jsonl"] == whole + torn or (state["journal.jsonl"], aside) == (
            whole, before + torn + b"\n",
        )  # fmt: skip
    assert states[-3:] == [{"journal.jsonl": whole, "journal.jsonl.torn": before + torn + b"\n"}] * 3


def test_a_line_feed_that_was_missing_is_there_after_a_power_cut(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, path = written(disk / "journal.jsonl"), disk / "journal.jsonl"
    path.write_bytes(data[:-1])
    cuts = PowerCuts(disk)
    with cuts.recording(monkeypatch):
        JournalFile.open(path).close()
        assert list(cuts.left()) == [{"journal.jsonl": data}] * 3


OLD, NEW = {"a.json": b"[1]", "b.txt": b"old"}, {"a.json": b"[2, 3]", "b.txt": b"new"}


@pytest.mark.parametrize("sync_names", [True, False])
def test_a_power_cut_leaves_each_file_of_a_bundle_as_it_was_or_as_it_is(
    disk: Path, monkeypatch: pytest.MonkeyPatch, sync_names: bool
) -> None:
    write_files(disk, OLD)
    cuts = PowerCuts(disk)
    with cuts.recording(monkeypatch):
        write_files(disk, NEW, sync_names=sync_names)
        states = [*cuts.states, *cuts.left()]
    for state in states:
        assert all(state[name] in (OLD[name], NEW[name]) for name in NEW)
    after = [{name: state[name] for name in NEW} for state in states[-3:]]
    assert after == [NEW if sync_names else OLD, NEW, NEW]


def test_what_a_killed_process_has_begun_is_written_again(disk: Path) -> None:
    (disk / ".a.json.part").write_bytes(b"half")
    write_files(disk, NEW)
    assert read_files(disk) == NEW


@pytest.mark.parametrize(("private", "mode"), [(True, 0o600), (False, 0o664)])
def test_private_files_are_for_their_owner(disk: Path, private: bool, mode: int) -> None:
    before = os.umask(0o002)
    try:
        write_files(disk, NEW, private=private)
    finally:
        os.umask(before)
    assert {each.stat().st_mode & 0o777 for each in disk.iterdir()} == {mode}


def test_a_file_that_is_removed_stays_so_after_a_power_cut(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(disk, OLD)
    cuts = PowerCuts(disk)
    with cuts.recording(monkeypatch):
        remove_file(disk / "a.json")
        assert list(cuts.left()) == [{"b.txt": OLD["b.txt"]}] * 3
    remove_file(disk / "a.json")
    with pytest.raises(StoreError, match="missing"):
        remove_file(disk / "missing" / "a.json")


def test_a_folder_is_whole_or_gone_after_a_power_cut(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its name; what is going has another one, by which it may be removed again."""
    write_files(disk / "bundle", OLD)
    whole = {f"bundle/{name}": data for name, data in OLD.items()}
    cuts = PowerCuts(disk)
    with cuts.recording(monkeypatch):
        remove_folder(disk / "bundle", disk / "going")
    for state in cuts.states:
        assert {name: data for name, data in state.items() if name.startswith("bundle")} in ({}, whole)
    assert list(disk.iterdir()) == []
    write_files(disk / "bundle", OLD)
    order = list[str]()
    with monkeypatch.context() as within:
        for name in ("rename", "fsync", "unlink"):
            real = getattr(os, name)
            within.setattr(os, name, lambda *a, name=name, real=real, **k: (order.append(name), real(*a, **k))[1])
        remove_folder(disk / "bundle", disk / "going")
    assert order == ["rename", "fsync", "unlink", "unlink"], "its name is gone for good before a file is"
    write_files(disk / "going", OLD)
    remove_folder(disk / "going", disk / "going")
    assert list(disk.iterdir()) == []
    for folder in (disk / "bundle", disk / "going"):
        with pytest.raises(StoreError, match=folder.name):
            remove_folder(folder, disk / "going")


def test_a_bundle_has_no_file_that_fills_the_memory(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (disk / "large").open("wb") as file:
        file.truncate(256 * 1024 * 1024 + 1)
    with pytest.raises(StoreError, match="larger than 268435456 bytes"):
        read_files(disk)
    monkeypatch.setattr(journal_file, "MAX_FILE_BYTES", 4)
    (disk / "large").write_bytes(b"1234")
    assert read_files(disk) == {"large": b"1234"}
    (disk / "large").write_bytes(b"12345")
    with pytest.raises(StoreError, match="larger"):
        read_files(disk)


def test_a_journal_that_the_disk_takes_in_pieces_is_whole(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write may take less than it is given."""
    file, real = JournalFile.open(tmp_path / "journal.jsonl", keys), os.write
    with monkeypatch.context() as within:
        within.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:7]))
        file.append(lines(4))
    file.close()
    assert recovered(tmp_path / "journal.jsonl", keys) == b"".join(lines(4))


def descriptors() -> int:
    """How many are open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_file_that_one_program_has_open_alone_is_refused_to_others(tmp_path: Path) -> None:
    """Until it is closed; for its owner only, and with the flags that are asked for."""
    path, before = tmp_path / "alone", os.umask(0)
    try:
        first = open_alone(path, os.O_APPEND)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert fcntl.fcntl(first, fcntl.F_GETFL) & (os.O_APPEND | os.O_ACCMODE) == os.O_APPEND | os.O_RDWR
    assert fcntl.fcntl(first, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    count = descriptors()
    with pytest.raises(BlockingIOError):
        open_alone(path)
    assert descriptors() == count
    os.close(first)
    again = open_alone(path)
    assert not fcntl.fcntl(again, fcntl.F_GETFL) & os.O_APPEND
    os.close(again)


def test_a_journal_that_is_closed_leaves_no_descriptor_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one that failed."""
    before = descriptors()
    JournalFile.open(tmp_path / "one.jsonl").close()
    assert descriptors() == before
    file = JournalFile.open(tmp_path / "two.jsonl")

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as within:
        within.setattr(os, "write", full)
        with pytest.raises(StoreError, match="No space left"):
            file.append(lines(1))
    assert descriptors() == before
    file.close()


def test_only_a_folder_is_synchronised_as_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        sync_directory(tmp_path / "file")


def test_a_journal_that_failed_has_left_no_descriptor_open(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"no journal\n")
    before = descriptors()
    for _ in range(3):
        with pytest.raises(VerificationError):
            JournalFile.open(path)
    assert descriptors() == before


def test_a_bundle_directory_is_written_whole_and_read_back(tmp_path: Path) -> None:
    """No half file is ever visible under its name, and nothing else is left behind."""
    files = {"a.json": b"{}", "b.txt": b"\x00\xff"}
    write_files(tmp_path / "deep" / "bundle", files)
    write_files(tmp_path / "deep" / "bundle", files | {"a.json": b"[]"})
    assert read_files(tmp_path / "deep" / "bundle") == files | {"a.json": b"[]"}


@pytest.mark.requirement("R145")
def test_a_sealed_folder_is_read_back(tmp_path: Path) -> None:
    keys, files = new_keys(tmp_path / "keys"), {"a.json": b'{"amount":12}', "b.pem": b"", "c.bin": bytes(range(256))}
    write_files(tmp_path / "bundle", files, keys=keys)
    assert read_files(tmp_path / "bundle", keys) == files
    assert not any(b"amount" in path.read_bytes() for path in (tmp_path / "bundle").iterdir())
    with pytest.raises(SealedError):
        read_files(tmp_path / "bundle")
    (tmp_path / "bundle" / "a.json").write_bytes((tmp_path / "bundle" / "b.pem").read_bytes())
    with pytest.raises(VerificationError, match=r"a\.json:1"):
        read_files(tmp_path / "bundle", keys)


def test_a_file_that_failed_takes_nothing_after_the_gap(tmp_path: Path, keys: Keys) -> None:
    """The disk was full for one entry and had room for the next: what follows a torn line would be lost with it."""
    path = tmp_path / "journal.jsonl"
    first, second, third, fourth = lines(4)
    file = JournalFile.open(path, keys)
    file.append([first, second])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))
    try:
        with pytest.raises(StoreError):
            file.append([third])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with pytest.raises(StoreError):
        file.append([fourth])
    file.close()
    assert recovered(path, keys) == first + second


def test_what_is_no_plain_file_is_not_read_as_part_of_a_bundle(tmp_path: Path) -> None:
    """A pipe would be waited for, and a device has no end."""
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(StoreError, match="regular file"):
        read_files(tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").symlink_to("/dev/zero")
    with pytest.raises(StoreError, match="regular file"):
        read_files(tmp_path)
