"""What is wrong with a chain, all of it: by the profiles of both editions, and by what peers in the field refuse.

`verify` ends at the first fault; this lists every one, of each certificate, and says which edition's peers refuse the
chain, which take it only if they are tolerant, and which take it. Facts of public ecosystems: support articles of
Hubject, EVerest issue 2119; what is marked "unverified" was not seen in a certificate of theirs.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from v2g.errors import CertificateError
from v2g.pki.certificates import common_name, load_certificate
from v2g.pki.conformity import extension, is_authority, profile_faults
from v2g.pki.paths import is_self_signed, signature_matches
from v2g.pki.profile import DOMAIN, Generation, Role
from v2g.pki.profiles import profile_of
from v2g.pki.verify import verify_chain

Verdict = Literal["accepted", "tolerated", "refused"]
EDITIONS: Final = (Generation.ISO15118_2, Generation.ISO15118_20)
LEAVES: Final = (Role.SECC, Role.VEHICLE, Role.OEM_PROVISIONING, Role.CONTRACT, Role.CPS, Role.STATION)

REFUSED_IN_FIELD: Final = frozenset({"no_domain", "expired", "not_yet_valid", "long_name"})
"""Rules for which peers in the field refuse a leaf that this project takes."""

_SECC_ID: Final = re.compile(r"[A-Za-z]{2}\*?[A-Za-z0-9]{3}\*?S[A-Za-z0-9*]{32,}")
_MOST_SECC_ID: Final = 64
_MOST_SERIAL_BITS: Final = 159  # 20 octets of a positive integer (RFC 5280 4.1.2.2)
_LEAST_SERIAL_BITS: Final = 64


class LintFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something about one certificate. `place`: 0 is the leaf. `edition`: whose rule it is; empty: of the field.

    `rule` is a `CertificateError.reason`, or a word of the field's rules.
    """

    place: int
    subject: str
    edition: str
    rule: str
    text: str


class Linted(msgspec.Struct, frozen=True, kw_only=True):
    """A chain's role, its verdict by edition, why it is refused, and all findings."""

    role: Role
    verdicts: dict[str, Verdict]
    refusals: dict[str, str]
    findings: tuple[LintFinding, ...]


def lint(chain: Sequence[bytes], anchors: Sequence[bytes], *, role: Role | None, at: datetime) -> Linted:
    """Return everything about a chain (DER, leaf first); without `anchors` its root is not judged.

    `role` None: the one that fits best. Raises CertificateError(malformed) for bytes that are no certificate.
    """
    certificates = [load_certificate(der) for der in chain]
    role = role or _best(certificates[0])
    verdicts: dict[str, Verdict] = {}
    refusals: dict[str, str] = {}
    findings: list[LintFinding] = []
    for generation in EDITIONS:
        if role is Role.VEHICLE and generation is Generation.ISO15118_2:
            continue  # which has none
        edition = generation.value
        verdicts[edition], why = _verdict(chain, certificates, anchors, role, generation, at)
        if why:
            refusals[edition] = why
        for place, certificate in enumerate(certificates):
            faults = profile_faults(certificate, _role_of(role, place, generation), generation=generation)
            findings += [_finding(place, certificate, edition, fault.reason, str(fault)) for fault in faults]
    for place, certificate in enumerate(certificates):
        above = certificates[place + 1] if place + 1 < len(certificates) else None
        rules = _field_rules(certificate, above, role, place, at)
        findings += [_finding(place, certificate, "", rule, text) for rule, text in rules]
    return Linted(role=role, verdicts=verdicts, refusals=refusals, findings=tuple(findings))


def _best(leaf: x509.Certificate) -> Role:
    """Return the role of whose profiles a certificate breaks the fewest rules."""
    faults = {
        role: min(
            sum(1 for _ in profile_faults(leaf, role, generation=each))
            for each in EDITIONS
            if role is not Role.VEHICLE or each is Generation.ISO15118_20
        )
        for role in LEAVES
    }
    return min(faults, key=lambda each: (faults[each], LEAVES.index(each)))


def _role_of(role: Role, place: int, generation: Generation) -> Role:
    authorities = profile_of(role, generation).authorities
    return role if place == 0 or not authorities else authorities[min(place - 1, len(authorities) - 1)]


def _verdict(
    chain: Sequence[bytes],
    certificates: Sequence[x509.Certificate],
    anchors: Sequence[bytes],
    role: Role,
    generation: Generation,
    at: datetime,
) -> tuple[Verdict, str]:
    """Return whether peers take the chain, and why not, or why only tolerant ones do."""
    roots = anchors or [chain[-1]]
    subs = chain[1:] if anchors else chain[1:-1]
    reason = ""
    for interop in (False, True):
        try:
            if anchors or len(chain) > 1:
                verify_chain(chain[0], subs, roots, role=role, at=at, generation=generation, interop=interop)
            if not anchors and (fault := next(_unanchored(certificates, role, generation, at, interop=interop), None)):
                raise fault
        except CertificateError as error:
            reason = reason or f"{error.reason}: {error}"
        else:
            return ("tolerated" if interop else "accepted"), reason
    return "refused", reason


def _unanchored(
    certificates: Sequence[x509.Certificate], role: Role, generation: Generation, at: datetime, *, interop: bool
) -> Iterator[CertificateError]:
    """Yield the faults of a chain whose root is not known, beyond those of its path."""
    for place, certificate in enumerate(certificates):
        if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            yield CertificateError(f"{certificate.subject.rfc4514_string()} is not valid now", reason="expired")
        if place in (0, len(certificates) - 1):
            yield from profile_faults(
                certificate, _role_of(role, place, generation), interop=interop, generation=generation
            )


def _field_rules(
    certificate: x509.Certificate, above: x509.Certificate | None, role: Role, place: int, at: datetime
) -> Iterator[tuple[str, str]]:
    """Yield what peers and ecosystems in the field make of a certificate: rule, and text."""
    yield from _of_any(certificate, above, at)
    name = common_name(certificate)
    if place:
        if is_self_signed(certificate):
            yield "root_in_chain", "is a root, which is not sent: peers have it, and -20 allows three CAs in all"
        return
    days = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days
    most = max(profile_of(role, each).days for each in EDITIONS if role is not Role.VEHICLE or each is EDITIONS[1])
    if days > most + 1:
        yield "long_validity", f"is valid for {days} days; its profile has {most} at most"
    if role is Role.SECC:
        domains = certificate.subject.get_attributes_for_oid(x509.ObjectIdentifier(DOMAIN))
        if [str(each.value) for each in domains] != ["CPO"]:
            yield "no_domain", "has no DC=CPO: vehicles of ISO 15118-2 refuse it (EVerest issue 2119)"
        if not _SECC_ID.fullmatch(name) or len(name) > _MOST_SECC_ID:
            yield "secc_id", f"its CN of {len(name)} characters is no SECC id: country, operator, S and 32 or more"
        extended = extension(certificate, x509.ExtendedKeyUsage)
        if extended is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in extended.value:
            yield "server_only", "is for servers only: it cannot renew itself by TLS (EST); use a password or token"
    if role in (Role.CONTRACT, Role.OEM_PROVISIONING) and ("-" in name or name != name.upper()):
        yield "separators", f"its CN {name[:40]!r} is sent to ecosystems in capitals, without hyphens"
    if role is Role.OEM_PROVISIONING and not re.fullmatch(r"[A-Za-z0-9-]{17,22}", name):
        yield "pcid", f"its CN {name[:40]!r} is no PCID of 17 or 18 characters"


def _of_any(certificate: x509.Certificate, above: x509.Certificate | None, at: datetime) -> Iterator[tuple[str, str]]:
    serial = certificate.serial_number
    if serial <= 0 or serial.bit_length() > _MOST_SERIAL_BITS:
        yield "serial", "its serial number is no positive one of 20 octets (RFC 5280)"
    elif not is_authority(certificate) and serial.bit_length() <= _LEAST_SERIAL_BITS // 2:
        yield "serial", f"its serial number has {serial.bit_length()} bits: others may guess it, or have it, too"
    if at > certificate.not_valid_after_utc:
        yield "expired", f"has expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%MZ}"
    elif at < certificate.not_valid_before_utc:
        yield "not_yet_valid", f"is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%MZ}"
    if any(len(str(each.value)) > 64 for each in certificate.subject):
        yield "long_name", "a part of its subject has more than 64 characters (X.520)"
    own = extension(certificate, x509.SubjectKeyIdentifier)
    if own is None and is_authority(certificate):
        yield "no_key_identifier", "is a CA without subject key identifier"
    named = extension(certificate, x509.AuthorityKeyIdentifier)
    if named is None and not is_self_signed(certificate):
        yield "no_issuer_identifier", "has no authority key identifier: its issuer is found by name only"
    if above is None:
        return
    if certificate.issuer != above.subject:
        yield "order", f"is not issued by the next certificate, {above.subject.rfc4514_string()}"
        return
    if not signature_matches(above, certificate):
        yield "signature", "is not signed by the next certificate"
    theirs = extension(above, x509.SubjectKeyIdentifier)
    if named is not None and theirs is not None and named.value.key_identifier not in (None, theirs.value.digest):
        yield "issuer_identifier", "names another key of its issuer than the next certificate has"
    if certificate.not_valid_after_utc > above.not_valid_after_utc:
        yield "outlives_issuer", f"ends after its issuer, {above.not_valid_after_utc:%Y-%m-%d}"


def _finding(place: int, certificate: x509.Certificate, edition: str, rule: str, text: str) -> LintFinding:
    subject = certificate.subject.rfc4514_string()
    plain = text.removeprefix(f"certificate {subject!r} ")
    return LintFinding(place=place, subject=subject, edition=edition, rule=rule, text=plain)
