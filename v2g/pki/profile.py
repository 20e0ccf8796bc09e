"""The form of certificate profiles. The tables are in the modules `profiles_...`."""

import enum
from typing import Final

import msgspec
from cryptography.x509.oid import NameOID

MAX_INTERMEDIATES: Final = 3
"""Most sub-CA certificates that -20 messages carry beside a leaf."""

STAPLE_DAYS: Final = 7
"""Longest validity of an OCSP answer, in days (V2G20-1021)."""


class Generation(enum.Enum):
    """The standard of a profile. The operator's own profiles belong to neither and are in both tables."""

    ISO15118_20 = "iso15118-20"
    ISO15118_2 = "iso15118-2"


class Role(enum.Enum):
    """Purpose of a certificate."""

    V2G_ROOT = "v2g_root"
    CPO_SUB1 = "cpo_sub1"
    CPO_SUB2 = "cpo_sub2"
    SECC = "secc"
    OEM_ROOT = "oem_root"
    OEM_SUB1 = "oem_sub1"
    OEM_SUB2 = "oem_sub2"
    VEHICLE = "vehicle"
    OEM_PROVISIONING = "oem_provisioning"
    MO_ROOT = "mo_root"
    MO_SUB1 = "mo_sub1"
    MO_SUB2 = "mo_sub2"
    CONTRACT = "contract"
    CPS_SUB1 = "cps_sub1"
    CPS_SUB2 = "cps_sub2"
    CPS = "cps"
    CROSS = "cross"  # a root's name and key, signed by another root or by its own former key
    OCSP_RESPONDER = "ocsp_responder"
    METER = "meter"
    CSMS_ROOT = "csms_root"
    CSMS_SUB = "csms_sub"
    CSMS_SERVER = "csms_server"
    STATION = "station"
    GATEWAY = "gateway"  # a vehicle's telemetry gateway at the broker
    API_CLIENT = "api_client"  # clients of the back end's HTTP API, including gateways
    BROKER = "broker"
    TRUST_LIST = "trust_list"  # signs the list of an ecosystem's roots


class KeyKind(enum.Enum):
    """Kinds of public keys, by the names OpenSSL uses."""

    SECP521R1 = "secp521r1"
    SECP384R1 = "secp384r1"
    SECP256R1 = "secp256r1"
    ED448 = "ed448"
    RSA = "rsa"  # of at least 4096 bit
    RSA_2048 = "rsa-2048"  # of at least 2048 bit, and less than 4096; shorter ones have no kind


class KeyUsageBit(enum.Enum):
    """Key usage bits of RFC 5280 4.2.1.3, named as `cryptography` names its arguments."""

    DIGITAL_SIGNATURE = "digital_signature"
    CONTENT_COMMITMENT = "content_commitment"
    KEY_ENCIPHERMENT = "key_encipherment"
    DATA_ENCIPHERMENT = "data_encipherment"
    KEY_AGREEMENT = "key_agreement"
    KEY_CERT_SIGN = "key_cert_sign"
    CRL_SIGN = "crl_sign"
    ENCIPHER_ONLY = "encipher_only"
    DECIPHER_ONLY = "decipher_only"


class FieldPresence(enum.Enum):
    """Whether a part may, must or must not be present."""

    REQUIRED = "required"
    OPTIONAL = "optional"


class SubjectPart(msgspec.Struct, frozen=True):
    """One attribute of a subject: whether it is required, and its only allowed value (any if None)."""

    presence: FieldPresence
    value: str | None = None


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The profile of one role's certificate."""

    subject: dict[str, SubjectPart]  # by dotted attribute OID; others are rejected, unless `other_parts`
    other_parts: bool = False
    usages: frozenset[KeyUsageBit]  # set when issuing, required when verifying
    allowed_usages: frozenset[KeyUsageBit] = frozenset()  # accepted besides `usages`
    issued_usages: frozenset[KeyUsageBit] = frozenset()  # of `allowed_usages`, those set when issuing
    extended_usage: str | None = None  # dotted OID set when issuing
    extended_usage_required: bool = False
    extended_usage_allowed: bool = True  # False: the extension itself is rejected
    ca: bool = False
    path_length: int | None = None  # of a CA when issuing; when verifying see `exact_path_length`
    exact_path_length: bool = True  # False: any that suffices for the CAs below
    days: int  # validity when issuing
    key_kinds: frozenset[KeyKind]
    interop_kinds: frozenset[KeyKind] = frozenset({KeyKind.SECP256R1})  # additionally, with `interop`
    hashes: frozenset[str]  # names of hashes allowed in its signature; Ed448 hashes by itself
    max_bytes: int  # of DER
    subject_key_id_bytes: int = 20
    revocation_required: bool = False  # CRL distribution point or OCSP responder is required
    extensions: frozenset[str] | None = None  # dotted OIDs of the only extensions allowed; None: any non-critical
    authorities: tuple[Role, ...] = ()  # profiles of the CAs above, nearest first
    authority_required: bool = False  # at least one sub-CA between it and the root
    foreign_domains: frozenset[str] = frozenset()  # DC values of roots that are not anchors for this role


COMMON_NAME: Final = NameOID.COMMON_NAME.dotted_string
ORGANIZATION: Final = NameOID.ORGANIZATION_NAME.dotted_string
UNIT: Final = NameOID.ORGANIZATIONAL_UNIT_NAME.dotted_string
COUNTRY: Final = NameOID.COUNTRY_NAME.dotted_string
DOMAIN: Final = NameOID.DOMAIN_COMPONENT.dotted_string

REQUIRED: Final = SubjectPart(FieldPresence.REQUIRED)
OPTIONAL: Final = SubjectPart(FieldPresence.OPTIONAL)

SIGN: Final = frozenset({KeyUsageBit.DIGITAL_SIGNATURE})
SIGN_AND_AGREE: Final = frozenset({KeyUsageBit.DIGITAL_SIGNATURE, KeyUsageBit.KEY_AGREEMENT})
CERTIFY: Final = frozenset({KeyUsageBit.KEY_CERT_SIGN, KeyUsageBit.CRL_SIGN})
LEAF_EXTRA: Final = frozenset({KeyUsageBit.CONTENT_COMMITMENT, KeyUsageBit.KEY_ENCIPHERMENT, KeyUsageBit.KEY_AGREEMENT})


def domain(value: str, presence: FieldPresence = FieldPresence.OPTIONAL) -> SubjectPart:
    """Return a DC that, if present, has one value."""
    return SubjectPart(presence, value)
