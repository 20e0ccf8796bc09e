"""Connections without TLS: made on purpose only, loudly, and bounded."""

import asyncio
import logging
from collections.abc import AsyncIterator
from ipaddress import IPv6Address

import pytest

from tests.waiting import until
from v2g.errors import ConfigError, TransportError
from v2g.io.network import plain_tcp
from v2g.io.network.sdp import tls_answer
from v2g.io.tls.endpoint import INTEROP, ISO15118_20
from v2g.iso15118.engine.sdp import TCP_PORTS, SdpRequest, Security, Transport
from v2g.observe import Observe

LOCALHOST = IPv6Address("::1")


def test_the_standard_profile_knows_no_connections_without_tls() -> None:
    said: list[Observe] = []
    with pytest.raises(ConfigError, match="without_tls") as caught:
        plain_tcp.permit(ISO15118_20, said.append)
    assert "interop" in caught.value.hint
    assert not said


def test_the_other_profile_says_so_loudly(caplog: pytest.LogCaptureFixture) -> None:
    said: list[Observe] = []
    with caplog.at_level(logging.WARNING):
        plain_tcp.permit(INTEROP, said.append)
    assert "without TLS" in caplog.text
    assert [(event.stage, event.name) for event in said] == [("tls", "not_demanded")]


def test_editions_that_may_do_without_tls_are_said_as_loudly() -> None:
    said: list[Observe] = []
    for editions in (("20", "2"), ("din",)):
        plain_tcp.permit(ISO15118_20, said.append, editions=editions)
    assert [event.name for event in said] == ["not_demanded"] * 2
    with pytest.raises(ConfigError):
        plain_tcp.permit(ISO15118_20, said.append, editions=("20",))


@pytest.mark.parametrize(
    ("asked", "plain_port", "reported"),
    [
        (Security.TLS, None, (Security.TLS, 61000)),
        (Security.NONE, None, (Security.TLS, 61000)),  # V2G20-1238
        (Security.TLS, 62000, (Security.TLS, 61000)),  # whoever wants TLS gets it
        (Security.NONE, 62000, (Security.NONE, 62000)),
    ],
)
def test_sdp_names_the_port_without_tls_only_to_those_who_ask_for_it_where_there_is_one(
    asked: Security, plain_port: int | None, reported: tuple[Security, int]
) -> None:
    answer = tls_answer(LOCALHOST, 61000, plain_port=plain_port)
    response = answer(SdpRequest(security=asked))
    assert response is not None
    assert (response.security, response.port) == reported
    assert answer(SdpRequest(security=asked, transport=Transport.UDP)) is None


@pytest.fixture
async def served() -> AsyncIterator[tuple[plain_tcp.PlainServer, list[plain_tcp.PlainStream]]]:
    """Return a server that sends back what it gets, and its connections."""
    streams: list[plain_tcp.PlainStream] = []

    async def echo(stream: plain_tcp.PlainStream) -> None:
        streams.append(stream)
        while data := await stream.read(100):
            await stream.write(data)

    server = await plain_tcp.serve("::1", TCP_PORTS, echo)
    yield server, streams
    await server.close()


async def test_bytes_go_both_ways_and_nobody_is_known(
    served: tuple[plain_tcp.PlainServer, list[plain_tcp.PlainStream]],
) -> None:
    server, streams = served
    assert server.port in TCP_PORTS
    async with asyncio.timeout(60):
        stream = await plain_tcp.connect("::1", server.port, timeout=2)
        await stream.write(b"hello")
        assert await stream.read(100) == b"hello"
        await stream.close()
        await stream.close()
    assert (streams[0].peer_leaf, streams[0].own, streams[0].address) == (b"", None, "::1")


async def is_over(stream: plain_tcp.PlainStream) -> bool:
    try:
        return await stream.read(1) == b""
    except TransportError:  # reset
        return True


async def test_one_connection_too_many_is_closed_at_once_and_makes_room_for_nobody(
    served: tuple[plain_tcp.PlainServer, list[plain_tcp.PlainStream]],
) -> None:
    server, streams = served
    async with asyncio.timeout(60):
        held = [await plain_tcp.connect("::1", server.port, timeout=2) for _ in range(plain_tcp.MAX_CONNECTIONS)]
        await until(lambda: len(streams) >= plain_tcp.MAX_CONNECTIONS)
        extra = await plain_tcp.connect("::1", server.port, timeout=2)
        assert await is_over(extra)
        await held[0].write(b"still here")
        assert await held[0].read(100) == b"still here"
        for each in (*held, extra):
            await each.close()


async def test_a_handler_that_breaks_is_reported_and_its_connection_closed() -> None:
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))

    async def broken(_stream: plain_tcp.PlainStream) -> None:
        raise LookupError("a bug")

    server = await plain_tcp.serve("::1", TCP_PORTS, broken)
    async with asyncio.timeout(60):
        stream = await plain_tcp.connect("::1", server.port, timeout=2)
        assert await is_over(stream)
        await stream.close()
    assert reported == ["task PlainServer._serve_one failed"]
    await server.close()


async def test_nobody_there_is_a_transport_failure() -> None:
    server = await plain_tcp.serve("::1", TCP_PORTS, lambda _: asyncio.sleep(0))
    port = server.port
    await server.close()
    with pytest.raises(TransportError, match=f"cannot reach ::1 port {port}: Connection refused"):
        await plain_tcp.connect("::1", port, timeout=2)
