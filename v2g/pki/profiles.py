"""Certificate profiles as data: used by `issue` to create and by `verify` to check certificates.

Issued certificates therefore always verify.
"""

from typing import Final

from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec.structs import replace

from v2g.pki.profile import (
    CERTIFY,
    COMMON_NAME,
    COUNTRY,
    LEAF_EXTRA,
    OPTIONAL,
    ORGANIZATION,
    REQUIRED,
    SIGN,
    UNIT,
    Generation,
    KeyKind,
    Profile,
    Role,
)
from v2g.pki.profiles_iso15118 import ISO15118_2, ISO15118_20

# -- Profiles of the operator's own PKI, outside ISO 15118: OCPP, broker, HTTP API. Keys are elliptic. One exception:
# gateways in the field have RSA keys of 4096 bit, made with `openssl req -new -newkey rsa:4096`, for their identity
# at the broker; no other role allows those.

_KEYS: Final = frozenset({KeyKind.SECP521R1, KeyKind.SECP384R1, KeyKind.SECP256R1, KeyKind.ED448})
_RFC_5280: Final = _KEYS | {KeyKind.RSA, KeyKind.RSA_2048}
"""Station keys allowed by RFC 5280 and OCPP (A00.FR.506, .507): security of at least 112 bit."""

_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_MAX_BYTES: Final = 8 * 1024
_SUBJECT: Final = {COMMON_NAME: REQUIRED, ORGANIZATION: REQUIRED, UNIT: OPTIONAL, COUNTRY: OPTIONAL}


_ROOT: Final = Profile(
    subject=_SUBJECT,
    other_parts=True,
    usages=CERTIFY,
    ca=True,
    path_length=1,
    exact_path_length=False,
    days=20 * 365,
    key_kinds=_KEYS,
    interop_kinds=_RFC_5280,
    hashes=_HASHES,
    max_bytes=_MAX_BYTES,
)

_LEAF: Final = Profile(
    subject=_SUBJECT,
    usages=SIGN,
    allowed_usages=LEAF_EXTRA,
    days=2 * 365,
    key_kinds=_KEYS,
    interop_kinds=_RFC_5280,
    hashes=_HASHES,
    max_bytes=_MAX_BYTES,
    authorities=(Role.CSMS_SUB,),
)
_SERVER: Final = replace(_LEAF, extended_usage=ExtendedKeyUsageOID.SERVER_AUTH.dotted_string)
_CLIENT: Final = replace(_LEAF, extended_usage=ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string)
_TRUST_LIST_SIGNING: Final = "1.3.6.1.4.1.311.10.3.1"

OPERATOR: Final[dict[Role, Profile]] = {
    Role.CSMS_ROOT: _ROOT,
    Role.CSMS_SUB: replace(_ROOT, path_length=0, days=10 * 365),
    Role.CSMS_SERVER: _SERVER,
    Role.STATION: _LEAF,  # OCPP 2.0.1 A00.FR.514 advises against extended key usage here
    Role.GATEWAY: replace(_CLIENT, key_kinds=_KEYS | {KeyKind.RSA}),
    Role.API_CLIENT: _CLIENT,
    Role.BROKER: _SERVER,
    Role.TRUST_LIST: replace(_LEAF, extended_usage=_TRUST_LIST_SIGNING, extended_usage_required=True),
}


PROFILES: Final[dict[Role, Profile]] = ISO15118_20 | OPERATOR
"""By ISO 15118-20."""

PROFILES_2: Final[dict[Role, Profile]] = ISO15118_2 | OPERATOR
"""By ISO 15118-2."""


def profile_of(role: Role, generation: Generation = Generation.ISO15118_20) -> Profile:
    """Return the profile of a role. KeyError for the vehicle certificate of -2, which does not exist."""
    return (PROFILES if generation is Generation.ISO15118_20 else PROFILES_2)[role]


def generation_of(kind: KeyKind | None) -> Generation:
    """Return by whose profile a contract is judged whose edition is not known: its leaf's key is of one only."""
    return Generation.ISO15118_2 if kind is KeyKind.SECP256R1 else Generation.ISO15118_20
