"""Databases as release 0.2.0 has made them."""

from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from csms.db.store import OLDEST

_TABLES: Final = Path(__file__).parents[2] / "vectors" / "stores" / "release_0_2_0.sql"
_WORDS: Final = {
    "sqlite": {"ID": "INTEGER", "REF": "INTEGER", "AUTO": " AUTOINCREMENT", "BLOB": "BLOB", "FALSE": "0", "TRUE": "1"},
    "postgresql": {"ID": "BIGSERIAL", "REF": "BIGINT", "AUTO": "", "BLOB": "BYTEA", "FALSE": "false", "TRUE": "true"},
}

PAYMENT: Final = """INSERT INTO direct_payments VALUES
 ({id}, 'CS1', 1, 'PAY{id}', 1, 0, 'EUR', '{state}', '', '', '', '', '', {id}, {id})"""


def make_0_2_0(engine: Engine) -> None:
    """Make the tables of release 0.2.0 in an empty database."""
    script = _TABLES.read_text(encoding="utf-8")
    for word, written in _WORDS[engine.dialect.name].items():
        script = script.replace(f"{{{word}}}", written)
    version = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    version += "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    with engine.begin() as connection:
        for statement in (*script.removesuffix(";\n").split(";\n"), version):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{OLDEST}')")
