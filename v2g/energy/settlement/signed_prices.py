"""The operator's signature of a session's prices: that every price in a journal is one that it had set.

It is part of the receipt that a back end gives for a complete journal, which knows what it had sent to the station.
"""

import functools
from collections.abc import Iterator, Sequence

import msgspec

from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.canonical import canonical, sha256_hex
from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.records import TariffSet, TermsOffered, WearPriced
from v2g.energy.settlement.settle import offer_in
from v2g.errors import VerificationError


class SignedPrices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hash of each tariff of a journal, in order, and each price of wear, micro-units per kWh."""

    tariffs: tuple[str, ...]
    wear: tuple[int, ...] = ()


@functools.lru_cache(maxsize=8)
def tariff_digest(tariff: Tariff) -> str:
    """Return the hash by which a tariff is known: SHA-256 of its canonical form."""
    return sha256_hex(canonical(tariff))


def prices_in(entries: Sequence[Entry]) -> SignedPrices:
    """Return the prices of a journal, which the operator signs if they are its own."""
    tariffs = tuple(tariff_digest(each.data.tariff) for each in entries if isinstance(each.data, TariffSet))
    return SignedPrices(tariffs, tuple(each.data.price for each in entries if isinstance(each.data, WearPriced)))


def other_terms(entries: Sequence[Entry], *, name: str = "journal.jsonl") -> Iterator[int]:
    """Yield the numbers of entries that offer other prices than those in force (`name:line` in an error)."""
    tariff: Tariff | None = None
    for number, entry in enumerate(entries, 1):
        match entry.data:
            case TariffSet():
                tariff = entry.data.tariff
            case TermsOffered(payload=payload):
                offer = offer_in(payload, f"{name}:{number}")
                if (
                    tariff is None
                    or offer.currency != tariff.currency
                    or not set(tariff.slots).issuperset(offer.prices)
                ):
                    yield number


def check_prices(entries: Sequence[Entry], signed: SignedPrices, *, name: str = "journal.jsonl") -> None:
    """Raises VerificationError (`name:line`) unless the operator signed every price of a verified journal."""
    if prices_in(entries) != signed:
        raise VerificationError("the operator signed other prices", where=name)
    for number in other_terms(entries, name=name):
        raise VerificationError("terms of other prices than those in force", where=f"{name}:{number}")
