"""Latched faults of a charger: stored across restarts, until the hardware is marked as
checked (`v2g hardware serviced`).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from v2g.hardware.faults import FAULTS
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.journal_file import remove_file, write_files
from v2g.io.storage.kept_file import read_kept
from v2g.observe import Observe

FILE: Final = "faults.json"
_VERSION: Final = 1


class LatchedFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault and when it was found, ms of UTC."""

    word: str
    utc_ms: int


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    faults: tuple[LatchedFault, ...]


class FaultFile:
    """The file of one EVSE."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._path = directory, directory / FILE

    def load(self) -> tuple[LatchedFault, ...]:
        """Return the stored faults, the oldest first. Raises StoreError for an unreadable file: a charger with unknown
        faults does not start."""
        hint = "check the hardware, then: v2g hardware serviced --config FILE"
        stored = read_kept(self._path, _Stored, version=_VERSION, hint=hint)
        return () if stored is None else tuple(fault for fault in stored.faults if fault.word in FAULTS)

    def save(self, faults: tuple[LatchedFault, ...]) -> None:
        """Store these durably. Raises StoreError."""
        write_files(self._directory, {FILE: msgspec.json.encode(_Stored(_VERSION, faults))}, private=True)

    def remove(self) -> None:
        """Delete all. Raises StoreError."""
        remove_file(self._path)


class FaultKeeper:
    """Stores latched faults off the event loop. `faults` are those of earlier runs."""

    def __init__(
        self, file: FaultFile, disk: DiskThread, *, utc_ms: Callable[[], int], observe: Callable[[Observe], None]
    ) -> None:
        """Raises StoreError for an unreadable file."""
        self._file, self._disk, self._utc_ms, self._observe = file, disk, utc_ms, observe
        self._latched = file.load()

    @property
    def words(self) -> tuple[str, ...]:
        """Codes of the stored faults."""
        return tuple(fault.word for fault in self._latched)

    def keep(self, word: str) -> None:
        """Store a fault, if it is not stored yet. A failing disk is reported: power is off anyway."""
        if word in self.words:
            return
        self._latched = (*self._latched, LatchedFault(word, self._utc_ms()))
        self._disk.do(partial(self._file.save, self._latched), lambda: None).add_done_callback(
            lambda saved: self._saved(word, saved.exception())
        )

    def _saved(self, word: str, error: BaseException | None) -> None:
        if error is not None:
            self._observe(Observe("hardware", "fault_not_kept", {"fault": word, "error": str(error)}))
