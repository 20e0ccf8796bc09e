"""Raw signatures as ISO 15118 carries them, checked by the openssl command where it can."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, x448
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from v2g.errors import SignatureError
from v2g.pki.keys import (
    Algorithm,
    PrivateKey,
    SoftwareKey,
    algorithm_of,
    load_key,
    save_key,
    verify_signature,
    x448_of,
    x448_public_of,
)

KEYS: list[tuple[PrivateKey, Algorithm, int]] = [
    (ec.generate_private_key(ec.SECP521R1()), Algorithm.ECDSA_SHA512, 132),
    (ec.generate_private_key(ec.SECP256R1()), Algorithm.ECDSA_SHA256, 64),
    (ed448.Ed448PrivateKey.generate(), Algorithm.ED448, 114),
]


@pytest.mark.parametrize(("key", "algorithm", "length"), KEYS)
def test_signatures_are_raw_and_of_fixed_length(key: PrivateKey, algorithm: Algorithm, length: int) -> None:
    signer = SoftwareKey(key)
    assert signer.algorithm is algorithm is algorithm_of(key.public_key())
    for number in range(20):  # r and s of secp521r1 are often shorter than 66 bytes
        signature = signer.sign(bytes([number]))
        assert len(signature) == length
        verify_signature(signer.public_key, bytes([number]), signature)
        with pytest.raises(SignatureError):
            verify_signature(signer.public_key, b"other", signature)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
@pytest.mark.parametrize(("key", "digest"), [(KEYS[0][0], "sha512"), (KEYS[1][0], "sha256")])
def test_openssl_verifies_what_we_sign(tmp_path: Path, key: PrivateKey, digest: str) -> None:
    raw = SoftwareKey(key).sign(b"data")
    half = len(raw) // 2
    (tmp_path / "data").write_bytes(b"data")
    der = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
    (tmp_path / "signature").write_bytes(der)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    command = ["openssl", "dgst", f"-{digest}", "-verify", "public.pem", "-signature", "signature", "data"]
    assert "Verified OK" in subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("key", "_algorithm", "length"), KEYS)
def test_a_signature_of_another_length_is_refused(key: PrivateKey, _algorithm: Algorithm, length: int) -> None:
    signature = SoftwareKey(key).sign(b"data")
    for wrong in (signature[:-1], signature + b"\0", b"\0" + signature, b"", bytes(length), b"\xff" * length):
        with pytest.raises(SignatureError):
            verify_signature(key.public_key(), b"data", wrong)


@given(signature=st.binary(max_size=140))
def test_no_bytes_are_a_signature_by_chance(signature: bytes) -> None:
    for key, _algorithm, _length in KEYS:
        with pytest.raises(SignatureError):
            verify_signature(key.public_key(), b"data", signature)


def test_a_curve_that_15118_does_not_know_is_refused() -> None:
    with pytest.raises(SignatureError, match="secp384r1"):
        SoftwareKey(ec.generate_private_key(ec.SECP384R1()))


def test_a_saved_key_is_for_its_owner_and_loads_again(tmp_path: Path) -> None:
    path = tmp_path / "some.key"
    path.write_text("what was there before")
    path.chmod(0o644)
    save_key(path, KEYS[0][0])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path).public_key == KEYS[0][0].public_key()


@pytest.mark.parametrize(("curve", "size"), [(ec.SECP521R1(), 66), (ec.SECP256R1(), 32)])
def test_both_sides_agree_on_the_x_coordinate(curve: ec.EllipticCurve, size: int) -> None:
    ours, theirs = ec.generate_private_key(curve), ec.generate_private_key(curve)
    secret = SoftwareKey(ours).agree(theirs.public_key())
    assert len(secret) == size
    assert secret == theirs.exchange(ec.ECDH(), ours.public_key())


@given(st.binary(min_size=57, max_size=57), st.binary(min_size=56, max_size=56))
def test_an_ed448_key_agrees_through_its_x448_counterpart(seed: bytes, scalar: bytes) -> None:
    """The peer knows only the Ed448 certificate: its mapped point and our mapped scalar meet in one secret."""
    ours, theirs = ed448.Ed448PrivateKey.from_private_bytes(seed), x448.X448PrivateKey.from_private_bytes(scalar)
    mapped = x448_public_of(ours.public_key())
    assert mapped == x448_of(ours).public_key()
    assert SoftwareKey(ours).agree(theirs.public_key()) == theirs.exchange(mapped)


def test_the_base_point_of_ed448_maps_to_that_of_x448() -> None:
    """RFC 7748, 4.2 prints y(P) of edwards448 and u(P) = 5 of curve448."""
    y = int(
        "298819210078481492676017930443930673437544040154080242095928241"
        "372331506189835876003536878655418784733982303233503462500531545062832660"
    )
    assert x448_public_of(_ed448_point(y)).public_bytes_raw() == (5).to_bytes(56, "little")


@pytest.mark.parametrize("y", [0, 1, 2**448 - 2**224 - 2, 2**448 - 2**224 - 1, 2**448 - 1])
def test_points_of_low_order_and_numbers_that_are_no_point_do_not_agree(y: int) -> None:
    with pytest.raises(SignatureError):
        x448_public_of(_ed448_point(y))


def _ed448_point(y: int) -> ed448.Ed448PublicKey:
    return ed448.Ed448PublicKey.from_public_bytes(y.to_bytes(57, "little"))


def test_keys_of_different_curves_and_points_of_low_order_share_no_secret() -> None:
    p521, goldilocks = SoftwareKey(ec.generate_private_key(ec.SECP521R1())), SoftwareKey(KEYS[2][0])
    with pytest.raises(SignatureError, match="secp256r1 cannot agree with one of secp521r1"):
        p521.agree(ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(SignatureError, match="x448 cannot agree with one of secp521r1"):
        p521.agree(x448.X448PrivateKey.generate().public_key())
    with pytest.raises(SignatureError, match="low order"):
        goldilocks.agree(x448.X448PublicKey.from_public_bytes(bytes(56)))
