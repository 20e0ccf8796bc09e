"""Postings by station and session: costs are listed in that order.

Revision 0026.
"""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("ix_postings_station_id_session_id", "postings", ["station_id", "session_id"])
