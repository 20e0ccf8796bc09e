"""Public keys of meters in every form in which makers and stations write them, and ECDSA signatures by them.

A key that is a point alone has no curve of its own: the record that it signed names the curve (OCMF's `SA`).
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from v2g.errors import CertificateError, CodecError, RecordError
from v2g.extras import to_install
from v2g.pki.certificates import chain_from_pem, load_certificate

HashName = Literal["SHA256", "SHA384", "SHA512"]

_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}

_CURVES: Final[Mapping[str, ec.EllipticCurve]] = {
    each.name: each
    for each in (
        ec.SECP192R1(), ec.SECP224R1(), ec.SECP256R1(), ec.SECP256K1(), ec.SECP384R1(), ec.SECP521R1(),
        ec.BrainpoolP256R1(), ec.BrainpoolP384R1(), ec.BrainpoolP512R1(),
    )
}  # fmt: skip

_SECP192K1: Final = "secp192k1"
"""Of OCMF's table 22; only the package ecdsa has it."""
_P192K1: Final = 2**192 - 2**32 - 4553

SIZES: Final[Mapping[str, int]] = {_SECP192K1: 24} | {name: (each.key_size + 7) // 8 for name, each in _CURVES.items()}
"""Curve -> octets of a coordinate, and of each half of a raw signature."""

_SYNONYMS: Final[Mapping[str, str]] = {
    "prime192v1": "secp192r1", "nistp192": "secp192r1", "prime256v1": "secp256r1", "nistp256": "secp256r1",
    "prime384v1": "secp384r1", "nistp384": "secp384r1", "nistp521": "secp521r1",
    "p192": "secp192r1", "p256": "secp256r1", "p384": "secp384r1", "p521": "secp521r1",
    "brainpool256r1": "brainpoolP256r1", "brainpool384r1": "brainpoolP384r1", "brainpool512r1": "brainpoolP512r1",
} | {name.lower(): name for name in SIZES}  # fmt: skip

_MOST_TEXT: Final = 8192
_SPKI_SECP192K1: Final = (
    bytes.fromhex("3046301006072a8648ce3d020106052b8104001f033200"),
    bytes.fromhex("302e301006072a8648ce3d020106052b8104001f031a00"),
)
"""What is before an uncompressed and before a compressed point of it in DER."""
_PREFIX: Final = re.compile(r"\s*oca:(base16|base64):(asn1|raw):", re.IGNORECASE)
_HEX_JOINTS: Final = re.compile(r"^0x|[\s:,-]+", re.IGNORECASE)
_AROUND: Final = " \t\r\n\"'\ufeff"


def curve_name(written: str) -> str:
    """Return the curve of a name or one of its synonyms; "" if it is unknown."""
    return _SYNONYMS.get(re.sub(r"[\s_-]+", "", written).lower(), "")


class MeterKey(msgspec.Struct, frozen=True):
    """A public key: a point of SEC 1 (uncompressed where the curve is known), and its curve; "" for a point alone."""

    curve: str
    point: bytes

    def verifies(self, data: bytes, signature: bytes, curve: str, hash_name: HashName = "SHA256") -> bool:
        """Whether the key signed `data`. `curve` counts for a point alone ("": secp256r1). `signature` is DER, or r and
        s, each as long as a coordinate.

        Raises RecordError (`unsupported`) for secp192k1 without the package ecdsa, and for a point that is not of the
        curve.
        """
        curve = self.curve or curve or "secp256r1"
        # r and s. DER is as exact as BER in its lengths; makers leave out the zero before a high first bit.
        size = SIZES[curve]
        start = 3 if signature[1:2] == b"\x81" else 2
        at = start + 2 + int.from_bytes(signature[start + 1 : start + 2])
        r, s = signature[start + 2 : at], signature[at + 2 :]
        heads = [*signature[:1], *signature[start - 1 : start + 2], *signature[at : at + 2]]
        if heads == [0x30, len(signature) - start, 2, len(r), 2, len(s)]:
            halves = int.from_bytes(r), int.from_bytes(s)
        elif len(signature) == 2 * size:
            halves = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
        else:
            halves = None
        if halves is None:
            return False
        der = encode_dss_signature(*halves)
        if curve == _SECP192K1:
            return _verifies_secp192k1(self.point, data, der, hash_name)
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve], self.point)
            key.verify(der, data, ec.ECDSA(_HASHES[hash_name]))
        except InvalidSignature:
            return False
        except (ValueError, UnsupportedAlgorithm):
            raise RecordError(f"the key is not a point of {curve}", verdict="unsupported") from None
        return True

    def is_same(self, other: "MeterKey") -> bool:
        """Whether both are the same point, as far as what is written tells."""
        if self.point[0] == other.point[0]:
            return self.point == other.point
        short, long = sorted((self.point, other.point), key=len)
        return long[0] == 4 and short[1:] == long[1 : len(short)] and short[0] == 2 + (long[-1] & 1)


def read_key(written: str) -> MeterKey:
    """Return a key from base64, base32 or hex of DER, also of its certificate, or of a point, from PEM, also of its
    certificate or chain, and from OCPP's `oca:base16:asn1:` and `oca:base64:asn1:`, themselves in base64 or not. Raises
    CodecError.
    """
    if len(written) > _MOST_TEXT:
        raise CodecError(f"a meter's public key of {len(written)} characters")
    written = written.strip(_AROUND).replace("\\n", "\n")  # of a PEM from JSON
    wrong = "" if written else "it is empty"
    if written.startswith("{"):
        wrong = "JSON; write a JSON Web Key (JWK) as PEM"
    for octets in _decoded(written, 3):
        try:
            if (found := _key(octets)) is not None:
                return found
        except CodecError as error:
            wrong = str(error)
    raise CodecError(f"not a meter's public key: {wrong or 'neither DER nor a point of a known curve'}")


def _decoded(text: str, depth: int) -> Iterator[bytes]:
    """Yield what a text may stand for, the likeliest first: also the text itself where it is of PEM or has a prefix."""
    if "-----BEGIN" in text:
        yield text.encode()
        return
    if depth == 0:
        return
    if (prefix := _PREFIX.match(text)) is not None:
        text = text[prefix.end() :]
    for octets in transport_forms(text):
        yield octets
        if octets.isascii():  # a text in base64, or in hex
            yield from _decoded(octets.decode(), depth - 1)


def transport_forms(text: str) -> Iterator[bytes]:
    """Yield what a text is as hex, base64 and base32, in the forms that it fits exactly; blanks do not count."""
    bare = _HEX_JOINTS.sub("", text)
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", bare):
        yield bytes.fromhex(bare)
    bare = re.sub(r"\s+", "", text)
    bare = bare.rstrip("=").replace("-", "+").replace("_", "/")
    for decode, encode, size in ((base64.b64decode, base64.b64encode, 4), (base64.b32decode, base64.b32encode, 8)):
        padded = bare + "=" * (-len(bare) % size)
        with suppress(ValueError):
            octets = decode(padded)
            if octets and encode(octets).decode() == padded:  # there is one way to write it
                yield octets


def _key(octets: bytes) -> MeterKey | None:
    """Return the key that these octets are, None for others. Raises CodecError for one that is not of a meter."""
    for start in _SPKI_SECP192K1:
        if octets.startswith(start):
            return _on_its_curve(octets[len(start) :], (_SECP192K1,))
    if octets[:1] == b"\x30" or b"-----BEGIN" in octets:
        try:
            key = _public_key(octets)
        except (ValueError, UnsupportedAlgorithm, CertificateError) as error:
            raise CodecError(str(error)) from None
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise CodecError("not an elliptic curve")
        if key.curve.name not in SIZES:
            raise CodecError(f"the curve {key.curve.name} signs no meter's readings")
        return key_of(key)
    return _on_its_curve(octets if len(octets) % 2 else b"\x04" + octets, SIZES)  # else x and y alone


def _public_key(octets: bytes) -> object:
    """Return the key of a certificate, or of PEM or DER. Raises ValueError, UnsupportedAlgorithm, CertificateError."""
    if b"-----BEGIN CERTIFICATE-----" in octets:
        return load_certificate(chain_from_pem(octets)[0]).public_key()
    if octets[:1] != b"\x30":
        return serialization.load_pem_public_key(octets)
    with suppress(CertificateError):
        return load_certificate(octets).public_key()
    return serialization.load_der_public_key(octets)


def key_of(key: ec.EllipticCurvePublicKey) -> MeterKey:
    """Return a key of a certificate or file."""
    point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return MeterKey(key.curve.name, point)


def _on_its_curve(point: bytes, curves: Iterable[str]) -> MeterKey | None:
    """Return a point with the one of these curves that has it; without one if several have, as they may for a
    compressed point. None if none has.
    """
    found = []
    for name in curves:
        with suppress(ValueError, UnsupportedAlgorithm):
            _check(point, name)
            found.append(name)
    return MeterKey(found[0] if len(found) == 1 else "", point) if found else None


def _check(point: bytes, curve: str) -> None:
    """Raise ValueError for octets that are no point of a curve."""
    if curve != _SECP192K1:
        ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve], point)
        return
    square = (int.from_bytes(point[1:25]) ** 3 + 3) % _P192K1
    if point[:1] == b"\x04" and len(point) == 49 and int.from_bytes(point[25:]) ** 2 % _P192K1 == square:
        return
    if point[:1] in (b"\x02", b"\x03") and len(point) == 25 and pow(square, _P192K1 // 2, _P192K1) == 1:
        return  # it has a root
    raise ValueError("no point of secp192k1")


def _verifies_secp192k1(point: bytes, data: bytes, signature: bytes, hash_name: HashName) -> bool:
    """Verify by the package ecdsa; the curve's numbers are those of SEC 2, 2.2.1."""
    try:
        import ecdsa
        from ecdsa import ellipticcurve
    except ModuleNotFoundError:
        raise RecordError(f"secp192k1 needs a package: {to_install('verify')}", verdict="unsupported") from None
    plane = ellipticcurve.CurveFp(_P192K1, 0, 3)
    generator = ellipticcurve.PointJacobi(
        plane,
        0xDB4FF10EC057E9AE26B07D0280B7F4341DA5D1B1EAE06C7D,
        0x9B2F2F6D9C5628A7844163D015BE86344082AA88D95E2F9D,
        1,
        0xFFFFFFFFFFFFFFFFFFFFFFFE26F2FC170F69466A74DEFD8D,
    )
    curve = ecdsa.curves.Curve(_SECP192K1, plane, generator, oid=None)
    try:
        key = ecdsa.VerifyingKey.from_string(point, curve=curve)
    except (ecdsa.errors.MalformedPointError, ValueError):
        raise RecordError("the key is not a point of secp192k1", verdict="unsupported") from None
    try:
        key.verify(signature, data, getattr(hashlib, hash_name.lower()), sigdecode=ecdsa.util.sigdecode_der)
    except ecdsa.BadSignatureError:
        return False
    return True
