"""Brings a database of release 0.2.0, or of any program since, to the declared tables and what these hold now.

An empty database gets the declared tables at once. What is declared and missing is added: a change of tables is another
`HEAD` of `csms.db.store`, and a function here only where rows of before need more than defaults.
"""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn

from csms.db.base import AnyRow
from csms.db.migrations import facts as ledger
from csms.db.schema import declared_for, metadata
from csms.tokens.rules import normalise
from v2g.typed_json import Fields
from v2g.units import payable_micro

Change = Callable[[sa.Connection], None]

REVISIONS: Final[dict[str, Change]] = {}
"""What is done to rows of before a revision, in order."""


def upgrade(connection: sa.Connection, found: str, wanted: str) -> None:
    """Bring a database of the revision `found` to the newest, `wanted`."""
    _rebuild_tables(connection, found)
    _add_what_is_declared(connection)
    for number, change in REVISIONS.items():
        if found < number:
            change(connection)
    connection.execute(sa.text("UPDATE alembic_version SET version_num = :number"), {"number": wanted})


_PLAIN = {"postgresql": "substr(document, 1, 1) = '\\x7b'::bytea", "sqlite": "substr(document, 1, 1) = x'7b'"}
"""A document that is not sealed begins as JSON."""


def _rebuild_tables(connection: sa.Connection, found: str) -> None:
    """Make tables of before again that only need to change, and drop indices that others replace."""
    there = sa.inspect(connection)
    if "sealed" not in _kinds(there, "telemetry_aggregates"):  # as 0.2.0 made them
        _rebuild(connection, "telemetry_aggregates", sealed=f"NOT ({_PLAIN[connection.dialect.name]})")
    if there.has_table("alerts") and "told" in _kinds(there, "alerts"):  # to 0045
        for name in ("ix_alerts_told", "ix_alerts_subject_kind_subject_kind"):
            connection.exec_driver_sql(f"DROP INDEX {name}")
        connection.exec_driver_sql("ALTER TABLE alerts RENAME COLUMN told TO announced")
    for name in ("dispatch_course", "fleet_course"):  # whose power may be unknown since 0066
        if found < "0066" and there.has_table(name):
            _rebuild(connection, name)
    if found < "0087" and there.has_table("direct_payments"):  # of two that began at an EVSE, the later is released
        connection.exec_driver_sql("""
            UPDATE direct_payments SET state = 'releasing', reason = 'somebody pays at this plug already'
            WHERE state IN ('requested', 'pending', 'authorized') AND EXISTS (
                SELECT 1 FROM direct_payments AS other
                WHERE other.station_id = direct_payments.station_id AND other.evse_id = direct_payments.evse_id
                AND other.state IN ('requested', 'pending', 'authorized', 'starting')
                AND (other.state = 'starting' OR other.id < direct_payments.id)
            )
        """)
    objects = "ix_roaming_objects_"
    for name in ("ix_telemetry_pending_ev", f"{objects}owner_module_updated_ms_object_id",
                 f"{objects}module_about", f"{objects}module_alias"):  # fmt: skip
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")


def _kinds(there: sa.Inspector, table: str) -> dict[str, sa.types.TypeEngine[Any]]:
    """Return a table's columns, in order, and their types."""
    return {each["name"]: each["type"] for each in there.get_columns(table)}


def _rebuild(connection: sa.Connection, name: str, **given: str) -> None:
    """Make a table as it is declared, with its rows; `given` is SQL for what they lack."""
    columns = ", ".join(_kinds(sa.inspect(connection), name))
    values = ", ".join((columns, *given.values()))
    connection.exec_driver_sql(f"CREATE TABLE {name}_before AS SELECT {values} FROM {name}")  # noqa: S608 - our own words
    connection.exec_driver_sql(f"DROP TABLE {name}")
    declared_for(connection).tables[name].create(connection)
    into = ", ".join((columns, *given))
    connection.exec_driver_sql(f"INSERT INTO {name} ({into}) SELECT * FROM {name}_before")  # noqa: S608 - our own words
    connection.exec_driver_sql(f"DROP TABLE {name}_before")


def _add_what_is_declared(connection: sa.Connection) -> None:
    """Add tables, columns and indices that a database lacks, and let texts be as long as they may be now."""
    there = sa.inspect(connection)
    names = set(there.get_table_names())
    if "oldest_reader" not in _kinds(there, "alembic_version"):
        connection.exec_driver_sql("ALTER TABLE alembic_version ADD COLUMN oldest_reader VARCHAR(32)")
    for table in declared_for(connection).sorted_tables:
        if table.name not in names:
            table.create(connection)
            continue
        kinds = _kinds(there, table.name)
        for column in table.columns:
            if column.name not in kinds:
                added = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {added}")
            elif connection.dialect.name == "postgresql" and isinstance(kinds[column.name], sa.String):
                kind = column.type.compile(connection.dialect)  # SQLite counts no characters
                if kind != kinds[column.name].compile(connection.dialect):
                    connection.exec_driver_sql(f"ALTER TABLE {table.name} ALTER COLUMN {column.name} TYPE {kind}")
        indices = {each["name"] for each in there.get_indexes(table.name)}
        for index in table.indexes:
            if index.name not in indices:
                index.create(connection)


def _revision(number: str) -> Callable[[Change], Change]:
    def declare(change: Change) -> Change:
        assert number > max(REVISIONS, default=""), number
        REVISIONS[number] = change
        return change

    return declare


@_revision("0044")
def watched_updates(connection: sa.Connection) -> None:
    """Plans that campaigns have keep what was usual when they were made."""
    rows = sa.table("campaigns", sa.column("campaign_id"), sa.column("document"))
    for number, document in connection.execute(sa.select(rows)).all():
        plan = {"daily": 1.0, "window": None, "watch_s": 0} | json.loads(document)
        text = json.dumps(plan, separators=(",", ":"), ensure_ascii=False)
        connection.execute(sa.update(rows).where(rows.c.campaign_id == number).values(document=text))


@_revision("0046")
def alert_rules(connection: sa.Connection) -> None:
    """Alerts say when they were announced, and how often they were passed on."""
    connection.exec_driver_sql("UPDATE alerts SET announced_ms = raised_ms WHERE announced <> ''")
    connection.exec_driver_sql("UPDATE alerts SET escalations = 1 WHERE escalated_ms IS NOT NULL")


_BATCH = 1000


@_revision("0056")
def transaction_totals(connection: sa.Connection) -> None:
    """What ended transactions come to, for reports."""
    last = ("", "")
    query = sa.text(
        "SELECT station_id, transaction_id, started_ms, ended_ms, document FROM transactions WHERE NOT active "
        "AND (station_id, transaction_id) > (:station, :transaction) ORDER BY station_id, transaction_id LIMIT :most"
    )
    while rows := connection.execute(query, {"station": last[0], "transaction": last[1], "most": _BATCH}).all():
        connection.execute(
            metadata.tables["transaction_totals"].insert(), [_totals(row, json.loads(row.document)) for row in rows]
        )
        last = rows[-1].station_id, rows[-1].transaction_id


def _totals(row: AnyRow, document: Fields) -> dict[str, object]:
    def said(name: str) -> str:
        return "" if document.get(name) is None else str(document[name]["value"])

    def mwh(name: str) -> int:
        first, last = said(f"{name}_start_wh"), said(f"{name}_wh")
        return max(0, round((Decimal(last) - Decimal(first)) * 1000)) if first and last else 0

    end_ms = document["closed_ms"] if row.ended_ms is None else row.ended_ms
    kind = said("token_type")
    return {
        "station_id": row.station_id,
        "transaction_id": row.transaction_id,
        "end_ms": end_ms,
        "duration_ms": 0 if row.started_ms is None else max(0, end_ms - row.started_ms),
        "evse_id": document.get("evse_id") or 0,
        "token": "" if document.get("id_token") is None else f"{kind}/{normalise(kind, said('id_token'))}",
        "tariff": said("tariff_id"),
        "import_mwh": mwh("import"),
        "export_mwh": mwh("export"),
    }


@_revision("0062")
def campaigns_that_end(connection: sa.Connection) -> None:
    """The patience of attempts under way begins again."""
    connection.exec_driver_sql("UPDATE campaign_members SET since_ms = updated_ms")


@_revision("0064")
def facts(connection: sa.Connection) -> None:
    """The ledger of facts. What is booked lands on it as it is: what contradicts each other stays booked, and is
    listed."""
    ledger.fill(connection, metadata.tables["facts"])


@_revision("0079")
def uptime(connection: sa.Connection) -> None:
    """The history of connectors begins with what is known of each."""
    connection.exec_driver_sql(
        "INSERT INTO connector_history SELECT station_id, evse_id, connector_id, changed_ms, status FROM connectors"
    )


@_revision("0088")
def booked_transactions(connection: sa.Connection) -> None:
    """What booked transactions come to, for reports."""
    connection.exec_driver_sql("""
        INSERT INTO booked_transactions
        WITH sessions AS (
            SELECT r.station_id, r.transaction_id, p.id, p.import_mwh, p.export_mwh
            FROM journal_reviews r JOIN postings p ON p.station_id = r.station_id AND p.session_id = r.session_id
            WHERE p.reversed = 0 AND p.reverses IS NULL AND r.transaction_id <> ''
        ), energy AS (
            SELECT station_id, transaction_id, SUM(import_mwh) AS import_mwh, SUM(export_mwh) AS export_mwh
            FROM sessions GROUP BY station_id, transaction_id
        ), money AS (
            SELECT s.station_id, s.transaction_id, e.unit,
                SUM(CASE WHEN e.account IN ('driver', 'vat') THEN e.amount ELSE 0 END) AS net,
                SUM(CASE WHEN e.account = 'driver' THEN e.amount ELSE 0 END) AS gross,
                ROW_NUMBER() OVER (PARTITION BY s.station_id, s.transaction_id ORDER BY e.unit) AS place
            FROM sessions s JOIN posting_entries e ON e.posting_id = s.id WHERE e.unit <> 'mWh'
            GROUP BY s.station_id, s.transaction_id, e.unit
        )
        SELECT station_id, transaction_id, COALESCE(unit, ''), CASE WHEN COALESCE(place, 1) = 1 THEN import_mwh END,
            CASE WHEN COALESCE(place, 1) = 1 THEN export_mwh END, net, gross
        FROM energy LEFT JOIN money USING (station_id, transaction_id)
    """)


@_revision("0089")
def one_form_of_emaids(connection: sa.Connection) -> None:
    """EMAIDs of postings and mandates in one form, without separators and check digit: they are compared."""
    for table in ("postings", "mandates"):
        plain = "UPPER(REPLACE(vehicle, '-', ''))"
        one = f"CASE WHEN LENGTH({plain}) = 15 THEN SUBSTR({plain}, 1, 14) ELSE {plain} END"
        connection.exec_driver_sql(f"UPDATE {table} SET vehicle = {one} WHERE vehicle <> {one}")  # noqa: S608 - our own words


@_revision("0091")
def currencies(connection: sa.Connection) -> None:
    """Currencies that stations once stated as they liked, as codes."""
    costs = sa.table("transaction_costs", sa.column("currency"))
    for stated in connection.execute(sa.select(costs.c.currency).distinct()).scalars().all():
        code = stated.upper() if re.fullmatch("[A-Za-z]{3}", stated) else "XXX"
        if code != stated:
            connection.execute(sa.update(costs).where(costs.c.currency == stated).values(currency=code))


@_revision("0092")
def billed_by_session(connection: sa.Connection) -> None:
    """What booked transactions of several sessions come to, each session billed alone."""
    sessions: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for *key, gross, net in connection.execute(
        sa.text("""
        SELECT r.station_id, r.transaction_id, e.unit,
            SUM(CASE WHEN e.account = 'driver' THEN e.amount ELSE 0 END),
            SUM(CASE WHEN e.account IN ('driver', 'vat') THEN e.amount ELSE 0 END)
        FROM journal_reviews r JOIN postings p ON p.station_id = r.station_id AND p.session_id = r.session_id
            JOIN posting_entries e ON e.posting_id = p.id
        WHERE p.reversed = 0 AND p.reverses IS NULL AND r.transaction_id <> '' AND e.unit <> 'mWh'
        GROUP BY r.station_id, r.transaction_id, e.unit, p.id
    """)
    ):
        station_id, transaction_id, unit = key
        sessions.setdefault((station_id, transaction_id, unit), []).append((int(gross), int(net)))
    change = sa.text("""UPDATE booked_transactions SET gross = :gross, net = :net
        WHERE station_id = :station AND transaction_id = :transaction AND currency = :unit""")
    for (station_id, transaction_id, unit), amounts in sessions.items():
        gross, net = (sum(payable_micro(each, unit) for each in column) for column in zip(*amounts, strict=True))
        at = {"station": station_id, "transaction": transaction_id, "unit": unit}
        connection.execute(change, {"gross": gross, "net": net, **at})


@_revision("0094")
def payments_without_a_start(connection: sa.Connection) -> None:
    """Payments that an earlier program left without their remote start, which it had already made."""
    connection.exec_driver_sql("""
        UPDATE web_payments SET remote_start_id = (
            SELECT MIN(s.remote_start_id) FROM remote_starts s
            WHERE s.station_id = web_payments.station_id AND s.evse_id = web_payments.evse_id
                AND s.token_type = 'DirectPayment'
                AND s.requested_ms BETWEEN web_payments.started_ms AND web_payments.expires_ms
                AND NOT EXISTS (SELECT 1 FROM web_payments w WHERE w.remote_start_id = s.remote_start_id)
        ) WHERE state = 'Paid' AND remote_start_id IS NULL
    """)
