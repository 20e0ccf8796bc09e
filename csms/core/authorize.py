"""May this contract or token charge? What Authorize and TransactionEvent are answered (use cases C01, C07, E02)."""

import enum
from typing import Final

import msgspec

CONTRACT: Final = "eMAID"
"""The token type of plug and charge."""

_EMAID_LENGTH: Final = 14  # country 2, provider 3, instance 9; a check digit may follow


class Token(msgspec.Struct, frozen=True):
    """Somebody known: `status` is an OCPP AuthorizationStatusEnumType, `id_token` normalised."""

    type: str
    id_token: str
    status: str
    energy_transfer: tuple[str, ...] = ()


class Chain(enum.Enum):
    """What is known of the contract certificate that came with a token."""

    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"
    BROKEN = "broken"  # unknown root, bad signature or profile, other eMAID, revocation state not to be had
    ABSENT = "absent"  # neither certificate nor hash data


class Answer(msgspec.Struct, frozen=True):
    """`status` for idTokenInfo, and `certificate_status`, None where no contract is involved."""

    status: str
    certificate_status: str | None = None
    energy_transfer: tuple[str, ...] = ()


_CERTIFICATE_ANSWERS: Final = {
    Chain.EXPIRED: Answer("Expired", "CertificateExpired"),  # C07.FR.15
    Chain.REVOKED: Answer("Invalid", "CertificateRevoked"),  # C07.FR.16
    Chain.BROKEN: Answer("Invalid", "CertChainError"),  # C07.FR.17
    Chain.ABSENT: Answer("Invalid", "NoCertificateAvailable"),
}

_CANCELLED: Final = frozenset({"Blocked", "Expired", "Invalid", "Unknown"})
"""With these a valid certificate stands for a contract that is no more (C07.FR.13)."""


def normalise(token_type: str, id_token: str) -> str:
    """Return the form under which a token is stored and found.

    An eMAID may be written with or without its hyphens and check digit and in any case (ISO 15118-20 Annex C); other
    identifiers are compared without case, as OCPP's idToken is.
    """
    text = id_token.strip().upper()
    if token_type != CONTRACT:
        return text
    emaid = text.replace("-", "")
    return emaid[:_EMAID_LENGTH] if len(emaid) == _EMAID_LENGTH + 1 else emaid


def answer_token(token: Token | None) -> Answer:
    """Return what an identifier without contract certificate is worth."""
    if token is None:
        return Answer("Unknown")
    return Answer(token.status, energy_transfer=token.energy_transfer if token.status == "Accepted" else ())


def answer_contract(chain: Chain, token: Token | None) -> Answer:
    """Return what an eMAID is worth, given its certificate chain and, when that is valid, its token."""
    if chain is not Chain.VALID:
        return _CERTIFICATE_ANSWERS[chain]
    known = answer_token(token)
    certificate_status = "ContractCancelled" if known.status in _CANCELLED else "Accepted"  # C07.FR.13, .14
    return Answer(known.status, certificate_status, known.energy_transfer)
