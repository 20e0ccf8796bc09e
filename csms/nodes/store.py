"""What is installed in nodes, and which of them may install a release now: one at a time, none after one failed."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, Integer, String, delete, or_, select

from csms.db import leases
from csms.db.base import declare_table, page
from csms.db.bulk import upsert_rows

node_firmware: Final = declare_table(
    "node_firmware",
    Column("node", String(64), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("hardware", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("number", Integer, nullable=False),  # 0: that with which it came
    Column("failed", Integer),
    Column("trying", Integer),  # not settled yet
)


_LEASE: Final = "update of nodes"

_FORGET_MS: Final = 90 * 86_400_000
"""A node that has said nothing for so long is none any more."""


def begin(connection: Connection, node: str, number: int, now_ms: int, until_ms: int) -> str:
    """Let a node that is in the table install a release, until it is settled or the time is over; return why not.

    A node that has not settled in time is one where the release failed.
    """
    if not leases.take(connection, _LEASE, node, now_ms, until_ms):
        return "another node is updated"
    table = node_firmware.c
    kind = select(table.hardware).where(table.node == node).scalar_subquery()
    bad = select(table.node).where(
        table.hardware == kind, table.node != node, or_(table.failed == number, table.trying == number)
    )
    if (other := connection.execute(bad.order_by(table.node)).scalar()) is not None:
        leases.give_up(connection, (_LEASE,), node)
        return f"it failed at node {other}"
    connection.execute(node_firmware.update().where(table.node == node).values(trying=number))
    return ""


def settled(connection: Connection, node: str, installed: Mapping[str, object], now_ms: int) -> None:
    """Store what is installed in a node (`Follower.installed`), and let others begin."""
    upsert_rows(connection, node_firmware, [{"node": node, "at_ms": now_ms, "trying": None, **installed}])
    connection.execute(delete(node_firmware).where(node_firmware.c.at_ms < now_ms - _FORGET_MS))
    leases.give_up(connection, (_LEASE,), node)


def nodes(connection: Connection, after: Sequence[str] | None, limit: int) -> list[dict[str, object]]:
    """Return nodes with what is installed there, by name."""
    query = page(select(node_firmware), (node_firmware.c.node,), after, limit, rising=True)
    return [dict(row._mapping) for row in connection.execute(query)]
