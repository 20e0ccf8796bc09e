"""Transaction events as they arrive, many at a time: the busiest path to the database."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import Connection, delete, select

from csms.core.signed_values import judge_samples
from csms.core.transaction_checks import Fault, faults_of
from csms.core.transactions import Event, Sample, Transaction, merge
from csms.rows.bulk import insert_rows, upsert_rows
from csms.tables import (
    charging_profiles,
    meter_keys,
    meter_values,
    transaction_events,
    transaction_faults,
    transactions,
)

Outcome = Literal["new", "duplicate", "conflict"]

_decode = msgspec.json.Decoder(Transaction).decode
_encode = msgspec.json.Encoder().encode


class Arrival(msgspec.Struct, frozen=True):
    """An event that has arrived: what it says, the whole message as JSON, and when it came (UTC)."""

    event: Event
    document: bytes
    received_ms: int


_Key = tuple[str, str]

_FIND_SQLITE: Final = """
SELECT t.station_id, t.transaction_id, t.document, e.seq_no, e.digest FROM transactions t
LEFT JOIN transaction_events e
  ON e.station_id = t.station_id AND e.transaction_id = t.transaction_id AND e.seq_no = ?
WHERE t.station_id = ? AND t.transaction_id = ?
"""

_FIND_POSTGRESQL: Final = """
SELECT t.station_id, t.transaction_id, t.document, e.seq_no, e.digest
FROM json_to_recordset(%s::json) AS given (seq_no bigint, station_id text, transaction_id text)
JOIN transactions t ON t.station_id = given.station_id AND t.transaction_id = given.transaction_id
LEFT JOIN transaction_events e
  ON e.station_id = t.station_id AND e.transaction_id = t.transaction_id AND e.seq_no = given.seq_no
"""

# Another node may have events of the same transaction at the same time, when its station has just moved.
_LOCK_POSTGRESQL: Final = """
SELECT pg_advisory_xact_lock(key)
FROM (SELECT DISTINCT hashtextextended(value, 7632) AS key FROM json_array_elements_text(%s::json) ORDER BY 1) AS keys
"""


def add_events(connection: Connection, arrivals: Sequence[Arrival]) -> list[tuple[Outcome, Transaction]]:
    """Store events, each once; return for each what it was and its transaction as it then stands (E01 to E13).

    `conflict` is another content under a number that is taken: the first one stands.
    """
    known, digests = _find(connection, [each.event for each in arrivals])
    results: list[tuple[Outcome, Transaction]] = []
    new: list[Arrival] = []
    changed: dict[_Key, tuple[Transaction, int]] = {}
    faults: list[dict[str, Any]] = []
    for arrival in arrivals:
        event = arrival.event
        key = event.station_id, event.transaction_id
        before = known.get(key)
        digest = digests.get((*key, event.seq_no))
        if before is not None and digest is not None:
            if digest != event.digest:
                fault = Fault("conflict", event.seq_no, f"another content, SHA-256 {event.digest}")
                faults.append(_fault_row(event, fault, arrival.received_ms))
            results.append(("duplicate" if digest == event.digest else "conflict", before))
            continue
        merged = known[key] = merge(before, event)
        digests[*key, event.seq_no] = event.digest
        changed[key] = merged, arrival.received_ms
        faults += [_fault_row(event, fault, arrival.received_ms) for fault in faults_of(before, event)]
        new.append(arrival)
        results.append(("new", merged))
    upsert_rows(connection, transactions, [_transaction_row(*each) for each in changed.values()])
    for each in new:
        if each.event.kind == "Ended":
            _drop_profiles(connection, each.event)
    insert_rows(connection, transaction_events, [_event_row(each) for each in new])
    insert_rows(connection, transaction_faults, faults)
    insert_rows(connection, meter_values, [row for each in new for row in _samples_of(connection, each.event)])
    return results


def _drop_profiles(connection: Connection, event: Event) -> None:
    """Forget the profiles of a transaction that has ended, as its station does."""
    held = charging_profiles.c
    of_it = (held.station_id == event.station_id) & (held.transaction_id == event.transaction_id)
    connection.execute(delete(charging_profiles).where(of_it))


def add_event(connection: Connection, event: Event, document: bytes, received_ms: int) -> tuple[Outcome, Transaction]:
    """Store one event, as `add_events` does."""
    return add_events(connection, [Arrival(event, document, received_ms)])[0]


def add_samples(connection: Connection, station_id: str, evse_id: int | None, samples: Iterable[Sample]) -> None:
    """Store meter values outside transactions; what is signed is verified with the meter's key, if that is known."""
    insert_rows(connection, meter_values, _sample_rows(connection, station_id, evse_id, tuple(samples), None, None))


def meter_key(connection: Connection, station_id: str, evse_id: int) -> str:
    """Return the public key of an EVSE's meter, or the one that holds for the whole station; "" for none."""
    keys = {
        row.evse_id: row.public_key
        for row in connection.execute(select(meter_keys).where(meter_keys.c.station_id == station_id))
    }
    found: str = keys.get(evse_id) or keys.get(0, "")
    return found


def lock(connection: Connection, station_ids: Iterable[str]) -> None:
    """Keep other nodes from changing the transactions of these stations until the commit (SQLite has no others)."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_LOCK_POSTGRESQL, (_encode(sorted(station_ids)).decode(),))


def _find(
    connection: Connection, events: Sequence[Event]
) -> tuple[dict[_Key, Transaction], dict[tuple[str, str, int], str]]:
    """Return the transactions that events belong to, and the digests of those events that are there already."""
    wanted = [
        {"seq_no": each.seq_no, "station_id": each.station_id, "transaction_id": each.transaction_id} for each in events
    ]
    lock(connection, {each.station_id for each in events})
    if connection.dialect.name == "postgresql":
        rows = list(connection.exec_driver_sql(_FIND_POSTGRESQL, (_encode(wanted).decode(),)))
    else:
        cursor = connection.connection.cursor()
        rows = [row for each in wanted for row in cursor.execute(_FIND_SQLITE, tuple(each.values())).fetchall()]
        cursor.close()
    known: dict[_Key, Transaction] = {}
    digests: dict[tuple[str, str, int], str] = {}
    for station_id, transaction_id, document, seq_no, digest in rows:
        if (station_id, transaction_id) not in known:
            known[station_id, transaction_id] = _decode(document)
        if digest is not None:
            digests[station_id, transaction_id, seq_no] = digest
    return known, digests


def _transaction_row(transaction: Transaction, heard_ms: int) -> dict[str, Any]:
    return {
        "station_id": transaction.station_id,
        "transaction_id": transaction.transaction_id,
        "heard_ms": heard_ms,
        "active": transaction.active,
        "started_ms": transaction.started_ms,
        "ended_ms": transaction.ended_ms,
        "document": _encode(transaction).decode(),
    }


def _event_row(arrival: Arrival) -> dict[str, Any]:
    event = arrival.event
    return {
        "station_id": event.station_id,
        "transaction_id": event.transaction_id,
        "seq_no": event.seq_no,
        "kind": event.kind,
        "trigger": event.trigger,
        "at_ms": event.at_ms,
        "received_ms": arrival.received_ms,
        "offline": event.offline,
        "digest": event.digest,
        "document": arrival.document.decode(),
    }


def _fault_row(event: Event, fault: Fault, now_ms: int) -> dict[str, Any]:
    return {
        "station_id": event.station_id,
        "transaction_id": event.transaction_id,
        "found_ms": now_ms,
        **msgspec.structs.asdict(fault),
    }


def _samples_of(connection: Connection, event: Event) -> list[dict[str, Any]]:
    return _sample_rows(connection, event.station_id, event.evse_id, event.samples, event.transaction_id, event.seq_no)


def _sample_rows(
    connection: Connection,
    station_id: str,
    evse_id: int | None,
    samples: tuple[Sample, ...],
    transaction_id: str | None,
    seq_no: int | None,
) -> list[dict[str, Any]]:
    key = meter_key(connection, station_id, evse_id or 0) if any(each.signed for each in samples) else ""
    return [
        {
            "station_id": station_id,
            "transaction_id": transaction_id,
            "seq_no": seq_no,
            "evse_id": evse_id,
            "verdict": judged.verdict,
            **msgspec.structs.asdict(judged.sample),
        }
        for judged in judge_samples(samples, key)
    ]
