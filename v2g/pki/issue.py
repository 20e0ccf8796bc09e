"""Creates certificates by the profiles. Serial numbers and times are arguments; keys come from the caller."""

from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID

from v2g.pki.keys import PrivateKey, PublicKey
from v2g.pki.profile import (
    COMMON_NAME,
    COUNTRY,
    DOMAIN,
    ORGANIZATION,
    FieldPresence,
    Generation,
    KeyUsageBit,
    Profile,
    Role,
)
from v2g.pki.profiles import profile_of

CertifiedKey = PublicKey | rsa.RSAPublicKey
"""Keys in certificates. RSA keys only belong to gateways and sign nothing here."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a subject name; None omits a part."""

    common_name: str
    organization: str | None = None
    country: str | None = None  # ISO 3166-1 alpha-2
    domain: str | None = None  # DC


class IssueRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a certificate of `role` for `public_key`.

    `not_after` defaults to the profile's days after `not_before`; `serial` is 1 to 2^159-1. `hosts` become the
    subject alternative names. `annex_b_critical` marks extensions critical as in Annex B, contrary to
    RFC 5280; generic TLS stacks then reject the certificate. `generation` selects the profile.
    """

    role: Role
    subject: Subject
    public_key: CertifiedKey
    serial: int
    not_before: datetime
    not_after: datetime | None = None
    ocsp_url: str | None = None
    crl_url: str | None = None
    hosts: tuple[str | IPv4Address | IPv6Address, ...] = ()
    annex_b_critical: bool = False
    generation: Generation = Generation.ISO15118_20


class Issuer(msgspec.Struct, frozen=True):
    """A CA: its certificate (None: the request is for itself) and its private key."""

    certificate: x509.Certificate | None
    key: PrivateKey


def signature_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    """Return the hash that ISO 15118 pairs with a signing key; None for Ed448, which has its own."""
    if isinstance(key, ed448.Ed448PrivateKey):
        return None
    match key.curve:
        case ec.SECP256R1():
            return hashes.SHA256()
        case ec.SECP384R1():
            return hashes.SHA384()
        case _:
            return hashes.SHA512()


def key_identifier(key: CertifiedKey, length: int = 20) -> bytes:
    """Return the first `length` bytes of the SHA-1 key identifier of RFC 5280 4.2.1.2."""
    return x509.SubjectKeyIdentifier.from_public_key(key).digest[:length]


def issue(request: IssueRequest, issuer: Issuer) -> x509.Certificate:
    """Return the signed certificate. Raises ValueError for a subject or time that X.509 cannot express."""
    profile = profile_of(request.role, request.generation)
    # the subject in the order CN, O, C, DC; a DC required by the profile is added
    subject = request.subject
    domain = subject.domain
    part = profile.subject.get(DOMAIN)
    if domain is None and part is not None and part.presence is FieldPresence.REQUIRED:
        domain = part.value
    values = (
        (COMMON_NAME, subject.common_name),
        (ORGANIZATION, subject.organization),
        (COUNTRY, subject.country),
        (DOMAIN, domain),
    )
    name = x509.Name(
        x509.NameAttribute(x509.ObjectIdentifier(oid), value)
        for oid, value in values
        if value is not None and oid in profile.subject
    )
    not_after = request.not_after or request.not_before + timedelta(days=profile.days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer.certificate else name)
        .public_key(request.public_key)
        .serial_number(request.serial)
        .not_valid_before(request.not_before)
        .not_valid_after(not_after)
    )
    for extension, critical in _extensions(request, profile, issuer):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer.key, signature_hash(issuer.key))


def cross_certify(root: x509.Certificate, request: IssueRequest, issuer: Issuer) -> x509.Certificate:
    """Return a cross certificate: trust in `issuer` then extends to certificates issued by `root`.

    Name, key and key identifier are the root's; `request` (role CROSS) has the rest. Between an old and a new key of
    one root two are needed: `issuer` is once the old root and once the new one.
    """
    profile = profile_of(request.role, request.generation)
    assert issuer.certificate is not None
    builder = (
        x509.CertificateBuilder()
        .subject_name(root.subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(root.public_key())
        .serial_number(request.serial)
        .not_valid_before(request.not_before)
        .not_valid_after(request.not_after or request.not_before + timedelta(days=profile.days))
    )
    own = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    for extension, critical in _extensions(request, profile, issuer):
        value = own if isinstance(extension, x509.SubjectKeyIdentifier) else extension
        builder = builder.add_extension(value, critical=critical)
    return builder.sign(issuer.key, signature_hash(issuer.key))


def _extensions(request: IssueRequest, profile: Profile, issuer: Issuer) -> list[tuple[x509.ExtensionType, bool]]:
    critical = request.annex_b_critical
    identifier = key_identifier(request.public_key, profile.subject_key_id_bytes)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=profile.ca, path_length=profile.path_length), True),
        (
            x509.KeyUsage(**{usage.value: usage in profile.usages | profile.issued_usages for usage in KeyUsageBit}),
            True,
        ),
        (x509.SubjectKeyIdentifier(identifier), critical),
        (_authority_key_identifier(request, profile, issuer), critical),
    ]
    if profile.extended_usage is not None:
        extensions.append((x509.ExtendedKeyUsage([x509.ObjectIdentifier(profile.extended_usage)]), False))
    if request.ocsp_url is not None:
        url = x509.UniformResourceIdentifier(request.ocsp_url)
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, url)
        extensions.append((x509.AuthorityInformationAccess([access]), critical))
    if request.crl_url is not None:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(request.crl_url)], None, None, None)
        extensions.append((x509.CRLDistributionPoints([point]), critical))
    if request.hosts:
        names = [x509.DNSName(host) if isinstance(host, str) else x509.IPAddress(host) for host in request.hosts]
        extensions.append((x509.SubjectAlternativeName(names), False))
    if request.role is Role.OCSP_RESPONDER:
        extensions.append((x509.OCSPNoCheck(), False))  # lives shorter than its CA; RFC 6960 4.2.2.2.1
    return extensions


def _authority_key_identifier(request: IssueRequest, profile: Profile, issuer: Issuer) -> x509.AuthorityKeyIdentifier:
    if issuer.certificate is None:
        identifier = key_identifier(request.public_key, profile.subject_key_id_bytes)
    else:
        identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    return x509.AuthorityKeyIdentifier(identifier, None, None)
