"""The vehicle's copies of countersigned checkpoints: evidence against a charger that rewrites its journal."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from evcc.session.ports import CheckpointStored, StoreCheckpoint
from v2g.energy.settlement.checkpoints import Copy, encode_copy
from v2g.errors import StoreError
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.runner import Execute, Outcome
from v2g.io.storage.journal_file import write_files
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
    """Stores copies in a file, if one is configured, and passes them to `publish`, each before its receipt is sent."""

    def __init__(
        self,
        config: CheckpointsConfig | None,
        disk: DiskThread,
        observe: Callable[[Observe], None],
        publish: Callable[[Copy], None],
    ) -> None:
        self._config, self._disk, self._observe, self._publish = config, disk, observe, publish

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
                await self._disk.do(lambda: _append(config, encode_copy(copy)), lambda: None)
            except StoreError as error:
                failed = Observe("offer", "checkpoint_not_stored", {"number": command.number, "error": str(error)})
                self._observe(failed)
                return CheckpointStored(command.number, stored=False)
        self._publish(copy)
        return CheckpointStored(command.number)


def kept(config: CheckpointsConfig | None) -> Iterator[bytes]:
    """Yield stored copies as lines of the event socket, for readers that were away."""
    if config is None:
        return
    with contextlib.suppress(FileNotFoundError), config.file.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):  # or torn by a power cut, and never countersigned
                yield line_of(line)


def line_of(copy: bytes) -> bytes:
    """Return an encoded copy as a line of the event socket."""
    return b'{"checkpoint":' + copy.rstrip() + b"}\n"


def _append(config: CheckpointsConfig, line: bytes) -> None:
    """Append a line durably; called in the disk's thread. Raises StoreError."""
    path = config.file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]  # a line torn by a power cut was never countersigned
        limit = config.max_kib * 1024
        if whole and whole == data and len(data) + len(line) <= limit:
            with path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fdatasync(file.fileno())
            return
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    if len(whole) + len(line) > limit:
        whole = whole[-int(limit * _KEPT) :]
        whole = whole[whole.find(b"\n") + 1 :]
    write_files(path.parent, {path.name: whole + line}, private=True)
