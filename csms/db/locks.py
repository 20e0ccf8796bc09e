"""Locks between the nodes of a back end, by name, until the commit."""

from collections.abc import Iterable
from typing import Final

import msgspec
from sqlalchemy import Connection

# In order: two nodes that lock several each do not wait for one another.
_LOCK_POSTGRESQL: Final = """
SELECT pg_advisory_xact_lock(key)
FROM (SELECT DISTINCT hashtextextended(value, 7632) AS key FROM json_array_elements_text(%s::json) ORDER BY 1) AS keys
"""


def lock(connection: Connection, names: Iterable[str]) -> None:
    """Lock what is named, such as the transactions of stations, against other nodes (not needed with SQLite)."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_LOCK_POSTGRESQL, (msgspec.json.encode(sorted(names)).decode(),))
