"""Journal lines in the database, available to every node.

Revision 0017. The index of journals in files is reset: the back end imports the files at its start, and verifies their
contents again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "journal_lines",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "session_id", "sequence", name=op.f("pk_journal_lines")),
    )
    op.execute("UPDATE journals SET lines = 0, head = '', ended = false")
