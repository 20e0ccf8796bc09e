"""Numbers of transactions of 1.6, which no other transaction of any station ever has, and what is known of each."""

import hashlib
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Integer, String, UniqueConstraint, func, insert, select, update

from csms.booking.plausibility import CLOCK_MS
from csms.db.base import declare_table
from csms.db.leases import lock
from csms.remote_control.store import remote_starts
from csms.requests.store import UNANSWERED
from csms.reservations.store import reservations
from csms.tokens.rules import CONTRACT, normalise
from csms.tokens.tables import tokens
from csms.transactions import store as transactions
from csms.transactions.tables import transaction_events
from csms.transactions.tables import transactions as transactions_
from v2g import typed_json
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.transactions import ChargingState, TransactionEventRequest
from v2g.ocpp.times import parse_time
from v2g.ocpp.v16.bridge import LONGEST_ID_TAG, Numbered, NumberOf, Remote, RemoteOf, short_id_tag

numbers: Final = declare_table(
    "ocpp16_transactions",
    Column("number", Integer, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("connector_id", Integer, nullable=False),
    Column("start", String(64), nullable=False),  # SHA-256 of what the station said of it
    Column("since_ms", BigInteger, nullable=False),
    UniqueConstraint("station_id", "start"),
    sqlite_autoincrement=True,
)


def number_of(connection: Connection, station_id: str, start: NumberOf, now_ms: int) -> Numbered:
    """Return the number of the transaction of a start: a new one, or the old one of a start that is sent again."""
    lock(connection, (station_id,))
    digest = hashlib.sha256(msgspec.json.encode(start)).hexdigest()
    known = (numbers.c.station_id == station_id) & (numbers.c.start == digest)
    row = connection.execute(select(numbers.c.number).where(known)).first()
    if row is not None:
        found = _numbered(connection, station_id, row.number, start.connector_id)
        if start.timed or found.active:
            return found
        connection.execute(
            update(numbers).where(numbers.c.number == found.number).values(start=f"ended {found.number}")
        )
    values = {"station_id": station_id, "connector_id": start.connector_id, "start": digest, "since_ms": now_ms}
    row = connection.execute(insert(numbers).values(values).returning(numbers.c.number)).one()
    return _numbered(connection, station_id, row.number, start.connector_id)


def find(connection: Connection, station_id: str, number: int) -> Numbered | None:
    """Return a transaction of this station by its number: that of another station is none of its own."""
    own = (numbers.c.station_id == station_id) & (numbers.c.number == number)
    row = connection.execute(select(numbers.c.connector_id).where(own)).first()
    return None if row is None else _numbered(connection, station_id, number, row.connector_id)


def _numbered(connection: Connection, station_id: str, number: int, connector_id: int) -> Numbered:
    found = transactions.get(connection, station_id, str(number))
    if found is None:
        return Numbered(number=number, connector_id=connector_id)
    state: ChargingState | None = found.charging_state.value if found.charging_state else None  # type: ignore[assignment]
    return Numbered(
        number=number,
        connector_id=connector_id,
        next_seq=found.last_seq + 1,
        active=found.ended_seq is None,  # one that was closed here may still end
        charging_state=state or "EVConnected",
        import_wh=round(float(found.import_wh.value)) if found.import_wh else None,
        id_tag=short_id_tag(found.id_token.value) if found.id_token else "",
    )


def ongoing(connection: Connection, station_id: str, at_ms: int) -> tuple[Numbered, ...]:
    """Return the transactions of 1.6 that had begun at a time and have not ended."""
    there = transactions_.c
    begun = (there.station_id == station_id) & there.active & (there.started_ms <= at_ms)
    found = connection.execute(select(there.transaction_id).where(begun).order_by(there.started_ms)).scalars()
    known = (find(connection, station_id, int(each)) for each in found if each.isdecimal())
    return tuple(each for each in known if each is not None)


def is_stored(connection: Connection, station_id: str, event: TransactionEventRequest) -> bool:
    """Return whether a station has sent these values of a transaction before."""
    there = transaction_events.c
    same = (
        (there.station_id == station_id)
        & (there.transaction_id == event.transaction_info.transaction_id)
        & (there.at_ms == parse_time(event.timestamp))
        & (there.trigger == event.trigger_reason)
    )
    documents = connection.execute(select(there.document).where(same)).scalars()
    return any(typed_json.decode(each, TransactionEventRequest).meter_value == event.meter_value for each in documents)


def event_of(connection: Connection, station_id: str, number: int, kind: str) -> TransactionEventRequest | None:
    """Return the event of a kind, Started or Ended, that was stored of a transaction."""
    there = transaction_events.c
    its = (there.station_id == station_id) & (there.transaction_id == str(number)) & (there.kind == kind)
    document = connection.execute(select(there.document).where(its).order_by(there.seq_no).limit(1)).scalar()
    return None if document is None else typed_json.decode(document, TransactionEventRequest)


def type_of(connection: Connection, station_id: str, id_tag: str) -> str:
    """Return the type under which a token is known, or was last to start at a station; 1.6 does not tell types.

    Cards are most frequent.
    """
    wanted = {normalise("", id_tag), normalise(CONTRACT, id_tag)}
    start = remote_starts.c
    here = (start.station_id == station_id) & (func.upper(start.id_token) == normalise("", id_tag))
    for query in (
        select(tokens.c.token_type).where(tokens.c.id_token.in_(wanted)).order_by(tokens.c.token_type),
        select(start.token_type).where(here).order_by(start.remote_start_id.desc()),
    ):
        if found := connection.execute(query.limit(1)).scalar():
            return str(found)
    return "ISO14443"


def token_of(connection: Connection, station_id: str, id_tag: str) -> IdToken | None:
    """Return the token that a station was last given by its `short_id_tag`, to start or in a reservation."""
    for table, order in (
        (remote_starts, remote_starts.c.remote_start_id),
        (reservations, reservations.c.reservation_id),
    ):
        there = table.c
        long = (there.station_id == station_id) & (func.length(there.id_token) > LONGEST_ID_TAG)
        found = select(there.id_token, there.token_type).where(long).order_by(order.desc()).limit(_MOST_LONG)
        for row in connection.execute(found):
            if short_id_tag(row.id_token).casefold() == id_tag.casefold():
                return IdToken(id_token=row.id_token, type=row.token_type)
    return None


def remote_of(connection: Connection, station_id: str, begun: RemoteOf) -> Remote | None:
    """Return the newest remote start which that idTag may begin: its station may have been away since it was asked."""
    start = remote_starts.c
    waits = (
        (start.station_id == station_id)
        & start.started_ms.is_(None)
        & start.answer.in_(("", "Accepted", UNANSWERED))
        & (start.evse_id.is_(None) | (start.evse_id == begun.connector_id))
        & start.requested_ms.between(begun.at_ms - _COMES_MS, begun.at_ms + CLOCK_MS)
    )
    for row in connection.execute(select(remote_starts).where(waits).order_by(start.remote_start_id.desc())):
        if short_id_tag(row.id_token).casefold() == begun.id_tag.casefold():
            return Remote(IdToken(id_token=row.id_token, type=row.token_type), row.remote_start_id, row.evse_id)
    return None


_COMES_MS: Final = 600_000
"""So long after a remote start its driver may plug in; who comes later with the same token came without it."""
_MOST_LONG: Final = 1000
"""So many of the newest are compared: a station that was away starts by one of the last."""
