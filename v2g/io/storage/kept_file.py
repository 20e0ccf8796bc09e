"""A small file that a program keeps over its restarts."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from v2g import typed_json
from v2g.errors import StoreError
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.journal_file import remove_file, write_files
from v2g.io.storage.record_keys import RecordKeys, read_sealed

T = TypeVar("T", bound=msgspec.Struct)


def read_kept(
    path: Path, type_: type[T], *, version: int | None = None, keys: RecordKeys | None = None, hint: str = ""
) -> T | None:
    """Return the document in a file, sealed or not, None if there is no file. Raises StoreError with `hint`, also for
    one whose field `version` has another value."""
    try:
        found = typed_json.decode_kept(read_sealed(path, keys), type_)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(f"{path}: {error}", hint=hint) from None
    if version is not None and (known := getattr(found, "version", None)) != version:
        raise StoreError(f"{path} has format {known}, this program reads {version}", hint=hint)
    return found


class KeptFile:
    """One file, for its owner only, written off the event loop by `disk`; `failed` gets the reason when that fails."""

    def __init__(self, path: Path, disk: DiskThread, failed: Callable[[str], None]) -> None:
        self._path, self._disk, self._failed = path, disk, failed

    def load(self) -> bytes:
        """Return its content; empty if there is none. Raises OSError."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""

    def keep(self, data: bytes) -> None:
        """Store this content after those before it; empty removes the file."""
        self._disk.do(lambda: self._write(data), lambda: None).add_done_callback(self._stored)

    def _write(self, data: bytes) -> None:
        if data:
            write_files(self._path.parent, {self._path.name: data}, private=True)
        else:
            remove_file(self._path)

    def _stored(self, done: "asyncio.Future[None]") -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            self._failed(str(error)[:200])
