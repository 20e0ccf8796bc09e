"""Which checkpoints the gateway has taken: programs offer all that they keep whenever it connects."""

import hashlib
import os
from pathlib import Path
from typing import Final

from v2g.energy.settlement.checkpoints import Copy, encode_copy
from v2g.errors import StoreError
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.journal_file import write_files

MOST: Final = 50_000
"""Checkpoints that are remembered; more than a vehicle keeps."""

_DIGITS: Final = 32


class TakenCheckpoints:
    """Digests of checkpoints that are in the outbox, in a file of lines.

    A digest is added after its record: a gateway that is killed in between takes the checkpoint again, and the back
    end stores it once.
    """

    def __init__(self, path: Path, disk: DiskThread) -> None:
        self._path, self._disk = path, disk
        self._digests: dict[str, None] = {}

    @classmethod
    async def open(cls, path: Path, disk: DiskThread) -> "TakenCheckpoints":
        """Read the file. Raises StoreError."""
        taken = cls(path, disk)
        await disk.ask(taken._read)
        return taken

    def _read(self) -> None:
        try:
            lines = self._path.read_text(encoding="ascii", errors="replace").splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from None
        self._digests = dict.fromkeys([each for each in lines if len(each) == _DIGITS][-MOST // 2 :])
        write_files(self._path.parent, {self._path.name: "".join(f"{each}\n" for each in self._digests).encode()})

    def has(self, copy: Copy) -> bool:
        """Return whether a checkpoint has been taken."""
        return _digest(copy) in self._digests

    def note(self, copy: Copy) -> None:
        """Remember a checkpoint in this life, until `add` does so durably: it is on its way to the outbox."""
        self._digests[_digest(copy)] = None
        while len(self._digests) > MOST:
            del self._digests[next(iter(self._digests))]

    async def add(self, copy: Copy) -> None:
        """Remember a checkpoint durably. Raises StoreError."""
        digest = _digest(copy)
        await self._disk.ask(lambda: self._append(digest))

    def _append(self, digest: str) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(f"{digest}\n".encode())
                file.flush()
                os.fdatasync(file.fileno())
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from None


def _digest(copy: Copy) -> str:
    return hashlib.sha256(encode_copy(copy)).hexdigest()[:_DIGITS]
