"""History of connectors and connections, and what does not count as an outage."""

import sqlalchemy as sa
from alembic import op

revision = "0079"
down_revision = "0078"


def upgrade() -> None:
    """Create the tables; the history begins with what is known of each connector."""
    op.add_column("stations", sa.Column("left_ms", sa.BigInteger()))
    op.create_table(
        "connector_history",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("evse_id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("connector_id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
    )
    op.execute(
        "INSERT INTO connector_history SELECT station_id, evse_id, connector_id, changed_ms, status FROM connectors"
    )
    op.create_table(
        "station_absences",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("from_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
    )
    op.create_table(
        "uptime_exclusions",
        sa.Column("exclusion_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("station_id", sa.String(48), nullable=False),
        sa.Column("evse_id", sa.Integer(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("added_by", sa.String(200), nullable=False),
        sa.Column("added_ms", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_uptime_exclusions_station_id_from_ms", "uptime_exclusions", ["station_id", "from_ms"])
