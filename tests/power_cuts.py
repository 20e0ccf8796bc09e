"""What a power cut may leave on a disk, at every write of a piece of code.

Only what was synced is sure: the content of a file by `fsync` of it, the names in a folder by `fsync` of that. Of the
rest nothing may be left, or all names without content, or all: three states before and after each `fsync`, renaming
and deletion.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

State = dict[str, bytes]
"""File, relative to the folder, and its content."""


class PowerCuts:
    """The states that a power cut may leave of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, dict[str, int]] = {}
        self._contents: dict[int, bytes] = {}
        self._held: dict[int, int] = {}
        """Descriptors of all files that were ever there: so no other file gets the number of one that is gone."""
        self.states: list[State] = []
        for place, _, files in os.walk(folder):
            self._names[place] = _listed(Path(place))
            for each in files:
                path = Path(place, each)
                self._contents[path.stat().st_ino] = path.read_bytes()

    @contextlib.contextmanager
    def recording(self, patch: pytest.MonkeyPatch) -> Iterator["PowerCuts"]:
        """Record the states of what runs meanwhile."""
        with patch.context() as within:
            for name in ("replace", "rename", "unlink", "remove"):
                within.setattr(os, name, self._around(getattr(os, name)))
            for name in ("fsync", "fdatasync"):
                within.setattr(os, name, self._around(getattr(os, name), self._sync))
            try:
                yield self
            finally:
                for each in self._held.values():
                    os.close(each)
                self._held.clear()

    def _around(
        self, work: Callable[..., Any], note: Callable[[int], None] = lambda _descriptor: None
    ) -> Callable[..., Any]:
        def done(*arguments: Any, **more: Any) -> Any:
            self._cut()
            self._hold()
            result = work(*arguments, **more)
            note(*arguments[:1])
            self._cut()
            return result

        return done

    def _sync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            self._names[str(path)] = _listed(path)
        elif path.exists():
            self._contents[path.stat().st_ino] = path.read_bytes()

    def _hold(self) -> None:
        for place, _, files in os.walk(self._folder):
            for each in files:
                inode = (path := Path(place, each)).stat().st_ino
                if inode not in self._held:
                    self._held[inode] = os.open(path, os.O_RDONLY)

    def _cut(self) -> None:
        for state in self.left():
            if state not in self.states[-6:]:
                self.states.append(state)

    def left(self) -> Iterator[State]:
        """Yield what a power cut may leave at this moment."""
        folders = {place: _listed(Path(place)) for place, _, _ in os.walk(self._folder)}
        lost = {place: self._names.get(place, {}) for place in folders}
        for names, all_content in ((lost, False), (folders, False), (folders, True)):
            state = {}
            for place, files in names.items():
                for name, inode in files.items():
                    path = Path(place, name)
                    content = path.read_bytes() if all_content else self._contents.get(inode, b"")
                    state[str(path.relative_to(self._folder))] = content
            yield state


def laid_out(state: State, folder: Path) -> Path:
    """Write a state into a folder."""
    for name, content in state.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _listed(folder: Path) -> dict[str, int]:
    return {each.name: each.stat().st_ino for each in folder.iterdir() if each.is_file()}


class Disk:
    """A file system in a file, which is mounted at a folder. What was synced is in the file, and nothing else: so a
    copy of the file is what a power cut leaves."""

    def __init__(self, image: Path, folder: Path, *, mib: int = 64, options: str = "") -> None:
        self._image, self._folder = image, folder
        self._options = f"loop,commit=300{options}"  # nothing is written back by itself while a test lasts
        with image.open("wb") as file:
            file.truncate(mib << 20)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        self.mount()

    def mount(self) -> None:
        """Mount what the file has."""
        subprocess.run(["mount", "-o", self._options, str(self._image), str(self._folder)], check=True)

    def write(self, word: bytes) -> None:
        """Overwrite a word, as RAUC does a slot, but without syncing it."""
        descriptor = os.open(self._folder / "word", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, word)
        os.close(descriptor)

    def read(self) -> bytes:
        """Return that word."""
        return (self._folder / "word").read_bytes()

    def sync(self) -> None:
        """Write everything back."""
        subprocess.run(["sync", "-f", str(self._folder)], check=True)

    def copy(self, image: Path | None = None) -> Path:
        """Return a copy of what was synced, or of another image."""
        copy = self._image.with_name(f"{self._image.name}.copy")
        subprocess.run(["cp", "--sparse=always", str(image or self._image), str(copy)], check=True)
        return copy

    def cut(self, image: Path | None = None) -> None:
        """Go on with a copy of what was synced, or of another image; it is not mounted yet."""
        copy = self.copy(image)
        self.leave()
        copy.replace(self._image)

    def leave(self) -> None:
        """Unmount it, also while it is in use."""
        subprocess.run(["umount", "-l", str(self._folder)], check=True)
