"""What is read from the handshake messages of others, judged by messages that OpenSSL makes, and by arbitrary bytes."""

import asyncio
import hashlib
from contextlib import suppress

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from tests.io.tls.hello import (
    certificate,
    certificate_2,
    certificate_request,
    client_hello,
    extension,
    message,
    server_hello,
    status,
    vector,
)
from tests.io.tls.peer import needs_openssl, openssl
from tests.io.tls.support import evcc, secc, shake
from v2g.errors import FrameError
from v2g.io.tls import peer_verifier
from v2g.io.tls.endpoint import open_channel
from v2g.io.tls.hello import (
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    CLIENT_HELLO,
    MAX_AUTHORITIES,
    MAX_CERTIFICATES,
    MAX_MESSAGE_BYTES,
    HelloEntry,
    PeerPreferences,
    RootForm,
    TrustedRoot,
    first_message,
    read_certificates,
    read_client_hello,
    read_preferences,
    read_status,
    read_version,
    trusted_ca_keys,
)

names = st.lists(st.binary(min_size=1, max_size=200), max_size=8)
codes = st.lists(st.integers(0, 0xFFFF), max_size=20)
shown = st.lists(st.builds(HelloEntry, st.binary(min_size=1, max_size=300), st.binary(max_size=300)), max_size=5)


@given(names, codes)
def test_what_is_written_is_read(authorities: list[bytes], algorithms: list[int]) -> None:
    wishes = PeerPreferences(tuple(authorities), tuple(algorithms))
    assert read_preferences(client_hello(authorities, algorithms)) == wishes
    assert read_preferences(certificate_request(authorities, algorithms)) == wishes


digests = st.builds(
    TrustedRoot, st.sampled_from([RootForm.KEY_SHA1, RootForm.CERT_SHA1]), st.binary(min_size=20, max_size=20)
)
named = st.builds(TrustedRoot, st.just(RootForm.X509_NAME), st.binary(max_size=99))
trusted = st.lists(digests | named | st.just(TrustedRoot(RootForm.PRE_AGREED)), max_size=6)


@given(names, codes, trusted)
def test_the_roots_of_trusted_ca_keys_are_read(
    authorities: list[bytes], algorithms: list[int], roots: list[TrustedRoot]
) -> None:
    """In each of the four forms of RFC 6066, 6."""
    assert read_preferences(client_hello(authorities, algorithms, roots)).roots == tuple(roots)
    certificates = [each.value for each in roots]
    written = message(CLIENT_HELLO, b"\x03\x03" + bytes(32) + bytes(1) + vector(2, b"") + bytes(1)
                      + vector(2, extension(3, trusted_ca_keys(certificates))))  # fmt: skip
    expected = tuple(TrustedRoot(RootForm.CERT_SHA1, hashlib.sha1(each).digest()) for each in certificates)
    assert read_preferences(written).roots == expected


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.binary(min_size=1, max_size=300))
def test_the_messages_of_tls_12_are_read(chain: list[bytes], answer: bytes) -> None:
    assert read_certificates(certificate_2(chain), "TLSv1.2") == tuple(map(HelloEntry, chain))
    assert read_status(status(answer)) == answer
    assert read_version(server_hello()) == 0x0303
    assert read_version(server_hello(0x0304)) == 0x0304


@given(st.binary(max_size=400), st.integers(1, 50))
def test_the_first_message_is_found_however_it_is_cut_into_records(body: bytes, size: int) -> None:
    whole = message(CLIENT_HELLO, body)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    stream = b"".join(b"\x16\x03\x01" + vector(2, each) for each in pieces)
    for end in range(len(stream)):
        assert first_message(stream[:end]) is None
    assert first_message(stream) == whole
    assert first_message(stream + b"\x14\x03\x03") == whole


@given(shown)
def test_every_certificate_is_read_with_the_answer_beside_it(entries: list[HelloEntry]) -> None:
    assert read_certificates(certificate(entries)) == tuple(entries)


@given(st.binary(max_size=400), st.sampled_from([CLIENT_HELLO, CERTIFICATE_REQUEST, CERTIFICATE]), st.booleans())
def test_arbitrary_bytes_are_read_or_refused(data: bytes, kind: int, framed: bool) -> None:
    for read in (read_preferences, read_certificates, read_client_hello, read_version, read_status, first_message):
        with suppress(FrameError):
            read(message(kind, data) if framed else data)


@given(names, codes, st.integers(0, 3000), st.integers(1, 255), st.booleans())
def test_a_changed_byte_or_a_cut_is_read_or_refused(
    authorities: list[bytes], algorithms: list[int], at: int, change: int, cut: bool
) -> None:
    whole = client_hello(authorities, algorithms)
    at %= len(whole)
    if cut:
        with pytest.raises(FrameError):
            read_preferences(whole[:at])
        return
    broken = bytearray(whole)
    broken[at] ^= change
    with suppress(FrameError):
        read_preferences(bytes(broken))


def test_what_is_too_long_or_of_another_kind_is_refused() -> None:
    for bad in (
        b"",
        message(2, bytes(40)),
        client_hello([], []) + b"x",
        client_hello([b"name"] * (MAX_AUTHORITIES + 1), []),
        message(CLIENT_HELLO, bytes(MAX_MESSAGE_BYTES)),
        certificate_request([], [])[:-1],
    ):
        with pytest.raises(FrameError):
            read_preferences(bad)
    for bad in (certificate([HelloEntry(b"x")] * (MAX_CERTIFICATES + 1)), client_hello([], [])):
        with pytest.raises(FrameError):
            read_certificates(bad)


def test_a_hello_without_extensions_has_no_wishes() -> None:
    head = b"\x03\x03" + bytes(32) + vector(1, b"") + vector(2, b"\x13\x02") + vector(1, b"\0")
    assert read_preferences(message(CLIENT_HELLO, head)) == PeerPreferences()


# --- made by OpenSSL -------------------------------------------------------------------------------------------


@needs_openssl
async def test_the_roots_and_algorithms_of_an_openssl_client_are_read(pki: PkiTree) -> None:
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = await reader.readexactly(5)
        await received.put(await reader.readexactly(int.from_bytes(header[3:], "big")))
        writer.close()

    listener = await asyncio.start_server(listen, "::1", 0)
    port = listener.sockets[0].getsockname()[1]
    roots = [str(pki.path(f"{each}/root.pem")) for each in ("v2g",)]
    options = ("-tls1_3", "-sigalgs", "ed448:ECDSA+SHA512:RSA-PSS+SHA256", "-requestCAfile", *roots)
    await openssl("s_client", "-connect", f"[::1]:{port}", *options)
    wishes = read_preferences(await received.get())
    subject = x509.load_der_x509_certificate(pki.anchors("v2g")[0]).subject.public_bytes()
    assert wishes == PeerPreferences((subject,), (0x0808, 0x0603, 0x0804))
    listener.close()
    await listener.wait_closed()


@pytest.mark.usefixtures("backend")
def test_the_messages_of_a_whole_handshake_are_read(pki: PkiTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each side learns whom the other trusts and what it shows; the messages are OpenSSL's."""
    received: dict[int, bytes] = {}
    hear = peer_verifier.PeerVerdict.on_message

    def note(self: peer_verifier.PeerVerdict, data: bytes) -> None:
        received[data[0] + 100 * self._endpoint.server] = data
        hear(self, data)

    monkeypatch.setattr(peer_verifier.PeerVerdict, "on_message", note)
    shake(open_channel(evcc(pki)), open_channel(secc(pki)))
    subjects = tuple(x509.load_der_x509_certificate(each).subject.public_bytes() for each in pki.anchors("v2g", "oem"))
    assert read_preferences(received[CERTIFICATE_REQUEST]) == PeerPreferences(subjects, (0x0603, 0x0808))
    assert read_certificates(received[CERTIFICATE]) == (
        HelloEntry(pki.chain("secc")[0], pki.staple()),
        *map(HelloEntry, pki.chain("secc")[1:]),
    )
    assert read_certificates(received[100 + CERTIFICATE]) == tuple(map(HelloEntry, pki.chain("vehicle")))
    assert read_preferences(received[100 + CLIENT_HELLO]).signature_algorithms == (0x0603, 0x0808)
