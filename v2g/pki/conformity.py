"""Check of one certificate against the profile of its role. `interop` relaxes it for peers of the -2 generation:
secp256r1 with SHA-256 is accepted, and besides basic constraints and usages only that chargers and provisioning
services do not show another party's DC. For the roles of the operator's own PKI only RFC 5280 is enforced.
"""

from collections.abc import Iterator
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from v2g.errors import CertificateError, CertificateReason
from v2g.pki.certificates import common_name, describe_key, emaid_of, extensions_of, key_kind
from v2g.pki.profile import DOMAIN, FieldPresence, Generation, KeyUsageBit, Profile, Role
from v2g.pki.profiles import profile_of

T = TypeVar("T", bound=x509.ExtensionType)

_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.NAME_CONSTRAINTS,
        # Annex B marks these critical although RFC 5280 does not; they do not restrict a path.
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        ExtensionOID.SUBJECT_INFORMATION_ACCESS,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
    }
)
_DOMAINS: Final = frozenset({"CPO", "CPS", "MO", "OEM"})
"""Parties of a V2G PKI. A certificate may name none to peers of -2, but no other party than its own: a charger must not
provide contracts [V2G2-891]."""

STRONG_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})


def refusal(
    certificate: x509.Certificate, what: str, reason: CertificateReason = "bad_profile", hint: str = ""
) -> CertificateError:
    """Return the error for a fault of a certificate."""
    return CertificateError(f"{label(certificate)} {what}", reason=reason, hint=hint)


def label(certificate: x509.Certificate) -> str:
    """Return the name of a certificate in messages."""
    return f"certificate {certificate.subject.rfc4514_string()!r}"


def extension(certificate: x509.Certificate, type_: type[T]) -> x509.Extension[T] | None:
    try:
        return extensions_of(certificate).get_extension_for_class(type_)
    except x509.ExtensionNotFound:
        return None


def is_authority(certificate: x509.Certificate) -> bool:
    """Return whether basic constraints mark a certificate as a CA."""
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.value.ca


def check_profile(
    certificate: x509.Certificate, role: Role, *, interop: bool = False, generation: Generation = Generation.ISO15118_20
) -> None:
    """Check one certificate against the profile of `role`, without its chain and dates.

    Raises CertificateError: bad_profile or a more precise reason; wrong_domain and wrong_subject when only those do not
    match.
    """
    for fault in profile_faults(certificate, role, interop=interop, generation=generation):
        raise fault


def profile_faults(
    certificate: x509.Certificate, role: Role, *, interop: bool = False, generation: Generation = Generation.ISO15118_20
) -> Iterator[CertificateError]:
    """Yield everything for which `check_profile` could refuse a certificate; it raises the first."""
    profile = profile_of(role, generation)
    yield from _basic_faults(certificate, profile, interop=interop)
    constraints = extension(certificate, x509.BasicConstraints)
    if profile.ca:
        if constraints is None or not constraints.value.ca:
            yield refusal(certificate, "is not a CA", "not_a_ca")
        elif not interop and profile.exact_path_length and constraints.value.path_length != profile.path_length:
            length = constraints.value.path_length
            yield refusal(certificate, f"has path length {length} instead of {profile.path_length}", "path_length")
    elif constraints is None and not interop:
        yield refusal(certificate, "lacks basic constraints")
    elif constraints is not None and constraints.value.ca:
        yield refusal(certificate, "is a CA")
    if not interop and constraints is not None and not constraints.critical:
        yield refusal(certificate, "has basic constraints that are not critical")
    yield from _usage_faults(certificate, profile, interop=interop)
    yield from _extended_usage_faults(certificate, profile, interop=interop)
    if not interop:
        for each in extensions_of(certificate):
            if profile.extensions is not None and each.oid.dotted_string not in profile.extensions:
                what = f"has the extension {each.oid.dotted_string}, which its profile does not allow"
                yield refusal(certificate, what)
            if each.oid == ExtensionOID.NAME_CONSTRAINTS and not profile.ca:  # RFC 5280 4.2.1.10
                yield refusal(certificate, "has name constraints but is not a CA")
        if (
            profile.revocation_required
            and extension(certificate, x509.CRLDistributionPoints) is None
            and extension(certificate, x509.AuthorityInformationAccess) is None
        ):
            yield refusal(certificate, "has no CRL and no OCSP responder")
    yield from _subject_faults(certificate, profile, interop=interop)
    if role is Role.CONTRACT and common_name(certificate):
        try:
            emaid_of(certificate)
        except CertificateError as error:
            yield error


def check_basics(certificate: x509.Certificate, profile: Profile, *, interop: bool) -> None:
    """Check the rules for every certificate of a chain but the root: form, critical extensions, key and hash.

    Raises CertificateError.
    """
    for fault in _basic_faults(certificate, profile, interop=interop):
        raise fault


def _basic_faults(certificate: x509.Certificate, profile: Profile, *, interop: bool) -> Iterator[CertificateError]:
    size = len(certificate.public_bytes(serialization.Encoding.DER))
    if size > profile.max_bytes:
        yield refusal(certificate, f"has {size} bytes, more than {profile.max_bytes}")
    if certificate.version is not x509.Version.v3:
        yield refusal(certificate, "is not X.509 v3")
    yield from critical_faults(certificate)
    yield from _key_faults(certificate, profile, interop=interop)
    digest = certificate.signature_hash_algorithm
    if digest is not None and digest.name not in (STRONG_HASHES if interop else profile.hashes):
        yield refusal(certificate, f"is signed with {digest.name}", "weak_hash")


def critical_faults(certificate: x509.Certificate) -> Iterator[CertificateError]:
    """Yield each critical extension that is not understood: it may restrict the certificate (RFC 5280 4.2)."""
    for each in extensions_of(certificate):
        if each.critical and each.oid not in _UNDERSTOOD:
            what = f"has the unknown critical extension {each.oid.dotted_string}"
            yield refusal(certificate, what, "unknown_critical_extension")


def check_key(certificate: x509.Certificate, profile: Profile, *, interop: bool) -> None:
    """Check that a key is of an allowed kind. Raises CertificateError(wrong_curve)."""
    for fault in _key_faults(certificate, profile, interop=interop):
        raise fault


def _key_faults(certificate: x509.Certificate, profile: Profile, *, interop: bool) -> Iterator[CertificateError]:
    key = certificate.public_key()
    kinds = profile.key_kinds | profile.interop_kinds if interop else profile.key_kinds
    if key_kind(key) not in kinds:
        hint = f"allowed are {', '.join(sorted(each.value for each in kinds))}"
        yield refusal(certificate, f"has {describe_key(key)}", "wrong_curve", hint)


def _usage_faults(certificate: x509.Certificate, profile: Profile, *, interop: bool) -> Iterator[CertificateError]:
    usage = extension(certificate, x509.KeyUsage)
    if usage is None:
        if not interop:
            yield refusal(certificate, "lacks key usage", "key_usage")
        return
    if not interop and not usage.critical:
        yield refusal(certificate, "has a key usage that is not critical", "key_usage")
    only_with_agreement = {KeyUsageBit.ENCIPHER_ONLY, KeyUsageBit.DECIPHER_ONLY}
    present = {
        each
        for each in KeyUsageBit
        if (usage.value.key_agreement or each not in only_with_agreement) and getattr(usage.value, each.value)
    }
    missing = profile.usages - present
    surplus = present - profile.usages - profile.allowed_usages
    if missing or (surplus and not interop):
        words = ", ".join(sorted(each.value for each in missing or surplus))
        yield refusal(certificate, f"{'lacks' if missing else 'must not have'} key usage {words}", "key_usage")


def _extended_usage_faults(
    certificate: x509.Certificate, profile: Profile, *, interop: bool
) -> Iterator[CertificateError]:
    extended = extension(certificate, x509.ExtendedKeyUsage)
    if extended is None:
        if profile.extended_usage_required and not interop:
            yield refusal(certificate, "lacks extended key usage", "extended_key_usage")
        return
    if not profile.extended_usage_allowed and not interop:
        yield refusal(certificate, "has an extended key usage, which its profile does not allow", "extended_key_usage")
        return
    wanted = profile.extended_usage
    if interop and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in extended.value:
        return
    if wanted is not None and x509.ObjectIdentifier(wanted) not in extended.value:
        yield refusal(certificate, "has another extended key usage", "extended_key_usage")


def _subject_faults(certificate: x509.Certificate, profile: Profile, *, interop: bool) -> Iterator[CertificateError]:
    def wrong(what: str, oid: str = "") -> CertificateError:
        return refusal(certificate, what, "wrong_domain" if oid == DOMAIN else "wrong_subject")

    if not common_name(certificate):
        yield wrong("does not have exactly one CN")
    if interop:
        part = profile.subject.get(DOMAIN)
        given = {str(each.value) for each in certificate.subject.get_attributes_for_oid(x509.ObjectIdentifier(DOMAIN))}
        if part is not None and part.presence is FieldPresence.REQUIRED and given & (_DOMAINS - {part.value}):
            yield wrong(f"has DC {', '.join(sorted(given))} instead of {part.value}", DOMAIN)
        return
    present: dict[str, list[str]] = {}
    for attribute in certificate.subject:
        present.setdefault(attribute.oid.dotted_string, []).append(str(attribute.value))
    for oid, values in present.items():
        part = profile.subject.get(oid)
        if part is None and not profile.other_parts:
            yield wrong(f"has the attribute {oid}, which its profile does not allow", oid)
        if part is not None and part.value is not None and values != [part.value]:
            yield wrong(f"has DC {', '.join(values)} instead of {part.value}", oid)
    for oid, part in profile.subject.items():
        if part.presence is FieldPresence.REQUIRED and oid not in present:
            yield wrong(f"lacks the attribute {oid}", oid)
