"""Delivery of a contract's private key to a vehicle by ISO 15118-2, encrypted for the key of one certificate.

ECDH on secp256r1 between an ephemeral key and that of the OEM provisioning certificate, or of the contract that is
replaced; one round of the concatenation KDF with SHA-256 [V2G2-818]; AES-128-CBC without padding, the IV in front.
The cipher binds nothing and detects no change: only the message's signature, and the comparison with the contract
certificate here, do.
"""

from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash

from v2g.errors import EnvelopeError, SignatureError
from v2g.pki.keys import AgreementKey, PrivateKey, PublicKey

Entropy = Callable[[int], bytes]

IV_BYTES: Final = 16
SCALAR_BYTES: Final = 32
POINT_BYTES: Final = 65
"""DHpublickey: 04, X and Y."""

_KEY_BYTES: Final = 16
_OTHER_INFO: Final = b"\x01UV"
"""AlgorithmID, PartyUInfo, PartyVInfo."""

_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of the base point of secp256r1 (SEC 2, 2.4.2)."""


class Envelope(msgspec.Struct, frozen=True):
    """A sealed contract key: `public_key` is DHpublickey (65 bytes), `encrypted` IV and scalar (48 bytes)."""

    public_key: bytes
    encrypted: bytes


def derive_key(secret: bytes) -> bytes:
    """Return the AES key (16 bytes) of a shared secret."""
    return ConcatKDFHash(algorithm=hashes.SHA256(), length=_KEY_BYTES, otherinfo=_OTHER_INFO).derive(secret)


def seal(key: PrivateKey, recipient: PublicKey, *, entropy: Entropy) -> Envelope:
    """Return a contract's private key, sealed for the owner of `recipient`. Raises EnvelopeError for other curves."""
    own = key if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1) else None
    curve = ec.SECP256R1()
    if own is None or not _is_p256(recipient):
        raise EnvelopeError("contracts of ISO 15118-2 are sealed on secp256r1 only", reason="not_supported")
    assert isinstance(recipient, ec.EllipticCurvePublicKey)
    drawn = int.from_bytes(entropy(SCALAR_BYTES + 8))  # 64 bits more than needed: no visible bias
    ephemeral = ec.derive_private_key(drawn % (_ORDER - 1) + 1, curve)
    aes = derive_key(ephemeral.exchange(ec.ECDH(), recipient))
    iv = entropy(IV_BYTES)
    encryptor = Cipher(algorithms.AES(aes), modes.CBC(iv)).encryptor()
    scalar = own.private_numbers().private_value.to_bytes(SCALAR_BYTES)
    point = ephemeral.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return Envelope(point, iv + encryptor.update(scalar) + encryptor.finalize())


def unseal(envelope: Envelope, key: AgreementKey, *, contract: PublicKey) -> ec.EllipticCurvePrivateKey:
    """Return the private key that belongs to `contract`, the key of the contract certificate.

    `key` is that of the certificate which the request named. Raises EnvelopeError for anything else.
    """
    expected = IV_BYTES + SCALAR_BYTES
    if len(envelope.encrypted) != expected:
        raise EnvelopeError(
            f"the sealed key has {len(envelope.encrypted)} bytes instead of {expected}", reason="wrong_length"
        )
    try:
        if len(envelope.public_key) != POINT_BYTES:
            raise ValueError(f"{len(envelope.public_key)} bytes instead of {POINT_BYTES}")
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), envelope.public_key)
        secret = key.agree(point)
    except (ValueError, SignatureError) as error:
        raise EnvelopeError(f"DHpublickey is not a point on the key's curve: {error}", reason="bad_point") from None
    decryptor = Cipher(algorithms.AES(derive_key(secret)), modes.CBC(envelope.encrypted[:IV_BYTES])).decryptor()
    scalar = int.from_bytes(decryptor.update(envelope.encrypted[IV_BYTES:]) + decryptor.finalize())
    if not 0 < scalar < _ORDER:
        raise EnvelopeError("the unsealed number is no private key", reason="out_of_range")
    found = ec.derive_private_key(scalar, ec.SECP256R1())
    if found.public_key() != contract:
        raise EnvelopeError(
            "the unsealed key is not that of the contract certificate",
            reason="wrong_key",
            hint="it is for another vehicle or certificate, or was changed",
        )
    return found


def _is_p256(key: PublicKey) -> bool:
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
