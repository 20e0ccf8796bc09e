"""Content of a certificate file: the data behind `v2g pki show FILE`."""

from datetime import datetime

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from v2g.errors import CertificateError
from v2g.pki.certificates import chain_from_pem, key_kind, load_certificate
from v2g.pki.ocsp import responder_url
from v2g.pki.profiles import Role
from v2g.pki.verify import check_profile


class CertificateRow(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate of a file. Times are aware UTC, names RFC 4514 text, `serial` hexadecimal."""

    subject: str
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    state: str  # valid, expired or not_yet_valid
    key: str  # secp521r1, ed448, ... or unknown
    signature: str  # sha512, ... or ed448
    size: int  # bytes of DER
    responder: str  # URL of the OCSP responder, or empty
    fits: tuple[Role, ...]  # roles whose profile it matches
    problem: str  # why it does not match the requested role's profile, or empty
    signed_by_next: bool  # by the following certificate; for the last one: by itself


def describe(data: bytes, *, at: datetime, role: Role | None = None) -> tuple[CertificateRow, ...]:
    """Return a row for each certificate in PEM text or DER, in file order.

    `role` requests a check of the first one. Raises CertificateError(malformed).
    """
    chain = chain_from_pem(data) if b"-----BEGIN " in data else (data,)
    certificates = [load_certificate(der) for der in chain]
    rows = []
    for index, certificate in enumerate(certificates):
        after = certificates[index + 1] if index + 1 < len(certificates) else certificate
        wanted = role if index == 0 else None
        size = len(chain[index])
        kind = key_kind(certificate)
        digest = certificate.signature_hash_algorithm
        rows.append(
            CertificateRow(
                subject=certificate.subject.rfc4514_string(),
                issuer=certificate.issuer.rfc4514_string(),
                serial=f"{certificate.serial_number:x}",
                not_before=certificate.not_valid_before_utc,
                not_after=certificate.not_valid_after_utc,
                state=_state(certificate, at),
                key=kind.value if kind else "unknown",
                signature=digest.name if digest else "ed448",
                size=size,
                responder=responder_url(certificate),
                fits=tuple(each for each in Role if not _problem(certificate, each)),
                problem=_problem(certificate, wanted) if wanted else "",
                signed_by_next=_signed_by(certificate, after),
            )
        )
    return tuple(rows)


def _state(certificate: x509.Certificate, at: datetime) -> str:
    if at > certificate.not_valid_after_utc:
        return "expired"
    return "valid" if at >= certificate.not_valid_before_utc else "not_yet_valid"


def _problem(certificate: x509.Certificate, role: Role) -> str:
    try:
        check_profile(certificate, role)
    except CertificateError as error:
        return str(error)
    return ""


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True
