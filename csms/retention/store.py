"""Retention: deletion of old rows in small steps, so that other operations do not wait long."""

from collections.abc import Sequence
from typing import Final, Literal

from sqlalchemy import Column, ColumnElement, Connection, Table, delete, exists, select, tuple_, update

from csms.accounts.tables import audit, idempotency_keys
from csms.admission.store import connection_faults
from csms.alerts.tables import alert_mails, alerts
from csms.db.base import AnyRow, metadata
from csms.diagnostics.store import device_events, stream_values
from csms.direct_payments.rules import OVER
from csms.direct_payments.store import direct_payments
from csms.dispatch.der_controls import der_alarms
from csms.dispatch.store import dispatch_course
from csms.fleets.tables import fleet_course, fleet_quarters
from csms.overview.store import power_course
from csms.payments.store import battery_swaps
from csms.remote_control.store import data_transfers, remote_starts
from csms.requests.store import request_parts, station_requests
from csms.reservations.rules import ACTIVE
from csms.reservations.store import reservations
from csms.roaming.tables import roaming_objects
from csms.settlements.tables import journal_reviews, offer_decisions, price_deliveries
from csms.smart_charging.tables import limits_in_force
from csms.station_security.store import security_events
from csms.stations.tables import connector_history, station_absences
from csms.tariffs.tables import transaction_costs, transaction_plans
from csms.telemetry import tables
from csms.telemetry.aggregates import AGGREGATES
from csms.tokens.store import settle_uses
from csms.tokens.tables import token_uses
from csms.transaction_keys import id_at_station, key_again
from csms.transactions.tables import (
    booked_transactions,
    held_transactions,
    meter_values,
    transaction_events,
    transactions,
)
from csms.vehicles.store import within_run
from csms.webhooks.tables import webhook_deliveries

STEP: Final = 500
"""Rows deleted in one step; of transactions a tenth as many, with all that belongs to them."""

Kind = Literal["reports", "events", "transactions", "telemetry", "telemetry_aggregates", "audit"]

_BY_TIME: Final[dict[Kind, tuple[tuple[Table, Column[int]], ...]]] = {
    "reports": (
        (data_transfers, data_transfers.c.received_ms),
        (stream_values, stream_values.c.at_ms),
        (webhook_deliveries, webhook_deliveries.c.delivered_ms),
        (idempotency_keys, idempotency_keys.c.created_ms),
    ),
    "events": (
        (device_events, device_events.c.received_ms),
        (security_events, security_events.c.received_ms),
        (der_alarms, der_alarms.c.at_ms),
        (connection_faults, connection_faults.c.last_ms),
        (alerts, alerts.c.cleared_ms),
        (alert_mails, alert_mails.c.sent_ms),
        (offer_decisions, offer_decisions.c.at_ms),
        (dispatch_course, dispatch_course.c.at_ms),
        (fleet_course, fleet_course.c.at_ms),
        (fleet_quarters, fleet_quarters.c.at_ms),
        (power_course, power_course.c.at_ms),
        (station_absences, station_absences.c.to_ms),
    ),
    "telemetry": ((tables.telemetry_quarantine, tables.telemetry_quarantine.c.received_ms),),
    "telemetry_aggregates": (
        (tables.telemetry_aggregates, tables.telemetry_aggregates.c.at_ms),
        (tables.telemetry_segments, tables.telemetry_segments.c.at_ms),
    ),
    "audit": ((audit, audit.c.at_ms),),
    "transactions": (),
}


def delete_old(connection: Connection, kind: Kind, before_ms: int) -> int:
    """Delete some rows older than `before_ms` (UTC); return how many, 0 when none are left.

    A transaction's age counts from its last message, and it goes once it is complete, with its events and meter values,
    but not while it, or the journal of a session of it, waits for a decision; payments for one session go once they are
    over, and so do starts, reservations, battery swaps, and grants and sessions of roaming drivers.
    A telemetry record goes once its values are in the aggregates, also if a sink has not got it.
    """
    if kind == "transactions":
        outside = _delete_rows(connection, meter_values, meter_values.c.at_ms < before_ms)
        outside += _delete_rows(connection, price_deliveries, price_deliveries.c.ended_ms < before_ms)
        outside += _delete_rows(connection, limits_in_force, limits_in_force.c.to_ms < before_ms)
        outside += sum(_delete_rows(connection, table, old) for table, old in _of_drivers(before_ms))
        return _delete_transactions(connection, before_ms) + _delete_payments(connection, before_ms) + outside
    if kind == "reports":
        deleted = _delete_rows(connection, request_parts, request_parts.c.received_ms < before_ms)
        whole = ~exists().where(request_parts.c.request_id == station_requests.c.request_id)
        deleted += _delete_rows(connection, station_requests, (station_requests.c.updated_ms < before_ms) & whole)
        return deleted + sum(_delete_rows(connection, table, at < before_ms) for table, at in _BY_TIME[kind])
    deleted = sum(_delete_rows(connection, table, at < before_ms) for table, at in _BY_TIME[kind])
    if kind == "events":  # the state in which each connector was then stays
        past, later = connector_history.c, connector_history.alias().c
        same = (later.station_id == past.station_id) & (later.evse_id == past.evse_id)
        same &= (later.connector_id == past.connector_id) & later.at_ms.between(past.at_ms + 1, before_ms)
        deleted += _delete_rows(connection, connector_history, (past.at_ms < before_ms) & exists().where(same))
    if kind == "telemetry":
        waits = exists().where(within_run(), tables.telemetry_pending.c.sink == AGGREGATES)
        deleted += _delete_rows(connection, tables.telemetry, (tables.telemetry.c.received_ms < before_ms) & ~waits)
        run = tables.telemetry_pending.c  # also of sinks that are configured no more; but no vehicle to erase
        of_sinks = (run.sink != AGGREGATES) & (run.boot > 0) & (run.received_ms < before_ms)
        deleted += _delete_rows(connection, tables.telemetry_pending, of_sinks)
    return deleted


def _of_drivers(before_ms: int) -> Sequence[tuple[Table, ColumnElement[bool]]]:
    """Return what names drivers beside their transactions, and is old; what belongs to one that stays does, too."""
    start, reserved, object_ = remote_starts.c, reservations.c, roaming_objects.c
    done = object_.module == "grants"
    done |= (object_.module == "sessions") & ((object_.owner != "") | (object_.state == "billed"))
    return (
        (remote_starts, (start.requested_ms < before_ms) & ~_of_transaction(remote_starts)),
        (reservations, (reserved.updated_ms < before_ms) & reserved.state.not_in(ACTIVE)
         & ~_of_transaction(reservations)),
        (battery_swaps, battery_swaps.c.received_ms < before_ms),
        (roaming_objects, (object_.updated_ms < before_ms) & done),
    )  # fmt: skip


def _of_transaction(table: Table) -> ColumnElement[bool]:
    key = (transactions.c.station_id == table.c.station_id) & (transactions.c.transaction_id == table.c.transaction_id)
    return exists().where(key)


def _delete_rows(connection: Connection, table: Table, old: ColumnElement[bool]) -> int:
    key = list(table.primary_key.columns)
    some = select(*key).where(old).limit(STEP)
    chosen = key[0].in_(some) if len(key) == 1 else tuple_(*key).in_(some)
    return connection.execute(delete(table).where(chosen)).rowcount


def _delete_payments(connection: Connection, before_ms: int) -> int:
    there, tokens = direct_payments.c, remote_starts.c.id_token
    old = (there.changed_ms < before_ms) & there.state.in_(OVER)
    gone = connection.execute(select(there.id, there.token).where(old).limit(STEP)).all()
    # a token whose start is known, but no payment, might charge again
    connection.execute(delete(remote_starts).where(tokens.in_([row.token for row in gone])))
    return connection.execute(delete(direct_payments).where(there.id.in_([row.id for row in gone]))).rowcount


def _delete_transactions(connection: Connection, before_ms: int) -> int:
    over = transactions.c.active.is_(False) & (transactions.c.heard_ms < before_ms)
    for table in (held_transactions, journal_reviews):
        over &= ~exists().where(
            (table.c.station_id == transactions.c.station_id)
            & (table.c.transaction_id == transactions.c.transaction_id)
            & table.c.state.in_(("waiting", "quarantined"))
        )
    key = (transactions.c.station_id, transactions.c.transaction_id)
    about = (*key, transactions.c.started_ms, transactions.c.heard_ms, transactions.c.document)
    gone: list[tuple[str, str]] = []
    last: tuple[str, str] = ("", "")
    while not gone:
        query = select(*about).where(over & (tuple_(*key) > tuple_(*last))).order_by(*key).limit(STEP // 10)
        found = connection.execute(query).all()
        if not found:
            return 0
        its = [row for row in found if not _is_used_again(connection, row, before_ms)]
        gone, last = [(row.station_id, row.transaction_id) for row in its], (found[-1][0], found[-1][1])
    settle_uses(connection, gone)
    for row in its:
        _free_id(connection, row)
    deleted = 0
    # The tables whose rows belong to one transaction refer to it.
    referring = [
        table
        for table in metadata.sorted_tables
        if any(constraint.referred_table is transactions for constraint in table.foreign_key_constraints)
    ]
    assert transaction_events in referring
    for table in (*referring, transactions):
        columns = tuple_(table.c.station_id, table.c.transaction_id)
        deleted += connection.execute(delete(table).where(columns.in_(gone))).rowcount
    return deleted


def _is_used_again(connection: Connection, row: AnyRow, before_ms: int) -> bool:
    """Return whether a later transaction with the id stays: events find it by all that had the id before."""
    name = id_at_station(row.transaction_id)
    if name == row.transaction_id and '"next_id":"' not in row.document:
        return False
    its = transactions.c
    same = (its.transaction_id == name) | its.transaction_id.startswith(f"{name}~", autoescape=True)
    stays = its.active.is_(True) | (its.heard_ms >= before_ms)
    return connection.execute(select(exists().where((its.station_id == row.station_id) & same & stays))).scalar_one()


def _free_id(connection: Connection, row: AnyRow) -> None:
    """Name what stays of a transaction, such as its cost, by id and begin: its station may use the id again."""
    if id_at_station(row.transaction_id) != row.transaction_id:
        return
    name = key_again(row.transaction_id, row.heard_ms if row.started_ms is None else row.started_ms)
    for table in (token_uses, transaction_costs, transaction_plans, booked_transactions, journal_reviews):
        its = (table.c.station_id == row.station_id) & (table.c.transaction_id == row.transaction_id)
        connection.execute(update(table).where(its).values(transaction_id=name))
