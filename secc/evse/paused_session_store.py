"""Storage of a paused session, so that the vehicle can resume it, also after a restart.

`paused.json` (mode 0600) has the agreed parameters; the journal stays open beside it, and so does the transaction
at the back end. It is deleted before energy may flow again: an interruption then ends the session as usual.
"""

from pathlib import Path
from typing import Final

import msgspec

from secc.session.ports import Paused
from v2g.io.storage.journal_file import remove_file, write_files
from v2g.io.storage.kept_file import read_kept
from v2g.io.storage.record_keys import RecordKeys

FILE: Final = "paused.json"
_VERSION: Final = 1


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    paused: Paused


class PausedSessionFile:
    """The file of one EVSE, sealed with `keys`, if any. Everything raises StoreError when the disk fails."""

    def __init__(self, directory: Path, keys: RecordKeys | None = None) -> None:
        self._directory, self._keys = directory, keys
        self._path = directory / FILE

    def save(self, paused: Paused) -> None:
        """Store a session durably."""
        data = msgspec.json.encode(_Stored(_VERSION, paused))
        write_files(self._directory, {FILE: data}, private=True, keys=self._keys)

    def load(self) -> Paused | None:
        """Return the stored session, None when there is none.

        Raises StoreError for an invalid file: its session is unknown.
        """
        stored = read_kept(self._path, _Stored, version=_VERSION, keys=self._keys)
        return None if stored is None else stored.paused

    def remove(self) -> None:
        """Delete the stored session; does nothing if there is none."""
        remove_file(self._path)
