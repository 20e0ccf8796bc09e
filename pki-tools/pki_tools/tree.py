"""A complete PKI on disk: V2G, OEM, MO, CPS and operator authorities with all their certificates.

The layout is described in certs/README.md. `PkiOptions` can also create invalid certificates, for
tests and demonstration scenarios.
"""

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from pki_tools.authority import (
    BACKDATED,
    chain_above,
    cross_certificate,
    generation_of,
    new_key,
    sign_certificate,
    sign_crl,
    sign_staple,
    to_pem,
)
from pki_tools.files import VERSIONS, write_whole
from pki_tools.index import FILE, Index, TreeSettings, entry_of, load_index, save_index
from pki_tools.layout import (
    ANSWERED,
    AUTHORITIES,
    CROSS,
    CROSS_SIGNER,
    DEFAULTS,
    SIGNERS,
    PkiOptions,
    TreeFault,
    cross_name,
    responder_name,
)
from v2g.errors import ConfigError
from v2g.pki.credentials import Credentials, load_chain, load_credentials
from v2g.pki.issue import Issuer, Subject
from v2g.pki.keys import SoftwareKey, load_key, save_key
from v2g.pki.profile import KeyKind, Role
from v2g.pki.profiles import profile_of

# -- Write a whole tree: every authority, its OCSP responder and CRL, and the leaves below ---------------------------

FOREIGN: Final = "foreign/"
"""Folder of untrusted test authorities."""


class TreeMaker:
    """Writes one tree. Only the index is synchronised, at the end: an incomplete tree is created again."""

    def __init__(self, directory: Path, now: datetime, options: PkiOptions) -> None:
        self._directory = directory
        self._now = now
        self._options = options
        self._issuers: dict[str, Issuer] = {}
        settings = TreeSettings(
            url=options.url.rstrip("/"),
            operator=options.operator,
            country=options.country,
            key_kind=options.key_kind,
            annex_b_critical=options.annex_b_critical,
            generation=options.generation,
        )
        self._index = Index(settings=settings)

    def make(self) -> None:
        """Write everything, replacing existing files."""
        o = self._options
        _clear(self._directory)
        self._authorities("")
        if TreeFault.FOREIGN_ROOT in (o.secc, o.vehicle, o.contract, o.cps):
            self._authorities(FOREIGN)
        for root in CROSS:
            # let the V2G root certify another root's key
            signer = self._issuers[CROSS_SIGNER]
            cross = cross_certificate(self._index.settings, CROSS_SIGNER, signer, self._certificate(root), at=self._now)
            assert signer.certificate is not None
            name = cross_name(root)
            self._write(f"{name}.pem", to_pem(cross))
            self._record(cross, name, Role.CROSS, f"{name}.pem", signer.certificate)
        self._leaf("secc", Role.SECC, "DEV2GS00000000000000000000000000000001X", fault=o.secc)
        self._leaf("vehicle", Role.VEHICLE, o.evcc_id, fault=o.vehicle)
        self._leaf("provisioning", Role.OEM_PROVISIONING, o.pcid)
        self._leaf("contract", Role.CONTRACT, o.emaid, fault=o.contract)
        for number, emaid in enumerate(o.more_emaids, 2):
            self._leaf(f"contract-{number}", Role.CONTRACT, emaid)
        self._leaf("cps", Role.CPS, "v2g-engine-cps", fault=o.cps)
        kind = KeyKind.SECP256R1  # of OCMF; browsers take no server's key on secp521r1
        self._leaf("meter", Role.METER, o.meter_id, kind=kind)
        self._leaf("csms/server", Role.CSMS_SERVER, o.csms_hosts[0], hosts=o.csms_hosts, kind=kind)
        self._leaf("csms/station", Role.STATION, o.station_id)
        self._leaf("csms/gateway", Role.GATEWAY, o.gateway_id)
        self._leaf("csms/ingest", Role.GATEWAY, "csms-ingest")
        self._leaf("csms/broker", Role.BROKER, o.csms_hosts[0], hosts=o.csms_hosts)
        # write CRLs, and OCSP answers for leaves that are presented with one
        for entry in self._index.entries:
            if entry.is_authority and entry.name.partition("/")[0] not in ("cross", "foreign"):
                path = (self._directory / entry.file).with_suffix(".crl")
                path.write_bytes(sign_crl(self._index, entry, self._issuers[entry.name], at=self._now))
            elif entry.role in ANSWERED:
                path = self._directory / entry.name / "ocsp.der"
                path.write_bytes(sign_staple(self._directory, self._index, entry, at=self._now))
        save_index(self._directory, self._index)

    def _authorities(self, prefix: str) -> None:
        """Make the roots and the sub-CAs below; `prefix` is for untrusted ones, without responders."""
        for each in AUTHORITIES:
            if prefix and each.role is Role.CSMS_ROOT:
                continue
            words = (prefix + each.name).upper().replace("/", " ")
            subject = Subject(
                common_name=f"V2G Engine {words}",
                organization=self._options.operator,
                country=self._options.country,
                domain=each.domain,
            )
            above = prefix + each.above if each.above else None
            kind = self._options.key_kind
            self._issue(prefix + each.name, each.role, subject, above, file=f"{prefix}{each.name}.pem", kind=kind)
            if not prefix:
                self._responder(each.name)

    def _responder(self, authority: str) -> None:
        name = responder_name(authority)
        words = " ".join(authority.removesuffix("sub2").strip("/").upper().split("/"))
        subject = Subject(common_name=f"V2G Engine {words} OCSP", organization=self._options.operator)
        kind = self._options.key_kind
        self._issue(name, Role.OCSP_RESPONDER, subject, authority, file=f"{name}.pem", kind=kind)

    def _leaf(
        self,
        name: str,
        role: Role,
        common_name: str,
        *,
        fault: TreeFault = TreeFault.NONE,
        kind: KeyKind | None = None,
        hosts: tuple[str, ...] = (),
    ) -> None:
        above = SIGNERS[role]
        assert above is not None
        above = FOREIGN + above if fault is TreeFault.FOREIGN_ROOT else above
        country = None if role is Role.VEHICLE else self._options.country  # V2G20-2598: CN and O only
        subject = Subject(common_name=common_name, organization=self._options.operator, country=country)
        kind = kind or self._options.key_kind
        file = f"{name}/leaf.pem"
        certificate = self._issue(name, role, subject, above, file=file, kind=kind, fault=fault, hosts=hosts)
        subs = chain_above(self._directory, self._index, self._index.find(name))
        self._write(f"{name}/chain.pem", to_pem(certificate, *subs))

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
        file: str,
        kind: KeyKind,
        fault: TreeFault = TreeFault.NONE,
        hosts: tuple[str, ...] = (),
    ) -> x509.Certificate:
        """Make a certificate and its key, signed by `above`; None: self-signed."""
        key = new_key(kind, role)
        certificate = sign_certificate(
            self._index.settings,
            above or name,
            self._issuers[above] if above else Issuer(None, key),
            role=role,
            subject=subject,
            public_key=key.public_key(),
            at=self._now,
            validity=self._validity(role, fault),
            hosts=hosts,
        )
        self._issuers[name] = Issuer(certificate, key)
        self._write(file, to_pem(certificate))
        save_key((self._directory / file).with_suffix(".key"), key)
        signer = self._certificate(above) if above else certificate
        self._record(certificate, name, role, file, signer, revoked=fault is TreeFault.REVOKED)
        return certificate

    def _record(
        self,
        certificate: x509.Certificate,
        name: str,
        role: Role,
        file: str,
        issuer: x509.Certificate,
        *,
        revoked: bool = False,
    ) -> None:
        entry = entry_of(certificate, name=name, role=role, file=file, issuer=issuer)
        if revoked:
            entry = msgspec.structs.replace(entry, revoked_at=self._now)
        self._index = self._index.with_entry(entry)

    def _write(self, file: str, data: bytes) -> None:
        path = self._directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def _validity(self, role: Role, fault: TreeFault) -> tuple[datetime, datetime]:
        span = timedelta(days=profile_of(role, generation_of(self._index.settings, role)).days)
        match fault:
            case TreeFault.EXPIRED:
                return self._now - span, self._now - timedelta(days=1)
            case TreeFault.NOT_YET_VALID:
                return self._now + timedelta(days=1), self._now + span
            case _:
                return self._now - BACKDATED, self._now + span


def _clear(directory: Path) -> None:
    """Remove the files of an earlier tree that its index lists; other files of the folder stay."""
    try:
        entries = load_index(directory).entries
    except ConfigError:
        return
    for entry in entries:
        path = directory / entry.file
        beside = () if entry.is_authority else (path.with_name("chain.pem"), path.with_name("ocsp.der"))
        for each in (path, path.with_suffix(".key"), path.with_suffix(".crl"), *beside):
            each.unlink(missing_ok=True)
        current = directory / entry.name if not entry.is_authority else path.parent
        shutil.rmtree(current / VERSIONS, ignore_errors=True)
    (directory / FILE).unlink()


__all__ = ["DEFAULTS", "PkiOptions", "PkiTree", "TreeFault", "make_pki", "refresh_staple"]


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

    def index(self) -> Index:
        """Return the index on disk. Raises ConfigError."""
        return load_index(self.directory)

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
        """Return the DER OCSP answer for a leaf (`secc`, `contract`, `cps`)."""
        return (self.directory / leaf / "ocsp.der").read_bytes()


def make_pki(directory: Path, *, now: datetime, options: PkiOptions = DEFAULTS) -> PkiTree:
    """Write a complete PKI below `directory`, replacing existing files, and return it.

    `now` (aware, UTC) is the start of all validity, except for faults in `options`. Raises ConfigError.
    """
    try:
        TreeMaker(directory, now.replace(microsecond=0), options).make()
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return PkiTree(directory)


def refresh_staple(tree: PkiTree, *, now: datetime, leaf: str = "secc", revoked: bool = False) -> bytes:
    """Write a new OCSP answer for `leaf`, valid a week from `now`, and return it.

    Its status is that of the index, or, if `revoked`, revoked.
    """
    index = tree.index()
    answer = sign_staple(tree.directory, index, index.find(leaf), at=now.replace(microsecond=0), revoked=revoked)
    write_whole(tree.path(f"{leaf}/ocsp.der"), answer)
    return answer
