"""Certificate profiles as data: used by `issue` to create and by `verify` to check certificates.

Issued certificates therefore always verify.
"""

from typing import Final

from v2g.pki.profile import (
    COMMON_NAME,
    COUNTRY,
    DOMAIN,
    MAX_INTERMEDIATES,
    ORGANIZATION,
    STAPLE_DAYS,
    UNIT,
    Generation,
    KeyKind,
    Presence,
    Profile,
    Role,
    SubjectPart,
    Usage,
)
from v2g.pki.profiles_iso15118 import ISO15118_2, ISO15118_20, MAX_CERTIFICATE_BYTES
from v2g.pki.profiles_operator import OPERATOR

__all__ = [
    "COMMON_NAME",
    "COUNTRY",
    "DOMAIN",
    "MAX_CERTIFICATE_BYTES",
    "MAX_INTERMEDIATES",
    "ORGANIZATION",
    "PROFILES",
    "PROFILES_2",
    "STAPLE_DAYS",
    "UNIT",
    "Generation",
    "KeyKind",
    "Presence",
    "Profile",
    "Role",
    "SubjectPart",
    "Usage",
    "generation_of",
    "profile_of",
]

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
