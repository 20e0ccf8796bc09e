"""Sealing for a key, judged by another implementation of RFC 9180. R145"""

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from hypothesis import given
from hypothesis import strategies as st

from v2g.errors import KeyAccessError
from v2g.pki.hpke import open_sealed, seal_for
from v2g.pki.keys import SoftwareKey

AES = hpke.AEAD.AES_256_GCM
KEYS = {
    "P-256": (ec.generate_private_key(ec.SECP256R1()), hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, AES)),
    "P-521": (ec.generate_private_key(ec.SECP521R1()), hpke.Suite(hpke.KEM.P521, hpke.KDF.HKDF_SHA512, AES)),
}
curves = pytest.mark.parametrize("curve", KEYS)


@curves
@given(secret=st.binary(max_size=200), info=st.binary(max_size=40))
def test_both_ways_with_another_implementation(curve: str, secret: bytes, info: bytes) -> None:
    private, other = KEYS[curve]
    key = SoftwareKey(private)
    assert open_sealed(key, other.encrypt(secret, private.public_key(), info=info), info) == secret
    assert other.decrypt(seal_for(key.public_key, secret, info), private, info=info) == secret


@curves
@given(st.data())
def test_what_was_altered_or_is_for_another_key_does_not_open(curve: str, data: st.DataObject) -> None:
    private, _ = KEYS[curve]
    sealed = bytearray(seal_for(SoftwareKey(private).public_key, b"secret", b"for us"))
    place, bit = data.draw(st.integers(0, len(sealed) - 1)), data.draw(st.integers(0, 7))
    sealed[place] ^= 1 << bit
    with pytest.raises(KeyAccessError, match="does not open"):
        open_sealed(SoftwareKey(private), bytes(sealed), b"for us")
    sealed[place] ^= 1 << bit
    for key, info, cut in (
        (SoftwareKey(private), b"for others", len(sealed)),
        (SoftwareKey(ec.generate_private_key(private.curve)), b"for us", len(sealed)),
        (SoftwareKey(private), b"for us", place),
    ):
        with pytest.raises(KeyAccessError, match="does not open"):
            open_sealed(key, bytes(sealed[:cut]), info)
    assert open_sealed(SoftwareKey(private), bytes(sealed), b"for us") == b"secret"


def test_a_key_that_cannot_agree_is_refused() -> None:
    key = SoftwareKey(ed448.Ed448PrivateKey.generate())
    for public in (key.public_key, ec.generate_private_key(ec.SECP384R1()).public_key()):
        with pytest.raises(KeyAccessError, match="kind of key"):
            seal_for(public, b"", b"")
    with pytest.raises(KeyAccessError, match="kind of key"):
        open_sealed(key, b"", b"")
