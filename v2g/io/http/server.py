"""Small HTTP servers in threads of their own, for files and pages: one request a connection, and no client can keep
others out or grow the program. The event loop has nothing to do with them."""

import contextlib
import logging
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any, Final, cast

_log = logging.getLogger(__name__)

HEAD_BYTES: Final = 16_384
"""Longest request line and headers together; the rest of a longer head is not read."""

_ROOM_S: Final = 1.0
"""How long a new client waits for a thread to end: that of the oldest idle client, or one that is done."""


class BoundedServer(ThreadingHTTPServer):
    """At most `most_clients` threads: the oldest client without a complete request makes room for a new one.

    `per_s` clients a second are accepted, others wait in the kernel's queue; 0 accepts all. Raises OSError when it
    cannot listen.
    """

    daemon_threads = True
    request_queue_size = 16

    def __init__(
        self,
        address: str,
        port: int,
        handler: "type[HttpHandler]",
        *,
        most_clients: int,
        per_s: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._tls = tls
        self._room = threading.Semaphore(most_clients)
        self._silent: dict[socket.socket, None] = {}
        self._lock = threading.Lock()
        self._pause_s, self._next_s = 1 / per_s if per_s else 0.0, 0.0
        super().__init__((address, port), handler)

    def server_bind(self) -> None:
        """Bind without asking for the host's name, which may take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def get_request(self) -> tuple[Any, Any]:
        """Accept a client, not sooner than its turn."""
        time.sleep(max(0.0, self._next_s - time.monotonic()))
        self._next_s = time.monotonic() + self._pause_s
        request, peer = super().get_request()
        if self._tls is not None:  # the handshake is for the client's thread
            request = self._tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        return request, peer

    def verify_request(self, request: Any, client_address: object) -> bool:
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

    def process_request_thread(self, request: Any, client_address: object) -> None:
        """Serve a client, then release its slot."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.has_asked(request)
            self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Note a client that failed, or made room: it has lost its own connection only."""
        _log.debug("client %s", client_address, exc_info=True)


class _Head:
    """The head of a request: the stream seems to end after `left` octets."""

    def __init__(self, stream: BufferedIOBase, left: int) -> None:
        self._stream, self._left = stream, left

    def readline(self, most: int = -1) -> bytes:
        line = self._stream.readline(min(self._left, most if most >= 0 else self._left))
        self._left -= len(line)
        return line

    def close(self) -> None:
        self._stream.close()


class HttpHandler(BaseHTTPRequestHandler):
    """One request of a BoundedServer. `timeout` (s) limits each wait for the client, and the whole of a response."""

    timeout = 30.0
    server: BoundedServer

    def setup(self) -> None:
        """Begin the connection, in the client's own thread."""
        super().setup()
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.do_handshake()
        self.body = self.rfile
        """What follows the head: read no more of it than Content-Length says."""
        self.rfile = cast(BufferedIOBase, _Head(self.rfile, HEAD_BYTES))  # only lines are read of it

    def parse_request(self) -> bool:
        """Read the head; the client then no longer makes room for others."""
        read = super().parse_request()
        self.server.has_asked(self.request)
        return read

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with a status and nothing of the request."""
        del message, explain
        self.close_connection = True
        self.answer(405 if code == 501 else code, f"{code}\n".encode(), {"Allow": "GET"} if code == 501 else {})

    def answer(self, code: int, body: bytes, headers: dict[str, str], kind: str = "text/plain; charset=utf-8") -> None:
        """Answer a request; a client that has gone, or does not read, is left."""
        with contextlib.suppress(OSError):
            self.send_response_only(code)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""
