"""What must hold for any octets sent to a charger's status page: a short refusal, or nothing."""

import atexit
import base64
import contextlib
import re
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from secc.config import StatusPageConfig
from secc.status import ChargerStatus
from secc.status_page import PageServer
from v2g.io.http.server import HEAD_BYTES

TOKEN: Final = b"a-token-that-no-fuzzer-guesses-0123456789"


@cache
def _server() -> PageServer:
    config = StatusPageConfig(port=0, token_file=Path("unused"))
    server = PageServer(config, TOKEN, lambda: ChargerStatus(0, program="secret"), lambda _: None)
    atexit.register(server.server_close)
    return server


def request(data: bytes) -> None:
    """Any octets of a client that has no token."""
    client, charger = socket.socketpair()
    with client, charger:
        client.sendall(data[: 2 * HEAD_BYTES])
        client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            _server().finish_request(charger, ("client", 0))
        charger.close()
        answer = b""
        while part := _read(client):
            answer += part
    assert len(answer) < 2_000
    assert b"secret" not in answer
    assert not answer or re.match(rb"(HTTP/1\.0 )?[45]\d\d[ \n]|token required", answer), answer


def _read(client: socket.socket) -> bytes:
    try:
        return client.recv(65_536)
    except ConnectionResetError:  # the charger has left octets unread
        return b""


def request_seeds() -> list[bytes]:
    basic = base64.b64encode(b"user:" + TOKEN[:-1])
    return [
        b"GET / HTTP/1.1\r\nHost: charger\r\n\r\n",
        b"GET /status.json HTTP/1.0\r\nAuthorization: Bearer " + TOKEN[1:] + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: Basic " + basic + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        b"GET /\r\n",
    ]


TARGETS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]]] = {
    "status-page": (request, request_seeds)
}
