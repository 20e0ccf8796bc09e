"""Certificate revocation lists (RFC 5280 5): creation, parsing, and checks of certificates.

Complete lists only. Delta lists, indirect lists (about other issuers' certificates) and entries that undo
revocations are rejected as malformed, since their base lists are not stored.
"""

import re
import warnings
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID

from v2g.errors import RevocationError
from v2g.pki.certificates import CLOCK_SKEW
from v2g.pki.conformity import extension, is_authority
from v2g.pki.issue import Issuer, signature_hash
from v2g.pki.ocsp import SIGNATURE_HASHES

MAX_CRL_BYTES: Final = 1024 * 1024
"""Longest list that is parsed: about twenty thousand entries."""

_PEM: Final = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
_T = TypeVar("_T", bound=x509.ExtensionType)
_KEYS: Final = (ec.EllipticCurvePublicKey, ed448.Ed448PublicKey, rsa.RSAPublicKey)
_READ: Final = frozenset(
    {ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.CRL_NUMBER, ExtensionOID.ISSUING_DISTRIBUTION_POINT}
)
_READ_IN_ENTRY: Final = frozenset({CRLEntryExtensionOID.CRL_REASON, CRLEntryExtensionOID.INVALIDITY_DATE})


class Revoked(msgspec.Struct, frozen=True):
    """One entry: the revoked certificate of the issuer, time and reason."""

    serial: int
    at: datetime
    reason: x509.ReasonFlags = x509.ReasonFlags.unspecified


class RevocationList(msgspec.Struct, frozen=True):
    """A parsed list and its entries by serial number. `check_crl` verifies its issuer."""

    crl: x509.CertificateRevocationList
    entries: dict[int, Revoked]


def make_crl(
    issuer: Issuer,
    revoked: Sequence[Revoked],
    *,
    number: int,
    at: datetime,
    validity: timedelta,
    url: str | None = None,
) -> bytes:
    """Return a DER list of certificates revoked by `issuer`, valid from `at` for `validity`.

    `number` grows from list to list. `url` limits the list to that distribution point.
    """
    assert issuer.certificate is not None
    key_id = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(at)
        .next_update(at + validity)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    if url is not None:
        point = x509.IssuingDistributionPoint(
            full_name=[x509.UniformResourceIdentifier(url)],
            relative_name=None,
            only_contains_user_certs=False,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        )
        builder = builder.add_extension(point, critical=True)
    for each in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(each.serial).revocation_date(each.at)
        if each.reason is not x509.ReasonFlags.unspecified:  # RFC 5280 5.3.1: omit the reason then
            entry = entry.add_extension(x509.CRLReason(each.reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.key, signature_hash(issuer.key)).public_bytes(serialization.Encoding.DER)


def load_crl(data: bytes) -> RevocationList:
    """Return the completely parsed list in DER or PEM; see `load_crls` for files.

    Raises RevocationError(malformed).
    """
    if len(data) > MAX_CRL_BYTES:
        raise RevocationError(f"CRL has {len(data)} bytes, more than {MAX_CRL_BYTES}", reason="malformed")
    load = x509.load_pem_x509_crl if data.startswith(b"-----BEGIN") else x509.load_der_x509_crl
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            crl = load(data)
            _ = crl.issuer.rfc4514_string(), crl.last_update_utc, crl.next_update_utc, tuple(crl.extensions)
            _ = crl.signature_hash_algorithm, crl.signature
            for each in crl.extensions:
                if each.oid == ExtensionOID.DELTA_CRL_INDICATOR:
                    raise RevocationError("the CRL is a delta CRL, which is not used here", reason="malformed")
                if isinstance(each.value, x509.IssuingDistributionPoint) and each.value.indirect_crl:
                    raise RevocationError("the CRL is an indirect CRL, which is not used here", reason="malformed")
                if each.critical and each.oid not in _READ:
                    what = f"CRL has the unknown critical extension {each.oid.dotted_string}"
                    raise RevocationError(what, reason="malformed")
            entries = {entry.serial_number: _read_entry(entry) for entry in crl}
    except (
        ValueError,
        TypeError,
        OverflowError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise RevocationError(f"not a CRL: {error if data else 'it is empty'}", reason="malformed") from None
    return RevocationList(crl, entries)


def load_crls(data: bytes) -> tuple[RevocationList, ...]:
    """Return the lists of a file: one in DER, or those in PEM, whatever stands around them.

    Raises RevocationError(malformed), also for none.
    """
    return tuple(map(load_crl, _PEM.findall(data))) or (load_crl(data),)


class CrlSeries(NamedTuple):
    """Lists that replace one another: of one issuer's key, about the same certificates (RFC 5280 5.2.3)."""

    issuer: x509.Name
    key: bytes | None
    scope: x509.IssuingDistributionPoint | None


def series_of(revoked: RevocationList) -> CrlSeries:
    """Return the series of a list, by its own data."""
    key = _said(revoked.crl, x509.AuthorityKeyIdentifier)
    scope = _said(revoked.crl, x509.IssuingDistributionPoint)
    return CrlSeries(revoked.crl.issuer, key.key_identifier if key is not None else None, scope)


def is_older(revoked: RevocationList, other: RevocationList) -> bool:
    """Return whether a list precedes another one of its series: by its number, else by its time (RFC 5280 5.2.3)."""
    one, two = (_said(each.crl, x509.CRLNumber) for each in (revoked, other))
    if one is not None and two is not None and one != two:
        return one.crl_number < two.crl_number
    return revoked.crl.last_update_utc < other.crl.last_update_utc


def _said(crl: x509.CertificateRevocationList, kind: type[_T]) -> _T | None:
    try:
        return crl.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def check_crl(revoked: RevocationList, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime) -> None:
    """Check that a list of `issuer` does not revoke `certificate`; on return it is valid at `at`.

    Checked: issuer, signature, scope, entry, dates, in this order; a revocation outlives its list.
    Raises RevocationError with its reason: wrong_certificate for a list that does not cover `certificate`.
    """
    crl = revoked.crl
    _check_issuer(crl, issuer)
    _check_scope(crl, certificate)
    _check_serial(revoked, certificate.serial_number, at)


def check_serial(revoked: RevocationList, serial: int, issuer: x509.Certificate, at: datetime) -> None:
    """As `check_crl`, for a certificate identified by its number only.

    A list that covers only some certificates is inconclusive then: RevocationError, wrong_certificate.
    """
    _check_issuer(revoked.crl, issuer)
    if any(isinstance(each.value, x509.IssuingDistributionPoint) for each in revoked.crl.extensions):
        raise RevocationError("the CRL covers only some certificates", reason="wrong_certificate")
    _check_serial(revoked, serial, at)


def _check_serial(revoked: RevocationList, serial: int, at: datetime) -> None:
    crl = revoked.crl
    entry = revoked.entries.get(serial)
    if entry is not None:
        raise RevocationError(f"certificate was revoked at {entry.at} ({entry.reason.value})", reason="revoked")
    if crl.last_update_utc > at + CLOCK_SKEW:
        raise RevocationError(f"CRL is from {crl.last_update_utc}", reason="not_yet_valid")
    if crl.next_update_utc is None:  # RFC 5280 5.1.2.5
        raise RevocationError("CRL has no nextUpdate", reason="malformed")
    if crl.next_update_utc < at:
        raise RevocationError(f"CRL expired at {crl.next_update_utc}", reason="expired", hint="fetch a new CRL")


def is_listed(revoked: RevocationList, serial: int, issuer: x509.Certificate) -> bool:
    """Return whether a list signed by `issuer` has a serial number, without further checks."""
    try:
        _check_issuer(revoked.crl, issuer)
    except RevocationError:
        return False
    return serial in revoked.entries


def _check_issuer(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> None:
    own = extension(issuer, x509.SubjectKeyIdentifier)
    said = _said(crl, x509.AuthorityKeyIdentifier)
    named = said.key_identifier if said is not None else None
    if crl.issuer != issuer.subject or (named is not None and own is not None and named != own.value.digest):
        raise RevocationError(f"CRL is one of {crl.issuer.rfc4514_string()!r}", reason="wrong_certificate")
    usage = extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.value.crl_sign:
        raise RevocationError("the issuer may not sign CRLs", reason="bad_signature")
    key, digest = issuer.public_key(), crl.signature_hash_algorithm
    if digest is not None and not isinstance(digest, SIGNATURE_HASHES):
        raise RevocationError("the CRL is signed with a weak hash", reason="bad_signature")
    try:
        signed = isinstance(key, _KEYS) and crl.is_signature_valid(key)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        signed = False
    if not signed:
        raise RevocationError("the signature of the CRL does not match", reason="bad_signature")


def _read_entry(entry: x509.RevokedCertificate) -> Revoked:
    reason = x509.ReasonFlags.unspecified
    for each in entry.extensions:
        if each.critical and each.oid not in _READ_IN_ENTRY:
            what = f"CRL has an entry with the unknown critical extension {each.oid.dotted_string}"
            raise RevocationError(what, reason="malformed")
        if isinstance(each.value, x509.CRLReason):
            reason = each.value.reason
    if reason is x509.ReasonFlags.remove_from_crl:
        raise RevocationError("CRL undoes a revocation, as only delta CRLs do", reason="malformed")
    return Revoked(entry.serial_number, entry.revocation_date_utc, reason)


def _check_scope(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> None:
    """Check that the list covers `certificate`, for any reason (RFC 5280 5.2.5, 6.3.3 b)."""
    scope = _said(crl, x509.IssuingDistributionPoint)
    if scope is None:
        return
    other = scope.only_contains_user_certs if is_authority(certificate) else scope.only_contains_ca_certs
    if other or scope.only_contains_attribute_certs or scope.only_some_reasons:
        raise RevocationError("the CRL covers other certificates or only some reasons", reason="wrong_certificate")
    if scope.full_name is None and scope.relative_name is None:
        return
    points = extension(certificate, x509.CRLDistributionPoints)
    named = {name for point in points.value for name in point.full_name or ()} if points is not None else set()
    if not named & set(scope.full_name or ()):
        raise RevocationError("the CRL is one of another distribution point", reason="wrong_certificate")
