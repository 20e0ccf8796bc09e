"""Requests over HTTP: bounded in time and size, against a server that is not ours; cancelled in every phase."""

import asyncio
import base64
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from tests.web_server import serving
from v2g.errors import TransferError
from v2g.io.http.client import request

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def saying(*parts: bytes) -> AsyncIterator[str]:
    """Run a server that sends `parts` to every client, and then nothing."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
        await ended.wait()
        writer.close()

    ended = asyncio.Event()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        ended.set()
        server.close()


async def echo(incoming: web.Request) -> web.StreamResponse:
    """Return the request in words, in chunks."""
    response = web.StreamResponse(status=207)
    response.enable_chunked_encoding()
    await response.prepare(incoming)
    words = (incoming.method, incoming.raw_path, incoming.headers.get("Authorization", ""), await incoming.text())
    for word in words:
        await response.write(f"{word}\n".encode())
    return response


async def test_a_request_arrives_as_it_was_meant_and_a_chunked_answer_is_read_whole() -> None:
    async with serving(echo) as port:
        answer = await request("PUT", f"http://me:a%40b@127.0.0.1:{port}?x=1", most=200, timeout_s=5, body=b"hello")
    pair = base64.b64encode(b"me:a@b").decode()
    assert answer.ok
    assert (answer.status, answer.body.decode().splitlines()) == (207, ["PUT", "/?x=1", f"Basic {pair}", "hello"])


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_longer_answer_than_allowed_is_an_error_unless_it_is_not_wanted(chunked: bool) -> None:
    async def long(_: web.Request) -> web.StreamResponse:
        response = web.Response(body=bytes(1001), status=404)
        if chunked:
            response.enable_chunked_encoding()
        return response

    async with serving(long) as port:
        assert len((await request("GET", f"http://127.0.0.1:{port}/", most=1001, timeout_s=5)).body) == 1001
        with pytest.raises(TransferError, match="longer than 1000 bytes") as caught:
            await request("GET", f"http://127.0.0.1:{port}/", most=1000, timeout_s=5)
        assert caught.value.failure == "too_large"
        answer = await request("GET", f"http://127.0.0.1:{port}/", most=0, timeout_s=5)
        assert (answer.status, answer.ok, answer.body) == (404, False, b"")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"])
async def test_a_server_that_goes_silent_holds_neither_the_caller_nor_a_thread(scheme: str, said: bytes) -> None:
    async with saying(said) as host:
        with pytest.raises(TransferError) as caught:
            await request("GET", f"{scheme}://{host}/", most=100, timeout_s=0.2)
        assert caught.value.failure == "unreachable"
        for thread in threading.enumerate():
            if thread.name == "http":
                thread.join(5)
                assert not thread.is_alive()


async def test_an_answer_that_is_cut_off_is_an_error() -> None:
    async def cut(incoming: web.Request) -> web.StreamResponse:
        assert incoming.transport is not None
        incoming.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour")  # type: ignore[attr-defined]
        incoming.transport.close()
        return web.Response()

    async with serving(cut) as port:
        with pytest.raises(TransferError, match="5 bytes of its answer are missing"):
            await request("GET", f"http://127.0.0.1:{port}/", most=100, timeout_s=5)


async def test_the_next_address_is_tried() -> None:
    async with serving(echo) as port:
        url = f"http://example:{port}/"
        answer = await request("GET", url, most=99, timeout_s=5, resolve=lambda _: ["127.0.0.9", "127.0.0.1"])
    assert answer.ok


@pytest.mark.parametrize(
    "url",
    ["", "http://", "ftp://x/", "http://x:0/", "http://[", "http://x/\r\nA: b", "http://ä", f"http://{'x' * 64}/"],
)
async def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(TransferError) as caught:
        await request("GET", url, most=99, timeout_s=5)
    assert caught.value.failure == "refused"
