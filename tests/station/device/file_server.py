"""A file server that does what a test says, on a free port."""

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FileServer:
    """Gives `files` and takes what is sent: (method, path, headers, body). `judge` may return another status.

    A connection breaks after `breaks_after` octets of files, if that is not 0. With `drips_s`, an octet takes as long.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.taken: list[tuple[str, str, dict[str, str], bytes]] = []
        self.judge: Callable[[str, str], int | None] = lambda _method, _path: None
        self.asked = 0
        self.paths: list[str] = []
        self.ranges, self.breaks_after, self.sent = True, 0, 0
        self.drips_s = 0.0
        self.url = ""


@contextlib.contextmanager
def file_server(context: ssl.SSLContext | None = None) -> Iterator[FileServer]:
    """Run one, over TLS with a context."""
    found = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            found.asked += 1
            path = self.path.partition("?")[0]
            found.paths.append(path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = found.judge(self.command, self.path)
            answer = b""
            if status is None and self.command == "GET":
                status, answer = (200, found.files[path]) if path in found.files else (404, b"")
            elif status is None:
                status = 201
                found.taken.append((self.command, self.path, dict(self.headers), body))
            asked = self.headers.get("Range", "").removeprefix("bytes=").removesuffix("-")
            if asked and status == 200 and found.ranges:
                status, whole = 206, len(answer)
                answer = answer[int(asked) :]
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {asked}-{whole - 1}/{whole}")
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if found.breaks_after and "metadata" not in path:
                answer = answer[: found.breaks_after]
                self.close_connection = True
            found.sent += len(answer)
            if found.drips_s:
                with contextlib.suppress(OSError):  # nobody waits that long
                    for octet in answer:
                        self.wfile.write(bytes([octet]))
                        time.sleep(found.drips_s)
                return
            self.wfile.write(answer)

        do_GET = do_PUT = do_POST = _serve  # noqa: N815  # names of http.server

        def log_message(self, *_: Any) -> None:
            """Be silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
