"""TLS of ISO 15118-20, against itself, against the openssl command and against the standard library."""

import asyncio
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pki_tools.tree import Fault, PkiOptions, PkiTree, make_pki, refresh_staple
from v2g.errors import TlsError, TransportError
from v2g.net.tls import INTEROP, ISO15118_20, TlsProfile, TlsServer, TlsStream, connect, serve
from v2g.net.tls_channel import Channel, Endpoint
from v2g.pki.credentials import Credentials
from v2g.pki.issue import Issuer
from v2g.pki.keys import load_private_key
from v2g.pki.ocsp import make_response
from v2g.pki.profiles import KeyKind, Role

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
Make = Callable[..., PkiTree]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    return make_pki(tmp_path_factory.mktemp("pki"), now=datetime.now(UTC))


@pytest.fixture
def wrong(tmp_path: Path) -> Make:
    """Make a tree with options."""
    return lambda **options: make_pki(tmp_path, now=datetime.now(UTC), options=PkiOptions(**options))


async def echo(stream: TlsStream) -> None:
    while data := await stream.read(4096):
        await stream.write(data)


class Serving:
    def __init__(self) -> None:
        self.failures: asyncio.Queue[TlsError] = asyncio.Queue()
        self.server: TlsServer

    @property
    def port(self) -> int:
        return self.server.port

    async def failure(self) -> str:
        return (await asyncio.wait_for(self.failures.get(), 5)).reason


@asynccontextmanager
async def serving(
    tree: PkiTree, handler: Callable[[TlsStream], Coroutine[Any, Any, None]] = echo, **options: Any
) -> AsyncIterator[Serving]:
    result = Serving()
    options = {
        "credentials": tree.credentials("secc"),
        "anchors": tree.anchors("v2g", "oem"),
        "staple": tree.staple(),
    } | options
    result.server = await serve("::1", 0, handler, on_failure=result.failures.put_nowait, **options)
    try:
        yield result
    finally:
        await result.server.close()


async def join(server: Serving, tree: PkiTree, **options: Any) -> TlsStream:
    options = {"credentials": tree.credentials("vehicle"), "anchors": tree.anchors("v2g")} | options
    return await connect("::1", server.port, **options)


async def refused(server: Serving, tree: PkiTree, **options: Any) -> str:
    """Return the reason why the client will not have the connection."""
    with pytest.raises(TlsError) as error:
        await join(server, tree, **options)
    return error.value.reason


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


async def test_a_vehicle_whose_root_the_station_lacks_is_told_so(tree: PkiTree) -> None:
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
async def test_nothing_in_common_is_told_apart(tree: PkiTree, change: dict[str, Any], reason: str) -> None:
    async with serving(tree) as server:
        began = time.monotonic()
        with pytest.raises(TlsError) as error:
            await join(server, tree, profile=replace(ISO15118_20, **change))
        assert error.value.reason == "handshake_refused"
        assert next(iter(change.values()))[0] in error.value.hint
        assert await server.failure() == reason
        assert time.monotonic() - began < 5


async def test_a_silent_server_is_named_after_the_timeout(tree: PkiTree) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(silent, "::1", 0)
    with pytest.raises(TlsError) as error:
        await connect(
            "::1",
            listener.sockets[0].getsockname()[1],
            credentials=tree.credentials("vehicle"),
            anchors=tree.anchors("v2g"),
            timeout=0.05,
        )
    assert error.value.reason == "timeout"
    listener.close()
    await listener.wait_closed()


async def test_a_silent_client_is_named_after_the_timeout(tree: PkiTree) -> None:
    async with serving(tree, timeout=0.05) as server:
        _reader, writer = await asyncio.open_connection("::1", server.port)
        assert await server.failure() == "timeout"
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
        with pytest.raises(TransportError, match="cannot reach"):
            await connect("::1", port, credentials=tree.credentials("vehicle"), anchors=tree.anchors("v2g"))
        taken.listen()
        with pytest.raises(TransportError, match="cannot listen"):
            await serve("::1", port, echo, credentials=tree.credentials("secc"), anchors=tree.anchors("oem"))


# --- no trust --------------------------------------------------------------------------------------------------

FAULTS = [
    (Fault.EXPIRED, "peer_certificate_expired", "own_certificate_expired"),
    (Fault.NOT_YET_VALID, "peer_certificate_not_yet_valid", "own_certificate_refused"),
    (Fault.FOREIGN_ROOT, "unknown_ca", "own_certificate_unknown_ca"),
]


@pytest.mark.parametrize(("fault", "seen", "told"), FAULTS)
async def test_the_vehicle_refuses_a_wrong_secc_and_tells_it_why(
    wrong: Make, fault: Fault, seen: str, told: str
) -> None:
    tree = wrong(secc=fault)
    async with serving(tree) as server:
        assert await refused(server, tree) == seen
        assert await server.failure() == told


@pytest.mark.parametrize(("fault", "seen", "told"), FAULTS)
async def test_the_secc_refuses_a_wrong_vehicle_and_tells_it_why(
    wrong: Make, fault: Fault, seen: str, told: str
) -> None:
    tree = wrong(vehicle=fault)
    async with serving(tree) as server:
        stream = await join(server, tree)  # TLS 1.3: the client is done before the server has seen its certificate
        with pytest.raises(TlsError) as error:
            await stream.read(1)
        assert error.value.reason == told
        assert await server.failure() == seen
        await stream.close()


async def test_certificates_of_the_wrong_kind_are_refused_on_either_side(tree: PkiTree) -> None:
    async with serving(tree, anchors=tree.anchors("oem", "mo")) as server:
        stream = await join(server, tree, credentials=tree.credentials("contract"))
        assert await server.failure() == "unknown_ca"  # an MO root is no anchor for TLS, even if it was given
        await stream.close()
        stream = await join(server, tree, credentials=tree.credentials("provisioning"))
        assert await server.failure() == "peer_certificate_bad_profile"
        await stream.close()
    async with serving(tree, credentials=tree.credentials("vehicle")) as server:
        assert await refused(server, tree, anchors=tree.anchors("v2g", "oem")) == "unknown_ca"


async def test_a_chain_without_its_sub_cas_leads_nowhere(tree: PkiTree) -> None:
    whole = tree.credentials("secc")
    async with serving(tree, credentials=Credentials(whole.chain[:1], whole.private_key)) as server:
        assert await refused(server, tree) == "unknown_ca"


async def test_time_is_an_argument(tree: PkiTree) -> None:
    async with serving(tree) as server:
        later = datetime.now(UTC) + timedelta(days=61)
        assert await refused(server, tree, now=lambda: later) == "peer_certificate_expired"
        later = datetime.now(UTC) + timedelta(days=8)
        assert await refused(server, tree, now=lambda: later) == "ocsp_expired"


async def test_a_secc_without_staple_is_refused_by_the_standard_and_not_for_interop(tree: PkiTree) -> None:
    async with serving(tree, staple=None) as server:
        assert await refused(server, tree) == "ocsp_missing"
        assert await server.failure() == "own_ocsp_refused"
        stream = await join(server, tree, profile=INTEROP)
        await stream.close()


async def test_a_revoked_secc_is_refused(wrong: Make) -> None:
    tree = wrong(secc=Fault.REVOKED)
    async with serving(tree) as server:
        assert await refused(server, tree) == "ocsp_revoked"
        assert await refused(server, tree, profile=INTEROP) == "ocsp_revoked"


async def test_an_answer_signed_by_somebody_else_is_refused(tree: PkiTree) -> None:
    leaf, issuer = (x509.load_der_x509_certificate(der) for der in tree.chain("secc")[:2])
    stranger = x509.load_der_x509_certificate(tree.chain("contract")[1])
    signer = Issuer(stranger, load_private_key(tree.path("mo/sub2.key")))
    async with serving(tree, staple=make_response(leaf, issuer, signer, at=datetime.now(UTC))) as server:
        assert await refused(server, tree) == "ocsp_bad_signature"


async def test_a_renewed_staple_is_used_without_a_restart(wrong: Make) -> None:
    tree = wrong()
    async with serving(tree, staple=tree.staple) as server:
        refresh_staple(tree, now=datetime.now(UTC), revoked=True)
        assert await refused(server, tree) == "ocsp_revoked"
        refresh_staple(tree, now=datetime.now(UTC))
        await (await join(server, tree)).close()


# --- interop profile -------------------------------------------------------------------------------------------


async def test_p256_certificates_work_in_the_interop_profile_only(wrong: Make) -> None:
    tree = wrong(key_kind=KeyKind.SECP256R1)
    p256 = replace(INTEROP, groups=("prime256v1",), signature_algorithms=("ecdsa_secp256r1_sha256",))
    async with serving(tree, staple=None, profile=INTEROP) as server:
        for profile in (INTEROP, p256):
            stream = await join(server, tree, profile=profile)
            await stream.write(b"hello")
            assert await stream.read(10) == b"hello"
            assert stream.group == profile.groups[0].replace("prime256v1", "secp256r1")
            await stream.close()
        assert await refused(server, tree) == "handshake_refused"  # the strict client accepts no P-256 signature
        assert await server.failure() == "no_common_signature_algorithm"


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


async def test_closing_the_server_ends_open_connections(tree: PkiTree) -> None:
    async with serving(tree) as server:
        stream = await join(server, tree)
        await stream.write(b"x")
        assert await stream.read(1) == b"x"
        await server.server.close()
        assert await stream.read(1) == b""
        await stream.close()


# --- garbage ---------------------------------------------------------------------------------------------------


def _endpoint(tree: PkiTree, *, server: bool, profile: TlsProfile = ISO15118_20) -> Endpoint:
    return Endpoint(
        server=server,
        credentials=tree.credentials("secc" if server else "vehicle"),
        anchors=tree.anchors("v2g", "oem"),
        profile=profile,
        peer_role=Role.VEHICLE if server else Role.SECC,
        staple=tree.staple() if server else None,
    )


def _exchange(tree: PkiTree, flip: Callable[[bytes], bytes]) -> tuple[Channel, Channel]:
    """Run a handshake in memory; `flip` may change what the server gets. Raises TlsError."""
    client, server = Channel(_endpoint(tree, server=False)), Channel(_endpoint(tree, server=True))
    for _ in range(4):
        client.handshake()
        server.feed(flip(client.take()))
        server.handshake()
        client.feed(server.take())
    return client, server


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(min_size=1, max_size=200), server=st.booleans())
def test_garbage_leads_to_the_one_error_or_to_waiting(tree: PkiTree, data: bytes, server: bool) -> None:
    channel = Channel(_endpoint(tree, server=server))
    channel.feed(data)
    with suppress(TlsError):
        assert channel.handshake() is False


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


# --- independent implementations -------------------------------------------------------------------------------


async def openssl(*command: str, send: bytes = b"", until: bytes = b"", wait: float = 10) -> tuple[int, str]:
    """Run an openssl command, write `send`, close its input once `until` was printed, and return code and output."""
    process = await asyncio.create_subprocess_exec(
        "openssl",
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    output = b""
    async with asyncio.timeout(wait):
        process.stdin.write(send)
        while until not in output:
            data = await process.stdout.read(4096)
            if not data:
                break
            output += data
        process.stdin.close()
        output += await process.stdout.read()
        return await process.wait(), output.decode(errors="replace")


def s_client(server: Serving, tree: PkiTree, *more: str) -> list[str]:
    chain, key = str(tree.path("vehicle/chain.pem")), str(tree.path("vehicle/leaf.key"))
    command = ["s_client", "-connect", f"[::1]:{server.port}", "-CAfile", str(tree.path("v2g/root.pem"))]
    return [*command, "-cert", chain, "-cert_chain", chain, "-key", key, *more]


@needs_openssl
async def test_openssl_connects_with_tls13_and_verifies_chain_and_staple(tree: PkiTree) -> None:
    async with serving(tree) as server:
        command = s_client(server, tree, "-tls1_3", "-status", "-verify_return_error", "-x509_strict")
        code, output = await openssl(*command, send=b"to be echoed\n", until=b"to be echoed\n")
    assert code == 0, output
    assert "Verify return code: 0 (ok)" in output
    assert "OCSP Response Status: successful" in output
    assert "Cert Status: good" in output
    assert "TLS_AES_256_GCM_SHA384" in output
    assert "521 bits" in output
    assert "to be echoed" in output
    # The certificate request names the roots that we accept (V2G20-2401).
    assert "V2G ROOT" in output.split("Acceptable client certificate CA names")[1]
    assert "OEM ROOT" in output.split("Acceptable client certificate CA names")[1]


@needs_openssl
async def test_openssl_with_tls12_is_refused_by_name(tree: PkiTree) -> None:
    async with serving(tree) as server:
        code, output = await openssl(*s_client(server, tree, "-tls1_2"))
        assert code != 0
        assert "alert protocol version" in output
        assert await server.failure() == "protocol_version"


@needs_openssl
@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (("-ciphersuites", "TLS_AES_128_GCM_SHA256"), "no_common_cipher"),
        (("-groups", "P-256"), "no_common_group"),
        (("-sigalgs", "ecdsa_secp256r1_sha256"), "no_common_signature_algorithm"),
    ],
)
async def test_openssl_with_nothing_in_common_is_named(tree: PkiTree, option: tuple[str, str], reason: str) -> None:
    async with serving(tree) as server:
        code, _output = await openssl(*s_client(server, tree, "-tls1_3", *option))
        assert code != 0
        assert await server.failure() == reason


@needs_openssl
async def test_openssl_without_certificate_is_refused(tree: PkiTree) -> None:
    async with serving(tree) as server:
        _code, output = await openssl("s_client", "-connect", f"[::1]:{server.port}", "-tls1_3", until=b"alert")
        assert "alert certificate required" in output
        assert await server.failure() == "peer_certificate_missing"


@needs_openssl
async def test_openssl_with_an_expired_certificate_reads_the_right_alert(wrong: Make) -> None:
    tree = wrong(vehicle=Fault.EXPIRED)
    async with serving(tree) as server:
        _code, output = await openssl(*s_client(server, tree, "-tls1_3"), until=b"alert")
        assert "alert certificate expired" in output
        assert await server.failure() == "peer_certificate_expired"


@needs_openssl
async def test_openssl_cannot_resume_a_session(tree: PkiTree, tmp_path: Path) -> None:
    """Every session shows both certificates (V2G20-2677), whatever tickets the library may have sent."""
    session = str(tmp_path / "session")
    async with serving(tree) as server:
        command = s_client(server, tree, "-tls1_3", "-sess_out", session)
        await openssl(*command, send=b"one line\n", until=b"\none line\n")
        resume = ("-sess_in", session) if Path(session).exists() else ()
        command = s_client(server, tree, "-tls1_3", *resume)
        _code, output = await openssl(*command, send=b"one line\n", until=b"\none line\n")
    assert "New, TLSv1.3" in output
    assert "Reused" not in output


@asynccontextmanager
async def s_server(tree: PkiTree, *options: str, staple: Path) -> AsyncIterator[int]:
    """Run `openssl s_server` with our SECC leaf, sending lines back reversed; yields its port."""
    with socket.socket(socket.AF_INET6) as free:
        free.bind(("::1", 0))
        port = free.getsockname()[1]
    chain, key = str(tree.path("secc/chain.pem")), str(tree.path("secc/leaf.key"))
    command = ["s_server", "-accept", f"[::1]:{port}", *options, "-cert", chain, "-cert_chain", chain, "-key", key]
    command += ["-status_file", str(staple), "-CAfile", str(tree.path("oem/root.pem"))]
    process = await asyncio.create_subprocess_exec(
        "openssl",
        *command,
        "-Verify",
        "3",
        "-verify_return_error",
        "-rev",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(10):
            while b"ACCEPT" not in await process.stdout.readline():
                pass
            yield port
    finally:
        process.kill()
        await process.stdout.read()
        await process.wait()


def _connect(tree: PkiTree, port: int) -> Coroutine[Any, Any, TlsStream]:
    return connect("::1", port, credentials=tree.credentials("vehicle"), anchors=tree.anchors("v2g"))


@needs_openssl
async def test_our_client_talks_with_an_openssl_server(tree: PkiTree) -> None:
    async with s_server(tree, "-tls1_3", staple=tree.path("secc/ocsp.der")) as port:
        stream = await _connect(tree, port)
        assert stream.ocsp_response == tree.staple()
        await stream.write(b"abc\n")
        assert await stream.read(10) == b"cba\n"
        await stream.close()


@needs_openssl
async def test_an_openssl_server_of_the_past_is_refused_by_name(tree: PkiTree) -> None:
    async with s_server(tree, "-tls1_2", staple=tree.path("secc/ocsp.der")) as port:
        with pytest.raises(TlsError) as error:
            await _connect(tree, port)
    assert error.value.reason == "protocol_version"


@needs_openssl
async def test_an_answer_about_another_certificate_is_refused(tree: PkiTree, tmp_path: Path) -> None:
    """Our own server cannot even send one: its library drops what is not about its certificate."""
    meter, issuer = (x509.load_der_x509_certificate(der) for der in tree.chain("meter")[:2])
    signer = Issuer(issuer, load_private_key(tree.path("cpo/sub2.key")))
    staple = tmp_path / "other.der"
    staple.write_bytes(make_response(meter, issuer, signer, at=datetime.now(UTC)))
    async with s_server(tree, "-tls1_3", staple=staple) as port:
        with pytest.raises(TlsError) as error:
            await _connect(tree, port)
    assert error.value.reason == "ocsp_wrong_certificate"


async def test_the_standard_library_connects_as_a_client(tree: PkiTree) -> None:
    context = ssl.create_default_context(cafile=str(tree.path("v2g/root.pem")))
    context.check_hostname = False
    context.load_cert_chain(tree.path("vehicle/chain.pem"), tree.path("vehicle/leaf.key"))
    async with serving(tree) as server:
        reader, writer = await asyncio.open_connection("::1", server.port, ssl=context)
        connection = writer.get_extra_info("ssl_object")
        assert connection.version() == "TLSv1.3"
        assert connection.cipher()[0] == "TLS_AES_256_GCM_SHA384"
        writer.write(b"hello")
        assert await reader.read(10) == b"hello"
        writer.close()
        await writer.wait_closed()


async def test_the_standard_library_with_tls12_only_is_refused(tree: PkiTree) -> None:
    context = ssl.create_default_context(cafile=str(tree.path("v2g/root.pem")))
    context.check_hostname = False
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(tree) as server:
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            await asyncio.open_connection("::1", server.port, ssl=context)
        assert await server.failure() == "protocol_version"
