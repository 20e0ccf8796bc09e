"""Cancellation of HTTP exchanges; without the client, so that what may transfer files need not load it."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Final, Protocol

from v2g.errors import TransferError


class CancellableConnection(Protocol):
    """What can be cancelled."""

    def shut(self) -> None:
        """End the connection, from any thread."""

    def close(self) -> None:
        """Release it."""


class Cancel:
    """Cancels exchanges, from any thread: also one that waits for its server."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._connection: CancellableConnection | None = None
        self.cancelled = False
        """Whether cancellation was requested."""

    def cancel(self) -> None:
        """Cancel present and later exchanges."""
        with self._lock:
            self.cancelled = True
            if self._connection is not None:
                self._connection.shut()

    @contextlib.contextmanager
    def watching(self, connection: CancellableConnection, most_s: float | None = None) -> Iterator[None]:
        """Register the connection to cancel, at the latest after `most_s`; a server may be arbitrarily slow."""
        with self._lock:
            self._connection = connection
        late = None if most_s is None else threading.Timer(most_s, self._end, (connection,))
        if late is not None:
            late.daemon = True
            late.start()
        try:
            self.check()
            yield
        finally:
            if late is not None:
                late.cancel()
            with self._lock:
                self._connection = None
            connection.close()

    def _end(self, connection: CancellableConnection) -> None:
        with self._lock:
            if self._connection is connection:
                connection.shut()

    def check(self) -> None:
        """Raise TransferError if cancelled."""
        if self.cancelled:
            raise TransferError("the transfer was cancelled", "cancelled")
