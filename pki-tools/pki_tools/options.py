"""Options of a tree, and deliberate faults."""

import enum

import msgspec

from v2g.pki.profiles import Generation, KeyKind


class Fault(enum.Enum):
    """A deliberate fault of a leaf."""

    NONE = "none"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    FOREIGN_ROOT = "foreign_root"  # issued under an untrusted root; SECC, vehicle, contract and CPS only
    REVOKED = "revoked"  # SECC and contract: index, CRL and OCSP answer say so


class PkiOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the tree. Identifiers follow ISO 15118-20 Annex C; their check digits are not computed."""

    secc_id: str = "DEV2GS00000000000000000000000000000001X"
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
    secc: Fault = Fault.NONE
    vehicle: Fault = Fault.NONE
    contract: Fault = Fault.NONE
    cps: Fault = Fault.NONE


DEFAULTS = PkiOptions()
