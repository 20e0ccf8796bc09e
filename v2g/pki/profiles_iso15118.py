"""Certificate profiles of ISO 15118-20 Annex B and, for peers of that generation, of ISO 15118-2 Annex F, as data.

Where an annex is not public the values are the common denominator of public PKIs; each such choice is
listed in docs/reference/open-points.md. -2 differs in curve, hash, size, validity, the key usage of sub-CAs,
charger and contract, and the contract's longer key identifier, and has no vehicle certificate.
"""

from functools import partial
from typing import Final

from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from msgspec.structs import replace

from v2g.pki.profile import (
    CERTIFY,
    COMMON_NAME,
    COUNTRY,
    DOMAIN,
    LEAF_EXTRA,
    OPTIONAL,
    ORGANIZATION,
    REQUIRED,
    SIGN,
    SIGN_AND_AGREE,
    UNIT,
    FieldPresence,
    KeyKind,
    KeyUsageBit,
    Profile,
    Role,
    domain,
)

MAX_CERTIFICATE_BYTES: Final = 1600
"""Longest DER certificate that fits certificateType of the -20 schema."""

_MAX_BYTES_2: Final = 800
_KEYS_20: Final = frozenset({KeyKind.SECP521R1, KeyKind.ED448})  # V2G20-2674, V2G20-2319
_HASHES_20: Final = frozenset({"sha512"})
_COMMIT: Final = frozenset({KeyUsageBit.CONTENT_COMMITMENT})
_YEARS_12: Final = 12 * 365

_CONTRACT_EXTENSIONS: Final = frozenset(
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


_profile = partial(Profile, key_kinds=_KEYS_20, hashes=_HASHES_20, max_bytes=MAX_CERTIFICATE_BYTES)
"""A profile with what all of ISO 15118-20 have."""


def _authority(dc: str | None, days: int, path_length: int | None, extensions: frozenset[str] | None = None) -> Profile:
    """Return the profile of a CA; `dc` is the DC of public test PKIs, and is not required."""
    return _profile(
        subject={
            COMMON_NAME: REQUIRED,
            ORGANIZATION: REQUIRED,
            UNIT: OPTIONAL,
            COUNTRY: OPTIONAL,
            DOMAIN: domain(dc) if dc else OPTIONAL,
        },
        other_parts=True,
        usages=CERTIFY,
        extended_usage_allowed=False,
        ca=True,
        path_length=path_length,
        exact_path_length=path_length is not None,
        days=days,
        extensions=extensions,
    )


ISO15118_20: Final[dict[Role, Profile]] = {
    Role.V2G_ROOT: _authority("V2G", 40 * 365, None),
    Role.CPO_SUB1: _authority("V2G", _YEARS_12, 1),
    Role.CPO_SUB2: _authority("V2G", _YEARS_12, 0),
    Role.SECC: _profile(  # Table B.5
        subject={
            COMMON_NAME: REQUIRED,
            ORGANIZATION: REQUIRED,
            COUNTRY: OPTIONAL,
            DOMAIN: domain("CPO", FieldPresence.REQUIRED),
        },
        usages=SIGN,
        allowed_usages=SIGN_AND_AGREE,
        extended_usage=ExtendedKeyUsageOID.SERVER_AUTH.dotted_string,
        days=60,
        revocation_required=True,
        authorities=(Role.CPO_SUB2, Role.CPO_SUB1, Role.CROSS),
        foreign_domains=frozenset({"MO", "OEM"}),
    ),
    Role.OEM_ROOT: _authority("OEM", 40 * 365, None),
    Role.OEM_SUB1: _authority("OEM", _YEARS_12, 1),
    Role.OEM_SUB2: _authority("OEM", _YEARS_12, 0),
    Role.VEHICLE: _profile(  # Table B.8, V2G20-2598: CN and O and nothing else; public test PKIs add a DC
        subject={COMMON_NAME: REQUIRED, ORGANIZATION: REQUIRED, DOMAIN: domain("VEHICLE")},
        usages=SIGN,
        allowed_usages=SIGN_AND_AGREE,
        extended_usage=ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string,
        extended_usage_required=True,
        days=2 * 365,
        authorities=(Role.OEM_SUB2, Role.OEM_SUB1, Role.CROSS),
        foreign_domains=frozenset({"MO"}),  # V2G20-2331
    ),
    Role.OEM_PROVISIONING: _profile(  # Table B.7
        subject={COMMON_NAME: REQUIRED, ORGANIZATION: REQUIRED, COUNTRY: OPTIONAL, DOMAIN: domain("OEM")},
        usages=SIGN_AND_AGREE,
        extended_usage_allowed=False,
        days=30 * 365,
        authorities=(Role.OEM_SUB2, Role.OEM_SUB1, Role.CROSS),
        foreign_domains=frozenset({"MO"}),
    ),
    Role.MO_ROOT: _authority("MO", 40 * 365, None),
    Role.MO_SUB1: _authority("MO", _YEARS_12, 1, _CONTRACT_EXTENSIONS),
    Role.MO_SUB2: _authority("MO", _YEARS_12, 0, _CONTRACT_EXTENSIONS),
    Role.CONTRACT: _profile(  # Table B.10, V2G20-2686
        subject={COMMON_NAME: REQUIRED, ORGANIZATION: REQUIRED, UNIT: OPTIONAL, COUNTRY: OPTIONAL, DOMAIN: OPTIONAL},
        usages=SIGN,
        allowed_usages=LEAF_EXTRA,
        extended_usage_allowed=False,
        days=2 * 365,
        subject_key_id_bytes=8,  # its 16 hex digits are authenticated data when a contract key is delivered
        revocation_required=True,
        extensions=_CONTRACT_EXTENSIONS | {ExtensionOID.SUBJECT_INFORMATION_ACCESS.dotted_string},
        authorities=(Role.MO_SUB2, Role.MO_SUB1, Role.CROSS),
        authority_required=True,
        foreign_domains=frozenset({"OEM"}),
    ),
    Role.CPS_SUB1: _authority("CPS", _YEARS_12, 1),
    Role.CPS_SUB2: _authority("CPS", _YEARS_12, 0),
    Role.CPS: _profile(  # signs SignedInstallationData
        subject={
            COMMON_NAME: REQUIRED,
            ORGANIZATION: REQUIRED,
            COUNTRY: OPTIONAL,
            DOMAIN: domain("CPS", FieldPresence.REQUIRED),
        },
        usages=SIGN,
        allowed_usages=_COMMIT,
        extended_usage_allowed=False,
        days=2 * 365,
        revocation_required=True,
        authorities=(Role.CPS_SUB2, Role.CPS_SUB1, Role.CROSS),
        foreign_domains=frozenset({"MO", "OEM"}),
    ),
    Role.CROSS: _authority(None, 20 * 365, None),
    Role.OCSP_RESPONDER: _profile(
        subject={COMMON_NAME: REQUIRED, ORGANIZATION: REQUIRED, COUNTRY: OPTIONAL, DOMAIN: OPTIONAL},
        usages=SIGN,
        extended_usage=ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string,
        extended_usage_required=True,
        days=365,
    ),
    Role.METER: _profile(  # signs OCMF data sets, whose signature methods end at secp384r1
        subject={COMMON_NAME: REQUIRED, ORGANIZATION: REQUIRED, COUNTRY: OPTIONAL, DOMAIN: OPTIONAL},
        usages=SIGN,
        allowed_usages=_COMMIT,
        days=8 * 365,
        key_kinds=frozenset({KeyKind.SECP256R1, KeyKind.SECP384R1}),
        authorities=(Role.CPO_SUB2, Role.CPO_SUB1, Role.CROSS),
    ),
}


def _of_2(profile: Profile) -> Profile:
    return replace(
        profile,
        key_kinds=frozenset({KeyKind.SECP256R1}),
        hashes=frozenset({"sha256"}),
        max_bytes=_MAX_BYTES_2,
        subject_key_id_bytes=20,
    )


_YEARS_4: Final = 4 * 365
_DAYS_2: Final[dict[Role, int]] = dict.fromkeys(
    (Role.CPO_SUB1, Role.OEM_SUB1, Role.OEM_SUB2, Role.MO_SUB1, Role.MO_SUB2, Role.CPS_SUB1), _YEARS_4
) | {Role.CPO_SUB2: 2 * 365, Role.CPS_SUB2: 2 * 365, Role.CPS: 90}

_DIFFERENT_2: Final[dict[Role, Profile]] = {
    role: replace(ISO15118_20[role], days=days) for role, days in _DAYS_2.items()
}
# public PKIs differ in whether their sub-CAs may sign data
_DIFFERENT_2.update(
    {role: replace(profile, allowed_usages=SIGN) for role, profile in _DIFFERENT_2.items() if profile.ca}
)
# those above provisioning services in the field have DC=V2G, or none
_DIFFERENT_2.update(
    {
        role: replace(_DIFFERENT_2[role], subject=_DIFFERENT_2[role].subject | {DOMAIN: OPTIONAL})
        for role in (Role.CPS_SUB1, Role.CPS_SUB2)
    }
)
# it signs tariffs
_DIFFERENT_2[Role.MO_SUB2] = replace(_DIFFERENT_2[Role.MO_SUB2], allowed_usages=SIGN | _COMMIT)
_DIFFERENT_2[Role.SECC] = replace(ISO15118_20[Role.SECC], usages=SIGN_AND_AGREE)
# contracts in the field have these two only; the others, which an update of the contract needs, are issued
_DIFFERENT_2[Role.CONTRACT] = replace(
    ISO15118_20[Role.CONTRACT], usages=SIGN | _COMMIT, allowed_usages=LEAF_EXTRA, issued_usages=LEAF_EXTRA
)

ISO15118_2: Final[dict[Role, Profile]] = {
    role: _of_2(profile) for role, profile in (ISO15118_20 | _DIFFERENT_2).items() if role != Role.VEHICLE
}
