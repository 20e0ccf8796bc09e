"""Records that cannot be decoded yet, and the arrived numbers of a boot.

Revision 0016.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, add the columns, and determine which numbers have arrived."""
    op.create_table(
        "telemetry_quarantine",
        sa.Column("ev", sa.String(length=64), nullable=False),
        sa.Column("boot", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("schema_version", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("ev", "boot", "seq", name=op.f("pk_telemetry_quarantine")),
    )
    for name in ("arrived", "gaps"):
        op.add_column("telemetry_marks", sa.Column(name, sa.Text(), nullable=False, server_default="[]"))
    for name in ("quarantined", "missing"):
        op.add_column("telemetry_marks", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    connection = op.get_bind()
    marks = connection.execute(sa.text("SELECT ev, boot, contiguous FROM telemetry_marks")).all()
    for ev, boot, contiguous in marks:
        ranges = [[1, contiguous]] if contiguous else []
        beyond = sa.text("SELECT seq FROM telemetry WHERE ev = :ev AND boot = :boot AND seq > :seq ORDER BY seq")
        for (seq,) in connection.execute(beyond, {"ev": ev, "boot": boot, "seq": contiguous}):
            if ranges and ranges[-1][1] == seq - 1:
                ranges[-1][1] = seq
            else:
                ranges.append([seq, seq])
        connection.execute(
            sa.text("UPDATE telemetry_marks SET arrived = :arrived WHERE ev = :ev AND boot = :boot"),
            {"arrived": json.dumps(ranges), "ev": ev, "boot": boot},
        )
