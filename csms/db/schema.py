"""The database schema: the tables of all features, in `tables` or, where there are few, in `store`.

Migrations bring existing databases here; a test compares both.
"""

from typing import Final

from sqlalchemy import Connection, MetaData

from csms.db import base, leases
from csms.features import modules

TABLES: Final = (leases, *modules("tables", "store"))
"""The modules that declare tables."""

metadata: Final[MetaData] = base.metadata
"""All tables."""


def declared_for(connection: Connection) -> MetaData:
    """Return all tables, whose partial indices are of the same rows in either database."""
    for index in (each for table in metadata.sorted_tables for each in table.indexes):
        where = index.dialect_options["sqlite"]["where"]
        index.dialect_options[connection.dialect.name]["where"] = where
    return metadata
