"""TLS of ISO 15118-20 against the openssl command and the standard library."""

import asyncio
import ssl
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from pki_tools.tree import PkiOptions, PkiTree, TreeFault, make_pki
from tests.io.tls.peer import needs_openssl, openssl, s_client, s_server
from tests.io.tls.support import Make, evcc, serving
from v2g.errors import TlsError
from v2g.io.tls.client import connect
from v2g.io.tls.stream import TlsStream
from v2g.pki.issue import Issuer
from v2g.pki.keys import load_private_key
from v2g.pki.ocsp import make_response

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture
def tree(pki: PkiTree) -> PkiTree:
    return pki


@pytest.fixture
def wrong(tmp_path: Path) -> Make:
    return lambda **options: make_pki(tmp_path, now=datetime.now(UTC), options=PkiOptions(**options))


@pytest.mark.requirement("R18")
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


@pytest.mark.requirement("R18")
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
    tree = wrong(vehicle=TreeFault.EXPIRED)
    async with serving(tree) as server:
        _code, output = await openssl(*s_client(server, tree, "-tls1_3"), until=b"alert")
        assert "alert certificate expired" in output
        assert await server.failure() == "peer_certificate_expired"


@needs_openssl
async def test_openssl_cannot_resume_a_session(tree: PkiTree, tmp_path: Path) -> None:
    """Every session shows both certificates, whatever tickets the library may have sent."""
    session = str(tmp_path / "session")
    async with serving(tree) as server:
        command = s_client(server, tree, "-tls1_3", "-sess_out", session)
        await openssl(*command, send=b"one line\n", until=b"\none line\n")
        resume = ("-sess_in", session) if Path(session).exists() else ()
        command = s_client(server, tree, "-tls1_3", *resume)
        _code, output = await openssl(*command, send=b"one line\n", until=b"\none line\n")
    assert "New, TLSv1.3" in output
    assert "Reused" not in output


def _connect(tree: PkiTree, port: int) -> Coroutine[Any, Any, TlsStream]:
    return connect("::1", port, evcc(tree))


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


@pytest.mark.requirement("R18")
async def test_the_standard_library_with_tls12_only_is_refused(tree: PkiTree) -> None:
    context = ssl.create_default_context(cafile=str(tree.path("v2g/root.pem")))
    context.check_hostname = False
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(tree) as server:
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            await asyncio.open_connection("::1", server.port, ssl=context)
        assert await server.failure() == "protocol_version"
