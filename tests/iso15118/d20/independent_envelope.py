"""The envelope a contract key travels in, written a second time, from the clause and not from our code.

Read together with the public facts about ISO 15118-20 CertificateInstallation: agreement between an ephemeral key of
the back end and the provisioning key of the vehicle, single-step concatenation KDF (NIST SP 800-56C) with SHA-512 and
OtherInfo 01 ‖ 55 ‖ 56, AES-256-GCM with a 12-byte IV and a 16-byte tag, additional data PCID ‖ subject key identifier
of the contract certificate as upper-case hexadecimal text. It knows nothing of `v2g`: only `cryptography` and the
curve arithmetic of RFC 7748 and RFC 8032, in whole numbers.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, x448
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

FIELD_521 = 66  # bytes of a coordinate and of a scalar of secp521r1
LENGTH_448 = 56  # bytes of a u coordinate and of a scalar of curve448
POINT_FIELD = 133  # bytes of DHPublicKey in the schema, whatever the curve
ORDER_521 = int(
    "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa"
    "51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    16,
)
PRIME_448 = 2**448 - 2**224 - 1
EDWARDS_D = -39081  # of edwards448, RFC 8032 5.2


def additional_data(pcid: str, key_identifier: bytes) -> bytes:
    """PCID as ASCII, upper case and without separators, then the SKI as upper-case hexadecimal text."""
    return pcid.replace("-", "").upper().encode("ascii") + key_identifier.hex().upper().encode("ascii")


def content_key(shared_secret: bytes) -> bytes:
    """32 bytes of SHA-512(00000001 ‖ Z ‖ OtherInfo)."""
    return ConcatKDFHash(hashes.SHA512(), 32, b"\x01" + b"U" + b"V").derive(shared_secret)


def encrypt(key: bytes, iv: bytes, plaintext: bytes, data: bytes) -> bytes:
    """IV ‖ ciphertext ‖ tag."""
    context = Cipher(algorithms.AES(key), modes.GCM(iv)).encryptor()
    context.authenticate_additional_data(data)
    ciphertext = context.update(plaintext) + context.finalize()
    return iv + ciphertext + context.tag


def decrypt(key: bytes, blob: bytes, data: bytes) -> bytes:
    """The plaintext of IV ‖ ciphertext ‖ tag; `cryptography.exceptions.InvalidTag` if anything was changed."""
    iv, ciphertext, tag = blob[:12], blob[12:-16], blob[-16:]
    context = Cipher(algorithms.AES(key), modes.GCM(iv, tag)).decryptor()
    context.authenticate_additional_data(data)
    return context.update(ciphertext) + context.finalize()


# -- secp521r1 ---------------------------------------------------------------------------------------------------------


def point_of_521(public: ec.EllipticCurvePublicKey) -> bytes:
    """04 ‖ X ‖ Y, each coordinate 66 bytes."""
    numbers = public.public_numbers()
    return b"\x04" + numbers.x.to_bytes(FIELD_521, "big") + numbers.y.to_bytes(FIELD_521, "big")


def public_of_521(point: bytes) -> ec.EllipticCurvePublicKey:
    """The key at a point; `ValueError` if the bytes are none of the curve."""
    if len(point) != POINT_FIELD or point[0] != 4:
        raise ValueError("no uncompressed point of secp521r1")
    x, y = point[1 : 1 + FIELD_521], point[1 + FIELD_521 :]
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP521R1())
    return numbers.public_key()


def seal_521(
    vehicle: ec.EllipticCurvePublicKey,
    ephemeral: ec.EllipticCurvePrivateKey,
    iv: bytes,
    contract_scalar: int,
    data: bytes,
) -> tuple[bytes, bytes]:
    """What the back end sends: DHPublicKey (133 bytes) and SECP521_EncryptedPrivateKey (94 bytes)."""
    secret = ephemeral.exchange(ec.ECDH(), vehicle)
    plaintext = contract_scalar.to_bytes(FIELD_521, "big")  # 521 bits behind seven zero bits
    return point_of_521(ephemeral.public_key()), encrypt(content_key(secret), iv, plaintext, data)


def open_521(vehicle: ec.EllipticCurvePrivateKey, point: bytes, blob: bytes, data: bytes) -> int:
    """The scalar the vehicle finds; `ValueError` if it is no private key of secp521r1."""
    if len(blob) != 12 + FIELD_521 + 16:
        raise ValueError("SECP521_EncryptedPrivateKey has 94 bytes")
    secret = vehicle.exchange(ec.ECDH(), public_of_521(point))
    scalar = int.from_bytes(decrypt(content_key(secret), blob, data), "big")
    if not 1 <= scalar < ORDER_521:
        raise ValueError("outside the order of secp521r1")
    return scalar


# -- X448 --------------------------------------------------------------------------------------------------------------


def montgomery_private(vehicle: ed448.Ed448PrivateKey) -> x448.X448PrivateKey:
    """The X448 key with the secret scalar of an Ed448 key: first half of SHAKE256 of the seed, RFC 8032 5.2.5.

    Both curves prune a scalar alike (two lowest bits clear, bit 447 set), so X448 takes the bytes as they are.
    """
    half = hashlib.shake_256(vehicle.private_bytes_raw()).digest(114)[:57]
    return x448.X448PrivateKey.from_private_bytes(half[:LENGTH_448])


def montgomery_public(vehicle: ed448.Ed448PublicKey) -> x448.X448PublicKey:
    """The X448 key of an Ed448 public key by the 4-isogeny of RFC 7748 4.2: u = y² / x².

    On edwards448, x² + y² = 1 + d·x²·y², hence x² = (1 - y²) / (1 - d·y²): the sign of x is not needed.
    """
    y = int.from_bytes(vehicle.public_bytes_raw()[:LENGTH_448], "little")
    y2 = y * y % PRIME_448
    u = y2 * (1 - EDWARDS_D * y2) * pow(1 - y2, -1, PRIME_448) % PRIME_448
    return x448.X448PublicKey.from_public_bytes(u.to_bytes(LENGTH_448, "little"))


def seal_448(
    vehicle: ed448.Ed448PublicKey, ephemeral: x448.X448PrivateKey, iv: bytes, contract_key: bytes, data: bytes
) -> tuple[bytes, bytes]:
    """What the back end sends: DHPublicKey (56 bytes behind 77 zeros) and X448_EncryptedPrivateKey (84 bytes)."""
    if len(contract_key) != LENGTH_448:
        raise ValueError("X448_EncryptedPrivateKey holds 56 bytes")
    secret = ephemeral.exchange(montgomery_public(vehicle))
    point = ephemeral.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return point.rjust(POINT_FIELD, b"\0"), encrypt(content_key(secret), iv, contract_key, data)


def open_448(vehicle: ed448.Ed448PrivateKey, point: bytes, blob: bytes, data: bytes) -> bytes:
    """The 56 bytes the vehicle finds."""
    if len(blob) != 12 + LENGTH_448 + 16:
        raise ValueError("X448_EncryptedPrivateKey has 84 bytes")
    if len(point) != POINT_FIELD or any(point[:-LENGTH_448]):
        raise ValueError("DHPublicKey of X448 is 56 bytes behind zeros")
    secret = montgomery_private(vehicle).exchange(x448.X448PublicKey.from_public_bytes(point[-LENGTH_448:]))
    return decrypt(content_key(secret), blob, data)
