"""What only the native TLS backend promises: C memory is given back, and nothing passes through C but answers."""

import gc
import weakref
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from hypothesis import given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from tests.io.tls.support import evcc, secc, shake, unavailable
from v2g.errors import ConfigError, KeyAccessError, TlsError
from v2g.io.tls import openssl
from v2g.io.tls.endpoint import open_channel
from v2g.io.tls.hello import read_preferences
from v2g.io.tls.native import NativeChannel
from v2g.io.tls.openssl_provider import provider
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import Credentials
from v2g.pki.keys import AgreementPeer, Algorithm, PrivateKey, SoftwareKey

pytestmark = pytest.mark.skipif(unavailable("native") != "", reason=unavailable("native") or "not skipped")

KEYS: list[PrivateKey] = [
    ec.generate_private_key(ec.SECP521R1()),
    ec.generate_private_key(ec.SECP256R1()),
    ed448.Ed448PrivateKey.generate(),
]


class Sulking(SoftwareKey):
    """A key that will not sign: it raises what it was given."""

    def __init__(self, key: PrivateKey, error: Exception) -> None:
        super().__init__(key)
        self.error = error

    def sign(self, data: bytes) -> bytes:
        raise self.error

    def agree(self, peer: AgreementPeer) -> bytes:
        raise self.error


def ends(pki: PkiTree, **vehicle: object) -> tuple[NativeChannel, NativeChannel]:
    made = open_channel(evcc(pki, backend="native", **vehicle)), open_channel(secc(pki, backend="native"))
    assert isinstance(made[0], NativeChannel)
    assert isinstance(made[1], NativeChannel)
    return made[0], made[1]


@pytest.mark.long
def test_connections_leave_nothing_behind(pki: PkiTree) -> None:
    keys = provider()
    gc.collect()
    before = keys.alive
    for number in range(6):
        client, server = ends(pki)
        if number % 2:
            shake(client, server)
        else:
            assert not client.handshake()
            server.feed(client.take())
            assert not server.handshake()  # and left so
    seen = [weakref.ref(client), weakref.ref(server)]
    del client, server
    gc.collect()
    assert [each() for each in seen] == [None, None]
    assert keys.alive == before


@pytest.mark.parametrize("error", [KeyAccessError("pulled out", hint="plug it in"), RuntimeError("a bug")])
def test_a_key_that_fails_ends_the_handshake_with_its_own_words(pki: PkiTree, error: Exception) -> None:
    whole = pki.credentials("vehicle")
    assert isinstance(whole.key, SoftwareKey)
    client, server = ends(pki, credentials=Credentials(whole.chain, Sulking(whole.key.expose(), error)))
    with pytest.raises(TlsError, match=error.args[0]) as found:
        shake(client, server)
    assert found.value.reason == "own_key_unusable"
    assert isinstance(found.value.__cause__, KeyAccessError)


def test_a_key_of_another_certificate_is_found_at_once(pki: PkiTree) -> None:
    whole = pki.credentials("vehicle")
    with pytest.raises(KeyAccessError, match="mismatch"):
        ends(pki, credentials=Credentials(whole.chain, SoftwareKey(KEYS[0])))


def test_the_vehicle_names_the_roots_that_it_believes(pki: PkiTree) -> None:
    """V2G20-1006; the bundled backend has no interface for it."""
    client, _ = ends(pki)
    assert not client.handshake()
    hello = client.take()
    wishes = read_preferences(hello[5:])  # after the header of the record
    assert wishes.authorities == tuple(load_certificate(each).subject.public_bytes() for each in pki.anchors("v2g"))


def test_certificates_are_not_compressed(pki: PkiTree) -> None:
    """From 3.2 on OpenSSL offers compress_certificate (extension 27, RFC 8879) where it is built with a compressor."""
    client, _ = ends(pki)
    assert not client.handshake()
    offered = _extensions(client.take()[5:])
    assert 27 not in offered
    assert {10, 13, 43, 47, 51} <= offered


def _extensions(hello: bytes) -> set[int]:
    """Return the numbers of the extensions in a ClientHello (RFC 8446, 4.1.2)."""
    at = 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + hello[at] + 2
    found = set()
    while at < len(hello):
        found.add(int.from_bytes(hello[at : at + 2], "big"))
        at += 4 + int.from_bytes(hello[at + 2 : at + 4], "big")
    return found


@pytest.mark.parametrize("key", KEYS)
def test_openssl_signs_with_our_keys_and_gets_no_private_half(key: PrivateKey) -> None:
    lib, keys, ours = openssl.load(), provider(), SoftwareKey(key)
    ffi, crypto = lib.ffi, lib.crypto
    adopted = keys.adopt(ours)
    digest = {Algorithm.ECDSA_SHA512: b"SHA512", Algorithm.ECDSA_SHA256: b"SHA2-256"}.get(ours.algorithm, ffi.NULL)
    operation = lib.own(crypto.EVP_MD_CTX_new(), crypto.EVP_MD_CTX_free)
    none = ffi.NULL
    assert crypto.EVP_DigestSignInit_ex(operation, none, digest, keys.context, none, adopted.pointer, none) == 1
    length, signature = ffi.new("size_t *", 200), ffi.new("unsigned char[]", 200)
    assert crypto.EVP_DigestSign(operation, signature, length, b"data", 4) == 1
    made = bytes(ffi.buffer(signature, length[0]))
    if isinstance(key, ed448.Ed448PrivateKey):
        key.public_key().verify(made, b"data")
    else:
        scheme = ec.ECDSA(hashes.SHA512() if ours.algorithm is Algorithm.ECDSA_SHA512 else hashes.SHA256())
        key.public_key().verify(made, b"data", scheme)
    assert lib.der(crypto.i2d_PrivateKey, adopted.pointer) == b""
    assert crypto.EVP_PKEY_get_octet_string_param(adopted.pointer, b"priv", signature, 200, length) == 0
    lib.reasons()


def test_a_digest_that_is_not_the_keys_own_is_refused() -> None:
    lib, keys = openssl.load(), provider()
    adopted, none = keys.adopt(SoftwareKey(KEYS[0])), lib.ffi.NULL
    operation = lib.own(lib.crypto.EVP_MD_CTX_new(), lib.crypto.EVP_MD_CTX_free)
    begin = lib.crypto.EVP_DigestSignInit_ex
    assert begin(operation, none, b"SHA256", keys.context, none, adopted.pointer, none) != 1
    lib.reasons()


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=30)
def test_bytes_from_strangers_lead_to_the_one_error_or_to_waiting(pki: PkiTree, data: bytes, server: bool) -> None:
    channel = ends(pki)[int(server)]
    channel.feed(data)
    try:
        assert not channel.handshake()
    except TlsError as error:
        reason = error.reason
    else:
        reason = "waiting"
    assert reason


@pytest.mark.requirement("R165")
def test_a_machine_without_openssl_3_learns_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(openssl, "NAMES", ((str(tmp_path / "libcrypto.so"), str(tmp_path / "libssl.so")),))
    with pytest.raises(ConfigError, match="no OpenSSL 3") as error:
        openssl.load.__wrapped__()
    assert "libssl3" in error.value.hint
