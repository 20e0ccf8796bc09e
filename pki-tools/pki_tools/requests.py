"""Certificate requests (PKCS #10): creation, and the usable content of a foreign one for a role."""

from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pki_tools.authority import SUBJECT_PARTS, host_of
from pki_tools.issuing import SERVERS
from v2g.errors import ConfigError
from v2g.pki.csr import load_csr
from v2g.pki.issue import Subject, signature_hash
from v2g.pki.keys import PrivateKey
from v2g.pki.profile import COMMON_NAME, COUNTRY, DOMAIN, ORGANIZATION, Role
from v2g.pki.profiles import PROFILES, profile_of


class Read(msgspec.Struct, frozen=True):
    """Content of a request for the certificate, and omitted parts that its profile does not allow."""

    request: x509.CertificateSigningRequest
    common_name: str
    organization: str | None
    country: str | None
    hosts: tuple[str, ...]
    left_out: tuple[str, ...]


def make_request(key: PrivateKey, role: Role, subject: Subject, hosts: Sequence[str] = ()) -> bytes:
    """Return a request in PEM, signed with `key`. Raises ConfigError for a subject that X.509 cannot express."""
    profile = PROFILES[role]
    fixed = profile.subject.get(DOMAIN)
    values = (
        (COMMON_NAME, subject.common_name),
        (ORGANIZATION, subject.organization),
        (COUNTRY, subject.country if COUNTRY in profile.subject else None),
        (DOMAIN, fixed.value if fixed else None),
    )
    try:
        name = x509.Name(
            x509.NameAttribute(x509.ObjectIdentifier(oid), value) for oid, value in values if value is not None
        )
        builder = x509.CertificateSigningRequestBuilder().subject_name(name)
        if hosts:
            names = [x509.DNSName(h) if isinstance(h, str) else x509.IPAddress(h) for h in map(host_of, hosts)]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        request = builder.sign(key, signature_hash(key))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"not valid in a certificate request: {error}") from None
    return request.public_bytes(serialization.Encoding.PEM)


def read_request(data: bytes, role: Role) -> Read:
    """Return the content of a foreign request in PEM or DER. Raises CertificateError(malformed, bad_signature).

    The authority decides: subject parts outside the role's profile, and extensions,
    are omitted; host names are used for servers only.
    """
    request = load_csr(data)
    known = profile_of(role).subject
    parts: dict[str, str] = {}
    left_out = []
    for attribute in request.subject:
        oid = attribute.oid.dotted_string
        if oid in known and oid in SUBJECT_PARTS and SUBJECT_PARTS[oid] not in parts:
            parts[SUBJECT_PARTS[oid]] = str(attribute.value)
        else:
            left_out.append(attribute.rfc4514_string())
    hosts: tuple[str, ...] = ()
    for extension in request.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName) and role in SERVERS:
            hosts = tuple(
                str(each.value) for each in extension.value if isinstance(each, x509.DNSName | x509.IPAddress)
            )
        elif not isinstance(extension.value, x509.BasicConstraints | x509.KeyUsage | x509.SubjectKeyIdentifier):
            left_out.append(extension.oid._name)
    return Read(
        request, parts.get("common_name", ""), parts.get("organization"), parts.get("country"), hosts, tuple(left_out)
    )
