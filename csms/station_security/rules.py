"""The built-in authority's rules for stations (use cases A02, A03; certificate properties of A00)."""

import warnings
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from v2g.errors import CertificateError
from v2g.ocpp.messages.base import CertificateHashData
from v2g.pki.certificates import chain_to_pem, key_kind, load_certificate
from v2g.pki.csr import load_csr, requested_key
from v2g.pki.issue import CertifiedKey, Issuer, IssueRequest, Subject, issue
from v2g.pki.ocsp import ocsp_request_data
from v2g.pki.profile import Generation, KeyKind, Role

BACKDATED: Final = timedelta(minutes=5)
"""Backdating of certificates: a station's clock may lag (remark of A02.FR.06)."""

_MOST_NAME: Final = 64  # characters of a common name (RFC 5280, appendix A)


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """A CA for stations: its certificates (DER, its own first, without the root), its key, and the
    lifetime, organization and revocation URLs of issued certificates."""

    chain: tuple[bytes, ...]
    issuer: Issuer
    organization: str
    role: Role
    days: int | None = None
    ocsp_url: str | None = None
    crl_url: str | None = None

    @property
    def generation(self) -> Generation:
        """The certificate profile: a CA on secp256r1 is one of ISO 15118-2."""
        assert self.issuer.certificate is not None
        old = self.role is Role.SECC and key_kind(self.issuer.certificate.public_key()) is KeyKind.SECP256R1
        return Generation.ISO15118_2 if old else Generation.ISO15118_20


class SigningRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A valid request of a station."""

    common_name: str
    key: CertifiedKey


def read_request(
    csr: str, station_id: str, role: Role, generation: Generation, *, vehicles_only: bool
) -> SigningRequest:
    """Return a station's request for a certificate of a role.

    The common name must be the station's (A00.FR.511), except in a certificate for vehicles only. The rest of the
    request's subject is ignored: the organization is the operator's (A00.FR.509). Raises CertificateError: malformed,
    bad_signature, wrong_curve, wrong_subject.
    """
    request = load_csr(csr.encode())
    key = requested_key(request, role, generation)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are too long, and of empty ones
        names = [str(part.value) for part in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(names) != 1 or not 0 < len(names[0]) <= _MOST_NAME:
        said = f"the request must have exactly one common name, of at most {_MOST_NAME} characters"
        raise CertificateError(said, reason="wrong_subject")
    if not vehicles_only and names[0] != station_id:
        raise CertificateError(
            f"the request's common name is {names[0][:60]!r}",
            reason="wrong_subject",
            hint=f"it must be the station's identity, {station_id!r}",
        )
    return SigningRequest(common_name=names[0], key=key)


def sign(asked: SigningRequest, authority: Authority, serial: int, at: datetime) -> x509.Certificate:
    """Return the certificate; it never outlives its CA. Raises ValueError for a subject that X.509 cannot express."""
    assert authority.issuer.certificate is not None
    end = authority.issuer.certificate.not_valid_after_utc
    days = authority.days
    not_after = None if days is None else min(at + timedelta(days=days), end)
    return issue(
        IssueRequest(
            role=authority.role,
            subject=Subject(common_name=asked.common_name, organization=authority.organization),
            public_key=asked.key,
            serial=serial,
            not_before=at - BACKDATED,
            not_after=not_after,
            ocsp_url=authority.ocsp_url,
            crl_url=authority.crl_url,
            generation=authority.generation,
        ),
        authority.issuer,
    )


def delivered(certificate: x509.Certificate, authority: Authority) -> str:
    """Return the chain for a station: PEM, leaf first, without the root."""
    return chain_to_pem(
        (certificate.public_bytes(Encoding.DER), *(der for der in authority.chain if not _is_root(der)))
    )


def is_root_of(wanted: CertificateHashData, certificates: Iterable[bytes]) -> bool:
    """Return whether `wanted` is one of the roots among these (DER; hashRootCertificate of 2.1)."""
    return any(_named(wanted, load_certificate(der)) for der in certificates if _is_root(der))


def _named(wanted: CertificateHashData, root: x509.Certificate) -> bool:
    found = ocsp_request_data(root, root, wanted.hash_algorithm)
    name, key = wanted.issuer_name_hash.lower(), wanted.issuer_key_hash.lower()
    serial = wanted.serial_number.lower().lstrip("0")
    return (found.issuer_name_hash, found.issuer_key_hash, found.serial_number) == (name, key, serial)


def _is_root(der: bytes) -> bool:
    certificate = load_certificate(der)
    return certificate.subject == certificate.issuer


class Charger(msgspec.Struct, frozen=True):
    """What this back end knows about the subject (RFC 4514) of a charger's certificate, beside a station's session.

    `station_id` is whose charger it is, `known` the subject by which the session's station was known last; each is
    empty if there is none.
    """

    subject: str
    station_id: str
    known: str

    def fault(self, station_id: str) -> str:
        """Return why it is not a station's, empty if it is, or may become it."""
        if self.station_id:
            return "" if self.station_id == station_id else f"charger {self.subject} is station {self.station_id}'s"
        return f"charger {self.subject} is new, the station is known by {self.known}" if self.known else ""
