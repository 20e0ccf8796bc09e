"""Files of lines that a program appends to as long as it runs: bounded in size and number, and never in its way."""

import contextlib
import itertools
import logging
import os
import stat
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.errors import TransportError

_log = logging.getLogger(__name__)

MIB: Final = 1024 * 1024

Beside = Callable[[Callable[[], None]], None]
"""Does a work that may take long, beside what goes on."""


class LogFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the program writes down, and how much of it is kept. Files that others rename are opened anew on SIGHUP."""

    events: Path | None = None
    """File for one JSON line per event; `--events` wins."""
    file: Path | None = None
    """File for the log, in place of standard error."""
    max_mib: Annotated[int, Meta(ge=1, le=65_536)] = 64
    """Size of a full file of events or log, MiB; a full one becomes FILE.1, the one before it FILE.2, and so on."""
    keep: Annotated[int, Meta(ge=0, le=1000)] = 4
    """How many full files of each are kept beside the one that grows; the oldest ones are removed."""


def in_a_thread(work: Callable[[], None]) -> None:
    """Do a work in a thread of its own, which a program that ends does not wait for."""
    threading.Thread(target=work, name="files", daemon=True).start()


class GrowingFile:
    """A file of lines, mode 0600. A full one becomes FILE.1, FILE.1 becomes FILE.2, and so on, as far as `keep` says.

    A line is written at once and without a buffer, so that a killed process loses none, and never forced to the disk.
    Files are renamed, opened and closed in a thread: until that is done, lines go on into the full one. Any thread may
    append. What is not a regular file, such as a pipe, is never full.
    """

    def __init__(self, path: Path, *, max_bytes: int, keep: int, beside: Beside = in_a_thread) -> None:
        """Open the file; a line that a killed program left unfinished is ended. Raises TransportError."""
        self.path: Final = path
        self._max, self._keep, self._beside = max_bytes, keep, beside
        self._lock = threading.Lock()
        self._full_at = max_bytes
        self._turning = self._torn = False
        try:
            self._fd, self._size = _open(path)
            self._torn = self._size > 0 and _is_torn(path)
        except OSError as error:
            raise TransportError(f"{path}: {error.strerror}", hint="name a file that can be written") from None
        _open_files.add(self)

    def append(self, line: bytes) -> None:
        """Write a line, which ends in a line feed. Raises OSError when the disk does not take it; later ones may go.

        What was closed takes nothing.
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
        """Go on in the file that has the name now: another program has renamed the one that was open."""
        self._begin(self._renew)

    def close(self) -> None:
        """Close the file; safe to call twice."""
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
            with self._lock:  # it grows on, and that is tried again after as much more
                self._full_at = self._size + self._max
            _log.error("%s keeps growing: %s", self.path, error.strerror)
        finally:
            with self._lock:
                self._turning = False

    def _turn(self) -> None:
        """Move every full file on by one, and begin a new one."""
        for number in itertools.count(self._keep + 1):
            old = _numbered(self.path, number)
            if not old.exists():
                break
            old.unlink()
        for number in range(self._keep - 1, 0, -1):
            if (old := _numbered(self.path, number)).exists():
                old.replace(_numbered(self.path, number + 1))
        with contextlib.suppress(FileNotFoundError):  # somebody else has moved it away
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
    """Open every file of this process anew that is growing: what SIGHUP means to a program."""
    for file in list(_open_files):
        file.reopen()


def generations(path: Path) -> list[Path]:
    """Return those files that there are of a growing one, the newest first."""
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
    """Open a file to append to, which only its owner may read, for it names who charges; return its size, too.

    What is not a regular file has none.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return descriptor, 0
    with contextlib.suppress(OSError):  # another's file, in which this program may write
        os.fchmod(descriptor, 0o600)
    return descriptor, status.st_size


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
