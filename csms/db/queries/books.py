"""Books over sessions: postings are added, reversed and summed, never changed; periods close."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import tzinfo
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from csms.db.queries import records
from csms.db.tables import periods, posting_entries, postings, settlements
from v2g import typed_json
from v2g.energy.settlement.bookkeeping import (
    Account,
    Digest,
    Entry,
    Posting,
    Use,
    is_balanced,
    next_period,
    period_of,
    reversal_of,
)
from v2g.energy.settlement.canonical import canonical
from v2g.errors import RefusedError, StoreError

_LOCK_POSTGRESQL = "SELECT pg_advisory_xact_lock(4919003)"
"""Nodes book and close one after the other."""

_BATCH = 1000


class ClosedPeriod(NamedTuple):
    """A closed period: its number of postings, and its digest."""

    period: str
    closed_ms: int
    postings: int
    digest: str


class Sums(NamedTuple):
    """Sums over postings: sessions, amounts by account and unit, use of batteries."""

    sessions: int
    entries: tuple[Entry, ...]
    use: Use


def save_settled(connection: Connection, posting: Posting, document: bytes, now_ms: int, zone: tzinfo) -> bool:
    """Store a settlement and post it; return False when this one is stored already."""
    fresh = records.save_settlement(
        connection, posting.station_id, posting.session_id, posting.journal_head, document, now_ms
    )
    book(connection, posting, now_ms, zone)
    return fresh


def book(connection: Connection, posting: Posting, now_ms: int, zone: tzinfo) -> list[int]:
    """Post a settlement, after the reversal of an earlier one of the same session; return the new postings' numbers.

    The same settlement again changes nothing. A posting belongs to the period in which its session ended, or, if that
    is closed, to the first one that is not.
    """
    if not is_balanced(posting.entries):
        raise StoreError(f"the posting of session {posting.session_id} does not sum to zero")
    _lock(connection)
    standing = connection.execute(
        select(postings.c.id, postings.c.document).where(
            (postings.c.station_id == posting.station_id)
            & (postings.c.session_id == posting.session_id)
            & (postings.c.reversed == 0)
            & postings.c.reverses.is_(None)
        )
    ).first()
    period = period_of(posting.end_ms, zone)
    last = connection.execute(select(func.max(periods.c.period))).scalar()
    if last is not None and period <= last:
        period = next_period(last)
    numbers = []
    if standing is not None:
        before = typed_json.decode(standing.document, Posting)
        if before == posting:
            return []
        connection.execute(update(postings).where(postings.c.id == standing.id).values(reversed=1))
        numbers.append(_add(connection, reversal_of(before), period, now_ms, reverses=standing.id))
    return [*numbers, _add(connection, posting, period, now_ms)]


def _add(connection: Connection, posting: Posting, period: str, now_ms: int, *, reverses: int | None = None) -> int:
    use = posting.use
    result = connection.execute(
        insert(postings).values(
            period=period,
            booked_ms=now_ms,
            station_id=posting.station_id,
            session_id=posting.session_id,
            vehicle=posting.vehicle,
            reverses=reverses,
            reversed=0,
            document=canonical(posting).decode(),
            **{name: getattr(use, name) for name in Use.__struct_fields__},
        )
    )
    (number,) = result.inserted_primary_key or (0,)
    rows = [
        {"posting_id": number, "account": each.account, "unit": each.unit, "amount": each.amount}
        for each in posting.entries
    ]
    if rows:
        connection.execute(insert(posting_entries), rows)
    return int(number)


def close(connection: Connection, period: str, now_ms: int, zone: tzinfo) -> ClosedPeriod:
    """Close a period, for ever; a closed one is returned as it is.

    Raises RefusedError if it is not over (`not_over`), an earlier one with postings is open (`earlier_is_open`), or a
    later one is closed (`later_is_closed`).
    """
    _lock(connection)
    found = closed_period(connection, period)
    if found is not None:
        return found
    if period >= period_of(now_ms, zone):
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
    count, digest = _digest(connection, period)
    row = {"period": period, "closed_ms": now_ms, "postings": count, "digest": digest}
    connection.execute(insert(periods).values(**row))
    return ClosedPeriod(period, now_ms, count, digest)


def is_intact(connection: Connection, period: ClosedPeriod) -> bool:
    """Return whether the postings of a closed period and their entries are those that were closed."""
    return _digest(connection, period.period) == (period.postings, period.digest)


def _digest(connection: Connection, period: str) -> tuple[int, str]:
    """Return the number of a period's postings and their digest; without those whose stored entries differ."""
    before = connection.execute(
        select(periods.c.digest).where(periods.c.period < period).order_by(periods.c.period.desc()).limit(1)
    ).scalar()
    digest, count = Digest(before or ""), 0
    for posting in _postings(connection, period):
        digest.add(posting)
        count += 1
    return count, digest.hex


def _postings(connection: Connection, period: str) -> Iterator[Posting]:
    last = 0
    while rows := connection.execute(
        select(postings.c.id, postings.c.document)
        .where((postings.c.period == period) & (postings.c.id > last))
        .order_by(postings.c.id)
        .limit(_BATCH)
    ).all():
        stored: dict[int, set[tuple[str, str, int]]] = defaultdict(set)
        for each in connection.execute(
            select(posting_entries)
            .join(postings, postings.c.id == posting_entries.c.posting_id)
            .where((postings.c.period == period) & posting_entries.c.posting_id.between(rows[0].id, rows[-1].id))
        ):
            stored[each.posting_id].add((each.account, each.unit, each.amount))
        for row in rows:
            posting = typed_json.decode(row.document, Posting)
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
        here.append(postings.c.vehicle == vehicle)
    columns = [func.coalesce(func.sum(postings.c[name]), 0).label(name) for name in Use.__struct_fields__]
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
    entries = tuple(_entry(*each) for each in amounts if each[2])
    return Sums(ways[0] - 2 * ways[1], entries, Use(**{name: int(value) for name, value in row._mapping.items()}))


def _entry(account: Account, unit: str, amount: Any) -> Entry:
    return Entry(account=account, unit=unit, amount=int(amount))


def of_session(connection: Connection, station_id: str | None, session_id: str) -> list[tuple[int, str, Posting]]:
    """Return (number, period, posting) of a session, in order; None: at any station."""
    query = select(postings.c.id, postings.c.period, postings.c.document).where(postings.c.session_id == session_id)
    if station_id is not None:
        query = query.where(postings.c.station_id == station_id)
    rows = connection.execute(query.order_by(postings.c.id))
    return [(row.id, row.period, typed_json.decode(row.document, Posting)) for row in rows]


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


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_LOCK_POSTGRESQL)
