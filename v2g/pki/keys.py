"""Signing keys behind one small interface, so that a file, a PKCS#11 token or a TPM can stand behind it.

Signatures are the raw form that ISO 15118 carries: r‖s, each left-padded to the curve's size (V2G20-1000), or
the 114 bytes of Ed448.
"""

import enum
import stat
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from v2g.errors import KeyAccessError, SignatureError

PublicKey = ec.EllipticCurvePublicKey | ed448.Ed448PublicKey
PrivateKey = ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey


class Algorithm(enum.Enum):
    """Signature algorithms of ISO 15118: -20's two, and -2's, which interop peers still use for -20."""

    ECDSA_SHA512 = "ecdsa-sha512"  # secp521r1, 132 bytes
    ED448 = "ed448"  # 114 bytes
    ECDSA_SHA256 = "ecdsa-sha256"  # secp256r1, 64 bytes


def algorithm_of(key: PublicKey | PrivateKey) -> Algorithm:
    """Return the algorithm that a key is used with. Raises SignatureError for a curve that 15118 does not know."""
    if isinstance(key, ed448.Ed448PublicKey | ed448.Ed448PrivateKey):
        return Algorithm.ED448
    match key.curve.name:
        case "secp521r1":
            return Algorithm.ECDSA_SHA512
        case "secp256r1":
            return Algorithm.ECDSA_SHA256
        case other:
            raise SignatureError(f"curve {other} is not used by ISO 15118")


def _ecdsa(algorithm: Algorithm) -> tuple[int, ec.ECDSA]:
    if algorithm is Algorithm.ECDSA_SHA512:
        return 66, ec.ECDSA(hashes.SHA512())
    return 32, ec.ECDSA(hashes.SHA256())


class SigningKey(Protocol):
    """A private key that signs and never shows itself."""

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm that `sign` uses."""

    @property
    def public_key(self) -> PublicKey:
        """The other half."""

    def sign(self, data: bytes) -> bytes:
        """Return the raw signature over `data` (hashed here, not by the caller)."""


class SoftwareKey:
    """A SigningKey whose private half is in this process's memory."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.algorithm = algorithm_of(key)
        self.public_key: PublicKey = key.public_key()

    def sign(self, data: bytes) -> bytes:
        """Return the raw signature over `data`."""
        if isinstance(self._key, ed448.Ed448PrivateKey):
            return self._key.sign(data)
        width, scheme = _ecdsa(self.algorithm)
        r, s = decode_dss_signature(self._key.sign(data, scheme))
        return r.to_bytes(width, "big") + s.to_bytes(width, "big")


def verify_signature(key: PublicKey, data: bytes, signature: bytes) -> None:
    """Check a raw signature over `data`. Raises SignatureError; returning means it matches."""
    algorithm = algorithm_of(key)
    try:
        if isinstance(key, ed448.Ed448PublicKey):
            key.verify(signature, data)
            return
        width, scheme = _ecdsa(algorithm)
        if len(signature) != 2 * width:
            raise SignatureError(f"{algorithm.value} signature has {len(signature)} bytes instead of {2 * width}")
        r, s = int.from_bytes(signature[:width], "big"), int.from_bytes(signature[width:], "big")
        key.verify(encode_dss_signature(r, s), data, scheme)
    except InvalidSignature:
        raise SignatureError(f"{algorithm.value} signature does not match") from None


def load_private_key(path: Path) -> PrivateKey:
    """Return the PKCS#8 PEM key in `path`, for libraries that must hold the key itself, such as a TLS stack.

    Raises KeyAccessError when the file is missing, is no EC or Ed448 key, or may be read by anyone but its owner.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise KeyAccessError(f"{path} has mode {mode:04o}", hint=f"chmod 600 {path}")
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyAccessError(f"{path}: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey):
        raise KeyAccessError(f"{path} holds neither an EC nor an Ed448 key")
    return key


def load_key(path: Path) -> SoftwareKey:
    """Return the signing key in `path`. Raises as `load_private_key`, and SignatureError for a foreign curve."""
    return SoftwareKey(load_private_key(path))


def save_key(path: Path, key: PrivateKey) -> None:
    """Write a key as PKCS#8 PEM with mode 0600; an existing file is replaced."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(pem)
