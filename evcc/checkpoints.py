"""The vehicle's copies of countersigned checkpoints: evidence against a charger that rewrites its journal."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from evcc.session.ports import CheckpointStored, StoreCheckpoint
from v2g.energy.settlement.checkpoints import Copy, encode_copy
from v2g.errors import StoreError, VerificationError
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.runner import Execute, Outcome
from v2g.io.storage.journal_file import write_files
from v2g.io.storage.record_keys import RecordKeys, is_sealed, open_lines, seal_line
from v2g.iso15118.engine.session import Command, Fact
from v2g.observe import Observe

_KEPT: Final = 0.5
"""Share of a full file that stays: the newest lines."""


class CheckpointsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where countersigned checkpoints are stored."""

    file: Annotated[Path, Meta(description="JSON lines, mode 0600, for `v2g settle verify --checkpoints`")]
    max_kib: Annotated[
        int, Meta(ge=64, le=1_048_576, description="maximum size, KiB; the older half of a full file is deleted")
    ] = 4096


class CheckpointStore:
    """Stores copies in a file, if one is configured, and passes them to `publish`, each before its receipt is sent.

    With `keys` the lines of a new file are sealed; a plain one becomes sealed when it is full and written anew.
    """

    def __init__(
        self,
        config: CheckpointsConfig | None,
        disk: DiskThread,
        observe: Callable[[Observe], None],
        publish: Callable[[Copy], None],
        keys: RecordKeys | None = None,
    ) -> None:
        self._config, self._disk, self._observe, self._publish = config, disk, observe, publish
        self._keys = keys

    def execute(self, command: Command, others: Execute) -> Outcome | None:
        """Store a checkpoint, beside everything else; other commands go to `others`."""
        return self._store(command) if isinstance(command, StoreCheckpoint) else others(command)

    async def _store(self, command: StoreCheckpoint) -> Fact:
        copy = Copy(
            session_id=command.session_id.hex(),
            number=command.number,
            checkpoint=command.checkpoint,
            receipt=command.receipt,
        )
        config = self._config
        if config is not None:
            try:
                await self._disk.do(lambda: _append(config, encode_copy(copy), self._keys), lambda: None)
            except StoreError as error:
                failed = Observe("offer", "checkpoint_not_stored", {"number": command.number, "error": str(error)})
                self._observe(failed)
                return CheckpointStored(command.number, stored=False)
        self._publish(copy)
        return CheckpointStored(command.number)


def kept(config: CheckpointsConfig | None, keys: RecordKeys | None = None) -> Iterator[bytes]:
    """Yield stored copies as lines of the event socket, for readers that were away. Raises StoreError."""
    if config is None or not config.file.exists():
        return
    # stored lines; one torn by a power cut was never countersigned
    path = config.file
    data = path.read_bytes()
    for line in _opened(data[: data.rfind(b"\n") + 1], keys, path).splitlines(keepends=True):
        yield line_of(line)


def _opened(whole: bytes, keys: RecordKeys | None, path: Path) -> bytes:
    try:
        return open_lines(whole, keys, path.name)
    except VerificationError as error:
        raise StoreError(f"{path.parent}: {error}", hint=error.hint) from None


def line_of(copy: bytes) -> bytes:
    """Return an encoded copy as a line of the event socket."""
    return b'{"checkpoint":' + copy.rstrip() + b"}\n"


def _append(config: CheckpointsConfig, line: bytes, keys: RecordKeys | None) -> None:
    """Append a line durably; called in the disk's thread. Raises StoreError."""
    path = config.file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]  # a line torn by a power cut was never countersigned
        limit = config.max_kib * 1024
        added = line
        if is_sealed(data) and keys is not None:
            added = seal_line(keys, line, path.name, whole.count(b"\n"))
        if whole and whole == data and len(data) + len(added) <= limit and (keys is not None or not is_sealed(data)):
            with path.open("ab") as file:
                file.write(added)
                file.flush()
                os.fdatasync(file.fileno())
            return
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    full = len(whole) + len(added) > limit
    whole = _opened(whole, keys, path)
    if full:
        whole = whole[-int(limit * _KEPT) :]
        whole = whole[whole.find(b"\n") + 1 :]
    whole += line
    if keys is not None:
        lines = enumerate(whole.splitlines(keepends=True))
        whole = b"".join(seal_line(keys, each, path.name, position) for position, each in lines)
    write_files(path.parent, {path.name: whole}, private=True)
