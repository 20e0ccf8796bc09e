"""The status of certificates by responders (OCSP) and revocation lists: questions are returned as data."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, cast
from urllib.parse import unquote, urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from v2g.errors import CertificateError, RevocationError
from v2g.ocpp.messages.base import CertificateHashData, OCSPRequestData
from v2g.pki.crl import RevocationList, check_serial, is_listed, load_crl
from v2g.pki.ocsp import check_ocsp, responder_url

Status = Literal["Good", "Revoked", "Unknown", "Failed"]

_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}


class Anchors(msgspec.Struct, frozen=True, kw_only=True):
    """Trust anchors: `roots` and `crosses` (DER), `issuers` below them, `crls`, and `revoked` serial numbers."""

    roots: tuple[bytes, ...]
    crosses: tuple[bytes, ...] = ()
    issuers: tuple[x509.Certificate, ...] = ()
    crls: tuple[RevocationList, ...] = ()
    revoked: frozenset[int] = frozenset()
    interop: bool = False


class Question(msgspec.Struct, frozen=True):
    """A question for a responder, `request` (DER OCSPRequest): is `serial` of `issuer` good?

    `places`: URLs of responders in the certificate, or from the station; whether they may be used is decided
    elsewhere.
    """

    request: bytes
    serial: int
    issuer: x509.Certificate
    places: tuple[str, ...] = ()


def check_answer(question: Question, answer: bytes, at: datetime) -> None:
    """Check that a responder's answer confirms the certificate. Raises RevocationError."""
    # stands in for a certificate of which only the serial number is known, which is all that OCSP needs
    check_ocsp(answer, cast(x509.Certificate, _Named(question.serial)), question.issuer, at, asked=True)


def question_about(data: OCSPRequestData | CertificateHashData, anchors: Anchors) -> Question:
    """Return the questions for responders about a certificate identified by its hashes.

    Raises CertificateError: `malformed` for invalid hashes, `unknown_root` for an untrusted issuer.
    """
    try:
        serial = int(data.serial_number, 16)
        request = (
            ocsp.OCSPRequestBuilder()
            .add_certificate_by_hash(
                bytes.fromhex(data.issuer_name_hash),
                bytes.fromhex(data.issuer_key_hash),
                serial,
                _HASHES[data.hash_algorithm],
            )
            .build()
        )
    except (ValueError, TypeError):
        raise CertificateError("invalid hash data", reason="malformed") from None
    candidates = (*anchors.issuers, *(x509.load_der_x509_certificate(root) for root in anchors.roots))
    issuer = next((each for each in candidates if _is_issuer(each, request)), None)
    if issuer is None:
        what = f"certificate {data.serial_number} has an unknown issuer: add its CA to trust.issuers"
        raise CertificateError(what, reason="unknown_root")
    named = data.responder_url if isinstance(data, OCSPRequestData) else ""
    return Question(_der(request), serial, issuer, _named_at(named))


def question_of(certificate: x509.Certificate, issuer: x509.Certificate) -> Question:
    """Return the question for responders about a certificate."""
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256()).build()
    return Question(_der(request), certificate.serial_number, issuer, _named_at(responder_url(certificate)))


def _named_at(url: str) -> tuple[str, ...]:
    return (url,) if url else ()


def _is_issuer(certificate: x509.Certificate, request: ocsp.OCSPRequest) -> bool:
    """Return whether `certificate` is the issuer whose hashes `request` has."""
    digest = hashes.Hash(request.hash_algorithm)
    digest.update(certificate.subject.public_bytes())
    keyed = ocsp.OCSPRequestBuilder().add_certificate(certificate, certificate, request.hash_algorithm).build()
    found = digest.finalize(), keyed.issuer_key_hash
    return found == (request.issuer_name_hash, request.issuer_key_hash)


def is_revoked(serial: int, issuer: x509.Certificate, anchors: Anchors) -> bool:
    """Return whether a certificate is known to be revoked."""
    return serial in anchors.revoked or any(is_listed(crl, serial, issuer) for crl in anchors.crls)


class _Named(msgspec.Struct, frozen=True):
    serial_number: int


def _der(request: ocsp.OCSPRequest) -> bytes:
    return request.public_bytes(serialization.Encoding.DER)


_REASONS: Final[dict[str, Status]] = {"revoked": "Revoked", "unknown": "Unknown"}


class StatusFinding(msgspec.Struct, frozen=True):
    """Status of a certificate from a responder or list, and its validity (None: not stated)."""

    status: Status
    until: datetime | None = None


_PORTS: Final = {"http": 80, "https": 443}


FAILED: Final = StatusFinding("Failed")


def read_answer(answer: bytes, question: Question, at: datetime) -> StatusFinding:
    """Return the status in a responder's answer; Failed for an untrusted one."""
    try:
        check_answer(question, answer, at)
    except RevocationError as error:
        status = _REASONS.get(error.reason, "Failed")
        return StatusFinding(status, None if status == "Failed" else _until(answer))
    return StatusFinding("Good", _until(answer))


def read_list(data: bytes, question: Question, at: datetime) -> StatusFinding:
    """Return the status in a revocation list; Failed for an untrusted one."""
    try:
        found = load_crl(data)
        until = found.crl.next_update_utc
        check_serial(found, question.serial, question.issuer, at)
    except RevocationError as error:
        return StatusFinding("Revoked", until) if error.reason == "revoked" else FAILED
    return StatusFinding("Good", until)


def may_ask(url: str, allowed: Sequence[str]) -> bool:
    """Return whether a URL is below an allowed one, as a server would parse it, not by comparing text."""
    asked = _parts(url)
    return asked is not None and any(
        place is not None and asked[:3] == place[:3] and f"{asked[3]}/".startswith(f"{place[3].rstrip('/')}/")
        for place in map(_parts, allowed)
    )


def _parts(url: str) -> tuple[str, str, int, str] | None:
    """Return scheme, host, port and path; None for URLs that servers may parse differently."""
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        return None
    if found.scheme not in _PORTS or not found.hostname or "@" in found.netloc:
        return None
    path = unquote(found.path) or "/"
    text = url + path
    odd = "\\" in path or "%" in path or " " in text or not (text.isascii() and text.isprintable())
    if odd or any(step in (".", "..") for step in path.split("/")):
        return None
    return found.scheme, found.hostname, port or _PORTS[found.scheme], path


def _until(answer: bytes) -> datetime | None:
    return ocsp.load_der_ocsp_response(answer).next_update_utc
