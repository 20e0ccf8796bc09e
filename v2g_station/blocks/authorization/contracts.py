"""Authorization of contract certificates (functional block C)."""

import enum
import itertools
import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from v2g.errors import V2GError
from v2g.ocpp.messages.authorization import AuthorizeRequest, AuthorizeResponse, IdToken
from v2g.ocpp.messages.base import OCSPRequestData
from v2g.ocpp.routes import Version

_log = logging.getLogger(__name__)


class AuthorizationStatus(enum.StrEnum):
    """The CSMS's decision on a contract or a card."""

    ACCEPTED = "accepted"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CERTIFICATE_INVALID = "certificate_invalid"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


_CERTIFICATE: Final[dict[str, AuthorizationStatus]] = {
    "CertificateExpired": AuthorizationStatus.CERTIFICATE_EXPIRED,
    "CertificateRevoked": AuthorizationStatus.CERTIFICATE_REVOKED,
    "SignatureError": AuthorizationStatus.CERTIFICATE_INVALID,
    "NoCertificateAvailable": AuthorizationStatus.CERTIFICATE_INVALID,
    "CertChainError": AuthorizationStatus.CERTIFICATE_INVALID,
}
_TOKEN: Final = {"Accepted": AuthorizationStatus.ACCEPTED, "Unknown": AuthorizationStatus.UNKNOWN}

CHARGING_ONLY: Final = ("AC_single_phase", "AC_two_phase", "AC_three_phase", "DC", "DC_ACDP", "WPT")
"""Energy transfer modes without discharge."""


class AuthorizeOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The CSMS's answer about a contract. `status` and `certificate_status` are OCPP values, empty if missing.

    `energy_transfer` lists the modes it allows (2.1), empty for any.
    """

    decision: AuthorizationStatus
    status: str = ""
    certificate_status: str = ""
    energy_transfer: tuple[str, ...] = ()


def contract_token(emaid: str) -> IdToken:
    """Return the identifier of a contract."""
    return IdToken(id_token=emaid, type="eMAID")


def authorize_request(
    emaid: str, chain_pem: str, hashes: Sequence[OCSPRequestData], version: Version
) -> AuthorizeRequest:
    """Return the request for a contract (C07.FR.02, .06). A chain too long for the version is sent as hashes only."""
    longest = 5500 if version == "2.0.1" else 10_000
    return AuthorizeRequest(
        id_token=contract_token(emaid),
        certificate=chain_pem if 0 < len(chain_pem) <= longest else None,
        iso15118_certificate_hash_data=tuple(hashes[:4]),
    )


def allowed_energy_transfer(response: AuthorizeResponse, version: Version) -> tuple[str, ...]:
    """Return the energy transfer modes that an answer allows, empty for any.

    OCPP 2.1: those of its list, without one charging only (Q01.FR.09, Q02.FR.04). 2.0.1 has no list.
    """
    return (response.allowed_energy_transfer or CHARGING_ONLY) if version == "2.1" else ()


def decision_of(status: str) -> AuthorizationStatus:
    """Return the decision that a status of an identifier (OCPP) makes."""
    return _TOKEN.get(status, AuthorizationStatus.REFUSED)


def authorize_outcome(response: AuthorizeResponse, version: Version, *, validated: bool) -> AuthorizeOutcome:
    """Return the meaning of a response. Charging needs the identifier accepted and, if the CSMS has checked it, the
    certificate; it must, where the charger has not `validated` it (C07.FR.14)."""
    status, certificate = response.id_token_info.status, response.certificate_status or ""
    decision = decision_of(status)
    if certificate in _CERTIFICATE:
        decision = _CERTIFICATE[certificate]
    elif not certificate and not validated and decision is AuthorizationStatus.ACCEPTED:
        decision = AuthorizationStatus.CERTIFICATE_INVALID
    elif certificate == "ContractCancelled" and decision is AuthorizationStatus.ACCEPTED:
        decision = AuthorizationStatus.REFUSED
    return AuthorizeOutcome(
        decision=decision,
        status=status,
        certificate_status=certificate,
        energy_transfer=allowed_energy_transfer(response, version),
    )


def describe_chain(chain_der: Sequence[bytes]) -> tuple[str, tuple[OCSPRequestData, ...]]:
    """Return a chain as PEM, and the OCSP request data of each certificate whose issuer it contains."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from v2g.pki.ocsp import ocsp_request_data

    try:
        chain = [x509.load_der_x509_certificate(der) for der in chain_der]
        pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain).decode()
        found = [ocsp_request_data(one, issuer) for one, issuer in itertools.pairwise(chain)]
    except (ValueError, V2GError) as error:
        _log.warning("contract chain: %s", error)
        return "", ()
    return pem, tuple(OCSPRequestData(**msgspec.structs.asdict(data)) for data in found)
