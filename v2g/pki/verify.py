"""Decide whether a certificate chain is believed: path, signatures, validity, constraints, profile.

Generic validators refuse chains that follow Annex B of ISO 15118-20 (critical key identifiers) and accept ones that
do not (any curve, any subject), hence this one. `interop` relaxes what peers of the -2 generation cannot do:
secp256r1 with SHA-256 is accepted, and beside basic constraints and key usage the profile is not enforced.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtensionOID

from v2g.errors import CertificateError
from v2g.pki.certificates import common_name, emaid_of, key_kind, load_certificate
from v2g.pki.profiles import MAX_INTERMEDIATES, PROFILES, KeyKind, Presence, Profile, Role, Usage

T = TypeVar("T", bound=x509.ExtensionType)

_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
        # Annex B marks these critical although RFC 5280 does not; nothing in them restricts a path.
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        ExtensionOID.SUBJECT_INFORMATION_ACCESS,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
    }
)
_STRICT_HASHES: Final = (hashes.SHA512,)
_OTHER_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_INTEROP_KEYS: Final = frozenset({KeyKind.SECP256R1})


class VerifiedChain(msgspec.Struct, frozen=True):
    """A chain that was believed. `certificates` is the path, leaf first, without `anchor`."""

    certificates: tuple[x509.Certificate, ...]
    anchor: x509.Certificate
    role: Role

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate that was asked about."""
        return self.certificates[0]

    @property
    def leaf_issuer(self) -> x509.Certificate:
        """The certificate that signed the leaf."""
        return (*self.certificates, self.anchor)[1]

    @property
    def subject_cn(self) -> str:
        """The leaf's CN as written: SECCID, EVCCID, EMAID, station identity."""
        return common_name(self.leaf)

    @property
    def emaid(self) -> str:
        """The normalised EMAID of a contract chain."""
        return emaid_of(self.leaf)

    @property
    def der(self) -> tuple[bytes, ...]:
        """The path as DER."""
        return tuple(each.public_bytes(serialization.Encoding.DER) for each in self.certificates)


def verify_chain(
    leaf: bytes,
    intermediates: Sequence[bytes],
    anchors: Sequence[bytes],
    *,
    role: Role,
    at: datetime,
    interop: bool = False,
) -> VerifiedChain:
    """Return the chain from `leaf` (DER) over at most three of `intermediates` to one of `anchors`.

    `role` is a leaf's role; `at` is aware UTC. Self-signed certificates among the intermediates are ignored: only
    `anchors` are trusted, and of those none whose DC says that it is another family's root. Raises CertificateError
    whose `reason` is malformed, unknown_root, bad_signature, expired, not_yet_valid, bad_profile or wrong_subject,
    in this order of precedence.
    """
    profile = PROFILES[role]
    certificate = load_certificate(leaf)
    between = [each for each in map(load_certificate, intermediates) if each.subject != each.issuer]
    if len(between) > MAX_INTERMEDIATES:
        raise CertificateError(f"{len(between)} sub-CA certificates, at most 3 are allowed", reason="bad_profile")
    roots = [each for each in map(load_certificate, anchors) if not _domains(each) & profile.foreign_domains]
    path = _build(certificate, between, roots)
    _check_validity(path, at)
    _check_authorities(path, role, interop=interop)
    check_profile(certificate, role, interop=interop)
    return VerifiedChain(certificates=tuple(path[:-1]), anchor=path[-1], role=role)


def _domains(certificate: x509.Certificate) -> frozenset[str]:
    return frozenset(
        str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(x509.NameOID.DOMAIN_COMPONENT)
    )


def _build(
    leaf: x509.Certificate, between: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    """Return the path from leaf to root whose signatures all match."""
    refused: list[x509.Certificate] = []

    def paths(path: list[x509.Certificate]) -> Iterator[list[x509.Certificate]]:
        for root in roots:
            if _could_have_issued(root, path[-1]) and _has_issued(root, path[-1], refused):
                yield [*path, root]
        if len(path) > MAX_INTERMEDIATES:
            return
        for candidate in between:
            if candidate in path or not _could_have_issued(candidate, path[-1]):
                continue
            if _has_issued(candidate, path[-1], refused):
                yield from paths([*path, candidate])

    found = next(paths([leaf]), None)
    if found is not None:
        return found
    if refused:
        raise CertificateError(f"signature on {_label(refused[0])} does not match", reason="bad_signature")
    raise CertificateError(
        f"{_label(leaf)} does not lead to a trusted root",
        reason="unknown_root",
        hint=f"its issuer is {leaf.issuer.rfc4514_string()}",
    )


def _label(certificate: x509.Certificate) -> str:
    return f"certificate {certificate.subject.rfc4514_string()!r}"


def _could_have_issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    """Return whether names and key identifiers fit; a same-named stranger is told apart by its key identifier."""
    if issuer.subject != subject.issuer:
        return False
    authority = _extension(subject, x509.AuthorityKeyIdentifier)
    own = _extension(issuer, x509.SubjectKeyIdentifier)
    if authority is None or own is None or authority.value.key_identifier is None:
        return True
    return bool(authority.value.key_identifier == own.value.digest)


def _has_issued(issuer: x509.Certificate, subject: x509.Certificate, refused: list[x509.Certificate]) -> bool:
    try:
        subject.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        refused.append(subject)
        return False
    return True


def _check_validity(path: Sequence[x509.Certificate], at: datetime) -> None:
    """Check all dates of a path; one expired certificate outweighs any that is not valid yet."""
    for certificate in path:
        if at > certificate.not_valid_after_utc:
            raise CertificateError(
                f"{_label(certificate)} expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%SZ}",
                reason="expired",
            )
    for certificate in path:
        if at < certificate.not_valid_before_utc:
            raise CertificateError(
                f"{_label(certificate)} becomes valid at {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%SZ}",
                reason="not_yet_valid",
                hint="check the clock of this machine",
            )


def _check_authorities(path: Sequence[x509.Certificate], role: Role, *, interop: bool) -> None:
    """Check that everything above the leaf may certify, and as deep as it did (RFC 5280 6.1.4)."""
    profile = PROFILES[role]
    if role is Role.CONTRACT and len(path) < 3:
        raise _bad(path[0], "a contract chain has at least one sub-CA")
    for below, authority in enumerate(path[1:]):
        is_anchor = below == len(path) - 2
        constraints = _extension(authority, x509.BasicConstraints)
        usage = _extension(authority, x509.KeyUsage)
        if constraints is None or not constraints.value.ca or (usage is not None and not usage.value.key_cert_sign):
            raise _bad(authority, "is no CA")
        length = constraints.value.path_length
        if length is not None and below > length:
            raise _bad(authority, f"allows {length} sub-CAs below it, not {below}")
        if is_anchor:
            continue
        _check_common(authority, _AUTHORITY_KEYS.get(role, profile.key_kinds), profile, interop=interop)
        if interop:
            continue
        if usage is None or not usage.critical or not constraints.critical:
            raise _bad(authority, "lacks critical key usage or basic constraints")
        if role is Role.CONTRACT:
            if length != below:  # V2G20-2686: the place in the chain, 0 next to the leaf
                raise _bad(authority, f"has path length {length} in place {below}")
            if _usages(usage.value) != {Usage.KEY_CERT_SIGN, Usage.CRL_SIGN}:
                raise _bad(authority, "has other key usages than keyCertSign and cRLSign")


_AUTHORITY_KEYS: Final = {Role.METER: PROFILES[Role.CPO_SUB2].key_kinds}
"""Where a leaf's own key is of another kind than those of the CAs above it."""


def check_profile(certificate: x509.Certificate, role: Role, *, interop: bool = False) -> None:
    """Check one certificate against the profile of `role`, without its chain and dates.

    Raises CertificateError: bad_profile, or wrong_subject when only the subject does not fit.
    """
    profile = PROFILES[role]
    _check_common(certificate, profile.key_kinds, profile, interop=interop)
    _check_constraints(certificate, profile, interop=interop)
    _check_usage(certificate, profile, interop=interop)
    if not interop:
        _check_extended_usage(certificate, profile)
        _check_revocation(certificate, profile)
    _check_subject(certificate, profile, interop=interop)
    if role is Role.CONTRACT:
        emaid_of(certificate)


def _bad(certificate: x509.Certificate, what: str) -> CertificateError:
    return CertificateError(f"{_label(certificate)}: {what}", reason="bad_profile")


def _extension(certificate: x509.Certificate, type_: type[T]) -> x509.Extension[T] | None:
    try:
        return certificate.extensions.get_extension_for_class(type_)
    except x509.ExtensionNotFound:
        return None


def _usages(usage: x509.KeyUsage) -> set[Usage]:
    only_with_agreement = {Usage.ENCIPHER_ONLY, Usage.DECIPHER_ONLY}
    return {
        each
        for each in Usage
        if (usage.key_agreement or each not in only_with_agreement) and getattr(usage, each.value)
    }


def _check_common(certificate: x509.Certificate, kinds: frozenset[KeyKind], profile: Profile, *, interop: bool) -> None:
    """Check what holds for every certificate of a chain but the root: size, version, key, hash, extensions."""
    size = len(certificate.public_bytes(serialization.Encoding.DER))
    if size > profile.max_bytes:
        raise _bad(certificate, f"has {size} bytes, more than {profile.max_bytes}")
    if certificate.version is not x509.Version.v3:
        raise _bad(certificate, "is not X.509 v3")
    kind = key_kind(certificate)
    if kind not in (kinds | _INTEROP_KEYS if interop else kinds):
        raise _bad(certificate, f"has a key of kind {kind.value if kind else 'unknown'}")
    strict = profile.sha512_only and not interop
    digest = certificate.signature_hash_algorithm
    if digest is not None and not isinstance(digest, _STRICT_HASHES if strict else _OTHER_HASHES):
        raise _bad(certificate, f"is signed with {digest.name}")
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise _bad(certificate, f"has the unknown critical extension {extension.oid.dotted_string}")
        allowed = profile.extensions
        if allowed is not None and not interop and extension.oid.dotted_string not in allowed:
            raise _bad(certificate, f"has the extension {extension.oid.dotted_string}, which its profile does not")


def _check_constraints(certificate: x509.Certificate, profile: Profile, *, interop: bool) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None:
        if profile.ca or not interop:
            raise _bad(certificate, "lacks basic constraints")
        return
    if constraints.value.ca != profile.ca:
        raise _bad(certificate, "is a CA" if constraints.value.ca else "is no CA")
    if not interop and not constraints.critical:
        raise _bad(certificate, "has basic constraints that are not critical")
    if not interop and profile.ca and constraints.value.path_length != profile.path_length:
        raise _bad(certificate, f"has path length {constraints.value.path_length} instead of {profile.path_length}")


def _check_usage(certificate: x509.Certificate, profile: Profile, *, interop: bool) -> None:
    usage = _extension(certificate, x509.KeyUsage)
    if usage is None:
        if not interop:
            raise _bad(certificate, "lacks key usage")
        return
    if not interop and not usage.critical:
        raise _bad(certificate, "has a key usage that is not critical")
    present = _usages(usage.value)
    missing = profile.usages - present
    surplus = present - profile.usages - profile.allowed_usages
    if missing or (surplus and not interop):
        words = ", ".join(sorted(each.value for each in missing or surplus))
        raise _bad(certificate, f"{'lacks' if missing else 'must not have'} key usage {words}")


def _check_extended_usage(certificate: x509.Certificate, profile: Profile) -> None:
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    if extended is None:
        if profile.extended_usage_required:
            raise _bad(certificate, "lacks extended key usage")
        return
    if not profile.extended_usage_allowed:
        raise _bad(certificate, "has an extended key usage, which its profile does not")
    wanted = profile.extended_usage
    if wanted is not None and x509.ObjectIdentifier(wanted) not in extended.value:
        raise _bad(certificate, "has an extended key usage for something else")


def _check_revocation(certificate: x509.Certificate, profile: Profile) -> None:
    if not profile.revocation_required:
        return
    if (
        _extension(certificate, x509.CRLDistributionPoints) is None
        and _extension(certificate, x509.AuthorityInformationAccess) is None
    ):
        raise _bad(certificate, "names neither a CRL nor an OCSP responder")


def _check_subject(certificate: x509.Certificate, profile: Profile, *, interop: bool) -> None:
    def wrong(what: str) -> CertificateError:
        return CertificateError(f"{_label(certificate)}: {what}", reason="wrong_subject")

    if not common_name(certificate):
        raise wrong("has not exactly one CN")
    if interop:
        return
    present: dict[str, list[str]] = {}
    for attribute in certificate.subject:
        present.setdefault(attribute.oid.dotted_string, []).append(str(attribute.value))
    for oid, values in present.items():
        part = profile.subject.get(oid)
        if part is None:
            raise wrong(f"has the attribute {oid}, which its profile does not")
        if part.value is not None and values != [part.value]:
            raise wrong(f"has DC {', '.join(values)} instead of {part.value}")
    for oid, part in profile.subject.items():
        if part.presence is Presence.REQUIRED and oid not in present:
            raise wrong(f"lacks the attribute {oid}")
