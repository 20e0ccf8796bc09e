"""Answers too large for memory: files on disk, sent as fast as the client reads them."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from io import BufferedRandom
from typing import Final

PIECE: Final = 256 * 1024
"""Octets of a file that are in memory at a time."""


class Download:
    """A finished file, which is closed once it is sent; `on_closed` is called then, once."""

    def __init__(self, file: BufferedRandom, on_closed: Callable[[], None]) -> None:
        """Reads the file: call it in a thread."""
        file.seek(0)
        self._file, self._on_closed = file, on_closed
        self.tag = f'"{hashlib.file_digest(file, "sha256").hexdigest()[:32]}"'
        """Strong entity tag."""
        self.size = file.tell()
        """Octets."""

    async def pieces(self, first: int, last: int) -> AsyncIterator[bytes]:
        """Return the octets from `first` to `last`, each piece once the client has read most of those before."""
        try:
            while first <= last:
                piece = await asyncio.to_thread(os.pread, self._file.fileno(), min(PIECE, last + 1 - first), first)
                first += len(piece)
                yield piece
        finally:
            self.close()

    def close(self) -> None:
        """Delete the file. Also when the client has gone before the first piece."""
        if not self._file.closed:
            self._file.close()
            self._on_closed()
