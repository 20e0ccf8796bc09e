"""Enrolment over Secure Transport: bodies, and what a client accepts (RFC 7030, RFC 8951). No socket, no clock.

An answer is a certs-only PKCS #7 in base64, and a set: the leaf is found by the requested key, the chain by issuers.
Servers in the field also send DER, PEM, base64 with line breaks, and the leaf alone.
"""

import base64
import binascii
import contextlib
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from v2g.errors import CertificateError, RefusedError
from v2g.pki.certificates import CLOCK_SKEW, key_kind, load_certificate
from v2g.pki.csr import load_csr
from v2g.pki.paths import signature_matches
from v2g.pki.profile import MAX_INTERMEDIATES, Generation, KeyKind, Role
from v2g.pki.verify import VerifiedChain, verify_chain
from v2g.rates import retry_after

CERTIFICATES: Final = "application/pkcs7-mime"
REQUEST: Final = "application/pkcs10"
WANTED: Final = "application/csrattrs"
MOST_BYTES: Final = 256 * 1024
"""Limit of a body."""
_MOST_CERTIFICATES: Final = 64
LEAST_PAUSE_S: Final = 5.0
MOST_PAUSE_S: Final = 86_400.0
_PAUSE_S: Final = 60.0
"""Pause after an answer 202 without a readable Retry-After."""


def read_certificates(body: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a certs-only PKCS #7: base64 with or without line breaks, DER, or PEM.

    Raises CertificateError (`malformed`).
    """
    if len(body) > MOST_BYTES:
        raise CertificateError(f"PKCS #7 of {len(body)} bytes", reason="malformed", hint=f"at most {MOST_BYTES}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # OpenSSL leaves the set unsorted: BER, which the library still reads
            if b"-----BEGIN" in body:
                found = pkcs7.load_pem_pkcs7_certificates(body)
            else:
                found = pkcs7.load_der_pkcs7_certificates(body if body[:1] == b"\x30" else _from_base64(body))
        certificates = tuple(load_certificate(each.public_bytes(Encoding.DER)) for each in found)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise CertificateError(f"not a certs-only PKCS #7: {error}", reason="malformed") from None
    if len(certificates) > _MOST_CERTIFICATES:
        raise CertificateError(f"PKCS #7 with {len(certificates)} certificates", reason="malformed")
    return certificates


def write_certificates(certificates: Sequence[x509.Certificate]) -> bytes:
    """Return a certs-only PKCS #7 in base64, on one line: some clients read no breaks."""
    return base64.b64encode(pkcs7.serialize_certificates(list(certificates), Encoding.DER))


def read_csr(body: bytes) -> x509.CertificateSigningRequest:
    """Return the request of a body: base64, DER or PEM. Raises CertificateError (`malformed`, `bad_signature`)."""
    if len(body) > MOST_BYTES:
        raise CertificateError(f"certificate request of {len(body)} bytes", reason="malformed")
    if b"-----BEGIN" in body or body[:1] == b"\x30":
        return load_csr(body)
    try:
        return load_csr(_from_base64(body))
    except ValueError as error:
        raise CertificateError(f"not a certificate request: {error}", reason="malformed") from None


def write_csr(csr: x509.CertificateSigningRequest) -> bytes:
    """Return the body of an enrolment."""
    return base64.b64encode(csr.public_bytes(Encoding.DER))


CURVES: Final = {
    "1.2.840.10045.3.1.7": KeyKind.SECP256R1,
    "1.3.132.0.34": KeyKind.SECP384R1,
    "1.3.132.0.35": KeyKind.SECP521R1,
}
DIGESTS: Final[dict[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "1.2.840.10045.4.3.2": hashes.SHA256(),
    "1.2.840.10045.4.3.3": hashes.SHA384(),
    "1.2.840.10045.4.3.4": hashes.SHA512(),
}
"""Of signatures by ECDSA."""
_MOST_WANTED: Final = 8 * 1024
_MOST_DEPTH: Final = 8


def read_wanted(body: bytes) -> tuple[str, ...]:
    """Return the OIDs in an answer to csrattrs, those of its values, too, in order (RFC 7030 4.5.2).

    Nothing is wanted by an empty one (RFC 8951). Raises CertificateError (`malformed`).
    """
    try:
        if len(body) > _MOST_WANTED:
            raise ValueError(f"{len(body)} bytes")
        der = body if body[:1] == b"\x30" else _from_base64(body)
        if der and der[0] != _SEQUENCE:
            raise ValueError("no SEQUENCE")
        return tuple(dict.fromkeys(_oids(der)))
    except ValueError as error:
        raise CertificateError(f"not attributes of requests: {error}", reason="malformed") from None


def lacking(wanted: Sequence[str], csr: x509.CertificateSigningRequest) -> tuple[str, ...]:
    """Return what a CA wants and a request lacks: names, or OIDs without one. Of curves and digests one is enough."""
    curves = {oid for oid, kind in CURVES.items() if kind is key_kind(csr.public_key())}
    has = curves | {csr.signature_algorithm_oid.dotted_string, _EXTENSIONS}
    if isinstance(csr.public_key(), ec.EllipticCurvePublicKey):
        has.add(_EC_KEY)
    has |= {each.oid.dotted_string for each in (*csr.subject, *csr.extensions)}
    with contextlib.suppress(ValueError):  # attributes of a foreign request that the library does not read
        has |= {each.oid.dotted_string for each in csr.attributes}
    for choice in (CURVES.keys(), DIGESTS.keys()):
        if has & choice & set(wanted):
            has |= choice
    absent = [x509.ObjectIdentifier(each) for each in wanted if each not in has]
    return tuple(each.dotted_string if "Unknown" in each._name else each._name for each in absent)


_SEQUENCE, _SET, _OID = 0x30, 0x31, 0x06
_EC_KEY: Final = "1.2.840.10045.2.1"
_EXTENSIONS: Final = "1.2.840.113549.1.9.14"  # extensionRequest, which only holds what is wanted


def _oids(der: bytes, depth: int = 0) -> Iterator[str]:
    """Yield the OIDs of values in DER, and of what they consist of. Raises ValueError."""
    while der:
        size, begin = der[1] if len(der) > 1 else 1, 2  # a tag alone is cut off
        if size >= 0x80:
            begin += size & 0x7F
            size = int.from_bytes(der[2:begin], "big")
        tag, content, der = der[0], der[begin : begin + size], der[begin + size :]
        if begin > 6 or len(content) != size or depth > _MOST_DEPTH or not (size or tag != _OID):
            raise ValueError("it is cut off, or too deep")
        if tag == _OID:
            yield _dotted(content)
        elif tag in (_SEQUENCE, _SET):
            yield from _oids(content, depth + 1)


def _dotted(content: bytes) -> str:
    if len(content) > 32 or content[-1] >= 0x80:
        raise ValueError("an object identifier is cut off, or too long")
    parts = [0]
    for each in content:
        parts[-1] = parts[-1] << 7 | each & 0x7F
        if each < 0x80:
            parts.append(0)
    first = min(parts[0] // 40, 2)
    return x509.ObjectIdentifier(".".join(map(str, (first, parts[0] - 40 * first, *parts[1:-1])))).dotted_string


def issued_chain(
    certificates: Sequence[x509.Certificate],
    csr: x509.CertificateSigningRequest,
    roots: Sequence[bytes],
    *,
    role: Role,
    generation: Generation,
    at: datetime,
) -> VerifiedChain:
    """Return the chain of the certificate that was issued for `csr`, verified up to one of `roots` (DER).

    `certificates`: an answer, with those of `cacerts` behind it where it is the leaf alone. Raises RefusedError
    (`wrong_key`) unless one has the requested key, CertificateError for another common name (`wrong_subject`), or as
    `verify_chain`.
    """
    leaves = [each for each in certificates if each.public_key() == csr.public_key()]
    if not leaves:
        raise RefusedError(
            f"none of {len(certificates)} certificates has the requested key",
            reason="wrong_key",
            hint="the CA has answered another request",
        )
    leaf = max(leaves, key=lambda each: each.not_valid_before_utc)
    asked, got = _common_names(csr.subject), _common_names(leaf.subject)
    if asked != got:
        raise CertificateError(f"issued for {got}, requested for {asked}", reason="wrong_subject")
    rolled = [each.public_bytes(Encoding.DER) for each in certificates if each.subject == each.issuer]
    return verify_chain(
        leaf.public_bytes(Encoding.DER),
        _above(leaf, [each for each in certificates if each.subject != each.issuer]),
        roots,
        role=role,
        at=max(at, min(leaf.not_valid_before_utc, at + CLOCK_SKEW)),  # the CA's clock may be ahead
        generation=generation,
        interop=generation is Generation.ISO15118_2,
        crosses=rolled,  # a root's old key with its new one, and the other way around (RFC 7030 4.1.3)
    )


def pause_s(asked: str, now: datetime) -> float:
    """Return how long to wait by Retry-After, s, a day at most."""
    wanted = retry_after(asked, now)
    return min(max(_PAUSE_S if wanted is None else wanted, LEAST_PAUSE_S), MOST_PAUSE_S)


def _from_base64(body: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"neither DER, PEM nor base64: {error}") from None


def _common_names(name: x509.Name) -> list[str]:
    return [str(each.value) for each in name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]


def _above(leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> list[bytes]:
    """Return the sub-CAs above a leaf in order; a set may hold other hierarchies and older certificates beside them."""
    found: list[x509.Certificate] = []
    below = leaf
    while len(found) <= MAX_INTERMEDIATES:  # one more is refused
        issuers = [each for each in others if each.subject == below.issuer]
        if not issuers:
            break
        below = max(issuers, key=lambda each: (signature_matches(each, below), each.not_valid_after_utc))
        found.append(below)
    return [each.public_bytes(Encoding.DER) for each in found]
