"""Delivery of a contract's private key to a vehicle, encrypted for the key of one provisioning certificate.

ECDH between an ephemeral key and the provisioning key, a hash over the shared secret as the AES key, AES-256-GCM with
the vehicle's PCID and the contract certificate's key identifier as additional data. Both directions are here; the
messages around them are in `v2g.iso15118.d20.installation`. Ambiguities of the standard are options in `EnvelopeRules`.
"""

import contextlib
from collections.abc import Callable
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, x448
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash

from v2g.errors import EnvelopeError, SignatureError
from v2g.iso15118.d20.envelope_rules import RULES, EnvelopeRules
from v2g.iso15118.d20.messages.certificates import EcdhCurve
from v2g.pki.certificates import extensions_of
from v2g.pki.keys import AgreementKey, AgreementPeer, PrivateKey, PublicKey, SoftwareKey, x448_public_of

Entropy = Callable[[int], bytes]

IV_BYTES: Final = 12
TAG_BYTES: Final = 16
POINT_BYTES: Final = 133
"""DHPublicKey: 04, X and Y of 66 bytes each; the 56 bytes of X448 stand in the same field."""

SCALAR_BYTES: Final = {EcdhCurve.SECP521: 66, EcdhCurve.X448: 56}
"""Length of a contract's private key in its field."""

_X448_BYTES: Final = 56
_ORDER_521: Final = 2**521 - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7
"""Order of the base point of secp521r1 (SEC 2, 2.6.1)."""


class Envelope(msgspec.Struct, frozen=True):
    """A sealed contract key.

    `curve` is that of the key agreement, `public_key` (133 bytes) its ephemeral half. `encrypted` is IV 12, key, tag
    16; `holds` is the kind of private key: secp521r1 (94 bytes in all) or Ed448 (84).
    """

    curve: EcdhCurve
    public_key: bytes
    holds: EcdhCurve
    encrypted: bytes


def additional_data(pcid: str, contract: x509.Certificate, rules: EnvelopeRules = RULES) -> bytes:
    """Return the additional authenticated data: PCID and the certificate's key identifier.

    `pcid` as in the provisioning certificate; separators and case do not matter. Raises EnvelopeError when
    the certificate has no key identifier.
    """
    try:
        extension = extensions_of(contract).get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        raise EnvelopeError(
            "the contract certificate has no key identifier, which seals its key", reason="not_supported"
        ) from None
    identifier = extension.value.digest
    end = identifier.hex().upper().encode() if rules.key_identifier == "text" else identifier
    return pcid.replace("-", "").upper().encode() + end


def derive_key(secret: bytes, rules: EnvelopeRules = RULES) -> bytes:
    """Return the AES key (32 bytes) of a shared secret: single-step concatenation KDF with SHA-512 (SP 800-56C)."""
    info = bytes.fromhex(rules.other_info)
    return ConcatKDFHash(algorithm=hashes.SHA512(), length=32, otherinfo=info).derive(secret)


def encrypt(key: bytes, iv: bytes, plain: bytes, additional: bytes) -> bytes:
    """Return IV, ciphertext and tag of AES-256-GCM, in the field order of -20."""
    return iv + AESGCM(key).encrypt(iv, plain, additional)


def decrypt(key: bytes, sealed: bytes, additional: bytes) -> bytes:
    """Return the plaintext of `encrypt`. Raises EnvelopeError(not_authentic)."""
    try:
        return AESGCM(key).decrypt(sealed[:IV_BYTES], sealed[IV_BYTES:], additional)
    except InvalidTag:
        raise EnvelopeError(
            "the sealed contract key cannot be decrypted",
            reason="not_authentic",
            hint="it is for another vehicle or certificate, was changed, or is sealed by other rules",
        ) from None


def seal(
    key: PrivateKey,
    recipient: PublicKey,
    *,
    contract: x509.Certificate,
    pcid: str,
    entropy: Entropy,
    rules: EnvelopeRules = RULES,
) -> Envelope:
    """Return `key`, the private key of `contract`, sealed for the owner of the provisioning key `recipient`.

    Raises EnvelopeError for kinds of keys without a field in -20.
    """
    holds, plain = to_field(key)
    if key.public_key() != contract.public_key():
        raise EnvelopeError("the key does not match the contract certificate", reason="wrong_key")
    ephemeral, secret = _agree_with(recipient, entropy)
    sealed = encrypt(derive_key(secret, rules), entropy(IV_BYTES), plain, additional_data(pcid, contract, rules))
    curve, public = _to_point(ephemeral, rules)
    return Envelope(curve, public, holds, sealed)


def unseal(
    envelope: Envelope, key: AgreementKey, *, contract: x509.Certificate, pcid: str, rules: EnvelopeRules = RULES
) -> PrivateKey:
    """Return the private key of `contract` from its envelope; `key` is that of the provisioning certificate.

    Raises EnvelopeError: any change of the envelope, the certificate or the PCID is detected.
    """
    expected = IV_BYTES + SCALAR_BYTES[envelope.holds] + TAG_BYTES
    if len(envelope.encrypted) != expected:
        raise EnvelopeError(
            f"the sealed key has {len(envelope.encrypted)} bytes instead of {expected}", reason="wrong_length"
        )
    try:
        secret = key.agree(_from_point(envelope.curve, envelope.public_key))
    except SignatureError as error:
        raise EnvelopeError(str(error), reason="bad_point") from None
    plain = decrypt(derive_key(secret, rules), envelope.encrypted, additional_data(pcid, contract, rules))
    return _from_field(envelope.holds, plain, contract.public_key())


# -- the key agreement's public half ------------------------------------------------------------------------------


def _agree_with(recipient: PublicKey, entropy: Entropy) -> tuple[AgreementPeer, bytes]:
    """Return the public half of a new key on the recipient's curve, and the secret shared with the recipient."""
    if isinstance(recipient, ed448.Ed448PublicKey):
        ephemeral = x448.X448PrivateKey.from_private_bytes(entropy(_X448_BYTES))
        try:
            return ephemeral.public_key(), ephemeral.exchange(x448_public_of(recipient))
        except (SignatureError, ValueError) as error:
            raise EnvelopeError(
                f"key agreement with the provisioning key failed: {error}", reason="bad_point"
            ) from None
    if recipient.curve.name != "secp521r1":
        raise EnvelopeError(
            f"a contract key cannot be sealed for a key of {recipient.curve.name}", reason="not_supported"
        )
    # 64 bits more than needed, so that the remainder is even (FIPS 186-5, A.2.1)
    scalar = int.from_bytes(entropy(74), "big") % (_ORDER_521 - 1) + 1
    drawn = SoftwareKey(ec.derive_private_key(scalar, ec.SECP521R1()))
    assert isinstance(drawn.public_key, ec.EllipticCurvePublicKey)
    return drawn.public_key, drawn.agree(recipient)


def _to_point(peer: AgreementPeer, rules: EnvelopeRules) -> tuple[EcdhCurve, bytes]:
    if isinstance(peer, x448.X448PublicKey):
        raw = peer.public_bytes_raw()
        filled = raw.rjust(POINT_BYTES, b"\0") if rules.x448_padding == "left" else raw.ljust(POINT_BYTES, b"\0")
        return EcdhCurve.X448, filled
    return EcdhCurve.SECP521, peer.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )


def _from_point(curve: EcdhCurve, field: bytes) -> AgreementPeer:
    """Return the public half in a DHPublicKey: a missing 04 and both paddings are accepted."""
    if curve is EcdhCurve.SECP521:
        point = b"\x04" + field if len(field) == POINT_BYTES - 1 else field
        try:
            if len(point) != POINT_BYTES:
                raise ValueError(f"{len(field)} bytes")
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP521R1(), point)
        except ValueError as error:
            raise EnvelopeError(f"DHPublicKey is not a point of secp521r1: {error}", reason="bad_point") from None
    fill = bytes(POINT_BYTES - _X448_BYTES)
    if len(field) == POINT_BYTES and field.startswith(fill):
        return x448.X448PublicKey.from_public_bytes(field[-_X448_BYTES:])
    if len(field) == POINT_BYTES and field.endswith(fill):
        return x448.X448PublicKey.from_public_bytes(field[:_X448_BYTES])
    raise EnvelopeError("DHPublicKey is not 56 bytes of X448 filled with zeros", reason="bad_point")


# -- the contract's private key as a field ------------------------------------------------------------------------


def to_field(key: PrivateKey) -> tuple[EcdhCurve, bytes]:
    """Return the field for a private key, and its bytes to be sealed. Raises EnvelopeError for one without a field."""
    if isinstance(key, ed448.Ed448PrivateKey):
        seed = key.private_bytes_raw()
        if seed[-1]:
            raise EnvelopeError(
                "this Ed448 key does not fit 56 bytes",
                reason="not_supported",
                hint="the last byte of its secret must be 0: see v2g.pki.keys.new_ed448_contract_key",
            )
        return EcdhCurve.X448, seed[:-1]
    if key.curve.name != "secp521r1":
        raise EnvelopeError(f"-20 has no field for a key of {key.curve.name}", reason="not_supported")
    return EcdhCurve.SECP521, key.private_numbers().private_value.to_bytes(66, "big")


def _from_field(holds: EcdhCurve, plain: bytes, public: object) -> PrivateKey:
    """Return the private key that matches `public`, the key of the contract certificate."""
    if holds is EcdhCurve.X448:
        return _ed448_of(plain, public)
    scalar = int.from_bytes(plain, "big")
    if not 0 < scalar < _ORDER_521:
        raise EnvelopeError("the contract key is not a scalar of secp521r1", reason="out_of_range")
    key = ec.derive_private_key(scalar, ec.SECP521R1())
    if key.public_key() != public:
        raise EnvelopeError("the contract key does not match its certificate", reason="wrong_key")
    return key


def _ed448_of(plain: bytes, public: object) -> ed448.Ed448PrivateKey:
    """Return an Ed448 key from the 56 bytes that its field has for the 57 of its secret.

    It is not public which byte is missing. A 0 is tried after, then before the others; the certificate decides. A
    field with the scalar instead is detected and rejected: the other half of the secret, needed for signing, is lost.
    """
    for secret in (plain + b"\0", b"\0" + plain):
        key = ed448.Ed448PrivateKey.from_private_bytes(secret)
        if key.public_key() == public:
            return key
    scalar = x448.X448PrivateKey.from_private_bytes(plain).public_key().public_bytes_raw()
    with contextlib.suppress(SignatureError):
        if isinstance(public, ed448.Ed448PublicKey) and scalar == x448_public_of(public).public_bytes_raw():
            what = "the field has the scalar of the contract key, not its secret"
            raise EnvelopeError(what, reason="not_supported")
    raise EnvelopeError("the contract key does not match its certificate", reason="wrong_key")
