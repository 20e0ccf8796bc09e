"""Verification of certificate chains: path, signatures, validity, constraints, profile.

Generic validators reject chains by Annex B of ISO 15118-20 (critical key identifiers) and accept others
(any curve, any subject), hence this one. `interop` relaxes it for peers of the -2 generation; see
`v2g.pki.conformity`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from v2g.errors import CertificateError
from v2g.pki.certificates import common_name, emaid_of, load_certificate
from v2g.pki.conformity import check_basics, check_key, check_profile, extension, is_authority, refusal
from v2g.pki.constraints import check_name_constraints
from v2g.pki.paths import Path, PathSearch, is_self_signed
from v2g.pki.profile import MAX_INTERMEDIATES, Generation, Profile, Role
from v2g.pki.profiles import profile_of

Serials = Mapping[tuple[bytes, int], bytes]
"""Seen certificates: (issuer's name and key identifier, serial number) -> SHA-256 of the certificate."""

NOTHING_SEEN: Final[Serials] = {}


class VerifiedChain(msgspec.Struct, frozen=True):
    """A verified chain. `certificates` is the path, leaf first, without `anchor`."""

    certificates: tuple[x509.Certificate, ...]
    anchor: x509.Certificate
    role: Role

    @property
    def leaf(self) -> x509.Certificate:
        """The leaf certificate."""
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

    @property
    def serials(self) -> Serials:
        """Input for later verifications as `seen`."""
        return _serials(self.certificates)


class _Rules(msgspec.Struct, frozen=True):
    """Parameters of the verification of a path."""

    role: Role
    generation: Generation
    at: datetime
    interop: bool
    crosses: tuple[x509.Certificate, ...]

    @property
    def profile(self) -> Profile:
        return profile_of(self.role, self.generation)

    def authority(self, certificate: x509.Certificate, place: int) -> Role:
        """Return the role of the CA in a place above the leaf, 0 next to it."""
        roles = self.profile.authorities
        return Role.CROSS if certificate in self.crosses else roles[min(place, len(roles) - 1)]


def verify_chain(
    leaf: bytes,
    intermediates: Sequence[bytes],
    anchors: Sequence[bytes],
    *,
    role: Role,
    at: datetime,
    interop: bool = False,
    generation: Generation = Generation.ISO15118_20,
    crosses: Sequence[bytes] = (),
    held: Sequence[bytes] = (),
    seen: Serials = NOTHING_SEEN,
) -> VerifiedChain:
    """Return the chain from `leaf` (DER) over at most three of `intermediates` to one of `anchors`.

    `role` is a leaf's role, but not that of an OCSP responder (see `v2g.pki.ocsp`); `at` is aware UTC.
    Self-signed certificates among the intermediates are ignored: only `anchors` are trusted, except those whose DC
    shows another family's root. `crosses` are locally configured cross certificates, besides the received ones.
    `held` are locally configured sub-CAs, for peers that send a leaf alone. `seen` are the serial numbers of earlier
    chains.

    The shortest valid path is returned. Raises CertificateError; without a valid path, with the
    fault of the shortest one.
    """
    certificate = load_certificate(leaf)
    sent = [each for each in map(load_certificate, intermediates) if not is_self_signed(each)]
    if len(sent) > MAX_INTERMEDIATES:
        raise CertificateError(f"{len(sent)} sub-CA certificates, at most 3 are allowed", reason="chain_too_long")
    if is_authority(certificate) and not all(map(is_authority, sent)):
        raise refusal(certificate, "is a CA but comes before its leaf", "chain_out_of_order")
    linking = tuple(map(load_certificate, crosses))
    rules = _Rules(role, generation, at, interop, linking)
    known = [*sent, *map(load_certificate, held), *linking]
    search = PathSearch(certificate, known, list(map(load_certificate, anchors)))
    first: CertificateError | None = None
    for path in search.paths():
        try:
            _judge(path, sent, rules, seen)
        except CertificateError as error:
            first = first or error
        else:
            return VerifiedChain(certificates=path[:-1], anchor=path[-1], role=role)
    raise first or search.failure()


def _judge(path: Path, sent: Sequence[x509.Certificate], rules: _Rules, seen: Serials) -> None:
    """Check everything about a path except its signatures."""
    leaf, anchor = path[0], path[-1]
    domains = frozenset(
        str(attribute.value) for attribute in anchor.subject.get_attributes_for_oid(x509.NameOID.DOMAIN_COMPONENT)
    )
    if domains & rules.profile.foreign_domains:
        name = anchor.subject.rfc4514_string()
        raise refusal(leaf, f"leads to a root of another family, {name}", "wrong_root")
    places = [sent.index(each) for each in path[1:-1] if each in sent]
    if not rules.interop and places != sorted(places):
        raise refusal(leaf, "was sent with CAs in the wrong order", "chain_out_of_order")
    # check all dates of a path; an expired certificate takes precedence over one that is not valid yet
    at = rules.at
    for certificate in path:
        if at > certificate.not_valid_after_utc:
            what = f"expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%SZ}"
            raise refusal(certificate, what, "expired")
    for certificate in path:
        if at < certificate.not_valid_before_utc:
            what = f"becomes valid at {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%SZ}"
            raise refusal(certificate, what, "not_yet_valid", hint="check the clock of this machine")
    # check that no issuer used a serial number twice (RFC 5280 4.1.2.2)
    certificates = (leaf, *sent)
    known = dict(seen)
    for certificate in certificates:
        for serial, fingerprint in _serials((certificate,)).items():
            if known.setdefault(serial, fingerprint) != fingerprint:
                what = f"has serial number {serial[1]:x}, like another certificate of its issuer"
                raise refusal(certificate, what, "serial_reuse")
    check_name_constraints(path)
    # check that every CA above the leaf may certify, with its path length (RFC 5280 6.1.4)
    profile = rules.profile
    if profile.authority_required and len(path) < 3:
        raise refusal(path[0], "has no sub-CA above it, as required for a contract")
    below = 0  # CAs below; a CA's own certificates for a new key do not count
    for place, authority in enumerate(path[1:]):
        constraints, usage = extension(authority, x509.BasicConstraints), extension(authority, x509.KeyUsage)
        if constraints is None or not constraints.value.ca:
            raise refusal(authority, "is not a CA", "not_a_ca")
        if usage is not None and not usage.value.key_cert_sign:
            raise refusal(authority, "may not sign certificates", "key_usage")
        length = constraints.value.path_length
        if length is not None and below > length:
            raise refusal(authority, f"allows {length} sub-CAs below it, not {below}", "path_length")
        below += authority.subject != authority.issuer
        if authority is path[-1]:
            above = profile_of(rules.authority(authority, place), rules.generation)
            check_key(authority, above, interop=rules.interop)
        elif rules.interop:
            check_basics(authority, profile_of(rules.authority(authority, place), rules.generation), interop=True)
        else:
            check_profile(authority, rules.authority(authority, place), generation=rules.generation)
    check_profile(leaf, rules.role, interop=rules.interop, generation=rules.generation)


def _serials(certificates: Iterable[x509.Certificate]) -> dict[tuple[bytes, int], bytes]:
    found = {}
    for certificate in certificates:
        authority = extension(certificate, x509.AuthorityKeyIdentifier)
        key = authority.value.key_identifier if authority is not None else None
        issuer = certificate.issuer.public_bytes() + (key or b"")
        found[issuer, certificate.serial_number] = certificate.fingerprint(hashes.SHA256())
    return found


__all__ = ["NOTHING_SEEN", "Serials", "VerifiedChain", "check_profile", "verify_chain"]
