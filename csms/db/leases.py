"""Locks between the nodes of a back end until the commit, and leases of what only one may do at a time.

A lease that would end later than one taken now, by more than that one's length, is over: the clock was set back since.
"""

from collections.abc import Collection, Iterable
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, String, delete, select, text

from csms.db.base import declare_table
from csms.db.bulk import execute

leases: Final = declare_table(
    "leases",
    Column("name", String(64), primary_key=True),
    Column("node", String(128), nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)


_TAKE: Final = text(
    "INSERT INTO leases (name, node, until_ms) VALUES (:name, :node, :until_ms) "
    "ON CONFLICT (name) DO UPDATE SET node = excluded.node, until_ms = excluded.until_ms "
    "WHERE leases.node = excluded.node OR leases.until_ms <= :now_ms OR leases.until_ms > :far_ms"
)


def take(connection: Connection, name: str, node: str, now_ms: int, until_ms: int) -> bool:
    """Take or renew a lease; return False while another node has it."""
    return name in take_all(connection, (name,), node, now_ms, until_ms)


def take_all(connection: Connection, names: Collection[str], node: str, now_ms: int, until_ms: int) -> set[str]:
    """Take or renew some leases; return those that the node has."""
    if not names:
        return set()
    ordered = sorted(names)  # nodes wait for each other in one order
    times = {"until_ms": until_ms, "now_ms": now_ms, "far_ms": 2 * until_ms - now_ms}
    connection.execute(_TAKE, [{"name": each, "node": node, **times} for each in ordered])
    return set(
        connection.execute(select(leases.c.name).where(leases.c.name.in_(ordered), leases.c.node == node)).scalars()
    )


def give_up(connection: Connection, names: Collection[str], node: str) -> None:
    """Let others take leases at once."""
    connection.execute(delete(leases).where(leases.c.name.in_(sorted(names)), leases.c.node == node))


def holders(connection: Connection, beginning: str, now_ms: int, until_ms: int) -> set[str]:
    """Return the nodes with a valid lease whose name begins so; one taken now would end at `until_ms`."""
    here = leases.c.name.startswith(beginning, autoescape=True) & (leases.c.until_ms > now_ms)
    here &= leases.c.until_ms <= 2 * until_ms - now_ms
    return set(connection.execute(select(leases.c.node).where(here)).scalars())


# In order: two nodes that lock several each do not wait for one another.
_LOCK_POSTGRESQL: Final = """
SELECT pg_advisory_xact_lock(key)
FROM (SELECT DISTINCT hashtextextended(value, 7632) AS key FROM json_array_elements_text(%s::json) ORDER BY 1) AS keys
"""


def lock(connection: Connection, names: Iterable[str]) -> None:
    """Lock what is named, such as the transactions of stations, against other nodes (not needed with SQLite)."""
    if connection.dialect.name == "postgresql":
        execute(connection, _LOCK_POSTGRESQL, (msgspec.json.encode(sorted(names)).decode(),))
