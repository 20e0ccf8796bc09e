"""Chains made to order: good ones of every family, and copies in which anything at all is different.

A chain is made from the root down; each level takes changes, and what lies below is signed by what was changed.
"""

import functools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.x509.oid import NameOID

from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.profile import Generation, Role
from v2g.pki.verify import NOTHING_SEEN, Serials

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
CN, ORG, COUNTRY, DC, UNIT = (
    NameOID.COMMON_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.COUNTRY_NAME,
    NameOID.DOMAIN_COMPONENT,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
)

ISO = (Role.SECC, Role.VEHICLE, Role.OEM_PROVISIONING, Role.CONTRACT, Role.CPS)
OPERATOR = (Role.STATION, Role.GATEWAY, Role.API_CLIENT, Role.CSMS_SERVER)
EVERY = ISO + OPERATOR

_CPO = (("root", Role.V2G_ROOT), ("sub1", Role.CPO_SUB1), ("sub2", Role.CPO_SUB2))
_OEM = (("root", Role.OEM_ROOT), ("sub1", Role.OEM_SUB1), ("sub2", Role.OEM_SUB2))
_MO = (("root", Role.MO_ROOT), ("sub1", Role.MO_SUB1), ("sub2", Role.MO_SUB2))
_CPS = (("root", Role.V2G_ROOT), ("sub1", Role.CPS_SUB1), ("sub2", Role.CPS_SUB2))
_CSMS = (("root", Role.CSMS_ROOT), ("sub2", Role.CSMS_SUB))
AUTHORITIES = {
    Role.SECC: _CPO,
    Role.VEHICLE: _OEM,
    Role.OEM_PROVISIONING: _OEM,
    Role.CONTRACT: _MO,
    Role.CPS: _CPS,
} | dict.fromkeys(OPERATOR, _CSMS)
_NAMES = {Role.CONTRACT: "DEV2GC00000042", Role.STATION: "CS-V2G-0042", Role.OEM_PROVISIONING: "WMIV2GENGINE00042X"}
_DOMAINS = {Role.V2G_ROOT: "V2G", Role.OEM_ROOT: "OEM", Role.MO_ROOT: "MO"}


class Party(msgspec.Struct, frozen=True):
    """A certificate and its private key, of whatever kind."""

    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_id(self) -> bytes:
        return self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A chain as a peer shows it, the roots of whoever judges it, and what those remember of earlier chains."""

    chain: tuple[bytes, ...]
    key: Any  # the leaf's private key
    anchors: tuple[bytes, ...]
    seen: Serials = NOTHING_SEEN


class Forge:
    """Makes chains for one role, of one generation."""

    def __init__(self, role: Role, generation: Generation = Generation.ISO15118_20) -> None:
        self.role = role
        self.generation = generation
        old = generation is Generation.ISO15118_2
        self.curve: ec.EllipticCurve = ec.SECP256R1() if old else ec.SECP521R1()
        self.digest: hashes.HashAlgorithm = hashes.SHA256() if old else hashes.SHA512()
        self.top = AUTHORITIES[role][1][0]
        """The first level below the root."""

    def good(self) -> dict[str, Party]:
        """Return root, sub-CAs and leaf by level, always the same."""
        return dict(_good(self.role, self.generation))

    def made(self, **changes: Mapping[str, Any]) -> Made:
        """Return the chain with changes by level: `made(sub2={"end": NOW - DAY})`."""
        return self.shown(self.parties(**changes))

    def shown(self, parties: Mapping[str, Party], *levels: str, also: Sequence[bytes] = ()) -> Made:
        """Return what is shown of the parties: by default all but the root, leaf first."""
        order = levels or tuple(level for level in ("leaf", "sub2", "sub1") if level in parties)
        chain = (*(parties[level].der for level in order), *also)
        return Made(chain=chain, key=parties[order[0]].key, anchors=(parties["root"].der,))

    def parties(self, **changes: Mapping[str, Any]) -> dict[str, Party]:
        """Return every level, each with its changes; what stands above all changes is that of `good`."""
        parties: dict[str, Party] = {}
        above: Party | None = None
        for level, role in (*AUTHORITIES[self.role], ("leaf", self.role)):
            good = _good(self.role, self.generation)
            if level in changes or above is not good.get(_above(self.role, level)):
                above = self.party(level, role, above, **changes.get(level, {}))
            else:
                above = good[level]
            parties[level] = above
        return parties

    def fresh(self, **changes: Mapping[str, Any]) -> dict[str, Party]:
        """Return levels none of which is that of `good`, though they have its names."""
        return self.parties(**({"root": {}} | changes))

    def party(self, level: str, role: Role, above: Party | None, *, key: Any = None, **changes: Any) -> Party:
        """Return one level below `above` (None: a root)."""
        key = key or ec.generate_private_key(self.curve)
        name = _NAMES.get(
            role, f"{role.value} {level}" if level != "leaf" else "DEV2GS00000000000000000000000000000042X"
        )
        request = IssueRequest(
            role=role,
            subject=Subject(
                common_name=name,
                organization="Forge",
                country=None if role is Role.VEHICLE else "DE",
                domain=_DOMAINS.get(role),
            ),
            public_key=key.public_key(),
            serial=x509.random_serial_number(),
            not_before=NOW - 2 * DAY,
            not_after=NOW + 30 * DAY,
            ocsp_url=None if above is None else "http://ocsp.invalid",
            hosts=("localhost",) if role is Role.CSMS_SERVER else (),
            generation=self.generation,
        )
        plain = issue(request, Issuer(above.certificate if above else None, above.key if above else key))
        if not changes:
            return Party(plain, key)
        return Party(remade(plain, above or Party(plain, key), **{"digest": self.digest} | changes), key)


@functools.cache
def _good(role: Role, generation: Generation) -> dict[str, Party]:
    forge, parties = Forge(role, generation), dict[str, Party]()
    above: Party | None = None
    for level, each in (*AUTHORITIES[role], ("leaf", role)):
        above = parties[level] = forge.party(level, each, above)
    return parties


def _above(role: Role, level: str) -> str:
    levels = ["", *(each for each, _ in AUTHORITIES[role]), "leaf"]
    return levels[levels.index(level) - 1]


def remade(
    old: x509.Certificate,
    above: Party,
    *,
    subject: x509.Name | None = None,
    issuer: x509.Name | None = None,
    signer: Any = None,
    key: Any = None,
    serial: int | None = None,
    begin: datetime | None = None,
    end: datetime | None = None,
    without: Sequence[type[x509.ExtensionType]] = (),
    add: Sequence[tuple[x509.ExtensionType, bool]] = (),
    digest: hashes.HashAlgorithm | None = None,
) -> x509.Certificate:
    """Return a copy in which some things are different; what is added takes the place of its kind."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject if subject is None else subject)
        .issuer_name(issuer or above.certificate.subject)
        .public_key(key or old.public_key())
        .serial_number(serial or old.serial_number)
        .not_valid_before(begin or old.not_valid_before_utc)
        .not_valid_after(end or old.not_valid_after_utc)
    )
    replaced = tuple(type(value) for value, _ in add if not isinstance(value, x509.UnrecognizedExtension))
    for extension in old.extensions:
        if not isinstance(extension.value, (*without, *replaced)):
            builder = builder.add_extension(extension.value, extension.critical)
    for value, critical in add:
        builder = builder.add_extension(value, critical)
    signs = signer or above.key
    return builder.sign(signs, None if _hashes_itself(signs) else digest or hashes.SHA512())


def _hashes_itself(key: Any) -> bool:
    return isinstance(key, ed448.Ed448PrivateKey | ed25519.Ed25519PrivateKey)


def name(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def subject_of(role: Role, *more: tuple[x509.ObjectIdentifier, str], without: Sequence[Any] = ()) -> x509.Name:
    """Return a good subject of a role with parts left out and put at its end."""
    good = Forge(role).good()["leaf"].certificate.subject
    return x509.Name([part for part in good if part.oid not in without] + list(name(*more)))


def usage(**bits: bool) -> x509.KeyUsage:
    names = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"]
    names += ["key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**(dict.fromkeys(names, False) | bits))
