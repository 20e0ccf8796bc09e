"""Reads the event socket of a program beside the gateway: its events, and the checkpoints that it keeps."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from v2g import typed_json
from v2g.energy.settlement.checkpoints import Copy, encode_copy
from v2g.errors import StoreError
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.event_socket import MAX_LINE, socket_address
from v2g.io.runtime.supervision import Backoff
from v2g.io.storage.journal_file import write_files
from v2g.observe import Observe
from v2g.telemetry.local_events import LocalEvent, reported
from v2g.typed_json import Fields

LONGEST_PAUSE_S: Final = 2.0
"""Maximum interval of attempts to connect: a vehicle's program may run for one short session."""

OnLocal = Callable[[LocalEvent | Copy], Awaitable[None]]
"""Takes what a program reports, in order; it may wait while there is no room."""


class _SocketLine(msgspec.Struct, frozen=True):
    """An event as `EventLog` writes it, or a checkpoint."""

    utc_ms: int = 0
    process: str = ""
    stage: str = ""
    name: str = ""
    data: Fields = {}
    checkpoint: Copy | UnsetType = UNSET


_decoder = typed_json.decoder(_SocketLine)


class LocalSource:
    """Follows one socket, and connects again when it is gone. A program that is absent is no fault."""

    def __init__(self, path: Path, on_local: OnLocal, observe: Callable[[Observe], None]) -> None:
        self._path, self._on_local, self._observe = path, on_local, observe

    async def run(self) -> None:
        """Read until cancelled."""
        backoff = Backoff(0.1, LONGEST_PAUSE_S)
        while True:
            with contextlib.suppress(OSError, ValueError):  # absent; a line that is too long
                with socket_address(self._path) as address:
                    reader, writer = await asyncio.open_unix_connection(address, limit=MAX_LINE)
                try:
                    self._observe(Observe("telemetry", "source_connected", {"source": self._path.name}))
                    backoff.reset()
                    await self._follow(reader)
                finally:
                    writer.close()
                    self._observe(Observe("telemetry", "source_lost", {"source": self._path.name}))
            await asyncio.sleep(backoff.pause_s())

    async def _follow(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            try:
                found = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue  # of a later version of the program, or cut by its end
            if found.checkpoint is not UNSET:
                await self._on_local(found.checkpoint)
            elif event := reported(found.process, found.stage, found.name, found.utc_ms, found.data):
                await self._on_local(event)


# -- Which checkpoints the gateway has taken: programs offer all that they keep whenever it connects -----------------

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
