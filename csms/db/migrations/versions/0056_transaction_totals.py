"""What ended transactions come to, for reports."""

import json
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op

from csms.tokens.rules import normalise

revision = "0056"
down_revision = "0055"

_BATCH = 1000


def upgrade() -> None:
    """Create the table, and fill it."""
    made = op.create_table(
        "transaction_totals",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("transaction_id", sa.String(36), primary_key=True),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("evse_id", sa.Integer(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("tariff", sa.Text(), nullable=False),
        sa.Column("import_mwh", sa.BigInteger(), nullable=False),
        sa.Column("export_mwh", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["station_id", "transaction_id"], ["transactions.station_id", "transactions.transaction_id"]
        ),
    )
    op.create_index("ix_transaction_totals_end_ms", "transaction_totals", ["end_ms"])
    connection, last = op.get_bind(), ("", "")
    query = sa.text(
        "SELECT station_id, transaction_id, started_ms, ended_ms, document FROM transactions WHERE NOT active "
        "AND (station_id, transaction_id) > (:station, :transaction) ORDER BY station_id, transaction_id LIMIT :most"
    )
    while rows := connection.execute(query, {"station": last[0], "transaction": last[1], "most": _BATCH}).all():
        connection.execute(made.insert(), [_totals(row, json.loads(row.document)) for row in rows])
        last = rows[-1].station_id, rows[-1].transaction_id


def _totals(row: Any, document: dict[str, Any]) -> dict[str, object]:
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
