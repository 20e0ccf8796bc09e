"""Transactions, their events and meter values."""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, func, literal, or_, select, tuple_, update

from csms.booking import held
from csms.booking.plausibility import energy_between
from csms.db.base import AnyRow
from csms.db.bulk import insert_rows, upsert_rows
from csms.db.leases import lock
from csms.smart_charging.rules import Needs
from csms.stations.tables import stations
from csms.tariffs.tables import transaction_costs
from csms.tokens.rules import CONTRACT, normalise
from csms.transactions import events as totals
from csms.transactions.events import read_samples
from csms.transactions.rules import (
    ClosedReason,
    Transaction,
    close,
    complete,
    lost,
    missing,
    net_wh,
    read_transaction,
    tightest,
)
from csms.transactions.signed_values import JudgedSamples
from csms.transactions.tables import (
    booked_transactions,
    meter_keys,
    transaction_events,
    transaction_faults,
    transactions,
)
from v2g import typed_json
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.pki.certificates import is_emaid
from v2g.typed_json import Fields

_FEW: Final = 500
"""So many stations are named in a query; of more, all are read."""


def save_meter_key(connection: Connection, station_id: str, evse_id: int, public_key: str, now_ms: int) -> None:
    """Store the trusted key of a meter (EVSE 0: the whole station), replacing an earlier one."""
    row = {"station_id": station_id, "evse_id": evse_id, "public_key": public_key, "noted_ms": now_ms}
    upsert_rows(connection, meter_keys, [row])


def get(connection: Connection, station_id: str, transaction_id: str) -> Transaction | None:
    """Return a transaction, None if unknown."""
    return _get(connection, station_id, transaction_id)


def open_with_last_message(connection: Connection, station_id: str) -> list[tuple[Transaction, int]]:
    """Return a station's open transactions, each with the time (UTC ms) of its last message."""
    rows = connection.execute(
        select(transactions.c.document, transactions.c.heard_ms).where(
            (transactions.c.station_id == station_id) & transactions.c.active.is_(True)
        )
    )
    return [(read_transaction(row.document), row.heard_ms) for row in rows]


def with_last_message(connection: Connection, station_id: str, transaction_id: str) -> tuple[Transaction, int] | None:
    """Return a transaction and the time (UTC ms) of its last message, None if unknown."""
    row = connection.execute(
        select(transactions.c.document, transactions.c.heard_ms).where(_is(station_id, transaction_id))
    ).first()
    return None if row is None else (read_transaction(row.document), row.heard_ms)


def gaps(connection: Connection, station_id: str, transaction_id: str) -> list[tuple[int, int]]:
    """Return the first and last seqNo of every gap in an ended transaction; nothing for an open one."""
    found = _get(connection, station_id, transaction_id)
    if found is None or found.ended_seq is None:
        return []
    there = transaction_events.c
    numbers = connection.execute(
        select(there.seq_no).where((there.station_id == station_id) & (there.transaction_id == transaction_id))
    )
    return missing(found, numbers.scalars())


def note_lost(connection: Connection, station_id: str, transaction_id: str, now_ms: int) -> bool:
    """Mark the missing events of an ended transaction as lost; False when there are none, or they are marked."""
    there = transaction_faults.c
    known = set(
        connection.execute(
            select(there.seq_no).where(
                (there.station_id == station_id) & (there.transaction_id == transaction_id) & (there.kind == "lost")
            )
        ).scalars()
    )
    new = [each for each in lost(gaps(connection, station_id, transaction_id)) if each.seq_no not in known]
    key = {"station_id": station_id, "transaction_id": transaction_id, "found_ms": now_ms}
    insert_rows(connection, transaction_faults, [key | msgspec.structs.asdict(each) for each in new])
    return bool(new)


def booted_ms(connection: Connection, station_id: str) -> int | None:
    """Return when a station last booted."""
    found: int | None = connection.execute(
        select(stations.c.booted_ms).where(stations.c.station_id == station_id)
    ).scalar()
    return found


def stations_with_open(connection: Connection) -> list[str]:
    """Return the stations that have open transactions."""
    rows = connection.execute(select(transactions.c.station_id).where(transactions.c.active.is_(True)).distinct())
    return [row.station_id for row in rows]


def note_message(connection: Connection, station_id: str, transaction_id: str, now_ms: int) -> None:
    """Store that a station confirmed that a transaction continues."""
    connection.execute(update(transactions).where(_is(station_id, transaction_id)).values(heard_ms=now_ms))


def close_lost(
    connection: Connection, station_id: str, transaction_id: str, now_ms: int, reason: ClosedReason
) -> Transaction | None:
    """Close a transaction without an end event; return it, or None when it is not open."""
    lock(connection, [station_id])
    found = _get(connection, station_id, transaction_id)
    if found is None or not found.active:
        return None
    closed = close(found, now_ms, reason)
    _put(connection, closed, now_ms)
    return closed


def want_limit(
    connection: Connection, station_id: str, transaction_id: str, limit: TransactionLimit, *, add: bool = False
) -> bool:
    """Store an operator's limit, for the answer to the next event; False when no such transaction is open. `add`: to
    what is limited already; False, too, where nothing changes."""
    lock(connection, [station_id])
    found = _get(connection, station_id, transaction_id)
    if found is None or not found.active:
        return False
    known = None if found.wanted_limit is None else typed_json.decode(found.wanted_limit, TransactionLimit)
    new = tightest(limit, known) if add else limit
    if add and new == known:
        return False
    wanted = msgspec.json.encode(new).decode()
    _put(connection, msgspec.structs.replace(found, wanted_limit=wanted, limit_told=False))
    return True


def during(connection: Connection, start_ms: int, end_ms: int) -> list[Transaction]:
    """Return the transactions of all stations that were active at some time in `[start_ms, end_ms)`."""
    there = transactions.c
    query = select(there.document).where(
        (there.started_ms < end_ms) & (there.ended_ms.is_(None) | (there.ended_ms >= start_ms))
    )
    return [read_transaction(document) for document in connection.execute(query).scalars()]


def save_answer(connection: Connection, station_id: str, transaction_id: str, status: str) -> None:
    """Store what was answered about a transaction's token; once it was accepted, that stays."""
    accepted = transactions.c.answer == "Accepted"
    connection.execute(update(transactions).where(_is(station_id, transaction_id) & ~accepted).values(answer=status))


def limit_told(
    connection: Connection, station_id: str, transaction_id: str, wanted: str | None, rest: str | None = None
) -> bool:
    """Store that this limit was sent to the station, but for a `rest`, or that the station ends what has reached it.
    False: that is known, or an operator wants another one meanwhile."""
    lock(connection, [station_id])
    found = _get(connection, station_id, transaction_id)
    if found is None or found.limit_told or found.wanted_limit != wanted:
        return False
    _put(connection, msgspec.structs.replace(found, wanted_limit=rest or wanted, limit_told=rest is None))
    return True


def save_tariff_text(connection: Connection, station_id: str, transaction_id: str, text: str | None) -> None:
    """Store what the answer to the next event of a transaction is to say of its tariff; None: it was said."""
    lock(connection, [station_id])
    found = _get(connection, station_id, transaction_id)
    if found is not None:
        _put(connection, msgspec.structs.replace(found, tariff_text=text))


def active(connection: Connection, station_id: str) -> list[Transaction]:
    """Return a station's transactions that have not ended."""
    rows = connection.execute(
        select(transactions.c.document).where(
            (transactions.c.station_id == station_id) & transactions.c.active.is_(True)
        )
    )
    return [read_transaction(row.document) for row in rows]


def of_token(id_token: str) -> ColumnElement[bool]:
    """Return the condition for transactions that a token has begun, in whatever letters."""
    token = f'"value":{msgspec.json.encode(id_token).decode()}}},"token_type":'  # the field before that one
    return transactions.c.document.icontains(token, autoescape=True)


class TransactionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Filter for transactions; None is any. Times are those of the start, UTC ms, the first inclusive."""

    station_id: str | None = None
    active: bool | None = None
    since_ms: int | None = None
    before_ms: int | None = None
    stations: Collection[str] | None = None
    """Of these."""
    text: str = ""
    """Part of the id, of the station's, or the whole of the token."""
    tokens: bool = False
    """Whether tokens may be looked for."""

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the conditions for a query."""
        found: list[ColumnElement[bool]] = []
        if self.station_id is not None:
            found.append(transactions.c.station_id == self.station_id)
        if self.active is not None:
            found.append(transactions.c.active.is_(self.active))
        if self.since_ms is not None:
            found.append(transactions.c.started_ms >= self.since_ms)
        if self.before_ms is not None:
            found.append(transactions.c.started_ms < self.before_ms)
        if self.stations is not None:
            found.append(transactions.c.station_id.in_(self.stations))
        if self.text:
            column, text = transactions.c, self.text
            some = [each.icontains(text, autoescape=True) for each in (column.station_id, column.transaction_id)]
            if self.tokens:
                some.append(of_token(text))
                if is_emaid(text):  # whose check digit may be there or not
                    emaid = normalise(CONTRACT, text)
                    some += [column.document.ilike(f'%"value":"{emaid}{each}"}},"token_type":%') for each in ("", "_")]
            found.append(or_(*some))
        return found


class Position(NamedTuple):
    """End of a page: start of the last transaction (None: unknown), its station and its id."""

    started_ms: int | None
    station_id: str
    transaction_id: str


def list_page(
    connection: Connection, wanted: TransactionFilter, after: Position | None = None, limit: int = 100
) -> list[dict[str, object]]:
    """Return transactions, newest first, those with unknown start last: at most `limit` of those after `after`."""
    key = transactions.c.station_id, transactions.c.transaction_id
    started = transactions.c.started_ms
    found: list[AnyRow] = []
    if after is None or after.started_ms is not None:
        query = select(transactions.c.document).where(*wanted.conditions(), started.is_not(None))
        if after is not None:
            past = tuple_(*key) > tuple_(literal(after.station_id), literal(after.transaction_id))
            query = query.where((started < after.started_ms) | ((started == after.started_ms) & past))
        found += connection.execute(query.order_by(started.desc(), *key).limit(limit)).all()
    if len(found) < limit:
        query = select(transactions.c.document).where(*wanted.conditions(), started.is_(None))
        if after is not None and after.started_ms is None:
            query = query.where(tuple_(*key) > tuple_(literal(after.station_id), literal(after.transaction_id)))
        found += connection.execute(query.order_by(*key).limit(limit - len(found))).all()
    return _with_costs(connection, [_plain(read_transaction(row.document)) for row in found])


def _with_costs(connection: Connection, documents: list[Fields]) -> list[Fields]:
    """Add each transaction's cost to its document, null without a price, and why it is held, null if it is not. What is
    booked from its journal counts, as in reports; of several currencies the first."""
    wanted = [(each["station_id"], each["transaction_id"]) for each in documents]
    cost, booked = transaction_costs.c, booked_transactions.c
    costs: dict[tuple[str, str], tuple[int, str]] = {}
    for gross, table in ((cost.incl_tax, cost), (booked.gross, booked)):
        query = select(table.station_id, table.transaction_id, gross, table.currency).order_by(table.currency.desc())
        query = query.where(tuple_(table.station_id, table.transaction_id).in_(wanted), gross.is_not(None))
        costs |= {(row[0], row[1]): (row[2], row[3]) for row in connection.execute(query)}
    reasons = held.reasons(connection, wanted)
    for each, key in zip(documents, wanted, strict=True):
        each["cost"], each["currency"] = costs.get(key, (None, None))
        each["held"] = reasons.get(key)
    return documents


def booked(connection: Connection, station_id: str, transaction_id: str) -> AnyRow | None:
    """Return what a transaction whose journal is booked with prices comes to, in the first currency; else None."""
    column = booked_transactions.c
    here = (column.station_id == station_id) & (column.transaction_id == transaction_id) & column.gross.is_not(None)
    return connection.execute(select(booked_transactions).where(here).order_by(column.currency)).first()


def _plain(transaction: Transaction) -> dict[str, object]:
    document: dict[str, object] = msgspec.to_builtins(transaction)
    for key, value in document.items():
        if isinstance(value, dict):  # a Dated: its seqNo is internal
            document[key] = value["value"]
    document["active"] = transaction.active
    return document


def count_active(connection: Connection) -> int:
    """Return how many transactions have not ended, of all stations."""
    active_ones = select(func.count()).select_from(transactions).where(transactions.c.active.is_(True))
    return connection.execute(active_ones).scalar_one()


def count_sharers(connection: Connection, station_id: str) -> int:
    """Return how many of a station's transactions share its power in both directions, at least 1."""
    here = (transactions.c.station_id == station_id) & transactions.c.active.is_(True)
    active_ones: int = connection.execute(select(func.count()).select_from(transactions).where(here)).scalar_one()
    return max(1, active_ones)


def save_needs(connection: Connection, station_id: str, transaction_id: str, needs: Needs) -> Needs:
    """Store the needs that the vehicle of a transaction sent, with the energy that it has taken until now, and return
    them. What its driver has asked for stays, as vehicles send their needs again: priority (K21, K22), wishes."""
    found = _get_with_needs(connection, station_id, transaction_id)
    if found is None:
        return needs
    transaction, before = found
    before = before or needs
    needs = msgspec.structs.replace(
        needs,
        net_wh=net_wh(transaction),
        priority=before.priority,
        wished_departure_ms=before.wished_departure_ms,
        wished_wh=before.wished_wh,
    ).as_wished()
    _put_needs(connection, station_id, transaction_id, needs)
    return needs


def save_priority(connection: Connection, station_id: str, transaction_id: str, priority: int) -> bool:
    """Store the priority of a transaction; False if unknown (K22)."""
    found = _get_with_needs(connection, station_id, transaction_id)
    if found is None:
        return False
    transaction, before = found
    needs = before or Needs(evse_id=transaction.evse_id or 0, requested="")
    _put_needs(connection, station_id, transaction_id, msgspec.structs.replace(needs, priority=priority))
    return True


def save_wishes(
    connection: Connection, station_id: str, transaction_id: str, departure_ms: int | None, energy_wh: int | None
) -> None:
    """Store when the driver of a transaction leaves (UTC ms), and how much energy (Wh) the vehicle takes from now on;
    None: as the vehicle says."""
    found = _get_with_needs(connection, station_id, transaction_id)
    if found is not None:
        transaction, before = found
        needs = msgspec.structs.replace(
            before or Needs(evse_id=transaction.evse_id or 0, requested="AC_three_phase"),
            wished_departure_ms=departure_ms,
            wished_wh=None if energy_wh is None else energy_wh + net_wh(transaction),
        )
        _put_needs(connection, station_id, transaction_id, needs.as_wished())


def _put_needs(connection: Connection, station_id: str, transaction_id: str, needs: Needs) -> None:
    connection.execute(
        update(transactions).where(_is(station_id, transaction_id)).values(needs=msgspec.json.encode(needs).decode())
    )


def with_needs(connection: Connection, station_id: str) -> list[tuple[str, Needs]]:
    """Return (transactionId, needs) of a station's active transactions whose vehicle has sent its needs."""
    rows = _with_needs(connection, {station_id}, transactions.c.transaction_id)
    return [(row.transaction_id, typed_json.decode(row.needs, Needs)) for row in rows]


def all_with_needs(connection: Connection, stations: Collection[str] | None = None) -> list[tuple[str, str, Needs]]:
    """Return (station, transactionId, needs) of the active transactions whose vehicle has sent its needs, by station.

    `stations`: only theirs.
    """
    rows = _with_needs(connection, stations, transactions.c.transaction_id)
    return [(row.station_id, row.transaction_id, typed_json.decode(row.needs, Needs)) for row in rows]


def vehicles(connection: Connection, stations: Collection[str]) -> list[tuple[Transaction, Needs]]:
    """Return the active transactions at some stations whose vehicle has sent its needs, with these, by station."""
    rows = _with_needs(connection, stations, transactions.c.document)
    return [(read_transaction(row.document), typed_json.decode(row.needs, Needs)) for row in rows]


def _with_needs(connection: Connection, stations: Collection[str] | None, column: ColumnElement[str]) -> list[AnyRow]:
    query = (
        select(transactions.c.station_id, transactions.c.needs, column)
        .where(transactions.c.active.is_(True) & transactions.c.needs.is_not(None))
        .order_by(transactions.c.station_id, transactions.c.started_ms)
    )
    if stations is not None and len(stations) <= _FEW:
        query = query.where(transactions.c.station_id.in_(stations))
    return [row for row in connection.execute(query) if stations is None or row.station_id in stations]


def net_energy(
    connection: Connection, names: Iterable[str], from_ms: int, to_ms: int, now_ms: int
) -> dict[str, tuple[int, int]]:
    """Return what vehicles (`fleets.vehicle_id`) took in a time less what they gave, mWh, even between two readings,
    and until when that is known, UTC ms: to the end, or to the last reading of one that is still there.

    A vehicle whose transaction's readings cannot be has none: they change no sum of a fleet.
    """
    energies = {}
    for name in names:
        each = get(connection, *name.split("/", 1))
        if each is not None and (judged := held.counted(connection, each, now_ms)) is not None:
            last_ms = judged.usage.readings[-1].utc_ms if judged.usage.readings else 0
            known_ms = max(from_ms, min(last_ms, to_ms)) if each.active else to_ms
            energies[name] = energy_between(judged.usage, from_ms, to_ms), known_ms
    return energies


def stations_of(connection: Connection, transaction_id: str) -> list[str]:
    """Return the stations that have used an id: numbers from 1 on are the ids of many, each its own."""
    of = transactions.c
    query = select(of.station_id).where(of.transaction_id == transaction_id)
    return list(connection.execute(query.order_by(of.station_id)).scalars())


def find(connection: Connection, station_id: str, transaction_id: str) -> Fields | None:
    """Return a transaction with its events, gaps and meter values, None if unknown."""
    transaction = _get(connection, station_id, transaction_id)
    if transaction is None:
        return None
    events = connection.execute(
        select(transaction_events)
        .where(
            (transaction_events.c.station_id == transaction.station_id)
            & (transaction_events.c.transaction_id == transaction.transaction_id)
        )
        .order_by(transaction_events.c.seq_no)
    ).all()
    numbers = [event.seq_no for event in events]
    (document,) = _with_costs(connection, [_plain(transaction)])
    document["complete"] = complete(transaction, numbers)
    document["missing"] = missing(transaction, numbers)
    shown = ("seq_no", "kind", "trigger", "at_ms", "received_ms", "offline")
    document["faults"] = [
        {"kind": row.kind, "seq_no": row.seq_no, "detail": row.detail}
        for row in connection.execute(
            select(transaction_faults)
            .where(
                (transaction_faults.c.station_id == transaction.station_id)
                & (transaction_faults.c.transaction_id == transaction.transaction_id)
            )
            .order_by(transaction_faults.c.id)
        )
    ]
    document["events"] = [{name: getattr(event, name) for name in shown} for event in events]
    document["meter_values"] = [
        _value(event.seq_no, sample) for event in events for sample in read_samples(event.samples)
    ]
    return document


def _value(seq_no: int, sample: JudgedSamples) -> dict[str, object]:
    value: Fields = {"seq_no": seq_no, **msgspec.structs.asdict(sample)}
    signed, verdict = value.pop("signed"), value.pop("verdict")
    if signed:
        value["signed"] = msgspec.json.decode(signed)
        value["verdict"] = verdict
    return value


def _is(station_id: str, transaction_id: str) -> ColumnElement[bool]:
    return (transactions.c.station_id == station_id) & (transactions.c.transaction_id == transaction_id)


def _get(connection: Connection, station_id: str, transaction_id: str) -> Transaction | None:
    query = select(transactions.c.document).where(_is(station_id, transaction_id))
    document: str | None = connection.execute(query).scalar()
    return None if document is None else read_transaction(document)


def _get_with_needs(
    connection: Connection, station_id: str, transaction_id: str
) -> tuple[Transaction, Needs | None] | None:
    """Return a transaction, and its vehicle's needs if these are known."""
    query = select(transactions.c.document, transactions.c.needs).where(_is(station_id, transaction_id))
    row = connection.execute(query).first()
    if row is None:
        return None
    return read_transaction(row.document), None if row.needs is None else typed_json.decode(row.needs, Needs)


def _put(connection: Connection, transaction: Transaction, heard_ms: int | None = None) -> None:
    """Update a transaction; without `heard_ms` no new message of it arrived."""
    columns: dict[str, object] = {
        "active": transaction.active,
        "started_ms": transaction.started_ms,
        "ended_ms": transaction.ended_ms,
        "document": msgspec.json.encode(transaction).decode(),
    }
    key = (transactions.c.station_id == transaction.station_id) & (
        transactions.c.transaction_id == transaction.transaction_id
    )
    if heard_ms is not None:
        columns["heard_ms"] = heard_ms
    connection.execute(update(transactions).where(key).values(**columns))
    if heard_ms is not None and not transaction.active:
        totals.save(connection, [transaction], heard_ms)
