"""Which contract pays: the valid ones first, then those of providers that the charger names, then by preference."""

from collections.abc import Sequence
from datetime import UTC, datetime

from evcc.session.d20.request_context import Contract
from v2g.pki.certificates import common_name, load_certificate, normalize_emaid


def emaid(contract: Contract) -> str:
    """Return a contract's EMAID as it is compared."""
    return normalize_emaid(common_name(load_certificate(contract.chain[0])))


def usable(contracts: Sequence[Contract], utc_ms: int) -> tuple[Contract, ...]:
    """Return the contracts whose own certificate is valid at this time."""
    at = datetime.fromtimestamp(utc_ms / 1000, UTC)
    return tuple(each for each in contracts if _valid(each, at))


def ranked(
    contracts: Sequence[Contract], utc_ms: int, *, preferred: Sequence[str] = (), providers: Sequence[str] = ()
) -> tuple[Contract, ...]:
    """Return all contracts, the one to try first in front.

    None is left out: the charger decides, and a vehicle whose clock is wrong must not keep itself from charging.
    `preferred` are EMAIDs, best first; `providers` those that the charger names (SupportedProviders), none: any.
    Among equals the contract that lasts longest comes first.
    """
    at = datetime.fromtimestamp(utc_ms / 1000, UTC)
    order = [normalize_emaid(each) for each in preferred]
    names = [normalize_emaid(each) for each in providers]

    def rank(contract: Contract) -> tuple[bool, bool, int, float]:
        name = emaid(contract)
        known = not names or any(name.startswith(provider) for provider in names)
        place = order.index(name) if name in order else len(order)
        end = load_certificate(contract.chain[0]).not_valid_after_utc.timestamp()
        return not _valid(contract, at), not known, place, -end

    return tuple(sorted(contracts, key=rank))


def _valid(contract: Contract, at: datetime) -> bool:
    leaf = load_certificate(contract.chain[0])
    return leaf.not_valid_before_utc <= at <= leaf.not_valid_after_utc
