"""Sealed contract keys of ISO 15118-2: opened by other means, and by nobody else."""

import hashlib
import os
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from hypothesis import given
from hypothesis import strategies as st

from v2g.errors import EnvelopeError
from v2g.iso15118.d2.envelope import Envelope, derive_key, seal, unseal
from v2g.pki.keys import SoftwareKey

CONTRACT, VEHICLE, OTHER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
SEALED = seal(CONTRACT, VEHICLE.public_key(), entropy=os.urandom)
MESSAGE_BYTES = (65, 48)


def opened(envelope: Envelope, key: ec.EllipticCurvePrivateKey = VEHICLE) -> int:
    return unseal(envelope, SoftwareKey(key), contract=CONTRACT.public_key()).private_numbers().private_value


def reason(envelope: Envelope, key: ec.EllipticCurvePrivateKey = VEHICLE) -> str:
    with pytest.raises(EnvelopeError) as caught:
        opened(envelope, key)
    return caught.value.reason


def test_a_vehicle_opens_what_was_sealed_for_it() -> None:
    assert opened(SEALED) == CONTRACT.private_numbers().private_value
    assert (len(SEALED.public_key), len(SEALED.encrypted)) == MESSAGE_BYTES


def test_openssl_opens_it_with_the_key_of_the_published_derivation() -> None:
    """SHA-256 of 00000001, the secret, 01, U and V; its first half is the AES key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed (Debian package openssl)")
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), SEALED.public_key)
    secret = VEHICLE.exchange(ec.ECDH(), point)
    aes = hashlib.sha256(bytes.fromhex("00000001") + secret + bytes.fromhex("015556")).digest()[:16]
    assert derive_key(secret) == aes
    options = ("enc", "-d", "-aes-128-cbc", "-nopad", "-K", aes.hex(), "-iv", SEALED.encrypted[:16].hex())
    done = subprocess.run([program, *options], input=SEALED.encrypted[16:], capture_output=True, check=True)
    assert int.from_bytes(done.stdout) == CONTRACT.private_numbers().private_value


def test_no_two_envelopes_are_alike() -> None:
    again = seal(CONTRACT, VEHICLE.public_key(), entropy=os.urandom)
    assert again.public_key != SEALED.public_key
    assert again.encrypted != SEALED.encrypted


@given(st.integers(0, 48 * 8 - 1))
def test_every_changed_bit_is_found_by_comparison_with_the_certificate(bit: int) -> None:
    changed = bytearray(SEALED.encrypted)
    changed[bit // 8] ^= 1 << bit % 8
    assert reason(Envelope(SEALED.public_key, bytes(changed))) in ("wrong_key", "out_of_range")


def test_what_cannot_be_opened_has_a_reason() -> None:
    assert reason(SEALED, OTHER) in ("wrong_key", "out_of_range")
    assert reason(Envelope(SEALED.public_key, SEALED.encrypted[:-1])) == "wrong_length"
    assert reason(Envelope(SEALED.public_key, b"")) == "wrong_length"
    for point in (b"", b"\4" + bytes(64), SEALED.public_key[:-1], b"\2" + SEALED.public_key[1:33]):
        assert reason(Envelope(point, SEALED.encrypted)) == "bad_point"


@given(st.binary(max_size=70), st.binary(max_size=60))
def test_arbitrary_bytes_are_refused(point: bytes, encrypted: bytes) -> None:
    assert reason(Envelope(point, encrypted))


def test_only_keys_of_the_edition_are_sealed() -> None:
    p521 = ec.generate_private_key(ec.SECP521R1())
    for key, recipient in (
        (p521, VEHICLE.public_key()),
        (CONTRACT, p521.public_key()),
        (CONTRACT, ed448.Ed448PrivateKey.generate().public_key()),
        (ed448.Ed448PrivateKey.generate(), VEHICLE.public_key()),
    ):
        with pytest.raises(EnvelopeError, match="secp256r1"):
            seal(key, recipient, entropy=os.urandom)
