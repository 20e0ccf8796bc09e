"""Files of lines that a program appends to while it runs: bounded in size and number, without blocking it."""

import contextlib
import itertools
import logging
import os
import stat
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g.errors import StoreError
from v2g.io.runtime.supervision import new_thread

_log = logging.getLogger(__name__)

MIB: Final = 1024 * 1024

Beside = Callable[[Callable[[], None]], None]
"""Runs possibly slow work concurrently."""


class LogFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events and logs, and their retention. Files renamed by other programs are reopened on SIGHUP."""

    events: Path | None = None
    """File for one JSON line per event; `--events` takes precedence."""
    file: Path | None = None
    """File for the log, in place of standard error."""
    max_mib: Annotated[int, Meta(ge=1, le=65_536)] = 64
    """Size of a full file of events or log, MiB; a full one becomes FILE.1, the one before it FILE.2, and so on."""
    keep: Annotated[int, Meta(ge=0, le=1000)] = 4
    """Number of full files of each that are retained; older ones are removed."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum level of log lines."""


def in_a_thread(work: Callable[[], None]) -> None:
    """Run work in a daemon thread, which does not delay the program's end."""
    new_thread(target=work, name="files").start()


class GrowingFile:
    """A file of lines, mode 0600. A full one becomes FILE.1, FILE.1 becomes FILE.2, and so on, up to `keep`.

    A line is written at once and unbuffered, so that a killed process loses none, but never synchronised to the disk.
    Files are renamed, opened and closed in a thread: meanwhile lines go into the full one. Any thread may
    append. Anything but a regular file, such as a pipe, is never full.
    """

    def __init__(self, path: Path, *, max_bytes: int, keep: int, beside: Beside = in_a_thread) -> None:
        """Open the file; an incomplete last line is completed. Raises StoreError."""
        self.path: Final = path
        self._max, self._keep, self._beside = max_bytes, keep, beside
        self._lock = threading.Lock()
        self._full_at = max_bytes
        self._turning = self._torn = False
        try:
            self._fd, self._size = _open(path)
            self._torn = self._size > 0 and _is_torn(path)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}", hint="choose a file that this user may write") from None
        _open_files.add(self)

    def append(self, line: bytes) -> None:
        """Write a line, which ends in a line feed. Raises OSError when the disk fails; later ones may succeed.

        A closed file ignores lines.
        """
        with self._lock:
            if self._fd < 0:
                return
            data = b"\n" + line if self._torn else line
            written = os.write(self._fd, data)
            self._torn = written < len(data)
            self._size += written
            full = self._size >= self._full_at
        if full:
            self._begin(self._turn)

    def reopen(self) -> None:
        """Reopen the file by its name: another program has renamed the open one."""
        self._begin(self._renew)

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            fd, self._fd = self._fd, -1
        _open_files.discard(self)
        if fd >= 0:
            os.close(fd)

    def _begin(self, work: Callable[[], None]) -> None:
        with self._lock:
            if self._turning:
                return
            self._turning = True
        self._beside(lambda: self._try(work))

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            with self._lock:  # it keeps growing; retry after as many bytes
                self._full_at = self._size + self._max
            _log.error("%s keeps growing: %s", self.path, error.strerror)
        finally:
            with self._lock:
                self._turning = False

    def _turn(self) -> None:
        """Rename every full file to the next number, and begin a new one."""
        for number in itertools.count(self._keep + 1):
            old = _numbered(self.path, number)
            if not old.exists():
                break
            old.unlink()
        for number in range(self._keep - 1, 0, -1):
            if (old := _numbered(self.path, number)).exists():
                old.replace(_numbered(self.path, number + 1))
        with contextlib.suppress(FileNotFoundError):  # another program has moved it
            if self._keep:
                self.path.replace(_numbered(self.path, 1))
            else:
                self.path.unlink()
        self._renew()

    def _renew(self) -> None:
        fd, size = _open(self.path)
        with self._lock:
            if self._fd >= 0:
                fd, self._fd = self._fd, fd
                self._size, self._full_at, self._torn = size, self._max, False
        os.close(fd)


_open_files: Final[weakref.WeakSet[GrowingFile]] = weakref.WeakSet()


def reopen_all() -> None:
    """Reopen every growing file of this process, as on SIGHUP."""
    for file in list(_open_files):
        file.reopen()


def generations(path: Path) -> list[Path]:
    """Return the existing files of a growing one, the newest first."""
    found = {
        int(each.name.rpartition(".")[2]): each for each in path.parent.glob(f"{path.name}.*") if _is_numbered(each)
    }
    return [*([path] if path.exists() else []), *(found[number] for number in sorted(found))]


def _is_numbered(path: Path) -> bool:
    number = path.name.rpartition(".")[2]
    return number.isascii() and number.isdecimal() and len(number) < 9


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _open(path: Path) -> tuple[int, int]:
    """Open a file to append to, readable only by its owner, since it identifies drivers; return its size, too.

    Anything but a regular file has none.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return descriptor, 0
    with contextlib.suppress(OSError):  # another user's file that this program may write
        os.fchmod(descriptor, 0o600)
    return descriptor, status.st_size


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
