"""Atomic files: replaced completely, replaced together, changed by one program at a time."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from v2g.errors import StoreError
from v2g.io.storage.journal_file import sync_directory

VERSIONS: Final = "versions"
"""Folder beside renewed files: `versions/<set>/<number>/`, with `current` pointing at one of them."""

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644


def mode_of(name: str) -> int:
    """Return the mode for a file of this name: keys are readable by their owner only."""
    return PRIVATE if name.endswith(".key") else PUBLIC


def write_whole(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Write a file atomically and durably: readers find the old or the new one, also after a power cut.

    A symbolic link is followed. Raises StoreError.
    """
    target = path.resolve()
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        _write(draft, data, mode_of(path.name) if mode is None else mode)
        draft.replace(target)
        sync_directory(target.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StoreError(f"{path}: {error.strerror}") from None


class Staged:
    """New versions of related files of one folder, written but not yet in use; created by `stage`."""

    def __init__(self, folder: Path, name: str, files: tuple[str, ...], old: Path, new: Path) -> None:
        self.old: Path = old
        """Where the present files stay."""
        self._folder, self._name, self._files, self._new = folder, name, files, new

    def commit(self) -> None:
        """Put the new files to use, atomically. Raises StoreError."""
        versions = self._folder / VERSIONS / self._name
        try:
            for file in self._files:
                _link(self._folder / file, Path(VERSIONS, self._name, "current", file))
            _link(versions / "current", Path(self._new.name))
            sync_directory(versions)
            sync_directory(self._folder)
        except OSError as error:
            raise StoreError(f"{self._folder}: {error.strerror}") from None


def stage(folder: Path, name: str, files: Mapping[str, bytes]) -> Staged:
    """Write new versions of related files, so that `commit` only changes one link.

    From the first time on each file is a link through `versions/<name>/current`: readers never
    find a key beside the certificate of another, even after a crash. Raises StoreError.
    """
    versions = folder / VERSIONS / name
    current = versions / "current"
    try:
        if not current.is_symlink():
            # Make version 1 of the present files, and replace them with links
            first = versions / "1"
            shutil.rmtree(versions, ignore_errors=True)  # of a swap that did not get as far as `current`
            first.mkdir(parents=True)
            there = [file for file in files if (folder / file).exists()]
            for file in there:
                _write(first / file, (folder / file).read_bytes(), mode_of(file))
            sync_directory(first)
            _link(versions / "current", Path("1"))
            sync_directory(versions)
            for file in there:
                _link(folder / file, Path(VERSIONS, versions.name, "current", file))
            sync_directory(folder)
        number = 1 + max(int(each.name) for each in versions.iterdir() if each.name.isdecimal())
        new = versions / str(number)
        new.mkdir(mode=0o755)
        for file, data in files.items():
            _write(new / file, data, mode_of(file))
        sync_directory(new)
        return Staged(folder, name, tuple(files), versions / current.readlink(), new)
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}") from None


def _link(path: Path, target: Path) -> None:
    """Make `path` a symbolic link to `target`, replacing it atomically."""
    if path.is_symlink() and path.readlink() == target:
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.replace(path)


def _write(path: Path, data: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(number, "wb") as file:
        os.fchmod(number, mode)
        file.write(data)
        file.flush()
        os.fsync(number)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Let one program at a time change a tree; others wait. Raises StoreError."""
    try:
        file = (directory / ".lock").open("w")
    except OSError as error:
        raise StoreError(f"{directory}: {error.strerror}") from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
