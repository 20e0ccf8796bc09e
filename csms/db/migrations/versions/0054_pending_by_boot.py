"""What waits for sinks is found by vehicle and boot."""

from alembic import op

revision = "0054"
down_revision = "0053"


def upgrade() -> None:
    """Replace the index by vehicle."""
    op.create_index("ix_telemetry_pending_ev_boot", "telemetry_pending", ["ev", "boot"])
    op.drop_index("ix_telemetry_pending_ev", "telemetry_pending")
