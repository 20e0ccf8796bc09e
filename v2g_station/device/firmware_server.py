"""The server from which other stations of the site download firmware. Loaded when the first file is published."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from v2g.io.http.server import BoundedServer, HttpHandler

PATIENCE_S: Final = 30.0
"""Time limit of a client for a request, or for each block."""


class FirmwareServer(BoundedServer):
    """Serves the files of `found`; `fetching` is called with the number of downloads of a file."""

    def __init__(self, address: str, port: int, most_clients: int, fetching: Callable[[str, int], None]) -> None:
        self.found: dict[str, Path] = {}
        self._fetching = fetching
        self._counts: dict[str, int] = {}
        super().__init__(address, port, _FirmwareHandler, most_clients=most_clients)

    def serve(self, checksum: str, change: int) -> None:
        """Count the downloads of a file."""
        with self._lock:
            count = self._counts[checksum] = self._counts.get(checksum, 0) + change
            self._fetching(checksum, count)


class _FirmwareHandler(HttpHandler):
    timeout = PATIENCE_S
    server: FirmwareServer

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """Send a published file."""
        checksum = self.path.removeprefix("/firmware/")
        file = self.server.found.get(checksum)
        if file is None:
            self.send_error(404)
        else:
            self.server.serve(checksum, 1)
            try:
                with contextlib.suppress(OSError), file.open("rb") as body:
                    self.send_response(200)
                    self.send_header("Content-Type", "application/octet-stream")
                    self.send_header("Content-Length", str(file.stat().st_size))
                    self.end_headers()
                    shutil.copyfileobj(body, self.wfile, 64 * 1024)
            finally:
                self.server.serve(checksum, -1)
