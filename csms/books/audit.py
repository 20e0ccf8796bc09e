"""Recomputes the books from journals: what who writes in the database has changed is found.

Of a session: its journal by the operator's receipt and signatures of corrections, its settlement and every posting by
the journal, its sums by the postings. Of a closed period: its postings by the digest, the digest by the one before it
and the operator's signature. What earlier versions stored is a finding until the operator signs it.

What the database alone cannot show: that a row was removed together with all that refers to it, as a whole session, or
the newest closed period. Digests kept elsewhere (`v2g csms books anchor`) show the latter.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Final

import msgspec

from csms.books.store import ClosedPeriod, PostingRow, SessionRows
from csms.books.tables import vehicle_of
from csms.settlements.work import Settled, settle_journal, taxation_of
from v2g import typed_json
from v2g.energy.settlement.bookkeeping import Posting, Use, period_of, reversal_of
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.corrections import read_addendum, read_corrected
from v2g.energy.settlement.journal import Entry, verify_lines
from v2g.energy.settlement.operator import JournalReceipt, OperatorSeal, PeriodClosed, check_seal, is_of
from v2g.energy.settlement.pieces import zone_of
from v2g.energy.settlement.records import Addition
from v2g.energy.settlement.taxes import Taxation
from v2g.errors import VerificationError
from v2g.pki.keys import PublicKey

_CLOCKS_MS: Final = 60_000
"""By so much the clocks of nodes may differ: one closes a month, another one books."""


def audit_session(
    rows: SessionRows, keys: Collection[PublicKey], taxation: Taxation, closed: Mapping[str, int]
) -> list[str]:
    """Return what does not hold of a session. `keys` are the operator's; `closed`: period -> when it was closed, ms.

    `taxation` is that of receipts without one; its zone is that of periods.
    """
    if not rows.lines:
        return ["there is no journal"]
    data = b"".join(rows.lines)
    try:
        entries = verify_lines(data, name="journal")
        signed = list(_signatures(rows, entries, data, keys))
        rates = _signed_rates(rows, taxation)
        settled = settle_journal(data, "journal", rates)
        posted = list(_postings(rows, entries, settled, rates))
    except VerificationError as error:
        return [f"the journal: {error}"]
    stored = (finding for each in rows.postings for finding in _row(each, zone_of(taxation.zone), closed))
    return [*signed, *_settlement(rows, settled), *posted, *stored]


def _signed_rates(rows: SessionRows, taxation: Taxation) -> Taxation:
    with contextlib.suppress(msgspec.DecodeError):  # a finding of its own
        return taxation_of(rows.receipt, taxation)
    return taxation


def _signatures(rows: SessionRows, entries: Sequence[Entry], data: bytes, keys: Collection[PublicKey]) -> Iterator[str]:
    whole = next((n for n, each in enumerate(entries) if isinstance(each.data, Addition)), len(entries))
    if rows.receipt is None:
        yield "the operator has signed no receipt of the journal"
    else:
        try:
            receipt = typed_json.decode(rows.receipt, JournalReceipt)
        except msgspec.DecodeError as error:
            yield f"the receipt of the journal: {error}"
            return
        found = receipt.received
        check_seal(found, receipt.seal, where="receipt")
        if not is_of(receipt.seal, keys):
            yield f"the receipt of the journal is signed by another key, {receipt.seal.key_id}"
        if (found.station_id, found.session_id) != (rows.station_id, rows.session_id):
            yield "the receipt is of another session"
        if (found.entries, found.head) != (whole, entries[whole - 1].hash):
            yield "the journal is not the one that was received"
    read_corrected(data, b"".join(rows.lines[:whole]), name="journal")
    try:
        read_addendum(entries, operators=keys, name="journal")
    except VerificationError as error:
        yield str(error)


def _settlement(rows: SessionRows, settled: Settled) -> Iterator[str]:
    if rows.settlement is None:
        yield "there is no settlement"
    elif rows.settlement.encode() != settled.document:
        yield "the settlement does not follow from the journal"


def _postings(rows: SessionRows, entries: Sequence[Entry], settled: Settled, taxation: Taxation) -> Iterator[str]:
    """Each settlement follows from the journal as it was then, and each but the last was reversed, once."""
    heads = {each.hash: number for number, each in enumerate(entries, 1)}
    known = {each.number: each for each in rows.postings}
    reversals = [each.reverses for each in rows.postings if each.reverses is not None]
    standing = [each for each in rows.postings if each.reverses is None and each.number not in reversals]
    for each in rows.postings:
        posting, where = each.posting, f"posting {each.number}"
        if each.reverses is not None:
            if each.reverses not in known or reversal_of(known[each.reverses].posting) != posting:
                yield f"{where}: it is not the reversal of posting {each.reverses}"
            continue
        count = heads.get(posting.journal_head)
        if count is None:
            yield f"{where}: it is not of this journal"
            continue
        then = settled if count == len(entries) else settle_journal(b"".join(rows.lines[:count]), "journal", taxation)
        if posting != _placed(then.posting, rows):
            yield f"{where}: it does not follow from the journal"
        if reversals.count(each.number) > 1 or bool(each.reversed) != (each.number in reversals):
            yield f"{where}: it is not reversed as it is marked"
    if len(standing) != 1 or standing[0].posting != _placed(settled.posting, rows):
        yield "the session is not posted, once, by its settlement"


def _placed(posting: Posting, rows: SessionRows) -> Posting:
    return msgspec.structs.replace(posting, station_id=rows.station_id, session_id=rows.session_id)


def _row(row: PostingRow, zone: tzinfo, closed: Mapping[str, int]) -> Iterator[str]:
    """The sums that the books have of a posting, and its month: a later one if its own, or one after that, was closed
    before, as one without postings need not be."""
    posting, where = row.posting, f"posting {row.number}"
    if row.entries != {(each.account, each.unit, each.amount) for each in posting.entries}:
        yield f"{where}: its entries differ from it"
    sums = (row.vehicle, *row.use)
    if sums != (vehicle_of(posting.vehicle), *(getattr(posting.use, name) for name in Use.__struct_fields__)):
        yield f"{where}: its sums differ from it"
    own = period_of(posting.end_ms, zone)
    before_ms = row.booked_ms + _CLOCKS_MS
    late = row.period > own and any(own <= period and at_ms <= before_ms for period, at_ms in closed.items())
    if row.period != own and not late:
        yield f"{where}: it is in {row.period}, not in {own}"


def audit_periods(
    periods: Sequence[ClosedPeriod], changed: Collection[str], opened: Sequence[str], keys: Collection[PublicKey]
) -> Iterator[tuple[str, str]]:
    """Yield (period, finding) of closed periods, in order.

    The postings of `changed` are not those of the digest; `opened` have postings and are not closed.
    """
    previous = ""
    for each in periods:
        if each.period in changed:
            yield each.period, "postings were changed after closing"
        statement = PeriodClosed(
            period=each.period, closed_ms=each.closed_ms, postings=each.postings, digest=each.digest, previous=previous
        )
        previous = each.digest
        if each.seal is None:
            yield each.period, "the operator has not signed its digest"
            continue
        try:
            seal = typed_json.decode(each.seal, OperatorSeal)
            check_seal(statement, seal, where=each.period)
        except (VerificationError, msgspec.DecodeError):
            yield each.period, "its digest is not the one that the operator signed"
            continue
        if not is_of(seal, keys):
            yield each.period, f"its digest is signed by another key, {seal.key_id}"
    for period in opened:
        if periods and period < periods[-1].period:
            yield period, "it is open, and a later period is closed"


def same_document(stored: Mapping[str, object], data: bytes) -> bool:
    """Return whether a stored settlement follows from the copy of a journal."""
    try:
        return canonical(stored) == settle_journal(data, "journal").document
    except VerificationError:
        return False
