"""Make and read a whole PKI on disk: V2G, OEM, MO and operator roots with everything below them.

The layout is described in certs/README.md. `PkiOptions` also makes certificates that are wrong on purpose, for
tests and demonstration scenarios.
"""

import enum
import secrets
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448

from v2g.errors import ConfigError
from v2g.pki import ocsp
from v2g.pki.credentials import Credentials, load_chain, load_credentials
from v2g.pki.issue import Issuer, Request, Subject, issue
from v2g.pki.keys import PrivateKey, SoftwareKey, load_key, load_private_key, save_key
from v2g.pki.profiles import PROFILES, KeyKind, Role


class Fault(enum.Enum):
    """What is wrong with a leaf on purpose."""

    NONE = "none"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    FOREIGN_ROOT = "foreign_root"  # issued under a root that is nobody's anchor; SECC, vehicle and contract only
    REVOKED = "revoked"  # SECC and contract: the OCSP answer says so


class PkiOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the tree is made of. Identifiers follow ISO 15118-20 Annex C; their check digits are not computed."""

    secc_id: str = "DEV2GS00000000000000000000000000000001X"
    evcc_id: str = "WMIV2GENGINE0000001X"
    pcid: str = "WMIV2GENGINE00001X"
    emaid: str = "DEV2GC00000001"
    station_id: str = "CS-V2G-0001"
    gateway_id: str = "WMIV2GENGINE0000001X"
    meter_id: str = "METER-0001"
    csms_hosts: tuple[str, ...] = ("localhost", "::1", "127.0.0.1")
    operator: str = "V2G Engine Operator"
    country: str = "DE"
    ocsp_url: str = "http://ocsp.v2g-engine.invalid"
    key_kind: KeyKind = KeyKind.SECP521R1  # of everything that ISO 15118 rules; secp256r1 for interop peers
    annex_b_critical: bool = False
    secc: Fault = Fault.NONE
    vehicle: Fault = Fault.NONE
    contract: Fault = Fault.NONE


DEFAULTS = PkiOptions()

_SUBTREES = {
    "secc": ("cpo/sub2", "cpo/sub1"),
    "vehicle": ("oem/sub2", "oem/sub1"),
    "provisioning": ("oem/sub2", "oem/sub1"),
    "contract": ("mo/sub2", "mo/sub1"),
    "meter": ("cpo/sub2", "cpo/sub1"),
    "csms/server": (),
    "csms/station": (),
    "csms/gateway": (),
    "csms/ingest": (),
    "csms/broker": (),
}
"""Leaf folder -> the sub-CAs of its chain, nearest first."""

_RESPONDERS = {"secc": "cpo", "contract": "mo"}
"""Leaf folder with an OCSP answer -> the folder of the responder that signs it."""


class PkiTree(msgspec.Struct, frozen=True):
    """A tree on disk. Names of leaves are their folders: `secc`, `vehicle`, `contract`, `csms/server`, ..."""

    directory: Path

    @classmethod
    def load(cls, directory: Path) -> "PkiTree":
        """Return the tree in `directory`. Raises ConfigError when there is none."""
        if not (directory / "v2g" / "root.pem").is_file():
            raise ConfigError(f"{directory} holds no PKI", hint=f"make one: v2g pki make {directory}")
        return cls(directory)

    def path(self, name: str) -> Path:
        """Return the path of a file, such as `secc/chain.pem`."""
        return self.directory / name

    def anchors(self, *roots: str) -> tuple[bytes, ...]:
        """Return DER roots by folder: `anchors("v2g", "oem")`."""
        return tuple(load_chain(self.directory / root / "root.pem")[0] for root in roots)

    def chain(self, leaf: str) -> tuple[bytes, ...]:
        """Return a leaf's DER chain, leaf first, without the root."""
        return load_chain(self.directory / leaf / "chain.pem")

    def key(self, leaf: str) -> SoftwareKey:
        """Return a leaf's signing key."""
        return load_key(self.directory / leaf / "leaf.key")

    def credentials(self, leaf: str) -> Credentials:
        """Return a leaf's chain and key."""
        return load_credentials(self.directory / leaf / "chain.pem", self.directory / leaf / "leaf.key")

    def staple(self, leaf: str = "secc") -> bytes:
        """Return the DER OCSP answer for a leaf (`secc` or `contract`)."""
        return (self.directory / leaf / "ocsp.der").read_bytes()


def make_pki(directory: Path, *, now: datetime, options: PkiOptions = DEFAULTS) -> PkiTree:
    """Write a whole PKI below `directory`, replacing what is there, and return it.

    `now` (aware, UTC) is when everything becomes valid, except where `options` wants a fault.
    """
    _Maker(directory, now.replace(microsecond=0), options).make()
    return PkiTree(directory)


def refresh_staple(tree: PkiTree, *, now: datetime, leaf: str = "secc", revoked: bool = False) -> bytes:
    """Write a new OCSP answer for `leaf` (`secc` or `contract`), valid a week from `now`, and return it."""
    now = now.replace(microsecond=0)
    folder = tree.directory / _RESPONDERS[leaf]
    certificate, issuer = (x509.load_der_x509_certificate(der) for der in tree.chain(leaf)[:2])
    responder = folder / "ocsp.pem"
    # A leaf under a foreign root has an issuer that the responder does not speak for; its own CA then answers.
    if _load(responder).issuer == issuer.subject:
        signer = Issuer(_load(responder), load_private_key(folder / "ocsp.key"))
    else:
        signer = Issuer(issuer, load_private_key(tree.directory / "foreign" / _RESPONDERS[leaf] / "sub2.key"))
    answer = ocsp.make_response(certificate, issuer, signer, at=now, revoked_at=now if revoked else None)
    tree.path(f"{leaf}/ocsp.der").write_bytes(answer)
    return answer


def _load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _new_key(kind: KeyKind) -> PrivateKey:
    match kind:
        case KeyKind.ED448:
            return ed448.Ed448PrivateKey.generate()
        case KeyKind.SECP256R1:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyKind.SECP521R1:
            return ec.generate_private_key(ec.SECP521R1())
        case _:
            raise ConfigError(f"keys of kind {kind.value} are not made here")


class _Maker:
    """Writes one tree."""

    def __init__(self, directory: Path, now: datetime, options: PkiOptions) -> None:
        self._directory = directory
        self._now = now
        self._options = options
        self._issuers: dict[str, Issuer] = {}

    def make(self) -> None:
        o = self._options
        self._authorities("")
        if Fault.FOREIGN_ROOT in (o.secc, o.vehicle, o.contract):
            self._authorities("foreign/")
        self._authority("csms/root", Role.CSMS_ROOT, None, None)
        for folder in ("cpo", "mo"):
            self._responder(folder)
        self._leaf("secc", Role.SECC, o.secc_id, fault=o.secc)
        self._leaf("vehicle", Role.VEHICLE, o.evcc_id, fault=o.vehicle)
        self._leaf("provisioning", Role.OEM_PROVISIONING, o.pcid)
        self._leaf("contract", Role.CONTRACT, o.emaid, fault=o.contract)
        self._leaf("meter", Role.METER, o.meter_id, kind=KeyKind.SECP256R1)
        self._leaf("csms/server", Role.CSMS_SERVER, o.csms_hosts[0], hosts=o.csms_hosts)
        self._leaf("csms/station", Role.STATION, o.station_id)
        self._leaf("csms/gateway", Role.GATEWAY, o.gateway_id)
        self._leaf("csms/ingest", Role.GATEWAY, "csms-ingest")
        self._leaf("csms/broker", Role.BROKER, o.csms_hosts[0], hosts=o.csms_hosts)
        tree = PkiTree(self._directory)
        refresh_staple(tree, now=self._now, leaf="secc", revoked=o.secc is Fault.REVOKED)
        refresh_staple(tree, now=self._now, leaf="contract", revoked=o.contract is Fault.REVOKED)

    def _authorities(self, prefix: str) -> None:
        """Make the three ISO 15118 roots and their sub-CAs; `prefix` is where nobody's anchors go."""
        for root, folder, roles, domain in (
            ("v2g", "cpo", (Role.V2G_ROOT, Role.CPO_SUB1, Role.CPO_SUB2), "V2G"),
            ("oem", "oem", (Role.OEM_ROOT, Role.OEM_SUB1, Role.OEM_SUB2), "OEM"),
            ("mo", "mo", (Role.MO_ROOT, Role.MO_SUB1, Role.MO_SUB2), "MO"),
        ):
            above = None
            for name, role in zip((f"{root}/root", f"{folder}/sub1", f"{folder}/sub2"), roles, strict=True):
                above = self._authority(prefix + name, role, above, domain)

    def _authority(self, name: str, role: Role, above: str | None, domain: str | None) -> str:
        words = name.upper().replace("/", " ")
        subject = Subject(
            common_name=f"V2G Engine {words}",
            organization=self._options.operator,
            country=self._options.country,
            domain=domain,
        )
        self._issue(name, role, subject, above, kind=self._options.key_kind)
        return name

    def _responder(self, folder: str) -> None:
        subject = Subject(common_name=f"V2G Engine {folder.upper()} OCSP", organization=self._options.operator)
        self._issue(f"{folder}/ocsp", Role.OCSP_RESPONDER, subject, f"{folder}/sub2", kind=self._options.key_kind)

    def _leaf(
        self,
        name: str,
        role: Role,
        common_name: str,
        *,
        fault: Fault = Fault.NONE,
        kind: KeyKind | None = None,
        hosts: tuple[str, ...] = (),
    ) -> None:
        prefix = "foreign/" if fault is Fault.FOREIGN_ROOT else ""
        above = [prefix + sub for sub in _SUBTREES[name]]
        country = None if role is Role.VEHICLE else self._options.country  # V2G20-2598: CN and O only
        subject = Subject(common_name=common_name, organization=self._options.operator, country=country)
        certificate = self._issue(
            f"{name}/leaf",
            role,
            subject,
            above[0] if above else "csms/root",
            kind=kind or self._options.key_kind,
            fault=fault,
            hosts=hosts,
        )
        chain = [certificate, *(self._certificate(sub) for sub in above)]
        pem = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
        (self._directory / name / "chain.pem").write_bytes(pem)

    def _certificate(self, name: str) -> x509.Certificate:
        certificate = self._issuers[name].certificate
        assert certificate is not None
        return certificate

    def _issue(
        self,
        name: str,
        role: Role,
        subject: Subject,
        above: str | None,
        *,
        kind: KeyKind,
        fault: Fault = Fault.NONE,
        hosts: tuple[str, ...] = (),
    ) -> x509.Certificate:
        """Make `<name>.pem` and `<name>.key`, signed by `above`, or by itself when that is None."""
        key = _new_key(kind)
        not_before, not_after = self._validity(role, fault)
        request = Request(
            role=role,
            subject=subject,
            public_key=key.public_key(),
            serial=secrets.randbits(158) + 1,
            not_before=not_before,
            not_after=not_after,
            ocsp_url=None if above is None else f"{self._options.ocsp_url}/{above.split('/')[-2]}",
            hosts=tuple(_host(host) for host in hosts),
            annex_b_critical=self._options.annex_b_critical,
        )
        certificate = issue(request, self._issuers[above] if above else Issuer(None, key))
        self._issuers[name] = Issuer(certificate, key)
        path = self._directory / f"{name}.pem"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        save_key(path.with_suffix(".key"), key)
        return certificate

    def _validity(self, role: Role, fault: Fault) -> tuple[datetime, datetime]:
        span = timedelta(days=PROFILES[role].days)
        match fault:
            case Fault.EXPIRED:
                return self._now - span, self._now - timedelta(days=1)
            case Fault.NOT_YET_VALID:
                return self._now + timedelta(days=1), self._now + span
            case _:
                # An hour back: clocks of two machines are rarely the same.
                return self._now - timedelta(hours=1), self._now + span


def _host(text: str) -> str | IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        return text
