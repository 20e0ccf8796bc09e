"""Transfers over HTTP: a server that drips does not hold one for longer than the whole may take."""

import contextlib
import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from v2g.errors import TransferError
from v2g.io.http.files import download, upload

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@contextlib.contextmanager
def dripping(first: bytes) -> Iterator[str]:
    """Run a server that says `first`, then an octet every now and then until the client has gone."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(first)
                while not ended.wait(0.01):
                    connection.sendall(b"x")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/file"
    finally:
        ended.set()
        listener.close()
        thread.join()


@pytest.mark.parametrize("first", [b"", HEAD[:10], HEAD])
def test_a_download_ends_when_its_time_is_up(first: bytes) -> None:
    with dripping(first) as url, pytest.raises(TransferError):
        download(url, io.BytesIO(), most=10**9, most_s=0.3)


def test_a_full_disk_is_not_the_servers() -> None:
    full = Path("/dev/full")
    with (
        dripping(HEAD + bytes(500_000)) as url,
        full.open("wb", buffering=0) as disk,
        pytest.raises(OSError, match="No space left on device: '/dev/full'"),
    ):
        download(url, disk, most=10**9)


@pytest.mark.parametrize("first", [b"", HEAD[:10]])
def test_an_upload_ends_when_its_time_is_up(first: bytes, tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"log")
    with dripping(first) as url, pytest.raises(TransferError):
        upload(url, file, "log", most_s=0.3)
