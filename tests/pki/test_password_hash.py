"""Hashes of passwords: only the password fits its own."""

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from v2g.pki.password_hash import hash_password, password_fits


def test_only_the_password_fits_its_hash_and_nothing_is_kept_in_clear() -> None:
    kept = hash_password("a password of length", b"0123456789abcdef")
    assert "password of" not in kept
    assert password_fits("a password of length", kept)
    assert not password_fits("a password of lengths", kept)
    assert kept != hash_password("a password of length", b"fedcba9876543210")
    random = hash_password("a password of length", b"0123456789abcdef", random=True)
    assert random != kept
    assert password_fits("a password of length", random)


def test_a_hash_is_that_of_rfc_7914_by_openssl_and_random_ones_cost_less() -> None:
    """Hashes are kept: another cost or block would make those of a new release unlike those of the last."""
    for random, cost in ((False, 16384), (True, 256)):
        kept = hash_password("pleaseletmein", b"SodiumChloride", random=random)
        derived = hashlib.scrypt(b"pleaseletmein", salt=b"SodiumChloride", n=cost, r=8, p=1, dklen=32)
        assert kept == f"scrypt${cost}$8$U29kaXVtQ2hsb3JpZGU=${base64.b64encode(derived).decode()}"
    vector = bytes.fromhex("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2")  # its third, N 16384
    assert base64.b64decode(hash_password("pleaseletmein", b"SodiumChloride")[-44:]) == vector


def test_nothing_fits_a_hash_of_another_kind() -> None:
    kept = hash_password("x", b"0123456789abcdef", random=True)
    assert password_fits("x", kept) is True
    assert password_fits("x", kept.replace("scrypt", "argon2id")) is False
    assert password_fits("y", kept) is False


@settings(max_examples=50)
@given(st.text(max_size=60))
@pytest.mark.long
def test_nothing_fits_what_is_no_hash(kept: str) -> None:
    assert not password_fits("x", kept)
