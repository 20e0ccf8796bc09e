"""Sign on behalf of a tree's authorities: certificates, revocation lists, OCSP answers."""

import contextlib
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448

from pki_tools import ocsp_wire
from pki_tools.index import REASONS, Index, IndexEntry, TreeSettings, key_of
from pki_tools.layout import crl_path, revocation_path
from v2g.errors import ConfigError, KeyAccessError
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.crl import Revoked, make_crl
from v2g.pki.issue import CertifiedKey, Issuer, IssueRequest, Subject, cross_certify, issue
from v2g.pki.keys import PrivateKey, load_private_key, new_ed448_contract_key
from v2g.pki.profile import COMMON_NAME, COUNTRY, DOMAIN, ORGANIZATION, STAPLE_DAYS, Generation, KeyKind, Role
from v2g.pki.profiles import PROFILES, profile_of

CRL_DAYS: Final = 7
ROOT_CRL_DAYS: Final = 180
"""Roots are offline and rarely revoke: their lists must be valid for long."""

BACKDATED: Final = timedelta(hours=1)
"""Backdating of certificates: the clocks of two machines differ."""

Keys = Mapping[str, PrivateKey]
"""Private keys of authorities that are not in the tree, by key identifier: a root's, joined from its shares."""


SUBJECT_PARTS: Final = {COMMON_NAME: "common_name", ORGANIZATION: "organization", COUNTRY: "country", DOMAIN: "domain"}
"""Part of a subject, as profiles name it -> field of `Subject`."""


def new_key(kind: KeyKind, role: Role) -> PrivateKey:
    """Return a new private key for a certificate of `role`. Raises ConfigError for an unsupported kind."""
    match kind:
        case KeyKind.ED448 if role is Role.CONTRACT:
            return new_ed448_contract_key(secrets.token_bytes)
        case KeyKind.ED448:
            return ed448.Ed448PrivateKey.generate()
        case KeyKind.SECP256R1:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyKind.SECP384R1:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyKind.SECP521R1:
            return ec.generate_private_key(ec.SECP521R1())
        case _:
            raise ConfigError(f"keys of kind {kind.value} cannot be generated", hint="send a request: --csr")


def load_pem(path: Path) -> x509.Certificate:
    """Return the first certificate of a PEM file. Raises CertificateError(malformed)."""
    return load_certificate(load_chain(path)[0])


def to_pem(*certificates: x509.Certificate) -> bytes:
    """Return certificates as one PEM text."""
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def key_to_pem(key: PrivateKey) -> bytes:
    """Return a private key as PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_issuer(directory: Path, entry: IndexEntry, keys: Keys | None = None) -> Issuer:
    """Return an authority's certificate and key. Raises ConfigError, KeyAccessError."""
    path = directory / entry.file
    certificate = load_pem(path)
    if keys and entry.key in keys:
        return Issuer(certificate, keys[entry.key])
    key_file = path.with_suffix(".key")
    if not key_file.exists():
        raise KeyAccessError(
            f"the key of {entry.name} is not in the tree", hint="join it from its shares: v2g pki ceremony sign"
        )
    key = load_private_key(key_file)
    if key.public_key() != certificate.public_key():
        raise KeyAccessError(f"{key_file} is not the key of {path}")
    return Issuer(certificate, key)


def chain_above(directory: Path, index: Index, entry: IndexEntry) -> tuple[x509.Certificate, ...]:
    """Return the certificates above `entry`, without the root, nearest first. Raises ConfigError."""
    found: list[x509.Certificate] = []
    above = index.authority(entry.issuer)
    while above is not None and not above.is_root:
        if len(found) == 8:
            raise ConfigError(f"the authorities above {entry.name} form a loop")
        found.append(load_pem(directory / above.file))
        above = index.authority(above.issuer)
    if above is None:
        raise ConfigError(f"an authority above {entry.name} is missing from the index")
    return tuple(found)


def subject_of(certificate: x509.Certificate) -> Subject:
    """Return a subject as in a request. Raises ConfigError for unsupported parts."""
    parts: dict[str, str] = {}
    for attribute in certificate.subject:
        oid = attribute.oid.dotted_string
        if oid not in SUBJECT_PARTS or SUBJECT_PARTS[oid] in parts:
            raise ConfigError(
                f"{certificate.subject.rfc4514_string()}: its subject has attributes that this PKI does not issue"
            )
        parts[SUBJECT_PARTS[oid]] = str(attribute.value)
    return Subject(common_name=parts.pop("common_name", ""), **parts)


def sign_certificate(
    settings: TreeSettings,
    authority: str,
    issuer: Issuer,
    *,
    role: Role,
    subject: Subject,
    public_key: CertifiedKey,
    at: datetime,
    validity: tuple[datetime, datetime] | None = None,
    hosts: Sequence[str] = (),
) -> x509.Certificate:
    """Return a certificate of `role` issued by the named authority; `issuer` without certificate signs itself.

    It has the authority's OCSP responder and CRL. `validity` defaults to the profile's days, starting an hour ago.
    """
    generation = generation_of(settings, role)
    days = profile_of(role, generation).days
    not_before, not_after = validity or (at - BACKDATED, at + timedelta(days=days))
    ocsp_url = crl_url = None
    if issuer.certificate is not None:
        crl_url = f"{settings.url}/{crl_path(authority, key_of(issuer.certificate))}"
        # A responder's own certificate is not checked by OCSP: its CRL covers it (RFC 6960 4.2.2.2.1).
        if role is not Role.OCSP_RESPONDER:
            ocsp_url = f"{settings.url}/{revocation_path(authority)}"
    request = IssueRequest(
        role=role,
        subject=subject,
        public_key=public_key,
        serial=secrets.randbits(158) + 1,
        not_before=not_before,
        not_after=not_after,
        ocsp_url=ocsp_url,
        crl_url=crl_url,
        hosts=tuple(host_of(host) for host in hosts),
        annex_b_critical=settings.annex_b_critical,
        generation=generation,
    )
    return issue(request, issuer)


def cross_certificate(
    settings: TreeSettings, authority: str, issuer: Issuer, root: x509.Certificate, *, at: datetime
) -> x509.Certificate:
    """Return a certificate for the name and key of `root` by another root, or by its own former or later key."""
    assert issuer.certificate is not None
    request = IssueRequest(
        role=Role.CROSS,
        subject=Subject(common_name=""),
        public_key=root.public_key(),  # type: ignore[arg-type]  # roots have keys of the kinds that are issued
        serial=secrets.randbits(158) + 1,
        not_before=at - BACKDATED,
        not_after=min(
            at + timedelta(days=PROFILES[Role.CROSS].days),
            root.not_valid_after_utc,
            issuer.certificate.not_valid_after_utc,
        ),
        ocsp_url=f"{settings.url}/{revocation_path(authority)}",
        crl_url=f"{settings.url}/{crl_path(authority, key_of(issuer.certificate))}",
        annex_b_critical=settings.annex_b_critical,
    )
    return cross_certify(root, request, issuer)


def generation_of(settings: TreeSettings, role: Role) -> Generation:
    """Return the generation of a certificate's profile: -2 has no vehicle certificate."""
    return Generation.ISO15118_20 if role is Role.VEHICLE else settings.generation


_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_*.-]{1,253}")


def host_of(text: str) -> str | IPv4Address | IPv6Address:
    """Return an address, or a host name. Raises ValueError."""
    with contextlib.suppress(ValueError):
        return ip_address(text)
    if not _HOST_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is neither a host name in ASCII nor an address")
    return text


def sign_crl(index: Index, entry: IndexEntry, issuer: Issuer, *, at: datetime) -> bytes:
    """Return the current revocation list of the authority `entry`, DER."""
    revoked = [
        Revoked(int(each.serial, 16), each.revoked_at, REASONS.get(each.reason, x509.ReasonFlags.unspecified))
        for each in index.issued_by(entry.key)
        if each.revoked_at is not None
    ]
    validity = timedelta(days=ROOT_CRL_DAYS if entry.is_root else CRL_DAYS)
    return make_crl(issuer, revoked, number=int(at.timestamp() * 1000), at=at, validity=validity)


_REASON_NUMBERS: Final = {
    "key_compromise": 1,
    "ca_compromise": 2,
    "affiliation_changed": 3,
    "superseded": 4,
    "cessation_of_operation": 5,
    "certificate_hold": 6,
    "privilege_withdrawn": 9,
    "aa_compromise": 10,
}


def find_responder(directory: Path, index: Index, key: str, *, at: datetime) -> tuple[Issuer, bool]:
    """Return the signer for the authority with a key identifier, and whether it is a delegate.

    The authority answers itself when none of its delegates is valid `at`. Raises ConfigError, KeyAccessError.
    """
    for entry in reversed(index.entries):
        usable = entry.role is Role.OCSP_RESPONDER and entry.issuer == key and entry.revoked_at is None
        if usable and entry.not_before <= at <= entry.not_after:
            path = directory / entry.file
            if path.with_suffix(".key").exists():
                return load_issuer(directory, entry), True
    authority = index.authority(key)
    if authority is None:
        raise ConfigError(f"no CA has the key {key}")
    return load_issuer(directory, authority), False


def status_of(
    entry: IndexEntry | None, certificate: ocsp_wire.CertId, *, at: datetime, validity: timedelta
) -> ocsp_wire.SerialStatus:
    """Return the index's status of a certificate; None: unknown."""
    return ocsp_wire.SerialStatus(
        certificate=certificate,
        known=entry is not None,
        revoked_at=entry.revoked_at if entry else None,
        reason=_REASON_NUMBERS.get(entry.reason) if entry else None,
        this_update=at,
        next_update=at + validity,
    )


def sign_staple(directory: Path, index: Index, entry: IndexEntry, *, at: datetime, revoked: bool = False) -> bytes:
    """Return an OCSP answer about `entry`, valid for a week (V2G20-1021); `revoked` overrides the index.

    It also covers earlier valid certificates of the same name: a program that still uses one of them
    can staple it, too. Raises ConfigError, KeyAccessError.
    """
    authority = index.authority(entry.issuer)
    if authority is None:
        raise ConfigError(f"the issuer of {entry.name} is missing from the index")
    issuer = load_pem(directory / authority.file)
    validity = timedelta(days=STAPLE_DAYS)
    same = [each for each in index.entries if each.name == entry.name and each.issuer == entry.issuer]
    statuses = []
    for each in (entry, *(other for other in reversed(same) if other != entry and other.not_after > at)):
        if revoked and each.revoked_at is None:
            each = msgspec.structs.replace(each, revoked_at=at)
        statuses.append(
            status_of(each, ocsp_wire.certificate_id(int(each.serial, 16), issuer), at=at, validity=validity)
        )
    responder, delegated = find_responder(directory, index, entry.issuer, at=at)
    return ocsp_wire.write_answer(statuses, responder, at=at, delegated=delegated)
