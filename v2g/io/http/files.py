"""Files over HTTP(S): uploaded or downloaded in pieces, within limits, and cancellable.

Blocking, for a thread. Redirects are not followed (N01.FR.30), the userinfo of a URL is Basic authentication
(N01.FR.25), and the whole transfer has a time limit besides that of each piece.
"""

import contextlib
import http.client
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final
from urllib.parse import SplitResult

from v2g.errors import TransferError, TransferFailure
from v2g.io.http.cancel import Cancel
from v2g.io.http.client import HttpConnection, authorization_of, split_url, target_of

PIECE: Final = 64 * 1024
WAIT_S: Final = 30.0
"""Time-out for the server's next piece."""


def upload(
    url: str,
    file: Path,
    filename: str,
    *,
    context: ssl.SSLContext | None = None,
    cancel: Cancel | None = None,
    most_s: float = 3600.0,
) -> None:
    """PUT a file; a server without PUT gets a POST (N01.FR.18, .19). Raises TransferError.

    `filename` is appended to a URL that ends with a slash (N01.FR.21); any other is used as it is (N01.FR.29).
    """
    where = split_url(url + filename if url.endswith("/") else url)
    try:
        _send("PUT", where, file, filename, context, cancel or Cancel(), most_s)
    except TransferError as error:
        if error.failure != "unsupported":
            raise
        _send("POST", where, file, filename, context, cancel or Cancel(), most_s)


def download(
    url: str,
    into: IO[bytes],
    *,
    most: int,
    context: ssl.SSLContext | None = None,
    cancel: Cancel | None = None,
    most_s: float = 3600.0,
    each: Callable[[bytes], None] = lambda _: None,
    start: int = 0,
) -> int:
    """GET a file of at most `most` bytes into an open one; return its size. `each` gets every piece.

    `into` has the first `start` bytes already: the rest is asked for (RFC 9110, 14.2). A server that sends all
    nevertheless begins anew.

    Raises TransferError, also for a file longer than allowed, or shorter than announced; OSError of the disk.
    """
    where, end, cancel = split_url(url), time.monotonic() + most_s, cancel or Cancel()
    wanted = {"Range": f"bytes={start}-"} if start else {}
    with _answered("GET", where, context, cancel, most_s, wanted) as response:
        # where the answer begins in the file
        if start and response.status == http.client.PARTIAL_CONTENT:
            if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise TransferError("the server sends another part than asked for", "refused")
            size = start
        else:
            if start:
                into.seek(0)
                into.truncate()
            size = 0
        said = None if response.length is None else size + response.length
        if said is not None and said > most:
            raise TransferError(f"the file has {said} bytes, {most} are allowed", "too_large")
        while piece := _read(response):
            cancel.check()
            _in_time(end)
            size += len(piece)
            if size > most:
                raise TransferError(f"the file has more than the {most} bytes that are allowed", "too_large")
            try:
                into.write(piece)
            except OSError as error:  # without a name it would be the connection's
                raise OSError(error.errno, error.strerror, into.name) from None
            each(piece)
        if said is not None and size != said:
            raise TransferError(f"{size} of {said} bytes received", "unreachable")
    return size


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(PIECE)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransferError(f"the connection broke: {error}", "unreachable") from None


def _in_time(end: float) -> None:
    if time.monotonic() > end:
        raise TransferError("the transfer takes too long", "unreachable")


@contextlib.contextmanager
def _answered(
    method: str,
    where: SplitResult,
    context: ssl.SSLContext | None,
    cancel: Cancel,
    most_s: float,
    headers: Mapping[str, str],
    body: Iterable[bytes] | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """Send a request, and yield a successful answer."""
    try:
        connection = HttpConnection(where, context=context, timeout_s=WAIT_S)
        with cancel.watching(connection, most_s):
            connection.connect()
            try:
                connection.request(method, target_of(where), body, {**authorization_of(where), **headers})
            except (BrokenPipeError, ConnectionResetError):
                if body is None:  # a server that rejects may answer before it has read all
                    raise
            with connection.getresponse() as response:
                _judge(response.status)
                yield response
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # the disk's
        cancel.check()
        raise TransferError(f"{where.hostname}: {str(error) or type(error).__name__}", "unreachable") from None


def _send(
    method: str,
    where: SplitResult,
    file: Path,
    filename: str,
    context: ssl.SSLContext | None,
    cancel: Cancel,
    most_s: float,
) -> None:
    end = time.monotonic() + most_s
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)}
    if method == "POST":
        headers["Content-Disposition"] = f'form-data; name="uploadfile"; filename="{filename}"'

    def pieces() -> Iterator[bytes]:
        while piece := body.read(PIECE):
            cancel.check()
            _in_time(end)
            yield piece

    with file.open("rb") as body, _answered(method, where, context, cancel, most_s, headers, pieces()):
        pass


def _judge(status: int) -> None:
    """Raise TransferError for a status other than success."""
    if 200 <= status < 300:
        return
    failure: TransferFailure = "unreachable"
    if 300 <= status < 400:
        failure = "redirect"
    elif status in (401, 403):
        failure = "denied"
    elif status in (405, 501):
        failure = "unsupported"
    elif status in (400, 411, 413, 415, 422):
        failure = "too_large" if status == 413 else "refused"
    raise TransferError(f"the server answered with status {status}", failure, status=status)
