"""Certificate profiles of ISO 15118-20 Annex B, and of the operator's own certificates, as data.

`issue` makes certificates from these tables and `verify` judges by them, so what is issued always verifies.
Where Annex B is not publicly known the value here is the common denominator of public PKIs; each such choice is
listed in docs/reference/open-points.md.
"""

import enum
from typing import Final

import msgspec
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

MAX_CERTIFICATE_BYTES: Final = 1600
"""Longest DER certificate that fits certificateType of the -20 schema."""

MAX_INTERMEDIATES: Final = 3
"""Most sub-CA certificates that -20 messages carry beside a leaf."""

STAPLE_DAYS: Final = 7
"""Longest validity of an OCSP answer, in days (V2G20-1021)."""


class Role(enum.Enum):
    """What a certificate is for."""

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
    OCSP_RESPONDER = "ocsp_responder"
    METER = "meter"
    CSMS_ROOT = "csms_root"
    CSMS_SERVER = "csms_server"
    STATION = "station"
    GATEWAY = "gateway"
    BROKER = "broker"


class KeyKind(enum.Enum):
    """Kinds of public keys, by the names OpenSSL uses."""

    SECP521R1 = "secp521r1"
    SECP384R1 = "secp384r1"
    SECP256R1 = "secp256r1"
    ED448 = "ed448"
    RSA = "rsa"


class Usage(enum.Enum):
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


class Presence(enum.Enum):
    """Whether a part may, must or must not be there."""

    REQUIRED = "required"
    OPTIONAL = "optional"


class SubjectPart(msgspec.Struct, frozen=True):
    """One attribute of a subject: whether it must be there, and its only allowed value (any if None)."""

    presence: Presence
    value: str | None = None


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What one role's certificate looks like. Attributes of a subject that are not in `subject` are refused."""

    subject: dict[str, SubjectPart]  # by dotted attribute OID
    usages: frozenset[Usage]  # set when issuing, demanded when verifying
    allowed_usages: frozenset[Usage] = frozenset()  # tolerated beside `usages`
    extended_usage: str | None = None  # dotted OID set when issuing
    extended_usage_required: bool = False
    extended_usage_allowed: bool = True  # False: the extension itself is refused
    ca: bool = False
    path_length: int | None = None
    days: int  # validity when issuing
    key_kinds: frozenset[KeyKind]
    sha512_only: bool = True  # or Ed448, which hashes by itself
    max_bytes: int = MAX_CERTIFICATE_BYTES
    subject_key_id_bytes: int = 20
    revocation_required: bool = False  # CRL distribution point or OCSP responder must be named
    extensions: frozenset[str] | None = None  # dotted OIDs of the only extensions allowed; None: any non-critical
    foreign_domains: frozenset[str] = frozenset()  # DC values of roots that are no anchor for this role


COMMON_NAME: Final = NameOID.COMMON_NAME.dotted_string
ORGANIZATION: Final = NameOID.ORGANIZATION_NAME.dotted_string
UNIT: Final = NameOID.ORGANIZATIONAL_UNIT_NAME.dotted_string
COUNTRY: Final = NameOID.COUNTRY_NAME.dotted_string
DOMAIN: Final = NameOID.DOMAIN_COMPONENT.dotted_string

_REQUIRED = SubjectPart(Presence.REQUIRED)
_OPTIONAL = SubjectPart(Presence.OPTIONAL)

_KEYS_20 = frozenset({KeyKind.SECP521R1, KeyKind.ED448})  # V2G20-2674, V2G20-2319
_KEYS_OPERATOR = frozenset(KeyKind)  # OCPP 2.0.1 A00.FR.503 ff.: RSA of 2048 bit or EC of 224 bit and more
_SIGN = frozenset({Usage.DIGITAL_SIGNATURE})
_SIGN_AND_AGREE = frozenset({Usage.DIGITAL_SIGNATURE, Usage.KEY_AGREEMENT})
_CERTIFY = frozenset({Usage.KEY_CERT_SIGN, Usage.CRL_SIGN})
_LEAF_EXTRA = frozenset({Usage.CONTENT_COMMITMENT, Usage.KEY_ENCIPHERMENT, Usage.KEY_AGREEMENT})

_CONTRACT_EXTENSIONS = frozenset(
    oid.dotted_string
    for oid in (
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
    )
)


def _authority(domain: str | None, days: int, path_length: int | None, kinds: frozenset[KeyKind] = _KEYS_20) -> Profile:
    """Return the profile of a CA; `domain` is the DC that public test PKIs carry, and is not demanded."""
    subject = {COMMON_NAME: _REQUIRED, ORGANIZATION: _REQUIRED, UNIT: _OPTIONAL, COUNTRY: _OPTIONAL, DOMAIN: _OPTIONAL}
    if domain is not None:
        subject[DOMAIN] = SubjectPart(Presence.OPTIONAL, domain)
    return Profile(subject=subject, usages=_CERTIFY, ca=True, path_length=path_length, days=days, key_kinds=kinds)


def _operator(extended_usage: x509.ObjectIdentifier | None, days: int = 2 * 365) -> Profile:
    """Return the profile of a leaf in the operator's own PKI, which ISO 15118 does not rule."""
    return Profile(
        subject={COMMON_NAME: _REQUIRED, ORGANIZATION: _REQUIRED, UNIT: _OPTIONAL, COUNTRY: _OPTIONAL},
        usages=_SIGN,
        allowed_usages=_LEAF_EXTRA,
        extended_usage=extended_usage.dotted_string if extended_usage else None,
        days=days,
        key_kinds=_KEYS_OPERATOR,
        sha512_only=False,
        max_bytes=8 * 1024,
    )


PROFILES: Final[dict[Role, Profile]] = {
    Role.V2G_ROOT: _authority("V2G", 40 * 365, None),
    Role.CPO_SUB1: _authority("V2G", 12 * 365, 1),
    Role.CPO_SUB2: _authority("V2G", 12 * 365, 0),
    Role.SECC: Profile(  # Table B.5
        subject={
            COMMON_NAME: _REQUIRED,
            ORGANIZATION: _REQUIRED,
            COUNTRY: _OPTIONAL,
            DOMAIN: SubjectPart(Presence.REQUIRED, "CPO"),
        },
        usages=_SIGN,
        allowed_usages=_SIGN_AND_AGREE,
        extended_usage=ExtendedKeyUsageOID.SERVER_AUTH.dotted_string,
        days=60,
        key_kinds=_KEYS_20,
        revocation_required=True,
        foreign_domains=frozenset({"MO", "OEM"}),
    ),
    Role.OEM_ROOT: _authority("OEM", 40 * 365, None),
    Role.OEM_SUB1: _authority("OEM", 12 * 365, 1),
    Role.OEM_SUB2: _authority("OEM", 12 * 365, 0),
    Role.VEHICLE: Profile(  # Table B.8, V2G20-2598: CN and O and nothing else; public test PKIs add a DC
        subject={COMMON_NAME: _REQUIRED, ORGANIZATION: _REQUIRED, DOMAIN: SubjectPart(Presence.OPTIONAL, "VEHICLE")},
        usages=_SIGN,
        allowed_usages=_SIGN_AND_AGREE,
        extended_usage=ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string,
        extended_usage_required=True,
        days=2 * 365,
        key_kinds=_KEYS_20,
        foreign_domains=frozenset({"MO"}),  # V2G20-2331
    ),
    Role.OEM_PROVISIONING: Profile(  # Table B.7
        subject={
            COMMON_NAME: _REQUIRED,
            ORGANIZATION: _REQUIRED,
            COUNTRY: _OPTIONAL,
            DOMAIN: SubjectPart(Presence.OPTIONAL, "OEM"),
        },
        usages=_SIGN_AND_AGREE,
        extended_usage_allowed=False,
        days=30 * 365,
        key_kinds=_KEYS_20,
        foreign_domains=frozenset({"MO"}),
    ),
    Role.MO_ROOT: _authority("MO", 40 * 365, None),
    Role.MO_SUB1: _authority("MO", 12 * 365, 1),
    Role.MO_SUB2: _authority("MO", 12 * 365, 0),
    Role.CONTRACT: Profile(  # Table B.10, V2G20-2686
        subject={
            COMMON_NAME: _REQUIRED,
            ORGANIZATION: _REQUIRED,
            UNIT: _OPTIONAL,
            COUNTRY: _OPTIONAL,
            DOMAIN: _OPTIONAL,
        },
        usages=_SIGN,
        allowed_usages=_LEAF_EXTRA,
        extended_usage_allowed=False,
        days=2 * 365,
        key_kinds=_KEYS_20,
        subject_key_id_bytes=8,  # its 16 hex digits are authenticated data when a contract key is delivered
        revocation_required=True,
        extensions=_CONTRACT_EXTENSIONS | {ExtensionOID.SUBJECT_INFORMATION_ACCESS.dotted_string},
        foreign_domains=frozenset({"OEM"}),
    ),
    Role.OCSP_RESPONDER: Profile(
        subject={COMMON_NAME: _REQUIRED, ORGANIZATION: _REQUIRED, COUNTRY: _OPTIONAL, DOMAIN: _OPTIONAL},
        usages=_SIGN,
        extended_usage=ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string,
        extended_usage_required=True,
        days=365,
        key_kinds=_KEYS_20,
    ),
    Role.METER: Profile(  # signs OCMF data sets, whose signature methods end at secp384r1
        subject={COMMON_NAME: _REQUIRED, ORGANIZATION: _REQUIRED, COUNTRY: _OPTIONAL, DOMAIN: _OPTIONAL},
        usages=_SIGN,
        allowed_usages=frozenset({Usage.CONTENT_COMMITMENT}),
        days=8 * 365,
        key_kinds=frozenset({KeyKind.SECP256R1, KeyKind.SECP384R1, KeyKind.SECP521R1}),
    ),
    Role.CSMS_ROOT: _authority(None, 20 * 365, 1, _KEYS_OPERATOR),
    Role.CSMS_SERVER: _operator(ExtendedKeyUsageOID.SERVER_AUTH),
    Role.STATION: _operator(None),  # OCPP 2.0.1 A00.FR.514 advises against extended key usage here
    Role.GATEWAY: _operator(ExtendedKeyUsageOID.CLIENT_AUTH),
    Role.BROKER: _operator(ExtendedKeyUsageOID.SERVER_AUTH),
}
