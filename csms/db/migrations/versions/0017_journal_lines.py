"""Lines of journals in the database, where every node finds them.

Revision 0017. The index of what lay in files begins anew: the files are taken over at the start of the back end, and
what they hold is proved again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "journal_lines",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "session_id", "sequence", name=op.f("pk_journal_lines")),
    )
    op.execute("UPDATE journals SET lines = 0, head = '', ended = false")
