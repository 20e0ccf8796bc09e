"""The tables of release 0.2.0, for a backup that it has made.

Databases of earlier states are not migrated.
"""

from pathlib import Path

from alembic import op

revision = "0042"
down_revision = None

_WORDS = {
    "sqlite": {"ID": "INTEGER", "REF": "INTEGER", "AUTO": " AUTOINCREMENT", "BLOB": "BLOB", "FALSE": "0", "TRUE": "1"},
    "postgresql": {"ID": "BIGSERIAL", "REF": "BIGINT", "AUTO": "", "BLOB": "BYTEA", "FALSE": "false", "TRUE": "true"},
}


def upgrade() -> None:
    """Create them."""
    script = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    for word, written in _WORDS[op.get_bind().dialect.name].items():
        script = script.replace(f"{{{word}}}", written)
    for statement in script.removesuffix(";\n").split(";\n"):
        op.get_bind().exec_driver_sql(statement)
