"""Issuing of certificates: a new name in a tree, for a new key or for a request."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pki_tools.authority import SUBJECT_PARTS, Keys, host_of
from pki_tools.ca_session import CaSession, CertificateSpec, opened
from pki_tools.files import write_whole
from pki_tools.index import IndexEntry, entry_of
from pki_tools.layout import SIGNERS, responder_name
from v2g.errors import ConfigError
from v2g.pki.csr import load_csr
from v2g.pki.issue import Subject, signature_hash
from v2g.pki.keys import PrivateKey
from v2g.pki.profile import COMMON_NAME, COUNTRY, DOMAIN, ORGANIZATION, KeyKind, Role
from v2g.pki.profiles import PROFILES, profile_of

SERVERS: Final = frozenset({Role.CSMS_SERVER, Role.BROKER})
"""Roles whose certificates carry names and addresses of hosts."""

ROOTS: Final = frozenset(role for role, above in SIGNERS.items() if above is None)


class CertificateOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order of a certificate of `role` called `name`; None leaves the choice to tree and profile."""

    role: Role
    name: str
    common_name: str
    organization: str | None = None
    country: str | None = None
    hosts: tuple[str, ...] = ()
    days: int | None = None
    kind: KeyKind | None = None
    authority: str | None = None
    request: x509.CertificateSigningRequest | None = None


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """An issued certificate: its index entry, its files, and the file of its predecessor."""

    entry: IndexEntry
    certificate: x509.Certificate
    files: tuple[str, ...]
    former: str = ""


def issue_certificate(
    directory: Path, order: CertificateOrder, *, at: datetime, keys: Keys | None = None
) -> tuple[Issued, ...]:
    """Issue a certificate; for an authority also its CRL and its OCSP responder, which comes second.

    Raises ConfigError for an existing name or an authority that cannot sign, CertificateError for a key or subject
    that the role's profile does not allow, KeyAccessError without the authority's key.
    """
    with opened(directory, at=at, keys=keys) as session:
        return issue_in(session, order)


def issue_in(session: CaSession, order: CertificateOrder) -> tuple[Issued, ...]:
    """Do so as `issue_certificate`, in an open tree."""
    role = order.role
    path = Path(order.name)
    if path.is_absolute() or not path.parts or any(part.startswith(".") for part in path.parts):
        raise ConfigError(f"{order.name!r} is not a valid certificate name", hint="letters and digits, as in cpo2/sub1")
    if PROFILES[order.role].ca and len(path.parts) < 2:
        raise ConfigError(f"an authority needs a family: {order.name}/root or {order.name}/sub1")
    if any(each.name == order.name and not each.replaced for each in session.index.entries):
        hint = f"renew it: v2g pki renew {session.directory} {order.name}; or choose another --name"
        raise ConfigError(f"{order.name} exists", hint=hint)
    if any((session.directory / order.name).with_suffix(suffix).is_file() for suffix in (".pem", ".key")):
        raise ConfigError(f"{session.directory / order.name} exists and is not in the index")
    above = order.authority or SIGNERS.get(role)
    if above is None and role not in ROOTS:
        raise ConfigError(f"no default CA signs {role.value} certificates", hint="use --authority NAME")
    if order.authority and role in ROOTS:
        raise ConfigError("a root is self-signed", hint="a root certified by another is a cross certificate")
    profile, settings = PROFILES[order.role], session.index.settings
    country = settings.country if COUNTRY in profile.subject else None
    domain = profile.subject.get(DOMAIN) if profile.ca else None
    spec = CertificateSpec(
        role=role,
        subject=Subject(
            common_name=order.common_name,
            organization=order.organization or settings.operator,
            country=order.country or country,
            domain=domain.value if domain else None,
        ),
        above=above,
        hosts=order.hosts,
        days=order.days,
        kind=order.kind or _kind(role, session.index.settings.key_kind),
        request=order.request,
    )
    made = session.make(spec, order.name)
    alone = PROFILES[role].ca or role is Role.OCSP_RESPONDER
    file = f"{order.name}.pem" if alone else f"{order.name}/leaf.pem"
    entry = entry_of(made.certificate, name=order.name, role=role, file=file, issuer=made.issuer)
    session.record(session.index.with_entry(entry))
    folder = (session.directory / file).parent
    folder.mkdir(parents=True, exist_ok=True)
    files = session.files(entry, made)
    for name, data in files.items():
        write_whole(folder / name, data)
    written = tuple(str(Path(file).parent / name) for name in files)
    issued = Issued(entry=entry, certificate=made.certificate, files=written)
    if entry.is_authority and made.key is not None:
        return (issued, *issue_in(session, responder_order(order.name)))
    return (issued,)


def responder_order(authority: str) -> CertificateOrder:
    """Return the order for the OCSP responder of an authority."""
    return CertificateOrder(
        role=Role.OCSP_RESPONDER,
        name=responder_name(authority),
        common_name=f"V2G Engine {authority.upper().replace('/', ' ')} OCSP",
        authority=authority,
    )


def _kind(role: Role, usual: KeyKind) -> KeyKind:
    """Return the tree's kind of key, or, if not allowed for `role`, secp256r1."""
    allowed = PROFILES[role].key_kinds
    return KeyKind.SECP256R1 if usual not in allowed and KeyKind.SECP256R1 in allowed else usual


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
