"""What a charger keeps of a paused session, so that the vehicle can join it again, also after a restart.

`paused.json` (mode 0600) says what was agreed with whom; the journal stays open beside it, and so does the transaction
at the back end. It is gone before energy may flow again: what is cut off then is closed like any other session.
"""

from pathlib import Path
from typing import Final

import msgspec

from secc.session.paused import Paused
from v2g import typed_json
from v2g.errors import StoreError
from v2g.io.storage.journal_file import remove_file, write_files

FILE: Final = "paused.json"
_VERSION: Final = 1


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    paused: Paused


class KeptFile:
    """The file of one EVSE. Everything raises StoreError when the disk does not take it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / FILE

    def save(self, paused: Paused) -> None:
        """Keep a session; it is on the disk when this returns."""
        write_files(self._directory, {FILE: msgspec.json.encode(_Kept(_VERSION, paused))}, private=True)

    def load(self) -> Paused | None:
        """Return what is kept, None when there is nothing.

        Raises StoreError for a file that nobody here has written: what it belongs to is not known.
        """
        try:
            kept = typed_json.decode(self._path.read_bytes(), _Kept)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StoreError(f"{self._path}: {error}") from None
        if kept.version != _VERSION:
            raise StoreError(f"{self._path} has format {kept.version}, this program reads {_VERSION}")
        return kept.paused

    def remove(self) -> None:
        """Keep nothing any more; harmless when nothing is kept."""
        remove_file(self._path)
