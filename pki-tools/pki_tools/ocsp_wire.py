"""OCSP messages (RFC 6960 4.1 and 4.2): parses requests about any number of certificates, encodes answers.

`cryptography` supports exactly one certificate, and hides how the request identified it; an
answer must repeat that identification exactly. Parsing is strict and bounded: invalid DER is RevocationError
(malformed).
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448

from v2g.asn1.der import wrap
from v2g.errors import RevocationError
from v2g.pki.issue import Issuer, signature_hash
from v2g.pki.keys import PrivateKey

MAX_REQUEST_BYTES: Final = 8 * 1024
MAX_CERTIFICATES: Final = 32
"""Limit of certificates in one request."""

_MAX_NONCE: Final = 128  # RFC 9654
_BOOLEAN, _INTEGER, _BITS, _OCTETS, _NULL, _OID, _ENUMERATED, _TIME, _SEQUENCE = 1, 2, 3, 4, 5, 6, 10, 0x18, 0x30

_HASH_OIDS: Final[dict[bytes, hashes.HashAlgorithm]] = {
    bytes.fromhex("2b0e03021a"): hashes.SHA1(),  # noqa: S303 - names certificates, protects nothing; RFC 5019 asks for it
    bytes.fromhex("608648016503040201"): hashes.SHA256(),
    bytes.fromhex("608648016503040202"): hashes.SHA384(),
    bytes.fromhex("608648016503040203"): hashes.SHA512(),
}
_NONCE_OID: Final = bytes.fromhex("2b0601050507300102")
_BASIC_OID: Final = bytes.fromhex("2b0601050507300101")
_SIGNATURES: Final = {
    None: bytes.fromhex("2b6571"),  # Ed448
    "sha256": bytes.fromhex("2a8648ce3d040302"),
    "sha384": bytes.fromhex("2a8648ce3d040303"),
    "sha512": bytes.fromhex("2a8648ce3d040304"),
}


class CertId(msgspec.Struct, frozen=True):
    """A certificate's identification in a request: hashes of its issuer's name and key, and its serial number.

    `der` is its encoding in the request; `algorithm` is None for an unknown hash.
    """

    der: bytes
    algorithm: str | None
    name_hash: bytes
    key_hash: bytes
    serial: int


class OcspRequest(msgspec.Struct, frozen=True):
    """The requested certificates, and the nonce extension's value, to be repeated, if present."""

    certificates: tuple[CertId, ...]
    nonce: bytes | None = None


class SerialStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A responder's status of one certificate, valid from `this_update` to `next_update` (aware UTC, whole seconds)."""

    certificate: CertId
    known: bool
    revoked_at: datetime | None = None
    reason: int | None = None  # CRLReason of RFC 5280 5.3.1
    this_update: datetime
    next_update: datetime


class _DerReader:
    """Reads DER values one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, tag: int) -> bytes:
        """Return the contents of the next value, which must have `tag`."""
        return self.take_raw(tag)[1]

    def take_raw(self, tag: int) -> tuple[bytes, bytes]:
        """Return the next value's encoding, and its contents."""
        start, data = self._at, self._data
        if len(data) - start < 2 or data[start] != tag:
            raise _malformed(f"no value of tag {tag:02x} at octet {start}")
        size, at = data[start + 1], start + 2
        if size & 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(data[at : at + count], "big"), at + count
            if not 1 <= count <= 2 or size < max(0x80, 1 << 8 * (count - 1)):
                raise _malformed(f"a length at octet {start} is not in its shortest form")
        if len(data) - at < size:
            raise _malformed(f"the value at octet {start} ends early")
        self._at = at + size
        return data[start : self._at], data[at : self._at]

    def oid(self) -> bytes:
        """Return the contents of an OBJECT IDENTIFIER: whole numbers, in their shortest form."""
        contents = self.take(_OID)
        starts = [0, *(at + 1 for at, octet in enumerate(contents) if octet < 0x80)]
        if not contents or starts[-1] != len(contents) or any(contents[at] == 0x80 for at in starts[:-1]):
            raise _malformed("an object identifier is not in its shortest form")
        return contents

    def optional(self, tag: int) -> bytes | None:
        """Return the contents of the next value if it has `tag`."""
        return self.take(tag) if self and self._data[self._at] == tag else None

    def end(self) -> None:
        """Check that there is no more data."""
        if self:
            raise _malformed(f"{len(self._data) - self._at} octets too many")


def _malformed(what: str) -> RevocationError:
    return RevocationError(f"not an OCSP request: {what}", reason="malformed")


def read_request(der: bytes) -> OcspRequest:
    """Return an OCSPRequest. Raises RevocationError(malformed).

    A signature is optional and ignored; so are extensions other than the nonce, unless they are critical.
    """
    if len(der) > MAX_REQUEST_BYTES:
        raise _malformed(f"{len(der)} octets")
    outer = _DerReader(der)
    inner = _DerReader(outer.take(_SEQUENCE))
    outer.end()
    body = _DerReader(inner.take(_SEQUENCE))
    inner.optional(0xA0)  # optionalSignature
    inner.end()
    version = body.optional(0xA0)
    if version not in (None, b"\x02\x01\x00"):
        raise _malformed("its version is not 1")
    body.optional(0xA1)  # requestorName
    requests = _DerReader(body.take(_SEQUENCE))
    extensions = body.optional(0xA2)
    body.end()
    certificates: list[CertId] = []
    while requests:
        if len(certificates) == MAX_CERTIFICATES:
            raise _malformed(f"more than {MAX_CERTIFICATES} certificates")
        request = _DerReader(requests.take(_SEQUENCE))
        certificates.append(_read_id(*request.take_raw(_SEQUENCE)))
        _read_extensions(request.optional(0xA0))
        request.end()
    if not certificates:
        raise _malformed("it has no certificate")
    nonce = _read_extensions(extensions).get(_NONCE_OID)
    if nonce is not None and not 1 <= len(_nonce(nonce)) <= _MAX_NONCE:
        raise _malformed(f"its nonce has not 1 to {_MAX_NONCE} octets")
    return OcspRequest(tuple(certificates), nonce)


def _nonce(value: bytes) -> bytes:
    reader = _DerReader(value)
    nonce = reader.take(_OCTETS)
    reader.end()
    return nonce


def _read_id(der: bytes, contents: bytes) -> CertId:
    reader = _DerReader(contents)
    algorithm = _DerReader(reader.take(_SEQUENCE))
    oid, parameters = algorithm.oid(), algorithm.optional(_NULL)
    algorithm.end()
    name_hash, key_hash, serial = reader.take(_OCTETS), reader.take(_OCTETS), reader.take(_INTEGER)
    reader.end()
    if parameters:
        raise _malformed("a NULL has contents")
    padded = len(serial) > 1 and (serial[0], serial[1] >> 7) in ((0x00, 0), (0xFF, 1))
    if not 1 <= len(serial) <= 64 or padded:
        raise _malformed(f"a serial number of {len(serial)} octets, or not in its shortest form")
    known = _HASH_OIDS.get(oid)
    return CertId(der, known.name if known else None, name_hash, key_hash, int.from_bytes(serial, "big", signed=True))


def _read_extensions(explicit: bytes | None) -> dict[bytes, bytes]:
    """Return the values of Extensions by object identifier. Raises RevocationError for an unknown critical one."""
    found: dict[bytes, bytes] = {}
    if explicit is None:
        return found
    outer = _DerReader(explicit)
    items = _DerReader(outer.take(_SEQUENCE))
    outer.end()
    while items:
        item = _DerReader(items.take(_SEQUENCE))
        oid, critical, value = item.oid(), item.optional(_BOOLEAN), item.take(_OCTETS)
        item.end()
        if critical not in (None, b"\xff"):  # FALSE is the default, and not written
            raise _malformed("a BOOLEAN is not in DER")
        if critical is not None and oid != _NONCE_OID:
            raise _malformed("it has an unknown critical extension")
        if oid in found:
            raise _malformed("an extension is listed twice")
        found[oid] = value
    return found


def issuer_hashes(issuer: x509.Certificate) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield (algorithm, hash of the name, hash of the key) for every supported hash of an issuer."""
    name, key = issuer.subject.public_bytes(), _key_bits(issuer)
    for algorithm in _HASH_OIDS.values():
        yield algorithm.name, _hash(algorithm, name), _hash(algorithm, key)


def certificate_id(serial: int, issuer: x509.Certificate) -> CertId:
    """Return the identification of a certificate by SHA-256."""
    oid, algorithm = next(each for each in _HASH_OIDS.items() if each[1].name == "sha256")
    name, key = _hash(algorithm, issuer.subject.public_bytes()), _hash(algorithm, _key_bits(issuer))
    der = wrap(
        _SEQUENCE,
        wrap(_SEQUENCE, wrap(_OID, oid), wrap(_NULL)),
        wrap(_OCTETS, name),
        wrap(_OCTETS, key),
        wrap(_INTEGER, serial.to_bytes(serial.bit_length() // 8 + 1, "big", signed=True)),
    )
    return CertId(der, algorithm.name, name, key, serial)


def _key_bits(certificate: x509.Certificate) -> bytes:
    """Return the value of the subjectPublicKey BIT STRING, without tag, length and count of unused bits."""
    info = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    reader = _DerReader(_DerReader(info).take(_SEQUENCE))
    reader.take(_SEQUENCE)
    return reader.take(_BITS)[1:]


def _hash(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()


def _time(at: datetime) -> bytes:
    return wrap(_TIME, at.astimezone(UTC).strftime("%Y%m%d%H%M%SZ").encode())


def write_refusal(status: int) -> bytes:
    """Return an OCSPResponse with an error: 1 malformedRequest, 2 internalError, 6 unauthorized."""
    return wrap(_SEQUENCE, wrap(_ENUMERATED, bytes((status,))))


def write_answer(
    statuses: Sequence[SerialStatus], responder: Issuer, *, at: datetime, delegated: bool, nonce: bytes | None = None
) -> bytes:
    """Return an OCSPResponse with `statuses`, produced `at` and signed by `responder`.

    A delegated responder's certificate is included; that of an issuer is not.
    """
    signer = responder.certificate
    assert signer is not None
    extensions = b""
    if nonce is not None:
        item = wrap(_SEQUENCE, wrap(_OID, _NONCE_OID), wrap(_OCTETS, nonce))
        extensions = wrap(0xA1, wrap(_SEQUENCE, item))
    data = wrap(
        _SEQUENCE,
        wrap(0xA2, wrap(_OCTETS, _hash(hashes.SHA1(), _key_bits(signer)))),  # noqa: S303 - responderID byKey
        _time(at),
        wrap(_SEQUENCE, *map(_write_status, statuses)),
        extensions,
    )
    algorithm, signature = _sign(responder.key, data)
    certificates = b""
    if delegated:
        certificates = wrap(0xA0, wrap(_SEQUENCE, signer.public_bytes(serialization.Encoding.DER)))
    basic = wrap(_SEQUENCE, data, algorithm, wrap(_BITS, b"\x00" + signature), certificates)
    envelope = wrap(_SEQUENCE, wrap(_OID, _BASIC_OID), wrap(_OCTETS, basic))
    return wrap(_SEQUENCE, wrap(_ENUMERATED, b"\x00"), wrap(0xA0, envelope))


def _write_status(status: SerialStatus) -> bytes:
    if not status.known:
        word = wrap(0x82)
    elif status.revoked_at is None:
        word = wrap(0x80)
    else:
        reason = b"" if status.reason is None else wrap(0xA0, wrap(_ENUMERATED, bytes((status.reason,))))
        word = wrap(0xA1, _time(status.revoked_at), reason)
    until = wrap(0xA0, _time(status.next_update))
    return wrap(_SEQUENCE, status.certificate.der, word, _time(status.this_update), until)


def _sign(key: PrivateKey, data: bytes) -> tuple[bytes, bytes]:
    """Return the AlgorithmIdentifier and the signature."""
    algorithm = signature_hash(key)
    identifier = wrap(_SEQUENCE, wrap(_OID, _SIGNATURES[algorithm.name if algorithm else None]))
    if isinstance(key, ed448.Ed448PrivateKey):
        return identifier, key.sign(data)
    assert algorithm is not None
    return identifier, key.sign(data, ec.ECDSA(algorithm))
