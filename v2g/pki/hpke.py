"""Sealing for the owner of a private key: HPKE (RFC 9180), base mode, single shot, with keys in any store.

KEM DHKEM on the key's curve with its own hash (P-256 with SHA-256, P-521 with SHA-512), the same hash as KDF, AEAD
AES-256-GCM. A library's HPKE opens with keys in memory only; `open_sealed` asks an `AgreementKey`, which may be in a
token or a TPM. What is sealed is the encapsulated point, then ciphertext and tag, as in the library `cryptography`.
"""

from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from v2g.errors import KeyAccessError
from v2g.pki.keys import AgreementKey, PublicKey

_AES_256_GCM: Final = 2  # identifier, section 7.3
_KEY, _NONCE = 32, 12


class _HpkeSuite(NamedTuple):
    """KEM and KDF of a curve: their identifiers (sections 7.1 and 7.2), hash, and length of a point in octets."""

    kem: int
    kdf: int
    hash: hashes.HashAlgorithm
    point: int

    @property
    def name(self) -> bytes:
        """`suite_id` of the whole suite."""
        return b"HPKE" + b"".join(each.to_bytes(2, "big") for each in (self.kem, self.kdf, _AES_256_GCM))

    @property
    def kem_name(self) -> bytes:
        """`suite_id` inside the KEM."""
        return b"KEM" + self.kem.to_bytes(2, "big")

    def extract(self, suite: bytes, salt: bytes, label: bytes, data: bytes) -> bytes:
        """`LabeledExtract`, section 4."""
        labelled = b"HPKE-v1" + suite + label + data
        return HKDF.extract(self.hash, salt or bytes(self.hash.digest_size), labelled)

    def expand(self, suite: bytes, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
        """`LabeledExpand`, section 4."""
        labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
        return HKDFExpand(self.hash, length, labelled).derive(secret)


_SUITES: Final = {
    "secp256r1": _HpkeSuite(0x10, 1, hashes.SHA256(), 65),
    "secp521r1": _HpkeSuite(0x12, 3, hashes.SHA512(), 133),
}


def seal_for(owner: PublicKey, secret: bytes, info: bytes) -> bytes:
    """Return `secret` sealed for the owner of a key on P-256 or P-521; `info` says what it is for.

    Raises KeyAccessError for a key of another kind.
    """
    suite, to = _suite(owner)
    once = ec.generate_private_key(to.curve)
    encapsulated = _point(once.public_key())
    key, nonce = _schedule(suite, once.exchange(ec.ECDH(), to), encapsulated, to, info)
    return encapsulated + AESGCM(key).encrypt(nonce, secret, b"")


def open_sealed(key: AgreementKey, sealed: bytes, info: bytes) -> bytes:
    """Return what `seal_for` sealed for this key with the same `info`.

    Raises KeyAccessError when it was sealed for another key, altered, or the key cannot be used.
    """
    suite, own = _suite(key.public_key)
    encapsulated, rest = sealed[: suite.point], sealed[suite.point :]
    try:
        once = ec.EllipticCurvePublicKey.from_encoded_point(own.curve, encapsulated)
        aes, nonce = _schedule(suite, key.agree(once), encapsulated, own, info)
        return AESGCM(aes).decrypt(nonce, rest, b"")
    except (InvalidTag, ValueError):
        raise KeyAccessError("it does not open: sealed for another key, or altered") from None


def _suite(key: PublicKey) -> tuple[_HpkeSuite, ec.EllipticCurvePublicKey]:
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _SUITES:
        raise KeyAccessError("this kind of key cannot seal", hint="a key on secp256r1 or secp521r1")
    return _SUITES[key.curve.name], key


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _schedule(
    suite: _HpkeSuite, agreed: bytes, encapsulated: bytes, owner: ec.EllipticCurvePublicKey, info: bytes
) -> tuple[bytes, bytes]:
    """Return key and nonce of one message: `ExtractAndExpand` (4.1), then `KeySchedule` in mode base (5.1)."""
    prk = suite.extract(suite.kem_name, b"", b"eae_prk", agreed)
    context = encapsulated + _point(owner)
    shared = suite.expand(suite.kem_name, prk, b"shared_secret", context, suite.hash.digest_size)
    no_id = suite.extract(suite.name, b"", b"psk_id_hash", b"")
    context = b"\0" + no_id + suite.extract(suite.name, b"", b"info_hash", info)
    secret = suite.extract(suite.name, shared, b"secret", b"")
    return (
        suite.expand(suite.name, secret, b"key", context, _KEY),
        suite.expand(suite.name, secret, b"base_nonce", context, _NONCE),
    )
