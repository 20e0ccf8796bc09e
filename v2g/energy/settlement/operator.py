"""What the operator signs with a key of its own: corrections, complete copies of journals, and closed months.

The key is the back end's alone (`books_key`); its public half is all that a verifier needs. A statement is signed as
canonical JSON with its kind, so no signature of one kind passes for another.
"""

import functools
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from msgspec import UNSET, Meta, UnsetType

from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.canonical import canonical, sha256_hex
from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.records import TariffSet, TermsOffered, WearPriced
from v2g.energy.settlement.settle import offer_in
from v2g.energy.settlement.taxes import Taxation
from v2g.errors import SignatureError, VerificationError
from v2g.pki.keys import PublicKey, SigningKey, verify_signature


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


MAX_RECEIPT_BYTES: Final = 65_536
"""Longest receipt of a journal, as JSON."""


class _Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class CorrectionsMade(_Statement, frozen=True, kw_only=True, tag="corrections"):
    """The operator made all corrections up to the entry of a session's journal with this hash."""

    head: str


class JournalReceived(_Statement, frozen=True, kw_only=True, tag="journal_received"):
    """The back end has the complete journal of a session that has ended: `entries` of them, the last with this hash.

    `taxation` is the VAT at its station, as the operator's configuration had it then: the session is booked with it.
    `prices` are those of the journal, if all are the operator's own. Receipts of earlier versions lack both.
    """

    station_id: str
    session_id: str
    entries: int
    head: str
    utc_ms: int
    taxation: Taxation | UnsetType = UNSET
    prices: SignedPrices | UnsetType = UNSET


class PeriodClosed(_Statement, frozen=True, kw_only=True, tag="period_closed"):
    """A month of the books was closed; its digest covers that of the closed month before it, `previous`."""

    period: str
    closed_ms: int
    postings: int
    digest: str
    previous: str


Statement = CorrectionsMade | JournalReceived | PeriodClosed


class OperatorSeal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The operator's signature (raw form), and the public half of its key (SubjectPublicKeyInfo, DER)."""

    public_key: Annotated[bytes, Meta(max_length=512)]
    signature: Annotated[bytes, Meta(max_length=256)]

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key, hex: by it an operator names its key."""
        return sha256_hex(self.public_key)


class JournalReceipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a back end returns for a complete journal."""

    received: JournalReceived
    seal: OperatorSeal


def seal(statement: Statement, key: SigningKey) -> OperatorSeal:
    """Return the operator's signature of a statement."""
    return OperatorSeal(public_key=public_der(key.public_key), signature=key.sign(canonical(statement)))


def check_seal(statement: Statement, made: OperatorSeal, *, where: str) -> None:
    """Raises VerificationError unless the key in the seal signed the statement; whose key it is, the caller knows."""
    try:
        verify_signature(_public_key(made.public_key), canonical(statement), made.signature)
    except SignatureError as error:
        raise VerificationError(f"the operator's signature: {error}", where=where) from None


def is_of(made: OperatorSeal, keys: Collection[PublicKey]) -> bool:
    """Return whether a seal names one of these keys."""
    return made.public_key in {public_der(each) for each in keys}


def public_der(key: PublicKey) -> bytes:
    """Return a public key as SubjectPublicKeyInfo (DER)."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _public_key(der: bytes) -> PublicKey:
    try:
        return serialization.load_der_public_key(der)  # type: ignore[return-value]  # of any kind: `verify_signature`
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError(f"no public key: {error}") from None
