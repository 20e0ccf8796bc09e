"""Files that other programs may write or replace while the program runs."""

from collections.abc import Sequence
from pathlib import Path


class FileWatch:
    """Detects whether files have been written, replaced, created, removed or changed owner since the last call."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = tuple(files)
        self._seen = tuple(map(_stamp, self._files))

    def changed(self) -> bool:
        """Return whether something has changed, once for each change."""
        stamps = tuple(map(_stamp, self._files))
        if stamps == self._seen:
            return False
        self._seen = stamps
        return True


def _stamp(path: Path) -> tuple[int, ...]:
    """Return a value that changes when a file is written, replaced or changes owner; empty for a missing one."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ino, status.st_size, status.st_mode, status.st_uid, status.st_gid
