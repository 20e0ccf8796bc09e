"""Structure of a tree: its authorities, their issuers, and the issuers of leaves."""

import enum
from typing import Final

import msgspec

from v2g.pki.profile import Generation, KeyKind, Role


class TreeAuthority(msgspec.Struct, frozen=True):
    """An authority of `v2g pki make`: its name is its file, `above` the name of its issuer (None: itself)."""

    name: str
    role: Role
    above: str | None
    domain: str | None  # DC of its subject


AUTHORITIES: Final = (
    TreeAuthority("v2g/root", Role.V2G_ROOT, None, "V2G"),
    TreeAuthority("cpo/sub1", Role.CPO_SUB1, "v2g/root", "V2G"),
    TreeAuthority("cpo/sub2", Role.CPO_SUB2, "cpo/sub1", "V2G"),
    TreeAuthority("cps/sub1", Role.CPS_SUB1, "v2g/root", "CPS"),
    TreeAuthority("cps/sub2", Role.CPS_SUB2, "cps/sub1", "CPS"),
    TreeAuthority("oem/root", Role.OEM_ROOT, None, "OEM"),
    TreeAuthority("oem/sub1", Role.OEM_SUB1, "oem/root", "OEM"),
    TreeAuthority("oem/sub2", Role.OEM_SUB2, "oem/sub1", "OEM"),
    TreeAuthority("mo/root", Role.MO_ROOT, None, "MO"),
    TreeAuthority("mo/sub1", Role.MO_SUB1, "mo/root", "MO"),
    TreeAuthority("mo/sub2", Role.MO_SUB2, "mo/sub1", "MO"),
    TreeAuthority("csms/root", Role.CSMS_ROOT, None, None),
)
"""Authorities above their subordinates."""

CROSS: Final = ("oem/root", "mo/root")
"""Roots that the V2G root also certifies, so that one anchor suffices (V2G20-2331, V2G20-2329)."""

CROSS_SIGNER: Final = "v2g/root"

SIGNERS: Final = {each.role: each.above for each in AUTHORITIES} | {
    Role.SECC: "cpo/sub2",
    Role.METER: "cpo/sub2",
    Role.VEHICLE: "oem/sub2",
    Role.OEM_PROVISIONING: "oem/sub2",
    Role.CONTRACT: "mo/sub2",
    Role.CPS: "cps/sub2",
    Role.CSMS_SERVER: "csms/root",
    Role.STATION: "csms/root",
    Role.GATEWAY: "csms/root",
    Role.BROKER: "csms/root",
    Role.TRUST_LIST: "csms/root",
    Role.OCSP_RESPONDER: "cpo/sub2",
}
"""Default issuer of a role's certificates; None: itself."""

ANSWERED: Final = frozenset({Role.SECC, Role.CONTRACT, Role.CPS})
"""Leaves with an OCSP answer, for those that present their chain."""


def responder_name(authority: str) -> str:
    """Return the name of the delegated OCSP responder of an authority."""
    folder, _, name = authority.rpartition("/")
    return f"{folder}/ocsp" if name == "sub2" else f"{authority}-ocsp"


def cross_name(authority: str, signer: str = CROSS_SIGNER) -> str:
    """Return the name of the cross certificate of one root by another: `cross/oem-by-v2g`."""
    return f"cross/{_family(authority)}-by-{_family(signer)}"


def _family(authority: str) -> str:
    return authority.rpartition("/")[0].replace("/", "-")


def revocation_path(authority: str) -> str:
    """Return the folder part of an authority's OCSP and CRL addresses: `cpo` for `cpo/sub2`."""
    return authority.split("/")[-2]


def crl_path(authority: str, key: str) -> str:
    """Return the path of an authority's CRL below the tree's address; each key has its own."""
    return f"{revocation_path(authority)}/{key[:8]}.crl"


# -- Options of a tree, and deliberate faults ------------------------------------------------------------------------


class TreeFault(enum.Enum):
    """A deliberate fault of a leaf."""

    NONE = "none"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    FOREIGN_ROOT = "foreign_root"  # issued under an untrusted root; SECC, vehicle, contract and CPS only
    REVOKED = "revoked"  # SECC and contract: index, CRL and OCSP answer say so


class PkiOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the tree. Identifiers follow ISO 15118-20 Annex C; their check digits are not computed."""

    evcc_id: str = "WMIV2GENGINE0000001X"
    pcid: str = "WMIV2GENGINE00001X"
    emaid: str = "DEV2GC00000001"
    more_emaids: tuple[str, ...] = ("DEV2GC00000002", "DEV2GC00000003")  # leaves `contract-2`, `contract-3`, ...
    station_id: str = "CS-V2G-0001"
    gateway_id: str = "WMIV2GENGINE0000001X"
    meter_id: str = "METER-0001"
    csms_hosts: tuple[str, ...] = ("localhost", "::1", "127.0.0.1")
    operator: str = "V2G Engine Operator"
    country: str = "DE"
    url: str = "http://pki.invalid"  # where `v2g pki serve` is reached: stands in certificates, for OCSP and CRL
    key_kind: KeyKind = KeyKind.SECP521R1  # of everything that ISO 15118 rules; secp256r1 for interop peers
    generation: Generation = Generation.ISO15118_20  # whose profiles; iso15118-2 needs secp256r1
    annex_b_critical: bool = False
    secc: TreeFault = TreeFault.NONE
    vehicle: TreeFault = TreeFault.NONE
    contract: TreeFault = TreeFault.NONE
    cps: TreeFault = TreeFault.NONE


DEFAULTS = PkiOptions()
