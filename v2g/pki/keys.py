"""Private keys behind two small interfaces, implemented by files, PKCS#11 tokens and TPMs.

Signatures are in the raw form of ISO 15118: r‖s, each left-padded to the curve's size (V2G20-1000), or
the 114 bytes of Ed448. Shared secrets are in the raw form of its key derivation: the x coordinate, left-padded
to the curve's size, or the 56 bytes of X448.
"""

import enum
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, x448
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from v2g.errors import KeyAccessError, SignatureError

PublicKey = ec.EllipticCurvePublicKey | ed448.Ed448PublicKey
PrivateKey = ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey
AgreementPeer = ec.EllipticCurvePublicKey | x448.X448PublicKey
"""The peer's public key in a key agreement, usually for one message only."""

_MAX_SECRET_BYTES: Final = 64 * 1024
_P448: Final = 2**448 - 2**224 - 1  # RFC 7748, 4.2
_D448: Final = -39081


class Algorithm(enum.Enum):
    """Signature algorithms of ISO 15118: -20's two, and -2's, which interop peers still use for -20."""

    ECDSA_SHA512 = "ecdsa-sha512"  # secp521r1, 132 bytes
    ED448 = "ed448"  # 114 bytes
    ECDSA_SHA256 = "ecdsa-sha256"  # secp256r1, 64 bytes


def algorithm_of(key: PublicKey | PrivateKey) -> Algorithm:
    """Return the algorithm of a key. Raises SignatureError for a curve that 15118 does not allow."""
    if isinstance(key, ed448.Ed448PublicKey | ed448.Ed448PrivateKey):
        return Algorithm.ED448
    curve = getattr(key, "curve", None)  # certificates come with keys of any kind
    match curve.name if curve is not None else "":
        case "secp521r1":
            return Algorithm.ECDSA_SHA512
        case "secp256r1":
            return Algorithm.ECDSA_SHA256
        case other:
            raise SignatureError(f"{f'curve {other}' if other else 'this kind of key'} is not used by ISO 15118")


def _ecdsa(algorithm: Algorithm) -> tuple[int, ec.ECDSA]:
    if algorithm is Algorithm.ECDSA_SHA512:
        return 66, ec.ECDSA(hashes.SHA512())
    return 32, ec.ECDSA(hashes.SHA256())


class SigningKey(Protocol):
    """A private key that signs, without giving access to it."""

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm that `sign` uses."""

    @property
    def public_key(self) -> PublicKey:
        """The public half."""

    def sign(self, data: bytes) -> bytes:
        """Return the raw signature over `data` (hashed here, not by the caller)."""


class AgreementKey(Protocol):
    """A private key for key agreement, without giving access to it."""

    @property
    def public_key(self) -> PublicKey:
        """The public half."""

    def agree(self, peer: AgreementPeer) -> bytes:
        """Return the secret shared with `peer`: the x coordinate (66 bytes for secp521r1), or 56 bytes of X448.

        An Ed448 key agrees through its X448 counterpart. Raises SignatureError when `peer` is on another curve, or
        is a point that gives a publicly known secret.
        """


class LeafKey(SigningKey, AgreementKey, Protocol):
    """The key of a certificate: it signs and, if its curve allows, agrees."""


class SoftwareKey:
    """A LeafKey in this process's memory."""

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

    def expose(self) -> PrivateKey:
        """Return the private half, for libraries that need it."""
        return self._key

    def agree(self, peer: AgreementPeer) -> bytes:
        """Return the secret shared with `peer`."""
        check_agreement(self.public_key, peer)
        try:
            if isinstance(peer, x448.X448PublicKey):
                assert isinstance(self._key, ed448.Ed448PrivateKey)
                return x448_of(self._key).exchange(peer)
            assert isinstance(self._key, ec.EllipticCurvePrivateKey)
            return self._key.exchange(ec.ECDH(), peer)
        except ValueError:
            raise SignatureError("the other half of the key agreement is a point of low order") from None


def check_agreement(key: PublicKey, peer: AgreementPeer) -> None:
    """Check that the owner of `key` can agree with `peer`. Raises SignatureError for different curves."""
    ours = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else "x448"
    theirs = peer.curve.name if isinstance(peer, ec.EllipticCurvePublicKey) else "x448"
    if ours != theirs:
        raise SignatureError(f"a key of {theirs} cannot agree with one of {ours}")


def x448_of(key: ed448.Ed448PrivateKey) -> x448.X448PrivateKey:
    """Return the X448 counterpart of an Ed448 key: the same scalar (RFC 8032, 5.2.5; RFC 7748, 5)."""
    return x448.X448PrivateKey.from_private_bytes(hashlib.shake_256(key.private_bytes_raw()).digest(114)[:56])


def new_ed448_contract_key(entropy: Callable[[int], bytes]) -> ed448.Ed448PrivateKey:
    """Return an Ed448 key that -20 can deliver: its field has 56 bytes, so the 57th of the secret is 0."""
    return ed448.Ed448PrivateKey.from_private_bytes(entropy(56) + b"\0")


def x448_public_of(key: ed448.Ed448PublicKey) -> x448.X448PublicKey:
    """Return the X448 counterpart of an Ed448 public key: u = y²/x² (RFC 7748, 4.2).

    Only y is used: on the curve, x² = (1 - y²) / (1 - d·y²). Raises SignatureError for a point that is not on the
    curve, and for the points of low order.
    """
    y = int.from_bytes(key.public_bytes_raw()[:56], "little")  # the last byte holds only the sign of x
    square = y * y % _P448
    over, under = (1 - square) % _P448, (1 - _D448 * square) % _P448
    on_curve = y < _P448 and pow(over * under, (_P448 - 1) // 2, _P448) == 1  # x² is a square and not zero
    if not on_curve or y == 0:
        raise SignatureError("the Ed448 key is not a valid point for key agreement")
    u = square * under * pow(over, -1, _P448) % _P448
    return x448.X448PublicKey.from_public_bytes(u.to_bytes(56, "little"))


def has_low_order(key: ed448.Ed448PublicKey) -> bool:
    """Return whether an Ed448 key is one of the four points of low order, for which anyone can sign."""
    return int.from_bytes(key.public_bytes_raw()[:56], "little") % _P448 in (0, 1, _P448 - 1)


def verify_signature(key: PublicKey, data: bytes, signature: bytes) -> None:
    """Verify a raw signature over `data`. Raises SignatureError."""
    algorithm = algorithm_of(key)
    try:
        if isinstance(key, ed448.Ed448PublicKey):
            if has_low_order(key):
                raise SignatureError("the key is a point of low order: anyone can have signed")
            key.verify(signature, data)
            return
        width, scheme = _ecdsa(algorithm)
        if len(signature) != 2 * width:
            raise SignatureError(f"{algorithm.value} signature has {len(signature)} bytes instead of {2 * width}")
        key.verify(_der_signature(signature), data, scheme)
    except InvalidSignature:
        raise SignatureError(f"{algorithm.value} signature does not match") from None


def sign_der(key: SigningKey, data: bytes) -> bytes:
    """Return a signature over `data` as X.509 and `openssl dgst` have it: ECDSA in DER, or that of Ed448."""
    raw = key.sign(data)
    return raw if key.algorithm is Algorithm.ED448 else _der_signature(raw)


def _der_signature(raw: bytes) -> bytes:
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


def raw_signature(key: PublicKey, signature: bytes) -> bytes:
    """Return an ECDSA signature in DER as r and s side by side; anything else unchanged."""
    if isinstance(key, ed448.Ed448PublicKey):
        return signature
    width, _ = _ecdsa(algorithm_of(key))
    if len(signature) == 2 * width:
        return signature
    try:
        r, s = decode_dss_signature(signature)
        return r.to_bytes(width, "big") + s.to_bytes(width, "big")
    except (ValueError, OverflowError):
        return signature


def load_private_key(path: Path, passphrase: bytes | None = None) -> PrivateKey:
    """Return the PKCS#8 PEM key in `path`, for libraries that need the key itself, such as a TLS stack.

    Raises KeyAccessError when the file is missing, is not an EC or Ed448 key, is readable by others or
    replaceable by anyone, or is encrypted with another passphrase.
    """
    locked = passphrase is None
    hint = f"use file:{path}?pin-source=... for its passphrase" if locked else "remove pin-source"
    return parse_private_key(read_secret(path), passphrase, name=str(path), hint=hint)


def parse_private_key(
    pem: bytes, passphrase: bytes | None = None, *, name: str = "the key", hint: str = ""
) -> PrivateKey:
    """Return the key in PKCS#8 PEM. `name` and `hint` (about the passphrase) are for errors.

    Raises KeyAccessError when it is not an EC or Ed448 key, or is encrypted with another passphrase.
    """
    if (how := how_to_convert(pem)) is not None:
        raise KeyAccessError(f"{name} is not PEM, but binary (DER)", hint=how)
    try:
        key = serialization.load_pem_private_key(pem, password=passphrase)
    except TypeError:
        raise KeyAccessError(f"{name} is {'' if passphrase is None else 'not '}encrypted", hint=hint) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase is not None:  # which of the two it is shows the library only most of the time
            doubt = "the passphrase may be that of another key"
            raise KeyAccessError(f"{name}: wrong passphrase, or a damaged file", hint=doubt) from None
        why = str(error).rpartition("for more details. ")[2]
        raise KeyAccessError(f"{name}: not a private key in PEM: {why}", hint="is it complete?") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey):
        raise KeyAccessError(f"{name} is neither an EC nor an Ed448 key")
    return key


def how_to_convert(data: bytes) -> str | None:
    """Return how to make PEM of a certificate, a key or a container in DER; None for anything else."""
    if not data.startswith((b"0\x82", b"0\x81", b"0\x80", b"0G\x02")):
        return None
    return how_to_unpack(data) or "openssl x509 -inform DER, or openssl pkey -inform DER, makes PEM of it"


def how_to_unpack(data: bytes) -> str:
    """Return how to make PEM of a container in DER; nothing for anything else."""
    if not data.startswith(b"0") or b"*\x86H\x86\xf7\r\x01\x07" not in data[:64]:  # PKCS #7: in PKCS #12, too
        return ""
    return "openssl pkcs12 -nodes, or openssl pkcs7 -inform DER -print_certs, makes PEM of it"


def load_public_key(path: Path) -> PublicKey:
    """Return the public key in a PEM file, or that of the first certificate in it.

    Raises KeyAccessError when the file is unreadable, or its key is of a kind that `verify_signature` does not support.
    """
    try:
        return parse_public_key(path.read_bytes()[:_MAX_SECRET_BYTES], str(path))
    except OSError as error:
        raise KeyAccessError(f"{path}: {error.strerror}", hint=_PUBLIC) from None


def parse_public_key(pem: bytes, name: str) -> PublicKey:
    """Return the public key in PEM, or that of the first certificate in it; `name` is for errors. Raises as
    `load_public_key`."""
    try:
        if b"-----BEGIN CERTIFICATE-----" in pem:
            key = x509.load_pem_x509_certificate(pem).public_key()
        else:
            key = serialization.load_pem_public_key(pem)  # type: ignore[assignment]
        algorithm_of(key)  # type: ignore[arg-type]
    except ValueError:
        raise KeyAccessError(f"{name}: not a public key or certificate in PEM", hint=_PUBLIC) from None
    except (UnsupportedAlgorithm, SignatureError) as error:
        raise KeyAccessError(f"{name}: {error}", hint=_PUBLIC) from None
    return key  # type: ignore[return-value]


_PUBLIC: Final = "a public key or a certificate in PEM, on secp256r1, secp521r1 or Ed448"


def read_secret(path: Path, most: int = _MAX_SECRET_BYTES) -> bytes:
    """Return the content of a file that only its owner may read, up to `most` bytes.

    Raises KeyAccessError when it is missing, readable by others, in a world-writable folder, or not a
    plain file. The opened file is checked, even if its name is reassigned meanwhile.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # do not wait for a pipe's writer
            found = os.fstat(file.fileno())
            folder = path.parent.stat().st_mode
            if not stat.S_ISREG(found.st_mode):
                raise KeyAccessError(f"{path} is not a file")
            if (mode := stat.S_IMODE(found.st_mode)) & 0o077:
                raise KeyAccessError(f"{path} has mode {mode:04o}", hint=f"chmod 600 {path}")
            if folder & stat.S_IWOTH and not folder & stat.S_ISVTX:
                raise KeyAccessError(f"anyone may replace files in {path.parent}", hint=f"chmod o-w {path.parent}")
            return file.read(most)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        hint = "is the path right? v2g pki key makes one" if missing else "may this user read it?"
        raise KeyAccessError(f"{path}: {error.strerror}", hint=hint) from None


def read_secret_text(path: Path) -> str:
    """Return the text in a file as `read_secret` reads it, without blanks around it.

    Raises KeyAccessError, also when there is none, or it is not UTF-8.
    """
    try:
        text = read_secret(path).decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise KeyAccessError(f"{path} has no text in UTF-8", hint="a password or secret on one line")
    return text


def load_key(path: Path, passphrase: bytes | None = None) -> SoftwareKey:
    """Return the signing key in `path`. Raises as `load_private_key`, and SignatureError for a foreign curve."""
    return SoftwareKey(load_private_key(path, passphrase))


def save_key(path: Path, key: PrivateKey, passphrase: bytes | None = None) -> None:
    """Write a key as PKCS#8 PEM with mode 0600, encrypted if there is a passphrase.

    An existing file is replaced atomically: readers, even after a power cut, find the old key or the new one.
    """
    save_secret(path, private_pem(key, passphrase))


def private_pem(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    """Return a key as PKCS#8 PEM, encrypted if there is a passphrase."""
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def save_secret(path: Path, data: bytes) -> None:
    """Write a file readable only by its owner, atomically."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
