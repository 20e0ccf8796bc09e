"""The response codes of ISO 15118-2: where each has its place, and when the charger sends it."""

from types import MappingProxyType
from typing import Final

from v2g.iso15118.engine.response_codes import CodeUse
from v2g.tables import table

USES: Final = table("v2g.iso15118.d2", "response_codes.toml", dict[str, CodeUse])
"""Code -> its use, in the order of the schema."""

_BY_CHAIN: Final = MappingProxyType(
    {
        "expired": "FAILED_CertificateExpired",
        "not_yet_valid": "FAILED_CertificateExpired",  # [V2G2-824]
        "revoked": "FAILED_CertificateRevoked",
        "wrong_subject": "FAILED_NoCertificateAvailable",  # another eMAID, or none
        "wrong_domain": "FAILED_NoCertificateAvailable",
    }
)


def code_of_chain(reason: str) -> str:
    """Return the code that refuses a chain, by the reason of its CertificateError or RevocationError."""
    return _BY_CHAIN.get(reason, "FAILED_CertChainError")
