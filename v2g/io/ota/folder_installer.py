"""Slots in folders, with `deploy/trial.py` as boot loader. See `Installer`."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from v2g.errors import InstallError
from v2g.io.storage.journal_file import remove_file, sync_directory
from v2g.pki.keys import save_secret

Slot = Literal["a", "b"]


class FolderInstaller:
    """Slots as folders `a` and `b`, each with its `image`. Implements Installer.

    `boot` takes note of what was started; `restart` is called where a device would restart. Files: `active` contains
    the permanent slot, `once` the one to try at the next boot, `tried` the one that the boot loader tries, `runs` the
    running one.
    """

    def __init__(self, folder: Path, restart: Callable[[], None]) -> None:
        self.folder, self._restart = folder, restart
        for slot in ("a", "b"):
            (folder / slot).mkdir(parents=True, exist_ok=True)

    def boot(self) -> Slot:
        """Take note of the start of the slot on trial, else of the permanent one."""
        slot = self._read("tried") or self._read("once") or self._read("active") or "a"
        save_secret(self.folder / "runs", slot.encode())
        remove_file(self.folder / "once")
        remove_file(self.folder / "tried")
        return slot

    async def running(self) -> str:
        return self._read("runs") or self.boot()

    async def install(self, image: Path) -> None:
        other = self._other()
        target = self.folder / other / "image"
        try:
            shutil.copyfile(image, target.with_suffix(".part"))
            with target.with_suffix(".part").open("rb+") as written:
                os.fsync(written.fileno())
            if _digest(target.with_suffix(".part")) != _digest(image):
                raise InstallError(f"slot {other} does not contain what was written", verification=True)
            target.with_suffix(".part").replace(target)
            sync_directory(target.parent)  # before the slot is started: a power cut must not bring the old image back
        except OSError as error:
            raise InstallError(f"slot {other}: {error.strerror}") from None

    async def activate(self) -> None:
        save_secret(self.folder / "once", self._other().encode())
        self._restart()

    async def confirm(self) -> None:
        save_secret(self.folder / "active", (self._read("runs") or "a").encode())

    async def roll_back(self) -> None:
        other = self._other()
        remove_file(self.folder / "once")
        if self._read("active") not in (None, other):  # a power cut came after it was confirmed
            save_secret(self.folder / "active", other.encode())
        self._restart()

    def image(self) -> Path | None:
        path = self.folder / (self._read("runs") or "a") / "image"
        return path if path.exists() else None

    def back(self) -> tuple[tuple[str, ...], ...]:
        return ()

    def _other(self) -> Slot:
        return "b" if (self._read("runs") or self.boot()) == "a" else "a"

    def _read(self, name: str) -> Slot | None:
        try:
            text = (self.folder / name).read_text()
        except OSError:
            return None
        return "b" if text == "b" else "a"


def _digest(file: Path) -> bytes:
    with file.open("rb") as read:
        return hashlib.file_digest(read, "sha256").digest()
