"""Journal copies and settlements."""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, Table, bindparam, func, insert, select, update

from csms.db.base import AnySelect, newest
from csms.db.bulk import insert_absent
from csms.settlements.rules import Decision
from csms.settlements.tables import journal_lines as journal_lines_
from csms.settlements.tables import journal_reviews, journals, offer_decisions, settlements
from v2g.typed_json import Fields

_APPEND: Final = update(journals).where(  # made once: a station has a line each second
    journals.c.station_id == bindparam("of_station"),
    journals.c.session_id == bindparam("of_session"),
    journals.c.lines == bindparam("before"),
)


class JournalRow(msgspec.Struct, frozen=True, kw_only=True):
    """State of a journal copy: number of `lines`, the `head` hash, whether the session has `ended`."""

    station_id: str
    session_id: str
    lines: int
    head: str
    ended: bool


def append_journal(
    connection: Connection,
    row: JournalRow,
    before: int,
    added: Sequence[bytes],
    now_ms: int,
    receipt: bytes | None = None,
    decisions: Sequence[Decision] = (),
) -> bool:
    """Append lines to a copy that has `before` of them, resulting in `row`; False when it has another number.

    `receipt`: the operator's of the whole journal, when these lines complete it; `decisions`: those in these lines.

    When nodes append at the same time, only the first succeeds.
    """
    place = {"station_id": row.station_id, "session_id": row.session_id}
    if before == 0:
        empty = {"lines": 0, "head": "", "ended": False, "updated_ms": now_ms}
        insert_absent(connection, journals, {**place, **empty})
    here = {"of_station": row.station_id, "of_session": row.session_id, "before": before}
    columns: dict[str, object] = {"lines": row.lines, "head": row.head, "ended": row.ended, "updated_ms": now_ms}
    if receipt is not None:
        columns["receipt"] = receipt.decode()
    if connection.execute(_APPEND, here | columns).rowcount == 0:
        return False
    lines = [{**place, "sequence": before + number, "line": line} for number, line in enumerate(added)]
    connection.execute(insert(journal_lines_), lines)
    if decisions:
        connection.execute(insert(offer_decisions), [{**place, **msgspec.structs.asdict(each)} for each in decisions])
    return True


def journal_receipt(connection: Connection, station_id: str, session_id: str) -> bytes | None:
    """Return the operator's receipt of a complete journal (JSON), None without one."""
    key = (journals.c.station_id == station_id) & (journals.c.session_id == session_id)
    found: str | None = connection.execute(select(journals.c.receipt).where(key)).scalar()
    return None if found is None else found.encode()


def journal_lines(connection: Connection, station_id: str, session_id: str) -> list[bytes]:
    """Return the lines of a copy in their order, each with its line feed."""
    there = journal_lines_.c
    query = select(there.line).where((there.station_id == station_id) & (there.session_id == session_id))
    return list(connection.execute(query.order_by(there.sequence)).scalars())


def list_decisions(
    connection: Connection, before: int | None, limit: int, *, accepted: bool | None = None
) -> list[dict[str, object]]:
    """Return decisions about offers, newest first: at most `limit` of those with a lower number than `before`."""
    query = newest(offer_decisions, before, limit, accepted=accepted)
    return [dict(row._mapping) for row in connection.execute(query)]


def count_decisions(connection: Connection, since_ms: int) -> list[dict[str, object]]:
    """Return how many decisions there were since a time, by kind and reason, the most frequent first."""
    there, number = offer_decisions.c, func.count().label("number")
    kinds = there.kind, there.accepted, there.reason
    query = select(*kinds, number).where(there.at_ms >= since_ms).group_by(*kinds).order_by(number.desc(), *kinds)
    return [dict(row._mapping) for row in connection.execute(query)]


def find_journals(connection: Connection, session_id: str, station_id: str | None = None) -> list[Fields]:
    """Return the copies of a session's journal, one per station that uses the id, each with its head and `lines`.

    `station_id`: only of this one.
    """
    rows = connection.execute(_of_session(journals, session_id, station_id)).all()
    return [{**row._mapping, "lines": journal_lines(connection, row.station_id, session_id)} for row in rows]


def count_refusal(connection: Connection, station_id: str, session_id: str, now_ms: int) -> None:
    """Count lines that were rejected for this copy."""
    key = (journals.c.station_id == station_id) & (journals.c.session_id == session_id)
    connection.execute(update(journals).where(key).values(refused=journals.c.refused + 1, updated_ms=now_ms))


def save_settlement(
    connection: Connection, station_id: str, session_id: str, head: str, document: bytes, now_ms: int
) -> bool:
    """Store a settlement; False when the one of this very journal exists already."""
    key = (settlements.c.station_id == station_id) & (settlements.c.session_id == session_id)
    known = connection.execute(select(settlements.c.journal_head).where(key)).scalar()
    if known == head:
        return False
    columns = {"computed_ms": now_ms, "journal_head": head, "document": document.decode()}
    if known is None:
        connection.execute(insert(settlements).values(station_id=station_id, session_id=session_id, **columns))
    else:
        connection.execute(update(settlements).where(key).values(**columns))
    return True


def find_settlements(connection: Connection, session_id: str, station_id: str | None = None) -> list[Fields]:
    """Return the settlements of that session, one per station that uses the id; `station_id`: only of this one."""
    rows = connection.execute(_of_session(settlements, session_id, station_id))
    return [{**row._mapping, "document": msgspec.json.decode(row.document)} for row in rows]


def _of_session(table: Table, session_id: str, station_id: str | None) -> AnySelect:
    query = select(table).where(table.c.session_id == session_id)
    return query if station_id is None else query.where(table.c.station_id == station_id)


def list_settlements(
    connection: Connection, after: tuple[str, str] | None, limit: int, station_id: str | None = None
) -> list[dict[str, object]]:
    """Return settlements by station and session, documents decoded: at most `limit` of those past `after`."""
    key = settlements.c.station_id, settlements.c.session_id
    query = select(settlements).order_by(*key).limit(limit)
    if station_id is not None:
        query = query.where(settlements.c.station_id == station_id)
    if after is not None:
        query = query.where((key[0] > after[0]) | ((key[0] == after[0]) & (key[1] > after[1])))
    return [{**row._mapping, "document": msgspec.json.decode(row.document)} for row in connection.execute(query)]


def unsettled(connection: Connection, before_ms: int | None = None) -> list[tuple[str, str]]:
    """Return (station, session) of complete journal copies whose settlement is missing or outdated.

    Those in quarantine, and rejected ones, are left out: an operator decides, or has decided. So are those of which it
    is known that they ended at `before_ms` (UTC) or later.
    """
    review = journal_reviews.c
    in_time = () if before_ms is None else (review.end_ms.is_(None) | (review.end_ms < before_ms),)
    rows = connection.execute(
        select(journals.c.station_id, journals.c.session_id)
        .outerjoin(
            settlements,
            (settlements.c.station_id == journals.c.station_id)
            & (settlements.c.session_id == journals.c.session_id)
            & (settlements.c.journal_head == journals.c.head),
        )
        .outerjoin(
            journal_reviews, (review.station_id == journals.c.station_id) & (review.session_id == journals.c.session_id)
        )
        .where(journals.c.ended.is_(True) & settlements.c.session_id.is_(None), *in_time)
        .where(review.state.is_(None) | review.state.not_in(("quarantined", "rejected")))
    )
    return [(row.station_id, row.session_id) for row in rows]
