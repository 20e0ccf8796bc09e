"""Settles a session from the copy of its journal, and corrects it by further entries."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from csms.booking.facts import Fact, of_journal
from csms.settlements.store import JournalRow
from v2g import typed_json
from v2g.energy.settlement.bookkeeping import Posting, posting_of
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.corrections import sign_corrections
from v2g.energy.settlement.journal import Entry, Journal, verify_lines
from v2g.energy.settlement.operator import JournalReceipt, JournalReceived, SignedPrices, seal
from v2g.energy.settlement.pricing import NO_CURRENCY
from v2g.energy.settlement.records import Addition, Correction
from v2g.energy.settlement.settle import Settlement, settle
from v2g.energy.settlement.taxes import UNTAXED, Taxation, taxes_of
from v2g.errors import RefusedError, VerificationError
from v2g.observe import Scalar
from v2g.pki.keys import SigningKey


class Settled(msgspec.Struct, frozen=True):
    """A settlement: its canonical JSON, its posting in the books, figures for the timeline, and its facts."""

    document: bytes
    posting: Posting
    summary: dict[str, Scalar]
    facts: tuple[Fact, ...]


def taxation_of(receipt: bytes | str | None, present: Taxation) -> Taxation:
    """Return the VAT that the operator signed with a session's receipt (JSON); the `present` one if it has none.

    Raises msgspec.DecodeError.
    """
    if receipt is None:
        return present
    signed = typed_json.decode(receipt, JournalReceipt).received.taxation
    return present if signed is UNSET else signed


def settle_journal(data: bytes, name: str, taxation: Taxation = UNTAXED) -> Settled:
    """Return the settlement of a complete journal. Raises VerificationError for an invalid one."""
    entries = verify_lines(data, name=name)
    return settled_of(entries, settle(entries, name=name), taxation)


def settled_of(entries: Sequence[Entry], settlement: Settlement, taxation: Taxation) -> Settled:
    """Return a settlement as it is stored, posted and reported."""
    totals = settlement.totals
    priced = [each for each in totals if each.currency != NO_CURRENCY]
    summary: dict[str, Scalar] = {
        "emaid": settlement.emaid,
        "lines": len(settlement.lines),
        "intervals": len(settlement.intervals),
        "import_mwh": sum(each.import_mwh for each in totals),
        "export_mwh": sum(each.export_mwh for each in totals),
    }
    for total in priced or totals:  # one, unless the currency changed: the timeline then shows the last
        summary |= {"currency": total.currency, "balance": total.balance}
    taxes = taxes_of(entries, settlement, taxation)
    return Settled(canonical(settlement), posting_of(settlement, taxes), summary, of_journal(entries, settlement))


def receipt_of(
    row: JournalRow, now_ms: int, key: SigningKey, taxation: Taxation, prices: SignedPrices | UnsetType = UNSET
) -> bytes:
    """Return the operator's receipt of a complete journal, with VAT and prices; its station adds it to the bundle."""
    received = JournalReceived(
        station_id=row.station_id,
        session_id=row.session_id,
        entries=row.lines,
        head=row.head,
        utc_ms=now_ms,
        taxation=taxation.at(row.station_id),
        prices=prices,
    )
    return canonical(JournalReceipt(received=received, seal=seal(received, key)))


class Corrected(msgspec.Struct, frozen=True):
    """A correction to be stored: the copy it follows (`before` lines), its `lines`, and the settlement with it."""

    row: JournalRow
    before: int
    lines: list[bytes]
    settled: Settled
    receipt: bytes | None = None


def is_repeated(lines: Sequence[bytes], correction: Correction) -> bool:
    """Return whether a journal's last correction is the same, by whomever and for whatever reason."""
    made = [entry.data for entry in verify_lines(b"".join(lines)) if isinstance(entry.data, Correction)]
    return bool(made) and msgspec.structs.replace(made[-1], by=correction.by, reason=correction.reason) == correction


def correct_journal(
    station_id: str,
    session_id: str,
    lines: Sequence[bytes],
    correction: Correction | None,
    now_ms: int,
    key: SigningKey,
    taxation: Taxation = UNTAXED,
) -> Corrected:
    """Return what a correction of a settled session changes, signed with the operator's key.

    Without one it signs those that the copy has: copies of earlier versions lack the signature.

    Raises RefusedError if the session is not over (`not_over`) or the correction does not fit it, VerificationError for
    an invalid journal.
    """
    data = b"".join(lines)
    journal = Journal.resume(data)
    if not journal.state.ended:
        raise RefusedError("the session is not over", reason="not_over", hint="correct it when it has ended")
    added = [] if correction is None else [journal.append(correction, now_ms)]
    added.append(journal.append(sign_corrections(journal.state.head, key), now_ms))
    try:
        settled = settle_journal(b"".join((data, *added)), session_id, taxation)
    except VerificationError as error:
        raise (error.__cause__ if isinstance(error.__cause__, RefusedError) else error) from None
    posting = msgspec.structs.replace(settled.posting, station_id=station_id, session_id=session_id)
    row = JournalRow(
        station_id=station_id, session_id=session_id, lines=journal.state.count, head=journal.state.head, ended=True
    )
    receipt = None
    if correction is None:
        entries = verify_lines(data)
        whole = next((number for number, each in enumerate(entries) if isinstance(each.data, Addition)), len(entries))
        signed = msgspec.structs.replace(row, lines=whole, head=entries[whole - 1].hash)
        receipt = receipt_of(signed, now_ms, key, taxation)
    return Corrected(row, len(lines), added, msgspec.structs.replace(settled, posting=posting), receipt)
