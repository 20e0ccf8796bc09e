"""Verification of certificate chains: path, signatures, validity, constraints, profile.

Generic validators reject chains by Annex B of ISO 15118-20 (critical key identifiers) and accept others
(any curve, any subject), hence this one. `interop` relaxes it for peers of the -2 generation; see
`v2g.pki.conformity`.
"""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Final
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from v2g.errors import CertificateError
from v2g.pki.certificates import common_name, emaid_of, load_certificate
from v2g.pki.conformity import (
    check_basics,
    check_key,
    check_profile,
    critical_faults,
    extension,
    is_authority,
    refusal,
)
from v2g.pki.paths import Path, PathSearch, is_self_signed
from v2g.pki.profile import MAX_INTERMEDIATES, Generation, Profile, Role
from v2g.pki.profiles import profile_of


def check_path(path: Sequence[x509.Certificate]) -> None:
    """Check what RFC 5280 6.1 demands of any path (leaf first, root last), beside its signatures and dates.

    Raises CertificateError: unknown_critical_extension, name_constraints, not_a_ca, key_usage, path_length.
    """
    for certificate in path[:-1]:
        # a CA that cannot be read is refused below; a leaf may have names of kinds that the library does not know
        with contextlib.suppress(ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
            for fault in critical_faults(certificate):
                raise fault
    check_name_constraints(path)
    check_authorities(path)


def check_authorities(path: Sequence[x509.Certificate]) -> None:
    """Check that every CA above the leaf of a path (leaf first) may certify, with its path length (RFC 5280 6.1.4).

    Raises CertificateError: not_a_ca, key_usage, path_length.
    """
    below = 0  # CAs below; a CA's own certificates for a new key do not count
    for authority in path[1:]:
        constraints, usage = extension(authority, x509.BasicConstraints), extension(authority, x509.KeyUsage)
        if constraints is None or not constraints.value.ca:
            raise refusal(authority, "is not a CA", "not_a_ca")
        if usage is not None and not usage.value.key_cert_sign:
            raise refusal(authority, "may not sign certificates", "key_usage")
        length = constraints.value.path_length
        if length is not None and below > length:
            raise refusal(authority, f"allows {length} sub-CAs below it, not {below}", "path_length")
        below += authority.subject != authority.issuer


def check_name_constraints(path: Sequence[x509.Certificate]) -> None:
    """Check every certificate of a path (leaf first) against the constraints of all above it.

    A CA's certificate for its own new key is bound only if it is the leaf. Raises
    CertificateError(name_constraints).
    """
    for place, authority in enumerate(path[1:], 1):
        constraints = extension(authority, x509.NameConstraints)
        if constraints is None:
            continue
        for below, certificate in enumerate(path[:place]):
            if below == 0 or certificate.subject != certificate.issuer:
                _check(certificate, constraints.value)


def _check(certificate: x509.Certificate, constraints: x509.NameConstraints) -> None:
    for name in _names(certificate):
        excluded, permitted = (
            [each for each in subtrees or () if type(each) is type(name)]
            for subtrees in (constraints.excluded_subtrees, constraints.permitted_subtrees)
        )
        if any(_lies_within(name, each, otherwise=True) for each in excluded):
            what = f"has the name {_text(name)}, which a CA above excludes"
        elif permitted and not any(_lies_within(name, each, otherwise=False) for each in permitted):
            what = f"has the name {_text(name)}, which a CA above does not permit"
        else:
            continue
        raise refusal(certificate, what, "name_constraints")


def _names(certificate: x509.Certificate) -> Iterator[x509.GeneralName]:
    if certificate.subject.rdns:
        yield x509.DirectoryName(certificate.subject)
    alternative = extension(certificate, x509.SubjectAlternativeName)
    if alternative is not None:
        yield from alternative.value


def _text(name: x509.GeneralName) -> str:
    return name.value.rfc4514_string() if isinstance(name, x509.DirectoryName) else str(name.value)


def _lies_within(name: x509.GeneralName, subtree: x509.GeneralName, *, otherwise: bool) -> bool:
    """Return whether a name belongs to a subtree of the same kind; `otherwise` for unsupported kinds."""
    match name, subtree:
        case x509.DirectoryName(value=value), x509.DirectoryName(value=base):
            wanted = [_comparable(each) for each in base.rdns]
            return [_comparable(each) for each in value.rdns[: len(wanted)]] == wanted
        case x509.DNSName(value=host), x509.DNSName(value=base):
            return _is_host_below(host, base.removeprefix("."))
        case x509.IPAddress(value=address), x509.IPAddress(value=IPv4Network() | IPv6Network() as network):
            return address in network
        case x509.UniformResourceIdentifier(value=uri), x509.UniformResourceIdentifier(value=base):
            return _is_uri_at(uri, base, otherwise=otherwise)
        case _:
            return otherwise


def _comparable(rdn: x509.RelativeDistinguishedName) -> frozenset[tuple[str, str]]:
    """Return a part of a name for comparison by RFC 5280 7.1: ignoring case and amount of space."""
    return frozenset((each.oid.dotted_string, " ".join(str(each.value).casefold().split())) for each in rdn)


def _is_host_below(host: str, base: str) -> bool:
    host, base = host.lower().rstrip("."), base.lower().rstrip(".")
    return not base or host == base or host.endswith(f".{base}")


def _is_uri_at(uri: str, base: str, *, otherwise: bool) -> bool:
    """Return whether the host of `uri` is `base`, or below it if that begins with a period."""
    try:
        host = urlsplit(uri).hostname
    except ValueError:
        host = None
    if not host or ":" in host or host.replace(".", "").isdigit():  # an address cannot be constrained
        return otherwise
    host, suffix = host.rstrip("."), base.lower().removeprefix(".")
    return host == suffix if suffix == base.lower() else host.endswith(f".{suffix}")


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
        return self.certificates[0]

    @property
    def leaf_issuer(self) -> x509.Certificate:
        """The certificate that signed the leaf."""
        return (*self.certificates, self.anchor)[1]

    def is_valid_at(self, at: datetime) -> bool:
        """Return whether every certificate is valid at a time, aware UTC."""
        path = (*self.certificates, self.anchor)
        return all(each.not_valid_before_utc <= at <= each.not_valid_after_utc for each in path)

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


_check_authority: Final = functools.lru_cache(maxsize=512)(check_profile)  # sub-CAs recur; refusals are not kept


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
    check_path(path)
    profile = rules.profile
    if profile.authority_required and len(path) < 3:
        raise refusal(path[0], "has no sub-CA above it, as required for a contract")
    for place, authority in enumerate(path[1:]):
        if authority is path[-1]:
            above = profile_of(rules.authority(authority, place), rules.generation)
            check_key(authority, above, interop=rules.interop)
        elif rules.interop:
            check_basics(authority, profile_of(rules.authority(authority, place), rules.generation), interop=True)
        else:
            _check_authority(authority, rules.authority(authority, place), generation=rules.generation)
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
