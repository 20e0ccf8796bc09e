"""The server from which other stations of the site download firmware. Loaded when the first file is published."""

import contextlib
import shutil
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

PATIENCE_S: Final = 30.0
"""Time limit of a client for a request, or for each block."""

_ROOM_S: Final = 1.0
"""How long a new client waits for a thread to end: that of the oldest idle client, or one that is done."""


class FirmwareServer(ThreadingHTTPServer):
    """Serves the files of `found`; `fetching` is called with the number of downloads of a file."""

    daemon_threads = True

    def __init__(self, address: str, port: int, most_clients: int, fetching: Callable[[str, int], None]) -> None:
        self.found: dict[str, Path] = {}
        self._fetching, self._room = fetching, threading.Semaphore(most_clients)
        self._counts: dict[str, int] = {}
        self._silent: dict[socket.socket, None] = {}
        self._lock = threading.Lock()
        super().__init__((address, port), _Handler)

    def serve(self, checksum: str, change: int) -> None:
        """Count the downloads of a file."""
        with self._lock:
            count = self._counts[checksum] = self._counts.get(checksum, 0) + change
            self._fetching(checksum, count)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Admit a client if there is room soon; the oldest one without a request makes room if necessary."""
        room = self._room.acquire(blocking=False)
        if not room:
            with self._lock:
                oldest = next(iter(self._silent), None)
                if oldest is not None:
                    del self._silent[oldest]
                    with contextlib.suppress(OSError):
                        oldest.shutdown(socket.SHUT_RDWR)
            if not self._room.acquire(timeout=_ROOM_S):
                return False
        with self._lock:
            self._silent[request] = None
        return True

    def has_asked(self, request: Any) -> None:
        """Note that a client has sent a request."""
        with self._lock:
            self._silent.pop(request, None)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a client, then release its slot."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.has_asked(request)
            self._room.release()


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE_S
    server: FirmwareServer

    def do_GET(self) -> None:  # http.server's name
        """Send a published file."""
        self.server.has_asked(self.connection)
        checksum = self.path.removeprefix("/firmware/")
        file = self.server.found.get(checksum)
        if file is None:
            self.send_error(404)
        else:
            self.server.serve(checksum, 1)
            try:
                self._give(file)
            finally:
                self.server.serve(checksum, -1)

    def _give(self, file: Path) -> None:
        with contextlib.suppress(OSError), file.open("rb") as body:
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(file.stat().st_size))
            self.end_headers()
            shutil.copyfileobj(body, self.wfile, 64 * 1024)

    def log_message(self, *_: Any) -> None:
        """Log nothing: clients are other stations."""
