"""Alerts, silences and e-mails about them."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, text, true

from csms.db.base import declare_table, row_id

alerts: Final = declare_table(
    "alerts",
    Column("id", row_id, primary_key=True),
    Column("subject_kind", String(16), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("raised_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("cleared_ms", BigInteger),
    Column("count", Integer, nullable=False),
    Column("announced", String(8), nullable=False),
    Column("announced_ms", BigInteger),
    Column("escalations", Integer, nullable=False, server_default="0"),
    Column("escalated_ms", BigInteger),
    Column("acknowledged_ms", BigInteger),
    Column("acknowledged_by", String(128), nullable=False),
    Column("note", String(200), nullable=False),
    Column("assigned", String(128), nullable=False, server_default=""),
    Column("evidence", LargeBinary, nullable=False),  # Evidence, as JSON; of vehicles sealed
    Column("latest", Boolean, nullable=False, server_default=true()),  # the last one of its kind and subject
    Index(
        "ix_alerts_latest",
        "subject_kind",
        "subject",
        "kind",
        unique=True,
        sqlite_where=text("latest"),  # partial in PostgreSQL, too, whose dialect is not loaded to say so here
    ),
    Index(None, "announced"),
    Index(None, "cleared_ms"),
)

alert_silences: Final = declare_table(
    "alert_silences",
    Column("id", row_id, primary_key=True),
    Column("subject_kind", String(16), nullable=False),
    Column("subject", String(64), nullable=False),  # "": any, as `kind`
    Column("kind", String(64), nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("note", String(200), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", String(128), nullable=False),
    Index(None, "until_ms"),
)

alert_mails: Final = declare_table(
    "alert_mails",
    Column("id", row_id, primary_key=True),
    Column("alert_id", BigInteger, nullable=False),
    Column("announcement", String(16), nullable=False),
    Column("address", String(320), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger),  # none: sent, or given up
    Column("attempts", Integer, nullable=False),
    Column("sent_ms", BigInteger),
    Column("error", String(300), nullable=False),
    Index(None, "due_ms"),
)
