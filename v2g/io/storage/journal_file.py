"""Durable files: the journal of a session, and its bundle."""

import fcntl
import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Self

from v2g.energy.settlement.journal import verify_lines
from v2g.errors import StoreError, V2GError, VerificationError
from v2g.io.storage.record_keys import RecordKeys, is_sealed, open_lines, seal_line, seal_lines

MAX_FILE_BYTES: Final = 256 * 1024 * 1024


class JournalFile:
    """An append-only file of journal lines.

    Each `append` is one write and, by default, one fsync: when it returns, the lines survive `kill -9`
    and a power cut. Opening a file of a killed process keeps every complete line; a torn one at its
    end is moved to `<name>.torn`, never deleted. With keys, the lines of a new file are sealed (R145); a file that has
    lines stays as it is, plain or sealed.
    """

    def __init__(self, path: Path, descriptor: int, data: bytes, stored: int, keys: RecordKeys | None) -> None:
        """Called by `open`; `stored` is the number of lines in it, `keys` those of a sealed file."""
        self.path: Final = path
        self.recovered: Final = data
        self._descriptor: int | None = descriptor
        self._owes_sync = False
        self._keys, self._count = keys, stored

    @classmethod
    def open(cls, path: Path, keys: RecordKeys | None = None) -> Self:
        """Open or create a journal file; `recovered` then holds its complete lines, opened if they are sealed.

        Raises StoreError when the file cannot be used, SealedError for missing keys, VerificationError for invalid
        lines.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                stored = _whole_lines(path, descriptor, keys)
                sync_directory(path.parent)
                data = open_lines(stored, keys, path.name)
                if data:
                    verify_lines(data, name=path.name)
            except (OSError, V2GError):
                os.close(descriptor)
                raise
        except OSError as error:
            raise StoreError(f"{path}: {error}") from None
        return cls(path, descriptor, data, stored.count(b"\n"), keys if is_sealed(stored) or not stored else None)

    def append(self, lines: Iterable[bytes], *, sync: bool = True) -> None:
        """Write lines in one call; with `sync` they are on the disk afterwards, without they survive the process only.

        Raises StoreError; the file may then end with a torn line, which the next `open` moves away, and rejects
        further lines: an entry after a gap would be worthless.
        """
        if self._descriptor is None:
            raise StoreError(f"{self.path} is closed")
        made = list(lines)
        if self._keys is not None:
            keys, name = self._keys, self.path.name
            made = [seal_line(keys, line, name, self._count + place) for place, line in enumerate(made)]
        self._count += len(made)
        data = b"".join(made)
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
            self._owes_sync = not sync
            if sync:
                os.fdatasync(self._descriptor)
        except OSError as error:
            os.close(self._descriptor)
            self._descriptor = None
            raise StoreError(f"{self.path}: {error}", hint="energy transfer stops without a journal") from None

    def read(self) -> bytes:
        """Return everything in the file, opened if it is sealed."""
        return open_lines(self.path.read_bytes(), self._keys, self.path.name)

    def close(self) -> None:
        """Synchronise the file and close it."""
        if self._descriptor is not None:
            if self._owes_sync:
                os.fdatasync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None


def _whole_lines(path: Path, descriptor: int, keys: RecordKeys | None) -> bytes:
    """Return the file, as stored, up to its last line feed, after repairing the rest.

    A last line without only its line feed is complete; anything else is moved to `<name>.torn`.
    """
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    torn = data[end:]
    if not torn:
        return data
    try:
        verify_lines(open_lines(data + b"\n", keys, path.name), name=path.name)
    except VerificationError:
        with path.with_name(path.name + ".torn").open("ab") as aside:
            aside.write(torn + b"\n")
            aside.flush()
            os.fsync(aside.fileno())
        sync_directory(path.parent)
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
        return data[:end]
    os.write(descriptor, b"\n")
    os.fsync(descriptor)
    return data + b"\n"


def open_alone(path: Path, flags: int = 0) -> int:
    """Return the descriptor of a file, mode 0600, made if missing, that no other program opens so until it is closed.

    `flags` are added to those of reading and writing. Raises OSError, as BlockingIOError while another program has it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_files(
    directory: Path,
    files: Mapping[str, bytes],
    *,
    private: bool = False,
    sync_names: bool = True,
    keys: RecordKeys | None = None,
) -> None:
    """Write a bundle: each file is complete and on the disk on return; `private` for their owner only.

    With `keys` each file is sealed, JSON lines one by one. Without `sync_names` their names are durable only once the
    directory is, which is up to the caller. Raises StoreError.
    """
    if keys is not None:
        files = {name: seal_lines(keys, data, name) for name, data in files.items()}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            part = directory / f".{name}.part"
            part.unlink(missing_ok=True)  # of a process killed while writing
            with open(part, "xb", opener=partial(os.open, mode=0o600 if private else 0o666)) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(directory / name)
        if sync_names:
            sync_directory(directory)
    except OSError as error:
        raise StoreError(f"{directory}: {error}") from None


def remove_file(path: Path) -> None:
    """Remove a file, if it exists; durable against a power cut. Raises StoreError."""
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: {error}") from None


def remove_folder(directory: Path, going: Path) -> None:
    """Remove a folder of plain files, renamed to `going` first: one with its own name is always complete.

    Raises StoreError.
    """
    try:
        if directory != going:
            directory.rename(going)
            sync_directory(going.parent)
        for path in going.iterdir():
            path.unlink()
        going.rmdir()
    except OSError as error:
        raise StoreError(f"{directory}: {error}") from None


def read_files(directory: Path, keys: RecordKeys | None = None) -> dict[str, bytes]:
    """Return the files of a bundle by name, opened if they are sealed.

    A file of another bundle opens, too: the signed manifest says which files belong together. Raises StoreError unless
    it is a directory of regular files, SealedError for missing keys, VerificationError for files that do not open.
    """
    try:
        files = {}
        for path in sorted(directory.iterdir()):
            if not path.is_file():
                raise StoreError(f"{path} is not a regular file", hint="give the folder .../settlements/SESSION")
            if path.stat().st_size > MAX_FILE_BYTES:
                raise StoreError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
            files[path.name] = open_lines(path.read_bytes(), keys, path.name)
    except OSError as error:
        raise StoreError(f"{directory}: {error.strerror}", hint="give the directory of a settlement bundle") from None
    return files
