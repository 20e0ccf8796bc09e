"""What two ends agree on: every combination of the standard, with each other and with openssl, and nothing else."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import product
from pathlib import Path

import pytest
from cryptography import x509
from msgspec.structs import replace
from OpenSSL import SSL
from OpenSSL._util import lib

from pki_tools.tree import PkiTree
from tests.io.tls.peer import needs_openssl, openssl, s_client, s_server
from tests.io.tls.support import BACKENDS, echo, evcc, join, refused, secc, serving, shake, unavailable
from v2g.errors import TlsError
from v2g.io.tls.client import connect
from v2g.io.tls.endpoint import INTEROP, ISO15118_20, Backend, Curve, backend_of, open_channel
from v2g.io.tls.stream import TlsStream

LEAVES = ("secp521r1", "ed448")
COMBINATIONS = [*product(LEAVES, ISO15118_20.groups, ISO15118_20.ciphers)]


@pytest.fixture
def tree(pki: PkiTree) -> PkiTree:
    return pki


@pytest.fixture
def leaves(pki: PkiTree, ed448_pki: PkiTree) -> dict[str, PkiTree]:
    return {"secp521r1": pki, "ed448": ed448_pki}


@pytest.mark.some(1)
@pytest.mark.parametrize(("client_backend", "server_backend"), [*product(BACKENDS, BACKENDS)])
def test_every_combination_works_in_memory_between_all_backends(
    leaves: dict[str, PkiTree], client_backend: Backend, server_backend: Backend
) -> None:
    for each in (client_backend, server_backend):
        if why := unavailable(each):
            pytest.skip(why)
    for secc_leaf, evcc_leaf, (_, group, cipher) in product(LEAVES, LEAVES, COMBINATIONS[:4]):
        profile = replace(ISO15118_20, ciphers=(cipher,), groups=(group,))
        station, vehicle = leaves[secc_leaf], leaves[evcc_leaf]
        client = open_channel(evcc(vehicle, anchors=station.anchors("v2g"), profile=profile, backend=client_backend))
        server = open_channel(secc(station, anchors=vehicle.anchors("oem"), backend=server_backend))
        shake(client, server)
        for end in (client, server):
            assert (end.version, end.cipher, end.group) == ("TLSv1.3", cipher, group.lower())
        assert client.peer is not None
        assert server.peer is not None
        assert client.peer.der == station.chain("secc")
        assert server.peer.der == vehicle.chain("vehicle")
        assert client.ocsp_responses == (station.staple(), b"", b"")
        assert client.unproven == server.unproven == ""
        client.write(b"to the station")
        server.feed(client.take())
        assert server.read(100) == b"to the station"


@needs_openssl
def test_the_default_is_the_backend_that_can_do_more_where_it_runs(tree: PkiTree) -> None:
    """V2G20-1006: the vehicle lists its roots without being told to."""
    expected = "bundled" if unavailable("native") else "native"
    assert backend_of(replace(evcc(tree), backend="auto")) == expected


@pytest.mark.usefixtures("backend")
def test_the_curve_sets_are_turned_off_or_ordered_by_configuration(leaves: dict[str, PkiTree]) -> None:
    """V2G20-2320."""
    station, edwards = leaves["secp521r1"], leaves["ed448"]
    orders: list[tuple[Curve, ...]] = [("secp521r1", "x448"), ("x448", "secp521r1")]
    for curves in orders:
        profile = ISO15118_20.with_curves(curves)
        ends = open_channel(evcc(station, profile=profile)), open_channel(secc(station, profile=profile))
        shake(*ends)
        assert [each.group for each in ends] == [curves[0]] * 2
    one, other = ISO15118_20.with_curves(("secp521r1",)), ISO15118_20.with_curves(("x448",))
    assert (other.groups, other.signature_algorithms) == (("X448",), ("ed448",))
    assert INTEROP.with_curves(("x448",)).groups == ("X448", "prime256v1")
    client = open_channel(evcc(edwards, profile=other, anchors=station.anchors("v2g")))
    with pytest.raises(TlsError):
        shake(client, open_channel(secc(station, profile=one, anchors=edwards.anchors("oem"))))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("leaf", "group", "cipher"), COMBINATIONS)
async def test_every_combination_works_with_an_openssl_client(
    leaves: dict[str, PkiTree], leaf: str, group: str, cipher: str
) -> None:
    tree = leaves[leaf]
    async with serving(tree) as server:
        command = s_client(server, tree, "-groups", group, "-ciphersuites", cipher, "-status", "-verify_return_error")
        code, output = await openssl(*command, send=b"echo\n", until=b"\necho\n")
    assert code == 0, output
    assert f"TLSv1.3, Cipher is {cipher}" in output
    assert ("X448, 448 bits" if group == "X448" else "ECDH, secp521r1, 521 bits") in output
    assert f"Server public key is {521 if leaf == 'secp521r1' else 456} bit" in output
    assert "Cert Status: good" in output


@needs_openssl
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("leaf", "group", "cipher"), COMBINATIONS)
async def test_every_combination_works_with_an_openssl_server(
    leaves: dict[str, PkiTree], leaf: str, group: str, cipher: str
) -> None:
    tree = leaves[leaf]
    options = ("-tls1_3", "-groups", group, "-ciphersuites", cipher)
    async with s_server(tree, *options, staple=tree.path("secc/ocsp.der")) as port:
        stream = await connect("::1", port, evcc(tree))
        assert (stream.group, stream.cipher) == (group.lower(), cipher)
        assert stream.ocsp_response == tree.staple()
        await stream.write(b"abc\n")
        assert await stream.read(10) == b"cba\n"
        await stream.close()


@needs_openssl
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("option", "reported"),
    [
        (("-ciphersuites", "TLS_AES_128_GCM_SHA256"), "handshake_refused"),
        (("-groups", "P-256:P-384:X25519"), "handshake_refused"),
        (("-sigalgs", "ecdsa_secp256r1_sha256"), "protocol_version"),  # with such a key it finds itself unfit for 1.3
        (("-tls1_2",), "protocol_version"),
    ],
)
async def test_an_openssl_server_with_nothing_in_common_is_refused_within_a_second(
    tree: PkiTree, option: tuple[str, ...], reported: str
) -> None:
    options = option if option == ("-tls1_2",) else ("-tls1_3", *option)
    async with s_server(tree, *options, staple=tree.path("secc/ocsp.der")) as port, asyncio.timeout(1):
        with pytest.raises(TlsError) as error:
            await connect("::1", port, evcc(tree))
    assert error.value.reason == reported
    assert "secp521r1" in error.value.hint


@needs_openssl
@pytest.mark.usefixtures("backend")
async def test_an_openssl_client_that_guesses_the_wrong_group_is_asked_to_start_again(tree: PkiTree) -> None:
    async with serving(tree, profile=replace(ISO15118_20, groups=("X448",))) as server:
        command = s_client(server, tree, "-tls1_3", "-groups", "secp521r1:X448", "-msg")
        code, output = await openssl(*command, send=b"echo\n", until=b"\necho\n")
    assert code == 0, output
    assert output.count(", ClientHello") == 2
    assert "X448, 448 bits" in output


# --- no resumption, no early data, no shared keys --------------------------------------------------------------


@needs_openssl
async def test_tickets_are_not_sent_where_the_library_lets_us(tree: PkiTree, backend: Backend) -> None:
    """The bundled OpenSSL cannot be told to send none; what it sends names no session (see the next test)."""
    async with serving(tree) as server:
        _code, output = await openssl(*s_client(server, tree, "-tls1_3", "-msg"), send=b"echo\n", until=b"\necho\n")
    assert output.count(", NewSessionTicket") == (2 if backend == "bundled" else 0)


@asynccontextmanager
async def giver_of_tickets(tree: PkiTree) -> AsyncIterator[int]:
    """Run a server with our SECC certificate whose sessions may be resumed with early data; yields its port."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(x509.load_der_x509_certificate(tree.chain("secc")[0]))
    context.use_privatekey(tree.credentials("secc").private_key)
    lib.SSL_CTX_set_max_early_data(context._context, 16384)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = SSL.Connection(context, None)
        connection.set_accept_state()
        while data := await reader.read(65536):
            connection.bio_write(data)
            with suppress(SSL.Error):  # WantRead among them; it is the client that is looked at
                connection.do_handshake()
                connection.send(connection.recv(100))
            with suppress(SSL.Error):
                writer.write(connection.bio_read(65536))
        writer.close()

    listener = await asyncio.start_server(serve, "::1", 0)
    yield listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()


@needs_openssl
@pytest.mark.usefixtures("backend")
async def test_a_session_of_another_server_and_its_early_data_are_refused(tree: PkiTree, tmp_path: Path) -> None:
    session, early = tmp_path / "session", tmp_path / "early"
    early.write_bytes(b"EARLY\n")
    async with giver_of_tickets(tree) as port:
        command = ["s_client", "-connect", f"[::1]:{port}", "-sess_out", str(session)]
        await openssl(*command, send=b"echo\n", until=b"\necho\n")
    assert session.exists()
    read: list[bytes] = []

    async def handler(stream: TlsStream) -> None:
        read.append(await stream.read(100))
        await stream.write(read[-1])

    async with serving(tree, handler) as server:
        command = s_client(server, tree, "-tls1_3", "-sess_in", str(session), "-early_data", str(early))
        _code, output = await openssl(*command, send=b"late\n", until=b"\nlate\n")
    assert "New, TLSv1.3" in output
    assert "Early data was rejected" in output
    assert read == [b"late\n"]


@needs_openssl
@pytest.mark.usefixtures("backend")
async def test_a_pre_shared_key_is_no_substitute_for_a_certificate(tree: PkiTree) -> None:
    async with serving(tree) as server:
        options = ("-tls1_3", "-groups", "secp521r1", "-psk", "00" * 32, "-psk_identity", "somebody")
        command = ("s_client", "-connect", f"[::1]:{server.port}", *options)
        _code, output = await openssl(*command, until=b"alert certificate required")
        assert "alert certificate required" in output
        assert await server.failure() == "peer_certificate_missing"
        _code, output = await openssl(*s_client(server, tree, *options), send=b"echo\n", until=b"\necho\n")
        assert "New, TLSv1.3" in output


# --- limits of a peer ------------------------------------------------------------------------------------------


@needs_openssl
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("size", [512, 4096])
async def test_a_client_that_takes_short_records_only_gets_short_ones(tree: PkiTree, size: int) -> None:
    """max_fragment_length (V2G20-2446, RFC 6066): the server agrees and keeps to it; 17 bytes are type and tag."""
    line = b"x" * 6000 + b"\n"
    async with serving(tree) as server:
        command = s_client(server, tree, "-tls1_3", "-maxfraglen", str(size), "-trace")
        _code, output = await openssl(*command, send=line, until=line[-100:])  # no line of a certificate ends so
    assert f"max_fragment_length := 2^{size.bit_length() - 1} ({size} bytes)" in output.split("EncryptedExtensions")[1]
    received = output.split("Received Record")[1:]
    lengths = [int(re.search(r"Length = (\d+)", each).group(1)) for each in received]  # type: ignore[union-attr]
    assert max(lengths) <= size + 17
    assert sum(lengths) > 6000


@pytest.mark.usefixtures("backend")
async def test_what_only_interop_takes_is_refused_by_the_standard(tree: PkiTree) -> None:
    async with serving(tree, echo) as server:
        for change in ({"ciphers": ("TLS_AES_128_GCM_SHA256",)}, {"groups": ("prime256v1", "secp384r1", "X25519")}):
            assert await refused(server, tree, profile=replace(ISO15118_20, **change)) == "handshake_refused"
            assert (await server.failure()).startswith("no_common_")
        await (await join(server, tree)).close()
