"""The revisions of the database since release 0.2.0: each function brings it from the one before to its own.

An empty database gets the declared tables at once. A change of tables is a function at the end here, and `HEAD` of
`csms.db.store`. A table that has not changed since its revision is made as it is declared; what changes it first writes
its columns of before into that revision.
"""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import op
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from csms.db.base import AnyRow
from csms.db.migrations import facts as ledger
from csms.db.schema import metadata
from csms.tokens.rules import normalise
from v2g.errors import StoreError
from v2g.typed_json import Fields
from v2g.units import payable_micro

REVISIONS: Final[dict[str, Callable[[], None]]] = {}
"""All revisions, in order."""

_ROW_ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade(connection: sa.Connection, found: str | None, wanted: str) -> None:
    """Bring a database of the revision `found`, None for an empty one, to another. Raises StoreError for one of a newer
    program."""
    if found is None:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('')"))
    elif found not in REVISIONS:
        raise StoreError(
            f"cannot migrate the database: revision {found} is unknown", hint="was it written by a newer version?"
        )
    context = MigrationContext.configure(connection, opts={"target_metadata": metadata})  # whose names keys get
    with Operations.context(context):
        for number, change in REVISIONS.items():
            if (found or "") < number <= wanted:
                change()
                connection.execute(sa.text("UPDATE alembic_version SET version_num = :number"), {"number": number})


def _revision(number: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def declare(change: Callable[[], None]) -> Callable[[], None]:
        assert number not in REVISIONS, number
        REVISIONS[number] = change
        return change

    return declare


def _create(*names: str) -> None:
    """Make tables as they are declared: no later revision has changed them, or it can do so again."""
    for name in names:
        metadata.tables[name].create(op.get_bind())


_WORDS = {
    "sqlite": {"ID": "INTEGER", "REF": "INTEGER", "AUTO": " AUTOINCREMENT", "BLOB": "BLOB", "FALSE": "0", "TRUE": "1"},
    "postgresql": {"ID": "BIGSERIAL", "REF": "BIGINT", "AUTO": "", "BLOB": "BYTEA", "FALSE": "false", "TRUE": "true"},
}


@_revision("0042")
def release_0_2_0() -> None:
    """The tables of release 0.2.0, for a backup that it has made."""
    script = Path(__file__).with_name("release_0_2_0.sql").read_text(encoding="utf-8")
    for word, written in _WORDS[op.get_bind().dialect.name].items():
        script = script.replace(f"{{{word}}}", written)
    for statement in script.removesuffix(";\n").split(";\n"):
        op.get_bind().exec_driver_sql(statement)


@_revision("0043")
def alerts() -> None:
    """Alerts, and states and estimates of batteries."""
    op.create_table(
        "alerts",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("subject_kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("raised_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("cleared_ms", sa.BigInteger()),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("told", sa.String(8), nullable=False),
        sa.Column("escalated_ms", sa.BigInteger()),
        sa.Column("acknowledged_ms", sa.BigInteger()),
        sa.Column("acknowledged_by", sa.String(128), nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_alerts_subject_kind_subject_kind", "alerts", ["subject_kind", "subject", "kind"], unique=True)
    op.create_index("ix_alerts_told", "alerts", ["told"])
    op.create_table(
        "battery_states",
        sa.Column("ev", sa.String(64), primary_key=True),
        sa.Column("boot", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
    )
    _create("battery_estimates")


@_revision("0044")
def watched_updates() -> None:
    """Campaigns: when a station began and installed, whether an operator wants it now, whether it goes back. Plans that
    campaigns have keep what was usual when they were made."""
    for name in ("begun_ms", "installed_ms"):
        op.add_column("campaign_members", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    for name in ("forced", "back"):
        op.add_column("campaign_members", sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False))
    rows = sa.table("campaigns", sa.column("campaign_id"), sa.column("document"))
    connection = op.get_bind()
    for number, document in connection.execute(sa.select(rows)).all():
        plan = {"daily": 1.0, "window": None, "watch_s": 0} | json.loads(document)
        text = json.dumps(plan, separators=(",", ":"), ensure_ascii=False)
        connection.execute(sa.update(rows).where(rows.c.campaign_id == number).values(document=text))


@_revision("0045")
def users() -> None:
    """People who log in to the console, their sessions, and an index for its overview."""
    op.create_table(
        "users",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("password", sa.String(200), nullable=False),
        sa.Column("initial", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("sealed_factor", sa.Text()),
        sa.Column("factor_step", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
        sa.Column("login_ms", sa.BigInteger()),
    )
    _create("user_sessions")
    op.create_index("ix_transactions_ended_ms", "transactions", ["ended_ms"])


@_revision("0046")
def alert_rules() -> None:
    """Alerts keep those that are over; silences, and e-mails that wait; an index for reported temperatures."""
    op.drop_index("ix_alerts_subject_kind_subject_kind", table_name="alerts")
    op.drop_index("ix_alerts_told", table_name="alerts")
    op.alter_column("alerts", "told", new_column_name="announced")
    op.add_column("alerts", sa.Column("announced_ms", sa.BigInteger()))
    op.add_column("alerts", sa.Column("escalations", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("alerts", sa.Column("latest", sa.Boolean(), nullable=False, server_default=sa.true()))
    rows = sa.table(
        "alerts", sa.column("announced"), sa.column("announced_ms"), sa.column("escalated_ms"),
        sa.column("escalations"), sa.column("raised_ms"),
    )  # fmt: skip
    connection = op.get_bind()
    said = rows.c.announced != ""
    connection.execute(sa.update(rows).where(said).values(announced_ms=rows.c.raised_ms))
    connection.execute(sa.update(rows).where(rows.c.escalated_ms.is_not(None)).values(escalations=1))
    where = sa.text("latest")
    op.create_index(
        "ix_alerts_latest", "alerts", ["subject_kind", "subject", "kind"],
        unique=True, sqlite_where=where, postgresql_where=where,
    )  # fmt: skip
    op.create_index("ix_alerts_announced", "alerts", ["announced"])
    op.create_index("ix_alerts_cleared_ms", "alerts", ["cleared_ms"])
    _create("alert_silences", "alert_mails")
    hot = sa.text("variable = 'Temperature' AND attribute = 'Actual'")
    op.create_index(
        "ix_device_variables_temperature", "device_variables", ["station_id"],
        sqlite_where=hot, postgresql_where=hot,
    )  # fmt: skip


@_revision("0047")
def battery_checks() -> None:
    """Checks of batteries against measurements, and monthly reports of them."""
    op.add_column("battery_states", sa.Column("changes", sa.BigInteger(), nullable=False, server_default="0"))
    _create("battery_checks", "battery_reports")


@_revision("0048")
def session_metrics() -> None:
    """How the parts of stations work, by their sessions."""
    _create("session_metrics")


@_revision("0049")
def roles_by_site() -> None:
    """Sites that roles of people and tokens are limited to. Null is all."""
    for table in ("users", "api_tokens"):
        op.add_column(table, sa.Column("sites", sa.Text()))


@_revision("0050")
def attestations() -> None:
    """Attestation of stations."""
    _create("attestations")


@_revision("0051")
def people_of_providers() -> None:
    """People whom an OpenID provider identifies. Null is a person with a password here."""
    op.add_column("users", sa.Column("subject", sa.String(600)))
    op.create_index("ix_users_subject", "users", ["subject"], unique=True)


@_revision("0052")
def passkeys() -> None:
    """Passkeys of people."""
    _create("user_passkeys")


@_revision("0053")
def offers_and_set_points() -> None:
    """Decisions about offers, and the course of set-points."""
    _create("offer_decisions", "dispatch_course")


@_revision("0054")
def pending_by_boot() -> None:
    """What waits for sinks is found by vehicle and boot."""
    op.create_index("ix_telemetry_pending_ev_boot", "telemetry_pending", ["ev", "boot"])
    op.drop_index("ix_telemetry_pending_ev", "telemetry_pending")


@_revision("0055")
def dispatch_orders() -> None:
    """Set-points in force, which a node continues after a restart."""
    _create("dispatch_orders")


_BATCH = 1000


@_revision("0056")
def transaction_totals() -> None:
    """What ended transactions come to, for reports."""
    _create("transaction_totals")
    connection, last = op.get_bind(), ("", "")
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


@_revision("0057")
def vehicle_firmware() -> None:
    """What is installed in vehicles and their gateways, as they say."""
    _create("vehicle_firmware")


@_revision("0058")
def courses_of_limits_and_plans() -> None:
    """What limits transactions, and what plans of fleets said, over time."""
    _create("limit_course", "fleet_course")


@_revision("0059")
def node_firmware() -> None:
    """What is installed in nodes, and which older programs can work with these tables."""
    _create("node_firmware")
    op.add_column("alembic_version", sa.Column("oldest_reader", sa.String(32)))


_PLAIN = {"postgresql": "substr(document, 1, 1) = '\\x7b'::bytea", "sqlite": "substr(document, 1, 1) = x'7b'"}
"""A document that is not sealed begins as JSON."""


@_revision("0060")
def aggregates_of_0_2_0() -> None:
    """Telemetry: aggregates that release 0.2.0 has joined say whether they are sealed. That release's 0042 made the
    table without the column."""
    there = sa.inspect(op.get_bind()).get_columns("telemetry_aggregates")
    if any(each["name"] == "sealed" for each in there):
        return
    op.execute(
        "CREATE TABLE telemetry_aggregates_marked AS "  # noqa: S608 - our own text
        f"SELECT ev, width_s, at_ms, NOT ({_PLAIN[op.get_bind().dialect.name]}) AS sealed, document "
        "FROM telemetry_aggregates"
    )
    op.drop_table("telemetry_aggregates")
    op.create_table(
        "telemetry_aggregates",
        sa.Column("ev", sa.String(64), primary_key=True),
        sa.Column("width_s", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("sealed", sa.Boolean(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
    )
    op.execute("INSERT INTO telemetry_aggregates SELECT * FROM telemetry_aggregates_marked")
    op.drop_table("telemetry_aggregates_marked")
    op.create_index("ix_telemetry_aggregates_at_ms", "telemetry_aggregates", ["at_ms"])
    op.create_index("ix_telemetry_aggregates_sealed", "telemetry_aggregates", ["sealed"])


@_revision("0061")
def held_transactions() -> None:
    """Transactions that are held, and what bounds the time of events. What was final before stays so."""
    _create("held_transactions")
    op.add_column("transaction_events", sa.Column("earliest_ms", sa.BigInteger()))
    for name in ("connected_ms", "away_ms"):
        op.add_column("stations", sa.Column(name, sa.BigInteger()))


@_revision("0062")
def campaigns_that_end() -> None:
    """Why a station failed in a campaign, and how long its attempt has taken. The patience of attempts under way begins
    again."""
    op.add_column("campaign_members", sa.Column("trouble", sa.String(40), nullable=False, server_default=""))
    for name in ("since_ms", "spent_ms"):
        op.add_column("campaign_members", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE campaign_members SET since_ms = updated_ms")


_KEYED = (
    "charging_profiles",
    "display_messages",
    "held_transactions",
    "journal_reviews",
    "limit_course",
    "payment_settlements",
    "remote_starts",
    "reservations",
    "token_uses",
    "transaction_costs",
    "transaction_events",
    "transaction_faults",
    "transaction_plans",
    "transaction_totals",
    "transactions",
)


@_revision("0063")
def longer_transaction_keys() -> None:
    """Keys of transactions whose station uses an id again have their begin, too. Only where lengths are enforced."""
    if op.get_bind().dialect.name == "postgresql":
        for table in _KEYED:
            op.alter_column(table, "transaction_id", type_=sa.String(64))


@_revision("0064")
def facts() -> None:
    """The ledger of facts. What is booked lands on it as it is: what contradicts each other stays booked, and is
    listed."""
    _create("facts")
    ledger.fill(op.get_bind(), metadata.tables["facts"])


@_revision("0065")
def grid_shares() -> None:
    """Shares of the grid's limits, which all stations behind a connection point have together. Signals of before keep
    their meaning: a limit over all stations of the back end."""
    op.create_table(
        "grid_shares",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("node", sa.String(130), primary_key=True),
        sa.Column("site", sa.String(60), nullable=False),
        sa.Column("import_w", sa.BigInteger(), nullable=False),
        sa.Column("export_w", sa.BigInteger(), nullable=False),
        sa.Column("held_import_w", sa.BigInteger()),
        sa.Column("held_export_w", sa.BigInteger()),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("shared", sa.String(64), nullable=False),
    )


@_revision("0066")
def unknown_powers() -> None:
    """The power of vehicles that follow a set-point may be unknown."""
    for table in ("dispatch_course", "fleet_course"):
        with op.batch_alter_table(table) as batch:
            batch.alter_column("delivered_w", existing_type=sa.BigInteger(), nullable=True)


@_revision("0067")
def limits_in_force() -> None:
    """The limits that stations had accepted, over time. Of limits that were accepted before nothing is known."""
    _create("limits_in_force")


@_revision("0068")
def lowered_shares() -> None:
    """Since when stations are to accept a lower share of the grid's limits."""
    op.add_column("grid_shares", sa.Column("lowered_ms", sa.BigInteger(), nullable=False, server_default="0"))


@_revision("0069")
def ocpp_16() -> None:
    """The numbers of transactions of OCPP 1.6."""
    _create("ocpp16_transactions")


@_revision("0070")
def assigned_alerts() -> None:
    """Who takes care of an alert."""
    op.add_column("alerts", sa.Column("assigned", sa.String(128), nullable=False, server_default=""))


@_revision("0071")
def roaming() -> None:
    """Roaming: partners, objects of OCPI, and the outbox."""
    _create("roaming_partners")
    op.create_table(
        "roaming_objects",
        sa.Column("owner", sa.String(36), primary_key=True),
        sa.Column("module", sa.String(20), primary_key=True),
        sa.Column("object_id", sa.String(160), primary_key=True),
        sa.Column("audience", sa.String(36), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("about", sa.String(300), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
    )
    op.create_index(
        "ix_roaming_objects_owner_module_updated_ms_object_id",
        "roaming_objects",
        ["owner", "module", "updated_ms", "object_id"],
    )
    op.create_index("ix_roaming_objects_module_about", "roaming_objects", ["module", "about"])
    op.create_index("ix_roaming_objects_module_alias", "roaming_objects", ["module", "alias"])
    op.create_table(
        "roaming_deliveries",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("partner_id", sa.String(36), nullable=False),
        sa.Column("module", sa.String(20), nullable=False),
        sa.Column("subject", sa.String(160), nullable=False),
        sa.Column("method", sa.String(6), nullable=False),
        sa.Column("path", sa.String(2000), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
    )
    op.create_index("ix_roaming_deliveries_due_ms", "roaming_deliveries", ["due_ms"])
    op.create_index(
        "ix_roaming_deliveries_partner_id_module_subject", "roaming_deliveries", ["partner_id", "module", "subject"]
    )


@_revision("0072")
def power_course() -> None:
    """The course of power and use."""
    op.create_table(
        "power_course",
        sa.Column("site_id", sa.String(60), primary_key=True),
        sa.Column("at_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("import_w", sa.BigInteger(), nullable=False),
        sa.Column("export_w", sa.BigInteger(), nullable=False),
        sa.Column("unknown", sa.Integer(), nullable=False),
        sa.Column("sessions", sa.Integer(), nullable=False),
        sa.Column("evses", sa.Integer(), nullable=False),
        sa.Column("ready", sa.Integer(), nullable=False),
        sa.Column("import_limit_w", sa.BigInteger()),
        sa.Column("export_limit_w", sa.BigInteger()),
    )


@_revision("0073")
def grid_memories() -> None:
    """What clients of grid sources must not forget."""
    _create("grid_memories")


@_revision("0074")
def roaming_chain() -> None:
    """CDRs of a transaction reach a partner in order."""
    op.add_column("roaming_deliveries", sa.Column("chain", sa.String(300), nullable=False, server_default=""))


@_revision("0075")
def enrolments() -> None:
    """Certificates that outside CAs have not issued yet."""
    _create("enrolments")


_PAGES = "ix_roaming_objects_owner_module_updated_ms_object_id"


@_revision("0076")
def roaming_pages() -> None:
    """Pages of 100,000 objects for partners are counted by an index."""
    op.drop_index(_PAGES, "roaming_objects")
    op.create_index(f"{_PAGES}_audience", "roaming_objects", ["owner", "module", "updated_ms", "object_id", "audience"])


@_revision("0077")
def saved_views() -> None:
    """Views of the console's lists, under names."""
    _create("saved_views")


@_revision("0078")
def plans_of_many() -> None:
    """Price plans of sites and of groups of tokens."""
    _create("plans_of_many")


@_revision("0079")
def uptime() -> None:
    """History of connectors and connections, and what does not count as an outage. The history begins with what is
    known of each connector."""
    op.add_column("stations", sa.Column("left_ms", sa.BigInteger()))
    _create("connector_history")
    op.execute(
        "INSERT INTO connector_history SELECT station_id, evse_id, connector_id, changed_ms, status FROM connectors"
    )
    _create("station_absences", "uptime_exclusions")


@_revision("0080")
def plans_and_base_load() -> None:
    """Plans that fleets follow, and what grid connections draw beside the vehicles."""
    op.add_column("fleets", sa.Column("planned", sa.Text()))
    op.add_column("power_course", sa.Column("base_w", sa.BigInteger()))
    op.create_table(
        "grid_meters",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("power_w", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
    )


@_revision("0081")
def trust_lists() -> None:
    """Roots of a trust list, and which stations have been brought up to it."""
    _create("listed_roots", "trust_list_states", "root_rollouts")


@_revision("0082")
def notices_of_debits() -> None:
    """Notices to payers before debits. Revision 0082. Debits so far were made without a notice of ours."""
    op.add_column("debits", sa.Column("notice", sa.String(255), nullable=False, server_default=""))
    op.add_column("debits", sa.Column("noticed_ms", sa.BigInteger()))


@_revision("0083")
def forecasts_and_bids() -> None:
    """What fleets drew and could have done by quarter hour, and the bids that they have given. Revision 0083."""
    _create("fleet_quarters", "fleet_bids")


@_revision("0084")
def grid_meter_readings() -> None:
    """What meters at grid connections read, beside the power. Revision 0084."""
    op.add_column("grid_meters", sa.Column("reading", sa.Text(), nullable=False, server_default="{}"))


@_revision("0085")
def station_templates() -> None:
    """Configuration templates, and where stations differ from them. Revision 0085."""
    _create("station_templates", "template_drift")


@_revision("0086")
def direct_payments() -> None:
    """Payments for one session from a driver's page. Revision 0086."""
    op.create_table(
        "direct_payments",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("station_id", sa.String(48), nullable=False),
        sa.Column("evse_id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(20), nullable=False),
        sa.Column("amount_micro", sa.BigInteger(), nullable=False),
        sa.Column("captured_micro", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("reference", sa.String(255), nullable=False),
        sa.Column("approval_url", sa.Text(), nullable=False),
        sa.Column("return_url", sa.Text(), nullable=False),
        sa.Column("transaction_id", sa.String(64).with_variant(sa.String(36), "sqlite"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Index("ix_direct_payments_state", "state"),
        sa.Index("ix_direct_payments_token", "token"),
        sqlite_autoincrement=True,
    )


@_revision("0087")
def one_payment() -> None:
    """One payment that begins at each EVSE. What is second at an EVSE is released."""
    beginning = "state IN ('requested', 'pending', 'authorized', 'starting')"
    op.execute(f"""
        UPDATE direct_payments SET state = 'releasing', reason = 'somebody pays at this plug already'
        WHERE state IN ('requested', 'pending', 'authorized') AND EXISTS (
            SELECT 1 FROM direct_payments AS other
            WHERE other.station_id = direct_payments.station_id AND other.evse_id = direct_payments.evse_id
            AND other.{beginning} AND (other.state = 'starting' OR other.id < direct_payments.id)
        )
    """)  # noqa: S608 - our own words
    op.create_index(
        "ix_direct_payments_beginning", "direct_payments", ["station_id", "evse_id"],
        unique=True, sqlite_where=sa.text(beginning), postgresql_where=sa.text(beginning),
    )  # fmt: skip
    op.create_index("ix_direct_payments_changed_ms", "direct_payments", ["changed_ms"])


@_revision("0088")
def booked_transactions() -> None:
    """What booked transactions come to, for reports."""
    if not sa.inspect(op.get_bind()).has_table("enrolments"):  # a command made the tables before the first start
        enrolments()
    _create("booked_transactions")
    op.execute("""
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
def one_form_of_emaids() -> None:
    """EMAIDs of postings and mandates in one form, without separators and check digit: they are compared."""
    for table in ("postings", "mandates"):
        plain = "UPPER(REPLACE(vehicle, '-', ''))"
        one = f"CASE WHEN LENGTH({plain}) = 15 THEN SUBSTR({plain}, 1, 14) ELSE {plain} END"
        op.execute(f"UPDATE {table} SET vehicle = {one} WHERE vehicle <> {one}")  # noqa: S608 - our own words


@_revision("0090")
def past_plans() -> None:
    """Assignments of price plans that have ended, for sessions of before that stations report later."""
    _create("past_plans")


@_revision("0091")
def currencies() -> None:
    """Currencies that stations once stated as they liked, as codes; that of what a token has used."""
    costs = sa.table("transaction_costs", sa.column("currency"))
    connection = op.get_bind()
    for stated in connection.execute(sa.select(costs.c.currency).distinct()).scalars().all():
        code = stated.upper() if re.fullmatch("[A-Za-z]{3}", stated) else "XXX"
        if code != stated:
            connection.execute(sa.update(costs).where(costs.c.currency == stated).values(currency=code))
    if "currency" not in {each["name"] for each in sa.inspect(connection).get_columns("token_uses")}:
        op.add_column("token_uses", sa.Column("currency", sa.String(3)))
    op.create_index("ix_web_payments_state_started_ms", "web_payments", ["state", "started_ms"], if_not_exists=True)


@_revision("0092")
def billed_by_session() -> None:
    """What booked transactions of several sessions come to, each session billed alone."""
    connection = op.get_bind()
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


@_revision("0093")
def starts_by_station() -> None:
    """An index for the remote starts of a station."""
    name = "ix_remote_starts_station_id_requested_ms"
    op.create_index(name, "remote_starts", ["station_id", "requested_ms"], if_not_exists=True)


@_revision("0094")
def payments_without_a_start() -> None:
    """Payments that an earlier program left without their remote start, which it had already made."""
    op.execute("""
        UPDATE web_payments SET remote_start_id = (
            SELECT MIN(s.remote_start_id) FROM remote_starts s
            WHERE s.station_id = web_payments.station_id AND s.evse_id = web_payments.evse_id
                AND s.token_type = 'DirectPayment'
                AND s.requested_ms BETWEEN web_payments.started_ms AND web_payments.expires_ms
                AND NOT EXISTS (SELECT 1 FROM web_payments w WHERE w.remote_start_id = s.remote_start_id)
        ) WHERE state = 'Paid' AND remote_start_id IS NULL
    """)


@_revision("0095")
def roaming_objects_by_owner() -> None:
    """Indexes that SQLite prefers to the primary key for the objects of one thing."""
    for name in ("about", "alias"):
        op.drop_index(f"ix_roaming_objects_module_{name}", "roaming_objects", if_exists=True)
        wanted = f"ix_roaming_objects_module_{name}_owner"
        op.create_index(wanted, "roaming_objects", ["module", name, "owner"], if_not_exists=True)


@_revision("0096")
def roaming_objects_by_state() -> None:
    """An index for objects of a state, such as disputed CDRs."""
    name = "ix_roaming_objects_module_state_owner_object_id"
    op.create_index(name, "roaming_objects", ["module", "state", "owner", "object_id"], if_not_exists=True)


@_revision("0097")
def local_profiles() -> None:
    """An index for the few charging profiles of local time, which are looked for each minute."""
    local = sa.text(r"""document LIKE '%"useLocalTime"\:true%'""")
    op.create_index(
        "ix_charging_profiles_local", "charging_profiles", ["station_id"],
        sqlite_where=local, postgresql_where=local, if_not_exists=True,
    )  # fmt: skip
