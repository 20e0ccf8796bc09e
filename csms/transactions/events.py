"""Transaction events as they arrive, in batches (the busiest path to the database), and the totals of ended ones."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec
from sqlalchemy import Connection, func, select

from csms.booking import held, ledger
from csms.booking.plausibility import JudgedUsage, earliest_ms
from csms.db.bulk import delete_rows, find_rows, insert_rows, update_rows, upsert_rows
from csms.db.leases import lock
from csms.smart_charging.tables import charging_profiles
from csms.stations.tables import stations
from csms.tokens.rules import normalise
from csms.transaction_keys import id_at_station, key_again
from csms.transactions import rules, tables
from csms.transactions.rules import Transaction
from csms.transactions.signed_values import JudgedSamples, judge_samples
from csms.transactions.tables import held_transactions, transaction_totals
from v2g import typed_json
from v2g.hardware.energy_manager.commands import ConnectionReading
from v2g.text import moment

READINGS: Final = ("MeterValueClock", "MeterValuePeriodic")
"""Triggers of events that only report meter values."""


def save(connection: Connection, changed: Iterable[Transaction], now_ms: int) -> None:
    """Judge ended transactions and store their totals; one that continues after it was closed has none.

    Their events are stored before. Those that are held have totals, which no report adds up before they are released.
    """
    rows: dict[tuple[str, str], dict[str, object]] = {}
    queue = list(changed)
    for each in queue:
        if each.active:
            ledger.withdraw(connection, each.station_id, "transaction", each.transaction_id)
            for table in (transaction_totals, held_transactions):
                delete_rows(connection, table, station_id=each.station_id, transaction_id=each.transaction_id)
        else:
            judged = held.review(connection, each, now_ms)
            rows[each.station_id, each.transaction_id] = _totals(each, judged)
            if any(found.reason == "elsewhere" for found in judged.findings):
                queue += held.doubted(connection, (each.station_id, "transaction", each.transaction_id))
    if rows:
        upsert_rows(connection, transaction_totals, list(rows.values()))


def _totals(found: Transaction, judged: JudgedUsage) -> dict[str, object]:
    """Return when a transaction ended, or was closed (ms, UTC), how long it was, whose it was, and its energy (mWh).

    `token`: type and id as in paths of the API; `token` and `tariff` are empty without one, `evse_id` 0.
    """
    end_ms = found.closed_ms if found.ended_ms is None else found.ended_ms if judged.timed else judged.usage.end_ms
    start_ms = found.started_ms if judged.timed else judged.usage.start_ms
    assert end_ms is not None, "it is not active"
    return {
        "station_id": found.station_id,
        "transaction_id": found.transaction_id,
        "end_ms": end_ms,
        "duration_ms": 0 if start_ms is None else max(0, end_ms - start_ms),
        "evse_id": found.evse_id or 0,
        "token": _token(found),
        "tariff": "" if found.tariff_id is None else found.tariff_id.value,
        "import_mwh": judged.import_mwh,
        "export_mwh": judged.export_mwh,
    }


def _token(found: Transaction) -> str:
    if found.id_token is None:
        return ""
    kind = "" if found.token_type is None else found.token_type.value
    return f"{kind}/{normalise(kind, found.id_token.value)}"


Outcome = Literal["new", "duplicate", "conflict"]

_decode = typed_json.decoder(rules.Transaction).decode
_decode_samples = typed_json.decoder(tuple[JudgedSamples, ...]).decode
_encode = msgspec.json.Encoder().encode


class EventArrival(msgspec.Struct, frozen=True):
    """A received event: its decoded content, the message as JSON, the time of arrival (UTC), and by how much longer
    than usual it may have waited to be sent."""

    event: rules.Event
    document: bytes
    received_ms: int
    waited_ms: int = 0


_Key = tuple[str, str]


def add_events(connection: Connection, arrivals: Sequence[EventArrival]) -> list[tuple[Outcome, rules.Transaction]]:
    """Store events, each once; return for each its kind and its transaction after it (E01 to E13).

    `conflict` is different content under an existing number: the first one counts, unless its station has booted and
    begun another transaction with the same id, whose key has its begin, too. What is held is the same as if each event
    came alone.
    """
    lock(connection, {each.event.station_id for each in arrivals})  # a station may just have moved between nodes
    known = _find_all(connection, {(each.event.station_id, each.event.transaction_id) for each in arrivals})
    # A transaction has no events outside its numbers
    there = tables.transaction_events.c
    digests: dict[tuple[str, str, int], str] = {}
    for event in (each.event for each in arrivals):
        transaction_id: str | None = event.transaction_id
        while transaction_id is not None and (of := known.get((event.station_id, transaction_id))) is not None:
            key = event.station_id, transaction_id, event.seq_no
            if of.first_seq <= event.seq_no <= of.last_seq:
                here = (there.station_id == key[0]) & (there.transaction_id == key[1]) & (there.seq_no == key[2])
                digest = connection.execute(select(there.digest).where(here)).scalar()
                if digest is not None:
                    digests[key] = digest
            transaction_id = of.next_id
    results: list[tuple[Outcome, rules.Transaction]] = []
    while len(results) < len(arrivals):
        results += _add_next(connection, arrivals, len(results), known, digests)
    return results


def _add_next(
    connection: Connection,
    arrivals: Sequence[EventArrival],
    first: int,
    known: dict[_Key, rules.Transaction],
    digests: dict[tuple[str, str, int], str],
) -> list[tuple[Outcome, rules.Transaction]]:
    """Store events from the `first` on, up to one of a station with a transaction to be judged before it."""
    results: list[tuple[Outcome, rules.Transaction]] = []
    new: list[EventArrival] = []
    stored: dict[_Key, rules.Transaction] = {}
    changed: dict[_Key, int] = {}
    judged: dict[str, tuple[_Key, int]] = {}
    faults: list[dict[str, object]] = []
    for number in range(first, len(arrivals)):
        arrival = arrivals[number]
        event = arrival.event
        if event.station_id in judged:
            break
        key = _key_of(event, known, digests)
        before = known.get(key)
        if before is not None and key not in changed:
            stored[key] = before
        digest = digests.get((*key, event.seq_no))
        if before is not None and not before.active and digest != event.digest:
            judged[key[0]] = key, arrival.received_ms
        if before is not None and digest != event.digest and _starts_again(connection, before, event, changed.get(key)):
            next_key = key[0], key_again(event.transaction_id, event.at_ms)
            known[key] = msgspec.structs.replace(before, next_id=next_key[1])
            changed.setdefault(key, arrival.received_ms)
            _drop_profiles(connection, event)
            key, before, digest = next_key, None, None
        if key[1] != event.transaction_id:
            event = msgspec.structs.replace(event, transaction_id=key[1])
            arrival = msgspec.structs.replace(arrival, event=event)
        if before is not None and digest is not None:
            if digest != event.digest:
                fault = rules.EventFault("conflict", event.seq_no, _content(event))
                faults.append(_fault_row(event, fault, arrival.received_ms))
            results.append(("duplicate" if digest == event.digest else "conflict", before))
            continue
        merged = known[key] = rules.merge(before, event, arrival.received_ms)
        digests[*key, event.seq_no] = event.digest
        changed[key] = arrival.received_ms
        faults += [_fault_row(event, fault, arrival.received_ms) for fault in rules.faults_of(before, event)]
        if not merged.active:
            judged[key[0]] = key, arrival.received_ms
        new.append(arrival)
        results.append(("new", merged))
    _save_transactions(connection, stored, [(known[key], heard_ms) for key, heard_ms in changed.items()])
    for each in new:
        if each.event.kind == "Ended":
            _drop_profiles(connection, each.event)
    signed: dict[_Key, Sequence[rules.Sample]] = {}
    # of each station: last boot, last message before its absence, first contact, and since when it is connected
    wanted = [{"station_id": station_id} for station_id in {each.event.station_id for each in new}]
    columns = "station_id", "booted_ms", "away_ms", "first_seen_ms", "connected_ms"
    bounds = {row[0]: row[1:] for row in find_rows(connection, stations, columns, wanted)}
    rows = [_event_row(connection, each, signed, bounds.get(each.event.station_id, _UNBOUNDED)) for each in new]
    insert_rows(connection, tables.transaction_events, rows)
    insert_rows(connection, tables.transaction_faults, faults)
    for key, now_ms in judged.values():
        save(connection, [known[key]], now_ms)
    return results


def _key_of(
    event: rules.Event, known: Mapping[_Key, rules.Transaction], digests: Mapping[tuple[str, str, int], str]
) -> _Key:
    """Return the key of an event's transaction: the last one with its id, unless it is known or older."""
    key = event.station_id, event.transaction_id
    while (found := known.get(key)) is not None and found.next_id is not None:
        later = key[0], found.next_id
        older = event.offline and event.at_ms < (known[later].started_ms or 0)
        if older or digests.get((*key, event.seq_no)) == event.digest:
            break
        key = later
    return key


def _starts_again(connection: Connection, known: rules.Transaction, event: rules.Event, changed_ms: int | None) -> bool:
    """Return whether an event begins another transaction; `changed_ms`: when this batch had one of the known one."""
    if event.kind != "Started" or known.started_seq is None:
        return False
    there = tables.transaction_events.c
    of_it = (there.station_id == known.station_id) & (there.transaction_id == known.transaction_id)
    heard_ms = changed_ms or connection.execute(select(func.max(there.received_ms)).where(of_it)).scalar_one()
    booted = select(stations.c.booted_ms).where(stations.c.station_id == known.station_id)
    return rules.starts_again(known, event, heard_ms, connection.execute(booted).scalar())


def _save_transactions(
    connection: Connection, stored: Mapping[_Key, rules.Transaction], changed: Iterable[tuple[rules.Transaction, int]]
) -> None:
    """Write transactions; columns that most events leave unchanged are not written, which spares the indices."""
    made: list[dict[str, object]] = []
    turned: list[dict[str, object]] = []
    ongoing: list[dict[str, object]] = []
    for after, heard_ms in changed:
        row = {
            "station_id": after.station_id,
            "transaction_id": after.transaction_id,
            "heard_ms": heard_ms,
            "document": _encode(after).decode(),
        }
        before = stored.get((after.station_id, after.transaction_id))
        if before is not None and _indexed(before) == _indexed(after):
            ongoing.append(row)
        else:
            row["active"], row["started_ms"], row["ended_ms"] = _indexed(after)
            (made if before is None else turned).append(row)
    insert_rows(connection, tables.transactions, made)
    update_rows(connection, tables.transactions, turned)
    update_rows(connection, tables.transactions, ongoing)


def _indexed(transaction: rules.Transaction) -> tuple[bool, int | None, int | None]:
    return transaction.active, transaction.started_ms, transaction.ended_ms


def _drop_profiles(connection: Connection, event: rules.Event) -> None:
    """Delete the profiles of an ended transaction, as its station does."""
    key = {"station_id": event.station_id, "transaction_id": event.transaction_id}
    delete_rows(connection, charging_profiles, **key)


def add_samples(connection: Connection, station_id: str, evse_id: int | None, samples: Sequence[rules.Sample]) -> None:
    """Store meter values outside transactions; signed ones are verified with the meter's key, if known."""
    key = meter_key(connection, station_id, evse_id or 0) if any(each.signed for each in samples) else ""
    place = {"station_id": station_id, "evse_id": evse_id}
    rows = [{**place, **msgspec.structs.asdict(each)} for each in judge_samples(samples, key)]
    insert_rows(connection, tables.meter_values, rows)


def note_grid_reading(connection: Connection, station_id: str, reading: ConnectionReading, received_ms: int) -> None:
    """Store what the meter at the grid connection that a station reads says; its power is known."""
    row = {
        "station_id": station_id,
        "received_ms": received_ms,
        "power_w": reading.power_w,
        "reading": msgspec.json.encode(reading).decode(),
    }
    upsert_rows(connection, tables.grid_meters, [row])


def meter_key(connection: Connection, station_id: str, evse_id: int) -> str:
    """Return the public key of an EVSE's meter, or that of the whole station; "" for none."""
    keys = {
        row.evse_id: row.public_key
        for row in connection.execute(select(tables.meter_keys).where(tables.meter_keys.c.station_id == station_id))
    }
    found: str = keys.get(evse_id) or keys.get(0, "")
    return found


def find_last(connection: Connection, station_id: str, transaction_id: str) -> str:
    """Return the key of the last transaction for which a station has used an id."""
    found = _find_all(connection, {(station_id, transaction_id)})
    while (known := found.get((station_id, transaction_id))) is not None and known.next_id is not None:
        transaction_id = known.next_id
    return transaction_id


def _find_all(connection: Connection, keys: set[_Key]) -> dict[_Key, rules.Transaction]:
    """Return the existing ones of these transactions, and later ones with the same id."""
    found: dict[_Key, rules.Transaction] = {}
    while keys:
        given = [{"station_id": station_id, "transaction_id": transaction_id} for station_id, transaction_id in keys]
        rows = find_rows(connection, tables.transactions, (*given[0], "document"), given)
        added = {(station_id, transaction_id): _decode(document) for station_id, transaction_id, document in rows}
        found |= added
        keys = {(each.station_id, each.next_id) for each in added.values() if each.next_id is not None}
    return found


_Bounds = tuple[int | None, ...]
_UNBOUNDED: Final[_Bounds] = (None, None, None, None)


def _content(event: rules.Event) -> str:
    """Return what a second event under a known number says, so that a person can judge what it is worth."""
    imports, exports = rules.readings(event.samples)
    values = [f"{each.measurand} {rules.watt_hours(each)} Wh" for each in (*imports[-1:], *exports[-1:])]
    return ", ".join([f"{event.kind} ({event.trigger}) of {moment(event.at_ms)}", *values, f"SHA-256 {event.digest}"])


def _event_row(
    connection: Connection, arrival: EventArrival, signed: dict[_Key, Sequence[rules.Sample]], bounds: _Bounds
) -> dict[str, object]:
    event = arrival.event
    booted_ms, away_ms, known_ms, connected_ms = bounds
    offline = event.offline and not (connected_ms is not None and connected_ms < event.at_ms)  # else only repeated
    # `signed` has the last signed readings of each transaction of this batch, which are not in the database yet
    samples: Sequence[rules.Sample] = event.samples
    if any(each.signed for each in samples):
        key = event.station_id, event.transaction_id
        before = signed[key] if key in signed else _last_signed(connection, event)
        public = meter_key(connection, event.station_id, event.evse_id or 0)
        samples = judge_samples(samples, public, transaction_id=id_at_station(event.transaction_id), before=before)
        signed[key] = samples
    return {
        "station_id": event.station_id,
        "transaction_id": event.transaction_id,
        "seq_no": event.seq_no,
        "kind": event.kind,
        "trigger": event.trigger,
        "at_ms": event.at_ms,
        "received_ms": arrival.received_ms,
        "earliest_ms": earliest_ms(
            arrival.received_ms,
            offline=offline,
            booted_ms=booted_ms,
            away_ms=away_ms,
            known_ms=known_ms,
            waited_ms=arrival.waited_ms,
        ),
        "offline": event.offline,
        "digest": event.digest,
        "document": arrival.document.decode(),
        "samples": _encode(samples).decode(),
    }


def _last_signed(connection: Connection, event: rules.Event) -> Sequence[rules.Sample]:
    """Return the readings of the last event before this one that has signed ones, which the meter signed earlier."""
    there = tables.transaction_events.c
    ours = (there.station_id == event.station_id) & (there.transaction_id == event.transaction_id)
    earlier = ours & (there.seq_no < event.seq_no) & there.samples.contains('"verdict"')
    found = connection.execute(select(there.samples).where(earlier).order_by(there.seq_no.desc()).limit(1)).scalar()
    return read_samples(found) if found else ()


def read_samples(document: str) -> tuple[JudgedSamples, ...]:
    """Return the readings of a stored event."""
    return _decode_samples(document)


def _fault_row(event: rules.Event, fault: rules.EventFault, now_ms: int) -> dict[str, object]:
    return {
        "station_id": event.station_id,
        "transaction_id": event.transaction_id,
        "found_ms": now_ms,
        **msgspec.structs.asdict(fault),
    }
