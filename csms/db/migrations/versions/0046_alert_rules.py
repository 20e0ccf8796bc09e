"""Alerts keep those that are over; silences, and e-mails that wait; an index for reported temperatures."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"

_row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Change alerts, add tables and the index."""
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
    op.create_table(
        "alert_silences",
        sa.Column("id", _row_id, primary_key=True),
        sa.Column("subject_kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
    )
    op.create_index("ix_alert_silences_until_ms", "alert_silences", ["until_ms"])
    op.create_table(
        "alert_mails",
        sa.Column("id", _row_id, primary_key=True),
        sa.Column("alert_id", sa.BigInteger(), nullable=False),
        sa.Column("announcement", sa.String(16), nullable=False),
        sa.Column("address", sa.String(320), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sent_ms", sa.BigInteger()),
        sa.Column("error", sa.String(300), nullable=False),
    )
    op.create_index("ix_alert_mails_due_ms", "alert_mails", ["due_ms"])
    hot = sa.text("variable = 'Temperature' AND attribute = 'Actual'")
    op.create_index(
        "ix_device_variables_temperature", "device_variables", ["station_id"],
        sqlite_where=hot, postgresql_where=hot,
    )  # fmt: skip
