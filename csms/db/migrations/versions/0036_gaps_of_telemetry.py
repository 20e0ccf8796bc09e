"""Telemetry: an index of the boots that have gaps, to count them.

Revision 0036.
"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    gaps = sa.text("highest > contiguous")
    op.create_index("ix_telemetry_marks_gaps", "telemetry_marks", ["ev"], sqlite_where=gaps, postgresql_where=gaps)
