"""Content of a certificate file: the data behind `v2g pki show FILE`."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509 import ocsp

from pki_tools.index import Index, IndexEntry
from pki_tools.layout import ANSWERED
from v2g.errors import CertificateError, RevocationError
from v2g.pki.certificates import key_kind, load_certificate
from v2g.pki.crl import load_crl
from v2g.pki.ocsp import responder_url
from v2g.pki.profile import Role
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


def describe(chain: Sequence[bytes], *, at: datetime, role: Role | None = None) -> tuple[CertificateRow, ...]:
    """Return a row for each certificate in DER, in this order.

    `role` requests a check of the first one. Raises CertificateError(malformed).
    """
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


# -- Content of a tree in reading order: the data behind `v2g pki show DIR` ------------------------------------------

SOON: Final = 1 / 6
"""Fraction of the lifetime in which renewal is due: ten days of a charger's sixty, four months of two years."""


class TreeLine(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate and its place: `depth` 0 is a root. `days` are left, negative once it has expired.

    `state`: valid, due (renew it now), expired, not_yet_valid, revoked, replaced (by a later one, and still valid).
    `key`: whether its private key is here; cross certificates have none. `crl_until`, `ocsp_until`: expiry of the
    related files; None: none.
    """

    depth: int
    name: str
    role: Role
    common_name: str
    state: str
    days: int
    not_after: datetime
    serial: str
    file: str
    key: bool
    revoked_at: datetime | None
    reason: str
    crl_until: datetime | None
    ocsp_until: datetime | None


def overview(directory: Path, index: Index, *, at: datetime, everything: bool = False) -> tuple[TreeLine, ...]:
    """Return the certificates of a tree, each below its issuer.

    Expired replaced ones are omitted, and replaced revoked ones, unless `everything` is set.
    """
    return tuple(_lines(directory, index, at, everything=everything))


def _lines(directory: Path, index: Index, at: datetime, *, everything: bool) -> Iterator[TreeLine]:
    def below(entry: IndexEntry, depth: int) -> Iterator[TreeLine]:
        path = directory / entry.file
        common_name = next((p[3:] for p in reversed(entry.subject.split(",")) if p.startswith("CN=")), entry.subject)
        yield TreeLine(
            depth=depth,
            name=entry.name,
            role=entry.role,
            common_name=common_name,
            state=_entry_state(entry, at),
            days=(entry.not_after - at).days,
            not_after=entry.not_after,
            serial=entry.serial,
            file=entry.file,
            key=entry.role is Role.CROSS or path.with_suffix(".key").exists(),
            revoked_at=entry.revoked_at,
            reason=entry.reason,
            crl_until=_crl_until(path.with_suffix(".crl")) if entry.is_authority else None,
            ocsp_until=_ocsp_until(path.with_name("ocsp.der")) if entry.role in ANSWERED else None,
        )
        if entry.is_authority and entry.role is not Role.CROSS and depth < 8 and index.authority(entry.key) == entry:
            children = [each for each in index.issued_by(entry.key) if everything or _matters(each, at)]
            for child in sorted(children, key=lambda each: (each.is_authority, each.name, each.not_before)):
                yield from below(child, depth + 1)

    for root in index.entries:
        if root.is_root and (everything or _matters(root, at)):
            yield from below(root, 0)


def _matters(entry: IndexEntry, at: datetime) -> bool:
    return not entry.replaced or (entry.revoked_at is None and entry.not_after >= at)


def _entry_state(entry: IndexEntry, at: datetime) -> str:
    if entry.revoked_at is not None:
        return "revoked"
    if at > entry.not_after:
        return "expired"
    if at < entry.not_before:
        return "not_yet_valid"
    if entry.replaced:
        return "replaced"
    return "due" if entry.not_after - at < (entry.not_after - entry.not_before) * SOON else "valid"


def _crl_until(path: Path) -> datetime | None:
    try:
        return load_crl(path.read_bytes()).crl.next_update_utc
    except (OSError, RevocationError):
        return None


def _ocsp_until(path: Path) -> datetime | None:
    try:
        answer = ocsp.load_der_ocsp_response(path.read_bytes())
        return next(iter(answer.responses)).next_update_utc
    except (OSError, ValueError, TypeError, StopIteration):
        return None
