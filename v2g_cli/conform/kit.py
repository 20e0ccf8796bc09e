"""Credentials of a tester: from a PKI tree, which can also create invalid certificates, or from single files."""

from datetime import datetime
from pathlib import Path

import msgspec

from pki_tools.authority import sign_staple
from pki_tools.tree import PkiTree
from v2g.errors import ConfigError, KeyAccessError
from v2g.io.tls.endpoint import TlsIdentity
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import Credentials, load_authorities, load_credentials
from v2g.pki.keys import PrivateKey, load_private_key
from v2g.pki.profile import Role
from v2g_testkit.cases.identities import variants
from v2g_testkit.cases.known import Payer

Files = tuple[Path | None, Path | None]
"""Chain and key."""


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """Certificates of vehicles, contracts and provisioning by name (`vehicle`, `good`: the valid ones); V2G roots."""

    identities: dict[str, Credentials] = {}
    contracts: dict[str, Credentials] = {}
    provisioning: dict[str, Credentials] = {}
    anchors: tuple[bytes, ...] = ()


def known_tree(folder: Path) -> PkiTree:
    """Return the tree in a folder. Raises ConfigError when there is none."""
    return PkiTree.load(folder)


def means_of_tree(tree: PkiTree, now: datetime) -> Means:
    """Return everything from a tree of `v2g pki make`. Raises V2GError."""
    vehicle = variants(tree.credentials("vehicle"), Role.VEHICLE, now, _key(tree.path("oem/sub2.key")))
    contract = variants(tree.credentials("contract"), Role.CONTRACT, now, _key(tree.path("mo/sub2.key")))
    own = variants(tree.credentials("provisioning"), Role.OEM_PROVISIONING, now, _key(tree.path("oem/sub2.key")))
    return Means(identities=_identities(vehicle), contracts=contract, provisioning=own, anchors=tree.anchors("v2g"))


def chargers_of_tree(tree: PkiTree, now: datetime) -> dict[str, TlsIdentity]:
    """Return a charger's credentials by name (`secc`: the valid ones), with OCSP answers. Raises V2GError."""
    found = variants(tree.credentials("secc"), Role.SECC, now, _key(tree.path("cpo/sub2.key")))
    index = tree.index()
    entry, at = index.find("secc"), now.replace(microsecond=0)

    def staple(credentials: Credentials, *, revoked: bool = False) -> bytes:
        serial = load_certificate(credentials.leaf).serial_number
        about = msgspec.structs.replace(entry, serial=f"{serial:x}")
        return sign_staple(tree.directory, index, about, at=at, revoked=revoked)

    good = found.pop("good")
    shown = {name: TlsIdentity(each, staple(each)) for name, each in found.items()}
    return shown | {
        "secc": TlsIdentity(good, staple(good)),
        "revoked": TlsIdentity(good, staple(good, revoked=True)),
        "no-staple": TlsIdentity(good),
    }


def chargers_of_files(charger: Files, ocsp: Path | None, now: datetime) -> dict[str, TlsIdentity]:
    """Return the same from single files; `ocsp` is a DER OCSP answer. Raises V2GError."""
    loaded = _loaded(charger, "--charger")
    if loaded is None:
        return {}
    found = variants(loaded, Role.SECC, now, None)
    answer = ocsp.read_bytes() if ocsp is not None else None
    shown = {"secc": TlsIdentity(found["good"], answer), "unknown-root": TlsIdentity(found["unknown-root"], answer)}
    return shown | ({"no-staple": TlsIdentity(found["good"])} if ocsp is not None else {})


def means_of_files(vehicle: Files, roots: list[Path], contract: Files, provisioning: Files, now: datetime) -> Means:
    """Return the credentials in single files: without certificates that need the CA. Raises V2GError."""
    shown, paid = _loaded(vehicle, "--vehicle"), _loaded(contract, "--contract")
    own = _loaded(provisioning, "--provisioning")
    return Means(
        identities=_identities(variants(shown, Role.VEHICLE, now, None)) if shown is not None else {},
        contracts=variants(paid, Role.CONTRACT, now, None) if paid is not None else {},
        provisioning=variants(own, Role.OEM_PROVISIONING, now, None) if own is not None else {},
        anchors=load_authorities(roots),
    )


def payers(found: dict[str, Credentials]) -> dict[str, Payer]:
    """Return credentials as the reference vehicle holds them."""
    return {name: Payer(each.chain, each.key) for name, each in found.items()}


def _identities(found: dict[str, Credentials]) -> dict[str, Credentials]:
    """Return vehicle certificates by the names used in cases; another vehicle has another validity period."""
    named = {"vehicle": found["good"], **{name: each for name, each in found.items() if name != "good"}}
    return named | ({"other-vehicle": found["expires-soon"]} if "expires-soon" in found else {})


def _loaded(files: Files, option: str) -> Credentials | None:
    chain, key = files
    if (chain is None) != (key is None):
        raise ConfigError(f"{option}-chain and {option}-key belong together", hint="give both or neither")
    return load_credentials(chain, key) if chain is not None and key is not None else None


def _key(path: Path) -> PrivateKey | None:
    """Return a CA's key if the tree has it."""
    try:
        return load_private_key(path)
    except KeyAccessError:
        return None
