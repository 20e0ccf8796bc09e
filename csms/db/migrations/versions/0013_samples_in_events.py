"""The readings of a transaction are stored in its events, as they arrived: one row per event, not per reading.

Revision 0013.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_FIELDS = ("at_ms", "measurand", "value", "unit", "context", "phase", "location", "signed", "verdict")
_SAME = "v.station_id = e.station_id AND v.transaction_id = e.transaction_id AND v.seq_no = e.seq_no"


def upgrade() -> None:
    """Create the column, fill it from the previous rows, and delete those."""
    op.add_column("transaction_events", sa.Column("samples", sa.Text(), nullable=False, server_default="[]"))
    pairs = ", ".join(f"'{name}', v.{name}" for name in _FIELDS)
    if op.get_context().dialect.name == "postgresql":
        gathered = f"json_agg(json_build_object({pairs}) ORDER BY v.id)::text"
        values = f"meter_values v WHERE {_SAME}"
    else:  # its aggregates process rows in input order
        gathered = f"json_group_array(json_object({pairs}))"
        values = f"(SELECT * FROM meter_values v WHERE {_SAME} ORDER BY id) v"  # noqa: S608 - our names
    op.execute(f"UPDATE transaction_events AS e SET samples = coalesce((SELECT {gathered} FROM {values}), '[]')")  # noqa: S608
    op.execute("DELETE FROM meter_values WHERE transaction_id IS NOT NULL")
    op.drop_index("ix_meter_values_station_id_transaction_id_seq_no", "meter_values")
    op.drop_column("meter_values", "transaction_id")
    op.drop_column("meter_values", "seq_no")
