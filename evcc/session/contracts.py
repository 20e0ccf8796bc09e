"""Contracts of a vehicle, and their ranking for payment: valid ones first, then by provider and preference."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from v2g.errors import CertificateError, EnvelopeError, KeyAccessError, RevocationError, TrustError
from v2g.iso15118.d20.envelope_rules import RULES, EnvelopeRules
from v2g.iso15118.engine.signature import EDITION_2
from v2g.pki.certificates import common_name, contract_of, load_certificate, normalize_emaid
from v2g.pki.crl import RevocationList
from v2g.pki.keys import Algorithm, LeafKey, SigningKey

RETRY_MS: Final = 3_600_000
"""With ISO 15118-2, how long after a request for a contract no other one is made while a contract can pay, and how long
after the refusal of a contract others come first: either ends the session, and the next one is to charge."""


def is_pending(until_ms: int, utc_ms: int) -> bool:
    """Return whether a time that was set RETRY_MS ahead is still to come (UTC); a later one is of a wrong clock."""
    return 0 < until_ms - utc_ms <= RETRY_MS


class Contract(msgspec.Struct, frozen=True):
    """The contract certificate with its sub-CAs (DER, leaf first, no root) and the key of the leaf."""

    chain: tuple[bytes, ...]
    key: SigningKey


class Provisioning(msgspec.Struct, frozen=True, kw_only=True):
    """The vehicle's identity in requests for contracts: its provisioning chain (DER, leaf first), key and PCID.

    A provisioning service is trusted under `v2g_roots`; a contract must lead to one of `mo_roots` (or V2G roots)
    if the vehicle knows any; both possibly over `crosses`, and neither if revoked by `crls`. `rules` are
    those of the envelope. Before `postponed_until_ms` (UTC) none is requested with ISO 15118-2 while one can pay.
    """

    chain: tuple[bytes, ...]
    key: LeafKey
    pcid: str
    v2g_roots: tuple[bytes, ...]
    mo_roots: tuple[bytes, ...] = ()
    crosses: tuple[bytes, ...] = ()
    interop: bool = False
    rules: EnvelopeRules = RULES
    crls: tuple[RevocationList, ...] = ()
    postponed_until_ms: int = 0


def emaid(contract: Contract) -> str:
    """Return a contract's EMAID, normalised."""
    return normalize_emaid(common_name(load_certificate(contract.chain[0])))


def rejection(error: TrustError) -> str:
    """Return the stable code for why a new contract is not trusted."""
    match error:
        case CertificateError() | EnvelopeError() | RevocationError():
            return error.reason
        case KeyAccessError():
            return "key_not_usable"
        case _:
            return "bad_signature"


def signing(contracts: Sequence[Contract], allowed: Collection[Algorithm]) -> tuple[Contract, ...]:
    """Return the contracts whose key signs by an allowed algorithm."""
    return tuple(each for each in contracts if each.key.algorithm in allowed)


def usable(contracts: Sequence[Contract], utc_ms: int) -> tuple[Contract, ...]:
    """Return the contracts whose own certificate is valid at this time."""
    at = datetime.fromtimestamp(utc_ms / 1000, UTC)
    return tuple(each for each in contracts if _valid(each, at))


def ranked(
    contracts: Sequence[Contract], utc_ms: int, *, preferred: Sequence[str] = (), providers: Sequence[str] = ()
) -> tuple[Contract, ...]:
    """Return all contracts, best first.

    None is left out: the charger decides, and a wrong clock in the vehicle must not prevent charging. Those that sign
    as in -2, which some chargers of -20 accept, come after the others.
    `preferred` are EMAIDs, best first; `providers` those that the charger names (SupportedProviders), none: any.
    Among equals the contract with the latest expiry comes first.
    """
    at = datetime.fromtimestamp(utc_ms / 1000, UTC)
    order = [contract_of(each) for each in preferred]
    names = [normalize_emaid(each) for each in providers]

    def rank(contract: Contract) -> tuple[bool, bool, bool, int, float]:
        name = emaid(contract)
        known = not names or any(name.startswith(provider) for provider in names)
        place = [*order, contract_of(name)].index(contract_of(name))
        end = load_certificate(contract.chain[0]).not_valid_after_utc.timestamp()
        return not _valid(contract, at), contract.key.algorithm in EDITION_2, not known, place, -end

    return tuple(sorted(contracts, key=rank))


def _valid(contract: Contract, at: datetime) -> bool:
    leaf = load_certificate(contract.chain[0])
    return leaf.not_valid_before_utc <= at <= leaf.not_valid_after_utc
