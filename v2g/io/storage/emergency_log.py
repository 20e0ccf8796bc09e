"""The record of emergencies: what asserted the emergency output, and who reset it, in a file that only grows (R127).

Each entry is a line of JSON, on the disk when `append` returns. An emergency lasts until the entry of its reset: also
over a restart, a power cut, and where the last line is torn.
"""

import os
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import RefusedError, StoreError
from v2g.io.storage.journal_file import open_alone, sync_directory

FILE: Final = "emergency.jsonl"
MOST_BYTES: Final = 1 << 20
UNREADABLE: Final = "unreadable_record"
"""Cause of an emergency whose line is torn."""

Line = Annotated[str, Meta(max_length=500)]


class EmergencyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry, at `utc_ms` (ms since 1970): an emergency with its `cause` and the values that showed it, or its reset
    with the reason that a person has given."""

    utc_ms: int
    what: Literal["asserted", "reset"]
    cause: Line = ""
    reason: Line = ""
    evidence: Annotated[dict[Line, float | None], Meta(max_length=100)] = {}


class EmergencyLog:
    """The file, held by one program at a time. `latched` is the emergency that has not been reset; None if all have."""

    def __init__(self, path: Path, descriptor: int, entries: tuple[EmergencyRecord, ...]) -> None:
        """Called by `open`."""
        self._path, self._descriptor = path, descriptor
        self.entries = entries

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the file. Raises StoreError where it cannot be used or read: what is in it decides whether
        energy may flow. Raises RefusedError while another program holds it."""
        hint = "look after the hardware, then move the file away"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = open_alone(path, os.O_APPEND)
            try:
                sync_directory(path.parent)
                data = os.pread(descriptor, MOST_BYTES + 1, 0)
                if len(data) > MOST_BYTES:
                    raise StoreError(f"{path} is larger than {MOST_BYTES} bytes", hint=hint)
                entries = _read(data)
            except (OSError, msgspec.DecodeError, StoreError):
                os.close(descriptor)
                raise
        except BlockingIOError:
            raise RefusedError(f"another program uses {path}", reason="running", hint="stop the program") from None
        except (OSError, msgspec.DecodeError) as error:
            raise StoreError(f"{path}: {error}", hint=hint) from None
        return cls(path, descriptor, entries)

    @property
    def latched(self) -> EmergencyRecord | None:
        """The emergency that lasts."""
        last = self.entries[-1] if self.entries else None
        return last if last is not None and last.what == "asserted" else None

    def append(self, record: EmergencyRecord) -> None:
        """Add an entry; it is on the disk on return. Raises StoreError. Any thread may call it, one at a time."""
        line = msgspec.json.encode(record) + b"\n"
        try:
            size = os.fstat(self._descriptor).st_size
            if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # after a torn one
            if os.write(self._descriptor, line) != len(line):
                raise StoreError(f"{self._path}: the disk is full")
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise StoreError(f"{self._path}: {error}") from None
        self.entries = (*self.entries, record)

    def close(self) -> None:
        """Release the file."""
        os.close(self._descriptor)


def _read(data: bytes) -> tuple[EmergencyRecord, ...]:
    """Return the entries; one torn by a power cut is an emergency, as it may have been. Raises DecodeError."""
    *lines, torn = data.split(b"\n")
    entries = []
    for line in lines:
        try:
            entries.append(typed_json.decode_kept(line, EmergencyRecord))
        except msgspec.DecodeError:
            if b"\0" not in line and line.endswith(b"}"):
                raise
            entries.append(EmergencyRecord(utc_ms=0, what="asserted", cause=UNREADABLE))
    if torn:
        entries.append(EmergencyRecord(utc_ms=0, what="asserted", cause=UNREADABLE))
    return tuple(entries)
