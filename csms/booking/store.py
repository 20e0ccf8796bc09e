"""What is decided about complete journals: `waiting` for evidence, `booked`, in quarantine, and what operators decided.

Only `booked` and `released` ones have a settlement and a posting.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Literal

import msgspec
import sqlalchemy as sa

from csms.booking import held, ledger
from csms.booking.facts import Contradiction, Fact, held_by, placed
from csms.booking.rules import Certificates, Evidence, Finding, Reading, SeenTransaction
from csms.books import store as books
from csms.db.base import AnyColumn, AnySelect, page
from csms.db.bulk import delete_rows
from csms.db.leases import lock
from csms.device_model.store import device_variables
from csms.grid.tables import grid_signals
from csms.prequalifications import store as prequalifications
from csms.settlements import store as records
from csms.settlements.tables import journal_certificates, journal_lines, journal_reviews, journals
from csms.station_security import store as chargers
from csms.stations.tables import connectors
from csms.tariffs import store as price_deliveries
from csms.tokens.rules import CONTRACT, normalise
from csms.transactions import events
from csms.transactions import store as transactions
from csms.transactions.rules import Transaction, missing, readings, watt_hours
from csms.transactions.tables import held_transactions, transaction_events, transaction_totals
from csms.transactions.tables import transactions as transactions_
from v2g import typed_json
from v2g.energy.settlement.bookkeeping import Posting, period_of
from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.records import SessionStarted
from v2g.errors import RefusedError

Kind = Literal["journal", "transaction"]
State = Literal["waiting", "booked", "quarantined", "released", "rejected"]

_CHARGERS = "chargers"
"""What is locked where it is decided whose a charger is."""

_LONGEST_MS = 40 * 86_400_000
"""No transaction is looked for that began longer before a session."""


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """A complete journal: its transaction, times, and what is decided. `reason` and `detail` are empty once booked.

    Or, by `kind`, a held transaction: its id is the session's then.
    `waiting` ones go into quarantine at `due_ms` (UTC); `decided_by` released or rejected it, with a `note`.
    """

    station_id: str
    session_id: str
    state: State
    transaction_id: str
    begin_ms: int
    end_ms: int
    reason: str
    detail: str
    since_ms: int
    due_ms: int
    kind: Kind = "journal"
    decided_ms: int | None = None
    decided_by: str = ""
    note: str = ""


def _shown(kind: Kind, columns: Mapping[str, AnyColumn]) -> AnySelect:
    """Return the query of one kind of reviews, with the columns of `Review`."""
    names = (name for name in Review.__struct_fields__ if name != "kind")
    return sa.select(*(columns[name].label(name) for name in names), sa.literal(kind).label("kind"))


_held = held_transactions.c
_KINDS = (
    _shown("journal", dict(journal_reviews.c)),
    _shown("transaction", {**dict(_held), "session_id": _held.transaction_id, "due_ms": _held.since_ms}),
)


def find(connection: sa.Connection, session_id: str, station_id: str | None = None) -> list[Review]:
    """Return what is decided about a session, else about a held transaction, for each station that uses that id.

    `station_id`: only for this one.
    """
    found: dict[str, Review] = {}
    for review in _KINDS:
        its = review.selected_columns
        query = review.where(its.session_id == session_id)
        for row in connection.execute(query if station_id is None else query.where(its.station_id == station_id)):
            found.setdefault(row.station_id, Review(**row._mapping))
    return list(found.values())


def of_transaction(connection: sa.Connection, station_id: str, transaction_id: str) -> list[Review]:
    """Return what is decided about the sessions of a transaction, in order of time."""
    here = (journal_reviews.c.station_id == station_id) & (journal_reviews.c.transaction_id == transaction_id)
    rows = connection.execute(sa.select(journal_reviews).where(here).order_by(journal_reviews.c.begin_ms))
    return [Review(**row._mapping) for row in rows]


def journals_of(
    connection: sa.Connection, station_id: str, transaction_id: str, now_ms: int, *, margin_ms: int
) -> dict[str, list[bytes]]:
    """Return the lines of the journals of a transaction, by session id.

    Complete ones are those that were compared with it. One that still arrives is taken for its own if it began at the
    transaction's EVSE while that went on, give or take `margin_ms`; of a station with several EVSEs only if it has
    reported that EVSE's name, as a neighbour's may run at the same time.
    """
    found = transactions.get(connection, station_id, transaction_id)
    if found is None:
        return {}
    name = _evse_id(connection, station_id, found.evse_id)
    from_ms, to_ms = (found.started_ms or 0) - margin_ms, (found.ended_ms or now_ms) + margin_ms
    review, journal, first = journal_reviews.c, journals.c, journal_lines.c
    rows = connection.execute(
        sa.select(journal.session_id, review.transaction_id, first.line)
        .join(
            journal_lines,
            (first.station_id == journal.station_id) & (first.session_id == journal.session_id) & (first.sequence == 0),
        )
        .outerjoin(
            journal_reviews, (review.station_id == journal.station_id) & (review.session_id == journal.session_id)
        )
        .where(
            (journal.station_id == station_id)
            & (journal.updated_ms >= from_ms)
            & (review.transaction_id.is_(None) | (review.transaction_id == transaction_id))
        )
    )
    alone = not name and (found.evse_id or 1) == 1 and _has_one_evse(connection, station_id)
    its = []
    for row in rows:
        began = typed_json.decode(row.line, Entry)
        here = isinstance(began.data, SessionStarted) and (alone or "" != name == began.data.evse_id)
        if row.transaction_id is not None or (here and from_ms <= began.utc_ms <= to_ms):
            its.append(row.session_id)
    return {each: records.journal_lines(connection, station_id, each) for each in its}


def get(connection: sa.Connection, station_id: str, session_id: str) -> Review | None:
    """Return what is decided about a session, None for one that is not complete."""
    row = connection.execute(sa.select(journal_reviews).where(_is(station_id, session_id))).first()
    return None if row is None else Review(**row._mapping)


def list_page(
    connection: sa.Connection, after: tuple[str, str, str] | None, limit: int, *, states: Collection[State]
) -> list[dict[str, object]]:
    """Return reviews in some states by station, session and kind: at most `limit` of those past `after`."""
    both = sa.union_all(*_KINDS).subquery()
    key = both.c.station_id, both.c.session_id, both.c.kind
    query = page(sa.select(both).where(both.c.state.in_(states)), key, after, limit, rising=True)
    return [dict(row._mapping) for row in connection.execute(query)]


def counts(connection: sa.Connection) -> dict[str, int]:
    """Return how many journals wait and are in quarantine, and how many transactions are held."""
    state = journal_reviews.c.state
    rows = connection.execute(
        sa.select(state, sa.func.count()).where(state.in_(("waiting", "quarantined"))).group_by(state)
    )
    found = {"waiting": 0, "quarantined": 0} | {row[0]: row[1] for row in rows}
    return found | {"held": held.count(connection)}


def count_held(
    connection: sa.Connection, period: str | None = None, zone: tzinfo = UTC, emaid: str | None = None
) -> int:
    """Return how many journals and transactions that ended in a period, or are of a contract, are not decided."""
    both, total = sa.union_all(*_KINDS).subquery(), transaction_totals.c
    query = sa.select(both.c.end_ms).where(both.c.state.in_(("waiting", "quarantined")))
    if emaid is not None:
        of_it = (total.station_id == both.c.station_id) & (total.transaction_id == both.c.transaction_id)
        query = query.join(transaction_totals, of_it)
        query = query.where(total.token == f"{CONTRACT}/{normalise(CONTRACT, emaid)}")
    return sum(period in (None, period_of(end_ms, zone)) for end_ms in connection.execute(query).scalars())


def waiting(connection: sa.Connection, station_id: str | None = None) -> list[tuple[str, str]]:
    """Return (station, session) of the journals that wait, of one station or of all."""
    query = sa.select(journal_reviews.c.station_id, journal_reviews.c.session_id).where(
        journal_reviews.c.state == "waiting"
    )
    if station_id is not None:
        query = query.where(journal_reviews.c.station_id == station_id)
    return [(row.station_id, row.session_id) for row in connection.execute(query)]


def put(connection: sa.Connection, review: Review) -> bool:
    """Store that a journal waits or is in quarantine; False if that is known, or it is booked or decided."""
    known = get(connection, review.station_id, review.session_id)
    if known is not None and (known.state != "waiting" or (known.reason, review.state) == (review.reason, "waiting")):
        return False
    _put(connection, review)
    return True


def book(
    connection: sa.Connection,
    review: Review,
    posting: Posting,
    document: bytes,
    facts: Sequence[Fact],
    now_ms: int,
    zone: tzinfo,
    *,
    signed: bool = False,
    proven: bool = False,
) -> Literal["fresh", "known", "decided"] | Finding:
    """Store a settlement, post it, land its facts, and note its review as booked or released.

    A charger that has `signed` a session that is booked is its station's from then on, and so is one on which an
    operator has decided by releasing. `proven`: its vehicle has signed for it. A finding says what contradicts it since
    it was judged; `decided`: an operator has decided. Then it is not booked.
    """
    lock(connection, (review.station_id, _CHARGERS))
    known = get(connection, review.station_id, review.session_id)
    if known is not None and known.state in ("quarantined", "released", "rejected") and review.state == "booked":
        return "known" if known.state == "released" else "decided"
    # a journal's facts at the EVSE of its transaction
    found = transactions.get(connection, review.station_id, review.transaction_id)
    evse_id = 0 if found is None else found.evse_id or 0
    key = review.station_id, "journal", review.session_id
    state: ledger.State = "released" if review.state != "booked" else "proven" if proven else "booked"
    facts = placed(facts, review.station_id, review.session_id, review.transaction_id, evse_id)
    facts = [msgspec.structs.replace(each, state=state) for each in facts]
    if review.state == "booked" and (against := _contradiction(connection, found, facts, now_ms)) is not None:
        ledger.put(connection, facts, held_by(against), now_ms, against)
        if proven:
            ledger.mark(connection, against.other, key)
        events.save(connection, held.doubted(connection, key), now_ms)
        return Finding(against.reason, against.detail)
    signers = _certificates(connection, review.station_id, review.session_id)
    if signers is not None and (signed or review.reason == "charger"):
        charger = chargers.known(connection, review.station_id, signers.charger)
        if review.state == "booked" and charger is not None and charger.fault(review.station_id):
            return Finding("charger", "a session that was booked meanwhile shows another charger")
        chargers.take(connection, review.station_id, signers.charger, now_ms)
    _put(connection, review)
    ledger.put(connection, facts, state, now_ms)
    if proven:
        events.save(connection, held.doubted(connection, key), now_ms)
    fresh = books.save_settled(connection, posting, document, now_ms, zone)
    return "fresh" if fresh else "known"


def reject(connection: sa.Connection, station_id: str, session_id: str, by: str, note: str, now_ms: int) -> None:
    """Note that an operator rejects a journal. Raises RefusedError (`not_quarantined`) unless it is in quarantine."""
    require_quarantined(get(connection, station_id, session_id), session_id)
    connection.execute(
        sa.update(journal_reviews)
        .where(_is(station_id, session_id))
        .values(state="rejected", decided_ms=now_ms, decided_by=by, note=note)
    )
    ledger.decide(connection, station_id, "journal", session_id, "withdrawn")


def require_quarantined(known: Review | None, session_id: str) -> Review:
    """Return a review that is in quarantine. Raises RefusedError (`not_quarantined`) for any other."""
    if known is None or known.state != "quarantined":
        state = "not complete" if known is None else known.state
        raise RefusedError(f"session {session_id} is {state}, not in quarantine", reason="not_quarantined")
    return known


def _contradiction(
    connection: sa.Connection, transaction: Transaction | None, facts: Sequence[Fact], now_ms: int
) -> Contradiction | None:
    """Return what contradicts a journal, or its transaction: that is judged again if its vehicle has signed."""
    if (found := ledger.find_contradiction(connection, facts)) is not None:
        return found
    key = facts[0].station_id, "transaction", facts[0].transaction_id
    other = ledger.contradicted(connection, [key]).get(key)
    if other is not None and transaction is not None and facts[0].state == "proven":
        ledger.put(connection, facts, "proven", now_ms)
        events.save(connection, [transaction], now_ms)
        other = ledger.contradicted(connection, [key]).get(key)
        if other is None:
            price_deliveries.release_cost(connection, key[0], key[2], now_ms)
    if other is None:
        return None
    return Contradiction("repeated", f"transaction {key[2]} contradicts another one", other)


def _put(connection: sa.Connection, review: Review) -> None:
    before = get(connection, review.station_id, review.session_id)
    delete_rows(connection, journal_reviews, station_id=review.station_id, session_id=review.session_id)
    values = msgspec.structs.asdict(review)
    del values["kind"]
    connection.execute(sa.insert(journal_reviews).values(**values))
    its = {each.transaction_id for each in (before, review) if each is not None}
    books.move(connection, review.station_id, review.session_id, its)


def _is(station_id: str, session_id: str) -> sa.ColumnElement[bool]:
    return (journal_reviews.c.station_id == station_id) & (journal_reviews.c.session_id == session_id)


# -- evidence


def save_certificates(connection: sa.Connection, station_id: str, session_id: str, held: Certificates) -> None:
    """Store the certificates of a session's signers, replacing others, unless it is decided about the session."""
    known = get(connection, station_id, session_id)
    if known is not None and known.state != "waiting":
        return
    delete_rows(connection, journal_certificates, station_id=station_id, session_id=session_id)
    connection.execute(
        sa.insert(journal_certificates).values(
            station_id=station_id,
            session_id=session_id,
            charger=held.charger,
            contract=held.contract,
            emaid=held.emaid,
            charger_fault=held.charger_fault,
        )
    )


def evidence(
    connection: sa.Connection,
    station_id: str,
    session_id: str,
    span: tuple[int, int],
    tariffs: Collection[str],
    *,
    margin_ms: int,
) -> Evidence:
    """Return what this back end knows about a session that lasted for `span` (UTC ms) and used some `tariffs`.

    These are hashes; transactions count that began or ended up to `margin_ms` from the session.
    """
    found = _transactions(connection, station_id, span, margin_ms)
    held = _certificates(connection, station_id, session_id)
    its = journal_reviews.c
    rows = connection.execute(
        sa.select(its.transaction_id, its.begin_ms, its.end_ms).where(
            (its.station_id == station_id)
            & its.transaction_id.in_([each.transaction_id for each, _ in found])
            & (its.session_id != session_id)
            & its.state.in_(("booked", "released"))
        )
    )
    booked: dict[str, tuple[tuple[int, int], ...]] = {}
    for row in rows:
        booked[row.transaction_id] = (*booked.get(row.transaction_id, ()), (row.begin_ms, row.end_ms))
    return Evidence(
        station_id=station_id,
        transactions=tuple(_seen(connection, each, answer, span[1]) for each, answer in found),
        deliveries=price_deliveries.deliveries(connection, station_id, tariffs),
        most_export_w=_most_export_w(connection, tariffs, span[1] + margin_ms),
        prequalifications=tuple(prequalifications.records(connection, station_id)),
        certificates=held,
        charger=None if held is None else chargers.known(connection, station_id, held.charger),
        booked=booked,
    )


def _certificates(connection: sa.Connection, station_id: str, session_id: str) -> Certificates | None:
    where = (journal_certificates.c.station_id == station_id) & (journal_certificates.c.session_id == session_id)
    held = connection.execute(sa.select(journal_certificates).where(where)).first()
    return None if held is None else Certificates(held.charger, held.contract, held.emaid, held.charger_fault)


def _transactions(
    connection: sa.Connection, station_id: str, span: tuple[int, int], margin_ms: int
) -> list[tuple[Transaction, str]]:
    begin_ms, end_ms = span
    there = transactions_.c
    rows = connection.execute(
        sa.select(there.document, there.answer)
        .where(
            (there.station_id == station_id)
            & there.started_ms.between(begin_ms - _LONGEST_MS, end_ms + margin_ms)
            & (there.ended_ms.is_(None) | (there.ended_ms >= begin_ms - margin_ms))
        )
        .order_by(there.started_ms.desc())
    )
    found = [(typed_json.decode(row.document, Transaction), row.answer) for row in rows]
    return [each for each in found if each[0].closed_ms is None or each[0].closed_ms >= begin_ms - margin_ms]


def _seen(connection: sa.Connection, found: Transaction, answer: str, end_ms: int) -> SeenTransaction:
    key = found.station_id, found.transaction_id
    there = transaction_events.c
    numbers = connection.execute(
        sa.select(there.seq_no).where((there.station_id == key[0]) & (there.transaction_id == key[1]))
    ).scalars()
    over = found.closed_ms is not None or (found.ended_seq is not None and not missing(found, numbers))
    events = held.events_of(connection, *key)
    imports, exports = readings(sample for each in events for sample in each.samples)
    registers: dict[int, list[int | None]] = {}
    for way, register in enumerate((imports, exports)):
        for each in register:
            registers.setdefault(each.at_ms, [None, None])[way] = round(watt_hours(each) * 1000)
    place = found.station_id, found.evse_id
    judged = held.judged(connection, found, end_ms).usage
    return SeenTransaction(
        transaction_id=found.transaction_id,
        started_ms=judged.start_ms,
        ended_ms=None if found.ended_ms is None else judged.end_ms,
        over=over,
        evse=found.evse_id,
        evse_id=_evse_id(connection, found.station_id, found.evse_id),
        id_token="" if found.id_token is None else found.id_token.value,
        token_type="" if found.token_type is None else found.token_type.value,
        answer=answer,
        readings=tuple(Reading(at_ms, *found) for at_ms, found in sorted(registers.items())),
        rating=held.ratings(connection, [place])[place],
        permitted=held.permitted_power(connection, found, (judged.start_ms, end_ms), events),
    )


def _evse_id(connection: sa.Connection, station_id: str, evse_id: int | None) -> str:
    """Return the name of an EVSE as its station reported it (EvseId), empty if unknown."""
    there = device_variables.c
    value: str | None = connection.execute(
        sa.select(there.value).where(
            (there.station_id == station_id)
            & (there.component == "EVSE")
            & (there.evse_id == (evse_id or 0))
            & (there.variable == "EvseId")
            & (there.attribute == "Actual")
        )
    ).scalar()
    return value or ""


def _has_one_evse(connection: sa.Connection, station_id: str) -> bool:
    query = sa.select(sa.func.count(connectors.c.evse_id.distinct())).where(connectors.c.station_id == station_id)
    return (connection.execute(query).scalar() or 0) <= 1


def _most_export_w(connection: sa.Connection, tariffs: Collection[str], until_ms: int) -> int | None:
    """Return the highest limit of the signals from the oldest with one of these tariffs on; None without one."""
    there = grid_signals.c
    first = sa.select(sa.func.min(there.version)).where(there.tariff.in_(tariffs)).scalar_subquery()
    found: int | None = connection.execute(
        sa.select(sa.func.max(there.export_limit_w)).where((there.version >= first) & (there.received_ms <= until_ms))
    ).scalar()
    return found
