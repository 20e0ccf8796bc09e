"""Signed messages: whose they are, and what is refused before anything in them counts."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from pki_tools.tree import PkiTree
from v2g.asn1.discharge import SignatureAlgorithm, SignedMessage, decode_signed, encode_signed
from v2g.energy.signed import Party, open_signed
from v2g.errors import CertificateError, RefusedError


def test_keys_of_other_kinds_sign_nothing() -> None:
    key, now = rsa.generate_private_key(65537, 2048), datetime.now(UTC)
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(1))
    with pytest.raises(CertificateError) as caught:
        Party.of(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))
    assert caught.value.reason == "bad_profile"


def signed(pki: PkiTree, content: bytes, algorithm: SignatureAlgorithm | None = None) -> bytes:
    """Return content signed by the charger, under the name of its algorithm or another."""
    charger = pki.credentials("secc")
    message = SignedMessage(
        content=content,
        signer=hashlib.sha256(charger.leaf).digest(),
        algorithm=algorithm or SignatureAlgorithm(charger.key.algorithm.value),
        signature=charger.key.sign(content),
    )
    return encode_signed(message)


def test_a_signature_under_the_name_of_another_algorithm_is_refused(pki: PkiTree) -> None:
    party = Party.of(pki.credentials("secc").leaf)
    right = decode_signed(signed(pki, b"x")).algorithm
    for other in set(SignatureAlgorithm) - {right}:
        with pytest.raises(RefusedError, match=other.value) as caught:
            open_signed(signed(pki, b"x", other), party)
        assert caught.value.reason == "bad_signature"


def test_content_that_is_signed_but_is_no_message_is_refused(pki: PkiTree) -> None:
    with pytest.raises(RefusedError) as caught:
        open_signed(signed(pki, b"x"), Party.of(pki.credentials("secc").leaf))
    assert caught.value.reason == "malformed"
