"""States and estimates of batteries, sealed."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, select, text

from csms.db.queries import alerts
from csms.db.tables import battery_estimates, battery_states
from csms.db.telemetry_seal import seal_of
from csms.domain.diagnostics.batteries import Advanced, Battery
from v2g import typed_json

_SOME: Final = 250  # variables of a query: SQLite allows 999 in old builds

_PUT_STATE: Final = text(
    "INSERT INTO battery_states (ev, boot, seq, document) VALUES (:ev, :boot, :seq, :document) "
    "ON CONFLICT (ev) DO UPDATE SET boot = excluded.boot, seq = excluded.seq, document = excluded.document"
)
_PUT_ESTIMATES: Final = text(
    "INSERT INTO battery_estimates (ev, at_ms, document) VALUES (:ev, :at_ms, :document) "
    "ON CONFLICT (ev, at_ms) DO UPDATE SET document = excluded.document"
)

_encode: Final = msgspec.json.Encoder().encode
_battery = typed_json.decoder(Battery).decode
_estimates = typed_json.decoder(dict[str, float]).decode


def batteries(connection: Connection, evs: Collection[str]) -> dict[str, Battery]:
    """Return the batteries of vehicles; those that are not known, or not understood any more, are missing."""
    found = {}
    seal, wanted = seal_of(connection), sorted(evs)
    for start in range(0, len(wanted), _SOME):
        query = select(battery_states).where(battery_states.c.ev.in_(wanted[start : start + _SOME]))
        for row in connection.execute(query).all():
            document = seal.find(connection, row.document, "battery", row.ev)
            try:
                found[row.ev] = _battery(document or b"")
            except msgspec.DecodeError:  # of another version, or its store key was lost: it begins anew here
                found[row.ev] = Battery(row.boot, row.seq)
    return found


def save(
    connection: Connection, before: Mapping[str, Battery], after: Mapping[str, Advanced], now_ms: int
) -> bool | None:
    """Store batteries, their estimates, and alerts of what was found; return whether an alert has changed.

    None: a battery is not the one of `before` any more, and nothing was stored.
    """
    stored = battery_states.c
    places: dict[str, tuple[int, int]] = {}
    for start in range(0, len(evs := sorted(after)), _SOME):
        query = select(stored.ev, stored.boot, stored.seq).where(stored.ev.in_(evs[start : start + _SOME]))
        places |= {row.ev: (row.boot, row.seq) for row in connection.execute(query.with_for_update())}
    if places != {ev: (each.boot, each.seq) for ev, each in before.items() if ev in after}:
        return None
    seal = seal_of(connection)
    states, estimates = [], []
    for ev, each in after.items():
        one = each.battery
        states.append({"ev": ev, "boot": one.boot, "seq": one.seq, "document": seal.seal(_encode(one), "battery", ev)})
        for at_ms, values in each.estimates:
            document = seal.seal(_encode(values), "estimates", ev, at_ms)
            estimates.append({"ev": ev, "at_ms": at_ms, "document": document})
    if states:
        connection.execute(_PUT_STATE, states)
    if estimates:
        connection.execute(_PUT_ESTIMATES, estimates)
    return alerts.take(connection, [report for each in after.values() for report in each.reports], now_ms)


def estimates(
    connection: Connection, ev: str, span_ms: tuple[int, int], limit: int, after: tuple[int, ...] | None
) -> list[dict[str, Any]]:
    """Return the estimates of a vehicle, oldest first: from the first time to before the second."""
    at = battery_estimates.c.at_ms
    query = select(battery_estimates).where(battery_estimates.c.ev == ev, at >= span_ms[0], at < span_ms[1])
    if after is not None:
        query = query.where(at > after[0])
    seal, found = seal_of(connection), []
    for row in connection.execute(query.order_by(at).limit(limit)).all():
        document = seal.find(connection, row.document, "estimates", ev, row.at_ms)
        found.append({"at_ms": row.at_ms, "values": {} if document is None else _estimates(document)})
    return found


def erase(connection: Connection, ev: str) -> None:
    """Erase what is known of a vehicle's battery, with its alerts."""
    for table in (battery_states, battery_estimates):
        connection.execute(delete(table).where(table.c.ev == ev))
    alerts.erase(connection, ev)
