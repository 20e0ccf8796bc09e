"""The file server of the tester: firmware that a station downloads, and logs that it uploads, over HTTP."""

import http
import ssl
import threading
from functools import partial
from typing import Final

import msgspec

from v2g.io.http.server import BoundedServer, HttpHandler
from v2g.io.runtime.supervision import new_thread

LONGEST_HOLD_S: Final = 120.0
"""After what time a held transfer continues by itself."""
MOST_BYTES: Final = 256 * 1024 * 1024
"""Largest upload."""
_PIECE: Final = 64 * 1024


class Upload(msgspec.Struct, frozen=True):
    """A file that came: by which method, at which path, and its content; `disposition` is the header's."""

    method: str
    path: str
    body: bytes
    disposition: str = ""


class FileServer:
    """Listens at `host` and `port` (0 chooses one) once it is started. All methods may be called at any time."""

    def __init__(self, host: str, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.host, self._port, self._tls = host, port, tls
        self._server: _Server | None = None
        self._free = threading.Event()
        self._free.set()
        self._waiting: set[int] = set()
        """Threads whose requests wait for `release`."""
        self.files: dict[str, bytes] = {}
        """What can be downloaded, by path."""
        self.missing = int(http.HTTPStatus.NOT_FOUND)
        """What downloads of other files are answered with."""
        self.status = int(http.HTTPStatus.CREATED)
        """What uploads are answered with."""
        self.location = ""
        """Where uploads are redirected to."""
        self.authorization = ""
        """What uploads must have in the header Authorization; they are asked for it."""
        self.uploads: list[Upload] = []
        self.asked: list[str] = []
        """Methods and paths of all requests."""

    def start(self) -> int:
        """Listen, if that has not begun; return the port. Raises OSError."""
        if self._server is None:
            self._server = _Server(self.host, self._port, self, self._tls)
            new_thread(target=partial(self._server.serve_forever, 0.05), name="files").start()
        return self._server.server_port

    def stop(self) -> None:
        """Stop listening."""
        self.reset()
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def reset(self) -> None:
        """Forget all files and uploads, and let go what is held."""
        self._free.set()
        self.files, self.uploads, self.asked = {}, [], []
        self.missing = int(http.HTTPStatus.NOT_FOUND)
        self.status, self.location, self.authorization = int(http.HTTPStatus.CREATED), "", ""

    def hold(self) -> None:
        """Answer no request before `release`."""
        self._free.clear()

    def release(self) -> None:
        """Answer what was held."""
        self._free.set()

    @property
    def holds(self) -> bool:
        """Whether a request waits for `release`."""
        return bool(self._waiting) and not self._free.is_set()

    def wait_for_release(self) -> None:
        """Wait while requests are held; for the thread of a request."""
        me = threading.get_ident()
        self._waiting.add(me)
        self._free.wait(LONGEST_HOLD_S)
        self._waiting.discard(me)


class _Server(BoundedServer):
    def __init__(self, host: str, port: int, owner: FileServer, tls: ssl.SSLContext | None) -> None:
        self.owner = owner
        super().__init__(host, port, _FileHandler, most_clients=16, tls=tls)


class _FileHandler(HttpHandler):
    timeout = 30.0
    server: _Server

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """Send a file."""
        self.server.owner.asked.append(f"GET {self.path}")
        self.server.owner.wait_for_release()
        content = self.server.owner.files.get(self.path)
        if content is None:
            self.send_error(self.server.owner.missing)
        else:
            self.answer(200, content, {}, "application/octet-stream")

    def do_PUT(self) -> None:  # noqa: N802
        """Take a file."""
        self.server.owner.asked.append(f"{self.command} {self.path}")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self.send_error(411 if not length.isdecimal() else 413)
            return
        parts, left = [], int(length)
        while left and (part := self.body.read(min(left, _PIECE))):
            parts.append(part)
            left -= len(part)
        self.server.owner.wait_for_release()
        owner = self.server.owner
        headers = {"Location": owner.location} if owner.location else {}
        status = 400 if left else owner.status
        if owner.authorization and self.headers.get("Authorization") != owner.authorization:
            status, headers = 401, {"WWW-Authenticate": 'Basic realm="logs"'}
        if status < 300:
            shown = self.headers.get("Content-Disposition", "")
            owner.uploads.append(Upload(self.command, self.path, b"".join(parts), shown))
        self.answer(status, b"", headers)

    do_POST = do_PUT  # noqa: N815
