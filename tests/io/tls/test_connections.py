"""TLS of ISO 15118-20 between our own two ends: agreement, endings, garbage."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.io.tls.support import Make, Serving, echo, evcc, join, secc, serving
from v2g.errors import TlsError, TransportError
from v2g.io.tls import server as tls_server
from v2g.io.tls.client import connect
from v2g.io.tls.endpoint import ISO15118_20, TlsChannel, open_channel
from v2g.io.tls.server import ADDRESS_BURST, serve
from v2g.io.tls.stream import TlsStream
from v2g.iso15118.engine.sdp import TCP_PORTS
from v2g.pki.profile import KeyKind, Role

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture
def tree(pki: PkiTree) -> PkiTree:
    return pki


@pytest.fixture
def wrong(tmp_path: Path) -> Make:
    return lambda **options: make_pki(tmp_path, now=datetime.now(UTC), options=PkiOptions(**options))


# --- agreement -------------------------------------------------------------------------------------------------


async def test_both_sides_are_authenticated_on_secp521r1_with_a_stapled_answer(tree: PkiTree) -> None:
    seen: list[TlsStream] = []

    async def handler(stream: TlsStream) -> None:
        seen.append(stream)
        await echo(stream)

    async with serving(tree, handler) as server:
        stream = await join(server, tree)
        await stream.write(b"x" * 100_000)
        received = 0
        while received < 100_000:
            received += len(await stream.read(65536))
        await stream.close()
        await stream.close()
    assert (stream.version, stream.cipher, stream.group) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "secp521r1")
    assert stream.ocsp_response == tree.staple()
    assert stream.peer_chain == tree.chain("secc")
    assert stream.peer.role is Role.SECC
    assert seen[0].peer_chain == tree.chain("vehicle")
    assert seen[0].peer.subject_cn == PkiOptions().evcc_id
    assert seen[0].ocsp_response == b""


@pytest.mark.parametrize("cipher", ISO15118_20.ciphers)
@pytest.mark.parametrize("group", ISO15118_20.groups)
async def test_every_cipher_and_group_of_the_standard_works(tree: PkiTree, cipher: str, group: str) -> None:
    profile = replace(ISO15118_20, ciphers=(cipher,), groups=(group,))
    async with serving(tree) as server:
        stream = await join(server, tree, profile=profile)
        assert (stream.cipher, stream.group) == (cipher, group.lower())
        await stream.close()


async def test_ed448_certificates_work(wrong: Make) -> None:
    tree = wrong(key_kind=KeyKind.ED448)
    async with serving(tree) as server:
        stream = await join(server, tree)
        assert stream.peer_chain == tree.chain("secc")
        await stream.close()


async def test_the_server_prefers_its_own_order_of_ciphers(tree: PkiTree) -> None:
    async with serving(tree) as server:
        stream = await join(server, tree, profile=replace(ISO15118_20, ciphers=ISO15118_20.ciphers[::-1]))
        assert stream.cipher == ISO15118_20.ciphers[0]
        await stream.close()


async def test_extensions_that_annex_b_marks_critical_are_accepted(wrong: Make) -> None:
    tree = wrong(annex_b_critical=True)
    async with serving(tree) as server:
        stream = await join(server, tree)
        await stream.write(b"hello")
        assert await stream.read(10) == b"hello"
        await stream.close()


async def test_a_vehicle_whose_root_the_station_lacks_gets_that_reason(tree: PkiTree) -> None:
    async with serving(tree, anchors=tree.anchors("v2g")) as server:
        stream = await join(server, tree)
        assert await server.failure() == "unknown_ca"
        with pytest.raises(TlsError) as error:
            await stream.read(1)
        assert error.value.reason == "own_certificate_unknown_ca"
        await stream.close()


# --- no common ground ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ciphers": ("TLS_AES_128_GCM_SHA256",)}, "no_common_cipher"),
        ({"groups": ("prime256v1",)}, "no_common_group"),
        ({"signature_algorithms": ("ecdsa_secp256r1_sha256",)}, "no_common_signature_algorithm"),
    ],
)
async def test_nothing_in_common_is_told_apart(tree: PkiTree, wrong: Make, change: dict[str, Any], reason: str) -> None:
    theirs = wrong(key_kind=KeyKind.SECP256R1) if "signature_algorithms" in change else tree
    async with serving(tree) as server:
        clock = asyncio.get_running_loop().time
        began = clock()
        with pytest.raises(TlsError) as error:
            await join(server, theirs, profile=replace(ISO15118_20, **change))
        assert error.value.reason == "handshake_refused"
        assert next(iter(change.values()))[0] in error.value.hint
        assert await server.failure() == reason
        assert clock() - began < 5


async def test_a_silent_server_is_named_after_the_timeout(tree: PkiTree) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(silent, "::1", 0)
    with pytest.raises(TlsError) as error:
        await connect(
            "::1",
            listener.sockets[0].getsockname()[1],
            evcc(tree),
            timeout=0.05,
        )
    assert error.value.reason == "peer_silent"
    listener.close()
    await listener.wait_closed()


async def test_a_silent_client_is_named_after_the_timeout(tree: PkiTree) -> None:
    async with serving(tree, timeout=0.05) as server:
        _reader, writer = await asyncio.open_connection("::1", server.port)
        assert await server.failure() == "peer_silent"
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("greeting", [b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\x01\xfe\x80\x01\x00\x00\x00\x10"])
async def test_a_client_that_speaks_no_tls_is_named(tree: PkiTree, greeting: bytes) -> None:
    async with serving(tree) as server:
        _reader, writer = await asyncio.open_connection("::1", server.port)
        writer.write(greeting)
        assert await server.failure() == "not_tls"
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_hangs_up_is_named(tree: PkiTree) -> None:
    async with serving(tree) as server:
        _reader, writer = await asyncio.open_connection("::1", server.port)
        writer.close()
        await writer.wait_closed()
        assert await server.failure() == "closed"


async def test_nobody_there_and_a_taken_port_are_transport_errors(tree: PkiTree) -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(TransportError, match=f"cannot reach ::1 port {port}: Connection refused"):
            await connect("::1", port, evcc(tree))
        taken.listen()
        with pytest.raises(TransportError, match="cannot listen"):
            await serve("::1", port, echo, secc(tree))


async def test_an_own_certificate_that_the_profile_forbids_is_found_before_anybody_connects(wrong: Make) -> None:
    small = wrong(key_kind=KeyKind.SECP256R1)
    with pytest.raises(TlsError, match="secp256r1, which iso15118-20 does not allow") as error:
        await serve("::1", 0, echo, secc(small))
    assert error.value.reason == "own_certificate_unsuitable"
    assert "interop" in error.value.hint


async def test_of_a_range_a_free_port_is_drawn(tree: PkiTree) -> None:
    server = await serve("::1", TCP_PORTS, echo, secc(tree))
    assert server.port in TCP_PORTS
    try:
        both = range(server.port, server.port + 2)
        other = await serve("::1", both, echo, secc(tree))
        assert other.port == both[1]
        with pytest.raises(TransportError, match="no free port"):
            await serve("::1", both, echo, secc(tree))
        await other.close()
    finally:
        await server.close()


# --- ending ----------------------------------------------------------------------------------------------------


async def test_a_close_notify_is_an_end_and_a_dead_peer_is_not(tree: PkiTree) -> None:
    kill = asyncio.Event()

    async def handler(stream: TlsStream) -> None:
        if kill.is_set():
            stream._writer.transport.abort()

    async with serving(tree, handler) as server:
        stream = await join(server, tree)
        assert await stream.read(1) == b""
        await stream.close()
        kill.set()
        stream = await join(server, tree)
        with pytest.raises(TransportError):
            await stream.read(1)
        await stream.close()


async def test_a_reader_that_waits_while_we_close_sees_the_end(tree: PkiTree) -> None:
    async with serving(tree) as server:
        stream = await join(server, tree)
        waiting = asyncio.create_task(stream.read(1))
        await stream.write(b"")
        await stream.close()
        assert await waiting == b""


async def test_a_handler_that_breaks_is_reported_and_its_connection_closed(tree: PkiTree) -> None:
    reported: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["exception"]))

    async def handler(_stream: TlsStream) -> None:
        raise ZeroDivisionError

    async with serving(tree, handler) as server:
        stream = await join(server, tree)
        assert await stream.read(1) == b""
        await stream.close()
    assert [type(error) for error in reported] == [ZeroDivisionError]


async def test_many_who_do_not_finish_the_handshake_cannot_keep_others_out(
    tree: PkiTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_server, "MAX_HANDSHAKES", 4)
    async with serving(tree) as server:
        kept = await join(server, tree)
        half_open = [await asyncio.open_connection("::1", server.port) for _ in range(12)]
        last = await join(server, tree)
        for stream in (kept, last):
            await stream.write(b"x")
            assert await stream.read(1) == b"x"
            await stream.close()
        dropped = half_open[:8]
        for reader, writer in dropped:
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        assert len(server.server._tasks) <= 6
        for _, writer in half_open[8:]:
            writer.close()


async def _replay(server: Serving, hello: bytes, *, host: str = "::1", source: str | None = None) -> bytes:
    """Return what comes at once for a repeated ClientHello: the answer, b"" if it has to wait."""
    reader, writer = await asyncio.open_connection(host, server.port, local_addr=(source, 0) if source else None)
    writer.write(hello)
    try:
        async with asyncio.timeout(0.02):
            return await reader.read(1)
    except (ConnectionError, TimeoutError):
        return b""
    finally:
        writer.close()


def _hello(tree: PkiTree) -> bytes:
    channel = open_channel(evcc(tree))
    channel.handshake()
    return channel.take()


@pytest.mark.some(1)
async def test_who_repeats_a_client_hello_has_to_wait_for_each_signature_but_who_finishes_does_not(
    tree: PkiTree,
) -> None:
    async with serving(tree) as server:
        for _ in range(int(ADDRESS_BURST) + 4):
            await (await join(server, tree)).close()
        hello = _hello(tree)
        answers = [await _replay(server, hello) for _ in range(4 * int(ADDRESS_BURST))]
        assert answers.count(b"") > ADDRESS_BURST
        await (await join(server, tree)).close()


async def test_strangers_from_everywhere_leave_room_for_a_known_vehicle(tree: PkiTree) -> None:
    host = "127.0.0.1"
    async with serving(tree, host=host) as server:
        await (await connect(host, server.port, evcc(tree))).close()
        hello = _hello(tree)
        strangers = [_replay(server, hello, host=host, source=f"127.0.1.{number}") for number in range(1, 201)]
        flood = asyncio.gather(*strangers)
        await (await connect(host, server.port, evcc(tree))).close()
        assert (await flood).count(b"") > 100


async def test_closing_the_server_ends_open_connections(tree: PkiTree) -> None:
    async with serving(tree) as server:
        stream = await join(server, tree)
        await stream.write(b"x")
        assert await stream.read(1) == b"x"
        await server.server.close()
        assert await stream.read(1) == b""
        await stream.close()


# --- garbage ---------------------------------------------------------------------------------------------------


def _exchange(tree: PkiTree, flip: Callable[[bytes], bytes]) -> tuple[TlsChannel, TlsChannel]:
    """Run a handshake in memory; `flip` may change what the server gets. Raises TlsError."""
    client, server = open_channel(evcc(tree)), open_channel(secc(tree))
    for _ in range(4):
        client.handshake()
        server.feed(flip(client.take()))
        server.handshake()
        client.feed(server.take())
    return client, server


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(min_size=1, max_size=200), server=st.booleans())
def test_garbage_leads_to_the_one_error_or_to_waiting(tree: PkiTree, data: bytes, server: bool) -> None:
    channel = open_channel(secc(tree) if server else evcc(tree))
    channel.feed(data)
    with suppress(TlsError):
        assert channel.handshake() is False


@pytest.mark.some(1)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 4000), bit=st.integers(0, 7), turn=st.integers(0, 1))
def test_a_flipped_bit_never_leads_to_an_unverified_connection(
    tree: PkiTree, position: int, bit: int, turn: int
) -> None:
    turns = iter(range(10))

    def flip(data: bytes) -> bytes:
        if next(turns) != turn or not data:
            return data
        changed = bytearray(data)
        changed[position % len(data)] ^= 1 << bit
        return bytes(changed)

    try:
        client, server = _exchange(tree, flip)
    except TlsError:
        return
    # Some bits do not matter to the handshake, such as the legacy version of the record layer.
    for channel, name in ((client, "secc"), (server, "vehicle")):
        if channel.peer is not None:
            assert channel.peer.der == tree.chain(name)


async def test_an_ocsp_answer_that_cannot_be_read_is_named_and_the_server_goes_on(tree: PkiTree) -> None:
    def gone() -> bytes:
        raise FileNotFoundError(2, "No such file or directory")

    async with serving(tree, staple=gone) as server:
        with suppress(TransportError):
            await (await join(server, tree)).close()
        assert await server.failure() == "staple_unreadable"
