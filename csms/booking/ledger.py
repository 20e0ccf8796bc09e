"""The ledger of facts: every booking lands on it in its own transaction, and what does not fit is held (R195)."""

from collections.abc import Sequence
from functools import cache
from typing import Final

import msgspec
from sqlalchemy import Connection, literal, select, tuple_, update

from csms.booking.facts import STANDING, Contradiction, Fact, Source, contradictions, evse_key, held_by
from csms.booking.facts import State as State
from csms.booking.plausibility import CLOCK_MS
from csms.books.tables import facts as facts_
from csms.db.base import AnyRow
from csms.db.bulk import MARKS, delete_rows, insert_rows
from csms.db.leases import lock
from csms.tokens.rules import CONTRACT, Terms
from csms.tokens.tables import tokens
from v2g import typed_json
from v2g.typed_json import Fields

Key = tuple[str, str, str]
"""Station, source and id of a session."""

_BOOKED: Final = ("booked", "proven", "released")
_BEFORE: Final = 4
"""So many facts that ended before one are compared with it: a journal's and its transaction's, of two sessions."""
_AFTER: Final = 8
"""So many that ended after it began."""
_LAST: Final = f"""
SELECT * FROM facts
WHERE kind = 'evse' AND "key" = {{value}} AND source <> 'journal'
    AND (source_id <> {{value}} OR source <> 'transaction') AND from_ms <= {{value}}
    AND (from_ms <= {{value}} OR source <> 'exchange' AND (
        state IN {STANDING} OR from_ms <= {{value}} AND landed_ms <= {{value}}
    ))
ORDER BY to_ms DESC, from_ms DESC LIMIT {_AFTER}
"""  # noqa: S608 - our own


def find_contradiction(connection: Connection, facts: Sequence[Fact]) -> Contradiction | None:
    """Return what contradicts a session's facts, None if they fit.

    Until the commit no other node lands beside them, as its caller has locked the station.
    """
    if keys := [f"{each.kind} {each.key}" for each in facts if each.kind != "evse"]:
        lock(connection, keys)
    # by kind: the facts that stand and overlap one of these, or are next to it
    statement = _neighbours(len(facts), MARKS[connection.dialect.name])
    values = [value for each in facts for value in (each.kind, each.key, each.from_ms) * 2]
    beside: dict[str, list[Fact]] = {each.kind: [] for each in facts}
    for row in connection.exec_driver_sql(statement, tuple(values)):
        beside[row.kind].append(_fact(row))
    for fact in facts:
        found = list(contradictions(fact, beside[fact.kind]))
        if found and not (fact.kind == "contract" and _may_be_anywhere(connection, fact.key)):
            return min(found, key=lambda each: (each.reason == "fall", held_by(each) == "disputed"))  # which say less
    return None


def put(
    connection: Connection, facts: Sequence[Fact], state: State, now_ms: int, against: Contradiction | None = None
) -> None:
    """Store a session's facts, replacing what it said before, with the one that contradicts them."""
    withdraw(connection, facts[0].station_id, facts[0].source, facts[0].source_id)
    other = None if against is None else against.other
    rows = []
    for each in facts:
        values = msgspec.structs.asdict(each)
        for name in ("imports", "exports"):
            values[f"{name}_from"], values[f"{name}_to"] = values.pop(name) or (None, None)
        values |= {
            "state": state,
            "landed_ms": now_ms,
            "against_station": None if other is None else other.station_id,
            "against_source": None if other is None else other.source,
            "against_id": None if other is None else other.source_id,
        }
        rows.append(values)
    insert_rows(connection, facts_, rows)


def withdraw(connection: Connection, station_id: str, source: Source, source_id: str) -> None:
    """Delete the facts of a session that goes on, or lands anew."""
    delete_rows(connection, facts_, station_id=station_id, source=source, source_id=source_id)


def exchange(connection: Connection, fact: Fact, now_ms: int) -> Contradiction | None:
    """Store the exchange of a meter, unless something contradicts it: return that."""
    lock(connection, [fact.station_id])
    found = find_contradiction(connection, [fact])
    if found is None:
        put(connection, [fact], "booked", now_ms)
    return found


def decide(connection: Connection, station_id: str, source: Source, source_id: str, state: State) -> None:
    """Note a person's decision about a session: its facts stand from now on, or never."""
    there = facts_.c
    its = (there.station_id == station_id) & (there.source == source) & (there.source_id == source_id)
    connection.execute(update(facts_).where(its).values(state=state))
    if state == "withdrawn":  # and marks nothing any more
        by_it = (
            (there.against_station == station_id) & (there.against_source == source) & (there.against_id == source_id)
        )
        connection.execute(update(facts_).where(by_it & there.state.in_(_BOOKED)).values(against_id=None))


def last_at(
    connection: Connection, station_id: str, evse_id: int | None, transaction_id: str, first_ms: int, begin_ms: int
) -> tuple[Fact | None, list[Fact]]:
    """Return the last transaction's fact of an EVSE that stood at `first_ms`, when another one was first heard of.

    Or a meter's exchange, if the other one says that it began (`begin_ms`) after that. Also what was there since, the
    latest first: of those that do not stand only what began before it, or had landed before it, by a clock that was
    set back meanwhile.
    """
    values = evse_key(station_id, evse_id or 0), transaction_id, first_ms, begin_ms, begin_ms + CLOCK_MS, first_ms
    rows = connection.exec_driver_sql(_LAST.format(value=MARKS[connection.dialect.name]), values).all()
    place = next((at for at, row in enumerate(rows) if row.state in STANDING and row.landed_ms <= first_ms), None)
    return (None, []) if place is None else (_fact(rows[place]), [_fact(each) for each in rows[:place]])


def doubt(connection: Connection, key: Key) -> list[tuple[str, str]]:
    """Return station and id of the transactions whose contract or vehicle was at a session's EVSE meanwhile.

    These are to be judged again; beside a session for which no vehicle has signed only those that are booked. A journal
    for which no vehicle has signed stays booked, marked.
    """
    mine, other = facts_.alias(), facts_.alias()
    rows = connection.execute(
        select(other)
        .join(mine, (mine.c.kind == other.c.kind) & (mine.c.key == other.c.key))
        .where(
            (mine.c.station_id == key[0])
            & (mine.c.source == key[1])
            & (mine.c.source_id == key[2])
            & (other.c.kind != "evse")
            & (
                ((mine.c.state == "proven") & other.c.state.in_(("booked", "disputed")))
                | ((mine.c.state == "disputed") & (other.c.state == "booked"))
            )
            & ((other.c.station_id != mine.c.station_id) | (other.c.evse_id != mine.c.evse_id))
            & (other.c.from_ms < mine.c.to_ms - 2 * CLOCK_MS)
            & (other.c.to_ms > mine.c.from_ms + 2 * CLOCK_MS)
        )
    ).all()
    found = [
        each for row in rows if not ((each := _fact(row)).kind == "contract" and _may_be_anywhere(connection, each.key))
    ]
    for each in found:
        mark(connection, each, key)
    return [(each.station_id, each.source_id) for each in found if each.source == "transaction"]


def mark(connection: Connection, booked: Fact, key: Key) -> None:
    """Note for a person that a session contradicts a journal that stays booked."""
    there, marks = facts_.c, zip(("against_station", "against_source", "against_id"), key, strict=True)
    if booked.source == "journal":
        its = (there.station_id == booked.station_id) & (there.source == "journal")
        connection.execute(update(facts_).where(its & (there.source_id == booked.source_id)).values(**dict(marks)))


def booked_contradictions(connection: Connection, after: Key | None, limit: int) -> list[Fact]:
    """Return the EVSEs' facts of booked sessions that contradict others, past `after`: found after they were booked."""
    there = facts_.c
    key = there.station_id, there.source, there.source_id
    booked = (there.kind == "evse") & there.state.in_(_BOOKED)
    query = select(facts_).where(there.against_id.is_not(None) & booked)
    if after is not None:
        query = query.where(tuple_(*key) > tuple_(*map(literal, after)))
    return [_fact(row) for row in connection.execute(query.order_by(*key).limit(limit))]


def contradicted(connection: Connection, keys: Sequence[Key]) -> dict[Key, Fact]:
    """Return the EVSE's fact that contradicts each of these sessions, where one does."""
    mine, other = facts_.alias(), facts_.alias()
    here = tuple_(mine.c.station_id, mine.c.source, mine.c.source_id).in_(keys)
    rows = connection.execute(
        select(other, mine.c.station_id, mine.c.source, mine.c.source_id)
        .join(
            mine,
            (mine.c.against_station == other.c.station_id)
            & (mine.c.against_source == other.c.source)
            & (mine.c.against_id == other.c.source_id),
        )
        .where(here & (mine.c.kind == "evse") & (other.c.kind == "evse"))
    )
    return {(row[-3], row[-2], row[-1]): _fact(row) for row in rows}


@cache
def _neighbours(count: int, value: str) -> str:
    """Return the query for the facts beside `count` others, as text: SQLAlchemy would take longer to build it than the
    database to answer."""
    its = f'SELECT * FROM facts WHERE kind = {value} AND "key" = {value} AND state IN {STANDING}'  # noqa: S608 - our own
    ended = f"{its} AND to_ms <= {value} ORDER BY to_ms DESC, from_ms DESC LIMIT {_BEFORE}"
    rest = f"{its} AND to_ms > {value} ORDER BY to_ms LIMIT {_AFTER}"
    return " UNION ALL ".join(f"SELECT * FROM ({each}) AS found" for each in (ended, rest) * count)  # noqa: S608


def _fact(row: AnyRow) -> Fact:
    spans: Fields = {}
    for name in ("imports", "exports"):
        first, last = getattr(row, f"{name}_from"), getattr(row, f"{name}_to")
        spans[name] = None if first is None else (first, last)
    return Fact(**spans, **{name: getattr(row, name) for name in Fact.__struct_fields__ if name not in spans})


def _may_be_anywhere(connection: Connection, contract: str) -> bool:
    """Return whether the operator allows a contract at several places at once."""
    there = tokens.c
    query = select(there.terms).where((there.token_type == CONTRACT) & (there.id_token == contract))
    terms = connection.execute(query).scalar()
    return terms is not None and typed_json.decode(terms, Terms).several_at_once
