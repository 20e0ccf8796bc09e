"""Books over sessions: postings are added, reversed and summed, never changed; periods close."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import tzinfo
from typing import Final, Literal, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, case, func, insert, select, tuple_, union, update

from csms.books.tables import billed, periods, posting_entries, postings, vehicle_of
from csms.db.base import AnyRow
from csms.db.bulk import delete_rows, insert_rows
from csms.settlements import store as records
from csms.settlements.tables import journal_lines, journal_reviews, settlements
from csms.transactions.tables import booked_transactions
from v2g import typed_json
from v2g.energy.settlement import bookkeeping
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.operator import PeriodClosed, seal
from v2g.energy.settlement.pricing import NO_CURRENCY
from v2g.errors import RefusedError, StoreError
from v2g.pki.keys import SigningKey
from v2g.typed_json import Fields
from v2g.units import payable_micro

_LOCK_POSTGRESQL = "SELECT pg_advisory_xact_lock(4919003)"
"""Nodes book and close one after the other."""

_BATCH = 1000


class ClosedPeriod(NamedTuple):
    """A closed period: its number of postings, its digest, and the operator's signature, as JSON.

    Periods that earlier versions closed have none.
    """

    period: str
    closed_ms: int
    postings: int
    digest: str
    seal: str | None


Grouping = Literal["session", "vehicle", "period"]


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What drivers owe (below 0: are owed) by sessions, grouped; keys of other groupings are None.

    `owed` are micro-units by currency; `begin_ms` and `end_ms` are those of a session.
    """

    station_id: str | None = None
    session_id: str | None = None
    vehicle: str | None = None
    period: str | None = None
    begin_ms: int | None = None
    end_ms: int | None = None
    sessions: int
    import_mwh: int
    export_mwh: int
    owed: dict[str, int]


class _Total(msgspec.Struct, frozen=True):
    currency: str


class _Totals(msgspec.Struct, frozen=True):
    """What a sum needs of a stored settlement."""

    totals: tuple[_Total, ...]


class Sums(NamedTuple):
    """Sums over postings: sessions, amounts by account and unit, use of batteries."""

    sessions: int
    entries: tuple[bookkeeping.Entry, ...]
    use: bookkeeping.Use


def save_settled(
    connection: Connection, posting: bookkeeping.Posting, document: bytes, now_ms: int, zone: tzinfo
) -> bool:
    """Store a settlement and post it; return False when this one is stored already."""
    fresh = records.save_settlement(
        connection, posting.station_id, posting.session_id, posting.journal_head, document, now_ms
    )
    book(connection, posting, now_ms, zone)
    return fresh


def save_corrected(
    connection: Connection,
    row: records.JournalRow,
    before: int,
    lines: list[bytes],
    posting: bookkeeping.Posting,
    document: bytes,
    now_ms: int,
    zone: tzinfo,
    receipt: bytes | None = None,
) -> None:
    """Append a correction's lines to a journal copy that has `before` lines, store the settlement with it, and post it.

    Raises RefusedError (`changed`) when another correction was first.
    """
    if not records.append_journal(connection, row, before, lines, now_ms, receipt):
        raise RefusedError("another correction was first", reason="changed", hint="read the settlement, and repeat")
    save_settled(connection, posting, document, now_ms, zone)


def book(connection: Connection, posting: bookkeeping.Posting, now_ms: int, zone: tzinfo) -> list[int]:
    """Post a settlement, after the reversal of an earlier one of the same session; return the new postings' numbers.

    The same journal again changes nothing. A posting belongs to the period in which its session ended, or, if that
    is closed, to the first one that is not.
    """
    if not bookkeeping.is_balanced(posting.entries):
        raise StoreError(f"the posting of session {posting.session_id} does not sum to zero")
    _lock(connection)
    standing = _standing(connection, posting.station_id, posting.session_id)
    period = bookkeeping.period_of(posting.end_ms, zone)
    last = connection.execute(select(func.max(periods.c.period))).scalar()
    if last is not None and period <= last:
        period = bookkeeping.next_period(last)
    numbers = []
    if standing is not None:
        before = typed_json.decode(standing.document, bookkeeping.Posting)
        if before.journal_head == posting.journal_head:
            return []  # the journal is the same; rates of VAT may have changed since
        connection.execute(update(postings).where(postings.c.id == standing.id).values(reversed=1))
        numbers.append(_add(connection, bookkeeping.reversal_of(before), period, now_ms, reverses=standing.id))
    numbers.append(_add(connection, posting, period, now_ms))
    its = {"station_id": posting.station_id, "session_id": posting.session_id}
    for transaction_id in connection.execute(select(journal_reviews.c.transaction_id).filter_by(**its)).scalars().all():
        _sum_up(connection, posting.station_id, transaction_id)
    return numbers


def _standing(connection: Connection, station_id: str, session_id: str) -> AnyRow | None:
    """Return number and document of a session's posting that no later one reverses, None if it has none."""
    query = select(postings.c.id, postings.c.document).filter_by(station_id=station_id, session_id=session_id)
    return connection.execute(query.where((postings.c.reversed == 0) & postings.c.reverses.is_(None))).first()


def move(connection: Connection, station_id: str, session_id: str, transaction_ids: set[str]) -> None:
    """Sum up transactions again: a session that may be posted was of one of them, and is of another."""
    if _standing(connection, station_id, session_id) is not None:
        _lock(connection)
        for transaction_id in transaction_ids:
            _sum_up(connection, station_id, transaction_id)


def _sum_up(connection: Connection, station_id: str, transaction_id: str) -> None:
    """Store again what the postings of a transaction's sessions come to; sessions without a transaction have none."""
    if not transaction_id:
        return
    place = {"station_id": station_id, "transaction_id": transaction_id}
    delete_rows(connection, booked_transactions, **place)
    review, entry = journal_reviews.c, posting_entries.c
    of_session = (postings.c.station_id == review.station_id) & (postings.c.session_id == review.session_id)
    settled = (settlements.c.station_id == review.station_id) & (settlements.c.session_id == review.session_id)
    standing = connection.execute(
        select(postings.c.id, postings.c.import_mwh, postings.c.export_mwh, settlements.c.document)
        .join(journal_reviews, of_session)
        .outerjoin(settlements, settled)
        .where((review.station_id == station_id) & (review.transaction_id == transaction_id))
        .where((postings.c.reversed == 0) & postings.c.reverses.is_(None))
    ).all()
    if not standing:
        return
    gross, vat = (func.sum(case((entry.account == of, entry.amount), else_=0)) for of in ("driver", "vat"))
    money = connection.execute(
        select(entry.unit, gross, gross + vat)
        .where(entry.posting_id.in_([row.id for row in standing]) & (entry.unit != bookkeeping.MILLIWATT_HOURS))
        .group_by(entry.posting_id, entry.unit)
    )
    documents = [row.document for row in standing]
    found = (typed_json.decode(each, _Totals).totals for each in documents if each is not None)
    currencies = {total.currency for totals in found for total in totals} - {NO_CURRENCY}
    amounts = dict.fromkeys(currencies, (0, 0))  # free energy has no entry
    for unit, *exact in money:
        owed, net = (payable_micro(int(each), unit) for each in exact)  # each session is billed alone
        before = amounts.get(unit, (0, 0))
        amounts[unit] = before[0] + owed, before[1] + net
    rows: list[dict[str, object]] = [
        {**place, "currency": unit, "import_mwh": None, "export_mwh": None, "net": net, "gross": owed}
        for unit, (owed, net) in sorted(amounts.items())
    ] or [{**place, "currency": "", "net": None, "gross": None}]
    rows[0] |= {name: sum(getattr(row, name) for row in standing) for name in ("import_mwh", "export_mwh")}
    insert_rows(connection, booked_transactions, rows)


def _add(
    connection: Connection, posting: bookkeeping.Posting, period: str, now_ms: int, *, reverses: int | None = None
) -> int:
    use = posting.use
    added = insert(postings).values(
        period=period,
        booked_ms=now_ms,
        station_id=posting.station_id,
        session_id=posting.session_id,
        vehicle=vehicle_of(posting.vehicle),
        reverses=reverses,
        reversed=0,
        document=canonical(posting).decode(),
        **{name: getattr(use, name) for name in bookkeeping.Use.__struct_fields__},
    )
    number = int(connection.execute(added.returning(postings.c.id)).scalar_one())
    rows = [
        {"posting_id": number, "account": each.account, "unit": each.unit, "amount": each.amount}
        for each in posting.entries
    ]
    if rows:
        connection.execute(insert(posting_entries), rows)
    return number


def close(
    connection: Connection, period: str, now_ms: int, zone: tzinfo, key: SigningKey, *, leave_unposted: bool = False
) -> ClosedPeriod:
    """Close a period, for ever, and sign it with the operator's key; a closed one is returned as it is.

    Raises RefusedError if it is not over (`not_over`), an earlier one with postings is open (`earlier_is_open`), a
    later one is closed (`later_is_closed`), or its complete sessions are not all posted (`unposted`), unless these are
    left.
    """
    _lock(connection)
    found = closed_period(connection, period)
    if found is not None:
        if found.seal is None and is_intact(connection, found):  # of an earlier version
            found = found._replace(seal=_sealed(connection, found, key))
            connection.execute(update(periods).where(periods.c.period == period).values(seal=found.seal))
        return found
    if period >= bookkeeping.period_of(now_ms, zone):
        raise RefusedError(f"period {period} is not over", reason="not_over")
    if connection.execute(select(periods.c.period).where(periods.c.period > period).limit(1)).first() is not None:
        raise RefusedError(f"a period after {period} is closed", reason="later_is_closed")
    open_before = connection.execute(
        select(func.min(postings.c.period)).where(
            (postings.c.period < period) & postings.c.period.not_in(select(periods.c.period))
        )
    ).scalar()
    if open_before is not None:
        raise RefusedError(
            f"period {open_before} is still open", reason="earlier_is_open", hint=f"close {open_before} first"
        )
    before_ms = bookkeeping.end_of(period, zone)
    waiting = [] if leave_unposted else [*records.unsettled(connection, before_ms), *unposted(connection)]
    if waiting:
        station_id, session_id = waiting[0]
        raise RefusedError(
            f"complete sessions are not in the books: {len(waiting)}, such as {session_id} of {station_id}",
            reason="unposted",
            hint="`v2g csms unbooked` says why; leave_unposted=true closes without them",
        )
    count, digest = _digest(connection, period)
    made = ClosedPeriod(period, now_ms, count, digest, None)
    made = made._replace(seal=_sealed(connection, made, key))
    connection.execute(insert(periods).values(**made._asdict()))
    return made


def _sealed(connection: Connection, closed: ClosedPeriod, key: SigningKey) -> str:
    """Return the operator's signature of a closed period, as JSON."""
    statement = PeriodClosed(
        period=closed.period,
        closed_ms=closed.closed_ms,
        postings=closed.postings,
        digest=closed.digest,
        previous=_digest_before(connection, closed.period),
    )
    return canonical(seal(statement, key)).decode()


def is_intact(connection: Connection, period: ClosedPeriod) -> bool:
    """Return whether the postings of a closed period and their entries are those that were closed."""
    return _digest(connection, period.period) == (period.postings, period.digest)


def _digest(connection: Connection, period: str) -> tuple[int, str]:
    """Return the number of a period's postings and their digest; without those whose stored entries differ."""
    digest, count = bookkeeping.Digest(_digest_before(connection, period)), 0
    for posting in _postings(connection, period):
        digest.add(posting)
        count += 1
    return count, digest.hex


def _digest_before(connection: Connection, period: str) -> str:
    """Return the digest of the closed period before one, "" if it is the first."""
    before: str | None = connection.execute(
        select(periods.c.digest).where(periods.c.period < period).order_by(periods.c.period.desc()).limit(1)
    ).scalar()
    return before or ""


def _postings(connection: Connection, period: str) -> Iterator[bookkeeping.Posting]:
    last = 0
    while rows := connection.execute(
        select(postings.c.id, postings.c.document)
        .where((postings.c.period == period) & (postings.c.id > last))
        .order_by(postings.c.id)
        .limit(_BATCH)
    ).all():
        stored: dict[int, set[tuple[str, str, int]]] = defaultdict(set)
        columns = (posting_entries.c[name] for name in ("posting_id", "account", "unit", "amount"))
        for number, account, unit, amount in connection.execute(
            select(*columns)
            .join(postings, postings.c.id == posting_entries.c.posting_id)
            .where((postings.c.period == period) & posting_entries.c.posting_id.between(rows[0].id, rows[-1].id))
        ).all():
            stored[number].add((account, unit, amount))
        for row in rows:
            posting = typed_json.decode(row.document, bookkeeping.Posting)
            if stored[row.id] == {(each.account, each.unit, each.amount) for each in posting.entries}:
                yield posting
        last = rows[-1].id


def closed_period(connection: Connection, period: str) -> ClosedPeriod | None:
    """Return a closed period, None if it is open."""
    row = connection.execute(select(periods).where(periods.c.period == period)).first()
    return None if row is None else ClosedPeriod(*row)


def closed_periods(connection: Connection) -> list[ClosedPeriod]:
    """Return all closed periods, in order."""
    return [ClosedPeriod(*row) for row in connection.execute(select(periods).order_by(periods.c.period))]


def open_periods(connection: Connection) -> list[str]:
    """Return the periods with postings that are not closed, in order."""
    rows = connection.execute(
        select(postings.c.period).where(postings.c.period.not_in(select(periods.c.period))).distinct()
    )
    return sorted(row.period for row in rows)


def sums(connection: Connection, period: str | None = None, vehicle: str | None = None) -> Sums:
    """Return the sums over postings, of a period and of a vehicle (EMAID) if given."""
    here: list[ColumnElement[bool]] = []
    if period is not None:
        here.append(postings.c.period == period)
    if vehicle is not None:
        here.append(postings.c.vehicle == vehicle_of(vehicle))
    unknown = ("full_cycles", "v2g_cycles")
    columns = [
        (total if name in unknown else func.coalesce(total, 0)).label(name)
        for name in bookkeeping.Use.__struct_fields__
        for total in (func.sum(postings.c[name]),)
    ]
    row = connection.execute(select(*columns).where(*here)).one()
    ways = connection.execute(
        select(func.count(), func.count(postings.c.reverses)).select_from(postings).where(*here)
    ).one()
    amounts = connection.execute(
        select(posting_entries.c.account, posting_entries.c.unit, func.sum(posting_entries.c.amount))
        .join(postings, postings.c.id == posting_entries.c.posting_id)
        .where(*here)
        .group_by(posting_entries.c.account, posting_entries.c.unit)
        .order_by(posting_entries.c.account, posting_entries.c.unit)
    )
    entries = tuple(
        bookkeeping.Entry(account=account, unit=unit, amount=int(amount)) for account, unit, amount in amounts if amount
    )
    use: Fields = {name: None if value is None else int(value) for name, value in row._mapping.items()}
    return Sums(ways[0] - 2 * ways[1], entries, bookkeeping.Use(**use))


GROUPS: Final[dict[Grouping, tuple[str, ...]]] = {
    "session": ("station_id", "session_id"),
    "vehicle": ("vehicle",),
    "period": ("period",),
}
"""The columns of each grouping."""


def costs(
    connection: Connection,
    by: Grouping,
    after: tuple[str, ...] | None,
    limit: int,
    *,
    period: str | None = None,
    vehicle: str | None = None,
) -> list[Cost]:
    """Return the sums of postings by session, vehicle or period, in order of these, past `after`.

    `period` and `vehicle` select postings: a correction counts in the period in which it was posted. What is owed is
    billed by session: each posting's is rounded, not the sum.
    """
    names = GROUPS[by]
    keys = [postings.c[name] for name in names]
    its = vehicle and vehicle_of(vehicle)
    here = [column == value for column, value in ((postings.c.period, period), (postings.c.vehicle, its)) if value]
    past = [] if after is None else [tuple_(*keys) > tuple_(*after)]
    query = (
        select(
            *keys,
            (func.count() - 2 * func.count(postings.c.reverses)).label("sessions"),
            func.sum(postings.c.import_mwh).label("import_mwh"),
            func.sum(postings.c.export_mwh).label("export_mwh"),
            func.max(postings.c.id).label("newest"),
        )
        .where(*here, *past)
        .group_by(*keys)
        .order_by(*keys)
        .limit(limit)
    )
    found = connection.execute(query).all()
    if not found:
        return []
    last, entry = tuple_(*(getattr(found[-1], name) for name in names)), posting_entries.c
    amounts = connection.execute(
        select(*keys, entry.unit, func.sum(billed(entry.amount, entry.unit)).label("amount"))
        .join(postings, postings.c.id == entry.posting_id)
        .where((entry.account == "driver") & (tuple_(*keys) <= last), *here, *past)
        .group_by(*keys, entry.unit)
        .order_by(entry.unit)
    )
    owed: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for row in amounts:
        owed[tuple(row[: len(names)])][row.unit] = int(row.amount)
    times = _newest(connection, [row.newest for row in found]) if by == "session" else {}
    return [
        Cost(
            **dict(zip(names, row, strict=False)),
            **times.get(row.newest, {}),
            sessions=row.sessions,
            import_mwh=int(row.import_mwh),
            export_mwh=int(row.export_mwh),
            owed=owed[tuple(row[: len(names)])],
        )
        for row in found
    ]


def _newest(connection: Connection, numbers: list[int]) -> dict[int, Fields]:
    """Return vehicle and times of the sessions of some postings, by number."""
    rows = connection.execute(select(postings.c.id, postings.c.document).where(postings.c.id.in_(numbers)))
    found = {row.id: typed_json.decode(row.document, bookkeeping.Posting) for row in rows}
    return {
        number: {"vehicle": each.vehicle, "begin_ms": each.begin_ms, "end_ms": each.end_ms}
        for number, each in found.items()
    }


def of_session(
    connection: Connection, station_id: str | None, session_id: str
) -> list[tuple[int, str, bookkeeping.Posting]]:
    """Return (number, period, posting) of a session, in order; None: at any station."""
    query = select(postings.c.id, postings.c.period, postings.c.document).where(postings.c.session_id == session_id)
    if station_id is not None:
        query = query.where(postings.c.station_id == station_id)
    rows = connection.execute(query.order_by(postings.c.id))
    return [(row.id, row.period, typed_json.decode(row.document, bookkeeping.Posting)) for row in rows]


def unposted(connection: Connection) -> list[tuple[str, str]]:
    """Return (station, session) of settlements that are not in the books: those of older versions."""
    rows = connection.execute(
        select(settlements.c.station_id, settlements.c.session_id)
        .outerjoin(
            postings,
            (settlements.c.station_id == postings.c.station_id) & (settlements.c.session_id == postings.c.session_id),
        )
        .where(postings.c.id.is_(None))
    )
    return [(row.station_id, row.session_id) for row in rows]


class PostingRow(NamedTuple):
    """A posting as stored: with its columns and entries."""

    number: int
    period: str
    booked_ms: int
    vehicle: str
    reverses: int | None
    reversed: int
    use: tuple[int, ...]
    posting: bookkeeping.Posting
    entries: set[tuple[str, str, int]]


class SessionRows(NamedTuple):
    """All that is stored of a session that is in the books, or should be."""

    station_id: str
    session_id: str
    lines: list[bytes]
    receipt: bytes | None
    settlement: str | None
    postings: list[PostingRow]


def booked_sessions(connection: Connection, after: tuple[str, str] | None, limit: int) -> list[dict[str, object]]:
    """Return station and session of what has a settlement or a posting, in order, past `after`."""
    both = union(*(select(each.c.station_id, each.c.session_id) for each in (settlements, postings))).subquery()
    query = select(both).order_by(both.c.station_id, both.c.session_id).limit(limit)
    if after is not None:
        query = query.where(tuple_(both.c.station_id, both.c.session_id) > tuple_(*after))
    return [dict(row._mapping) for row in connection.execute(query)]


def sessions_of(connection: Connection, period: str, most: int) -> list[tuple[str, str]] | None:
    """Return (station, session) of what has postings in a period, or none at all though it is settled.

    None: their journals, each as often as it was posted, have more lines than `most`.
    """
    lines = (
        select(journal_lines.c.sequence)
        .join(
            postings,
            (journal_lines.c.station_id == postings.c.station_id)
            & (journal_lines.c.session_id == postings.c.session_id),
        )
        .where(postings.c.period == period)
        .limit(most + 1)
    )
    if connection.execute(select(func.count()).select_from(lines.subquery())).scalar_one() > most:
        return None
    its = select(postings.c.station_id, postings.c.session_id).where(postings.c.period == period).distinct()
    return [*((row.station_id, row.session_id) for row in connection.execute(its)), *unposted(connection)]


def session_rows(connection: Connection, station_id: str, session_id: str) -> SessionRows:
    """Return what is stored of a session."""
    key = (settlements.c.station_id == station_id) & (settlements.c.session_id == session_id)
    mine = (postings.c.station_id == station_id) & (postings.c.session_id == session_id)
    found = []
    for row in connection.execute(select(postings).where(mine).order_by(postings.c.id)).all():
        entries = connection.execute(
            select(posting_entries.c.account, posting_entries.c.unit, posting_entries.c.amount).where(
                posting_entries.c.posting_id == row.id
            )
        )
        found.append(
            PostingRow(
                row.id,
                row.period,
                row.booked_ms,
                row.vehicle,
                row.reverses,
                row.reversed,
                tuple(getattr(row, name) for name in bookkeeping.Use.__struct_fields__),
                typed_json.decode(row.document, bookkeeping.Posting),
                {(account, unit, amount) for account, unit, amount in entries},
            )
        )
    return SessionRows(
        station_id,
        session_id,
        records.journal_lines(connection, station_id, session_id),
        records.journal_receipt(connection, station_id, session_id),
        connection.execute(select(settlements.c.document).where(key)).scalar(),
        found,
    )


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_LOCK_POSTGRESQL)
