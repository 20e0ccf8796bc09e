"""Files that must survive: the journal of a session, and the bundle made of it."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Self

from v2g.energy.settlement.journal import verify_lines
from v2g.errors import StoreError, VerificationError

MAX_FILE_BYTES: Final = 256 * 1024 * 1024


class JournalFile:
    """An append-only file of journal lines.

    Each `append` is one write and, unless told otherwise, one fsync: when it returns, the lines survive `kill -9`
    and a power cut. Opening a file that a killed process left behind keeps every whole line; what was torn off at its
    end is put aside in `<name>.torn`, never dropped.
    """

    def __init__(self, path: Path, descriptor: int, data: bytes) -> None:
        self.path: Final = path
        self.recovered: Final = data
        self._descriptor: int | None = descriptor
        self._owes_sync = False

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or make a journal file; `recovered` then holds its whole lines.

        Raises StoreError when the file cannot be used, VerificationError when its lines do not hold.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            data = _whole_lines(path, descriptor)
            _sync_directory(path.parent)
        except OSError as error:
            raise StoreError(f"{path}: {error}") from None
        try:
            if data:
                verify_lines(data, name=path.name)
        except VerificationError:
            os.close(descriptor)
            raise
        return cls(path, descriptor, data)

    def append(self, lines: Iterable[bytes], *, sync: bool = True) -> None:
        """Write lines in one go; with `sync` they are on the disk afterwards, without they survive the process only.

        Raises StoreError; the file may then end with a torn line, which the next `open` puts aside, and takes nothing
        any more: an entry behind the gap would be worth as little as the gap.
        """
        if self._descriptor is None:
            raise StoreError(f"{self.path} is closed")
        data = b"".join(lines)
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
            raise StoreError(f"{self.path}: {error}", hint="no energy moves that cannot be accounted for") from None

    def read(self) -> bytes:
        """Return everything in the file."""
        return self.path.read_bytes()

    def close(self) -> None:
        """Bring the file to the disk and close it."""
        if self._descriptor is not None:
            if self._owes_sync:
                os.fdatasync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None


def _whole_lines(path: Path, descriptor: int) -> bytes:
    """Return the file up to its last line feed, after repairing what follows it.

    A last line that lacks nothing but its line feed is whole; anything else is moved to `<name>.torn`.
    """
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    torn = data[end:]
    if not torn:
        return data
    try:
        verify_lines(data + b"\n", name=path.name)
    except VerificationError:
        with path.with_name(path.name + ".torn").open("ab") as aside:
            aside.write(torn + b"\n")
            aside.flush()
            os.fsync(aside.fileno())
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
        return data[:end]
    os.write(descriptor, b"\n")
    os.fsync(descriptor)
    return data + b"\n"


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_files(directory: Path, files: Mapping[str, bytes], *, private: bool = False, sync_names: bool = True) -> None:
    """Write a bundle: each file whole and on the disk before this returns; `private` for their owner only.

    Without `sync_names` their names are on the disk once the directory is, which is the caller's to see to. Raises
    StoreError.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            part = directory / f".{name}.part"
            part.unlink(missing_ok=True)  # of a process that was killed while it wrote
            part.touch(mode=0o600 if private else 0o666)
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(directory / name)
        if sync_names:
            _sync_directory(directory)
    except OSError as error:
        raise StoreError(f"{directory}: {error}") from None


def remove_file(path: Path) -> None:
    """Remove a file, if it is there; it stays away after a power cut. Raises StoreError."""
    try:
        path.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: {error}") from None


def remove_folder(directory: Path, going: Path) -> None:
    """Remove a folder of plain files, under the name `going` beside it: one that bears its name is always whole.

    Raises StoreError.
    """
    try:
        if directory != going:
            directory.rename(going)
            _sync_directory(going.parent)
        for path in going.iterdir():
            path.unlink()
        going.rmdir()
    except OSError as error:
        raise StoreError(f"{directory}: {error}") from None


def read_files(directory: Path) -> dict[str, bytes]:
    """Return the files of a bundle by name. Raises StoreError when it is no directory of plain files."""
    try:
        files = {}
        for path in sorted(directory.iterdir()):
            if not path.is_file():
                raise StoreError(f"{path} is not a regular file", hint="give the directory of a settlement bundle")
            if path.stat().st_size > MAX_FILE_BYTES:
                raise StoreError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
            files[path.name] = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{directory}: {error.strerror}", hint="give the directory of a settlement bundle") from None
    return files
